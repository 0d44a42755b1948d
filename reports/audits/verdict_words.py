"""What a verdict says: its sentence, why there is none, and what the audit could have seen."""

from __future__ import annotations

import math

from audit.records.accounts.remarks import why
from audit.records.evidence import Finding, Sandwich
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.records.words import phrases
from reports.page.facts import HARDLY_BELOW
from reports.page.numbers import down, enough_digits, nearest, up
from reports.page.parts import SandwichView

# Chunks that a page names.
MOST_FAILED = 3


def sentence(finding: Finding, view: SandwichView | None, result: AuditResult) -> str:
    """Return the verdict in one sentence: what was claimed, of what, what was found, at which level."""
    claimed = phrases.claim_text(finding.claim, result.plan.delta)
    about = f"The claim about {phrases.subject(finding.forget, finding.label)}, {claimed},"
    level = f"level {up(finding.level)} a test, {up(result.plan.significance)} over the whole audit"
    floors = [test.p_value_floor for test in finding.tests if test.p_value_floor is not None]
    level += "" if finding.independence_checked else f"; {phrases.UNCHECKED}"
    level += f"; smallest p-value {phrases.p_text(finding.p_value, min(floors, default=None)).removeprefix('p = ')}"
    if finding.verdict is Verdict.INCONCLUSIVE:
        return f"{about} could not be decided: {why(finding, result.controls)}"
    if finding.verdict is Verdict.NOT_REFUTED:
        return f"{about} is not refuted: {_compared(view)} ({level})."
    exceeded = view is not None and view.bound.value > view.claimed.value
    shown = _compared(view) if exceeded else "an event contradicts it"
    if finding.history is not None and not exceeded:
        shown = _decided_at_once(finding, view)
    return f"{about} is refuted: {shown} ({level})."


def _decided_at_once(finding: Finding, view: SandwichView | None) -> str:
    """Return what refuted a claim at the very look at which the audit stopped: no larger ε is refuted yet."""
    if view is not None and view.bound.value == view.claimed.value and any(test.rejected for test in finding.tests):
        return f"the audit shows ε > {view.bound.text}, which is what is claimed at δ = {view.delta}, and then stopped"
    return "its attacks and rows together contradict it"


def _compared(view: SandwichView | None) -> str:
    if view is None:
        return "no event contradicts it"
    return f"the audit shows {phrases.bound_text(view.bound.text, view.claimed.text, view.delta)}"


def strength(finding: Finding, view: SandwichView | None, significance: float) -> str:
    """Return what the audit could have seen: the sentence without which NOT REFUTED means nothing."""
    if finding.verdict is Verdict.REFUTED:
        return (
            f"Were every claim of this audit true, it would have refuted any of them with probability at most "
            f"{up(significance)}."
        )
    if view is None:
        return "No attack could be run: there is no lower bound."
    if finding.reason is Reason.NOT_REPRODUCIBLE:
        return f"Counted nevertheless: ε ≥ {view.bound.text}, where {view.claimed.text} is claimed (δ = {view.delta})."
    ceiling = f"no outcome of its trials could have shown more than ε = {view.ceiling.text} (the ceiling)"
    is_pure = view.delta == "0"
    if math.isinf(view.detectable.value) and is_pure:
        seen = "At δ = 0 no Gaussian shift has a finite ε, so that no smallest detectable one can be stated"
    elif math.isinf(view.detectable.value):
        seen = "No true ε, however large, would have been refuted with probability 0.8 (alternative: a Gaussian shift)"
    else:
        seen = (
            f"The smallest true ε that this audit would have refuted with probability 0.8 is {view.detectable.text} "
            f"(alternative: {phrases.alternative(0.0 if is_pure else 1.0)}; δ = {view.delta})"
        )
    text = f"{seen}; {ceiling}."
    if finding.verdict is Verdict.INCONCLUSIVE:
        text = f"Lower bound all the same: ε ≥ {view.bound.text} (δ = {view.delta}). {text}"
    return text


def notes(finding: Finding) -> tuple[str, ...]:
    """Return what a reader must know of a finding besides its verdict."""
    lines = [f"Attack {name} could not be run: {message}" for name, message in sorted(finding.failures.items())]
    lines += [f"Chunk that failed, twice: {chunk.message}" for chunk in finding.failed_chunks[:MOST_FAILED]]
    if len(finding.failed_chunks) > MOST_FAILED:
        lines.append(f"and {len(finding.failed_chunks) - MOST_FAILED:,} more chunks; the JSON file names all.")
    if finding.reason is not Reason.NOT_REPRODUCIBLE:
        lines += [_above_exact(s) for s in finding.sandwiches if s.exact is not None and s.bound.value > s.exact]
    for certificate in finding.certificates:
        alone = certificate.epsilon_without_unlearning
        if alone is not None and math.isfinite(alone) and certificate.epsilon >= HARDLY_BELOW * alone:
            below, share = ("hardly", "nearly all of it") if certificate.epsilon < alone else ("not", "more")
            lines.append(
                f"The {certificate.method} certificate (ε = {up(certificate.epsilon)}) is {below} below ε without "
                f"unlearning ({up(alone)}): the learning noise alone does {share}, so this certificate says next to "
                "nothing of the unlearning."
            )
    return tuple(lines)


def _above_exact(sandwich: Sandwich) -> str:
    bound, exact = sandwich.bound, sandwich.exact or 0.0
    digits = enough_digits(bound.value, exact)
    return (
        f"The lower bound {down(bound.value, digits)} (level {up(bound.level)}) exceeds the exact ε "
        f"{up(exact, digits)} that the certificate states at δ = {nearest(bound.delta)}: what was sampled is not "
        "what the certificate describes, or the certificate is wrong."
    )
