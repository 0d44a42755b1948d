"""What an attacker computes from the retained data and the public hyper-parameters of a linear model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]


def linear_model(context: AttackContext, attack: str) -> tuple[int, ...]:
    """Return the release's shape if a release is the (p, q) weights of a linear model on these data.

    Raises
    ------
    NotApplicableError
        When it is not.
    """
    shape = context.release.shape
    p, q = context.deleted.features.shape[1], context.deleted.targets.shape[1]
    if shape == (p, q) or (q == 1 and shape == (p,)):
        return shape
    raise NotApplicableError(
        f"{attack} needs releases that are linear weights of shape ({p}, {q}), got shape {shape}; use lda instead"
    )


def penalty_of(context: AttackContext, attack: str) -> float:
    """Return the public ridge penalty.

    Raises
    ------
    NotApplicableError
        When the mechanism does not publish one.
    """
    penalty = context.parameters.get("penalty")
    if not isinstance(penalty, int | float) or not np.isfinite(penalty) or penalty <= 0:
        raise NotApplicableError(
            f"{attack} needs the public hyper-parameter 'penalty' (positive), got {penalty!r}; "
            "pass parameters={'penalty': ...} with the mechanism"
        )
    return float(penalty)


def curvature(context: AttackContext, attack: str) -> Array:
    """Return X'X + penalty I of the retained data, shape (p, p)."""
    x = context.retained.features
    gram: Array = x.T @ x
    return gram + penalty_of(context, attack) * np.eye(x.shape[1])


def ridge_optimum(context: AttackContext, attack: str) -> Array:
    """Return the ridge optimum of the retained data, shape (p, q)."""
    x, y = context.retained.features, context.retained.targets
    return np.asarray(np.linalg.solve(curvature(context, attack), x.T @ y), dtype=np.float64)
