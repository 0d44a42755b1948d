"""Trials: whole chunks, drawn and scored by workers, each from its own random stream.

A chunk is the unit of work, of memory and of replay: its releases depend on (seed, stream, record, world, chunk) and
on nothing else, so results are the same for any number of workers and any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.errors import TrialError
from audit.trials.engines import worker_limits
from audit.trials.independence import fingerprints
from audit.trials.learned_once import LearnedOnce, TrialStreams, shows_learned
from audit.trials.watching import Shown, Watched
from audit.trials.workers.pool import Failure
from mechanisms.errors import InvalidInputError, UnlearnAuditError, UserFunctionError
from mechanisms.protocol import Deletion, HasData, HasModels, LearnedModels, SamplesLearned, World
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]


class Stream(IntEnum):
    """First key of every random stream: claims, controls and fitting never share one. Values never change."""

    RELEASES = 1
    NULL_CONTROL = 2
    NEGLECTED_CONTROL = 3
    REPLAY = 4
    FITTING = 5
    REHEARSAL = 6
    ACCURACY = 7
    TRAJECTORY = 20
    GIVEN = 21
    ESTIMATES = 22
    TIES = 23
    MODELS = 24
    REFERENCE = 25
    UTILITY = 26
    TIMING = 30
    RECORDS = 40
    COMPARISON = 50
    SAME_RANDOMNESS = 70
    LOTS_COINS = 80
    LOTS_TIES = 81
    LOTS_RUNS = 82
    PAIRING = 90
    STATUS = 91
    LEARNED = 92
    SERVED = 93


_WORLD_ID = {World.UNLEARNED: 0, World.RETRAINED: 1, World.NEGLECTED: 2}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a chunk's releases come from.

    Parameters
    ----------
    stream, world
        The random stream's purpose and the world that is sampled.
    record
        Position of the forget set in the plan.
    """

    stream: Stream
    world: World
    record: int


@dataclass(frozen=True, kw_only=True)
class ChunkTask:
    """One chunk of trials to draw.

    Parameters
    ----------
    seed, source, chunk, n
        Which chunk, and how many trials it has.
    first
        Number of its first trial where learned models are shared: each trial then has streams of its own.
    shows
        How many of its leading trials show their models as they were learned, beside what is released of them.
    """

    seed: int
    source: Source
    chunk: int
    n: int
    first: int | None = None
    shows: int = 0

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.n

    def generator(self) -> np.random.Generator:
        """Return the chunk's own generator (a chunk replays alone)."""
        source = self.source
        return make_generator(self.seed, source.stream, source.record, _WORLD_ID[source.world], self.chunk)

    def streams(self) -> Iterator[TrialStreams]:
        """Yield the streams of each trial, where it has its own: the model's knows no forget set (a trial replays)."""
        world, first = _WORLD_ID[self.source.world], self.first or 0
        for trial in range(first, first + self.n):
            yield TrialStreams(
                learning=make_generator(self.seed, Stream.LEARNED, 0, world, trial),
                unlearning=make_generator(self.seed, Stream.SERVED, self.source.record, world, trial),
            )


