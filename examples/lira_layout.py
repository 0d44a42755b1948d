"""Audit 200 records at once by 64 small networks that lie on disk as LiRA lays them out.

    python examples/lira_layout.py [folder]

`audit.assign_status` draws what each network retains and forgets; the networks learn on digits, 32 of them unlearn,
and their logits go to experiment-<i>_64/logits/ beside keep.npy, with y_train.npy and status.npy in the folder itself.
Two services are audited, each claiming epsilon <= 0.5 at delta = 1e-5 for every record: one retrains, one loses the
request.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import audit
import reports
from mechanisms import Claim, EpsilonDelta

Array = NDArray[np.float64]
MODELS, RECORDS, HIDDEN, STEPS, RATE = 64, 200, 32, 150, 1.0
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))


def learn(x: Array, y: Array, learned: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Train a network for each row of ``learned``, on the records that it names; return logits for all records."""
    first = rng.normal(0, 0.3, (len(learned), x.shape[1], HIDDEN))
    second = rng.normal(0, 0.3, (len(learned), HIDDEN, 10))
    share = learned / learned.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        hidden = np.maximum(x @ first, 0)
        scores = hidden @ second
        p = np.exp(scores - scores.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        error = (p - np.eye(10)[y]) * share[:, :, None]
        back = (error @ second.transpose(0, 2, 1)) * (hidden > 0)
        second -= RATE * hidden.transpose(0, 2, 1) @ error
        first -= RATE * x.T @ back
    return np.asarray(np.maximum(x @ first, 0) @ second)


def write(folder: Path, logits: Array, status: NDArray[np.int8], labels: Array) -> None:
    """Lay logits out as LiRA's inference.py does, one augmentation each, with what was forgotten beside them."""
    np.save(folder / "y_train.npy", labels)
    np.save(folder / "status.npy", status)
    for i, rows in enumerate(logits):
        home = folder / f"experiment-{i}_{len(logits)}"
        (home / "logits").mkdir(parents=True, exist_ok=True)
        np.save(home / "keep.npy", status[i] > 0)
        np.save(home / "logits" / f"{STEPS:010d}.npy", rows[:, None, None, :].astype(np.float32))


def main(folder: Path) -> None:
    images, digits = load_digits(return_X_y=True)
    x, y = images[:RECORDS] / 16, digits[:RECORDS]
    # Few records retained, and the others forgotten: with 64 networks each record needs many of both kinds.
    drawn = audit.assign_status(records=RECORDS, models=MODELS, retain=0.25, forget=1.0, seed=1)
    print(drawn.sentence())
    rng = np.random.default_rng(2)
    services = {
        "retrains": learn(x, y, drawn.status == 2, rng),
        "loses the request": learn(x, y, drawn.status > 0, rng),
    }
    for name, logits in services.items():
        home = folder / name.replace(" ", "_")
        home.mkdir(parents=True, exist_ok=True)
        write(home, logits, drawn.status, y)
        result = audit.read_models(home).audit(claim=CLAIM, seed=3, title=f"A service that {name}", details=5)
        print()
        print(reports.models_summary(result))
        reports.write_models(result, home / "report", formats=("html", "json"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
