"""Newton removal: gradients and optima against slow oracles, the residual's bound against a direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from mechanisms.claim import EpsilonDelta, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.perturbation.newton_removal import NewtonDeletion, NewtonRemoval, Objective
from mechanisms.protocol import World
from mechanisms.sources import load_named

Array = NDArray[np.float64]
MECHANISM = NewtonRemoval(penalty=0.02, sigma=0.8, epsilon=1.0, delta=0.1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(150, 4))
    y = np.sign(x @ np.array([0.5, -1.0, 0.3, 0.0]) + rng.logistic(size=150))
    x[0], y[0] = [1.5, -3.0, 1.0, 0.5], -1.0
    return from_arrays(x, y, kind="regression")


def loss(weights: Array, objective: Objective, perturbation: Array) -> float:
    """The perturbed objective of one model, written naively."""
    total = objective.penalty / 2 * float(weights @ weights) + float(perturbation @ weights)
    for x, y in zip(objective.features, objective.labels[:, 0], strict=True):
        total += math.log1p(math.exp(-y * float(x @ weights)))
    return total


def residuals(deletion: NewtonDeletion, models: Array) -> tuple[Array, Array]:
    """Norm of the perturbed retained gradient after the step, computed directly, and its bound."""
    # Training left gradient(full) + b = 0, which gives the perturbation of each model back.
    perturbation = -deletion.full.gradient(models)
    step = deletion.step(models)
    left = deletion.retained.gradient(models + step) + perturbation
    return np.linalg.norm(left, axis=(1, 2)), deletion.residual_bound(step)


def test_gradient_agrees_with_finite_differences(data: Dataset) -> None:
    objective = MECHANISM.bind(data, (0,)).retained
    weights, perturbation = np.random.default_rng(0).normal(size=(2, 4))
    gradient = objective.gradient(weights[None, None])[0, 0] + perturbation
    h = 1e-6
    for j, unit in enumerate(np.eye(4)):
        slope = (
            loss(weights + h * unit, objective, perturbation) - loss(weights - h * unit, objective, perturbation)
        ) / (2 * h)
        assert gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_training_reaches_the_optimum_of_the_perturbed_objective(data: Dataset) -> None:
    deletion = MECHANISM.bind(data, (0,))
    perturbation = np.random.default_rng(1).normal(size=(1, 1, 4))
    found = deletion.full.minimise(perturbation, deletion.starts["full"])[0, 0]
    slow = minimize(lambda w: loss(w, deletion.full, perturbation[0, 0]), np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(found, slow, atol=1e-5)


def test_newton_direction_solves_with_the_dense_hessian(data: Dataset) -> None:
    objective = MECHANISM.bind(data, (0,)).retained
    weights, gradient = np.random.default_rng(2).normal(size=(2, 3, 1, 4))
    solved = objective.newton_direction(weights, gradient)
    for w, g, s in zip(weights[:, 0], gradient[:, 0], solved[:, 0], strict=True):
        probability = 1 / (1 + np.exp(-objective.features @ w))
        hessian = (objective.features.T * (probability * (1 - probability))) @ objective.features
        np.testing.assert_allclose((hessian + objective.penalty * np.eye(4)) @ s, g, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("forget", [(0,), (7,), (0, 3, 9)])
def test_the_residual_is_below_its_bound(data: Dataset, forget: tuple[int, ...]) -> None:
    deletion = MECHANISM.bind(data, forget)
    left, bound = residuals(deletion, deletion.train("full", 200, np.random.default_rng(4)))
    assert np.all(left <= bound)
    # A bound that is far too large would pass as well: it is loose, by the paper's own account, but not vacuous.
    assert np.all(bound < np.linalg.norm(deletion.deleted.gradient(deletion.starts["full"][None])))


def test_the_residual_of_several_columns_is_below_its_bound() -> None:
    digits = load_named("digits", rows=120)
    deletion = NewtonRemoval(penalty=0.1).bind(digits, (77,))
    left, bound = residuals(deletion, deletion.train("full", 3, np.random.default_rng(5)))
    assert deletion.release.shape == (65, 10)
    assert np.all(left <= bound)


@pytest.mark.parametrize(("norm", "paper_fails"), [(1.0, False), (10.0, True), (100.0, True)])
def test_the_residual_of_long_records_is_below_its_bound(norm: float, paper_fails: bool) -> None:
    """The paper's constant is for records of norm 1; where it is too small, the bound has grown with the norm."""
    paper = 0.0
    for seed in range(30, 50):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((12, 2))
        x *= norm / np.linalg.norm(x, axis=1, keepdims=True)
        data = from_arrays(x, np.where(rng.random(12) < 0.5, 1.0, -1.0), kind="regression")
        mechanism = NewtonRemoval(penalty=10 ** rng.uniform(-4, 1), epsilon=1.0, delta=0.1)
        deletion = mechanism.bind(data, tuple(range(rng.integers(1, 6))))
        left, bound = residuals(deletion, deletion.starts["full"][None])
        assert left[0] <= bound[0]
        paper = max(paper, float(left[0] / bound[0]) * max(1.0, norm / (3 * math.sqrt(3))))
    assert (paper > 1) is paper_fails


