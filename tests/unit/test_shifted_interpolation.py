"""The convex minorant against a slow exact one, hand-solved chains, and lengths at which naive code overflows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from mechanisms.accounting.shifted_interpolation import RELATIVE_ERROR, gaussian_dp_mu
from mechanisms.errors import InvalidInputError


def _slow_mu(contraction: float, gaps: list[float], noises: list[float], initial_gap: float) -> float:
    """Rational arithmetic and a quadratic search: from each vertex to the lowest slope, the farthest of equals."""
    c = Fraction(contraction)
    s, tau = Fraction(initial_gap), Fraction(0)
    points = [(Fraction(0), Fraction(0))]
    for k, (gap, noise) in enumerate(zip(gaps, noises, strict=True), start=1):
        s += Fraction(gap) / c**k
        tau += Fraction(noise) ** 2 / c ** (2 * k)
        points.append((tau, s))
    if points[-1][0] == points[-2][0] and points[-1][1] > min(y for x, y in points if x == points[-1][0]):
        return math.inf
    total, here = Fraction(0), points[0]
    while here[0] < points[-1][0]:
        slope, run, there = min(
            ((y - here[1]) / (x - here[0]), -(x - here[0]), (x, y)) for x, y in points if x > here[0]
        )
        total += slope**2 * -run
        here = there
    return math.sqrt(total)


def _closed_form(contraction: float, gaps: np.ndarray, noises: np.ndarray) -> float:
    decay = contraction ** np.arange(len(gaps) - 1, -1, -1.0)
    return float(np.sum(decay * gaps) / np.sqrt(np.sum((decay * noises) ** 2)))


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_a_slow_exact_minorant(seed):
    rng = np.random.default_rng([7, seed])
    n = int(rng.integers(1, 25))
    contraction = float(rng.choice([1.0, 0.999, 0.9, 0.5, rng.uniform(0.2, 1)]))
    gaps = rng.exponential(size=n) * (rng.random(n) < 0.7)
    noises = rng.exponential(size=n) * (rng.random(n) < 0.8)
    initial = float(rng.choice([0.0, rng.exponential()]))
    expected = _slow_mu(contraction, gaps.tolist(), noises.tolist(), initial)
    computed = gaussian_dp_mu(contraction=contraction, gaps=gaps, noises=noises, initial_gap=initial)
    if math.isinf(expected):
        assert computed == math.inf
    else:
        # Rounded up by the stated error, which covers the rounding itself.
        assert expected <= computed <= expected * (1 + 2 * RELATIVE_ERROR)


def test_the_closed_form_is_invalid_where_the_last_step_forgets():
    """phi_2 = 0 against phi'_2 = 1 are contractive with gap 1: the outputs are N(0, .01) and N(1, .01), mu = 10."""
    gaps, noises = np.array([0.0, 1.0]), np.array([1.0, 0.1])
    assert _closed_form(1.0, gaps, noises) < 1
    assert gaussian_dp_mu(contraction=1.0, gaps=gaps, noises=noises) == pytest.approx(10.0, rel=1e-11)


@pytest.mark.parametrize("seed", range(10))
def test_it_is_never_below_the_exact_mu_of_a_linear_chain(seed):
    """x -> c x, with every gap in one direction, is a legal chain whose exact mu is the closed form."""
    rng = np.random.default_rng([8, seed])
    gaps, noises, contraction = rng.exponential(size=30), rng.uniform(0.1, 2, 30), float(rng.uniform(0.5, 1))
    assert gaussian_dp_mu(contraction=contraction, gaps=gaps, noises=noises) >= _closed_form(contraction, gaps, noises)


def test_falling_slopes_give_the_closed_form():
    gaps, noises = np.linspace(2, 1, 50), np.full(50, 0.7)
    expected = _closed_form(0.97, gaps, noises)
    assert gaussian_dp_mu(contraction=0.97, gaps=gaps, noises=noises) == pytest.approx(expected, rel=1e-11)


