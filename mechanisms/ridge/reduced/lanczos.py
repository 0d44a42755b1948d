"""The step maps compressed to a Krylov space, functions of them, and bounds on what truncation takes from those.

Below ``mechanisms.ridge.reduced.krylov``, which says what for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mechanisms.ridge.laws import signed_power

Array = NDArray[np.float64]

# Arguments nearer than this share of the scale on which powers vary are spread apart before differences are divided.
_NEAR = 1e-5
# New directions shorter than this are rounding errors: the space is exhausted (the matrix has norm at most 1).
EXHAUSTED = 2.0**-48


class BlockLanczos:
    """The block Krylov space of a diagonal matrix and a few start vectors, with full reorthogonalisation.

    Parameters
    ----------
    contraction
        The matrix A: its diagonal, of absolute value at most 1, shape (p,).
    start
        Rows x of the forget set in the same basis, shape (m, p); repeated rows are deflated.

    Attributes
    ----------
    rows, matrix
        Orthonormal basis Q as rows and compressed A, the first ``size`` of each.
    factor
        R of ``start' = Q_1 R`` with Q_1 the first block.
    waiting, coupling
        The next block, and the compressed A between it and the last one: ``A Q - Q T`` has nothing else.
    norm
        Largest singular value of ``start``.
    dropped
        Norm of what deflation left out of ``start``.
    """

    def __init__(self, contraction: Array, start: Array) -> None:
        self.contraction = contraction
        self.norm = 0.0
        left, singular, right = np.linalg.svd(start, full_matrices=False)
        keep = singular > 1e-14 * singular[0] if singular[0] > 0 else np.zeros(len(singular), dtype=bool)
        if keep.any():
            self.norm = float(singular[0])
        self.dropped = float(np.linalg.norm(singular[~keep]))
        # start' = Q_1 R; rows that repeat are gone.
        self.factor: Array = singular[keep, None] * left[:, keep].T
        self.waiting: Array = np.ascontiguousarray(right[keep])
        self.coupling: Array = np.zeros((len(self.waiting), 0))
        self.rows: Array = np.empty((0, len(contraction)))
        self.matrix: Array = np.empty((0, 0))
        self.size = 0
        self.block = len(self.waiting)

    @property
    def exhausted(self) -> bool:
        """Whether the space holds everything that differs."""
        return len(self.waiting) == 0

    def extend(self, size: int) -> None:
        """Add blocks until the space has this dimension or is exhausted."""
        capacity = min(size + 2 * self.block, len(self.contraction))
        if capacity > len(self.rows):
            rows, matrix = np.empty((capacity, len(self.contraction))), np.zeros((capacity, capacity))
            rows[: self.size], matrix[: self.size, : self.size] = (
                self.rows[: self.size],
                self.matrix[: self.size, : self.size],
            )
            self.rows, self.matrix = rows, matrix
        while self.size < size and not self.exhausted:
            self._step()

    def _step(self) -> None:
        before, start = self.coupling.shape[1], self.size
        stop = start + len(self.waiting)
        here, past = slice(start, stop), slice(start - before, start)
        self.rows[here] = self.waiting
        self.matrix[here, past], self.matrix[past, here] = self.coupling, self.coupling.T
        moved = self.waiting * self.contraction
        diagonal = moved @ self.waiting.T
        self.matrix[here, here] = (diagonal + diagonal.T) / 2
        self.size = stop
        basis = self.rows[:stop]
        moved -= diagonal @ self.waiting
        moved -= self.coupling @ self.rows[past]
        for _ in range(3):
            length = np.linalg.norm(moved)
            moved -= (moved @ basis.T) @ basis
            # A pass that takes away little leaves an orthogonal remainder.
            if np.linalg.norm(moved) > 0.7 * length:
                break
        self.waiting, self.coupling = _orthonormal(moved, basis)
        room = len(self.contraction) - stop
        self.waiting, self.coupling = self.waiting[:room], self.coupling[:room]

    def compressed(self, step_size: float) -> tuple[Array, Array]:
        """Return the compressed A and A'."""
        full = self.matrix[: self.size, : self.size]
        without = full.copy()
        b = len(self.factor)
        without[:b, :b] += step_size * (self.factor @ self.factor.T)
        return full, without

    def leaks(self, step_size: float, n: int) -> tuple[float, float]:
        """Return bounds on the left-out parts of ``f(A) - f(A')``, and of ``h(A) - h(A')`` for ``h = sum a^k, k < T``.

        Both are sums over products ``A'^i x x' A^j``, and ``A^j x - Q T^j Q' x`` has at most the norm of the residual
        times the sum of the entries of earlier powers that reach the last block. The largest eigenvalue counts as 1.
        """
        if self.exhausted or self.size == 0:
            return 0.0, 0.0
        entries = max(reach(t, len(self.factor), self.coupling.shape[1], n) for t in self.compressed(step_size))
        residual = float(np.linalg.norm(self.coupling))
        whole = step_size * self.norm**2 * residual * entries * n**2 / 2
        return whole, residual * entries


