"""Draw one shard of an audit into a store of its own; one that was stopped goes on.

In the flow: on each machine, once for fitting and once, with the attacks that were fitted in between, for counting.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.controls.replay import replay
from audit.gathering.at_once import counting_calls
from audit.gathering.contrast import make_contrasts, retrained_sample
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.records.provenance import data_record
from audit.running.binding import bind_once, check_inputs, family_of
from audit.running.cheap_checks import check_fits
from audit.running.runner import Announce
from audit.running.shards.dealing import Dealing, Phase, Shard, shards_in
from audit.running.shards.fits import Fits, fits_in, required_fits
from audit.running.shards.origin import Origin
from audit.trials.chunks import draw_chunk, score_chunk
from audit.trials.engines import Progress, SetUp, Streams, raise_failure, results
from audit.trials.identity.of_runs import Identity, differences, identity_of
from audit.trials.rows import RowKey
from audit.trials.store import GIGABYTE, Say, Storage, Store, releases_folder
from audit.trials.storing.holding import this_process
from audit.trials.storing.inspection import said_of
from audit.trials.storing.opening import database, free, holder_in, opened
from audit.trials.storing.resuming import Resuming, failure_of
from audit.trials.workers.pool import Failure
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet

# Chunks that are handed to each worker together: attacks of so many forget sets are held at once.
_TOGETHER = 50
# Bytes of releases: without all of them nothing can be fitted.
_NO_LIMIT = 2**60


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a shard holds when it is drawn.

    Parameters
    ----------
    n_chunks, n_before
        Of the shard, and how many of them were stored when it began.
    failures
        What was said of each chunk that failed.
    stopped
        Why nothing was drawn: no forget set can be replayed; empty otherwise.
    """

    n_chunks: int
    n_before: int
    failures: tuple[str, ...] = ()
    stopped: str = ""


def draw_shard(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan,
    shard: Shard,
    folder: Path,
    *,
    origin: Origin,
    engine: Streams,
    fresh: bool = False,
    take_over: bool = False,
    say: Say | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
    command: str | None = None,
) -> Drawn:
    """Draw the chunks of one shard into its own store in a folder.

    Parameters
    ----------
    mechanism, data, plan
        As for :func:`audit.running.runner.run`.
    shard
        Which part of the plan's chunks.
    folder
        Shared by all shards, or this one's alone; to count it holds the fitted attacks.
    origin
        Stored with the shard when it is drawn to its end.
    engine, progress, announce, command
        As for :func:`audit.running.runner.run`; the first shard that is to fit announces.
    fresh
        Throw away what an earlier draw of this shard stored.
    take_over
        A process of another machine that holds the shard's store is known to be gone.
    say
        Called with sentences for the user.

    Raises
    ------
    InvalidInputError
        For a plan that stops when decided, a folder of another audit, or one where nothing can be stored.
    TrialError
        When the mechanism cannot be bound.

    Notes
    -----
    The first shard that is to fit asks for a replay before it draws, so that a mechanism that cannot be replayed costs
    a cluster little. All controls are made when shards are collected.
    """
    dealing = Dealing.of(plan, shard.phase)
    check_inputs(plan, data)
    identity = identity_of(mechanism, data, plan, data_sha256=data_record(data).sha256)
    fits = fits_in(folder, identity) if shard.phase is Phase.FIT else required_fits(folder, identity)
    _check_neighbours(folder, shard, identity)
    wanted = dealing.chunks(shard)
    mine = {**identity, "shard": shard.identity()}
    if fits is not None and shard.phase is Phase.COUNT:
        mine["fitted"] = fits.digest
    storage = Storage(
        folder=folder / shard.name, fresh=fresh, keep_releases=True, most_release_bytes=_NO_LIMIT, say=say
    )
    if take_over:
        _take_over(folder / shard.name)
    engine = engine.limited(plan.trial_timeout)
    with opened(storage, lambda: mine, n_chunks=len(wanted), command=command) as store:
        before = {key for key in wanted if store.read(key) is not None}
        drawn = Drawn(n_chunks=len(wanted), n_before=len(before))
        if store.result is None or len(before) < len(wanted):
            bound = dict(_bound(mechanism, data, plan, sorted({key.record for key in wanted}), engine))
            if shard.phase is Phase.FIT and shard.number == 1 and not before:
                if announce is not None and len(bound) == len(plan.forget):
                    announce(plan, list(bound.values()), family_of(plan, list(bound.values())))
                drawn = replace(drawn, stopped=_unreplayable(plan, bound, engine))
                if drawn.stopped:
                    return drawn
            _Drawing(plan, dealing, shard, Resuming(engine=engine, store=store), progress).run(bound, wanted, fits)
            _check_stored(store, folder / shard.name, wanted, shard)
            store.finish(origin.to_json())
        return replace(drawn, failures=_failures(store, wanted))


def _check_neighbours(folder: Path, shard: Shard, identity: Identity) -> None:
    """Refuse a folder in which another audit is drawn; what cannot be read now is looked at when it is collected."""
    for other in [each for each in shards_in(folder, shard.phase) if each != shard][:1]:
        try:
            stored = json.loads(said_of(folder / other.name)["identity"])
        except (InvalidInputError, ValueError, KeyError):
            return
        said = differences({name: stored.get(name) for name in identity}, identity)
        if said:
            raise InvalidInputError(
                field=f"{folder}",
                expected="the folder of this audit",
                got=f"one in which {other} is of another ({said})",
                fix="choose another folder for each audit",
            )


