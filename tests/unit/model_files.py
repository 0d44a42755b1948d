"""Write outputs of models as other tools publish them, by plain numpy and nothing of ours.

LiRA: tensorflow/privacy, research/mi_lira_2021 (train.py: hparams.json, keep.npy; inference.py: logits of shape
(records, 1, augmentations, classes); y_train.npy). ML Privacy Meter: models/memberships.npy, models_metadata.json and
signals/rmia_signals.npy of shape (records, models). EasyDUB: id_<model>_epoch_23.npy, margins of points.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

MODELS, RECORDS, CLASSES = 64, 12, 4


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a status by coins, and which models unlearn: the odd ones."""
    rng = np.random.default_rng(seed)
    unlearns = np.arange(MODELS) % 2 == 1
    retained = rng.random((MODELS, RECORDS)) < 0.5
    forgotten = ~retained & unlearns[:, None] & (rng.random((MODELS, RECORDS)) < 0.7)
    return np.where(retained, 2, np.where(forgotten, 1, 0)).astype(np.int8), unlearns


def logits(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((MODELS, RECORDS, CLASSES)).astype(np.float32)


def classes() -> np.ndarray:
    return np.arange(RECORDS) % CLASSES


def write_lira(folder: Path, *, with_status: bool = True) -> Path:
    status, _ = drawn()
    outputs = np.stack([logits(1), logits(2)], axis=2)
    np.save(folder / "y_train.npy", classes())
    for i in range(MODELS):
        home = folder / f"experiment-{i}_{MODELS}"
        (home / "logits").mkdir(parents=True)
        (home / "hparams.json").write_text(json.dumps({"arch": "wrn28-2", "expid": i}))
        np.save(home / "keep.npy", status[i] > 0)
        np.save(home / "logits" / f"{90:010d}", np.zeros_like(outputs[i][:, None]))
        np.save(home / "logits" / f"{100:010d}", outputs[i][:, None, :, :])
    if with_status:
        np.save(folder / "status.npy", status)
    return folder


def write_privacy_meter(folder: Path) -> Path:
    status, _ = drawn()
    (folder / "models").mkdir(parents=True)
    (folder / "signals").mkdir()
    np.save(folder / "models" / "memberships.npy", status > 0)
    described = {str(i): {"model_name": "wrn28-2", "model_path": f"model_{i}.pkl"} for i in range(MODELS)}
    (folder / "models" / "models_metadata.json").write_text(json.dumps(described))
    own = np.take_along_axis(np.exp(logits()), classes()[None, :, None], axis=2)[:, :, 0]
    np.save(folder / "signals" / "rmia_signals.npy", (own / np.exp(logits()).sum(axis=2)).T)
    np.save(folder / "status.npy", status)
    return folder


def write_margins(folder: Path) -> Path:
    values = np.random.default_rng(3).standard_normal((2, MODELS // 2, RECORDS)).astype(np.float32)
    for name, side in zip(("unlearned", "oracle"), values, strict=True):
        home = folder / name / "forget_2" / "forget" / "resnet9"
        home.mkdir(parents=True)
        for i, row in enumerate(side):
            np.save(home / f"id_{i}_epoch_23.npy", row)
    return folder


def write_pair(folder: Path, suffix: str = "npy") -> Path:
    folder.mkdir(exist_ok=True)
    half = MODELS // 2
    for name, rows in (("unlearned", logits()[:half]), ("retrained", logits()[half:])):
        if suffix == "npy":
            np.save(folder / f"{name}.npy", rows)
        else:
            lines = [",".join(repr(float(v)) for v in row) for row in rows[:, :, 0]]
            (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    if suffix == "npy":
        np.save(folder / "labels.npy", classes())
    (folder / "records.txt").write_text("".join(f"person {i}\n" for i in range(RECORDS)))
    return folder


def write_matrix(folder: Path) -> Path:
    status, unlearns = drawn()
    np.save(folder / "outputs.npy", logits().astype(np.float16))
    np.save(folder / "status.npy", status)
    np.save(folder / "kinds.npy", np.where(unlearns, "deletion", "reference"))
    np.save(folder / "labels.npy", classes())
    return folder


def write_table(folder: Path, *, with_status: bool = False) -> Path:
    status, unlearns = drawn()
    lines = ["id,kind,seed,digest"]
    for i, row in enumerate(logits()):
        np.save(folder / f"{i:06d}.npy", row)
        lines.append(f"{i:06d},{'deletion' if unlearns[i] else 'reference'},{1000 + i},{i:064x}")
    (folder / "models.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "labels.npy", classes())
    if with_status:
        np.save(folder / "status.npy", status)
    return folder


def write_archive(folder: Path) -> Path:
    half = MODELS // 2
    np.savez(folder / "pair.npz", unlearned=logits()[:half], retrained=logits()[half:], labels=classes())
    return folder / "pair.npz"
