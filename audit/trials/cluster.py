"""Chunks on a Dask cluster: the same calls as on worker processes, and the same results.

In the flow: an engine like :class:`audit.trials.engines.Engine`. Needs the extra ``dask``.
"""

from __future__ import annotations

import functools
import pickle
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from audit.errors import TrialError
from audit.trials.workers.pool import Failure, Packer, Parcel
from audit.trials.workers.worker import reply_to
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import whole_number

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
# Calls that are handed to the scheduler ahead of each worker's own: enough that none waits, few enough for memory.
AHEAD = 2
# Held in a worker while it runs a call: two in one process would share the generators of numpy and torch.
_ONE_AT_A_TIME = threading.Lock()
# Seconds in which a first worker has to join.
JOINING = 60.0


@dataclass(frozen=True, kw_only=True, eq=False)
class DaskEngine:
    """Runs chunks on a Dask cluster: one that is there, or one on this machine that ends with the engine.

    Results are those of :class:`audit.Engine`, bit for bit where processors and numerical libraries agree
    (``environment.machine`` of a result names them). A worker that is lost costs nothing: Dask runs its chunks again.
    Use it as a context, or call :meth:`close`; a script that starts a cluster of its own needs
    ``if __name__ == "__main__":``, as everything does that starts processes.

    Parameters
    ----------
    scheduler
        Address of a scheduler, such as "tcp://10.0.0.1:8786"; ``None`` for a cluster on this machine. Its workers need
        this package in the same version, and the module of a mechanism of yours, in a folder that they share. More than
        one thread of a worker is of no use: calls wait for each other there.
    workers
        Processes of a cluster on this machine; of another one all are used.

    Raises
    ------
    InvalidInputError
        When ``workers`` is below 1, or Dask is not installed.
    TrialError
        When the scheduler cannot be reached, or no worker joins it.
    """

    scheduler: str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        fix = "2 on two cores"
        object.__setattr__(self, "workers", whole_number(self.workers, "workers", fix=fix))
        require(self.workers >= 1, "workers", expected="at least 1", got=self.workers, fix=fix)

    @property
    def n_jobs(self) -> int:
        """Workers, each of which runs one chunk at a time, however many threads it has."""
        return self.workers if self.scheduler is None else max(1, len(self._client.nthreads()))

    def limited(self, trial_timeout: float | None) -> DaskEngine:
        """Return the same where there is no limit on the seconds of a trial: Dask cannot give up a call that hangs.

        Raises
        ------
        InvalidInputError
            For a limit.
        """
        if trial_timeout is None:
            return self
        raise InvalidInputError(
            field="trial_timeout",
            expected="none on Dask, which cannot give up a call that hangs",
            got=trial_timeout,
            fix="leave it out, or run on worker processes (audit.Engine)",
        )

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result, or why it failed twice) in any order, a few at a time."""
        if calls:
            yield from _Stream(self._client, function, calls, ahead=AHEAD * self.n_jobs + 1).outcomes()

    def close(self) -> None:
        """Let go of the scheduler, and end a cluster that was started here."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            cluster = client.cluster if self.scheduler is None else None
            client.close()
            if cluster is not None:
                cluster.close()

    def __enter__(self) -> DaskEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @functools.cached_property
    def _client(self) -> Client:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise InvalidInputError(
                field="engine",
                expected="Dask to be installed",
                got="no module distributed",
                fix="pip install 'unlearn-audit[dask]'",
            ) from None
        try:
            if self.scheduler is None:
                started = LocalCluster(
                    n_workers=self.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
                )
                client = Client(started)
            else:
                client = Client(self.scheduler, timeout=JOINING)
            client.wait_for_workers(1, timeout=JOINING)
        except (OSError, TimeoutError) as error:
            where = self.scheduler or "on this machine"
            words = f"No worker of a Dask cluster {where} could be reached in {JOINING:g} s"
            raise TrialError(f"{words} ({type(error).__name__}: {error})") from None
        return client


class _Stream:
    """One stream of calls on its way through a cluster."""

    def __init__(
        self, client: Client, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], *, ahead: int
    ) -> None:
        self._client = client
        self._packer = Packer(function, calls)
        self._waiting = deque(range(len(calls)))
        self._ahead = ahead
        self._tried: set[int] = set()
        self._at_work: dict[Future, int] = {}
        # Of what calls share, so that the cluster keeps it as long as this stream.
        self._shared: dict[bytes, Future] = {}
        self._name = f"unlearn-audit-{uuid.uuid4().hex}"

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield (position, result or Failure) as they come."""
        from distributed import as_completed

        try:
            done = as_completed(self._filled(), raise_errors=False)
            for future in done:
                position = self._at_work.pop(future)
                outcome = self._outcome(position, future)
                if outcome is not None:
                    yield position, outcome[0]
                for added in self._filled():
                    done.add(added)
        finally:
            self._client.cancel([*self._at_work, *self._shared.values()])

    def _filled(self) -> list[Future]:
        added = []
        while self._waiting and len(self._at_work) < self._ahead:
            position = self._waiting.popleft()
            future = self._submitted(position)
            self._at_work[future] = position
            added.append(future)
        return added

    def _submitted(self, position: int) -> Future:
        try:
            parcels = [self._sent(parcel) for parcel in self._packer.pack(position)]
        except Exception as error:
            raise TrialError(
                f"What is audited cannot be sent to another machine ({type(error).__name__}: {error}); keep locks, "
                "open files and generators out of the mechanism"
            ) from error
        again = position in self._tried
        key = f"{self._name}-{position}{'-again' if again else ''}"
        return self._client.submit(_replied, list(sys.path), *parcels, key=key, pure=False)

    def _sent(self, parcel: Parcel) -> Any:
        plain = (parcel.body, [bytes(buffer.raw()) for buffer in parcel.buffers])
        if parcel.key is None:
            return plain
        if parcel.key not in self._shared:
            # As the result of a call and not as scattered data: Dask makes it again where a worker is lost that had it.
            key = f"{self._name}-shared-{parcel.key.hex()}"
            self._shared[parcel.key] = self._client.submit(_kept, plain, key=key)
        return self._shared[parcel.key]

    def _outcome(self, position: int, future: Future) -> tuple[Any] | None:
        """Return the result or the failure of a call, in a tuple; None where it is tried once more."""
        if future.status == "finished":
            succeeded, value = pickle.loads(future.result())
            if succeeded:
                return (value,)
            error, said, text = value
            failure = Failure(message=said, traceback=text, error=error)
        else:
            lost = future.exception() if future.status == "error" else None
            failure = Failure(message=f"The worker process was lost: {lost or future.status}")
        if position in self._tried:
            return (failure,)
        self._tried.add(position)
        self._waiting.appendleft(position)
        return None


def _kept(parcel: Any) -> Any:
    return parcel


def _replied(path: list[str], *parcels: Any) -> bytes:
    """Make a call in a worker; modules are found there as here, after everything that the worker has installed."""
    with _ONE_AT_A_TIME:
        sys.path.extend(folder for folder in path if folder not in sys.path)
        return reply_to(parcels)
