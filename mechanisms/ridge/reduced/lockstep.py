"""Calibrate single records in lockstep: each search takes its step, and all are evaluated together.

A search looks at the best value of each pair, raised for its error once it is near its end. What it finds is certified
by the same bounds as in :mod:`mechanisms.ridge.reduced.one_by_one`, which takes the records that are out of the
ordinary, and those that are not certified here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.contour import HOCKEY_STICK, integrate
from mechanisms.accounting.gaussian_pair import EDGE
from mechanisms.accounting.loss_cumulant import LossCumulant, stack
from mechanisms.ridge.process import noise_floor
from mechanisms.ridge.reduced.bounded_pair import LOG_SHARE
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.reduced.many_deletions import ManyDeletions
from mechanisms.ridge.reduced.one_by_one import NOISE_TOLERANCE, STRETCH, TRUNCATION_SHARE, OneByOne
from mechanisms.ridge.reduced.together import Together, reduce_together

Array = NDArray[np.float64]

# A search ends this near to the smallest noise that passes, as a logarithm, and what is returned lies above that by
# nearly all that is tolerated: hence not below what the search of one record returns, which aims at the middle.
_NEAR = 2e-8
_MARGIN = 0.95 * NOISE_TOLERANCE
# From here on the error of the pairs is looked at.
_CLOSE = 1e-3
# How fast the shift that is left falls with the noise, both as logarithms, before anything is known.
_FIRST_SLOPE = -0.8
_MOST_STEPS = 40
# A larger error of log delta, in nats, hands a record over.
_LARGEST_ERROR = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Lockstep:
    """Calibrates many single records of a data set together.

    Parameters
    ----------
    setup
        Of the data set.
    target, delta
        What is to be met.
    """

    setup: KrylovSetup
    target: float
    delta: float

    def rows(self, records: NDArray[np.intp], projected: Array, start: float) -> Array:
        """Return what :meth:`OneByOne.rows` returns, never a smaller noise."""
        rows = np.full((len(records), 4), math.nan)
        targets = self.setup.data.targets[records]
        groups, _ = reduce_together(self.setup, projected, targets, sigma_unlearn=start)
        for group in groups:
            rows[group.which] = self._rows_of(group, start)
        known = rows[np.isfinite(rows[:, 0]) & (rows[:, 0] > 0), 0]
        left = np.flatnonzero(np.isnan(rows[:, 0]))
        usual = float(np.median(known)) if len(known) else start
        if len(left):
            alone = OneByOne(setup=self.setup, target=self.target, delta=self.delta, share=_NEAR, margin=_MARGIN)
            rows[left] = alone.rows(records[left], projected[left], usual)
        return rows

    def _rows_of(self, group: Together, start: float) -> Array:
        """Return the rows of some records; NaN where the way of one at a time must be gone."""
        alone = group.before.epsilons(self.delta)
        without = alone.max(axis=1)
        noise = np.where(without <= self.target, 0.0, math.inf)
        epsilons = alone.copy()
        open_ = np.flatnonzero(without > self.target)
        if len(open_) and self.setup.n_unlearn > 0:
            deletions = group.deletions.take(open_)
            noise[open_] = _Search(deletions=deletions, target=self.target, delta=self.delta).smallest(start)
            found = np.flatnonzero(np.isfinite(noise[open_]))
            noise[open_] *= 1 + _MARGIN
            certified = self._certified(deletions.take(found), noise[open_[found]])
            epsilons[open_[found]] = certified
            noise[open_[found[np.isnan(certified[:, 0])]]] = math.nan
        return np.column_stack([noise, epsilons, without])

    def _certified(self, deletions: ManyDeletions, noise: Array) -> Array:
        """Return both directions' epsilons, shape (m, 2), NaN where they miss the target or may be much too large."""
        if not len(noise):
            return np.empty((0, 2))
        pairs = deletions.bounded_pairs(noise)
        epsilons = pairs.epsilons(self.delta)
        errors = pairs.errors(self.delta, epsilons.max(axis=1))
        misses = (epsilons.max(axis=1) > self.target) | (errors > TRUNCATION_SHARE * self.target)
        return np.where(misses[:, None], math.nan, epsilons)


