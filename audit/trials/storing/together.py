"""Chunks of several forget sets that were drawn together, stored one by one: a run that goes on draws what is missing.

In the flow: what :class:`~audit.trials.storing.resuming.Resuming` is for chunks that are drawn alone. What is stored is
not drawn here, and is read when it is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from audit.trials.engines import Streams
from audit.trials.storing.resuming import Asked, Resuming, Timed, asked_of, timed
from audit.trials.together import Together
from audit.trials.workers.pool import Failure

GroupFn = Callable[..., tuple[Any, ...]]
Call = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """What is missing of a call, and which of its forget sets that is."""

    position: int
    n: int
    missing: tuple[int, ...]
    asked: tuple[Asked, ...]
    call: Call


def drawn_together(engine: Streams, function: GroupFn, calls: Sequence[Call]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield (position of the call, what it gives for each forget set) in any order, each once it is stored.

    Parameters
    ----------
    engine
        Whether it keeps chunks or not.
    function, calls
        :func:`~audit.trials.together.draw_together` or
        :func:`~audit.trials.together.score_together`, and what they are called with.

    Notes
    -----
    ``None`` stands for what is stored already, and for what failed: both are asked for again, one by one.
    """
    if not isinstance(engine, Resuming):
        for i, outcome in engine.stream(function, calls):
            yield i, _none(calls[i]) if isinstance(outcome, Failure) else outcome
        return
    parts, known = [], dict[tuple[int, tuple[int, ...]], Call]()
    for i, call in enumerate(calls):
        part = _missing(engine, i, call, known)
        if part.missing:
            parts.append(part)
        else:
            yield i, _none(call)
    keeps = engine.store.has_room(sum(asked.n_bytes for part in parts for asked in part.asked))
    results = engine.engine.stream(functools.partial(timed, function), [part.call for part in parts])
    for j, done in results:
        part = parts[j]
        if isinstance(done, Failure):
            yield part.position, (None,) * part.n
            continue
        for stored in [_put(engine, part, k, done, keeps) for k in range(len(part.missing))]:
            stored.result()
        found = dict(zip(part.missing, done.value, strict=True))
        yield part.position, tuple(found.get(m) for m in range(part.n))


def _none(call: Call) -> tuple[None, ...]:
    return (None,) * len(call[-1].tasks)


def _missing(engine: Resuming, position: int, call: Call, known: dict[tuple[int, tuple[int, ...]], Call]) -> _Part:
    """Return what a store lacks of a call; ``known`` keeps the arguments that many calls share, to be sent once."""
    *shared, chunk = call
    asked = [asked_of((*(each[m] for each in shared), task)) for m, task in enumerate(chunk.tasks)]
    missing = tuple(m for m, each in enumerate(asked) if engine.stored(each) is None)
    if len(missing) < len(asked):
        shared = list(
            known.setdefault((id(shared[0]), missing), tuple(tuple(each[m] for m in missing) for each in shared))
        )
        chunk = Together(tasks=tuple(chunk.tasks[m] for m in missing))
    return _Part(
        position=position,
        n=len(asked),
        missing=missing,
        asked=tuple(asked[m] for m in missing),
        call=(*shared, chunk),
    )


def _put(engine: Resuming, part: _Part, k: int, done: Timed, keeps: bool) -> Future[None]:
    """Store what was drawn for one forget set; releases for which there is no room are drawn again when needed."""
    value, asked = done.value[k], part.asked[k]
    if value is None or (asked.attacks is None and not keeps):
        nothing: Future[None] = Future()
        nothing.set_result(None)
        return nothing
    return engine.put(asked, replace(done, value=value, seconds=done.seconds / len(part.missing)), keeps)
