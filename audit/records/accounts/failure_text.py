"""What a refuted or undecided audit says where no report is rendered: in an exception or a failed test.

Plain data in, plain text out, from the result alone. Lower bounds are rounded down; claims, p-values and levels up.
"""

from __future__ import annotations

from audit.records.accounts.cards import Account, found
from audit.records.accounts.remarks import failed_controls, remarks, why
from audit.records.evidence import EventTest, Finding
from audit.records.verdict import Reason, Verdict, overall
from audit.records.words.phrases import MORE_FREQUENT, bound_text, claim_text, p_text, plain, spoken, subject
from audit.records.words.rounding import down, enough_digits, nearest, up

_HEADLINES = {
    Verdict.REFUTED: "a claim is refuted",
    Verdict.INCONCLUSIVE: "could not decide",
    Verdict.NOT_REFUTED: "no claim is refuted",
}


def describe(account: Account) -> str:
    """Return the verdicts of an audit with the counts, bounds, claims and levels that they rest on.

    Parameters
    ----------
    account
        Of any result; findings that are not refuted are named in one line each.

    Returns
    -------
    str
        Lines for a terminal, the first of which says what happened; without a line break at the end.
    """
    verdict = overall(finding.verdict for finding in account.findings)
    if account.uncovered and verdict is Verdict.NOT_REFUTED:
        verdict = Verdict.INCONCLUSIVE
    lines = [f"{plain(account.title)}: {_HEADLINES[verdict]}"]
    for finding in account.findings:
        lines += _finding(finding, account)
    if account.uncovered or not account.findings:
        lines.append(f"  {account.uncovered} planned tests belong to no finding")
    lines.append(
        f"  Were every claim of this audit true, it would refute any with probability at most "
        f"{up(account.significance)} (seed {account.seed}, {account.trials} releases a world)."
    )
    if account.command is not None:
        lines.append(f"  Run it again: {account.command}")
    return "\n".join(map(plain, lines))


def one_line(finding: Finding, significance: float) -> str:
    """Return the verdict of an audit of one claim in one line, with what it could have seen."""
    ceiling = f"; ceiling {up(finding.quoted.ceiling)}" if finding.quoted else ""
    said = spoken(finding.verdict, is_weak=finding.is_weak)
    return f"{said}: {found(finding)}{ceiling} (level {up(significance)})"


def _finding(finding: Finding, account: Account) -> list[str]:
    about = plain(subject(finding.forget, finding.label))
    floor = min((t.p_value_floor for t in finding.tests if t.p_value_floor is not None), default=None)
    said = spoken(finding.verdict, is_weak=finding.is_weak)
    lines = [f"  {said}  {about}: {p_text(finding.p_value, floor)}"]
    if finding.verdict is not Verdict.INCONCLUSIVE:
        lines += [f"    remark   {plain(text)}" for text in remarks(finding, account.controls, account.trials)]
    if finding.verdict is Verdict.NOT_REFUTED:
        return lines
    claimed = claim_text(finding.claim, finding.quoted.bound.delta if finding.quoted else 0.0)
    lines.append(f"    claimed  {claimed}, against the reference {finding.claim.reference.value}")
    if finding.reason is not None:
        lines.append(f"    reason   {finding.reason.value}: {why(finding, account.controls)}")
        blamed = failed_controls(finding, account.controls)
        lines += [f"             {control.name}: {plain(control.message)}" for control in blamed]
        lines += [f"             {attack}: {plain(text)}" for attack, text in sorted(finding.failures.items())]
    if finding.reason is not Reason.NOT_REPRODUCIBLE and finding.tests:
        lines += _evidence(_strongest(finding), finding)
    return lines


def _strongest(finding: Finding) -> EventTest:
    """Return the rejected test, if any, with the smallest p-value; among equal ones, that of the largest excess."""

    def weakness(test: EventTest) -> tuple[bool, float, float]:
        claimed = finding.claim.epsilon_at(test.bound.delta, test.bound.direction)
        return not test.rejected, test.p_value, claimed - test.bound.value

    return min(finding.tests, key=weakness)


def _evidence(test: EventTest, finding: Finding) -> list[str]:
    """Return what was counted and what follows from it, for one test."""
    bound, counts = test.bound, test.bound.counts
    claimed = finding.claim.epsilon_at(bound.delta, bound.direction)
    digits = enough_digits(bound.value, claimed)
    side = "above" if bound.tail == "upper" else "at most"
    if bound.method == "e_process":
        event = f"{bound.attack} in the event in force at each trial"
    else:
        event = f"{bound.attack} scored {side} {nearest(bound.threshold)}"
    shown = bound_text(down(bound.value, digits), up(claimed, digits), nearest(bound.delta))
    return [
        f"    counted  {event} for {counts.k_unlearned} of {counts.n_unlearned} unlearned and "
        f"{counts.k_retrained} of {counts.n_retrained} retrained releases",
        f"    bound    {shown} ({MORE_FREQUENT[bound.direction]})",
        f"    level    {p_text(test.p_value, test.p_value_floor)}, tested at {up(finding.level)}",
    ]
