"""The findings as a short table of plain text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.records.result import AuditCollection, AuditResult
from audit.records.words.phrases import WEAK
from reports.audits.histories import STOPPING
from reports.audits.view import page
from reports.audits.words import CEILING, DETECTABLE, ESTIMATES, EXACT, WHY_ELSEWHERE
from reports.page.parts import NONE, AuditView, FindingView, SandwichView, TableView
from reports.page.terminal import printed, shown_case

# Of the second row of a finding, which a note explains.
COUNTED = "counted at"
# A remark about more findings than this does not name them.
MOST_NAMED = 8


def summary(value: AuditResult | AuditCollection, *, width: int = 120) -> str:
    """Return one line a finding: record, what is claimed, lower bound, exact epsilon, verdict.

    A claim that was counted elsewhere than it was made has a second line.

    Parameters
    ----------
    value
        What was found.
    width
        Columns of the terminal.
    """
    whole = page(value)
    parts = shown_case(whole.case)
    for audit in whole.audits:
        parts += [audit.title, *shown_case(audit.case), _table(audit), audit.headline]
        parts += _remarks(audit)
        parts += [f"Note on the data: {note}" for note in audit.notes]
        told = [(f.heading, f.details) for f in audit.findings if f.details]
        histories = [f"{heading}: {details.history.stopping}." for heading, details in told if details.history]
        parts += [*histories, STOPPING] if histories else []
        estimates = [(heading, details.estimates) for heading, details in told if details.estimates.rows]
        parts += ["", ESTIMATES, _estimates(audit.title, estimates)] if estimates else []
    found = [finding for audit in whole.audits for finding in audit.findings]
    notes = (
        (WHY_ELSEWHERE, any(finding.made for finding in found)),
        (f"* {EXACT}", _states_exact(found)),
        (DETECTABLE, True),
        (CEILING, True),
        (WEAK, any(finding.is_weak for finding in value.findings)),
    )
    return printed([*parts, *(note for note, is_needed in notes if is_needed)], width)


def _table(audit: AuditView) -> TableView:
    exact = "exact*" if _states_exact(audit.findings) else "exact"
    columns = ("record", "claimed", "lower bound", exact, "detectable", "ceiling", "verdict")
    return TableView(
        title=audit.title,
        caption="",
        columns=columns,
        rows=tuple(row for finding in audit.findings for row in _rows(finding)),
        numeric=tuple(name not in ("record", "claimed", "verdict") for name in columns),
    )


def _states_exact(findings: Sequence[FindingView]) -> bool:
    return any(row.exact for finding in findings for row in (finding.made, finding.quoted) if row)


def _remarks(audit: AuditView) -> list[str]:
    """Each remark once, after the names of the findings that it is about, or after their number where they are many."""
    about: dict[str, list[str]] = {}
    for finding in audit.findings:
        for remark in finding.remarks:
            about.setdefault(remark, []).append(finding.heading)
    return [f"{_named(headings)}: {remark}" for remark, headings in about.items()]


def _named(headings: Sequence[str]) -> str:
    return ", ".join(headings) if len(headings) <= MOST_NAMED else f"{len(headings):,} findings"


def _estimates(title: str, found: Sequence[tuple[str, TableView]]) -> TableView:
    """The estimates of each finding's attack with the strongest evidence."""
    first = found[0][1]
    return TableView(
        title=title,
        caption="",
        columns=("record", *first.columns),
        rows=tuple((heading, *estimates.rows[0]) for heading, estimates in found),
        numeric=(False, *first.numeric),
    )


def _rows(finding: FindingView) -> list[tuple[str, ...]]:
    """Return the row where the claim was made, and below it the one where it was counted, where that is another."""
    verdict = f"{finding.verdict.symbol} {finding.verdict.text}"
    if finding.quoted is None:
        return [(finding.heading, finding.claim, NONE, NONE, NONE, NONE, verdict)]
    is_refuted = finding.verdict.key == "refuted"
    if finding.made is None:
        return [(finding.heading, *_cells(finding.quoted, is_refuted), verdict)]
    return [
        (finding.heading, *_cells(finding.made, False), verdict),
        (f"  {COUNTED}", *_cells(finding.quoted, is_refuted), ""),
    ]


def _cells(view: SandwichView, is_refuted: bool) -> tuple[str, ...]:
    epsilon = "no finite ε" if math.isinf(view.claimed.value) else f"ε ≤ {view.claimed.text}"
    claimed = f"{epsilon}, δ = {view.delta}"
    exact = view.exact.text if view.exact else NONE
    # Stopped at the very look that refuted the claim itself: no larger epsilon is refuted yet.
    just = is_refuted and view.bound.value == view.claimed.value
    bound = f"> {view.bound.text}" if just else view.bound.text
    return claimed, bound, exact, view.detectable.text, view.ceiling.text
