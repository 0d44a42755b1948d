"""How far gradient descent gets on given data: the directions in which learning has not moved are said, not certified.

With one feature in large units the step size 1/L is right for it alone: every other direction stays at 0 in all
worlds, and certificates become tiny because nothing was learned.
"""

from __future__ import annotations

import numpy as np

from mechanisms.dataset import Dataset

# Below these shares a model has learned little of what its data determine.
SMALL_PART_OF_DIRECTIONS = 0.2
SMALL_PART_OF_FIT = 0.5


def unmoved_note(data: Dataset, *, penalty: float, step_size: float, n_learn: int) -> str | None:
    """Return a sentence if learning leaves most directions where it started, or most of the fit undone.

    Parameters
    ----------
    data
        The records that a model learns from.
    penalty, step_size, n_learn
        lambda, eta and T of gradient descent from 0 on ``1/2 |XW - Y|^2 + (lambda/2) |W|^2``.

    Notes
    -----
    In the direction of curvature m a model has gone the share ``1 - (1 - eta m)^T`` of its way. Directions are weighted
    by ``s^2 / (s^2 + lambda)``, s the singular value of X: how far data and not the penalty determine them (their sum
    is the effective number of parameters; Hastie, Tibshirani, Friedman 2009, section 3.4.1).
    """
    left, singular, _ = np.linalg.svd(data.features, full_matrices=False)
    weights = singular**2 / (singular**2 + penalty)
    moved = 1 - (1 - step_size * (singular**2 + penalty)) ** n_learn
    determined, reached = float(weights.sum()), float((weights * moved).sum())
    fitted = left.T @ data.targets
    best, found = (_explained(data, left @ (w[:, None] * fitted)) for w in (weights, weights * moved))
    few = reached < SMALL_PART_OF_DIRECTIONS * determined
    if not few and found >= SMALL_PART_OF_FIT * best:
        return None
    return (
        f"learning moves in {reached:.1f} of the {determined:.1f} directions that the data determine: {n_learn:,} "
        f"steps of size {step_size:.3g} explain {found:.2f} of the variance of the targets, and the ridge solution "
        f"{best:.2f}. "
        "Where nothing is learned nothing leaks, so certificates are small for this reason alone; divide features in "
        "large units by public constants, remove identifiers, or take more steps."
    )


def _explained(data: Dataset, predictions: np.ndarray) -> float:
    """Return R squared, 0 for targets that do not vary."""
    total = float(np.sum((data.targets - data.targets.mean(axis=0)) ** 2))
    return 1 - float(np.sum((data.targets - predictions) ** 2)) / total if total > 0 else 0.0
