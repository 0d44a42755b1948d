"""Signals that ask a run to end become one exception, from the first import to the last page."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The user's interruption, the end that a scheduler asks for, and a terminal that is closed.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end. No Exception: code of the user's is not to take it for an error of its own.

    Parameters
    ----------
    number
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Raise :class:`Stopped` at a signal that asks to end, and yield the list of those that came.

    Other threads than the main one get no signals; there the list stays empty.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    usual = {number: signal.getsignal(number) for number in ENDING}

    def remember(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before = usual[number]
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)
        raise Stopped(number)

    # What is ignored stays so: under nohup a run outlives its terminal.
    mine = [number for number, before in usual.items() if before not in (signal.SIG_IGN, None)]
    for number in mine:
        signal.signal(number, remember)
    try:
        yield seen
    finally:
        for number in mine:
            signal.signal(number, usual[number])
