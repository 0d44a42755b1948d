"""Bets on a claim a record, batch by batch of models, and what may be said of them while models are still being made.

In the flow: :mod:`audit.models.following.records` asks. Models are counted in batches, in the order in which they were
made; the models before a batch choose the event of each record and how its capital is spread over bets.

Why it is valid. For a record whose claim holds, a batch multiplies its capital by a factor whose mean is at most 1
whatever the models before the batch showed, of this record and of all others: models are independent, and which of
them a record meets is drawn by coins (:func:`audit.statistics.e_values.log_gains`). So

* the capital of every record is a supermartingale over the batches, with one filtration for all records. By Ville's
  inequality p = 1 / (largest capital so far) is a p-value at every moment: the chance that it ever is below u is at
  most u. Holm's procedure on these ever refutes a true claim with at most its share, under every dependence.
* the mean of the capitals is a supermartingale too, where every record's claim holds: the chance that it ever reaches
  1 / level is at most the level.
* e-BH lists records by e-values that are calibrated from these p-values. The capital itself is an e-value only where
  one stops by what whole batches showed, and whoever makes the models sees more than that. A calibrated e-value is at
  most that of the whole future, whose mean is at most 1, so that the expected share of true claims in the list is at
  most the significance at every moment, however the moment was chosen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.gathering.selection import claim_rows
from audit.models.assigning import Status
from audit.models.examining import Laws, Points, area, chosen_events, few_points
from audit.models.following.deletion import ModelsStream
from audit.models.outputs import Outputs
from audit.models.per_record import shares_of
from audit.models.stacks import Stack
from audit.records.models import RecordColumns
from audit.statistics.bets import SHARES, log_sum
from audit.statistics.e_values import log_calibrated, log_gains, log_stakes
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Direction

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
N_BETS = len(SHARES)
# Records in one block: a number that never changes, for the pairings of a block are drawn together.
_BLOCK = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class SoFar:
    """The models that are used, in their order: the fit and whole batches."""

    outputs: Outputs
    status: NDArray[np.int8]
    is_deletion: Flags

    @staticmethod
    def of(given: Outputs, status: NDArray[np.int8], is_deletion: Flags, used: int) -> SoFar:
        """Return the first models of a table."""
        array = given.array
        leading = array.only(np.arange(len(status)) < used) if isinstance(array, Stack) else array[:used]
        return SoFar(outputs=replace(given, array=leading), status=status[:used], is_deletion=is_deletion[:used])

    def digests(self, n: int) -> tuple[str, str]:
        """Return the digests of the outputs and of the status and kinds of the first n models, at most all.

        Labels are part of the outputs where these are read by them.
        """
        numbers, status = hashlib.sha256(), hashlib.sha256()
        for i in range(min(n, len(self.is_deletion))):
            row = np.ascontiguousarray(self.outputs.array[i : i + 1, :])
            numbers.update(repr((row.dtype.str, row.shape)).encode())
            numbers.update(row.data)
        if self.outputs.labels is not None and self.outputs.kind not in ("loss", "scores"):
            numbers.update(np.ascontiguousarray(self.outputs.labels, dtype="<f8").data)
        status.update(np.ascontiguousarray(self.status[:n]).data)
        status.update(np.ascontiguousarray(self.is_deletion[:n]).data)
        return numbers.hexdigest(), status.hexdigest()

    def worlds(self, records: slice) -> tuple[Flags, Flags]:
        """Return which models are of the unlearned and of the retrained world of each of some records."""
        of_part, deletion = self.status[:, records], self.is_deletion[:, None]
        # Whatever else a reference model did not retain it never learned: it is of the retrained world.
        return deletion & (of_part == Status.FORGOTTEN), ~deletion & (of_part != Status.RETAINED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bets:
    """What bets on every record won: logarithms of the largest capital, and of the largest mean over records.

    ``n`` are the counted models of either world, ``area`` AUC and its standard error over all models, one a record.
    """

    log_best: Array
    log_best_mean: float
    n: tuple[Array, Array]
    area: tuple[Array, Array]

    @property
    def p_values(self) -> Array:
        """One over the largest capital."""
        return np.asarray(np.exp(-self.log_best))

    @property
    def log_e(self) -> Array:
        """Logarithms of e-values by calibration of the p-values."""
        return log_calibrated(-self.log_best)

    @property
    def typical(self) -> tuple[int, int]:
        """How many counted models of either world a record has."""
        return max(1, int(np.median(self.n[0]))), max(1, int(np.median(self.n[1])))

    def columns(self, names: tuple[str, ...]) -> RecordColumns:
        """Return every record's numbers."""
        return RecordColumns(
            names=names,
            auc=tuple(map(float, self.area[0])),
            auc_se=tuple(map(float, self.area[1])),
            p_values=tuple(map(float, self.p_values)),
            log_e_values=tuple(map(float, self.log_e)),
            n_unlearned=tuple(map(int, self.n[0])),
            n_retrained=tuple(map(int, self.n[1])),
        )


