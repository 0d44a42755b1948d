"""Logistic and softmax regression by noisy descent: steps against slow code, certificates against quadrature."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from mechanisms import (
    CalibratedLogisticNoise,
    Claim,
    Dataset,
    LogisticLangevin,
    Reference,
    World,
    from_arrays,
    load_named,
)
from mechanisms.claim import Direction
from mechanisms.errors import InvalidInputError
from mechanisms.logistic import LogisticRoutes
from mechanisms.logistic.gaps import ProbableGaps, SureGaps, noiseless_path
from mechanisms.logistic.process import LOGISTIC, SOFTMAX, loss_of
from mechanisms.logistic.stepwise import Objective

ROUTES = ("sure", "probable", "uniform")


def classes(seed: int = 0, *, n: int = 12, p: int = 3, q: int = 2) -> Dataset:
    rng = np.random.default_rng(seed)
    return from_arrays(rng.normal(size=(n, p)), np.arange(n) % q, kind="classification")


def one_feature(features: list[float], labels: list[float]) -> Dataset:
    return from_arrays(np.array(features)[:, None], np.array(labels), kind="regression")


def loss_by_hand(weights: np.ndarray, data: Dataset, penalty: float) -> float:
    """Weights (p, q); two one-hot columns are one column of weights for the last class."""
    predictions = data.features @ weights
    if weights.shape[1] == 1:
        predictions = np.hstack([np.zeros_like(predictions), predictions])
    log_sums = np.log(np.exp(predictions).sum(axis=1))
    return float(np.sum(log_sums - (predictions * data.targets).sum(axis=1)) + penalty / 2 * np.sum(weights**2))


@pytest.mark.parametrize("q", [2, 3])
def test_the_gradient_is_that_of_the_objective(q: int) -> None:
    data, rng = classes(q=q), np.random.default_rng(1)
    weights = rng.normal(size=(3, 1 if q == 2 else q))
    found = Objective.of(data, loss_of(data), 0.7).gradient(weights.T[None])[0].T
    step = 1e-6
    for i in np.ndindex(weights.shape):
        moved = np.zeros_like(weights)
        moved[i] = step
        slope = (loss_by_hand(weights + moved, data, 0.7) - loss_by_hand(weights - moved, data, 0.7)) / (2 * step)
        assert found[i] == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("q", [2, 3])
@pytest.mark.parametrize("world", list(World))
@pytest.mark.parametrize("reference", [Reference.RETRAIN_THEN_UNLEARN, Reference.RETRAIN_ONLY])
def test_releases_are_those_of_a_slow_trainer(q: int, world: World, reference: Reference) -> None:
    data, forget = classes(q=q), (2, 7)
    mechanism = LogisticLangevin(
        penalty=0.5, n_learn=3, n_unlearn=2, sigma_learn=0.1, sigma_unlearn=0.2, reference=reference
    )
    deletion = mechanism.bind(data, forget)
    (found,) = deletion.sample(world, 1, rng=np.random.default_rng(5))
    rng, columns = np.random.default_rng(5), 1 if q == 2 else q
    weights, eta = np.zeros((3, columns)), deletion.parameters()["step_size"]

    def step(records: Dataset, sigma: float) -> np.ndarray:
        slopes = 0.5 * weights
        for x, y in zip(records.features, records.targets, strict=True):
            answer = expit(x @ weights) - y[-1:] if q == 2 else softmax(x @ weights) - y
            slopes = slopes + np.outer(x, answer)
        return weights - eta * slopes + sigma * rng.standard_normal((columns, 3)).T

    kept = data.without(forget)
    for _ in range(3):
        weights = step(kept if world is World.RETRAINED else data, 0.1)
    for _ in range(0 if world is World.RETRAINED and reference is Reference.RETRAIN_ONLY else 2):
        weights = step(data if world is World.NEGLECTED else kept, 0.2)
    assert np.allclose(found, weights, rtol=0, atol=1e-13)


def test_what_is_known_of_softmax() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4000, 5)) * rng.choice([0.1, 1.0, 5.0], size=(4000, 1))
    probabilities = softmax(logits, axis=1)
    curvatures = [np.linalg.eigvalsh(np.diag(pi) - np.outer(pi, pi))[-1] for pi in probabilities[:500]]
    assert max(curvatures) <= SOFTMAX.curvature
    assert np.linalg.eigvalsh(np.diag([0.5, 0.5]) - 0.25)[-1] == pytest.approx(SOFTMAX.curvature)
    residuals = probabilities - np.eye(5)[rng.integers(5, size=4000)]
    assert np.linalg.norm(residuals, axis=1).max() <= SOFTMAX.largest
    moved = logits + rng.normal(size=logits.shape)
    slopes = np.linalg.norm(softmax(moved, axis=1) - probabilities, axis=1) / np.linalg.norm(moved - logits, axis=1)
    assert slopes.max() <= SOFTMAX.curvature
    assert np.linalg.norm([1 - 1e-9, -1]) == pytest.approx(SOFTMAX.largest)
    assert expit(1e-6) - expit(-1e-6) == pytest.approx(2e-6 * LOGISTIC.curvature)


def density(process: Any, learned_on: Dataset, sigma_unlearn: float, grid: np.ndarray) -> np.ndarray:
    """Density of the last iterate of a chain of one weight, by quadrature of one step after the other."""
    h = grid[1] - grid[0]

    def mean(records: Dataset, w: np.ndarray) -> np.ndarray:
        answers = 1 / (1 + np.exp(-np.outer(w, records.features[:, 0]))) - records.targets[:, 0]
        return w - process.step_size * (answers @ records.features[:, 0] + process.penalty * w)

    def normal(centre: np.ndarray, sigma: float) -> np.ndarray:
        z = (grid[:, None] - centre) / sigma
        return np.exp(-z * z / 2) / (sigma * math.sqrt(2 * math.pi))

    law = normal(mean(learned_on, np.zeros(1)), process.sigma_learn)[:, 0]
    for _ in range(process.n_learn - 1):
        law = h * normal(mean(learned_on, grid), process.sigma_learn) @ law
    for _ in range(process.n_unlearn):
        law = h * normal(mean(process.retained, grid), sigma_unlearn) @ law
    assert h * law.sum() == pytest.approx(1, abs=1e-9)
    return np.asarray(law)


CASES = {
    "an easy record": ([1.5, 1.0, 0.5, -1.0, -2.0], [1, 1, 1, 0, 0], 1.0, 0.9),
    "a hard record": ([2.0, -1.0, -1.5, 1.0, 2.0], [0, 0, 0, 1, 1], 0.5, 0.7),
    "steps beyond 2/L of the full data": ([4.0, *[0.04] * 100], [1, *[0] * 100], 2.0, 2.4),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_no_certificate_is_below_the_truth(name: str, delta: float) -> None:
    """One weight, all laws by quadrature: both directions at the certified epsilon, and everywhere on its table."""
    features, labels, penalty, share = CASES[name]
    data = one_feature(features, labels)
    retained = np.sum(np.square(features[1:])) / 4 + penalty
    full = retained + features[0] ** 2 / 4
    step_size = share / full
    assert (step_size * full > 2) == (share > 2)
    assert step_size * retained < 2
    mechanism = LogisticLangevin(
        penalty=penalty, n_learn=5, n_unlearn=2, sigma_learn=0.3, sigma_unlearn=0.4, step_size=step_size, delta=delta
    )
    process = mechanism.process(data, (0,))
    grid = np.linspace(-9, 9, 721)
    p, q = (density(process, learned, 0.4, grid) for learned in (data, process.retained))
    h = grid[1] - grid[0]
    certificates = list(mechanism.bind(data, (0,)).certificates())
    if share <= 2:
        certificates.append(LogisticRoutes(process=process, delta=delta).certificate_of("uniform", 0.4))
    assert len(certificates) == (3 if share <= 2 else 2)
    for certificate in certificates:
        assert h * np.maximum(p - math.exp(certificate.epsilon) * q, 0).sum() <= delta
        assert h * np.maximum(q - math.exp(certificate.epsilon) * p, 0).sum() <= delta
        table = certificate.claim.guarantee
        for direction, (a, b) in {
            Direction.UNLEARNED_FROM_RETRAINED: (p, q),
            Direction.RETRAINED_FROM_UNLEARNED: (q, p),
        }.items():
            for epsilon, log_delta in zip(table.epsilons, table.log_deltas[direction], strict=True):
                assert h * np.maximum(a - math.exp(epsilon) * b, 0).sum() <= math.exp(log_delta)


def test_the_sure_route_is_tight_where_a_residual_is_1_and_the_penalty_is_all() -> None:
    """Learning from one deleted record alone, in steps so small that its residual stays: mu is the shift over noise."""
    data = one_feature([1.0, 1e-9], [1, 0])
    mechanism = LogisticLangevin(penalty=1.0, n_learn=1, n_unlearn=3, sigma_learn=0.2, sigma_unlearn=0.1, step_size=0.5)
    routes = LogisticRoutes(process=mechanism.process(data, (0,)), delta=1e-5)
    # W_1 = eta/2 + noise; three steps of contraction 1/2 with fresh noise.
    exact = 0.25 * 0.5**3 / math.sqrt(0.2**2 * 0.5**6 + 0.1**2 * (1 + 0.5**2 + 0.5**4))
    for route in (routes.sure, routes.probable):
        assert exact <= route.mu(1e-6, 0.1) <= exact * (1 + 1e-6)


@pytest.mark.parametrize("q", [2, 3])
def test_the_path_leaves_its_bound_no_more_often_than_allowed(q: int) -> None:
    data, forget = classes(3, n=15, q=q), (0, 4)
    mechanism = LogisticLangevin(penalty=1.0, n_learn=12, sigma_learn=0.02)
    process = mechanism.process(data, forget)
    gaps = ProbableGaps.of(process)
    bounds = gaps.bounds(0.5)
    assert np.all(bounds < process.loss.largest)
    rng, n = np.random.default_rng(4), 2000
    weights, outside = np.zeros((n, *process.shape[::-1])), np.zeros(n, dtype=bool)
    objective, path = Objective.of(data, process.loss, 1.0), noiseless_path(process)
    for k in range(12):
        distance = np.linalg.norm((weights - path[k]).reshape(n, -1), axis=1)
        allowed = gaps.spread[k] * (math.sqrt(path[0].size) + math.sqrt(2 * math.log(11 / 0.5)))
        outside |= distance > allowed + 1e-12
        one_by_one = [Objective.of(data.take((i,)), process.loss, 1e-300).gradient(weights) for i in forget]
        norms = np.stack([np.linalg.norm(g.reshape(n, -1), axis=1) for g in one_by_one])
        norms = norms / np.linalg.norm(process.deleted.features, axis=1)[:, None]
        assert not np.any((norms > bounds[:, k, None] + 1e-12) & ~outside)
        weights = weights - process.step_size * objective.gradient(weights) + 0.02 * rng.standard_normal(weights.shape)
    assert outside.mean() <= 0.5


def test_the_full_data_decide_how_far_noise_carries() -> None:
    """Beyond step 2/L(D) noise grows: with the retained data's contraction the bound fails half of the time."""
    data = one_feature([4.0, *[0.04] * 100], [1, *[0] * 100])
    mechanism = LogisticLangevin(penalty=2.0, n_learn=60, sigma_learn=1e-4, step_size=0.4)
    process = mechanism.process(data, (0,))
    assert process.contraction < 1 < process.expansion
    right = ProbableGaps.of(process)
    wrong = replace(right, spread=1e-4 * np.sqrt(np.cumsum(process.contraction ** (2 * np.arange(60)))))
    rng, weights, failed = np.random.default_rng(1), np.zeros((400, 1, 1)), {"right": 0.0, "wrong": 0.0}
    objective = Objective.of(data, process.loss, 2.0)
    for k in range(60):
        residuals = 1 - expit(4.0 * weights[:, 0, 0])
        for name, gaps in (("right", right), ("wrong", wrong)):
            failed[name] = max(failed[name], float(np.mean(residuals > gaps.bounds(1e-5)[0, k] + 1e-12)))
        weights = weights - 0.4 * objective.gradient(weights) + 1e-4 * rng.standard_normal(weights.shape)
    assert failed["right"] == 0
    assert 0.35 < failed["wrong"] < 0.65


