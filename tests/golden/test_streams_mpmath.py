"""Exact certificates of streams against laws in 50 digits: never below them, and not far above."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.reduced import reduce_stream

DELTA, PENALTY, N_LEARN = 1e-5, 0.3, 20


def chain(data: Dataset, step_size: float, stages: list[tuple[list[int], int, float]]) -> tuple[Any, Any]:
    """Mean and covariance after noisy steps on the records of each stage in turn, one step at a time."""
    p, q = data.features.shape[1], data.targets.shape[1]
    mean, covariance = mp.zeros(p, q), mp.zeros(p, p)
    for rows, n_steps, sigma in stages:
        x, y = mp.matrix(data.features[rows].tolist()), mp.matrix(data.targets[rows].tolist())
        eta = mp.mpf(step_size)
        step, moment = mp.eye(p) - eta * (x.T * x + mp.mpf(PENALTY) * mp.eye(p)), eta * (x.T * y)
        for _ in range(n_steps):
            mean = step * mean + moment
            covariance = step * covariance * step.T + mp.mpf(sigma) ** 2 * mp.eye(p)
    return mean, covariance


def truth(data: Dataset, setup: KrylovSetup, phases: list[Phase]) -> float:
    """Return the larger direction's epsilon of the release after the last phase."""
    gone: list[int] = []
    stages = [(list(range(data.n_records)), N_LEARN, setup.sigma_learn)]
    for phase in phases:
        gone += phase.request
        stages.append(([i for i in range(data.n_records) if i not in gone], phase.n_steps, phase.sigma))
    left = stages[-1][0]
    with mp.workdps(50):
        mean_p, cov_p = chain(data, setup.step_size, stages)
        mean_q, cov_q = chain(data, setup.step_size, [(left, n, sigma) for _, n, sigma in stages])
        inverse = mp.cholesky(cov_q) ** -1
        values, vectors = mp.eigsy(inverse * cov_p * inverse.T)
        shift = vectors.T * (inverse * (mean_p - mean_q))
        pair = GaussianPair(
            variance_ratios=np.array([float(v) for v in values]),
            squared_shifts=np.array([float(sum(s**2 for s in shift[i, :])) for i in range(shift.rows)]),
            n_columns=shift.cols,
        )
    return max(pair.epsilon(DELTA), pair.reversed().epsilon(DELTA))


@pytest.mark.parametrize(
    ("offset", "sigma_learn", "sigmas", "error"),
    [
        (0.0, 0.05, (0.05, 0.02, 0.08), 1e-9),
        (0.0, 0.05, (1e-4, 0.05, 0.05), 1e-9),
        (0.0, 0.0, (0.02, 0.05, 0.03), 1e-9),
        (0.0, 0.05, (0.05, 1e-6, 1e-5), 1e-4),
        (1e5, 0.05, (0.05, 0.02, 0.08), 1e-4),
    ],
)
def test_certificates_of_streams_are_never_below_50_digits(
    offset: float, sigma_learn: float, sigmas: tuple[float, ...], error: float
) -> None:
    rng = np.random.default_rng(3)
    x = np.hstack([rng.standard_normal((12, 2)), np.ones((12, 1))])
    y = x @ rng.standard_normal((3, 1)) + 0.1 * rng.standard_normal((12, 1)) + offset
    data = from_arrays(x, y, kind="regression")
    setup = KrylovSetup.of(data, penalty=PENALTY, n_learn=N_LEARN, n_unlearn=1, sigma_learn=sigma_learn)
    phases = [
        Phase(request=request, n_steps=n, sigma=sigma)
        for request, n, sigma in zip([(7,), (1, 4), (9,)], (3, 2, 4), sigmas, strict=True)
    ]
    for j in (2, 3):
        found = reduce_stream(setup, phases[:j]).epsilon(DELTA, phases[j - 1].sigma)
        expected = truth(data, setup, phases[:j])
        assert expected * (1 - 1e-13) <= found <= expected * (1 + error)
