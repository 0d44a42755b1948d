"""The exact certificate of every record of a data set, and the noise that each would need.

Runs ``mechanisms.ridge.reduced.krylov`` over all records in chunks: the set-up is shared, each chunk is one matrix
product and one small dense problem a record. Results do not depend on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.ridge.reduced.bounded_pairs import BoundedPairs
from mechanisms.ridge.reduced.krylov import KrylovSetup, reduce_with_pairs
from mechanisms.ridge.reduced.lockstep import Lockstep
from mechanisms.ridge.reduced.together import reduce_together

if TYPE_CHECKING:
    from mechanisms.ridge.langevin import RidgeLangevin

Array = NDArray[np.float64]
Records = NDArray[np.intp]
Progress = Callable[[str, int, int], None]

# Records in one unit of work: half a second or so, and a few megabytes.
CHUNK = 32
# Units that are sent to a worker together, where there are many.
_BATCH = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class PrivacyMap:
    """Exact epsilons of many single-record deletions at one noise.

    Parameters
    ----------
    records
        Record indices, shape (m,).
    epsilon
        Epsilon at ``delta`` in the directions of ``BOTH_DIRECTIONS``, in nats, rounded up, shape (m, 2).
    epsilon_without_unlearning
        The same for the learning noise alone: a certificate that is hardly below it says nothing about unlearning.
    error
        Nats by which the larger epsilon with and without unlearning was raised for truncation and rounding, (m, 2).
    difficulty
        |r_i| sqrt(h_i / (1 - h_i)), residual and leverage of the ridge fit, shape (m,).
    delta, sigma_unlearn
        What the epsilons are for.

    Notes
    -----
    Every column is a function of the record: publishing one leaks.
    """

    records: Records
    epsilon: Array
    epsilon_without_unlearning: Array
    error: Array
    difficulty: Array
    delta: float
    sigma_unlearn: float

    @property
    def two_sided(self) -> Array:
        """The larger of the two directions' epsilons, shape (m,)."""
        return np.asarray(np.max(self.epsilon, axis=1))

    @property
    def two_sided_without_unlearning(self) -> Array:
        """The larger epsilon of the learning noise alone, shape (m,)."""
        return np.asarray(np.max(self.epsilon_without_unlearning, axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationMap:
    """The unlearning noise that each of many single-record deletions needs.

    Parameters
    ----------
    records
        Record indices, shape (m,).
    sigma_unlearn
        Smallest noise that meets the target, on the safe side and to a share 1e-6 (down to 1e-9 of the learning
        noise: where less would do, that is what is returned); 0 where the learning noise alone meets it, infinite
        where there are no unlearning steps to add noise in, shape (m,).
    epsilon
        Epsilon at ``delta`` in both directions (of ``BOTH_DIRECTIONS``), evaluated at exactly that noise; at most the
        target. Where the noise is infinite, that of the learning noise alone. Shape (m, 2).
    epsilon_without_unlearning
        The larger of both directions' for the learning noise alone, shape (m,).
    difficulty
        As in :class:`PrivacyMap`.
    target, delta
        What was asked for.

    Notes
    -----
    The noise is a function of the record: publishing it leaks. ``round_up_to_grid`` makes it coarser.
    """

    records: Records
    sigma_unlearn: Array
    epsilon: Array
    epsilon_without_unlearning: Array
    difficulty: Array
    target: float
    delta: float

    @property
    def two_sided(self) -> Array:
        """The larger of both directions' epsilons, shape (m,)."""
        return np.asarray(self.epsilon.max(axis=1))


def privacy_map(
    data: Dataset,
    mechanism: RidgeLangevin,
    *,
    delta: float,
    sigma_unlearn: float | None = None,
    records: Sequence[int] | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    setup: KrylovSetup | None = None,
    kept: KeepsRows | None = None,
) -> PrivacyMap:
    """Return the exact epsilon of deleting each record alone, both directions, with and without unlearning.

    Parameters
    ----------
    data
        D.
    mechanism
        Hyper-parameters; the reference must be ``retrain_then_unlearn``.
    delta
        In (0, 1).
    sigma_unlearn
        One noise for all records; the mechanism's own by default, where that is a number.
    records
        All by default.
    n_jobs
        Worker processes (started afresh, never forked), each with one thread; 1 runs in this process.
    progress
        Called with (phase, records done, records in all).
    setup
        ``KrylovSetup`` of the same data and hyper-parameters when there is one already.
    kept
        Rows by their chunk of ``CHUNK`` records, of the same call before: these are not computed, and others are put
        there once they are.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.
    """
    if sigma_unlearn is None:
        if not isinstance(mechanism.sigma_unlearn, int | float):
            raise InvalidInputError(
                field="sigma_unlearn",
                expected="a number, because the mechanism calibrates its own",
                got=None,
                fix="give one noise for all records, or use calibrate_map",
            )
        sigma_unlearn = float(mechanism.sigma_unlearn)
    if not 0 <= sigma_unlearn < math.inf:
        raise InvalidInputError(
            field="sigma_unlearn", expected="at least 0 and finite", got=sigma_unlearn, fix="give a standard deviation"
        )
    chosen = _checked(data, mechanism, delta, records, n_jobs)
    task = _MapTask(setup=_setup(data, mechanism, setup), delta=delta, sigma_unlearn=sigma_unlearn)
    rows = _run(task, chosen, n_jobs, progress, "privacy map", kept)
    return PrivacyMap(
        records=chosen,
        epsilon=rows[:, 0:2],
        epsilon_without_unlearning=rows[:, 2:4],
        error=rows[:, 4:6],
        difficulty=rows[:, 6],
        delta=delta,
        sigma_unlearn=sigma_unlearn,
    )


def calibrate_map(
    data: Dataset,
    mechanism: RidgeLangevin,
    *,
    epsilon: float,
    delta: float,
    records: Sequence[int] | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    setup: KrylovSetup | None = None,
    kept: KeepsRows | None = None,
) -> CalibrationMap:
    """Return the smallest unlearning noise that gives each record alone (epsilon, delta), on the safe side.

    Parameters
    ----------
    epsilon
        Target in nats, positive and finite.
    data, mechanism, delta, records, n_jobs, progress, setup, kept
        As for :func:`privacy_map`.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.
    """
    if not 0 < epsilon < math.inf:
        raise InvalidInputError(field="epsilon", expected="positive and finite", got=epsilon, fix="0.5 is usual")
    chosen = _checked(data, mechanism, delta, records, n_jobs)
    task = _CalibrationTask(setup=_setup(data, mechanism, setup), delta=delta, target=epsilon)
    rows = _run(task, chosen, n_jobs, progress, "calibration", kept)
    return CalibrationMap(
        records=chosen,
        sigma_unlearn=rows[:, 0],
        epsilon=rows[:, 1:3],
        epsilon_without_unlearning=rows[:, 3],
        difficulty=rows[:, 4],
        target=epsilon,
        delta=delta,
    )


class KeepsRows(Protocol):
    """What holds rows by their chunk, as a dictionary does."""

    def get(self, chunk: int, /) -> Array | None:
        """Return the rows of a chunk, or ``None``."""
        ...

    def __setitem__(self, chunk: int, rows: Array, /) -> None:
        """Keep the rows of a chunk."""
        ...


class _Task(Protocol):
    def rows(self, records: Records) -> Array:
        """Return one row of results for each record."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _MapTask:
    setup: KrylovSetup
    delta: float
    sigma_unlearn: float

    def rows(self, records: Records) -> Array:
        """Return both directions with and without unlearning, two errors, and difficulty."""
        projected = self.setup.project(records)
        targets = self.setup.data.targets[records]
        groups, left = reduce_together(self.setup, projected, targets, sigma_unlearn=self.sigma_unlearn)
        rows = np.empty((len(records), 6))
        for group in groups:
            rows[group.which] = self._numbers(group.after, group.before)
        if len(left):
            alone = [
                reduce_with_pairs(
                    self.setup, (int(records[i]),), sigma_unlearn=self.sigma_unlearn, projected=projected[i, None]
                )[1:]
                for i in left.tolist()
            ]
            after, before = (BoundedPairs.of(pairs) for pairs in zip(*alone, strict=True))
            rows[left] = self._numbers(after, before)
        return np.column_stack([rows, self.setup.difficulty(records, projected)])

    def _numbers(self, after: BoundedPairs, before: BoundedPairs) -> Array:
        # One search for all costs less than two.
        both = BoundedPairs.joined(after, before)
        epsilons = both.epsilons(self.delta)
        errors = both.errors(self.delta, epsilons.max(axis=1))
        m = len(after)
        return np.column_stack([epsilons[:m], epsilons[m:], errors[:m], errors[m:]])


@dataclass(frozen=True, kw_only=True, eq=False)
class _CalibrationTask:
    setup: KrylovSetup
    delta: float
    target: float

    def rows(self, records: Records) -> Array:
        """Return noise, both directions' epsilon at it, epsilon without unlearning, and difficulty."""
        projected = self.setup.project(records)
        together = Lockstep(setup=self.setup, target=self.target, delta=self.delta)
        rows = together.rows(records, projected, max(self.setup.sigma_learn, 1e-6))
        return np.column_stack([rows, self.setup.difficulty(records, projected)])


def _setup(data: Dataset, mechanism: RidgeLangevin, given: KrylovSetup | None) -> KrylovSetup:
    """Return the set-up that was given, or make one.

    Raises
    ------
    InvalidInputError
        When the one that was given is for something else.
    """
    if given is None:
        return KrylovSetup.of(
            data,
            penalty=mechanism.penalty,
            n_learn=mechanism.n_learn,
            n_unlearn=mechanism.n_unlearn,
            sigma_learn=mechanism.sigma_learn,
            step_size=mechanism.step_size,
        )
    fields = ["penalty", "n_learn", "n_unlearn", "sigma_learn"] + (["step_size"] if mechanism.step_size else [])
    for field in fields:
        if getattr(given, field) != getattr(mechanism, field):
            raise InvalidInputError(
                field=f"setup.{field}",
                expected=f"the mechanism's, {getattr(mechanism, field)}",
                got=getattr(given, field),
                fix="leave setup out, or make it from this mechanism",
            )
    if given.data.features is not data.features or given.data.targets is not data.targets:
        raise InvalidInputError(
            field="setup.data", expected="the data set itself", got=given.data.name, fix="make the set-up from it"
        )
    return given


def _checked(
    data: Dataset, mechanism: RidgeLangevin, delta: float, records: Sequence[int] | None, n_jobs: int
) -> Records:
    """Return the records, after every argument that both maps share was found in range."""
    if mechanism.reference is not Reference.RETRAIN_THEN_UNLEARN:
        raise InvalidInputError(
            field="mechanism.reference",
            expected='"retrain_then_unlearn"',
            got=mechanism.reference.value,
            fix="the reduction covers that reference only; bind each record for the other one",
        )
    if not 0 < delta < 1:
        raise InvalidInputError(field="delta", expected="in (0, 1)", got=delta, fix="1e-5 is usual")
    if n_jobs < 1:
        raise InvalidInputError(
            field="n_jobs", expected="at least 1", got=n_jobs, fix="1 runs in this process, 2 on two cores"
        )
    chosen = np.arange(data.n_records) if records is None else np.asarray(records, dtype=np.intp)
    if len(chosen) == 0:
        raise InvalidInputError(field="records", expected="at least one record", got="none", fix="name one, or None")
    outside = chosen[(chosen < 0) | (chosen >= data.n_records)]
    if len(outside):
        raise InvalidInputError(
            field="records", expected=f"indices in [0, {data.n_records - 1}]", got=int(outside[0]), fix="count from 0"
        )
    return chosen


def _run(
    task: _Task, records: Records, n_jobs: int, progress: Progress | None, phase: str, kept: KeepsRows | None
) -> Array:
    """Return the rows of all records, in their order."""
    chunks = [records[i : i + CHUNK] for i in range(0, len(records), CHUNK)]
    rows_of: dict[int, Array] = {}
    if kept is not None:
        rows_of = {i: rows for i in range(len(chunks)) if (rows := kept.get(i)) is not None}
    missing = [(i, chunk) for i, chunk in enumerate(chunks) if i not in rows_of]
    done = len(records) - sum(len(chunk) for _, chunk in missing)
    for i, rows in _stream(task, missing, n_jobs):
        if kept is not None:
            kept[i] = rows
        rows_of[i] = rows
        done += len(rows)
        if progress is not None:
            progress(phase, done, len(records))
    return np.concatenate([rows_of[i] for i in range(len(chunks))])


def _stream(task: _Task, chunks: Sequence[tuple[int, Records]], n_jobs: int) -> Iterator[tuple[int, Array]]:
    if n_jobs == 1 or len(chunks) <= 1:
        for i, chunk in chunks:
            yield _one_chunk(i, task, chunk)
        return
    from joblib import Parallel, delayed

    # Large arrays reach the workers as one memory map each, not once a chunk; maps are opened once a batch.
    batch = min(_BATCH, max(1, len(chunks) // (8 * n_jobs)))
    pool = Parallel(
        n_jobs=n_jobs, return_as="generator_unordered", batch_size=batch, pre_dispatch=f"{2 * batch}*n_jobs"
    )
    yield from pool(delayed(_one_chunk)(i, task, chunk) for i, chunk in chunks)


def _one_chunk(i: int, task: _Task, chunk: Records) -> tuple[int, Array]:
    # One thread: faster for matrices this small, and the same bits in every process.
    with threadpool_limits(limits=1):
        return i, task.rows(chunk)
