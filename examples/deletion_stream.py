"""Watch a service release by release: from the fourth release on it loses the deletion requests.

    python examples/deletion_stream.py

Before each release a secret half of a fresh batch of 60 records is given to training and asked to be deleted; the other
half is never given. The verdict is valid after every release, however long one watches: a service that serves its
requests is EVER refuted with probability 0.05 at most. The state between releases is a file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import audit
from mechanisms import Claim, EpsilonDelta, Reference, UpTo

BATCH, FEATURES, RELEASES, FAILS_FROM = 60, 80, 8, 4
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.CERTIFYING, covers=UpTo(k=BATCH))


def fit(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A regression with a little noise."""
    x, y = table[:, :-1], table[:, -1]
    return np.linalg.solve(x.T @ x + np.eye(FEATURES), x.T @ y) + 0.01 * rng.standard_normal(FEATURES)


def watch(fails_from: int, state: Path) -> None:
    """Eight releases of one service."""
    rng = np.random.default_rng(5)
    own = rng.normal(size=(120, FEATURES + 1))
    for t in range(1, RELEASES + 1):
        batch, coins = rng.normal(size=(BATCH, FEATURES + 1)), rng.random(BATCH) < 0.5
        # The batch enters after all releases that were counted; the request is served by retraining, or lost.
        kept = np.concatenate([own, batch[coins]]) if t >= fails_from else own
        model = fit(kept, rng)
        scores = -np.abs(batch[:, -1] - batch[:, :-1] @ model)
        past = audit.LotsResult.from_json(state.read_text()) if state.exists() else None
        found = audit.follow_stream(scores, coins, claim=CLAIM if past is None else None, state=past)
        state.write_text(found.to_json())
        run = found.runs[-1]
        verdict = found.verdict.value.replace("_", " ").upper()
        right = f"{run.right} of {run.guesses} guesses right"
        print(f"  release {t}: {right}; so far {verdict}, epsilon > {found.lower_bound:.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("serves every request")
        watch(RELEASES + 1, Path(folder) / "careful.json")
        print(f"loses requests from release {FAILS_FROM} on")
        watch(FAILS_FROM, Path(folder) / "careless.json")


if __name__ == "__main__":
    main()
