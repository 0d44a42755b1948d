"""The two samplers share no code and agree in law; each check's level is a share of the suite's budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2, norm

from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
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


def energy_z(first: np.ndarray, second: np.ndarray) -> float:
    """The energy distance in standard deviations of its permutation distribution (99 permutations)."""
    rng, pooled, n = np.random.default_rng(3), np.concatenate([first, second]), len(first)
    distances = np.linalg.norm(pooled[:, None] - pooled[None], axis=2)

    def energy_distance(one: np.ndarray, other: np.ndarray) -> float:
        between, *within = (
            float(distances[np.ix_(a, b)].mean()) for a, b in ((one, other), (one, one), (other, other))
        )
        return 2 * between - sum(within)

    orders = [rng.permutation(len(pooled)) for _ in range(99)]
    draws = [energy_distance(order[:n], order[n:]) for order in orders]
    found = energy_distance(np.arange(n), np.arange(n, len(pooled)))
    return (found - float(np.mean(draws))) / float(np.std(draws))


# A weighted sum of centred chi-squares exceeds 12 standard deviations with probability below the check's level.
ENERGY_LIMIT = 12.0


@pytest.mark.parametrize("world", list(World))
def test_samplers_agree_by_the_energy_distance(small: Dataset, world: World) -> None:
    deletion = MECHANISM.bind(small, (4,))
    scale = np.sqrt(np.diag(deletion.law(world).covariance))[:, None]
    first = (deletion.stepwise.sample(world, 250, rng=np.random.default_rng(1)) / scale).reshape(250, -1)
    second = (deletion.closed_form.sample(world, 250, rng=np.random.default_rng(2)) / scale).reshape(250, -1)
    assert energy_z(first, second) < ENERGY_LIMIT


def test_the_energy_distance_sees_a_law_with_less_noise(small: Dataset) -> None:
    """The check above can fail."""
    right, wrong = MECHANISM.bind(small, (4,)), replace(MECHANISM, sigma_unlearn=0.02).bind(small, (4,))
    scale = np.sqrt(np.diag(right.law(World.NEGLECTED).covariance))[:, None]
    first = (right.stepwise.sample(World.NEGLECTED, 250, rng=np.random.default_rng(1)) / scale).reshape(250, -1)
    second = wrong.closed_form.sample(World.NEGLECTED, 250, rng=np.random.default_rng(2)) / scale
    assert energy_z(first, second.reshape(250, -1)) > ENERGY_LIMIT


def test_digits_release_shape_and_order() -> None:
    deletion = RidgeLangevin(n_learn=3, n_unlearn=1).bind(load_named("digits", rows=100), (0,))
    for sampler in (deletion.stepwise, deletion.closed_form):
        assert sampler.sample(World.UNLEARNED, 5, rng=np.random.default_rng(0)).shape == (5, 65, 10)