def _take_over(folder: Path) -> None:
    """Free a store that a process of another machine holds; one of this machine can be seen to run or to be gone."""
    holder = holder_in(database(folder))
    if holder is not None and holder.host != this_process().host:
        free(folder)


def _bound(
    mechanism: Mechanism, data: RecordSet, plan: AuditPlan, sets: Sequence[int], engine: Streams
) -> Iterator[tuple[int, BoundRecord]]:
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in sets]
    done = dict(results(engine.stream(bind_once, calls), doing="binding the mechanism"))
    for position, i in enumerate(sets):
        record = replace(done[position], data=data)
        check_fits(plan, record)
        yield i, record


def _unreplayable(plan: AuditPlan, bound: dict[int, BoundRecord], engine: Streams) -> str:
    """Return why no forget set can be replayed; empty where one can."""
    said = ""
    for i, record in bound.items():
        control = replay(record.deletion, plan, i, record.forget, record.label, engine=engine).control
        if control.as_expected:
            return ""
        said = said or control.message
    return said


class _Drawing:
    """Draws what a shard wants, a few forget sets at a time."""

    def __init__(
        self, plan: AuditPlan, dealing: Dealing, shard: Shard, engine: Resuming, progress: Progress | None
    ) -> None:
        self._plan = plan
        self._dealing = dealing
        self._shard = shard
        self._engine = engine
        self._progress = progress

    def run(self, bound: dict[int, BoundRecord], wanted: dict[RowKey, int], fits: Fits | None) -> None:
        """Draw all chunks; each is stored before the next ones are handed out."""
        phase, total, done = self._shard.phase, sum(wanted.values()), 0
        if phase is Phase.FIT:
            self._check_room(bound, wanted)
        function: Callable[..., Any] = draw_chunk if phase is Phase.FIT else score_chunk
        words = "fitting trials" if phase is Phase.FIT else "counted trials"
        for calls in self._batches(bound, fits):
            for i, outcome in self._engine.stream(function, calls):
                task = calls[i][-1]
                key = RowKey.of(phase, task)
                if self._engine.store.read(key) is None:
                    # What is wrong with the user's input is not stored, and nothing is on a disk that is full.
                    if isinstance(outcome, Failure):
                        raise_failure(outcome, doing=f"drawing {key}")
                    raise _unstored(self._shard, f"no room for {key}")
                done += task.n
                if self._progress:
                    self._progress(words, done, total)

    def _batches(self, bound: dict[int, BoundRecord], fits: Fits | None) -> Iterable[list[tuple[Any, ...]]]:
        batch: list[tuple[Any, ...]] = []
        for i, record in bound.items():
            batch += self._calls(i, record, fits)
            if len(batch) >= _TOGETHER * self._engine.n_jobs:
                yield batch
                batch = []
        if batch:
            yield batch

    def _calls(self, i: int, record: BoundRecord, fits: Fits | None) -> list[tuple[Any, ...]]:
        plan, step = self._plan, str(self._shard.phase)
        contrasts = make_contrasts(plan, i, 0, record)
        retrained = retrained_sample(plan, i, record.deletion)
        calls: list[tuple[Any, ...]]
        if self._shard.phase is Phase.FIT or fits is None:
            samples = [*(contrast.sample for contrast in contrasts), retrained]
            calls = [(sample.deletion, task) for sample in samples for task in sample.tasks(plan, fitting=True)]
        else:
            calls = list(counting_calls(retrained, contrasts, fits.of(i, record, plan).prepared, plan))
        return [
            call
            for call in calls
            if self._dealing.number(RowKey.of(step, call[-1]), self._shard.of) == self._shard.number
        ]

    def _check_room(self, bound: dict[int, BoundRecord], wanted: dict[RowKey, int]) -> None:
        """Refuse before anything is drawn what the disk has no room for: half of what is free is left alone."""
        folder = self._engine.store.folder
        sizes = {i: 8 * math.prod(record.deletion.release.shape) for i, record in bound.items()}
        needed = sum(n * sizes[key.record] for key, n in wanted.items() if self._engine.store.read(key) is None)
        free = 0 if folder is None else shutil.disk_usage(folder).free // 2
        if needed > free:
            raise InvalidInputError(
                field=f"the disk of {folder}",
                expected=f"to have room for {needed / GIGABYTE:.3g} GB of releases that attacks are fitted on",
                got=f"{free / GIGABYTE:.3g} GB",
                fix="make room, choose another folder, draw more shards on more disks, or lower counting.max_fit",
            )


def _check_stored(store: Store, folder: Path, wanted: dict[RowKey, int], shard: Shard) -> None:
    """Refuse to end where a chunk is not on disk."""
    n = 0
    for key in wanted:
        row = store.read(key)
        has_releases = row is not None and (row.failed or (releases_folder(folder) / row.releases).is_file())
        n += row is not None and bool(has_releases or shard.phase is Phase.COUNT)
    if n < len(wanted):
        raise _unstored(shard, f"{n:,} of {len(wanted):,}")


def _unstored(shard: Shard, got: str) -> InvalidInputError:
    return InvalidInputError(
        field=f"the store of {shard}",
        expected="able to hold all of its chunks",
        got=got,
        fix="make room on that disk, and draw the shard again: it goes on",
    )


def _failures(store: Store, wanted: dict[RowKey, int]) -> tuple[str, ...]:
    rows = (store.read(key) for key in wanted)
    return tuple(failure_of(row).message for row in rows if row is not None and row.failed)
