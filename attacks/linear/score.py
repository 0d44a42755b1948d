"""A fitted attack that scores by one linear functional of the release."""

from __future__ import annotations

import math
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
        return project(releases, self.weights) + self.offset


def project(releases: Array, weights: Array) -> Array:
    """Return <release, weights> for each release, shape (n,)."""
    product: Array = releases.reshape(len(releases), -1) @ weights.reshape(-1)
    return product


def project_on(releases: Array, directions: Array) -> Array:
    """Return <release, direction> for each release and direction, shape (n, r); directions have shape (r, *release)."""
    size = math.prod(releases.shape[1:])
    product: Array = releases.reshape(-1, size) @ directions.reshape(-1, size).T
    return product
