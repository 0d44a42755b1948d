"""What a verdict says: its sentence, why there is none, and what the audit could have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.records.evidence import Finding, Sandwich
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from reports.audits.words import CONTROLS, claim_text, subject
from reports.page.facts import HARDLY_BELOW
from reports.page.numbers import INFINITE, down, enough_digits, listed, nearest, up
from reports.page.parts import SandwichView


def sentence(
    finding: Finding, view: SandwichView | None, significance: float, delta: float, failed: Sequence[str] = ()
) -> str:
    """Return the verdict in one sentence: what was claimed, of what, what was found, at which level."""
    about = f"The claim about {subject(finding.forget, finding.label)}, {claim_text(finding.claim, delta)},"
    level = f"level {up(finding.level)} a test, {up(significance)} over the whole audit"
    level += f"; smallest p-value {up(finding.p_value)}"
    if finding.verdict is Verdict.INCONCLUSIVE:
        return f"{about} could not be decided: {reason(finding, view, failed)}"
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
    claimed = "no finite ε is claimed" if view.claimed.text == INFINITE else f"ε ≤ {view.claimed.text} is claimed"
    return f"the audit shows ε ≥ {view.bound.text} where {claimed} at δ = {view.delta}"


def failed_controls(result: AuditResult, finding: Finding) -> tuple[str, ...]:
    """Return the names of the controls for which no verdict may rest on a finding's trials."""
    return tuple(
        f"“{CONTROLS[control.name]}”"
        for control in result.controls
        if control.forget == finding.forget and control.spoils_verdicts
    )


def reason(finding: Finding, view: SandwichView | None, failed: Sequence[str] = ()) -> str:
    """Return why a finding is inconclusive, in plain words; ``failed`` names the controls that are to blame."""
    if finding.reason is Reason.CANNOT_BE_REFUTED_AT_THIS_N and view is not None and math.isinf(view.claimed.value):
        return "it promises no finite ε, so there is nothing that any outcome could refute."
    if finding.reason is Reason.CANNOT_BE_REFUTED_AT_THIS_N:
        above = f" (at most ε = {view.ceiling.text} at δ = {view.delta})" if view else ""
        return (
            "what is claimed lies above everything that this many trials could ever show"
            f"{above}, so no outcome could have refuted it; more trials are needed."
        )
    if finding.reason is Reason.CUT_SHORT:
        return "the run was stopped before all of the planned trials were drawn."
    if finding.reason is Reason.ATTACK_FAILED:
        failed = listed(sorted(finding.failures)) or "an attack"
        return f"{failed} could not be run, so the audit is weaker than planned."
    if finding.reason is Reason.NOT_REPRODUCIBLE:
        return (
            f"a control of the sampling failed ({listed(failed) or 'see the controls'}), and evidence from a broken "
            "sampler speaks neither for nor against a claim."
        )
    if finding.reason is Reason.NOT_TESTED:
        return (
            "the plan tests its claims in a declared order, and a claim before this one was not refuted, so this one "
            "was not tested."
        )
    return "no reason was recorded."


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
    if math.isinf(view.detectable.value) and view.delta == "0":
        seen = "At δ = 0 no Gaussian shift has a finite ε, so that no smallest detectable one can be stated"
    elif math.isinf(view.detectable.value):
        seen = "No true ε, however large, would have been refuted with probability 0.8 (alternative: a Gaussian shift)"
    else:
        seen = (
            f"The smallest true ε that this audit would have refuted with probability 0.8 is {view.detectable.text} "
            f"(alternative: a Gaussian shift, at δ = {view.delta})"
        )
    text = f"{seen}; {ceiling}."
    if finding.verdict is Verdict.INCONCLUSIVE:
        text = f"Lower bound all the same: ε ≥ {view.bound.text} (δ = {view.delta}). {text}"
    return text


def unseen(result: AuditResult, finding: Finding) -> str:
    """Return that not even an ignored deletion was noticed, which a NOT REFUTED must not go without; else nothing."""
    if finding.verdict is not Verdict.NOT_REFUTED:
        return ""
    for control in result.controls:
        if control.name == "neglected" and control.forget == finding.forget and not control.as_expected:
            size = f", with {control.n_trials:,} models a world" if control.n_trials else ""
            # The control may be smaller than the audit, which then could have noticed.
            says = "says" if (control.n_trials or 0) >= result.plan.trials else "may say"
            return f"A deletion that was ignored on purpose was not noticed either{size}: this verdict {says} little."
    return ""


def remarks(result: AuditResult, finding: Finding, said: str) -> tuple[str, ...]:
    """Return what a short table leaves out: why a claim could not be decided, or that the audit saw little."""
    if finding.verdict is Verdict.INCONCLUSIVE:
        blamed = [c.message for c in result.controls if c.forget == finding.forget and c.spoils_verdicts]
        return (said, *blamed)
    bounds = [(s.bound.value, s.claimed) for s in finding.sandwiches]
    if finding.verdict is Verdict.REFUTED and bounds and all(bound < claimed for bound, claimed in bounds):
        return ("Refuted by its attacks and rows together: no single lower bound exceeds the claim.",)
    return tuple(text for text in (unseen(result, finding),) if text)


def notes(finding: Finding) -> tuple[str, ...]:
    """Return what a reader must know of a finding besides its verdict."""
    lines = [f"Attack {name} could not be run: {message}" for name, message in sorted(finding.failures.items())]
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
