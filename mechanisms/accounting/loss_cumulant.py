"""The cumulant function of the privacy loss between two Gaussians that are diagonal together.

Below ``mechanisms.accounting.gaussian_pair``; ``mechanisms.accounting.contour`` integrates it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanisms.protocol import Array

Complex = NDArray[np.complex128]

UNIT = 2.0**-53
_BLOCK = 1 << 16
# Coordinates are merged while what that neglects stays this far below the loss's own scale.
MERGE = 1e-15


@dataclass(frozen=True, kw_only=True, eq=False)
class LossCumulant:
    """The cumulant functions of some pairs' privacy losses, one a row, coordinates with ratio 1 merged.

    Parameters
    ----------
    weights
        Columns times multiplicity of each ratio, shape (rows, m). Rows of fewer ratios end in ratios 1 of weight 0.
    ratios
        Variance ratios c, none equal to 1 where the weight is positive, shape (rows, m).
    shifts
        Squared mean shifts b at those ratios, shape (rows, m).
    flat_shift
        Sum of b over the coordinates with ratio 1, shape (rows,).
    skew_neglected
        Bound on the third-order terms that were lost when ratios near 1 were merged into ``flat_shift``, shape
        (rows,).

    Notes
    -----
    Arguments s have the rows along their first axis; with a single row, any number of entries.
    """

    weights: Array
    ratios: Array
    shifts: Array
    flat_shift: Array
    skew_neglected: Array

    @cached_property
    def gaps(self) -> Array:
        """1 - c, shape (rows, m)."""
        return 1.0 - self.ratios

    @cached_property
    def log_ratios(self) -> Array:
        """Sum of weights times log c, shape (rows,)."""
        return np.asarray(np.vecdot(self.weights, np.log(self.ratios)))

    @cached_property
    def upper(self) -> Array:
        """End of the interval of s > 0 where the cumulant function is finite, shape (rows,)."""
        steepest = np.max(-self.gaps, initial=0.0, axis=1)
        return np.asarray(np.divide(1.0, steepest, out=np.full(steepest.shape, math.inf), where=steepest > 0))

    @cached_property
    def variance(self) -> Array:
        """Variance of the loss under P, shape (rows,)."""
        noise = 0.5 * np.vecdot(self.weights, self.gaps**2)
        return np.asarray(noise + np.vecdot(self.shifts, self.ratios) + self.flat_shift)

    def repeated(self, times: int) -> LossCumulant:
        """Return the functions with every row repeated in place."""
        return LossCumulant(**{name: np.repeat(getattr(self, name), times, axis=0) for name in _FIELDS})

    def value(self, s: Array) -> Array:
        """Return kappa at real s inside the interval where it is finite."""
        # log1p: near s = 0 kappa is a small difference of small logarithms.
        product = s[..., None] * _along(self.gaps, s)
        quadratic = _along(self.flat_shift, s) + np.vecdot(1.0 / (1.0 + product), _along(self.shifts, s))
        log_v = np.vecdot(np.log1p(product), _along(self.weights, s))
        return np.asarray(0.5 * (s * (1.0 + s) * quadratic - s * _along(self.log_ratios, s) - log_v))

    def derivatives(self, s: Array) -> tuple[Array, Array]:
        """Return the first and second derivative of kappa at real s, shape of s."""
        gaps, weights = _along(self.gaps, s), _along(self.weights, s)
        r = 1.0 / (1.0 + s[..., None] * gaps)
        y = gaps * r
        br = r * _along(self.shifts, s)
        # With S = sum b / v:  S' = -sum b (1-c) / v^2,  S'' = 2 sum b (1-c)^2 / v^3.
        s0, s1, s2 = _along(self.flat_shift, s) + br.sum(-1), -np.vecdot(br, y), 2.0 * np.vecdot(br * y, y)
        half, slope = 0.5 * s * (1.0 + s), 0.5 + s
        first = -0.5 * (_along(self.log_ratios, s) + np.vecdot(y, weights)) + slope * s0 + half * s1
        second = 0.5 * np.vecdot(y * y, weights) + s0 + 2.0 * slope * s1 + half * s2
        return np.asarray(first), np.asarray(second)

    def value_complex(self, s: Complex) -> Complex:
        """Return kappa in the upper half plane, s of shape (rows, n); the branch is continuous there."""
        log_v, quadratic = np.zeros(s.shape, complex), np.zeros(s.shape, complex)
        quadratic += self.flat_shift[:, None]
        for part in self._blocks(s.size):
            gaps, weights, shifts = (x[:, None, part] for x in (self.gaps, self.weights, self.shifts))
            re, im = 1.0 + s.real[..., None] * gaps, s.imag[..., None] * gaps
            square = re * re + im * im
            # Real logarithm and arctangent are several times faster than a complex logarithm.
            log_v.real += 0.5 * np.vecdot(np.log(square), weights)
            log_v.imag += np.vecdot(np.arctan2(im, re), weights)
            np.divide(shifts, square, out=square)
            quadratic.real += np.vecdot(re, square)
            quadratic.imag -= np.vecdot(im, square)
        return np.asarray(-0.5 * (s * self.log_ratios[:, None] + log_v) + 0.5 * s * (1.0 + s) * quadratic)

    def slope_complex(self, s: Complex) -> Complex:
        """Return the derivative of kappa at complex s of shape (rows, n)."""
        trace, s0, s1 = (np.zeros(s.shape, complex) for _ in range(3))
        for part in self._blocks(s.size):
            gaps, weights, shifts = (x[:, None, part] for x in (self.gaps, self.weights, self.shifts))
            r = 1.0 / (1.0 + s[..., None] * gaps)
            y, br = r * gaps, r * shifts
            trace += np.vecdot(weights, y)
            s0 += br.sum(-1)
            s1 -= (br * y).sum(-1)
        flat = (0.5 + s) * (self.flat_shift[:, None] + s0) + 0.5 * s * (1.0 + s) * s1
        return np.asarray(flat - 0.5 * (self.log_ratios[:, None] + trace))

    def rounding(self, s: Array) -> Array:
        """Return a bound on the rounding error of kappa at real s."""
        weights = _along(self.weights, s)
        product = s[..., None] * _along(self.gaps, s)
        v = 1.0 + product
        # 1 - c is exact near 1; v loses digits only where 1 and s (1 - c) cancel.
        relative = 1.0 + np.abs(product) / v
        logs = np.abs(s) * _along(self._absolute_logs, s) + np.vecdot(relative + np.abs(np.log(v)), weights)
        shift = _along(self.flat_shift, s) + np.vecdot(relative / v, _along(self.shifts, s))
        return np.asarray(UNIT * (logs + np.abs(s * (1.0 + s)) * shift))

    @cached_property
    def _absolute_logs(self) -> Array:
        return np.asarray(np.vecdot(self.weights, np.abs(np.log(self.ratios))))

    def _blocks(self, points: int) -> Iterator[slice]:
        size = max(1, _BLOCK // max(points, 1))
        return (slice(i, i + size) for i in range(0, self.weights.shape[1], size))


_FIELDS = tuple(field.name for field in fields(LossCumulant))


def _along(per_row: Array, s: Array) -> Array:
    """Return values by row, shape (rows,) or (rows, m), with axes added so that they broadcast against s."""
    if s.ndim <= 1:
        return per_row
    return np.asarray(per_row.reshape(per_row.shape[0], *(1,) * (s.ndim - 1), *per_row.shape[1:]))


def group_coordinates(ratios: Array, shifts: Array, n_columns: int) -> LossCumulant:
    """Return one pair's cumulant function with equal ratios grouped and ratio 1 set apart: exact."""
    one = ratios == 1
    distinct, which, counts = np.unique(ratios[~one], return_inverse=True, return_counts=True)
    grouped = np.bincount(which, weights=shifts[~one], minlength=len(distinct)).astype(np.float64)
    return LossCumulant(
        weights=counts[None].astype(np.float64) * n_columns,
        ratios=distinct[None],
        shifts=grouped[None],
        flat_shift=np.sum(shifts[one], keepdims=True),
        skew_neglected=np.zeros(1),
    )


