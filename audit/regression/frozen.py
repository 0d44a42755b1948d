"""Count a candidate's releases at the events of a baseline: its fitted attacks, tails and thresholds, frozen.

In the flow: a stored result has the counts at many thresholds of every attack, but holds no fitted attack. The
baseline's plan does: fitting is a function of its seed. The fit is checked by the thresholds, which have to come out as
stored. Of these the one is frozen that told the worlds apart best on the fit split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.gathering.contrast import Kind, Sample
from audit.gathering.selection import PreparedAttack, count_event, prepare
from audit.gathering.telling_apart import best_cut, roc_thresholds
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Sequential
from audit.records.counts import Counts
from audit.records.evidence import Cut, Finding, Roc, Tail
from audit.records.result import AuditResult
from audit.regression.computed import reordered
from audit.running.binding import bind, in_place
from audit.trials.chunks import Source, Stream, draw_chunk, make_generator, score_chunk
from audit.trials.engines import Engine, Progress, results
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Mechanism, World

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Auditable:
    """What an audit is of: a mechanism, data, and a plan."""

    mechanism: Mechanism
    data: Dataset
    plan: AuditPlan


@dataclass(frozen=True, kw_only=True)
class FrozenCount:
    """A candidate's counts at one event of a baseline, which was likelier in the baseline's unlearned world."""

    forget: tuple[int, ...]
    attack: str
    tail: Tail
    threshold: float
    counts: Counts


def count_frozen_events(
    result: AuditResult,
    *,
    baseline: Auditable,
    candidate: Auditable,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> tuple[FrozenCount, ...]:
    """Return how often a candidate's releases fall into the events that told a baseline's worlds apart best.

    Parameters
    ----------
    result
        The baseline's result, whose events are frozen.
    baseline
        What that result is of; its fit split is drawn again and its attacks are fitted again.
    candidate
        What to count: ``candidate.plan.trials`` releases a world and forget set, all of them, from a random stream of
        their own. Forget sets that only one of the two plans has are left out; those of the same records in another
        order are refused, for mechanisms are given the records in that order.
    engine, progress
        As for :func:`audit.run`.

    Raises
    ------
    InvalidInputError
        When the baseline stops when decided (there is no one event), is of other data or forget sets, or does not fit
        to the stored thresholds; when the two plans name the same records in different orders.
    TrialError
        When a mechanism fails.

    Notes
    -----
    The candidate's releases are independent of the baseline's counted ones, whatever the two seeds. The event that a
    claim is tested with is not used: it may lie so far in a tail that a loss moves nothing there.
    """
    engine = engine or Engine()
    if isinstance(baseline.plan.counting, Sequential):
        raise InvalidInputError(
            field="baseline",
            expected="an audit of a fixed number of trials",
            got="stop_when_decided = true",
            fix="an event that changes as trials come cannot be frozen; run the baseline without it",
        )
    if baseline.data.sha256() != result.data.sha256:
        raise _mismatch("data", result.data.sha256[:12], baseline.data.sha256()[:12])
    check_orders(baseline.plan, candidate.plan)
    shared = [forget for forget in baseline.plan.forget if forget in candidate.plan.forget]
    found: list[FrozenCount] = []
    for done, forget in enumerate(shared):
        findings = [finding for finding in result.findings if finding.forget == forget]
        if not findings:
            there = ", ".join(str(known) for known in dict.fromkeys(f.forget for f in result.findings))
            raise _mismatch("forget sets", there, str(forget))
        if progress:
            progress("frozen events", done, len(shared))
        found += _count(findings, result, baseline, candidate, forget, engine)
    if progress and shared:
        progress("frozen events", len(shared), len(shared))
    return tuple(found)


def check_known(frozen: Sequence[FrozenCount], known: Sequence[tuple[int, ...]]) -> None:
    """Refuse counts of forget sets that a baseline does not have: they would be passed over without a word.

    Parameters
    ----------
    frozen
        Counts of a candidate.
    known
        The baseline's forget sets.

    Raises
    ------
    InvalidInputError
        Naming those that are of no use.
    """
    unknown = dict.fromkeys(count.forget for count in frozen if count.forget not in known)
    require(
        not unknown,
        "frozen",
        expected=f"counts of the baseline's forget sets {', '.join(map(str, dict.fromkeys(known)))}",
        got=", ".join(map(str, unknown)),
        fix="count frozen events of this baseline; the order of the records is part of a forget set",
    )


def check_orders(baseline: AuditPlan, candidate: AuditPlan) -> None:
    """Refuse forget sets of the same records in another order, which would count as different ones without a word.

    Raises
    ------
    InvalidInputError
        With the order in both plans.
    """
    for one, other in reordered(baseline.forget, candidate.forget):
        raise InvalidInputError(
            field="the candidate's forget sets",
            expected=f"{one} as in the baseline's plan, for the same records",
            got=other,
            fix="name the records in one order in both plans: it is the order in which they reach the mechanism",
        )


def _count(
    findings: Sequence[Finding],
    result: AuditResult,
    baseline: Auditable,
    candidate: Auditable,
    forget: tuple[int, ...],
    engine: Engine,
) -> list[FrozenCount]:
    index = baseline.plan.forget.index(forget)
    record = in_place(bind(baseline.mechanism, baseline.data, baseline.plan, index), baseline.data, baseline.plan)
    prepared = _fit(record, baseline.plan, index, engine)
    for finding in findings:
        _check_thresholds(finding, prepared)
    curves = {roc.attack: roc for finding in findings for roc in finding.roc}
    fitted = {name: attack.fitted for name, attack in prepared.items() if attack.fitted is not None}
    scores = {world: _scores(candidate, forget, world, fitted, engine) for world in (World.UNLEARNED, World.RETRAINED)}
    return [
        _frozen(forget, curve, best_cut(prepared[name]), scores)
        for name, curve in curves.items()
        if all(name in side for side in scores.values())
    ]


def _frozen(forget: tuple[int, ...], curve: Roc, cut: Cut, scores: Mapping[World, Mapping[str, Array]]) -> FrozenCount:
    one, other = (scores[world][curve.attack] for world in (World.UNLEARNED, World.RETRAINED))
    # The stored threshold, which is what the baseline's counts are of.
    threshold = curve.thresholds[cut.position]
    return FrozenCount(
        forget=forget,
        attack=curve.attack,
        tail=cut.tail,
        threshold=threshold,
        counts=count_event(threshold, cut.tail, one, other),
    )


def _fit(record: BoundRecord, plan: AuditPlan, index: int, engine: Engine) -> dict[str, PreparedAttack]:
    """Draw a plan's fit split and fit its attacks as :mod:`audit.gathering.contrast` does."""
    releases = []
    for world in (World.UNLEARNED, World.RETRAINED):
        source = Source(stream=Stream.RELEASES, world=world, record=index)
        sampler = record.sampler(world)
        tasks = Sample(deletion=sampler, source=source, trials=plan.trials).tasks(plan, fitting=True)
        chunks = dict(results(engine.stream(draw_chunk, [(sampler, task) for task in tasks])))
        releases.append(np.concatenate([chunks[i] for i in range(len(tasks))]))
    calls = [
        (attack, *releases, record.context, make_generator(plan.seed, Stream.FITTING, index, Kind.CLAIMS, j))
        for j, attack in enumerate(plan.attackers)
    ]
    done = dict(results(engine.stream(prepare, calls)))
    return {done[i].name: done[i] for i in range(len(calls))}


