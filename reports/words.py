"""The sentences of a report. Three verdicts, and no word that would make more of them than they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.cards import subject as subject
from audit.evidence import Finding, Roc, Sandwich
from audit.ledger import Family
from audit.plan import Bonferroni, Holm
from audit.result import AuditResult
from audit.verdict import Reason, Verdict
from mechanisms.claim import Certificate, Claim, Direction, EpsilonDelta, GaussianDP, Reference
from reports import plan_words
from reports.numbers import INFINITE, counted, down, enough_digits, listed, nearest, up
from reports.parts import Passage, SandwichView, VerdictView

VERDICTS = {
    Verdict.REFUTED: VerdictView(key="refuted", text="REFUTED", symbol="✕"),
    Verdict.NOT_REFUTED: VerdictView(key="not_refuted", text="NOT REFUTED", symbol="○"),
    Verdict.INCONCLUSIVE: VerdictView(key="inconclusive", text="INCONCLUSIVE", symbol="?"),
}
ROLES = {"claim_row": "where this audit has power", "plan_delta": "at the plan's δ"}
DIRECTIONS = {
    Direction.UNLEARNED_FROM_RETRAINED: "more frequent after unlearning",
    Direction.RETRAINED_FROM_UNLEARNED: "more frequent after retraining",
}
PROVENANCE = {
    "exact": "computed from the exact law",
    "repaired": "published route, repaired",
    "published": "as published",
    "user": "stated by the user",
}
REFERENCES = {
    Reference.RETRAIN_THEN_UNLEARN: "retrain then unlearn: retrain without the record, then run the same noisy "
    "unlearning steps on an empty forget set",
    Reference.RETRAIN_ONLY: "retrain only: retrain without the record and stop",
}
CONTROLS = {
    "null": "Retrained against retrained",
    "neglected": "Deletion ignored",
    "replay": "Same random stream twice",
    "duplicates": "Equal releases",
    "lag_one": "Neighbouring trials",
    "step_noise": "Noise of consecutive steps",
}
GLOSSARY = {
    "penalty": "λ, ridge penalty",
    "n_learn": "T, learning steps",
    "n_unlearn": "K, unlearning steps",
    "sigma_learn": "σ₁, noise of a learning step",
    "sigma_unlearn": "σᵤ, noise of an unlearning step",
    "step_size": "η, step size",
    "hidden": "hidden units",
    "clip_norm": "C, largest gradient of one record",
    "n_probe": "held-out records in a release",
}
ESTIMATES = "Estimates (not bounds, not part of the verdict)"
ESTIMATES_CAPTION = (
    "Estimate ± standard error, from scores of trials that the attack was not fitted on (unlearned / retrained). μ: "
    "shift of the scores in standard deviations, for the ε of Gaussian noise. AUC: how often an unlearned model scores "
    "above a retrained one; 0.5 is a coin flip. Challenge ε: the unlearning challenge’s ε of a record at δ = 1e-5, a "
    "largest log ratio of counted rates without any correction, so that chance alone makes it large. Its floor is the "
    "same number for retrained against retrained models: what perfect unlearning scores with so few models. A "
    "challenge ε at the floor says nothing."
)
# Above this share of epsilon without unlearning a certificate says next to nothing of the unlearning.
HARDLY_BELOW = 0.9

LEAD = (
    "An audit deletes a record, releases the unlearned model many times, and measures how well these releases can "
    "be told from models retrained without the record. A claim bounds this by ε: 0 means that nobody can tell, and "
    "the larger ε, the easier it may be, except with a small probability δ. The audit looks for evidence against "
    "the claim; it cannot give evidence for it."
)
DETECTABLE = (
    "Detectable: the smallest true ε, of a Gaussian shift, that the audit would have refuted with probability 0.8. "
    "Ceiling: the largest lower bound that its trials could have given, whatever the true ε."
)
INDEX = (
    "Each audit is a family of its own: its significance is shared by its own tests only, and was not divided among "
    "the audits of this page. Of many audits of true claims, a few may refute by chance; the more audits, the more so."
)
SENSITIVE = Passage(
    heading="This page is sensitive.",
    text="The noise and the ε of a record depend on that record and leak information about it, and the page shows "
    "deleted records. Treat it as you treat the data. The option --redact writes a page that withholds them.",
)
SUMMARY = (
    "Each row is one claim about one deletion; its numbers are ε at the δ of the row. Each audit is a family of its "
    f"own: its significance is shared by its own tests only. {DETECTABLE}"
)
ROUNDING = (
    "Numbers are rounded outward: lower bounds down; claimed, exact and detectable ε, ceilings, p-values and levels "
    "up. δ, thresholds and parameters are labels, rounded to nearest like estimates. ε is in nats. report.json carries "
    "every number in full, and all counted operating points."
)


def plain(text: str) -> str:
    """Return text without control characters, which neither HTML nor a terminal can show."""
    return "".join(c if c.isprintable() or c in "\n\t\N{NO-BREAK SPACE}" else "\N{REPLACEMENT CHARACTER}" for c in text)


def upper_first(text: str) -> str:
    """Return the text with a capital, unless it starts with a symbol: a capital epsilon reads as another one."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def claim_text(claim: Claim, delta: float) -> str:
    """Return what is claimed, with its epsilon at a delta, for the middle of a sentence."""
    guarantee = claim.guarantee
    if isinstance(guarantee, EpsilonDelta):
        words = f"{_epsilon(guarantee.epsilon)} at δ = {nearest(guarantee.delta)}"
    else:
        at = f"{_epsilon(_claimed(claim, delta))} at δ = {nearest(delta)}"
        if isinstance(guarantee, GaussianDP):
            words = f"Gaussian differential privacy with μ ≤ {up(guarantee.mu)} ({at})"
        else:
            words = f"a privacy profile ({at})"
    if len(claim.directions) == 1:
        words += f", only for events {DIRECTIONS[claim.directions[0]]}"
    return words


