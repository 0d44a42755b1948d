"""The frozen description of one deletion from logistic or softmax regression: data, and no computation of laws.

``stepwise`` simulates this description; ``gaps`` bounds what the deleted records do to it. They share no code beyond
the constants below, so that an audit of one can refute the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
# Singular values are raised by this share, more than their rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is known of a loss of linear predictions, whatever they are.

    Parameters
    ----------
    name
        "logistic" (two classes, one column of weights) or "softmax" (a column for each class).
    curvature
        Largest second derivative along a unit vector of predictions: the gradient's Lipschitz constant.
    largest
        Largest norm of a record's residual (prediction minus label, as probabilities).
    """

    name: str
    curvature: float
    largest: float


# The derivative of 1/(1 + e^-t) is at most 1/4, and a residual lies in (-1, 1).
LOGISTIC = Loss(name="logistic", curvature=0.25, largest=1.0)
# v'(diag(p) - pp')v is the variance of v under p: at most (max v - min v)^2 / 4, which is at most |v|^2 / 2. And
# |p - e_y|^2 is at most (1 - p_y)^2 + (sum of the others)^2 = 2 (1 - p_y)^2.
SOFTMAX = Loss(name="softmax", curvature=0.5, largest=math.sqrt(2.0))


def loss_of(data: Dataset) -> Loss:
    """Return the loss for a data set's targets, after checking them.

    Raises
    ------
    InvalidInputError
        When the targets are neither one column of 0 and 1 (or -1 and 1) nor one-hot rows.
    """
    y = data.targets
    if y.shape[1] == 1:
        if not (np.isin(y, (0.0, 1.0)).all() or np.isin(y, (-1.0, 1.0)).all()):
            raise InvalidInputError(
                field="targets", expected="0 and 1, or -1 and 1", got="other values", fix="give classes, not numbers"
            )
        return LOGISTIC
    if not (np.isin(y, (0.0, 1.0)).all() and np.all(y.sum(axis=1) == 1)):
        raise InvalidInputError(
            field="targets", expected="one-hot rows", got="other values", fix='load classes: kind = "classification"'
        )
    return LOGISTIC if y.shape[1] == 2 else SOFTMAX


def labels_of(data: Dataset, loss: Loss) -> Array:
    """Return what predictions are compared with, shape (n, q): 0 and 1 of the last class, or one-hot rows."""
    y = data.targets[:, -1:] if loss is LOGISTIC or loss == LOGISTIC else data.targets
    return np.asarray(y > 0, dtype=np.float64)


def smoothness_of(features: Array, loss: Loss, penalty: float) -> float:
    """Return the largest curvature of the objective, rounded up: curvature times lambda_max(X'X), plus the penalty."""
    widest = float(np.linalg.norm(features, 2)) * (1 + _ROUNDING) if features.size else 0.0
    return loss.curvature * widest**2 + penalty


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticProcess:
    """Learning and unlearning by noisy gradient descent, bound to data and a forget set.

    The objective is the sum of the records' log-losses plus ``(penalty/2) |W|^2`` (a sum, not a mean), W starts at 0,
    and each step is ``W <- W - step_size * gradient + sigma * Z`` with Z of independent N(0, 1) entries.

    Parameters
    ----------
    data, retained, deleted
        D, D minus S, and S.
    loss
        Logistic or softmax.
    penalty
        lambda, positive.
    step_size
        eta, frozen when the deletion is bound and used in every world.
    n_learn, n_unlearn
        T steps on D (or D minus S) and K further steps.
    sigma_learn, sigma_unlearn
        Standard deviation of the noise that is added at each step of the two phases.
    reference
        The reference world.
    """

    data: Dataset
    retained: Dataset
    deleted: Dataset
    loss: Loss
    penalty: float
    step_size: float
    n_learn: int
    n_unlearn: int
    sigma_learn: float
    sigma_unlearn: float
    reference: Reference

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (p, q) of the weights; one column for two classes."""
        return self.data.features.shape[1], 1 if self.loss == LOGISTIC else self.data.targets.shape[1]

    @cached_property
    def contraction(self) -> float:
        """Lipschitz constant of a step on the retained data, rounded up, at most 1."""
        return min(1.0, self.lipschitz(self.retained))

    @cached_property
    def expansion(self) -> float:
        """Lipschitz constant of a step on the full data, rounded up; above 1 where step_size L(D) > 2."""
        return self.lipschitz(self.data)

    def lipschitz(self, data: Dataset) -> float:
        """Return ``max(1 - eta lambda, eta L - 1)`` of some data, rounded up, positive."""
        largest = smoothness_of(data.features, self.loss, self.penalty)
        found = max(1 - self.step_size * self.penalty, self.step_size * largest - 1)
        return found * (1 + _ROUNDING) + _ROUNDING
