"""How many events refute a point claim: the boundary of the exact test, at the accuracy that planning needs.

In the flow: only ``audit.power.ceilings`` uses it. Data are tested by ``audit.statistics.bounds``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from audit.records.counts import Counts
from audit.statistics.bounds import NullRange, exact_joint_rejects
from audit.statistics.joint_test import largest_probability, rejection_region
from audit.statistics.score import first_rejecting
from mechanisms.claim import Direction, EpsilonDelta

Floats = NDArray[np.float64]

# Counts of the null world at which the critical score is solved for; it is interpolated in log(1 + k0) between.
_NODES = np.array([0, 1, 3, 10, 40, 150, 1_000, 10_000, 10**12], dtype=np.float64)
# From here on its distance to the normal quantile falls like 1 / sqrt(k0).
_LARGE = 150


@dataclass(frozen=True, kw_only=True, eq=False)
class CriticalCounts:
    """Smallest refuting k1 for every k0.

    Parameters
    ----------
    point
        The claim ``p1 <= e^epsilon p0 + delta``.
    n1, n0
        Counted trials of the worlds on its left and right.
    level
        Level of the one test.

    Notes
    -----
    The exact test refutes where the score exceeds a critical value that changes slowly with k0 (below the normal
    quantile where k0 is small, epsilon large or the level strict). That value is solved for at a few k0, and
    interpolated between them.
    """

    point: EpsilonDelta
    n1: int
    n0: int
    level: float
    _solved: dict[int, float] = field(default_factory=dict)

    def approximate(self, k0: ArrayLike) -> Floats:
        """Return the smallest refuting k1 (n1 + 1 where there is none) for each k0, which need not be whole."""
        k0 = np.asarray(k0, dtype=np.float64)
        start = max(0, int(np.searchsorted(_NODES, k0.min(), side="right")) - 1)
        stop = int(np.searchsorted(_NODES, k0.max(), side="left")) + 1
        nodes = np.minimum(_NODES[start:stop], self.n0)
        scores = [self._critical_score(int(node)) for node in nodes]
        z = np.interp(np.log1p(k0), np.log1p(nodes), scores)
        return first_rejecting(z, k0, n1=self.n1, n0=self.n0, epsilon=self.point.epsilon, delta=self.point.delta)

    def exact(self, k0: int) -> int:
        """Return the smallest k1 that :func:`audit.statistics.bounds.exact_joint_rejects` refutes, n1 + 1 if none."""
        guess, step = int(self.approximate(k0)), 1
        # The p-value does not increase in k1: gallop from the guess, then bisect. ``low`` never refutes.
        low, high = guess - 1, guess
        while low > 0 and self._rejects(low, k0):
            low, high, step = max(0, low - step), low, 2 * step
        while high <= self.n1 and not self._rejects(high, k0):
            low, high, step = high, min(high + step, self.n1 + 1), 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._rejects(middle, k0) else (middle, high)
        return high

    def _rejects(self, k1: int, k0: int) -> bool:
        counts = Counts(k_unlearned=k1, n_unlearned=self.n1, k_retrained=k0, n_retrained=self.n0)
        direction = Direction.UNLEARNED_FROM_RETRAINED
        return exact_joint_rejects(counts, point=self.point, direction=direction, level=self.level)

    def _critical_score(self, k0: int) -> float:
        if k0 not in self._solved:
            quantile = -float(ndtri(self.level))
            if k0 <= _LARGE or self.n0 <= _LARGE:
                # The nearest solved count is a good start.
                nearest = min(self._solved, key=lambda other: abs(math.log1p(other) - math.log1p(k0)), default=None)
                self._solved[k0] = self._solve(k0, quantile if nearest is None else self._solved[nearest])
            else:
                difference = self._critical_score(_LARGE) - quantile
                self._solved[k0] = quantile + difference * math.sqrt(_LARGE / k0)
        return self._solved[k0]

    def _solve(self, k0: int, z: float) -> float:
        """Score whose largest null probability is at most the level, and hardly less; the search starts at z."""
        null = NullRange.of(k0, self.n0, point=self.point, level=self.level)
        if null.low >= null.high:
            return z
        low, high = 0.0, math.inf
        for _ in range(12):
            probability = self._largest(z, null)
            low, high = (low, min(high, z)) if probability <= self.level else (max(low, z), high)
            if high - low < 0.02 or 0.9 * self.level <= probability <= self.level:
                break
            # Probits move about as much as the score; the probability is a step function, hence the bracket.
            z += float(ndtri(min(max(probability, self.level / 50), 0.9)) - ndtri(0.97 * self.level))
            if not low < z < high:
                z = (low + high) / 2 if math.isfinite(high) else low + 0.1
        return high if math.isfinite(high) else z

    def _largest(self, z: float, null: NullRange) -> float:
        epsilon, delta = self.point.epsilon, self.point.delta
        region = rejection_region(z, n1=self.n1, n0=self.n0, epsilon=epsilon, delta=delta, window=null.window)
        if not region.k0.size:
            return 0.0
        largest = largest_probability(
            region, low=null.low, high=null.high, epsilon=epsilon, delta=delta, outside=null.outside
        )
        return null.spent + largest
