"""Gather the evidence about one forget set: draw, fit, choose, draw again and score, each part all at once.

In the flow: the runner asks; an audit that stops when decided goes another way (:mod:`audit.gathering.streaming`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.gathering.contrast import (
    NOTHING_LEFT,
    SHARE_BYTES,
    Contrast,
    Evidence,
    Failed,
    Key,
    Sample,
    failed_by_owner,
)
from audit.gathering.failing import no_releases
from audit.gathering.selection import PreparedAttack, prepare
from audit.plan.audit_plan import AuditPlan
from audit.trials.chunks import ChunkTask, Stream, draw_chunk, make_generator, score_chunk
from audit.trials.engines import Engine, Progress, Streams, results
from audit.trials.failed_chunks import collected, n_failed
from audit.trials.watching import Watched, together
from audit.trials.workers.pool import Failure
from mechanisms.protocol import Deletion

Array = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What the fit split of one forget set gives: attacks by contrast and name, and the chunks of it that failed."""

    prepared: Mapping[Key, Mapping[str, PreparedAttack]]
    failed: Failed


def gather(
    retrained: Sample,
    contrasts: Sequence[Contrast],
    plan: AuditPlan,
    *,
    engine: Streams,
    progress: Progress | None,
    fitted: Fitted | None = None,
) -> dict[Key, Evidence]:
    """Return the evidence of every contrast with the retrained sample; attacks that are fitted already are not again.

    Raises
    ------
    TrialError
        When a mechanism fails in every chunk of a world.
    """
    if fitted is None:
        fitted = fit(retrained, contrasts, plan, engine=engine, progress=progress)
    scores = _score(retrained, contrasts, fitted.prepared, plan, engine, progress)
    return {c.key: _evidence(c.key, fitted.prepared[c.key], scores, fitted.failed) for c in contrasts}


def fit(
    retrained: Sample,
    contrasts: Sequence[Contrast],
    plan: AuditPlan,
    *,
    engine: Streams,
    progress: Progress | None,
) -> Fitted:
    """Draw the fit split, and fit every attack for every contrast on it.

    Raises
    ------
    TrialError
        When a mechanism fails in every chunk of a world that claims are about.
    """
    samples: dict[Key | None, Sample] = {c.key: c.sample for c in contrasts}
    samples[None] = retrained
    releases, failed = _draw(samples, plan, engine, progress)
    prepared = _prepare(plan, contrasts, releases, engine)
    return Fitted(prepared=prepared, failed=failed)


Scorers = Mapping[tuple[Key, str], FittedAttack]


def counting_calls(
    retrained: Sample,
    contrasts: Sequence[Contrast],
    prepared: Mapping[Key, Mapping[str, PreparedAttack]],
    plan: AuditPlan,
) -> list[tuple[Deletion, Scorers, ChunkTask]]:
    """Return the calls of :func:`~audit.trials.chunks.score_chunk` of the counting split, the retrained world last.

    A retrained chunk is drawn once and scored for every contrast that counts it.
    """
    scorers = {c.key: scorers_of(c.key, prepared[c.key]) for c in contrasts}
    tasks = {c.key: c.sample.tasks(plan, fitting=False) for c in contrasts}
    calls: list[tuple[Deletion, Scorers, ChunkTask]]
    calls = [(c.sample.deletion, scorers[c.key], task) for c in contrasts for task in tasks[c.key]]
    kept: dict[tuple[Key, ...], dict[ScoreKey, FittedAttack]] = {}
    for position, task in enumerate(retrained.tasks(plan, fitting=False)):
        sharing = tuple(key for key in scorers if position < len(tasks[key]))
        # One object for all chunks that share it, which a worker is sent once.
        shared = kept.setdefault(sharing, {k: v for key in sharing for k, v in scorers[key].items()})
        calls.append((retrained.deletion, shared, task))
    return calls


def _draw(
    samples: Mapping[Key | None, Sample], plan: AuditPlan, engine: Streams, progress: Progress | None
) -> tuple[list[Array], Failed]:
    """Draw the fit split of every sample, each assembled in chunk order whatever the order of the workers."""
    owners = [key for key, sample in samples.items() for _ in sample.tasks(plan, fitting=True)]
    calls = [(sample.deletion, task) for sample in samples.values() for task in sample.tasks(plan, fitting=True)]
    tasks = [task for _, task in calls]
    chunks: list[Array] = [no_releases(deletion) for deletion, _ in calls]
    failures: dict[int, Failure] = {}
    stream = engine.stream(draw_chunk, calls)
    for i, drawn in _ticking(stream, tasks, "fitting trials", progress):
        if isinstance(drawn, Failure):
            failures[i] = drawn
        else:
            chunks[i] = drawn
    failed = failed_by_owner(owners, tasks, failures)
    chunks.reverse()
    # Popped from the end, so that no more than one sample is held twice.
    found = [np.concatenate([chunks.pop() for _ in sample.tasks(plan, fitting=True)]) for sample in samples.values()]
    return found, failed


def _ticking(
    results: Iterator[tuple[int, T]], tasks: Sequence[ChunkTask], phase: str, progress: Progress | None
) -> Iterator[tuple[int, T]]:
    done, total = 0, sum(task.n for task in tasks)
    for i, value in results:
        done += tasks[i].n
        if progress:
            progress(phase, done, total)
        yield i, value


