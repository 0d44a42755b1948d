"""Draw one stored chunk again, alone, and say whether it is what was stored.

In the flow: the command ``replay`` and :func:`replay_chunk` come here when a run is over, or while it goes on. Nothing
is written, and nothing here takes part in a verdict.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from attacks.protocol import Attack, FittedAttack
from audit.gathering.at_once import gather
from audit.gathering.contrast import chunk_task, make_contrasts, retrained_sample
from audit.gathering.streaming import gather_until_decided, inquiries_of
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Sequential
from audit.records.provenance import data_record
from audit.running.binding import bind_once, check_inputs, family_of, in_place, plan_of
from audit.running.replay_findings import Replay, compared
from audit.statistics.multiplicity import role_levels
from audit.trials.alone import drawn_alone
from audit.trials.chunks import ChunkTask, Source, Stream
from audit.trials.engines import Engine, SetUp, Streams, results
from audit.trials.identity.of_runs import Identity, differences, identity_of
from audit.trials.rows import Row, RowKey
from audit.trials.storing.kept import KeptChunks, kept_chunks
from audit.trials.storing.resuming import CHUNKS, Resuming, key_of, timed
from audit.trials.workers.pool import Failure
from mechanisms.claim import Claim
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism, World
from mechanisms.reading.records import RecordSet, records_for

T = TypeVar("T")
# The step of chunks that attacks are fitted on.
FIT = "fit"
_NO_SCORES = (
    "Scores were not compared: the trials that attacks were fitted on are not kept (run with --keep-releases). "
    "--scores draws them again."
)
_LOOSE = (
    "The plan allows that training differs (replay = {replay}), so that this may be no fault: fingerprints and digests "
    "tell equal from unequal, and not by how much."
)
# Without these a chunk is another chunk; a mechanism that was mended since is what a replay is for.
_MUST_AGREE = ("plan", "data")


@dataclass(frozen=True, kw_only=True)
class ReplayedChunk:
    """What drawing one stored chunk again gave.

    Parameters
    ----------
    chunk, where
        Its id in the store, and world, forget set, chunk and seed in words.
    outcome
        Whether it is what was stored. A chunk that was stored as failed is ``FAILED_AGAIN`` when it fails in the same
        words, and ``DIFFERENT`` when it does not; ``ENDED`` is one that ended the process that drew it.
    sentences
        What was compared and found, and what could not be.
    traceback
        Of what was raised now; empty where nothing was, or the process ended.
    changed
        What has changed since the chunk was stored: code, the mechanism, this package. Empty for nothing.
    """

    chunk: str
    where: str
    outcome: Replay
    sentences: tuple[str, ...]
    traceback: str = ""
    changed: str = ""


def replay_chunk(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan | None = None,
    *,
    store: str | Path,
    chunk: str,
    scores: bool = False,
    forget: int | Sequence[int] | None = None,
    claim: Claim | CertifiedClaim | None = None,
    trials: int | None = None,
    attacks: Sequence[Attack | str] | None = None,
    seed: int | None = None,
    stop_when_decided: bool = False,
) -> ReplayedChunk:
    """Draw one chunk of a stored run again, in a process of its own, and compare it with what was stored, bit for bit.

    Parameters
    ----------
    mechanism, data, plan, forget, claim, trials, attacks, seed, stop_when_decided
        Of the run, as for :func:`audit.run`.
    store
        The folder of the run.
    chunk
        Which one: an id that ``unlearn-audit replay DIR`` lists.
    scores
        Compare scores too where that takes drawing the trials again that attacks were fitted on. Where these are kept
        scores are compared in any case.

    Returns
    -------
    ReplayedChunk

    Raises
    ------
    InvalidInputError
        When there is no such chunk, or the store is of another plan or of other data.
    TrialError
        When the mechanism cannot be bound or sent to another process.
    """
    data = records_for(mechanism, data)
    sha256 = data_record(data).sha256
    plan = plan_of(mechanism, data, plan, forget, claim, trials, attacks, seed, stop_when_decided)
    check_inputs(plan, data)
    with kept_chunks(Path(store)) as kept:
        row = _row(kept, chunk)
        said = _changed(kept, identity_of(mechanism, data, plan, data_sha256=sha256))
        engine = Engine(isolated=True, trial_timeout=plan.trial_timeout)
        bound = _bound(mechanism, data, plan, row.record, engine)
        fits, attacks_of, unscored = row.step == FIT, dict[Any, FittedAttack](), ""
        if not row.failed and not fits:
            attacks_of, unscored = _fitted(Wanted(row=row, draws=scores), kept, plan, bound, engine)
        task = _task(row, plan)
        sampler = bound[row.record].sampler(task.source.world)
        found = drawn_alone(sampler, attacks_of, task, fits=fits, trial_timeout=plan.trial_timeout)
    outcome, sentences = compared(row, found, task, attacks_of)
    if outcome in (Replay.EQUAL, Replay.DIFFERENT) and not row.failed and found.failure is None:
        sentences = (*sentences, *filter(None, [unscored]))
        if outcome is Replay.DIFFERENT and plan.replay != "exact":
            sentences = (*sentences, _LOOSE.format(replay=plan.replay))
    return ReplayedChunk(
        chunk=chunk,
        where=_where(row, plan),
        outcome=outcome,
        sentences=sentences,
        traceback=found.failure.traceback if found.failure is not None else "",
        changed=said,
    )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A stored chunk whose attacks are looked for, and whether trials may be drawn again to fit them."""

    row: Row
    draws: bool


