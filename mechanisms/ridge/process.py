"""The frozen description of one ridge deletion: data that the two samplers share, and no computation.

``stepwise`` simulates this description, ``laws`` solves it; they share no code, so that one can refute the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import require

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeProcess:
    """Learning and unlearning of ridge regression by noisy gradient descent, bound to data and a forget set.

    The objective is ``1/2 |X W - Y|^2 + (penalty/2) |W|^2`` (a sum over records, not a mean), W starts at 0, and
    each step is ``W <- W - step_size * gradient + sigma * Z`` with Z of independent N(0, 1) entries.

    Parameters
    ----------
    data, retained, deleted
        D, D minus S, and S.
    penalty
        lambda, positive.
    step_size
        eta, frozen from D and used in every world.
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
    penalty: float
    step_size: float
    n_learn: int
    n_unlearn: int
    sigma_learn: float
    sigma_unlearn: float
    reference: Reference

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (p, q) of the weights."""
        return self.data.features.shape[1], self.data.targets.shape[1]


def check_settings(*, penalty: float, n_learn: int, n_unlearn: int, sigma_learn: float) -> None:
    """Refuse settings with which no process runs.

    Raises
    ------
    InvalidInputError
        For the first value out of range.
    """
    require(0 < penalty < np.inf, "penalty", expected="positive and finite", got=penalty, fix="1.0 is a good start")
    require(n_learn >= 1, "n_learn", expected="at least 1", got=n_learn, fix="300 is a good start")
    require(n_unlearn >= 0, "n_unlearn", expected="at least 0", got=n_unlearn, fix="0 means no unlearning at all")
    noise = "at least 0 and finite"
    require(0 <= sigma_learn < np.inf, "sigma_learn", expected=noise, got=sigma_learn, fix="0.001 is usual")


def noise_floor(sigma_learn: float) -> float:
    """Return the smallest positive unlearning noise that a calibration returns, a share 1e-9 of the learning noise.

    After many steps a noise far below the rounding of the weights can be enough on paper, and would be lost in it.
    """
    return 1e-9 * (sigma_learn or 1e-6)
