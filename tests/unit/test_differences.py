"""Intervals for differences of rates and means, against slow oracles and other people's code."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import confint_proportions_2indep

from audit.regression.differences import compare_means, compare_rates, detectable_rise, rate_interval
from mechanisms.errors import InvalidInputError

RUNS = np.random.default_rng(5).normal(0.8, 0.03, 40)


def wilson(k: int, n: int, z: float) -> float:
    """Wilson's limit (the lower one for a negative z), solved from its definition."""
    rate = k / n
    root = math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return min(1.0, max(0.0, (rate + z * z / (2 * n) + z * root) / (1 + z * z / n)))


def slow_lower_limit(k1: int, n1: int, k0: int, n0: int, level: float) -> float:
    """Buehler's limit by brute force: every outcome, and p0 on a fine grid over all of [0, 1]."""
    z = -stats.norm.ppf(level) * math.sqrt(1 / n1 + 1 / n0) / (1 / math.sqrt(n1) + 1 / math.sqrt(n0))

    def rank(a: int, b: int) -> float:
        return wilson(a, n1, -z) - wilson(b, n0, z)

    observed = rank(k1, k0) - 1e-9
    extreme = np.array([[rank(a, b) >= observed for b in range(n0 + 1)] for a in range(n1 + 1)])
    low, high = -1.0, k1 / n1 - k0 / n0
    while high - low > 1e-5:
        d = (low + high) / 2
        p0 = np.linspace(max(0.0, -d), min(1.0, 1 - d), 801)
        one = stats.binom.pmf(np.arange(n1 + 1), n1, np.clip(p0 + d, 0, 1)[:, None])
        other = stats.binom.pmf(np.arange(n0 + 1), n0, p0[:, None])
        worst = np.einsum("ia,ab,ib->i", one, extreme.astype(float), other).max()
        low, high = (d, high) if worst <= level else (low, d)
    return low


SMALL = [(0, 9, 0, 12), (9, 9, 0, 12), (3, 9, 6, 12), (7, 9, 2, 12), (0, 9, 12, 12), (1, 15, 1, 6)]


@pytest.mark.parametrize("counts", SMALL)
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_limits_are_those_of_a_search_over_everything(counts: tuple[int, int, int, int], level: float) -> None:
    """Searching p0 in its interval only, at a level that is paid for, changes little, and hardly ever for the wider."""
    k1, n1, k0, n0 = counts
    low, high = rate_interval(*counts, level=level)
    for limit, slow in (
        (low, slow_lower_limit(k1, n1, k0, n0, level / 2)),
        (-high, slow_lower_limit(k0, n0, k1, n1, level / 2)),
    ):
        assert slow - 0.005 <= limit <= slow + 0.04


@pytest.mark.parametrize(
    "counts", [(700, 1400, 690, 1400), (40, 1000, 25, 1000), (30, 400, 150, 2000), (8000, 16000, 8100, 16000)]
)
def test_limits_are_close_to_the_score_interval_where_that_is_good(counts: tuple[int, int, int, int]) -> None:
    """Miettinen and Nurminen's interval is approximate; the exact one is wider, but hardly."""
    low, high = rate_interval(*counts, level=0.05)
    other = confint_proportions_2indep(*counts, method="score", compare="diff", alpha=0.05)
    assert low <= other[0] + 1e-3 * (other[1] - other[0])
    assert high >= other[1] - 1e-3 * (other[1] - other[0])
    assert high - low <= 1.15 * (other[1] - other[0])


def test_corners_have_their_closed_forms() -> None:
    """All against none: the worst pair of rates that add up to 1 - d is the middle one."""
    low, high = rate_interval(20, 20, 0, 20, level=0.05)
    assert low == pytest.approx(2 * 0.025 ** (1 / 40) - 1, abs=1e-3)
    assert high == 1.0
    assert rate_interval(0, 20, 20, 20, level=0.05) == (-high, -low)
    none = rate_interval(0, 1400, 0, 1400, level=0.05)
    assert none[0] == -none[1]
    assert none[1] == pytest.approx(-math.log(0.025) / 1400, rel=0.01)
    assert rate_interval(0, 1, 1, 1, level=0.05)[0] == -1.0


