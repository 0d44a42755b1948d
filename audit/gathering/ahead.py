"""Draw ahead, for all forget sets together, what learned models are shared for.

In the flow: before the forget sets are gone through one by one. Each then asks for its chunks as ever, and is given
those that are drawn already; one that failed here is drawn by itself, and fails or not by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from audit.gathering.at_once import scorers_of
from audit.gathering.contrast import Contrast, Key, Kind
from audit.gathering.selection import PreparedAttack
from audit.plan.audit_plan import AuditPlan
from audit.trials.chunks import ChunkTask
from audit.trials.engines import Progress, Streams
from audit.trials.learned_once import LearnedOnce
from audit.trials.storing.resuming import CHUNKS
from audit.trials.storing.together import drawn_together
from audit.trials.together import Together, draw_together, score_together
from audit.trials.workers.pool import Failure

T = TypeVar("T")
# A chunk, by the deletion that it is drawn from: services have tasks that are the same.
Place = tuple[int, ChunkTask]
Prepared = Mapping[Key, Mapping[str, PreparedAttack]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ahead:
    """An engine that gives what was drawn ahead, each chunk once, and runs all other calls on another."""

    engine: Streams
    found: dict[Place, Any]

    @property
    def n_jobs(self) -> int:
        """Worker processes of the engine."""
        return self.engine.n_jobs

    def limited(self, trial_timeout: float | None) -> Ahead:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, engine=self.engine.limited(trial_timeout))

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result): first what is known, then the rest."""
        rest = []
        for i, call in enumerate(calls):
            place = _place(call) if function in CHUNKS else None
            if place in self.found:
                yield i, self.found.pop(place)
            else:
                rest.append(i)
        if rest:
            for j, outcome in self.engine.stream(function, [calls[i] for i in rest]):
                yield rest[j], outcome


def _place(call: tuple[Any, ...]) -> Place:
    return id(call[0]), call[-1]


def draw_ahead(
    plan: AuditPlan,
    contrasts: Sequence[Sequence[Contrast]],
    prepared: Sequence[Prepared] | None,
    *,
    engine: Streams,
    progress: Progress | None,
) -> Ahead:
    """Return an engine that holds the chunks of one split of every world that learns all records.

    Parameters
    ----------
    plan
        Which trials.
    contrasts
        Of every forget set, in the order of the plan.
    prepared
        The fitted attacks of every forget set, which score what is counted; ``None`` for the split that fits.
    engine, progress
        As for :func:`audit.gathering.at_once.gather`.
    """
    calls = list(_calls(plan, contrasts, prepared))
    function = cast("Callable[..., tuple[Any, ...]]", draw_together if prepared is None else score_together)
    phase = f"{'fitting' if prepared is None else 'counted'} trials that forget sets share"
    found: dict[Place, Any] = {}
    done, total = 0, sum(call[-1].n_trials for call in calls)
    for i, outcomes in drawn_together(engine, function, calls):
        deletions, *_, chunk = calls[i]
        for deletion, task, outcome in zip(deletions, chunk.tasks, outcomes, strict=True):
            if outcome is not None:
                found[id(deletion), task] = outcome
        done += chunk.n_trials
        if progress:
            progress(phase, done, total)
    return Ahead(engine=engine, found=found)


def _calls(
    plan: AuditPlan, contrasts: Sequence[Sequence[Contrast]], prepared: Sequence[Prepared] | None
) -> Iterator[tuple[Any, ...]]:
    """Yield a call for each chunk of each service's worlds, over all forget sets."""
    keys = [contrast.key for contrast in contrasts[0] if contrast.key[0] is not Kind.NULL] if contrasts else []
    for key in keys:
        mine = [next(c for c in row if c.key == key) for row in contrasts]
        deletions = tuple(cast("LearnedOnce", contrast.sample.deletion) for contrast in mine)
        # One object for all chunks, which a worker is sent once.
        attacks = () if prepared is None else (tuple(scorers_of(key, each[key]) for each in prepared),)
        chunks = zip(*(c.sample.tasks(plan, fitting=prepared is None) for c in mine), strict=True)
        for tasks in chunks:
            yield (deletions, *attacks, Together(tasks=tasks))
