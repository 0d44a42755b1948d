"""A process that has drawn nothing yet: what a mechanism keeps from one trial to the next cannot have reached it.

In the flow: :mod:`audit.controls.replay` compares what it draws with what this process draws after other trials.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from audit.trials.workers.pool import packed

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Unasked:
    """Why a fresh process gave no answer, in words."""

    why: str


def in_fresh_process(function: Callable[..., T], *arguments: Any) -> T | Unasked:
    """Return ``function(*arguments)`` from a process of its own (never a fork), or why there is no answer.

    What cannot be sent to another process, and a process that dies, are no faults of a mechanism: they come back as
    :class:`Unasked`, and so does whatever the function raises.
    """
    from audit.trials.workers.pool import POOL

    worker = None
    try:
        parcels = [packed(part) for part in (function, *arguments)]
        worker = POOL.start()
        worker.send(0, parcels)
        succeeded, value = pickle.loads(worker.connection.recv_bytes())
    except (EOFError, OSError):
        return Unasked(why="it ended without an answer" if worker is None else worker.ended())
    except Exception as error:
        return Unasked(why=_said(f"{type(error).__name__}: {error}"))
    finally:
        if worker is not None:
            POOL.end(worker)
    answer: T | Unasked = value if succeeded else Unasked(why=_said(value[1]))
    return answer


def _said(text: str) -> str:
    return next(iter(text.splitlines()), "").removesuffix(": ") or "no message"


def copy_of(value: T) -> T | Unasked:
    """Return a copy of a value and of everything that it keeps, or why there is none."""
    try:
        parcel = packed(value)
        copied: T = pickle.loads(parcel.body, buffers=[bytes(buffer) for buffer in parcel.buffers])
    except Exception as error:
        return Unasked(why=f"{type(error).__name__}: {error}")
    return copied
