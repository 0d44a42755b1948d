"""How far the deleted records move each learning step of logistic or softmax regression: bounds, as data.

The gap of step k + 1 is the step size times the norm of the deleted records' gradients at the learning iterate W_k, at
most ``|x_i| |residual_i(W_k)|`` a record. A residual has a largest norm, which needs no probability; and W_k is near
the noiseless path w_k but for a probability, which bounds the residual by what it is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from mechanisms.dataset import Dataset
from mechanisms.logistic.process import LOGISTIC, LogisticProcess, labels_of

Array = NDArray[np.float64]
# Gaps are raised by this share, more than their own rounding.
_ROUNDING = 1e-12
_UNIT = 2.3e-16


@dataclass(frozen=True, kw_only=True, eq=False)
class SureGaps:
    """Gaps from the largest residual that there is: they hold surely, for every iterate.

    Parameters
    ----------
    gaps
        ``s_1..s_T``, shape (T,).
    """

    gaps: Array

    @staticmethod
    def of(process: LogisticProcess) -> SureGaps:
        """Return the gaps of the deleted records; the first is known exactly, because W_0 is."""
        return SureGaps._of(process, *_norms_and_first(process, process.deleted), process.deleted.n_records)

    @staticmethod
    def largest(process: LogisticProcess) -> SureGaps:
        """Return gaps that no forget set of this size exceeds: the largest norms over all records."""
        return SureGaps._of(process, *_norms_and_first(process, process.data), process.deleted.n_records)

    @staticmethod
    def _of(process: LogisticProcess, norms: Array, first: Array, count: int) -> SureGaps:
        later = process.loss.largest * _sum_of_largest(norms, count)
        gaps = np.full(process.n_learn, later)
        gaps[0] = _sum_of_largest(norms * first, count)
        return SureGaps(gaps=process.step_size * gaps * (1 + _ROUNDING))

    @property
    def n_events(self) -> int:
        """No event may fail."""
        return 0

    def at(self, delta_s: float) -> Array:
        """Return the gaps, shape (T,)."""
        return self.gaps


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbableGaps:
    """Gaps around the noiseless path: all of them hold together except with a probability.

    Parameters
    ----------
    norms
        ``step_size |x_i|`` of the deleted records, shape (m,).
    reach
        How far a residual can move when the weights move by 1, ``curvature |x_i|``, shape (m,).
    residuals
        Norms of the deleted records' residuals on the noiseless path w_0..w_{T-1}, shape (m, T).
    spread
        sigma_k: the Lipschitz constant of ``|W_k - w_k|`` in all the noise before it, shape (T,); 0 at k = 0.
    drift
        Rounding of the computed path, at most, shape (T,).
    dimension
        Number of weights, p q.
    largest
        Largest norm of a residual.

    Notes
    -----
    Let ``e_k = W_k - w_k`` on the full data. ``e_{k+1} = phi(W_k) - phi(w_k) + sigma Z_k`` with phi Lipschitz with the
    constant c_D, so ``E|e_k|^2 <= p q sigma_k^2``, and ``|e_k|`` is a function of (Z_0, .., Z_{k-1}) whose Lipschitz
    constant is sigma_k: it exceeds ``sigma_k (sqrt(pq) + t)`` with probability at most ``exp(-t^2 / 2)``. One event a
    step serves every record at once.
    """

    norms: Array
    reach: Array
    residuals: Array
    spread: Array
    drift: Array
    dimension: int
    largest: float
    _known: dict[float, Array] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(process: LogisticProcess) -> ProbableGaps:
        """Return the gaps of the deleted records."""
        p, q = process.shape
        norms = np.linalg.norm(process.deleted.features, axis=1)
        path = noiseless_path(process)
        with np.errstate(over="ignore"):
            powers = process.expansion ** np.arange(process.n_learn)
            squares = np.concatenate([[0.0], np.cumsum(powers**2)[:-1]])
            sums = np.concatenate([[0.0], np.cumsum(powers)[:-1]])
        sigma = process.sigma_learn
        return ProbableGaps(
            norms=process.step_size * norms,
            reach=process.loss.curvature * norms,
            residuals=np.linalg.norm(_residuals(path, process.deleted, process), axis=2).T,
            spread=sigma * np.sqrt(squares) if sigma > 0 else np.zeros(process.n_learn),
            drift=_rounding_of_step(process, path) * sums,
            dimension=p * q,
            largest=process.loss.largest,
        )

    @property
    def n_events(self) -> int:
        """Number of iterates that must stay near the path, each with an equal part of delta_s; 0 without noise."""
        return int(np.sum(self.spread > 0)) if np.any(self.norms) else 0

    def bounds(self, delta_s: float) -> Array:
        """Return for each record and step what its residual's norm does not exceed, shape (m, T)."""
        tail = delta_s / self.n_events if self.n_events else 1.0
        distance = self.spread * (math.sqrt(self.dimension) + math.sqrt(-2 * math.log(tail))) + self.drift
        # A record without features sees nothing of the weights, however far these are.
        moved = np.zeros((len(self.reach), len(distance)))
        seeing = self.reach > 0
        moved[seeing] = self.reach[seeing, None] * distance
        near = self.residuals + moved * (1 + _ROUNDING) + _ROUNDING
        return np.asarray(np.minimum(near, self.largest))

    def at(self, delta_s: float) -> Array:
        """Return the gaps, shape (T,), all of which hold together except with probability ``delta_s``."""
        if delta_s not in self._known:
            self._known[delta_s] = np.asarray(self.norms @ self.bounds(delta_s) * (1 + _ROUNDING))
        return self._known[delta_s]