def _prepare(
    plan: AuditPlan, contrasts: Sequence[Contrast], releases: Sequence[Array], engine: Streams
) -> dict[Key, dict[str, PreparedAttack]]:
    """Fit every attack for every contrast on the workers; each fit has its own random stream."""
    calls, keys = [], []
    for contrast, first in zip(contrasts, releases, strict=False):
        # A control with fewer trials fits on as many of the shared retrained trials: balanced classes.
        second = releases[-1][: len(first)]
        for j, attack in enumerate(plan.attackers):
            rng = make_generator(plan.seed, Stream.FITTING, contrast.sample.source.record, contrast.key[0], j)
            calls.append((attack, first, second, contrast.context, rng))
            keys.append(contrast.key)
    if sum(array.nbytes for array in releases) > SHARE_BYTES:
        # Large fit splits stay in this process: handing them to workers would hold them twice.
        engine = Engine()
    prepared: dict[Key, dict[str, PreparedAttack]] = {contrast.key: {} for contrast in contrasts}
    done = dict(results(engine.stream(prepare, calls), doing="fitting attacks"))
    for i, key in enumerate(keys):
        prepared[key][done[i].name] = done[i]
    return prepared


ScoreKey = tuple[Key, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scores:
    """Scores by (contrast, attack) and chunk for each side, what failed, and what else was seen of each sample.

    ``lost`` are the chunks that failed by sample, and ``shared`` how many chunks of the retrained world each contrast
    counts.
    """

    unlearned: dict[ScoreKey, dict[int, Array]]
    retrained: dict[ScoreKey, dict[int, Array]]
    failures: dict[ScoreKey, dict[int, str]]
    watched: dict[Key | None, dict[int, Watched]]
    lost: Failed
    shared: Mapping[Key, frozenset[int]]


def _score(
    retrained: Sample,
    contrasts: Sequence[Contrast],
    prepared: Mapping[Key, Mapping[str, PreparedAttack]],
    plan: AuditPlan,
    engine: Streams,
    progress: Progress | None,
) -> _Scores:
    """Draw and score the counting split."""
    calls = counting_calls(retrained, contrasts, prepared, plan)
    tasks = {c.key: c.sample.tasks(plan, fitting=False) for c in contrasts}
    base = retrained.tasks(plan, fitting=False)
    owners: list[Key | None] = [*(c.key for c in contrasts for _ in tasks[c.key]), *(None for _ in base)]
    chunks = [call[-1] for call in calls]
    found = _Scores(
        unlearned={},
        retrained={},
        failures={},
        watched={},
        lost={},
        shared={key: frozenset(task.chunk for task in base[: len(mine)]) for key, mine in tasks.items()},
    )
    failures: dict[int, Failure] = {}
    stream = engine.stream(score_chunk, calls)
    for i, scored in _ticking(stream, chunks, "counted trials", progress):
        if isinstance(scored, Failure):
            failures[i] = scored
            continue
        for key, message in scored.failures.items():
            found.failures.setdefault(key, {})[i] = message
        side = found.retrained if owners[i] is None else found.unlearned
        found.watched.setdefault(owners[i], {})[i] = scored.watched
        for key, scores in scored.scores.items():
            side.setdefault(key, {})[chunks[i].chunk] = scores
    found.lost.update(failed_by_owner(owners, chunks, failures))
    return found


def scorers_of(key: Key, prepared: Mapping[str, PreparedAttack]) -> dict[ScoreKey, FittedAttack]:
    """Return what scores the releases of a contrast's own sample."""
    return {(key, name): attack.fitted for name, attack in prepared.items() if attack.fitted is not None}


def _evidence(key: Key, prepared: Mapping[str, PreparedAttack], scores: _Scores, fitting: Failed) -> Evidence:
    failed = {name: attack.failure for name, attack in prepared.items() if attack.failure is not None}
    # Of several chunks the first, whichever came back first.
    failed |= {name: min(found.items())[1] for name in prepared if (found := scores.failures.get((key, name)))}

    def watched(side: Key | None) -> list[Watched]:
        return [seen for _, seen in sorted(scores.watched.get(side, {}).items(), key=lambda item: item[0])]

    def assembled(side: Mapping[ScoreKey, Mapping[int, Array]], name: str) -> Array:
        return np.concatenate([side[key, name][chunk] for chunk in sorted(side[key, name])])

    sides = (scores.unlearned, scores.retrained)
    failed |= {
        name: NOTHING_LEFT for name in prepared if name not in failed and not all((key, name) in s for s in sides)
    }
    mine = scores.lost[key]
    base = [chunk for chunk in scores.lost[None] if chunk.chunk in scores.shared[key]]

    scored = [name for name in prepared if name not in failed]
    return Evidence(
        prepared={name: prepared[name] for name in scored},
        unlearned={name: assembled(scores.unlearned, name) for name in scored},
        retrained={name: assembled(scores.retrained, name) for name in scored},
        failures=failed,
        seen=(together(watched(key)), together(watched(None))),
        failed=collected((*fitting[key], *fitting[None], *mine, *scores.lost[None])),
        lost=(n_failed(mine), n_failed(base)),
    )
