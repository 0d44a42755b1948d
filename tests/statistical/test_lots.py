"""Claims about deletions by lot that hold with equality: false alarms are the level, neither more nor much less."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from audit.lots.statistics.betting import Bet, log_capital, next_bet
from audit.lots.statistics.judging import judge_hits, judge_one, log_allowed
from audit.lots.statistics.subsets import judge_run
from audit.lots.statistics.tails import log_half_tail
from mechanisms.claim import Claim, EpsilonDelta, UpTo
from tests.statistical.budget import binomial_limits

LEVEL, M = 0.05, 24
EPSILON, DELTA = 0.8, 0.01
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=EPSILON, delta=DELTA), covers=UpTo(k=M))
REPLICATES = [2_000, pytest.param(20_000, marks=pytest.mark.slow)]
TAILS = [log_half_tail(v, M) for v in range(M + 1)]


def worst_run(least: int, rng: np.random.Generator) -> float:
    """One run of the law that meets the claim: ``least`` right guesses of M pairs, as often as the claim allows."""
    first_given = rng.random(M) < 0.5
    wanted = rng.random() < math.exp(EPSILON + TAILS[least]) + DELTA
    guessed = rng.random(M) < 0.5
    if wanted:
        wrong = rng.permutation(np.flatnonzero(guessed != first_given))
        guessed[wrong[: max(0, least - int(np.sum(guessed == first_given)))]] ^= True
    while not wanted and int(np.sum(guessed == first_given)) >= least:
        guessed = rng.random(M) < 0.5
    # The second of a pair scores 0, the first above or below it.
    scores = np.column_stack([np.where(guessed, 1.0, -1.0) * rng.uniform(1, 2, M), np.zeros(M)]).ravel()
    coins = np.column_stack([first_given, ~first_given]).ravel()
    pairs = np.arange(2 * M).reshape(-1, 2)
    run = judge_run(scores, coins, draw="paired", pairs=pairs, statistic="count", guesses=M, rng=rng)
    assert run.right == int(np.sum(guessed == first_given))
    return run.log_p


def least_right() -> int:
    """The fewest right guesses that refute."""
    return next(v for v in range(M + 1) if math.exp(log_allowed(CLAIM, TAILS[v])) <= LEVEL)


@pytest.mark.parametrize("replicates", REPLICATES)
def test_one_run_at_equality(replicates: int) -> None:
    rng, least = np.random.default_rng(21), least_right()
    q = math.exp(EPSILON + TAILS[least]) + DELTA
    alarms = sum(
        judge_one(CLAIM, worst_run(least, rng), log_least=-50.0, significance=LEVEL, delta=DELTA).p_value <= LEVEL
        for _ in range(replicates)
    )
    low, high = binomial_limits(replicates, q)
    assert low <= alarms <= high
    assert alarms <= binomial_limits(replicates, LEVEL)[1]
    assert q > 0.5 * LEVEL


@pytest.mark.parametrize("replicates", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_several_runs_at_equality(replicates: int) -> None:
    """The threshold is fixed; each run is of the worst law, a hit as often as the claim allows given all before."""
    rng, runs, least = np.random.default_rng(22), 8, 16
    log_a = TAILS[least]
    q = math.exp(EPSILON + log_a) + DELTA
    refuting = [
        judge_hits(CLAIM, hits, runs, log_a, significance=LEVEL, delta=DELTA).p_value <= LEVEL
        for hits in range(runs + 1)
    ]
    size = sum(math.comb(runs, h) * q**h * (1 - q) ** (runs - h) for h in range(runs + 1) if refuting[h])
    hits = [sum(worst_run(least, rng) <= log_a for _ in range(runs)) for _ in range(replicates)]
    low, high = binomial_limits(replicates, size)
    assert low <= sum(refuting[h] for h in hits) <= high
    # Not vacuous: as near to the level as whole numbers of hits allow.
    assert 0.2 * LEVEL < size <= LEVEL


RELEASES = 8


@functools.cache
def bet_after(hits: tuple[bool, ...]) -> tuple[tuple[Bet, ...], float, float]:
    """What was bet on releases that were hits or not, and on the next: log of the chance, and the share."""
    bets: tuple[Bet, ...] = ()
    if hits:
        before, log_a, share = bet_after(hits[:-1])
        bets = (*before, Bet(log_chance=log_a, share=share, log_p=log_a - 0.5 if hits[-1] else log_a / 2))
    return (bets, *next_bet(bets, CLAIM, LEVEL))


def refutes(hits: tuple[bool, ...]) -> bool:
    return bool(hits) and max(log_capital(bet_after(hits)[0], CLAIM)) >= -math.log(LEVEL)


def ever_refuted(hits: tuple[bool, ...] = ()) -> float:
    """The exact chance, over all sequences, that some release refutes: each a hit as often as the claim allows."""
    if refutes(hits):
        return 1.0
    if len(hits) == RELEASES:
        return 0.0
    q = math.exp(log_allowed(CLAIM, bet_after(hits)[1]))
    return q * ever_refuted((*hits, True)) + (1 - q) * ever_refuted((*hits, False))


@pytest.mark.parametrize("replicates", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_stream_at_equality_looked_at_after_every_release(replicates: int) -> None:
    rng, alarms, size = np.random.default_rng(23), 0, ever_refuted()
    # Not vacuous, and never above the level.
    assert 0.2 * LEVEL < size <= LEVEL
    for _ in range(replicates):
        hits: tuple[bool, ...] = ()
        while len(hits) < RELEASES and not refutes(hits):
            hits = (*hits, bool(rng.random() < math.exp(log_allowed(CLAIM, bet_after(hits)[1]))))
        alarms += refutes(hits)
    low, high = binomial_limits(replicates, size)
    assert low <= alarms <= high
