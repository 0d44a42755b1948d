"""What an audit can and cannot show, before a single trial is drawn: ceilings, power, detectable epsilons.

In the flow: the planner and the reports ask here; nothing here takes part in a test of data. Events are known in
advance (their probabilities come from a known law), every number is for one test at the level it is given, and
trial numbers are those that are counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc, gammaln, ndtr, ndtri, xlog1py, xlogy

from audit.bounds import ceiling, exact_joint_rejects
from audit.counts import Counts
from audit.critical import CriticalCounts
from audit.score import boundary_estimate
from audit.verdict import Verdict
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP
from mechanisms.errors import InvalidInputError

__all__ = [
    "approximate_power",
    "best_power",
    "ceiling",
    "detectable_epsilon",
    "expected_verdict",
    "power",
    "refutable",
]

Floats = NDArray[np.float64]

# Up to this variance the counts of the null world are summed one by one, beyond it by Gaussian quadrature.
_SMALL_VARIANCE = 50.0
_HERMITE_X, _HERMITE_W = np.polynomial.hermite_e.hermegauss(16)
_HERMITE_W = _HERMITE_W / _HERMITE_W.sum()
# Rows of a claim, and events for each, that are looked at closely after a quick ranking.
_CLOSE_ROWS, _CLOSE_EVENTS = 4, 24
_EXPECTED_REFUTED = 0.9
_LARGEST_MU = 60.0


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
        return float(_approximate_power(np.array([p1]), np.array([p0]), critical)[0])
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
    Approximate: the boundary of the test is interpolated (:class:`audit.critical.CriticalCounts`). Within about
    .05 of :func:`power` at counts below 10, closer above.
    """
    p1, p0 = np.broadcast_arrays(np.asarray(p1, dtype=np.float64), np.asarray(p0, dtype=np.float64))
    critical = CriticalCounts(point=point, n1=n1, n0=n0, level=level)
    return _approximate_power(p1.ravel(), p0.ravel(), critical).reshape(p1.shape)


