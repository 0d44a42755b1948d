"""Renyi conversions against an accountant, integrals and each other; the bound on a Gaussian pair against the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.rdp import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from mechanisms.accounting import gdp
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.accounting.renyi import (
    RENYI_BOUND,
    RenyiCurve,
    best_curve,
    compose,
    improved_epsilon,
    improved_log_delta,
    mironov_epsilon,
    renyi_certificate,
)
from mechanisms.claim import Direction, PrivacyProfile, Reference
from mechanisms.errors import InvalidInputError

ORDERS = np.concatenate([np.linspace(1.01, 3, 40), np.geomspace(3, 500, 60)])


def test_the_conversions_by_hand() -> None:
    # Order 2, divergence 1, delta e^-5: 1 + 5, and that minus log 2 / 1 + log 2.
    assert float(mironov_epsilon(2.0, 1.0, math.exp(-5))) == pytest.approx(6.0)
    assert float(improved_epsilon(2.0, 1.0, math.exp(-5))) == pytest.approx(6.0 - 2 * math.log(2))
    assert float(improved_log_delta(2.0, 1.0, 6.0 - 2 * math.log(2))) == pytest.approx(-5.0)
    # Infinite order is pure differential privacy.
    assert float(improved_epsilon(math.inf, 1.5, 1e-9)) == 1.5
    assert float(improved_log_delta(math.inf, 1.5, 1.5)) == -math.inf
    assert float(improved_log_delta(math.inf, 1.5, 1.4)) == 0.0


def test_the_improved_conversion_is_dp_accountings() -> None:
    """Google's accountant converts by the same proposition; and it agrees over a whole curve."""
    for mu, delta in ((0.1, 1e-5), (0.5, 1e-5), (2.0, 1e-9), (5.0, 1e-3)):
        curve = RenyiCurve.of_gaussian(mu, ORDERS)
        theirs, _ = compute_epsilon(ORDERS.tolist(), curve.divergences.tolist(), delta)
        assert curve.epsilon(delta) == pytest.approx(theirs, rel=1e-8)


def test_the_improved_conversion_never_exceeds_mironovs_and_inverts() -> None:
    orders, rho = np.meshgrid(ORDERS, [0.0, 0.01, 1.0, 30.0])
    for delta in (0.3, 1e-5, 1e-12):
        improved = improved_epsilon(orders, rho, delta)
        assert np.all(improved < mironov_epsilon(orders, rho, delta))
        back = [improved_log_delta(a, r, e) for a, r, e in zip(orders.flat, rho.flat, improved.flat, strict=True)]
        np.testing.assert_allclose(back, math.log(delta), rtol=1e-9)


def test_a_conversion_is_attained_by_its_extremal_loss() -> None:
    """Two points of loss, 0 and z = epsilon + log(a / (a - 1)): with P(z) tiny the bound on delta is tight."""
    order, epsilon, weight = 5.0, 2.0, 1e-12
    z = epsilon + math.log(order / (order - 1))
    # E_P e^((a - 1) loss) is 1 + weight e^((a - 1) z), nearly; without the 1 it is what Markov's inequality uses.
    log_moment = math.log(weight) + (order - 1) * z
    delta = weight * (1 - math.exp(epsilon - z))
    assert float(improved_log_delta(order, log_moment / (order - 1), epsilon)) == pytest.approx(math.log(delta))


def test_a_gaussian_curve_is_never_below_the_exact_epsilon() -> None:
    for mu in (1e-3, 0.05, 0.3, 1.0, 4.0, 20.0):
        for delta in (0.2, 1e-2, 1e-5, 1e-12):
            curve = RenyiCurve.of_gaussian(mu, ORDERS)
            assert curve.epsilon(delta) >= gdp.epsilon(mu, delta)
            assert curve.log_delta(0.7) >= gdp.log_delta(mu, 0.7)


def test_composition_adds_up() -> None:
    parts = [RenyiCurve.of_gaussian(mu, ORDERS) for mu in (0.3, 0.4, 1.2)]
    whole = RenyiCurve.of_gaussian(1.3, ORDERS)
    np.testing.assert_allclose(compose(parts).divergences, whole.divergences, rtol=1e-14)
    assert compose(parts[:1]).epsilon(1e-5) == parts[0].epsilon(1e-5)
    with pytest.raises(InvalidInputError, match="same orders"):
        compose([parts[0], RenyiCurve.of_gaussian(1.0, ORDERS[:5])])
    with pytest.raises(InvalidInputError, match="curves"):
        compose([])


def test_total_variation_makes_epsilon_zero() -> None:
    """A divergence so small that no event gains delta: epsilon is 0 although every order's conversion is above it."""
    curve = RenyiCurve(orders=np.array([1.5, 2.0]), divergences=np.array([1e-8, 2e-8]))
    assert np.min(improved_epsilon(curve.orders, curve.divergences, 1e-3)) > 1
    assert curve.epsilon(1e-3) == 0.0
    assert curve.epsilon(1e-5) > 0
    # Pinsker at one part in 1e8.
    assert math.exp(curve.log_delta(0.0)) == pytest.approx(math.sqrt(0.5e-8), rel=1e-9)


