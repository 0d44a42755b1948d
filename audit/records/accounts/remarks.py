"""What a short account of a finding must not leave out: why nothing was decided, and how little an audit could see.

In the flow: what ``print`` shows and what a terminal, a page and a test report say of a verdict are these sentences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.records.evidence import Finding
from audit.records.ledger import Control
from audit.records.verdict import Reason, Verdict
from audit.records.words.phrases import CONTROLS, UNCHECKED, WHY, plain, upper_first
from audit.records.words.rounding import listed, nearest, up
from audit.trials.failed_chunks import failed_text


def failed_controls(finding: Finding, controls: Sequence[Control]) -> tuple[Control, ...]:
    """Return the controls for which no verdict may rest on a finding's trials."""
    return tuple(c for c in controls if c.forget == finding.forget and c.spoils_verdicts)


def why(finding: Finding, controls: Sequence[Control]) -> str:
    """Return why a finding is inconclusive, as a sentence that starts in the middle."""
    if finding.reason is None:
        return "no reason was recorded."
    text, quoted = WHY[finding.reason], finding.quoted
    if finding.reason is Reason.CANNOT_BE_REFUTED_AT_THIS_N:
        if quoted is not None and math.isinf(quoted.claimed):
            return "it promises no finite ε, so there is nothing that any outcome could refute."
        above = f" (at most ε = {up(quoted.ceiling)} at δ = {nearest(quoted.bound.delta)})" if quoted else ""
        return f"{text}{above}, so no outcome could have refuted it; more trials are needed."
    if finding.reason is Reason.ATTACK_FAILED and finding.failures:
        return f"{listed(sorted(finding.failures))} could not be run, so the audit is weaker than planned."
    if finding.reason is Reason.TRIALS_FAILED and finding.failed_chunks:
        return f"{text}: {plain(failed_text(finding.failed_chunks))}."
    if finding.reason is Reason.NOT_REPRODUCIBLE:
        names = listed(f"“{CONTROLS[control.name]}”" for control in failed_controls(finding, controls))
        return text.replace("failed", f"failed ({names or 'see the controls'})", 1) + "."
    return f"{text}."


def unseen(finding: Finding, controls: Sequence[Control], trials: int) -> str:
    """Return that an ignored deletion was not noticed, or never tried, which a NOT REFUTED must not go without."""
    if finding.verdict is not Verdict.NOT_REFUTED:
        return ""
    for control in controls:
        if control.name == "neglected" and control.forget == finding.forget and not control.as_expected:
            if not control.was_tried:
                return (
                    "Whether a deletion that was ignored on purpose would have been noticed is not known, for no "
                    "attack could be tried on one: this verdict may say little."
                )
            size = f", with {control.n_trials:,} models a world" if control.n_trials else ""
            # The control may be smaller than the audit, which then could have noticed.
            says = "says" if (control.n_trials or 0) >= trials else "may say"
            return f"A deletion that was ignored on purpose was not noticed either{size}: this verdict {says} little."
    return ""


def false_by_noise(finding: Finding, controls: Sequence[Control]) -> str:
    """Return what the same random numbers in both worlds showed, where a verdict on counts falls short of it."""
    if finding.verdict is Verdict.REFUTED:
        return ""
    shown = (c for c in controls if c.name == "same_randomness" and c.forget == finding.forget and not c.as_expected)
    return next((control.message for control in shown), "")


def by_shape(finding: Finding) -> str:
    """Return that the shape of a release alone refuted the claim, where it did; else nothing."""
    quoted = finding.quoted
    chosen = {h.attack: h.member for h in finding.histograms}
    if finding.verdict is not Verdict.REFUTED or quoted is None or chosen.get(quoted.bound.attack) != "shape":
        return ""
    shapes = finding.parameters.get("release_shapes")
    told = f" ({shapes})" if shapes else ""
    return f"Refuted by the shape of a release alone{told}, whatever its numbers: deletion must not change it."


_UNCHECKED = (
    f"{upper_first(UNCHECKED)}: the rows were sorted, so nothing shows whether several are of one model, or made from "
    "one another."
)


def remarks(finding: Finding, controls: Sequence[Control], trials: int) -> tuple[str, ...]:
    """Return what one line leaves out: why there is no decision, how little was seen, what models are good for."""
    return (*_doubts(finding, controls, trials), *_worth(finding, controls))


def _worth(finding: Finding, controls: Sequence[Control]) -> list[str]:
    """Say what models of both worlds are good for: a service that destroys its models leaks nothing either."""
    return [
        f"What models are good for, by the function that was given: {c.worth[0]} unlearned, {c.worth[1]} retrained "
        f"(mean ± standard deviation of {c.worth[0].n} models)."
        for c in controls
        if c.worth is not None and c.forget == finding.forget
    ]


def _doubts(finding: Finding, controls: Sequence[Control], trials: int) -> tuple[str, ...]:
    false = [text for text in (false_by_noise(finding, controls),) if text]
    if finding.verdict is Verdict.INCONCLUSIVE:
        blamed = [control.message for control in failed_controls(finding, controls)]
        return (f"Could not be decided: {why(finding, controls)}", *blamed, *false)
    unchecked = [] if finding.independence_checked else [_UNCHECKED]
    unchecked += [c.message for c in controls if c.name == "replay" and c.forget == finding.forget and not c.applicable]
    if finding.failed_chunks:
        unchecked.append(f"{plain(failed_text(finding.failed_chunks))}. All count against refuting the claim.")
    bounds = [(s.bound.value, s.claimed) for s in finding.sandwiches]
    if finding.verdict is Verdict.REFUTED and bounds and all(bound < claimed for bound, claimed in bounds):
        return ("Refuted by its attacks and rows together: no single lower bound exceeds the claim.", *unchecked)
    told = (*false, by_shape(finding), unseen(finding, controls, trials), *unchecked)
    return tuple(text for text in told if text)
