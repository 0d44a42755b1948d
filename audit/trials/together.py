"""The same trials of several forget sets in one call: each model is learned once, and unlearned for every one of them.

In the flow: :mod:`audit.gathering.ahead` hands these out. What they give for a forget set is, bit for bit, what
:func:`~audit.trials.chunks.draw_chunk` and :func:`~audit.trials.chunks.score_chunk` give for it alone; a chunk that
fails here is left to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.trials.chunks import ChunkTask, ScoredChunk, checked_chunk, score_releases
from audit.trials.engines import worker_limits
from audit.trials.learned_once import LearnedOnce, print_of
from audit.trials.watching import Watched
from mechanisms.errors import UnlearnAuditError
from mechanisms.protocol import LearnedModels

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Together:
    """One chunk of each of several forget sets: the same trials, in the same world."""

    tasks: tuple[ChunkTask, ...]

    @property
    def n_trials(self) -> int:
        """Number of trials, of all forget sets together."""
        return sum(task.n for task in self.tasks)


def draw_together(deletions: Sequence[LearnedOnce], chunk: Together) -> tuple[Array | None, ...]:
    """Return the releases of each forget set; ``None`` for one that failed."""
    with worker_limits():
        return tuple(None if found is None else found[0] for found in _drawn(deletions, chunk))


def score_together(
    deletions: Sequence[LearnedOnce], attacks: Sequence[Mapping[Any, FittedAttack]], chunk: Together
) -> tuple[ScoredChunk | None, ...]:
    """Return the scores of each forget set by its own attacks; ``None`` for one that failed."""
    with worker_limits():
        drawn = _drawn(deletions, chunk)
        return tuple(
            None if found is None else score_releases(*found, mine) for found, mine in zip(drawn, attacks, strict=True)
        )


def _drawn(deletions: Sequence[LearnedOnce], chunk: Together) -> list[tuple[Array, Watched] | None]:
    """Return what was drawn for each forget set; a model is learned by the first one's stages."""
    tasks = chunk.tasks
    releases: list[list[Array] | None] = [[] for _ in tasks]
    before: list[list[Array | None]] = [[] for _ in tasks]
    prints = []
    for streams in zip(*(task.streams() for task in tasks), strict=True):
        try:
            models = deletions[0].learned(streams[0].learning)
        except (Exception, SystemExit):
            return [None for _ in tasks]
        prints.append(print_of(models))
        for m, (deletion, task, stream) in enumerate(zip(deletions, tasks, streams, strict=True)):
            mine = releases[m]
            if mine is None:
                continue
            if len(before[m]) < task.shows:
                before[m].append(deletion.seen_before(models))
            try:
                mine.append(deletion.served(models, task.source.world, stream.unlearning))
            except (Exception, SystemExit):
                releases[m] = None
    return [
        None if mine is None else _checked(deletion, task, mine, deletion.shown(prints, seen))
        for deletion, task, mine, seen in zip(deletions, tasks, releases, before, strict=True)
    ]


def _checked(
    deletion: LearnedOnce, task: ChunkTask, releases: Sequence[Array], models: LearnedModels | None
) -> tuple[Array, Watched] | None:
    try:
        return checked_chunk(deletion, task, lambda: (np.concatenate(releases), models))
    except UnlearnAuditError:
        return None