def best_power(claim: Claim, fpr: ArrayLike, tpr: ArrayLike, *, n: int, level: float) -> float:
    """Return the largest probability of refuting a claim over the events of a known law.

    Parameters
    ----------
    claim
        The claim under test.
    fpr, tpr
        Probabilities of some events in the retrained world, Q(E), and in the unlearned world, P(E). Their
        complements and both of the claim's directions are considered too.
    n
        Counted trials a world.
    level
        Level of the one test.

    Returns
    -------
    float
        Power of the best event and row of the claim, known in advance; ``level`` where no event violates the claim.

    Notes
    -----
    Approximate, see :func:`approximate_power`. An audit has to find its event on the fit split, so its power is
    somewhat below.
    """
    q, p = np.broadcast_arrays(np.asarray(fpr, dtype=np.float64).ravel(), np.asarray(tpr, dtype=np.float64).ravel())
    ranked: list[tuple[float, EpsilonDelta, Floats, Floats]] = []
    for direction, point in _finite_points(claim, n_null=n, level=level):
        left, right = (p, q) if direction is Direction.UNLEARNED_FROM_RETRAINED else (q, p)
        p1, p0 = np.concatenate([left, 1 - left]), np.concatenate([right, 1 - right])
        z = _expected_score(p1, p0, n, n, point, level)
        close = np.flatnonzero(z >= z.max() - 0.5)
        if np.isfinite(z.max()):
            close = close[:: -(-close.size // _CLOSE_EVENTS)]
            ranked.append((float(z.max()), point, p1[close], p0[close]))
    ranked.sort(key=lambda row: -row[0])
    found = [
        approximate_power(p1=p1, p0=p0, n1=n, n0=n, point=point, level=level).max()
        for _, point, p1, p0 in ranked[:_CLOSE_ROWS]
    ]
    return float(max([level, *found]))


def expected_verdict(claim: Claim, fpr: ArrayLike, tpr: ArrayLike, *, n: int, level: float) -> Verdict | None:
    """Return the verdict that an audit of a known law should reach, or ``None`` where it may go either way.

    Parameters
    ----------
    claim, fpr, tpr, n, level
        As for :func:`best_power`.

    Returns
    -------
    Verdict or None
        REFUTED when the best event refutes the claim with probability at least 0.9; NOT_REFUTED when no event
        violates the claim (a false alarm has probability ``level``), or none has more power than that;
        INCONCLUSIVE when n trials cannot refute the claim at all.
    """
    if not refutable(claim, n_unlearned=n, n_retrained=n, level=level):
        return Verdict.INCONCLUSIVE
    best = best_power(claim, fpr, tpr, n=n, level=level)
    if best >= _EXPECTED_REFUTED:
        return Verdict.REFUTED
    return Verdict.NOT_REFUTED if best <= level else None


def detectable_epsilon(*, point: EpsilonDelta, n1: int, n0: int, level: float, target_power: float = 0.8) -> float:
    """Return the smallest epsilon of a Gaussian shift that an audit of a point claim would refute.

    Parameters
    ----------
    point
        The claim; the alternative is N(mu, 1) against N(0, 1), stated as its exact epsilon at the point's delta.
    n1, n0
        Counted trials of the worlds on the left and the right of the claim.
    level
        Level of the one test.
    target_power
        Probability of refuting, with the best threshold known in advance.

    Returns
    -------
    float
        In nats, above the claimed epsilon; infinity where no Gaussian shift is refuted so often, and at delta = 0
        (where no Gaussian shift has a finite epsilon).

    Notes
    -----
    Approximate, see :func:`approximate_power`. A statement about this family of alternatives only.
    """
    if not 0 < target_power < 1:
        raise InvalidInputError(field="target_power", expected="in (0, 1)", got=target_power, fix="0.8 is usual")
    beyond = point.epsilon >= ceiling(n_null=n0, level=level, delta=point.delta)
    if beyond or point.delta == 0 or not _rejects_extreme(point, n1, n0, level):
        return math.inf
    critical = CriticalCounts(point=point, n1=n1, n0=n0, level=level)

    def shortfall(log_mu: float) -> float:
        return target_power - _best_gaussian_power(math.exp(log_mu), critical)

    # A bracket around the normal approximation's answer, widened until it holds the true one.
    low = high = _rough_log_mu(critical, target_power)
    while shortfall(low) <= 0 and low > math.log(1e-6):
        low -= 0.1
    while shortfall(high) > 0:
        low, high = high, high + 0.1
        if high > math.log(_LARGEST_MU):
            return math.inf
    log_mu = float(brentq(shortfall, low, high, xtol=2e-3)) if shortfall(low) > 0 else low
    alternative = Claim(guarantee=GaussianDP(mu=math.exp(log_mu)))
    return alternative.epsilon_at(point.delta, Direction.UNLEARNED_FROM_RETRAINED)


def refutable(claim: Claim, *, n_unlearned: int, n_retrained: int, level: float) -> bool:
    """Return whether some outcome of the counted trials would refute some point of the claim.

    Parameters
    ----------
    claim
        The claim under test.
    n_unlearned, n_retrained
        Counted trials of the two worlds.
    level
        Level of the one test.

    Notes
    -----
    Exact: an outcome refutes a point only if "always in the left world, never in the right one" does, and that
    outcome is tested, for points below the ceiling.
    """
    for direction in claim.directions:
        n1, n0 = n_unlearned, n_retrained
        if direction is Direction.RETRAINED_FROM_UNLEARNED:
            n1, n0 = n0, n1
        points = [p for d, p in _finite_points(claim, n_null=n0, level=level) if d is direction]
        if any(_rejects_extreme(point, n1, n0, level) for point in points):
            return True
    return False


def _finite_points(claim: Claim, *, n_null: int, level: float) -> Iterator[tuple[Direction, EpsilonDelta]]:
    """Points of a claim below the ceiling."""
    for direction in claim.directions:
        for point in claim.points(direction):
            if point.epsilon < ceiling(n_null=n_null, level=level, delta=point.delta):
                yield direction, point


def _rejects_extreme(point: EpsilonDelta, n1: int, n0: int, level: float) -> bool:
    counts = Counts(k_unlearned=n1, n_unlearned=n1, k_retrained=0, n_retrained=n0)
    return exact_joint_rejects(counts, point=point, direction=Direction.UNLEARNED_FROM_RETRAINED, level=level)


def _expected_score(p1: Floats, p0: Floats, n1: int, n0: int, point: EpsilonDelta, level: float) -> Floats:
    """Normal approximation of the probit of the power, to rank events; -inf where the claim is not violated."""
    c, margin = math.exp(point.epsilon), p1 - math.exp(point.epsilon) * p0 - point.delta
    z = np.full(p1.shape, -np.inf)
    violated = margin > 1e-12
    if not violated.any():
        return z
    p1, p0, margin = p1[violated], p0[violated], margin[violated]
    ones = np.ones(p1.shape)
    p = boundary_estimate(n1 * p1, n1 * ones, n0 * p0, n0 * ones, c=c * ones, delta=point.delta * ones)
    null = np.sqrt(_variance(np.minimum(c * p + point.delta, 1.0), p, n1, n0, c))
    true = np.sqrt(_variance(p1, p0, n1, n0, c))
    spread = np.divide(margin + float(ndtri(level)) * null, true, out=np.full(true.shape, np.inf), where=true > 0)
    # So rare an event is no match for the normal law: even with k0 = 0 about this many k1 are needed.
    needed = math.log(level) / math.log(c * n1 / (c * n1 + n0))
    z[violated] = np.minimum(spread, (n1 * p1 - needed) / np.sqrt(n1 * p1))
    return z


def _variance(p1: Floats, p0: Floats, n1: int, n0: int, c: float) -> Floats:
    return p1 * (1 - p1) / n1 + c * c * p0 * (1 - p0) / n0


def _approximate_power(p1: Floats, p0: Floats, critical: CriticalCounts) -> Floats:
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


def _rough_log_mu(critical: CriticalCounts, target_power: float) -> float:
    """Logarithm of the shift that is refuted with the target probability, by the normal approximation."""
    x = np.linspace(-1.0, 7.0, 49)

    def shortfall(log_mu: float) -> float:
        mu = math.exp(log_mu)
        p1, p0 = ndtr(mu - x), ndtr(-x)
        z = _expected_score(p1, p0, critical.n1, critical.n0, critical.point, critical.level)
        return float(ndtri(target_power) - np.clip(z.max(), -40, 40))

    low, high = math.log(1e-4), math.log(_LARGEST_MU)
    if shortfall(high) > 0:
        return high
    return float(brentq(shortfall, low, high, xtol=0.02))


def _best_gaussian_power(mu: float, critical: CriticalCounts) -> float:
    """Largest power over thresholds x of the event "above x", of N(mu, 1) against N(0, 1)."""
    x = np.linspace(min(-1.0, mu - 3), mu + 4, 21)
    coarse = _approximate_power(ndtr(mu - x), ndtr(-x), critical)
    best, step = x[int(np.argmax(coarse))], x[1] - x[0]
    fine = best + step * np.array([-0.6, -0.3, 0.3, 0.6])
    return float(max(coarse.max(), _approximate_power(ndtr(mu - fine), ndtr(-fine), critical).max()))


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
