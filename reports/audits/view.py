"""From a result to the parts of a page: every number rounded, every sentence written, nothing computed anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.records.accounts.remarks import remarks, unseen
from audit.records.evidence import Finding, Roc, Sandwich
from audit.records.result import AuditCollection, AuditResult, Table
from audit.records.verdict import Verdict
from audit.records.words import phrases
from mechanisms.claim import Claim, Direction, EpsilonDelta
from reports.audits import (
    compliance,
    controls,
    distributions,
    histories,
    limits,
    plan_words,
    tables,
    verdict_words,
    withheld,
    words,
)
from reports.page import case, facts
from reports.page.numbers import Number, down, enough_digits, nearest, up
from reports.page.parts import (
    NONE,
    AuditView,
    CodeText,
    FindingDetails,
    FindingView,
    IndexRow,
    PageView,
    SandwichView,
    SummaryRow,
    TableView,
    VerdictView,
    map_text,
    plain,
)

Array = NDArray[np.float64]
# More curves in one picture cannot be told apart.
MAX_CURVES = 4
# Of more findings a page has one line each, and details when asked for them.
MOST_DETAILED = 20
# Events rarer than this are invisible on a linear axis.
RARE = 0.05
# A band and markers thinner than this would lie on top of each other on a square of rates.
NEAR = 0.2


def page(value: AuditResult | AuditCollection, *, details: bool | None = None) -> PageView:
    """Return everything that a report prints, in order.

    Parameters
    ----------
    value
        What was found.
    details
        Whether all numbers of each finding are printed. None for: where there are at most ``MOST_DETAILED``.
    """
    is_collection = isinstance(value, AuditCollection)
    results = value.results if isinstance(value, AuditCollection) else (value,)
    n_findings = sum(len(result.findings) for result in results)
    in_full = n_findings <= MOST_DETAILED if details is None else details
    audits = tuple(_audit(result, f"audit-{i + 1}", in_full=in_full) for i, result in enumerate(results))
    view = PageView(
        title=value.title,
        introduction=_paragraphs(value.introduction) if isinstance(value, AuditCollection) else (),
        headline=words.headline([finding for result in results for finding in result.findings]),
        lead=words.LEAD_GIVEN if all(r.data.is_given for r in results) else words.LEAD,
        is_collection=is_collection,
        case=case.table(value.case, [r.environment.started for r in results]) if is_collection else None,
        folded="" if in_full else words.folded(n_findings),
        index=tuple(_index(r, a) for r, a in zip(results, audits, strict=True)) if is_collection else (),
        index_caption=words.INDEX if len(results) > 1 else "",
        summary=tuple(row for audit in audits for row in _summary(audit)) if is_collection else (),
        summary_caption=words.SUMMARY,
        limits=limits.passages(results, is_collection) + ((withheld.WHY,) if any(r.redaction for r in results) else ()),
        audits=audits,
        tables=tuple(_table(table) for table in value.tables) if isinstance(value, AuditCollection) else (),
        rounding=words.ROUNDING,
    )
    return map_text(view, plain)


def curves(finding: Finding) -> tuple[tuple[Roc, ...], int]:
    """Return the attacks to draw, strongest evidence first, and how many are left out."""
    smallest = {roc.attack: 2.0 for roc in finding.roc}
    for test in finding.tests:
        smallest[test.bound.attack] = min(test.p_value, smallest.get(test.bound.attack, 2.0))
    ordered = sorted(finding.roc, key=lambda roc: smallest[roc.attack])
    return tuple(ordered[:MAX_CURVES]), max(0, len(ordered) - MAX_CURVES)


def band(claim: Claim, rates: Array) -> tuple[Array, Array]:
    """Return the smallest and largest rate among unlearned models that a claim allows, for rates among retrained."""
    way = Direction.UNLEARNED_FROM_RETRAINED
    return 1 - claim.max_tpr(1 - rates, way), claim.max_tpr(rates, way)


def near_diagonal(finding: Finding) -> bool:
    """Return whether everything to draw is so near the diagonal that only the difference of rates can be read."""
    rates = np.linspace(0.05, 0.95, 19)
    low, high = band(finding.claim, rates)
    distances = [float(np.max(high - rates)), float(np.max(rates - low))]
    for roc in curves(finding)[0]:
        k1, k0 = np.asarray(roc.k_unlearned) / roc.n_unlearned, np.asarray(roc.k_retrained) / roc.n_retrained
        distances.append(float(np.max(np.abs(k1 - k0), initial=0.0)))
    return max(distances) < NEAR


def has_rare_events(finding: Finding) -> bool:
    """Return whether a tested event is too rare for a linear picture."""
    rates = []
    for test in finding.tests:
        k1, n1, k0, n0 = test.bound.counts.oriented(test.bound.direction)
        rates += [k1 / n1, k0 / n0, 1 - k1 / n1, 1 - k0 / n0]
    return bool(finding.roc) and any(rate < RARE for rate in rates)


def direction(finding: Finding) -> Direction:
    """Return the direction of the evidence."""
    quoted = finding.quoted
    return finding.claim.directions[0] if quoted is None else quoted.bound.direction


def _is_weak(result: AuditResult) -> bool:
    return result.verdict is Verdict.NOT_REFUTED and any(finding.is_weak for finding in result.findings)


def _audit(result: AuditResult, anchor: str, *, in_full: bool) -> AuditView:
    command = result.environment.command
    findings = tuple(
        _finding(f, result, f"{anchor}-finding-{j + 1}", in_full=in_full) for j, f in enumerate(result.findings)
    )
    return AuditView(
        anchor=anchor,
        title=result.title,
        headline=words.headline(result.findings),
        verdict=words.verdict_view(result.verdict, is_weak=_is_weak(result)),
        case=case.table(result.case, [result.environment.started]),
        compliance=compliance.passages(result),
        method=compliance.method(result),
        annex=compliance.annex(result),
        forest_caption=words.forest_caption(findings),
        findings=findings,
        averages=withheld.averages(result),
        controls=controls.each(result) if in_full else controls.counted(result),
        ledger=tables.ledger(result),
        plan=tables.plan(result),
        data=facts.data(result.data),
        notes=result.data.notes,
        environment=facts.environment(result.environment, result.schema),
        command=CodeText(text=plain(command)) if command else None,
    )


def _index(result: AuditResult, audit: AuditView) -> IndexRow:
    return IndexRow(
        audit=audit.title,
        verdict=audit.verdict,
        found=audit.headline,
        data=plan_words.data_named(result.data),
        significance=up(result.plan.significance),
        seed=str(result.plan.seed),
        anchor=audit.anchor,
    )


def _finding(finding: Finding, result: AuditResult, anchor: str, *, in_full: bool) -> FindingView:
    if result.redaction is not None:
        return withheld.finding(finding, result, anchor)
    made_at = _made_at(finding.claim, result)
    view = None if finding.quoted is None else _sandwich(finding.quoted, made_at)
    elsewhere = finding.quoted is not None and finding.quoted.bound.delta != made_at
    rows = [s for s in finding.sandwiches if s.bound.delta == made_at] if elsewhere else []
    strength = (
        verdict_words.strength(finding, view, result.plan.significance),
        phrases.WEAK if finding.is_weak else "",
        unseen(finding, result.controls, result.plan.trials),
    )
    return FindingView(
        anchor=anchor,
        heading=phrases.upper_first(phrases.subject(finding.forget, finding.label)),
        claim=phrases.upper_first(phrases.claim_text(finding.claim, result.plan.delta)),
        verdict=words.verdict_view(finding.verdict, is_weak=finding.is_weak),
        sentence=verdict_words.sentence(finding, view, result),
        strength=" ".join(text for text in strength if text),
        remarks=remarks(finding, result.controls, result.plan.trials),
        fired=distributions.fired(finding),
        notes=verdict_words.notes(finding),
        quoted=view,
        made=_sandwich(rows[0], made_at) if rows else None,
        details=_details(finding, made_at) if in_full else None,
    )


def _made_at(claim: Claim, result: AuditResult) -> float:
    """Return the delta where a claim was made: its own, or the plan's where it is about every delta."""
    return claim.guarantee.delta if isinstance(claim.guarantee, EpsilonDelta) else result.plan.delta


