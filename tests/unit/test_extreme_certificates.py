"""Certificates at the ends: far too little noise, differences of one rounding, solvers that stop early, no steps."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.linear_model import LogisticRegression

from mechanisms.accounting import gdp
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import GaussianDP
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError, UnreachableTargetError
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.reduced.krylov import KrylovSetup, reduced_pair

DELTA = 1e-5


@pytest.mark.parametrize("mu", [1e5, 1e9, 1e12, 1e20])
def test_epsilon_of_a_huge_shift_is_never_below_its_value(mu: float) -> None:
    # The true epsilon is mu^2/2 + z mu less a few nats, z the quantile: to a share 1/mu of the second term.
    least = mp.mpf(mu) ** 2 / 2 + mp.mpf(-float(ndtri(DELTA))) * mu - 100
    for found in (
        gdp.epsilon(mu, DELTA),
        GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([mu * mu])).epsilon(DELTA),
    ):
        assert least <= found <= float(least) * (1 + 1e-9) + 100 + mu / 100


def test_the_table_of_a_huge_shift_has_no_nan() -> None:
    for ratio in (1.0, 1.5, 1 + 1e-5):
        for mu in (1e9, 1e12, 1e100, 1e150):
            pair = GaussianPair(variance_ratios=np.array([ratio]), squared_shifts=np.array([mu * mu]))
            for rows in pair.profile().log_deltas.values():
                assert not np.isnan(rows).any()
            assert pair.epsilon(DELTA) > 1e17


def points(scale: float = 1.0) -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(40, 5)), scale * rng.normal(size=(40, 1)), kind="regression")


RIDGE = RidgeLangevin(n_learn=50, n_unlearn=5, sigma_learn=1e-3, sigma_unlearn=0.01)


@pytest.mark.parametrize("scale", [1e13, 1e100, 1e140])
def test_far_too_little_noise_is_a_certificate_and_said(scale: float) -> None:
    certificate = RIDGE.bind(points(scale), (3,)).certificates()[0]
    assert certificate.epsilon > 1e17
    assert any("far too little noise" in sentence for sentence in certificate.claim.assumptions)


def test_usual_noise_is_not_called_too_little() -> None:
    sentences = RIDGE.bind(points(), (3,)).certificates()[0].claim.assumptions
    assert not any("too little" in sentence for sentence in sentences)


def test_a_tiny_record_with_a_huge_target_has_finite_certificates() -> None:
    data = points()
    features, targets = data.features.copy(), data.targets.copy()
    features[3], targets[3] = 1e-200, 1e200
    tiny = from_arrays(features, targets, kind="regression")
    with np.errstate(all="raise", under="ignore"):
        stated = RIDGE.bind(tiny, (3,)).certificates()
    # What it pulls with is the product.
    features[3], targets[3] = 1e-7, 1e7
    expected = RIDGE.bind(from_arrays(features, targets, kind="regression"), (3,)).certificates()
    for found, usual in zip(stated, expected, strict=True):
        assert math.isclose(found.epsilon, usual.epsilon, rel_tol=1e-5)


def largest_loss_epsilon(ratio: Any, shift: Any, delta: float) -> Any:
    """Epsilon of two Gaussians on a line, 50 digits: the event between, or beyond, the roots of a quadratic."""

    def value(epsilon: Any) -> Any:
        square, slope = (1 - 1 / ratio) / 2, shift / ratio
        level = -mp.log(ratio) / 2 - shift**2 / (2 * ratio) - epsilon
        under = slope**2 - 4 * square * level
        if under <= 0:
            return 0 if square < 0 else 1 - mp.exp(epsilon)
        low, high = sorted((-slope + sign * mp.sqrt(under)) / (2 * square) for sign in (-1, 1))
        spread = mp.sqrt(ratio)
        p = mp.ncdf((high - shift) / spread) - mp.ncdf((low - shift) / spread)
        q = mp.ncdf(high) - mp.ncdf(low)
        return p - mp.exp(epsilon) * q if square < 0 else 1 - p - mp.exp(epsilon) * (1 - q)

    if value(mp.mpf(0)) <= delta:
        return mp.mpf(0)
    low, high = mp.mpf(0), mp.mpf(1e-12)
    while value(high) > delta:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) > delta else (low, middle)
    return high


def on_a_line(x: np.ndarray, record: int, eta: float, sigma: float) -> tuple[Any, Any]:
    """Variance ratio and shift of seven learning and two unlearning steps on targets 0."""

    def variance(start: list[int]) -> Any:
        left = [j for j in range(len(x)) if j != record]
        found = mp.mpf(0)
        for rows, n_steps, noise in ((start, 7, 0.1), (left, 2, sigma)):
            a = 1 - mp.mpf(eta) * (sum(mp.mpf(float(x[j, 0])) ** 2 for j in rows) + mp.mpf(0.1))
            for _ in range(n_steps):
                found = a**2 * found + mp.mpf(noise) ** 2
        return found

    everybody = list(range(len(x)))
    return variance(everybody) / variance([j for j in everybody if j != record]), mp.mpf(0)


def test_the_rounding_of_ratios_next_to_one_is_charged() -> None:
    """Epsilons near 1e-8 and below, where 1 + c rounds away a part of c that shows."""
    rng, checked = np.random.default_rng(1), 0
    for _ in range(20):
        x, y = rng.normal(size=(6, 1)), np.zeros((6, 1))
        # The draws of the search that found two epsilons below the truth.
        rng_scale = rng.uniform(-2.5, 0.0)
        x[3] *= 10**rng_scale
        sigma = 10 ** rng.uniform(1, 4)
        eta = 0.05 / (float((x**2).sum()) + 0.1)
        setup = KrylovSetup.of(
            from_arrays(x, y, kind="regression"), penalty=0.1, n_learn=7, n_unlearn=2, sigma_learn=0.1, step_size=eta
        )
        found = reduced_pair(setup, (3,), sigma)[0].epsilon(1e-12)
        if not 1e-13 < found < 1e-7:
            continue
        with mp.workdps(50):
            ratio, shift = on_a_line(x, 3, eta, sigma)
            both = (largest_loss_epsilon(ratio, shift, 1e-12), largest_loss_epsilon(1 / ratio, shift, 1e-12))
        assert found >= max(both)
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("size", [2.5, "3", math.nan, True])
def test_a_size_that_is_no_whole_number_is_refused(size: Any) -> None:
    setup = KrylovSetup.of(points(), penalty=1.0, n_learn=50, n_unlearn=5, sigma_learn=0.01)
    with pytest.raises(InvalidInputError, match="size"):
        reduced_pair(setup, (3,), 0.01, size=size)


def two_classes() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    return from_arrays(x, (x @ rng.normal(size=8) + rng.normal(size=300) > 0).astype(int), kind="classification")


def said_of_solver(estimator: LogisticRegression) -> list[str]:
    sigma = CalibratedSigma(target=GaussianDP(mu=0.5))
    deletion = OutputPerturbation(estimator=estimator, sigma=sigma).bind(two_classes(), (5,))
    return [sentence for sentence in deletion.certificates()[0].claim.assumptions if "solver" in sentence]


def test_noise_that_hides_a_solver_is_said() -> None:
    (sentence,) = said_of_solver(LogisticRegression(C=10))
    # Measured: .00036 apart at the usual tolerance, 4.6e-07 where the solver is done.
    assert "99.9 % of the noise hides where the solver stops" in sentence
    assert said_of_solver(LogisticRegression(C=10, tol=1e-10, max_iter=10_000)) == []


@pytest.mark.filterwarnings("ignore:The max_iter was reached")
def test_a_solver_that_never_gets_there_is_said() -> None:
    estimator = LogisticRegression(solver="saga", tol=0.1, max_iter=2, random_state=0)
    (sentence,) = said_of_solver(estimator)
    assert "is not known" in sentence


def test_no_unlearning_step_is_said() -> None:
    still = RidgeLangevin(n_learn=50, n_unlearn=0, sigma_learn=0.3, sigma_unlearn=0.1)
    certificate = still.bind(points(), (3,)).certificates()[0]
    assert certificate.epsilon == certificate.epsilon_without_unlearning
    assert any("No unlearning step" in sentence for sentence in certificate.claim.assumptions)
    target = CalibratedNoise(route="exact", epsilon=0.001)
    with pytest.raises(UnreachableTargetError, match="n_unlearn"):
        RidgeLangevin(n_learn=50, n_unlearn=0, sigma_learn=0.3, sigma_unlearn=target).bind(points(), (3,))
