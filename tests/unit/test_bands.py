"""Bands: the exact recursion against oracles, the shipped table, and bounds against a loop over all events."""

from __future__ import annotations

import json
import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaincinv

from audit.records.counts import Counts
from audit.statistics.bands import BandPair, band_bound, band_ends, band_p_value, band_rejects, local_level
from audit.statistics.bounds import ceiling, clopper_pearson
from benchmarks.band_levels import TABLE, coverage, crossing
from mechanisms.claim import Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
Floats = NDArray[np.float64]


def determinant(n: int, level: float) -> float:
    """Steck's determinant for the probability that all uniform order statistics are in their intervals."""
    i = np.arange(1, n + 1, dtype=np.float64)
    low = betaincinv(i, n - i + 1, level / 2)
    with mpmath.workdps(60 + n):
        a, b = [mpmath.mpf(x) for x in low], [mpmath.mpf(x) for x in 1 - low[::-1]]
        matrix = mpmath.matrix(n, n)
        for row in range(n):
            for column in range(max(row - 1, 0), n):
                power = column - row + 1
                matrix[row, column] = max(b[row] - a[column], 0) ** power / mpmath.factorial(power)
        return float(mpmath.factorial(n) * mpmath.det(matrix))


class TestRecursion:
    @pytest.mark.parametrize("level", [0.3, 0.05, 1e-3])
    def test_one_draw_by_hand(self, level: float) -> None:
        assert coverage(1, level) == pytest.approx(1 - level, abs=1e-15)

    @pytest.mark.parametrize("level", [0.3, 0.05, 1e-3])
    def test_two_draws_by_hand(self, level: float) -> None:
        # U_(1) in [a, b] and U_(2) in [c, d], with a < c < b < d: integrate d - max(u, c) over u in [a, b], twice.
        a, b = 1 - math.sqrt(1 - level / 2), 1 - math.sqrt(level / 2)
        c, d = math.sqrt(level / 2), math.sqrt(1 - level / 2)
        by_hand = 2 * ((c - a) * (d - c) + d * (b - c) - (b * b - c * c) / 2)
        assert coverage(2, level) == pytest.approx(by_hand, abs=1e-14)

    @pytest.mark.parametrize(
        ("n", "level"),
        [(3, 0.2), (7, 0.05), (20, 0.01), (21, 0.3), (45, 1e-3), pytest.param(70, 1e-5, marks=pytest.mark.slow)],
    )
    def test_against_a_determinant_in_high_precision(self, n: int, level: float) -> None:
        assert coverage(n, level) == pytest.approx(determinant(n, level), abs=3e-14)
        assert crossing(n, level) >= 1 - determinant(n, level)


class TestTable:
    @pytest.mark.parametrize("n", [1, 10, 250, 1000, 10_000])
    @pytest.mark.parametrize("level", [0.05, 0.025, 0.2 / 3, 0.2 / 256])
    def test_entries_are_exact(self, n: int, level: float) -> None:
        raw = json.loads(TABLE.read_text(encoding="utf-8"))
        row = raw["local_levels"][raw["sizes"].index(n)]
        column = int(np.argmin(np.abs(np.array(raw["levels"]) - level)))
        assert raw["levels"][column] == pytest.approx(level)
        # The union bound is a hair better for one draw only: the table is rounded.
        assert local_level(n, level=raw["levels"][column]) == max(row[column], raw["levels"][column] / n)
        assert 0.998 * level <= crossing(n, row[column]) <= raw["levels"][column]

    def test_neighbours_are_conservative_at_random_sizes_and_levels(self) -> None:
        rng = np.random.default_rng(3)
        for n, level in zip(np.exp(rng.uniform(0, math.log(5000), 40)), 10 ** rng.uniform(-5, -0.8, 40), strict=True):
            crossed = crossing(int(n), local_level(int(n), level=level))
            assert 0.6 * level <= crossed <= level + 1e-12

    def test_levels_fall_with_the_size_and_rise_with_the_level(self) -> None:
        raw = json.loads(TABLE.read_text(encoding="utf-8"))
        table = np.array(raw["local_levels"], dtype=np.float64)
        assert np.all(np.diff(raw["sizes"]) > 0)
        assert raw["sizes"][-1] == 1_000_000
        assert np.all(np.diff(raw["levels"]) < 0)
        complete = table[:, ~np.isnan(table[-1])]
        assert complete.shape[1] == 10
        assert np.all(np.diff(complete, axis=0) < 0)
        small = table[np.array(raw["sizes"]) <= 100_000]
        assert not np.isnan(small).any()
        assert np.all(np.diff(small, axis=0) < 0)
        assert np.all(np.diff(small, axis=1) < 0)

    @pytest.mark.slow
    def test_the_size_lowers_the_exact_level_everywhere_up_to_two_hundred(self) -> None:
        # At the level of n draws, n + 1 draws are crossed more often: so the level of n + 1 is smaller.
        for level in (0.2, 0.025, 1e-4):
            eta = local_level(200, level=level)
            crossed = [crossing(n, eta) for n in range(1, 202)]
            assert np.all(np.diff(crossed) > 0)

    def test_beyond_the_table_the_union_bound_remains(self) -> None:
        assert local_level(2_000_000, level=0.05) == 0.05 / 2_000_000
        assert local_level(40, level=1e-9) == 1e-9 / 40
        # Above the largest level its row is used.
        assert local_level(200, level=0.9) == local_level(200, level=0.2) > 0.9 / 200
        assert local_level(1, level=0.9) == 0.9

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="level"):
            local_level(10, level=0.0)
        with pytest.raises(InvalidInputError, match="n to be"):
            local_level(0, level=0.1)


