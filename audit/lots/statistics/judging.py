"""From "the release tells nothing of the coins" to a claim: p-values, lower bounds and ceilings.

Claim, in one direction: for every set S that the coins can give, ``P_S(E) <= e^epsilon R(E) + delta`` for every event
E, with one law R for all S. Then for every region K of (release, S) the same holds of the joint law of release and
coins against R times the coins: condition on S, and average. So an event that has chance a where a release tells
nothing has chance ``e^epsilon a + delta`` at most where the claim holds. That is all that is used here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.lots.statistics.tails import least_chance, log_count_tail
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP

DIRECTION = Direction.UNLEARNED_FROM_RETRAINED
# Gaussian curves are computed at no smaller chance, which is generous to the claim.
_LEAST = 1e-300
_ROUNDED_UP = 1 + 1e-12
# Share of the runs that choose which p-value of a run counts as a hit.
FIT_SHARE = 0.25
# Their rate of hits is taken for what it is at least but with this probability.
_CAUTION = 0.25


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What runs say of a claim.

    Parameters
    ----------
    p_value
        Of the claim, valid at the stated level.
    lower_bound
        On epsilon, at the delta that was asked for; 0 where nothing is shown.
    ceiling
        The highest lower bound that runs of this number and size could show.
    least_p_value
        The smallest p-value of the claim that they could show.
    """

    p_value: float
    lower_bound: float
    ceiling: float
    least_p_value: float


def log_allowed(claim: Claim, log_chance: float) -> float:
    """Return the logarithm of the largest chance that a claim allows an event of this chance, at most 0.

    Parameters
    ----------
    claim
        In the direction ``UNLEARNED_FROM_RETRAINED``; without it everything is allowed.
    log_chance
        Logarithm of the event's chance where the release tells nothing of the coins.

    Notes
    -----
    Averaging over the coins needs what is allowed to be concave in the chance, as every trade-off curve is.

    References
    ----------
    Dong, Roth, Su 2022, "Gaussian differential privacy" (arXiv:1905.02383), Proposition 1.
    """
    if isinstance(claim.guarantee, GaussianDP) and len(claim.directions) == 2:
        chance = max(math.exp(log_chance), _LEAST)
        return math.log(float(claim.max_tpr(chance, DIRECTION)))
    allowed = 0.0
    for point in claim.points(DIRECTION):
        allowed = min(allowed, _log_sum(point.epsilon + log_chance, point.delta))
    return allowed


def bound_at(log_chance: float, level: float, delta: float) -> float:
    """Return the largest epsilon that is refuted where an event of this chance happened, at least 0.

    Parameters
    ----------
    log_chance
        Logarithm of the event's chance where the release tells nothing of the coins.
    level, delta
        Of the bound.

    References
    ----------
    :func:`log_allowed`, solved for epsilon.
    """
    return max(0.0, math.log(level - delta) - log_chance) if level > delta else 0.0


def judge_one(claim: Claim, log_p: float, *, log_least: float, significance: float, delta: float) -> Judgement:
    """Return what one run says: its p-value of telling nothing, carried over to the claim.

    Parameters
    ----------
    claim
        What is claimed of every set that the coins can give.
    log_p, log_least
        Logarithms of the run's p-value of "tells nothing of the coins", and of the smallest that it could show.
    significance
        Probability that the bound is wrong, and that a true claim is refuted.
    delta
        At which the bound is stated.

    Notes
    -----
    The bounds of all epsilons hold together: one event decides them.

    References
    ----------
    :func:`log_allowed`.
    """
    return Judgement(
        p_value=_probability(log_allowed(claim, log_p)),
        lower_bound=bound_at(log_p, significance, delta),
        ceiling=bound_at(log_least, significance, delta),
        least_p_value=_probability(log_allowed(claim, log_least)),
    )


