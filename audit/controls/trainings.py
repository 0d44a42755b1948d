"""How many models an audit trains: what it costs where training is what takes the time.

In the flow: a forecast says it before the first trial, and a result when it is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.controls.reference import n_drawn
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Trainings
from mechanisms.protocol import Deletion, HasStages, World


def trainings_of(plan: AuditPlan, deletions: Sequence[Deletion], *, reference_control: bool = True) -> Trainings | None:
    """Return the trainings of a plan's trials and controls; ``None`` where a mechanism shows no learning.

    Parameters
    ----------
    plan
        How many trials; where it stops when decided this is the most.
    deletions
        One a forget set.
    reference_control
        Whether the reference world is controlled, which takes models of its own.
    """
    if not all(isinstance(deletion, HasStages) for deletion in deletions):
        return None
    trials, controls, n = plan.trials, plan.n_control_trials, len(deletions)
    extra = [n_drawn(deletion, plan) for deletion in deletions] if reference_control else []
    return Trainings(
        all_records=(1 if plan.share_learned else n) * (trials + controls) + sum(x[World.NEGLECTED] for x in extra),
        retained=n * (trials + controls) + sum(x[World.RETRAINED] for x in extra),
    )