def test_a_record_of_length_0_adds_nothing_where_noise_grows_beyond_all_numbers() -> None:
    """Learning on all records diverges from the path; what a record without features does not see is still 0."""
    data = from_arrays(
        np.array([[8.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0, 1.0, 0.0]), kind="regression"
    )
    mechanism = LogisticLangevin(n_learn=1500, n_unlearn=5, penalty=1.0, step_size=0.8, sigma_learn=0.1)
    alone, both = (
        {c.method: c.epsilon for c in mechanism.bind(data, forget).certificates()} for forget in ((0,), (0, 1))
    )
    assert both == pytest.approx(alone)


@pytest.mark.parametrize("route", ROUTES)
def test_epsilon_falls_with_noise_and_steps_and_grows_with_records(route: str) -> None:
    data = classes(5, n=20)
    mechanism = LogisticLangevin(penalty=2.0, n_learn=10, n_unlearn=5, sigma_learn=0.02)

    def epsilon(noise: float, forget: tuple[int, ...] = (3,), **settings: Any) -> float:
        chain = replace(mechanism, **settings).process(data, forget)
        return float(getattr(LogisticRoutes(process=chain, delta=1e-5), route).epsilon(noise))

    by_noise = [epsilon(noise) for noise in (0.0, 0.02, 0.05, 0.1, 0.5)]
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_noise[-1] < by_noise[0]
    assert epsilon(0.1, n_unlearn=20) < epsilon(0.1)
    assert epsilon(0.1, n_unlearn=0) == pytest.approx(epsilon(0.0), rel=1e-9)
    assert epsilon(0.1) <= epsilon(0.1, (3, 4))
    assert epsilon(0.1, (3, 4)) == pytest.approx(epsilon(0.1, (4, 3)), rel=1e-12)


def test_routes_are_ordered_where_they_must_be() -> None:
    data = classes(6, n=20)
    process = LogisticLangevin(penalty=2.0, n_learn=10).process(data, (3,))
    probable, sure = ProbableGaps.of(process), SureGaps.of(process)
    assert np.all(probable.at(1e-6) <= sure.gaps * (1 + 1e-9))
    assert np.all(sure.gaps <= SureGaps.largest(process).gaps)
    for record in range(20):
        own = SureGaps.of(LogisticLangevin(penalty=2.0, n_learn=10).process(data, (record,)))
        assert np.all(own.gaps <= SureGaps.largest(process).gaps)


@pytest.mark.parametrize("route", [pytest.param("probable", marks=pytest.mark.slow), "sure", "uniform"])
def test_calibration_is_evaluated_at_what_it_returns(route: Any) -> None:
    data = classes(7, n=20)
    noise = CalibratedLogisticNoise(route=route, epsilon=0.5)
    mechanism = LogisticLangevin(penalty=2.0, n_learn=10, n_unlearn=5, sigma_learn=0.02, sigma_unlearn=noise)
    deletion = mechanism.bind(data, (3,))
    sigma = float(deletion.parameters()["sigma_unlearn"])
    first = deletion.certificates()[0]
    assert (first.method, first.delta) == (route, 1e-5)
    found = getattr(LogisticRoutes(process=mechanism.process(data, (3,)), delta=1e-5), route)
    assert found.epsilon(sigma) <= 0.5 < found.epsilon(0.99 * sigma)
    assert first.epsilon == found.epsilon(sigma)
    coarse = replace(mechanism, sigma_unlearn=replace(noise, grid_ratio=1.25)).bind(data, (3,))
    steps = math.log(float(coarse.parameters()["sigma_unlearn"])) / math.log(1.25)
    assert steps == pytest.approx(round(steps), abs=1e-9)
    assert float(coarse.parameters()["sigma_unlearn"]) >= sigma


def test_values_of_named_data_stay() -> None:
    """Golden values: breast cancer (logistic) and digits (softmax)."""
    cancer, digits = load_named("breast_cancer"), load_named("digits", rows=300)
    assert (cancer.n_records, cancer.features.shape[1], cancer.held_out.n_records) == (400, 31, 169)  # type: ignore[union-attr]
    assert np.linalg.norm(cancer.features, axis=1).max() <= 5.0 + 1e-12
    found = [c.epsilon for c in LogisticLangevin(sigma_unlearn=0.03).bind(cancer, (40,)).certificates()]
    assert found == pytest.approx(GOLDEN["breast_cancer"], rel=1e-9)
    found = [c.epsilon for c in LogisticLangevin(n_learn=30, sigma_unlearn=0.03).bind(digits, (5, 9)).certificates()]
    assert found == pytest.approx(GOLDEN["digits"], rel=1e-9)


GOLDEN = {"breast_cancer": [1.5101210333471722, 1.6003248072899028], "digits": [1.7566697396005264, 1.7850030051737198]}


def test_what_cannot_be_served_is_refused() -> None:
    data = classes()
    with pytest.raises(InvalidInputError, match=r"step_size.*2/L"):
        LogisticLangevin(step_size=50.0).bind(data, (0,))
    noise = CalibratedLogisticNoise(route="sure", epsilon=1.0)
    with pytest.raises(InvalidInputError, match="calibration"):
        LogisticLangevin(sigma_unlearn=noise, reference=Reference.RETRAIN_ONLY).bind(data, (0,))
    with pytest.raises(InvalidInputError, match="targets"):
        LogisticLangevin().bind(from_arrays(np.ones((3, 1)), np.array([0.1, 2.0, 3.0]), kind="regression"), (0,))
    with pytest.raises(InvalidInputError, match="one-hot"):
        LogisticLangevin().bind(from_arrays(np.ones((3, 1)), np.ones((3, 2)), kind="regression"), (0,))
    with pytest.raises(InvalidInputError, match="probable"):
        CalibratedLogisticNoise(route="exact", epsilon=1.0)  # type: ignore[arg-type]
    assert LogisticLangevin(reference=Reference.RETRAIN_ONLY).bind(data, (0,)).certificates() == ()


def test_certificates_say_what_they_rest_on() -> None:
    for certificate in LogisticLangevin().bind(classes(), (0,)).certificates():
        assert isinstance(certificate.claim, Claim)
        text = " ".join(certificate.claim.assumptions)
        assert "last iterate" in text
        assert "contracts" in text
        assert "on what learning alone gives" in text
        assert certificate.epsilon_without_unlearning is not None
        assert certificate.epsilon <= certificate.epsilon_without_unlearning
    long = LogisticLangevin(n_unlearn=0, sigma_learn=0.02).bind(load_named("breast_cancer"), (40,)).certificates()
    # Where epsilon is large the probability of the event costs more than it gains; both carry the smaller bound.
    assert len({c.epsilon_without_unlearning for c in long}) == 1
    assert long[0].epsilon_without_unlearning == min(c.epsilon for c in long)
