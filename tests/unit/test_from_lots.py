"""Audits by lot of given scores: verdicts, bounds, bad input, stored results, single records and streams."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.errors import ClaimRefutedError, InconclusiveError, SchemaError
from audit.lots.coins import commitment, draw_coins
from audit.lots.statistics.tails import log_half_tail
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import (
    Claim,
    Direction,
    EpsilonDelta,
    Exactly,
    GaussianDP,
    OneRecord,
    Reference,
    ThisSet,
    UpTo,
)
from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
M = 200
POINT = EpsilonDelta(epsilon=1.0, delta=1e-5)
CLAIM = Claim(guarantee=POINT, covers=UpTo(k=M))
RNG = np.random.default_rng(5)
COINS = RNG.random(M) < 0.5
TELLING = RNG.normal(size=M) + 1.2 * COINS
BLIND = RNG.normal(size=M)
PAIRS = np.arange(M).reshape(-1, 2)
IN_PAIRS = draw_coins("paired", candidates=M, runs=1, rng=RNG, pairs=PAIRS)[0]
OF_FORTY = draw_coins("exactly_k", candidates=M, runs=1, rng=RNG, k=40)[0]


def test_one_model_refutes_and_says_how() -> None:
    found = audit.from_lots(TELLING, COINS, claim=CLAIM)
    (run,) = found.runs
    assert found.verdict is Verdict.REFUTED
    # The 100 surest, by hand: furthest from the median.
    lean = TELLING - np.median(TELLING)
    surest = np.argsort(-np.abs(lean))[:100]
    assert (run.guesses, run.right) == (100, int(np.sum((lean[surest] > 0) == COINS[surest])))
    assert run.log_p == log_half_tail(run.right, 100)
    assert found.p_value == pytest.approx(math.e * math.exp(run.log_p) + 1e-5)
    assert found.lower_bound == pytest.approx(math.log(0.05 - 1e-5) - run.log_p)
    assert found.ceiling == pytest.approx(100 * math.log(2) + math.log(0.05 - 1e-5))
    assert found.conditions[0].startswith("The drawn candidates were given to training and asked to be deleted")
    with pytest.raises(ClaimRefutedError, match="REFUTED"):
        found.assert_holds()


def test_a_release_that_tells_nothing_is_not_refuted() -> None:
    found = audit.from_lots(BLIND, COINS, claim=CLAIM)
    assert found.verdict is Verdict.NOT_REFUTED
    assert found.lower_bound == 0.0
    found.assert_holds()


@pytest.mark.parametrize("statistic", ["count", "weighted", "both"])
def test_each_statistic_of_fair_and_paired_draws(statistic: Any) -> None:
    for draw, coins, pairs in (("fair", COINS, None), ("paired", IN_PAIRS, PAIRS)):
        telling = BLIND + 1.5 * coins
        found = audit.from_lots(telling, coins, claim=CLAIM, draw=draw, pairs=pairs, statistic=statistic)  # type: ignore[arg-type]
        assert found.verdict is Verdict.REFUTED
        assert (found.runs[0].log_weighted is None) == (statistic == "count")
        assert (found.runs[0].log_counted is None) == (statistic == "weighted")
        assert found.draw == draw
    both = audit.from_lots(TELLING, COINS, claim=CLAIM, statistic="both")
    (run,) = both.runs
    assert run.log_p == pytest.approx(min(run.log_counted or 0.0, run.log_weighted or 0.0) + math.log(2))


def test_sets_of_exactly_k() -> None:
    claim = replace(CLAIM, covers=Exactly(k=40))
    found = audit.from_lots(BLIND + 3 * OF_FORTY, OF_FORTY, claim=claim, draw="exactly_k")
    assert found.verdict is Verdict.REFUTED
    assert found.runs[0].guesses == 40
    assert found.ceiling == pytest.approx(math.log(math.comb(M, 40)) + math.log(0.05 - 1e-5))
    with pytest.raises(InvalidInputError, match="statistic"):
        audit.from_lots(BLIND, OF_FORTY, claim=claim, draw="exactly_k", statistic="weighted")


def test_claims_at_zero_and_claims_out_of_reach() -> None:
    strict = replace(CLAIM, guarantee=EpsilonDelta(epsilon=0.0, delta=0.0))
    found = audit.from_lots(TELLING, COINS, claim=strict)
    assert found.p_value == pytest.approx(math.exp(found.runs[0].log_p))
    far = replace(CLAIM, guarantee=EpsilonDelta(epsilon=70.0, delta=0.0))
    out_of_reach = audit.from_lots(TELLING, COINS, claim=far)
    assert (out_of_reach.verdict, out_of_reach.reason) == (Verdict.INCONCLUSIVE, Reason.CANNOT_BE_REFUTED_AT_THIS_N)
    with pytest.raises(InconclusiveError):
        out_of_reach.assert_holds()
    assert (
        audit.from_lots(TELLING, COINS, claim=replace(CLAIM, guarantee=EpsilonDelta(epsilon=0.0, delta=0.05))).verdict
        is Verdict.INCONCLUSIVE
    )
    gaussian = audit.from_lots(TELLING, COINS, claim=replace(CLAIM, guarantee=GaussianDP(mu=0.5)))
    assert gaussian.verdict is Verdict.REFUTED
    assert gaussian.delta == 1e-5


def test_a_reference_that_is_only_said_to_exist() -> None:
    certifying = replace(CLAIM, reference=Reference.CERTIFYING)
    assert audit.from_lots(TELLING, COINS, claim=certifying).verdict is Verdict.REFUTED
    with pytest.raises(InvalidInputError, match=r"claim\.reference.*can be sampled.*from_lots"):
        AuditPlan(claims=(replace(certifying, covers=ThisSet()),), forget=((1,),))
    with pytest.raises(InvalidInputError, match=r"claim\.reference"):
        audit.from_scores(BLIND, TELLING, claim=replace(certifying, covers=ThisSet()))


@pytest.mark.parametrize(
    ("covers", "draw", "is_covered"),
    [
        (UpTo(k=M), "fair", True),
        (UpTo(k=M - 1), "fair", False),
        (Exactly(k=100), "fair", False),
        (OneRecord(), "fair", False),
        (ThisSet(), "fair", False),
        (Exactly(k=100), "paired", True),
        (UpTo(k=100), "paired", True),
        (UpTo(k=99), "paired", False),
        (Exactly(k=40), "exactly_k", True),
        (UpTo(k=40), "exactly_k", True),
        (Exactly(k=41), "exactly_k", False),
        (OneRecord(), "exactly_k", False),
    ],
)
def test_covers_decides_what_may_be_audited(covers: Any, draw: Any, is_covered: bool) -> None:
    coins = {"fair": COINS, "paired": IN_PAIRS, "exactly_k": OF_FORTY}[draw]
    pairs = PAIRS if draw == "paired" else None
    claim = Claim(guarantee=POINT, covers=covers)
    if is_covered:
        assert audit.from_lots(BLIND, coins, claim=claim, draw=draw, pairs=pairs).runs
    else:
        with pytest.raises(InvalidInputError, match=r"claim\.covers"):
            audit.from_lots(BLIND, coins, claim=claim, draw=draw, pairs=pairs)


def test_a_one_sided_claim_may_be_audited_in_its_own_direction_alone() -> None:
    there, back = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
    one_sided = audit.from_lots(TELLING, COINS, claim=replace(CLAIM, directions=(there,)))
    assert one_sided.lower_bound == audit.from_lots(TELLING, COINS, claim=CLAIM).lower_bound
    with pytest.raises(InvalidInputError, match=r"claim\.directions"):
        audit.from_lots(TELLING, COINS, claim=replace(CLAIM, directions=(back,)))


def with_value(values: Any, i: int, value: Any) -> Any:
    changed = np.array(values, dtype=type(value) if isinstance(value, float) else None)
    changed[i] = value
    return changed


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (lambda: audit.from_lots(with_value(BLIND, 3, math.nan), COINS, claim=CLAIM), "scores"),
    "text": (lambda: audit.from_lots(["a"] * M, COINS, claim=CLAIM), "scores"),
    "ragged": (lambda: audit.from_lots([[1.0, 2.0], [1.0]], COINS, claim=CLAIM), "scores"),
    "cube": (lambda: audit.from_lots(np.zeros((2, 3, 4)), COINS, claim=CLAIM), "scores"),
    "one candidate": (lambda: audit.from_lots([1.0], [1], claim=CLAIM), "scores"),
    "empty": (lambda: audit.from_lots([], [], claim=CLAIM), "scores"),
    "coin of 2": (lambda: audit.from_lots(BLIND, with_value(COINS.astype(float), 3, 2.0), claim=CLAIM), "coins"),
    "coins too few": (lambda: audit.from_lots(BLIND, COINS[1:], claim=CLAIM), "coins"),
    "all coins 1": (lambda: audit.from_lots(BLIND, np.ones(M), claim=CLAIM), "coins"),
    "loaded coins": (
        lambda: audit.from_lots(BLIND, np.random.default_rng(1).random(M) < 0.75, claim=CLAIM),
        "coins",
    ),
    "sorted coins": (lambda: audit.from_lots(BLIND, np.arange(M) < 100, claim=CLAIM), "order of coins"),
    "same coins twice": (lambda: audit.from_lots([BLIND, BLIND], [COINS, COINS], claim=CLAIM), "different runs"),
    "no pairs": (lambda: audit.from_lots(BLIND, IN_PAIRS, claim=CLAIM, draw="paired"), "pairs"),
    "pairs for fair": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, pairs=PAIRS), "pairs"),
    "pairs twice": (
        lambda: audit.from_lots(BLIND, IN_PAIRS, claim=CLAIM, draw="paired", pairs=np.zeros((100, 2))),
        "pairs",
    ),
    "fair for paired": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, draw="paired", pairs=PAIRS), "one of each"),
    "other sizes": (
        lambda: audit.from_lots([BLIND, BLIND], [OF_FORTY, COINS], claim=CLAIM, draw="exactly_k"),
        "equally many",
    ),
    "no such draw": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, draw="half"), "draw"),  # type: ignore[arg-type]
    "no such statistic": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, statistic="best"), "statistic"),  # type: ignore[arg-type]
    "guesses": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, guesses=201), "guesses"),
    "half a guess": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, guesses=2.5), "guesses"),  # type: ignore[arg-type]
    "threshold": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, runs_threshold=1.5), "runs_threshold"),
    "level": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, significance=0.5), "significance"),
    "delta": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, delta=2.0), "delta"),
    "seed": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, seed=-1), "seed"),
    "one training seed": (
        lambda: audit.from_lots([BLIND, TELLING], [COINS, RNG.random(M) < 0.5], claim=CLAIM, run_seeds=[3, 3]),
        "run_seeds",
    ),
    "seeds too few": (lambda: audit.from_lots(BLIND, COINS, claim=CLAIM, run_seeds=[3, 4]), "run_seeds"),
    "claim": (lambda: audit.from_lots(BLIND, COINS, claim=1.0), "claim"),  # type: ignore[arg-type]
    "drawn": (lambda: audit.which_record(BLIND, [200], claim=Claim(guarantee=POINT, covers=OneRecord())), "drawn"),
    "drawn half": (lambda: audit.which_record(BLIND, [0.5], claim=Claim(guarantee=POINT, covers=OneRecord())), "drawn"),
    "this set": (lambda: audit.which_record(BLIND, [2], claim=Claim(guarantee=POINT)), r"claim.covers"),
    "claims": (
        lambda: audit.which_record(BLIND, [2], claim=[Claim(guarantee=POINT, covers=OneRecord())] * 3),
        "claim",
    ),
    "curves": (
        lambda: audit.which_record(BLIND, [2], claim=[Claim(guarantee=GaussianDP(mu=1.0), covers=OneRecord())] * M),
        "claim",
    ),
    "all named": (
        lambda: audit.which_record(BLIND, [2], names=M, claim=Claim(guarantee=POINT, covers=OneRecord())),
        "guesses",
    ),
    "stream without claim": (lambda: audit.follow_stream(BLIND, COINS), "claim"),
    "stream of two": (lambda: audit.follow_stream([BLIND, TELLING], [COINS, ~COINS], claim=CLAIM), "scores"),
    "state": (lambda: audit.follow_stream(BLIND, COINS, state=audit.from_lots(BLIND, COINS, claim=CLAIM)), "state"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    call, field = BAD[case]
    with pytest.raises(InvalidInputError, match=re.compile(field)):
        call()


def test_infinite_scores_keep_their_order() -> None:
    telling = with_value(with_value(TELLING, int(np.argmax(COINS)), math.inf), int(np.argmin(COINS)), -math.inf)
    found = audit.from_lots(telling, COINS, claim=CLAIM, statistic="both")
    assert found.verdict is Verdict.REFUTED
    assert audit.from_lots(TELLING * 1e305, COINS, claim=CLAIM).verdict is Verdict.REFUTED


def test_equal_scores_are_guessed_at_random() -> None:
    rights = {audit.from_lots(np.zeros(M), COINS, claim=CLAIM, seed=seed).runs[0].right for seed in range(20)}
    assert len(rights) > 3
    assert max(rights) < 70
    again = [audit.from_lots(np.zeros(M), COINS, claim=CLAIM, seed=3).runs for _ in range(2)]
    assert again[0] == again[1]


def runs_of(n: int, shift: float, seed: int = 8) -> tuple[Array, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    coins = rng.random((n, M)) < 0.5
    return rng.normal(size=(n, M)) + shift * coins, coins


def test_several_runs_need_a_threshold_from_before_them() -> None:
    scores, coins = runs_of(16, 1.2)
    fitted = audit.from_lots(scores, coins, claim=CLAIM)
    assert (fitted.n_fit, fitted.n_counted) == (4, 12)
    assert fitted.verdict is Verdict.REFUTED
    assert any("independent runs" in sentence for sentence in fitted.conditions)
    # The runs that choose do not count: whatever they show, the hits are those of the others.
    assert fitted.log_threshold is not None
    assert fitted.hits == sum(run.log_p <= fitted.log_threshold for run in fitted.runs[4:])
    fixed = audit.from_lots(scores, coins, claim=CLAIM, runs_threshold=1e-3)
    assert (fixed.n_fit, fixed.n_counted) == (0, 16)
    assert fixed.hits == sum(run.log_p <= math.log(1e-3) for run in fixed.runs)
    assert audit.from_lots(*runs_of(16, 0.0), claim=CLAIM).verdict is Verdict.NOT_REFUTED


def test_a_threshold_that_no_run_can_reach_decides_nothing() -> None:
    scores, coins = runs_of(4, 3.0)
    found = audit.from_lots(scores, coins, claim=CLAIM, guesses=4, runs_threshold=1e-6)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.CANNOT_BE_REFUTED_AT_THIS_N)


def named_runs(n: int, right: int, m: int = 20) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(4)
    drawn = rng.integers(0, m, n)
    scores = rng.uniform(size=(n, m))
    scores[np.arange(right), drawn[:right]] = 2.0
    scores[np.arange(right, n), (drawn[right:] + 1) % m] = 2.0
    return scores, drawn


def test_which_record() -> None:
    one = Claim(guarantee=POINT, covers=OneRecord())
    scores, drawn = named_runs(64, 40)
    found = audit.which_record(scores, drawn, claim=one)
    assert (found.hits, found.n_counted, found.draw) == (40, 64, "one")
    assert found.verdict is Verdict.REFUTED
    # Clopper-Pearson by bisection on the exact tail.
    low, high = 0.0, 40 / 64
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(math.comb(64, j) * middle**j * (1 - middle) ** (64 - j) for j in range(40, 65))
        low, high = (middle, high) if tail < 0.05 else (low, middle)
    assert found.lower_bound == pytest.approx(math.log((low - 1e-5) * 20), abs=1e-6)
    # Other records of the pool are retained: only those that could be drawn are named, and counted.
    among = np.arange(20) < 10
    inside = audit.which_record(scores, drawn % 10, claim=one, among=among)
    assert inside.candidates == 10
    with pytest.raises(InvalidInputError, match="drawn"):
        audit.which_record(scores, drawn, claim=one, among=among)


def test_claims_of_their_own_say_that_one_of_them_is_false() -> None:
    claims = [
        Claim(guarantee=EpsilonDelta(epsilon=e, delta=0.0), covers=OneRecord()) for e in np.linspace(0.1, 1.0, 20)
    ]
    found = audit.which_record(*named_runs(64, 40), claim=claims)
    assert found.verdict is Verdict.REFUTED
    assert len(found.claims) == 20
    largest = max(c.guarantee.epsilon for c in claims if isinstance(c.guarantee, EpsilonDelta))
    alike = audit.which_record(
        *named_runs(64, 40), claim=replace(claims[0], guarantee=EpsilonDelta(epsilon=1, delta=0))
    )
    assert largest == 1.0
    assert found.p_value == pytest.approx(alike.p_value), "one name a run: the largest epsilon alone enters"


def test_a_stream_is_stored_and_resumed() -> None:
    state: audit.LotsResult | None = None
    whole: audit.LotsResult | None = None
    verdicts = []
    for t in range(5):
        scores, coins = runs_of(1, 0.0 if t == 0 else 0.9, seed=t + 50)
        options: dict[str, Any] = {"claim": CLAIM if t == 0 else None, "commitment": commitment(coins, bytes([t]))}
        state = audit.follow_stream(scores, coins, state=state, **options)
        whole = audit.follow_stream(
            scores, coins, state=None if whole is None else audit.LotsResult.from_json(whole.to_json()), **options
        )
        verdicts.append(state.verdict)
    assert state is not None
    assert whole is not None
    assert replace(whole, seconds=0.0) == replace(state, seconds=0.0)
    assert verdicts[0] is not Verdict.REFUTED
    assert verdicts[-1] is Verdict.REFUTED
    first = verdicts.index(Verdict.REFUTED)
    assert verdicts[first:] == [Verdict.REFUTED] * (5 - first), "once refuted it stays so"
    assert len(state.commitments) == len(state.bets) == 5
    with pytest.raises(InvalidInputError, match="commitment"):
        audit.follow_stream(*runs_of(1, 0.9), state=state, commitment=state.commitments[2])
    with pytest.raises(InvalidInputError, match="claim"):
        audit.follow_stream(*runs_of(1, 0.9), state=state, claim=replace(CLAIM, covers=UpTo(k=M + 1)))
    with pytest.raises(InvalidInputError, match="draw"):
        audit.follow_stream(*runs_of(1, 0.9), state=state, statistic="both")


def test_a_stream_that_cannot_refute_says_so() -> None:
    hopeless = replace(CLAIM, guarantee=EpsilonDelta(epsilon=500.0, delta=0.0))
    found = audit.follow_stream(TELLING, COINS, claim=hopeless)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.CANNOT_BE_REFUTED_AT_THIS_N)


def results() -> dict[str, audit.LotsResult]:
    one = Claim(guarantee=POINT, covers=OneRecord())
    return {
        "one model": audit.from_lots(TELLING, COINS, claim=CLAIM, statistic="both", commitment="ab", title="One"),
        "exactly": audit.from_lots(BLIND, OF_FORTY, claim=CLAIM, draw="exactly_k"),
        "runs": audit.from_lots(*runs_of(6, 1.2), claim=CLAIM),
        "records": audit.which_record(*named_runs(30, 10), claim=one),
        "stream": audit.follow_stream(TELLING, COINS, claim=CLAIM),
        "gaussian": audit.from_lots(TELLING, COINS, claim=replace(CLAIM, guarantee=GaussianDP(mu=0.5))),
    }


@pytest.mark.parametrize("name", results())
def test_round_trip_and_the_verdict_is_recomputed(name: str) -> None:
    found = results()[name]
    text = found.to_json()
    assert audit.LotsResult.from_json(text) == found
    stored = json.loads(text)
    assert stored["schema"] == "unlearn-audit/lots/1"
    changes: list[tuple[str, Any]] = [
        ("verdict", "not_refuted" if stored["verdict"] == "refuted" else "refuted"),
        ("lower_bound", stored["lower_bound"] + 1),
        ("p_value", 0.5 if stored["p_value"] < 0.4 else 0.1),
        ("ceiling", stored["ceiling"] + 1),
    ]
    for field, value in changes:
        with pytest.raises(SchemaError, match=field.replace("_", " ")):
            audit.LotsResult.from_json(json.dumps(stored | {field: value}))
    if stored["runs"][0].get("log_counted") is not None:
        changed = json.loads(text)
        changed["runs"][0]["right"] -= 1
        with pytest.raises(SchemaError, match="run 1"):
            audit.LotsResult.from_json(json.dumps(changed))
    with pytest.raises(SchemaError):
        audit.LotsResult.from_json("{}")


def test_the_commitment_is_a_plain_hash() -> None:
    import hashlib

    coins = np.asarray([[True, False, True], [False, False, True]])
    text = b"unlearn-audit/coins/1\n101\n001\n00ff\n"
    assert commitment(coins, b"\x00\xff") == hashlib.sha256(text).hexdigest()
    assert commitment(~coins, b"\x00\xff") != commitment(coins, b"\x00\xff")
    assert commitment(coins, b"\x00\xfe") != commitment(coins, b"\x00\xff")


def test_draws_are_what_they_say() -> None:
    rng = np.random.default_rng(1)
    paired = draw_coins("paired", candidates=10, runs=200, rng=rng, pairs=np.arange(10).reshape(-1, 2))
    assert np.all(paired[:, ::2] != paired[:, 1::2])
    assert 60 < paired[:, 0].sum() < 140
    of_three = draw_coins("exactly_k", candidates=10, runs=200, rng=rng, k=3)
    assert set(of_three.sum(axis=1)) == {3}
    assert of_three.sum(axis=0).min() > 30
