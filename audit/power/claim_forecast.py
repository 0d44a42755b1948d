"""Forecast one claim about one forget set: what can be detected, with which power, and what to warn of.

In the flow: ``audit.power.forecasting`` calls it for every claim and forget set of a bound plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from attacks.linear.blocks import BlockLda
from attacks.linear.discriminant import LinearDiscriminant, largest_shift_kept
from attacks.linear.whitened import WhitenedLda
from attacks.portfolio import Family
from attacks.protocol import Attack, AttackContext, trouble
from audit.gathering.selection import claim_rows
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential
from audit.power.alternatives import Curve, gaussian_curve, gaussian_epsilon, gaussian_mu
from audit.power.cautions import LOW_POWER, cautions_of
from audit.power.ceilings import best_power, detectable_shift, refutable
from audit.power.forecasts import Alternative, ClaimForecast, LearnedAttack, PowerStatement
from audit.power.rehearsal import rehearse
from audit.power.trials_needed import Asymptotic, trials_needed, trials_to_refute
from audit.power.trials_planned import NEAR, factor_to_target, planned_trials
from audit.statistics.bounds import ceiling
from mechanisms.claim import Claim, EpsilonDelta, PrivacyProfile

REHEARSALS = 50
# What is kept of a shift by either is bounded alike: by the noise of the two means.
LEARNS_DIRECTION = LinearDiscriminant | WhitenedLda
# Below this power a rehearsal has nothing to add, and from this power on no warning depends on it.
NEGLIGIBLE_POWER, ENOUGH_POWER = 0.02, 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Neglect:
    """What a mechanism states of an ignored deletion: the curve of that world against retraining."""

    kind: Literal["neglected_laws", "neglected_gaussian"]
    curve: Curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlook:
    """What a claim is forecast under.

    Parameters
    ----------
    plan
        Trials, split and attacks.
    level
        Level of each test.
    margins
        Multiples of the claimed epsilon.
    n_parameters
        Size of a release; 0 where there is no mechanism.
    brief
        Whether to leave out (``None``) what no warning needs.
    neglect
        What the mechanism states of an ignored deletion.
    context
        What attackers are granted; ``None`` where there is no mechanism.
    """

    plan: AuditPlan
    level: float
    margins: tuple[float, ...]
    n_parameters: int = 0
    brief: bool = False
    neglect: Neglect | None = None
    context: AttackContext | None = None


def forecast_claim(claim: Claim, outlook: Outlook, *, rng: np.random.Generator) -> ClaimForecast:
    """Return what an audit can show about one claim; its forget set is left empty.

    Parameters
    ----------
    claim
        The claim.
    outlook
        The plan, and what is known of the deletion.
    rng
        Draws the rehearsed fit splits; never a stream of the run.

    Notes
    -----
    Approximate: powers are within about .02 where the event is known, and have a standard error of at most .07 where
    its choice is rehearsed. All are for one attack.
    """
    plan, level = outlook.plan, outlook.level
    n = plan.n_counted
    delta, claimed = stated_at(claim, plan.delta)
    can = refutable(claim, n_unlearned=n, n_retrained=n, level=level)
    counted = None if can else trials_to_refute(claim, level=level)
    stated = 0 < delta < 1 and 0 < claimed < math.inf
    # A stream for each statement, so that none depends on which others were rehearsed.
    *streams, last = rng.spawn(len(outlook.margins) + 1)
    margins = tuple(
        _margin(claim, outlook, ratio, delta, claimed, can, stream)
        for ratio, stream in zip(outlook.margins, streams, strict=True)
        if stated
    )
    found = ClaimForecast(
        claim=claim,
        forget=(),
        label="",
        delta=delta,
        claimed_epsilon=claimed,
        n_fit=plan.n_fit,
        n_counted=n,
        level=level,
        ceiling=ceiling(n_null=n, level=level, delta=delta),
        refutable=can,
        trials_to_refute=plan.trials if can else None if counted is None else plan_trials(plan, counted),
        detectable_epsilon=None if outlook.brief else _detectable(claim, n, level, delta) if can else math.inf,
        margins=margins,
        neglected=_neglected(claim, outlook, delta, claimed, can, last) if stated else None,
        learned=_learned(claim, outlook, margins, can),
        cautions=(),
    )
    return replace(found, cautions=cautions_of(found, outlook.plan.attackers, outlook.context))


def stated_at(claim: Claim, delta: float) -> tuple[float, float]:
    """Return the delta at which epsilons of a claim are stated, and the epsilon that it promises there.

    A plain (epsilon, delta) claim has its own delta; other claims are stated at the plan's delta, or at their smallest
    delta where they promise nothing there. A claim with delta = 0 is stated at the plan's delta too: no Gaussian shift
    has a finite epsilon at 0.
    """
    guarantee = claim.guarantee
    if isinstance(guarantee, EpsilonDelta) and guarantee.delta > 0:
        return guarantee.delta, guarantee.epsilon
    # A direction that is not claimed promises nothing.
    epsilon = max(claim.epsilon_at(delta, direction) for direction in claim.directions)
    points = [point for _, point in claim_rows(claim)]
    if math.isfinite(epsilon) or not points:
        return delta, epsilon
    largest = max(points, key=lambda point: point.epsilon)
    return largest.delta, largest.epsilon


def plan_trials(plan: AuditPlan, counted: int) -> int:
    """Return the fewest trials of a plan that leave so many to count."""
    trials = max(counted, 20)
    for _ in range(200):
        planned = replace(plan, trials=trials)
        if planned.n_counted >= counted:
            break
        trials = max(counted + planned.n_fit, trials + 1)
    return trials


def last_fit(plan: AuditPlan) -> int:
    """Return how many trials a world the last fit of an attack sees."""
    if isinstance(plan.counting, Sequential) and plan.counting.refit:
        # Fitted anew whenever the trials have doubled: the last time on half of them, or a few more.
        return max(plan.n_fit, min(plan.counting.max_fit, plan.trials // 2))
    return plan.n_fit


def _detectable(claim: Claim, n: int, level: float, delta: float) -> float:
    # A plan asks this of every forget set, and it takes seconds. The profiles of certificates differ between them.
    is_profile = isinstance(claim.guarantee, PrivacyProfile)
    return (_solved_detectable if is_profile else _known_detectable)(claim, n, level, delta)


def _solved_detectable(claim: Claim, n: int, level: float, delta: float) -> float:
    shift = detectable_shift(claim, n=n, level=level)
    return math.inf if math.isinf(shift) or delta == 0 else gaussian_epsilon(shift, delta)


_known_detectable = lru_cache(maxsize=256)(_solved_detectable)


def _margin(
    claim: Claim, outlook: Outlook, ratio: float, delta: float, claimed: float, can: bool, rng: np.random.Generator
) -> PowerStatement:
    epsilon = ratio * claimed
    alternative = Alternative(kind="gaussian_shift", epsilon=epsilon, delta=delta)
    curve = gaussian_curve(gaussian_mu(epsilon, delta))
    return _statement(claim, outlook, alternative, curve, ratio, can, rng)


def _neglected(
    claim: Claim, outlook: Outlook, delta: float, claimed: float, can: bool, rng: np.random.Generator
) -> PowerStatement | None:
    neglect = outlook.neglect
    if neglect is None:
        return None
    epsilon = neglect.curve.epsilon(delta)
    alternative = Alternative(kind=neglect.kind, epsilon=epsilon, delta=delta)
    return _statement(claim, outlook, alternative, neglect.curve, epsilon / claimed, can, rng)


def _statement(
    claim: Claim,
    outlook: Outlook,
    alternative: Alternative,
    curve: Curve,
    ratio: float,
    can: bool,
    rng: np.random.Generator,
) -> PowerStatement:
    plan, level = outlook.plan, outlook.level
    known = best_power(claim, curve.fpr, curve.tpr, n=plan.n_counted, level=level) if can else 0.0
    rehearsed, factor = known, math.inf
    if known > max(NEGLIGIBLE_POWER, level) and not (outlook.brief and known >= ENOUGH_POWER):
        chosen = rehearse(
            claim,
            curve.fpr,
            curve.tpr,
            n_fit=last_fit(plan),
            n_counted=plan.n_counted,
            level=level,
            rng=rng,
            repeats=REHEARSALS,
        )
        powers = chosen.powers(plan.n_counted, level=level)
        rehearsed, factor = float(powers.mean()), factor_to_target(powers, level=level)
    enough = outlook.brief and rehearsed >= LOW_POWER
    if enough or 1 / NEAR <= factor <= NEAR:
        # From nearby, what was rehearsed for the power says it: the two then agree.
        needed = None if enough else math.ceil(plan.trials * factor)
    else:
        needed = _trials_needed(claim, outlook, curve, rng.spawn(1)[0])
    return PowerStatement(
        alternative=alternative,
        ratio=ratio,
        power=rehearsed,
        power_known_event=known,
        trials_needed=needed,
    )


def _trials_needed(claim: Claim, outlook: Outlook, curve: Curve, rng: np.random.Generator) -> int | None:
    """Return the plan's trials that give power 0.8 to an attack that loses nothing, its event chosen as planned."""
    plan = outlook.plan
    known = trials_needed(claim, curve, level=outlook.level, accuracy=Asymptotic())
    if known is None:
        return None

    def split(trials: int) -> tuple[int, int]:
        planned = replace(plan, trials=trials)
        return last_fit(planned), planned.n_counted

    start = plan_trials(plan, known)
    return planned_trials(claim, curve, level=outlook.level, start=start, split=split, rng=rng)