def naive(unlearned: Floats, retrained: Floats, delta: float, direction: Direction, level: float) -> float:
    """Loop over every event with a single interval each, at the local levels."""
    n, m = len(unlearned), len(retrained)
    best = 0.0
    for threshold in [*unlearned, *retrained]:
        for event in (np.greater, np.greater_equal, np.less, np.less_equal):
            k = {"u": int(event(unlearned, threshold).sum()), "r": int(event(retrained, threshold).sum())}
            table = Counts(k_unlearned=k["u"], n_unlearned=n, k_retrained=k["r"], n_retrained=m)
            k1, n1, k0, n0 = table.oriented(direction)
            low, _ = clopper_pearson(k1, n1, level=local_level(n1, level=level / 2))
            _, high = clopper_pearson(k0, n0, level=local_level(n0, level=level / 2))
            if low > delta:
                best = max(best, math.log((low - delta) / high))
    return best


class TestBound:
    def test_ends_are_clopper_pearson_at_the_local_level(self) -> None:
        low, high = band_ends(120, level=0.05)
        expected = clopper_pearson(np.arange(121), 120, level=local_level(120, level=0.05))
        np.testing.assert_allclose(low, expected[0], rtol=1e-12)
        np.testing.assert_allclose(high, expected[1], rtol=1e-12)

    @pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
    @pytest.mark.parametrize("decimals", [0, 1, 8])
    @pytest.mark.parametrize(("n", "m", "delta"), [(60, 60, 0.0), (80, 40, 0.01), (30, 90, 0.05)])
    def test_against_a_loop_over_all_events(
        self, n: int, m: int, delta: float, decimals: int, direction: Direction
    ) -> None:
        rng = np.random.default_rng([n, m, decimals])
        unlearned, retrained = rng.normal(1.5, 1.3, n).round(decimals), rng.normal(0, 1, m).round(decimals)
        got = band_bound(unlearned, retrained, delta=delta, direction=direction, level=0.1)
        assert got.value == pytest.approx(naive(unlearned, retrained, delta, direction, 0.1), rel=1e-9)

    def test_the_event_that_is_named_attains_the_bound(self) -> None:
        rng = np.random.default_rng(5)
        unlearned, retrained = rng.normal(0, 2, 300), rng.normal(1, 1, 200)
        for direction, tail in ((FORWARD, "lower"), (BACKWARD, "upper")):
            got = band_bound(unlearned, retrained, delta=0.01, direction=direction, level=0.05, attack="mine")
            assert (got.tail, got.level, got.delta, got.attack) == (tail, 0.05, 0.01, "mine")
            chosen = np.greater if tail == "upper" else np.less_equal
            assert got.counts.k_unlearned == chosen(unlearned, got.threshold).sum()
            assert got.counts.k_retrained == chosen(retrained, got.threshold).sum()
            k1, n1, k0, n0 = got.counts.oriented(direction)
            low, _ = clopper_pearson(k1, n1, level=local_level(n1, level=0.025))
            _, high = clopper_pearson(k0, n0, level=local_level(n0, level=0.025))
            assert got.value == pytest.approx(math.log((low - 0.01) / high))

    def test_swapping_worlds_swaps_directions_and_only_the_order_matters(self) -> None:
        rng = np.random.default_rng(6)
        unlearned, retrained = rng.normal(2, 1, 150), rng.normal(0, 1, 150)
        first = band_bound(unlearned, retrained, delta=0.0, direction=FORWARD, level=0.05)
        swapped = band_bound(retrained, unlearned, delta=0.0, direction=BACKWARD, level=0.05)
        mapped = band_bound(np.exp(unlearned), np.exp(retrained), delta=0.0, direction=FORWARD, level=0.05)
        turned = band_bound(-unlearned, -retrained, delta=0.0, direction=FORWARD, level=0.05)
        assert first.value == swapped.value == mapped.value == pytest.approx(turned.value, rel=1e-12)
        assert first.value > 0.5
        assert {first.tail, turned.tail} == {"upper", "lower"}

    def test_separated_worlds_stay_below_the_ceiling(self) -> None:
        for n in (1, 5, 100, 2000):
            got = band_bound(np.ones(n), np.zeros(n), delta=0.0, direction=FORWARD, level=0.05)
            assert got.value <= ceiling(n_null=n, level=0.05, delta=0.0)
        assert got.value > 4.5
        assert got.counts == Counts(k_unlearned=2000, n_unlearned=2000, k_retrained=0, n_retrained=2000)

    def test_infinite_scores_are_ranked(self) -> None:
        unlearned, retrained = np.r_[[math.inf] * 40, np.zeros(10)], np.r_[[-math.inf] * 40, np.zeros(10)]
        got = band_bound(unlearned, retrained, delta=0.0, direction=FORWARD, level=0.05)
        # -inf against the rest: 0 of 50 against 40 of 50.
        finite = band_bound(np.sign(unlearned), np.sign(retrained), delta=0.0, direction=FORWARD, level=0.05)
        assert got.value == finite.value > 0.5

    def test_nothing_to_see_is_zero(self) -> None:
        same = np.arange(50.0)
        for values in (same, np.zeros(50)):
            got = band_bound(values, values, delta=0.0, direction=FORWARD, level=0.05)
            assert got.value == 0
            assert not band_rejects(
                values, values, point=EpsilonDelta(epsilon=0, delta=0), direction=FORWARD, level=0.05
            )
        assert band_bound(same + 99, same, delta=1.0, direction=FORWARD, level=0.05).value == 0

    @pytest.mark.parametrize("scores", [[], [1.0, math.nan], [[1.0, 2.0]]])
    def test_unusable_scores_are_refused(self, scores: list[float]) -> None:
        with pytest.raises(InvalidInputError, match="retrained"):
            band_bound([1.0, 2.0], scores, delta=0.0, direction=FORWARD, level=0.05)

    def test_bad_delta_and_level_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="delta"):
            band_bound([1.0], [1.0], delta=-0.1, direction=FORWARD, level=0.05)
        with pytest.raises(InvalidInputError, match="level"):
            band_bound([1.0], [1.0], delta=0.1, direction=FORWARD, level=1.0)


