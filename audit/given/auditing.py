"""Audit scores or releases that were made elsewhere: two arrays from a cluster instead of a mechanism.

The statistics are those of :func:`audit.running.runner.run`. What needs draws (an ignored deletion, the same stream
twice) is left out, and the report says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from numpy.typing import ArrayLike

from attacks.given.score import GivenScore
from attacks.protocol import Attack
from audit.gathering.contrast import Evidence, Kind
from audit.gathering.selection import Event, PreparedAttack
from audit.gathering.testing import run_test
from audit.given.controls import given_controls
from audit.given.judging import judge
from audit.given.models import one_row_a_model
from audit.given.options import Options
from audit.given.order import sorted_column
from audit.given.precision import LARGEST, precision_control
from audit.given.rows import GivenRows, gather_rows, n_fit
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Split
from audit.records.estimates import estimates_of
from audit.records.evidence import EventTest, Tail
from audit.records.ledger import (
    Control,
    DeclaredThreshold,
    Environment,
    Family,
    PlanRecord,
    WorldTrials,
    tally,
)
from audit.records.provenance import environment_of, plan_record
from audit.records.result import AuditResult
from audit.running.findings import roles_of
from audit.statistics.multiplicity import MemberKey, ledger
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine
from mechanisms.claim import Claim, Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError


def from_scores(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    *,
    claim: Claim,
    significance: float = 0.05,
    seed: int = 0,
    delta: float | None = None,
    attacks: Sequence[Attack | str] | None = None,
    threshold: float | None = None,
    counting: Split | None = None,
    column: int | str | None = None,
    releases: bool = False,
    title: str | None = None,
    names: tuple[str, str] = ("unlearned", "retrained"),
    command: str | None = None,
    model_ids: tuple[ArrayLike, ArrayLike] | None = None,
    continuous: bool = True,
) -> AuditResult:
    """Audit a claim on given scores: return a verdict that is wrong with probability at most ``significance``.

    A claim that holds is REFUTED with at most that probability, if the rows are independent and each is a model of
    the world that it is filed under. NOT_REFUTED proves nothing about the claim.

    Parameters
    ----------
    unlearned, retrained
        One row a model: scores, shape (n,), or releases, shape (n, d), which a generic attack is fitted on. The two
        may differ in length; rows in the order in which the models were made, so that drift can be seen.
    claim
        What is claimed, with the reference world that the retrained models are taken from.
    significance
        In (0, 0.5).
    seed
        Of the split: which rows fit and choose, and which are counted.
    delta
        Besides the claim's own rows, bounds are reported at this delta; the claim's own, or 1e-5, by default.
    attacks
        For releases: attacks or their names; by default the families of the portfolio that can be fitted on so few
        rows. Attacks that need data or a model are refused.
    threshold
        For scores: a threshold that was fixed before anybody looked at these rows. All rows are then counted and
        none chooses. The events are "score > threshold" (more frequent after unlearning) and its complement (more
        frequent after retraining), at the claim's point at ``delta``.
    counting
        Which share of the rows fits and chooses.
    column
        Which column is the score, where there are several: its number, counted from 1, or its name in a pandas table.
    releases
        True when every column is a parameter. Otherwise columns that look like job numbers, seeds, epochs or time
        stamps are refused: an attack would find in them which file a row is from.
    title, names, command
        For the report: its title, what the two arrays are called, and the command that runs it again. Equal names are
        told apart.
    model_ids
        Where several rows are of one model: the model of each row of ``unlearned`` and of ``retrained``, whole numbers
        or words. One row of each model is then drawn by the seed and counts (:func:`one_row_a_model`).
    continuous
        False when independent models may give equal rows (sparse coefficients, trees, rounded answers): equal rows are
        then no sign of a model that was filed twice.

    Returns
    -------
    AuditResult

    Raises
    ------
    InvalidInputError
        For arrays or options out of range, and attacks that cannot work on these rows, before anything is done.

    Notes
    -----
    The test is exact for independent rows (see :func:`audit.statistics.bounds.exact_joint_p_value`). Equal rows,
    correlated neighbours, a drift over the retrained rows, rows of the two worlds that go together, or worlds that are
    stored with unlike precision make the finding INCONCLUSIVE. Where rows were sorted the order shows nothing, and the
    verdict says "independence unchecked".

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))
    >>> from_scores(rng.normal(2, 1, 400), rng.normal(0, 1, 300), claim=claim).verdict.value
    'refuted'
    """
    started = Started.now()
    options = Options(
        claim=claim,
        significance=significance,
        seed=seed,
        delta=delta,
        attacks=attacks,
        threshold=threshold,
        counting=counting,
        releases=releases,
        names=names,
        continuous=continuous,
    )
    given = GivenRows.of(unlearned, retrained, options.names, column=column, releases=options.releases)
    precision = precision_control(given)
    return audit_rows(
        given, options, precision, started=started, title=title, command=command, model_ids=model_ids
    ).result


@dataclass(frozen=True, kw_only=True)
class Started:
    """When an audit began, by the calendar and by a clock that never jumps."""

    when: datetime
    clock: float

    @staticmethod
    def now() -> Started:
        """Return this moment."""
        return Started(when=datetime.now(UTC), clock=time.monotonic())

    def environment(self, command: str | None) -> Environment:
        """Return where an audit ran that ends now."""
        return environment_of(self.when, time.monotonic() - self.clock, Engine(), command)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowsAudit:
    """What an audit of given rows found, with the scores that it rests on."""

    result: AuditResult
    evidence: Evidence
    plan: AuditPlan


def audit_rows(
    given: GivenRows,
    options: Options,
    precision: Control,
    *,
    started: Started,
    title: str | None,
    command: str | None,
    model_ids: tuple[ArrayLike, ArrayLike] | None,
) -> RowsAudit:
    """Audit rows that were checked already; arguments and errors as for :func:`from_scores`.

    Parameters
    ----------
    given, options
        The rows, and what is asked of them.
    precision
        How the numbers were stored, which rows that were computed from them no longer show.
    started, title, command, model_ids
        When it began; as for :func:`from_scores`.
    """
    claim, names, threshold = options.claim, options.names, options.threshold
    data = given.data_record()
    given = given.clipped(LARGEST)
    if model_ids is not None:
        given = one_row_a_model(given, model_ids, seed=options.seed)
    plan = options.plan(given)
    tests: tuple[EventTest, ...] | None = None
    if threshold is None:
        evidence = gather_rows(given.unlearned, given.retrained, plan.attackers, plan, Kind.CLAIMS)
        members: list[MemberKey] = [
            (0, (), a.name, role) for a in plan.attackers for role in roles_of(claim, plan.delta)
        ]
        family = ledger(significance=plan.significance, correction=plan.correction, members=members)
    else:
        evidence, tests, family = _declared(given, claim, plan, threshold)
    sizes = tuple(_sizes(len(rows), plan, threshold) for rows in (given.unlearned, given.retrained))
    ordered = (evidence.unlearned, evidence.retrained)
    if given.are_scores and isinstance(plan.attackers[0], GivenScore):
        # Nothing was fitted, so that estimates and checks may look at every row.
        name = plan.attackers[0].name
        ordered = ({name: given.unlearned[:, 0]}, {name: given.retrained[:, 0]})
    controls = (*given_controls(given, ordered, plan, continuous=options.continuous), precision)
    findings, family = judge(
        claim,
        evidence,
        plan,
        family,
        controls,
        n_counted=(sizes[0].n_counted, sizes[1].n_counted),
        estimates=estimates_of(*ordered, rng=make_generator(plan.seed, Stream.ESTIMATES, 0)),
        tests=tests,
        independence_checked=not sorted_column(given),
    )
    result = AuditResult(
        title=title or f"Audit of {names[0]} against {names[1]}",
        mechanism="not run: its output was given",
        sampler="given scores" if given.are_scores else "given releases",
        plan=_record(plan, family, sizes[0], sizes[1], threshold),
        findings=findings,
        controls=controls,
        controls_made=tally(controls),
        family=family,
        data=data,
        environment=started.environment(command),
    )
    return RowsAudit(result=result, evidence=evidence, plan=plan)


def _sizes(n: int, plan: AuditPlan, threshold: float | None) -> WorldTrials:
    fitting = n_fit(n, plan) if threshold is None else 0
    return WorldTrials(trials=n, n_fit=fitting, n_counted=n - fitting)


def _declared(
    given: GivenRows, claim: Claim, plan: AuditPlan, threshold: float
) -> tuple[Evidence, tuple[EventTest, ...], Family]:
    """Count both tails at a threshold from before the data, on all rows, each against the claim's point."""
    events = {}
    for direction in claim.directions:
        tail: Tail = "upper" if direction is Direction.UNLEARNED_FROM_RETRAINED else "lower"
        point = claim.guarantee
        if not isinstance(point, EpsilonDelta):
            point = EpsilonDelta(epsilon=claim.epsilon_at(plan.delta, direction), delta=plan.delta)
        if math.isfinite(point.epsilon):
            name = f"score {'>' if tail == 'upper' else '≤'} {threshold:g}"
            events[name] = Event(point=point, direction=direction, tail=tail, threshold=threshold)
    if not events:
        raise InvalidInputError(
            field="delta",
            expected="a value at which the claim promises a finite epsilon",
            got=plan.delta,
            fix="choose another delta, or leave the threshold out so that the rows choose one",
        )
    scores = (given.unlearned[:, 0], given.retrained[:, 0])
    first = next(iter(events))
    evidence = Evidence(
        prepared={first: PreparedAttack(name=first, fitted=None, unlearned=scores[0], retrained=scores[1])},
        unlearned=dict.fromkeys(events, scores[0]),
        retrained=dict.fromkeys(events, scores[1]),
        failures={},
    )
    members: list[MemberKey] = [(0, (), name, "claim_row") for name in events]
    family = ledger(significance=plan.significance, correction=plan.correction, members=members)
    level = family.members[0].level
    return evidence, tuple(run_test(evidence, name, "claim_row", e, level) for name, e in events.items()), family


def _record(
    plan: AuditPlan, family: Family, unlearned: WorldTrials, retrained: WorldTrials, threshold: float | None
) -> PlanRecord:
    """Return the plan as data, with the sizes of both worlds."""
    return replace(
        plan_record(plan),
        attacks=tuple(dict.fromkeys(member.attack for member in family.members)),
        trials=unlearned.trials,
        n_fit=unlearned.n_fit,
        n_counted=unlearned.n_counted,
        counting=plan.counting if threshold is None else DeclaredThreshold(threshold=threshold),
        retrained=retrained,
    )
