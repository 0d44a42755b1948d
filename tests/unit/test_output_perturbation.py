"""Output perturbation: fits by hand, the claim against the laws, noise against its target, releases that fit once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB

from attacks.protocol import trouble
from attacks.registry import ATTACKS
from audit.running.binding import make_context
from mechanisms.accounting import gdp
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Direction, EpsilonDelta, GaussianDP, PrivacyProfile, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation, PerturbedDeletion
from mechanisms.protocol import Deletion, HasCertificates, HasLaw, HasParameters, World
from mechanisms.sources import load_named

Array = NDArray[np.float64]
RIDGE = Ridge(alpha=1.0, fit_intercept=False)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=200)


@pytest.fixture(scope="module")
def small() -> Dataset:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 3))
    return from_arrays(x, x @ rng.normal(size=3) + rng.normal(size=30), kind="regression")


def solved(data: Dataset, penalty: float = 1.0) -> Array:
    x = data.features
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ data.targets))


def newton(weights: Array, retained: Dataset, deleted: Dataset) -> Array:
    """One Newton step of the ridge objective on what is retained: exact for a quadratic."""
    x = retained.features
    gradient = x.T @ (x @ weights - retained.targets) + weights
    return np.asarray(weights - np.linalg.solve(x.T @ x + np.eye(x.shape[1]), gradient))


def test_the_worlds_are_the_fits_and_the_claim_is_their_distance_over_the_noise(digits: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.2).bind(digits, (3, 8))
    full, without = solved(digits), solved(digits.without((3, 8)))
    np.testing.assert_allclose(deletion.law(World.UNLEARNED).mean, full, atol=1e-10)
    np.testing.assert_allclose(deletion.law(World.NEGLECTED).mean, full, atol=1e-10)
    np.testing.assert_allclose(deletion.law(World.RETRAINED).mean, without, atol=1e-10)
    mu = float(np.linalg.norm(full - without)) / 0.2
    (certificate,) = deletion.certificates()
    assert isinstance(certificate.claim.guarantee, GaussianDP)
    assert certificate.claim.guarantee.mu == pytest.approx(mu, rel=1e-9)
    assert certificate.epsilon == pytest.approx(gdp.epsilon(mu, 1e-5), rel=1e-9)
    assert certificate.claim.provenance == certificate.method == "exact"
    # Without noise while learning, a deletion that is not unlearned is plain to see.
    assert certificate.epsilon_without_unlearning == math.inf
    assert deletion.mu == pytest.approx(mu, rel=1e-9)


def test_the_claim_is_exact_for_the_laws(digits: Dataset) -> None:
    """The pair of the two laws knows nothing of the claim: same delta at every epsilon, rounded up by the claim."""
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.3).bind(digits, (3,))
    pair = GaussianPair.from_laws(deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED))
    claim = deletion.certificates()[0].claim
    for point in claim.points(Direction.UNLEARNED_FROM_RETRAINED):
        assert point.delta >= pair.delta(point.epsilon)
        assert point.delta == pytest.approx(pair.delta(point.epsilon), rel=1e-6, abs=1e-12)


def test_releases_follow_the_law_and_the_claimed_curve(small: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.05).bind(small, (2,))
    rng, n = np.random.default_rng(0), 40_000
    unlearned, retrained = (deletion.sample(world, n, rng=rng) for world in (World.UNLEARNED, World.RETRAINED))
    assert unlearned.shape == (n, 3, 1)
    law = deletion.law(World.UNLEARNED)
    np.testing.assert_allclose(unlearned.mean(axis=0), law.mean, atol=5 * 0.05 / math.sqrt(n))
    np.testing.assert_allclose(np.cov(unlearned[:, :, 0].T), law.covariance, atol=6 * 0.05**2 * math.sqrt(2 / n))
    # The best test projects on the difference of the means; its power at a false-positive rate of a half is Phi(mu).
    way = (law.mean - deletion.law(World.RETRAINED).mean)[:, 0]
    threshold = float(deletion.law(World.RETRAINED).mean[:, 0] @ way)
    power = float(np.mean(unlearned[:, :, 0] @ way > threshold))
    assert power == pytest.approx(norm.cdf(deletion.mu), abs=5 * 0.5 / math.sqrt(n))
    assert float(np.mean(retrained[:, :, 0] @ way > threshold)) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(n))


class CountingRidge(Ridge):
    """Ridge that counts its fits over all clones."""

    fits = 0

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Count, and fit."""
        type(self).fits += 1
        return super().fit(*args, **kwargs)


