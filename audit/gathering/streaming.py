"""Draw, fit, count and look, again and again, until every claim about one forget set is refuted or the budget is spent.

In the flow: what :func:`audit.gathering.at_once.gather` is for a fixed number of trials. The first chunks fit attacks
and choose events. Every later chunk is counted under choices made from chunks before it. When the number of trials has
doubled, attacks are fitted and events chosen anew on all of them. Chunks are drawn ahead by the workers, but looked at
in their order, and those after the stop are thrown away: the result is the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.gathering.cases import Case, Era, Inquiry, check_counted, evidence_of, look_at
from audit.gathering.contrast import (
    SHARE_BYTES,
    Contrast,
    Evidence,
    Failed,
    Key,
    Kind,
    Sample,
    failed_by_owner,
)
from audit.gathering.failing import failed_chunk, no_releases
from audit.gathering.following import Hypothesis, ask, choose_again
from audit.gathering.selection import claim_rows, plan_delta_points, prepare
from audit.gathering.testing import IDENTICAL
from audit.plan.audit_plan import AuditPlan, FixedSequence
from audit.plan.split import Sequential
from audit.statistics.multiplicity import Role, equal_share
from audit.trials.chunks import (
    ChunkTask,
    ScoredChunk,
    Stream,
    draw_and_score,
    draw_chunk,
    make_generator,
    unscored,
)
from audit.trials.engines import Engine, Progress, Streams, results
from audit.trials.failed_chunks import FailedChunk
from audit.trials.independence import FALSE_ALARM
from audit.trials.workers.pool import Failure
from mechanisms.claim import Claim
from mechanisms.protocol import Deletion

Array = NDArray[np.float64]
Scorers = Mapping[tuple[Key, str], FittedAttack]
# Chunks of each world that a worker has in hand: more waste draws after a stop, fewer leave workers idle.
AHEAD = 2


def inquiries_of(
    contrasts: Sequence[Contrast],
    plan: AuditPlan,
    claims: Sequence[Sequence[Claim]],
    levels: Sequence[Sequence[Mapping[Role, float]]],
) -> dict[Key, tuple[Inquiry, ...]]:
    """Return what to ask about each contrast: every claim, the first claim of an ignored deletion, or any difference.

    Parameters
    ----------
    claims, levels
        Of each service: its claims about the forget set, and for each the levels of its lines by role, from its ledger.
    """
    order = plan.correction.order if isinstance(plan.correction, FixedSequence) else ()
    # A declared order among attacks or rows gives each its own step, and a mean would mix steps.
    combined = not {"attacks", "rows"} & set(order)
    null_level: Mapping[Role, float]
    null_level = {"claim_row": equal_share(FALSE_ALARM, len(plan.forget) * len(plan.attackers))}
    found: dict[Key, tuple[Inquiry, ...]] = {}
    for kind, service in (contrast.key for contrast in contrasts):
        stated = claims[service]
        if kind is Kind.NULL:
            asked = [Inquiry(hypotheses=(("claim_row", IDENTICAL),), levels=null_level, combined=True)]
        elif kind is Kind.NEGLECTED:
            asked = [
                Inquiry(hypotheses=(("claim_row", claim_rows(stated[0])),), levels=levels[service][0], combined=True)
            ]
        else:
            asked = [
                Inquiry(hypotheses=_hypotheses(claim, plan.delta), levels=mine, combined=combined)
                for claim, mine in zip(stated, levels[service], strict=True)
            ]
        found[kind, service] = tuple(asked)
    return found


def _hypotheses(claim: Claim, delta: float) -> tuple[Hypothesis, ...]:
    return ("claim_row", claim_rows(claim)), ("plan_delta", plan_delta_points(claim, delta))


def gather_until_decided(
    retrained: Sample,
    contrasts: Sequence[Contrast],
    inquiries: Mapping[Key, Sequence[Inquiry]],
    plan: AuditPlan,
    counting: Sequential,
    *,
    engine: Streams,
    progress: Progress | None,
) -> dict[Key, Evidence]:
    """Return the evidence of every contrast with the retrained sample, each stopped at its own time.

    Parameters
    ----------
    retrained, contrasts
        As for :func:`audit.gathering.at_once.gather`.
    inquiries
        What to ask about each contrast. A contrast stops when all of its questions are refuted. The null control
        should never be: it goes on as long as another contrast does, within the trials of a control.
    plan, counting
        What was decided in advance.
    engine, progress
        As for :func:`audit.running.runner.run`.

    Raises
    ------
    TrialError
        When a mechanism fails in every chunk of a world that is to fit, or to count.
    """
    sizes = plan.chunk_sizes(plan.trials)
    first = counting.n_fit_chunks(sizes)
    totals = (0, *accumulate(sizes))
    cases = tuple(_case(c, inquiries[c.key], plan, sizes, first) for c in contrasts)
    releases, failed = _draw_first(retrained, cases, plan, sizes[:first], engine, progress)
    cases = tuple(replace(case, failed=(*failed[case.contrast.key], *failed[None])) for case in cases)
    begin = first
    while begin < len(sizes) and _goes_on(cases, begin):
        end = min(2 * begin, len(sizes))
        fit = begin == first or (counting.refit and totals[begin] <= counting.max_fit)
        cases = tuple(_chosen(case, plan, releases, begin, fit, first, totals, engine) for case in cases)
        # Releases are kept only while another fit may want them.
        keep = counting.refit and end < len(sizes) and totals[end] <= counting.max_fit
        if not keep:
            releases.clear()
        cases = _count(retrained, cases, plan, range(begin, end), sizes, releases, keep, engine, progress)
        begin = end
    for case in cases:
        check_counted(case)
    return {case.contrast.key: evidence_of(case, totals[first], plan.n_counted) for case in cases}


def _case(contrast: Contrast, inquiries: Sequence[Inquiry], plan: AuditPlan, sizes: Sequence[int], first: int) -> Case:
    """A control has as many leading chunks as its trials fill, and at least one that is counted."""
    n_chunks = len(sizes)
    if contrast.key[0] is not Kind.CLAIMS:
        n_chunks = min(n_chunks, max(first + 1, plan.n_control_trials // sizes[0]))
    return Case(contrast=contrast, n_chunks=n_chunks, inquiries=tuple(inquiries))


def _goes_on(cases: Sequence[Case], chunk: int) -> bool:
    return any(case.is_open(chunk) for case in cases if case.contrast.key[0] is not Kind.NULL)


def _task(plan: AuditPlan, sample: Sample, sizes: Sequence[int], chunk: int) -> ChunkTask:
    return ChunkTask(seed=plan.seed, source=sample.source, chunk=chunk, n=sizes[chunk])


Releases = dict[Key | None, list[Array]]


def _draw_first(
    retrained: Sample,
    cases: Sequence[Case],
    plan: AuditPlan,
    sizes: Sequence[int],
    engine: Streams,
    progress: Progress | None,
) -> tuple[Releases, Failed]:
    """Draw the chunks that only fit and choose: of every contrast, and of the retrained world under ``None``."""
    samples: dict[Key | None, Sample] = {case.contrast.key: case.contrast.sample for case in cases}
    samples[None] = retrained
    owners = [key for key in samples for _ in sizes]
    calls = [(s.deletion, _task(plan, s, sizes, chunk)) for s in samples.values() for chunk in range(len(sizes))]
    tasks = [task for _, task in calls]
    drawn: list[Array] = [no_releases(deletion) for deletion, _ in calls]
    failures: dict[int, Failure] = {}
    done, total = 0, sum(task.n for task in tasks)
    for i, releases in engine.stream(draw_chunk, calls):
        done += tasks[i].n
        if isinstance(releases, Failure):
            failures[i] = releases
        else:
            drawn[i] = releases
        if progress:
            progress("fitting trials", done, total)
    found: Releases = {key: [] for key in samples}
    for key, releases in zip(owners, drawn, strict=True):
        found[key].append(releases)
    return found, failed_by_owner(owners, tasks, failures)


def _chosen(
    case: Case,
    plan: AuditPlan,
    releases: Releases,
    begin: int,
    fit: bool,
    first: int,
    totals: Sequence[int],
    engine: Streams,
) -> Case:
    """Return a case with events chosen on everything before chunk ``begin``, by attacks fitted anew if ``fit``."""
    if begin > first and not case.is_open(begin):
        return case
    era = _fitted(case, plan, releases, begin, engine) if fit else case.era
    failures = dict(case.failures)
    if begin == first:
        failures |= {name: a.failure for name, a in era.prepared.items() if a.failure is not None}
    usable = {name: attack for name, attack in era.past().items() if name not in failures}
    era = replace(era, prepared={name: era.prepared[name] for name in usable})
    if begin == first:
        n = totals[case.n_chunks] - totals[first]
        asked = [ask(i.hypotheses, usable, levels=i.levels, combined=i.combined, n=n) for i in case.inquiries]
        return replace(case, era=era, failures=failures, questions=tuple(asked))
    questions = tuple(choose_again(question, usable) for question in case.questions)
    return replace(case, era=era, questions=questions, refits=(*case.refits, totals[begin] - totals[first]))


def _fitted(case: Case, plan: AuditPlan, releases: Releases, begin: int, engine: Streams) -> Era:
    """Return a new era; an attack that could be fitted before and cannot now keeps its old fit."""
    key, record = case.contrast.key, case.contrast.sample.source.record
    first, second = (np.concatenate(releases[side][:begin]) for side in (key, None))
    second = second[: len(first)]
    attacks = [attack for attack in plan.attackers if attack.name not in case.failures]
    calls = [
        (
            attack,
            first,
            second,
            case.contrast.context,
            make_generator(plan.seed, Stream.FITTING, record, key[0], j, begin),
        )
        for j, attack in enumerate(attacks)
    ]
    if first.nbytes + second.nbytes > SHARE_BYTES:
        engine = Engine()
    done = dict(results(engine.stream(prepare, calls), doing="fitting attacks"))
    old = case.era.past()
    fitted = [done[i] for i in range(len(calls))]
    prepared = {a.name: a if a.failure is None or a.name not in old else old[a.name] for a in fitted}
    return Era(prepared=prepared)


def _count(
    retrained: Sample,
    cases: tuple[Case, ...],
    plan: AuditPlan,
    chunks: range,
    sizes: Sequence[int],
    releases: Releases,
    keep: bool,
    engine: Streams,
    progress: Progress | None,
) -> tuple[Case, ...]:
    """Draw, score and look at chunks in their order until everything is decided."""
    n_ahead = AHEAD * engine.n_jobs if engine.n_jobs > 1 else 1
    for start in range(chunks.start, chunks.stop, n_ahead):
        wave = range(start, min(start + n_ahead, chunks.stop))
        scored = _drawn(retrained, cases, plan, wave, sizes, keep, engine)
        for chunk in wave:
            if not _goes_on(cases, chunk):
                return cases
            base = scored[None, chunk]
            if keep:
                releases[None].append(base.releases)
            for case in [c for c in cases if c.is_open(chunk) and keep]:
                releases[case.contrast.key].append(scored[case.contrast.key, chunk].releases)
            cases = tuple(
                _looked_at(case, scored[case.contrast.key, chunk], base) if case.is_open(chunk) else case
                for case in cases
            )
            if progress:
                progress("pairs, at most", sum(sizes[: chunk + 1]), sum(sizes))
    return cases


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """A chunk of scores, with its releases if they are to be fitted on, or what stands for one that failed."""

    scored: ScoredChunk
    releases: Array
    failed: tuple[FailedChunk, ...] = ()


def _drawn(
    retrained: Sample,
    cases: Sequence[Case],
    plan: AuditPlan,
    wave: range,
    sizes: Sequence[int],
    keep: bool,
    engine: Streams,
) -> dict[tuple[Key | None, int], _Drawn]:
    """Draw and score the chunks of a wave for all open cases; a retrained chunk is drawn once for all of them."""
    calls: list[tuple[Deletion, Scorers, ChunkTask, bool]] = []
    owners: list[tuple[Key | None, int]] = []
    for chunk in wave:
        shared: dict[tuple[Key, str], FittedAttack] = {}
        for case in (case for case in cases if case.is_open(chunk)):
            sample, scorers = case.contrast.sample, case.scorers()
            calls.append((sample.deletion, scorers, _task(plan, sample, sizes, chunk), keep))
            owners.append((case.contrast.key, chunk))
            shared |= scorers
        calls.append((retrained.deletion, shared, _task(plan, retrained, sizes, chunk), keep))
        owners.append((None, chunk))
    return {owners[i]: _drawn_of(calls[i], found) for i, found in engine.stream(draw_and_score, calls)}


def _drawn_of(call: tuple[Deletion, Scorers, ChunkTask, bool], found: tuple[ScoredChunk, Array] | Failure) -> _Drawn:
    deletion, attacks, task, _ = call
    if isinstance(found, Failure):
        failed = (failed_chunk(task, found),)
        return _Drawn(scored=unscored(task, attacks), releases=no_releases(deletion), failed=failed)
    return _Drawn(scored=found[0], releases=found[1])


def _looked_at(case: Case, drawn: _Drawn, base: _Drawn) -> Case:
    """Return a case after one more chunk, with what failed of it."""
    return replace(look_at(case, drawn.scored, base.scored), failed=(*case.failed, *drawn.failed, *base.failed))
