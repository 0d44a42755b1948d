"""Independence checks as pure functions: equal releases, neighbouring trials, noise of consecutive steps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from audit.trials import independence
from audit.trials.independence import (
    at_extremes,
    chance_repeats,
    common_step_noise,
    fingerprints,
    n_repeated,
    ranks_of,
    strongest_lag,
)
from tests.statistical.budget import binomial_limits


def lag_one(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    return independence.lag_one(values, rng=np.random.default_rng(seed))


def distinct_rows(rows: np.ndarray) -> int:
    return len({row.tobytes() for row in np.ascontiguousarray(rows)})


@pytest.mark.parametrize("width", [1, 2, 3, 16, 65, 650])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_fingerprints_repeat_exactly_where_releases_do(width: int, dtype: type) -> None:
    """Against a slow oracle, for numbers stored with many trailing zero bits as well."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3000, width)).astype(dtype).astype(np.float64)
    rows = np.concatenate([rows, rows[rng.integers(0, 3000, 40)]])
    assert n_repeated(fingerprints(rows)) == len(rows) - distinct_rows(rows)


def test_fingerprints_see_every_coordinate() -> None:
    rows = np.tile(np.random.default_rng(0).normal(size=200), (201, 1))
    rows[np.arange(200), np.arange(200)] += 1e-9 * np.arange(1, 201)
    assert n_repeated(fingerprints(rows)) == 0


def test_fingerprints_of_both_memory_orders_are_those_of_the_release() -> None:
    stored = np.random.default_rng(0).normal(size=(50, 10, 65))
    seen = stored.transpose(0, 2, 1)
    assert n_repeated(np.concatenate([fingerprints(seen), fingerprints(seen[7:9])])) == 2
    np.testing.assert_array_equal(fingerprints(np.array([[0.0]])), fingerprints(np.array([[-0.0]])))


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_every_lag_has_the_moments_of_the_permutation_law(lag: int) -> None:
    """Every order of a few ranks, in place of the formula."""
    n = 7
    x = np.arange(1, n + 1) - (n + 1) / 2
    products = [sum(p[i] * p[i - lag] for i in range(n)) for p in itertools.permutations(x)]
    s2, s4 = float(np.sum(x**2)), float(np.sum(x**4))
    mean = -s2 / (n - 1)
    variance = (s2**2 - s4) / (n - 1) + (s2**2 - 2 * s4) / ((n - 1) * (n - 2)) - mean**2
    assert np.mean(products) == pytest.approx(mean, rel=1e-12)
    assert np.var(products) == pytest.approx(variance, rel=1e-12)


def test_lags_are_those_of_a_plain_loop() -> None:
    values = np.random.default_rng(0).normal(size=41)
    ranks = np.argsort(np.argsort(values)) - 20.0
    products = [sum(ranks[i] * ranks[i - lag] for i in range(41)) for lag in range(1, 21)]
    mean = -np.sum(ranks**2) / 40
    lag, correlation, p_value = strongest_lag(values, 99, rng=np.random.default_rng(0))
    assert lag == 1 + int(np.argmax(np.abs(np.array(products) - mean)))
    assert correlation == pytest.approx(products[lag - 1] / np.sum(ranks**2))
    assert p_value <= 1
    assert strongest_lag(values, 1, rng=np.random.default_rng(0))[1] == pytest.approx(products[0] / np.sum(ranks**2))


