"""Forecast the audit of a plan: bind it, as the audit itself would, and ask what that could show. Draws no trial."""

from __future__ import annotations

from collections.abc import Sequence

from audit.plan.audit_plan import AuditPlan
from audit.power.forecasting import MARGIN, check_margins, forecast_bound
from audit.power.forecasts import Forecast
from audit.running.binding import bind_once, check_inputs, family_of, in_place
from audit.trials.engines import Engine, SetUp, results
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet, records_for


def forecast(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan,
    *,
    margins: Sequence[float] = (MARGIN,),
    engine: Engine | None = None,
    timed: bool = False,
    title: str | None = None,
) -> Forecast:
    """Return what an audit by this plan can show: statements about power, none of them a verdict.

    Parameters
    ----------
    mechanism, data, plan
        As for ``audit.run``.
    margins
        Multiples of the claimed epsilon, above 1, whose power is stated.
    engine
        Binds the forget sets, and its workers divide the estimated time.
    timed
        Whether to draw one small timed chunk a world, from a random stream that nothing else uses.
    title
        For the printed table.

    Returns
    -------
    Forecast

    Raises
    ------
    InvalidInputError
        For input out of range.
    TrialError
        When the mechanism fails.
    """
    check_margins(margins)
    data = records_for(mechanism, data)
    check_inputs(plan, data)
    engine = engine or Engine()
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in range(len(plan.forget))]
    done = dict(results(engine.stream(bind_once, calls)))
    records = [in_place(done[i], data, plan) for i in range(len(plan.forget))]
    cost = None
    if timed:
        from audit.power.timing import estimate_cost

        cost = estimate_cost(records[0].deletion, plan, n_jobs=engine.n_jobs)
    return forecast_bound(
        plan,
        records,
        family_of(plan, records),
        margins=margins,
        title=title or f"Audit of {mechanism.name} on {data.name}",
        mechanism=mechanism.name,
        cost=cost,
    )