def _row(kept: KeptChunks, chunk: str) -> Row:
    """Return the row of an id.

    Raises
    ------
    InvalidInputError
        When there is none, or it is damaged.
    """
    folder = kept.home
    parts = chunk.rsplit("-", 4)
    key = None
    if len(parts) == 5 and parts[3].isdecimal() and parts[4].isdecimal():
        key = RowKey(step=parts[0], stream=parts[1], world=parts[2], record=int(parts[3]), chunk=int(parts[4]))
    found = None if key is None else kept.read(key)
    if found is None or found.stream.upper() not in Stream.__members__:
        raise InvalidInputError(
            field="--chunk",
            expected=f"a chunk that is stored, and whole, in {folder}",
            got=repr(chunk),
            fix=f"`unlearn-audit replay {folder}` lists the ids, and `unlearn-audit store verify {folder}` what is "
            "damaged",
        )
    return found


def _changed(kept: KeptChunks, now: Identity) -> str:
    """Return what has changed since the run; refuse another plan and other data, of which this would be no replay."""
    stored = kept.identity
    other = differences(*({name: each.get(name) for name in _MUST_AGREE} for each in (stored, now)))
    if other:
        raise InvalidInputError(
            field=f"the store in {kept.home}",
            expected="of this plan and these data",
            got=f"that of others ({other})",
            fix="replay it by the plan that it was run by; data and plan must be what they were",
        )
    # A shard says besides which one it is.
    names = [name for name in now if name not in _MUST_AGREE]
    return differences(*({name: each.get(name) for name in names} for each in (stored, now)))


def _bound(
    mechanism: Mechanism, data: RecordSet, plan: AuditPlan, record: int, engine: Engine
) -> dict[int, BoundRecord]:
    """Return the forget sets that are needed: this one, and all where levels decide when counting stops."""
    needed = range(len(plan.forget)) if isinstance(plan.counting, Sequential) else (record,)
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in needed]
    done = dict(results(engine.stream(bind_once, calls), doing="binding the mechanism"))
    return {i: in_place(done[j], data, plan) for j, i in enumerate(needed)}


def _task(row: Row, plan: AuditPlan) -> ChunkTask:
    source = Source(stream=Stream[row.stream.upper()], world=World(row.world), record=row.record)
    return chunk_task(plan, source, row.chunk, row.n)


def _where(row: Row, plan: AuditPlan) -> str:
    return f"{row.key}, {row.n:,} {'trial' if row.n == 1 else 'trials'}, seed {plan.seed}"


class _FoundError(Exception):
    """The call that scored the chunk that is looked for."""

    def __init__(self, attacks: Mapping[Any, FittedAttack]) -> None:
        self.attacks = attacks
        super().__init__()


class _NotKeptError(Exception):
    """Trials would have to be drawn again, and are not to be."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seeking:
    """An engine that stops an audit at the call for one chunk; until there the audit is what it was, from its store."""

    key: RowKey
    inner: Resuming

    @property
    def n_jobs(self) -> int:
        """One: chunks are asked for in their order, and none behind the one where the run stopped."""
        return 1

    def limited(self, trial_timeout: float | None) -> _Seeking:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, inner=self.inner.limited(trial_timeout))

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield what the store has, or the engine gives, unless it is what is looked for."""
        if function in CHUNKS:
            for call in calls:
                if key_of(call) == self.key:
                    raise _FoundError(call[1])
        yield from self.inner.stream(function, calls)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sparing:
    """An engine that draws no trials."""

    engine: Engine

    @property
    def n_jobs(self) -> int:
        """Worker processes."""
        return self.engine.n_jobs

    def limited(self, trial_timeout: float | None) -> _Sparing:
        """Return the same with a limit on the seconds of a trial."""
        return replace(self, engine=self.engine.limited(trial_timeout))

    def stream(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T | Failure]]:
        """Yield what calls give that draw nothing."""
        if isinstance(function, functools.partial) and function.func is timed:
            raise _NotKeptError
        yield from self.engine.stream(function, calls)


def _fitted(
    wanted: Wanted, kept: KeptChunks, plan: AuditPlan, bound: Mapping[int, BoundRecord], engine: Engine
) -> tuple[dict[Any, FittedAttack], str]:
    """Return the attacks that scored a chunk, fitted as they were; none, and why, where that would draw trials."""
    row = wanted.row
    inner: Streams = engine if wanted.draws else _Sparing(engine=engine)
    seeking = _Seeking(key=row.key, inner=Resuming(engine=inner, store=kept))
    try:
        _gathered(plan, bound, row.record, seeking)
    except _FoundError as found:
        return dict(found.attacks), ""
    except _NotKeptError:
        return {}, _NO_SCORES
    return {}, "Scores were not compared: they count for nothing, for the run stopped before this chunk."


def _gathered(plan: AuditPlan, bound: Mapping[int, BoundRecord], index: int, engine: Streams) -> None:
    """Gather the evidence about a forget set as :func:`audit.running.runner.run` does."""
    record = bound[index]
    retrained = retrained_sample(plan, index, record.deletion)
    contrasts = make_contrasts(plan, index, 0, record)
    if not isinstance(plan.counting, Sequential):
        gather(retrained, contrasts, plan, engine=engine, progress=None)
        return
    family = family_of(plan, list(bound.values()))
    levels = [role_levels(family, claim=i, forget=record.forget) for i in range(len(record.claims))]
    inquiries = inquiries_of(contrasts, plan, [record.claims], [levels])
    gather_until_decided(retrained, contrasts, inquiries, plan, plan.counting, engine=engine, progress=None)
