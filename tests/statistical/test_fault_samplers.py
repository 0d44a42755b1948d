"""Faulty samplers against their own exact laws: mean and covariance of whitened releases, and a lapse's frequency."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, norm

from mechanisms.faulty.catalogue import CATALOGUE
from mechanisms.faulty.ridge_faults import LAPSE
from mechanisms.faulty.ridge_service import RidgeService, log_density
from mechanisms.protocol import GaussianLaw, World
from tests.statistical.budget import CHECK_LEVEL, binomial_limits

NAMED = {fault.name: fault for fault in CATALOGUE}
BY_TRIALS = {
    *("ridge_early_stopping", "ridge_clipped_noise", "ridge_skipped_sometimes", "output_clipped_noise"),
    *("published_reused_noise", "published_mean_residual", "published_group_delta", "published_fresh_noise"),
}
GAUSSIAN = [name for name in NAMED if name not in BY_TRIALS and not name.startswith(("newton", "network"))]
N = 2000
# Directions with a smaller share of the largest variance do not vary.
CUTOFF = 1e-12


def check(releases: np.ndarray, law: GaussianLaw) -> None:
    """Compare n releases of shape (p, q) with a law, in its own principal axes."""
    values, vectors = np.linalg.eigh(law.covariance)
    varies = values > CUTOFF * max(values[-1], 1e-300)
    rotated = np.einsum("pj,npq->njq", vectors, releases - law.mean)
    assert np.abs(rotated[:, ~varies]).max(initial=0.0) < 1e-6 * max(1.0, np.abs(law.mean).max())
    if not varies.any():
        return
    white = rotated[:, varies] / np.sqrt(values[varies])[:, None]
    n, r, q = white.shape
    # Three checks share the level of one assert each: means, variances, correlations.
    level = CHECK_LEVEL / 3
    total = n * float(np.square(white.mean(axis=0)).sum())
    assert chi2.ppf(level / 2, r * q) < total < chi2.isf(level / 2, r * q)
    rows = white.transpose(0, 2, 1).reshape(n * q, r)
    squares = rows.T @ rows
    variances = np.diag(squares)
    assert np.all(variances > chi2.ppf(level / (2 * r), n * q))
    assert np.all(variances < chi2.isf(level / (2 * r), n * q))
    if r > 1:
        pairs = squares[np.triu_indices(r, 1)] / np.sqrt(n * q)
        assert np.abs(pairs).max() < norm.isf(level / (2 * len(pairs))) * 1.05


@pytest.mark.parametrize("name", GAUSSIAN)
def test_a_gaussian_fault_samples_its_own_law(name: str) -> None:
    deletion = NAMED[name].bind().deletion
    laws = deletion.service.laws()
    assert laws is not None
    for world, law in zip((World.UNLEARNED, World.RETRAINED), laws, strict=True):
        check(deletion.sample(world, N, rng=np.random.default_rng(17)), law)


def test_a_twentieth_of_the_requests_is_skipped() -> None:
    """The two runs are far apart here, so that each release tells which it came from."""
    service = NAMED["ridge_skipped_sometimes"].bind().deletion.service
    assert isinstance(service, RidgeService)
    assert service.lapse is not None
    served, lapsed = service.unlearned.law(), service.lapse[1].law()
    assert served is not None
    assert lapsed is not None
    releases = service.sample(World.UNLEARNED, N, rng=np.random.default_rng(18))
    skipped = log_density(lapsed, releases) > log_density(served, releases)
    low, high = binomial_limits(N, LAPSE)
    assert low <= int(skipped.sum()) <= high
    check(releases[skipped], lapsed)
    check(releases[~skipped], served)


def test_the_retrained_gradient_of_newton_models_is_the_perturbation() -> None:
    """Theorem 3 rests on it: what the optimum cancels is N(0, sigma^2) in every coordinate."""
    claimed = NAMED["newton_no_step"].bind().deletion.claimed
    releases = claimed.sample(World.RETRAINED, N, rng=np.random.default_rng(19)).transpose(0, 2, 1)  # type: ignore[attr-defined]
    gradients = claimed.retained.gradient(releases).transpose(0, 2, 1)  # type: ignore[attr-defined]
    p = gradients.shape[1]
    check(gradients, GaussianLaw(mean=np.zeros((p, 1)), covariance=np.eye(p)))
