"""Where chunks are run: in this process or in workers, one thread each, and none left behind."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol, TypeVar, cast, runtime_checkable

from threadpoolctl import ThreadpoolController

from audit.errors import TrialError
from audit.trials.workers.pool import Failure
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

    def limited(self, trial_timeout: float | None) -> Streams:
        """Return the same with a limit on the seconds of a trial."""
        ...

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result, or why it failed twice) in any order."""
        ...


@runtime_checkable
class Trials(Protocol):
    """Something to draw, which says how many trials it is."""

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        ...


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """An argument of calls that prepare trials, as binding a mechanism to its ``index``-th forget set does."""

    index: int


# Seconds that a call that prepares trials may take where only trials have a limit, if a trial may not take longer.
SETUP_SECONDS = 120.0


def setup_limit(trial_timeout: float | None, setup_timeout: float | None = None) -> float | None:
    """Return the most seconds for importing a mechanism, and for binding it once; ``None`` for as long as it takes."""
    if setup_timeout is not None or trial_timeout is None:
        return setup_timeout
    return max(SETUP_SECONDS, trial_timeout)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Runs chunks on ``n_jobs`` worker processes (never a fork), or in this process when it is 1.

    Parameters
    ----------
    n_jobs
        Workers.
    isolated
        Whether a single worker is a process of its own too, so that nothing a chunk does can end this one.
    trial_timeout
        Seconds that a trial may take: a chunk of n trials is given up after n times as long, which takes a worker
        process. ``None`` for as long as it takes; a run takes the plan's.
    setup_timeout
        Seconds that binding the mechanism to one forget set may take, its ``calibrate`` too. Where only trials have a
        limit, that of one trial, or 120 if that is longer.
    """

    n_jobs: int = 1
    isolated: bool = False
    trial_timeout: float | None = None
    setup_timeout: float | None = None

    def __post_init__(self) -> None:
        fix = "1 runs in this process, 2 on two cores"
        object.__setattr__(self, "n_jobs", whole_number(self.n_jobs, "n_jobs", fix=fix))
        require(self.n_jobs >= 1, "n_jobs", expected="at least 1", got=self.n_jobs, fix=fix)

    def limited(self, trial_timeout: float | None) -> Engine:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, trial_timeout=trial_timeout)

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result, or why it failed twice) in any order, a few at a time.

        Parameters
        ----------
        function, calls
            What is called, and with what. :func:`results` raises for those who can do nothing with a failure.
        """
        limits = [self._limit(call) for call in calls]
        unlimited = self.trial_timeout is None and not any(limits)
        if unlimited and not self.isolated and (self.n_jobs == 1 or len(calls) <= 1):
            for i, arguments in enumerate(calls):
                yield i, _tried_here(function, arguments)
            return
        from audit.trials.workers.handing_out import HandingOut

        yield from HandingOut(function, calls, n_workers=min(self.n_jobs, len(calls)), limits=limits).outcomes()

    def _limit(self, call: tuple[Any, ...]) -> float | None:
        """Return the most seconds for a call: of those that prepare trials, or draw them and say how many."""
        if any(isinstance(argument, SetUp) for argument in call):
            return setup_limit(self.trial_timeout, self.setup_timeout)
        n = sum(argument.n_trials for argument in call if isinstance(argument, Trials))
        return self.trial_timeout * n if n and self.trial_timeout is not None else None


def results(stream: Iterator[tuple[int, T | Failure]], *, doing: str = "") -> Iterator[tuple[int, T]]:
    """Yield what an engine's stream does, for those who can do nothing with a call that failed.

    Parameters
    ----------
    stream
        Of :meth:`Engine.stream`.
    doing
        What the calls do, for the error that says that a worker was lost in one.

    Raises
    ------
    TrialError
        When a worker was lost in a call twice; what a call raises twice is raised here.
    """
    try:
        for position, outcome in stream:
            if isinstance(outcome, Failure):
                raise_failure(outcome, doing=doing)
            yield position, outcome
    finally:
        # Now, and not when somebody collects the traceback: workers are then free again at once.
        if isinstance(stream, Generator):
            stream.close()


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


def raise_failure(failure: Failure, *, doing: str = "") -> NoReturn:
    """Raise what a call raised, with its traceback as the cause; a lost worker is a :class:`TrialError`."""
    error = failure.error
    if error is None or not isinstance(error, Exception):
        words = f"{failure.message} (while {doing})" if doing else failure.message
        raise TrialError(words) from (_RemoteTraceback(failure.traceback) if failure.traceback else None)
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