def test_ties_are_broken_by_chance_and_by_the_seed_alone() -> None:
    values = np.repeat([3.0, 1.0, 2.0], 4)
    ranks = [ranks_of(values, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(ranks[0], ranks[1])
    assert not np.array_equal(ranks[0], ranks[2])
    for found in ranks:
        assert sorted(found) == list(range(1, 13))
        assert sorted(found[:4]) == [9, 10, 11, 12]
    assert len(ranks_of(np.ones(30), rng=np.random.default_rng(0))) == 0


@pytest.mark.parametrize(
    ("n", "rare"),
    [(200, 2), (1000, 5), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((300, 3), (500, 4)))],
)
def test_rare_ties_do_not_alarm(n: int, rare: int) -> None:
    """Before: 0.4 to 2 % of alarms at 1e-6, for two rare values side by side, so 8 of 2,000 at least."""
    rng = np.random.default_rng(rare)
    hits = 0
    for _ in range(2000):
        values = np.zeros(n)
        values[rng.integers(0, n, rare)] = 1.0
        hits += independence.lag_one(values, rng=rng)[1] <= 1e-6
    assert hits == 0


def test_lag_one_takes_last_digits_for_ties() -> None:
    """Which digits a sum ends with depends on the place in a chunk, in runs."""
    values = np.repeat([1.0, 1.0 + 2.0**-50], 200)
    assert lag_one(values) == (0.0, 1.0)
    assert lag_one(np.repeat([1.0, 1.1], 200))[1] < 1e-6


def test_lag_one_is_silent_for_independent_values_of_any_law() -> None:
    rng = np.random.default_rng(2)
    laws = (rng.normal, lambda size: rng.standard_cauchy(size), lambda size: rng.integers(0, 3, size).astype(float))
    replicates, level = 2000, 0.01
    for law in laws:
        hits = sum(lag_one(law(size=60))[1] <= level for _ in range(replicates))
        low, high = binomial_limits(replicates, level)
        assert low <= hits <= high


def test_lag_one_never_alarms_for_few_values_and_always_for_an_autoregression() -> None:
    rng = np.random.default_rng(3)
    assert lag_one(np.arange(19.0)) == (0.0, 1.0)
    assert lag_one(np.ones(500)) == (0.0, 1.0)
    noise = rng.normal(size=700)
    series = np.zeros(700)
    for i in range(1, 700):
        series[i] = 0.4 * series[i - 1] + noise[i]
    correlation, p_value = lag_one(series)
    assert correlation == pytest.approx(0.4, abs=0.12)
    assert p_value < 1e-9
    # Any increasing map leaves the answer alone.
    assert lag_one(np.exp(series)) == (correlation, p_value)


@pytest.mark.parametrize("decimals", [2, 3, 4, 5])
def test_rounded_independent_values_are_within_what_chance_explains(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    for n in (50, 300, 3000):
        rows = np.round(rng.normal(size=(n, 1)), decimals)
        assert n - distinct_rows(rows) <= chance_repeats(rows)


def test_repeated_models_are_beyond_chance() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(150, 1))
    doubled = np.concatenate([rows, rows[:75]])
    assert n_repeated(fingerprints(doubled)) == 75 > chance_repeats(doubled)
    assert chance_repeats(np.ones((40, 1))) == 40
    assert at_extremes(np.array([[0.0], [0.0], [0.3], [1.0]])).tolist() == [True, True, False, True]


def test_gaps_of_any_size_are_compared_in_silence() -> None:
    """Of a damaged file, whose values are hundreds of decades apart: a gap is then no multiple of the smallest."""
    steep = np.array([1 / 3, np.nextafter(1 / 3, 1), 2 / 3, 1e300])
    rows = np.repeat(np.append(np.random.default_rng(6).normal(size=60), steep), 2)[:, None]
    assert 0 <= chance_repeats(rows) < 60


def walk(n: int, d: int, *, contraction: float, same: bool, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first, paths = rng.normal(size=(n, d)), [np.ones((n, d))]
    for _ in range(4):
        paths.append(contraction * paths[-1] + (first if same else rng.normal(size=(n, d))))
    return np.stack(paths, axis=1)


@pytest.mark.parametrize("d", [1, 3, 100])
@pytest.mark.parametrize("contraction", [0.2, 0.9, 1.0])
def test_noise_that_is_used_twice_shows_in_every_pair(d: int, contraction: float) -> None:
    cosines = common_step_noise(walk(40, d, contraction=contraction, same=True))
    assert cosines is not None
    np.testing.assert_allclose(cosines, 1.0)


@pytest.mark.parametrize("contraction", [0.0, 0.5, 0.9, 1.0])
def test_fresh_noise_is_positive_in_at_most_half_of_the_pairs(contraction: float) -> None:
    pairs = 4000
    cosines = common_step_noise(walk(2 * pairs, 5, contraction=contraction, same=False))
    assert cosines is not None
    _, most = binomial_limits(pairs, 0.5)
    assert int(np.sum(cosines > 0)) <= most


def test_step_noise_of_nothing_to_compare() -> None:
    paths = walk(10, 4, contraction=0.9, same=False)
    assert common_step_noise(paths[:, :2]) is None
    assert common_step_noise(paths[:1]) is None
    assert common_step_noise(np.ones((10, 4, 3))) is None
    assert common_step_noise(paths + np.arange(10)[:, None, None]) is None
    assert common_step_noise(np.zeros((4, 3))) is None


def test_the_number_of_pairs_keeps_the_false_alarm_level() -> None:
    from audit.trials.independence import FALSE_ALARM

    checks = 6
    pairs = math.ceil(math.log2(checks / FALSE_ALARM))
    assert checks * 0.5**pairs <= FALSE_ALARM
