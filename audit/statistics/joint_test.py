"""Rejection regions of the exact test of one point claim, and their largest probability under the null.

In the flow: ``audit.statistics.bounds`` turns these probabilities into p-values and lower bounds. The notation, and the
lemma that makes every region monotone, are in ``audit.statistics.score``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

from audit.statistics.score import first_rejecting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Branch and bound stops once the upper bound on the probability is within this factor of an attained value.
RELATIVE_GAP = 0.005
_MAX_ROUNDS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A rejection region ``{k1 >= first[k0]}``: it grows with k1 and shrinks with k0.

    Parameters
    ----------
    n1, n0
        Trials of the worlds on the left and the right of the claim.
    k0
        Consecutive counts for which some k1 <= n1 rejects, within a window that misses little probability.
    first
        Smallest rejecting k1 for each, between 0 and n1, not decreasing.
    """

    n1: int
    n0: int
    k0: Ints
    first: Ints

    def contains(self, k1: int, k0: int) -> bool:
        """Return whether an outcome is inside."""
        index = k0 - int(self.k0[0]) if self.k0.size else -1
        return 0 <= index < self.k0.size and k1 >= int(self.first[index])

    def rows(self, p0: Floats, p1: Floats) -> tuple[Floats, Floats, Floats]:
        """Return, for nodes (p0, p1), P(K0 = k0), P(K1 >= first) and P(K1 >= first - 1), shape (nodes, counts)."""
        mass = _masses(self._null_world, p0)
        if self._left_world is None:
            first = self.first.astype(np.float64)
            # From 0 on every outcome is inside, and the incomplete beta function has no such value.
            tail = np.where(first > 0, betainc(np.maximum(first, 1), self.n1 - first + 1, p1[:, None]), 1.0)
            fewer = betainc(np.maximum(first - 1, 1), self.n1 - first + 2, p1[:, None])
            return mass, tail, np.where(first > 1, fewer, 1.0)
        # Piece by piece, so that the masses stay in the processor's cache.
        n_pieces = -(-p1.size * self._left_world.k.size // 200_000)
        pieces = np.array_split(p1, n_pieces) if n_pieces > 1 else [p1]
        tails = np.concatenate([self._tails(self._left_world, piece) for piece in pieces])
        return mass, tails[:, 1], tails[:, 0]

    def _tails(self, world: _Binomial, p1: Floats) -> Floats:
        """P(K1 >= first - 1) and P(K1 >= first), shape (nodes, 2, counts)."""
        start, last = int(self.first[0]) - 1, float(self.first[-1])
        masses = np.column_stack([_masses(world, p1), betainc(last, self.n1 - last + 1, p1)])
        # Sums from the far end: all terms are positive, so small tails keep their relative accuracy.
        sums = np.cumsum(masses[:, ::-1], axis=1)[:, ::-1]
        both: Floats = np.stack([sums[:, self.first - 1 - start], sums[:, self.first - start]], axis=1)
        return both

    @functools.cached_property
    def _null_world(self) -> _Binomial:
        return _Binomial.of(self.n0, self.k0)

    @functools.cached_property
    def _left_world(self) -> _Binomial | None:
        """Counts from just below the smallest to just below the largest ``first``; ``None`` where that wastes time."""
        start, stop = int(self.first[0]) - 1, int(self.first[-1])
        # One incomplete beta function costs about as much as thirty masses and their sum.
        return _Binomial.of(self.n1, np.arange(start, stop)) if stop - start < 30 * self.first.size else None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Binomial:
    """Some counts of n trials, and the logarithms of their binomial coefficients."""

    k: Floats
    rest: Floats
    log_choose: Floats

    @staticmethod
    def of(n: int, k: Ints) -> _Binomial:
        log_choose = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
        return _Binomial(k=k.astype(np.float64), rest=(n - k).astype(np.float64), log_choose=log_choose)


def _masses(world: _Binomial, p: Floats) -> Floats:
    """Binomial probabilities, shape (len(p), len(world.k))."""
    # A finite stand-in for log(0), so that 0 * log(0) is 0.
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(p), -1e4), np.maximum(np.log1p(-p), -1e4)
    masses: Floats = np.multiply.outer(log_p, world.k)
    masses += np.multiply.outer(log_q, world.rest)
    masses += world.log_choose
    return np.exp(masses, out=masses)


def rejection_region(z: float, *, n1: int, n0: int, epsilon: float, delta: float, window: tuple[int, int]) -> Region:
    """Return the outcomes with k0 in a window (ends included) whose score at (epsilon, delta) is at least z > 0."""
    k0 = np.arange(window[0], window[1] + 1)
    first = first_rejecting(z, k0, n1=n1, n0=n0, epsilon=epsilon, delta=delta)
    # The lemma makes ``first`` monotone; the envelope does so in floating point, and only enlarges the region.
    first = np.minimum.accumulate(first[::-1])[::-1]
    inside = first <= n1
    return Region(n1=n1, n0=n0, k0=k0[inside], first=first[inside].astype(np.int64))


