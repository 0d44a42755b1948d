"""A fitted attack that scores by one quadratic function of the release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticScore:
    """Score = y' matrix y + <y, linear> + offset for the flattened release y.

    Parameters
    ----------
    matrix
        Symmetric, shape (d, d).
    linear
        Shape (d,).
    offset
        Added to every score.
    """

    matrix: Array
    linear: Array
    offset: float

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,)."""
        y = flat(releases)
        return np.asarray(np.einsum("ij,ij->i", y @ self.matrix + self.linear, y) + self.offset)


def flat(releases: Array) -> Array:
    """Return releases as rows of numbers, shape (n, d)."""
    return releases.reshape(len(releases), -1)
