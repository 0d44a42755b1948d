"""The page of published mechanisms: rendered from the committed table, and within the rules it states."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from audit.records.verdict import Verdict
from audit.selftest.wild.result import WildResult, WildRow
from mechanisms.published.catalogue import CATALOGUE
from reports.wild.writing import wild_markdown

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "wild.md").read_text(encoding="utf-8")
TABLE = WildResult.from_json((ROOT / "benchmarks" / "results" / "wild.json").read_text(encoding="utf-8"))
CLAIMED = [row for row in TABLE.rows if row.category != "nothing"]
FALSE = [row for row in CLAIMED if row.is_false]
LINES_A_SECTION = 40
# In tables a number stands alone in its cell.
CELL = re.compile(r"(?<=\| )(\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)(?= \|)")


def test_the_page_is_the_rendered_table() -> None:
    assert wild_markdown(TABLE) == PAGE


def test_every_number_of_a_cell_is_one_of_the_table_rounded() -> None:
    stored = sorted(set(numbers(TABLE.to_json())))
    printed = {float(text.replace(",", "")) for text in CELL.findall(PAGE)}
    assert len(printed) > 100
    for value in printed:
        near = min(stored, key=lambda number: abs(number - value))
        assert abs(near - value) <= 0.011 * abs(value), value


def numbers(text: str) -> list[float]:
    found = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)
    return [abs(float(number)) for number in found]


def test_sections_are_short() -> None:
    sections = PAGE.split("\n## ")[1:]
    named = {row.title: row for row in TABLE.rows}
    found = [section for section in sections if section.split("\n")[0] in named]
    assert len(found) == len(TABLE.rows)
    for section in found:
        assert len(section.rstrip().split("\n")) <= LINES_A_SECTION, section[:60]


def test_there_are_enough_rows_of_each_kind_and_all_of_the_catalogue() -> None:
    assert [row.name for row in TABLE.rows] == list(CATALOGUE)
    assert not TABLE.quick
    assert len(FALSE) >= 7
    checked = [row for row in CLAIMED if not row.is_false]
    assert len(checked) >= 7
    assert 2 * len(checked) >= len(TABLE.rows)
    assert all(row.category == "checked" and row.shown == "not_refuted" for row in checked)
    assert all(assumption.holds for row in TABLE.rows for assumption in row.assumptions)


@pytest.mark.parametrize("row", FALSE, ids=lambda row: row.name)
def test_a_refutation_stands_on_three_seeds_beside_its_twin(row: WildRow) -> None:
    assert row.twin is not None
    ours, twins = (variant.statements(TABLE.level) for variant in (row.audited, row.twin))
    assert TABLE.level == 1e-6
    assert len({audit.seed for audit in ours}) == 3
    assert [(a.seed, a.trials) for a in ours] == [(a.seed, a.trials) for a in twins]
    assert row.shown == "refuted"
    assert {a.verdict for a in ours} == {Verdict.REFUTED}
    assert {a.verdict for a in twins} == {Verdict.NOT_REFUTED}
    bounds = [audit.lower_bound for audit in ours if audit.lower_bound is not None]
    assert all(row.epsilon < bound <= (row.audited.exact or math.inf) for bound in bounds)
    if row.twin.exact is not None:
        assert row.twin.exact <= row.epsilon


@pytest.mark.parametrize("row", [row for row in CLAIMED if not row.is_false], ids=lambda row: row.name)
def test_what_was_checked_holds_exactly_where_that_is_known(row: WildRow) -> None:
    assert row.twin is None
    assert row.cause == ""
    assert row.audited.exact is not None
    assert row.audited.exact <= row.epsilon
    assert row.shared_noise is None or not row.shared_noise.exceeded


def test_the_same_random_numbers_were_tried_with_every_record_of_a_canary_deleted() -> None:
    tried = [row.shared_noise for row in TABLE.rows if row.shared_noise is not None]
    assert len(tried) >= 10
    for shared in tried:
        assert 1 < shared.distinct <= shared.records
        assert shared.exceeded == (shared.beyond > 0)
