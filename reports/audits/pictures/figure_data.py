"""The figures of a report as data: long tables in CSV, one row a drawn mark, every number in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from audit.records.evidence import Finding
from audit.records.result import AuditCollection, AuditResult
from audit.records.words import phrases
from reports.audits.pictures import figures
from reports.page.parts import plain

FOLDER = "report-data"
# All that a report may write; a file that one report has no rows for is removed when it replaces another report.
HEADS = {
    "epsilon.csv": (
        *("role", "delta", "direction", "lower_bound", "exact", "claimed", "detectable", "ceiling", "level"),
        *("attack", "method"),
    ),
    "rates.csv": ("attack", "event", "threshold", "k_unlearned", "n_unlearned", "k_retrained", "n_retrained"),
    "bands.csv": ("figure", "law", "rate_horizontal", "lowest_rate", "highest_rate"),
    "histograms.csv": ("attack", "member", "from", "to", "unlearned", "retrained"),
    "history.csv": ("pairs", "p_value", "role", "delta", "attack", "claimed", "lower_bound"),
}
ABOUT = ("finding", "audit", "about", "verdict")
Rows = Iterable[Sequence[object]]


def figure_data(value: AuditResult | AuditCollection) -> dict[str, str]:
    """Return CSV text by path relative to the page; a file without rows is left out.

    The column ``finding`` is the anchor of the finding in the page.
    """
    results = value.results if isinstance(value, AuditCollection) else (value,)
    tables: dict[str, list[Sequence[object]]] = {name: [] for name in HEADS}
    for i, result in enumerate(results):
        for j, finding in enumerate(result.findings):
            about = phrases.subject(finding.forget, finding.label)
            head = (f"audit-{i + 1}-finding-{j + 1}", result.title, about, finding.verdict.value)
            for name, rows in _rows(finding).items():
                tables[name] += [(*head, *row) for row in rows]
    return {f"{FOLDER}/{name}": as_csv((*ABOUT, *HEADS[name]), rows) for name, rows in tables.items() if rows}


def as_csv(columns: Sequence[str], rows: Rows) -> str:
    """Return CSV text. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    buffer = io.StringIO()
    # The csv module writes a float as its repr, which reads back as the same float.
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = " ".join(plain(value).split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _rows(finding: Finding) -> dict[str, Rows]:
    return {
        "epsilon.csv": _epsilon(finding),
        "rates.csv": _rates(finding),
        "bands.csv": figures.band_rows(finding),
        "histograms.csv": _histograms(finding),
        "history.csv": _history(finding),
    }


def _epsilon(finding: Finding) -> Rows:
    for s in finding.sandwiches:
        bound = s.bound
        numbers = (bound.value, s.exact, s.claimed, s.detectable_epsilon, s.ceiling, bound.level)
        yield (s.role, bound.delta, bound.direction.value, *numbers, bound.attack, bound.method)


def _rates(finding: Finding) -> Rows:
    for roc in finding.roc:
        for threshold, k1, k0 in zip(roc.thresholds, roc.k_unlearned, roc.k_retrained, strict=True):
            yield (roc.attack, "score above", threshold, k1, roc.n_unlearned, k0, roc.n_retrained)
    for test in finding.tests:
        counts, tail = test.bound.counts, "above" if test.bound.tail == "upper" else "at most"
        k1, k0 = counts.k_unlearned, counts.k_retrained
        event = f"tested ({test.role}): score {tail}"
        yield (test.bound.attack, event, test.bound.threshold, k1, counts.n_unlearned, k0, counts.n_retrained)


def _histograms(finding: Finding) -> Rows:
    for h in finding.histograms:
        for low, high, k1, k0 in zip(h.edges, h.edges[1:], h.unlearned, h.retrained, strict=False):
            yield (h.attack, h.member, low, high, k1, k0)


def _history(finding: Finding) -> Rows:
    found = finding.history
    if found is None:
        return
    for curve in found.curves:
        for pairs, p_value, bound in zip(found.pairs, found.p_values, curve.bounds, strict=True):
            yield (pairs, p_value, curve.role, curve.delta, curve.attack, curve.claimed, bound)
