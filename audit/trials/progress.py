"""Progress on standard error: bars on a terminal; elsewhere a line a forget set, and a sign of life each minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from audit.trials.engines import Progress
from audit.trials.pace import Pace, read_phase
from audit.trials.signals import Stopped, ending_signals

# Seconds without a line after which one says where the run is.
HEARTBEAT = 60.0


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Yield a callback that displays (phase, done, total), and raises ``Stopped`` after a signal that asks to end.

    Python drops an interruption that arrives inside a callback of its own (a finaliser, a weak reference); a long run
    must end all the same.
    """
    with ending_signals() as interrupted, _bars() if _is_terminal() else _lines() as show:

        def report(phase: str, done: int, total: int) -> None:
            if interrupted:
                raise Stopped(interrupted[0])
            show(phase, done, total)

        yield report


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def _bars() -> Iterator[Progress]:
    """Show a bar of all forget sets and one of the current phase; lines of what is over stay above."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    pace = Pace(time.monotonic())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        sets = bar.add_task("forget sets", visible=False, note="")
        phase = bar.add_task("", note="")

        def show(text: str, done: int, total: int) -> None:
            now, step = time.monotonic(), read_phase(text, done, total)
            line = pace.take(step, now)
            if line:
                bar.console.print(line, markup=False, highlight=False)
            bar.update(phase, description=step.phase, completed=done, total=total, note=pace.phase_note(now))
            if step.n_sets > 1:
                description = f"{step.title + ', ' if step.title else ''}forget set {step.index:,}/{step.n_sets:,}"
                completed = step.index - 1 + step.share
                note = pace.run_note(now)
                bar.update(
                    sets, description=description, completed=completed, total=step.n_sets, visible=True, note=note
                )

        yield show
        line = pace.end(time.monotonic())
        if line:
            bar.console.print(line, markup=False, highlight=False)


@contextmanager
def _lines() -> Iterator[Progress]:
    """Print a line for each forget set, and one whenever nothing was said for a minute."""
    lines, over = Lines(clock=time.monotonic, write=_print), threading.Event()
    beating = threading.Thread(target=_beat, args=(lines, over), daemon=True)
    beating.start()
    try:
        yield lines.report
        lines.end()
    finally:
        over.set()
        beating.join()


def _beat(lines: Lines, over: threading.Event) -> None:
    while not over.wait(1.0):
        lines.beat()


def _print(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


class Lines:
    """What is printed where there is no terminal.

    Parameters
    ----------
    clock
        Seconds.
    write
        Prints a line.
    """

    def __init__(self, *, clock: Callable[[], float], write: Callable[[str], None]) -> None:
        self._clock, self._write = clock, write
        self._pace, self._said = Pace(clock()), clock()
        # The heart beats in a thread of its own.
        self._lock = threading.Lock()

    def report(self, phase: str, done: int, total: int) -> None:
        """Print a line when the run begins, and when a forget set, or a phase of none, is over."""
        with self._lock:
            if self._pace.step is None:
                self._say(f"{phase} ...")
            self._say(self._pace.take(read_phase(phase, done, total), self._clock()))

    def beat(self) -> None:
        """Print where the run is, if nothing was said for a minute."""
        with self._lock:
            now = self._clock()
            if now - self._said >= HEARTBEAT:
                self._say(self._pace.beat(now))

    def end(self) -> None:
        """Print the line of what was over last."""
        with self._lock:
            self._say(self._pace.end(self._clock()))

    def _say(self, line: str) -> None:
        if line:
            self._said = self._clock()
            self._write(line)
