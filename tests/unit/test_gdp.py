"""Gaussian DP against 360-digit error functions, and the safe side of both inverses."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest

from mechanisms.accounting import gdp
from mechanisms.errors import InvalidInputError

MUS = (1e-12, 1e-6, 1e-3, 0.0325, 0.5, 1.0, 1.3, 5.0, 40.0)
# Thresholds of the Gaussian score, from deep inside to a tail of 1e-300: epsilon = mu x + mu^2 / 2.
SCORES = (-1e12, -1e4, -36.0, -9.0, -8.0, -2.0, -0.5, 0.0, 1e-3, 1.0, 4.0, 10.0, 19.0, 21.0, 37.0)


def _exact_log_delta(mu: float, epsilon: float) -> mp.mpf:
    # The two terms agree in about twice as many digits as mu has zeros, and 1 - delta may be as small as e^-680.
    with mp.workdps(360 + int(2 * max(0.0, -math.log10(mu)))):
        m, e = mp.mpf(mu), mp.mpf(epsilon)
        return mp.log(mp.ncdf(m / 2 - e / m) - mp.e**e * mp.ncdf(-m / 2 - e / m))


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("score", SCORES)
def test_log_delta_is_within_its_stated_error(mu, score):
    epsilon = mu * score + mu * mu / 2
    exact = float(_exact_log_delta(mu, epsilon))
    computed = gdp.log_delta(mu, epsilon)
    assert abs(computed - exact) <= gdp.LOG_DELTA_ERROR
    assert abs(gdp.log_delta(np.array([mu]), epsilon)[0] - exact) <= gdp.LOG_DELTA_ERROR
    assert gdp.delta(mu, epsilon) == pytest.approx(math.exp(computed), rel=1e-15)


@pytest.mark.parametrize(
    ("delta", "table"),
    [
        # Four digits, from independent tables of the Gaussian mechanism.
        (1e-5, {0.1: 0.0325, 0.5: 0.1422, 1.0: 0.2681, 2.0: 0.5016, 5.0: 1.121, 10.0: 2.000}),
        (1 / 2000, {0.1: 0.0509, 0.5: 0.1994, 1.0: 0.3614, 2.0: 0.6511, 5.0: 1.383, 10.0: 2.373}),
    ],
)
def test_mu_agrees_with_published_tables(delta, table):
    for epsilon, expected in table.items():
        assert gdp.mu(epsilon, delta) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("delta", [0.9, 0.3, 1e-2, 1e-5, 1e-12, 1e-100, 1e-300])
def test_epsilon_is_the_smallest_safe_one(mu, delta):
    found = gdp.epsilon(mu, delta)
    if found == 0:
        assert _exact_log_delta(mu, 0.0) <= mp.log(delta)
        return
    assert _exact_log_delta(mu, found) <= mp.log(delta)
    # Tight: an epsilon that is lower by eight stated errors of log delta, turned into epsilon by its slope, fails.
    slope = mp.e ** (found - _exact_log_delta(mu, found)) * mp.ncdf(-found / mu - mu / 2)
    assert _exact_log_delta(mu, found - float(8 * gdp.LOG_DELTA_ERROR / slope)) > mp.log(delta)


@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 0.1, 1.0, 10.0, 300.0])
@pytest.mark.parametrize("delta", [0.9, 0.3, 1e-5, 1e-12, 1e-200])
def test_mu_is_the_largest_safe_one(epsilon, delta):
    found = gdp.mu(epsilon, delta)
    assert found > 0
    assert _exact_log_delta(found, epsilon) <= mp.log(delta)
    assert _exact_log_delta(found * (1 + 1e-10), epsilon) > mp.log(delta)


def test_the_corners():
    assert gdp.delta(0.0, 0.0) == 0.0
    assert gdp.delta(0.0, -1.0) == pytest.approx(1 - math.exp(-1), rel=1e-15)
    assert gdp.delta(math.inf, 5.0) == 1.0
    assert gdp.delta(1.0, math.inf) == 0.0
    assert gdp.delta(1.0, -math.inf) == 1.0
    assert gdp.log_delta(1e-300, 1e10) == -math.inf
    assert gdp.epsilon(0.0, 0.0) == 0.0
    assert gdp.epsilon(1.0, 0.0) == math.inf
    assert gdp.epsilon(math.inf, 0.5) == math.inf
    assert gdp.epsilon(math.inf, 1.0) == 0.0
    assert gdp.epsilon(1.0, 0.5) == 0.0
    assert gdp.mu(1.0, 0.0) == 0.0
    assert gdp.mu(1.0, 1.0) == math.inf
    assert gdp.mu(math.inf, 1e-5) == math.inf


def test_far_tails_stay_finite_where_delta_underflows():
    log = gdp.log_delta(0.01, 10.0)
    assert float(_exact_log_delta(0.01, 10.0)) == pytest.approx(log, rel=1e-13)
    assert log < -400_000
    assert gdp.delta(0.01, 10.0) == 0.0


def test_one_value_is_that_of_an_array():
    rng = np.random.default_rng(4)
    mus = [0.0, 5e-324, 1e-300, 1e-12, 1e12, 1e150, 1e300, math.inf, *10 ** rng.uniform(-8, 6, 120)]
    sizes = 10 ** rng.uniform(-8, 6, 30)
    epsilons = np.concatenate([[0.0, math.inf, -math.inf, 1e308, -1e308, 1e-300, -1e-300], sizes, -sizes])
    for mu in mus:
        together = gdp.log_delta(mu, epsilons)
        alone = [gdp.log_delta(float(mu), float(epsilon)) for epsilon in epsilons]
        np.testing.assert_allclose(alone, together, rtol=2e-13, atol=2e-13)
        # Numbers of numpy take the same way, without its warnings.
        assert gdp.log_delta(np.float64(mu), epsilons[-1]) == alone[-1]


@pytest.mark.parametrize("mu", [5e-324, 1e-310, 1e-12])
def test_a_mu_that_hides_nothing_leaves_what_epsilon_says(mu):
    assert gdp.log_delta(mu, -0.5) == pytest.approx(math.log(1 - math.exp(-0.5)), abs=1e-11)
    assert gdp.log_delta(np.array([mu]), -0.5)[0] == pytest.approx(math.log(1 - math.exp(-0.5)), abs=1e-11)
    assert gdp.log_delta(mu, -1e308) == 0.0


def test_arrays_broadcast():
    mus, epsilons = np.array([[0.1], [1.0]]), np.array([0.0, 0.5, 2.0])
    table = gdp.delta(mus, epsilons)
    assert table.shape == (2, 3)
    for i, mu in enumerate(mus[:, 0]):
        for j, epsilon in enumerate(epsilons):
            # Processors with vector instructions may round exp and log of an array otherwise than of one number, in
            # the last digit; here that is two units at the end. An error of broadcasting is of another size.
            assert table[i, j] == pytest.approx(
                gdp.delta(float(mu), float(epsilon)), rel=16 * np.finfo(float).eps, abs=0
            )
    assert isinstance(gdp.log_delta(1.0, 1.0), float)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: gdp.delta(-1.0, 0.0), "mu"),
        (lambda: gdp.delta(math.nan, 0.0), "mu"),
        (lambda: gdp.delta(1.0, math.nan), "epsilon"),
        (lambda: gdp.epsilon(1.0, 1.5), "delta"),
        (lambda: gdp.epsilon(1.0, math.nan), "delta"),
        (lambda: gdp.mu(-0.1, 0.5), "epsilon"),
        (lambda: gdp.mu(1.0, -0.5), "delta"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(InvalidInputError, match=rf"^Expected {name} "):
        call()
