"""One suite over every mechanism: what the auditor relies on. Attacks have theirs in ``test_attacks``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.sklearn import from_estimator
from mechanisms.dataset import Dataset
from mechanisms.faulty import NeglectedRidge
from mechanisms.logistic import LogisticLangevin
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.perturbation.output_perturbation import OutputPerturbation
from mechanisms.protocol import Deletion, HasCertificates, Mechanism, ReleaseSpec, World
from mechanisms.registry import MECHANISMS
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.minibatches import RidgeMinibatch
from mechanisms.sources import load_named

Array = NDArray[np.float64]
SMALL = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_learn=0.001, sigma_unlearn=0.0005)


def _learn(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features.T @ data.targets / 100


def _unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    noisy: Array = model + rng.standard_normal(model.shape)
    return noisy


def _perturb(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    model.coef_ = _unlearn(model.coef_, retained, forget, rng)
    return model


EVERY_MECHANISM: dict[str, Any] = {
    "stepwise": SMALL,
    "closed_form": RidgeLangevin(n_learn=20, n_unlearn=4, sigma_unlearn=0.0005, sampler="closed_form"),
    "neglected": NeglectedRidge(mechanism=SMALL),
    "downdate": ExactDowndate(),
    "output_perturbation": OutputPerturbation(estimator=Ridge(alpha=1.0, fit_intercept=False), sigma=0.1),
    "estimator": from_estimator(Ridge(alpha=1.0, fit_intercept=False), unlearn=_perturb, fit_once=True),
    "functions": from_functions(
        learn=_learn, unlearn=_unlearn, release=ReleaseSpec(shape=(65, 10)), parameters={"penalty": 1.0}
    ),
    "newton_removal": NewtonRemoval(penalty=0.1),
    "logistic": LogisticLangevin(n_learn=6, n_unlearn=3),
    "minibatch": RidgeMinibatch(batch=16, n_learn=20, n_unlearn=4, sigma_unlearn=0.0005),
    "network": NetworkLangevin(hidden=3, n_learn=5, n_unlearn=3),
}
NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[torch]'")
MECHANISM_NAMES = [pytest.param(name, marks=NEEDS_TORCH) if name == "network" else name for name in EVERY_MECHANISM]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=120)


def test_the_registry_names_what_exists() -> None:
    existing = (SMALL, RidgeMinibatch(batch=8), ExactDowndate(), LogisticLangevin(), NetworkLangevin(), NewtonRemoval())
    assert set(MECHANISMS) == {mechanism.name for mechanism in existing}


@pytest.mark.parametrize("name", MECHANISM_NAMES)
@pytest.mark.parametrize("world", list(World))
def test_releases_have_the_declared_shape_and_replay(digits: Dataset, name: str, world: World) -> None:
    mechanism: Mechanism = EVERY_MECHANISM[name]
    deletion = mechanism.bind(digits, (3, 8))
    assert isinstance(deletion, Deletion)
    first = deletion.sample(world, 5, rng=np.random.default_rng(1))
    assert first.shape == (5, *deletion.release.shape)
    np.testing.assert_array_equal(first, deletion.sample(world, 5, rng=np.random.default_rng(1)))
    distinct = len(np.unique(first.reshape(5, -1), axis=0))
    assert distinct == (5 if deletion.release.continuous else 1)


@pytest.mark.parametrize("name", MECHANISM_NAMES)
def test_binding_does_not_touch_the_data(digits: Dataset, name: str) -> None:
    before = digits.sha256()
    deletion = EVERY_MECHANISM[name].bind(digits, (3,))
    deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(0))
    assert digits.sha256() == before


@pytest.mark.parametrize("name", MECHANISM_NAMES)
def test_certificates_are_about_the_world_that_is_sampled(digits: Dataset, name: str) -> None:
    deletion = EVERY_MECHANISM[name].bind(digits, (3,))
    for certificate in deletion.certificates() if isinstance(deletion, HasCertificates) else ():
        assert certificate.claim.reference is deletion.reference
        for direction in certificate.claim.directions:
            assert certificate.claim.epsilon_at(certificate.delta, direction) <= certificate.epsilon * (1 + 1e-6)
