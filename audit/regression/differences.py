"""Intervals for the difference of two rates and of two means: the statistics of a comparison.

In the flow: ``audit.regression.comparing`` asks here whether a candidate is worse than a baseline. A decision follows
from an interval alone, and every interval comes with the smallest difference that it could have shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import nctdtrinc, ndtri, stdtrit

from audit.statistics.bounds import NullRange
from audit.statistics.joint_test import RELATIVE_GAP, Region, largest_probability
from mechanisms.claim import JSON_CONFIG, EpsilonDelta
from mechanisms.errors import InvalidInputError

Floats = NDArray[np.float64]

POWER = 0.8
# Two orderings of an outcome that agree to this are ties, and ties belong to the region.
_TIE = 1e-9
# Limits stop short by at most this share of the distance to the estimate.
_RELATIVE_STEP = 2e-3
# Keeps p1 = p0 + d at or above zero in floating point.
_ABOVE_ZERO = 1e-13


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An interval for "candidate minus baseline".

    Parameters
    ----------
    estimate
        Observed difference.
    low, high
        Ends of the interval; each is wrong with probability at most ``level / 2``.
    level
        Probability that the interval misses.
    detectable
        The smallest true change for the worse that would have been shown to exceed the margin with probability
        0.8, about; infinity when there is none.
    """

    __pydantic_config__ = JSON_CONFIG
    estimate: float
    low: float
    high: float
    level: float
    detectable: float


def rate_interval(k1: int, n1: int, k0: int, n0: int, *, level: float) -> tuple[float, float]:
    """Return an interval that holds p1 - p0 with probability at least 1 - level.

    Parameters
    ----------
    k1, n1
        Occurrences and trials of the first binomial.
    k0, n0
        The same of the second, independent one.
    level
        Probability that the interval misses, half on each side.

    Returns
    -------
    low, high : float
        Inside [-1, 1].

    Raises
    ------
    InvalidInputError
        For counts or a level out of range.

    Notes
    -----
    Exact (conservative): Buehler's limits. Outcomes are ordered by the distance between two separate Wilson limits,
    an order that does not depend on the difference; the lower limit is the end of the differences d at which
    "p1 <= p0 + d makes an outcome at least this high" has probability at most level / 2, whatever p0 in its
    Clopper-Pearson interval at a level that is paid for (Berger and Boos). Since the order is fixed, that probability
    grows with d and a bisection is sound. Newcombe's interval and its Clopper-Pearson variant were measured and not
    used: at a level of 1e-4 they miss hundreds of times more often than promised when the rates are far apart.

    References
    ----------
    Buehler 1957, "Confidence intervals for the product of two binomial parameters", JASA 52.
    Berger, Boos 1994, "P values maximized over a confidence set for the nuisance parameter", JASA 89.
    """
    _check_counts(k1, n1, k0, n0, level)
    return _lower_limit(k1, n1, k0, n0, level / 2), -_lower_limit(k0, n0, k1, n1, level / 2)


def _lower_limit(k1: int, n1: int, k0: int, n0: int, level: float) -> float:
    """Return d such that p1 - p0 is below d with probability at most ``level``."""
    region, null = _region(k1, n1, k0, n0, level)

    def excluded(d: float) -> bool:
        low, high = max(null.low, _ABOVE_ZERO - d), min(null.high, 1 - d)
        if low >= high:
            # p0 would have to be above its interval, which has been paid for; or below it, which decides nothing.
            return -d >= null.high
        largest = largest_probability(
            region,
            low=low,
            high=high,
            epsilon=0.0,
            delta=d,
            negligible=RELATIVE_GAP * null.spent,
            settle_at=level - null.spent,
            outside=null.outside,
        )
        return largest + null.spent <= level

    estimate = k1 / n1 - k0 / n0
    guess = estimate - _half_width(k1 / n1, n1, k0 / n0, n0, z=-float(ndtri(level)))
    inside, outside, step = estimate, max(-1.0, guess), max(estimate - guess, 1e-6) / 4
    while outside > -1 and not excluded(outside):
        inside, outside, step = outside, max(-1.0, outside - step), 2 * step
    while inside - outside > _RELATIVE_STEP * (estimate - outside):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside


