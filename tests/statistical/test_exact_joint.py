"""Validity and power of the exact joint test, by enumeration wherever that is possible."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from audit.records.counts import Counts
from audit.statistics.bounds import (
    ceiling,
    clopper_pearson_bound,
    exact_joint_bound,
    exact_joint_p_value,
    exact_joint_rejects,
)
from audit.statistics.score import score_statistic
from mechanisms.claim import Direction, EpsilonDelta
from tests.statistical.budget import CHECK_LEVEL, binomial_limits

FORWARD = Direction.UNLEARNED_FROM_RETRAINED
Floats = NDArray[np.float64]
POINTS = [(0.0, 0.0), (0.5, 1e-5), (1.0, 0.05), (2.0, 0.0), (0.2, 0.3)]
FAST = [(5, 5), (12, 12), (25, 25), (9, 20), (20, 9)]
SLOW = [(40, 40), (60, 25), (25, 60)]


def counts(k1: int, n1: int, k0: int, n0: int) -> Counts:
    return Counts(k_unlearned=k1, n_unlearned=n1, k_retrained=k0, n_retrained=n0)


@functools.cache
def p_table(n1: int, n0: int, epsilon: float, delta: float, level: float) -> Floats:
    point = EpsilonDelta(epsilon=epsilon, delta=delta)
    rows = [
        [exact_joint_p_value(counts(a, n1, b, n0), point=point, direction=FORWARD, level=level) for b in range(n0 + 1)]
        for a in range(n1 + 1)
    ]
    return np.array(rows)


def probability(event: NDArray[np.bool_], p1: Floats, p0: Floats) -> Floats:
    """Probability of a set of outcomes, shape (n1 + 1, n0 + 1), at each pair."""
    n1, n0 = event.shape[0] - 1, event.shape[1] - 1
    left = binom.pmf(np.arange(n1 + 1), n1, p1[:, None])
    right = binom.pmf(np.arange(n0 + 1), n0, p0[:, None])
    total: Floats = np.einsum("ma,ab,mb->m", left, event.astype(float), right)
    return total


def boundary(epsilon: float, delta: float, size: int) -> tuple[Floats, Floats]:
    """Pairs (p1, p0) on the boundary of the null: a fine grid, dense at both ends, with the kink."""
    kink = (1 - delta) * math.exp(-epsilon)
    p0 = np.concatenate(
        [np.linspace(0, 1, size), np.geomspace(1e-6, 0.1, size // 10), kink - np.geomspace(1e-9, 1e-2, 99), [kink]]
    )
    p0 = np.unique(np.clip(p0, 0, 1))
    return np.minimum(math.exp(epsilon) * p0 + delta, 1), p0


def check_validity(n1: int, n0: int, epsilon: float, delta: float) -> float:
    """Assert that p-values are valid at every null; return the largest false-alarm rate at .05."""
    table = p_table(n1, n0, epsilon, delta, 0.05)
    p1, p0 = boundary(epsilon, delta, 2001)
    for x in (0.01, 0.05, 0.2):
        # The region is monotone, hence the boundary is the worst; half-way inside it is checked all the same.
        assert probability(table <= x, p1, p0).max() <= x
        assert probability(table <= x, p1 * 0.7, p0).max() <= x
    return float(probability(table <= 0.05, p1, p0).max())


@pytest.mark.parametrize(("epsilon", "delta"), POINTS)
@pytest.mark.parametrize(("n1", "n0"), [*FAST[:2], *(pytest.param(*n, marks=pytest.mark.slow) for n in FAST[2:])])
def test_false_alarms_are_within_the_level_at_every_null(n1: int, n0: int, epsilon: float, delta: float) -> None:
    worst = check_validity(n1, n0, epsilon, delta)
    if min(n1, n0) >= 20:
        assert worst > 0.03, "a test that never rejects is valid, and useless"


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "delta"), [*POINTS, (1.5, 0.01), (3.0, 1e-9)])
@pytest.mark.parametrize(("n1", "n0"), SLOW)
def test_false_alarms_are_within_the_level_at_every_null_slow(n1: int, n0: int, epsilon: float, delta: float) -> None:
    worst = check_validity(n1, n0, epsilon, delta)
    assert worst > 0.03 if epsilon < ceiling(n_null=n0, level=0.05, delta=delta) else worst == 0


@pytest.mark.slow
def test_p_value_is_never_below_a_much_finer_grid_and_hardly_above() -> None:
    rng = np.random.default_rng(20240607)
    checked = 0
    while checked < 25:
        n1, n0 = (int(n) for n in rng.integers(3, 80, 2))
        k1, k0 = int(rng.integers(0, n1 + 1)), int(rng.integers(0, n0 + 1))
        epsilon, delta = float(rng.choice([0, 0.2, 1, 2.5])), float(rng.choice([0, 1e-5, 0.02, 0.3]))
        z = score_statistic(np.arange(n1 + 1)[:, None], n1, np.arange(n0 + 1), n0, epsilon=epsilon, delta=delta)
        if z[k1, k0] <= 0:
            continue
        checked += 1
        p1, p0 = boundary(epsilon, delta, 20_001)
        # The interval for p0, from the definition of its ends.
        inside = (binom.cdf(k0, n0, p0) >= 0.5e-4) & (binom.sf(k0 - 1, n0, p0) >= 0.5e-4)
        naive = float(probability(z >= z[k1, k0] * (1 - 1e-9), p1[inside], p0[inside]).max(initial=0)) + 1e-4
        point = EpsilonDelta(epsilon=epsilon, delta=delta)
        got = exact_joint_p_value(counts(k1, n1, k0, n0), point=point, direction=FORWARD, level=0.05)
        assert got >= naive * (1 - 1e-9)
        # 0.5 % of branch and bound, and what the grid misses between its points and at the interval's ends.
        assert got <= naive * 1.02 + 1e-6 or got == 1


@pytest.mark.parametrize(
    ("p1", "p0", "delta", "level", "n"),
    [
        pytest.param(0.5, 0.2, 0.0, 0.05, 15, marks=pytest.mark.slow),
        (0.6, 0.2, 0.1, 0.05, 15),
        pytest.param(0.5, 0.2, 0.0, 0.05, 24, marks=pytest.mark.slow),
        pytest.param(0.7, 0.1, 0.05, 0.2, 24, marks=pytest.mark.slow),
        pytest.param(0.95, 0.4, 0.0, 0.2, 24, marks=pytest.mark.slow),
        pytest.param(0.6, 0.2, 0.1, 0.05, 24, marks=pytest.mark.slow),
    ],
)
def test_bound_covers_by_enumeration_and_is_not_vacuous(
    p1: float, p0: float, delta: float, level: float, n: int
) -> None:
    truth = math.log((p1 - delta) / p0)
    law = np.outer(binom.pmf(np.arange(n + 1), n, p1), binom.pmf(np.arange(n + 1), n, p0))
    misses = mean = 0.0
    for k1, k0 in np.argwhere(law > 1e-6):
        table = counts(int(k1), n, int(k0), n)
        value = exact_joint_bound(table, delta=delta, direction=FORWARD, level=level)
        separate = clopper_pearson_bound(table, delta=delta, direction=FORWARD, level=level)
        assert value >= separate - 2e-3
        misses += float(law[k1, k0]) * (value > truth)
        mean += float(law[k1, k0]) * value
    assert misses <= level
    assert misses >= level / 5
    assert mean >= 0.15 * truth


# (n1, n0, p0, epsilon, delta): events of probability at least .05 in both worlds.
SIMULATED = [
    (2000, 2000, 0.05, 0.5, 0.01),
    (2000, 2000, 0.3, 1.0, 0.0),
    (5000, 1000, 0.1, 2.0, 1e-5),
    (800, 4000, 0.08, 0.1, 0.05),
]


@pytest.mark.parametrize(
    ("n1", "n0", "p0", "epsilon", "delta"),
    [*SIMULATED[:1], *(pytest.param(*case, marks=pytest.mark.slow) for case in SIMULATED[1:])],
)
def test_false_alarms_by_simulation_on_the_boundary(n1: int, n0: int, p0: float, epsilon: float, delta: float) -> None:
    rng = np.random.default_rng([n1, n0])
    replicates, level, point = 1500, 0.05, EpsilonDelta(epsilon=epsilon, delta=delta)
    k1 = rng.binomial(n1, math.exp(epsilon) * p0 + delta, replicates)
    k0 = rng.binomial(n0, p0, replicates)
    rejected = sum(
        exact_joint_rejects(counts(int(a), n1, int(b), n0), point=point, direction=FORWARD, level=level)
        for a, b in zip(k1, k0, strict=True)
    )
    # Two-sided: the size is between .035 and the level at these counts, and a vacuous test fails.
    assert binomial_limits(replicates, 0.035)[0] <= rejected <= binomial_limits(replicates, level)[1]


@pytest.mark.slow
@pytest.mark.parametrize(("n1", "n0", "p0", "epsilon", "delta"), SIMULATED[:2])
def test_bound_covers_by_simulation(n1: int, n0: int, p0: float, epsilon: float, delta: float) -> None:
    rng = np.random.default_rng([n0, n1])
    replicates, level = 1000, 0.05
    k1 = rng.binomial(n1, math.exp(epsilon) * p0 + delta, replicates)
    k0 = rng.binomial(n0, p0, replicates)
    bounds = np.array(
        [
            exact_joint_bound(counts(int(a), n1, int(b), n0), delta=delta, direction=FORWARD, level=level)
            for a, b in zip(k1, k0, strict=True)
        ]
    )
    misses = int((bounds > epsilon).sum())
    assert binomial_limits(replicates, 0.03)[0] <= misses <= binomial_limits(replicates, level)[1]
    assert np.median(bounds) >= epsilon - 0.35


def test_the_budget_is_what_it_says() -> None:
    for trials, p in ((1500, 0.05), (1500, 0.03), (10_000, 0.5)):
        low, high = binomial_limits(trials, p)
        outside = binom.cdf(low - 1, trials, p) + binom.sf(high, trials, p)
        assert outside <= CHECK_LEVEL
        assert 0 <= low < trials * p < high < trials * p + 8 * math.sqrt(trials * p)
