"""Audits of models that exist: one deletion with many records, a claim a record, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import audit
from audit.models.band import areas
from audit.models.outputs import Outputs
from audit.models.status import checked_status
from audit.records.estimates import auc
from audit.records.models import ModelsResult
from mechanisms import Claim, EpsilonDelta, GaussianDP, Reference
from mechanisms.errors import InvalidInputError

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def sharing(n: int, records: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs of two worlds that differ a little on every record, with a factor that all records share."""
    both = 0.5 * normal((2 * n, 1), seed) + normal((2 * n, records), seed + 1)
    return both[:n] + gap, both[n:]


# One deletion


def test_records_that_show_nothing_alone_refute_together() -> None:
    unlearned, retrained = sharing(128, 30, 0.8, 6)
    result = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores")
    assert result.verdict.value == "refuted"
    # One claim, one test, at the full level.
    assert result.joint is not None
    assert [member.level for member in result.joint.family.members] == [0.05]
    assert result.records is not None
    assert min(result.records.p_values) > 0.05 / 30
    assert result.planned_power is not None
    assert 0.8 < result.planned_power <= 1


def test_equal_worlds_are_not_refuted_and_their_curve_lies_in_the_band() -> None:
    unlearned, retrained = sharing(100, 40, 0.0, 5)
    result = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores")
    assert result.verdict.value == "not_refuted"
    assert result.band is not None
    assert result.records is not None
    largest = max(abs(area - 0.5) for area in result.records.auc)
    assert largest < 2 * result.band.high[0]


def test_results_go_through_json_unchanged_and_print_a_few_lines() -> None:
    unlearned, retrained = sharing(40, 5, 2.0, 1)
    result = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores", records=list("abcde"))
    assert ModelsResult.from_json(result.to_json()) == result
    assert "REFUTED" in str(result)
    assert "40 unlearned and 40 retrained models" in str(result)
    with pytest.raises(audit.errors.ClaimRefutedError):
        result.assert_holds()


def test_logits_become_log_odds_of_the_records_class() -> None:
    logits, labels = normal((20, 6, 4), 2), np.array([0, 1, 2, 3, 0, 1])
    found = Outputs.of(logits.astype(np.float16), "logits", labels, "x").matrix()
    wide = logits.astype(np.float16).astype(np.float64)
    for record, own in enumerate(labels):
        others = np.delete(wide[:, record], own, axis=1)
        np.testing.assert_allclose(found[:, record], wide[:, record, own] - logsumexp(others, axis=1), rtol=1e-12)


