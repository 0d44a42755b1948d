"""The sentences of a report. Three verdicts, and no word that would make more of them than they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.plan.audit_plan import Bonferroni, Holm
from audit.records.evidence import Finding, Roc, Sandwich
from audit.records.ledger import Family
from audit.records.verdict import Verdict
from audit.records.words import phrases
from mechanisms.claim import Certificate, Direction, Reference
from reports.page.numbers import counted, listed, nearest, up
from reports.page.parts import FindingView, Passage, VerdictKey, VerdictView

MADE = "where the claim was made"
ROLES = {"claim_row": "where this audit has power", "plan_delta": "at the plan's δ"}
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
    Reference.CERTIFYING: "some law of the retained data that is said to exist, and that nobody can sample",
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
ADVANTAGE = (
    " Advantage of this attack: upper confidence limit, 95 % for each attack alone, on the largest difference between "
    "the two worlds' rates of scoring above a threshold, of this attack as it was frozen before these scores. Another "
    "attack may have a larger one, so that it is no limit on what can be told apart, and none on ε."
)

LEAD = (
    "An audit deletes a record, releases the unlearned model many times, and measures how well these releases can "
    "be told from models retrained without the record. A claim bounds this by ε: 0 means that nobody can tell, and "
    "the larger ε, the easier it may be, except with a small probability δ. The audit looks for evidence against "
    "the claim; it cannot give evidence for it."
)
LEAD_GIVEN = (
    "Releases were given in two sets, filed as unlearned and as retrained; the audit measures how well the two can be "
    "told apart. How the models were made, it takes on trust. A claim bounds this by ε: 0 means that nobody can tell, "
    "and the larger ε, the easier it may be, except with a small probability δ. The audit looks for evidence against "
    "the claim; it cannot give evidence for it."
)
DETECTABLE = (
    "Detectable: the smallest true ε, of a Gaussian shift at the best threshold (at δ = 0: of randomised response), "
    "that the audit would have refuted with probability 0.8."
)
CEILING = "Ceiling: the largest lower bound that its trials could have given, whatever the true ε."
ELSEWHERE = "where it could see most"
WHY_ELSEWHERE = (
    "A claim about every δ is tested at the δ where so many models can see most, which was chosen before anything was "
    "counted: a claim that fails at one δ is false."
)
EXACT = "Exact: of the mechanism that is claimed, not of the one that was audited."
INDEX = (
    "Each audit is a family of its own: its significance is shared by its own tests only, and was not divided among "
    "the audits of this page. Of many audits of true claims, a few may refute by chance; the more audits, the more so."
)
SENSITIVE = Passage(
    heading="This page is sensitive.",
    text="The noise and the ε of a record depend on that record and leak information about it, and the page names "
    "deleted records. Treat it as you treat the data. The option --redact writes a page that withholds them.",
)
SUMMARY = (
    "Each row is one claim about one deletion; its numbers are ε at the δ of the row. Each audit is a family of its "
    f"own: its significance is shared by its own tests only. {DETECTABLE} {CEILING} "
    f"{EXACT}"
)
ROUNDING = (
    "Numbers are rounded outward: lower bounds down; claimed, exact and detectable ε, ceilings, p-values and levels "
    "up. δ, thresholds and parameters are labels, rounded to nearest like estimates. ε is in nats. report.json carries "
    "every number in full, and all counted operating points."
)


def ledger(family: Family) -> str:
    """Return how the significance was spent, and what of it the verdicts and the bounds rest on."""
    spent, total = up(math.fsum(m.level for m in family.members)), up(family.significance)
    size = counted(len(family.members), "test")
    if len(family.members) == 1:
        return f"Family of {size}: its level is {spent}, of a significance of {total}."
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


_KEYS: dict[Verdict, VerdictKey] = {
    Verdict.REFUTED: "refuted",
    Verdict.NOT_REFUTED: "not_refuted",
    Verdict.INCONCLUSIVE: "inconclusive",
}


def verdict_view(verdict: Verdict, *, is_weak: bool = False) -> VerdictView:
    """Return a verdict as a word and a symbol."""
    return VerdictView(key=_KEYS[verdict], text=phrases.name(verdict, is_weak=is_weak), symbol=phrases.SYMBOLS[verdict])


def headline(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each kind."""
    told = phrases.tally([f.verdict for f in findings], sum(f.is_weak for f in findings))
    return f"{counted(len(findings), 'claim')} audited: {told}."


def sandwich_title(sandwich: Sandwich, made_at: float) -> str:
    """Return where on the delta axis a sandwich is drawn, for a claim that was made at ``made_at``."""
    where = MADE if sandwich.bound.delta == made_at else ROLES[sandwich.role]
    return f"δ = {nearest(sandwich.bound.delta)}, {where}"


def folded(n_findings: int) -> str:
    """Return where the details are of a page that has a line for each finding only."""
    return (
        f"{n_findings:,} findings: each has one line here. report.json and the CSV files have every number; "
        "“unlearn-audit report report.json --details” writes them all on a page."
    )


def forest_caption(findings: Sequence[FindingView]) -> str:
    """Return how to read the picture over all records; "" where there is none."""
    rows = [finding.quoted for finding in findings if finding.quoted is not None]
    if not rows:
        return ""
    deltas = {view.delta for view in rows}
    at = f"at δ = {deltas.pop()}" if len(deltas) == 1 else "each at the δ where the audit had power"
    exact = ""
    if any(view.exact for view in rows):
        exact = " Diamond: the exact ε of the mechanism that is claimed, not of the one that was audited."
    return (
        f"A row a record, {at}. Triangle to the left: what is claimed. Triangle to the right: the lower bound that was "
        "shown; beyond the claimed one it contradicts the claim. Circle: the smallest true ε that would have been "
        f"refuted with probability 0.8.{exact} Whatever lies beyond an end of the axis is drawn at that end."
    )


def sandwich_caption(has_exact: bool) -> str:
    """Return how to read the picture of the sandwich."""
    exact = "No certificate states an exact ε."
    if has_exact:
        exact = "Diamond: the exact ε of the mechanism that is claimed, which its certificate states."
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
        "The same counts on logarithmic axes, where rare events can be seen, for events "
        f"{phrases.MORE_FREQUENT[direction]} (of others, the complement). ε bounds the height above the grey line, "
        "apart from δ. A count of zero is drawn on the edge."
    )


def certificate_source(certificate: Certificate) -> str:
    """Return where a certificate comes from."""
    return PROVENANCE[certificate.claim.provenance]
