"""Coverage of the intervals that comparisons rest on, and of what they say they could have seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from audit.regression.differences import compare_means, detectable_rise, rate_interval
from tests.statistical.budget import binomial_limits


@pytest.mark.parametrize(
    ("n1", "n0", "level"),
    [
        (12, 5, 0.05),
        (7, 9, 0.002),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((8, 8, 0.05), (9, 14, 0.002))),
    ],
)
def test_rate_intervals_cover_by_enumeration(n1: int, n0: int, level: float) -> None:
    """Every outcome counted, no simulation: each end is wrong with probability at most level / 2, and not far below."""
    ends = np.array([[rate_interval(k1, n1, k0, n0, level=level) for k0 in range(n0 + 1)] for k1 in range(n1 + 1)])
    rates = np.linspace(0.004, 0.996, 63)
    mass1, mass0 = (binom.pmf(np.arange(n + 1), n, rates[:, None]) for n in (n1, n0))
    missed_low, missed_high = (np.zeros((len(rates), len(rates))) for _ in range(2))
    for i, p1 in enumerate(rates):
        for j, p0 in enumerate(rates):
            missed_low[i, j] = mass1[i] @ (ends[..., 0] > p1 - p0) @ mass0[j]
            missed_high[i, j] = mass1[i] @ (ends[..., 1] < p1 - p0) @ mass0[j]
    for missed in (missed_low, missed_high):
        assert 0.9 * level / 2 <= missed.max() <= level / 2


@pytest.mark.parametrize(
    ("n1", "p1", "n0", "p0", "level"),
    [
        pytest.param(400, 0.50, 500, 0.50, 0.05, marks=pytest.mark.slow),
        pytest.param(2000, 0.03, 1400, 0.02, 0.05, marks=pytest.mark.slow),
        pytest.param(300, 0.95, 900, 0.10, 0.02, marks=pytest.mark.slow),
    ],
)
def test_rate_intervals_cover_and_are_not_vacuous(n1: int, p1: float, n0: int, p0: float, level: float) -> None:
    repeats = 400
    rng = np.random.default_rng(11)
    pairs, times = np.unique(
        np.column_stack([rng.binomial(n1, p1, repeats), rng.binomial(n0, p0, repeats)]), axis=0, return_counts=True
    )
    missed = 0
    for (k1, k0), n in zip(pairs.tolist(), times.tolist(), strict=True):
        low, high = rate_interval(k1, n1, k0, n0, level=level)
        missed += 0 if low <= p1 - p0 <= high else n
        assert high - low < 8 * np.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    assert missed <= binomial_limits(repeats, level)[1]


@pytest.mark.parametrize("paired", [True, False])
def test_mean_intervals_cover_on_accuracies(paired: bool) -> None:
    """Accuracies on 297 records of models that differ themselves: near normal, not normal."""
    repeats, runs = 4000, 20
    rng = np.random.default_rng(12)
    skill = rng.beta(60, 15, (repeats, runs))
    other = skill if paired else rng.beta(60, 15, (repeats, runs))
    old, new = rng.binomial(297, skill) / 297, rng.binomial(297, np.clip(other - 0.02, 0, 1)) / 297
    missed = 0
    for a, b in zip(new, old, strict=True):
        found = compare_means(a, b, level=0.05, margin=0.01, paired=paired)
        missed += not found.low <= -0.02 <= found.high
    low, high = binomial_limits(repeats, 0.05)
    assert low <= missed <= high


@pytest.mark.parametrize(
    ("n", "rate", "margin"),
    [pytest.param(*case, marks=pytest.mark.slow) for case in ((400, 0.5, 0.02), (1400, 0.1, 0.0))],
)
def test_what_could_have_been_seen_is_seen_about_that_often(n: int, rate: float, margin: float) -> None:
    """The power at the detectable rise is 0.8, about: 0.7 to 0.9 with the simulation's own error."""
    level, repeats = 0.01, 200
    rise = detectable_rise(round(n * rate), n, n, level=level, margin=margin)
    rng = np.random.default_rng(13)
    seen = sum(
        rate_interval(k1, n, k0, n, level=level)[0] > margin
        for k1, k0 in zip(
            rng.binomial(n, rate + rise, repeats).tolist(), rng.binomial(n, rate, repeats).tolist(), strict=True
        )
    )
    assert binomial_limits(repeats, 0.7)[0] <= seen <= binomial_limits(repeats, 0.9)[1]