def test_limits_hold_the_estimate_and_shrink_with_the_level() -> None:
    for k1, k0 in itertools.product((0, 3, 30), repeat=2):
        wide, narrow = (rate_interval(k1, 30, k0, 30, level=level) for level in (0.001, 0.05))
        assert wide[0] <= narrow[0] <= (k1 - k0) / 30 <= narrow[1] <= wide[1]


@pytest.mark.parametrize(
    ("counts", "level"),
    [((5, 4, 1, 4), 0.05), ((-1, 4, 1, 4), 0.05), ((0, 0, 1, 4), 0.05), ((1, 4, 1, 4), 0.0), ((1, 4, 1, 4), 1.0)],
)
def test_bad_counts_and_levels_are_named(counts: tuple[int, int, int, int], level: float) -> None:
    with pytest.raises(InvalidInputError, match=r"counts|level"):
        rate_interval(*counts, level=level)


def test_nothing_can_be_seen_of_a_rate_that_cannot_rise() -> None:
    assert detectable_rise(40, 40, 40, level=0.05, margin=0.0) == math.inf
    assert detectable_rise(38, 40, 40, level=0.05, margin=0.02) == math.inf
    assert compare_rates(5, 100, 5, 100, level=0.05, margin=0.02).detectable > 0.02


def test_more_trials_detect_less() -> None:
    found = [detectable_rise(n // 10, n, n, level=0.05, margin=0.01) for n in (100, 1000, 10_000, 100_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.01, abs=0.006)


def test_unpaired_means_agree_with_scipy() -> None:
    other = RUNS[:15] * 1.3 - 0.2
    found = compare_means(other, RUNS, level=0.02, margin=0.0, paired=False)
    interval = stats.ttest_ind(other, RUNS, equal_var=False).confidence_interval(0.98)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.estimate == pytest.approx(other.mean() - RUNS.mean())


def test_paired_means_agree_with_scipy() -> None:
    other = RUNS + np.random.default_rng(6).normal(-0.01, 0.004, len(RUNS))
    found = compare_means(other, RUNS, level=0.05, margin=0.0, paired=True)
    interval = stats.ttest_rel(other, RUNS).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize(("n", "level"), [(20, 0.05), (20, 0.001), (200, 0.01)])
def test_detectable_fall_agrees_with_statsmodels(n: int, level: float) -> None:
    rng = np.random.default_rng(7)
    old, noise = rng.normal(0.8, 0.05, n), rng.normal(0, 0.01, n)
    found = compare_means(old + noise, old, level=level, margin=0.03, paired=True)
    effect = TTestPower().solve_power(nobs=n, alpha=level / 2, power=0.8, alternative="larger")
    assert found.detectable == pytest.approx(0.03 + effect * noise.std(ddof=1), rel=1e-4)


def test_equal_runs_have_an_interval_without_width() -> None:
    found = compare_means(RUNS, RUNS, level=0.05, margin=0.01, paired=True)
    assert (found.estimate, found.low, found.high, found.detectable) == (0.0, 0.0, 0.0, 0.01)
    assert compare_means([1.0] * 5, [1.0] * 7, level=0.05, margin=0.01, paired=False).low == 0.0


@pytest.mark.parametrize(("sides", "paired"), [(([1.0], [1.0, 2.0]), False), (([1.0, 2.0], [1.0, 2.0, 3.0]), True)])
def test_too_few_runs_are_refused(sides: tuple[list[float], list[float]], paired: bool) -> None:
    with pytest.raises(InvalidInputError, match="at least two a side"):
        compare_means(*sides, level=0.05, margin=0.01, paired=paired)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_levels_out_of_range_are_refused_everywhere(level: float) -> None:
    for call in (
        lambda: compare_means([1.0, 2.0], [1.0, 3.0], level=level, margin=0.0, paired=True),
        lambda: detectable_rise(3, 10, 10, level=level, margin=0.0),
    ):
        with pytest.raises(InvalidInputError, match=r"level"):
            call()
