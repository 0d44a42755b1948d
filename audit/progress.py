"""Progress on standard error: a bar on a terminal, a plain line every 10 % elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from audit.contrast import Progress


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Yield a callback that displays (phase, done, total)."""
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _Lines().report


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
