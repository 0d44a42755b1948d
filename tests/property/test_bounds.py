"""Properties of the bounds over random counts.

What is provable. The p-value does not increase in k1 (the interval for p0 stays, the region shrinks), so neither
does any bound decrease; the computed p-value is within 0.5 % of its supremum, which is what the slack is for. That a
bound shrinks in k0 moves the interval too and is not proved: it is a tested property, as is "more data at equal
rates never lowers a bound", where the test is discrete. The ceiling and the swap of worlds are exact.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.records.counts import Counts
from audit.statistics.bounds import (
    NullRange,
    ceiling,
    clopper_pearson,
    clopper_pearson_bound,
    exact_joint_bound,
    exact_joint_p_value,
    exact_joint_rejects,
    score_statistic,
)
from audit.statistics.joint_test import largest_probability, rejection_region
from mechanisms.claim import Direction, EpsilonDelta

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
DELTAS = st.sampled_from([0.0, 1e-5, 0.01, 0.2])
LEVELS = st.sampled_from([0.1, 0.05, 0.01, 1e-3])
EPSILONS = st.floats(0, 6)
# The computed p-value is within 0.5 % of the supremum, and the bound within 0.05 % of the end of the run.
SLACK = 1.006
BOUND_SLACK = 5e-3


@st.composite
def tables(draw: st.DrawFn, largest: int = 300, separated: bool = False) -> Counts:
    n1, n0 = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    k1 = draw(st.integers(0, n1))
    k0 = draw(st.integers(0, k1 * n0 // n1 if separated else n0))
    return Counts(k_unlearned=k1, n_unlearned=n1, k_retrained=k0, n_retrained=n0)


def changed(table: Counts, *, k1: int = 0, k0: int = 0) -> Counts:
    return Counts(
        k_unlearned=min(table.k_unlearned + k1, table.n_unlearned),
        n_unlearned=table.n_unlearned,
        k_retrained=min(table.k_retrained + k0, table.n_retrained),
        n_retrained=table.n_retrained,
    )


def times(table: Counts, m: int) -> Counts:
    return Counts(
        k_unlearned=m * table.k_unlearned,
        n_unlearned=m * table.n_unlearned,
        k_retrained=m * table.k_retrained,
        n_retrained=m * table.n_retrained,
    )


def swapped(table: Counts) -> Counts:
    return Counts(
        k_unlearned=table.k_retrained,
        n_unlearned=table.n_retrained,
        k_retrained=table.k_unlearned,
        n_retrained=table.n_unlearned,
    )


@settings(deadline=None, max_examples=150)
@given(tables(), EPSILONS, DELTAS, LEVELS, st.integers(1, 20))
@example(Counts(k_unlearned=4, n_unlearned=4, k_retrained=2, n_retrained=73), 1.5, 0.2, 0.1, 1)
def test_p_value_falls_with_k1_and_rises_with_k0_and_the_claim(
    table: Counts, epsilon: float, delta: float, level: float, more: int
) -> None:
    def p(counts: Counts, epsilon: float = epsilon) -> float:
        point = EpsilonDelta(epsilon=epsilon, delta=delta)
        return exact_joint_p_value(counts, point=point, direction=FORWARD, level=level)

    assert 0 < min(1e-4, level / 100) <= p(table) <= 1
    assert p(changed(table, k1=more)) <= p(table) * SLACK
    rarer = changed(table, k0=more)
    assert (
        p(rarer)
        >= p_value_over_the_interval_of(rarer, table, EpsilonDelta(epsilon=epsilon, delta=delta), level) / SLACK
    )


def p_value_over_the_interval_of(other: Counts, table: Counts, point: EpsilonDelta, level: float) -> float:
    """The p-value of a table with the supremum over its own interval for p0 cut at the lower end of another one's.

    More events of the null world enlarge the rejection region, but they also move the interval up: what was the
    supremum below its new end is given up, which Berger and Boos pay for with gamma.
    """
    k1, n1, k0, n0 = table.oriented(FORWARD)
    z = float(score_statistic(k1, n1, k0, n0, epsilon=point.epsilon, delta=point.delta))
    own, moved = (NullRange.of(k, n0, point=point, level=level) for k in (k0, other.oriented(FORWARD)[2]))
    low = max(own.low, moved.low)
    if z < 1e-6 or low >= own.high:
        return exact_joint_p_value(table, point=point, direction=FORWARD, level=level) if z < 1e-6 else 0.0
    region = rejection_region(z * (1 - 1e-7), n1=n1, n0=n0, epsilon=point.epsilon, delta=point.delta, window=own.window)
    largest = largest_probability(region, low=low, high=own.high, epsilon=point.epsilon, delta=point.delta)
    return min(1.0, largest + own.spent)


@settings(deadline=None, max_examples=25)
@given(tables(largest=120, separated=True), DELTAS, LEVELS, st.integers(1, 10))
@example(Counts(k_unlearned=100, n_unlearned=100, k_retrained=0, n_retrained=100), 0.0, 0.05, 1)
@example(Counts(k_unlearned=1, n_unlearned=1, k_retrained=0, n_retrained=120), 0.01, 0.1, 1)
def test_exact_bound_grows_with_k1_shrinks_with_k0_and_respects_the_ceiling(
    table: Counts, delta: float, level: float, more: int
) -> None:
    def bound(counts: Counts) -> float:
        return exact_joint_bound(counts, delta=delta, direction=FORWARD, level=level)

    here = bound(table)
    assert 0 <= here <= ceiling(n_null=table.n_retrained, level=level, delta=delta)
    if here > 0:
        point = EpsilonDelta(epsilon=here, delta=delta)
        assert exact_joint_rejects(table, point=point, direction=FORWARD, level=level)
    assert bound(changed(table, k1=more)) >= here - BOUND_SLACK
    assert bound(changed(table, k0=more)) <= here + BOUND_SLACK


@settings(deadline=None, max_examples=20)
@given(tables(largest=100, separated=True), DELTAS, LEVELS, st.integers(2, 4))
def test_more_data_at_equal_rates_hardly_ever_lowers_the_exact_bound(
    table: Counts, delta: float, level: float, m: int
) -> None:
    def bound(counts: Counts) -> float:
        return exact_joint_bound(counts, delta=delta, direction=FORWARD, level=level)

    assert bound(times(table, m)) >= bound(table) - 0.02


@settings(deadline=None, max_examples=15)
@given(tables(largest=100, separated=True), DELTAS, LEVELS)
def test_swapping_the_worlds_swaps_the_bounds(table: Counts, delta: float, level: float) -> None:
    for bound in (exact_joint_bound, clopper_pearson_bound):
        forward = bound(table, delta=delta, direction=FORWARD, level=level)
        assert forward == bound(swapped(table), delta=delta, direction=BACKWARD, level=level)


@given(tables(largest=10**6), DELTAS, st.sampled_from([0.1, 0.01, 1e-6, 1e-10]), st.integers(1, 50))
def test_separate_intervals_are_monotone_and_respect_the_ceiling(
    table: Counts, delta: float, level: float, more: int
) -> None:
    def bound(counts: Counts) -> float:
        return clopper_pearson_bound(counts, delta=delta, direction=FORWARD, level=level)

    here = bound(table)
    assert 0 <= here <= ceiling(n_null=table.n_retrained, level=level, delta=delta)
    assert bound(changed(table, k1=more)) >= here - 1e-12
    assert bound(changed(table, k0=more)) <= here + 1e-12
    assert bound(times(table, 2)) >= here - 1e-12


@given(st.integers(1, 10**6), st.floats(0, 1), st.sampled_from([0.1, 0.01, 1e-6, 1e-10]))
def test_clopper_pearson_holds_the_rate_and_mirrors(n: int, share: float, level: float) -> None:
    k = int(share * n)
    low, high = clopper_pearson(k, n, level=level)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = clopper_pearson(n - k, n, level=level)
    np.testing.assert_allclose([low, high], [1 - mirrored[1], 1 - mirrored[0]], rtol=1e-6, atol=1e-12)


@given(tables(largest=10**6), st.floats(0, 60), st.floats(0, 1))
def test_score_is_finite_and_has_the_sign_of_the_violation(table: Counts, epsilon: float, delta: float) -> None:
    k1, n1, k0, n0 = table.oriented(FORWARD)
    z = float(score_statistic(k1, n1, k0, n0, epsilon=epsilon, delta=delta))
    violation = k1 / n1 - math.exp(epsilon) * k0 / n0 - delta
    assert math.isfinite(z)
    assert z * violation >= -1e-12
