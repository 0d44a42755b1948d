"""The exact certificate of a stream of deletions, compressed to the block Krylov space of all deleted rows.

Every step map of the stream is ``A_j = A_0 + step_size X_(<=j)' X_(<=j)``, with the rows of the first j requests. So
the block Krylov space of A_0 started at all rows is invariant under all of them, and the worlds agree outside of it.
What differs between the worlds is followed phase by phase in the eigenbasis of the last step map: differences of
functions of two step maps are divided differences times ``A_j - A_m``, so that nothing small is found by subtraction.
The last phase is that of a single deletion (``mechanisms.ridge.reduced.krylov``), which answers for every noise of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from mechanisms.ridge.laws import geometric_sum, signed_power
from mechanisms.ridge.reduced.bounded_pairs import epsilons_of
from mechanisms.ridge.reduced.krylov import (
    DEFAULT_TOLERANCE,
    KrylovSetup,
    ReducedDeletion,
    reduce_with_pairs,
    variance_after,
)
from mechanisms.ridge.reduced.lanczos import BlockLanczos, divided_differences, lengths, power_sum, reach
from mechanisms.ridge.streams.phases import Phase, served

Array = NDArray[np.float64]
_UNIT = 2.0**-53
# Rounding of products of matrices, as a share of the product of their norms, for each square root of their size.
_ROUNDING = 32 * _UNIT
# A first size of the space for each deleted record, and the factor by which it grows while the error is too large.
_FIRST_SIZE, _GROWTH = 20, 1.2
# Errors of less than this multiple of the tolerated one may be what rounding leaves.
_NEARLY = 20.0
# A loss of this multiple of the tolerance is far too much, whatever else is looked at.
_HOPELESS = 1e4


def reduce_stream(
    setup: KrylovSetup, phases: Sequence[Phase], *, tolerance: float = DEFAULT_TOLERANCE
) -> ReducedDeletion:
    """Return the release after the last of the phases, compressed; it answers for every noise of that phase.

    Parameters
    ----------
    setup
        Of the data before the first request; its count of unlearning steps is not looked at.
    phases
        In order, with their noise; that of the last one is where the error is looked at.
    tolerance
        Truncation error to aim at, as a share of what differs between the worlds.

    Raises
    ------
    InvalidInputError
        For requests that are none.

    Notes
    -----
    The reference world is retraining without all of the records, and then the same phases on what is left. The release
    after the last phase is covered, alone; requests, steps and noise must not depend on the releases before.
    """
    phases = served(phases, setup.data.n_records)
    if len(phases) == 1:
        single = _with_steps(setup, phases[0].n_steps)
        return reduce_with_pairs(single, phases[0].request, sigma_unlearn=phases[0].sigma, tolerance=tolerance)[0]
    records = [record for phase in phases for record in phase.request]
    krylov = BlockLanczos(setup.step.contraction, setup.project(records))
    size = min(_FIRST_SIZE * max(1, krylov.block), len(setup.step.contraction))
    best: tuple[float, ReducedDeletion] | None = None
    while True:
        krylov.extend(size)
        compression = _Compression(setup=setup, phases=phases, krylov=krylov)
        # What truncation takes from powers says at once that a space is too small.
        if krylov.exhausted or compression.lost <= _HOPELESS * tolerance:
            reduced, rounding = compression.reduced()
            excess = _excess(reduced, phases[-1].sigma, rounding, tolerance)
            last, best = best, (excess, reduced)
            if krylov.exhausted or excess <= 1:
                return reduced
            # What is left is the rounding of the bound, and growing in vain.
            if last is not None and excess > last[0] / 2 and excess < _NEARLY:
                return min(last, best, key=lambda found: found[0])[1]
        size = math.ceil(_GROWTH * krylov.size)


def stream_epsilons(setup: KrylovSetup, phases: Sequence[Phase], delta: float) -> tuple[float, ...]:
    """Return epsilon at ``delta`` of the release after each request alone, rounded up by more than every error.

    Parameters
    ----------
    setup, phases
        As for :func:`reduce_stream`.
    delta
        In (0, 1).

    Notes
    -----
    After an empty request nothing has changed. Before the first record is asked for there is nothing to tell apart.
    """
    # Searched for together: one contour serves all releases.
    pairs = [
        reduce_stream(setup, phases[: j + 1]).bounded_pair(phase.sigma)
        for j, phase in enumerate(phases)
        if phase.request
    ]
    released = iter(epsilons_of(pairs, delta).max(axis=1).tolist())
    found: list[float] = []
    for phase in phases:
        found.append(next(released) if phase.request else found[-1] if found else 0.0)
    return tuple(found)


def _with_steps(setup: KrylovSetup, n_unlearn: int) -> KrylovSetup:
    return KrylovSetup(**{**vars(setup), "n_unlearn": n_unlearn})


def _excess(reduced: ReducedDeletion, sigma: float, rounding: tuple[float, float], tolerance: float) -> float:
    """Return the error as a multiple of what is tolerated: a share of what differs, or a few times the rounding."""
    at, widest = reduced.bounded_pair(sigma), reduced.widest(sigma)
    differs = float(np.linalg.norm(at.pair.variance_ratios - 1)) + math.sqrt(float(np.sum(at.pair.squared_shifts)))
    allowed = 8 * _ROUNDING * math.sqrt(reduced.size) + (tolerance + 2 * _ROUNDING * reduced.n_steps) * differs
    if math.isinf(widest):
        return 0.0
    return max(
        at.change_error / (allowed + 4 * widest**2 * rounding[0]), at.shift_error / (allowed + 4 * widest * rounding[1])
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _StepMap:
    """A compressed step map beside the last one, in the eigenbasis of which everything is written.

    Parameters
    ----------
    values
        Its eigenvalues.
    overlap
        Its eigenvectors (rows) by those of the last one.
    gap
        ``A_j - A_m`` between the two bases.
    nodes
        Eigenvalues of the last one.
    """

    values: Array
    overlap: Array
    gap: Array
    nodes: Array

    def difference(self, function: Callable[[Array], Array], n: int) -> Array:
        """Return ``function(A_j) - function(A_m)`` in the last eigenbasis, for a polynomial of degree at most n."""
        return np.asarray(
            self.overlap.T @ (divided_differences(function, self.values, self.nodes, max(n, 1)) * self.gap)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Compression:
    """The phases of a stream on one Krylov space."""

    setup: KrylovSetup
    phases: tuple[Phase, ...]
    krylov: BlockLanczos

    def reduced(self) -> tuple[ReducedDeletion, tuple[float, float]]:
        """Return what differs before the last phase, with bounds on its error, and how much of these is rounding."""
        krylov, eta = self.krylov, self.setup.step_size
        full = krylov.matrix[: krylov.size, : krylov.size]
        nodes, rotation = np.linalg.eigh(self._step_matrix(full, len(self.phases)))
        change, shift, sizes = self._follow(full, nodes, rotation)
        leaks = self._leaks()
        rounding = (_ROUNDING * math.sqrt(krylov.size) * sizes[0], _ROUNDING * math.sqrt(krylov.size) * sizes[1])
        earlier = tuple((phase.n_steps, phase.sigma) for phase in self.phases[:-1])
        reduced = ReducedDeletion(
            nodes=nodes,
            change=(change + change.T) / 2,
            shift=shift,
            edge=krylov.coupling @ rotation[krylov.size - krylov.coupling.shape[1] :],
            change_leak=leaks[0] + rounding[0],
            shift_leak=leaks[1] + rounding[1],
            spectrum=(float(self.setup.step.contraction.min()), 1 - eta * self.setup.penalty),
            n_learn=self.setup.n_learn,
            n_unlearn=self.phases[-1].n_steps,
            sigma_learn=self.setup.sigma_learn,
            earlier=earlier,
        )
        return reduced, rounding

    def _columns(self, start: int, stop: int) -> slice:
        """Return which columns of the factor belong to requests ``start`` to ``stop``."""
        sizes = [len(phase.request) for phase in self.phases]
        return slice(sum(sizes[:start]), sum(sizes[:stop]))

    def _step_matrix(self, full: Array, j: int) -> Array:
        """Return the compressed step map after j requests."""
        rows = self.krylov.factor[:, self._columns(0, j)]
        matrix = full.copy()
        matrix[: len(rows), : len(rows)] += self.setup.step_size * (rows @ rows.T)
        return np.asarray(matrix)

    def _targets(self, start: int, stop: int) -> Array:
        records = [record for phase in self.phases[start:stop] for record in phase.request]
        return self.setup.data.targets[records]

    def _map(self, full: Array, j: int, nodes: Array, rotation: Array) -> _StepMap:
        values, vectors = np.linalg.eigh(self._step_matrix(full, j))
        later = self.krylov.factor[:, self._columns(j, len(self.phases))]
        b = len(later)
        return _StepMap(
            values=values,
            overlap=vectors.T @ rotation,
            gap=-self.setup.step_size * ((vectors[:b].T @ later) @ (rotation[:b].T @ later).T),
            nodes=nodes,
        )

    def _follow(self, full: Array, nodes: Array, rotation: Array) -> tuple[Array, Array, tuple[float, float]]:
        """Return how covariances and means differ before the last phase, and the size of what was added up for each."""
        setup, m, b = self.setup, len(self.phases), len(self.krylov.factor)
        eta, into = setup.step_size, rotation[:b].T @ self.krylov.factor
        moment = rotation.T @ (self.krylov.rows[: self.krylov.size] @ setup.moment)
        left = moment - into @ self._targets(0, m)
        stages = self._stages()
        change, shift = np.zeros((len(nodes), len(nodes))), np.zeros_like(moment)
        mean, variance, change_size, shift_size = np.zeros_like(moment), np.zeros(len(nodes)), 0.0, 0.0
        for j, (n, sigma) in enumerate(stages):
            here = self._map(full, j, nodes, rotation)
            noise, pull = (
                here.difference(partial(geometric_sum, n=n), 2 * n),
                here.difference(partial(power_sum, n=n), n),
            )
            later = into[:, self._columns(j, m)] @ self._targets(j, m)
            pulled = eta * (pull @ (left + later)), eta * (power_sum(nodes, n)[:, None] * later)
            added = sigma**2 * noise
            if j > 0:
                power, extra = signed_power(nodes, n), here.difference(partial(signed_power, n=n), n)
                moved = np.diag(power) + extra
                shift_size += float(np.linalg.norm(extra)) * float(np.linalg.norm(mean))
                change_size += 2 * float(np.linalg.norm(extra)) * float(variance.max())
                shift = moved @ shift + extra @ mean
                cross = extra * (variance * power)
                change = moved @ change @ moved.T + cross + cross.T + (extra * variance) @ extra.T
            change, shift = change + added, shift + pulled[0] + pulled[1]
            change_size += float(np.linalg.norm(added)) + float(np.linalg.norm(change))
            shift_size += float(sum(np.linalg.norm(part) for part in pulled)) + float(np.linalg.norm(shift))
            variance = variance_after(nodes, *stages[0], stages[1 : j + 1])
            mean = signed_power(nodes, n)[:, None] * mean + eta * power_sum(nodes, n)[:, None] * left
        return change, shift, (change_size, shift_size)

    def _stages(self) -> list[tuple[int, float]]:
        """Return steps and noise of learning and of every phase but the last."""
        return [(self.setup.n_learn, self.setup.sigma_learn), *((p.n_steps, p.sigma) for p in self.phases[:-1])]

    @cached_property
    def lost(self) -> float:
        """Return what truncation takes at most from a word of step maps applied to a row of length 1."""
        krylov, n_steps = self.krylov, sum(n for n, _ in self._stages())
        if krylov.exhausted:
            return 0.0
        full = krylov.matrix[: krylov.size, : krylov.size]
        entries = reach(full, len(krylov.factor), krylov.coupling.shape[1], 2 * n_steps)
        strength = self.setup.step_size * krylov.norm**2
        return float(np.linalg.norm(krylov.coupling)) * entries * (1 + 2 * strength * n_steps)

    def _leaks(self) -> tuple[float, float]:
        """Return bounds on what truncation and deflation take from the change and from the shift.

        Notes
        -----
        Both are sums of products of two words of step maps applied to rows: ``P_N ... P_k X'`` and its compressed
        version differ by at most ``|X|`` times the coupling times a sum of entries from the first to the last block.
        Compressed step maps differ in the first block alone, by at most mu, so that such an entry of any word of length
        n is at most the one of ``A_0^n`` plus mu times the sum of those of shorter powers of A_0.
        """
        krylov, setup = self.krylov, self.setup
        stages = self._stages()
        n_steps = sum(n for n, _ in stages)
        # The noise of a step, times how many steps follow it.
        weight, left = 0.0, n_steps
        for n, sigma in stages:
            weight += sigma**2 * n * (left - (n - 1) / 2)
            left -= n
        eta, records = setup.step_size, [record for phase in self.phases for record in phase.request]
        moment, target = float(lengths(setup.moment.ravel())), float(lengths(setup.data.targets[records].ravel()))
        moment += krylov.norm * target
        lost, strength = self.lost, eta * krylov.norm**2
        # Deflation moves every step map by at most this.
        moved = 3 * eta * krylov.norm * krylov.dropped
        change = 4 * (strength * lost + moved) * weight
        shift = (
            n_steps**2 * (strength * lost + moved) * moment + n_steps * (krylov.norm * lost + krylov.dropped) * target
        )
        return change, eta * shift
