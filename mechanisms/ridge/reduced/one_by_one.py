"""Maps of single records one after the other: the way of a record that is out of the ordinary, and the tests' oracle.

``mechanisms.ridge.reduced.lockstep`` does the same for many records together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.ridge.process import noise_floor
from mechanisms.ridge.reduced.bounded_pair import BoundedPair
from mechanisms.ridge.reduced.krylov import KrylovSetup, ReducedDeletion, reduce_with_pairs

Array = NDArray[np.float64]
Epsilons = tuple[float, float]

# A noise is found to this share, and the search of one record stays clear of the end of what is tolerated.
NOISE_TOLERANCE = 1e-6
_SEARCHED = 0.9 * NOISE_TOLERANCE
# Longest step of the search, as a logarithm.
STRETCH = math.log(8.0)
# Truncation may take this share of the target epsilon; above it the space is enlarged for the noise that was found.
TRUNCATION_SHARE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class OneByOne:
    """Calibrates single records of a data set, one after the other.

    Parameters
    ----------
    setup
        Of the data set.
    target, delta
        What is to be met.
    share, margin
        A noise is found to this share, and is raised by that one.
    """

    setup: KrylovSetup
    target: float
    delta: float
    share: float = _SEARCHED
    margin: float = 0.0

    def rows(self, records: NDArray[np.intp], projected: Array, start: float) -> Array:
        """Return noise, both directions' epsilon at it, and epsilon without unlearning, shape (m, 4).

        Parameters
        ----------
        records, projected
            Their indices and their features in the eigenbasis.
        start
            A noise to begin with, positive.
        """
        rows = np.empty((len(records), 4))
        for i, record in enumerate(records.tolist()):
            noise, epsilons, without = self.calibrate(record, projected[i, None], start)
            rows[i] = noise, *epsilons, without
            # The noise of the record before is a better start than any scale.
            start = noise if 0 < noise < math.inf else start
        return rows

    def calibrate(self, record: int, features: Array, start: float) -> tuple[float, Epsilons, float]:
        """Return the noise of one record, both directions' epsilon at it, and the larger one without unlearning."""
        reduced, _, before = reduce_with_pairs(self.setup, (record,), sigma_unlearn=start, projected=features)
        alone = before.epsilons(self.delta)
        without = max(alone)
        if without <= self.target:
            return 0.0, alone, without
        if self.setup.n_unlearn == 0:
            return math.inf, alone, without
        noise, pair, epsilons = self._smallest(reduced, start)
        if math.isinf(noise):
            return noise, alone, without
        if pair.error(self.delta, max(epsilons)) > TRUNCATION_SHARE * self.target:
            larger, *_ = reduce_with_pairs(
                self.setup, (record,), sigma_unlearn=noise, first_size=reduced.size, projected=features
            )
            if larger.size > reduced.size:
                noise, pair, epsilons = self._smallest(larger, noise)
        return noise, epsilons, without

    def _smallest(self, reduced: ReducedDeletion, start: float) -> tuple[float, BoundedPair, Epsilons]:
        """Search for the noise at which log delta of the target epsilon meets its own target, then evaluate there."""
        level, target = np.array([self.target]), math.log(self.delta)

        def excess(noise: float) -> float:
            logs = reduced.bounded_pair(noise).log_deltas(level, floor=target)
            return float(max(logs[0][0], logs[1][0])) - target

        floor = noise_floor(self.setup.sigma_learn)
        noise = _smallest_passing(excess, start=start, floor=floor, share=self.share)
        if math.isinf(noise):
            return math.inf, reduced.bounded_pair(start), (math.inf, math.inf)
        if noise > floor:
            noise *= 1 + self.margin
        while True:
            pair = reduced.bounded_pair(noise)
            epsilons = pair.epsilons(self.delta)
            # Epsilon and delta are rounded up each by itself: the returned noise is one that meets the target.
            if max(epsilons) <= self.target:
                return noise, pair, epsilons
            noise *= 1 + 1e-9


def _smallest_passing(excess: Callable[[float], float], *, start: float, floor: float, share: float) -> float:
    """Return the smallest number, to a share, whose excess is at most 0; infinite if none is.

    Secant steps in the logarithm inside a bracket; ``excess`` falls. Nothing below ``floor`` is tried.
    """
    low, high, value = 0.0, math.inf, max(start, floor)
    before: tuple[float, float] | None = None
    for _ in range(200):
        gap = excess(value)
        slope = 0.0 if before is None else (gap - before[1]) / math.log(value / before[0])
        low, high = (low, value) if gap <= 0 else (value, high)
        if gap <= 0 and (value <= floor or -gap <= -slope * share):
            break
        if low > 0 and high <= low * (1 + share):
            break
        # Aim at the middle of what is tolerated.
        step = -gap / slope + share / 2 if slope < 0 else math.copysign(math.inf, gap)
        moved = value * math.exp(min(max(step, -STRETCH), STRETCH))
        if not low < moved < high:
            moved = math.sqrt(low * high)
        before, value = (value, gap), max(moved, floor)
    return high
