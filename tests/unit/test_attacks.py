"""Attacks against slow oracles and against what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, norm
from sklearn.linear_model import LogisticRegression

from attacks.linear.fisher import Fisher
from attacks.linear.geometry import Geometry
from attacks.linear.influence import Influence
from attacks.linear.krylov import KrylovLda, krylov_basis
from attacks.linear.residual import TargetLoss
from attacks.outputs.statistics import target_statistics
from attacks.outputs.u_lira import ULira
from attacks.portfolio import MEAN, SCALE, TAIL, Chosen, Family, portfolio
from attacks.protocol import AttackContext, Needs, Probe
from attacks.quadratic.clouds import Qda, Radius
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from attacks.separation import separation
from attacks.tails.tail import Tail, minority_shift
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access, GaussianLaw, OutputKind, ReleaseSpec

Array = NDArray[np.float64]


def regression(d: int, q: int = 1, n: int = 200) -> Dataset:
    rng = np.random.default_rng(d)
    x = rng.normal(size=(n, d)) / np.arange(1, d + 1)
    return from_arrays(x, x @ rng.normal(size=(d, q)) + rng.normal(size=(n, q)), kind="regression")


def context_of(data: Dataset, **changes: Any) -> AttackContext:
    shape = (data.features.shape[1], data.targets.shape[1])
    given: dict[str, Any] = {"release": ReleaseSpec(shape=shape), "parameters": {"penalty": 1.0}} | changes
    return AttackContext(retained=data.without((0,)), deleted=data.take((0,)), **given)


class TestGeometry:
    def test_of_ridge(self) -> None:
        data = regression(5, q=2)
        found = Geometry.of(context_of(data), "influence")
        x, y = data.features[1:], data.targets[1:]
        hessian = x.T @ x + np.eye(5)
        residual = data.features[:1] @ np.linalg.solve(hessian, x.T @ y) - data.targets[:1]
        np.testing.assert_allclose(found.gradient, data.features[:1].T @ residual, rtol=1e-9)
        solved = found.from_eigenbasis(found.in_eigenbasis(found.gradient) / found.values.T)
        np.testing.assert_allclose(solved, np.linalg.solve(hessian, found.gradient), rtol=1e-8)

    @pytest.mark.parametrize("columns", [1, 2])
    def test_of_logistic_regression(self, columns: int) -> None:
        """One column: scikit-learn's two classes. Two: each class against the rest."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(80, 3))
        data = from_arrays(x, (x[:, 0] + rng.normal(size=80) > 0).astype(float))
        assert data.targets.shape == (80, 2)
        context = context_of(
            data, release=ReleaseSpec(shape=(3, columns)), parameters={"penalty": 0.5, "loss": "logistic"}
        )
        found = Geometry.of(context, "influence")
        label = data.targets[:, 1]
        model = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-9).fit(x[1:], label[1:])
        fitted = model.predict_proba(x)[:, 1]
        np.testing.assert_allclose(found.residual[:, -1], fitted[:1] - label[:1], rtol=1e-3)
        hessian = (x[1:] * (fitted * (1 - fitted))[1:, None]).T @ x[1:] + 0.5 * np.eye(3)
        solved = found.from_eigenbasis(found.in_eigenbasis(found.gradient) / found.values.T)
        np.testing.assert_allclose(solved[:, -1], np.linalg.solve(hessian, found.gradient[:, -1]), rtol=1e-3)
        if columns == 2:
            np.testing.assert_allclose(solved[:, 0], -solved[:, 1], rtol=1e-6)
        basis = krylov_basis(context, "krylov_lda")
        flat = basis.reshape(len(basis), -1)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(basis)), atol=1e-10)

    def test_an_unknown_loss_is_refused(self) -> None:
        context = context_of(regression(3), parameters={"penalty": 1.0, "loss": "hinge"})
        with pytest.raises(NotApplicableError, match="squared and logistic"):
            Geometry.of(context, "influence")

    def test_one_class_alone_is_refused(self) -> None:
        data = regression(3)
        positive = from_arrays(data.features, np.abs(data.targets) + 1, kind="regression")
        context = context_of(positive, parameters={"penalty": 1.0, "loss": "logistic"})
        with pytest.raises(NotApplicableError, match="both classes"):
            Geometry.of(context, "krylov_lda")