def test_kinds_of_outputs_that_say_the_same_give_the_same_statistic() -> None:
    logits, labels = normal((20, 6, 4), 2), np.array([0, 1, 2, 3, 0, 1])
    probabilities = np.exp(logits - logsumexp(logits, axis=2, keepdims=True))
    odds = Outputs.of(logits, "logits", labels, "x").matrix()
    np.testing.assert_allclose(Outputs.of(probabilities, "probabilities", labels, "x").matrix(), odds, rtol=1e-9)
    own = np.take_along_axis(probabilities, labels[None, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(Outputs.of(own, "probabilities", None, "x").matrix(), odds, rtol=1e-9)
    np.testing.assert_allclose(Outputs.of(-np.log(own), "loss", None, "x").matrix(), np.log(own), rtol=1e-12)
    views = np.stack([logits, 2 * logits], axis=2)
    seen = Outputs.of(views, "logits", labels, "x").matrix()
    np.testing.assert_allclose(seen[:, ::2], odds, rtol=1e-12)
    residuals = Outputs.of(logits[:, :, 0], "values", labels, "x").matrix()
    np.testing.assert_allclose(residuals, logits[:, :, 0] - labels)
    assert np.array_equal(logits, normal((20, 6, 4), 2))


def test_several_values_a_record_are_audited() -> None:
    unlearned, retrained = normal((2, 60, 3, 4), 8)
    result = audit.from_models(unlearned + 1.0, retrained, claim=CLAIM, kind="values")
    assert result.verdict.value == "refuted"
    assert result.n_records == 3


def test_areas_are_those_of_the_estimates_ties_included() -> None:
    first, second = np.round(2 * normal((2, 30, 7), 4))
    expected = [auc(first[:, j], second[:, j])[0] for j in range(7)]
    np.testing.assert_allclose(areas(first, second), expected, rtol=1e-12)


def test_a_gaussian_claim_is_tested_too() -> None:
    unlearned, retrained = sharing(100, 10, 1.0, 9)
    result = audit.from_models(unlearned, retrained, claim=Claim(guarantee=GaussianDP(mu=0.3)), kind="scores")
    assert result.verdict.value == "refuted"


def test_models_before_unlearning_are_shown_and_decide_nothing() -> None:
    unlearned, retrained = sharing(40, 5, 0.0, 1)
    plain = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores")
    shown = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores", before=retrained + 20.0)
    assert (plain.before, shown.before) == (None, 0.5)
    assert shown.joint is not None
    assert plain.joint is not None
    assert shown.joint.findings == plain.joint.findings


def test_several_rows_of_one_model_count_once() -> None:
    unlearned, retrained = sharing(20, 5, 0.0, 1)
    ids = np.repeat(np.arange(20), 3)
    repeated = [np.repeat(rows, 3, axis=0) + 1e-3 * normal((60, 5), 2) for rows in (unlearned, retrained)]
    result = audit.from_models(*repeated, claim=CLAIM, kind="scores", model_ids=(ids, ids))
    assert result.joint is not None
    assert result.joint.plan.trials == 20
    assert (result.n_unlearned, result.n_retrained) == (20, 20)
    # The table counts models, and not their rows.
    assert result.records is not None
    assert set(result.records.n_unlearned) == {result.joint.plan.n_counted}


def test_sixteen_models_of_a_kind_are_enough_to_be_audited() -> None:
    unlearned, retrained = normal((2, 16, 4), 3)
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.1, delta=0.0))
    result = audit.from_models(unlearned + 4.0, retrained, claim=claim, kind="scores")
    # Eight models choose what the other eight are counted by: a small choice, which often goes wrong.
    assert result.verdict.value in ("refuted", "not_refuted")
    assert result.joint is not None
    assert (result.joint.plan.trials, result.joint.plan.n_counted) == (16, 8)
    unlearned, retrained = normal((2, 48, 4), 3)
    more = audit.from_models(unlearned + 4.0, retrained, claim=claim, kind="scores")
    assert more.verdict.value == "refuted"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"unlearned": normal((15, 5))},
            r"the number of unlearned models to be at least 16, got 15; half of them counted could",
        ),
        ({"retrained": normal((40, 6))}, r"records and columns as in unlearned: \(5,\), got \(6,\)"),
        ({"retrained": normal((40, 5)).astype(np.float32)}, "type as in unlearned: float64, got float32"),
        ({"unlearned": normal((40,))}, "shape .models, records. or"),
        ({"kind": "entropy"}, "one of logits, probabilities, loss, values, scores"),
        ({"kind": "probabilities"}, "to be a probability, got"),
        ({"kind": "loss", "unlearned": normal((40, 5, 2))}, "one number a model and record"),
        ({"kind": "logits", "unlearned": normal((40, 5, 2))}, "labels to be the class of each record"),
        ({"kind": "logits", "labels": [0, 1]}, "5 labels, one a record"),
        ({"kind": "logits", "labels": [0, 1, 2, 0, 1]}, r"whole numbers in \[0, 1\]"),
        ({"unlearned": np.full((40, 5), np.nan)}, "unlearned, model 0, record 0 to be a finite number"),
        ({"records": ["a", "b"]}, "5 names, got 2"),
        ({"records": list("abcda")}, "names of their own, got a"),
        ({"reference": Reference.RETRAIN_ONLY}, "retrain_then_unlearn, the claim's reference world, got retrain_only"),
        ({"seeds": ([7] * 40, range(40))}, "training seeds of their own, got 7 for all 40"),
    ],
)
def test_what_cannot_be_audited_is_refused(change: dict, match: str) -> None:
    given = {
        "unlearned": normal((40, 5), 1),
        "retrained": normal((40, 5), 2),
        "claim": CLAIM,
        "kind": "scores",
    } | change
    with pytest.raises(InvalidInputError, match=match):
        audit.from_models(given.pop("unlearned"), given.pop("retrained"), **given)


def test_one_seed_for_all_is_allowed_on_purpose_and_said() -> None:
    unlearned, retrained = sharing(40, 5, 0.0, 1)
    result = audit.from_models(
        unlearned, retrained, claim=CLAIM, kind="scores", seeds=([7] * 40, [7] * 40), conditional_on_seed=True
    )
    assert any("this verdict is about that seed alone" in note for note in result.notes)


def test_models_that_were_filed_twice_decide_nothing() -> None:
    unlearned, retrained = sharing(60, 5, 3.0, 1)
    retrained[30:] = retrained[:30]
    result = audit.from_models(unlearned, retrained, claim=CLAIM, kind="scores")
    assert result.verdict.value == "inconclusive"


# A claim a record


def outputs_of(assignment: audit.Assignment, left: float, seed: int = 0) -> np.ndarray:
    """Return outputs that show what a model retains, and a part of what it forgot."""
    status = assignment.status
    return normal(status.shape, seed) + 2.0 * (status == 2) + left * (status == 1)


ASSIGNMENT = audit.assign_status(records=40, models=256, seed=1)


