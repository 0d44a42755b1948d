"""A claim is shown first where it was made; where the audit counted elsewhere, that row is second and says why."""

from __future__ import annotations

import dataclasses
import re

from audit.records.evidence import Finding
from audit.records.result import AuditResult
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP
from reports.audits import html, markdown, terminal
from reports.audits.view import page
from tests.unit.page_checks import html_text, unescaped
from tests.unit.report_cases import many


def elsewhere() -> AuditResult:
    """One record whose claim is counted at a delta of the audit's choice, which is not the plan's."""
    made = many(1)
    finding = made.findings[0]
    deltas = [row.bound.delta for row in finding.sandwiches]
    assert len(deltas) == 2
    assert deltas[0] != made.plan.delta == deltas[1]
    assert finding.quoted is finding.sandwiches[0]
    return made


def with_claim(made: AuditResult, claim: Claim) -> AuditResult:
    findings: tuple[Finding, ...] = tuple(dataclasses.replace(f, claim=claim) for f in made.findings)
    return dataclasses.replace(made, findings=findings)


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if "ε ≤" in line and "δ =" in line and "│" not in line]


def test_the_terminal_shows_the_claim_where_it_was_made_and_then_where_it_was_counted() -> None:
    made = elsewhere()
    text = terminal.summary(made, width=140)
    first, second = rows_of(text)[:2]
    plan, counted = made.findings[0].sandwiches[1], made.findings[0].sandwiches[0]
    assert first.lstrip().startswith("Record 0")
    assert "δ = 1e-5" in first
    assert re.search("REFUTED", first)
    assert second.split()[:2] == ["counted", "at"]
    assert f"δ = {counted.bound.delta:.4g}" in second
    assert "REFUTED" not in second
    assert f"{plan.bound.value:.3g}"[:3] in first
    assert "A claim about every δ is tested at the δ where so many models can see most" in " ".join(text.split())


def test_a_claim_that_was_counted_where_it_was_made_has_one_row() -> None:
    made = elsewhere()
    at = made.findings[0].sandwiches[0].bound.delta
    same = with_claim(made, Claim(guarantee=EpsilonDelta(epsilon=0.3, delta=at)))
    text = terminal.summary(same, width=140)
    assert len(rows_of(text)) == 1
    assert "counted at" not in text
    titles = [s.title for s in page(same).audits[0].findings[0].details.sandwiches]  # type: ignore[union-attr]
    assert titles[0].endswith("where the claim was made")
    assert titles[1].endswith("at the plan's δ")


def test_pages_show_the_row_of_the_claim_first() -> None:
    made = with_claim(elsewhere(), Claim(guarantee=GaussianDP(mu=0.5)))
    view = page(made).audits[0].findings[0]
    assert view.details is not None
    assert view.details.sandwiches[0].delta == "1e-5"
    assert [row[0] for row in view.details.sandwich_table.rows] == [s.title for s in view.details.sandwiches]
    for text in (unescaped(html_text(html.render(made))), unescaped(markdown.render(made))):
        first, second = text.find("where the claim was made"), text.find("where this audit has power")
        assert 0 < first < second
        assert "can see most" in text


def test_exact_is_said_to_be_that_of_the_claim() -> None:
    made = elsewhere()
    assert any(row.exact is not None for row in made.findings[0].sandwiches)
    view = page(made).audits[0].findings[0]
    assert view.details is not None
    assert "exact ε of the claim" in view.details.sandwich_table.columns
    text = " ".join(terminal.summary(made, width=140).split())
    assert "exact*" in text
    assert "* Exact: of the mechanism that is claimed, not of the one that was audited." in text
    none = dataclasses.replace(
        made,
        findings=tuple(
            dataclasses.replace(f, sandwiches=tuple(dataclasses.replace(s, exact=None) for s in f.sandwiches))
            for f in made.findings
        ),
    )
    assert "Exact: of the mechanism" not in " ".join(terminal.summary(none, width=140).split())
