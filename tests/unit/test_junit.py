"""JUnit XML: valid, and of one mind with the verdicts, whatever names hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from lxml import etree

import reports
from audit.records.result import AuditCollection, AuditResult
from audit.records.verdict import Verdict
from reports.audits import junit
from tests.unit.report_cases import hostile_collection

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))
TAGS = {Verdict.REFUTED: "failure", Verdict.INCONCLUSIVE: "skipped", Verdict.NOT_REFUTED: None}


def valid(text: str) -> etree._Element:
    root = etree.fromstring(text.encode())
    SCHEMA.assertValid(root)
    return root


def test_cases_agree_with_verdicts(collection: AuditCollection) -> None:
    root = valid(junit.render_results(collection))
    assert [suite.get("name") for suite in root] == [result.title for result in collection.results]
    for suite, result in zip(root, collection.results, strict=True):
        verdicts = [finding.verdict for finding in result.findings]
        assert suite.get("tests") == str(len(verdicts))
        assert suite.get("failures") == str(verdicts.count(Verdict.REFUTED))
        assert suite.get("skipped") == str(verdicts.count(Verdict.INCONCLUSIVE))
        assert suite.get("errors") == "0"
        for case, finding in zip(suite.findall("testcase"), result.findings, strict=True):
            (child,) = case
            assert child.tag == (TAGS[finding.verdict] or "system-out")
            assert "could have" in child.text or "would have" in child.text or finding.reason
            assert "Run it again: unlearn-audit run plan.toml --out out --seed 7" in child.text
        properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
        assert properties["seed"] == "7"
        assert properties["data.sha256"] == "9f" * 32
        assert properties["redacted"] == "no"


def test_a_failure_says_what_was_found(collection: AuditCollection) -> None:
    (failure,) = valid(junit.render_results(collection.results[1])).iter("failure")
    assert "is refuted: the audit shows ε ≥ 1.31 where ε ≤ 0.259 is claimed" in failure.get("message")
    assert "Fired: likelihood_ratio" in failure.text


def test_names_of_cases_differ(collection: AuditCollection) -> None:
    twice = dataclasses.replace(collection.results[0], findings=collection.results[0].findings[:1] * 2)
    names = [case.get("name") for case in valid(junit.render_results(twice)).iter("testcase")]
    assert len(set(names)) == 2


def test_hostile_names_stay_text() -> None:
    root = valid(junit.render_results(hostile_collection()))
    assert {element.tag for element in root.iter()} == {
        *("testsuites", "testsuite", "properties", "property", "testcase", "failure", "skipped", "system-out"),
    }


def test_a_crash_is_an_error_and_no_verdict() -> None:
    root = valid(junit.render_crash("My\x00 audit", "TrialError: chunk 0\nthe trainer broke <here>"))
    (error,) = root.iter("error")
    assert error.get("message") == "TrialError: chunk 0"
    assert error.text == "TrialError: chunk 0\nthe trainer broke <here>"
    assert [root[0].get(name) for name in ("tests", "failures", "errors", "skipped")] == ["1", "0", "1", "0"]
    valid(junit.render_crash("audit", ""))


def test_cases_of_a_session_keep_their_times() -> None:
    outcomes: tuple[junit.Outcome, ...] = ("not_refuted", "refuted", "inconclusive", "error")
    cases = [
        junit.Case(group="test_it.py", name=f"test_{o}", outcome=o, message=o, text="one\ntwo", seconds=0.25)
        for o in outcomes
    ]
    (suite,) = valid(junit.render(cases, name="session"))
    assert suite.get("time") == "1.000"
    assert [case[0].tag for case in suite] == ["system-out", "failure", "skipped", "error"]
    assert {case.get("time") for case in suite} == {"0.250"}


def test_the_schema_refuses_what_is_not_junit(collection: AuditCollection) -> None:
    text = junit.render_results(collection)
    for old, new in (("<failure", "<refuted"), ('errors="0"', 'errors="no"'), ("classname=", "class=")):
        with pytest.raises((etree.DocumentInvalid, etree.XMLSyntaxError)):
            valid(text.replace(old, new))


def test_written_by_write_and_by_write_junit(collection: AuditCollection, tmp_path: Path) -> None:
    path = reports.write_junit(collection.results, tmp_path / "new" / "audits.xml")
    (other,) = reports.write(collection.results, tmp_path, formats=("junit",))
    assert (path.name, other.name) == ("audits.xml", "report.xml")
    assert path.read_bytes() == other.read_bytes()
    assert isinstance(collection.results[0], AuditResult)
    valid(path.read_text(encoding="utf-8"))