def test_sampling_never_fits_again_and_the_users_estimator_stays_unfitted(small: Dataset) -> None:
    CountingRidge.fits = 0
    estimator = CountingRidge(alpha=1.0, fit_intercept=False)
    deletion = OutputPerturbation(estimator=estimator, sigma=0.1).bind(small, (0,))
    bound = CountingRidge.fits
    # With, without, and with once more to see that the fit is deterministic; with and without at a tighter tolerance.
    assert bound == 5
    for world in World:
        deletion.sample(world, 500, rng=np.random.default_rng(1))
        deletion.law(world)
    deletion.certificates()
    assert CountingRidge.fits == bound
    assert not hasattr(estimator, "coef_")


@pytest.mark.parametrize(
    "target",
    [GaussianDP(mu=0.3), EpsilonDelta(epsilon=0.5, delta=1e-5), EpsilonDelta(epsilon=0.0, delta=0.05)],
    ids=["mu", "epsilon", "delta_only"],
)
@pytest.mark.parametrize("sigma_learn", [0.0, 0.01])
def test_calibrated_noise_meets_its_target_and_one_percent_less_does_not(
    digits: Dataset, target: GaussianDP | EpsilonDelta, sigma_learn: float
) -> None:
    def mechanism(sigma: float | CalibratedSigma) -> OutputPerturbation:
        return OutputPerturbation(estimator=RIDGE, sigma=sigma, sigma_learn=sigma_learn)

    def meets(deletion: PerturbedDeletion) -> bool:
        claim = deletion.certificates()[0].claim
        if isinstance(target, GaussianDP):
            return isinstance(claim.guarantee, GaussianDP) and claim.guarantee.mu <= target.mu
        return all(claim.epsilon_at(target.delta, way) <= target.epsilon for way in Direction)

    deletion = mechanism(CalibratedSigma(target=target)).bind(digits, (7,))
    assert deletion.sigma_unlearn > 0
    assert meets(deletion)
    assert not meets(mechanism(0.99 * deletion.sigma_unlearn).bind(digits, (7,)))
    if isinstance(target, EpsilonDelta):
        assert deletion.certificates()[0].delta == target.delta


def test_enough_learning_noise_needs_none_while_unlearning(digits: Dataset) -> None:
    target = CalibratedSigma(target=GaussianDP(mu=0.5))
    deletion = OutputPerturbation(estimator=RIDGE, sigma=target, sigma_learn=10.0).bind(digits, (7,))
    certificate = deletion.certificates()[0]
    assert deletion.sigma_unlearn == 0
    assert certificate.epsilon_without_unlearning == pytest.approx(certificate.epsilon, rel=1e-9)


def test_more_noise_than_learning_adds_lowers_epsilon(digits: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.3, sigma_learn=0.1).bind(digits, (7,))
    certificate = deletion.certificates()[0]
    assert certificate.epsilon_without_unlearning is not None
    assert certificate.epsilon < certificate.epsilon_without_unlearning < math.inf
    assert deletion.law(World.RETRAINED).covariance[0, 0] == pytest.approx(0.1)


def test_a_coarse_grid_never_lowers_the_noise(digits: Dataset) -> None:
    fine, coarse = (
        OutputPerturbation(estimator=RIDGE, sigma=CalibratedSigma(target=GaussianDP(mu=0.3), grid_ratio=ratio)).bind(
            digits, (7,)
        )
        for ratio in (None, 1.25)
    )
    assert fine.sigma_unlearn <= coarse.sigma_unlearn <= 1.25 * fine.sigma_unlearn
    assert math.log(coarse.sigma_unlearn) / math.log(1.25) == pytest.approx(
        round(math.log(coarse.sigma_unlearn) / math.log(1.25)), abs=1e-9
    )


