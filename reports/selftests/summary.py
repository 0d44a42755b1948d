"""The table of a self-test, for a terminal and as Markdown, and its files."""

from __future__ import annotations

import math
from pathlib import Path

from audit.records.phrases import spoken
from audit.records.rounding import total
from audit.selftest.result import Expectation, SelftestResult, SelftestRow
from reports.page.markdown import escape
from reports.page.numbers import INFINITE, down, nearest, up
from reports.page.parts import NONE, TableView, plain
from reports.page.terminal import printed
from reports.writing import write_texts

COLUMNS = ("fault", "δ", "true ε", "claimed ε", "lower bound", "verdict", "fired", "expected", "ok")
_NUMERIC = (False, True, True, True, True, False, False, False, False)


def selftest_summary(result: SelftestResult, *, width: int = 160) -> str:
    """Return the table and what it says, as plain text."""
    return printed([_table(result), *_sentences(result)], width)


def selftest_markdown(result: SelftestResult) -> str:
    """Return the same as Markdown, with what each fault does."""
    view = _table(result)
    lines = ["# Self-test", "", _code(result.command), "", "| " + " | ".join(view.columns) + " |"]
    lines.append("|" + "|".join("---:" if numeric else "---" for numeric in view.numeric) + "|")
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in view.rows]
    lines += ["", *(f"{escape(sentence)}\n" for sentence in _sentences(result)), "## What each service does", ""]
    lines += [f"* {_code(row.name)} ({escape(row.mechanism)}): {escape(row.description)}" for row in result.rows]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Return text letter by letter in Markdown; a backtick would end it."""
    return f"`{' '.join(plain(text).replace('`', chr(39)).split())}`"


def write_selftest(result: SelftestResult, directory: Path) -> tuple[Path, ...]:
    """Write selftest.md and selftest.json into a folder; return their paths."""
    texts = {"selftest.json": result.to_json(), "selftest.md": selftest_markdown(result)}
    return write_texts(directory, texts)


def _table(result: SelftestResult) -> TableView:
    rows = sorted(result.rows, key=lambda row: row.harmless)
    return TableView(title="", caption="", columns=COLUMNS, rows=tuple(map(_cells, rows)), numeric=_NUMERIC)


def _cells(row: SelftestRow) -> tuple[str, ...]:
    families = tuple(dict.fromkeys(name.removeprefix("portfolio:") for name in row.fired))
    seen = ", ".join("law" if name == "likelihood_ratio" else name for name in families or row.controls)
    bounded = row.truth == "oracle trials" and row.true_epsilon is not None
    return (
        row.name,
        NONE if row.delta is None else nearest(row.delta, 2),
        ("≥ " if bounded else "") + _number(row.true_epsilon, exact=not bounded),
        NONE if row.claimed is None else _number(row.claimed, exact=True),
        NONE if row.lower_bound is None else down(row.lower_bound),
        spoken(row.verdict).lower(),
        seen or NONE,
        _expected(row),
        "yes" if row.as_expected else "NO",
    )


def _number(value: float | None, *, exact: bool) -> str:
    if value is None:
        return NONE
    if math.isinf(value):
        return INFINITE
    return up(value) if exact else down(value)


def _expected(row: SelftestRow) -> str:
    if row.expected is Expectation.REFUTED:
        return f"refuted ({row.family})"
    if row.expected is Expectation.EITHER:
        return f"either (power {row.planned_power or 0.0:.2f})"
    return {"never_refuted": "never refuted", "inconclusive": "inconclusive"}[row.expected.value]


def _sentences(result: SelftestResult) -> list[str]:
    faults = [row for row in result.rows if not row.harmless]
    sure = [row for row in faults if row.expected is Expectation.REFUTED]
    refuted = [row for row in faults if row.verdict.value == "refuted"]
    harmless = [row for row in result.rows if row.harmless]
    alarms = [row for row in harmless if row.verdict.value == "refuted"]
    unmet = [row.name for row in result.rows if not row.as_expected]
    seen = sum(row.verdict.value == "refuted" for row in sure)
    return [
        f"{len(faults)} faults: {len(refuted)} refuted; of the {len(sure)} that the planner calls all but certain, "
        f"{seen}. {len(harmless)} harmless variants: {len(alarms)} refuted.",
        f"Each audit is a family of its own at significance {up(result.each)}; the chance that any harmless variant of "
        f"the table is refuted is at most {up(total([result.each] * len(harmless)))}.",
        "True, claimed and lower bound are at the δ and in the direction of the strongest test. A true ε with ≥ is a "
        "bound from an oracle's trials. Fired: families of attacks that refuted the claim, strongest first, or the "
        "control that stopped the audit. Expected (family): "
        "with half of the trials the most powerful attack has a planned power of at least 0.95.",
        f"Seed {result.seed}, {result.seconds:.0f} s. "
        + (f"NOT as expected: {', '.join(unmet)}." if unmet else "Everything is as expected."),
    ]
