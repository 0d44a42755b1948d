"""Progress on standard error: a bar on a terminal, a plain line every 10 % elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from audit.trials.engines import Progress


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Yield a callback that displays (phase, done, total), and raises KeyboardInterrupt after an interruption.

    Python drops an interruption that arrives inside a callback of its own (a finaliser, a weak reference); a long run
    must end all the same.
    """
    with interruptions() as interrupted, _bar() if sys.stderr.isatty() else nullcontext(_Lines().report) as show:

        def report(phase: str, done: int, total: int) -> None:
            if interrupted:
                raise KeyboardInterrupt
            show(phase, done, total)

        yield report


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Yield a list that is no longer empty once the process was interrupted; the usual handler runs as well."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    usual = signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if callable(usual):
            usual(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total)


class _Lines:
    """Remembers the last tenth that was printed for the current phase."""

    def __init__(self) -> None:
        self._phase, self._tenth = "", -1

    def report(self, phase: str, done: int, total: int) -> None:
        """Print a line when a new tenth of a phase is reached."""
        tenth = 10 * done // max(total, 1)
        if (phase, tenth) != (self._phase, self._tenth):
            self._phase, self._tenth = phase, tenth
            print(f"{phase}: {10 * tenth} %", file=sys.stderr, flush=True)