def test_status_is_drawn_by_independent_coins() -> None:
    assignment = audit.assign_status(records=3000, models=64, retain=0.4, forget=0.25, deletion=0.5, seed=2)
    deletion = assignment.kinds == 1
    assert deletion.sum() == 32
    assert not np.any(assignment.status[~deletion] == 1)
    shares = [
        np.mean(assignment.status[which] == code) for which, code in ((deletion, 2), (~deletion, 2), (deletion, 1))
    ]
    np.testing.assert_allclose(shares, [0.4, 0.4, 0.15], atol=0.01)
    # Coins, and no fixed numbers: the counts of a record spread like binomials.
    counts = np.sum(assignment.status[deletion] == 1, axis=0)
    assert 0.8 < counts.var() / (32 * 0.15 * 0.85) < 1.2
    assert "Tested is, for each record, the claim about deleting the set that holds it" in assignment.sentence()


def test_records_that_are_left_in_are_refuted_and_the_others_are_not() -> None:
    leaking = np.arange(40) < 10
    outputs = outputs_of(ASSIGNMENT, 0.0) + 4.0 * (ASSIGNMENT.status == 1) * leaking
    result = audit.from_status(outputs, ASSIGNMENT.status, ASSIGNMENT.kinds, claim=CLAIM, kind="scores")
    assert result.verdict.value == "refuted"
    assert len(result.refuted) >= 5
    assert set(result.refuted) <= set(range(10))
    assert set(result.listed) <= set(range(10))
    assert result.some is not None
    assert result.some.refutes
    assert result.details[0].refuted
    assert result.details[0].bound.value > 1
    assert ModelsResult.from_json(result.to_json()) == result


def test_words_stand_for_codes() -> None:
    words = np.array(["absent", "forgotten", "retained"])[ASSIGNMENT.status]
    kinds = np.array(["reference", "deletion"])[ASSIGNMENT.kinds]
    outputs = outputs_of(ASSIGNMENT, 1.0)
    by_words = audit.from_status(outputs, words, kinds, claim=CLAIM, kind="scores")
    by_codes = audit.from_status(outputs, ASSIGNMENT.status, ASSIGNMENT.kinds, claim=CLAIM, kind="scores")
    assert by_words.records == by_codes.records


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = outputs_of(ASSIGNMENT, 3.0)
    whole = audit.from_status(outputs, ASSIGNMENT.status, ASSIGNMENT.kinds, claim=CLAIM, kind="scores")
    monkeypatch.setattr("audit.models.outputs._NUMBERS", 256 * 7)
    cut = audit.from_status(outputs, ASSIGNMENT.status, ASSIGNMENT.kinds, claim=CLAIM, kind="scores")
    assert whole.records is not None
    assert cut.records is not None
    # Pairings of e-values are drawn block by block; all else is the same.
    assert cut.records.p_values == whole.records.p_values
    assert cut.refuted == whole.refuted


def half_and_half(models: int, records: int) -> np.ndarray:
    """Draw as LiRA does: each record in exactly half of the models."""
    keep = np.random.default_rng(0).random((models, records)).argsort(axis=0) < models // 2
    return np.where(keep, 2, 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"status": ASSIGNMENT.status.T}, "shape .40, 256., which is transposed"),
        ({"status": ASSIGNMENT.status == 2}, "in or out alone does not say what was forgotten"),
        ({"status": np.where(ASSIGNMENT.status == 1, 0, ASSIGNMENT.status)}, "no model that forgot anything"),
        ({"status": np.full((256, 40), 3)}, "whole numbers from 0 to 2"),
        ({"kinds": 1 - ASSIGNMENT.kinds}, "forgotten in a reference model, which unlearns nothing"),
        ({"kinds": np.ones(256, int)}, "deletion models in which a record is absent are no reference"),
        ({"kinds": ASSIGNMENT.kinds[:100]}, "256 kinds"),
        ({"kinds": ["learned"] * 256}, "one of reference, deletion, got learned"),
        ({"drawn_by_coins": False}, "exactly so many models a record make the two counts of a record dependent"),
        ({"seeds": [1] * 256}, "deletion models to be training seeds of their own"),
    ],
)
def test_a_status_that_does_not_allow_claims_a_record_is_refused(change: dict, match: str) -> None:
    given = {"status": ASSIGNMENT.status, "kinds": ASSIGNMENT.kinds, "claim": CLAIM, "kind": "scores"} | change
    with pytest.raises(InvalidInputError, match=match):
        audit.from_status(outputs_of(ASSIGNMENT, 0.0), given.pop("status"), given.pop("kinds"), **given)


def test_fixed_numbers_of_models_a_record_are_seen_and_refused() -> None:
    status = half_and_half(64, 500)
    deletion = np.arange(64) % 2 == 0
    status[(status == 0) & deletion[:, None]] = 1
    with pytest.raises(InvalidInputError, match="each record retained in about 32 of 64 models"):
        checked_status(status, deletion, 500, drawn_by_coins=True)


@pytest.mark.parametrize(
    "change", [{"models": 31}, {"records": 0}, {"retain": 1.0}, {"forget": 0.0}, {"deletion": 0.1}]
)
def test_numbers_of_an_assignment_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        audit.assign_status(**({"records": 5, "models": 64} | change))