def test_an_impossible_target_is_refused(digits: Dataset) -> None:
    target = CalibratedSigma(target=EpsilonDelta(epsilon=1.0, delta=0.0))
    with pytest.raises(InvalidInputError, match=r"sigma\.target"):
        OutputPerturbation(estimator=RIDGE, sigma=target).bind(digits, (7,))


def test_an_exact_removal_leaves_nothing_to_hide(digits: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.1, removal=newton).bind(digits, (3,))
    assert deletion.shift < 1e-10
    assert deletion.certificates()[0].epsilon == 0.0
    np.testing.assert_allclose(deletion.law(World.UNLEARNED).mean, solved(digits.without((3,))), atol=1e-10)
    # Neglected: the same step on all data, which moves nothing, so the record stays.
    np.testing.assert_allclose(deletion.law(World.NEGLECTED).mean, solved(digits), atol=1e-10)


def test_a_partial_removal_needs_less_noise_than_none_and_hides_its_residual(digits: Dataset) -> None:
    """A Newton step with the curvature of all data: what it leaves is the second-order term."""

    def stale(weights: Array, retained: Dataset, deleted: Dataset) -> Array:
        x = np.vstack([retained.features, deleted.features])
        gradient = deleted.features.T @ (deleted.features @ weights - deleted.targets)
        return np.asarray(weights + np.linalg.solve(x.T @ x + np.eye(x.shape[1]), gradient))

    target = CalibratedSigma(target=GaussianDP(mu=0.5))
    kept = OutputPerturbation(estimator=RIDGE, sigma=target).bind(digits, (3,))
    moved = OutputPerturbation(estimator=RIDGE, sigma=target, removal=stale).bind(digits, (3,))
    assert 0 < moved.sigma_unlearn < kept.sigma_unlearn
    residual = stale(solved(digits), digits.without((3,)), digits.take((3,))) - solved(digits.without((3,)))
    assert moved.sigma_unlearn == pytest.approx(float(np.linalg.norm(residual)) / 0.5, rel=1e-8)
    assert moved.certificates()[0].epsilon_without_unlearning == math.inf


def test_a_removal_of_the_wrong_shape_is_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="removal"):
        OutputPerturbation(estimator=RIDGE, sigma=0.1, removal=lambda w, r, d: w[1:]).bind(digits, (3,))


def test_plain_retraining_without_learning_noise_is_told_apart_with_certainty(small: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.1, reference=Reference.RETRAIN_ONLY).bind(small, (2,))
    (certificate,) = deletion.certificates()
    assert certificate.epsilon == math.inf
    assert certificate.claim.reference is deletion.reference is Reference.RETRAIN_ONLY
    releases = deletion.sample(World.RETRAINED, 3, rng=np.random.default_rng(0))
    np.testing.assert_allclose(releases, np.repeat(solved(small.without((2,)))[None], 3, axis=0), atol=1e-12)


def test_plain_retraining_with_learning_noise_is_the_exact_pair(small: Dataset) -> None:
    """Unequal noises: the claim is a table, and dearer than the definition that noises both worlds."""
    plain, both = (
        OutputPerturbation(estimator=RIDGE, sigma=0.05, sigma_learn=0.1, reference=reference).bind(small, (2,))
        for reference in (Reference.RETRAIN_ONLY, Reference.RETRAIN_THEN_UNLEARN)
    )
    certificate = plain.certificates()[0]
    assert isinstance(certificate.claim.guarantee, PrivacyProfile)
    pair = GaussianPair.from_laws(plain.law(World.UNLEARNED), plain.law(World.RETRAINED))
    np.testing.assert_allclose(pair.variance_ratios, 1.25, rtol=1e-12)
    assert certificate.epsilon == max(pair.epsilon(1e-5), pair.reversed().epsilon(1e-5))
    assert certificate.epsilon > both.certificates()[0].epsilon
    assert max(certificate.claim.epsilon_at(1e-5, way) for way in Direction) == pytest.approx(certificate.epsilon)


