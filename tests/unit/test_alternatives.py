"""Alternatives of the planner: Gaussian shifts against scipy, two Gaussian laws against their exact profile."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from attacks.linear.discriminant import LinearDiscriminant, largest_shift_kept, shift_kept
from attacks.protocol import AttackContext
from audit.power.alternatives import (
    CERTAIN,
    SAME,
    gaussian_curve,
    gaussian_epsilon,
    gaussian_mu,
    law_curve,
    scaled_law_curve,
)
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import GaussianLaw


def laws(ratios: list[float], shifts: list[float], columns: int = 1) -> tuple[GaussianLaw, GaussianLaw]:
    """A pair with these variances and means against a standard normal, seen through a mixing of its directions."""
    d = len(ratios)
    mix = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0] * np.geomspace(1, 3, d)
    mean = np.zeros((d, columns))
    mean[:, -1] = shifts
    centre = np.ones((d, columns))
    p = GaussianLaw(mean=centre + mix @ mean, covariance=mix @ np.diag(ratios) @ mix.T)
    return p, GaussianLaw(mean=centre, covariance=mix @ mix.T)


def exact_epsilon(p: GaussianLaw, q: GaussianLaw, delta: float) -> float:
    pair = GaussianPair.from_laws(p, q)
    return max(pair.epsilon(delta), pair.reversed().epsilon(delta))


@pytest.mark.parametrize("mu", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-5, 0.01])
def test_gaussian_epsilon_is_dual_to_the_normal_law(mu: float, delta: float) -> None:
    def excess(epsilon: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    expected = brentq(excess, 0, 60)
    assert gaussian_epsilon(mu, delta) == pytest.approx(expected, rel=1e-7)
    assert gaussian_mu(expected, delta) == pytest.approx(mu, rel=1e-6)
    # The curve's events are a grid.
    assert gaussian_curve(mu).epsilon(delta) == pytest.approx(expected, rel=2e-3)


def test_curves_are_nested_events() -> None:
    for curve in (gaussian_curve(0.3), law_curve(*laws([1.2, 0.8], [0.3, 0.1])), CERTAIN, SAME):
        for tail in (curve.fpr, curve.tpr):
            assert tail[0] == 0
            assert tail[-1] == 1
            assert np.all(np.diff(tail) >= 0)


def test_equal_covariances_are_a_gaussian_shift() -> None:
    curve = law_curve(*laws([1.0, 1.0], [0.6, 0.8]))
    inside = (curve.fpr > 1e-10) & (curve.tpr < 1 - 1e-10)
    assert inside.sum() > 100
    np.testing.assert_allclose(norm.ppf(curve.tpr[inside]) - norm.ppf(curve.fpr[inside]), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("ratios", "shifts", "columns", "tolerance"),
    [
        ([1.2, 0.9, 1.0], [0.5, 0.7, 0.3], 1, 2e-3),
        (list(np.linspace(0.97, 1.0, 40)), [0.03] * 40, 10, 2e-3),
        (list(np.linspace(1.0, 1.1, 20)), [0.1] * 20, 3, 2e-3),
        # One direction with another variance is the saddlepoint's worst case.
        ([4.0], [0.0], 1, 0.06),
    ],
)
@pytest.mark.parametrize("delta", [1e-3, 0.05])
def test_two_laws_have_the_epsilon_of_the_exact_profile(
    ratios: list[float], shifts: list[float], columns: int, tolerance: float, delta: float
) -> None:
    p, q = laws(ratios, shifts, columns)
    assert law_curve(p, q).epsilon(delta) == pytest.approx(exact_epsilon(p, q, delta), rel=tolerance)


def test_one_scale_direction_has_chi_square_tails() -> None:
    """Twice the variance: the likelihood ratio rises with the square, whose tails are chi-square's."""
    curve = law_curve(*laws([2.0] * 6, [0.0] * 6))
    level = np.array([0.01, 0.1, 0.5])
    expected = chi2.sf(chi2.isf(level, 6) / 2, 6)
    np.testing.assert_allclose(np.interp(level, curve.fpr, curve.tpr), expected, rtol=2e-2)