def merge_near_one(full: LossCumulant) -> LossCumulant:
    """Return one pair's function with ratios very near 1 replaced by the shift that is equal to second order.

    What the third order can make of it is kept in ``skew_neglected``.
    """
    gap, n, b = np.abs(full.gaps[0]), full.weights[0], full.shifts[0]
    widest = np.maximum(full.ratios[0], 1.0)
    scale = float(full.flat_shift[0]) + float(np.sum(0.5 * n * (gap / widest) ** 2 + b / widest))
    skew = n * gap**3 / 3 + b * gap
    order = np.argsort(skew)
    merged = np.zeros(len(gap), dtype=bool)
    merged[order[np.cumsum(skew[order]) <= MERGE * scale**1.5]] = True
    if not merged.any():
        return full
    return LossCumulant(
        weights=n[None, ~merged],
        ratios=full.ratios[:, ~merged],
        shifts=b[None, ~merged],
        flat_shift=full.flat_shift + np.sum((0.5 * n * gap**2 + b)[merged]),
        skew_neglected=np.sum(skew[merged], keepdims=True),
    )


def stack(functions: Sequence[LossCumulant]) -> LossCumulant:
    """Return several functions as rows of one; shorter rows are filled up with ratios 1 of weight 0."""
    width = max(function.weights.shape[1] for function in functions)
    stops = np.cumsum([len(function.weights) for function in functions]).tolist()

    def filled(name: str, value: float) -> Array:
        rows = np.full((stops[-1], width), value)
        for stop, function in zip(stops, functions, strict=True):
            part = getattr(function, name)
            rows[stop - len(part) : stop, : part.shape[1]] = part
        return rows

    return LossCumulant(
        weights=filled("weights", 0.0),
        ratios=filled("ratios", 1.0),
        shifts=filled("shifts", 0.0),
        flat_shift=np.concatenate([function.flat_shift for function in functions]),
        skew_neglected=np.concatenate([function.skew_neglected for function in functions]),
    )
