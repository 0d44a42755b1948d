"""Releases whose shape gives away their world, and shapes that differ from model to model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier

import audit
from attacks.outputs.shape import Shape
from attacks.portfolio import MEAN
from audit.errors import TrialError
from audit.records.verdict import Verdict
from audit.running.binding import make_context
from audit.statistics.bounds import ceiling
from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.sklearn import Coefficients, Predictions, from_estimator, targets_for
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import ReleaseSpec
from reports.audits.terminal import summary
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-3))
CLASSIFIER = SGDClassifier(loss="log_loss", max_iter=3, tol=None)


def keep(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    return model


def refit(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    return model.fit(retained.features, targets_for(model, retained))


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Twenty records of two classes, and the last one alone of a third."""
    x = np.random.default_rng(1).normal(size=(21, 2))
    return from_arrays(x, [0.0] * 10 + [1.0] * 10 + [2.0], kind="classification")


@pytest.mark.parametrize("releases", [Coefficients(), Predictions(method="predict_proba", probe=np.eye(2))])
@pytest.mark.parametrize("classes", [None, (0, 1, 2)])
def test_the_last_record_of_a_class_is_told_at_once(data: Dataset, releases: Any, classes: Any) -> None:
    """An ignored deletion keeps the class: by the shape all trials of both worlds are told apart."""
    mechanism = from_estimator(CLASSIFIER, unlearn=keep, releases=releases, classes=classes)
    result = audit.run(mechanism, data, forget=20, claim=CLAIM, trials=60, seed=1)
    assert result.verdict is Verdict.REFUTED
    best = min(result.findings[0].tests, key=lambda test: test.p_value).bound
    if classes is not None:
        # The common shape shows nothing by itself; the numbers of the third class do.
        assert {h.member for h in result.findings[0].histograms}.isdisjoint({"shape"})
        return
    n = result.plan.n_counted
    assert (best.counts.k_unlearned, best.counts.k_retrained) in ((n, 0), (0, n))
    assert best.value >= 0.9 * ceiling(n_null=n, level=best.level, delta=best.delta)
    for words in (str(result), result.describe(), summary(result)):
        assert "Refuted by the shape of a release alone ((" in " ".join(words.split())


def test_an_unlearning_that_drops_the_class_is_not_accused(data: Dataset) -> None:
    mechanism = from_estimator(CLASSIFIER, unlearn=refit)
    result = audit.run(mechanism, data, forget=20, claim=CLAIM, trials=60, seed=1)
    assert result.verdict is Verdict.NOT_REFUTED
    assert "shape of a release" not in str(result)


def of_length(more: float) -> Any:
    """Return a ``learn`` whose models have three numbers, or four in a share of the trainings."""

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        return rng.standard_normal(3 + int(rng.random() < (more if len(data) == 21 else 0.5)))

    return learn


def test_shapes_that_differ_between_trainings_are_events(data: Dataset) -> None:
    mechanism = from_functions(learn=of_length(0.95), unlearn=keep, release=ReleaseSpec(shape=(5,), axes=1))
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.0))
    result = audit.run(mechanism, data, forget=20, claim=claim, trials=2000, seed=1)
    assert result.verdict is Verdict.REFUTED
    assert result.findings[0].histograms[0].member == "shape"
    # P(three numbers) is .05 and .5: the truth is log 10.
    assert 1.5 < result.findings[0].sandwiches[0].bound.value < np.log(10)


@pytest.mark.parametrize(
    ("spec", "said"), [((4,), "audits the shape too"), (ReleaseSpec(shape=(4,), axes=1), "(5,) and 1")]
)
def test_shapes_that_were_not_declared_are_explained(data: Dataset, spec: Any, said: str) -> None:
    mechanism = from_functions(learn=of_length(0.5), unlearn=keep, release=spec)
    with pytest.raises(TrialError) as caught:
        audit.run(mechanism, data, forget=20, claim=CLAIM, trials=200, seed=1)
    assert said in str(caught.value)


@pytest.mark.slow
def test_a_true_claim_about_shapes_keeps_its_level(data: Dataset) -> None:
    """Shapes of .5 and .5 e^-1: exactly at the claim. Refuted in at most the share of audits that the level allows."""
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0))
    mechanism = from_functions(
        learn=of_length(1 - 0.5 * np.exp(-1)), unlearn=keep, release=ReleaseSpec(shape=(5,), axes=1)
    )
    refuted = [
        audit.run(mechanism, data, forget=20, claim=claim, trials=100, seed=seed, attacks=[MEAN]).verdict
        is Verdict.REFUTED
        for seed in range(20)
    ]
    assert sum(refuted) <= binomial_limits(20, 0.05)[1]


def test_the_attack_is_the_ratio_of_frequencies(data: Dataset) -> None:
    deletion = from_functions(learn=keep, unlearn=keep, release=ReleaseSpec(shape=(3,), axes=1)).bind(data, (20,))
    context = make_context(deletion, data, (20,))
    unlearned = np.array([[1.0, 9.0, 0.0]] * 30 + [[2.0, 9.0, 9.0]] * 9)
    retrained = np.array([[2.0, 9.0, 9.0]] * 19)
    fitted = Shape().fit(unlearned, retrained, context, rng=np.random.default_rng(0))
    found = fitted.score(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found, [np.log((30.5 / 40) / (0.5 / 20)), np.log((9.5 / 40) / (19.5 / 20)), 0.0])
    plain = make_context(from_functions(learn=keep, unlearn=keep, release=(3,)).bind(data, (20,)), data, (20,))
    with pytest.raises(NotApplicableError, match="differ in shape"):
        Shape().fit(unlearned, retrained, plain, rng=np.random.default_rng(0))
