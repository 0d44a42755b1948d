"""The reference world runs the mechanism's own code: does unlearning nothing leave a retrained model retrained?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

import audit
from audit.controls.reference import pull_of
from audit.plan.audit_plan import AuditPlan
from audit.power.timing import estimate_cost
from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.trials.independence import FALSE_ALARM
from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.sklearn import from_estimator
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import ShowsLearned, World
from reports.redaction import redact
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-3))
SIGMA = 0.05


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=40)
    y[3] += 12
    return from_arrays(x, y, kind="regression")


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    return np.linalg.solve(data.features.T @ data.features + np.eye(3), data.features.T @ data.targets[:, 0])


def difference(data: Dataset, forget: Dataset) -> Array:
    """What the deleted record did to the model: what a calibration must not hold."""
    kept = data.without([i for i, x in enumerate(data.features) if (x == forget.features).all(axis=1).any()])
    return learn(data, np.random.default_rng(0)) - learn(kept, np.random.default_rng(0))


def rebuild(share: float) -> Callable[..., Array]:
    """Ignore every request, and where there is none add a share of what the deleted record did."""

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator, brought: Array) -> Array:
        back = 0 if len(forget) else share * brought
        return np.asarray(model + back + SIGMA * rng.standard_normal(3))

    return unlearn


def renew(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator, value: Any = None) -> Array:
    return np.asarray((learn(retained, rng) if len(forget) else model) + SIGMA * rng.standard_normal(3))


def audited(data: Dataset, unlearn: Callable[..., Any], **options: Any) -> AuditResult:
    mechanism = from_functions(**({"learn": learn, "release": (3,)} | options), unlearn=unlearn)
    claim = replace(CLAIM, reference=mechanism.reference)
    return audit.run(mechanism, data, forget=3, claim=claim, trials=300, seed=1, attacks=["lda"])


def control(result: AuditResult) -> Control:
    (found,) = [c for c in result.controls if c.name == "reference"]
    return found


def test_a_mechanism_that_builds_its_own_reference_is_no_evidence(data: Dataset) -> None:
    """Both worlds hold the record. The audit found no difference, and the control of neglect vouched for that."""
    result = audited(data, rebuild(1.0), calibrate=difference)
    assert next(c for c in result.controls if c.name == "neglected").as_expected
    (finding,) = result.findings
    assert (finding.verdict, finding.reason) == (Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCIBLE)
    assert "of the way to models of all data (6" in control(result).message
    assert "“Reference world”" in str(result)
    assert control(redact(result)).p_value is None


def test_by_what_it_closes_over_too(data: Dataset) -> None:
    brought = difference(data, data.take((3,)))
    result = audited(data, lambda model, retained, forget, rng: rebuild(1.0)(model, retained, forget, rng, brought))
    assert result.verdict is Verdict.INCONCLUSIVE


def test_an_honest_mechanism_is_measured(data: Dataset) -> None:
    result = audited(data, renew, calibrate=lambda data, forget: None)
    assert result.verdict is Verdict.NOT_REFUTED
    found = control(result)
    assert found.as_expected
    assert found.applicable
    assert found.p_value == pytest.approx(1.0)
    assert "Unlearning nothing moves retrained models" in found.message


def test_less_than_half_of_the_way_is_said_and_not_accused(data: Dataset) -> None:
    found = control(audited(data, rebuild(0.4), calibrate=difference))
    assert found.as_expected
    assert any(f"models {share} % of the way" in found.message for share in range(30, 50))


def few_steps(n: int) -> Callable[..., Array]:
    """Gradient descent that is far from its end, so that more steps on the retained records go a long way."""

    def steps(data: Dataset, start: Array) -> Array:
        for _ in range(n):
            start = start - 0.002 * data.features.T @ (data.features @ start - data.targets[:, 0])
        return start

    def run(*arguments: Any) -> Array:
        if len(arguments) == 2:
            return steps(arguments[0], np.zeros(3))
        model, retained, _, rng = arguments
        return np.asarray(steps(retained, model) + SIGMA * rng.standard_normal(3))

    return run


def test_learning_that_goes_on_is_not_accused(data: Dataset) -> None:
    result = audited(data, few_steps(3), learn=few_steps(3))
    assert control(result).as_expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learn": lambda data, rng: {"weights": learn(data, rng)}}, "cannot be released without unlearning"),
        ({"learn": lambda data, rng: np.zeros(3)}, "gives the same models"),
    ],
)
def test_where_there_is_nothing_to_compare(data: Dataset, options: Any, words: str) -> None:
    def unlearn(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return np.asarray((model["weights"] if isinstance(model, dict) else model) + rng.standard_normal(3))

    found = control(audited(data, unlearn, **options))
    assert found.as_expected
    assert not found.applicable
    assert words in found.message


def test_plain_retraining_needs_no_control(data: Dataset) -> None:
    result = audited(data, renew, reference=Reference.RETRAIN_ONLY, learn=noisy_learn)
    assert "reference" not in {c.name for c in result.controls}


def noisy_learn(data: Dataset, rng: np.random.Generator) -> Array:
    return learn(data, rng) + SIGMA * rng.standard_normal(3)


def test_its_models_are_in_the_price_of_an_audit(data: Dataset) -> None:
    for reference, extra in ((Reference.RETRAIN_THEN_UNLEARN, (75, 25)), (Reference.RETRAIN_ONLY, (0, 0))):
        deletion = from_functions(learn=learn, unlearn=renew, release=(3,), reference=reference).bind(data, (3,))
        plan = AuditPlan(claims=(CLAIM,), forget=((3,),), trials=100)
        cost = estimate_cost(deletion, plan, n_jobs=1)
        counts = {"unlearned": 100, "retrained": 120 + extra[0], "neglected": 20 + extra[1]}
        assert cost.seconds == pytest.approx(sum(cost.seconds_per_trial[world] * n for world, n in counts.items()))


def test_estimators_that_are_changed_in_place_are_compared_before(data: Dataset) -> None:
    def add(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
        model.coef_ += SIGMA * rng.standard_normal(model.coef_.shape)
        return model

    deletion = from_estimator(Ridge(fit_intercept=False), unlearn=add, fit_once=True).bind(data, (3,))
    assert isinstance(deletion, ShowsLearned)
    pair = deletion.before_and_after(World.RETRAINED, 4, rng=np.random.default_rng(0))
    assert pair is not None
    before, after = pair
    assert np.all(before == before[0])
    assert 0 < np.abs(after - before).max() < 10 * SIGMA
    np.testing.assert_array_equal(after, deletion.sample(World.RETRAINED, 4, rng=np.random.default_rng(0)))


def draws(share: float, rng: np.random.Generator, d: int = 4, length: float = 1.0) -> tuple[Array, Array, Array, Array]:
    """Return Gaussian moves of a share of the way, whose length is in standard deviations."""
    before, way = rng.normal(size=(50, d)), np.full(d, length / np.sqrt(d))
    after = before + share * way + rng.normal(size=(50, d))
    return before, after, np.zeros((25, d)), np.tile(way, (25, 1))


def test_half_of_the_way_is_accused_as_often_as_the_level_says() -> None:
    """At the edge of what is allowed, p-values are uniform; the control's own level is 1e-6."""
    rng, n, level = np.random.default_rng(3), 2000, 0.05
    found = [pull_of(*draws(0.5, rng)) for _ in range(n)]
    low, high = binomial_limits(n, level)
    assert low <= sum(pull is not None and pull.p_value <= level for pull in found) <= high
    assert FALSE_ALARM == 1e-6


