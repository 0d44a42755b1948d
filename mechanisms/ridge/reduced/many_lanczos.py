"""The Krylov spaces of many deletions of one record each, grown together: ``lanczos`` with a record's index in front.

One deleted row has a tridiagonal compressed A. Every operation acts on each record by itself, so that a record's space
is what :class:`mechanisms.ridge.reduced.lanczos.BlockLanczos` gives it, up to rounding; only the calls are shared.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanisms.ridge.reduced.lanczos import EXHAUSTED, lengths

Array = NDArray[np.float64]

# Numbers of a basis that are worked on at once: what a processor keeps near.
_NEAR_MEMORY = 1 << 18


class ManyLanczos:
    """Krylov spaces of one diagonal matrix and many start vectors, with full reorthogonalisation.

    Parameters
    ----------
    contraction
        The matrix A: its diagonal, of absolute value at most 1, shape (p,).
    start
        One vector a record, shape (m, p), none of them zero.

    Attributes
    ----------
    rows
        Orthonormal bases, shape (m, capacity, p), the first ``size`` of each.
    diagonal, beside
        The compressed A: its diagonal, and the entries beside it, shape (m, capacity).
    coupling
        The entry between the last vector and the next one, shape (m,); 0 where the space is the whole one.
    norm
        Lengths of the start vectors, shape (m,).
    ended
        Records whose space was exhausted before it was the whole one, shape (m,): what is here is not theirs.
    """

    def __init__(self, contraction: Array, start: Array) -> None:
        self.contraction = contraction
        self.norm = lengths(start)
        self.waiting: Array = start / self.norm[:, None]
        self.rows: Array = np.empty((len(start), 0, start.shape[1]))
        self.diagonal: Array = np.empty((len(start), 0))
        self.beside: Array = np.empty((len(start), 0))
        self.coupling: Array = np.zeros(len(start))
        self.ended: NDArray[np.bool_] = np.zeros(len(start), dtype=bool)
        self.size = 0

    @property
    def whole(self) -> bool:
        """Whether the space is the whole one."""
        return self.size == len(self.contraction)

    def extend(self, size: int) -> None:
        """Let every space have this dimension, or the whole one."""
        size, (m, room, p) = min(size, len(self.contraction)), self.rows.shape
        if size <= self.size:
            return
        if size > room:
            self._make_room(min(2 * size, p))
        together = max(1, _NEAR_MEMORY // (size * p))
        with np.errstate(divide="ignore", invalid="ignore"):
            for first in range(0, m, together):
                part = slice(first, first + together)
                for at in range(self.size, size):
                    self._step(part, at)
        self.size = size
        if self.whole:
            self.coupling = np.zeros(m)

    def _make_room(self, room: int) -> None:
        """Leave room for bases of this size; what is not touched costs nothing."""
        m, old, p = self.rows.shape
        rows = np.empty((m, room, p))
        rows[:, : self.size] = self.rows[:, : self.size]
        self.rows = rows
        self.diagonal = np.pad(self.diagonal, ((0, 0), (0, room - old)))
        self.beside = np.pad(self.beside, ((0, 0), (0, room - old)))

    def _step(self, part: slice, at: int) -> None:
        basis, waiting = self.rows[part, : at + 1], self.waiting[part]
        basis[:, at] = waiting
        moved = waiting * self.contraction
        taken = np.empty_like(moved)
        diagonal = np.vecdot(moved, waiting)
        self.diagonal[part, at] = diagonal
        if at:
            self.beside[part, at - 1] = self.coupling[part]
            entries = np.stack([self.coupling[part], diagonal], axis=1)
            np.matmul(entries[:, None], basis[:, at - 1 :], out=taken[:, None])
        else:
            np.multiply(waiting, diagonal[:, None], out=taken)
        moved -= taken
        for _ in range(3):
            along = basis @ moved[:, :, None]
            np.matmul(along.transpose(0, 2, 1), basis, out=taken[:, None])
            moved -= taken
            left, gone = np.vecdot(moved, moved), np.sum(along**2, axis=(1, 2))
            # A pass that takes away little leaves an orthogonal remainder.
            if np.all(left > 0.49 * (left + gone)):
                break
        length = np.sqrt(left)
        self.coupling[part] = length
        if at + 1 < len(self.contraction):
            self.ended[part] |= ~(length > EXHAUSTED)
            np.divide(moved, length[:, None], out=self.waiting[part])

    def take(self, chosen: NDArray[np.intp]) -> ManyLanczos:
        """Return some of the records, in their order."""
        if len(chosen) == len(self.norm):
            return self
        other = object.__new__(ManyLanczos)
        other.contraction, other.size = self.contraction, self.size
        other.rows = self.rows[chosen, : self.size]
        for name in ("diagonal", "beside"):
            setattr(other, name, getattr(self, name)[chosen, : self.size])
        for name in ("norm", "waiting", "coupling", "ended"):
            setattr(other, name, getattr(self, name)[chosen])
        return other

    def compressed(self, step_size: float) -> tuple[Array, Array]:
        """Return the compressed A and A', each of shape (m, size, size)."""
        m, r = len(self.norm), self.size
        full, index = np.zeros((m, r, r)), np.arange(r)
        full[:, index, index] = self.diagonal[:, :r]
        full[:, index[1:], index[:-1]] = full[:, index[:-1], index[1:]] = self.beside[:, : r - 1]
        without = full.copy()
        without[:, 0, 0] += step_size * self.norm**2
        return full, without

    def leaks(self, step_size: float, n: int, *, most: Array | float = math.inf) -> tuple[Array, Array]:
        """Return the bounds of ``BlockLanczos.leaks``, each of shape (m,).

        Parameters
        ----------
        most
            Of the first one. Where no record is below, they are only known to be above.
        """
        if self.whole:
            return np.zeros(len(self.norm)), np.zeros(len(self.norm))
        full, without = self.compressed(step_size)
        share = step_size * self.norm**2 * self.coupling * n**2 / 2
        entries = _reach(without, n)
        if np.any(share * entries <= most):
            entries = np.maximum(entries, _reach(full, n))
        return share * entries, self.coupling * entries


def _reach(matrices: Array, n: int) -> Array:
    """Return at least the sums over i < n of the last entry in the first column of ``matrix^i``, shape (m,).

    Multiplied out step by step, as in ``lanczos.reach``.
    """
    stride = math.isqrt(n - 1) + 1
    m, r, _ = matrices.shape
    left, right = np.zeros((m, stride, r)), np.zeros((m, r, stride))
    left[:, 0, -1] = right[:, 0, 0] = 1.0
    leap = np.linalg.matrix_power(matrices, stride)
    for i in range(1, stride):
        left[:, i] = (left[:, i - 1, None] @ matrices)[:, 0]
        right[:, :, i] = (leap @ right[:, :, i - 1, None])[:, :, 0]
    return np.asarray(np.abs(left @ right).sum(axis=(1, 2)))