def noiseless_path(process: LogisticProcess) -> Array:
    """Return the iterates w_0..w_{T-1} of learning on the full data without noise, shape (T, q, p)."""
    p, q = process.shape
    x, labels = process.data.features, labels_of(process.data, process.loss)
    path = np.zeros((process.n_learn, q, p))
    for k in range(process.n_learn - 1):
        pull = (_probabilities(path[k] @ x.T, process) - labels.T) @ x + process.penalty * path[k]
        path[k + 1] = path[k] - process.step_size * pull
    return path


def _residuals(path: Array, records: Dataset, process: LogisticProcess) -> Array:
    """Return probability minus label of some records along a path, shape (T, m, q)."""
    found = _probabilities(path @ records.features.T, process) - labels_of(records, process.loss).T
    return np.asarray(found.transpose(0, 2, 1))


def _probabilities(predictions: Array, process: LogisticProcess) -> Array:
    """Return probabilities of predictions of shape (..., q, m)."""
    return np.asarray(expit(predictions) if process.loss == LOGISTIC else softmax(predictions, axis=-2))


def _norms_and_first(process: LogisticProcess, records: Dataset) -> tuple[Array, Array]:
    """Return the norms of some records' features, and of their residuals at the weights 0, shape (m,) each."""
    p, q = process.shape
    first = _residuals(np.zeros((1, q, p)), records, process)[0]
    return np.linalg.norm(records.features, axis=1), np.linalg.norm(first, axis=1)


def _sum_of_largest(values: Array, count: int) -> float:
    return float(np.sum(np.sort(values)[len(values) - count :]))


def _rounding_of_step(process: LogisticProcess, path: Array) -> float:
    """Return a bound on the rounding of one step of the path: of sums over all records, predictions, and weights."""
    x = process.data.features
    norms = np.linalg.norm(x, axis=1)
    terms = process.step_size * process.loss.largest * float(np.sum(norms))
    # A prediction is rounded by a share of |x| |w|, and moves its residual and so the gradient.
    moved = process.step_size * process.loss.curvature * x.shape[1] * float(np.sum(norms**2))
    size = float(np.max(np.linalg.norm(path, axis=(1, 2)), initial=0.0))
    return float(4 * _UNIT * (sum(x.shape) * terms + (1 + process.step_size * process.penalty + moved) * size))