def _details(finding: Finding, made_at: float) -> FindingDetails:
    ordered = sorted(finding.sandwiches, key=lambda sandwich: sandwich.bound.delta != made_at)
    sandwiches = tuple(_sandwich(sandwich, made_at) for sandwich in ordered)
    is_elsewhere = any(s.role == "claim_row" and s.bound.delta != made_at for s in ordered)
    shown, hidden = curves(finding)
    return FindingDetails(
        records=tuple(facts.record_view(preview, "Deleted record") for preview in finding.preview),
        parameters=tables.parameters(finding),
        sandwiches=sandwiches,
        sandwich_table=tables.sandwiches(sandwiches, is_elsewhere=is_elsewhere),
        sandwich_caption=words.sandwich_caption(any(s.exact for s in sandwiches)) if sandwiches else "",
        trade_off_caption=words.trade_off_caption(shown, hidden, near_diagonal(finding)),
        rare_caption=words.rare_caption(direction(finding)) if has_rare_events(finding) else "",
        history=histories.history(finding),
        histograms=distributions.histograms(finding),
        tests_summary=tables.tests_summary(finding),
        tests=tables.tests(finding),
        estimates=tables.estimates(finding),
        certificates=tables.certificates(finding),
    )


def _sandwich(sandwich: Sandwich, made_at: float) -> SandwichView:
    bound, exact = sandwich.bound, sandwich.exact
    others = (sandwich.claimed,) if exact is None else (sandwich.claimed, exact)
    digits = enough_digits(bound.value, *others)
    return SandwichView(
        title=words.sandwich_title(sandwich, made_at),
        delta=nearest(bound.delta),
        bound=Number(value=bound.value, text=down(bound.value, digits)),
        exact=None if exact is None else Number(value=exact, text=up(exact, digits)),
        claimed=Number(value=sandwich.claimed, text=up(sandwich.claimed, digits)),
        detectable=Number(value=sandwich.detectable_epsilon, text=up(sandwich.detectable_epsilon)),
        ceiling=Number(value=sandwich.ceiling, text=up(sandwich.ceiling)),
        level=up(bound.level),
        shown_by=f"{bound.attack} ({tables.counts_text(bound.counts)}; {phrases.MORE_FREQUENT[bound.direction]})",
    )


