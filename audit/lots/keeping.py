"""Runs that outlive the process: an engine that makes no run twice that a store holds already.

In the flow: :func:`audit.lots.running.run_lots` puts it around its engine. A run is a row of the store that audits of
two worlds use, its releases lie beside. Coins, attacks and verdicts follow from the seed and from these, so that an
audit that goes on gives the result of one that was never stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.lots.experiment import AUDITED, REHEARSED, WITHOUT, made_run
from audit.trials.chunks import Stream
from audit.trials.engines import Streams
from audit.trials.rows import Row, RowKey
from audit.trials.store import Store
from audit.trials.storing.resuming import Timed, timed
from audit.trials.workers.pool import Failure

T = TypeVar("T")
Array = NDArray[np.float64]
_WORDS = {AUDITED: "audited", REHEARSED: "rehearsed", WITHOUT: "without_pool"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Keeping:
    """Makes runs on another engine, but for those that a store holds.

    Parameters
    ----------
    engine
        What makes the rest.
    store
        Open, and of this audit.
    """

    engine: Streams
    store: Store

    @property
    def n_jobs(self) -> int:
        """Worker processes of the engine."""
        return self.engine.n_jobs

    def limited(self, trial_timeout: float | None) -> Keeping:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, engine=self.engine.limited(trial_timeout))

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result): stored runs first, then the rest, each once it is on disk.

        A run that failed is not stored: an audit that goes on tries it again.
        """
        if function is not made_run:
            yield from self.engine.stream(function, calls)
            return
        missing = []
        for i, call in enumerate(calls):
            found: Any = self._stored(call)
            if found is None:
                missing.append(i)
            else:
                yield i, found
        made: Iterator[tuple[int, Any]] = self.engine.stream(
            functools.partial(timed, function), [calls[i] for i in missing]
        )
        for j, done in made if missing else ():
            if isinstance(done, Failure):
                yield missing[j], done
                continue
            self._put(calls[missing[j]], done)
            yield missing[j], done.value

    def _stored(self, call: tuple[Any, ...]) -> tuple[Array, Array | None] | None:
        row = self.store.read(_key(call))
        found = None if row is None else self.store.releases(row)
        if found is None:
            return None
        # Not mapped into memory: the file is gone when the audit is finished.
        after, *before = np.array(found)
        return after, before[0] if before else None

    def _put(self, call: tuple[Any, ...], done: Timed) -> None:
        after, before = done.value
        shown = np.stack([after] if before is None else [after, before])
        if self.store.has_room(shown.nbytes):
            row = Row(**vars(_key(call)), n=1, worker=done.worker, seconds=done.seconds)
            self.store.put(row, shown).result()


def _key(call: tuple[Any, ...]) -> RowKey:
    _, _, stream, run = call
    return RowKey(step="run", stream=Stream.LOTS_RUNS.name.lower(), world=_WORDS[stream], record=0, chunk=run)
