"""What stands in place of a number or a flag: words, True, and attacks that cannot work are refused in one sentence."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import audit
from attacks.given.score import GivenScore
from attacks.linear.influence import Influence
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential, Split
from audit.power.forecasting import check_margins
from audit.records.verdict import Verdict
from audit.regression.comparison import Margins
from audit.trials.engines import Engine
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, EpsilonDelta, GaussianDP, PrivacyProfile
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import ReleaseSpec
from mechanisms.reading.scalars import flag, real_number, whole_number
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

FORWARD, BACKWARD = BOTH_DIRECTIONS
ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
RNG = np.random.default_rng(0)
SCORES = {"unlearned": RNG.normal(size=60), "retrained": RNG.normal(size=60)}
WIDE = {"unlearned": RNG.normal(size=(60, 3)), "retrained": RNG.normal(size=(60, 3))}


def from_scores(**changes: Any) -> audit.AuditResult:
    arguments: dict[str, Any] = {**SCORES, "claim": ONE} | changes
    return audit.from_scores(**arguments)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": "a"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": -1, "model_ids": (range(60), range(60))}, "seed"),
        ({"significance": "x"}, "significance"),
        ({"significance": True}, "significance"),
        ({"delta": "1e-5"}, "delta"),
        ({"delta": False}, "delta"),
        ({"threshold": "x"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": SCORES["unlearned"]}, "threshold"),
        ({"column": True}, "column"),
        ({"column": 1.0}, "column"),
        ({"continuous": "no"}, "continuous"),
        ({"continuous": 0}, "continuous"),
        ({"releases": "no"}, "releases"),
        ({"names": ("a",)}, "names"),
        ({"names": "ab"}, "names"),
        ({"names": (1, 2)}, "names"),
        ({"names": ("a", "")}, "names"),
    ],
)
def test_odd_options_of_given_scores_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        from_scores(**changes)
    assert caught.value.field == field


def test_files_of_one_name_are_told_apart() -> None:
    twice = np.concatenate([SCORES["unlearned"]] * 2)
    result = from_scores(unlearned=twice, names=("scores.npy", "scores.npy"))
    assert result.title == "Audit of scores.npy (unlearned) against scores.npy (retrained)"
    (equal,) = (c for c in result.controls if c.name == "duplicates")
    assert "of 120 rows of scores.npy (unlearned) are equal" in equal.message
    together = from_scores(unlearned=twice, names=("the two together", "other"))
    assert [c.as_expected for c in together.controls if c.name == "duplicates"] == [False]


@pytest.mark.parametrize(
    ("rows", "attacks", "words"),
    [
        (WIDE, [Influence()], "influence needs the data that models learn"),
        (WIDE, ["lda", "likelihood_ratio"], "likelihood_ratio needs the law"),
        (WIDE, ["mlp"], "mlp needs at least"),
        (WIDE, [GivenScore()], "scores needs releases of one number"),
        (SCORES, ["target_loss"], "target_loss needs the data"),
        (SCORES, ["tail"], "tail needs at least"),
    ],
)
def test_attacks_that_cannot_work_on_given_rows_are_refused(
    rows: dict[str, Any], attacks: list[Any], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        from_scores(**rows, attacks=attacks)
    assert caught.value.field == "attacks"
    assert "lda needs" not in str(caught.value)


def test_attacks_that_can_work_on_few_rows_are_chosen() -> None:
    few = {world: rows[:20] for world, rows in WIDE.items()}
    assert from_scores(**few).plan.attacks == ("lda",)
    assert from_scores(**{world: rows[:20] for world, rows in SCORES.items()}).plan.attacks == ("scores",)


def plan(**changes: Any) -> AuditPlan:
    return AuditPlan(**{"claims": (ONE,), "forget": ((3,),), "attacks": ("lda",)} | changes)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: EpsilonDelta(epsilon=True, delta=0.0), "epsilon"),
        (lambda: EpsilonDelta(epsilon="1", delta=0.0), "epsilon"),  # type: ignore[arg-type]
        (lambda: EpsilonDelta(epsilon=None, delta=0.0), "epsilon"),  # type: ignore[arg-type]
        (lambda: EpsilonDelta(epsilon=10**400, delta=0.0), "epsilon"),
        (lambda: EpsilonDelta(epsilon=np.ones(2), delta=0.0), "epsilon"),  # type: ignore[arg-type]
        (lambda: EpsilonDelta(epsilon=1.0, delta=False), "delta"),
        (lambda: EpsilonDelta(epsilon=1.0, delta="1e-5"), "delta"),  # type: ignore[arg-type]
        (lambda: GaussianDP(mu=np.bool_(True)), "mu"),  # type: ignore[arg-type]
        (lambda: GaussianDP(mu="0.5"), "mu"),  # type: ignore[arg-type]
        (lambda: PrivacyProfile(epsilons=("1",), log_deltas={FORWARD: (-1.0,)}), "epsilons[0]"),  # type: ignore[arg-type]
        (lambda: PrivacyProfile(epsilons="12", log_deltas={FORWARD: (-1.0,)}), "epsilons"),  # type: ignore[arg-type]
        (
            lambda: PrivacyProfile(epsilons=(1.0,), log_deltas={FORWARD: (True,)}),
            "log_deltas[unlearned_from_retrained][0]",
        ),
        (lambda: PrivacyProfile(epsilons=(1.0,), log_deltas={"forward": (-1.0,)}), "log_deltas"),  # type: ignore[dict-item]
        (lambda: Claim(guarantee=ONE.guarantee, reference="retrain_only"), "reference"),  # type: ignore[arg-type]
        (lambda: Claim(guarantee=ONE.guarantee, directions="both"), "directions"),  # type: ignore[arg-type]
        (lambda: Certificate(claim=ONE, method="m", epsilon="1", delta=0.1, numerical_error=0.0), "epsilon"),  # type: ignore[arg-type]
        (lambda: Certificate(claim=ONE, method="m", epsilon=1.0, delta=True, numerical_error=0.0), "delta"),
        (lambda: plan(trials="many"), "trials"),
        (lambda: plan(trials=True), "trials"),
        (lambda: plan(trials=2e4), "trials"),
        (lambda: plan(seed="a"), "seed"),
        (lambda: plan(seed=0.5), "seed"),
        (lambda: plan(significance="x"), "significance"),
        (lambda: plan(delta=False), "delta"),
        (lambda: plan(delta="x"), "delta"),
        (lambda: plan(control_trials="x"), "control_trials"),
        (lambda: plan(control_trials=33.3), "control_trials"),
        (lambda: plan(chunk_size="x"), "chunk_size"),
        (lambda: plan(chunk_size=True), "chunk_size"),
        (lambda: plan(claims=ONE), "claims"),
        (lambda: plan(claims=("exact",)), "claims"),
        (lambda: plan(counting="split"), "counting"),
        (lambda: plan(correction="holm"), "correction"),
        (lambda: plan(access="white_box"), "access"),
        (lambda: Split(fit_fraction="x"), "counting.fit_fraction"),  # type: ignore[arg-type]
        (lambda: Split(max_fit=True), "counting.max_fit"),
        (lambda: Sequential(first_fit="x"), "counting.first_fit"),  # type: ignore[arg-type]
        (lambda: Sequential(refit="no"), "counting.refit"),  # type: ignore[arg-type]
        (lambda: Engine(n_jobs="2"), "n_jobs"),  # type: ignore[arg-type]
        (lambda: Engine(n_jobs=True), "n_jobs"),
        (lambda: Margins(rate="x"), "margins.rate"),  # type: ignore[arg-type]
        (lambda: Margins(significance=True), "margins.significance"),
        (lambda: check_margins(("2",)), "margin"),  # type: ignore[arg-type]
        (lambda: check_margins((True,)), "margin"),
        (lambda: ReleaseSpec(shape=(3,), continuous="no"), "continuous"),  # type: ignore[arg-type]
    ],
)
def test_words_and_truths_are_no_numbers(make: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"trials": "x"}, "trials"),
        ({"seed": "x"}, "seed"),
        ({"stop_when_decided": "no"}, "stop_when_decided"),
        ({"forget": "3"}, "forget"),
        ({"forget": True}, "forget"),
    ],
)
def test_odd_options_of_an_audit_are_refused(changes: dict[str, Any], field: str) -> None:
    data = load_named("digits", rows=40)
    mechanism = RidgeLangevin(n_learn=5, n_unlearn=2, sigma_unlearn=0.01)
    arguments: dict[str, Any] = {"forget": 3, "claim": ONE, "trials": 40, "attacks": ["lda"]} | changes
    with pytest.raises(InvalidInputError) as caught:
        audit.run(mechanism, data, **arguments)
    assert caught.value.field == field


def test_a_whole_float_is_told_how_it_is_written() -> None:
    with pytest.raises(InvalidInputError, match=r"got 20000\.0; write 20000"):
        plan(trials=2e4)


@pytest.mark.parametrize("four", [4, np.int64(4), np.float32(4), np.array(4), Decimal(4)])
def test_numbers_of_claims_are_floats_from_the_start(four: Any) -> None:
    """What was written as 4 came back as 4.0, so that a file changed by being read."""
    profile = PrivacyProfile(epsilons=(0, four), log_deltas={FORWARD: (0, -four)})
    certificate = Certificate(claim=ONE, method="m", epsilon=four, delta=0, numerical_error=0)
    numbers = (
        EpsilonDelta(epsilon=four, delta=0).epsilon,
        EpsilonDelta(epsilon=0, delta=four / 4 if not isinstance(four, Decimal) else 1).delta,
        GaussianDP(mu=four).mu,
        *profile.epsilons,
        *profile.log_deltas[FORWARD],
        certificate.epsilon,
        certificate.delta,
        certificate.numerical_error,
    )
    assert [type(number) for number in numbers] == [float] * len(numbers)
    result = from_scores(claim=Claim(guarantee=EpsilonDelta(epsilon=four, delta=0)))
    text = result.to_json()
    assert json.loads(text)["findings"][0]["claim"]["guarantee"]["epsilon"] == 4.0
    assert audit.AuditResult.from_json(text).to_json() == text


def test_numbers_of_plans_are_plain() -> None:
    made = plan(trials=np.int64(40), seed=np.int32(3), significance=np.float32(0.25), delta=0, chunk_size=np.int64(7))
    kinds = [type(getattr(made, name)) for name in ("trials", "seed", "significance", "delta", "chunk_size")]
    assert kinds == [int, int, float, float, int]
    assert made == plan(trials=40, seed=3, significance=0.25, delta=0.0, chunk_size=7)


def test_scalars_pass_and_nothing_else_does() -> None:
    assert [real_number(x, "x", fix="f") for x in (1, 1.5, np.float32(2), np.array(3), math.inf)] == [
        1.0,
        1.5,
        2.0,
        3.0,
        math.inf,
    ]
    assert [whole_number(x, "x", fix="f") for x in (1, np.int8(2), np.array(3))] == [1, 2, 3]
    assert [flag(x, "x") for x in (True, np.bool_(False))] == [True, False]
    for odd in (1j, np.complex64(1), [1.0], np.ones(1), "1", b"1", None, object(), np.array(True)):
        with pytest.raises(InvalidInputError):
            real_number(odd, "x", fix="f")
    for odd in (1.0, math.nan, math.inf, "1", True, np.bool_(True), np.ones(1, dtype=int)):
        with pytest.raises(InvalidInputError):
            whole_number(odd, "x", fix="f")


def test_a_verdict_needs_no_plain_numbers() -> None:
    result = from_scores(threshold=np.float64(0.5), seed=np.int64(3), column=np.int64(1), continuous=np.True_)
    assert result.verdict is not Verdict.REFUTED
    assert audit.load_json(result.to_json()) == result
    assert result.plan.attacks == ("score > 0.5", "score ≤ 0.5")
