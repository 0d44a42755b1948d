"""What an audit can and cannot show, before a single trial is drawn: ceilings, power, detectable epsilons.

In the flow: the planner and the reports ask here; nothing here takes part in a test of data. Events are known in
advance (their probabilities come from a known law), every number is for one test at the level it is given, and
trial numbers are those that are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri

from audit.power.alternatives import gaussian_curve, gaussian_epsilon
from audit.power.event_power import approximate_power, expected_score, power, power_of_events
from audit.records.counts import Counts
from audit.records.verdict import Verdict
from audit.statistics.bounds import ceiling, exact_joint_rejects
from audit.statistics.critical import CriticalCounts
from mechanisms.claim import Claim, Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError

__all__ = [
    "approximate_power",
    "best_power",
    "ceiling",
    "detectable_epsilon",
    "detectable_shift",
    "expected_verdict",
    "power",
    "ranked_events",
    "refutable",
]

Floats = NDArray[np.float64]
Ranked = tuple[float, EpsilonDelta, Floats, Floats]

# Rows of a claim, and events for each, that are looked at closely after a quick ranking.
_CLOSE_ROWS, _CLOSE_EVENTS = 4, 24
_SCREENED_ROWS, _SCREENED_EVENTS = 8, 60
_EXPECTED_REFUTED = 0.9
_SMALLEST_MU, _LARGEST_MU = 1e-4, 60.0


def best_power(claim: Claim, fpr: ArrayLike, tpr: ArrayLike, *, n: int, level: float) -> float:
    """Return the largest probability of refuting a claim over the events of a known law.

    Parameters
    ----------
    claim
        The claim under test.
    fpr, tpr
        Probabilities of some events in the retrained world, Q(E), and in the unlearned world, P(E), shape (m,). Their
        complements and both of the claim's directions are considered too.
    n
        Counted trials a world, at least 1.
    level
        Level of the one test, in (0, 1).

    Returns
    -------
    float
        Power of the best event and row of the claim, known in advance; ``level`` where no event violates the claim.

    Raises
    ------
    InvalidInputError
        For n below 1, or a level outside (0, 1).
    ValueError
        For no events, or arrays of different length.

    Notes
    -----
    Approximate, see :func:`approximate_power`. An audit has to find its event on the fit split, so its power is
    somewhat below.

    References
    ----------
    The power of :func:`~audit.statistics.bounds.exact_joint_rejects`.
    """
    found = [
        approximate_power(p1=p1, p0=p0, n1=n, n0=n, point=point, level=level).max()
        for _, point, p1, p0 in ranked_events(claim, fpr, tpr, n=n, level=level)
    ]
    return float(max([level, *found]))


def ranked_events(claim: Claim, fpr: ArrayLike, tpr: ArrayLike, *, n: int, level: float) -> list[Ranked]:
    """Return the rows of a claim where a known law's events promise most power, and those events; the best first.

    Parameters
    ----------
    claim, fpr, tpr, n, level
        As for :func:`best_power`: shape (m,).

    Returns
    -------
    list of tuple
        At most four rows: the best probit of the power by the normal approximation, the point of the claim, and
        probabilities of at most 24 events in the worlds on its left and on its right. A row that no event violates is
        left out.

    Raises
    ------
    InvalidInputError, ValueError
        As :func:`best_power`.
    """
    q, p = np.broadcast_arrays(np.asarray(fpr, dtype=np.float64).ravel(), np.asarray(tpr, dtype=np.float64).ravel())
    forward = np.concatenate([p, 1 - p]), np.concatenate([q, 1 - q])
    rows = [
        (point, *(forward if direction is Direction.UNLEARNED_FROM_RETRAINED else forward[::-1]))
        for direction, point in _finite_points(claim, n_null=n, level=level)
    ]
    if len(rows) > _SCREENED_ROWS:
        # A long table is screened on every few events first.
        step = max(1, len(forward[0]) // _SCREENED_EVENTS)
        points, left, right = zip(*rows, strict=True)
        few = np.stack(left)[:, ::step], np.stack(right)[:, ::step]
        best = expected_score(*few, n, n, points, level).max(axis=1)
        rows = [rows[i] for i in np.argsort(-best, kind="stable")[:_SCREENED_ROWS]]
    ranked: list[Ranked] = []
    for point, p1, p0 in rows:
        z = expected_score(p1, p0, n, n, point, level)
        close = np.flatnonzero(z >= z.max() - 0.5)
        if np.isfinite(z.max()):
            close = close[:: -(-close.size // _CLOSE_EVENTS)]
            ranked.append((float(z.max()), point, p1[close], p0[close]))
    ranked.sort(key=lambda row: -row[0])
    return ranked[:_CLOSE_ROWS]


def expected_verdict(claim: Claim, fpr: ArrayLike, tpr: ArrayLike, *, n: int, level: float) -> Verdict | None:
    """Return the verdict that an audit of a known law should reach, or ``None`` where it may go either way.

    Parameters
    ----------
    claim, fpr, tpr, n, level
        As for :func:`best_power`: shape (m,).

    Returns
    -------
    Verdict or None
        REFUTED when the best event refutes the claim with probability at least 0.9; NOT_REFUTED when no event
        violates the claim (a false alarm has probability ``level``), or none has more power than that;
        INCONCLUSIVE when n trials cannot refute the claim at all.

    Raises
    ------
    InvalidInputError, ValueError
        As :func:`best_power`.
    """
    if not refutable(claim, n_unlearned=n, n_retrained=n, level=level):
        return Verdict.INCONCLUSIVE
    best = best_power(claim, fpr, tpr, n=n, level=level)
    if best >= _EXPECTED_REFUTED:
        return Verdict.REFUTED
    return Verdict.NOT_REFUTED if best <= level else None


def detectable_epsilon(*, point: EpsilonDelta, n1: int, n0: int, level: float, target_power: float = 0.8) -> float:
    """Return about the smallest epsilon, of a stated alternative, that an audit of a point claim would refute.

    Parameters
    ----------
    point
        The claim; the alternative is N(mu, 1) against N(0, 1), stated as its exact epsilon at the point's delta. At
        delta = 0, where no Gaussian shift has a finite epsilon, it is randomised response, which says the truth with
        the odds e^epsilon: every pair of worlds with that epsilon can be made from its answers.
    n1, n0
        Counted trials of the worlds on the left and the right of the claim, at least 1.
    level
        Level of the one test, in (0, 1).
    target_power
        Probability of refuting, with the best threshold known in advance, in (0, 1).

    Returns
    -------
    float
        In nats, above the claimed epsilon; infinity where none of these alternatives is refuted so often.

    Raises
    ------
    InvalidInputError
        For trials, a level or a target power out of range.

    Notes
    -----
    Approximate, see :func:`approximate_power`. A statement about this family of alternatives only.

    References
    ----------
    The power of :func:`~audit.statistics.bounds.exact_joint_rejects`; epsilon by Dong, Roth, Su 2022
    (arXiv:1905.02383), Corollary 1; at delta = 0 Kairouz, Oh, Viswanath 2015 (arXiv:1311.0776), Theorem 3.4.
    """
    if not 0 < target_power < 1:
        raise InvalidInputError(field="target_power", expected="in (0, 1)", got=target_power, fix="0.8 is usual")
    return _detectable_epsilon(point, n1, n0, level, target_power)


# The same for every forget set of an audit with equal claims, and a quarter of a second each.
@lru_cache(maxsize=256)
def _detectable_epsilon(point: EpsilonDelta, n1: int, n0: int, level: float, target_power: float) -> float:
    beyond = point.epsilon >= ceiling(n_null=n0, level=level, delta=point.delta)
    if beyond or not _rejects_extreme(point, n1, n0, level):
        return math.inf
    critical = CriticalCounts(point=point, n1=n1, n0=n0, level=level)
    if point.delta == 0:
        return smallest_response(
            lambda p1, p0: float(power_of_events(p1, p0, critical)[0]) - target_power, above=point.epsilon
        )

    mu = _smallest_shift(
        lambda mu: target_power - _best_gaussian_power(mu, critical), _rough_log_mu(critical, target_power)
    )
    return gaussian_epsilon(mu, point.delta)


def smallest_response(excess: Callable[[Floats, Floats], float], *, above: float) -> float:
    """Return the smallest epsilon of randomised response at which an excess of power is not negative; else infinity.

    Parameters
    ----------
    excess
        Of the rates of the answer "unlearned" in the two worlds, each of shape (1,); increasing in epsilon.
    above
        Where the search begins, in nats.

    References
    ----------
    As :func:`detectable_epsilon`.
    """

    def at(epsilon: float) -> float:
        return excess(np.array([expit(epsilon)]), np.array([expit(-epsilon)]))

    high = above + 1.0
    while at(high) < 0:
        high += 1.0
        if high > above + _LARGEST_MU:
            return math.inf
    if at(above) >= 0:
        return above
    return float(brentq(at, above, high, xtol=2e-3))


def detectable_shift(claim: Claim, *, n: int, level: float, target_power: float = 0.8) -> float:
    """Return about the smallest mu such that an audit would refute a claim if the truth were N(mu, 1) against N(0, 1).

    Parameters
    ----------
    claim
        Any claim. The test may use each of its rows; rows of frequent events are often far stronger than the one at
        a small delta.
    n
        Counted trials a world, at least 1.
    level
        Level of the one test, in (0, 1).
    target_power
        Probability of refuting, with the best row and threshold known in advance, in (0, 1).

    Returns
    -------
    float
        Infinity where no Gaussian shift is refuted so often.

    Raises
    ------
    InvalidInputError
        For n, a level or a target power out of range.

    Notes
    -----
    Approximate, see :func:`best_power`. A statement about this family of alternatives only;
    ``audit.power.alternatives.gaussian_epsilon`` gives its epsilon at a delta.

    References
    ----------
    As :func:`best_power`.
    """
    if not 0 < target_power < 1:
        raise InvalidInputError(field="target_power", expected="in (0, 1)", got=target_power, fix="0.8 is usual")
    if not refutable(claim, n_unlearned=n, n_retrained=n, level=level):
        return math.inf

    def shortfall(mu: float) -> float:
        curve = gaussian_curve(mu)
        return target_power - best_power(claim, curve.fpr, curve.tpr, n=n, level=level)

    # A claim of mu is hardly refuted by a smaller shift, and by noise alone two worlds differ by a few 1/sqrt(n).
    return _smallest_shift(shortfall, math.log(2 / math.sqrt(n)))


def _smallest_shift(shortfall: Callable[[float], float], guess: float) -> float:
    """Root in mu of a decreasing function; the logarithm ``guess`` is widened until it brackets it; inf beyond."""
    low = high = guess
    step = 0.1
    while shortfall(math.exp(low)) <= 0 and low > math.log(_SMALLEST_MU):
        low, high, step = low - step, low, 2 * step
    while shortfall(math.exp(high)) > 0:
        low, high, step = high, high + step, 2 * step
        if low > math.log(_LARGEST_MU):
            return math.inf
    if shortfall(math.exp(low)) <= 0:
        return math.exp(low)
    return math.exp(float(brentq(lambda x: shortfall(math.exp(x)), low, high, xtol=2e-3)))


def refutable(claim: Claim, *, n_unlearned: int, n_retrained: int, level: float) -> bool:
    """Return whether some outcome of the counted trials would refute some point of the claim.

    Parameters
    ----------
    claim
        The claim under test.
    n_unlearned, n_retrained
        Counted trials of the two worlds, at least 1.
    level
        Level of the one test, in (0, 1).

    Raises
    ------
    InvalidInputError
        For trials or a level out of range.

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


