"""The distance to a cloud of releases that have more numbers than there are trials, without its matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.shrunk import ShrunkRows
from attacks.quadratic.score import flat

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WideDistance:
    """Score = squared Mahalanobis distance to a mean, by a covariance that is held by its rows.

    Parameters
    ----------
    mean, scale
        Of the cloud, shape (d,); columns of scale 0 carry no weight.
    covariance
        Of the used columns in units of their scale.
    """

    mean: Array
    scale: Array
    covariance: ShrunkRows

    @staticmethod
    def of(trials: Array, scale: Array) -> WideDistance:
        """Return the distance to flattened trials, shape (n, d)."""
        used, mean = scale > 0, trials.mean(axis=0)
        return WideDistance(mean=mean, scale=scale, covariance=ShrunkRows.of(_in_units(trials, mean, scale, used)))

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,)."""
        points = _in_units(flat(releases), self.mean, self.scale, self.scale > 0)
        return self.covariance.distances(points)


def _in_units(rows: Array, mean: Array, scale: Array, used: NDArray[np.bool_]) -> Array:
    if np.all(used):
        found = rows - mean
        found /= scale
        return found
    return np.asarray((rows[:, used] - mean[used]) / scale[used])
