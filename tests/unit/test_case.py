"""The case that a report is filed for: what a file may say, that every format says it, and what is withheld."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import reports
from audit.commands.output.filing.case_file import read_case
from audit.errors import PlanError, SchemaError
from audit.records.filing.case import Case, FiledModel, withheld
from audit.records.filing.manifest import FiledFile, Manifest
from audit.records.result import AuditCollection, AuditResult, read_json
from mechanisms.errors import InvalidInputError
from reports.audits import html, markdown, terminal
from reports.page.case import NAMES, STATED, table
from tests.unit.page_checks import html_text, unescaped

DIGEST = "ab" * 32
FILE = f"""
request_id = "DSR-17"
received = 2026-11-02
decided = "2026-11-05"
erased = 2026-11-06
controller = "Example <b>Clinic</b>"
system = "Triage"
version = "4.2"
code_commit = "3f2c9d1"
operator = "Olga"
auditor = "Bert"
reviewer = "Cleo"
retain_until = 2031-12-31
model_before = {{ name = "triage-4.1", sha256 = "{"cd" * 32}" }}
[model_after]
name = "triage-4.2"
sha256 = "{DIGEST}"
"""
SAID = ("DSR-17", "2026-11-02", "2026-11-05", "2026-11-06", "2031-12-31", "Example <b>Clinic</b>", "Triage", "4.2",
        "3f2c9d1", "Olga", "Bert", "Cleo", "triage-4.1", "triage-4.2", "cd" * 32, DIGEST)  # fmt: skip


@pytest.fixture
def case(tmp_path: Path) -> Case:
    path = tmp_path / "case.toml"
    path.write_text(FILE)
    return read_case(path)


def with_case(collection: AuditCollection, case: Case) -> AuditResult:
    return dataclasses.replace(collection.results[1], case=case)


def test_every_format_says_the_whole_case_and_that_nobody_checked_it(collection: AuditCollection, case: Case) -> None:
    assert set(NAMES) == {field.name for field in dataclasses.fields(Case)} - {"withheld"}
    one = with_case(collection, case)
    several = dataclasses.replace(collection, case=case)
    texts = [one.to_json(), terminal.summary(one, width=400)]
    for value in (one, several):
        texts += [unescaped(html_text(html.render(value))), unescaped(markdown.render(value))]
    texts.append(terminal.summary(several, width=400))
    for text in texts:
        assert [word for word in SAID if word not in text] == []
    assert all(STATED in text for text in texts[1:])
    assert "<b>Clinic" not in html.render(one)
    assert read_json(one.to_json()) == one
    assert read_json(several.to_json()) == several


@pytest.mark.parametrize("kind", ["one", "several"])
def test_redaction_leaves_digests_and_names_of_fields(
    collection: AuditCollection, case: Case, tmp_path: Path, kind: str
) -> None:
    given = with_case(collection, case) if kind == "one" else dataclasses.replace(collection, case=case)
    paths = reports.write(given, tmp_path, ("html", "md", "json", "junit"), redact=True)
    for text in (*(path.read_text("utf-8") for path in paths), terminal.summary(reports.redact(given))):
        assert [word for word in SAID if word in text and word not in (DIGEST, "cd" * 32, "4.2")] == []
    left = reports.redact(given).case
    assert left is not None
    assert left.model_after == FiledModel(sha256=DIGEST)
    assert set(left.withheld) == set(NAMES) - {"model_before", "model_after"}
    assert withheld(left) == left
    assert "withheld" in html_text(html.render(reports.redact(given)))


def test_a_result_without_a_case_says_nothing_of_one(collection: AuditCollection) -> None:
    assert table(None) is None
    assert STATED not in html_text(html.render(collection.results[1]))


@pytest.mark.parametrize(
    ("changes", "started", "said"),
    [
        (
            {"erased": date(2026, 1, 2), "decided": date(2026, 1, 3)},
            "2026-02-01T00:00:00+00:00",
            "before it was decided",
        ),
        ({"erased": date(2026, 1, 2)}, "2026-01-01T23:00:00+00:00", "The audit ran on 2026-01-01, before"),
        ({"model_before": FiledModel(sha256=DIGEST), "model_after": FiledModel(sha256=DIGEST)}, "", "the same digest"),
    ],
)
def test_what_a_reader_must_not_pass_over(changes: dict[str, Any], started: str, said: str) -> None:
    shown = table(Case(**changes), [started])
    assert shown is not None
    assert said in shown.caption
    harmless = table(Case(erased=date(2026, 1, 2), decided=date(2026, 1, 2)), ["2026-01-02T00:00:00+00:00"])
    assert harmless is not None
    assert harmless.caption == STATED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('request = "1"', ["request: no such field; did you mean request_id?"]),
        ("recieved = 2026-01-01\nfoo = 1", ["2 problem(s)", "did you mean received?", "foo: no such field; known are"]),
        ("received = 2026-02-01\ndecided = 2026-01-01", ["decided: expected 2026-02-01 (received) or later"]),
        ("erased = 2026-02-01\nretain_until = 2026-01-31", ["retain_until: expected 2026-02-01 (erased) or later"]),
        ('received = "2026-02-30"', ["received: expected a day of the calendar", "'2026-02-30'"]),
        ("received = 2026-02-03T10:00:00Z", ["received: expected a day of the calendar"]),
        ("received = 20260203", ["received: expected a day of the calendar"]),
        ('model_after = "x"', ["model_after: expected a table"]),
        ('model_after = { name = "x", sha = "1" }', ["model_after.sha: no such field; did you mean sha256?"]),
        ('model_after = { sha256 = "AB" }', ["model_after.sha256: expected 64 digits"]),
        ("operator = 3", ["operator: expected text, got 3"]),
        ('operator = " "', ["operator: expected one line"]),
        ('operator = "a\\u001b[2Jb"', ["operator: expected one line"]),
        (f'operator = "{"x" * 201}"', ["operator: expected one line"]),
        ('withheld = ["operator"]', ["withheld: no such field"]),
        ("= 1", ["TOML"]),
    ],
)
def test_what_no_case_holds_is_refused_by_name(text: str, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as refused:
        read_case(path)
    assert [words for words in said if words not in str(refused.value)] == []
    assert "\x1b" not in str(refused.value)


def test_a_file_that_is_not_there_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="readable case file"):
        read_case(tmp_path / "case.toml")


def test_a_stored_case_is_held_to_the_same_order(collection: AuditCollection, case: Case) -> None:
    text = with_case(collection, case).to_json()
    assert text.count('"2026-11-05"') == 1
    with pytest.raises((SchemaError, InvalidInputError), match="decided"):
        read_json(text.replace('"2026-11-05"', '"2026-10-05"'))


def filed(path: str = "report.json", **changes: Any) -> FiledFile:
    return FiledFile(**{"path": path, "role": "output", "sha256": DIGEST, "size": 1, **changes})


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(lambda: (), id="nothing"),
        pytest.param(lambda: (filed(role="plan"),), id="no output"),
        pytest.param(lambda: (filed("../report.json"),), id="no output in the folder"),
        pytest.param(lambda: (filed(), filed(sha256="cd" * 32)), id="one file twice"),
        pytest.param(lambda: (filed("a/../report.json"),), id="a path with a detour"),
        pytest.param(lambda: (filed("./report.json"),), id="a path with a dot"),
        pytest.param(lambda: (filed(sha256="AB" * 32),), id="capital letters"),
        pytest.param(lambda: (filed(size=-1),), id="a negative size"),
    ],
)
def test_a_manifest_that_vouches_for_nothing_is_refused(files: Any) -> None:
    with pytest.raises(InvalidInputError):
        Manifest(made="now", made_by="me", files=files())
