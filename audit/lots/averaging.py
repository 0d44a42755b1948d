"""Claims in the mean over draws: where each set that coins can give has a delta of its own at one epsilon.

In the flow: an audit by lot needs no more than the mean of these deltas, because it averages over the coins too. Few
mechanisms bound every set that could be drawn; many state what is exactly true of one set, and a mean can be estimated.
:func:`averaged_claim` makes an upper limit of the mean a claim, for :func:`audit.from_lots`; ``run_lots`` computes the
deltas itself from :class:`AveragedClaim`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from audit.lots.coins import draw_coins
from audit.lots.noise import (
    bound_to_draw,
    calibrated_fields,
    check_same_process,
    parameters_of,
    stated_by,
    with_frozen_step,
)
from audit.lots.statistics.judging import DIRECTION
from audit.lots.statistics.subsets import Draw
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Streams, results, worker_limits
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, OnAverage, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_array
from mechanisms.reading.records import RecordSet
from mechanisms.reading.scalars import real_number, whole_number

Flags = NDArray[np.bool_]
_STEPS = 100
_AT_ONCE = 10
# Smaller deltas of a set are taken to be this one.
_LEAST_LOG = -600.0
_ROUNDED_UP = 1 + 1e-9


@dataclass(frozen=True, kw_only=True)
class AveragedClaim:
    """For :func:`audit.run_lots`: at this epsilon, the mean over draws of what the mechanism certifies of each draw.

    Parameters
    ----------
    epsilon
        In nats; the same for every set.
    method
        Of the mechanism's certificates, each for one set: "exact" is sharpest.
    draws
        Sets that are drawn to estimate the mean, from a stream of their own; nothing is trained for them.
    share
        Of the significance, spent on the chance that the mean is larger than its upper limit; in (0, 1).
    """

    epsilon: float
    method: str = "exact"
    draws: int = 500
    share: float = 0.1

    def __post_init__(self) -> None:
        fix = "give epsilon in nats, for example 1.0"
        epsilon = real_number(self.epsilon, "claim.epsilon", fix=fix)
        require(0 <= epsilon < math.inf, "claim.epsilon", expected="at least 0 and finite", got=epsilon, fix=fix)
        draws = whole_number(self.draws, "claim.draws", fix="500 is usual")
        require(draws >= 1, "claim.draws", expected="at least 1", got=draws, fix="500 is usual")
        share = real_number(self.share, "claim.share", fix="0.1 is usual")
        require(0 < share < 1, "claim.share", expected="in (0, 1)", got=share, fix="0.1 is usual")


def upper_mean(values: ArrayLike, *, level: float) -> float:
    """Return an upper limit of the mean of independent values in [0, 1], too small with at most this probability.

    Parameters
    ----------
    values
        Independent and alike, shape (n,).
    level
        In (0, 1).

    Raises
    ------
    InvalidInputError
        For none, values outside [0, 1], and levels out of range.

    Notes
    -----
    The largest q with ``n kl(mean, q) <= log(1 / level)``, kl the divergence of two coins: of all values in [0, 1] with
    one mean those that are 0 or 1 have the heaviest tails. With n values near 0 it is about ``log(1 / level) / n``.

    References
    ----------
    Hoeffding 1963, "Probability inequalities for sums of bounded random variables", Theorem 1, (2.1).
    """
    found = real_array(values, "deltas").ravel()
    fix = "give the delta of each drawn set at the claimed epsilon"
    require(len(found) > 0, "deltas", expected="at least one", got="none", fix=fix)
    inside = bool(np.all((found >= 0) & (found <= 1)))
    require(inside, "deltas", expected="in [0, 1]", got=[float(found.min()), float(found.max())], fix=fix)
    value = real_number(level, "level", fix="0.005 is usual")
    require(0 < value < 1, "level", expected="in (0, 1)", got=value, fix="0.005 is usual")
    mean = float(np.mean(found))
    most = -math.log(value) / len(found)
    low, high = mean, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) <= most else (low, middle)
    return high


def _divergence(mean: float, q: float) -> float:
    """Return kl(mean, q) in nats, infinite where q rules the mean out."""
    total = 0.0
    for share, other in ((mean, q), (1 - mean, 1 - q)):
        if share > 0:
            total += share * math.log(share / other) if other > 0 else math.inf
    return total


def averaged_claim(
    deltas: ArrayLike,
    *,
    epsilon: float,
    candidates: int,
    draw: Draw = "fair",
    k: int | None = None,
    level: float = 0.005,
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN,
) -> Claim:
    """Return the claim that the mean over draws of each drawn set's delta allows, for :func:`audit.from_lots`.

    Parameters
    ----------
    deltas
        At this epsilon, of sets that were drawn as the audit draws, independently of it; 0 for the empty set. Each an
        upper bound for its set against one reference law that is the same for all.
    epsilon
        In nats.
    candidates, draw, k
        How sets are drawn.
    level
        Probability that the mean is larger than claimed: audit at a significance that is smaller by as much.
    reference
        Of every delta.

    Returns
    -------
    Claim

    Raises
    ------
    InvalidInputError
        For values out of range.

    Notes
    -----
    Condition on the drawn set S: an event of release and S has probability at most ``e^epsilon R + delta_S`` there, and
    averaged over S at most ``e^epsilon R + mean delta``.

    References
    ----------
    :func:`upper_mean`; docs/lots.md, section 4, for the lemma.
    """
    limit = upper_mean(deltas, level=level)
    return Claim(
        guarantee=EpsilonDelta(epsilon=epsilon, delta=limit),
        reference=reference,
        directions=(DIRECTION,),
        assumptions=(
            f"Delta is an upper limit of the mean over draws of each drawn set's own, from "
            f"{np.size(np.asarray(deltas)):,} of them; it is too small with probability at most {level:g}, which the "
            "significance of the verdict does not count.",
        ),
        covers=OnAverage(candidates=candidates, draw=draw, k=k),
    )


def claim_of_draws(
    mechanism: Any,
    data: RecordSet,
    pool: Sequence[int],
    asked: AveragedClaim,
    *,
    draw: Draw,
    pairs: NDArray[np.int64] | None,
    k: int | None,
    level: float,
    seed: int,
    engine: Streams,
) -> tuple[Any, Claim]:
    """Return the mechanism with its step size frozen, and the mean of what it certifies of draws.

    Raises
    ------
    InvalidInputError
        When its noise is calibrated, which makes it another one for each draw; or it states no such certificate.
    """
    calibrated = calibrated_fields(mechanism)
    if calibrated:
        raise InvalidInputError(
            field=calibrated[0],
            expected="a number, the same for every draw",
            got="a calibration",
            fix="a noise that follows the draw is no one reference law: choose one",
        )
    common, m = with_frozen_step(mechanism, data, pool), len(pool)
    rng = make_generator(seed, Stream.LOTS_COINS, 2)
    coins = draw_coins(draw, candidates=m, runs=asked.draws, rng=rng, pairs=pairs, k=k)
    parts = [coins[i : i + _AT_ONCE] for i in range(0, len(coins), _AT_ONCE)]
    calls = [(common, data, tuple(pool), part, asked.epsilon, asked.method) for part in parts]
    made = dict(results(engine.stream(deltas_of, calls), doing="certifying draws"))
    deltas = np.concatenate([made[i][0] for i in range(len(parts))])
    return common, averaged_claim(
        deltas,
        epsilon=asked.epsilon,
        candidates=m,
        draw=draw,
        k=k if draw == "exactly_k" else None,
        level=level,
        reference=made[0][1],
    )


def deltas_of(
    mechanism: Any, data: RecordSet, pool: tuple[int, ...], coins: Flags, epsilon: float, method: str
) -> tuple[NDArray[np.float64], Reference]:
    """Return delta of each drawn set at an epsilon, shape (n,), and the reference world; a worker's unit of work."""
    found, reference = [], Reference.RETRAIN_THEN_UNLEARN
    with worker_limits():
        published = parameters_of(mechanism.bind_pool(data, pool))
        for row in coins:
            # A run that draws nobody counts for nothing: its event never happens.
            if not row.any():
                found.append(0.0)
                continue
            deletion = bound_to_draw(mechanism, data, pool, np.flatnonzero(row).tolist())
            check_same_process(published, deletion)
            claim = stated_by(deletion, method).claim
            found.append(delta_at(claim, epsilon))
            reference = claim.reference
    return np.asarray(found), reference


def delta_at(claim: Claim, epsilon: float) -> float:
    """Return the smallest delta at which a claim promises this epsilon, rounded up; 1 for none.

    References
    ----------
    Dong, Roth, Su 2022 (arXiv:1905.02383), Corollary 1, for Gaussian differential privacy.
    """
    if isinstance(claim.guarantee, GaussianDP) and DIRECTION in claim.directions:
        mu = claim.guarantee.mu
        if mu == 0:
            return math.exp(_LEAST_LOG)
        upper, lower = log_ndtr(mu / 2 - epsilon / mu), epsilon + log_ndtr(-mu / 2 - epsilon / mu)
        # The subtraction cancels for tiny delta; its absolute error is far below 1e-13.
        return min(1.0, float(np.exp(upper) - np.exp(lower)) * _ROUNDED_UP + 1e-13)
    if claim.epsilon_at(1.0, DIRECTION) > epsilon:
        return 1.0
    low, high = _LEAST_LOG, 0.0
    if claim.epsilon_at(math.exp(low), DIRECTION) <= epsilon:
        return math.exp(low)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if claim.epsilon_at(math.exp(middle), DIRECTION) <= epsilon else (middle, high)
    return min(1.0, math.exp(high) * _ROUNDED_UP)
