"""Bounds and p-values from counts: the auditor's statistics for a number of trials fixed in advance.

In the flow: events are chosen on the fit split, counted on the counting split, and judged here. Every function is
for ONE event and ONE point claim at the level it is given; ``audit.statistics.multiplicity`` divides the significance.
The right side of a point claim is called the null world: the retrained world in the direction
``UNLEARNED_FROM_RETRAINED``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv, betaincinv

from audit.records.counts import Counts
from audit.statistics.joint_test import RELATIVE_GAP, largest_probability, rejection_region
from audit.statistics.score import score_statistic
from mechanisms.claim import Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError

__all__ = [
    "NullRange",
    "ceiling",
    "clopper_pearson",
    "clopper_pearson_bound",
    "exact_joint_bound",
    "exact_joint_p_value",
    "exact_joint_rejects",
    "p_value_floor",
    "score_statistic",
]

Floats = NDArray[np.float64]

# Scores within this relative distance are ties, and ties belong to the rejection region.
_TIE = 1e-7
# A smaller score is zero up to rounding.
_SMALLEST_SCORE = 1e-6
# Share of gamma that the window of counts may miss on each side.
_OUTSIDE = 1e-3
# Above this epsilon nothing is ever rejected: no run has e^50 trials.
_EPSILON_CAP = 50.0
# The inverted bound stops short of the end of the run by at most this share of it (and of 0.1 nats).
_RELATIVE_STEP = 5e-4


def clopper_pearson(k: ArrayLike, n: ArrayLike, *, level: float) -> tuple[Floats, Floats]:
    """Return a two-sided interval that holds a binomial probability with probability at least 1 - level.

    Parameters
    ----------
    k, n
        Occurrences, in [0, n], and trials, at least 1: scalars, or arrays of shapes that broadcast. Not checked.
    level
        Probability that the interval misses, half on each side, in (0, 1).

    Returns
    -------
    low, high : numpy.ndarray
        Ends of the interval, of the common shape; 0 at k = 0 and 1 at k = n.

    Raises
    ------
    InvalidInputError
        For a level outside (0, 1).
    ValueError
        For shapes that do not broadcast.

    Notes
    -----
    Exact (conservative). ``scipy.stats.binomtest(...).proportion_ci`` is not used on purpose: its lower end is up
    to 5 % too high in the far tail.

    References
    ----------
    Clopper, Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26.
    """
    _check_level(level)
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    inside_low, inside_high = k > 0, k < n
    low = betaincinv(np.where(inside_low, k, 1.0), n - k + 1.0, level / 2)
    high = betainccinv(k + 1.0, np.where(inside_high, n - k, 1.0), level / 2)
    return np.where(inside_low, low, 0.0), np.where(inside_high, high, 1.0)


def clopper_pearson_bound(counts: Counts, *, delta: float, direction: Direction, level: float) -> float:
    """Return a lower bound on epsilon that holds with probability at least 1 - level, from two separate intervals.

    Parameters
    ----------
    counts, delta, direction, level
        As for :func:`exact_joint_bound`; half of the level is spent on each world.

    Returns
    -------
    float
        ``log((L1 - delta) / U0)`` in nats, at least 0.

    Raises
    ------
    InvalidInputError
        For delta outside [0, 1], or a level outside (0, 1).

    Notes
    -----
    Conservative; with about equal trials a world :func:`exact_joint_bound` is hardly ever below and often far
    above. It may be below where the left world has many times fewer trials than the right one.

    References
    ----------
    As :func:`clopper_pearson`.
    """
    _check_level(level)
    _check_delta(delta)
    k1, n1, k0, n0 = counts.oriented(direction)
    low, _ = clopper_pearson(k1, n1, level=level)
    _, high = clopper_pearson(k0, n0, level=level)
    return max(0.0, math.log((float(low) - delta) / float(high))) if low > delta else 0.0


def ceiling(*, n_null: int, level: float, delta: float) -> float:
    """Return the epsilon above which ``n_null`` counted trials of the null world refute nothing, whatever they show.

    Parameters
    ----------
    n_null
        Counted trials of the world on the right of the claim, at least 1.
    level
        Level of the one test, in (0, 1).
    delta
        The claim's delta, in [0, 1].

    Returns
    -------
    float
        ``log((1 - delta) / (1 - level^(1/n_null)))`` in nats, at least 0.

    Raises
    ------
    InvalidInputError
        For a parameter out of range.

    Notes
    -----
    Exact: at a larger epsilon an event that is certain in the other world may have probability
    ``(1 - delta) e^-epsilon`` in the null world, and is then absent from all ``n_null`` trials with probability
    above the level. No bound of this module exceeds it.

    References
    ----------
    The one-sided limit of :func:`clopper_pearson` at no occurrence.
    """
    _check_level(level)
    _check_delta(delta)
    if n_null < 1:
        raise InvalidInputError(field="n_null", expected="at least 1", got=n_null, fix="count at least one trial")
    rare = -math.expm1(math.log(level) / n_null)
    return max(0.0, math.log((1 - delta) / rare)) if delta < 1 else 0.0


def exact_joint_p_value(counts: Counts, *, point: EpsilonDelta, direction: Direction, level: float) -> float:
    """Return a p-value of "the point claim holds": where it does, at most x with probability at most x.

    Parameters
    ----------
    counts
        Occurrences in independent trials, of an event that was fixed before counting.
    point
        The claim, ``p1 <= e^epsilon p0 + delta``.
    direction
        The side of the claim: which world has probability p1.
    level
        Level that the p-value will be compared with, in (0, 1). It fixes gamma = min(1e-4, level / 100), the share
        spent on the interval for p0; the p-value is never below gamma. Fixed before the data.

    Returns
    -------
    float
        In (0, 1]. 1 when the estimated p1 is not above e^epsilon p0 + delta, when the interval for p0 lies past the
        kink at ``(1 - delta) e^-epsilon``, and above epsilon = 50.

    Raises
    ------
    InvalidInputError
        For a level outside (0, 1).

    Notes
    -----
    Exact (conservative): Berger and Boos's p-value of the constrained score. The supremum over p0 in its
    Clopper-Pearson interval, both ends and the kink included, is bounded by branch and bound and returned from above
    (at most 0.5 % too large). Never decreases when an event of the null world is added or one of the other world is
    taken away (up to that 0.5 %, and up to the shift of the interval for p0).

    References
    ----------
    Berger, Boos 1994, "P values maximized over a confidence set for the nuisance parameter", JASA 89.
    Miettinen, Nurminen 1985, "Comparative analysis of two rates", Stat. Med. 4 (the score).
    """
    return _p_value(counts, point.epsilon, point.epsilon, point.delta, direction, level)


def exact_joint_rejects(counts: Counts, *, point: EpsilonDelta, direction: Direction, level: float) -> bool:
    """Return whether the exact joint test refutes a claim; one that holds is refuted with probability at most level.

    Parameters
    ----------
    counts, point, direction, level
        As for :func:`exact_joint_p_value`.

    Raises
    ------
    InvalidInputError
        For a level outside (0, 1).

    References
    ----------
    Whether :func:`exact_joint_p_value` is at most ``level``, often sooner than computing it.
    """
    return _p_value(counts, point.epsilon, point.epsilon, point.delta, direction, level, settle_at=level) <= level


def exact_joint_bound(counts: Counts, *, delta: float, direction: Direction, level: float) -> float:
    """Return a lower bound on epsilon that holds with probability at least 1 - level, from the exact joint test.

    Parameters
    ----------
    counts
        Occurrences in independent trials, of an event that was fixed before counting.
    delta
        The bound is on the smallest epsilon with this delta, in [0, 1].
    direction
        The side of the claim: which world has probability p1.
    level
        Probability that the bound exceeds the truth, in (0, 1).

    Returns
    -------
    float
        In nats: :func:`exact_joint_rejects` refutes every epsilon from 0 up to the result. 0 when it does not
        refute epsilon = 0.

    Raises
    ------
    InvalidInputError
        For delta outside [0, 1], or a level outside (0, 1).

    Notes
    -----
    Exact (conservative). Refuted epsilons need not be one interval, so a bisection could land behind a gap and
    claim too much. Instead whole cells [e, e'] of epsilons are refuted at once, upward from 0: the score does not
    increase in epsilon, so each rejection region in the cell lies inside "score at e at least the observed score
    at e'", and each null lies inside the null at e'. Cells shrink towards the end of the run, which the result
    falls short of by about 0.1 %.

    References
    ----------
    As :func:`exact_joint_p_value`.
    """
    _check_level(level)
    _check_delta(delta)

    # Stricter by what a p-value may be too large: then the p-value of each epsilon in the run is at most the level.
    strict = (level + RELATIVE_GAP * p_value_floor(level)) / (1 + RELATIVE_GAP)

    def p_value(low: float, high: float) -> float:
        return _p_value(counts, low, high, delta, direction, level, settle_at=strict)

    if p_value(0.0, 0.0) > strict:
        return 0.0
    n_null = counts.oriented(direction)[3]
    reached, step, failed = 0.0, ceiling(n_null=n_null, level=level, delta=delta) / 4, False
    while step > _RELATIVE_STEP * max(reached, 0.1):
        found = p_value(reached, reached + step)
        if found <= strict:
            reached += step
            # Past a narrow spot the cells may grow again.
            step *= 1.0 if failed else 1.5
            failed = False
        else:
            step *= 0.5 if found < 4 * strict else 0.25
            failed = True
    return reached


# One finding asks the same again: whether to stop, the p-value, and the bounds at several levels and rows.
@functools.lru_cache(maxsize=4096)
def _p_value(
    counts: Counts,
    lowest: float,
    highest: float,
    delta: float,
    direction: Direction,
    level: float,
    *,
    settle_at: float | None = None,
) -> float:
    """Upper bound on the p-values at (epsilon, delta) for every epsilon between ``lowest`` and ``highest``.

    With ``settle_at`` it may stop early, on the same side of that number.
    """
    _check_level(level)
    k1, n1, k0, n0 = counts.oriented(direction)
    if highest > _EPSILON_CAP:
        return 1.0
    z = float(score_statistic(k1, n1, k0, n0, epsilon=highest, delta=delta))
    null = NullRange.of(k0, n0, point=EpsilonDelta(epsilon=highest, delta=delta), level=level)
    if z < _SMALLEST_SCORE or null.low >= null.high:
        return 1.0
    region = rejection_region(z * (1 - _TIE), n1=n1, n0=n0, epsilon=lowest, delta=delta, window=null.window)
    if not region.contains(k1, k0):
        return 1.0
    largest = largest_probability(
        region,
        low=null.low,
        high=null.high,
        epsilon=highest,
        delta=delta,
        outside=null.outside,
        negligible=RELATIVE_GAP * null.spent,
        settle_at=None if settle_at is None else settle_at - null.spent,
    )
    return min(1.0, largest + null.spent)


@dataclass(frozen=True, kw_only=True)
class NullRange:
    """Where the supremum over p0 is taken, and what is added to the p-value for everything outside.

    Parameters
    ----------
    low, high
        The Clopper-Pearson interval of p0 at gamma, cut at the kink: past it p1 stays 1, so that only the left end
        of that part could matter. Empty when ``low >= high``: then nothing is refuted.
    window
        Counts of the null world that are summed over.
    outside
        Probability of all counts outside the window, at most.
    spent
        gamma and ``outside``.
    """

    low: float
    high: float
    window: tuple[int, int]
    outside: float
    spent: float

    @staticmethod
    def of(k0: int, n0: int, *, point: EpsilonDelta, level: float) -> NullRange:
        """Return the range for k0 occurrences in n0 trials; it depends on the level, never on the other world."""
        gamma = _gamma(level)
        low, high = _interval(k0, n0, gamma)
        high = min(high, (1 - point.delta) * math.exp(-point.epsilon))
        # Bernstein's inequality at both ends leaves the share ``_OUTSIDE`` of gamma outside on each side.
        x = math.log(1 / (_OUTSIDE * gamma))
        spread = max(p * (1 - p) for p in (low, high, min(max(0.5, low), max(low, high))))
        margin = math.sqrt(2 * n0 * spread * x) + x / 3
        window = max(0, math.floor(n0 * low - margin)), min(n0, math.ceil(n0 * high + margin))
        return NullRange(low=low, high=high, window=window, outside=2 * _OUTSIDE * gamma, spent=p_value_floor(level))


@functools.lru_cache(maxsize=256)
def _interval(k0: int, n0: int, gamma: float) -> tuple[float, float]:
    """The interval for p0: the same for every epsilon of an inversion."""
    low, high = clopper_pearson(k0, n0, level=gamma)
    return float(low), float(high)


def _gamma(level: float) -> float:
    """Share of the level that the interval for p0 may miss with; fixed before the data."""
    return min(1e-4, level / 100)


def p_value_floor(level: float) -> float:
    """Return the smallest value of :func:`exact_joint_p_value` at a level: the share of it spent on the interval.

    References
    ----------
    As :func:`exact_joint_p_value`.
    """
    return _gamma(level) * (1 + 2 * _OUTSIDE)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InvalidInputError(field="level", expected="in (0, 1)", got=level, fix="0.05 is usual")


def _check_delta(delta: float) -> None:
    if not 0 <= delta <= 1:
        raise InvalidInputError(field="delta", expected="in [0, 1]", got=delta, fix="give a probability, say 1e-5")
