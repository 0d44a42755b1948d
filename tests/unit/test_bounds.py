"""Bounds from counts: golden corners, and slow or independent oracles."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from audit.records.counts import Counts
from audit.statistics.bounds import (
    NullRange,
    ceiling,
    clopper_pearson,
    clopper_pearson_bound,
    exact_joint_bound,
    exact_joint_p_value,
    exact_joint_rejects,
)
from audit.statistics.joint_test import largest_probability, rejection_region
from audit.statistics.score import boundary_estimate, first_rejecting, score_statistic
from mechanisms.claim import Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
SIZES = [(1, 1), (5, 5), (7, 3), (3, 11), (12, 12)]
POINTS = [(0.0, 0.0), (0.0, 0.2), (0.5, 0.0), (0.5, 1e-5), (1.0, 0.05), (3.0, 0.3), (8.0, 1e-9)]


def counts(k1: int, n1: int, k0: int, n0: int) -> Counts:
    return Counts(k_unlearned=k1, n_unlearned=n1, k_retrained=k0, n_retrained=n0)


def p_value(k1: int, n1: int, k0: int, n0: int, epsilon: float, delta: float = 0.0, level: float = 0.05) -> float:
    point = EpsilonDelta(epsilon=epsilon, delta=delta)
    return exact_joint_p_value(counts(k1, n1, k0, n0), point=point, direction=FORWARD, level=level)


def bound(k1: int, n1: int, k0: int, n0: int, delta: float = 0.0, level: float = 0.05) -> float:
    return exact_joint_bound(counts(k1, n1, k0, n0), delta=delta, direction=FORWARD, level=level)


def slow_score(k1: int, n1: int, k0: int, n0: int, epsilon: float, delta: float) -> float:
    """The score with the likelihood's derivative bisected in plain floats."""
    c = math.exp(epsilon)
    low, high = 0.0, min(1.0, (1 - delta) / c)
    for _ in range(200):
        p = (low + high) / 2
        p1 = c * p + delta
        slope = c * (k1 - n1 * p1) * p * (1 - p) + (k0 - n0 * p) * p1 * (1 - p1)
        low, high = (p, high) if slope > 0 else (low, p)
    p1 = min(c * low + delta, 1.0)
    variance = p1 * (1 - p1) / n1 + c * c * low * (1 - low) / n0
    return (k1 / n1 - c * k0 / n0 - delta) / math.sqrt(variance) if variance > 1e-300 else 0.0


