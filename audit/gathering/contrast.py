"""What an audit gathers evidence about: contrasts of a sample with the retrained world, and what is found of each.

A contrast compares a sample of "unlearned" releases with the retrained world. The claims of a service, its controls,
and the claims of several services about one deletion are contrasts that share the retrained trials: retraining is
drawn once, and each contrast costs one world and not two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext
from audit.gathering.failing import check_some_succeeded, failed_chunk
from audit.gathering.followed import Followed
from audit.gathering.selection import PreparedAttack
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.trials.chunks import ChunkTask, Source, Stream
from audit.trials.failed_chunks import FailedChunk
from audit.trials.watching import SHOWN, Seen
from audit.trials.workers.pool import Failure
from mechanisms.protocol import Deletion, World

Array = NDArray[np.float64]

SHARE_BYTES = 100_000_000
NOTHING_LEFT = "every counted chunk of a world failed"


class Kind(IntEnum):
    """What a contrast is for; the values are keys of random streams and never change."""

    CLAIMS = 0
    NEGLECTED = 1
    NULL = 2


Key = tuple[Kind, int]
"""A contrast's kind and the position of its service."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Releases of one world of one deletion, in chunks; the leading chunks fit, the others are counted."""

    deletion: Deletion
    source: Source
    trials: int

    def tasks(self, plan: AuditPlan, *, fitting: bool) -> tuple[ChunkTask, ...]:
        """Return the chunks of one split."""
        return _tasks(plan, self.source, self.trials, fitting=fitting)


def _tasks(plan: AuditPlan, source: Source, trials: int, *, fitting: bool) -> tuple[ChunkTask, ...]:
    sizes = plan.chunk_sizes(trials)
    n_fit = plan.counting.n_fit_chunks(sizes)
    chunks = range(n_fit) if fitting else range(n_fit, len(sizes))
    return tuple(_task(plan, source, i, sizes[i], sizes) for i in chunks)


def _task(plan: AuditPlan, source: Source, chunk: int, n: int, sizes: tuple[int, ...]) -> ChunkTask:
    """Return a chunk of n trials of a sample, of whose chunks all but the last are of one size."""
    if not plan.share_learned:
        return ChunkTask(seed=plan.seed, source=source, chunk=chunk, n=n)
    first = None if source.world is World.RETRAINED else chunk * sizes[0]
    shows = _n_shown(plan, source, chunk, sizes)
    return ChunkTask(seed=plan.seed, source=source, chunk=chunk, n=n, first=first, shows=shows)


def _n_shown(plan: AuditPlan, source: Source, chunk: int, sizes: tuple[int, ...]) -> int:
    """Return how many leading trials of a chunk show models to the control of the reference world too.

    Where learned models are shared anyway: of the trials that are counted the first ones, as many as the control needs.
    """
    if source.stream is not Stream.RELEASES:
        return 0
    counted_before = (chunk - plan.counting.n_fit_chunks(sizes)) * sizes[0]
    left = SHOWN[source.world] - counted_before
    return min(max(left, 0), sizes[chunk]) if counted_before >= 0 else 0


def shown_tasks(plan: AuditPlan, record: int, world: World) -> tuple[ChunkTask, ...]:
    """Return the counted chunks of a world that show models to the control of the reference world."""
    source = Source(stream=Stream.RELEASES, world=world, record=record)
    return tuple(task for task in _tasks(plan, source, plan.trials, fitting=False) if task.shows)


def chunk_task(plan: AuditPlan, source: Source, chunk: int, n: int) -> ChunkTask:
    """Return a chunk of n trials of a sample of the plan, by its number."""
    trials = next(trials for known, trials in _sources(plan, source.record).values() if known == source)
    return _task(plan, source, chunk, n, plan.chunk_sizes(trials))


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """One sample, in the role of the unlearned world, against the retrained world.

    Parameters
    ----------
    key
        What it is for, and the position of the service that it is about.
    sample
        What plays the unlearned world.
    context
        What attackers are granted.
    """

    key: Key
    sample: Sample
    context: AttackContext


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Counted scores of one contrast by attack name; attacks that failed are in ``failures`` only.

    ``seen`` says what else was seen of the counted trials of the unlearned and of the retrained world.
    ``followed`` holds the tests of an audit that stops when decided; its scores are those of one fit among several.
    ``failed`` are the chunks of both worlds that could not be drawn, and ``lost`` says how many of their trials were to
    be counted in the unlearned and in the retrained world: scores leave them out, tests count them against refuting.
    """

    prepared: Mapping[str, PreparedAttack]
    unlearned: Mapping[str, Array]
    retrained: Mapping[str, Array]
    failures: Mapping[str, str]
    seen: tuple[Seen, Seen] = (Seen(), Seen())
    followed: Followed | None = None
    failed: tuple[FailedChunk, ...] = ()
    lost: tuple[int, int] = (0, 0)


def make_contrasts(plan: AuditPlan, record: int, service: int, bound: BoundRecord) -> tuple[Contrast, ...]:
    """Return one service's contrasts about one forget set; the null control is the first service's."""
    return tuple(
        Contrast(
            key=(kind, service),
            sample=Sample(deletion=bound.sampler(source.world), source=source, trials=trials),
            context=bound.context,
        )
        for kind, (source, trials) in _sources(plan, record).items()
        if kind is not None and (kind is not Kind.NULL or service == 0)
    )


def retrained_sample(plan: AuditPlan, record: int, deletion: Deletion) -> Sample:
    """Return the retrained world that all contrasts about one forget set share."""
    source, trials = _sources(plan, record)[None]
    return Sample(deletion=deletion, source=source, trials=trials)


def planned_tasks(plan: AuditPlan, record: int, *, fitting: bool) -> tuple[ChunkTask, ...]:
    """Return all chunks of one split about one forget set of a single service; the plan alone decides them."""
    found = _sources(plan, record).values()
    return tuple(task for source, trials in found for task in _tasks(plan, source, trials, fitting=fitting))


def _sources(plan: AuditPlan, record: int) -> dict[Kind | None, tuple[Source, int]]:
    """Return where the sample of each kind of contrast comes from, and its trials; ``None`` is the retrained world."""
    settings = {
        Kind.CLAIMS: (Stream.RELEASES, World.UNLEARNED, plan.trials),
        Kind.NEGLECTED: (Stream.NEGLECTED_CONTROL, World.NEGLECTED, plan.n_control_trials),
        Kind.NULL: (Stream.NULL_CONTROL, World.RETRAINED, plan.n_control_trials),
        None: (Stream.RELEASES, World.RETRAINED, plan.trials),
    }
    return {
        kind: (Source(stream=stream, world=world, record=record), trials)
        for kind, (stream, world, trials) in settings.items()
    }


Failed = dict[Key | None, list[FailedChunk]]


def failed_by_owner(
    owners: Sequence[Key | None], tasks: Sequence[ChunkTask], failures: Mapping[int, Failure]
) -> Failed:
    """Return the chunks that failed, by what they were drawn for; a control of which nothing is left is not run.

    Raises
    ------
    TrialError
        When every chunk of a world that claims are about failed.
    """
    failed: Failed = {}
    for owner in dict.fromkeys(owners):
        mine = [i for i, each in enumerate(owners) if each == owner]
        pairs = [(tasks[i], failures[i]) for i in mine if i in failures]
        if owner is None or owner[0] is Kind.CLAIMS:
            check_some_succeeded([tasks[i] for i in mine], pairs)
        failed[owner] = [failed_chunk(*pair) for pair in pairs]
    return failed
