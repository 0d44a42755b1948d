"""A stored result is believed as far as it hangs together: edited verdicts, tests, findings and controls are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
import reports
from audit.errors import InconclusiveError, SchemaError
from audit.records.counts import Counts
from audit.records.verdict import Verdict, overall
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value
from audit.statistics.recount import bound_of_counts, p_value_of_counts
from mechanisms.claim import BOTH_DIRECTIONS, Claim, Direction, EpsilonDelta, GaussianDP

STORED = Path(__file__).parents[1] / "golden" / "stored"
Json = dict[str, Any]


def stored(name: str) -> Json:
    loaded: Json = json.loads((STORED / f"{name}.json").read_text("utf-8"))
    return loaded


def loaded(value: Json) -> audit.AuditResult:
    found = audit.load_json(json.dumps(value))
    assert isinstance(found, audit.AuditResult)
    return found


def first(value: Json) -> Json:
    finding: Json = value["findings"][0]
    return finding


def acquitted(value: Json) -> None:
    first(value).update(verdict="not_refuted", reason=None)


def acquitted_everywhere(value: Json) -> None:
    """The verdict, its p-values and the ledger say the same; the counts still know better."""
    acquitted(value)
    first(value)["p_value"] = 0.5
    for test in first(value)["tests"]:
        test.update(p_value=0.5, rejected=False)
        test["bound"]["value"] = 0.0
    for sandwich in first(value)["sandwiches"]:
        sandwich["bound"]["value"] = 0.0
    for member in value["family"]["members"]:
        member["rejected"] = False


def convicted(value: Json) -> None:
    first(value).update(verdict="refuted", reason=None)


def without_findings(value: Json) -> None:
    value["findings"] = []


def without_everything(value: Json) -> None:
    value["findings"] = value["controls"] = value["family"]["members"] = []
    value["plan"]["forget"] = value["plan"]["claims"] = value["plan"]["labels"] = []


def without_a_finding_and_its_members(value: Json) -> None:
    """A second claim was planned, and every trace of it but the plan was cut out."""
    value["plan"]["claims"].append("another claim")


def without_tests(value: Json) -> None:
    first(value).update(tests=[], sandwiches=[], p_value=1.0)


def without_a_member(value: Json) -> None:
    value["family"]["members"].pop()


def with_other_counts(value: Json) -> None:
    for owner in (*first(value)["tests"], *first(value)["sandwiches"]):
        counts = owner["bound"]["counts"]
        counts["k_unlearned"] = max(0, counts["k_unlearned"] - 20)


def with_fewer_trials(value: Json) -> None:
    for owner in (*first(value)["tests"], *first(value)["sandwiches"]):
        owner["bound"]["counts"].update(k_unlearned=1, n_unlearned=2, k_retrained=1, n_retrained=2)


def with_another_point(value: Json) -> None:
    for test in first(value)["tests"]:
        test["point"]["epsilon"] += 3.0


def with_a_higher_level(value: Json) -> None:
    for member in value["family"]["members"]:
        member["level"] = member["tested_at"] = 0.4


def with_a_failed_control(value: Json) -> None:
    next(c for c in value["controls"] if c["name"] in ("replay", "duplicates"))["as_expected"] = False


def without_controls(value: Json) -> None:
    value["controls"] = []


def with_a_control_that_contradicts_itself(value: Json) -> None:
    next(c for c in value["controls"] if c["name"] == "null")["p_value"] = 1e-12


def with_a_larger_bound(value: Json) -> None:
    for owner in (*first(value)["tests"], *first(value)["sandwiches"]):
        owner["bound"]["value"] += 0.3


def with_a_larger_claim(value: Json) -> None:
    for sandwich in first(value)["sandwiches"]:
        sandwich["claimed"] += 1.0


EDITS = [
    without_findings,
    without_everything,
    without_a_finding_and_its_members,
    without_tests,
    without_a_member,
    with_other_counts,
    with_fewer_trials,
    with_another_point,
    with_a_higher_level,
    with_a_failed_control,
    without_controls,
    with_a_control_that_contradicts_itself,
    with_a_larger_bound,
    with_a_larger_claim,
]


@pytest.mark.parametrize("name", ["result-1", "result-1-second", "result-1-scores"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edited_result_is_not_believed(edit: Callable[[Json], None], name: str) -> None:
    value = stored(name)
    edit(value)
    with pytest.raises(SchemaError, match=r"stored .* recomputed"):
        audit.load_json(json.dumps(value))
    with pytest.raises(SchemaError, match=r"stored .* recomputed"):
        audit.AuditResult.from_json(json.dumps(value))


@pytest.mark.parametrize("edit", [acquitted, acquitted_everywhere], ids=lambda edit: edit.__name__)
def test_a_refuted_claim_stays_refuted(edit: Callable[[Json], None]) -> None:
    value = stored("result-1-scores")
    edit(value)
    with pytest.raises(SchemaError, match=r"claim 1 about .*stored .*recomputed"):
        loaded(value)


def test_a_collection_is_checked_result_by_result() -> None:
    value = stored("collection-1")
    refuted = next(r for r in value["results"] if first(r)["verdict"] == "refuted")
    acquitted(refuted)
    with pytest.raises(SchemaError, match="verdict: stored not_refuted, recomputed refuted"):
        audit.load_json(json.dumps(value))


def later_p_value(value: Json) -> None:
    first(value)["history"]["p_values"][-1] = 1.0


def reached(value: Json) -> None:
    history = first(value)["history"]
    history["refuted_at"] = history["pairs"][-1]


def won(value: Json) -> None:
    first(value)["history"]["p_values"][-1] = 1e-9


def stopped(value: Json) -> None:
    history = first(value)["history"]
    for owner in (history["pairs"], history["p_values"], *(curve["bounds"] for curve in history["curves"])):
        owner.pop()


def strong(value: Json) -> None:
    first(value)["tests"][0]["p_value"] = first(value)["p_value"] = 1e-5


@pytest.mark.parametrize("edit", [convicted, later_p_value, reached, won, stopped, strong], ids=lambda e: e.__name__)
def test_capital_level_and_verdict_of_a_sequential_audit_agree(edit: Callable[[Json], None]) -> None:
    value = stored("result-1-sequential")
    assert loaded(value).verdict is Verdict.NOT_REFUTED
    edit(value)
    with pytest.raises(SchemaError, match=r"stored .* recomputed"):
        loaded(value)


def test_a_refuted_sequential_audit_cannot_be_acquitted() -> None:
    value = stored("result-1-sequential")
    finding, history = first(value), first(value)["history"]
    history["p_values"][-1], history["refuted_at"] = 1e-3, history["pairs"][-1]
    test = finding["tests"][0]
    test["p_value"] = finding["p_value"] = 1e-3 / 4
    with pytest.raises(SchemaError, match="verdict: stored not_refuted, recomputed refuted"):
        loaded(value)
    finding["verdict"] = "refuted"
    test["rejected"] = value["family"]["members"][0]["rejected"] = True
    finding["level"] = test["bound"]["level"]
    assert loaded(value).verdict is Verdict.REFUTED
    acquitted(value)
    with pytest.raises(SchemaError, match="verdict: stored not_refuted, recomputed refuted"):
        loaded(value)


@pytest.mark.parametrize("edit", [convicted, without_findings, without_a_member, with_a_failed_control])
def test_of_a_redacted_result_the_ledger_is_compared(edit: Callable[[Json], None]) -> None:
    value = stored("result-1-redacted")
    edit(value)
    with pytest.raises(SchemaError, match=r"stored .* recomputed"):
        loaded(value)


@pytest.mark.parametrize("name", ["result-1-equal-holm", "result-1-equal-sequence"])
def test_levels_of_older_ledgers_were_shared_equally(name: str) -> None:
    """Both tests of an attack had one level, before and after a claim's level went to the others."""
    result = loaded(stored(name))
    assert {member.level for member in result.family.members} == {0.0125}
    assert [f.verdict for f in result.findings] == [Verdict.REFUTED, Verdict.NOT_REFUTED]
    assert result.findings[1].level == 0.025
    value = stored(name)
    value["family"]["members"][2]["tested_at"] = 0.045
    with pytest.raises(SchemaError, match=r"stored .* recomputed"):
        loaded(value)


