"""What every audit checks about its worlds: retrained against retrained, and a deletion that was ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from audit.controls.replay import alike
from audit.gathering.contrast import Evidence
from audit.gathering.selection import claim_rows
from audit.gathering.testing import IDENTICAL, best_test, run_tests
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator, sampled
from audit.trials.independence import FALSE_ALARM
from mechanisms.claim import Claim
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Deletion, World


def check_same_retraining(deletions: Sequence[Deletion], plan: AuditPlan, record: int) -> None:
    """Refuse services that do not share a retrained world: for one random stream their releases must be as alike as
    the plan asks of a replay.

    Raises
    ------
    InvalidInputError
        When two differ.
    """
    if len(deletions) == 1:
        return
    first, *others = (
        sampled(
            deletion,
            World.RETRAINED,
            2,
            rng=make_generator(plan.seed, Stream.REPLAY, record, 2),
            where=f"forget set {record}, before the first chunk, seed {plan.seed}",
        )
        for deletion in deletions
    )
    for i, other in enumerate(others, start=1):
        if not alike(first, other, 0.0 if isinstance(plan.replay, str) else plan.replay):
            raise InvalidInputError(
                field=f"services[{i}]",
                expected="to retrain like the first service",
                got="other releases for the same random stream",
                fix="audit it by itself",
            )


def n_control_trials(evidence: Evidence, plan: AuditPlan) -> int:
    """Return how many releases of each world a control used: the plan's, or fewer when it stopped."""
    return plan.n_control_trials if evidence.followed is None else evidence.followed.n_drawn


def null_control(
    evidence: Evidence, plan: AuditPlan, forget: tuple[int, ...], label: str, *, n_controls: int
) -> Control:
    """Test retrained against retrained, on independent streams, for any difference at all."""
    level = equal_share(FALSE_ALARM, n_controls)
    tests = run_tests(
        evidence, dict.fromkeys(evidence.prepared, (("claim_row", IDENTICAL),)), levels={"claim_row": level}
    )
    if not tests:
        return _not_run("null", evidence, forget, label)
    best = best_test(tests)
    message = (
        "Two independent streams of the retrained world differ: the sampler is not what it says, so no verdict "
        "of this audit can be trusted."
        if best.rejected
        else "Two independent streams of the retrained world could not be told apart, as it must be."
    )
    return Control(
        name="null",
        forget=forget,
        label=label,
        as_expected=not best.rejected,
        message=message,
        p_value=best.p_value,
        level=level,
        n_trials=n_control_trials(evidence, plan),
        bound=best.bound,
    )


def neglected_control(
    evidence: Evidence,
    plan: AuditPlan,
    claim: Claim,
    forget: tuple[int, ...],
    label: str,
    *,
    level: float,
) -> Control:
    """Audit a deletion that was ignored against the first claim: would this audit have seen it?"""
    rows = claim_rows(claim)
    tests = run_tests(evidence, dict.fromkeys(evidence.prepared, (("claim_row", rows),)), levels={"claim_row": level})
    if not tests:
        return _not_run("neglected", evidence, forget, label)
    best, n = best_test(tests), n_control_trials(evidence, plan)
    message = (
        f"An ignored deletion was told apart from the claim with {n} releases a world."
        if best.rejected
        else f"An ignored deletion was NOT told apart from the claim with {n} releases a world: "
        "not refuting says little here. Where epsilon without unlearning is near the claimed epsilon, no audit can."
    )
    return Control(
        name="neglected",
        forget=forget,
        label=label,
        as_expected=best.rejected,
        message=message,
        p_value=best.p_value,
        level=level,
        n_trials=n,
        bound=best.bound,
    )


def _not_run(name: Literal["null", "neglected"], evidence: Evidence, forget: tuple[int, ...], label: str) -> Control:
    """Return a control that says nothing: neither that the worlds look alike, nor that they do not."""
    why = "; ".join(f"{attack}: {said}" for attack, said in evidence.failures.items())
    message = f"Not run: no attack could be scored{f' ({why})' if why else ''}."
    return Control(name=name, forget=forget, label=label, as_expected=False, message=message)