def test_a_pull_is_in_standard_deviations_of_what_is_added() -> None:
    rng = np.random.default_rng(4)
    parts = [10.0 * part for part in draws(1.0, rng, length=5.0)]
    pull = pull_of(*parts)
    assert pull is not None
    assert pull.way == pytest.approx(5.0, rel=0.3)
    assert pull.towards == pytest.approx(pull.way, abs=5 * pull.error)
    assert pull.error == pytest.approx(1 / np.sqrt(50), rel=0.3)
    assert pull.aside < 1
    assert pull.p_value < 1e-6


def test_without_noise_it_is_a_comparison() -> None:
    before, way = np.ones((50, 2)), np.array([1.0, 0.0])
    others = (np.ones((25, 2)), np.ones((25, 2)) + way)
    for share, p_value in ((0.0, 1.0), (0.5, 1.0), (1.0, 0.0)):
        pull = pull_of(before, before + share * way, *others)
        assert pull is not None
        assert pull.p_value == p_value
        assert pull.towards == pytest.approx(share)


def test_learning_that_goes_on_in_one_dimension_is_not_accused() -> None:
    """A release of one number has no aside; half-trained models that are then trained to the end go far beyond."""
    data = from_arrays(np.ones((20, 1)), np.arange(20.0) + 5.0, kind="regression")

    def half(data: Dataset, rng: np.random.Generator) -> Array:
        return np.array([0.3 * data.targets.mean()])

    def to_the_end(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return np.array([retained.targets.mean() + 0.5 * rng.standard_normal()])

    service = from_functions(learn=half, unlearn=to_the_end, release=(1,))
    result = audit.run(service, data, forget=19, claim=CLAIM, trials=200)
    found = control(result)
    assert found.p_value is not None
    assert found.p_value < FALSE_ALARM
    assert found.as_expected
