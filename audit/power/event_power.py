"""The power of one event: how likely the exact test of an event with known probabilities refutes a point claim.

In the flow: ``audit.power.ceilings`` looks for the best event with these; nothing here takes part in a test of data.
Every number is for one test at the level it is given, and trial numbers are those that are counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, ndtri, xlog1py, xlogy

from audit.statistics.bounds import ceiling
from audit.statistics.critical import CriticalCounts
from audit.statistics.score import boundary_estimate
from mechanisms.claim import EpsilonDelta

Floats = NDArray[np.float64]

# Up to this variance the counts of the null world are summed one by one, beyond it by Gaussian quadrature.
_SMALL_VARIANCE = 50.0
_HERMITE_X, _HERMITE_W = np.polynomial.hermite_e.hermegauss(16)
_HERMITE_W = _HERMITE_W / _HERMITE_W.sum()


def power(*, p1: float, p0: float, n1: int, n0: int, point: EpsilonDelta, level: float) -> float:
    """Return the probability that the exact joint test of one event refutes a point claim.

    Parameters
    ----------
    p1, p0
        True probabilities of the event in the worlds on the left and the right of the claim.
    n1, n0
        Counted trials of these worlds.
    point
        The claim ``p1 <= e^epsilon p0 + delta``.
    level
        Level of the test.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Exact (up to 1e-6) where the null world's count has a variance of at most 50: the test is run at every such
    count. Beyond that :func:`approximate_power`, which is then within about .01.
    """
    if point.epsilon >= ceiling(n_null=n0, level=level, delta=point.delta):
        return 0.0
    critical = CriticalCounts(point=point, n1=n1, n0=n0, level=level)
    if n0 * p0 * (1 - p0) > _SMALL_VARIANCE:
        return float(power_of_events(np.array([p1]), np.array([p0]), critical)[0])
    k0 = np.arange(*_window(n0, p0))
    weight = _masses(k0.astype(np.float64), n0, p0)
    first = np.full(k0.shape, n1 + 1.0)
    for i in np.flatnonzero(weight > 1e-9):
        # ``first`` does not decrease in k0, and past n1 nothing is left.
        first[i] = critical.exact(int(k0[i]))
        if first[i] > n1:
            break
    return min(1.0, float(weight @ _tail(first, n1, np.float64(p1))))


def approximate_power(*, p1: ArrayLike, p0: ArrayLike, n1: int, n0: int, point: EpsilonDelta, level: float) -> Floats:
    """Return :func:`power` for arrays of events, quickly and approximately.

    Notes
    -----
    Approximate: the boundary of the test is interpolated (:class:`audit.statistics.critical.CriticalCounts`). Within
    about .05 of :func:`power` at counts below 10, closer above.
    """
    p1, p0 = np.broadcast_arrays(np.asarray(p1, dtype=np.float64), np.asarray(p0, dtype=np.float64))
    critical = CriticalCounts(point=point, n1=n1, n0=n0, level=level)
    return power_of_events(p1.ravel(), p0.ravel(), critical).reshape(p1.shape)


def expected_score(
    p1: Floats, p0: Floats, n1: int, n0: int, points: EpsilonDelta | Sequence[EpsilonDelta], level: float
) -> Floats:
    """Normal approximation of the probit of the power, to rank events; -inf where the claim is not violated.

    With several points, a row for each: of the same events, or of rows of events.
    """
    if isinstance(points, EpsilonDelta):
        c, delta = np.array(math.exp(points.epsilon)), np.array(points.delta)
    else:
        c, delta = np.array([[math.exp(p.epsilon)] for p in points]), np.array([[p.delta] for p in points])
    return _expected_scores(p1, p0, n1, n0, c, delta, level)


def _expected_scores(p1: Floats, p0: Floats, n1: int, n0: int, c: Floats, delta: Floats, level: float) -> Floats:
    p1, p0, c, delta = np.broadcast_arrays(p1, p0, c, delta)
    margin = p1 - c * p0 - delta
    z = np.full(p1.shape, -np.inf)
    violated = margin > 1e-12
    if not violated.any():
        return z
    p1, p0, c, delta, margin = (array[violated] for array in (p1, p0, c, delta, margin))
    ones = np.ones(p1.shape)
    p = boundary_estimate(n1 * p1, n1 * ones, n0 * p0, n0 * ones, c=c, delta=delta)
    null = np.sqrt(_variance(np.minimum(c * p + delta, 1.0), p, n1, n0, c))
    true = np.sqrt(_variance(p1, p0, n1, n0, c))
    spread = np.divide(margin + float(ndtri(level)) * null, true, out=np.full(true.shape, np.inf), where=true > 0)
    # So rare an event is no match for the normal law: even with k0 = 0 about this many k1 are needed.
    needed = math.log(level) / np.log(c * n1 / (c * n1 + n0))
    z[violated] = np.minimum(spread, (n1 * p1 - needed) / np.sqrt(n1 * p1))
    return z


def _variance(p1: Floats, p0: Floats, n1: int, n0: int, c: Floats) -> Floats:
    return p1 * (1 - p1) / n1 + c * c * p0 * (1 - p0) / n0


def power_of_events(p1: Floats, p0: Floats, critical: CriticalCounts) -> Floats:
    """Return about the probability that the exact joint test refutes a claim with each of some events.

    Parameters
    ----------
    p1, p0
        Probabilities of the events in the worlds on the left and the right of the claim, shape (m,).
    critical
        The claim, the counted trials and the level, with the test's interpolated boundary.

    Returns
    -------
    numpy.ndarray
        Shape (m,), in [0, 1]; 0 for a claim at or above the ceiling.
    """
    n0, point = critical.n0, critical.point
    result = np.zeros(p1.shape)
    if point.epsilon >= ceiling(n_null=n0, level=critical.level, delta=point.delta):
        return result
    spread = n0 * p0 * (1 - p0)
    small = spread <= _SMALL_VARIANCE
    if small.any():
        windows = np.array([_window(n0, float(p)) for p in p0[small]])
        steps = np.arange((windows[:, 1] - windows[:, 0]).max())
        k0 = np.minimum(windows[:, :1] + steps, n0).astype(np.float64)
        weight = np.where(windows[:, :1] + steps < windows[:, 1:], _masses(k0, n0, p0[small, None]), 0.0)
        result[small] = (weight * _tail(critical.approximate(k0), critical.n1, p1[small, None])).sum(axis=1)
    if not small.all():
        large = ~small
        k0 = np.clip(n0 * p0[large, None] + np.sqrt(spread[large, None]) * _HERMITE_X, 0, n0)
        result[large] = _tail(critical.approximate(k0), critical.n1, p1[large, None]) @ _HERMITE_W
    return np.minimum(result, 1.0)


def _window(n: int, p: float) -> tuple[int, int]:
    """Counts that hold all but about 1e-7 of a binomial, as a half-open range."""
    margin = math.sqrt(2 * n * p * (1 - p) * 16) + 16 / 3
    return max(0, math.floor(n * p - margin)), min(n, math.ceil(n * p + margin)) + 1


def _masses(k: Floats, n: int, p: float | Floats) -> Floats:
    log_choose = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    masses: Floats = np.exp(log_choose + xlogy(k, p) + xlog1py(n - k, -np.asarray(p)))
    return masses


def _tail(first: Floats, n: int, p: float | Floats) -> Floats:
    """P(K >= first); 0 for first = n + 1."""
    inside = first <= n
    tail = betainc(np.maximum(first, 1e-9), np.where(inside, n - first + 1, 1.0), p)
    return np.where(inside, tail, 0.0)
