"""Every condition of an audit by lot, dropped: perfect services are then refuted, or lost requests stay unseen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from attacks.lots import MatchedFilter
from audit.lots.statistics.subsets import judge_run
from audit.lots.statistics.tails import log_half_tail
from audit.records.verdict import Verdict
from mechanisms import Claim, EpsilonDelta, Reference, RidgeLangevin, UpTo, from_arrays, from_functions, load_named
from mechanisms.errors import InvalidInputError
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEVEL, M = 0.05, 40
# The release depends on nothing that the coins decide.
ZERO = Claim(guarantee=EpsilonDelta(epsilon=0.0, delta=0.0), reference=Reference.RETRAIN_ONLY, covers=UpTo(k=M))


def refuted(scores: Array, coins: Flags, claim: Claim = ZERO, **options: Any) -> bool:
    return audit.from_lots(scores, coins, claim=claim, **options).verdict is Verdict.REFUTED


def tossed(rng: np.random.Generator, *shape: int) -> Flags:
    return rng.random(shape) < 0.5


def test_one_seed_for_all_runs() -> None:
    """A one-time pad: each release alone is independent of its coins. With one pad for all runs half are refuted."""
    rng, replicates, runs = np.random.default_rng(1), 200, 8
    # P(Bin(40, 1/2) >= 20): a run is a hit a little more often than not.
    a = math.exp(log_half_tail(20, M))
    found = {"one": 0, "own": 0}
    for _ in range(replicates):
        coins = tossed(rng, runs, M)
        for kind, pads in (("one", np.tile(tossed(rng, M), (runs, 1))), ("own", tossed(rng, runs, M))):
            released = coins ^ pads
            hits = [int(np.sum(r == c)) >= 20 for r, c in zip(released, coins, strict=True)]
            tail = sum(math.comb(runs, j) * a**j * (1 - a) ** (runs - j) for j in range(sum(hits), runs + 1))
            found[kind] += tail <= LEVEL
    assert found["own"] <= binomial_limits(replicates, LEVEL)[1]
    assert binomial_limits(replicates, a)[0] <= found["one"] <= binomial_limits(replicates, a)[1]
    assert found["one"] > 0.4 * replicates
    # Equal seeds are refused where they are known, and found where runs are made here.
    with pytest.raises(InvalidInputError, match="run_seeds"):
        audit.from_lots(rng.normal(size=(2, M)), tossed(rng, 2, M), claim=ZERO, run_seeds=[0, 0])


def test_a_step_size_or_a_divisor_from_what_the_run_was_given() -> None:
    """Perfect deletion, with a number frozen from D + S: what is learned without S then tells S."""
    rng, replicates = np.random.default_rng(2), 200
    curvature = rng.lognormal(sigma=1.0, size=M)
    pairs, alarms = np.arange(2 * M).reshape(-1, 2), 0
    for _ in range(replicates):
        coins = tossed(rng, M)
        # An attacker knows each record's curvature, and reads the frozen sum off the release.
        above = float(curvature @ coins) > float(curvature.sum()) / 2
        # All scores are of one sign: each is paired with a candidate that scores 0.
        scores = np.column_stack([curvature if above else -curvature, np.zeros(M)]).ravel()
        given = np.column_stack([coins, ~coins]).ravel()
        run = judge_run(scores, given, draw="paired", pairs=pairs, statistic="weighted", guesses=M, rng=rng)
        alarms += run.log_p <= math.log(LEVEL)
    # On which side of its mean the sum lies is one bit, and doubles the level.
    assert binomial_limits(replicates, 2 * LEVEL)[0] <= alarms <= binomial_limits(replicates, 2 * LEVEL)[1]
    assert alarms > LEVEL * replicates


def test_a_divisor_that_encodes_the_draw_refutes_every_perfect_service() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        coins = tossed(rng, M)
        total = int(sum(2**i for i in np.flatnonzero(coins)))
        read = np.asarray([bool(total >> i & 1) for i in range(M)], dtype=float) + rng.uniform(0, 0.1, M)
        assert refuted(read, coins)


def test_probe_rows_of_the_deleted_show_who_was_deleted() -> None:
    """Outputs on the deleted records alone: a row for each, so that the shape tells, whatever the model is."""
    rng = np.random.default_rng(4)
    features = rng.normal(size=(M, 3))
    for _ in range(20):
        coins, perfect = tossed(rng, M), rng.normal(size=3)
        shown = features[coins] @ perfect
        of_all = features @ perfect
        scores = np.asarray([float(np.isclose(shown, value).any()) for value in of_all])
        assert refuted(scores + rng.uniform(0, 0.1, M), coins)
    # Released on the whole pool the same model tells nothing.
    alarms = sum(refuted(features @ rng.normal(size=3), tossed(rng, M)) for _ in range(200))
    assert alarms <= binomial_limits(200, LEVEL)[1]


def test_exactly_half_has_another_null() -> None:
    """At m = 2 "one of the two" taken for fair coins states 1/4 for what happens in half of all draws."""
    stated, happened = [], 0
    for first in (True, False):
        coins = np.asarray([first, not first])
        scores = np.asarray([1.0, 0.0])
        options: dict[str, Any] = {"statistic": "count", "guesses": 2, "rng": np.random.default_rng(0)}
        run = judge_run(scores, coins, draw="fair", pairs=None, **options)
        stated.append(math.exp(run.log_p))
        happened += run.right == 2
    assert min(stated) == pytest.approx(0.25)
    assert happened / 2 == 0.5
    pairs = np.asarray([[0, 1]])
    run = judge_run(np.asarray([1.0, 0.0]), np.asarray([True, False]), draw="paired", pairs=pairs, statistic="count",
                    guesses=1, rng=np.random.default_rng(0))  # fmt: skip
    assert math.exp(run.log_p) == pytest.approx(0.5)


def test_the_best_number_of_guesses_afterwards() -> None:
    """Looking for the r that shows most makes false alarms of a nominal 5 % three times as frequent."""
    rng, replicates, m = np.random.default_rng(5), 2_000, 100
    logs = [[log_half_tail(v, r) for v in range(r + 1)] for r in range(m + 1)]
    best = fixed = 0
    for _ in range(replicates):
        right = np.cumsum(rng.random(m) < 0.5)
        found = [logs[r][int(right[r - 1])] for r in range(1, m + 1)]
        best += min(found) <= math.log(LEVEL)
        fixed += found[49] <= math.log(LEVEL)
    assert fixed <= binomial_limits(replicates, LEVEL)[1]
    assert best >= binomial_limits(replicates, 3 * LEVEL)[0]
    with pytest.raises(InvalidInputError, match="guesses"):
        audit.from_lots(rng.normal(size=m), tossed(rng, m), claim=replace(ZERO, covers=UpTo(k=m)), guesses="best")  # type: ignore[arg-type]


def test_coins_that_are_redrawn_until_a_control_is_content() -> None:
    """The control: scores of a model without the pool against the coins. Redrawn until at least half are right.

    A perfect service releases a model without the pool once more, and the same guesses are judged: count all coins.
    """
    scores = np.random.default_rng(6).normal(size=12)
    guessed, mean = scores > np.median(scores), scores.size / 2
    right, alarm = [], []
    for bits in np.ndindex(*(2,) * 12):
        coins = np.asarray(bits, dtype=bool)
        options: dict[str, Any] = {"statistic": "count", "guesses": 12, "rng": np.random.default_rng(0)}
        run = judge_run(scores, coins, draw="fair", pairs=None, **options)
        right.append(int(np.sum(guessed == coins)))
        assert run.right == right[-1]
        # Level .08, which twelve coins attain nearly: 9 right or more.
        alarm.append(run.log_p <= math.log(0.08))
    kept = np.asarray(right) >= mean
    assert float(np.mean(alarm)) <= 0.08
    assert float(np.mean(np.asarray(alarm)[kept])) > 1.4 * 0.08


def test_a_score_that_reads_an_earlier_release() -> None:
    """The batch was inside from the start: an earlier release shows it, and every later one is "refuted" by that."""
    rng = np.random.default_rng(7)
    state: audit.LotsResult | None = None
    honest: audit.LotsResult | None = None
    for _ in range(3):
        coins = tossed(rng, M)
        earlier = coins + 0.01 * rng.normal(size=M)
        after_deletion = rng.normal(size=M)
        claim = ZERO if state is None else None
        state = audit.follow_stream(earlier + 0.01 * after_deletion, coins, claim=claim, state=state)
        honest = audit.follow_stream(after_deletion, coins, claim=claim, state=honest)
    assert state is not None
    assert honest is not None
    assert state.verdict is Verdict.REFUTED
    assert honest.verdict is Verdict.NOT_REFUTED
    assert any("no score reads a release" in text for text in state.conditions)


def solved(features: Array, targets: Array) -> Array:
    return np.asarray(np.linalg.solve(features.T @ features + np.eye(features.shape[1]), features.T @ targets))


def test_noise_for_the_whole_pool_bounds_no_part_of_it() -> None:
    """Two records that cancel: deleting both moves nothing, deleting one does."""
    rng = np.random.default_rng(8)
    core, truth = rng.normal(size=(60, 4)), rng.normal(size=(4, 1))
    targets = core @ truth + rng.normal(size=(60, 1))
    x = rng.normal(size=(1, 4))
    usual = x @ solved(core, targets)
    features = np.concatenate([core, x, x])
    both = np.concatenate([targets, usual + 3.0, usual - 3.0])
    without = solved(core, targets)
    assert np.linalg.norm(solved(features, both) - without) < 1e-12
    alone = np.linalg.norm(solved(features[:-1], both[:-1]) - without)
    assert alone > 0.05
    # So that certificates of the pool are no claim about what coins draw from it.
    data = from_arrays(features, both, intercept=False)
    mechanism = RidgeLangevin(n_learn=10, n_unlearn=5)
    with pytest.raises(InvalidInputError, match="two records may cancel"):
        audit.run_lots(mechanism, data, pool=(60, 61), claim=audit.CertifiedClaim(method="exact"))


@pytest.mark.slow
def test_the_largest_noise_is_not_the_safest_where_retraining_adds_none() -> None:
    """Retrain only: the noise of the unlearning steps itself tells the worlds apart, so that epsilon turns up again."""
    data = load_named("diabetes", rows=60)
    epsilons = [
        RidgeLangevin(n_learn=20, n_unlearn=5, sigma_learn=0.01, sigma_unlearn=s, reference=Reference.RETRAIN_ONLY)
        .bind(data, (3,))
        .certificates()[0]
        .epsilon
        for s in (0.0, 0.01, 0.1)
    ]
    assert epsilons[2] > 2 * min(epsilons[:2])


DIGITS = load_named("digits", rows=300)
POOL = tuple(range(0, 300, 300 // M))[:M]


def noisy(data: Any, rng: np.random.Generator) -> Array:
    return solved(data.features, data.targets) + 0.005 * rng.standard_normal((DIGITS.features.shape[1], 10))


def planted(ignored: bool, replicates: int, rng: np.random.Generator) -> int:
    """The experiment that is not this one: all candidates are given, and a secret half is to be deleted."""
    core, pool = DIGITS.without(POOL), DIGITS.take(POOL)
    parts: dict[str, Any] = {"parameters": {"penalty": 1.0, "noise": 0.005}, "release": (65, 10)}
    mechanism = from_functions(learn=noisy, unlearn=lambda model, retained, forget, rng: model, **parts)
    from audit.running.binding import make_context

    context = make_context(mechanism.bind_pool(DIGITS, POOL), DIGITS, POOL)  # type: ignore[arg-type]
    scorer = MatchedFilter().prepare(context, np.empty((0, 65, 10)), (), alone=False)
    found = 0
    for _ in range(replicates):
        deleted = tossed(rng, M)
        kept = pool.take(np.flatnonzero(np.ones(M, dtype=bool) if ignored else ~deleted).tolist())
        x = np.concatenate([core.features, kept.features])
        y = np.concatenate([core.targets, kept.targets])
        release = solved(x, y) + 0.005 * rng.standard_normal((65, 10))
        # Deleted records are those that are missing.
        found += refuted(-scorer.scores(release), deleted)
    return found


def test_planting_the_whole_pool_is_invalid_and_blind() -> None:
    rng = np.random.default_rng(9)
    # Exact retraining, the most that any service can do: refuted, for what it is compared with follows the coins.
    assert planted(ignored=False, replicates=15, rng=rng) >= 12
    # A service that ignores every request: its model does not depend on the coins at all.
    assert planted(ignored=True, replicates=40, rng=rng) <= binomial_limits(40, LEVEL)[1]


@pytest.mark.parametrize("replicates", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_inserting_and_deleting_a_half_is_valid_and_sees(replicates: int) -> None:
    """The same service, the same attack, in the experiment that ``run_lots`` makes: it has no other."""
    parts: dict[str, Any] = {"parameters": {"penalty": 1.0, "noise": 0.005}, "release": (65, 10)}
    parts |= {"learn": noisy, "reference": Reference.RETRAIN_ONLY}
    exact = from_functions(unlearn=lambda model, retained, forget, rng: noisy(retained, rng), **parts)
    lost = from_functions(unlearn=lambda model, retained, forget, rng: model, **parts)
    options: dict[str, Any] = {"pool": POOL, "claim": ZERO, "attack": MatchedFilter(), "references": 0}
    alarms = sum(audit.run_lots(exact, DIGITS, seed=s, **options).verdict is Verdict.REFUTED for s in range(replicates))
    assert alarms <= binomial_limits(replicates, LEVEL)[1]
    assert all(audit.run_lots(lost, DIGITS, seed=s, **options).verdict is Verdict.REFUTED for s in range(3))


def test_a_model_that_meets_epsilon_one_depends_on_who_was_deleted() -> None:
    """Refuted at epsilon = 0 means "it depends", not "the request was ignored": the bound is printed beside."""
    rng, runs, replicates = np.random.default_rng(10), 64, 60
    one = Claim(guarantee=EpsilonDelta(epsilon=0.0, delta=0.0), covers=UpTo(k=1))
    m, found, bounds = 8, 0, []
    for _ in range(replicates):
        drawn = rng.integers(0, m, runs)
        # Randomised response at exactly epsilon = 1: the drawn one is named e times as often as each other one.
        weights = np.ones((runs, m))
        weights[np.arange(runs), drawn] = math.e
        named = np.asarray([rng.choice(m, p=w / w.sum()) for w in weights])
        result = audit.which_record(np.eye(m)[named], drawn, claim=one)
        found += result.verdict is Verdict.REFUTED
        bounds.append(result.lower_bound)
    assert found > 0.5 * replicates
    assert max(bounds) < 2