class TestClopperPearson:
    @pytest.mark.parametrize("level", [0.05, 1e-4])
    def test_agrees_with_statsmodels(self, level: float) -> None:
        for n in (1, 2, 17, 1000):
            for k in {0, 1, n // 2, n - 1, n}:
                expected = proportion_confint(k, n, alpha=level, method="beta")
                np.testing.assert_allclose(clopper_pearson(k, n, level=level), expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize(("k", "n", "level"), [(1, 200_000, 1e-6), (3, 10**6, 1e-10), (199_990, 200_000, 1e-8)])
    def test_ends_have_the_promised_tail_probabilities_in_the_far_tail(self, k: int, n: int, level: float) -> None:
        low, high = (float(end) for end in clopper_pearson(k, n, level=level))
        with mpmath.workdps(40):
            above = mpmath.betainc(k, n - k + 1, 0, mpmath.mpf(low), regularized=True)
            below = mpmath.betainc(n - k, k + 1, 0, 1 - mpmath.mpf(high), regularized=True)
        assert float(above) == pytest.approx(level / 2, rel=1e-6)
        assert float(below) == pytest.approx(level / 2, rel=1e-6)

    def test_corners(self) -> None:
        low, high = clopper_pearson([0, 10, 0, 1], [10, 10, 1, 1], level=0.1)
        np.testing.assert_allclose(low, [0, 0.05**0.1, 0, 0.05], rtol=1e-12)
        np.testing.assert_allclose(high, [1 - 0.05**0.1, 1, 0.95, 1], rtol=1e-12)

    def test_pair_bound_is_the_formula(self) -> None:
        low, high = clopper_pearson([300, 100], 1000, level=0.05)
        got = clopper_pearson_bound(counts(300, 1000, 100, 1000), delta=0.01, direction=FORWARD, level=0.05)
        assert got == pytest.approx(math.log((low[0] - 0.01) / high[1]), rel=1e-12)

    @pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
    def test_a_level_outside_its_range_is_refused(self, level: float) -> None:
        with pytest.raises(InvalidInputError, match="level"):
            clopper_pearson(1, 2, level=level)


class TestScore:
    @pytest.mark.parametrize(("epsilon", "delta"), POINTS)
    @pytest.mark.parametrize(("n1", "n0"), SIZES)
    def test_agrees_with_bisection_for_every_count(self, n1: int, n0: int, epsilon: float, delta: float) -> None:
        k1, k0 = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
        got = score_statistic(k1, n1, k0, n0, epsilon=epsilon, delta=delta)
        expected = [[slow_score(a, n1, b, n0, epsilon, delta) for b in range(n0 + 1)] for a in range(n1 + 1)]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize(("epsilon", "delta"), POINTS)
    @pytest.mark.parametrize(("n1", "n0"), [*SIZES, (40, 900), (900, 40)])
    def test_where_positive_it_rises_with_k1_and_falls_with_k0_and_epsilon(
        self, n1: int, n0: int, epsilon: float, delta: float
    ) -> None:
        k1, k0 = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
        z = np.maximum(score_statistic(k1, n1, k0, n0, epsilon=epsilon, delta=delta), 0)
        slack = 1e-8 * (1 + z)
        assert np.all(np.diff(z, axis=0) >= -slack[1:])
        assert np.all(np.diff(z, axis=1) <= slack[:, 1:])
        for step in (1e-4, 0.1, 2.0):
            assert np.all(score_statistic(k1, n1, k0, n0, epsilon=epsilon + step, delta=delta) <= z + slack)

    def test_estimate_keeps_its_digits_at_small_probabilities_and_large_epsilon(self) -> None:
        args = [np.array(x, dtype=float) for x in ([0, 923], [479_521, 968_480], [3, 2], [9, 5])]
        c, delta = np.exp([10.0, 30.0]), np.array([1e-9, 1e-2])
        got = boundary_estimate(*args, c=c, delta=delta)
        np.testing.assert_allclose(got, [2.840312248685889e-10, 2.1145894948158873e-19], rtol=1e-9)

    def test_degenerate_corners_are_zero_and_finite(self) -> None:
        assert score_statistic(0, 10, 0, 10, epsilon=1.0, delta=0.0) == 0
        assert score_statistic(7, 10, 3, 10, epsilon=0.0, delta=1.0) == 0
        assert np.isfinite(score_statistic(7, 10, 3, 10, epsilon=math.inf, delta=0.0))

    @pytest.mark.parametrize(("epsilon", "delta"), POINTS)
    @pytest.mark.parametrize(("n1", "n0"), [(12, 12), (7, 40), (40, 7)])
    def test_boundary_is_the_first_count_that_reaches_the_score(
        self, n1: int, n0: int, epsilon: float, delta: float
    ) -> None:
        k0 = np.arange(n0 + 1)
        z = score_statistic(np.arange(n1 + 1)[:, None], n1, k0, n0, epsilon=epsilon, delta=delta)
        for value in [*np.unique(z[z > 0])[::9], 0.3, 1.645]:
            first = first_rejecting(value * (1 - 1e-9), k0, n1=n1, n0=n0, epsilon=epsilon, delta=delta)
            reached = z >= value * (1 - 1e-7)
            np.testing.assert_array_equal(first, np.where(reached.any(axis=0), reached.argmax(axis=0), n1 + 1))


class TestExactJointTest:
    def test_region_rows_are_binomial_probabilities(self) -> None:
        for epsilon, window in ((0.5, (0, 40)), (5.0, (0, 3))):
            region = rejection_region(1.2, n1=50_000, n0=5_000, epsilon=epsilon, delta=1e-3, window=window)
            p0 = np.array([0.0, 1e-4, 2e-3])
            p1 = np.minimum(np.exp(epsilon) * p0 + 1e-3, 1)
            mass, tail, wider = region.rows(p0, p1)
            np.testing.assert_allclose(mass, binom.pmf(region.k0, 5_000, p0[:, None]), rtol=1e-7, atol=1e-300)
            for got, shift in ((tail, 1), (wider, 2)):
                expected = binom.sf(region.first - shift, 50_000, p1[:, None])
                np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-280)

    @pytest.mark.parametrize(
        ("k1", "n1", "k0", "n0", "epsilon", "delta"),
        [
            (20, 1000, 0, 1000, 2.1, 1e-5),
            (200, 1000, 100, 1000, 0.5, 0.0),
            (999, 1000, 3, 1000, 4.9, 0.01),
            (930, 1000, 880, 1000, 0.01, 0.0),
            (9, 9, 1, 40, 1.5, 0.05),
        ],
    )
    def test_supremum_bounds_a_fine_grid_and_is_tight(
        self, k1: int, n1: int, k0: int, n0: int, epsilon: float, delta: float
    ) -> None:
        z = float(score_statistic(k1, n1, k0, n0, epsilon=epsilon, delta=delta))
        null = NullRange.of(k0, n0, point=EpsilonDelta(epsilon=epsilon, delta=delta), level=0.05)
        region = rejection_region(z * (1 - 1e-7), n1=n1, n0=n0, epsilon=epsilon, delta=delta, window=null.window)
        p0 = np.linspace(null.low, null.high, 4001)
        mass, tail, _ = region.rows(p0, np.minimum(np.exp(epsilon) * p0 + delta, 1))
        on_grid = float((mass * tail).sum(axis=1).max())
        got = largest_probability(region, low=null.low, high=null.high, epsilon=epsilon, delta=delta)
        assert on_grid * (1 - 1e-9) <= got <= on_grid * 1.0055

    def test_settling_early_never_changes_the_decision(self) -> None:
        point = EpsilonDelta(epsilon=0.5, delta=0.01)
        for k1, k0, level in itertools.product(range(3, 31, 3), range(0, 12, 2), (0.05, 0.002)):
            table = counts(k1, 30, k0, 25)
            p = exact_joint_p_value(table, point=point, direction=FORWARD, level=level)
            assert exact_joint_rejects(table, point=point, direction=FORWARD, level=level) == (p <= level)

    def test_p_is_one_unless_the_estimate_violates_the_claim(self) -> None:
        assert p_value(0, 10, 0, 10, 0.0) == 1
        assert p_value(5, 10, 5, 10, 0.0) == 1
        assert p_value(10, 10, 10, 10, 0.0) == 1
        assert p_value(10, 10, 0, 10, 0.0, delta=1.0) == 1
        assert p_value(10, 10, 0, 10, math.inf) == 1
        assert p_value(3, 10, 0, 10, 0.0, delta=0.3) == 1
        # 8/20 - 7/20 is .05 and a rounding error.
        assert p_value(8, 20, 7, 20, 0.0, delta=0.05) == 1

    def test_gamma_is_a_floor_that_the_level_fixes(self) -> None:
        assert 1e-4 <= p_value(1000, 1000, 0, 1000, 0.0) <= 1.01e-4
        assert 1e-6 <= p_value(1000, 1000, 0, 1000, 0.0, level=1e-4) <= 1.01e-6

    def test_one_trial_a_world(self) -> None:
        # P(1/1 and 0/1) is largest at p0 = p1 = 1/2.
        assert p_value(1, 1, 0, 1, 0.0, level=0.3) == pytest.approx(0.25, abs=2e-3)
        assert bound(1, 1, 0, 1) == 0
        assert bound(1, 1, 0, 1, level=0.4) > 0

    def test_directions_swap_the_worlds(self) -> None:
        point = EpsilonDelta(epsilon=0.3, delta=0.01)
        forward = exact_joint_p_value(counts(30, 40, 10, 50), point=point, direction=FORWARD, level=0.05)
        backward = exact_joint_p_value(counts(10, 50, 30, 40), point=point, direction=BACKWARD, level=0.05)
        assert forward == backward < 0.05


class TestExactJointBound:
    def test_extreme_counts_stay_below_the_ceiling(self) -> None:
        assert ceiling(n_null=1000, level=0.05, delta=0.0) == pytest.approx(5.812, abs=1e-3)
        # 5.811: the ceiling at level - gamma. A supremum that misses the kink gives 5.98 here.
        assert 5.79 < bound(1000, 1000, 0, 1000) <= 5.811

    @pytest.mark.parametrize(("n1", "n0"), [(5, 5), (5, 200), (200, 5), (100, 100_000), (100_000, 100)])
    @pytest.mark.parametrize("delta", [0.0, 1e-5, 0.3])
    def test_unequal_extremes_stay_below_the_ceiling(self, n1: int, n0: int, delta: float) -> None:
        assert bound(n1, n1, 0, n0, delta=delta) <= ceiling(n_null=n0, level=0.05, delta=delta)

    def test_rare_event_gains_most_over_the_separate_intervals(self) -> None:
        # The p-value is .0500 at 2.089, so nothing above is a valid end of the run.
        assert bound(20, 1000, 0, 1000) == pytest.approx(2.087, abs=4e-3)
        table = counts(20, 1000, 0, 1000)
        assert clopper_pearson_bound(table, delta=0, direction=FORWARD, level=0.05) == pytest.approx(1.203, abs=1e-3)

    @pytest.mark.parametrize(
        ("k1", "k0", "delta"), [(0, 0, 0.0), (50, 50, 0.0), (100, 100, 0.0), (0, 100, 0.0), (30, 0, 0.4), (9, 5, 0.05)]
    )
    def test_no_evidence_gives_zero(self, k1: int, k0: int, delta: float) -> None:
        assert bound(k1, 100, k0, 100, delta=delta) == 0
        assert clopper_pearson_bound(counts(k1, 100, k0, 100), delta=delta, direction=FORWARD, level=0.05) == 0

    @pytest.mark.parametrize(("k1", "n1", "k0", "n0"), [(60, 100, 20, 100), (40, 50, 30, 200), (300, 400, 10, 90)])
    @pytest.mark.parametrize("delta", [0.0, 0.02])
    def test_every_epsilon_below_it_is_rejected_and_the_end_is_near(
        self, k1: int, n1: int, k0: int, n0: int, delta: float
    ) -> None:
        end = bound(k1, n1, k0, n0, delta=delta)
        assert end > 0.3
        assert all(p_value(k1, n1, k0, n0, e, delta) <= 0.05 for e in np.linspace(0, end, 60))
        assert any(p_value(k1, n1, k0, n0, e, delta) > 0.05 for e in np.linspace(end, end * 1.02, 20))

    def test_is_at_least_the_separate_intervals(self) -> None:
        for k1, k0 in [(20, 0), (60, 20), (100, 3), (200, 150)]:
            table = counts(k1, 200, k0, 200)
            separate = clopper_pearson_bound(table, delta=1e-5, direction=FORWARD, level=0.05)
            assert bound(k1, 200, k0, 200, delta=1e-5) >= separate

    def test_large_counts(self) -> None:
        # Against the normal approximation, which is accurate here.
        n, p1, p0 = 10**6, 0.6, 0.4
        spread = math.sqrt((1 - p1) / (n * p1) + (1 - p0) / (n * p0))
        normal = math.log(p1 / p0) - 1.645 * spread
        assert normal - 5e-4 < bound(int(n * p1), n, int(n * p0), n) < normal + 1e-4

    def test_bad_delta_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="delta"):
            bound(5, 10, 1, 10, delta=-0.1)


class TestCeiling:
    @pytest.mark.parametrize(
        ("n", "expected"), [(100, 3.52), (1000, 5.81), (10**4, 8.11), (10**5, 10.4), (10**6, 12.7)]
    )
    def test_published_table(self, n: int, expected: float) -> None:
        digits = len(str(expected).split(".")[1])
        assert round(ceiling(n_null=n, level=0.05, delta=0.0), digits) == expected

    def test_corners(self) -> None:
        assert ceiling(n_null=1, level=0.05, delta=1.0) == 0
        assert ceiling(n_null=1, level=0.5, delta=0.6) == 0
        with pytest.raises(InvalidInputError, match="n_null"):
            ceiling(n_null=0, level=0.05, delta=0.0)
