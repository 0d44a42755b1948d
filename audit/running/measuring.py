"""Measure deletions that nothing is claimed of. The one entry point is :func:`measure`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from attacks.protocol import Attack
from attacks.registry import default_attacks
from audit.controls.models import reused_models_control, unchanged_data_control
from audit.controls.randomness import randomness_controls
from audit.controls.replay import Replayed, replay
from audit.controls.trainings import trainings_of
from audit.controls.utility import utility_control
from audit.gathering.at_once import gather
from audit.gathering.contrast import Evidence, Key, Kind, retrained_sample
from audit.gathering.measuring import measures_of
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Sequential, Split
from audit.records.ledger import Control
from audit.records.measures import AttackMeasures, MeasureResult, Measures, SetMeasures
from audit.records.provenance import data_record, environment_of
from audit.records.words.phrases import subject
from audit.running.binding import bind_unclaimed, check_inputs, in_place, with_declared_replay
from audit.running.cheap_checks import check_fits
from audit.running.sharing import check_same_learning, contrasts_of, share, shown_progress
from audit.statistics.multiplicity import equal_share
from audit.trials.engines import Engine, Progress, SetUp, Streams, results
from audit.trials.failed_chunks import n_failed
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet, records_for

DELTA = 1e-5
TRIALS = 1000


def measure(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan | None = None,
    *,
    forget: int | Sequence[Sequence[int]] | None = None,
    delta: float | None = None,
    trials: int | None = None,
    attacks: Sequence[Attack | str] | None = None,
    significance: float | None = None,
    seed: int | None = None,
    share_learned: bool | None = None,
    engine: Streams | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
) -> MeasureResult:
    """Measure deletions that nothing is claimed of: lower bounds on epsilon, AUC and true-positive rates, no verdict.

    Each number stands beside the same number for a deletion that was ignored, and for retrained models against
    retrained ones: between the two lies what it says. All bounds hold together with probability at least
    1 - significance.

    Parameters
    ----------
    mechanism, data
        As for :func:`audit.run`.
    plan
        Of an audit: trials, attacks, counting, seed and the rest are taken from it, and its claims are not looked at.
        Without one, give ``forget``.
    forget
        One record, or forget sets: ``[(3,), (5, 9)]``.
    delta
        Of the bounds on epsilon, 1e-5 by default.
    trials
        Models of each world and forget set, fitting and counting together; 1,000 by default. As many are drawn of each
        of both worlds that stand beside them.
    attacks
        The portfolio, by default.
    significance, seed
        0.05 and 0 by default.
    share_learned
        As in :class:`audit.AuditPlan`.
    engine, progress, title, command
        As for :func:`audit.run`.

    Returns
    -------
    MeasureResult

    Raises
    ------
    InvalidInputError
        For input out of range, before anything is drawn.
    TrialError
        When the mechanism fails.

    Notes
    -----
    A lower bound is no proof that anything is safe, and an attack's advantage is that of the one attack.

    Examples
    --------
    >>> import numpy as np
    >>> from mechanisms import from_functions, load_named
    >>> data = load_named("diabetes", rows=40)
    >>> def mean(records, rng):
    ...     return records.features.mean(axis=0) + 0.001 * rng.standard_normal(records.features.shape[1])
    >>> lost = from_functions(
    ...     learn=mean,
    ...     unlearn=lambda model, retained, forget, rng: model,
    ...     release=(data.features.shape[1],),
    ... )
    >>> found = measure(lost, data, forget=3, trials=60, attacks=["lda"])
    >>> found.sets[0].attacks[0].unlearned.auc > 0.9
    True
    """
    started, clock = datetime.now(UTC), time.monotonic()
    data = records_for(mechanism, data)
    audited = data_record(data)
    engine = engine or Engine()
    chosen = {
        "delta": delta,
        "trials": trials,
        "attacks": attacks,
        "significance": significance,
        "seed": seed,
        "share_learned": share_learned,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    plan = _plan(plan, forget, given)
    check_inputs(plan, data)
    plan = with_declared_replay(plan, [mechanism])
    engine = engine.limited(plan.trial_timeout)
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in range(len(plan.forget))]
    done = dict(results(engine.stream(bind_unclaimed, calls), doing="binding the mechanism"))
    bound = [in_place(done[i], data, plan) for i in range(len(plan.forget))]
    if "attacks" not in given and forget is not None:
        plan = replace(plan, attacks=default_attacks(bound[0].context, n_fit=plan.n_smallest_fit))
    for record in bound:
        check_fits(plan, record)
    replays = [replay(r.deletion, plan, i, r.forget, r.label, engine=engine) for i, r in enumerate(bound)]
    usable = {i: [record] for i, record in enumerate(bound) if replays[i].control.as_expected}
    gathering, fits = engine, None
    if plan.share_learned:
        check_same_learning(plan, [[record] for record in bound], engine)
        gathering, fits = share(plan, usable, engine=engine, progress=progress)
    sets: list[SetMeasures] = []
    controls: list[Control] = []
    for i, record in enumerate(bound):
        evidence: Mapping[Key, Evidence] = {}
        if i in usable:
            evidence = gather(
                retrained_sample(plan, i, record.deletion),
                contrasts_of(plan, i, [record]),
                plan,
                engine=gathering,
                progress=shown_progress(progress, i, len(bound)),
                fitted=None if fits is None else fits(i, record),
            )
        mine = _controls(plan, record, i, evidence, replays[i], audited.sha256, engine)
        sets.append(_measured(plan, record, evidence, mine, len(bound)))
        controls += mine
    n = (plan.n_fit, plan.n_counted)
    return MeasureResult(
        title=title or f"Measures of {mechanism.name} on {data.name}",
        mechanism=mechanism.name,
        delta=plan.delta,
        significance=plan.significance,
        seed=plan.seed,
        n_fit=(n[0], n[0]),
        n_counted=(n[1], n[1]),
        ignored="ignored",
        sets=tuple(sets),
        trainings=trainings_of(plan, [record.deletion for record in bound], reference_control=False),
        controls=tuple(controls),
        notes=(),
        data=replace(data_record(data, mechanism), sha256=audited.sha256),
        environment=environment_of(started, time.monotonic() - clock, engine, command),
    )


def _plan(plan: AuditPlan | None, forget: int | Sequence[Sequence[int]] | None, given: Mapping[str, Any]) -> AuditPlan:
    """Return what is drawn, with controls of as many trials as the worlds themselves."""
    if (plan is None) == (forget is None):
        raise InvalidInputError(
            field="forget" if plan is None else "plan",
            expected="a plan or forget sets, and not both",
            got="neither" if plan is None else "both",
            fix="write forget=[(3,), (5, 9)]",
        )
    if plan is None:
        guarantee = EpsilonDelta(epsilon=0.0, delta=DELTA)
        options = {"trials": TRIALS, "delta": DELTA, **given}
        # The claim is asked of nobody: a plan has one.
        plan = AuditPlan(claims=(Claim(guarantee=guarantee),), forget=_sets(forget), **options)
    else:
        plan = replace(plan, **given)
    if isinstance(plan.counting, Sequential):
        plan = replace(plan, counting=Split(max_fit=plan.counting.max_fit))
    return replace(plan, control_trials=plan.trials)


def _sets(forget: Any) -> tuple[tuple[int, ...], ...]:
    if isinstance(forget, int | np.integer) and not isinstance(forget, bool):
        return ((int(forget),),)
    listed = list(forget) if isinstance(forget, Sequence | np.ndarray) and not isinstance(forget, str) else []
    if not listed or not all(isinstance(each, Sequence | np.ndarray) and not isinstance(each, str) for each in listed):
        raise InvalidInputError(
            field="forget",
            expected="one record, or forget sets",
            got=forget,
            fix="[(3,), (5,)] deletes each alone, [(3, 5)] both at once",
        )
    return tuple(tuple(each) for each in listed)


def _controls(
    plan: AuditPlan,
    record: BoundRecord,
    index: int,
    evidence: Mapping[Key, Evidence],
    replayed: Replayed,
    sha256: str,
    engine: Streams,
) -> list[Control]:
    forget, label, deletion = record.forget, record.label, record.deletion
    if not evidence:
        return [replayed.control]
    shown = evidence[Kind.CLAIMS, 0]
    return [
        replayed.control,
        *randomness_controls(deletion, shown, plan, index, forget, label),
        *reused_models_control(deletion, shown.seen, replayed, plan, record=index, forget=forget, label=label),
        *unchanged_data_control(deletion, record.data, shown.seen, sha256=sha256, forget=forget, label=label),
        *utility_control(deletion, plan, index, forget, label, engine=engine),
    ]


def _measured(
    plan: AuditPlan,
    record: BoundRecord,
    evidence: Mapping[Key, Evidence],
    controls: Sequence[Control],
    n_sets: int,
) -> SetMeasures:
    """Return what was measured of one forget set; nothing where its trials cannot be trusted."""
    name = subject(record.forget, record.label)
    spoiled = next((control.message for control in controls if control.spoils_verdicts), "")
    lost = sum(n_failed(each.failed) for each in evidence.values())
    if spoiled or lost:
        why = spoiled or f"{lost:,} trials failed, so that those that are left are no sample"
        return SetMeasures(name=name, forget=record.forget, attacks=(), failures={"": why})
    level = equal_share(plan.significance, n_sets * len(plan.attackers))

    def found(kind: Kind, attack: str) -> Measures | None:
        mine = evidence[kind, 0]
        if attack not in mine.prepared:
            return None
        scores = mine.unlearned[attack], mine.retrained[attack]
        return measures_of(mine.prepared[attack], *scores, delta=plan.delta, level=level)

    attacks = []
    for attack in evidence[Kind.CLAIMS, 0].prepared:
        unlearned = found(Kind.CLAIMS, attack)
        if unlearned is not None:
            beside = found(Kind.NEGLECTED, attack), found(Kind.NULL, attack)
            attacks.append(AttackMeasures(attack=attack, unlearned=unlearned, ignored=beside[0], retrained=beside[1]))
    failures = dict(evidence[Kind.CLAIMS, 0].failures)
    return SetMeasures(name=name, forget=record.forget, attacks=tuple(attacks), failures=failures)