def _orthonormal(rows: Array, basis: Array) -> tuple[Array, Array]:
    """Return orthonormal rows Q and C with ``rows = C' Q``; directions that are rounding errors are left out."""
    if len(rows) == 1:
        length = float(np.linalg.norm(rows))
        keep = length > EXHAUSTED
        return (rows / length if keep else rows[:0]), np.full((int(keep), 1), length)
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    found = singular > EXHAUSTED
    fresh, coupling = right[found], singular[found, None] * left[:, found].T
    # A direction far shorter than its neighbours was orthogonal up to their rounding only.
    fresh -= (fresh @ basis.T) @ basis
    orthonormal, triangle = np.linalg.qr(fresh.T)
    return np.ascontiguousarray(orthonormal.T), triangle @ coupling


def reach(matrix: Array, first: int, last: int, n: int) -> float:
    """Return at least the sum over i < n of the norms of ``matrix^i`` from the first ``first`` to the last ``last``.

    Powers are multiplied out step by step: entries far from the diagonal are tiny and keep their relative accuracy,
    which an eigendecomposition would lose.
    """
    stride = math.isqrt(n - 1) + 1
    size = len(matrix)
    rows, columns = np.eye(size)[size - last :], np.eye(size)[:, :first]
    leap = np.linalg.matrix_power(matrix, stride)
    left, right = [rows], [columns]
    for _ in range(stride - 1):
        left.append(left[-1] @ matrix)
        right.append(leap @ right[-1])
    products = (np.concatenate(left) @ np.concatenate(right, axis=1)).reshape(stride, last, stride, first)
    return float(np.sum(np.sqrt(np.sum(products**2, axis=(1, 3)))))


def lengths(values: Array) -> Array:
    """Return the Euclidean norm along the last axis; squares of numbers above 1e154 or below 1e-154 are kept."""
    largest = np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    return np.asarray(largest[..., 0] * np.linalg.norm(values / np.where(largest > 0, largest, 1.0), axis=-1))


def power_sum(a: Array, n: int) -> Array:
    """Return the sum of a^k over 0 <= k < n."""
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        near_one = -np.expm1(n * np.log(np.abs(a))) / (1 - a)
        elsewhere = (1 - signed_power(a, n)) / (1 - a)
    return np.asarray(np.where(a == 1, float(n), np.where(a > 0.5, near_one, elsewhere)))


def divided_differences(
    function: Callable[[Array], Array],
    x: Array,
    y: Array,
    n: int,
    *,
    in_row: Callable[[Array, NDArray[np.intp]], Array] | None = None,
) -> Array:
    """Return (function(x) - function(y)) / (x - y) for all pairs, shape (..., x, y).

    Parameters
    ----------
    x, y
        Any axes before the last one are common to both.
    n
        The largest power in the function; it varies on the scale ``1 - |a| + 1/n``.
    in_row
        The function of single arguments and their index along the first axis, where it depends on that.
    """
    gap = x[..., :, None] - y[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        result = (function(x)[..., :, None] - function(y)[..., None, :]) / gap
    # Few are so near that they need a closer look.
    near = np.nonzero(np.abs(gap) < _NEAR * (1 + 1 / n))
    left, right = x[near[:-1]], y[(*near[:-2], near[-1])]
    centre = (left + right) / 2
    width = _NEAR * (np.maximum(1 - np.abs(centre), 0.0) + 1 / n)
    chosen = np.abs(left - right) < width
    near, centre, half = tuple(index[chosen] for index in near), centre[chosen], width[chosen] / 2
    if in_row is None:
        result[near] = (function(centre + half) - function(centre - half)) / (2 * half)
    elif len(centre):
        row = near[0]
        result[near] = (in_row(centre + half, row) - in_row(centre - half, row)) / (2 * half)
    return np.asarray(result)
