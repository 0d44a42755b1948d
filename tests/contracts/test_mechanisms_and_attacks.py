"""One suite over every mechanism and every attack: what the auditor relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from attacks.protocol import AttackContext
from attacks.registry import ATTACKS, SUMMARIES, applicable_attacks
from audit.binding import make_context
from mechanisms.adapters.functions import from_functions
from mechanisms.dataset import Dataset
from mechanisms.errors import NotApplicableError
from mechanisms.faulty import NeglectedRidge
from mechanisms.output_perturbation import OutputPerturbation
from mechanisms.protocol import Deletion, HasCertificates, Mechanism, ReleaseSpec, World
from mechanisms.registry import MECHANISMS
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

Array = NDArray[np.float64]
SMALL = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_learn=0.001, sigma_unlearn=0.0005)


def _learn(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features.T @ data.targets / 100


def _unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    noisy: Array = model + rng.standard_normal(model.shape)
    return noisy


EVERY_MECHANISM: dict[str, Any] = {
    "stepwise": SMALL,
    "closed_form": RidgeLangevin(n_learn=20, n_unlearn=4, sigma_unlearn=0.0005, sampler="closed_form"),
    "neglected": NeglectedRidge(mechanism=SMALL),
    "downdate": ExactDowndate(),
    "output_perturbation": OutputPerturbation(estimator=Ridge(alpha=1.0, fit_intercept=False), sigma=0.1),
    "functions": from_functions(
        learn=_learn, unlearn=_unlearn, release=ReleaseSpec(shape=(65, 10)), parameters={"penalty": 1.0}
    ),
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=120)


def test_the_registries_are_not_empty_and_name_what_exists() -> None:
    assert set(ATTACKS) == set(SUMMARIES)
    assert len(ATTACKS) == 4
    assert set(MECHANISMS) == {SMALL.name, ExactDowndate().name}


@pytest.mark.parametrize("name", EVERY_MECHANISM)
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


@pytest.mark.parametrize("name", EVERY_MECHANISM)
def test_binding_does_not_touch_the_data(digits: Dataset, name: str) -> None:
    before = digits.sha256()
    deletion = EVERY_MECHANISM[name].bind(digits, (3,))
    deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(0))
    assert digits.sha256() == before


@pytest.mark.parametrize("name", EVERY_MECHANISM)
def test_certificates_are_about_the_world_that_is_sampled(digits: Dataset, name: str) -> None:
    deletion = EVERY_MECHANISM[name].bind(digits, (3,))
    for certificate in deletion.certificates() if isinstance(deletion, HasCertificates) else ():
        assert certificate.claim.reference is deletion.reference
        for direction in certificate.claim.directions:
            assert certificate.claim.epsilon_at(certificate.delta, direction) <= certificate.epsilon * (1 + 1e-6)


@pytest.fixture(scope="module")
def trials(digits: Dataset) -> tuple[AttackContext, Array, Array]:
    """Releases of a service that ignored the deletion of a hard record: easy to tell apart."""
    deletion = NeglectedRidge(mechanism=EVERY_MECHANISM["closed_form"]).bind(digits, (77,))
    rng = np.random.default_rng(2)
    unlearned, retrained = (deletion.sample(w, 800, rng=rng) for w in (World.UNLEARNED, World.RETRAINED))
    return make_context(deletion, digits, (77,)), unlearned, retrained


@pytest.mark.parametrize("name", ATTACKS)
def test_scores_are_higher_in_the_unlearned_world(trials: tuple[AttackContext, Array, Array], name: str) -> None:
    context, unlearned, retrained = trials
    fitted = ATTACKS[name].fit(unlearned[:400], retrained[:400], context, rng=np.random.default_rng(0))
    high, low = fitted.score(unlearned[400:]), fitted.score(retrained[400:])
    assert high.shape == low.shape == (400,)
    gap = (high.mean() - low.mean()) / np.sqrt((high.var() + low.var()) / 400)
    assert gap > 6


@pytest.mark.parametrize("name", ATTACKS)
def test_a_score_depends_on_its_own_release_alone(trials: tuple[AttackContext, Array, Array], name: str) -> None:
    context, unlearned, retrained = trials
    fitted = ATTACKS[name].fit(unlearned[:200], retrained[:200], context, rng=np.random.default_rng(0))
    mixed = np.concatenate([unlearned[200:205], retrained[200:205]])
    order = np.random.default_rng(5).permutation(10)
    np.testing.assert_allclose(fitted.score(mixed[order]), fitted.score(mixed)[order], rtol=1e-9)
    np.testing.assert_allclose(fitted.score(mixed[3:4]), fitted.score(mixed)[3:4], rtol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_fitting_is_deterministic(trials: tuple[AttackContext, Array, Array], name: str) -> None:
    context, unlearned, retrained = trials
    scores = [
        ATTACKS[name].fit(unlearned, retrained, context, rng=np.random.default_rng(0)).score(unlearned)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*scores)


def test_attacks_refuse_what_they_cannot_score(digits: Dataset) -> None:
    mechanism = from_functions(learn=_learn, unlearn=_unlearn, release=(7,))
    context = make_context(mechanism.bind(digits, (3,)), digits, (3,))
    empty = np.empty((0, 7))
    for name in ("likelihood_ratio", "target_loss", "influence", "lda"):
        with pytest.raises(NotApplicableError, match=name):
            ATTACKS[name].fit(empty, empty, context, rng=np.random.default_rng(0))
    assert [attack.name for attack in applicable_attacks(context)] == ["lda"]


def test_lda_on_degenerate_trials(digits: Dataset) -> None:
    context = make_context(ExactDowndate().bind(digits, (3,)), digits, (3,))
    rng = np.random.default_rng(0)
    same = np.ones((50, 65, 10))
    np.testing.assert_array_equal(ATTACKS["lda"].fit(same, same, context, rng=rng).score(same), 0.0)
    # Constant in each world and different between them: told apart with certainty.
    fitted = ATTACKS["lda"].fit(same + 0.1, same, context, rng=rng)
    assert fitted.score(same + 0.1).min() > fitted.score(same).max()
    # One constant column and fewer trials than parameters.
    few = rng.normal(size=(20, 65, 10))
    few[:, 0, 0] = 1.0
    assert np.all(np.isfinite(ATTACKS["lda"].fit(few, few + 0.01, context, rng=rng).score(few)))


def test_log_likelihood_ratio_agrees_with_scipy(digits: Dataset) -> None:
    from scipy.stats import multivariate_normal

    deletion = EVERY_MECHANISM["closed_form"].bind(digits, (77,))
    context = make_context(deletion, digits, (77,))
    fitted = ATTACKS["likelihood_ratio"].fit(np.empty(0), np.empty(0), context, rng=np.random.default_rng(0))
    releases = deletion.sample(World.UNLEARNED, 4, rng=np.random.default_rng(1))
    p, q = deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED)
    expected = [
        sum(
            multivariate_normal.logpdf(w[:, j], p.mean[:, j], p.covariance, allow_singular=True)
            - multivariate_normal.logpdf(w[:, j], q.mean[:, j], q.covariance, allow_singular=True)
            for j in range(10)
        )
        for w in releases
    ]
    np.testing.assert_allclose(fitted.score(releases), expected, rtol=1e-6, atol=1e-6)
