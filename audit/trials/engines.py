"""Where chunks are run: in this process or in workers, one thread each, and none left behind."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from threadpoolctl import ThreadpoolController

from audit.errors import TrialError
from audit.trials.pool import Failure
from mechanisms.errors import require
from mechanisms.scalars import whole_number

T = TypeVar("T")
# Called with a phase, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Runs chunks on ``n_jobs`` worker processes (never a fork), or in this process when it is 1.

    Parameters
    ----------
    n_jobs
        Workers.
    isolated
        Whether a single worker is a process of its own too, so that nothing a chunk does can end this one.
    """

    n_jobs: int = 1
    isolated: bool = False

    def __post_init__(self) -> None:
        fix = "1 runs in this process, 2 on two cores"
        object.__setattr__(self, "n_jobs", whole_number(self.n_jobs, "n_jobs", fix=fix))
        require(self.n_jobs >= 1, "n_jobs", expected="at least 1", got=self.n_jobs, fix=fix)

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T]]:
        """Yield (position of the call, its result) in any order; memory holds a few results at a time.

        Raises
        ------
        TrialError
            When a worker was lost in a call twice; what a call raises twice is raised here.
        """
        for position, outcome in self.attempts(function, calls):
            if isinstance(outcome, Failure):
                raise_failure(outcome)
            yield position, cast("T", outcome)

    def attempts(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        *,
        seconds: Sequence[float] | None = None,
    ) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result, or why it failed twice) in any order.

        Parameters
        ----------
        function, calls
            What is called, and with what.
        seconds
            The most time for each call, on workers only; ``None`` for as long as it takes.
        """
        if not self.isolated and (self.n_jobs == 1 or len(calls) <= 1) and seconds is None:
            for i, arguments in enumerate(calls):
                yield i, _tried_here(function, arguments)
            return
        from audit.trials.handing_out import HandingOut

        yield from HandingOut(function, calls, n_workers=min(self.n_jobs, len(calls)), seconds=seconds).outcomes()


def _tried_here(function: Callable[..., T], arguments: tuple[Any, ...]) -> T | Failure:
    """Return what a call gives in this process at the first or at the second try."""
    failure = None
    for _ in range(2):
        try:
            return function(*arguments)
        except Exception as error:
            said, text = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
            failure = Failure(message=said, traceback=text, error=error)
    return cast("Failure", failure)


class _RemoteTraceback(Exception):
    """What a worker's traceback looked like, as the cause of what is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def raise_failure(failure: Failure) -> None:
    """Raise what a call raised, with its traceback as the cause; a lost worker is a :class:`TrialError`."""
    error = failure.error
    if error is None or not isinstance(error, Exception):
        raise TrialError(failure.message) from (_RemoteTraceback(failure.traceback) if failure.traceback else None)
    if error.__cause__ is None and error.__traceback__ is None:
        error.__cause__ = _RemoteTraceback(failure.traceback)
    raise error


def worker_limits() -> AbstractContextManager[object]:
    """Return a context with one thread for each numerical library: faster in workers, and bit-equal everywhere."""
    limits: AbstractContextManager[object] = _controller(len(sys.modules)).limit(limits=1)
    return limits


@functools.lru_cache(maxsize=1)
def _controller(n_modules: int) -> ThreadpoolController:
    """Find the numerical libraries again only when modules were imported since: it takes milliseconds."""
    return ThreadpoolController()
