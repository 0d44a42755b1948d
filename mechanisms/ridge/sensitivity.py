"""How far one deletion moves each learning step: bounds on the gaps between the two chains, as data.

The gap of step k + 1 is the step size times the norm of the deleted records' gradients at the learning iterate W_k,
``|x_i| |x_i'W_k - y_i|``. The residual is Gaussian, so the gap is bounded by a quantile of the length of a Gaussian
vector. ``routes`` turns gaps into certificates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mechanisms.dataset import Dataset
from mechanisms.ridge.laws import StepMap, geometric_sum, signed_power
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.quantiles import SAFETY, length_excess
from mechanisms.ridge.reduced.lanczos import lengths

Array = NDArray[np.float64]
PROOF_GAP = (
    "Proof gap: the published argument conditions on a good event that depends on the noise it then uses, and exact "
    "laws are known that exceed it at large epsilon (seen from 5.4 nats on); audit this claim, do not rely on it."
)
# Doubles of residuals that are held at a time while the paths are computed.
_CHUNK = 4_000_000
# Nodes of the mean-to-noise ratio at which an excess is tabled, to rule out nearly every record of a maximum.
_TABLE = np.concatenate([[0.0], np.geomspace(1e-2, 1e6, 256)])


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualPaths:
    """The law of records' residuals along learning on all data: ``r_k ~ N(mean_k, deviation_k^2 I_q)``, k = 0..T-1.

    Parameters
    ----------
    scale
        Step size times the norm of the record's features, shape (m,).
    distance
        Norm of the mean residual, shape (m, T).
    deviation
        Standard deviation of each of its coordinates, shape (m, T); 0 at k = 0, because W_0 is fixed.
    n_targets
        q.
    """

    scale: Array
    distance: Array
    deviation: Array
    n_targets: int

    @staticmethod
    def of(process: RidgeProcess, step: StepMap, records: Dataset) -> ResidualPaths:
        """Return the paths of some records; ``step`` is the noiseless step map on all data.

        One matrix product for each chunk of steps, O(m p q T) in all.
        """
        m, q, n_steps = records.n_records, records.targets.shape[1], process.n_learn
        projected, target = records.features @ step.basis, step.basis.T @ step.optimum
        distance, variance = np.empty((m, n_steps)), np.empty((m, n_steps))
        size = max(1, _CHUNK // (max(m, step.basis.shape[0]) * q))
        for start in range(0, n_steps, size):
            chunk = slice(start, min(start + size, n_steps))
            k = np.arange(start, chunk.stop)[:, None]
            # W_0 = 0, so m_k = (1 - A^k) W*: exactly 0 at k = 0.
            moved = (1 - signed_power(step.contraction, k)).T[:, :, None] * target[:, None, :]
            residual = (projected @ moved.reshape(len(target), -1)).reshape(m, len(k), q) - records.targets[:, None, :]
            distance[:, chunk] = lengths(residual)
            variance[:, chunk] = projected**2 @ geometric_sum(step.contraction, k).T
        return ResidualPaths(
            scale=process.step_size * lengths(records.features),
            distance=distance,
            deviation=process.sigma_learn * np.sqrt(variance),
            n_targets=q,
        )

    @cached_property
    def ratio(self) -> Array:
        """Mean over noise; 0 where nothing is random."""
        return np.divide(self.distance, self.deviation, out=np.zeros_like(self.distance), where=self.deviation > 0)

    @cached_property
    def cell(self) -> NDArray[np.intp]:
        """Index of the last node of the table at or below the ratio."""
        return np.asarray(np.searchsorted(_TABLE, self.ratio, side="right") - 1, dtype=np.intp)

    def bounds(self, tail: float) -> Array:
        """Return for each record and step a gap that is exceeded with probability at most ``tail``, shape (m, T)."""
        return self._bounds(tail, np.ones(self.distance.shape, dtype=np.bool_))

    def largest(self, tail: float, count: int) -> Array:
        """Return for each step the sum of the ``count`` largest of :meth:`bounds`, shape (T,).

        Notes
        -----
        Exact: the excess falls with the ratio, so a table brackets it, and the quantile is computed only for records
        whose upper end reaches the ``count``-th largest lower end.
        """
        m = len(self.scale)
        if count >= m or self.distance.size <= len(_TABLE):
            # All bounds cost no more than the table.
            return _sum_of_largest(self.bounds(tail), count)
        upper = length_excess(_TABLE, self.n_targets, tail)
        lower = np.append(upper[1:] - 4 * SAFETY * (1 + np.abs(upper[1:])), -float(ndtri(tail)))
        scale = self.scale[:, None]
        floor = scale * (self.distance + self.deviation * lower[self.cell])
        bar = np.partition(floor, m - count, axis=0)[m - count]
        kept = scale * (self.distance + self.deviation * upper[self.cell]) >= bar
        return _sum_of_largest(self._bounds(tail, kept), count)

    def _bounds(self, tail: float, where: NDArray[np.bool_]) -> Array:
        random = where & (self.deviation > 0)
        length = np.where(where, self.distance, 0.0)
        if random.any():
            length[random] += self.deviation[random] * length_excess(self.ratio[random], self.n_targets, tail)
        return np.asarray(self.scale[:, None] * length)


def _sum_of_largest(bounds: Array, count: int) -> Array:
    """Return for each step, a column, the sum of its ``count`` largest bounds."""
    rest = len(bounds) - count
    return np.asarray((np.partition(bounds, rest, axis=0)[rest:] if rest > 0 else bounds).sum(axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class StepGaps:
    """Gaps ``s_1..s_T`` that a deletion of ``n_forget`` of these records does not exceed; a union over its records.

    With exactly ``n_forget`` paths it is about those records. With the paths of all records it is about every forget
    set of that size at once: at each step the sum of the largest gaps.

    Parameters
    ----------
    paths
        Residuals of the records.
    n_forget
        Size of a forget set.
    """

    paths: ResidualPaths
    n_forget: int
    _known: dict[float, Array] = field(default_factory=dict, repr=False)

    @cached_property
    def n_events(self) -> int:
        """Number of random gradients that must stay below their bounds; each gets an equal part of delta_s."""
        if not np.any(self.paths.scale[:, None] * self.paths.deviation):
            return 0
        return self.n_forget * (int(self.paths.distance.shape[1]) - 1)

    def at(self, delta_s: float) -> Array:
        """Return the gaps, shape (T,), all of which hold together except with probability ``delta_s``.

        Parameters
        ----------
        delta_s
            In (0, 1); any value, also 0, where nothing is random.
        """
        if delta_s not in self._known:
            # Nothing is random when there are no events, and the tail is not used.
            tail = delta_s / self.n_events if self.n_events else 0.5
            self._known[delta_s] = self.paths.largest(tail, self.n_forget)
        return self._known[delta_s]
