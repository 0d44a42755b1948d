"""Pages of many findings: a line each, one picture over all of them, details when asked for, and nothing lost."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import reports
from audit.records.result import AuditCollection, AuditResult, read_json
from reports.audits import html, junit, markdown, terminal
from reports.audits.pictures.forest import MOST_NAMED, MOST_POINTS, forest
from reports.audits.view import MOST_DETAILED, page
from reports.page.numbers import counted
from tests.unit.page_checks import html_text, unescaped
from tests.unit.report_cases import many


@pytest.mark.parametrize("n", [MOST_DETAILED, MOST_DETAILED + 1])
def test_more_than_twenty_findings_have_a_line_each(n: int) -> None:
    made, is_long = many(n), n > MOST_DETAILED
    for text in (unescaped(html_text(html.render(made))), unescaped(markdown.render(made))):
        assert ("each has one line here" in text) is is_long
        assert ("Parameters of this deletion" in text) is not is_long
        for i in range(n):
            assert f"Record {i}" in text
    in_full = unescaped(html_text(html.render(made, details=True)))
    assert in_full.count("Parameters of this deletion") == n
    assert "one line here" not in in_full
    brief = unescaped(markdown.render(made, details=False))
    assert "Parameters of this deletion" not in brief
    lines = re.findall(r"Record \d+: ε ≥ (\S+) where (\S+) is claimed, (\S+) could have been seen", brief)
    assert len(lines) == n
    for finding_view, line in zip(page(made).audits[0].findings, lines, strict=True):
        assert finding_view.quoted is not None
        quoted = finding_view.quoted
        assert line == (quoted.bound.text, quoted.claimed.text, quoted.detectable.text)


def test_a_long_page_counts_controls_and_all_else_is_in_the_json(tmp_path: Path) -> None:
    made = many(50)
    view = page(made).audits[0]
    assert [len(row) for row in view.controls.rows] == [4] * len(view.controls.rows)
    counted = sum(int(cell) for row in view.controls.rows for cell in row[1:])
    assert counted == len(made.controls)
    (path,) = reports.write(made, tmp_path, formats=("json",), show_records=True)
    assert read_json(path.read_text("utf-8")) == made


def test_files_for_machines_and_terminals_do_not_depend_on_details() -> None:
    made = many(30)
    document = ElementTree.fromstring(junit.render_results(made))
    assert [suite.get("failures") for suite in document] == ["5"]
    text = terminal.summary(made)
    assert sum(line.lstrip().startswith("Record ") for line in text.splitlines()) >= 30
    # Thirty names before one remark are no help.
    assert not [line for line in text.splitlines() if line.count("Record ") > 8]


@pytest.mark.parametrize("n", [1, 3, MOST_NAMED, MOST_NAMED + 1, MOST_POINTS + 1])
def test_one_picture_shows_every_record(n: int) -> None:
    # Beyond those that are named, one record is drawn like another.
    views = page(many(min(n, MOST_NAMED + 1))).audits[0].findings
    findings = (views * math.ceil(n / len(views)))[:n]
    drawn = forest(findings, "p")
    tree = ElementTree.fromstring(drawn)
    texts = [element.text for element in tree.iter("text")]
    named = [text for text in texts if text and text.startswith("Record ")]
    assert len(named) == (n if n <= MOST_NAMED else 0)
    assert {"claimed", "lower bound", "detectable", "exact, of what is claimed"} <= set(texts)
    assert ("<image" in drawn) is (n > MOST_POINTS)
    assert len(drawn) < 400_000
    spoken = drawn[: drawn.index(">")]
    assert f"Epsilon of {counted(n, 'deletion')}: " in spoken
    if n <= MOST_NAMED:
        for view in findings:
            assert view.quoted is not None
            assert f"{view.heading}: {view.quoted.bound.text}, {view.quoted.claimed.text}" in spoken


def test_nothing_is_drawn_of_what_was_withheld_or_not_counted() -> None:
    made = many(3)
    assert forest(page(reports.redact(made)).audits[0].findings, "p") == ""
    assert forest((), "p") == ""
    assert page(reports.redact(made)).audits[0].forest_caption == ""


def test_records_are_shown_only_when_asked_for(collection: AuditCollection, tmp_path: Path) -> None:
    assert any(f.preview for r in collection.results for f in r.findings)
    for path in reports.write(collection, tmp_path / "hidden"):
        text = path.read_text("utf-8")
        assert "data:image" not in text
        assert "Deleted record" not in text
        assert '"values"' not in text or path.suffix != ".json"
    shown = reports.write(collection, tmp_path / "shown", ("html", "json"), show_records=True)
    assert "data:image" in shown[0].read_text("utf-8")
    assert read_json(shown[1].read_text("utf-8")) == collection
    for value in (collection, collection.results[0]):
        results = value.results if isinstance(value, AuditCollection) else (value,)
        for before, after in zip(results, _results(reports.without_values(value)), strict=True):
            assert [dataclasses.replace(f, preview=()) for f in before.findings] == list(after.findings)
            assert dataclasses.replace(before, findings=()) == dataclasses.replace(after, findings=())


def _results(value: AuditResult | AuditCollection) -> tuple[AuditResult, ...]:
    return value.results if isinstance(value, AuditCollection) else (value,)
