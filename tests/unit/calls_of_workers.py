"""Calls that workers make in tests of the engine: what loads quickly alone, for each worker loads it anew."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BAD = 3


def where(i: int) -> tuple[int, str]:
    return i, os.getcwd()


def _leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(5)
    os._exit(0)


HARM: dict[str, Callable[[], Any]] = {
    "exits with 0": lambda: os._exit(0),
    "exits with 3": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfaults": lambda: ctypes.string_at(0),
    "closes everything": lambda: os.closerange(0, 256),
    "leaves a child that holds its pipe": _leave_a_child,
    "hangs": lambda: time.sleep(600),
    "raises KeyboardInterrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt("mine")),
    "raises SystemExit": lambda: sys.exit(0),
}


@dataclass(frozen=True)
class One:
    n_trials: int = 1


def harmed(how: str, i: int, task: One | None = None) -> tuple[int, str]:
    if i == BAD:
        HARM[how]()
    return where(i)


def flaky(marker: str, i: int) -> int:
    """Ends its process at the first try of one call."""
    if i == BAD and not Path(marker).exists():
        Path(marker).touch()
        os._exit(0)
    return i


def exits_at_0(i: int) -> int:
    if i == 0:
        os._exit(0)
    return i


def disturbing(i: int) -> tuple[str, list[bool]]:
    seen = os.getcwd(), [_is_open(descriptor) for descriptor in range(3)]
    os.chdir("/")
    for descriptor in range(3):
        os.close(descriptor)
    return seen


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def doubled(array: Any, i: int) -> tuple[float, bool, bool]:
    total, frozen = float(array.sum()), not array.flags.writeable
    if not frozen:
        array *= 2
    return total, frozen, bool(array.flags.owndata)


def stamped(i: int) -> float:
    time.sleep(0.005)
    return time.time()


def slowly(i: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def one_raises_late_others_end(tried: str, i: int) -> None:
    """Raise once the others are gone, and at the second try at once."""
    if i == 0:
        late = not Path(tried).exists()
        with open(tried, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(1.5 * late)
        raise ValueError("zero")
    os._exit(3)


def hangs(_: Any) -> None:
    time.sleep(600)
