"""Forecast an audit: power, ceilings and warnings of a plan, before a single trial is drawn.

In the flow: after a plan is bound and before anything is sampled. What a mechanism knows of itself (certificates,
laws) is used as data; nothing here takes part in a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from audit.controls.trainings import trainings_of
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Split
from audit.power.alternatives import CERTAIN, Curve, gaussian_curve, gaussian_mu, law_curve
from audit.power.claim_forecast import Neglect, Outlook, forecast_claim
from audit.power.forecasts import ClaimForecast, CostEstimate, Forecast
from audit.records.ledger import Family
from audit.records.provenance import plan_record
from audit.statistics.multiplicity import decide_family, equal_share
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import HasLaw, World
from mechanisms.reading.scalars import real_number

MARGIN = 2.0


def forecast_bound(
    plan: AuditPlan,
    records: Sequence[BoundRecord],
    family: Family,
    *,
    margins: Sequence[float],
    title: str,
    mechanism: str,
    cost: CostEstimate | None = None,
    brief: bool = False,
) -> Forecast:
    """Return the forecast of a plan that is bound already; draws nothing.

    ``brief`` has little but the warnings; without ``margins`` nothing is rehearsed, and no power is stated.
    """
    # With every p-value at 0 each member is tested at the level that it has if it is reached.
    decided = decide_family(family, {(m.claim, m.forget, m.attack, m.role): 0.0 for m in family.members})
    levels: dict[tuple[int, tuple[int, ...]], float] = {}
    for member in decided.members:
        key = (member.claim, member.forget)
        levels[key] = max(levels.get(key, 0.0), member.tested_at or 0.0)
    claims = tuple(
        _forecast_one(plan, record, i, levels[i, record.forget], tuple(margins), position, brief)
        for position, record in enumerate(records)
        for i in range(len(record.claims))
    )
    return Forecast(
        title=title,
        mechanism=mechanism,
        significance=plan.significance,
        n_tests=len(family.members),
        trials=plan.trials,
        claims=claims,
        plan=plan_record(
            plan,
            records[0].deletion.release.access,
            trainings=trainings_of(plan, [record.deletion for record in records]),
        ),
        family=family,
        cost=cost,
    )


def forecast_numbers(
    *,
    epsilon: float,
    delta: float,
    trials: int,
    significance: float = 0.05,
    tests: int = 1,
    margins: Sequence[float] = (MARGIN,),
) -> Forecast:
    """Return the forecast of auditing one (epsilon, delta) claim, without any mechanism.

    Parameters
    ----------
    epsilon, delta
        The claim; epsilon in nats.
    trials
        Releases a world, fitting and counting together, split as a plan would.
    significance, tests
        Of the whole audit, and how many tests share it.
    margins
        Multiples of the claimed epsilon, above 1, whose power is stated.

    Raises
    ------
    InvalidInputError
        For a number out of range.
    """
    check_margins(margins)
    if tests < 1:
        raise InvalidInputError(
            field="tests", expected="at least 1", got=tests, fix="count records x claims x attacks x rows"
        )
    claim = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))
    # The attack is not asked for anything: it only stands for one that loses nothing.
    plan = AuditPlan(
        claims=(claim,),
        forget=((0,),),
        attacks=(LikelihoodRatio(),),
        trials=trials,
        significance=significance,
        counting=Split(),
    )
    outlook = Outlook(plan=plan, level=equal_share(significance, tests), margins=tuple(margins))
    found = forecast_claim(claim, outlook, rng=make_generator(plan.seed, Stream.REHEARSAL, 0))
    return Forecast(title="", mechanism="", significance=significance, n_tests=tests, trials=trials, claims=(found,))


def check_margins(margins: Sequence[float]) -> None:
    """Refuse margins that are no margins.

    Raises
    ------
    InvalidInputError
        Unless every one is finite and above 1.
    """
    fix = "2 asks for the power against a true epsilon of twice the claimed one"
    for margin in margins:
        number = real_number(margin, "margin", fix=fix)
        require(1 < number < math.inf, "margin", expected="above 1 and finite", got=margin, fix=fix)


def _forecast_one(
    plan: AuditPlan,
    record: BoundRecord,
    claim: int,
    level: float,
    margins: tuple[float, ...],
    position: int,
    brief: bool,
) -> ClaimForecast:
    outlook = Outlook(
        plan=plan,
        level=level,
        margins=margins,
        brief=brief,
        n_parameters=math.prod(record.deletion.release.shape),
        # An ignored deletion is a margin too.
        neglect=_neglect(record, claim) if margins else None,
        context=record.context,
    )
    # The rehearsal's own stream: releases, controls and fits never share it.
    rng = make_generator(plan.seed, Stream.REHEARSAL, position, claim)
    found = forecast_claim(record.claims[claim], outlook, rng=rng)
    return replace(found, forget=record.forget, label=record.label)


def _neglect(record: BoundRecord, claim: int) -> Neglect | None:
    """Return what the mechanism itself states of an ignored deletion: what is there, never what is there at most."""
    deletion = record.deletion
    if isinstance(deletion, HasLaw):
        return Neglect(
            kind="neglected_laws", curve=law_curve(deletion.law(World.NEGLECTED), deletion.law(World.RETRAINED))
        )
    mine = [c for c in record.certificates if c.claim == record.claims[claim]]
    for certificate in (*mine, *record.certificates):
        if certificate.claim.provenance != "exact":
            # Its epsilon without unlearning is a bound: nobody can count on seeing it.
            continue
        alone = certificate.epsilon_without_unlearning
        if alone is not None and alone > 0 and 0 < certificate.delta < 1:
            return Neglect(kind="neglected_gaussian", curve=_gaussian(alone, certificate.delta))
    return None


def _gaussian(epsilon: float, delta: float) -> Curve:
    return CERTAIN if math.isinf(epsilon) else gaussian_curve(gaussian_mu(epsilon, delta))
