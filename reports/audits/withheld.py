"""What a page says of a result from which records and their epsilons were withheld, and why they are."""

from __future__ import annotations

from audit.records.accounts.remarks import why
from audit.records.evidence import Finding
from audit.records.result import AuditResult
from audit.records.verdict import Verdict
from audit.records.words import phrases
from reports.audits import verdict_words, words
from reports.page.numbers import counted, down, nearest, up
from reports.page.parts import FindingView, Passage, TableView

NONE = "–"
WHY = Passage(
    heading="Why records are withheld.",
    text="The noise and the ε of a record are computed from that very record: an unusual record needs more noise and "
    "gets a larger ε, so that these numbers, like every lower bound on them, tell about it. Withheld are therefore "
    "which records were deleted and how they look, their labels and order, and every number that belongs to one of "
    "them: ε, bounds, noise, counts, scores and p-values. Verdicts, sizes, levels, controls and averages over many "
    "deletions are kept. They depend on the records too, if less: this page withholds, it does not anonymise.",
)
FINDING = "The numbers of this deletion are withheld: they depend on the very record that was deleted."


def finding(made: Finding, result: AuditResult, anchor: str) -> FindingView:
    """Return a finding of a redacted result: its verdict, and what is the same for every record."""
    position = [id(f) for f in result.findings if f.forget == made.forget].index(id(made))
    return FindingView(
        anchor=anchor,
        heading=phrases.upper_first(phrases.subject(made.forget, made.label)),
        claim=phrases.upper_first(claim(made, result)),
        verdict=words.verdict_view(made.verdict),
        sentence=_sentence(made, result),
        strength=_strength(made, position, result),
        remarks=(),
        fired="",
        notes=(FINDING, *(f"Attack {name} could not be run." for name in sorted(made.failures))),
        quoted=None,
        made=None,
        details=None,
    )


def averages(result: AuditResult) -> TableView | None:
    """Return the averages over deletions; ``None`` for a result from which nothing was withheld."""
    redaction = result.redaction
    if redaction is None:
        return None
    rows = tuple(
        (
            str(a.claim + 1),
            str(a.n_deletions),
            down(a.bound),
            NONE if a.exact is None else up(a.exact),
            up(a.claimed),
            up(a.detectable),
            nearest(a.delta),
        )
        for a in redaction.averages
    )
    return TableView(
        title="Averages over deletions",
        caption=f"Means over all deletions of the audit, taken only over at least {redaction.least}: an average over "
        "fewer would nearly give away each. The mean of the lower bounds is a lower bound on the mean ε.",
        columns=("claim", "deletions", "lower bound", "exact ε", "claimed ε", "detectable ε", "at δ"),
        rows=rows,
        numeric=(True,) * 7,
    )


def claim(made: Finding, result: AuditResult) -> str:
    """Return what is claimed, without an epsilon that was computed for its record."""
    if made.claim.provenance == "user":
        return phrases.claim_text(made.claim, result.plan.delta)
    return f"an ε that is withheld ({words.PROVENANCE[made.claim.provenance]})"


def _sentence(made: Finding, result: AuditResult) -> str:
    about = f"The claim about {phrases.subject(made.forget, made.label)}, {claim(made, result)},"
    level = f"level {up(made.level)} a test, {up(result.plan.significance)} over the whole audit"
    if made.verdict is Verdict.REFUTED:
        return f"{about} is refuted ({level})."
    if made.verdict is Verdict.NOT_REFUTED:
        return f"{about} is not refuted ({level})."
    return f"{about} could not be decided: {why(made, result.controls)}"


def _strength(made: Finding, position: int, result: AuditResult) -> str:
    if made.verdict is Verdict.REFUTED or result.redaction is None:
        return verdict_words.strength(made, None, result.plan.significance)
    redaction, delta = result.redaction, nearest(result.plan.delta)
    detectable = redaction.detectable[position] if position < len(redaction.detectable) else None
    average = next((a for a in redaction.averages if a.claim == position), None)
    if detectable is not None:
        text = (
            f"The smallest true ε that this audit would have refuted with probability 0.8 is {up(detectable)} "
            "(alternative: a Gaussian shift)"
        )
    elif average is not None:
        text = (
            "The smallest true ε that this audit would have refuted with probability 0.8 is, on the average over "
            f"{counted(average.n_deletions, 'deletion')}, {up(average.detectable)} (alternative: a Gaussian shift, at "
            f"δ = {delta})"
        )
    else:
        text = "How large a true ε the audit would have refuted depends on the record's claim, and is withheld"
    if redaction.ceiling is None:
        return f"{text}."
    return f"{text}; no outcome of its trials could have shown more than ε = {up(redaction.ceiling)} (the ceiling)."
