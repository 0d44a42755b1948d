"""Every record by itself: one event each, chosen on some models and counted on the others, for thousands at once.

In the flow: :mod:`audit.models.one_deletion` and :mod:`audit.models.per_record` say which models play which world for
which record; what is found here is one row a record. The tests are those of every audit
(:func:`audit.statistics.bounds.exact_joint_p_value`); only the choice of the event is one for many records at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from audit.gathering.selection import predicted_score
from audit.records.counts import Counts
from audit.records.estimates import auc
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value
from audit.statistics.e_values import paired_log_e_values
from mechanisms.claim import Direction, EpsilonDelta

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Points = Sequence[tuple[Direction, EpsilonDelta]]

# Candidate thresholds of a record lie this many standard deviations beyond both means, and are so many.
_REACH, _N_THRESHOLDS = 3.0, 41
# A world's own variance counts as so many models less: with a dozen models it says little.
_PRIOR = 10.0
# More points of a claim than this are thinned out before events are chosen: the choice costs power alone.
_MOST_POINTS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """Which models are of which world for each of a block of records, and which of them choose events.

    Parameters
    ----------
    unlearned, retrained
        Shape (models, records), or (models, 1) where the worlds are the same for all records.
    fitting
        Shape (models,).
    """

    unlearned: Flags
    retrained: Flags
    fitting: Flags


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """One row a record; every array has the shape (records,).

    Parameters
    ----------
    auc, auc_se
        Probability that an unlearned model's statistic exceeds a retrained one's, and its standard error, of all models
        (of counted ones where a score was learned); 0.5 and infinity where a world has none.
    point, upper, threshold
        The chosen event: position of the claim's point, whether it lies above the threshold, and where that is.
    k_unlearned, n_unlearned, k_retrained, n_retrained
        The counted event.
    p_value
        Of the claim at that point; 1 where no model of a world is counted.
    log_e
        Logarithm of an e-value of the same null.
    """

    auc: Array
    auc_se: Array
    point: Ints
    upper: Flags
    threshold: Array
    k_unlearned: Ints
    n_unlearned: Ints
    k_retrained: Ints
    n_retrained: Ints
    p_value: Array
    log_e: Array

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Return the rows of several blocks as one."""
        return Rows(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)})

    def counts(self, record: int) -> Counts:
        """Return the counted event of a record."""
        return Counts(
            k_unlearned=int(self.k_unlearned[record]),
            n_unlearned=int(self.n_unlearned[record]),
            k_retrained=int(self.k_retrained[record]),
            n_retrained=int(self.n_retrained[record]),
        )


class Tests:
    """The exact test of counted events at one level; equal counts are tested once.

    Parameters
    ----------
    level
        Of one record's test: it fixes the floor of its p-values, far below where a correction over records looks.
    """

    def __init__(self, level: float) -> None:
        self.level = level
        self._p_values: dict[tuple[Counts, EpsilonDelta, Direction], float] = {}
        self._bounds: dict[tuple[Counts, float, Direction], float] = {}

    def p_value(self, counts: Counts, direction: Direction, point: EpsilonDelta) -> float:
        """Return the p-value of one event."""
        key = (counts, point, direction)
        if key not in self._p_values:
            self._p_values[key] = exact_joint_p_value(counts, point=point, direction=direction, level=self.level)
        return self._p_values[key]

    def bound(self, counts: Counts, direction: Direction, delta: float) -> float:
        """Return the lower bound on epsilon at this level."""
        key = (counts, delta, direction)
        if key not in self._bounds:
            self._bounds[key] = exact_joint_bound(counts, delta=delta, direction=direction, level=self.level)
        return self._bounds[key]


def examine(block: Array, sides: Sides, points: Points, tests: Tests, *, rng: np.random.Generator) -> Rows:
    """Return one row a record of a block.

    Parameters
    ----------
    block
        Statistics, shape (models, records, numbers); of several numbers one score is learned on the fitting models.
    sides
        The worlds, and which models fit.
    points
        Points of the claim with their directions.
    tests
        The exact test, and what it has computed before.
    rng
        Pairs counted models for e-values.
    """
    n_models, n_records = block.shape[:2]
    unlearned, retrained = (np.broadcast_to(s, (n_models, n_records)) for s in (sides.unlearned, sides.retrained))
    fitting = sides.fitting[:, None]
    laws = Laws.of(block, unlearned & fitting, retrained & fitting)
    scores = laws.scores(block)
    if block.shape[2] > 1:
        laws = Laws.of(scores[:, :, None], unlearned & fitting, retrained & fitting)
    worlds = (unlearned & ~fitting, retrained & ~fitting)
    n1, n0 = (world.sum(axis=0) for world in worlds)
    point, upper, threshold = chosen_events(laws, points, n1, n0, tests.level)
    above = scores > threshold
    k1, k0 = (np.where(upper, k, n - k) for k, n in (((above & w).sum(axis=0), w.sum(axis=0)) for w in worlds))
    p_values, log_e = np.ones(n_records), np.zeros(n_records)
    testable = (n1 > 0) & (n0 > 0)
    for i in np.flatnonzero(testable):
        counts = Counts(k_unlearned=int(k1[i]), n_unlearned=int(n1[i]), k_retrained=int(k0[i]), n_retrained=int(n0[i]))
        p_values[i] = tests.p_value(counts, *points[point[i]])
    for j, (direction, claimed) in enumerate(points):
        here = np.flatnonzero(testable & (point == j))
        past = laws.expected(upper[here], threshold[here], here)
        found, before = (k1[here], n1[here], k0[here], n0[here]), past
        if direction is Direction.RETRAINED_FROM_UNLEARNED:
            found, before = (*found[2:], *found[:2]), (*before[2:], *before[:2])
        log_e[here] = paired_log_e_values(found, before, epsilon=claimed.epsilon, delta=claimed.delta, rng=rng)
    seen = worlds if block.shape[2] > 1 else (unlearned, retrained)
    areas = [area(scores[:, i], seen[0][:, i], seen[1][:, i]) for i in range(n_records)]
    return Rows(
        auc=np.array([a for a, _ in areas]),
        auc_se=np.array([se for _, se in areas]),
        point=point,
        upper=upper,
        threshold=threshold,
        k_unlearned=k1,
        n_unlearned=n1,
        k_retrained=k0,
        n_retrained=n0,
        p_value=p_values,
        log_e=log_e,
    )


