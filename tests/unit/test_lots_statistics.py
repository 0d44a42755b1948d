"""Statistics of deletions by lot: enumerated against every release and every worst-case law, and told by hand."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from audit.lots.statistics.betting import Bet, log_capital, next_bet, running_bound
from audit.lots.statistics.judging import (
    bound_at,
    fitted_threshold,
    judge_hits,
    judge_one,
    log_allowed,
    log_allowed_apart,
)
from audit.lots.statistics.subsets import Draw, RunEvidence, Statistic, judge_run, log_least, usual_guesses
from audit.lots.statistics.tails import (
    LARGEST_CONVOLVED,
    LARGEST_WHOLE,
    log_chernoff,
    log_count_tail,
    log_half_tail,
    log_hypergeometric_tail,
    log_signs_tail,
    whole_weights,
)
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, PrivacyProfile, UpTo
from mechanisms.errors import InvalidInputError

Floats = NDArray[np.float64]
CLAIMS = [(0.0, 0.0), (0.5, 0.0), (1.0, 0.01), (2.0, 0.0)]


def claim(epsilon: float, delta: float) -> Claim:
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta), covers=UpTo(k=10**7))


def releases(m: int) -> Iterator[Floats]:
    """Score vectors of every kind: plain, with ties, all equal, one wild, of two values."""
    rng = np.random.default_rng(m)
    yield rng.normal(size=m)
    yield np.round(rng.normal(size=m))
    yield np.zeros(m)
    yield np.where(np.arange(m) == 0, 1e9, rng.normal(size=m))
    yield (np.arange(m) % 2).astype(float)


def coins_of(draw: Draw, m: int, k: int) -> list[NDArray[np.bool_]]:
    """All sets that a draw can give; each is as likely as the others."""
    if draw == "fair":
        return [np.asarray(bits, dtype=bool) for bits in itertools.product((False, True), repeat=m)]
    if draw == "paired":
        firsts = itertools.product((False, True), repeat=m // 2)
        return [np.asarray([b for first in bits for b in (first, not first)]) for bits in firsts]
    return [np.isin(np.arange(m), chosen) for chosen in itertools.combinations(range(m), k)]


def run_of(scores: Floats, coins: NDArray[np.bool_], draw: Draw, statistic: Statistic, guesses: int) -> RunEvidence:
    pairs = np.arange(len(scores)).reshape(-1, 2) if draw == "paired" else None
    # The same ties for all coins: they are broken before the coins.
    rng = np.random.default_rng(7)
    return judge_run(scores, coins, draw=draw, pairs=pairs, statistic=statistic, guesses=guesses, rng=rng)


@functools.cache
def log_ps(draw: Draw, statistic: Statistic, m: int, guesses: int, k: int) -> Floats:
    """The statistic itself, releases by sets: for the empty set too, of which a run says nothing."""
    table = []
    for scores in releases(m):
        runs = [run_of(scores, coins, draw, statistic, guesses) for coins in coins_of(draw, m, k)]
        told = [[v for v in (run.log_counted, run.log_weighted) if v is not None] for run in runs]
        table.append([min(values) + math.log(len(values)) for values in told])
    return np.asarray(table)


SIZES: list[tuple[Draw, Statistic, int, int, int]] = [
    *(("fair", "count", m, r, 0) for m, r in ((1, 1), (2, 1), (5, 3), (8, 8))),
    *(("fair", "weighted", m, 1, 0) for m in (1, 2, 5, 8)),
    *(("fair", "both", m, r, 0) for m, r in ((4, 2), (6, 4))),
    *(("paired", "count", m, r, 0) for m, r in ((2, 1), (12, 4), (12, 6))),
    *(("paired", "weighted", m, 1, 0) for m in (2, 12)),
    *(("exactly_k", "count", m, r, k) for m, r, k in ((2, 1, 1), (6, 2, 3), (9, 4, 2), (8, 4, 4))),
]
# Every size up to 12, with one guess, half of them and all.
LARGER: list[tuple[Draw, Statistic, int, int, int]] = [
    *(("fair", "count", m, r, 0) for m in range(1, 13) for r in sorted({1, (m + 1) // 2, m})),
    *(("fair", "weighted", m, 1, 0) for m in range(1, 13)),
    *(("fair", "both", m, (m + 1) // 2, 0) for m in range(1, 13)),
    *(("paired", "count", m, r, 0) for m in range(2, 13, 2) for r in range(1, m // 2 + 1)),
    *(("paired", "weighted", m, 1, 0) for m in range(2, 13, 2)),
    *(("paired", "both", m, (m // 2 + 1) // 2, 0) for m in range(2, 13, 2)),
    *(
        ("exactly_k", "count", m, r, k)
        for m in range(2, 13)
        for k in sorted({1, m // 2, m - 1})
        for r in sorted({1, k, m - 1})
    ),
]
ALL = [*SIZES, *(pytest.param(*size, marks=pytest.mark.slow) for size in LARGER if size not in SIZES)]


@pytest.mark.parametrize(("draw", "statistic", "m", "guesses", "k"), ALL)
def test_size_of_a_run_is_what_it_says_for_every_release(
    draw: Draw, statistic: Statistic, m: int, guesses: int, k: int
) -> None:
    """Where the release tells nothing, chance is that of the coins alone: enumerate them, release by release."""
    for found in np.exp(log_ps(draw, statistic, m, guesses, k)):
        for level in np.unique(found):
            size = float(np.mean(found <= level * (1 + 1e-9)))
            assert size <= level * (1 + 1e-9)
            # Not vacuous: what is attained has exactly the chance that it states.
            if statistic != "both" and level < 1:
                assert size >= level * (1 - 1e-7)


@pytest.mark.parametrize(("epsilon", "delta"), CLAIMS)
@pytest.mark.parametrize(("draw", "statistic", "m", "guesses", "k"), ALL)
def test_no_worst_case_law_refutes_a_claim_more_often_than_it_says(
    draw: Draw, statistic: Statistic, m: int, guesses: int, k: int, epsilon: float, delta: float
) -> None:
    """The worst law for a region K of (release, coins): e^epsilon R on the part of K of each S, and delta besides."""
    table = log_ps(draw, statistic, m, guesses, k)  # R is uniform over the releases
    for log_level in np.unique(table):
        region = table <= log_level + 1e-12
        under_r = region.mean(axis=0)
        # No law may exceed the claim on K_S, or 1; this one meets it.
        worst = float(np.mean(np.where(under_r > 0, np.minimum(1.0, math.exp(epsilon) * under_r + delta), delta)))
        stated = math.exp(log_allowed(claim(epsilon, delta), float(log_level)))
        assert worst <= stated * (1 + 1e-9)


def test_the_worst_case_is_met() -> None:
    """One release for each guess of all coins, R uniform: the chance of refuting is the size, to the last digit."""
    m, epsilon, delta = 8, 0.7, 0.01
    coins = coins_of("fair", m, 0)
    guessed = np.asarray(coins, dtype=float) * 2 - 1
    sizes = np.arange(1, m + 1) / m
    right = (guessed[:, None, :] == guessed[None, :, :]).sum(axis=2)  # release x set
    tails = np.asarray([log_half_tail(v, m) for v in range(m + 1)])
    assert run_of(guessed[3] * sizes + 0.0, coins[3], "fair", "count", m).inserted == int(np.sum(coins[3]))
    for v in range(5, m + 1):
        under_r = (right >= v).mean(axis=0)
        worst = float(np.mean(np.minimum(1.0, math.exp(epsilon) * under_r + delta)))
        assert worst == pytest.approx(math.exp(log_allowed(claim(epsilon, delta), tails[v])), rel=1e-9)


def test_a_bound_covers_every_epsilon_at_once() -> None:
    for log_p in (-1.0, -5.0, -40.0, -2000.0):
        bound = bound_at(log_p, 0.05, 1e-5)
        for epsilon in (bound * 0.999, bound):
            assert judge_one(claim(epsilon, 1e-5), log_p, log_least=-1e4, significance=0.05, delta=1e-5).p_value <= (
                0.05 if bound else 1.0
            ) * (1 + 1e-9)
        above = judge_one(claim(bound + 1e-6, 1e-5), log_p, log_least=-1e4, significance=0.05, delta=1e-5)
        assert above.p_value > 0.05
    assert bound_at(math.log(2.168e-9), 0.05, 0.0) == pytest.approx(16.95, abs=0.01)
    assert bound_at(-50.0, 0.05, 0.05) == 0.0


def test_79_of_100_by_hand() -> None:
    assert math.exp(log_half_tail(79, 100)) == pytest.approx(2.1686833e-9, rel=1e-6)
    assert log_half_tail(0, 5) == 0.0
    assert log_half_tail(5, 5) == pytest.approx(-5 * math.log(2))
    with pytest.raises(InvalidInputError, match="right"):
        log_half_tail(6, 5)


@pytest.mark.parametrize(
    ("right", "guesses"), [(1200, 2000), (1100, LARGEST_WHOLE), (1100, LARGEST_WHOLE + 1), (505_000, 1_000_000)]
)
def test_tails_agree_with_mpmath_and_are_never_below(right: int, guesses: int) -> None:
    with mpmath.workdps(60):
        term = mpmath.binomial(guesses, right) / mpmath.mpf(2) ** guesses
        total = mpmath.mpf(0)
        for j in range(right, guesses + 1):
            total += term
            term *= mpmath.mpf(guesses - j) / (j + 1)
            if term < total * mpmath.mpf(10) ** -40:
                break
        known = mpmath.log(total)
        assert 0 <= log_half_tail(right, guesses) - known < 5e-7


def test_hypergeometric_tails_agree_with_sums() -> None:
    ways = [math.comb(60, j) * math.comb(140, 60 - j) for j in range(61)]
    for right in (0, 10, 30, 60):
        known = math.log(sum(ways[right:]) / math.comb(200, 60)) if right else 0.0
        found = log_hypergeometric_tail(right, population=200, marked=60, guesses=60)
        assert found == pytest.approx(known, rel=1e-10, abs=1e-10)
    big = log_hypergeometric_tail(700, population=5000, marked=1000, guesses=1000)
    assert big < -100
    with mpmath.workdps(40):
        known_big = mpmath.log(
            sum(mpmath.binomial(1000, j) * mpmath.binomial(4000, 1000 - j) for j in range(700, 1001))
            / mpmath.binomial(5000, 1000)
        )
    assert 0 <= big - known_big < 1e-6
    with pytest.raises(InvalidInputError, match="marked"):
        log_hypergeometric_tail(1, population=3, marked=4, guesses=1)


def test_sums_of_signs_agree_with_enumeration_and_with_whole_numbers() -> None:
    rng = np.random.default_rng(2)
    for m in (1, 3, 12):
        weights = np.rint(rng.normal(size=m) * 6).astype(np.int64)
        sums = np.asarray(list(itertools.product((-1, 1), repeat=m))) @ weights
        for total in range(-80, 81):
            known = float(np.mean(sums >= total))
            found = log_signs_tail(weights, total)
            assert math.exp(found) == pytest.approx(known, rel=1e-9)
            assert log_chernoff(weights.astype(float), total) >= (math.log(known) if known else -math.inf) - 1e-12
    # Far tails, in whole numbers of any length: a Fourier transform gives 2e-16 here.
    weights = np.full(200, 7)
    for total in (700, 1050, 1400):
        assert log_signs_tail(weights, total) == pytest.approx(log_half_tail((total // 7 + 200) // 2, 200), abs=1e-8)
    assert log_signs_tail(np.full(1400, 3), 4200) == pytest.approx(-1400 * math.log(2), rel=1e-9)
    assert log_signs_tail(np.asarray([2, 3]), 6) == -math.inf
    assert log_signs_tail(np.zeros(4, dtype=np.int64), 0) == 0.0


def test_uneven_weights_agree_with_exact_counting() -> None:
    weights = np.rint(np.random.default_rng(3).normal(size=60) * 20).astype(np.int64)
    ways: dict[int, int] = {0: 1}
    for w in map(int, weights):
        new: dict[int, int] = {}
        for s, n in ways.items():
            for moved in (s - w, s + w):
                new[moved] = new.get(moved, 0) + n
        ways = new
    for total in (0, 100, 300, 600, int(np.abs(weights).sum())):
        known = math.log(sum(n for s, n in ways.items() if s >= total)) - 60 * math.log(2)
        assert log_signs_tail(weights, total) == pytest.approx(known, abs=1e-9)


def test_weights_are_rounded_by_themselves_alone() -> None:
    scores = np.random.default_rng(4).normal(size=300)
    assert np.array_equal(whole_weights(scores), whole_weights(scores * 3.5))
    assert np.array_equal(whole_weights(-scores), -whole_weights(scores))
    assert not np.any(whole_weights(np.zeros(5)))


def test_a_million_candidates_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(5)
    m = 1_000_000
    coins = rng.random(m) < 0.5
    scores = rng.normal(size=m) + 0.1 * coins
    for statistic in ("count", "weighted"):
        began = time.process_time()
        run = judge_run(
            scores, coins, draw="fair", pairs=None, statistic=statistic, guesses=m // 2, rng=np.random.default_rng(0)
        )
        assert time.process_time() - began < 2.0
        assert -20_000 < run.log_p < -700, "in logarithms"
    assert m > LARGEST_CONVOLVED


def test_an_empty_set_says_nothing() -> None:
    run = run_of(np.arange(4.0), np.zeros(4, dtype=bool), "fair", "count", 2)
    assert run.log_counted is not None
    assert run.log_p == 0.0


def test_gaussian_claims_and_profiles() -> None:
    gaussian = Claim(guarantee=GaussianDP(mu=1.0), covers=UpTo(k=9))
    # Phi(Phi^-1(0.01) + 1) by hand.
    assert math.exp(log_allowed(gaussian, math.log(0.01))) == pytest.approx(0.0923, abs=1e-4)
    profile = PrivacyProfile(
        epsilons=(0.0, 1.0),
        log_deltas={d: (math.log(0.2), math.log(0.01)) for d in gaussian.directions},
    )
    of_rows = Claim(guarantee=profile, covers=UpTo(k=9))
    assert math.exp(log_allowed(of_rows, math.log(0.01))) == pytest.approx(0.01 * math.e + 0.01)
    assert log_allowed(claim(math.inf, 0.0), -50.0) == 0.0


@pytest.mark.parametrize(("epsilon", "delta"), CLAIMS)
def test_size_of_several_runs_is_binomial(epsilon: float, delta: float) -> None:
    log_a, runs = math.log(0.1), 6
    q = min(1.0, math.exp(epsilon) * 0.1 + delta)
    for hits in range(runs + 1):
        worst = sum(
            math.prod(q if x else 1 - q for x in outcome)
            for outcome in itertools.product((0, 1), repeat=runs)
            if sum(outcome) >= hits
        )
        judged = judge_hits(claim(epsilon, delta), hits, runs, log_a, significance=0.05, delta=delta)
        assert judged.p_value == pytest.approx(min(1.0, worst), rel=1e-9)
        assert (judged.p_value <= 0.05) == (judged.lower_bound >= epsilon and judged.lower_bound > 0)
        assert judged.least_p_value <= judged.p_value
        assert judged.lower_bound <= judged.ceiling


def test_25_runs_with_70_of_100_right() -> None:
    """A count fixed beforehand: 10.03 where a joint Chernoff bound gives 8.11."""
    a = log_half_tail(70, 100)
    assert judge_hits(claim(1.0, 0.0), 25, 25, a, significance=0.05, delta=0.0).lower_bound == pytest.approx(
        10.03, abs=0.01
    )
    assert log_count_tail(25, 25, -2000.0) == pytest.approx(-50_000.0)


def test_which_record_meets_its_worst_case_with_claims_of_their_own() -> None:
    """R names k of m; the chance of naming the drawn one, at each P_i as large as its claim allows, over every R."""
    epsilons, deltas, m = (0.1, 2.0, 0.0, 1.0, 0.5), (0.0, 0.01, 0.02, 0.0, 0.0), 5
    claims = [claim(e, d) for e, d in zip(epsilons, deltas, strict=True)]
    for k in (1, 2, 4):
        stated = math.exp(log_allowed_apart(claims, math.log(k / m)))
        found = []
        for named in itertools.combinations(range(m), k):
            chance = sum(
                min(1.0, math.exp(e) * (i in named) + d) for i, (e, d) in enumerate(zip(epsilons, deltas, strict=True))
            )
            found.append(chance / m)
        assert max(found) <= stated
        free = sum(sorted((math.exp(e) for e in epsilons), reverse=True)[:k]) / m + sum(deltas) / m
        assert stated == pytest.approx(min(1.0, free))
    alike = [claim(0.5, 0.01)] * m
    assert log_allowed_apart(alike, math.log(1 / m)) == pytest.approx(log_allowed(alike[0], math.log(1 / m)))


@pytest.mark.parametrize(("epsilon", "delta"), CLAIMS)
def test_capital_is_a_martingale_at_the_worst_case(epsilon: float, delta: float) -> None:
    """Every sequence of hits over six releases, each a hit with exactly the chance that the claim allows."""
    about, significance = claim(epsilon, delta), 0.05

    def tree(bets: Sequence[Bet], chance: float, crossed: bool) -> tuple[float, float]:
        """Return the mean of the capital at the end, and the chance that it was ever 20."""
        capital = math.exp(log_capital(bets, about)[-1]) if bets else 1.0
        crossed = crossed or capital >= 1 / significance
        if len(bets) == 6:
            return chance * capital, chance if crossed else 0.0
        log_a, share = next_bet(bets, about, significance)
        q = math.exp(log_allowed(about, log_a))
        total = [0.0, 0.0]
        for log_p, probability in ((log_a - 0.5, q), (log_a / 2, 1 - q)):
            ends = tree([*bets, Bet(log_chance=log_a, share=share, log_p=log_p)], chance * probability, crossed)
            total = [total[0] + ends[0], total[1] + ends[1]]
        return total[0], total[1]

    mean, ever = tree([], 1.0, False)
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert 0.005 < ever <= significance


def test_running_bound_is_where_the_capital_reaches_the_level() -> None:
    bets = [Bet(log_chance=-8.0, share=0.5, log_p=p) for p in (-9.0, -9.0, -1.0)]
    bound = running_bound(bets, delta=1e-5, significance=0.05)
    # Two hits: (1/2 + 1/2q)^2 = 20.
    assert bound == pytest.approx(math.log(0.5 / (math.sqrt(20) - 0.5) - 1e-5) + 8, abs=1e-9)
    assert max(log_capital(bets, claim(bound * 0.9999, 1e-5))) >= math.log(20)
    assert max(log_capital(bets, claim(bound * 1.0001, 1e-5))) < math.log(20)
    assert running_bound([], delta=0.0, significance=0.05) == 0.0
    # Claims that allow everything are not bet on, and never refuted.
    hopeless: Any = claim(20.0, 0.0)
    assert log_capital([Bet(log_chance=-8.0, share=0.5, log_p=-9.0)], hopeless) == (0.0,)


def test_usual_guesses_and_least_p_values() -> None:
    assert [usual_guesses(d, 200, k) for d, k in (("fair", 0), ("paired", 100), ("exactly_k", 7))] == [100, 50, 7]  # type: ignore[arg-type]
    assert log_least("fair", "count", candidates=200, marked=0, guesses=100) == pytest.approx(-100 * math.log(2))
    assert log_least("paired", "weighted", candidates=200, marked=0, guesses=9) == pytest.approx(-100 * math.log(2))
    assert log_least("exactly_k", "count", candidates=10, marked=3, guesses=3) == pytest.approx(-math.log(120))


def test_the_threshold_is_fitted_to_what_was_seen() -> None:
    clear = np.full(4, -20.0)
    assert fitted_threshold(clear, 12, significance=0.05, delta=0.0) == -20.0
    assert fitted_threshold(np.asarray([-0.1, -0.2]), 12, significance=0.05, delta=0.0) == pytest.approx(math.log(0.05))