def bets_of(models: SoFar, stream: ModelsStream) -> Bets:
    """Bet on every record, from the first batch to the last."""
    n_records, n_batches = models.outputs.n_records, (len(models.is_deletion) - stream.first_fit) // stream.batch
    level = equal_share(shares_of(stream.significance)[0], n_records)
    best, areas, log_total = [], [], np.full(n_batches, -np.inf)
    sizes: tuple[list[Array], list[Array]] = ([], [])
    # Blocks of one size, whatever the number of models: pairings of one batch never change.
    for start in range(0, n_records, _BLOCK):
        records = slice(start, min(start + _BLOCK, n_records))
        statistics, worlds = models.outputs.block(records), models.worlds(records)
        capital = _capital(statistics, worlds, stream, level, block_number=start // _BLOCK)
        best.append(np.maximum(capital.max(axis=0), 0.0))
        log_total = np.logaddexp(log_total, log_sum(capital))
        score = statistics[:, :, 0] if statistics.shape[2] == 1 else Laws.of(statistics, *worlds).scores(statistics)
        areas += [area(score[:, i], worlds[0][:, i], worlds[1][:, i]) for i in range(score.shape[1])]
        for size, world in zip(sizes, worlds, strict=True):
            size.append(world[stream.first_fit :].sum(axis=0))
    return Bets(
        log_best=np.concatenate(best),
        log_best_mean=max(0.0, float(log_total.max()) - math.log(n_records)),
        n=(np.concatenate(sizes[0]), np.concatenate(sizes[1])),
        area=(np.array([a for a, _ in areas]), np.array([se for _, se in areas])),
    )


def _capital(
    block: Array, worlds: tuple[Flags, Flags], stream: ModelsStream, level: float, *, block_number: int
) -> Array:
    """Return the logarithm of each record's capital after every batch, shape (batches, records)."""
    points, n, size = few_points(claim_rows(stream.claim)), len(block), stream.batch
    found, before = [], np.zeros(block.shape[1])
    begin = stream.first_fit
    while begin < n:
        # Chosen again when the number of models has doubled, at the end of a batch.
        end = begin + -(-begin // size) * size
        event = _Event.chosen(block[:begin], (worlds[0][:begin], worlds[1][:begin]), points, level)
        bets = event.stakes()
        above = event.above(block[begin : min(end, n)])
        for start in range(begin, min(end, n), size):
            here = slice(start - begin, start - begin + size)
            rng = make_generator(stream.seed, Stream.PAIRING, 1, block_number, start)
            bets = bets + event.gains(above[here], [world[start : start + size] for world in worlds], rng)
            found.append(before + log_sum(bets))
        before, begin = found[-1], end
    return np.stack(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Event:
    """For each record the event that is bet on, and the models that chose it."""

    points: Points
    laws: Laws
    weights: Laws | None
    point: NDArray[np.int64]
    upper: Flags
    threshold: Array

    @staticmethod
    def chosen(past: Array, worlds: tuple[Flags, Flags], points: Points, level: float) -> _Event:
        """Choose by the models before a batch."""
        laws, weights = Laws.of(past, *worlds), None
        if past.shape[2] > 1:
            weights = laws
            laws = Laws.of(weights.scores(past)[:, :, None], *worlds)
        # As many are to be counted as there were.
        n1, n0 = (np.maximum(world.sum(axis=0), 1) for world in worlds)
        point, upper, threshold = chosen_events(laws, points, n1, n0, level)
        return _Event(points=points, laws=laws, weights=weights, point=point, upper=upper, threshold=threshold)

    def above(self, block: Array) -> Flags:
        """Return whether each model shows each record's event."""
        scores = block[:, :, 0] if self.weights is None else self.weights.scores(block)
        return np.asarray((scores > self.threshold) == self.upper)

    def stakes(self) -> Array:
        """Return the logarithm of the share of the capital in each bet, shape (records, bets)."""
        stakes = np.zeros((len(self.point), N_BETS))
        for j, (direction, claimed) in enumerate(self.points):
            here = np.flatnonzero(self.point == j)
            past = _ordered(self.laws.expected(self.upper[here], self.threshold[here], here), direction)
            stakes[here] = log_stakes(past, epsilon=claimed.epsilon, delta=claimed.delta)
        return stakes

    def gains(self, above: Flags, worlds: Sequence[Flags], rng: np.random.Generator) -> Array:
        """Return the logarithm of what a batch multiplies each bet by, shape (records, bets)."""
        gains = np.zeros((len(self.point), N_BETS))
        (k1, n1), (k0, n0) = (((above & world).sum(axis=0), world.sum(axis=0)) for world in worlds)
        for j, (direction, claimed) in enumerate(self.points):
            here = np.flatnonzero(self.point == j)
            counts = _ordered((k1[here], n1[here], k0[here], n0[here]), direction)
            gains[here] = log_gains(counts, epsilon=claimed.epsilon, delta=claimed.delta, rng=rng)
        return gains


def _ordered(counts: Sequence[Array], direction: Direction) -> tuple[Array, Array, Array, Array]:
    """Return the world that the claim bounds first."""
    k1, n1, k0, n0 = counts
    return (k0, n0, k1, n1) if direction is Direction.RETRAINED_FROM_UNLEARNED else (k1, n1, k0, n0)
