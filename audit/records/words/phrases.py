"""What things are called wherever a result is told: verdicts, records, claims, bounds and the reasons for no verdict.

One place for prompts, terminals, notebooks, HTML, Markdown, pytest and JUnit. Plain data in, words out, for the middle
of a sentence. Lower bounds are rounded down; claims, p-values and levels up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.records.verdict import Reason, Verdict
from audit.records.words.rounding import INFINITE, listed, nearest, up
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, ThisSet

SYMBOLS = {Verdict.REFUTED: "✕", Verdict.NOT_REFUTED: "○", Verdict.INCONCLUSIVE: "?"}
MORE_FREQUENT = {
    Direction.UNLEARNED_FROM_RETRAINED: "more frequent after unlearning",
    Direction.RETRAINED_FROM_UNLEARNED: "more frequent after retraining",
}
CONTROLS = {
    "null": "Retrained against retrained",
    "neglected": "Deletion ignored",
    "replay": "Same random stream twice",
    "duplicates": "Equal releases",
    "lag_one": "Neighbouring trials",
    "step_noise": "Noise of consecutive steps",
    "precision": "Precision of stored values",
    "reference": "Reference world",
    "same_randomness": "Same random numbers in both worlds",
    "reused_models": "Learned models",
    "unchanged_data": "Data unchanged",
    "utility": "Utility",
    "paired_rows": "Rows of equal number in both files",
}
WHY = {
    Reason.CANNOT_BE_REFUTED_AT_THIS_N: "what is claimed lies above everything that this many trials could ever show",
    Reason.CUT_SHORT: "the run was stopped before all of the planned trials were drawn",
    Reason.ATTACK_FAILED: "an attack could not be run, so the audit is weaker than planned",
    Reason.NOT_REPRODUCIBLE: "a control of the sampling failed, and evidence from a broken sampler speaks neither for "
    "nor against a claim",
    Reason.NOT_TESTED: "the plan tests its claims in a declared order, and a claim before this one was not refuted, so "
    "this one was not tested",
    Reason.TRIALS_FAILED: "more trials failed than the plan allows",
}
# Headed "weak": not refuted, and no true epsilon below this multiple of the claimed one would have been.
WEAK_MULTIPLE = 2
WEAK = (
    f"Weak: no true ε below {WEAK_MULTIPLE} times the claimed one would have been refuted with probability 0.8, so "
    "that not refuting says little."
)
# Of rows whose order was lost: nothing shows whether they depend on each other.
UNCHECKED = "independence unchecked"
REMINDER = "A lower bound is no proof that a claim is true."


def name(verdict: Verdict, *, is_weak: bool = False) -> str:
    """Return "REFUTED", "INCONCLUSIVE", "NOT REFUTED" or "NOT REFUTED, weak"."""
    return verdict.value.upper().replace("_", " ") + (", weak" if is_weak else "")


def spoken(verdict: Verdict, *, is_weak: bool = False) -> str:
    """Return "✕ REFUTED"."""
    return f"{SYMBOLS[verdict]} {name(verdict, is_weak=is_weak)}"


def tally(verdicts: Sequence[Verdict], n_weak: int = 0) -> str:
    """Return "1 refuted and 2 not refuted", and how many of the latter are weak."""
    weakly = {Verdict.NOT_REFUTED: f" ({n_weak} weak)"} if n_weak else {}
    return listed(f"{verdicts.count(v)} {name(v).lower()}{weakly.get(v, '')}" for v in Verdict if v in verdicts)


def plain(text: str) -> str:
    """Return text on one line without control characters: names are data, and a terminal obeys what it is sent."""
    return "".join(c if c.isprintable() else " " for c in text)


def upper_first(text: str) -> str:
    """Return the text with a capital, unless it starts with a symbol: a capital epsilon reads as another one."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def subject(forget: Sequence[int], label: str) -> str:
    """Return "record 757 (hardest)"; or "deletion 2" where records were withheld, which are negative numbers."""
    if not forget:
        return label or "the audited deletion"
    if forget[0] < 0:
        return f"deletion {-forget[0]}"
    shown = [str(record) for record in forget[:4]]
    if len(forget) > 4:
        shown.append(f"{len(forget) - 4} more")
    words = f"{'record' if len(forget) == 1 else 'records'} {listed(shown)}"
    return f"{words} ({label})" if label else words


def promise(epsilon: str) -> str:
    """Return what is claimed, from an epsilon that is rounded already: "ε ≤ 0.3", or that nothing finite is."""
    return "no finite ε" if epsilon == INFINITE else f"ε ≤ {epsilon}"


def claim_text(claim: Claim, delta: float) -> str:
    """Return what is claimed, with its epsilon at a delta."""
    guarantee = claim.guarantee
    if isinstance(guarantee, EpsilonDelta):
        words = f"{promise(up(guarantee.epsilon))} at δ = {nearest(guarantee.delta)}"
    else:
        epsilon = max(claim.epsilon_at(delta, direction) for direction in claim.directions)
        at = f"{promise(up(epsilon))} at δ = {nearest(delta)}"
        if isinstance(guarantee, GaussianDP):
            words = f"Gaussian differential privacy with μ ≤ {up(guarantee.mu)} ({at})"
        else:
            words = f"a privacy profile ({at})"
    if len(claim.directions) == 1:
        words += f", only for events {MORE_FREQUENT[claim.directions[0]]}"
    return words + covered(claim)


def covered(claim: Claim) -> str:
    """Return ", claimed for any set of up to 3 records"; nothing where a claim is about the audited set alone."""
    return "" if isinstance(claim.covers, ThisSet) else f", claimed for {claim.covers.words}"


def bound_text(bound: str, claimed: str, delta: str, *, excludes_bound: bool = False) -> str:
    """Return "ε ≥ 0.51 where ε ≤ 0.3 is claimed at δ = 0.001", from rounded numbers.

    ``excludes_bound`` says that epsilon is above the bound, and not only at least the bound.
    """
    return f"ε {'>' if excludes_bound else '≥'} {bound} where {promise(claimed)} is claimed at δ = {delta}"


def detectable_text(epsilon: float, delta: float) -> str:
    """Return the smallest true epsilon that an audit would have refuted, and of what alternative that is said."""
    if math.isfinite(epsilon):
        return f"detectable from ε = {up(epsilon)} of {alternative(delta)}"
    if delta == 0:
        return "no smallest detectable ε is stated at δ = 0"
    return "no true ε of a Gaussian shift would have been refuted with probability 0.8"


def alternative(delta: float) -> str:
    """Return of what pair of worlds a detectable epsilon is said: at delta = 0 no Gaussian shift has a finite one."""
    return "randomised response" if delta == 0 else "a Gaussian shift, at the best threshold"


def p_text(p_value: float, floor: float | None) -> str:
    """Return "p = 0.012", and whether that is the smallest p-value that the test can state."""
    is_smallest = floor is not None and p_value <= floor * (1 + 1e-9)
    return f"p = {up(p_value)}" + (", the smallest that this test can state" if is_smallest else "")
