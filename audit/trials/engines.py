"""Where chunks are run: in this process or in workers, one thread each, and none left behind."""

from __future__ import annotations

import ctypes
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from threadpoolctl import ThreadpoolController

from mechanisms.errors import require
from mechanisms.reading.scalars import whole_number

T = TypeVar("T")
# Called with a phase, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


class Streams(Protocol):
    """What runs calls: an engine, or one around it that looks for results elsewhere first."""

    @property
    def n_jobs(self) -> int:
        """Worker processes."""
        ...

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T]]:
        """Yield (position of the call, its result) in any order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Runs chunks on ``n_jobs`` worker processes (joblib's loky; never fork), or in this process when it is 1."""

    n_jobs: int = 1

    def __post_init__(self) -> None:
        fix = "1 runs in this process, 2 on two cores"
        object.__setattr__(self, "n_jobs", whole_number(self.n_jobs, "n_jobs", fix=fix))
        require(self.n_jobs >= 1, "n_jobs", expected="at least 1", got=self.n_jobs, fix=fix)

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T]]:
        """Yield (position of the call, its result) in any order; memory holds a few results at a time."""
        if self.n_jobs == 1 or len(calls) <= 1:
            for i, arguments in enumerate(calls):
                yield i, function(*arguments)
            return
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=self.n_jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        yield from pool(delayed(_numbered)(i, function, arguments) for i, arguments in enumerate(calls))


def _numbered(i: int, function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[int, T]:
    return i, function(*arguments)


@functools.cache
def _end_with_parent() -> None:
    """Ask Linux to end this worker when its parent dies: a killed driver would orphan it for minutes."""
    from multiprocessing import parent_process

    if sys.platform == "linux" and parent_process() is not None:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)


def worker_limits() -> AbstractContextManager[object]:
    """Return a context with one thread for each numerical library: faster in workers, and bit-equal everywhere."""
    _end_with_parent()
    limits: AbstractContextManager[object] = _controller(len(sys.modules)).limit(limits=1)
    return limits


@functools.lru_cache(maxsize=1)
def _controller(n_modules: int) -> ThreadpoolController:
    """Find the numerical libraries again only when modules were imported since: it takes milliseconds."""
    return ThreadpoolController()
