"""A fitted attack that scores by one linear functional of the release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearScore:
    """Score = <release, weights> + offset.

    Parameters
    ----------
    weights
        Shape of one release.
    offset
        Added to every score.
    """

    weights: Array
    offset: float = 0.0

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,)."""
        axes = list(range(1, releases.ndim))
        product: Array = np.tensordot(releases, self.weights, axes=(axes, list(range(self.weights.ndim))))
        return product + self.offset
