"""An engine that draws no chunk twice: what a store holds is not drawn, and what is drawn is stored before it is seen.

In the flow: the runner wraps its engine in one. Everything besides chunks (fits, choices of events, tests) follows from
the plan's seed and from chunks, so that a run that goes on gives the result of one that was never stopped.
"""

from __future__ import annotations

import functools
import json
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.errors import TrialError
from audit.trials.chunks import ChunkTask, draw_and_score, draw_chunk, score_chunk, trial_error
from audit.trials.engines import Streams
from audit.trials.rows import Row, RowKey, scored_chunk, scored_columns
from audit.trials.workers.pool import Failure
from mechanisms.errors import UnlearnAuditError

T = TypeVar("T")
Array = NDArray[np.float64]
# Results that wait for the disk while the next chunks are drawn; memory holds as many.
_WAITING = 4
# Seconds of a chunk beside which a commit takes no time.
_LONG = 2.0
_NONE: Array = np.empty(0)


class Keeps(Protocol):
    """What holds chunks: :class:`audit.trials.store.Store`, or one that is only read."""

    @property
    def folder(self) -> Path | None:
        """Where releases lie; ``None`` where none are kept."""
        ...

    def read(self, key: RowKey) -> Row | None:
        """Return a stored row, or ``None``."""
        ...

    def releases(self, row: Row) -> Array | None:
        """Return the releases of a row, or ``None``."""
        ...

    def has_room(self, n_bytes: int) -> bool:
        """Return whether so many bytes of releases may be kept."""
        ...

    def put(self, row: Row, releases: Array | None = None) -> Future[None]:
        """Store a row, and the releases beside it."""
        ...

    def noted(self, name: str) -> str | None:
        """Return what was noted under a name, or ``None``."""
        ...

    def note(self, name: str, text: str) -> None:
        """Keep a text that is no chunk."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Resuming:
    """Runs calls on another engine, but for chunks that a store holds already.

    Parameters
    ----------
    engine
        What runs the rest.
    store
        Open, and of this run.
    """

    engine: Streams
    store: Keeps

    @property
    def n_jobs(self) -> int:
        """Worker processes of the engine."""
        return self.engine.n_jobs

    def noted(self, name: str) -> str | None:
        """Return what the store holds under a name, or ``None``."""
        return self.store.noted(name)

    def note(self, name: str, text: str) -> None:
        """Keep a text in the store, for when the run goes on."""
        self.store.note(name, text)

    def limited(self, trial_timeout: float | None) -> Resuming:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, engine=self.engine.limited(trial_timeout))

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result): first what is stored, then the rest, each once it is stored.

        Only :func:`~audit.trials.chunks.draw_chunk`, :func:`~audit.trials.chunks.score_chunk` and
        :func:`~audit.trials.chunks.draw_and_score` are looked up; calls of other functions all run. A chunk that failed
        is stored as failed, and not tried again.
        """
        if function not in CHUNKS:
            yield from self.engine.stream(function, calls)
            return
        asked = [asked_of(call) for call in calls]
        missing = []
        for i, chunk in enumerate(asked):
            found = self.stored(chunk)
            if found is None:
                missing.append(i)
            else:
                yield i, found
        if missing:
            yield from self._drawn(function, calls, asked, missing)

    def stored(self, chunk: Asked) -> Any:
        """Return the result of a chunk from the store; ``None`` where it is not there, or lacks what is asked for."""
        row = self.store.read(chunk.key)
        if row is None or row.n != chunk.task.n:
            return None
        if row.failed:
            return failure_of(row)
        scored = None if chunk.attacks is None else scored_chunk(row, chunk.attacks)
        releases = self.store.releases(row) if chunk.keeps else _NONE
        if releases is None or (scored is None and chunk.attacks is not None):
            return None
        if scored is None:
            return releases
        return scored if chunk.keeps is None else (scored, releases)

    def _drawn(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        asked: Sequence[Asked],
        missing: Sequence[int],
    ) -> Iterator[tuple[int, T | Failure]]:
        """Run the missing calls; a result waits until it is on disk, and the engine does not wait for it."""
        n_bytes = sum(asked[i].n_bytes for i in missing)
        keeps = n_bytes > 0 and self.store.has_room(n_bytes)
        waiting: deque[tuple[int, T | Failure, Future[None]]] = deque()
        results: Iterator[tuple[int, Any]] = self.engine.stream(
            functools.partial(timed, function), [calls[i] for i in missing]
        )
        for j, done in results:
            chunk = asked[missing[j]]
            if isinstance(done, Failure):
                if _is_trials(done):
                    _on_disk(missing[j], done, self.store.put(failed_row(chunk.key, chunk.task, done)))
                yield missing[j], done
                continue
            if chunk.attacks is None and not keeps:
                yield missing[j], done.value
                continue
            waiting.append((missing[j], done.value, self.put(chunk, done, keeps)))
            # Long chunks may wait for the disk: what is done is then seen at once.
            while waiting and (waiting[0][2].done() or len(waiting) > _WAITING or done.seconds > _LONG):
                yield _on_disk(*waiting.popleft())
        while waiting:
            yield _on_disk(*waiting.popleft())

    def put(self, chunk: Asked, done: Timed, keeps: bool) -> Future[None]:
        """Store a result; releases that there is no room for are left out, and drawn again when they are asked for."""
        scored, releases = done.value if isinstance(done.value, tuple) else (done.value, None)
        if isinstance(scored, np.ndarray):
            scored, releases = None, scored
        columns = {} if scored is None else scored_columns(scored)
        row = Row(**asdict(chunk.key), n=chunk.task.n, worker=done.worker, seconds=done.seconds, **columns)
        return self.store.put(row, releases if chunk.keeps and keeps else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A chunk that is asked for.

    Parameters
    ----------
    task
        Which trials.
    attacks
        Keys of the attacks that score; ``None`` where releases are wanted.
    keeps
        Whether releases are wanted, beside scores or alone; ``None`` where scores come alone.
    n_bytes
        Of the releases that are wanted.
    """

    task: ChunkTask
    attacks: tuple[Any, ...] | None
    keeps: bool | None
    n_bytes: int

    @property
    def key(self) -> RowKey:
        """Which row holds it."""
        return RowKey.of("fit" if self.attacks is None else "count", self.task)


def key_of(call: tuple[Any, ...]) -> RowKey:
    """Return which row holds what one of :data:`CHUNKS` gives for these arguments."""
    return asked_of(call).key


def asked_of(call: tuple[Any, ...]) -> Asked:
    """Read the arguments of a function that draws chunks."""
    deletion, *rest = call
    task = next(value for value in rest if isinstance(value, ChunkTask))
    attacks = tuple(rest[0]) if rest[0] is not task else None
    keeps = True if attacks is None else (rest[2] if len(rest) > 2 else None)
    n_bytes = 8 * task.n * math.prod(deletion.release.shape) if keeps else 0
    return Asked(task=task, attacks=attacks, keeps=keeps, n_bytes=n_bytes)


def _is_trials(failure: Failure) -> bool:
    """Return whether trials failed; what is wrong with the user's input is not stored."""
    return isinstance(failure.error, TrialError) or not isinstance(failure.error, UnlearnAuditError)


def failed_row(key: RowKey, task: ChunkTask, failure: Failure) -> Row:
    """Return the row of a chunk that failed; :func:`failure_of` reads it."""
    said = {"message": str(trial_error(task, failure)), "traceback": failure.traceback}
    return Row(**asdict(key), n=task.n, failed=json.dumps(said))


def failure_of(row: Row) -> Failure:
    """Return why a stored chunk failed."""
    said = json.loads(row.failed)
    return Failure(message=said["message"], traceback=said["traceback"], error=TrialError(said["message"]))


def _on_disk(position: int, value: T, stored: Future[None]) -> tuple[int, T]:
    stored.result()
    return position, value


@dataclass(frozen=True, kw_only=True, eq=False)
class Timed:
    """A result, with who made it and how many seconds it took."""

    value: Any
    seconds: float
    worker: str


def timed(function: Callable[..., Any], *arguments: Any) -> Timed:
    """Call a function in a worker, by the clock."""
    began = time.perf_counter()
    value = function(*arguments)
    return Timed(value=value, seconds=time.perf_counter() - began, worker=f"{socket.gethostname()}:{os.getpid()}")


CHUNKS = (draw_chunk, score_chunk, draw_and_score)