def few_points(points: Points) -> Points:
    """Return at most eight points of a claim, equally spaced in each direction: events are chosen among these."""
    kept: list[tuple[Direction, EpsilonDelta]] = []
    for direction in dict.fromkeys(d for d, _ in points):
        mine = [point for d, point in points if d is direction]
        places = np.unique(np.linspace(0, len(mine) - 1, _MOST_POINTS // 2).round().astype(int))
        kept += [(direction, mine[i]) for i in places]
    return tuple(kept)


def area(scores: Array, unlearned: Flags, retrained: Flags) -> tuple[float, float]:
    """Return AUC of one record's scores and its standard error; 0.5 and infinity where a world has no model."""
    if not (unlearned.any() and retrained.any()):
        return 0.5, math.inf
    return auc(scores[unlearned], scores[retrained])


@dataclass(frozen=True, kw_only=True, eq=False)
class Laws:
    """A Gaussian for each world, record and number, from the fitting models; shapes (records, numbers)."""

    n: tuple[Array, Array]
    means: tuple[Array, Array]
    spreads: tuple[Array, Array]

    @staticmethod
    def of(block: Array, unlearned: Flags, retrained: Flags) -> Laws:
        """Return the laws of a block, shape (models, records, numbers), by the models of each world that fit."""
        n, means, sums = [], [], []
        for world in (unlearned, retrained):
            weight = world.astype(np.float64)
            size = weight.sum(axis=0)
            mean = np.einsum("mr,mrk->rk", weight, block) / np.maximum(size, 1)[:, None]
            square = np.einsum("mr,mrk->rk", weight, (block - mean) ** 2)
            n.append(size)
            means.append(mean)
            sums.append(square)
        shared = (sums[0] + sums[1]) / np.maximum(n[0] + n[1] - 2, 1)[:, None]
        tiny = np.finfo(np.float64).tiny
        spreads = []
        for size, square in zip(n, sums, strict=True):
            variance = (square + _PRIOR * shared) / (size + _PRIOR)[:, None]
            # The mean is estimated too.
            spreads.append(np.sqrt(np.maximum(variance * (1 + 1 / np.maximum(size, 1))[:, None], tiny)))
        return Laws(n=(n[0], n[1]), means=(means[0], means[1]), spreads=(spreads[0], spreads[1]))

    def scores(self, block: Array) -> Array:
        """Return one score a model and record: the number itself, or along the difference of the means."""
        if block.shape[2] == 1:
            return block[:, :, 0]
        variance = (self.spreads[0] ** 2 + self.spreads[1] ** 2) / 2
        return np.asarray(np.einsum("mrk,rk->mr", block, (self.means[0] - self.means[1]) / variance))

    def above(self, thresholds: Array, records: Ints | slice = slice(None)) -> tuple[Array, Array]:
        """Return predicted probabilities above thresholds, shape (records, thresholds), in both worlds."""
        first, second = (
            ndtr((mean[records] - thresholds) / spread[records])
            for mean, spread in zip(self.means, self.spreads, strict=True)
        )
        return first, second

    def expected(self, upper: Flags, threshold: Array, records: Ints) -> tuple[Array, Array, Array, Array]:
        """Return what the fitting models are taken to show of chosen events: (k1, n1, k0, n0)."""
        above = self.above(threshold[:, None], records)
        p1, p0 = (np.where(upper, rate[:, 0], 1 - rate[:, 0]) for rate in above)
        n1, n0 = (n[records] for n in self.n)
        return p1 * n1, n1, p0 * n0, n0


def chosen_events(laws: Laws, points: Points, n1: Ints, n0: Ints, level: float) -> tuple[Ints, Flags, Array]:
    """Return for each record the event and point with the largest predicted score: point, tail and threshold."""
    low, high = (
        fold(laws.means[0] + s * laws.spreads[0], laws.means[1] + s * laws.spreads[1])[:, 0]
        for fold, s in ((np.minimum, -_REACH), (np.maximum, _REACH))
    )
    thresholds = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _N_THRESHOLDS)
    rates = [np.concatenate([rate, 1 - rate], axis=1) for rate in laws.above(thresholds)]
    sizes = [np.maximum(n, 1)[:, None].astype(np.float64) for n in (n1, n0)]
    best, chosen, event = np.full(len(n1), -np.inf), np.zeros(len(n1), np.int64), np.zeros(len(n1), np.int64)
    for j, (direction, point) in enumerate(points):
        order = (0, 1) if direction is Direction.UNLEARNED_FROM_RETRAINED else (1, 0)
        (p1, m1), (p0, m0) = ((rates[i], sizes[i]) for i in order)
        z = predicted_score(p1 * m1, m1, p0 * m0, m0, epsilon=point.epsilon, delta=point.delta, level=level)
        place = np.argmax(z, axis=1)
        value = z[np.arange(len(z)), place]
        better = value > best
        best, chosen, event = (np.where(better, new, old) for new, old in ((value, best), (j, chosen), (place, event)))
    upper = event < _N_THRESHOLDS
    return chosen, upper, thresholds[np.arange(len(n1)), event % _N_THRESHOLDS]
