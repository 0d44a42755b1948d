"""Exact certificates against laws in 50 digits, where p x p laws in double precision lose what differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.process import RidgeProcess

DELTA = 1e-5


def law(process: RidgeProcess, start: Dataset) -> tuple[Any, Any]:
    """Mean and covariance of the last iterate: learning on ``start``, then unlearning, step by step."""
    p, q = process.shape
    mean, covariance = mp.zeros(p, q), mp.zeros(p, p)
    phases = (
        (start, process.n_learn, process.sigma_learn),
        (process.retained, process.n_unlearn, process.sigma_unlearn),
    )
    for data, steps, sigma in phases:
        x, y = mp.matrix(data.features.tolist()), mp.matrix(data.targets.tolist())
        eta = mp.mpf(process.step_size)
        step = mp.eye(p) - eta * (x.T * x + mp.mpf(process.penalty) * mp.eye(p))
        moment = eta * (x.T * y)
        for _ in range(steps):
            mean = step * mean + moment
            covariance = step * covariance * step.T + mp.mpf(sigma) ** 2 * mp.eye(p)
    return mean, covariance


def oracle(process: RidgeProcess) -> GaussianPair:
    with mp.workdps(50):
        (mean_p, cov_p), (mean_q, cov_q) = law(process, process.data), law(process, process.retained)
        inverse = mp.cholesky(cov_q) ** -1
        values, vectors = mp.eigsy(inverse * cov_p * inverse.T)
        shift = vectors.T * (inverse * (mean_p - mean_q))
        squared = [sum(shift[i, j] ** 2 for j in range(shift.cols)) for i in range(shift.rows)]
        return GaussianPair(
            variance_ratios=np.array([float(v) for v in values]),
            squared_shifts=np.array([float(s) for s in squared]),
            n_columns=shift.cols,
        )


def true_epsilon(mechanism: RidgeLangevin, data: Dataset, forget: tuple[int, ...]) -> float:
    sigma = mechanism.bind(data, forget).laws.sigma_unlearn
    pair = oracle(replace(mechanism.process(data, forget), sigma_unlearn=sigma))
    return max(pair.epsilon(DELTA), pair.reversed().epsilon(DELTA))


def noisy_line(offset: float) -> Dataset:
    rng = np.random.default_rng(3)
    x = np.hstack([rng.standard_normal((20, 2)), np.ones((20, 1))])
    y = x @ rng.standard_normal((3, 1)) + 0.1 * rng.standard_normal((20, 1)) + offset
    return from_arrays(x, y, kind="regression")


@pytest.mark.parametrize(
    ("offset", "penalty", "noise", "error"),
    [(0.0, 1e-2, 0.05, 2e-10), (1e5, 1e-9, 0.05, 2e-6), (1e9, 1e-9, 0.05, 2e-2), (1e11, 1e-14, 1e-6, 5e-2)],
)
def test_certificates_are_safe_where_means_are_large(offset: float, penalty: float, noise: float, error: float) -> None:
    """Subtracting the means of two p x p laws would lose 1e-16 of the offset, far more than epsilon allows."""
    mechanism = RidgeLangevin(penalty=penalty, n_learn=60, n_unlearn=3, sigma_learn=0.05, sigma_unlearn=noise)
    data = noisy_line(offset)
    expected = true_epsilon(mechanism, data, (7,))
    (exact,) = (c for c in mechanism.bind(data, (7,)).certificates() if c.method == "exact")
    assert exact.epsilon >= expected * (1 - 1e-13)
    assert exact.epsilon <= expected * (1 + 2 * exact.numerical_error)
    assert exact.numerical_error < error


def test_calibrated_noise_meets_its_target_where_means_are_large() -> None:
    noise = CalibratedNoise(route="exact", epsilon=0.1)
    mechanism = RidgeLangevin(penalty=1e-9, n_learn=60, n_unlearn=3, sigma_learn=0.05, sigma_unlearn=noise)
    assert 0.1 * (1 - 2e-3) <= true_epsilon(mechanism, noisy_line(1e9), (7,)) <= 0.1


@pytest.mark.slow
def test_what_deflation_leaves_out_is_charged() -> None:
    """A tiny row with a huge target, beside a usual one: deflation drops the row, and its shift."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((20, 6)), 0.3 * rng.standard_normal((20, 1))
    y = x @ rng.standard_normal((6, 1)) + noise
    x[4], y[4] = x[4] * 1e-15, 1e15
    data = from_arrays(x, y, kind="regression")
    mechanism = RidgeLangevin(penalty=1e-3, n_learn=60, n_unlearn=10, sigma_learn=0.3, sigma_unlearn=0.3)
    for forget in ((4,), (4, 6)):
        found = mechanism.bind(data, forget).certificates()[0].epsilon
        assert found >= true_epsilon(mechanism, data, forget) * (1 - 1e-13), forget
    assert np.isfinite(mechanism.bind(data, (4,)).certificates()[0].epsilon)
