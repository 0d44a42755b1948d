"""Hand calls to workers and see what comes back: results in any order, each call tried twice before it has failed."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from audit.errors import TrialError
from audit.trials.workers.pool import LOOK, POOL, Failure, Packer, Worker
from audit.trials.workers.worker import BEGUN

Outcome = tuple[int, Any]
# Seconds that a worker may take to start and to import what it needs, before the limit of its call begins.
STARTING = 120.0


class HandingOut:
    """One stream of calls on its way through workers.

    Parameters
    ----------
    function, calls
        What is called, and with what.
    n_workers
        Processes to use.
    limits
        The most seconds for each call; ``None`` for as long as it takes.
    tries
        How often a call is made before it has failed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        *,
        n_workers: int,
        limits: Sequence[float | None],
        tries: int = 2,
    ) -> None:
        self._packer = Packer(function, calls)
        self._limits = limits
        self._waiting = deque(range(len(calls)))
        # Calls that failed once, with the worker that is not to have them again.
        self._again: list[tuple[int, Worker | None]] = []
        # Those that may fail no more.
        self._tried = set(range(len(calls))) if tries == 1 else set[int]()
        self._crew: list[Worker] = []
        self._n_workers = n_workers
        self._n_left = len(calls)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield (position, result or Failure); memory holds a few results at a time.

        Raises
        ------
        TrialError
            When arguments cannot be sent to another process.
        """
        try:
            self._fill()
            while any(worker.tasks for worker in self._crew):
                for worker in self._ready():
                    for outcome in self._heard(worker):
                        self._n_left -= 1
                        yield outcome
                    self._fill()
                for outcome in self._overdue():
                    self._n_left -= 1
                    yield outcome
                self._fill()
            if self._n_left:
                # Trials that are left out without a word could refute a true claim.
                raise TrialError(f"{self._n_left} calls were lost between workers; please report this.")
        finally:
            for worker in self._crew:
                POOL.give_back(worker)

    def _fill(self) -> None:
        """Keep every worker busy, with one short call waiting in its pipe."""
        while len(self._crew) < min(self._n_workers, len(self._waiting) + len(self._again) + self._n_busy()):
            self._crew.append(POOL.take())
        if self._n_workers > 1 and not self._n_busy() and not self._waiting and self._all_blame_the_crew():
            # Their second try is in another process.
            self._crew.append(POOL.take())
        # All get their first call before any gets its second.
        for depth in (1, 2):
            for worker in list(self._crew):
                if len(worker.tasks) < depth:
                    self._hand(worker)

    def _all_blame_the_crew(self) -> bool:
        """Return whether every call that is to be tried again failed in the only worker that is left."""
        return len(self._crew) == 1 and bool(self._again) and all(b is self._crew[0] for _, b in self._again)

    def _n_busy(self) -> int:
        return sum(bool(worker.tasks) for worker in self._crew)

    def _hand(self, worker: Worker) -> None:
        position = self._next_for(worker)
        if position is None:
            return
        parcels = self._packed(position)
        if not worker.takes(parcels):
            self._waiting.appendleft(position)
            return
        try:
            worker.send(position, parcels, timed=self._limits[position] is not None)
        except OSError:
            # It has ended. What it has in hand is told by its closed pipe, as the loss of the first call there.
            if worker.tasks:
                self._waiting.appendleft(position)
            else:
                worker.tasks.append(position)

    def _next_for(self, worker: Worker) -> int | None:
        if worker.tasks and (self._again or not self._waiting):
            return None
        for i, (position, blamed) in enumerate(self._again):
            if blamed is not worker or self._n_workers == 1:
                del self._again[i]
                return position
        return self._waiting.popleft() if self._waiting else None

    def _packed(self, position: int) -> Any:
        try:
            return self._packer.pack(position)
        except Exception as error:
            raise TrialError(
                f"What is audited cannot be sent to a worker process ({type(error).__name__}: {error}); keep locks, "
                "open files and generators out of the mechanism, or run it in this process by Engine(n_jobs=1)"
            ) from error

    def _ready(self) -> list[Worker]:
        found: list[Any] = wait([worker.connection for worker in self._crew if worker.tasks], timeout=LOOK)
        ready: list[Connection] = found
        return [worker for worker in self._crew if worker.connection in ready]

    def _heard(self, worker: Worker) -> Iterator[Outcome]:
        """Yield what a worker says, or what its silence means."""
        try:
            reply = worker.connection.recv_bytes()
        except (EOFError, OSError):
            yield from self._lost(worker, worker.ended())
            return
        if reply == BEGUN:
            worker.waits(begun=True)
            return
        position = worker.tasks.popleft()
        worker.waits()
        succeeded, value = pickle.loads(reply)
        if succeeded:
            yield position, value
        else:
            error, said, text = value
            yield from self._failed(position, worker, Failure(message=said, traceback=text, error=error))

    def _overdue(self) -> Iterator[Outcome]:
        """Yield the calls of workers that ended without closing their pipe, or work for too long."""
        now = time.monotonic()
        for worker in [worker for worker in self._crew if worker.tasks]:
            limit = self._limits[worker.tasks[0]]
            if worker.process.poll() is not None and not worker.connection.poll():
                yield from self._lost(worker, worker.ended())
            elif limit is not None and _passed(worker, now) > limit and not worker.connection.poll():
                yield from self._lost(worker, f"it was still at work after {limit:.3g} seconds")

    def _lost(self, worker: Worker, how: str) -> Iterator[Outcome]:
        """Yield the call that a worker was lost in; those behind it go to others."""
        position = worker.tasks.popleft()
        self._waiting.extendleft(reversed(worker.tasks))
        self._drop(worker)
        yield from self._failed(position, None, Failure(message=f"The worker process was lost: {how}"))

    def _failed(self, position: int, worker: Worker | None, failure: Failure) -> Iterator[Outcome]:
        if position in self._tried:
            yield position, failure
        else:
            self._tried.add(position)
            self._again.append((position, worker))

    def _drop(self, worker: Worker) -> None:
        self._crew.remove(worker)
        POOL.end(worker)


def _passed(worker: Worker, now: float) -> float:
    """Return the seconds that the call in hand has taken."""
    return now - worker.since - (0.0 if worker.begun else STARTING)
