"""A process that has drawn nothing yet: what a mechanism keeps from one trial to the next cannot have reached it.

In the flow: :mod:`audit.controls.replay` compares what it draws with what this process draws after other trials.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(max_workers=1)
    try:
        answer: T = executor.submit(function, *arguments).result()
        return answer
    except Exception as error:
        return Unasked(why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def copy_of(value: T) -> T | Unasked:
    """Return a copy of a value and of everything that it keeps, or why there is none."""
    # As the engine sends it: functions of a script or a notebook, and what they keep, go by value.
    from joblib.externals.loky.backend.reduction import dumps

    try:
        copied: T = pickle.loads(dumps(value))
    except Exception as error:
        return Unasked(why=f"{type(error).__name__}: {error}")
    return copied
