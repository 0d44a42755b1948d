"""Many deletions of one record each, compressed and compared together: ``krylov`` with a record's index in front.

The same formulas and the same bounds on their errors as :class:`mechanisms.ridge.reduced.krylov.ReducedDeletion`, which
stays the oracle of the tests and takes whatever is out of the ordinary; together they save the overhead of one call a
record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.loss_cumulant import LossCumulant
from mechanisms.accounting.many_pairs import ManyPairs
from mechanisms.ridge.laws import geometric_sum
from mechanisms.ridge.reduced.bounded_pairs import BoundedPairs
from mechanisms.ridge.reduced.krylov import (
    CLEARANCE,
    FALL,
    PROBE_SAFETY,
    PROBES,
    ROUNDING,
    ROUNDING_PER_STEP,
    UNIT,
    VANISHING,
    KrylovSetup,
    whitening,
)
from mechanisms.ridge.reduced.lanczos import divided_differences, lengths, power_sum
from mechanisms.ridge.reduced.many_lanczos import ManyLanczos

Array = NDArray[np.float64]

# Where a search looks, ratios this near 1 count as 1, with the shift that is equal to second order.
_NEAR_ONE = 1e-8
# What a search leaves out of a loss, as a share of its variance.
_NEGLECTED = 1e-13


@dataclass(frozen=True, kw_only=True, eq=False)
class ManyDeletions:
    """Deletions of one record each from one data set, compressed to spaces of one dimension r.

    Parameters
    ----------
    nodes, change, shift, edge, change_leak, shift_leak
        As in ``ReducedDeletion``, with the records along a first axis; one direction was left out, so that ``edge`` is
        of shape (m, r).
    spectrum, n_learn, n_unlearn, sigma_learn
        As in ``ReducedDeletion``; the learning noise is positive.
    """

    nodes: Array
    change: Array
    shift: Array
    edge: Array
    change_leak: Array
    shift_leak: Array
    spectrum: tuple[float, float]
    n_learn: int
    n_unlearn: int
    sigma_learn: float

    @staticmethod
    def of(setup: KrylovSetup, krylov: ManyLanczos, targets: Array, leaks: tuple[Array, Array]) -> ManyDeletions:
        """Return the compressed deletions; the same formulas as for one of them.

        Parameters
        ----------
        targets
            Of the deleted records, shape (m, q).
        leaks
            Of ``krylov``, for ``2 n_learn`` powers.
        """
        eta, t = setup.step_size, setup.n_learn
        full, without = krylov.compressed(eta)
        values, vectors = np.linalg.eigh(full)
        nodes, rotation = np.linalg.eigh(without)
        norm = krylov.norm[:, None]
        into_full, into_without = vectors[:, 0] * norm, rotation[:, 0] * norm
        change = eta * (into_without[:, :, None] * into_full[:, None, :])
        moment = vectors.transpose(0, 2, 1) @ (krylov.rows[:, : krylov.size] @ setup.moment)
        direct = (power_sum(nodes, t) * into_without)[:, :, None] * targets[:, None, :]
        through = (change * divided_differences(partial(power_sum, n=t), nodes, values, t)) @ moment
        moment_norm, target_norm = float(lengths(setup.moment.ravel())), lengths(targets)
        cancelled = ROUNDING * (_sizes(direct) + _sizes(through))
        varied = divided_differences(partial(geometric_sum, n=t), nodes, values, t)
        return ManyDeletions(
            nodes=nodes,
            change=-(change * varied) @ (vectors.transpose(0, 2, 1) @ rotation),
            shift=eta * (direct - through),
            edge=krylov.coupling[:, None] * rotation[:, -1],
            change_leak=leaks[0],
            shift_leak=eta * (leaks[0] * moment_norm / 2 + krylov.norm * leaks[1] * t * target_norm + cancelled),
            spectrum=(float(setup.step.contraction.min()), 1 - eta * setup.penalty),
            n_learn=t,
            n_unlearn=setup.n_unlearn,
            sigma_learn=setup.sigma_learn,
        )

    @property
    def n_steps(self) -> int:
        """Steps of learning and unlearning."""
        return self.n_learn + self.n_unlearn

    def take(self, chosen: NDArray[np.intp]) -> ManyDeletions:
        """Return some of the deletions."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _STACKED})

    def bounded_pairs(self, sigma_unlearn: float | Array) -> BoundedPairs:
        """Return the pairs with bounds on their errors, as ``ReducedDeletion.bounded_pair`` does.

        Parameters
        ----------
        sigma_unlearn
            One for all or one a record, shape (m,), at least 0; all positive or all 0.
        """
        sigma = self._noises(sigma_unlearn)
        w, values, shift = self._whitened(sigma)
        floor = ROUNDING * np.max(w**2 * self._before(self.nodes), axis=1)
        # Ratios that are 1 up to rounding count as 1 exactly, with all their shift.
        order = np.argsort(np.abs(values), axis=1)
        values = np.take_along_axis(values, order, axis=1)
        squared = np.take_along_axis(np.sum(shift**2, axis=2), order, axis=1)
        ones = np.cumsum(values**2, axis=1) <= floor[:, None] ** 2
        change_residual, shift_residual = self._residuals(sigma)
        size, moved = np.linalg.norm(values, axis=1), _sizes(shift)
        tiny = size + moved
        change_residual, shift_residual = (
            residual + np.where(tiny < VANISHING, tiny, 0.0) for residual in (change_residual, shift_residual)
        )
        steps = ROUNDING_PER_STEP * self.n_steps
        stored = 2 * UNIT * math.sqrt(values.shape[1]) * np.maximum(1.0, 1 + values.max(axis=1))
        rounding = 2 * floor + steps * size + stored
        widest, variance = 1 / np.maximum(self.sigma_learn, sigma), self.sigma_learn**2
        change_error = variance * widest * (widest * self.change_leak + 4 * change_residual) + rounding
        shift_error = widest * self.shift_leak + shift_residual + steps * moved
        nothing = (tiny < VANISHING)[:, None]
        return BoundedPairs(
            pairs=ManyPairs(
                ratios=np.where(ones | nothing, 1.0, np.maximum(1 + values, UNIT)),
                shifts=np.where(nothing, 0.0, squared),
                n_columns=np.full(len(values), self._q),
            ),
            change_error=change_error,
            shift_error=shift_error,
        )

    def losses(self, sigma_unlearn: Array) -> Iterator[LossCumulant]:
        """Return the losses of the best pairs in both directions, one a row: for a search, to some 1e-12 of themselves.

        Parameters
        ----------
        sigma_unlearn
            As for :meth:`bounded_pairs`.
        """
        _, values, shift = self._whitened(self._noises(sigma_unlearn))
        values, squared = np.maximum(values, UNIT - 1), np.sum(shift**2, axis=2)
        flat = np.abs(values) <= _NEAR_ONE
        beyond = np.sum(np.where(flat, 0.5 * self._q * values**2 + squared, 0.0), axis=1)
        # The directions that say most come first, and what says nothing goes into the one of ratio 1.
        worth = np.where(flat, 0.0, 0.5 * self._q * (values / np.maximum(1 + values, 1)) ** 2 + squared)
        order = np.argsort(-worth, axis=1)
        values, squared, worth = (np.take_along_axis(a, order, axis=1) for a in (values, squared, worth))
        rest = np.cumsum(worth[:, ::-1], axis=1)[:, ::-1]
        kept = rest > _NEGLECTED * (rest[:, :1] + beyond[:, None])
        beyond = beyond + np.max(np.where(kept, 0.0, rest), axis=1)
        width = max(1, int(kept.sum(axis=1).max()))
        ratios = np.where(kept, 1 + values, 1.0)[:, :width]
        shifts, weights = np.where(kept, squared, 0.0)[:, :width], np.where(kept, float(self._q), 0.0)[:, :width]
        none = np.zeros(len(values))
        for c, b in ((ratios, shifts), (1 / ratios, shifts / ratios)):
            yield LossCumulant(weights=weights, ratios=c, shifts=b, flat_shift=beyond, skew_neglected=none)

    @property
    def _q(self) -> int:
        return int(self.shift.shape[2])

    def _noises(self, sigma_unlearn: float | Array) -> Array:
        sigma = np.broadcast_to(np.asarray(sigma_unlearn, dtype=np.float64), (len(self.nodes),))
        return sigma if self.n_unlearn > 0 else np.zeros_like(sigma)

    def _before(self, a: Array) -> Array:
        return np.asarray(self.sigma_learn**2 * geometric_sum(a, self.n_learn))

    def _whiten(self, sigma: Array, a: Array) -> Array:
        return whitening(a, self._before(a), self.n_unlearn, sigma[:, None] if np.any(sigma) else 0.0)

    def _whitened(self, sigma: Array) -> tuple[Array, Array, Array]:
        """Return w at the nodes, what the ratios differ from 1 by, and the shifts in the same coordinates."""
        w = self._whiten(sigma, self.nodes)
        difference = self.sigma_learn**2 * (w[:, :, None] * self.change * w[:, None, :])
        values, vectors = np.linalg.eigh((difference + difference.transpose(0, 2, 1)) / 2)
        return w, values, vectors.transpose(0, 2, 1) @ (w[:, :, None] * self.shift)

    def _residuals(self, sigma: Array) -> tuple[Array, Array]:
        """Return the bounds of ``ReducedDeletion._residuals``, each of shape (m,)."""
        if not np.any(self.edge):
            return np.zeros(len(sigma)), np.zeros(len(sigma))
        probes, counted = self._probes(sigma)
        slopes = divided_differences(
            partial(self._whiten, sigma),
            probes,
            self.nodes,
            self.n_steps,
            in_row=lambda a, row: self._whiten(sigma[row], a[:, None])[:, 0],
        )
        rows = np.where(counted[:, :, None], slopes, 0.0) * self.edge[:, None, :]
        found = [np.sqrt(np.max(np.sum((rows @ block) ** 2, axis=2), axis=1)) for block in (self.change, self.shift)]
        return PROBE_SAFETY * found[0], PROBE_SAFETY * found[1]

    def _probes(self, sigma: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return the points of ``ReducedDeletion._probes``, and which of them count, both of shape (m, points)."""
        nodes = self.nodes
        low, high = np.minimum(self.spectrum[0], nodes[:, :1]), np.maximum(self.spectrum[1], nodes[:, -1:])
        ends = np.concatenate([low, nodes, high], axis=1)
        widths = np.diff(ends, axis=1)[:, :, None]
        gaps = ends[:, :-1, None] + widths * PROBES
        room = np.minimum(gaps - ends[:, :-1, None], ends[:, 1:, None] - gaps)
        counted = room > CLEARANCE * (1 - np.abs(gaps) + 1 / self.n_steps)
        m = len(nodes)
        gaps, counted = gaps.reshape(m, -1), counted.reshape(m, -1)
        if not np.any(sigma):
            return gaps, counted
        middle = np.log(sigma / self.sigma_learn) / self.n_unlearn
        at = np.exp(np.minimum(middle, 0.0))
        middle = middle + 0.5 * np.log(geometric_sum(at, self.n_unlearn) / geometric_sum(at, self.n_learn)) / (
            self.n_unlearn
        )
        fall = np.exp(np.minimum(middle[:, None] + FALL / self.n_unlearn, 0.0))
        fall = np.concatenate([fall, -fall], axis=1)
        inside = (fall > low) & (fall < high)
        # What is outside stands for a point that is counted anyhow.
        fall = np.where(inside, fall, gaps[:, :1])
        return np.concatenate([gaps, fall], axis=1), np.concatenate([counted, inside], axis=1)


_STACKED = tuple(field.name for field in fields(ManyDeletions))[:6]


def _sizes(matrices: Array) -> Array:
    """Return the Frobenius norm of each matrix, shape (m,)."""
    return np.asarray(np.sqrt(np.sum(matrices**2, axis=(1, 2))))
