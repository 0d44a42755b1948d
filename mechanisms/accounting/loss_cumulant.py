"""The cumulant function of the privacy loss between two Gaussians that are diagonal together.

Below ``mechanisms.accounting.gaussian_pair``; ``mechanisms.accounting.contour`` integrates it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanisms.protocol import Array

Complex = NDArray[np.complex128]

UNIT = 2.0**-53
_BLOCK = 1 << 16
# Coordinates are merged while what that neglects stays this far below the loss's own scale.
_MERGE = 1e-15


@dataclass(frozen=True, kw_only=True, eq=False)
class LossCumulant:
    """The cumulant function of the privacy loss, coordinates with ratio 1 merged.

    Parameters
    ----------
    weights
        Columns times multiplicity of each ratio, shape (m,).
    ratios
        Variance ratios c, none equal to 1, shape (m,).
    shifts
        Squared mean shifts b at those ratios, shape (m,).
    flat_shift
        Sum of b over the coordinates with ratio 1.
    skew_neglected
        Bound on the third-order terms that were lost when ratios near 1 were merged into ``flat_shift``.
    """

    weights: Array
    ratios: Array
    shifts: Array
    flat_shift: float
    skew_neglected: float = 0.0

    @cached_property
    def gaps(self) -> Array:
        """1 - c."""
        return 1.0 - self.ratios

    @cached_property
    def log_ratios(self) -> float:
        """Sum of weights times log c."""
        return float(self.weights @ np.log(self.ratios))

    @cached_property
    def upper(self) -> float:
        """End of the interval of s > 0 where the cumulant function is finite."""
        steepest = float(np.max(-self.gaps, initial=0.0))
        return 1.0 / steepest if steepest > 0 else math.inf

    @cached_property
    def variance(self) -> float:
        """Variance of the loss under P."""
        return float(0.5 * self.weights @ self.gaps**2 + self.shifts @ self.ratios) + self.flat_shift

    def value(self, s: Array) -> Array:
        """Return kappa at real s inside the interval where it is finite."""
        # log1p: near s = 0 kappa is a small difference of small logarithms.
        product = s[..., None] * self.gaps
        quadratic = self.flat_shift + (1.0 / (1.0 + product)) @ self.shifts
        log_v = np.log1p(product) @ self.weights
        return np.asarray(0.5 * (s * (1.0 + s) * quadratic - s * self.log_ratios - log_v))

    def derivatives(self, s: Array) -> tuple[Array, Array]:
        """Return the first and second derivative of kappa at real s, shape of s."""
        r = 1.0 / (1.0 + s[..., None] * self.gaps)
        y = self.gaps * r
        br = r * self.shifts
        # With S = sum b / v:  S' = -sum b (1-c) / v^2,  S'' = 2 sum b (1-c)^2 / v^3.
        s0, s1, s2 = self.flat_shift + br.sum(-1), -np.vecdot(br, y), 2.0 * np.vecdot(br * y, y)
        half, slope = 0.5 * s * (1.0 + s), 0.5 + s
        first = -0.5 * (self.log_ratios + y @ self.weights) + slope * s0 + half * s1
        second = 0.5 * ((y * y) @ self.weights) + s0 + 2.0 * slope * s1 + half * s2
        return np.asarray(first), np.asarray(second)

    def value_complex(self, s: Complex) -> Complex:
        """Return kappa in the upper half plane; the branch is continuous there."""
        log_v, quadratic = np.zeros(s.shape, complex), np.full(s.shape, self.flat_shift, complex)
        for part in self._blocks(s.size):
            re = 1.0 + s.real[..., None] * self.gaps[part]
            im = s.imag[..., None] * self.gaps[part]
            square = re * re + im * im
            # Real logarithm and arctangent are several times faster than a complex logarithm.
            log_v += 0.5 * (np.log(square) @ self.weights[part]) + 1j * (np.arctan2(im, re) @ self.weights[part])
            quadratic += (re / square) @ self.shifts[part] - 1j * ((im / square) @ self.shifts[part])
        return np.asarray(-0.5 * (s * self.log_ratios + log_v) + 0.5 * s * (1.0 + s) * quadratic)

    def slope_complex(self, s: Complex) -> Complex:
        """Return the derivative of kappa at complex s."""
        trace, s0, s1 = (np.zeros(s.shape, complex) for _ in range(3))
        for part in self._blocks(s.size):
            r = 1.0 / (1.0 + s[..., None] * self.gaps[part])
            trace += r @ (self.weights[part] * self.gaps[part]).astype(complex)
            s0 += r @ self.shifts[part].astype(complex)
            s1 -= (r * r) @ (self.shifts[part] * self.gaps[part]).astype(complex)
        flat = (0.5 + s) * (self.flat_shift + s0) + 0.5 * s * (1.0 + s) * s1
        return np.asarray(flat - 0.5 * (self.log_ratios + trace))

    def rounding(self, s: Array) -> Array:
        """Return a bound on the rounding error of kappa at real s."""
        product = s[..., None] * self.gaps
        v = 1.0 + product
        # 1 - c is exact near 1; v loses digits only where 1 and s (1 - c) cancel.
        relative = 1.0 + np.abs(product) / v
        logs = np.abs(s) * (np.abs(np.log(self.ratios)) @ self.weights) + (relative + np.abs(np.log(v))) @ self.weights
        quadratic = np.abs(s * (1.0 + s)) * (self.flat_shift + (relative / v) @ self.shifts)
        return np.asarray(UNIT * (logs + quadratic))

    def _blocks(self, points: int) -> Iterator[slice]:
        size = max(1, _BLOCK // max(points, 1))
        return (slice(i, i + size) for i in range(0, len(self.weights), size))


def group_coordinates(ratios: Array, shifts: Array, n_columns: int) -> LossCumulant:
    """Return the cumulant function with equal ratios grouped and ratio 1 set apart: exact."""
    one = ratios == 1
    distinct, which, counts = np.unique(ratios[~one], return_inverse=True, return_counts=True)
    return LossCumulant(
        weights=counts.astype(np.float64) * n_columns,
        ratios=distinct,
        shifts=np.bincount(which, weights=shifts[~one], minlength=len(distinct)).astype(np.float64),
        flat_shift=float(np.sum(shifts[one])),
    )


def merge_near_one(full: LossCumulant) -> LossCumulant:
    """Return the same function with ratios very near 1 replaced by the shift that is equal to second order.

    What the third order can make of it is kept in ``skew_neglected``.
    """
    gap, n, b = np.abs(full.gaps), full.weights, full.shifts
    widest = np.maximum(full.ratios, 1.0)
    scale = full.flat_shift + float(np.sum(0.5 * n * (gap / widest) ** 2 + b / widest))
    skew = n * gap**3 / 3 + b * gap
    order = np.argsort(skew)
    merged = np.zeros(len(gap), dtype=bool)
    merged[order[np.cumsum(skew[order]) <= _MERGE * scale**1.5]] = True
    if not merged.any():
        return full
    return LossCumulant(
        weights=n[~merged],
        ratios=full.ratios[~merged],
        shifts=b[~merged],
        flat_shift=full.flat_shift + float(np.sum((0.5 * n * gap**2 + b)[merged])),
        skew_neglected=float(np.sum(skew[merged])),
    )