def _rough_log_mu(critical: CriticalCounts, target_power: float) -> float:
    """Logarithm of the shift that is refuted with the target probability, by the normal approximation."""
    x = np.linspace(-1.0, 7.0, 49)

    def shortfall(log_mu: float) -> float:
        mu = math.exp(log_mu)
        p1, p0 = ndtr(mu - x), ndtr(-x)
        z = expected_score(p1, p0, critical.n1, critical.n0, critical.point, critical.level)
        return float(ndtri(target_power) - np.clip(z.max(), -40, 40))

    low, high = math.log(1e-4), math.log(_LARGEST_MU)
    if shortfall(high) > 0:
        return high
    return float(brentq(shortfall, low, high, xtol=0.02))


def _best_gaussian_power(mu: float, critical: CriticalCounts) -> float:
    """Largest power over thresholds x of the event "above x", of N(mu, 1) against N(0, 1)."""
    x = np.linspace(min(-1.0, mu - 3), mu + 4, 21)
    coarse = power_of_events(ndtr(mu - x), ndtr(-x), critical)
    best, step = x[int(np.argmax(coarse))], x[1] - x[0]
    fine = best + step * np.array([-0.6, -0.3, 0.3, 0.6])
    return float(max(coarse.max(), power_of_events(ndtr(mu - fine), ndtr(-fine), critical).max()))