def largest_probability(
    region: Region,
    *,
    low: float,
    high: float,
    epsilon: float,
    delta: float,
    outside: float = 0.0,
    negligible: float = 0.0,
    settle_at: float | None = None,
) -> float:
    """Return an upper bound on the region's largest probability on ``p1 = min(1, e^epsilon p0 + delta)``.

    Parameters
    ----------
    region
        The rejection region.
    low, high
        Range of p0 that is searched, both ends included; p1 stays at most 1 inside it.
    epsilon, delta
        The null's boundary (the region may have been built at another point).
    outside
        Probability that the region's window of counts misses, at most, for every p0 in the range. The result is for
        the counts inside; with ``outside`` added it bounds the probability of the whole region.
    negligible
        A probability that the result may exceed an attained one by.
    settle_at
        Stop as soon as it is clear on which side of this number the result lies.

    Returns
    -------
    float
        At most 0.5 %, or ``negligible``, above a probability that is attained, unless it was settled before.

    Notes
    -----
    Branch and bound over cells [a, b] of p0; see :func:`_cell_bounds` for why no cell can hide a larger value.
    Refining a cell never raises its bound, hence settling early never changes the answer.
    """
    c = float(np.exp(epsilon))
    p0 = np.sin(np.linspace(np.arcsin(np.sqrt(low)), np.arcsin(np.sqrt(high)), 9)) ** 2
    p0[0], p0[-1] = low, high
    nodes = _Nodes.at(region, p0, c, delta)
    left, right = np.arange(8), np.arange(1, 9)
    settled = 0.0
    for _ in range(_MAX_ROUNDS):
        bounds = _cell_bounds(region, nodes, left, right, c, outside)
        best = float(nodes.value.max())
        refine = bounds > best + max(best * RELATIVE_GAP, negligible)
        settled = float(max([settled, best, *bounds[~refine]]))
        upper = float(max([settled, *bounds[refine]]))
        if upper == settled or (settle_at is not None and not best <= settle_at < upper):
            return best if settle_at is not None and best > settle_at else upper
        left, right = left[refine], right[refine]
        angles = np.arcsin(np.sqrt(nodes.p0))
        middle = np.sin((angles[left] + angles[right]) / 2) ** 2
        new = nodes.p0.size + np.arange(middle.size)
        nodes = nodes.extended(_Nodes.at(region, middle, c, delta))
        left, right = np.concatenate([left, new]), np.concatenate([new, right])
    return upper


@dataclass(frozen=True, kw_only=True, eq=False)
class _Nodes:
    """Values of p0 at which a region's probability is known, and the rows that it was computed from."""

    p0: Floats
    p1: Floats
    mass: Floats
    tail: Floats
    wider_tail: Floats
    value: Floats

    @staticmethod
    def at(region: Region, p0: Floats, c: float, delta: float) -> _Nodes:
        p1 = np.minimum(c * p0 + delta, 1.0)
        mass, tail, wider = region.rows(p0, p1)
        return _Nodes(p0=p0, p1=p1, mass=mass, tail=tail, wider_tail=wider, value=np.einsum("ij,ij->i", mass, tail))

    def extended(self, other: _Nodes) -> _Nodes:
        return _Nodes(**{name: np.concatenate([mine, getattr(other, name)]) for name, mine in vars(self).items()})


def _cell_bounds(region: Region, nodes: _Nodes, left: Ints, right: Ints, c: float, outside: float) -> Floats:
    """Upper bounds on the region's probability F over each cell [a, b] of p0, the smaller of two.

    1. The region grows with k1 and shrinks with k0, so F is at most the probability at the corner
       (P(b), a), as if p1 and p0 were free.
    2. With S the score and J the observed information along the line, ``F'' = E[1_R (S^2 - J)] >= -E[1_R J]``, where
       ``J = c^2 (k1 / P^2 + (n1 - k1) / Q^2) + k0 / p^2 + (n0 - k0) / q^2`` and, stochastic order by order,
       ``E[1_R k1] <= n1 P Pr(k1 + 1 in R)``, ``E[1_R (n1 - k1)] <= n1 Q F``, ``E[1_R k0] <= n0 p F``. Taken at the
       corner these bound -F'' by a number m over the cell, and F by the chord plus m (p - a) (b - p) / 2.

    Both need the whole region, of which a window is summed: F at the nodes and the corner are at most ``outside`` above
    their sums, which the caller adds, and m is computed with it.
    """
    a, b, width = nodes.p0[left], nodes.p0[right], nodes.p0[right] - nodes.p0[left]
    p_low, q_low = nodes.p1[left], 1 - nodes.p1[right]
    mass = nodes.mass[left]
    joint = mass * nodes.tail[right]
    corner, few = joint.sum(axis=1), joint @ (region.n0 - region.k0)
    wider = np.einsum("ij,ij->i", mass, nodes.wider_tail[right])
    with np.errstate(divide="ignore", invalid="ignore"):
        first = region.n1 * nodes.p1[right] * (wider + outside) / p_low**2 + region.n1 * (corner + outside) / q_low
        bend = c * c * first + region.n0 * (corner + outside) / a + (few + region.n0 * outside) / (1 - b) ** 2
        bump = bend * width * width / 2
        rise = nodes.value[right] - nodes.value[left]
        top = np.clip(0.5 + rise / (2 * bump), 0.0, 1.0)
        curved = nodes.value[left] + rise * top + bump * top * (1 - top)
    smaller: Floats = np.where(np.isfinite(curved), np.minimum(corner, curved), corner)
    return smaller