def test_an_initial_gap_counts_from_the_origin():
    """One noisy step: starting points 0.4 apart plus a gap of 0.6 are 1.0 apart under unit noise."""
    assert gaussian_dp_mu(contraction=1.0, gaps=[0.6], noises=[1.0], initial_gap=0.4) == pytest.approx(1.0, rel=1e-11)
    # Three steps by hand, c = 1: points (0,0), (1,.8), (2,1), (3,2). The minorant is (0,0), (2,1), (3,2):
    # mu^2 = 1/2 + 1. A minorant from (0, .5) would have slopes .25 and 1: mu^2 = 1.125, too small.
    computed = gaussian_dp_mu(contraction=1.0, gaps=[0.3, 0.2, 1.0], noises=[1.0, 1.0, 1.0], initial_gap=0.5)
    assert computed == pytest.approx(math.sqrt(1.5), rel=1e-11)
    assert computed > math.sqrt(1.125)


def test_gaps_without_noise_reach_the_next_noisy_step():
    expected = gaussian_dp_mu(contraction=1.0, gaps=[3.0, 1.0], noises=[1.0, 2.0])
    computed = gaussian_dp_mu(contraction=1.0, gaps=[1.0, 2.0, 0.4, 0.6], noises=[0.0, 1.0, 0.0, 2.0])
    assert computed == pytest.approx(expected, rel=1e-11)


def test_what_no_noise_covers_is_infinite():
    assert gaussian_dp_mu(contraction=0.5, gaps=[0.0, 1e-9], noises=[1.0, 0.0]) == math.inf
    assert gaussian_dp_mu(contraction=0.5, gaps=[0.0], noises=[0.0], initial_gap=1e-9) == math.inf
    assert gaussian_dp_mu(contraction=0.5, gaps=[], noises=[], initial_gap=1.0) == math.inf
    # The gap has decayed below the smallest float, and still nothing covers it.
    assert gaussian_dp_mu(contraction=0.1, gaps=[1.0] + [0.0] * 999, noises=[0.0] * 1000) == math.inf
    assert gaussian_dp_mu(contraction=0.5, gaps=[], noises=[]) == 0.0
    assert gaussian_dp_mu(contraction=0.5, gaps=[0.0, 0.0], noises=[1.0, 0.0]) == 0.0


def test_scaling_gaps_and_noises_together_changes_nothing():
    rng = np.random.default_rng(9)
    gaps, noises = rng.exponential(size=100), rng.exponential(size=100)
    one = gaussian_dp_mu(contraction=0.9, gaps=gaps, noises=noises)
    assert gaussian_dp_mu(contraction=0.9, gaps=1e-9 * gaps, noises=1e-9 * noises) == pytest.approx(one, rel=1e-11)


@pytest.mark.parametrize("contraction", [1 - 1e-9, 1.0, 0.5])
def test_a_million_steps(contraction):
    n = 10**6
    computed = gaussian_dp_mu(contraction=contraction, gaps=np.full(n, 1e-3), noises=np.full(n, 0.5))
    # Constant gaps and noises make one segment; geometric sums by expm1.
    log = math.log(contraction)
    sums = [math.expm1(n * power * log) / math.expm1(power * log) if log else n for power in (1, 2)]
    expected = 1e-3 * sums[0] / (0.5 * math.sqrt(sums[1]))
    # A million terms, each known to one unit in the last place times its exponent.
    assert computed == pytest.approx(expected, rel=1e-11)


def test_a_million_segments():
    n = 10**6
    gaps = np.arange(1.0, n + 1)
    # c = 1 and unit noises: S is convex, so every step is a segment and mu^2 is the sum of squared gaps.
    expected = math.sqrt(n * (n + 1) * (2 * n + 1) / 6)
    computed = gaussian_dp_mu(contraction=1.0, gaps=gaps, noises=np.ones(n))
    assert computed == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"contraction": 0.0}, "contraction"),
        ({"contraction": 1.01}, "contraction"),
        ({"contraction": math.nan}, "contraction"),
        ({"gaps": [-1.0, 1.0]}, "gaps"),
        ({"gaps": [math.inf, 1.0]}, "gaps"),
        ({"noises": [1.0]}, "noises"),
        ({"noises": [1.0, math.nan]}, "noises"),
        ({"initial_gap": -1.0}, "initial_gap"),
    ],
)
def test_bad_arguments_are_named(changes, name):
    arguments = {"contraction": 0.9, "gaps": [1.0, 1.0], "noises": [1.0, 1.0], "initial_gap": 0.0} | changes
    with pytest.raises(InvalidInputError, match=rf"^Expected {name} "):
        gaussian_dp_mu(**arguments)
