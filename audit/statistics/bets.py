"""The bets of an e-process: what each outcome of a pair does to each of them, and how the capital is spread over them.

In the flow: :mod:`audit.statistics.e_process` adds up what these bets win. Everything here is fixed before the pairs
are counted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Bets as shares of the largest that keeps the capital positive: fine near 0 for claims that are nearly true.
SHARES = (0.002, 0.006, 0.015, 0.03, 0.06, 0.1, 0.16, 0.24, 0.32, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)
# Without a past the few strong effects that auditing is about get most of the capital.
BLIND_WEIGHTS = (0.02,) * 4 + (0.92 / 12,) * 12
# Part of the capital that ignores the past: a misleading past costs at most log(1 / 0.2) nats.
BLIND_PART = 0.2
# Rounding of sums of logarithms is below this for up to 3e5 pairs; the threshold is raised by it. At 1e6 pairs rounding
# may reach three times as much, which is a share 3e-9 of the level.
SAFETY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How many pairs (x1, x0) showed each combination; x1 is the event in the world that the claim bounds."""

    only_first: float = 0
    both: float = 0
    only_second: float = 0
    neither: float = 0

    @property
    def n(self) -> float:
        """Number of pairs."""
        return self.only_first + self.both + self.only_second + self.neither

    def plus(self, other: Cells) -> Cells:
        """Return the sum."""
        return Cells(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Cells)})

    @staticmethod
    def expected(k1: float, n1: float, k0: float, n0: float) -> Cells:
        """Return the cells that independent worlds with these counts show on average, for min(n1, n0) pairs."""
        n, p1, p0 = min(n1, n0), k1 / n1, k0 / n0
        return Cells(
            only_first=n * p1 * (1 - p0),
            both=n * p1 * p0,
            only_second=n * (1 - p1) * p0,
            neither=n * (1 - p1) * (1 - p0),
        )


def growth(p1: Floats, p0: Floats, *, epsilon: float, delta: float) -> tuple[Floats, Floats]:
    """Return mean and variance of what a pair adds to the logarithm of the capital, for each event and bet.

    Parameters
    ----------
    p1, p0
        Probabilities of events in the world that the claim bounds and in the other, shape (events,).
    epsilon, delta
        The point claim that is bet against.

    Returns
    -------
    tuple
        Arrays of shape (events, bets).
    """
    rates = log_rates((float(epsilon),), delta)[:, 0]
    cells = np.stack([p1 * (1 - p0), p1 * p0, (1 - p1) * p0, (1 - p1) * (1 - p0)], axis=-1)
    mean = cells @ rates
    return mean, np.maximum(cells @ rates**2 - mean**2, 0)


def as_rows(cells: Sequence[Cells]) -> Floats:
    """Return cells as an array, shape (cells, 4)."""
    return np.array([[getattr(c, f.name) for f in fields(Cells)] for c in cells], dtype=np.float64)


@functools.lru_cache(maxsize=256)
def log_rates(epsilons: tuple[float, ...], delta: float) -> Floats:
    """Return log(1 + lambda y) for each outcome, epsilon and bet, shape (4, grid, bets)."""
    a = np.exp(-np.asarray(epsilons))[:, None]
    # lambda = share / (e^epsilon + delta), written with e^-epsilon so that no epsilon overflows.
    share = np.asarray(SHARES) / (1 + delta * a)
    ys = (a * (1 - delta), a * (1 - delta) - 1, -1 - a * delta, -a * delta)
    rates: Floats = np.stack([np.log1p(share * y) for y in ys])
    rates.setflags(write=False)
    return rates


@functools.lru_cache(maxsize=256)
def log_weights(epsilons: tuple[float, ...], delta: float, past: Cells | None) -> Floats:
    """Return the log weight of each bet, shape (grid, bets): the capital that each would have won on the past."""
    blind = np.log(np.asarray(BLIND_WEIGHTS) / math.fsum(BLIND_WEIGHTS))
    if past is None:
        weights = np.broadcast_to(blind, (len(epsilons), len(SHARES))).copy()
    else:
        won = blind + np.tensordot(as_rows([past])[0], log_rates(epsilons, delta), axes=1)
        won = won - log_sum(won)[:, None]
        weights = np.logaddexp(won + math.log1p(-BLIND_PART), blind + math.log(BLIND_PART))
    # Weights add up to at most 1, rounding included.
    weights -= SAFETY / 10
    weights.setflags(write=False)
    return weights


def log_sum(values: Floats) -> Floats:
    """Return log(sum(exp(values))) over the last axis."""
    top = values.max(axis=-1, keepdims=True)
    total: Floats = (top + np.log(np.exp(values - top).sum(axis=-1, keepdims=True)))[..., 0]
    return total
