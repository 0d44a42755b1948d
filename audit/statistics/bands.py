"""The route without a split: lower bounds on epsilon over all thresholds at once, from simultaneous bands.

In the flow: an alternative to choosing an event on a fit split and counting it on the other. Every trial counts, and
the threshold and the tail are chosen on those same trials; a simultaneous band around each world's distribution
function pays for the choice. The attack must be fixed before the trials: the band pays for thresholds only.

With k of n scores above a threshold, the probability of scoring above it lies in the Clopper-Pearson interval of
(k, n) at a *local* level. The smaller the local level, the likelier do the intervals of all thresholds hold together;
the largest local level that is good enough depends on n and the overall level only. It is looked up in a table that
``benchmarks/band_levels.py`` computes by an exact recursion.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from audit.records.counts import Counts
from audit.records.evidence import EpsilonLowerBound, Tail
from mechanisms.claim import Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError
from mechanisms.reading.arrays import real_numbers

__all__ = ["BandPair", "band_bound", "band_ends", "band_p_value", "band_rejects", "local_level"]

Floats = NDArray[np.float64]
METHOD = "equal_level_band"


def local_level(n: int, *, level: float) -> float:
    """Return a level for each interval such that all of a band hold together with probability at least 1 - level.

    Parameters
    ----------
    n
        Independent draws from one law, at least 1.
    level
        Probability that some interval of the band misses, in (0, 1).

    Returns
    -------
    float
        Two-sided: half of it lies on each side of every interval.

    Raises
    ------
    InvalidInputError
        For n below 1, or a level outside (0, 1).

    Notes
    -----
    Conservative. The exact local level rises with the level (the intervals are nested) and falls as n grows (computed
    for every n up to 200 at three levels, along the table and at random sizes; not proved, and not needed at sizes of
    the table), so an entry is valid for every smaller n and larger level; the best of those is taken. The table reaches
    n = 1e5 at levels from 0.2 down to 1e-6, and n = 1e6 at a few levels down to 1e-4. The union bound ``level / n`` is
    valid everywhere; it is what remains beyond the table.

    References
    ----------
    Aldor-Noiman, Brown, Buja, Rolke, Stine 2013, "The power to see", Am. Stat. 67 (equal local levels).
    Noe 1972, "The calculation of distributions of two-sided Kolmogorov-Smirnov type statistics", Ann. Math. Stat. 43.
    Moscovich, Nadler 2017, "Fast calculation of boundary crossing probabilities for Poisson processes",
    arXiv:1503.04363 (the recursion behind the table).
    """
    _check_n(n)
    _check_level(level)
    levels, sizes, table = _table()
    i, j = np.searchsorted(sizes, n, side="left"), np.count_nonzero(levels <= level)
    # Levels fall along the columns: the last j of them are at most ``level``.
    valid = table[i:, levels.size - j :]
    return max(level / n, float(np.nanmax(valid, initial=0.0)))


@functools.cache
def _table() -> tuple[Floats, Floats, Floats]:
    """Levels (falling), sizes (rising), and the local level of each (size, level); NaN where there is none."""
    raw = json.loads((files("audit.statistics") / "band_levels.json").read_text(encoding="utf-8"))
    levels, sizes, table = (np.asarray(raw[key], dtype=np.float64) for key in ("levels", "sizes", "local_levels"))
    for array in (levels, sizes, table):
        array.flags.writeable = False
    return levels, sizes, table


def band_ends(n: int, *, level: float) -> tuple[Floats, Floats]:
    """Return intervals by count that hold the probabilities of all nested events with probability at least 1 - level.

    Parameters
    ----------
    n
        Independent draws from one law, at least 1.
    level
        Probability that the band misses anywhere, in (0, 1).

    Returns
    -------
    low, high : numpy.ndarray
        Shape (n + 1,). An event "score above t" (or "at least t", or the complement of either) that occurred k times
        has a probability in ``[low[k], high[k]]``, for all t at once.

    Raises
    ------
    InvalidInputError
        For n below 1, or a level outside (0, 1).

    Notes
    -----
    Exact (conservative) for every law, as far as :func:`local_level` is. With F continuous and U_(i) = F(X_(i)), k
    scores at or below t mean ``U_(k) <= F(t) < U_(k+1)``, and the band holds each U_(i) between two quantiles of its
    Beta(i, n - i + 1) law. With ties let X be the F-quantile of a uniform U: then {X <= t} = {U <= F(t)}, and the same
    holds.

    References
    ----------
    As :func:`local_level`.
    """
    eta = local_level(n, level=level)
    k = np.arange(1, n + 1, dtype=np.float64)
    low = np.concatenate([[0.0], betaincinv(k, n - k + 1, eta / 2)])
    return low, 1 - low[::-1]


@dataclass(frozen=True, kw_only=True, eq=False)
class BandPair:
    """Simultaneous bands of both worlds: every bound and test of it holds together, with probability 1 - level.

    Parameters
    ----------
    level
        Probability that some interval of some world misses, in (0, 1); half of it is spent on each world.
    thresholds
        All distinct scores, increasing, shape (m,).
    above
        Scores above each threshold, in the unlearned and in the retrained world, shape (m,) each.
    ends
        Ends of the intervals by count (:func:`band_ends`) of the same worlds, shapes (n + 1,).

    References
    ----------
    As :func:`band_ends`.
    """

    level: float
    thresholds: Floats
    above: tuple[NDArray[np.int64], NDArray[np.int64]]
    ends: tuple[tuple[Floats, Floats], tuple[Floats, Floats]]

    @staticmethod
    def of(unlearned: ArrayLike, retrained: ArrayLike, *, level: float) -> BandPair:
        """Return the bands around two samples of scores, as for :func:`band_bound`.

        Raises
        ------
        InvalidInputError
            When a sample is not a non-empty list of numbers, or the level is outside (0, 1).
        """
        _check_level(level)
        samples = _scores(unlearned, "unlearned"), _scores(retrained, "retrained")
        thresholds = np.unique(np.concatenate(samples))
        u, r = (len(x) - np.searchsorted(x, thresholds, side="right") for x in samples)
        first = band_ends(len(samples[0]), level=level / 2)
        second = first if len(samples[0]) == len(samples[1]) else band_ends(len(samples[1]), level=level / 2)
        return BandPair(level=level, thresholds=thresholds, above=(u, r), ends=(first, second))

    def bound(self, *, delta: float, direction: Direction, attack: str = "scores") -> EpsilonLowerBound:
        """Return :func:`band_bound` of these bands, for as many deltas and directions as wanted at one level.

        Raises
        ------
        InvalidInputError
            For a delta outside [0, 1].
        """
        ratio, tail, place = self._best(delta, direction)
        return EpsilonLowerBound(
            value=max(0.0, math.log(ratio)) if ratio > 0 else 0.0,
            delta=delta,
            direction=direction,
            level=self.level,
            method=METHOD,
            attack=attack,
            tail=tail,
            threshold=float(self.thresholds[place]),
            counts=self._counts(tail, place),
        )

    def rejects(self, *, point: EpsilonDelta, direction: Direction) -> bool:
        """Return :func:`band_rejects` of these bands, for as many points and directions as wanted at one level."""
        ratio = self._best(point.delta, direction)[0]
        return ratio > 0 and math.log(ratio) > point.epsilon

    def _best(self, delta: float, direction: Direction) -> tuple[float, Tail, int]:
        """Largest (L1 - delta) / U0 over thresholds and tails, and where it is."""
        if not 0 <= delta <= 1:
            raise InvalidInputError(field="delta", expected="in [0, 1]", got=delta, fix="give a probability, say 1e-5")
        left, null = (0, 1) if direction is Direction.UNLEARNED_FROM_RETRAINED else (1, 0)
        low, high = self.ends[left][0], self.ends[null][1]
        k1, k0, n1, n0 = self.above[left], self.above[null], low.size - 1, high.size - 1
        upper, lower = (low[k1] - delta) / high[k0], (low[n1 - k1] - delta) / high[n0 - k0]
        i, j = int(np.argmax(upper)), int(np.argmax(lower))
        return (float(upper[i]), "upper", i) if upper[i] >= lower[j] else (float(lower[j]), "lower", j)

    def _counts(self, tail: Tail, place: int) -> Counts:
        n_unlearned, n_retrained = (low.size - 1 for low, _ in self.ends)
        counts = Counts(
            k_unlearned=int(self.above[0][place]),
            n_unlearned=n_unlearned,
            k_retrained=int(self.above[1][place]),
            n_retrained=n_retrained,
        )
        return counts if tail == "upper" else counts.complement()


def band_bound(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    *,
    delta: float,
    direction: Direction,
    level: float,
    attack: str = "scores",
) -> EpsilonLowerBound:
    """Return a lower bound on epsilon that holds with probability at least 1 - level, from all trials and thresholds.

    Parameters
    ----------
    unlearned, retrained
        Independent scores of each world, shapes (n1,) and (n0,), by a scoring rule that was fixed before these trials.
        Ties are allowed, infinities too: only their order matters.
    delta
        The bound is on the smallest epsilon with this delta, in [0, 1].
    direction
        The side of the claim: which world's probability is p1 in ``p1 <= e^epsilon p0 + delta``.
    level
        Probability that the bound exceeds the truth, in (0, 1).
    attack
        Name of the scoring rule, for the result.

    Returns
    -------
    EpsilonLowerBound
        The maximum of ``log((L1 - delta) / U0)`` over every threshold and both tails, in nats, with the event that
        attains it: score above ("upper") or at most ("lower") the threshold. 0, with the best event, when nothing is
        shown.

    Raises
    ------
    InvalidInputError
        When a sample is empty, has NaN or is not one-dimensional, or delta or the level is out of range.

    Notes
    -----
    Exact (conservative), no split. Both tails need a lower end in the left world and an upper end in the right one,
    so the band of each world is two-sided, at half of the level. The same bands serve both directions, every delta and
    every row of a claim: with :class:`BandPair` all of them together cost one level.

    References
    ----------
    As :func:`band_ends`.
    """
    pair = BandPair.of(unlearned, retrained, level=level)
    return pair.bound(delta=delta, direction=direction, attack=attack)


def band_rejects(
    unlearned: ArrayLike, retrained: ArrayLike, *, point: EpsilonDelta, direction: Direction, level: float
) -> bool:
    """Return whether the bands refute a point claim; a claim that holds is refuted with probability at most level.

    Parameters
    ----------
    unlearned, retrained, direction, level
        As for :func:`band_bound`: shapes (n1,) and (n0,).
    point
        The claim ``p1 <= e^epsilon p0 + delta`` for every event.

    Raises
    ------
    InvalidInputError
        As :func:`band_bound`.

    References
    ----------
    As :func:`band_bound`, which then exceeds the point's epsilon at its delta.
    """
    return BandPair.of(unlearned, retrained, level=level).rejects(point=point, direction=direction)


def band_p_value(unlearned: ArrayLike, retrained: ArrayLike, *, point: EpsilonDelta, direction: Direction) -> float:
    """Return a p-value of "the point claim holds": where it does, at most x with probability at most x.

    Parameters
    ----------
    unlearned, retrained, direction
        As for :func:`band_bound`: shapes (n1,) and (n0,).
    point
        The claim.

    Returns
    -------
    float
        The smallest level of a fixed grid (twice the table's levels) at which :func:`band_rejects` refutes the claim;
        1 when there is none. Never below 2e-6.

    Raises
    ------
    InvalidInputError
        When a sample is empty, has NaN or is not one-dimensional.

    Notes
    -----
    Conservative: the rejections are nested in the level, and a p-value on a grid is rounded up.

    References
    ----------
    As :func:`band_ends`.
    """
    grid = 2 * _table()[0][::-1]
    low, high = 0, grid.size
    while low < high:
        middle = (low + high) // 2
        if band_rejects(unlearned, retrained, point=point, direction=direction, level=float(grid[middle])):
            high = middle
        else:
            low = middle + 1
    return float(grid[low]) if low < grid.size else 1.0


def _scores(values: ArrayLike, field: str) -> Floats:
    """Return a sample in increasing order."""
    scores = real_numbers(values, field)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise InvalidInputError(
            field=field,
            expected="a non-empty list of scores without NaN",
            got=f"shape {scores.shape}, {int(np.isnan(scores).sum())} NaN",
            fix="give one number a trial",
        )
    return np.sort(scores)


def _check_n(n: int) -> None:
    if n < 1:
        raise InvalidInputError(field="n", expected="at least 1", got=n, fix="count at least one trial")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InvalidInputError(field="level", expected="in (0, 1)", got=level, fix="0.05 is usual")
