"""Epsilons of many pairs at once, for maps over all records of a data set.

The same searches as :meth:`GaussianPair.epsilon`, which stays the oracle and takes every pair that is out of the
ordinary; together they save the overhead of one call a pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.accounting.contour import HOCKEY_STICK, Integral, integrate
from mechanisms.accounting.gaussian_pair import EDGE, HOPELESS, SEARCH_TOLERANCE, SUSPECT_ERROR, GaussianPair
from mechanisms.accounting.grids import guess_epsilon
from mechanisms.accounting.loss_cumulant import MERGE, UNIT, LossCumulant
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class ManyPairs:
    """Pairs as rows of arrays, without an object for each: what is wrong with one is said once it is asked for.

    Parameters
    ----------
    ratios, shifts
        As ``variance_ratios`` and ``squared_shifts`` of :class:`GaussianPair`, shape (m, p). Shorter pairs are filled
        up with ratios 1 and shifts 0, which are free of charge.
    n_columns
        As in :class:`GaussianPair`, shape (m,).
    """

    ratios: Array
    shifts: Array
    n_columns: NDArray[np.intp]

    def __post_init__(self) -> None:
        hopeless = (self.shifts > HOPELESS) | (self.shifts > HOPELESS * self.ratios)
        if hopeless.any():
            object.__setattr__(self, "shifts", np.where(hopeless, math.inf, self.shifts))

    @staticmethod
    def of(pairs: Sequence[GaussianPair]) -> ManyPairs:
        """Return these pairs."""
        return ManyPairs(
            ratios=_filled([pair.variance_ratios[None] for pair in pairs], 1.0),
            shifts=_filled([pair.squared_shifts[None] for pair in pairs], 0.0),
            n_columns=np.array([pair.n_columns for pair in pairs], dtype=np.intp),
        )

    @staticmethod
    def joined(first: ManyPairs, second: ManyPairs) -> ManyPairs:
        """Return the pairs of one, then those of the other."""
        return ManyPairs(
            ratios=_filled([first.ratios, second.ratios], 1.0),
            shifts=_filled([first.shifts, second.shifts], 0.0),
            n_columns=np.concatenate([first.n_columns, second.n_columns]),
        )

    def __len__(self) -> int:
        return len(self.ratios)

    def __getitem__(self, row: int) -> GaussianPair:
        return GaussianPair(
            variance_ratios=self.ratios[row], squared_shifts=self.shifts[row], n_columns=int(self.n_columns[row])
        )

    def take(self, rows: NDArray[np.intp]) -> ManyPairs:
        """Return some of the pairs, in this order."""
        return ManyPairs(ratios=self.ratios[rows], shifts=self.shifts[rows], n_columns=self.n_columns[rows])

    def both_directions(self) -> ManyPairs:
        """Return each pair followed by its :meth:`GaussianPair.reversed`."""
        m, p = self.ratios.shape
        with np.errstate(all="ignore"):
            ratios = np.stack([self.ratios, 1.0 / self.ratios], axis=1).reshape(2 * m, p)
            shifts = np.stack([self.shifts, self.shifts / self.ratios], axis=1).reshape(2 * m, p)
        return ManyPairs(ratios=ratios, shifts=shifts, n_columns=np.repeat(self.n_columns, 2))

    @cached_property
    def disjoint(self) -> NDArray[np.bool_]:
        """Whether an event has probability 1 under P and 0 under Q, shape (m,)."""
        return np.asarray(np.isinf(self.shifts).any(axis=1))

    @cached_property
    def identical(self) -> NDArray[np.bool_]:
        """Whether P equals Q, shape (m,)."""
        return np.asarray(np.all(self._one & (self.shifts == 0), axis=1))

    @cached_property
    def ordinary(self) -> NDArray[np.bool_]:
        """Whether all is in range, the laws overlap and their covariances differ, shape (m,)."""
        known = (self.ratios > 0) & np.isfinite(self.ratios) & (self.shifts >= 0) & np.isfinite(self.shifts)
        return np.asarray(np.all(known, axis=1) & ~np.all(self._one, axis=1))

    @cached_property
    def max_loss(self) -> Array:
        """Largest possible losses in nats, rounded up, of ordinary pairs, shape (m,)."""
        c, b = self.ratios, self.shifts
        unbounded = np.any((c > 1) | (self._one & (b > 0)), axis=1)
        found, some = np.full(len(c), math.inf), np.flatnonzero(~unbounded)
        c, b, one = c[some], b[some], self._one[some]
        noise = -0.5 * self.n_columns[some] * np.sum(np.log(c), axis=1)
        total = noise + np.sum(0.5 * b / np.where(one, 1.0, 1.0 - c), axis=1)
        found[some] = total * (1.0 + 64 * UNIT)
        return found

    def losses(self, *, merged: bool = True) -> LossCumulant:
        """Return the cumulant functions of the losses of ordinary pairs, ratios very near 1 merged or not.

        Merged as in ``loss_cumulant.merge_near_one``, in all rows at once; equal ratios are left apart.
        """
        gap = np.abs(1.0 - self.ratios)
        n, b = np.where(self._one, 0.0, self.n_columns[:, None].astype(np.float64)), self.shifts
        flat = np.sum(b, axis=1, where=self._one)
        b = np.where(self._one, 0.0, b)
        skew = n * gap**3 / 3 + b * gap
        widest = np.maximum(self.ratios, 1.0)
        scale = flat + np.sum(0.5 * n * (gap / widest) ** 2 + b / widest, axis=1)
        order = np.argsort(skew, axis=1)
        skew, n, b, gap, ratios = (np.take_along_axis(a, order, axis=1) for a in (skew, n, b, gap, self.ratios))
        # Ratios 1 come first: nothing is lost with them.
        limit = MERGE * scale**1.5 if merged else np.zeros(len(scale))
        away = np.cumsum(skew, axis=1) <= limit[:, None]
        if not merged:
            away = n == 0
        # Those that stay are the last ones of each row.
        first = int(away.sum(axis=1).min(initial=away.shape[1]))
        gone = np.where(away, 0.5 * n * gap**2 + b, 0.0).sum(axis=1)
        neglected = np.sum(skew, axis=1, where=away)
        stay = ~away[:, first:]
        return LossCumulant(
            weights=np.where(stay, n[:, first:], 0.0),
            ratios=np.where(stay, ratios[:, first:], 1.0),
            shifts=np.where(stay, b[:, first:], 0.0),
            flat_shift=flat + gone,
            skew_neglected=neglected,
        )

    @cached_property
    def _one(self) -> NDArray[np.bool_]:
        return np.asarray(self.ratios == 1)


def _filled(parts: Sequence[Array], value: float) -> Array:
    """Return the rows of matrices below one another, shorter ones filled up."""
    width = max((part.shape[1] for part in parts), default=0)
    rows = np.full((sum(len(part) for part in parts), width), value)
    start = 0
    for part in parts:
        rows[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return rows


def epsilons(pairs: Sequence[GaussianPair] | ManyPairs, delta: ArrayLike) -> Array:
    """Return the smallest epsilon of every pair at ``delta``, rounded up: delta there is at most ``delta``.

    Parameters
    ----------
    pairs
        Any pairs; those of similar size together cost least.
    delta
        In [0, 1], one for all or one a pair.

    Returns
    -------
    numpy.ndarray
        Shape (len(pairs),), in nats; equal to each pair's own :meth:`GaussianPair.epsilon` up to the tolerance of
        the search (log delta at the result is below its target by at most about 1e-11).

    Raises
    ------
    InvalidInputError
        When a delta is outside [0, 1].
    """
    deltas = np.broadcast_to(np.asarray(delta, dtype=np.float64), (len(pairs),))
    if not np.all((deltas >= 0) & (deltas <= 1)):
        wrong = deltas[~((deltas >= 0) & (deltas <= 1))][0]
        raise InvalidInputError(field="delta", expected="in [0, 1]", got=wrong, fix="give a probability")
    many = pairs if isinstance(pairs, ManyPairs) else ManyPairs.of(pairs)
    found = np.full(len(many), np.nan)
    ordinary = np.flatnonzero((deltas > 0) & (deltas < 1) & many.ordinary)
    if len(ordinary):
        found[ordinary] = _search(many.take(ordinary), np.log(deltas[ordinary]))
    for i in np.flatnonzero(np.isnan(found)).tolist():
        found[i] = pairs[i].epsilon(float(deltas[i]))
    return found


def _search(pairs: ManyPairs, targets: Array) -> Array:
    """Return epsilons where the first guess was verified to be one, or the next one; NaN elsewhere."""
    loss, largest = pairs.losses(), pairs.max_loss
    guess = guess_epsilon(loss, targets - SEARCH_TOLERANCE / 2, largest)
    inside = ~guess.near_zero & (guess.levels < largest * (1 - EDGE))
    levels = np.where(inside, guess.levels, np.where(np.isfinite(largest), 0.5 * largest, 1.0))
    verified = inside & _passes(integrate(loss, levels, HOCKEY_STICK), targets)
    again = np.flatnonzero(inside & ~verified)
    if len(again):
        # The merged coordinates may be what costs accuracy: take every coordinate by itself there.
        loss = pairs.take(again).losses(merged=False)
        near = integrate(loss, levels[again], HOCKEY_STICK)
        with np.errstate(invalid="ignore"):
            moved = levels[again] + (near.log_upper - targets[again] + SEARCH_TOLERANCE / 2) / near.mean_s
        useful = (moved > 0) & (moved < largest[again] * (1 - EDGE))
        levels[again] = np.where(useful, moved, levels[again])
        verified[again] = useful & _passes(integrate(loss, levels[again], HOCKEY_STICK), targets[again])
    return np.where(verified, levels, np.nan)


def _passes(result: Integral, targets: Array) -> NDArray[np.bool_]:
    """Return where log delta is at most its target, by hardly more than it must."""
    gap = result.log_upper - targets
    close = (gap <= 0) & (gap >= -SEARCH_TOLERANCE - 4 * result.log_error)
    return np.asarray(close & (result.log_error <= SUSPECT_ERROR))
