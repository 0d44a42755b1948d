"""What the audit found when it checked itself, as a table: each control, or how often each was as expected."""

from __future__ import annotations

from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.words import phrases
from reports.page.numbers import down, nearest, up
from reports.page.parts import NONE, TableView


def each(result: AuditResult) -> TableView:
    """Return what the audit found when it checked itself."""
    rows = tuple(
        (
            phrases.CONTROLS[c.name],
            phrases.subject(c.forget, c.label),
            _outcome(c),
            c.message,
            NONE if c.p_value is None else up(c.p_value),
            NONE if c.level is None else up(c.level),
            NONE if c.n_trials is None else f"{c.n_trials:,}",
            NONE if c.bound is None else f"{down(c.bound.value)} (δ = {nearest(c.bound.delta)})",
        )
        for c in result.controls
    )
    return TableView(
        title="Controls",
        caption="The audit checks itself: two retrained worlds must look alike, a deletion that is ignored should be "
        "seen (it may be out of any audit's reach), the same random stream must give the same releases, and trials "
        "must be independent: no equal releases, no correlation between neighbours, fresh noise at every step.",
        columns=("control", "record", "outcome", "what it found", "p-value", "level", "trials a world", "lower bound"),
        rows=rows,
        numeric=(False, False, False, False, True, True, True, True),
    )


def counted(result: AuditResult) -> TableView:
    """Return how often each control was as expected: for pages with a line a finding."""
    named: dict[str, list[Control]] = {}
    for control in result.controls:
        named.setdefault(phrases.CONTROLS[control.name], []).append(control)
    rows = tuple(
        (
            name,
            str(sum(c.applicable and c.was_tried and c.as_expected for c in found)),
            str(sum(c.applicable and c.was_tried and not c.as_expected for c in found)),
            str(sum(not (c.applicable and c.was_tried) for c in found)),
        )
        for name, found in named.items()
    )
    return TableView(
        title="Controls",
        caption="How often each control of the audit was as it must be, over all deletions; report.json has each.",
        columns=("control", "as expected", "not as expected", "not applicable or not tried"),
        rows=rows,
        numeric=(False, True, True, True),
    )


def _outcome(control: Control) -> str:
    if not control.applicable:
        return "not applicable"
    if not control.was_tried:
        return "not tried"
    if control.name == "neglected":
        return "seen" if control.as_expected else "not seen"
    return "as expected" if control.as_expected else "NOT as expected"
