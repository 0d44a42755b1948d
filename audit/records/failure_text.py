"""What a refuted or undecided audit says where no report is rendered: in an exception or a failed test.

Plain data in, plain text out, from the result alone. Lower bounds are rounded down; claims, p-values and levels up.
"""

from __future__ import annotations

from audit.records.cards import found, plain, spoken, subject
from audit.records.evidence import EventTest, Finding
from audit.records.result import AuditResult
from audit.records.rounding import down, enough_digits, nearest, up
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP

_HEADLINES = {
    Verdict.REFUTED: "a claim is refuted",
    Verdict.INCONCLUSIVE: "could not decide",
    Verdict.NOT_REFUTED: "no claim is refuted",
}
WHY = {
    Reason.CANNOT_BE_REFUTED_AT_THIS_N: "no outcome of so few trials could refute this claim; raise trials",
    Reason.CUT_SHORT: "the run was stopped before all trials were drawn",
    Reason.ATTACK_FAILED: "an attack could not be run",
    Reason.NOT_REPRODUCIBLE: "a control of the sampling failed, and evidence from a broken sampler proves nothing",
    Reason.NOT_TESTED: "a claim before it in the declared order was not refuted, so this one was not tested",
}
_MORE_FREQUENT = {
    Direction.UNLEARNED_FROM_RETRAINED: "after unlearning",
    Direction.RETRAINED_FROM_UNLEARNED: "after retraining",
}


def describe(result: AuditResult) -> str:
    """Return the verdicts of a result with the counts, bounds, claims and levels that they rest on.

    Parameters
    ----------
    result
        Any result; findings that are not refuted are named in one line each.

    Returns
    -------
    str
        Lines for a terminal, the first of which says what happened; without a line break at the end.
    """
    lines = [f"{plain(result.title)}: {_HEADLINES[result.verdict]}"]
    for finding in result.findings:
        lines += _finding(finding, result)
    lines.append(
        f"  Were every claim of this audit true, it would refute any with probability at most "
        f"{up(result.family.significance)} (seed {result.plan.seed}, {result.plan.trials} releases a world)."
    )
    if result.environment.command is not None:
        lines.append(f"  Run it again: {result.environment.command}")
    return "\n".join(lines)


def one_line(result: AuditResult) -> str:
    """Return the verdict of an audit of one claim in one line, with what it could have seen."""
    finding = result.findings[0]
    ceiling = f"; ceiling {up(finding.sandwiches[0].ceiling)}" if finding.sandwiches else ""
    return f"{spoken(finding.verdict)}: {found(finding)}{ceiling} (level {up(result.family.significance)})"


def _finding(finding: Finding, result: AuditResult) -> list[str]:
    about = plain(subject(finding.forget, finding.label))
    lines = [f"  {spoken(finding.verdict)}  {about}: p = {up(finding.p_value)}"]
    if finding.verdict is Verdict.NOT_REFUTED:
        return lines
    lines.append(f"    claimed  {_claim(finding.claim)}, against the reference {finding.claim.reference.value}")
    if finding.reason is not None:
        lines.append(f"    reason   {finding.reason.value}: {WHY[finding.reason]}")
        lines += [f"             {attack}: {message}" for attack, message in sorted(finding.failures.items())]
    if finding.reason is Reason.NOT_REPRODUCIBLE:
        spoiled = [c for c in result.controls if c.forget == finding.forget and c.spoils_verdicts]
        return lines + [f"             {control.name}: {control.message}" for control in spoiled]
    if finding.tests:
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
    return [
        f"    counted  {event} for {counts.k_unlearned} of {counts.n_unlearned} unlearned and "
        f"{counts.k_retrained} of {counts.n_retrained} retrained releases",
        f"    bound    ε ≥ {down(bound.value, digits)} where ε ≤ {up(claimed, digits)} is claimed at "
        f"δ = {nearest(bound.delta)} (more frequent {_MORE_FREQUENT[bound.direction]})",
        f"    level    p = {up(test.p_value)}, tested at {up(finding.level)}",
    ]


def _claim(claim: Claim) -> str:
    guarantee = claim.guarantee
    if isinstance(guarantee, EpsilonDelta):
        return f"ε ≤ {up(guarantee.epsilon)} at δ = {nearest(guarantee.delta)}"
    if isinstance(guarantee, GaussianDP):
        return f"Gaussian DP with μ ≤ {up(guarantee.mu)}"
    return f"a privacy profile of {len(guarantee.epsilons)} rows"
