"""The two samplers share no code and agree in law; each check's level is a share of the suite's budget."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, norm

from mechanisms.dataset import Dataset, from_arrays, load_named
from mechanisms.protocol import World
from mechanisms.ridge.langevin import RidgeLangevin
from tests.statistical.budget import CHECK_LEVEL

MECHANISM = RidgeLangevin(penalty=0.5, n_learn=40, n_unlearn=12, sigma_learn=0.02, sigma_unlearn=0.05)


@pytest.fixture(scope="module")
def small() -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 5)) / 2
    return from_arrays(x, x @ rng.normal(size=(5, 2)) + rng.normal(size=(30, 2)), kind="regression")


@pytest.mark.parametrize("world", list(World))
def test_stepwise_moments_are_those_of_the_law(small: Dataset, world: World) -> None:
    """Whitened by the law, stepwise samples have mean 0 and covariance I, columns independent."""
    deletion = MECHANISM.bind(small, (4,))
    law = deletion.law(world)
    n = 4000
    releases = deletion.stepwise.sample(world, n, rng=np.random.default_rng(17))
    whiten = np.linalg.inv(np.linalg.cholesky(law.covariance))
    white = np.einsum("ij,njq->niq", whiten, releases - law.mean).reshape(n, -1)
    d = white.shape[1]
    # n |mean|^2 is chi-square with d degrees of freedom.
    assert n * np.sum(white.mean(axis=0) ** 2) < chi2.isf(CHECK_LEVEL, d)
    covariance = white.T @ white / n
    deviation = (covariance - np.eye(d))[np.triu_indices(d)] * np.sqrt(n)
    deviation[[i for i, (r, c) in enumerate(zip(*np.triu_indices(d), strict=True)) if r == c]] /= np.sqrt(2)
    assert np.abs(deviation).max() < 1.05 * norm.isf(CHECK_LEVEL / (2 * len(deviation)))


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    def mean_distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean(np.linalg.norm(a[:, None] - b[None], axis=2)))

    return 2 * mean_distance(first, second) - mean_distance(first, first) - mean_distance(second, second)


@pytest.mark.parametrize("world", list(World))
def test_samplers_agree_by_an_energy_permutation_test(small: Dataset, world: World) -> None:
    """No permutation among 199 is this extreme unless the laws differ; the level of one check is 1/200."""
    deletion = MECHANISM.bind(small, (4,))
    scale = np.sqrt(np.diag(deletion.law(world).covariance))[:, None]
    first = (deletion.stepwise.sample(world, 250, rng=np.random.default_rng(1)) / scale).reshape(250, -1)
    second = (deletion.closed_form.sample(world, 250, rng=np.random.default_rng(2)) / scale).reshape(250, -1)
    observed = energy_distance(first, second)
    rng, pooled = np.random.default_rng(3), np.concatenate([first, second])
    draws = []
    for _ in range(199):
        order = rng.permutation(500)
        draws.append(energy_distance(pooled[order[:250]], pooled[order[250:]]))
    assert observed <= max(draws)


def test_energy_test_sees_a_wrong_number_of_steps(small: Dataset) -> None:
    """The check above can fail: one unlearning step fewer is seen."""
    from dataclasses import replace

    right, wrong = MECHANISM.bind(small, (4,)), replace(MECHANISM, n_unlearn=6).bind(small, (4,))
    world = World.NEGLECTED
    scale = np.sqrt(np.diag(right.law(world).covariance))[:, None]
    first = (right.stepwise.sample(world, 250, rng=np.random.default_rng(1)) / scale).reshape(250, -1)
    second = (wrong.closed_form.sample(world, 250, rng=np.random.default_rng(2)) / scale).reshape(250, -1)
    observed = energy_distance(first, second)
    rng, pooled = np.random.default_rng(3), np.concatenate([first, second])
    draws = []
    for _ in range(199):
        order = rng.permutation(500)
        draws.append(energy_distance(pooled[order[:250]], pooled[order[250:]]))
    assert observed > max(draws)


def test_digits_release_shape_and_order() -> None:
    deletion = RidgeLangevin(n_learn=3, n_unlearn=1).bind(load_named("digits", rows=100), (0,))
    for sampler in (deletion.stepwise, deletion.closed_form):
        assert sampler.sample(World.UNLEARNED, 5, rng=np.random.default_rng(0)).shape == (5, 65, 10)