def make_generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """Return the generator of ``SeedSequence(seed, spawn_key=(stream, *key))``."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(stream), *key))
    # SFC64: the fastest of numpy's generators here, with a 256-bit state.
    return np.random.Generator(np.random.SFC64(sequence))


def draw(deletion: Deletion, task: ChunkTask) -> Array:
    """Return a chunk's releases, shape (n, *release.shape).

    Raises
    ------
    TrialError
        When the mechanism raises, or returns a wrong shape or a value that is not finite; names the chunk.
    """
    is_plain = task.first is None and not task.shows
    return _drawn_at_once(deletion, task) if is_plain else draw_watched(deletion, task)[0]


def _drawn_at_once(deletion: Deletion, task: ChunkTask) -> Array:
    return sampled(deletion, task.source.world, task.n, rng=task.generator(), where=_where(task))


def trial_error(task: ChunkTask, failure: Failure) -> UnlearnAuditError:
    """Return what to raise, or to quote, for a chunk that failed: an error that says which."""
    if isinstance(failure.error, UnlearnAuditError):
        return failure.error
    error = TrialError(f"{failure.message} (world {task.source.world.value}, {_where(task)})")
    error.__cause__ = failure.error
    return error


def _where(task: ChunkTask) -> str:
    """Return what replays a chunk, in words."""
    source = task.source
    stream = "" if source.stream is Stream.RELEASES else f", stream {source.stream.name.lower()}"
    return f"forget set {source.record}, chunk {task.chunk}, seed {task.seed}{stream}"


def sampled(deletion: Deletion, world: World, n: int, *, rng: np.random.Generator, where: str) -> Array:
    """Return n releases of a world, checked; whatever goes wrong becomes an error that says where.

    Raises
    ------
    TrialError
        When the mechanism raises, or returns a wrong shape or a value that is not finite.
    """
    return _checked(deletion, world, n, lambda: (deletion.sample(world, n, rng=rng), None), where)[0]


def draw_watched(deletion: Deletion, task: ChunkTask) -> tuple[Array, Watched]:
    """Return the releases of :func:`draw`, and what was seen of them.

    Raises
    ------
    TrialError
        As :func:`draw`.
    """
    if task.first is not None:
        return checked_chunk(deletion, task, lambda: _trial_by_trial(deletion, task))
    if task.shows and isinstance(deletion, SamplesLearned) and shows_learned(deletion):
        sample = deletion.sample_with_learned
        return checked_chunk(deletion, task, lambda: sample(task.source.world, task.n, rng=task.generator()))
    releases, models = sampled_with_models(
        deletion, task.source.world, task.n, rng=task.generator(), where=_where(task)
    )
    return releases, _watched(deletion, task, releases, models)


def _trial_by_trial(deletion: Deletion, task: ChunkTask) -> tuple[Array, LearnedModels | None]:
    if not isinstance(deletion, LearnedOnce):
        raise TrialError("trials with streams of their own need the stages of a mechanism; please report this")
    return deletion.drawn(task.source.world, list(task.streams()), task.shows)


def checked_chunk(
    deletion: Deletion, task: ChunkTask, drawn: Callable[[], tuple[Array, LearnedModels | None]]
) -> tuple[Array, Watched]:
    """Return what a call draws of a chunk, checked as :func:`draw` does.

    Raises
    ------
    TrialError
        As :func:`draw`.
    """
    releases, models = _checked(deletion, task.source.world, task.n, drawn, _where(task))
    return releases, _watched(deletion, task, releases, models)


def _watched(deletion: Deletion, task: ChunkTask, releases: Array, models: LearnedModels | None) -> Watched:
    return Watched(
        releases=fingerprints(releases),
        models=None if models is None else models.prints,
        opaque="" if models is None else models.opaque,
        changed=deletion.changed_data() if isinstance(deletion, HasData) else (),
        shown=None if models is None else _shown(task, releases, models.released),
    )


def _shown(task: ChunkTask, releases: Array, before: Array | None) -> Shown | None:
    """Return the leading trials that a task asks for; none where their models cannot be compared to releases."""
    after = releases[: task.shows]
    if not task.shows or before is None or before[: task.shows].shape != after.shape:
        return None
    before = np.ascontiguousarray(before[: task.shows], dtype=np.float64)
    return Shown(chunk=task.chunk, before=before, after=after) if np.all(np.isfinite(before)) else None


def sampled_with_models(
    deletion: Deletion, world: World, n: int, *, rng: np.random.Generator, where: str
) -> tuple[Array, LearnedModels | None]:
    """Return the releases of :func:`sampled`, with the learned model of each where the mechanism shows them.

    Raises
    ------
    TrialError
        As :func:`sampled`.
    """

    def drawn() -> tuple[Array, LearnedModels | None]:
        if isinstance(deletion, HasModels):
            return deletion.sample_with_models(world, n, rng=rng)
        return deletion.sample(world, n, rng=rng), None

    return _checked(deletion, world, n, drawn, where)


def _checked(
    deletion: Deletion, world: World, n: int, drawn: Callable[[], tuple[Array, LearnedModels | None]], where: str
) -> tuple[Array, LearnedModels | None]:
    """Return what was drawn, with releases of the right shape; whatever goes wrong becomes an error that says where.

    Raises
    ------
    TrialError
        When the mechanism raises, or returns a wrong shape or a value that is not finite.
    """
    where = f"world {world.value}, {where}"
    try:
        found, models = drawn()
        # Row by row in memory, in every world: the last digit of a score depends on how a release lies there.
        releases = np.ascontiguousarray(real_numbers(found, "release"))
    except InvalidInputError as error:
        raise TrialError(f"The mechanism failed ({where}): {error}") from error
    except UserFunctionError as error:
        raise TrialError(f"{error} ({where})") from error.__cause__
    except UnlearnAuditError:
        raise
    except (Exception, SystemExit) as error:
        # An exit within a trial would end the audit with the exit code of a claim that was not refuted.
        raise TrialError(f"The mechanism raised {type(error).__name__} ({where}): {error}") from error
    expected = (n, *deletion.release.shape)
    if releases.shape != expected:
        raise TrialError(f"Expected releases of shape {expected}, got {releases.shape} ({where}); mend sample().")
    if not np.all(np.isfinite(releases)):
        raise TrialError(f"Expected finite releases, got NaN or infinity ({where}); does the training diverge?")
    return releases, models


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredChunk:
    """Scores of one chunk by the keys of its attacks, and the message of every attack that failed on it.

    ``watched`` is what was seen of the trials besides. Scores of trials that failed are NaN.
    """

    scores: Mapping[Any, Array]
    failures: Mapping[Any, str]
    watched: Watched
    n: int


def unscored(task: ChunkTask, keys: Iterable[Any]) -> ScoredChunk:
    """Return what stands for a chunk that failed."""
    nothing = np.empty(0, dtype=np.uint64)
    return ScoredChunk(
        scores={key: np.full(task.n, np.nan) for key in keys},
        failures={},
        watched=Watched(releases=nothing),
        n=task.n,
    )


def draw_chunk(deletion: Deletion, task: ChunkTask) -> Array:
    """Draw one chunk in a worker."""
    with worker_limits():
        return draw(deletion, task)


def score_chunk(deletion: Deletion, attacks: Mapping[Any, FittedAttack], task: ChunkTask) -> ScoredChunk:
    """Draw one chunk in a worker and score it with every attack; the releases never leave the worker."""
    with worker_limits():
        return score_releases(*draw_watched(deletion, task), attacks)


def draw_and_score(
    deletion: Deletion, attacks: Mapping[Any, FittedAttack], task: ChunkTask, keep: bool
) -> tuple[ScoredChunk, Array]:
    """Draw and score one chunk in a worker; the releases come back only if they are to be fitted on."""
    with worker_limits():
        releases, watched = draw_watched(deletion, task)
        # Row by row in memory, like what comes back from another process: sums depend on it in their last digit.
        return score_releases(releases, watched, attacks), np.ascontiguousarray(releases if keep else releases[:0])


def score_releases(releases: Array, watched: Watched, attacks: Mapping[Any, FittedAttack]) -> ScoredChunk:
    """Score drawn releases with every attack, by the keys of the attacks."""
    scores: dict[Any, Array] = {}
    failures: dict[Any, str] = {}
    for key, attack in attacks.items():
        outcome = score(attack, releases)
        if isinstance(outcome, str):
            failures[key] = outcome
        else:
            scores[key] = outcome
    return ScoredChunk(scores=scores, failures=failures, watched=watched, n=len(releases))


def score(attack: FittedAttack, releases: Array) -> Array | str:
    """Return finite scores of shape (n,), or the sentence that says why there are none."""
    try:
        scores = real_numbers(attack.score(releases), "scores")
    except Exception as error:
        return f"scoring raised {type(error).__name__}: {error}"
    if scores.shape != (len(releases),):
        return f"expected scores of shape ({len(releases)},), got {scores.shape}"
    if not np.all(np.isfinite(scores)):
        return "scores are NaN or infinite"
    return scores
