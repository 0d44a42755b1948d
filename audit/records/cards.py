"""How a result shows itself where it was computed: a few lines in a terminal, a small card in a notebook.

Full reports are the work of ``reports``, which imports this package; so what is here rests on the result alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from audit.records.rounding import INFINITE, counted, down, enough_digits, listed, nearest, up
from audit.records.verdict import Verdict

if TYPE_CHECKING:
    from audit.records.evidence import Finding
    from audit.records.result import AuditCollection, AuditResult

MARKS = {Verdict.REFUTED: "✕", Verdict.NOT_REFUTED: "○", Verdict.INCONCLUSIVE: "?"}
# Colour and border: the verdict is said in words, and no two share a border.
STYLES = {
    Verdict.REFUTED: ("#a3260f", "solid"),
    Verdict.NOT_REFUTED: ("#0b5394", "double"),
    Verdict.INCONCLUSIVE: ("#6d4c00", "dashed"),
}
REMINDER = "A lower bound is no proof that a claim is true."


def subject(forget: Sequence[int], label: str) -> str:
    """Return "record 757 (hardest)"; or "deletion 2" where records were withheld, which are negative numbers."""
    if not forget:
        return label or "the audited deletion"
    if forget[0] < 0:
        return f"deletion {-forget[0]}"
    shown = [str(record) for record in forget[:4]]
    if len(forget) > 4:
        shown.append(f"{len(forget) - 4} more")
    words = f"{'record' if len(forget) == 1 else 'records'} {listed(shown)}"
    return f"{words} ({label})" if label else words


def spoken(verdict: Verdict) -> str:
    """Return "✕ REFUTED"."""
    return f"{MARKS[verdict]} {verdict.value.upper().replace('_', ' ')}"


def counts_of(verdicts: Sequence[Verdict]) -> str:
    """Return "3 claims: 1 refuted, 2 not refuted"."""
    parts = [f"{verdicts.count(v)} {v.value.replace('_', ' ')}" for v in Verdict if v in verdicts]
    return f"{counted(len(verdicts), 'claim')}: {listed(parts)}"


def as_line(result: AuditResult | AuditCollection) -> str:
    """Return one line for a prompt."""
    return f"<{type(result).__name__} {result.title!r}: {counts_of([f.verdict for f in result.findings])}>"


def as_text(result: AuditResult | AuditCollection) -> str:
    """Return a heading and one line a finding, for ``print``."""
    lines = []
    for audit in _results(result):
        width = max((len(spoken(f.verdict)) for f in audit.findings), default=0)
        lines.append(f"{plain(audit.title)}: {counts_of([f.verdict for f in audit.findings])}")
        for finding in audit.findings:
            about = plain(subject(finding.forget, finding.label))
            lines.append(f"  {spoken(finding.verdict):<{width}}  {about}: {found(finding)}")
        lines.append(f"  {_footing(audit)}")
    return "\n".join(lines)


def as_card(result: AuditResult | AuditCollection) -> str:
    """Return the same as a small piece of HTML without scripts or addresses, for a notebook."""
    parts = []
    for audit in _results(result):
        rows = "".join(_row(finding) for finding in audit.findings)
        parts.append(
            f'<div style="font-family:sans-serif;max-width:60rem;margin:.5rem 0">'
            f"<strong>{_html(audit.title)}</strong><br>{_html(counts_of([f.verdict for f in audit.findings]))}"
            f'<ul style="list-style:none;margin:.5rem 0;padding:0">{rows}</ul>'
            f"<small>{_html(_footing(audit))} <code>reports.write(result, folder)</code> writes the full report."
            "</small></div>"
        )
    return "".join(parts)


def found(finding: Finding) -> str:
    """Return what was shown where what is claimed: at the contradicted row, or where the audit has power."""
    if not finding.sandwiches:
        return "numbers withheld" if finding.forget and finding.forget[0] < 0 else "no lower bound"
    shown = next((s for s in finding.sandwiches if s.bound.value > s.claimed), finding.sandwiches[0])
    digits = enough_digits(shown.bound.value, shown.claimed)
    claimed = up(shown.claimed, digits)
    promise = "no finite ε is claimed" if claimed == INFINITE else f"ε ≤ {claimed} is claimed"
    bound, delta = down(shown.bound.value, digits), nearest(shown.bound.delta)
    text = f"ε ≥ {bound} where {promise} at δ = {delta}"
    if finding.verdict is Verdict.REFUTED and shown.bound.value <= shown.claimed:
        text = (
            f"ε > {bound} where {promise} at δ = {delta}"
            if shown.bound.value == shown.claimed
            else f"its tests together contradict the claim (ε ≤ {claimed} at δ = {delta}); no single bound exceeds it "
            f"(largest: {bound})"
        )
    if finding.verdict is Verdict.NOT_REFUTED:
        text += f"; detectable from ε = {up(shown.detectable_epsilon)}"
    if finding.reason is not None:
        text += f" ({finding.reason.value.replace('_', ' ')})"
    return text


def _results(result: AuditResult | AuditCollection) -> tuple[AuditResult, ...]:
    from audit.records.result import AuditCollection

    return result.results if isinstance(result, AuditCollection) else (result,)


def _footing(audit: AuditResult) -> str:
    significance = up(audit.plan.significance)
    return f"A true claim is refuted with probability at most {significance}, over all tests. {REMINDER}"


def _row(finding: Finding) -> str:
    colour, border = STYLES[finding.verdict]
    return (
        f'<li style="border-left:.35rem {border} {colour};padding:.2rem .6rem;margin:.25rem 0">'
        f'<strong style="color:{colour}">{spoken(finding.verdict)}</strong> '
        f"{_html(subject(finding.forget, finding.label))}: {_html(found(finding))}</li>"
    )


def _html(text: str) -> str:
    return escape(plain(text), quote=True)


def plain(text: str) -> str:
    """Return text on one line without control characters: names are data, and a terminal obeys what it is sent."""
    return "".join(c if c.isprintable() else " " for c in text)