def test_no_noise_at_all(small: Dataset) -> None:
    deletion = OutputPerturbation(estimator=RIDGE, sigma=0.0).bind(small, (2,))
    assert not deletion.release.continuous
    assert deletion.certificates()[0].epsilon == math.inf
    removed = OutputPerturbation(estimator=RIDGE, sigma=CalibratedSigma(target=GaussianDP(mu=0.1))).bind(
        from_arrays(np.vstack([small.features, np.zeros(3)]), np.append(small.targets[:, 0], 4.0), kind="regression"),
        (30,),
    )
    # A record without features leaves no trace in a model without intercept, up to the fit's rounding.
    assert removed.sigma_unlearn < 1e-12


def test_a_release_has_the_shape_that_the_linear_attacks_read(digits: Dataset, small: Dataset) -> None:
    for data in (digits, small):
        deletion = OutputPerturbation(estimator=RIDGE, sigma=0.1).bind(data, (3,))
        assert deletion.release.shape == (data.features.shape[1], data.targets.shape[1])
        assert deletion.parameters()["penalty"] == 1.0
        for protocol in (Deletion, HasLaw, HasCertificates, HasParameters):
            assert isinstance(deletion, protocol)
        context = make_context(deletion, data, (3,))
        assert context.law_unlearned is not None
        for name in ("likelihood_ratio", "influence"):
            assert trouble(ATTACKS[name], context, n_fit=0) is None


def test_classifiers_are_fitted_on_labels_and_an_intercept_is_a_last_row(digits: Dataset) -> None:
    estimator = LogisticRegression(C=0.5, max_iter=2000)
    deletion = OutputPerturbation(estimator=estimator, sigma=0.1, public={"penalty": 2.0}).bind(digits, (3,))
    assert deletion.release.shape == (66, 10)
    expected = LogisticRegression(C=0.5, max_iter=2000).fit(digits.features, digits.targets.argmax(axis=1))
    np.testing.assert_allclose(deletion.law(World.UNLEARNED).mean[:-1], expected.coef_.T)
    np.testing.assert_allclose(deletion.law(World.UNLEARNED).mean[-1], expected.intercept_)
    assert deletion.parameters()["penalty"] == 2.0
    two = digits.targets[:, :2].sum(axis=1) == 1
    pairs = from_arrays(digits.features[two], digits.targets[two, 1], kind="classification")
    bare = LogisticRegression(fit_intercept=False, max_iter=2000)
    # Two classes have one column of coefficients.
    assert OutputPerturbation(estimator=bare, sigma=0.1).bind(pairs, (0,)).release.shape == (65, 1)


def test_a_fit_that_is_not_deterministic_is_refused(digits: Dataset) -> None:
    loose = SGDClassifier(max_iter=5, tol=None, fit_intercept=False)
    with pytest.raises(InvalidInputError, match="random_state"):
        OutputPerturbation(estimator=loose, sigma=0.1).bind(digits, (3,))
    fixed = SGDClassifier(max_iter=5, tol=None, fit_intercept=False, random_state=0)
    assert OutputPerturbation(estimator=fixed, sigma=0.1).bind(digits, (3,)).release.shape == (65, 10)


def test_what_is_not_a_linear_model_is_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="coef_"):
        OutputPerturbation(estimator=GaussianNB(), sigma=0.1).bind(digits, (3,))


def test_deleting_the_last_record_of_a_class_is_refused() -> None:
    rng = np.random.default_rng(0)
    data = from_arrays(rng.normal(size=(9, 2)), [0, 0, 0, 0, 1, 1, 1, 1, 2], kind="classification")
    with pytest.raises(InvalidInputError, match="last record of a class"):
        OutputPerturbation(estimator=LogisticRegression(), sigma=0.1).bind(data, (8,))


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": math.inf}, "sigma"),
        ({"sigma": math.nan}, "sigma"),
        ({"sigma": 0.1, "sigma_learn": -1.0}, "sigma_learn"),
        ({"sigma": 0.1, "delta": 0.0}, "delta"),
        ({"sigma": 0.1, "sigma_learn": 0.1, "removal": newton}, "sigma_learn.*removal"),
        (
            {"sigma": CalibratedSigma(target=GaussianDP(mu=1.0)), "reference": Reference.RETRAIN_ONLY},
            "retrain_only",
        ),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any], pattern: str) -> None:
    with pytest.raises(InvalidInputError, match=pattern):
        OutputPerturbation(estimator=RIDGE, **fields)