def _region(k1: int, n1: int, k0: int, n0: int, level: float) -> tuple[Region, NullRange]:
    """Return the outcomes whose separate Wilson limits are at least as far apart as the observed ones."""
    null = NullRange.of(k0, n0, point=EpsilonDelta(epsilon=0.0, delta=0.0), level=level)
    # Two limits at z' each are about as far apart as one limit of the difference at z; fixed by n1 and n0 alone.
    errors = 1 / math.sqrt(n1), 1 / math.sqrt(n0)
    z = -float(ndtri(level)) * math.hypot(*errors) / sum(errors)
    counts = np.arange(null.window[0], null.window[1] + 1)
    observed = float(_wilson(k1 / n1, n1, -z) - _wilson(k0 / n0, n0, z))
    y = observed + _wilson(counts / n0, n0, z)
    # Wilson's lower limit is at least y > 0 exactly when the rate is at least y + z sqrt(y (1 - y) / n).
    rate = y + z * np.sqrt(np.clip(y * (1 - y), 0.0, None) / n1)
    first = np.where(y <= _TIE, 0.0, np.where(y >= 1, n1 + 1.0, np.ceil(n1 * rate - n1 * _TIE - _TIE)))
    first = np.maximum.accumulate(np.clip(first, 0.0, n1 + 1.0))
    inside = first <= n1
    return Region(n1=n1, n0=n0, k0=counts[inside], first=first[inside].astype(np.int64)), null


def _wilson(rate: float | Floats, n: int, z: float) -> Floats:
    """Return Wilson's limit of a rate: the lower one for a negative z."""
    rate = np.asarray(rate, dtype=np.float64)
    root = np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    limit: Floats = np.clip((rate + z * z / (2 * n) + z * root) / (1 + z * z / n), 0.0, 1.0)
    return limit


def _half_width(rate1: float, n1: int, rate0: float, n0: int, *, z: float) -> float:
    """Return about how far below the estimate the lower limit lies (Newcombe's square-and-add)."""
    below, above = rate1 - float(_wilson(rate1, n1, -z)), float(_wilson(rate0, n0, z)) - rate0
    return math.hypot(below, above)


def detectable_rise(k0: int, n0: int, n1: int, *, level: float, margin: float) -> float:
    """Return about the smallest rise of a rate that would be shown to exceed a margin with probability 0.8.

    Parameters
    ----------
    k0, n0
        Occurrences and trials (at least 1) of the baseline, whose true rate is taken to be the observed one.
    n1
        Trials of the candidate, at least 1.
    level, margin
        Level of the interval, in (0, 1); its lower end has to exceed the margin, at least 0.

    Raises
    ------
    InvalidInputError
        For counts or a level out of range.

    Returns
    -------
    float
        Infinity where even a rate of 1 would not be shown.

    Notes
    -----
    Approximate: normal deviations around the limits of two separate rates.

    References
    ----------
    Newcombe 1998, "Interval estimation for the difference between independent proportions", Stat. Med. 17.
    """
    _check_counts(0, n1, k0, n0, level)
    rate0, z, z_power = k0 / n0, -float(ndtri(level / 2)), float(ndtri(POWER))

    def spare(rise: float) -> float:
        rate1 = rate0 + rise
        error = math.sqrt(rate1 * (1 - rate1) / n1 + rate0 * (1 - rate0) / n0)
        return rise - margin - _half_width(rate1, n1, rate0, n0, z=z) - z_power * error

    largest = 1 - rate0
    if largest <= 0 or spare(largest) <= 0:
        return math.inf
    # Error and width are not monotone in the rise: the first crossing, from below.
    grid = np.linspace(0.0, largest, 401)
    first = next(i for i, rise in enumerate(grid) if spare(float(rise)) > 0)
    if first == 0:
        return 0.0
    return float(brentq(spare, grid[first - 1], grid[first], xtol=1e-9))