CLAIMS = (Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5)), Claim(guarantee=GaussianDP(mu=0.5)))


@pytest.mark.parametrize(
    "claim", [*CLAIMS, Claim(guarantee=EpsilonDelta(epsilon=0.1, delta=0.0), directions=BOTH_DIRECTIONS[:1])]
)
@pytest.mark.parametrize("options", [{}, {"threshold": 0.7}, {"delta": 1e-3}, {"attacks": None}])
@pytest.mark.parametrize("shift", [0.0, 0.4, 3.0])
def test_what_was_written_is_believed(claim: Claim, options: Json, shift: float) -> None:
    rng = np.random.default_rng(5)
    result = audit.from_scores(rng.normal(shift, 1, 300), rng.normal(0, 1, 200), claim=claim, **options)
    assert audit.load_json(result.to_json()) == result
    redacted = reports.redact(result)
    assert audit.load_json(redacted.to_json()) == redacted


def test_nothing_is_not_a_verdict() -> None:
    assert overall(()) is Verdict.INCONCLUSIVE
    result = loaded(stored("result-1"))
    result.assert_holds()
    for edited in (
        replace(result, findings=()),
        replace(result, findings=(), family=replace(result.family, members=())),
    ):
        assert edited.verdict is Verdict.INCONCLUSIVE
        with pytest.raises(InconclusiveError, match="planned tests belong to no finding"):
            edited.assert_holds()
        assert repr(edited)
        assert str(edited)