def test_noise_in_one_world_only_decides_for_certain() -> None:
    _, q = laws([1.0, 1.0], [0.1, 0.1])
    silent = GaussianLaw(mean=q.mean, covariance=np.zeros((2, 2)))
    assert law_curve(silent, q) is CERTAIN
    assert law_curve(silent, GaussianLaw(mean=q.mean + 1, covariance=np.zeros((2, 2)))) is CERTAIN
    assert law_curve(silent, silent) is SAME
    assert law_curve(q, q) is SAME
    assert math.isinf(CERTAIN.epsilon(1e-5))
    assert SAME.epsilon(1e-5) == 0


def test_own_family_is_moved_to_the_wanted_epsilon() -> None:
    p, q = laws([1.02, 0.98], [0.2, 0.1])
    wanted = 2 * exact_epsilon(p, q, 1e-3)
    curve = scaled_law_curve(p, q, epsilon=wanted, delta=1e-3)
    assert curve.epsilon(1e-3) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(InvalidInputError, match="epsilon"):
        scaled_law_curve(q, q, epsilon=1.0, delta=1e-3)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.1), (math.inf, 0.1), (1.0, 0.0)])
def test_no_shift_has_such_an_epsilon(epsilon: float, delta: float) -> None:
    with pytest.raises(InvalidInputError, match="epsilon"):
        gaussian_mu(epsilon, delta)


class TestShiftKeptByLearning:
    """The d/m law, on the shipped discriminant; limits are five standard errors of 40 fits."""

    @staticmethod
    def kept(d: int, m: int, mu: float, spread: float, *, raw: bool = False) -> tuple[float, float]:
        rng = np.random.default_rng([d, m])
        noise = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.sqrt(np.geomspace(1, spread, d))
        found = []
        for _ in range(40):
            direction = rng.normal(size=d)
            whitened = np.linalg.solve(noise, direction) if raw else direction
            gap = noise @ whitened * mu / np.linalg.norm(whitened)
            unlearned, retrained = (rng.normal(size=(m, d)) @ noise.T for _ in range(2))
            context: AttackContext = None  # type: ignore[assignment]
            weights = LinearDiscriminant().fit(unlearned + gap, retrained, context, rng=rng).weights
            found.append(float(weights @ gap / np.linalg.norm(weights @ noise)))
        return float(np.mean(found)), 5 * float(np.std(found)) / math.sqrt(40)

    @pytest.mark.parametrize(("d", "m", "mu"), [(40, 40, 1.0), (40, 200, 1.0), (40, 400, 0.5)])
    def test_equal_noise_keeps_the_largest_share(self, d: int, m: int, mu: float) -> None:
        mean, limit = self.kept(d, m, mu, 1.0)
        assert mean == pytest.approx(largest_shift_kept(mu, n_parameters=d, n_fit=m), abs=limit + 0.03)

    @pytest.mark.parametrize(("d", "m", "mu"), [(40, 40, 1.0), (40, 200, 1.0), (40, 400, 0.5)])
    def test_unequal_noise_costs_what_the_covariance_costs(self, d: int, m: int, mu: float) -> None:
        mean, limit = self.kept(d, m, mu, 1e-3)
        assert mean == pytest.approx(shift_kept(mu, n_parameters=d, n_fit=m), abs=limit + 0.06)
        assert mean <= largest_shift_kept(mu, n_parameters=d, n_fit=m) + limit

    def test_a_signal_where_noise_is_small_loses_far_more(self) -> None:
        """Why both are guides and not bounds from below: shrinkage hides directions of little noise."""
        mean, limit = self.kept(40, 40, 1.0, 1e-3, raw=True)
        assert mean + limit < shift_kept(1.0, n_parameters=40, n_fit=40)

    def test_corners(self) -> None:
        assert largest_shift_kept(0.0, n_parameters=10, n_fit=5) == 0
        assert shift_kept(1.0, n_parameters=10, n_fit=5) == 0
        assert largest_shift_kept(1.0, n_parameters=2, n_fit=10**9) == pytest.approx(1.0)


@pytest.mark.parametrize("shift", [1e3, 1e9, 1e15])
def test_laws_that_are_far_apart_have_a_curve_without_a_warning(shift: float) -> None:
    curve = law_curve(*laws([1e-6, 1e6], [shift, 0.0]))
    assert np.all(np.isfinite(curve.fpr))
    assert np.all(np.isfinite(curve.tpr))
    assert np.max(curve.tpr - curve.fpr) > 1 - 1e-6
