"""Bring your own scores: verdicts, splits, declared thresholds, controls, messages, reports and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

import audit
from attacks.protocol import AttackContext, FittedAttack, Needs
from audit.records.counts import Counts
from audit.records.ledger import Control
from audit.records.result import AuditResult, read_json
from audit.records.verdict import Reason, Verdict
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value
from mechanisms.claim import BOTH_DIRECTIONS, Claim, EpsilonDelta, GaussianDP, Reference
from mechanisms.errors import InvalidInputError, NotApplicableError
from reports.audits import html, markdown, terminal

FORWARD, BACKWARD = BOTH_DIRECTIONS
ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def draw(shift: float, n1: int = 400, n0: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n1), rng.normal(0, 1, n0)


def control(result: AuditResult, name: str) -> Control:
    return next(c for c in result.controls if c.name == name)


def test_a_false_claim_is_refuted_and_a_true_one_is_not() -> None:
    assert audit.from_scores(*draw(2.0), claim=ONE).verdict is Verdict.REFUTED
    true = Claim(guarantee=GaussianDP(mu=0.5))
    assert audit.from_scores(*draw(0.5), claim=true).verdict is Verdict.NOT_REFUTED
    far = Claim(guarantee=EpsilonDelta(epsilon=9.0, delta=1e-5))
    result = audit.from_scores(*draw(0.5), claim=far)
    assert result.findings[0].reason is Reason.CANNOT_BE_REFUTED_AT_THIS_N


def test_sizes_may_differ_and_no_row_is_used_twice() -> None:
    result = audit.from_scores(*draw(2.0, 410, 290), claim=ONE)
    plan, counts = result.plan, result.findings[0].tests[0].bound.counts
    assert plan.retrained is not None
    assert plan.n_fit + plan.n_counted == plan.trials == 410
    assert plan.retrained.n_fit + plan.retrained.n_counted == plan.retrained.trials == 290
    assert (counts.n_unlearned, counts.n_retrained) == (plan.n_counted, plan.retrained.n_counted)
    sandwich = result.findings[0].sandwiches[0]
    assert sandwich.ceiling == pytest.approx(
        audit.from_scores(*draw(0.0, 410, 290), claim=ONE).findings[0].sandwiches[0].ceiling, rel=0.2
    )


def test_the_split_is_shuffled_and_follows_the_seed() -> None:
    """A jump in the middle of the file must not put one kind of row into the fit split."""
    scores = np.concatenate([np.zeros(200), np.ones(200)]) + np.random.default_rng(0).normal(0, 1e-3, 400)
    retrained = np.random.default_rng(1).normal(size=300)
    results = [audit.from_scores(scores, retrained, claim=ONE, seed=seed) for seed in (0, 0, 1)]
    assert results[0].findings == results[1].findings
    assert results[0].findings != results[2].findings
    n_fit = results[0].plan.n_fit
    (high,) = results[0].findings[0].roc
    # About half of the counted rows lie above 0.5, as of all rows.
    above = max(k for t, k in zip(high.thresholds, high.k_unlearned, strict=True) if t > 0.5)
    assert abs(above - (400 - n_fit) / 2) < 40


def test_a_declared_threshold_counts_every_row_in_both_directions() -> None:
    unlearned, retrained = draw(1.5)
    result = audit.from_scores(unlearned, retrained, claim=ONE, threshold=1.2)
    assert (result.plan.n_fit, result.plan.n_counted) == (0, 400)
    assert result.plan.retrained is not None
    assert (result.plan.retrained.n_fit, result.plan.retrained.n_counted) == (0, 300)
    upper, lower = result.findings[0].tests
    assert (upper.bound.direction, lower.bound.direction) == (FORWARD, BACKWARD)
    k1, k0 = int(np.sum(unlearned > 1.2)), int(np.sum(retrained > 1.2))
    counts = Counts(k_unlearned=k1, n_unlearned=400, k_retrained=k0, n_retrained=300)
    assert upper.bound.counts == counts
    assert lower.bound.counts == counts.complement()
    assert upper.bound.level == lower.bound.level == 0.025
    point = ONE.guarantee
    assert isinstance(point, EpsilonDelta)
    assert upper.p_value == exact_joint_p_value(counts, point=point, direction=FORWARD, level=0.025)
    assert upper.bound.value == exact_joint_bound(counts, delta=1e-5, direction=FORWARD, level=0.025)
    assert [m.attack for m in result.family.members] == ["score > 1.2", "score ≤ 1.2"] == list(result.plan.attacks)
    one_way = Claim(guarantee=point, directions=(FORWARD,))
    (only,) = audit.from_scores(unlearned, retrained, claim=one_way, threshold=1.2).findings[0].tests
    assert only.bound.level == 0.05


def test_a_declared_threshold_tests_the_claim_at_the_plans_delta() -> None:
    claim = Claim(guarantee=GaussianDP(mu=0.5))
    result = audit.from_scores(*draw(0.5), claim=claim, threshold=0.3, delta=0.01)
    for test in result.findings[0].tests:
        assert test.point.delta == 0.01
        assert test.point.epsilon == claim.epsilon_at(0.01, test.bound.direction)
    with pytest.raises(InvalidInputError, match="finite epsilon"):
        audit.from_scores(*draw(0.5), claim=Claim(guarantee=GaussianDP(mu=math.inf)), threshold=0.3)


def test_releases_are_attacked_by_the_portfolio() -> None:
    rng = np.random.default_rng(4)
    unlearned, retrained = rng.normal(size=(400, 6)), rng.normal(size=(300, 6))
    unlearned[:, 2] += 2.5
    result = audit.from_scores(unlearned, retrained, claim=ONE)
    assert result.verdict is Verdict.REFUTED
    assert result.plan.attacks == ("portfolio:mean", "portfolio:scale", "portfolio:tail")
    assert result.data.kind == "releases"
    assert result.findings[0].estimates[0].n_unlearned == result.plan.n_counted
    shaped = audit.from_scores(unlearned.reshape(400, 2, 3), retrained.reshape(300, 2, 3), claim=ONE)
    assert shaped.findings == result.findings


@dataclass(frozen=True, kw_only=True)
class _Unforeseen:
    name: str = "unforeseen"
    needs: Needs = Needs()

    def fit(
        self, unlearned: np.ndarray, retrained: np.ndarray, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        raise NotApplicableError("the covariance is singular")


def test_an_attack_that_fails_on_the_rows_is_reported_not_guessed() -> None:
    rng = np.random.default_rng(4)
    result = audit.from_scores(rng.normal(size=(60, 3)), rng.normal(size=(60, 3)), claim=ONE, attacks=[_Unforeseen()])
    assert result.findings[0].reason is Reason.ATTACK_FAILED
    assert "unforeseen" in markdown.render(result)


def test_one_column_is_a_score() -> None:
    unlearned, retrained = draw(2.0)
    result = audit.from_scores(unlearned[:, None], retrained[:, None], claim=ONE)
    assert result.findings == audit.from_scores(unlearned, retrained, claim=ONE).findings
    assert result.plan.attacks == ("scores",)


def test_json_round_trip_and_every_renderer() -> None:
    for result in (
        audit.from_scores(*draw(2.0), claim=ONE),
        audit.from_scores(*draw(0.1), claim=ONE, threshold=1.0),
        audit.from_scores(*draw(0.1), claim=Claim(guarantee=GaussianDP(mu=0.4), reference=Reference.RETRAIN_ONLY)),
    ):
        assert read_json(result.to_json()) == result
        for text in (markdown.render(result), html.render(result)):
            assert "Nothing could be drawn again." in text
            assert "nothing was drawn" in text
            assert "not known to the audit" in text
            assert "Estimates (not bounds, not part of the verdict)" in text
            assert "Releases were drawn by" not in text
            assert "None" not in text.replace("None.", "")
        assert "Estimates (not bounds, not part of the verdict)" in terminal.summary(result)
    assert "threshold 1, declared in advance" in markdown.render(audit.from_scores(*draw(0.1), claim=ONE, threshold=1))


def test_results_from_before_these_fields_still_load() -> None:
    result = audit.from_scores(*draw(2.0), claim=ONE)
    old = json.loads(result.to_json())
    del old["plan"]["retrained"]
    for finding in old["findings"]:
        del finding["estimates"]
    for entry in old["controls"]:
        del entry["applicable"]
    loaded = read_json(json.dumps(old))
    assert isinstance(loaded, AuditResult)
    assert loaded.findings[0].estimates == ()
    assert loaded.controls == result.controls
    assert "Estimates (not" not in markdown.render(loaded)


def test_controls_that_need_draws_are_absent() -> None:
    result = audit.from_scores(*draw(0.1), claim=ONE)
    assert [c.name for c in result.controls] == ["null", "duplicates", "lag_one", "paired_rows", "precision"]
    assert all(c.as_expected and c.applicable for c in result.controls)


def test_a_drift_of_the_retrained_models_spoils_the_verdict() -> None:
    unlearned, retrained = draw(0.0, 400, 400)
    retrained[200:] += 1.5
    result = audit.from_scores(unlearned, retrained, claim=ONE)
    assert not control(result, "null").as_expected
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    assert "first half" in control(result, "null").message


def test_an_autoregression_spoils_the_verdict() -> None:
    unlearned, retrained = draw(0.0)
    for i in range(1, len(unlearned)):
        unlearned[i] += 0.6 * unlearned[i - 1]
    result = audit.from_scores(unlearned, retrained, claim=ONE)
    assert not control(result, "lag_one").as_expected
    assert result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("first", "second", "decided"), [(1.0, 1.0, False), (1.5, 1.5, False), (1.5, 2.5, False), (1.0, 2.0, True)]
)
def test_constant_scores_say_nothing_unless_they_are_flags(first: float, second: float, decided: bool) -> None:
    """Whole numbers may be flags, and one that only one world raises is the strongest evidence that there is."""
    result = audit.from_scores(np.full(300, first), np.full(200, second), claim=ONE)
    assert (result.verdict is Verdict.REFUTED) is decided
    assert (result.verdict is Verdict.INCONCLUSIVE) is not decided


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("case", ["appended twice", "one model", "filed in both"])
def test_equal_rows_spoil_the_verdict(case: str, wide: bool) -> None:
    rng = np.random.default_rng(0)
    shape = (200, 5) if wide else (200,)
    unlearned, retrained = rng.normal(size=shape), rng.normal(size=shape)
    if case == "appended twice":
        unlearned = np.concatenate([unlearned, unlearned])
    elif case == "one model":
        unlearned[:] = unlearned[0]
    else:
        unlearned[:120] = retrained[:120]
    result = audit.from_scores(unlearned, retrained, claim=ONE)
    found = control(result, "duplicates")
    assert not found.as_expected
    assert "Equal rows" in found.message
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE


def test_rounded_and_clipped_scores_are_no_fault() -> None:
    rng = np.random.default_rng(0)
    probabilities = 1 / (1 + np.exp(-rng.normal(3, 4, (2, 400))))
    for stored in (
        probabilities.astype(np.float32),
        probabilities.astype(np.float16),
        np.clip(probabilities, 0.05, 0.95),
        np.round(probabilities, 3),
    ):
        found = control(audit.from_scores(*stored, claim=ONE), "duplicates")
        assert found.as_expected, found.message
    whole = control(audit.from_scores(*rng.integers(0, 5, (2, 100)), claim=ONE), "duplicates")
    assert not whole.applicable


def test_sorted_files_say_that_their_order_says_nothing() -> None:
    unlearned, retrained = draw(0.1)
    result = audit.from_scores(np.sort(unlearned), np.sort(retrained)[::-1], claim=ONE)
    assert not control(result, "lag_one").applicable
    assert not control(result, "null").applicable
    assert result.verdict is Verdict.NOT_REFUTED


GOOD = np.random.default_rng(0).normal(size=50)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unlearned": np.empty(0)}, ["unlearned", "at least 20 rows", "(0,)"]),
        ({"unlearned": 3.0}, ["unlearned", "shape ()"]),
        ({"retrained": GOOD[:19]}, ["retrained", "at least 20 rows", "19 row"]),
        ({"retrained": GOOD.reshape(5, 10)}, ["5 row(s) of 10", "transposed"]),
        ({"unlearned": np.where(np.arange(50) == 7, np.nan, GOOD)}, ["unlearned, row 7", "finite", "nan"]),
        ({"unlearned": np.where(np.arange(50) == 7, np.inf, GOOD)}, ["unlearned, row 7", "inf"]),
        ({"unlearned": GOOD.astype(str)}, ["unlearned", "real numbers", "dtype <U"]),
        ({"unlearned": GOOD.astype(complex)}, ["dtype complex128", "one real number"]),
        ({"unlearned": np.array([None] * 50)}, ["dtype object"]),
        ({"unlearned": np.ones((50, 3))}, ["retrained", "3 number(s), as in unlearned", "rows of 1"]),
        ({"significance": 0.0}, ["significance", "(0, 0.5)"]),
        ({"significance": 0.7}, ["significance", "0.7"]),
        ({"delta": 1.0}, ["delta", "[0, 1)"]),
        ({"seed": -1}, ["seed", "non-negative"]),
        ({"threshold": math.nan}, ["threshold", "finite", "nan"]),
        ({"threshold": 1.0, "unlearned": np.ones((50, 3)), "retrained": np.ones((50, 3))}, ["threshold", "one score"]),
    ],
)
def test_bad_input_names_field_value_and_fix(changes: dict[str, object], words: list[str]) -> None:
    arguments: dict[str, object] = {"unlearned": GOOD, "retrained": GOOD + 0.1, "claim": ONE} | changes
    with pytest.raises(InvalidInputError) as caught:
        audit.from_scores(**arguments)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)
