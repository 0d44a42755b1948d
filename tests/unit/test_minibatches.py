"""Ridge regression on fixed public minibatches: laws, a sampler that steps, certificates never below 50 digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import audit
from audit.plan.audit_plan import CertifiedClaim
from audit.records.verdict import Verdict
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import World
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.minibatches import MinibatchDeletion, RidgeMinibatch

DELTA = 1e-5
RIDGE = RidgeMinibatch(batch=5, penalty=0.3, n_learn=20, n_unlearn=6, sigma_learn=0.05, sigma_unlearn=0.04)


def records(offset: float = 0.0) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(15, 3)) * [1.0, 0.7, 0.5]
    return from_arrays(x, x @ rng.normal(size=(3, 2)) + 0.3 * rng.normal(size=(15, 2)) + offset, kind="regression")


def best(pair: Any) -> float:
    return float(max(pair.epsilon(DELTA), pair.reversed().epsilon(DELTA)))


def stepped(deletion: MinibatchDeletion, world: World) -> tuple[Any, Any]:
    """Mean and covariance in 50 digits, one step at a time."""
    steps, (p, q) = deletion.steps, deletion.release.shape
    mean, covariance = mp.zeros(p, q), mp.zeros(p, p)
    for k, batch in enumerate(steps.batches):
        learning = k < steps.n_learn
        without = world is World.RETRAINED or (not learning and world is World.UNLEARNED)
        rows = [int(i) for i in batch if not (without and i in steps.forget)]
        x, y = (mp.matrix(values[rows].tolist()) for values in (steps.data.features, steps.data.targets))
        scale, eta = mp.mpf(steps.data.n_records) / len(batch), mp.mpf(steps.step_size)
        a = mp.eye(p) - eta * (scale * (x.T * x) + mp.mpf(steps.penalty) * mp.eye(p))
        sigma = mp.mpf(steps.sigma_learn if learning else deletion.sigma_unlearn)
        mean = a * mean + eta * scale * (x.T * y)
        covariance = a * covariance * a.T + sigma**2 * mp.eye(p)
    return mean, covariance


def truth(deletion: MinibatchDeletion) -> float:
    with mp.workdps(50):
        (mean_p, cov_p), (mean_q, cov_q) = (stepped(deletion, w) for w in (World.UNLEARNED, World.RETRAINED))
        inverse = mp.cholesky(cov_q) ** -1
        values, vectors = mp.eigsy(inverse * cov_p * inverse.T)
        shift = vectors.T * (inverse * (mean_p - mean_q))
        pair = GaussianPair(
            variance_ratios=np.array([float(v) for v in values]),
            squared_shifts=np.array([float(sum(s**2 for s in shift[i, :])) for i in range(shift.rows)]),
            n_columns=shift.cols,
        )
    return best(pair)


@pytest.mark.parametrize(("offset", "sigma", "error"), [(0.0, 0.04, 1e-8), (0.0, 1e-4, 1e-4), (1e5, 0.04, 1e-3)])
def test_certificates_are_never_below_50_digits(offset: float, sigma: float, error: float) -> None:
    for forget in ((3,), (3, 7)):
        deletion = replace(RIDGE, sigma_unlearn=sigma).bind(records(offset), forget)
        found, expected = deletion.certificates()[0].epsilon, truth(deletion)
        assert expected * (1 - 1e-13) <= found <= expected * (1 + error)


def test_one_batch_of_all_records_is_the_full_batch() -> None:
    data, whole = records(), replace(RIDGE, batch=15)
    full = RidgeLangevin(penalty=0.3, n_learn=20, n_unlearn=6, sigma_learn=0.05, sigma_unlearn=0.04)
    found, expected = whole.bind(data, (3,)).certificates()[0], full.bind(data, (3,)).certificates()[0]
    assert np.isclose(found.epsilon, expected.epsilon, rtol=1e-8)
    assert np.isclose(found.epsilon_without_unlearning, expected.epsilon_without_unlearning, rtol=1e-8)


def test_a_record_that_no_batch_holds_is_not_told_apart() -> None:
    data, short = records(), replace(RIDGE, batch=1, n_learn=4, n_unlearn=2)
    unseen = next(i for i in range(15) if i not in short.bind(data, (0,)).steps.batches)
    assert short.bind(data, (unseen,)).certificates()[0].epsilon == 0.0


@pytest.mark.parametrize("world", list(World))
def test_the_sampler_that_steps_has_the_laws(world: World) -> None:
    deletion = RIDGE.bind(records(), (3,))
    drawn, law = deletion.sample(world, 3000, rng=np.random.default_rng(1)), deletion.law(world)
    spread = np.sqrt(np.diag(law.covariance))
    assert np.abs((drawn.mean(axis=0) - law.mean) / spread[:, None]).max() * np.sqrt(3000) < 4.5
    found = np.mean([np.cov(drawn[:, :, j].T) for j in range(2)], axis=0)
    assert np.abs((found - law.covariance) / np.outer(spread, spread)).max() < 0.1


def test_noise_is_calibrated_to_its_target() -> None:
    noise = CalibratedNoise(route="exact", epsilon=0.3)
    deletion = replace(RIDGE, sigma_unlearn=noise).bind(records(), (3,))
    assert 0.3 * (1 - 1e-5) <= truth(deletion) <= 0.3


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"batch": 0}, {"schedule": -1}, {"sigma_unlearn": CalibratedNoise(route="repaired", epsilon=1.0)}):
        with pytest.raises(InvalidInputError):
            replace(RIDGE, **wrong)
    for wrong in ({"batch": 16}, {"step_size": 10.0}):
        with pytest.raises(InvalidInputError):
            replace(RIDGE, **wrong).bind(records(), (3,))


def test_an_audit_of_minibatches_does_not_refute_their_certificate() -> None:
    finding = audit.run(
        RIDGE, records(), forget=3, claim=CertifiedClaim(method="exact"), trials=600, attacks=["lda"]
    ).findings[0]
    assert finding.verdict is Verdict.NOT_REFUTED
