"""Calibration returns evaluated values on the safe side, or says what stands in the way."""

from __future__ import annotations

import math

import pytest

from mechanisms.accounting import gdp
from mechanisms.accounting.calibration import round_up_to_grid, smallest_noise
from mechanisms.errors import InvalidInputError, UnreachableTargetError


def _inverse(noise: float) -> float:
    return 1.0 / noise if noise > 0 else math.inf


class _Counted:
    def __init__(self, function):
        self.function, self.seen = function, {}

    def __call__(self, noise: float) -> float:
        self.seen[noise] = self.function(noise)
        return self.seen[noise]


@pytest.mark.parametrize("target", [1e-6, 0.1, 0.5, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_smallest_noise_is_found_from_any_scale(target, scale):
    counted = _Counted(_inverse)
    found = smallest_noise(counted, target=target, scale=scale)
    exact = 1 / target
    assert exact <= found.noise * (1 + 1e-15)
    assert found.noise <= exact * (1 + 1e-6) * (1 + 1e-15)
    # Only a value that was evaluated, and passed, may be returned.
    assert counted.seen[found.noise] == found.epsilon <= target
    assert found.epsilon_without_noise == math.inf
    assert found.target == target
    assert found.needed


def test_no_noise_where_none_is_needed():
    found = smallest_noise(lambda noise: 0.7 / (1 + noise), target=0.7, scale=1.0)
    assert (found.noise, found.epsilon, found.epsilon_without_noise) == (0.0, 0.7, 0.7)
    assert not found.needed


def test_no_positive_noise_below_the_floor():
    found = smallest_noise(_inverse, target=5.0, scale=1.0, floor=0.3)
    assert (found.noise, found.epsilon) == (0.3, 1 / 0.3)
    assert smallest_noise(_inverse, target=0.5, scale=1.0, floor=0.3).noise == pytest.approx(2.0, rel=2e-6)
    assert smallest_noise(lambda noise: 0.7, target=0.7, scale=1.0, floor=0.3).noise == 0


def test_a_gaussian_mechanism():
    delta = 1e-5
    found = smallest_noise(lambda noise: gdp.epsilon(1 / noise, delta) if noise else math.inf, target=1.0, scale=1.0)
    exact = 1 / gdp.mu(1.0, delta)
    assert exact <= found.noise * (1 + 1e-10)
    assert found.noise <= exact * (1 + 1.001e-6)
    assert gdp.delta(1 / found.noise, 1.0) <= delta


def test_a_step_is_met_on_its_safe_side():
    found = smallest_noise(lambda noise: 2.0 if noise < 0.3 else 0.5, target=1.0, scale=7.0)
    assert 0.3 <= found.noise <= 0.3 * (1 + 1e-6)
    assert found.epsilon == 0.5


def test_a_jump_at_zero_returns_the_smallest_noise_tried():
    found = smallest_noise(lambda noise: 0.5 if noise > 0 else math.inf, target=1.0, scale=1.0)
    assert 0 < found.noise < 1e-50
    assert found.epsilon == 0.5


def test_the_tolerance_is_a_share_of_the_noise():
    coarse = smallest_noise(_inverse, target=3.0, scale=1.0, relative_tolerance=0.1)
    assert 1 / 3 <= coarse.noise <= 1.1 / 3


def test_a_maximum_below_what_is_needed_is_named():
    with pytest.raises(UnreachableTargetError, match=r"best reachable epsilon is 0\.5.*largest noise allowed, 2\b"):
        smallest_noise(_inverse, target=0.1, scale=1.0, maximum=2.0)


def test_a_maximum_that_just_suffices_is_used():
    assert smallest_noise(_inverse, target=0.5, scale=10.0, maximum=2.0).noise <= 2.0


def test_a_floor_of_epsilon_is_named():
    with pytest.raises(UnreachableTargetError, match=r"best reachable epsilon is 0\.4.*noise does not lower"):
        smallest_noise(lambda noise: 0.4 + 1 / (1 + noise), target=0.3, scale=1.0)


def test_infinite_everywhere_is_unreachable():
    with pytest.raises(UnreachableTargetError, match="best reachable epsilon is inf"):
        smallest_noise(lambda noise: math.inf, target=1.0, scale=1.0)


def test_a_late_start_of_the_fall_is_waited_for():
    """Infinite up to a large noise is not a plateau."""
    found = smallest_noise(lambda noise: _inverse(noise) if noise > 1e12 else math.inf, target=1.0, scale=1e-12)
    assert found.noise == pytest.approx(1e12, rel=2e-6)


def test_nan_is_refused():
    with pytest.raises(InvalidInputError, match="NaN"):
        smallest_noise(lambda noise: math.nan, target=1.0, scale=1.0)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"target": -1.0}, "target"),
        ({"target": math.nan}, "target"),
        ({"scale": 0.0}, "scale"),
        ({"scale": math.inf}, "scale"),
        ({"maximum": 0.0}, "maximum"),
        ({"floor": -1.0}, "floor"),
        ({"floor": 3.0, "maximum": 2.0}, "floor"),
        ({"relative_tolerance": 0.0}, "relative_tolerance"),
    ],
)
def test_bad_arguments_are_named(changes, name):
    arguments = {"target": 1.0, "scale": 1.0} | changes
    with pytest.raises(InvalidInputError, match=rf"^Expected {name} "):
        smallest_noise(_inverse, **arguments)


@pytest.mark.parametrize("ratio", [1.25, 2.0, 1.001, 10.0])
def test_the_grid_rounds_up_and_keeps_its_own_points(ratio):
    for noise in (1e-7, 0.011, 0.8, 1.0, 1.2499999999, 3.7, 1e5):
        rounded = round_up_to_grid(noise, ratio)
        assert noise <= rounded < noise * ratio * (1 + 1e-12)
        assert round_up_to_grid(rounded, ratio) == rounded
        # One grid for everybody: whole powers of the ratio.
        power = math.log(rounded) / math.log(ratio)
        assert power == pytest.approx(round(power), abs=1e-6)


def test_grid_corners():
    assert round_up_to_grid(0.0) == 0.0
    assert round_up_to_grid(math.inf) == math.inf
    assert round_up_to_grid(1.0) == 1.0
    with pytest.raises(InvalidInputError, match="noise"):
        round_up_to_grid(-1.0)
    with pytest.raises(InvalidInputError, match="ratio"):
        round_up_to_grid(1.0, ratio=1.0)