def test_an_edited_file_is_refused_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from audit.cli import guarded

    value = stored("result-1-scores")
    acquitted(value)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    for arguments in (["report", str(path), "--out", str(tmp_path / "out")], ["compare", str(path), str(path)]):
        assert guarded(arguments) == 2
        assert "stored not_refuted, recomputed refuted" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recounting_agrees_with_itself_and_with_nothing_else() -> None:
    """Genuine numbers are taken by the quick tests, within their accuracy; others are replaced by what counts give."""
    rng = np.random.default_rng(6)
    replaced = 0
    for _ in range(16):
        n1, n0 = (int(n) for n in rng.integers(50, 20_000, size=2))
        p0 = float(rng.choice([0.001, 0.01, 0.1, 0.5]))
        p1 = min(1.0, p0 * float(rng.choice([1.0, 1.5, 3.0, 30.0])))
        counts = Counts(
            k_unlearned=int(rng.binomial(n1, p1)), n_unlearned=n1, k_retrained=int(rng.binomial(n0, p0)), n_retrained=n0
        )
        level, delta = float(rng.choice([0.05, 0.001])), float(rng.choice([0.0, 1e-5, 0.05]))
        side: Json = {"direction": Direction.UNLEARNED_FROM_RETRAINED, "level": level}
        point = EpsilonDelta(epsilon=0.2, delta=delta)
        p_value = exact_joint_p_value(counts, point=point, **side)
        bound = exact_joint_bound(counts, delta=delta, **side)
        assert p_value_of_counts(counts, p_value * (1 - 1e-9), point=point, **side) == p_value * (1 - 1e-9)
        assert bound_of_counts(counts, bound, delta=delta, **side) == bound
        if p_value < 0.9:
            assert p_value_of_counts(counts, min(1.0, p_value * 1.1), point=point, **side) == p_value
        for other in (bound + 0.2, max(0.0, bound - 0.2)):
            if other != bound:
                found = bound_of_counts(counts, other, delta=delta, **side)
                assert found == bound
                replaced += 1
    assert replaced > 16
