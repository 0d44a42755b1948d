"""What costs little and shows much: whether a plan can run at all, whether its trials replay, and what it will take.

In the flow: ``run --dry-run`` is this and nothing else. What an audit could show is another question, which takes
rehearsals: :mod:`audit.running.forecast_plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from audit.controls.replay import replay
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.power.forecasting import forecast_bound
from audit.power.forecasts import CostEstimate, Forecast
from audit.power.timing import estimate_cost
from audit.running.binding import bind_once, check_attacks, check_inputs, family_of, in_place
from audit.trials.engines import SetUp, Streams, results
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet

# Seconds that a process takes to start which has drawn nothing yet, and the share of drawing that this may take: half
# of the tenth of an audit that all checks may.
FRESH_SECONDS = 1.0
SHARE = 0.05


def check_cheaply(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan,
    *,
    engine: Streams,
    title: str | None = None,
) -> Forecast:
    """Return the warnings, the replays and the costs of an audit that nothing has been drawn for yet.

    Every forget set is bound, attacks that cannot run are refused, a trial of each world is drawn and timed, and one
    random stream is drawn twice for each forget set. A process of its own is asked for replays, as the audit does, only
    where its start is a small part of what the audit takes.

    Parameters
    ----------
    mechanism, data, plan, title
        As for :func:`audit.running.runner.run`.
    engine
        Draws, in worker processes where it has any.

    Raises
    ------
    InvalidInputError
        For input out of range, and attacks that cannot run.
    TrialError
        When the mechanism fails in any world.
    """
    check_inputs(plan, data)
    engine = engine.limited(plan.trial_timeout)
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in range(len(plan.forget))]
    done = dict(results(engine.stream(bind_once, calls), doing="binding the mechanism"))
    bound = [in_place(done[i], data, plan) for i in range(len(plan.forget))]
    for record in bound:
        check_fits(plan, record)
    tried = [(bound[0], plan, engine.n_jobs, _Tried())]
    ((_, cost),) = results(engine.stream(_cost, tried), doing="drawing a trial of each world")
    asks = FRESH_SECONDS * len(bound) <= SHARE * cost.seconds
    controls = tuple(
        replay(record.deletion, plan, i, record.forget, record.label, engine=engine, fresh=asks).control
        for i, record in enumerate(bound)
    )
    found = forecast_bound(
        plan,
        bound,
        family_of(plan, bound),
        # Power is rehearsed, which takes longer than a small audit.
        margins=(),
        title=title or f"Audit of {mechanism.name} on {data.name}",
        mechanism=mechanism.name,
        cost=cost,
        brief=True,
    )
    return replace(found, controls=controls)


def check_fits(plan: AuditPlan, record: BoundRecord) -> None:
    """Refuse attacks of a plan that will fail or be blind on a forget set.

    Raises
    ------
    InvalidInputError
        Naming every such attack with its reason.
    """
    check_attacks(
        plan.attackers,
        record.context,
        n_fit=plan.n_smallest_fit,
        on=f"forget set {record.forget}",
        counted="the plan's trials and counting",
    )


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """The trials that are timed: a few slow ones, or many that take no time."""

    n_trials: int = 20


def _cost(record: BoundRecord, plan: AuditPlan, n_jobs: int, tried: _Tried) -> CostEstimate:
    return estimate_cost(record.deletion, plan, n_jobs=n_jobs)
