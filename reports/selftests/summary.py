"""The table of a self-test, for a terminal and as Markdown, and its files."""

from __future__ import annotations

import math
from pathlib import Path

from audit.records.verdict import Verdict
from audit.records.words.phrases import spoken
from audit.records.words.rounding import counted, total
from audit.selftest.result import Expectation, LotsRow, SelftestResult, SelftestRow
from reports.page.markdown import escape
from reports.page.numbers import INFINITE, down, nearest, up
from reports.page.parts import NONE, TableView, plain
from reports.page.terminal import printed
from reports.writing import write_texts

COLUMNS = ("fault", "δ", "true ε", "claimed ε", "lower bound", "verdict", "fired", "expected", "ok")
_NUMERIC = (False, True, True, True, True, False, False, False, False)
LOTS_COLUMNS = (
    "by lot",
    "true ε",
    "claimed ε",
    "right",
    "bound",
    "one model",
    "expected",
    "hits",
    "bound",
    "several",
    "expected",
    "ok",
)
_LOTS_NUMERIC = (False, True, True, True, True, False, False, True, True, False, False, False)


def selftest_summary(result: SelftestResult, *, width: int = 160) -> str:
    """Return the table and what it says, as plain text."""
    by_lot: list[str | TableView] = [_by_lot(result), *_lots_sentences(result)] if result.lots else []
    return printed([_table(result), *_sentences(result), *by_lot, _ending(result)], width)


def selftest_markdown(result: SelftestResult) -> str:
    """Return the same as Markdown, with what each fault does."""
    lines = ["# Self-test", "", _code(result.command), "", *_in_markdown(_table(result), _sentences(result))]
    if result.lots:
        lines += ["## Deletions by lot", "", *_in_markdown(_by_lot(result), _lots_sentences(result))]
    lines += [escape(_ending(result)), "", "## What each service does", ""]
    lines += [f"* {_code(row.name)} ({escape(row.mechanism)}): {escape(row.description)}" for row in result.rows]
    return "\n".join(lines) + "\n"


def _in_markdown(view: TableView, sentences: list[str]) -> list[str]:
    lines = ["| " + " | ".join(view.columns) + " |"]
    lines.append("|" + "|".join("---:" if numeric else "---" for numeric in view.numeric) + "|")
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in view.rows]
    return [*lines, "", *(f"{escape(sentence)}\n" for sentence in sentences)]


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
    ]


def _ending(result: SelftestResult) -> str:
    unmet = [row.name for row in result.rows if not row.as_expected]
    unmet += [f"{row.name} (by lot)" for row in result.lots if not row.as_expected]
    said = f"NOT as expected: {', '.join(unmet)}." if unmet else "Everything is as expected."
    return f"Seed {result.seed}, {result.seconds:.0f} s. {said}"


def _by_lot(result: SelftestResult) -> TableView:
    rows = sorted(result.lots, key=lambda row: row.harmless)
    cells = tuple(map(_lots_cells, rows))
    return TableView(title="", caption="", columns=LOTS_COLUMNS, rows=cells, numeric=_LOTS_NUMERIC)


def _lots_cells(row: LotsRow) -> tuple[str, ...]:
    one, several = (
        (down(bound), spoken(verdict).lower(), _wanted(expected, power))
        for bound, verdict, expected, power in zip(
            row.bounds, row.verdicts, row.expected, row.planned_powers, strict=True
        )
    )
    return (
        row.name,
        _number(row.true_epsilon, exact=True),
        _number(row.claimed, exact=True),
        f"{row.right}/{row.guesses}",
        *one,
        NONE if row.hits is None else str(row.hits),
        *several,
        "yes" if row.as_expected else "NO",
    )


def _lots_sentences(result: SelftestResult) -> list[str]:
    faults = [row for row in result.lots if not row.harmless]
    harmless = [row for row in result.lots if row.harmless]
    counts = [
        f"{sum(row.verdicts[i] is Verdict.REFUTED for row in faults)} of {len(faults)} faults refuted by "
        f"{counted(runs, 'model')} ({sum(row.expected[i] is Expectation.REFUTED for row in faults)} all but certain)"
        for i, runs in enumerate(result.lots_runs)
    ]
    alarms = sum(verdict is Verdict.REFUTED for row in harmless for verdict in row.verdicts)
    each = result.lots_each or 0.0
    return [
        f"By lot: {', '.join(counts)}; of the {len(harmless)} harmless variants {alarms} refuted. Each verdict at "
        f"level {up(each)}; the chance that any harmless variant is refuted is at most "
        f"{up(total([each] * (2 * len(harmless))))}.",
        "A secret half of 64 candidates (40 of logistic regression) is learned and asked to be deleted; claimed and "
        "true ε are of deleting all of them, at δ = 1e-5. Right: of one model's surest guesses. Hits: models whose "
        "guesses are as good as 2 % of those of a service that deletes. Expected: with three quarters of the "
        "candidates a rehearsed rate of right guesses has a planned power of at least 0.95. Most faults of the noise "
        "alone show too little of who was deleted, and are seen in two worlds.",
    ]


def _wanted(expected: Expectation, power: float) -> str:
    if expected is Expectation.EITHER:
        return f"either ({power:.2f})"
    return str(expected.value).replace("_", " ")