def ledger(family: Family) -> str:
    """Return how the significance was spent, and what of it the verdicts and the bounds rest on."""
    spent, total = up(math.fsum(m.level for m in family.members)), up(family.significance)
    size = counted(len(family.members), "test")
    if isinstance(family.correction, Bonferroni):
        text = f"Family of {size}, corrected after Bonferroni: their levels add up to {spent}, of a significance of "
        return f"{text}{total}."
    if isinstance(family.correction, Holm):
        how = (
            f"Family of {size}, corrected after Holm: the tests of a refuted claim leave the family, and the others "
            f"share the significance of {total} anew."
        )
    else:
        how = (
            f"Family of {size} in a fixed sequence, by {listed(family.correction.order)}: each step has the whole "
            f"significance of {total}, and the next one is tested only when every claim of the step is refuted."
        )
    return (
        f"{how} Any claim that holds is refuted with probability at most {total}. The lower bounds keep the level of "
        f"each; these add up to {spent}, and some bound is too large with at most that probability. These are two "
        "statements: the bounds gain nothing from the correction."
    )


def headline(verdicts: Sequence[Verdict]) -> str:
    """Return how many findings there are of each kind."""
    parts = [f"{verdicts.count(v)} {VERDICTS[v].text.lower()}" for v in Verdict if v in verdicts]
    return f"{counted(len(verdicts), 'claim')} audited: {listed(parts)}."


def failed_controls(result: AuditResult, finding: Finding) -> tuple[str, ...]:
    """Return the names of the controls for which no verdict may rest on a finding's trials."""
    return tuple(
        f"“{CONTROLS[control.name]}”"
        for control in result.controls
        if control.forget == finding.forget and control.spoils_verdicts
    )


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
    if math.isinf(view.detectable.value):
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


def sandwich_title(sandwich: Sandwich) -> str:
    """Return where on the delta axis a sandwich is drawn."""
    delta = f"δ = {nearest(sandwich.bound.delta)}"
    return f"{delta}, {ROLES[sandwich.role]}"


def sandwich_caption(has_exact: bool) -> str:
    """Return how to read the picture of the sandwich."""
    exact = "Diamond: the exact ε that the certificate states." if has_exact else "No certificate states an exact ε."
    return (
        "Triangle to the right: what the audit showed. Triangle to the left: what is claimed; a lower bound in the "
        f"shaded part beyond it contradicts the claim. {exact} Circle: the smallest true ε that the audit would have "
        "refuted with probability 0.8 (Gaussian shift). Bar: the ceiling, which no outcome could exceed."
    )


def trade_off_caption(shown: Sequence[Roc], hidden: int, is_difference: bool) -> str:
    """Return how to read the picture of the trade-off curve."""
    if not shown:
        return ""
    height = " Drawn upward is the difference of the two rates (TPR − FPR)." if is_difference else ""
    more = f" The points of {counted(hidden, 'more attack')} are in report.json." if hidden else ""
    return (
        "Each marker is an event counted in both worlds; on the grey line it is equally frequent in both, and the "
        f"claim allows the shaded band.{height} Star: the tested event with the smallest p-value. Whiskers: "
        f"Clopper–Pearson intervals of 95 % for one rate at a time; they show the noise, the tests decide.{more}"
    )


