"""What an audit by lot could show before anything is trained: ceiling, power, and how many models it needs.

In the flow: the command line prints a forecast; nothing that decides a verdict ever reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from audit.lots.result import LotsResult
from audit.lots.settling import least_of, settle_sets
from audit.lots.statistics.judging import bound_at, fitted_threshold, n_fit
from audit.lots.statistics.subsets import Draw, judge_run, usual_guesses
from audit.lots.statistics.tails import least_chance
from audit.records import json_text
from audit.statistics.bounds import ceiling
from mechanisms.claim import JSON_CONFIG, Claim, EpsilonDelta, UpTo
from mechanisms.errors import require
from mechanisms.reading.scalars import real_number, whole_number

Floats = NDArray[np.float64]
LOTS_FORECAST_SCHEMA: Literal["unlearn-audit/lots-forecast/1"] = "unlearn-audit/lots-forecast/1"
AUCS = (0.55, 0.6, 0.65, 0.7, 0.8, 0.9)
POWER = 0.8
_MOST_MODELS = 2**40
_SIMULATED = 400
# Of audits of several models each.
_SIMULATED_TOGETHER = 100
# Audits of this size take long to simulate, and vary little.
_LARGE, _SIMULATED_LARGE = 5_000, 40
# Of a rehearsal: with this probability its rate of right guesses is lower than is reckoned with.
_CAUTION = 0.25
_LARGEST_AUC = 0.999


@dataclass(frozen=True, kw_only=True)
class LotsPower:
    """What an audit would show if each candidate were told apart so well.

    Parameters
    ----------
    auc
        Chance that a candidate that was in scores above one that was not.
    power
        Chance that the claim is refuted.
    detectable
        The largest claimed epsilon that is refuted with probability .8.
    runs_needed
        The fewest models, of 1, 2, 4, ..., 64, that refute with probability .8; ``None`` where these do not.
    """

    __pydantic_config__ = JSON_CONFIG
    auc: float
    power: float
    detectable: float
    runs_needed: int | None


@dataclass(frozen=True, kw_only=True)
class LotsForecast:
    """What so many candidates and models could show of a claim.

    Parameters
    ----------
    candidates, runs, guesses
        Sizes.
    epsilon, delta, significance
        What is claimed, and the level.
    ceiling
        The highest bound: every guess right.
    two_worlds
        The fewest models of two worlds together that could refute this epsilon at all, at a level of half.
    powers
        One an AUC.
    """

    __pydantic_config__ = JSON_CONFIG
    candidates: int
    runs: int
    guesses: int
    epsilon: float
    delta: float
    significance: float
    ceiling: float
    two_worlds: int
    powers: tuple[LotsPower, ...]
    schema: Literal["unlearn-audit/lots-forecast/1"] = LOTS_FORECAST_SCHEMA

    def to_json(self) -> str:
        """Return the forecast as JSON text."""
        return json_text.dump(self)


def forecast_lots(
    *,
    candidates: int,
    epsilon: float,
    runs: int = 1,
    delta: float = 1e-5,
    significance: float = 0.05,
    guesses: int | None = None,
    aucs: Sequence[float] = AUCS,
    seed: int = 0,
) -> LotsForecast:
    """Return what an audit by fair coins could show, from 400 simulated audits an AUC.

    Parameters
    ----------
    candidates, runs
        At least 2 and 1.
    epsilon, delta, significance
        Of the claim, and the level.
    guesses
        How many of the surest are counted; half of them by default.
    aucs
        How well each candidate may be told apart, in (0.5, 1): Gaussian scores.
    seed
        Of the simulation.

    Raises
    ------
    InvalidInputError
        For numbers out of range.
    """
    m = whole_number(candidates, "--lots", fix="200 is usual")
    require(2 <= m <= 100_000, "--lots", expected="in [2, 100000]", got=m, fix="200 is usual")
    n = whole_number(runs, "--runs", fix="1 is usual")
    require(1 <= n <= 1000, "--runs", expected="in [1, 1000]", got=n, fix="1 is usual")
    r = usual_guesses("fair", m, 0) if guesses is None else whole_number(guesses, "--guesses", fix="half is usual")
    require(1 <= r <= m, "--guesses", expected=f"in [1, {m}]", got=r, fix="half of the candidates is usual")
    claim = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta), covers=UpTo(k=m))
    least = least_of("fair", "count", candidates=m, inserted=m, guesses=r)
    blank = LotsForecast(
        candidates=m,
        runs=n,
        guesses=r,
        epsilon=claim.guarantee.epsilon,  # type: ignore[union-attr]
        delta=delta,
        significance=significance,
        ceiling=bound_at(least, significance, delta) if n == 1 else 0.0,
        two_worlds=fewest_in_two_worlds(epsilon, delta, significance / 2),
        powers=(),
    )
    rng = np.random.default_rng(seed)
    powers = []
    for auc in aucs:
        value = real_number(auc, "--auc", fix="0.7 for example")
        require(0.5 <= value < 1, "--auc", expected="in [0.5, 1)", got=value, fix="0.7 for example")
        log_ps = _simulated(m, r, value, rng)
        powers.append(_power(blank, claim, value, log_ps, least, rng))
    best = blank.ceiling
    if n > 1:
        best = max(settle_sets(claim, [least] * n, **_options(blank, [least] * n, least)).judgement.ceiling, 0.0)
    return replace(blank, ceiling=best, powers=tuple(powers))


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """How well candidates were told apart in models that were trained already.

    Parameters
    ----------
    right, guesses
        Of all models together.
    likely, cautious
        AUC of a candidate that gives so many right guesses, and of a rate that is exceeded with probability 3/4.
    """

    right: int
    guesses: int
    likely: float
    cautious: float


def rehearsed(result: LotsResult) -> Rehearsed:
    """Return how well candidates were told apart in an audit by lot that was made already.

    Parameters
    ----------
    result
        Of fair coins or pairs; any number of models, from another pool or the same.

    Raises
    ------
    InvalidInputError
        For other draws, whose guesses are of another kind.

    Notes
    -----
    Under Gaussian scores the share of right guesses among the surest grows with the AUC; it is simulated with the same
    random numbers for each AUC, and solved for the share that was seen.
    """
    drawn = result.draw in ("fair", "paired")
    fix = "rehearse with fair coins or pairs"
    require(drawn, "--rehearsal", expected="a result of fair coins or pairs", got=result.draw, fix=fix)
    runs = [run for run in result.runs if run.inserted]
    right, guesses = sum(run.right for run in runs), sum(run.guesses for run in runs)
    require(guesses > 0, "--rehearsal", expected="guesses", got="none", fix=fix)
    coins = result.candidates // 2 if result.draw == "paired" else result.candidates
    # A pair's difference is told apart better by sqrt(2) than a candidate.
    wider = math.sqrt(2) if result.draw == "paired" else 1.0
    share = _shares(coins, runs[0].guesses, wider)
    rates = (right / guesses, least_chance(right, guesses, _CAUTION))
    likely, cautious = (_auc_of(rate, share) for rate in rates)
    return Rehearsed(right=right, guesses=guesses, likely=likely, cautious=cautious)


def _shares(coins: int, guesses: int, wider: float) -> Callable[[float], float]:
    """Return the function from AUC to the mean share of right guesses, on one set of random numbers."""
    rng = np.random.default_rng(0)
    n = max(4, 40_000 // coins)
    tossed, noise = rng.random((n, coins)) < 0.5, rng.standard_normal((n, coins))

    def share(auc: float) -> float:
        lean = noise + wider * math.sqrt(2) * float(ndtri(auc)) * (tossed - 0.5)
        lean = lean if wider > 1 else lean - np.median(lean, axis=1, keepdims=True)
        surest = np.argpartition(-np.abs(lean), guesses - 1, axis=1)[:, :guesses]
        rows = np.arange(n)[:, None]
        return float(np.mean((lean[rows, surest] > 0) == tossed[rows, surest]))

    return share


def _auc_of(rate: float, share: Callable[[float], float]) -> float:
    low, high = 0.5, _LARGEST_AUC
    if share(high) <= rate:
        return high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) <= rate else (low, middle)
    return low


def _power(
    blank: LotsForecast,
    claim: Claim,
    auc: float,
    log_ps: Floats,
    least: float,
    rng: np.random.Generator,
) -> LotsPower:
    level, delta = blank.significance, blank.delta

    def bounds(runs: int) -> Floats:
        if runs == 1:
            return np.asarray([bound_at(float(log_p), level, delta) for log_p in log_ps])
        drawn = rng.choice(log_ps, size=(_SIMULATED_TOGETHER, runs))
        found = [settle_sets(claim, list(row), **_options(blank, row, least)).judgement.lower_bound for row in drawn]
        return np.asarray(found)

    def power(found: Floats) -> float:
        return float(np.mean(found >= blank.epsilon)) if blank.epsilon > 0 else float(np.mean(found > 0))

    shown = bounds(blank.runs)
    needed = next((n for n in (1, 2, 4, 8, 16, 32, 64) if power(bounds(n)) >= POWER), None)
    detectable = float(np.quantile(shown, 1 - POWER))
    return LotsPower(auc=auc, power=power(shown), detectable=detectable, runs_needed=needed)


def _options(blank: LotsForecast, log_ps: Sequence[float] | Floats, least: float) -> dict[str, Any]:
    runs = len(log_ps)
    fitting = n_fit(runs)
    level = {"significance": blank.significance, "delta": blank.delta}
    threshold = fitted_threshold(np.asarray(log_ps[:fitting]), runs - fitting, **level)
    return {"n_fit": fitting, "log_threshold": threshold, "log_least_p": least, **level}


def _simulated(m: int, guesses: int, auc: float, rng: np.random.Generator) -> Floats:
    """Return logarithms of p-values of simulated runs in which each candidate is told apart so well, shape (n,)."""
    apart = math.sqrt(2) * float(ndtri(auc))
    draw: Draw = "fair"
    found = []
    for _ in range(_SIMULATED if m <= _LARGE else _SIMULATED_LARGE):
        coins = rng.random(m) < 0.5
        scores = rng.standard_normal(m) + apart * coins
        run = judge_run(scores, coins, draw=draw, pairs=None, statistic="count", guesses=guesses, rng=rng)
        found.append(run.log_p)
    return np.asarray(found)


def fewest_in_two_worlds(epsilon: float, delta: float, level: float) -> int:
    """Return the fewest models that two worlds need together so that their ceiling reaches epsilon; 0 where none do.

    Parameters
    ----------
    epsilon, delta
        Of the claim.
    level
        Of a test in one direction.
    """
    if not math.isfinite(epsilon) or level <= delta:
        return 0
    low, high = 1, 2
    while ceiling(n_null=high, level=level, delta=delta) < epsilon and high < _MOST_MODELS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        reached = ceiling(n_null=middle, level=level, delta=delta) >= epsilon
        low, high = (low, middle) if reached else (middle, high)
    return 2 * high if high < _MOST_MODELS else 0


def fewest_candidates(epsilon: float, delta: float, significance: float) -> int:
    """Return the fewest candidates by which one model could refute, all of them guessed rightly; 0 where none do."""
    if not math.isfinite(epsilon) or significance <= delta:
        return 0
    return max(2, math.ceil((epsilon - math.log(significance - delta)) / math.log(2)))