def _check_thresholds(finding: Finding, prepared: Mapping[str, PreparedAttack]) -> None:
    """Refuse a fit whose scores do not have the quantiles that the result stores."""
    for curve in finding.roc:
        attack = prepared.get(curve.attack)
        if attack is None or attack.fitted is None:
            raise _mismatch("attacks", curve.attack, ", ".join(prepared))
        thresholds = roc_thresholds(attack)
        # Other hardware may round differently; another fit is further off than that.
        same = len(thresholds) == len(curve.thresholds)
        if not same or not np.allclose(thresholds, curve.thresholds, rtol=1e-6, atol=1e-9):
            name = f"{attack.name} on forget set {finding.forget}: thresholds"
            middle = len(thresholds) // 2, len(curve.thresholds) // 2
            raise _mismatch(name, f"{curve.thresholds[middle[1]]:.9g}", f"{thresholds[middle[0]]:.9g}")


def _mismatch(what: str, expected: str, got: str) -> InvalidInputError:
    return InvalidInputError(
        field=f"the baseline's plan ({what})",
        expected=f"what the baseline's result was made from, {expected}",
        got=got,
        fix="give the plan and mechanism that made it, or make the baseline anew",
    )


def _scores(
    candidate: Auditable,
    forget: tuple[int, ...],
    world: World,
    fitted: Mapping[str, FittedAttack],
    engine: Engine,
) -> dict[str, Array]:
    """Return the candidate's scores by every attack that could score all of its releases."""
    # Learned models that a plan shares have streams that know no purpose, and could be those of the baseline.
    plan = replace(candidate.plan, share_learned=False)
    index = plan.forget.index(forget)
    record = bind(candidate.mechanism, candidate.data, plan, index)
    source = Source(stream=Stream.COMPARISON, world=world, record=index)
    sample = Sample(deletion=record.deletion, source=source, trials=plan.trials)
    tasks = [*sample.tasks(plan, fitting=True), *sample.tasks(plan, fitting=False)]
    chunks = dict(results(engine.stream(score_chunk, [(record.deletion, fitted, task) for task in tasks])))
    return {
        name: np.concatenate([chunks[i].scores[name] for i in range(len(tasks))])
        for name in fitted
        if all(name in chunk.scores for chunk in chunks.values())
    }
