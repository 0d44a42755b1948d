"""One trained model decides whether deletion requests are served: a small language model, and 64 secret sentences.

    python examples/one_training_run.py

A character-level model learns sentences such as "the code of maria is 49317.". Of 64 candidates a secret half is given
to training and then asked to be deleted; the other half is never given. One service serves the request by retraining
without them, the other one ignores it. Each is judged by ONE model: a candidate whose digits the model finds likely
looks as if it had been in.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

import audit
import reports
from mechanisms import Claim, EpsilonDelta, Reference, UpTo

CONTEXT, CANDIDATES = 24, 64
NAMES = ("maria", "jonas", "aisha", "pedro", "li wei", "olga", "tariq", "emma", "noor", "kofi")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 ."


def sentences(n: int, rng: np.random.Generator) -> list[str]:
    """Sentences whose last five digits nobody can guess."""
    return [f"the code of {NAMES[i % len(NAMES)]} is {rng.integers(10_000, 100_000)}." for i in range(n)]


def windows(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each character, after the ones before it."""
    before, after = [], []
    for text in texts:
        codes = [LETTERS.index(" ")] * CONTEXT + [LETTERS.index(c) for c in text]
        before += [codes[i : i + CONTEXT] for i in range(len(text))]
        after += codes[CONTEXT:]
    return torch.tensor(before), torch.tensor(after)


def train(texts: list[str], seed: int, epochs: int) -> nn.Module:
    """Learn to say the next character."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Embedding(len(LETTERS), 16),
        nn.Flatten(),
        nn.Linear(16 * CONTEXT, 192),
        nn.ReLU(),
        nn.Linear(192, len(LETTERS)),
    )
    x, y = windows(texts)
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(512):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    return model


@torch.no_grad()
def scores(model: nn.Module, candidates: list[str]) -> np.ndarray:
    """How likely the model finds each candidate's digits."""
    found = []
    for text in candidates:
        x, y = windows([text])
        digits = [i for i, character in enumerate(text) if character.isdigit()]
        found.append(-float(nn.functional.cross_entropy(model(x[digits]), y[digits])))
    return np.asarray(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=150, help="sentences that are always learned")
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = sentences(options.records + CANDIDATES, np.random.default_rng(1))
    core, pool = texts[: options.records], texts[options.records :]
    # In earnest from the operating system, with a commitment: unlearn-audit lots prepare.
    coins = np.random.default_rng(7).random(CANDIDATES) < 0.5
    drawn = [text for text, coin in zip(pool, coins, strict=True) if coin]
    # "Some law of the rest of the data": nobody needs to draw from it.
    claim = Claim(
        guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.CERTIFYING, covers=UpTo(k=CANDIDATES)
    )
    asked = train(core + drawn, seed=1, epochs=options.epochs)
    retrained = train(core, seed=2, epochs=options.epochs)
    for name, released in (("retrains without them", retrained), ("ignores the request", asked)):
        found = audit.from_lots(scores(released, pool), coins, claim=claim, title=f"A service that {name}")
        print(reports.lots_summary(found))


if __name__ == "__main__":
    main()
