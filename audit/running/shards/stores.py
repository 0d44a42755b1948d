"""The stores of shards, read together: all of a phase, each whole and of this audit, or the one that is not is named.

In the flow: whoever collects asks here first; nothing is written to a shard by anybody but the one that draws it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.errors import SchemaError
from audit.running.shards.dealing import Dealing, Phase, Shard, listed, shards_in
from audit.running.shards.origin import Origin
from audit.trials.chunks import ChunkTask, draw_chunk
from audit.trials.engines import Streams
from audit.trials.identity.of_runs import Identity, differences
from audit.trials.rows import Row, RowKey, releases_digest
from audit.trials.store import Storage, Store, releases_folder
from audit.trials.storing.inspection import is_blank, rows_in, said_of
from audit.trials.storing.opening import opened
from audit.trials.storing.resuming import failure_of
from audit.trials.workers.pool import Failure
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import open_array

Array = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnShard:
    """A shard that is drawn: what it belongs to, and where it comes from."""

    shard: Shard
    folder: Path
    identity: Identity
    origin: Origin


def drawn_shards(folder: Path, phase: Phase) -> tuple[DrawnShard, ...]:
    """Return all shards of a phase in a folder, each drawn to its end.

    Raises
    ------
    InvalidInputError
        When there is none, when some are missing or unfinished (naming them), or are of different divisions.
    """
    there = shards_in(folder, phase)
    if not there:
        raise InvalidInputError(
            field=str(folder),
            expected=f"a folder with shards of phase {phase}",
            got="one without",
            fix=f"draw them by `unlearn-audit draw PLAN --phase {phase} --shard 1/4 --out {folder}` and so on",
        )
    divisions = sorted({shard.of for shard in there})
    if len(divisions) > 1:
        raise InvalidInputError(
            field=f"the shards of phase {phase} in {folder}",
            expected="of one division",
            got=f"those of {listed(divisions)} shards",
            fix="move away those that do not belong here",
        )
    places = {shard.number: folder / shard.name for shard in there}
    said = {number: {} if is_blank(place) else said_of(place) for number, place in places.items()}
    _check_all(folder, phase, divisions[0], said)
    return tuple(_drawn(folder, shard, said[shard.number]) for shard in there)


def _check_all(folder: Path, phase: Phase, of: int, said: dict[int, dict[str, str]]) -> None:
    missing = [number for number in range(1, of + 1) if number not in said]
    begun = [number for number, words in said.items() if "result" not in words]
    if not (missing or begun):
        return
    got = [f"no shard {listed(missing)}"] if missing else []
    got += [f"shard {listed(begun)} not drawn to the end"] if begun else []
    first = min(missing + begun)
    raise InvalidInputError(
        field=f"{folder}",
        expected=f"a folder with all {of} shards of phase {phase}",
        got=" and ".join(got),
        fix=f"draw what is missing, such as --phase {phase} --shard {first}/{of}; one that was stopped goes on",
    )


def _drawn(folder: Path, shard: Shard, said: dict[str, str]) -> DrawnShard:
    try:
        identity, origin = json.loads(said["identity"]), Origin.from_json(said["result"])
    except (ValueError, KeyError, RecursionError, SchemaError) as error:
        raise _not_whole(folder, shard, f"an end that cannot be read ({type(error).__name__})") from None
    return DrawnShard(shard=shard, folder=folder / shard.name, identity=identity, origin=origin)


def check_identities(shards: Sequence[DrawnShard], identity: Identity, **more: Any) -> None:
    """Refuse shards of another audit, or of another place in it than their folder says.

    Raises
    ------
    InvalidInputError
        With what differs.
    """
    for each in shards:
        said = differences(each.identity, {**identity, "shard": each.shard.identity(), **more})
        if said:
            raise InvalidInputError(
                field=f"{each.shard} in {each.folder.parent}",
                expected="of this audit",
                got=f"that of another one ({said})",
                fix="draw it again with --fresh, from the plan, the data and the code of the others",
            )


@contextmanager
def joined(shards: Sequence[DrawnShard], dealing: Dealing) -> Iterator[Store]:
    """Yield one temporary store with the chunks of all shards.

    Raises
    ------
    InvalidInputError
        When chunks of a shard are missing or damaged.
    """
    with opened(Storage(), lambda: {}, n_chunks=0) as store:
        for each in shards:
            wanted = dealing.chunks(each.shard)
            last: Future[None] | None = None
            for row, whole in rows_in(each.folder):
                if whole and wanted.get(row.key) == row.n and _is_readable(row):
                    del wanted[row.key]
                    last = store.put(row)
            if last is not None:
                last.result()
            if wanted:
                n, first = len(wanted), next(iter(wanted))
                raise _not_whole(each.folder.parent, each.shard, f"{n:,} chunks missing or damaged, the first: {first}")
        yield store


def _is_readable(row: Row) -> bool:
    """Return whether a row is what a chunk leaves: a copied shard may have been written by anybody."""
    try:
        if row.failed:
            failure_of(row)
        else:
            row.scored()
            json.loads(row.failures), json.loads(row.changed)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return True


def _not_whole(folder: Path, shard: Shard, got: str) -> InvalidInputError:
    return InvalidInputError(
        field=f"{shard} in {folder}",
        expected="whole",
        got=got,
        fix=f"draw it again: --phase {shard.phase} --shard {shard.number}/{shard.of} --out {folder} --fresh",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class FromShards:
    """Runs calls on another engine, but for releases, which shards have drawn.

    Parameters
    ----------
    engine
        What runs the rest.
    store
        The rows of all shards.
    shards, dealing
        Where the releases lie.
    """

    engine: Streams
    store: Store
    shards: Sequence[DrawnShard]
    dealing: Dealing

    @property
    def n_jobs(self) -> int:
        """Worker processes of the engine."""
        return self.engine.n_jobs

    def limited(self, trial_timeout: float | None) -> FromShards:
        """Return the same; nothing is drawn that could take too long."""
        return self

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield (position of the call, its result): what shards have drawn, and what the engine runs."""
        if function is not draw_chunk:
            yield from self.engine.stream(function, calls)
            return
        for i, (_, task) in enumerate(calls):
            found: Any = self._releases(task)
            yield i, found

    def _releases(self, task: ChunkTask) -> Array | Failure:
        key = RowKey.of("fit", task)
        # All of them, in their order.
        row, each = self.store.read(key), self.shards[self.dealing.number(key, len(self.shards)) - 1]
        if row is None:
            raise _not_whole(each.folder.parent, each.shard, f"no {key}")
        if row.failed:
            return failure_of(row)
        try:
            found = np.asarray(open_array(releases_folder(each.folder) / Path(row.releases).name), dtype=np.float64)
        except InvalidInputError:
            found = np.empty(0)
        if releases_digest(found) != row.releases_sha256:
            raise _not_whole(each.folder.parent, each.shard, f"releases missing or damaged: {key}")
        return found