def judge_hits(
    claim: Claim | Sequence[Claim], hits: int, runs: int, log_chance: float, *, significance: float, delta: float
) -> Judgement:
    """Return what runs say that each are a hit, or not: an exact binomial test.

    Parameters
    ----------
    claim
        What is claimed of every run, given the coins and releases of those before.
    hits, runs
        Runs that were hits, and all that count.
    log_chance
        Logarithm of the chance of a hit where the release tells nothing of the coins; fixed before these runs.
    significance, delta
        As for :func:`judge_one`.

    Notes
    -----
    Given the past, a run is a hit with at most the chance that the claim allows, so the number of hits is at most
    binomial. Without a claim for each run given those before, one training seed for all runs is enough to refute what
    every single run meets.

    References
    ----------
    Clopper, Pearson 1934, Biometrika 26.
    """
    one = claim if isinstance(claim, Claim) else None
    log_most = log_allowed(one, log_chance) if one else log_allowed_apart(claim, log_chance)  # type: ignore[arg-type]

    def bound(k: int) -> float:
        over = least_chance(k, runs, significance) - delta
        return max(0.0, math.log(over) - log_chance) if over > 0 else 0.0

    return Judgement(
        p_value=_probability(log_count_tail(hits, runs, log_most)),
        lower_bound=bound(hits),
        ceiling=bound(runs),
        least_p_value=_probability(log_count_tail(runs, runs, log_most)),
    )


def log_allowed_apart(claims: Sequence[Claim], log_chance: float) -> float:
    """Return the logarithm of the largest chance of naming the drawn record, where each record has its own claim.

    Parameters
    ----------
    claims
        One for each of m candidates, each one point (epsilon, delta).
    log_chance
        Logarithm of k / m, where k are named.

    Notes
    -----
    The chance is the mean over candidates i of P_i(i is named), at most that of e^epsilon_i R(i is named) + delta_i.
    The R(i is named) are at most 1 each and k together, so that the k largest e^epsilon_i are the most.

    References
    ----------
    :func:`log_allowed`, candidate by candidate.
    """
    points = [claim.guarantee for claim in claims]
    m = len(points)
    named = round(math.exp(log_chance) * m)
    epsilons = sorted((p.epsilon for p in points if isinstance(p, EpsilonDelta)), reverse=True)[:named]
    if not epsilons or math.isinf(epsilons[0]):
        return 0.0
    log_sum = epsilons[0] + math.log(math.fsum(math.exp(e - epsilons[0]) for e in epsilons))
    mean_delta = math.fsum(p.delta for p in points if isinstance(p, EpsilonDelta)) / m
    return min(0.0, _log_sum(log_sum - math.log(m), mean_delta))


def fitted_threshold(log_ps: NDArray[np.float64], runs: int, *, significance: float, delta: float) -> float:
    """Return the logarithm of the p-value of a run that is to count as a hit, chosen from runs that do not count.

    Parameters
    ----------
    log_ps
        Logarithms of p-values of the runs that choose, shape (n,).
    runs
        Runs that will count.
    significance, delta
        Of the bound that is expected to be largest.

    References
    ----------
    :func:`judge_hits`: any rule is valid, for the runs that count are others.
    """
    largest = math.log(significance)
    best, chosen = -math.inf, largest
    for log_a in sorted({min(float(value), largest) for value in log_ps}, reverse=True):
        # A rate that the few runs make likely; a threshold that one of them met may be met by none of the others.
        rate = least_chance(int(np.sum(log_ps <= log_a)), len(log_ps), _CAUTION)
        over = least_chance(math.floor(runs * rate), runs, significance) - delta
        reached = math.log(over) - log_a if over > 0 else -math.inf
        if reached > best:
            best, chosen = reached, log_a
    return chosen


def n_fit(runs: int) -> int:
    """Return how many of several runs choose the threshold: a quarter, and at least one."""
    return max(1, math.floor(FIT_SHARE * runs)) if runs > 1 else 0


def _log_sum(log_first: float, second: float) -> float:
    """Logarithm of ``exp(log_first) + second``, at most 0, rounded up."""
    if log_first >= 0.0:
        return 0.0
    found = math.log(math.exp(log_first) + second) if second > 0 else log_first
    return min(0.0, found + (_ROUNDED_UP - 1))


def _probability(log_value: float) -> float:
    # Never 0: what is below all floats is rounded up like everything else.
    return min(1.0, max(math.exp(log_value) * _ROUNDED_UP, math.ulp(0.0)))