@dataclass(kw_only=True, eq=False)
class _Search:
    """Smallest noises of some records, by secant steps inside brackets, all in logarithms.

    The searches are for where ``log mu`` meets its target, mu being about what a Gaussian shift with the same delta at
    the target epsilon has: nearly linear in the logarithm of the noise.
    """

    deletions: ManyDeletions
    target: float
    delta: float
    _slack: Array = field(init=False)

    def smallest(self, start: float) -> Array:
        """Return the noises, shape (m,); NaN where there is no search like the others."""
        m = len(self.deletions.nodes)
        self._slack = np.full(m, math.nan)
        found, at = np.full(m, math.nan), np.full(m, math.log(start))
        low, high = np.full(m, -math.inf), np.full(m, math.inf)
        at_before, gap_before = np.full(m, math.nan), np.full(m, math.nan)
        floor = math.log(noise_floor(self.deletions.sigma_learn)) + STRETCH
        active, deletions = np.arange(m), self.deletions
        for _ in range(_MOST_STEPS):
            gap = self._gaps(active, deletions, np.exp(at))
            known = ~np.isnan(self._slack[active])
            low, high = np.where(gap > 0, at, low), np.where(gap <= 0, at, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = (gap - gap_before) / (at - at_before)
            slope = np.where(np.isnan(slope), _FIRST_SLOPE, slope)
            # A secant may be flat, where the sign of the gap is all that is known.
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = np.where(slope < 0, -gap / slope, np.copysign(STRETCH, gap))
            ended = (np.abs(step) <= _NEAR) & known
            found[active[ended]] = np.exp((at + step)[ended])
            self._look_at_errors(active, deletions, np.exp(at), ~known & (np.abs(step) < _CLOSE))
            moved = at + np.clip(step, -STRETCH, STRETCH)
            with np.errstate(invalid="ignore"):
                outside = ~((low <= moved) & (moved <= high))
                moved = np.where(outside, (low + high) / 2, moved)
            goes_on = ~ended & np.isfinite(moved) & np.isfinite(gap) & (moved > floor)
            if not goes_on.any():
                break
            at_before, gap_before, at = at[goes_on], gap[goes_on], moved[goes_on]
            low, high, active = low[goes_on], high[goes_on], active[goes_on]
            if not goes_on.all():
                deletions = deletions.take(np.flatnonzero(goes_on))
        return found

    def _look_at_errors(
        self, active: NDArray[np.intp], deletions: ManyDeletions, noise: Array, these: NDArray[np.bool_]
    ) -> None:
        """Raise for the error of these pairs from now on."""
        rows = np.flatnonzero(these)
        if not len(rows):
            return
        odds = LOG_SHARE - math.log(self.delta) + self.target
        self._slack[active[rows]] = deletions.take(rows).bounded_pairs(noise[rows]).slack(odds)

    def _gaps(self, active: NDArray[np.intp], deletions: ManyDeletions, noise: Array) -> Array:
        """Return by how much log mu is above its target."""
        slack = self._slack[active]
        slack = np.where(np.isnan(slack), 0.0, slack)
        loss = stack(list(deletions.losses(noise)))
        logs = _log_deltas(loss, np.tile(self.target - slack, 2)) + np.tile(slack, 2)
        return _log_shift(logs.reshape(2, -1).max(axis=0), self.target) - _log_shift(
            np.full(1, math.log(self.delta)), self.target
        )


def _log_deltas(loss: LossCumulant, levels: Array) -> Array:
    """Return log delta, rounded up, one a row; NaN where it is not known well."""
    bounded = ~((loss.ratios > 1) & (loss.weights > 0)).any(axis=1) & (loss.flat_shift == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = -0.5 * loss.weights * np.log(loss.ratios) + np.where(
            loss.shifts > 0, 0.5 * loss.shifts / (1 - loss.ratios), 0.0
        )
    largest = np.where(bounded, losses.sum(axis=1) * (1 - EDGE), math.inf)
    beyond = levels >= largest
    result = integrate(loss, np.where(beyond, 0.5 * largest, levels), HOCKEY_STICK)
    known = np.where(result.log_error <= _LARGEST_ERROR, result.log_upper, math.nan)
    return np.where(beyond, -math.inf, known)


def _log_shift(log_delta: Array, epsilon: float) -> Array:
    """Return about the logarithm of the mu whose delta at epsilon this is; increasing."""
    y = np.sqrt(-2 * np.clip(log_delta, -1e6, 0.0))
    return np.asarray(np.log(2 * epsilon / (y + np.sqrt(y**2 + 2 * epsilon))))