@pytest.mark.parametrize(
    ("orders", "divergences", "field"),
    [
        ([], [], "orders"),
        ([1.0, 2.0], [0.1, 0.1], "orders"),
        ([math.nan], [0.1], "orders"),
        ([2.0], [0.1, 0.2], "divergences"),
        ([2.0], [-0.1], "divergences"),
        ([2.0], [math.nan], "divergences"),
    ],
)
def test_bad_curves_are_named(orders: list[float], divergences: list[float], field: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        RenyiCurve(orders=np.array(orders), divergences=np.array(divergences))


def test_bad_levels_are_named() -> None:
    curve = RenyiCurve.of_gaussian(1.0, ORDERS)
    for delta in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(InvalidInputError, match="delta"):
            curve.epsilon(delta)
    for epsilon in (-0.1, math.nan):
        with pytest.raises(InvalidInputError, match="epsilon"):
            curve.log_delta(epsilon)


def test_the_curve_of_a_pair_is_the_integral() -> None:
    """One coordinate, N(.7, 1.3) against N(0, 1), by numerical integration of the definition."""
    pair = GaussianPair(variance_ratios=np.array([1.3]), squared_shifts=np.array([0.49]))
    for order in (1.5, 2.0, 3.0):

        def integrand(x: float, order: float = order) -> float:
            log = order * norm.logpdf(x, 0.7, math.sqrt(1.3)) + (1 - order) * norm.logpdf(x)
            return float(np.exp(log))

        expected = math.log(quad(integrand, -60, 60, points=[0, 10], limit=500)[0]) / (order - 1)
        assert RenyiCurve.of_pair(pair, [order]).divergences[0] == pytest.approx(expected, rel=1e-8)
    # Infinite from order 1 + 1 / .3 on.
    assert RenyiCurve.of_pair(pair, [4.4]).divergences[0] == math.inf


RATIO = st.one_of(st.floats(-3, 3).map(math.exp), st.floats(-0.01, 0.01).map(math.exp), st.just(1.0))
SHIFT = st.one_of(st.just(0.0), st.floats(-6, 2).map(lambda x: 10**x))


@st.composite
def pairs(draw: st.DrawFn) -> GaussianPair:
    p = draw(st.integers(1, 4))
    ratios = [draw(RATIO) for _ in range(p)]
    if draw(st.booleans()):
        # All below 1: the loss is bounded.
        ratios = [min(c, 1 / c) for c in ratios]
    return GaussianPair(
        variance_ratios=np.array(ratios),
        squared_shifts=np.array([draw(SHIFT) for _ in range(p)]),
        n_columns=draw(st.sampled_from([1, 10])),
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from([0.1, 1e-3, 1e-5, 1e-10]))
def test_the_renyi_bound_is_never_below_the_exact_value(pair: GaussianPair, delta: float) -> None:
    certificate = renyi_certificate(pair, delta=delta)
    for way, chosen in zip(Direction, (pair, pair.reversed()), strict=True):
        exact = chosen.epsilon(delta)
        curve = best_curve(chosen, delta)
        assert curve.epsilon(delta) >= exact
        # Every row of the table, and not the headline alone.
        assert isinstance(certificate.claim.guarantee, PrivacyProfile)
        rows = np.array(certificate.claim.guarantee.epsilons)
        assert np.all(
            np.array(certificate.claim.guarantee.log_deltas[way]) >= np.asarray(chosen.log_delta(rows)) - 1e-9
        )
        assert certificate.claim.epsilon_at(delta, way) <= certificate.epsilon * (1 + 1e-9)
        # And it is no idle bound: all that is lost is what a moment loses against a tail.
        if exact > 0.01 and delta < 1e-4:
            assert curve.epsilon(delta) <= 2 * exact + 1


def test_the_best_order_is_better_than_the_grid() -> None:
    pair = GaussianPair(variance_ratios=np.array([1.2, 0.8]), squared_shifts=np.array([0.5, 0.1]))
    curve = best_curve(pair, 1e-5)
    dense = np.linspace(1.01, 5.99, 20_000)
    expected = float(np.min(improved_epsilon(dense, [pair.renyi(a) for a in dense], 1e-5)))
    assert curve.epsilon(1e-5) == pytest.approx(expected, rel=1e-6)
    grid = RenyiCurve(orders=curve.orders[:-1], divergences=curve.divergences[:-1])
    assert curve.epsilon(1e-5) <= grid.epsilon(1e-5)


def test_the_corners_of_a_pair() -> None:
    same = renyi_certificate(GaussianPair(variance_ratios=np.ones(2), squared_shifts=np.zeros(2)), delta=1e-5)
    assert same.epsilon == 0
    apart = renyi_certificate(GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([np.inf])), delta=1e-5)
    assert apart.epsilon == math.inf
    assert apart.claim.epsilon_at(1e-5, Direction.UNLEARNED_FROM_RETRAINED) == math.inf


def test_the_certificate_says_that_it_is_a_bound() -> None:
    pair = GaussianPair(variance_ratios=np.array([0.9]), squared_shifts=np.array([0.1]))
    certificate = renyi_certificate(pair, delta=1e-5, reference=Reference.RETRAIN_ONLY)
    assert certificate.method == "renyi"
    assert RENYI_BOUND in certificate.claim.assumptions
    # A report may take "exact" for the truth.
    assert certificate.claim.provenance != "exact"
    assert certificate.claim.reference is Reference.RETRAIN_ONLY