def _summary(audit: AuditView) -> Sequence[SummaryRow]:
    rows = []
    for finding in audit.findings:
        first = finding.made or finding.quoted
        rows.append(_summary_row(audit, finding, finding.heading, first, finding.verdict))
        if finding.made is not None:
            rows.append(_summary_row(audit, finding, f"{finding.heading}, {words.ELSEWHERE}", finding.quoted, None))
    return rows


def _summary_row(
    audit: AuditView, finding: FindingView, record: str, row: SandwichView | None, verdict: VerdictView | None
) -> SummaryRow:
    return SummaryRow(
        audit=audit.title,
        record=record,
        claimed=row.claimed.text if row else NONE,
        bound=row.bound.text if row else NONE,
        exact=row.exact.text if row and row.exact else NONE,
        detectable=row.detectable.text if row else NONE,
        ceiling=row.ceiling.text if row else NONE,
        delta=row.delta if row else NONE,
        verdict=verdict,
        anchor=finding.anchor,
    )


def _table(table: Table) -> TableView:
    return TableView(
        title=table.title, caption=table.caption, columns=table.columns, rows=table.rows, numeric=_numeric(table)
    )


def _numeric(table: Table) -> tuple[bool, ...]:
    """A column of figures is set flush right: every cell starts with a digit, sign or dash."""
    columns = range(len(table.columns))
    return tuple(
        bool(table.rows)
        and all(
            (len(row) > j and row[j][:1].isdigit()) or (len(row) > j and row[j][:1] in "-–∞.") for row in table.rows
        )
        for j in columns
    )


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(block.strip() for block in text.split("\n\n") if block.strip())
