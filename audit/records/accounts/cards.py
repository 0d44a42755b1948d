"""How a result shows itself where it was computed: a few lines in a terminal, a small card in a notebook.

Full reports are the work of ``reports``, which imports this package; so what is here rests on the result alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from audit.records.accounts.remarks import remarks
from audit.records.evidence import Finding
from audit.records.ledger import Control
from audit.records.verdict import Verdict
from audit.records.words.phrases import (
    REMINDER,
    UNCHECKED,
    WEAK,
    bound_text,
    detectable_text,
    plain,
    promise,
    spoken,
    subject,
    tally,
)
from audit.records.words.rounding import counted, down, enough_digits, nearest, up

# Colour and border: the verdict is said in words, and no two share a border.
STYLES = {
    Verdict.REFUTED: ("#a3260f", "solid"),
    Verdict.NOT_REFUTED: ("#0b5394", "double"),
    Verdict.INCONCLUSIVE: ("#6d4c00", "dashed"),
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a short account of one audit is made of.

    Parameters
    ----------
    title, findings, controls
        As in the result.
    significance, trials, seed
        Of its plan.
    command
        That runs it again, where there is one.
    uncovered
        Planned tests that no finding is about.
    """

    title: str
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    significance: float
    trials: int
    seed: int
    command: str | None
    uncovered: int = 0


def as_line(kind: str, title: str, findings: Sequence[Finding]) -> str:
    """Return one line for a prompt."""
    return f"<{kind} {title!r}: {claims(findings)}>"


def as_text(accounts: Sequence[Account]) -> str:
    """Return a heading, one line a finding with what must not be left out of it, and what the verdicts rest on."""
    lines = []
    for account in accounts:
        width = max((len(_spoken(finding)) for finding in account.findings), default=0)
        lines.append(f"{plain(account.title)}: {claims(account.findings)}")
        for finding in account.findings:
            about = plain(subject(finding.forget, finding.label))
            lines.append(f"  {_spoken(finding):<{width}}  {about}: {found(finding)}")
            lines += [f"  {'':<{width}}  {plain(said)}" for said in _remarks(finding, account)]
        lines.append(f"  {_footing(account)}")
    return "\n".join(lines)


def as_card(accounts: Sequence[Account]) -> str:
    """Return the same as a small piece of HTML without scripts or addresses, for a notebook."""
    parts = []
    for account in accounts:
        rows = "".join(_row(finding, account) for finding in account.findings)
        parts.append(
            f'<div style="font-family:sans-serif;max-width:60rem;margin:.5rem 0">'
            f"<strong>{_html(account.title)}</strong><br>{_html(claims(account.findings))}"
            f'<ul style="list-style:none;margin:.5rem 0;padding:0">{rows}</ul>'
            f"<small>{_html(_footing(account))} <code>reports.write(result, folder)</code> writes the full report."
            "</small></div>"
        )
    return "".join(parts)


def claims(findings: Sequence[Finding]) -> str:
    """Return "3 claims: 1 refuted and 2 not refuted (1 weak)"."""
    verdicts = [finding.verdict for finding in findings]
    return f"{counted(len(findings), 'claim')}: {tally(verdicts, sum(finding.is_weak for finding in findings))}"


def found(finding: Finding) -> str:
    """Return what was shown where what is claimed: at the contradicted row, or where the audit has power."""
    quoted = finding.quoted
    if quoted is None:
        return "numbers withheld" if finding.forget and finding.forget[0] < 0 else "no lower bound"
    digits = enough_digits(quoted.bound.value, quoted.claimed)
    claimed, bound, delta = up(quoted.claimed, digits), down(quoted.bound.value, digits), quoted.bound.delta
    if finding.verdict is Verdict.REFUTED and quoted.bound.value < quoted.claimed:
        return (
            f"its tests together contradict the claim ({promise(claimed)} at δ = {nearest(delta)}); no single bound "
            f"exceeds it (largest: {bound}){_unchecked(finding)}"
        )
    is_just = finding.verdict is Verdict.REFUTED and quoted.bound.value == quoted.claimed
    text = bound_text(bound, claimed, nearest(delta), excludes_bound=is_just)
    if finding.verdict is Verdict.NOT_REFUTED:
        text += f"; {detectable_text(quoted.detectable_epsilon, delta)}"
    return f"{text}{_unchecked(finding)}"


def _unchecked(finding: Finding) -> str:
    return "" if finding.independence_checked else f"; {UNCHECKED}"


def _spoken(finding: Finding) -> str:
    return spoken(finding.verdict, is_weak=finding.is_weak)


def _remarks(finding: Finding, account: Account) -> tuple[str, ...]:
    return remarks(finding, account.controls, account.trials)


def _footing(account: Account) -> str:
    weak = f" {WEAK}" if any(finding.is_weak for finding in account.findings) else ""
    significance = up(account.significance)
    return f"A true claim is refuted with probability at most {significance}, over all tests. {REMINDER}{weak}"


def _row(finding: Finding, account: Account) -> str:
    colour, border = STYLES[finding.verdict]
    said = "".join(f"<br>{_html(text)}" for text in _remarks(finding, account))
    return (
        f'<li style="border-left:.35rem {border} {colour};padding:.2rem .6rem;margin:.25rem 0">'
        f'<strong style="color:{colour}">{_spoken(finding)}</strong> '
        f"{_html(subject(finding.forget, finding.label))}: {_html(found(finding))}{said}</li>"
    )


def _html(text: str) -> str:
    return escape(plain(text), quote=True)