def rare_caption(direction: Direction) -> str:
    """Return how to read the logarithmic picture."""
    return (
        f"The same counts on logarithmic axes, where rare events can be seen, for events {DIRECTIONS[direction]} (of "
        "others, the complement). ε bounds the height above the grey line, apart from δ. A count of zero is drawn on "
        "the edge."
    )


def limits(results: Sequence[AuditResult], is_collection: bool) -> tuple[Passage, ...]:
    """Return what the page does not show."""
    drawn = [result for result in results if not result.data.is_given]
    passages = [
        Passage(
            heading="A lower bound is no proof of safety.",
            text="NOT REFUTED says that these attacks, on these trials, found no contradiction. The true ε may still "
            "exceed the claim: read each NOT REFUTED together with the smallest ε that the audit would have refuted.",
        ),
        Passage(
            heading="Only the last iterate.",
            text="Each trial releases one model, the last one. The claims do not cover the model before the deletion "
            "together with the one after it, nor the training trajectory, and the audit did not look at them.",
        ),
        Passage(heading="Only these attacks.", text=_attacks(results)),
        Passage(heading="Only these records.", text=_records(results)),
        Passage(heading="One reference world.", text=_reference(results)),
        *([Passage(heading="The sampler matters.", text=_sampler(drawn))] if drawn else []),
        *plan_words.given(results),
        *plan_words.certificates([result for result in results if result.redaction is None]),
        *([] if all(result.redaction for result in results) else [SENSITIVE]),
    ]
    if is_collection and len(results) > 1:
        passages.append(
            Passage(
                heading="Each audit is a family of its own.",
                text="The significance holds within one audit. It was not divided among the audits of this page: among "
                "many audits of true claims, a few may refute by chance.",
            )
        )
    return tuple(passages)


def _claimed(claim: Claim, delta: float) -> float:
    return max(claim.epsilon_at(delta, direction) for direction in claim.directions)


def _epsilon(value: float) -> str:
    return "no finite ε" if math.isinf(value) else f"ε ≤ {up(value)}"


def _above_exact(sandwich: Sandwich) -> str:
    bound, exact = sandwich.bound, sandwich.exact or 0.0
    digits = enough_digits(bound.value, exact)
    return (
        f"The lower bound {down(bound.value, digits)} (level {up(bound.level)}) exceeds the exact ε "
        f"{up(exact, digits)} that the certificate states at δ = {nearest(bound.delta)}: what was sampled is not "
        "what the certificate describes, or the certificate is wrong."
    )


def _compared(view: SandwichView | None) -> str:
    if view is None:
        return "no event contradicts it"
    claimed = "no finite ε is claimed" if view.claimed.text == INFINITE else f"ε ≤ {view.claimed.text} is claimed"
    return f"the audit shows ε ≥ {view.bound.text} where {claimed} at δ = {view.delta}"


def _attacks(results: Sequence[AuditResult]) -> str:
    names = sorted({name for result in results for name in result.plan.attacks})
    return f"{counted(len(names), 'attack')}: {listed(names)}. A better attack may show a larger ε."


def _records(results: Sequence[AuditResult]) -> str:
    groups = {(result.data.sha256, forget) for result in results for forget in result.plan.forget}
    data = listed(sorted({plan_words.data_named(result.data) for result in results}))
    deletions = counted(len(groups), "deletion")
    return f"Audited: {deletions} from {data}. Other records have other ε; the audit says nothing of them."


def _reference(results: Sequence[AuditResult]) -> str:
    used = {finding.claim.reference for result in results for finding in result.findings}
    named = listed(f"“{text}”" for reference, text in REFERENCES.items() if reference in used)
    return f"Unlearned models are compared with {named}. A claim about another reference world is another claim."


def _sampler(results: Sequence[AuditResult]) -> str:
    used = sorted({result.sampler for result in results})
    text = f"Releases were drawn by {listed(f'“{name}”' for name in used)}. "
    if "closed_form" in used:
        text += (
            "The closed_form sampler draws from the very law that the certificate is computed from, so it cannot find "
            "an error in that law; only stepwise, which runs every training step, tests the laws."
        )
    elif "stepwise" in used:
        text += (
            "The stepwise sampler runs every training step and shares no code with the laws that certificates are "
            "computed from; a closed_form sampler would draw from those very laws and could not find an error in them."
        )
    else:
        text += (
            "The audit is about what this sampler releases; whether your production code releases the same, it cannot "
            "tell."
        )
    return text


def certificate_source(certificate: Certificate) -> str:
    """Return where a certificate comes from."""
    return PROVENANCE[certificate.claim.provenance]