class TestKrylov:
    @pytest.mark.parametrize(("d", "q"), [(3, 1), (40, 1), (12, 3)])
    def test_the_basis_is_orthonormal_and_spans_the_powers(self, d: int, q: int) -> None:
        context = context_of(regression(d, q))
        basis = krylov_basis(context, "krylov_lda")
        flat = basis.reshape(len(basis), -1)
        assert len(basis) == min(7, d)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
        geometry = Geometry.of(context, "krylov_lda")
        gradient = geometry.in_eigenbasis(geometry.gradient)
        for power in range(-3, 4):
            direction = geometry.from_eigenbasis(gradient * geometry.values.T**power).reshape(-1)
            direction /= np.linalg.norm(direction)
            assert np.linalg.norm(direction - flat.T @ (flat @ direction)) < 1e-6

    def test_a_record_without_gradient_gives_a_constant_score(self) -> None:
        data = regression(4)
        empty = Dataset(
            name="zero",
            features=np.vstack([np.zeros((1, 4)), data.features]),
            targets=np.vstack([np.zeros((1, 1)), data.targets]),
            kind="regression",
        )
        trials = np.random.default_rng(0).normal(size=(30, 4, 1))
        for attack in (KrylovLda(), Influence(), Tail()):
            scores = attack.fit(trials, trials, context_of(empty), rng=np.random.default_rng(0)).score(trials)
            np.testing.assert_array_equal(scores, scores[0])

    def test_it_needs_hardly_more_trials_than_directions(self) -> None:
        context = context_of(regression(200))
        rng = np.random.default_rng(0)
        shift = Influence().fit(np.empty(0), np.empty(0), context, rng=rng).weights  # type: ignore[attr-defined]
        trials = rng.normal(size=(2, 100, 200, 1))
        fitted = KrylovLda().fit(trials[0] + shift, trials[1], context, rng=rng)
        fresh = rng.normal(size=(4000, 200, 1))
        mu = (fitted.score(fresh + shift).mean() - fitted.score(fresh).mean()) / fitted.score(fresh).std()
        assert mu > 0.85


def test_fisher_is_the_likelihood_ratio_of_equal_covariances() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(4, 4))
    laws = [GaussianLaw(mean=rng.normal(size=(4, 2)), covariance=root @ root.T) for _ in range(2)]
    context = context_of(regression(4, 2), law_unlearned=laws[0], law_retrained=laws[1])
    releases = rng.normal(size=(20, 4, 2))
    scores = [a.fit(releases, releases, context, rng=rng).score(releases) for a in (Fisher(), LikelihoodRatio())]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6, atol=1e-8)
    still = GaussianLaw(mean=laws[0].mean, covariance=np.zeros((4, 4)))
    with pytest.raises(NotApplicableError, match="no variance"):
        Fisher().fit(
            releases, releases, context_of(regression(4, 2), law_unlearned=still, law_retrained=still), rng=rng
        )


class TestClouds:
    def test_qda_is_the_log_ratio_of_the_shrunk_gaussians(self) -> None:
        from scipy.stats import multivariate_normal
        from sklearn.covariance import ledoit_wolf

        rng = np.random.default_rng(0)
        p, q = rng.normal(size=(300, 4)) * [1, 2, 3, 4] + 0.3, rng.normal(size=(300, 4))
        fitted = Qda().fit(p, q, context_of(regression(4)), rng=rng)
        scale, expected = q.std(axis=0), 0.0
        for sign, trials in ((1, p), (-1, q)):
            covariance, _ = ledoit_wolf((trials - trials.mean(axis=0)) / scale, assume_centered=True)
            law = multivariate_normal(trials.mean(axis=0), covariance * np.outer(scale, scale))
            expected = expected + sign * law.logpdf(p[:9])
        np.testing.assert_allclose(fitted.score(p[:9]), expected, rtol=1e-8)

    def test_radius_is_the_mahalanobis_distance(self) -> None:
        rng = np.random.default_rng(0)
        retrained = rng.normal(size=(20_000, 3)) @ rng.normal(size=(3, 3)) + 5
        fitted = Radius().fit(retrained, retrained, context_of(regression(3)), rng=rng)
        gap = retrained[:50] - retrained.mean(axis=0)
        expected = np.einsum("ij,jk,ik->i", gap, np.linalg.inv(np.cov(retrained.T)), gap)
        np.testing.assert_allclose(fitted.score(retrained[:50]), expected, rtol=0.02)

    @pytest.mark.parametrize("factor", [0.9, 1.1])
    def test_a_little_too_much_or_too_little_noise_is_seen_in_either_tail(self, factor: float) -> None:
        rng = np.random.default_rng(0)
        trials = rng.normal(size=(2, 500, 100))
        trials[0] *= factor
        fitted = SCALE.fit(trials[0], trials[1], context_of(regression(3)), rng=rng)
        fresh = rng.normal(size=(4000, 100))
        assert separation(fitted.score(factor * fresh[:2000]), fitted.score(fresh[2000:])) > 1.0

    def test_qda_can_ask_for_trials(self) -> None:
        trials = np.random.default_rng(0).normal(size=(20, 30))
        with pytest.raises(NotApplicableError, match="at least 60 fitting trials"):
            Qda(trials_a_dimension=2.0).fit(trials, trials, context_of(regression(3)), rng=np.random.default_rng(0))


