"""The three verdicts, and the rule that leads to them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Verdict(Enum):
    """What an audit says of a claim. There is no "passed": a lower bound proves nothing about the upper side."""

    REFUTED = "refuted"
    NOT_REFUTED = "not_refuted"
    INCONCLUSIVE = "inconclusive"


class Reason(Enum):
    """Why an audit could not decide."""

    CANNOT_BE_REFUTED_AT_THIS_N = "cannot_be_refuted_at_this_n"
    CUT_SHORT = "cut_short"
    ATTACK_FAILED = "attack_failed"
    NOT_REPRODUCIBLE = "not_reproducible"
    NOT_TESTED = "not_tested"
    TRIALS_FAILED = "trials_failed"


def decide(
    *,
    rejected: bool,
    reproducible: bool,
    attack_failed: bool,
    refutable: bool,
    tested: bool = True,
    too_many_failed: bool = False,
) -> tuple[Verdict, Reason | None]:
    """Return the verdict on one claim and forget set, and the reason when it is inconclusive.

    Parameters
    ----------
    rejected
        Some member of the family was rejected at its own level.
    reproducible
        Replays agreed and the null control behaved; evidence from a broken sampler refutes nothing.
    attack_failed
        Some attack of the plan could not be run, so the audit is weaker than planned.
    refutable
        At least one point of the claim lies below the ceiling of the counted trials and the local level.
    tested
        Whether a declared sequence of tests got as far as this claim.
    too_many_failed
        More trials failed than the plan allows.
    """
    if not reproducible:
        return Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCIBLE
    if too_many_failed:
        return Verdict.INCONCLUSIVE, Reason.TRIALS_FAILED
    if rejected:
        return Verdict.REFUTED, None
    if not tested:
        return Verdict.INCONCLUSIVE, Reason.NOT_TESTED
    if attack_failed:
        return Verdict.INCONCLUSIVE, Reason.ATTACK_FAILED
    if not refutable:
        return Verdict.INCONCLUSIVE, Reason.CANNOT_BE_REFUTED_AT_THIS_N
    return Verdict.NOT_REFUTED, None


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of a whole family: refuted if any is, else inconclusive if any is, or if there is none."""
    found = set(verdicts) or {Verdict.INCONCLUSIVE}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE):
        if verdict in found:
            return verdict
    return Verdict.NOT_REFUTED
