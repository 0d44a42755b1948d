"""What pairs of runs from the same random streams showed, for a terminal."""

from __future__ import annotations

from audit.records.words.phrases import promise, spoken, tally, upper_first
from audit.records.words.rounding import counted, down, enough_digits, nearest, up
from audit.running.shared_noise import SameRandomness, SharedNoiseFinding
from mechanisms.claim import EpsilonDelta, GaussianDP
from reports.page.parts import NONE, TableView
from reports.page.terminal import printed

COLUMNS = ("record", "claimed", "shift", "allowed", "noise", "verdict")
_NUMERIC = (False, False, True, True, True, False)
# Of a claim that names no delta, epsilon is told here.
_TOLD_AT = 1e-5
_LIMITS = (
    "Shift: distance of what the two worlds release without noise. Allowed: the largest one that the claim allows with "
    "this noise. Not refuting is no proof: it is about these data, these deletions, and random numbers as they usually "
    "are."
)


def randomness_summary(result: SameRandomness, *, width: int = 120) -> str:
    """Return the title, a table with a row a finding, and why, as plain text."""
    rows = tuple(map(_cells, result.findings))
    view = TableView(title="", caption="", columns=COLUMNS, rows=rows, numeric=_NUMERIC)
    return printed([result.title, view, *_sentences(result)], width)


def _cells(finding: SharedNoiseFinding) -> tuple[str, ...]:
    digits = enough_digits(finding.shift or 0.0, finding.allowed_shift or 0.0)
    noise = NONE
    if finding.noise_bound is not None:
        noise = nearest(finding.noise_bound) if finding.recognised else f"≤ {up(finding.noise_bound)}"
    return (
        upper_first(finding.subject),
        _claimed(finding),
        NONE if finding.shift is None else down(finding.shift, digits),
        NONE if finding.allowed_shift is None else up(finding.allowed_shift, digits),
        noise,
        spoken(finding.verdict),
    )


def _claimed(finding: SharedNoiseFinding) -> str:
    claim = finding.claim
    if isinstance(claim.guarantee, EpsilonDelta):
        return f"{promise(up(claim.guarantee.epsilon))}, δ = {nearest(claim.guarantee.delta)}"
    if isinstance(claim.guarantee, GaussianDP):
        return f"μ ≤ {up(claim.guarantee.mu)}"
    epsilon = max(claim.epsilon_at(_TOLD_AT, direction) for direction in claim.directions)
    return f"a profile, {promise(up(epsilon))} at δ = {nearest(_TOLD_AT)}"


def _sentences(result: SameRandomness) -> list[str]:
    found = result.findings
    said = [f"{counted(len(found), 'claim')}: {tally([f.verdict for f in found])}."]
    for why in dict.fromkeys(f.why for f in found):
        same = [f for f in found if f.why == why]
        names = list(dict.fromkeys(upper_first(f.subject) for f in same))
        whom = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        head = "" if len(same) == len(found) else f"{whom}: "
        said.append(f"{head}{'does not apply. ' if same[0].shift is None else ''}{why}")
    if any(f.level is not None for f in found):
        said.append(
            f"Estimated noise: an upper bound; all of these hold together with probability {1 - result.significance:g}."
        )
    return [*said, _LIMITS, f"Seed {result.seed}, {result.seconds:.1f} s."]