def test_removal_without_a_nonlinear_loss_leaves_nothing(data: Dataset) -> None:
    """Deleting a record without influence: no step, no residual."""
    features = data.features.copy()
    features[5] = 0.0
    deletion = MECHANISM.bind(from_arrays(features, data.targets, kind="regression"), (5,))
    models = deletion.train("full", 10, np.random.default_rng(6))
    left, bound = residuals(deletion, models)
    assert left.max() < 1e-3
    assert np.all(left <= bound)


def test_a_step_beyond_the_budget_is_replaced_by_training_anew(data: Dataset) -> None:
    """With so small a budget every model is trained on the retained data: removal is retraining, draw for draw."""
    deletion = NewtonRemoval(penalty=0.02, sigma=0.8, epsilon=1e-6, delta=0.1).bind(data, (0,))
    removed = deletion.sample(World.UNLEARNED, 5, rng=np.random.default_rng(7))
    rng = np.random.default_rng(7)
    rng.standard_normal((5, 1, 4))
    anew = deletion.sample(World.RETRAINED, 5, rng=rng)
    np.testing.assert_allclose(removed, anew, atol=1e-9)


def test_a_step_within_the_budget_is_taken(data: Dataset) -> None:
    deletion = NewtonRemoval(penalty=0.02, sigma=30.0, epsilon=4.0, delta=0.1).bind(data, (0,))
    models = deletion.train("full", 5, np.random.default_rng(7))
    removed = deletion.sample(World.UNLEARNED, 5, rng=np.random.default_rng(7))
    np.testing.assert_allclose(removed[:, :, 0], (models + deletion.step(models))[:, 0], atol=1e-12)


def test_the_certificate_is_the_papers(data: Dataset) -> None:
    deletion = MECHANISM.bind(data, (0,))
    (certificate,) = deletion.certificates()
    assert certificate.claim.guarantee == EpsilonDelta(epsilon=1.0, delta=0.1)
    assert certificate.claim.provenance == "published"
    assert certificate.claim.reference is Reference.RETRAIN_THEN_UNLEARN
    c = 0.8 * 1.0 / MECHANISM.budget
    assert 1.5 * math.exp(-(c**2) / 2) == pytest.approx(0.1, rel=1e-12)


def test_one_hot_and_signed_labels_are_the_same_model(data: Dataset) -> None:
    zero_one = from_arrays(data.features, (data.targets + 1) / 2, kind="regression")
    signed, binary = (MECHANISM.bind(d, (0,)).starts["retained"] for d in (data, zero_one))
    np.testing.assert_allclose(signed, binary, atol=1e-12)


@pytest.mark.parametrize(
    "fields", [{"penalty": 0.0}, {"sigma": -1.0}, {"epsilon": math.inf}, {"delta": 0.0}, {"delta": 1.0}]
)
def test_impossible_settings_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(fields))):
        NewtonRemoval(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("epsilon", "delta", "holds"), [(8.3, 1e-4, True), (8.5, 1e-4, False), (4.9, 0.7, True)])
def test_an_epsilon_beyond_the_papers_formula_is_refused(epsilon: float, delta: float, holds: bool) -> None:
    if holds:
        NewtonRemoval(epsilon=epsilon, delta=delta)
        return
    with pytest.raises(InvalidInputError, match=r"epsilon.*budget"):
        NewtonRemoval(epsilon=epsilon, delta=delta)


def test_targets_that_are_no_labels_are_refused(data: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"targets.*0 and 1"):
        MECHANISM.bind(from_arrays(data.features, data.features[:, 0], kind="regression"), (0,))
