"""The verdict on a claim from what the runs showed: for a result that is made, and for one that is read again.

In the flow: :mod:`audit.lots.auditing` counts; here, and nowhere else, counts become a p-value, a bound and a verdict,
so that a stored result can be held to its own counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audit.lots.statistics.betting import Bet, log_capital, running_bound
from audit.lots.statistics.judging import Judgement, judge_hits, judge_one
from audit.lots.statistics.subsets import Draw, Statistic, log_least
from audit.records.verdict import Reason, Verdict, decide
from mechanisms.claim import Claim


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A verdict with its numbers."""

    verdict: Verdict
    reason: Reason | None
    judgement: Judgement


def settle_sets(
    claim: Claim,
    log_ps: Sequence[float],
    *,
    n_fit: int,
    log_threshold: float | None,
    log_least_p: float,
    significance: float,
    delta: float,
) -> Settled:
    """Return the verdict from one run's p-value, or from how many of several runs are hits.

    Parameters
    ----------
    claim
        Of every set that the coins can give.
    log_ps
        Logarithms of the p-values of the runs, those that chose the threshold first.
    n_fit, log_threshold
        Runs that chose it; ``None`` where one run is judged by itself.
    log_least_p
        Logarithm of the smallest p-value that a run could show.
    significance, delta
        Of the test, and of the bound.
    """
    if log_threshold is None:
        return _settled(
            judge_one(claim, log_ps[0], log_least=log_least_p, significance=significance, delta=delta), significance
        )
    counted = log_ps[n_fit:]
    hits = sum(log_p <= log_threshold for log_p in counted)
    # A threshold that no run can reach is never met.
    reachable = log_least_p <= log_threshold
    judged = judge_hits(claim, hits, len(counted), log_threshold, significance=significance, delta=delta)
    if not reachable:
        judged = Judgement(p_value=judged.p_value, lower_bound=judged.lower_bound, ceiling=0.0, least_p_value=1.0)
    return _settled(judged, significance)


def settle_names(
    claims: Claim | Sequence[Claim], hits: int, runs: int, *, log_chance: float, significance: float, delta: float
) -> Settled:
    """Return the verdict from how often the drawn record was among those that were named."""
    return _settled(judge_hits(claims, hits, runs, log_chance, significance=significance, delta=delta), significance)


def settle_stream(claim: Claim, bets: Sequence[Bet], *, significance: float, delta: float) -> Settled:
    """Return the verdict after the releases so far; once refuted it stays so."""
    won = [Bet(log_chance=bet.log_chance, share=bet.share, log_p=-math.inf) for bet in bets]
    peaks = [max(0.0, *log_capital(found, claim)) for found in (bets, won)]
    bounds = [running_bound(found, delta=delta, significance=significance) for found in (bets, won)]
    judged = Judgement(
        p_value=math.exp(-peaks[0]), lower_bound=bounds[0], ceiling=bounds[1], least_p_value=math.exp(-peaks[1])
    )
    return _settled(judged, significance)


def least_of(draw: Draw, statistic: Statistic, *, candidates: int, inserted: int, guesses: int) -> float:
    """Return the logarithm of the smallest p-value that one run of this size could show."""
    return log_least(draw, statistic, candidates=candidates, marked=inserted, guesses=guesses)


def _settled(judged: Judgement, significance: float) -> Settled:
    verdict, reason = decide(
        rejected=judged.p_value <= significance,
        reproducible=True,
        attack_failed=False,
        refutable=judged.least_p_value <= significance,
    )
    return Settled(verdict=verdict, reason=reason, judgement=judged)
