"""Coverage of the bands and of the bound that rests on them, by simulation, two-sided where it can be."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.statistics import bands
from audit.statistics.bands import band_bound, band_ends
from mechanisms.claim import Direction
from tests.statistical.budget import binomial_limits

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
Floats = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, int], Floats]


@pytest.mark.parametrize(("n", "level"), [(10, 0.2), (100, 0.05), (1000, 0.025)])
def test_band_holds_all_probabilities_at_once_as_often_as_it_says(n: int, level: float) -> None:
    rng = np.random.default_rng(n)
    replicates = 4000
    low, high = band_ends(n, level=level)
    draws = np.sort(rng.random((replicates, n)), axis=1)
    k = np.arange(1, n + 1)
    # k draws are at or below U_(k), and k - 1 below it.
    missed = int(((draws < low[k]) | (draws > high[k - 1])).any(axis=1).sum())
    at_least, at_most = binomial_limits(replicates, level)
    assert at_least <= missed <= at_most


def test_ties_only_make_the_band_safer() -> None:
    rng = np.random.default_rng(12)
    n, level, replicates = 100, 0.1, 3000
    low, high = band_ends(n, level=level)
    cells = np.sort(rng.integers(0, 7, (replicates, n)), axis=1)
    missed = np.zeros(replicates, dtype=bool)
    for cell in range(7):
        k = (cells <= cell).sum(axis=1)
        missed |= (low[k] > (cell + 1) / 7) | (high[k] < (cell + 1) / 7)
    assert 0 < missed.sum() <= binomial_limits(replicates, level)[1]


def laplace(shift: float) -> Sampler:
    return lambda rng, n: rng.laplace(shift, 1.0, n)


def whole_laplace(shift: float) -> Sampler:
    return lambda rng, n: np.floor(rng.laplace(shift, 1.0, n))


def rare(probability: float) -> Sampler:
    return lambda rng, n: (rng.random(n) < probability).astype(np.float64)


def normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.standard_normal(n)


# Law of each world, the exact epsilon at delta, delta, trials, the direction, and the least false-alarm
# rate to expect. Every claim is met with equality by events of probability above .05. With many more trials in the
# left world only the band of the right one can miss, and it gets half of the level.
BOUNDARY = [
    (normal, normal, 0.0, 0.0, (8000, 50), FORWARD, 0.006),
    (normal, normal, 0.0, 0.0, (50, 8000), BACKWARD, 0.006),
    (laplace(1.0), laplace(0.0), 1.0, 0.0, (8000, 60), FORWARD, 0.0),
    (whole_laplace(1.0), whole_laplace(0.0), 1.0, 0.0, (8000, 60), FORWARD, 0.0),
    (rare(0.2 * math.e + 0.1), rare(0.2), 1.0, 0.1, (8000, 300), FORWARD, 0.0),
    (laplace(1.0), laplace(0.0), 1.0, 0.0, (300, 300), BACKWARD, 0.0),
]


@functools.cache
def shared_ends(n: int, *, level: float) -> tuple[Floats, Floats]:
    return band_ends(n, level=level)


def false_alarms(case: int, replicates: int, level: float) -> int:
    left, right, epsilon, delta, (n1, n0), direction, _ = BOUNDARY[case]
    rng = np.random.default_rng([case, replicates])
    return sum(
        band_bound(left(rng, n1), right(rng, n0), delta=delta, direction=direction, level=level).value > epsilon
        for _ in range(replicates)
    )


@pytest.mark.parametrize("case", range(len(BOUNDARY)))
def test_bound_exceeds_the_truth_at_most_as_often_as_it_says(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "band_ends", shared_ends)
    replicates, level = 600, 0.05
    at_most = binomial_limits(replicates, level)[1]
    assert false_alarms(case, replicates, level) <= at_most


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(BOUNDARY)))
def test_bound_covers_in_many_replicates(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "band_ends", shared_ends)
    replicates, level = 4000, 0.05
    at_most, at_least = binomial_limits(replicates, level)[1], binomial_limits(replicates, BOUNDARY[case][-1])[0]
    assert at_least <= false_alarms(case, replicates, level) <= at_most


def test_intervals_that_are_not_simultaneous_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "local_level", lambda n, *, level: level)
    monkeypatch.setattr(bands, "band_ends", functools.cache(band_ends))
    assert false_alarms(0, 600, 0.05) > binomial_limits(600, 0.05)[1]


def test_bound_is_not_vacuous() -> None:
    rng = np.random.default_rng(20)
    found = [
        band_bound(rng.laplace(1, 1, 1000), rng.laplace(0, 1, 1000), delta=0.0, direction=FORWARD, level=0.05).value
        for _ in range(40)
    ]
    assert 0.6 < np.mean(found) < 0.8