class TestDecision:
    def test_rejects_what_the_bound_exceeds_and_nothing_else(self) -> None:
        rng = np.random.default_rng(8)
        pair = BandPair.of(rng.normal(2, 1, 400), rng.normal(0, 1, 400), level=0.05)
        value = pair.bound(delta=0.01, direction=FORWARD).value
        assert value > 1
        for factor, rejected in ((0.0, True), (1 - 1e-9, True), (1 + 1e-9, False), (math.inf, False)):
            assert pair.rejects(point=EpsilonDelta(epsilon=value * factor, delta=0.01), direction=FORWARD) == rejected

    def test_p_value_is_the_smallest_level_of_the_grid_that_rejects(self) -> None:
        rng = np.random.default_rng(9)
        unlearned, retrained = rng.normal(1, 1, 200), rng.normal(0, 1, 200)
        seen = []
        for epsilon in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 3.0):
            point = EpsilonDelta(epsilon=epsilon, delta=0.0)
            p = band_p_value(unlearned, retrained, point=point, direction=FORWARD)
            seen.append(p)
            for level in (1e-5, 1e-3, 0.01, 0.05, 0.1, 0.39):
                rejected = band_rejects(unlearned, retrained, point=point, direction=FORWARD, level=level)
                assert rejected == (p <= level)
        assert seen == sorted(seen)
        assert seen[0] < 1e-3
        assert seen[-1] == 1
        assert len(set(seen)) > 4