class TestTail:
    def test_the_minority_is_found_where_the_mean_says_little(self) -> None:
        rng = np.random.default_rng(1)
        points = rng.normal(size=(400, 7))
        shift = np.zeros(7)
        shift[2] = 5.0
        points[:20] += shift
        found = minority_shift(points)
        cosine = found @ shift / np.linalg.norm(found) / 5
        mean = points.mean(axis=0)
        assert cosine > 0.95 > mean @ shift / np.linalg.norm(mean) / 5
        assert np.linalg.norm(found) == pytest.approx(5, abs=0.8)

    def test_no_minority_at_all(self) -> None:
        assert np.all(np.isfinite(minority_shift(np.zeros((10, 3)))))
        assert minority_shift(np.empty((10, 0))).shape == (0,)

    def test_a_skipped_deletion_is_seen_without_the_model(self) -> None:
        """Of outputs at the deleted record, and of releases that nothing is known of."""
        rng = np.random.default_rng(0)
        retrained, unlearned = rng.normal(size=(2, 800, 3, 1))
        unlearned[:40, 0] -= 6.0
        probe = Probe(kind="values", rows=(0,))
        spec = ReleaseSpec(shape=(3, 1), access=Access.BLACK_BOX)
        unknown = context_of(regression(5), release=ReleaseSpec(shape=(3, 1)))
        for context in (context_of(regression(3), release=spec, probe=probe), unknown):
            fitted = TAIL.fit(unlearned, retrained, context, rng=rng)
            scores = fitted.score(unlearned)
            assert np.quantile(fitted.score(retrained), 0.99) < np.median(scores[:40])


class TestOutputs:
    def statistics(self, kind: OutputKind, outputs: Array, targets: Array) -> Array:
        data = Dataset(name="d", features=np.zeros((3, 2)), targets=targets, kind="classification")
        spec = ReleaseSpec(shape=outputs.shape[1:], access=Access.BLACK_BOX)
        return target_statistics(outputs, context_of(data, release=spec, probe=Probe(kind=kind, rows=(1,))), "u_lira")

    def test_of_every_kind(self) -> None:
        one_hot = np.eye(3)
        logits = np.array([[[9.0, 9, 9], [2.0, 0.0, 1.0]]])
        chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        odds = 2 - np.log(1 + np.e)
        np.testing.assert_allclose(self.statistics("logits", logits, one_hot), [[odds]])
        np.testing.assert_allclose(self.statistics("probabilities", chances, one_hot), [[odds]])
        np.testing.assert_allclose(self.statistics("values", logits, one_hot), [[1.0, 0.0, 1.0]])
        np.testing.assert_array_equal(
            self.statistics("labels", np.array([[1.0, 0.0], [0.0, 2.0]]), one_hot), [[1], [0]]
        )

    def test_of_one_column_for_two_classes(self) -> None:
        targets = np.array([[0.0, 1.0]] * 3), np.array([[1.0, 0.0]] * 3)
        logits = np.array([[[0.0], [2.0]]])
        for labels, sign in zip(targets, (1, -1), strict=True):
            np.testing.assert_allclose(self.statistics("logits", logits, labels), [[2.0 * sign]])
            chances = 1 / (1 + np.exp(-logits))
            np.testing.assert_allclose(self.statistics("probabilities", chances, labels), [[2.0 * sign]])

    def test_shapes_that_cannot_be_are_refused(self) -> None:
        with pytest.raises(NotApplicableError, match="row 1"):
            self.statistics("logits", np.zeros((4, 1, 3)), np.eye(3))
        with pytest.raises(NotApplicableError, match="3 values a probe record"):
            self.statistics("values", np.zeros((4, 2, 2)), np.eye(3))
        with pytest.raises(NotApplicableError, match="every class"):
            self.statistics("logits", np.zeros((4, 2, 2)), np.eye(3)[::-1])

    def test_u_lira_of_labels_prefers_the_world_that_is_right_more_often(self) -> None:
        rng = np.random.default_rng(0)
        data = Dataset(name="d", features=np.zeros((3, 2)), targets=np.eye(3), kind="classification")
        spec = ReleaseSpec(shape=(1,), access=Access.BLACK_BOX)
        context = context_of(data, release=spec, probe=Probe(kind="labels", rows=(0,)))
        right, wrong = ((rng.random((200, 1)) > rate).astype(float) for rate in (0.9, 0.5))
        fitted = ULira().fit(right, wrong, context, rng=rng)
        assert fitted.score(np.array([[0.0]])) > fitted.score(np.array([[1.0]]))


