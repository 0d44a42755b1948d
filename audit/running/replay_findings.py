"""What a chunk that was drawn again has in common with what was stored of it, in words.

In the flow: :mod:`audit.running.replaying` draws it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.trials.alone import Alone
from audit.trials.chunks import ChunkTask, ScoredChunk, trial_error
from audit.trials.rows import Row, scored_chunk
from audit.trials.storing.resuming import failure_of

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


class Replay(Enum):
    """What became of a chunk that was drawn again."""

    EQUAL = "equal"
    FAILED_AGAIN = "failed again"
    DIFFERENT = "different"
    ENDED = "ended its process"


def compared(
    row: Row, found: Alone, task: ChunkTask, attacks: Mapping[Any, FittedAttack]
) -> tuple[Replay, tuple[str, ...]]:
    """Return what became of a stored chunk, and what to say of it.

    Parameters
    ----------
    row
        As it was stored.
    found, task
        What it gives now, and which chunk it is.
    attacks
        That scored it, by their keys; none where scores are not compared.
    """
    if found.failure is not None:
        return _failed(row, found, str(trial_error(task, found.failure)))
    if row.failed:
        return Replay.DIFFERENT, (f"It did not fail. When it was stored it did: {failure_of(row).message}",)
    if found.scored is None:
        same = found.releases_sha256 == row.releases_sha256
        said = "are those that were stored, bit for bit" if same else "are not those that were stored"
        return (Replay.EQUAL if same else Replay.DIFFERENT), (f"The releases of {_trials(row.n)} {said} (SHA-256).",)
    lines = [*_watched(row, found), *_scored(row, found.scored, attacks)]
    equal = all(same for same, _ in lines)
    return (Replay.EQUAL if equal else Replay.DIFFERENT), tuple(said for _, said in lines)


def _failed(row: Row, found: Alone, message: str) -> tuple[Replay, tuple[str, ...]]:
    """Return what to say of a chunk that fails now, beside what was stored of it."""
    before = failure_of(row).message if row.failed else ""
    said: tuple[str, ...]
    if not before:
        said = ("It failed now, and did not when it was stored.", message)
    elif _plain(before) == _plain(message):
        said = ("It failed again, as it did when it was stored.", message)
    else:
        said = ("It failed again, in another way than when it was stored.", f"Now: {message}", f"Stored: {before}")
    if found.lost:
        return Replay.ENDED, said
    return (Replay.FAILED_AGAIN if before and _plain(before) == _plain(message) else Replay.DIFFERENT), said


def _plain(message: str) -> str:
    """Return a message without addresses in memory, which differ from process to process."""
    return _ADDRESS.sub("0x", message)


Line = tuple[bool, str]


def _watched(row: Row, found: Alone) -> Iterator[Line]:
    """Compare what was seen of releases, models and data."""
    stored, now = scored_chunk(row, ()), found.scored
    if stored is None or now is None:
        return
    before, after = stored.watched, now.watched
    n = _n_other(before.releases, after.releases)
    if row.releases_sha256 and found.releases_sha256 == row.releases_sha256:
        yield True, f"The releases of {_trials(row.n)} are those that were stored, bit for bit (SHA-256)."
    elif row.releases_sha256 and not n:
        yield False, f"The releases of {_trials(row.n)} are not those that were stored (SHA-256)."
    elif n:
        yield False, f"{n:,} of {_trials(row.n)} gave another release than was stored."
    else:
        yield True, f"The releases of {_trials(row.n)} have the fingerprints that were stored (64 bits each)."
    if before.models is not None and after.models is not None:
        if n := _n_other(before.models, after.models):
            yield False, f"{n:,} of {_trials(row.n)} learned another model than was stored."
    elif (before.models is None) != (after.models is None):
        yield False, "Learned models can be told apart now and could not before, or the other way round."
    if before.changed != after.changed:
        was, is_now = (", ".join(each.changed) or "nothing" for each in (before, after))
        yield False, f"Data that trials changed: {is_now}; when it was stored: {was}."


def _n_other(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> int:
    if before.shape != after.shape:
        return max(len(before), len(after))
    return int(np.count_nonzero(before != after))


def _scored(row: Row, now: ScoredChunk, attacks: Mapping[Any, FittedAttack]) -> Iterator[Line]:
    """Compare the scores of attacks that were fitted again."""
    if not attacks:
        return
    stored = scored_chunk(row, attacks)
    if stored is None:
        yield False, "Other attacks score it now than were stored."
        return
    equal = []
    for key in attacks:
        name = f"{key[1]} ({key[0][0].name.lower()})"
        before, after = stored.scores.get(key), now.scores.get(key)
        if before is None or after is None:
            said = (stored.failures.get(key, "it scored"), now.failures.get(key, "it scores"))
            if said[0] != said[1]:
                yield False, f"{name}: {said[1]}; when it was stored: {said[0]}."
        elif before.tobytes() == after.tobytes():
            equal.append(name)
        else:
            n = int(np.count_nonzero(before != after))
            most = float(np.nanmax(np.abs(before - after)))
            yield False, f"{name}: {n:,} of {row.n:,} scores differ, by up to {most:.3g}."
    if equal:
        yield True, f"Scores are those that were stored, bit for bit: {', '.join(equal)}."


def _trials(n: int) -> str:
    return f"{n:,} {'trial' if n == 1 else 'trials'}"