def _learns_blindly(attack: Attack, outlook: Outlook) -> bool:
    """Return whether an attack learns a direction among all numbers, or a family of which no other kind applies."""
    if isinstance(attack, Family) and outlook.context is not None:
        members = [m for m in attack.members if trouble(m, outlook.context, n_fit=outlook.plan.n_smallest_fit) is None]
        # Means of blocks know no direction either, but where neighbours happen to move together.
        return bool(members) and all(isinstance(member, LEARNS_DIRECTION | BlockLda) for member in members)
    return isinstance(attack, LEARNS_DIRECTION)


def _learned(
    claim: Claim, outlook: Outlook, margins: tuple[PowerStatement, ...], can: bool
) -> tuple[LearnedAttack, ...]:
    """Return what learned linear attacks keep of the last margin's shift."""
    plan, found = outlook.plan, []
    for attack in plan.attackers:
        if margins and outlook.n_parameters and _learns_blindly(attack, outlook):
            alternative = margins[-1].alternative
            mu = gaussian_mu(alternative.epsilon, alternative.delta)
            kept = largest_shift_kept(mu, n_parameters=outlook.n_parameters, n_fit=last_fit(plan))
            curve = gaussian_curve(kept)
            found.append(
                LearnedAttack(
                    attack=attack.name,
                    n_parameters=outlook.n_parameters,
                    n_fit=last_fit(plan),
                    kept=kept / mu,
                    power=best_power(claim, curve.fpr, curve.tpr, n=plan.n_counted, level=outlook.level)
                    if can
                    else 0.0,
                )
            )
    return tuple(found)