class TestSeparation:
    def test_against_a_slow_loop(self) -> None:
        rng = np.random.default_rng(0)
        u, r = rng.normal(1.0, 1.0, 300), rng.normal(0.0, 1.0, 200)
        pooled = np.concatenate([u, r])
        best = -np.inf
        for t in np.sort(pooled):
            for side in (1, -1):
                k1, k0 = np.sum(side * u > side * t), np.sum(side * r > side * t)
                if k1 and k0 < 200:
                    low, high = beta.ppf(0.05, k1, 300 - k1 + 1), beta.ppf(0.95, k0 + 1, 200 - k0)
                    best = max(best, norm.ppf(low) - norm.ppf(high))
        assert best - 0.15 < separation(u, r) <= best + 1e-9

    def test_a_mixture_counts_although_its_mean_hardly_moves(self) -> None:
        rng = np.random.default_rng(0)
        u, r = rng.normal(size=(2, 2000))
        u[:100] += 6
        # A Gaussian shift with the same mean and spread.
        assert separation(u, r) > 0.8 > 0.35 > separation(u.std() * rng.normal(size=2000) + 0.3, u.std() * r)

    def test_corners(self) -> None:
        assert separation(np.ones(50), np.ones(50)) < 0
        assert separation(np.ones(50), np.zeros(50)) == pytest.approx(2 * norm.ppf(0.05 ** (1 / 50)))
        assert np.isfinite(separation(np.ones(1), np.zeros(1)))


class TestPortfolio:
    def test_families_choose_what_the_law_calls_for(self) -> None:
        context = context_of(regression(60))
        rng = np.random.default_rng(0)
        chosen = {}
        for attack in (TargetLoss(), Influence()):
            weights = attack.fit(np.empty(0), np.empty(0), context, rng=rng).weights  # type: ignore[attr-defined]
            trials = rng.normal(size=(2, 2000, 60, 1))
            fitted = MEAN.fit(trials[0] + 2 * weights / np.linalg.norm(weights), trials[1], context, rng=rng)
            assert isinstance(fitted, Chosen)
            chosen[attack.name] = fitted.member
        # Noise is equal in all directions, so that a shift along a direction is best seen along it.
        assert chosen == {"target_loss": "target_loss", "influence": "influence"}

    def test_scores_are_in_standard_deviations_of_retrained_models(self) -> None:
        """So that thresholds that were chosen with fewer trials, or another member, are the right ones."""
        context = context_of(regression(10))
        rng = np.random.default_rng(0)
        trials = rng.normal(size=(2, 600, 10, 1))
        for family in (MEAN, SCALE):
            fitted = family.fit(1.3 * trials[0] + 0.5, trials[1], context, rng=rng)
            scores = fitted.score(rng.normal(size=(3000, 10, 1)))
            assert abs(scores.mean()) < 0.25
            assert scores.std() == pytest.approx(1, abs=0.25)

    def test_a_custom_family_and_members_that_do_not_apply(self) -> None:
        assert [family.name for family in portfolio(Influence())][-1] == "portfolio:custom"
        assert len(portfolio()) == 3
        family = Family(name="mine", members=(Fisher(), _Broken()))
        trials = np.random.default_rng(0).normal(size=(20, 3, 1))
        with pytest.raises(NotApplicableError, match=r"mine has no member.*fisher.*broken gives scores that are NaN"):
            family.fit(trials, trials, context_of(regression(3)), rng=np.random.default_rng(0))

    def test_members_of_any_kind_are_averaged(self) -> None:
        """A member that is neither linear nor quadratic."""
        family = Family(name="mine", members=(ULira(),))
        rng = np.random.default_rng(0)
        trials = rng.normal(size=(2, 100, 3, 1))
        fitted = family.fit(trials[0] + 1, trials[1], context_of(regression(3)), rng=rng)
        assert fitted.score(trials[1]).shape == (100,)


class _Broken:
    name = "broken"
    needs = Needs()

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator) -> Any:
        return self

    def score(self, releases: Array) -> Array:
        return np.full(len(releases), np.nan)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_the_scale_family_is_high_for_the_unlearned_world_whatever_the_fault(factor: float) -> None:
    """Too little noise puts unlearned models nearer to the retrained ones, too much farther away."""
    rng = np.random.default_rng(12)
    unlearned, retrained = factor * rng.standard_normal((400, 8)), rng.standard_normal((400, 8))
    context = context_of(regression(8), release=ReleaseSpec(shape=(8,)))
    fitted = SCALE.fit(unlearned, retrained, context, rng=rng)
    fresh = factor * rng.standard_normal((400, 8)), rng.standard_normal((400, 8))
    assert fitted.score(fresh[0]).mean() > fitted.score(fresh[1]).mean() + 0.5