def compare_rates(k1: int, n1: int, k0: int, n0: int, *, level: float, margin: float) -> Difference:
    """Return an interval that holds p1 - p0 with probability at least 1 - level, where a rise is for the worse.

    Parameters
    ----------
    k1, n1
        Occurrences and trials of the candidate.
    k0, n0
        The same of the baseline, independent of it.
    level
        Probability that the interval misses, half on each side, in (0, 1).
    margin
        For ``detectable``: the rise that is tolerated, at least 0.

    Raises
    ------
    InvalidInputError
        For counts or a level out of range.

    Notes
    -----
    The interval is exact (conservative), ``detectable`` approximate.

    References
    ----------
    As :func:`rate_interval` and :func:`detectable_rise`.
    """
    low, high = rate_interval(k1, n1, k0, n0, level=level)
    return Difference(
        estimate=k1 / n1 - k0 / n0,
        low=low,
        high=high,
        level=level,
        detectable=detectable_rise(k0, n0, n1, level=level, margin=margin),
    )


def compare_means(
    candidate: Sequence[float], baseline: Sequence[float], *, level: float, margin: float, paired: bool
) -> Difference:
    """Return an approximate interval for the candidate's mean minus the baseline's, where a fall is for the worse.

    Parameters
    ----------
    candidate, baseline
        One finite number a run, at least two of each.
    level
        Probability that the interval misses, about, in (0, 1).
    margin
        For ``detectable``: the fall that is tolerated, at least 0.
    paired
        Whether run i of both sides used the same random numbers; they are then as many.

    Raises
    ------
    InvalidInputError
        With fewer than two runs, or pairs of unequal numbers.

    Notes
    -----
    Approximate (exact for normal differences of pairs): Student's t of the pairwise differences, or Welch's of two
    samples. Where every run of both sides scored the same the interval has no width.

    References
    ----------
    Student 1908, "The probable error of a mean", Biometrika 6.
    Welch 1947, "The generalization of 'Student's' problem when several different population variances are involved",
    Biometrika 34.
    """
    _check_level(level)
    a, b = np.asarray(candidate, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if min(len(a), len(b)) < 2 or (paired and len(a) != len(b)):
        raise InvalidInputError(
            field="runs",
            expected="at least two a side, and as many on both where they are paired",
            got=f"{len(a)} and {len(b)}",
            fix="measure more runs",
        )
    if paired:
        error, freedom = float(np.std(a - b, ddof=1)) / math.sqrt(len(a)), float(len(a) - 1)
    else:
        parts = np.array([np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)])
        error = math.sqrt(parts.sum())
        weights = parts**2 / np.array([len(a) - 1, len(b) - 1])
        freedom = float(parts.sum() ** 2 / weights.sum()) if weights.sum() > 0 else float(len(a) + len(b) - 2)
    estimate, t = float(a.mean() - b.mean()), float(stdtrit(freedom, 1 - level / 2))
    # Shown when the statistic (fall - margin) / error exceeds t: a noncentral t with this much noncentrality.
    detectable = margin + error * float(nctdtrinc(freedom, 1 - POWER, t))
    return Difference(
        estimate=estimate, low=estimate - t * error, high=estimate + t * error, level=level, detectable=detectable
    )


def _check_counts(k1: int, n1: int, k0: int, n0: int, level: float) -> None:
    if not (0 <= k1 <= n1 and 0 <= k0 <= n0 and min(n1, n0) >= 1):
        raise InvalidInputError(
            field="counts", expected="in [0, n] with n at least 1", got=f"{k1}/{n1} and {k0}/{n0}", fix="count events"
        )
    _check_level(level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InvalidInputError(field="level", expected="in (0, 1)", got=level, fix="0.05 is usual")
