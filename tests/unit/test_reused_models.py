"""Trials that share a learned model, a mechanism that changes the data, and what a fresh process shows of both.

Every law here is the same with and without the record, so that a refutation of epsilon = 1 is a false one.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import audit
from audit import load_json
from audit.controls import models as models_control
from audit.controls.learning import Learning
from audit.controls.replay import Replayed
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.trials.engines import Engine
from audit.trials.watching import Seen
from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.sklearn import Predictions, from_estimator
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.protocol import ReleaseSpec
from reports.audits import html, markdown
from tests.unit.learners_that_reuse import (
    Array,
    Learn,
    checkpoints,
    deterministic,
    first_of_all,
    keeps_in_its_module,
    noisy,
    pool_of_20,
    skips_rng,
    small,
    spawns,
    train,
    write_through,
)

ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
TRIALS = 400


def run(learn: Learn, *, unlearn: Any = noisy, trials: int = TRIALS, **options: Any) -> AuditResult:
    """Audit with one attack: what controls see does not depend on attacks."""
    mechanism = from_functions(learn=learn, unlearn=unlearn, release=(3,))
    return audit.run(mechanism, small(), forget=4, claim=ONE, trials=trials, attacks=("lda",), **options)


def control(result: AuditResult, name: str) -> Control:
    return next(c for c in result.controls if c.name == name)


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        (skips_rng, "replay", "other releases for the same random stream"),
        (spawns, "replay", "another release in a fresh process|other releases for the same"),
        (first_of_all, "replay", "in a fresh process than here, after other trials"),
        pytest.param(
            lambda: keeps_in_its_module,
            "replay",
            "in a fresh process than here, after other trials",
            marks=pytest.mark.fresh_process,
        ),
        # The pool holds the replayed model twice.
        (pool_of_20, "reused_models", "19 distinct models in 320 trainings of the unlearned world"),
        (checkpoints, "reused_models", "20 distinct models in 320 trainings of the retrained world"),
    ],
)
def test_reused_models_spoil_the_verdict(fault: Callable[[], Learn], name: str, words: str) -> None:
    """Before: REFUTED in 6 of 6, 20 of 20, 6 of 6, 6 of 20 and 8 of 20 seeds, and every control as expected."""
    result = run(fault())
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    found = control(result, name)
    assert not found.as_expected
    assert any(part in found.message for part in words.split("|"))
    assert load_json(result.to_json()) == result
    for text in (markdown.render(result), html.render(result), str(result)):
        assert found.message.split(":")[0] in text


def test_a_pool_that_answers_for_any_data_is_seen_for_it_ignores_them() -> None:
    result = run(checkpoints(answers_all=True))
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE


def test_a_cache_that_an_earlier_audit_filled_is_seen() -> None:
    """The second audit of a notebook: every trial of it agrees, here and in a copy."""
    kept: dict[int, Array] = {}
    for n in (29, 30):
        kept[n] = np.random.default_rng(n).standard_normal(3)

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        if len(data) not in kept:
            kept[len(data)] = train(data, rng) + data.targets[0]
        return kept[len(data)]

    result = run(learn, trials=100)
    assert control(result, "replay").as_expected
    assert "1 distinct model in 80 trainings" in control(result, "reused_models").message
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.fresh_process)])
def test_a_deterministic_learner_is_not_accused(n_jobs: int) -> None:
    result = run(deterministic(), engine=Engine(n_jobs=n_jobs), trials=200)
    assert control(result, "reused_models").as_expected
    assert "1 distinct model in 160 trainings" in control(result, "reused_models").message
    assert not any(c.spoils_verdicts for c in result.controls)
    assert result.verdict is not Verdict.INCONCLUSIVE


def test_a_learner_that_ignores_its_data_and_rng_is_not_accused() -> None:
    result = run(lambda data, rng: np.zeros(3), trials=100)
    assert control(result, "reused_models").as_expected
    assert result.verdict is Verdict.NOT_REFUTED


def test_a_random_learner_has_as_many_models_as_trainings() -> None:
    result = run(lambda data, rng: train(data, rng), trials=200, stop_when_decided=True)
    found = control(result, "reused_models")
    assert found.as_expected
    assert "all different" in found.message
    assert result.verdict is Verdict.NOT_REFUTED


def test_a_learner_with_few_outcomes_is_a_law_like_any_other() -> None:
    """A choice among three subsets: 3 models in 320 trainings, each a function of data and stream."""

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        kept = slice(rng.integers(3), None)
        return np.linalg.lstsq(data.features[kept], data.targets[kept, 0], rcond=None)[0]

    result = run(learn)
    found = control(result, "reused_models")
    assert found.as_expected
    assert "3 distinct models in 320 trainings" in found.message
    assert not any(c.spoils_verdicts for c in result.controls)


@pytest.mark.parametrize("kind", ["ridge", "tree"])
def test_estimators_are_not_accused(kind: str) -> None:
    """Ridge draws a random_state that it never uses; a tree draws which of equally good splits to take."""
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    def jitter(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
        if hasattr(model, "coef_"):
            model.coef_ = model.coef_ + 0.5 * rng.standard_normal(model.coef_.shape)
        return model

    estimator = Ridge() if kind == "ridge" else DecisionTreeRegressor(max_depth=2, max_features=1)
    releases = None if kind == "ridge" else Predictions(method="predict", continuous=False)
    result = audit.run(
        from_estimator(estimator, unlearn=jitter, releases=releases),
        small(),
        forget=4,
        claim=ONE,
        trials=60,
        attacks=("lda",),
    )
    assert control(result, "reused_models").as_expected, control(result, "reused_models").message
    assert not any(c.spoils_verdicts for c in result.controls)


def test_an_unseeded_service_stops_after_two_trainings() -> None:
    """Before: after the whole audit, hundreds of trainings."""
    wild, trainings = np.random.default_rng(), []

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        trainings.append(len(data))
        return wild.standard_normal(3)

    result = run(learn)
    assert len(trainings) == 2
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    assert [c.name for c in result.controls] == ["replay", "unchanged_data"]
    assert "replay" in str(result) or "random stream" in str(result)


@pytest.mark.fresh_process
def test_noise_that_is_drawn_once_is_seen() -> None:
    """Models are fresh, the noise of unlearning is that of the first trial."""
    kept: list[Array] = []

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(3)
        kept.append(noise)
        return model + kept[0]

    result = run(train, unlearn=unlearn, trials=100)
    assert not control(result, "replay").as_expected


@pytest.mark.fresh_process
def test_a_mechanism_that_cannot_be_sent_is_replayed_here_and_the_report_says_so() -> None:
    lock = threading.Lock()

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        with lock:
            return train(data, rng)

    result = run(learn, trials=60)
    found = control(result, "replay")
    assert found.as_expected
    assert "in this process only" in found.message
    assert "lock" in found.message
    # A pool shows all the same.
    pool = pool_of_20()

    def pooled(data: Dataset, rng: np.random.Generator) -> Array:
        with lock:
            return np.asarray(pool(data, rng))

    assert run(pooled).findings[0].reason is Reason.NOT_REPRODUCIBLE


def test_models_that_cannot_be_told_apart_are_said_to_be() -> None:
    def unlearn(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return np.asarray(model() + rng.standard_normal(3))

    def learn(data: Dataset, rng: np.random.Generator) -> Any:
        weights = train(data, rng)
        return lambda: weights

    found = control(run(learn, unlearn=unlearn, trials=60), "reused_models")
    assert found.as_expected
    assert not found.applicable
    assert "cannot be told apart" in found.message


@pytest.mark.parametrize(
    ("models", "one_model", "learning", "continuous", "fault"),
    [
        (100, None, Learning.UNKNOWN, True, False),
        (99, None, Learning.UNKNOWN, True, True),
        (99, None, Learning.UNKNOWN, False, False),
        (99, None, Learning.OF_ITS_STREAM, True, False),
        (99, None, Learning.KEEPS_MODELS, False, True),
        (1, True, Learning.UNKNOWN, True, False),
        (1, False, Learning.UNKNOWN, True, True),
        (1, None, Learning.UNKNOWN, True, False),
        (1, True, Learning.KEEPS_MODELS, True, True),
    ],
)
def test_what_repeated_models_mean(
    models: int,
    one_model: bool | None,
    learning: Learning,
    continuous: bool,
    fault: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models_control, "learning_of", lambda *_, **__: learning)
    seen = Seen(n=100, models=models)
    release = ReleaseSpec(shape=(3,), continuous=continuous)
    data, plan = small(), AuditPlan(claims=(ONE,), forget=((4,),), trials=TRIALS)
    deletion = from_functions(learn=deterministic(), unlearn=noisy, release=release).bind(data, (4,))
    replayed = Replayed(
        control=Control(name="replay", forget=(), label="", as_expected=True, message=""),
        one_model=(one_model, one_model),
    )

    def asked(seen: Seen) -> tuple[Control, ...]:
        return models_control.reused_models_control(
            deletion, (seen, seen), replayed, plan, record=0, forget=(), label=""
        )

    (found,) = asked(seen)
    assert found.as_expected is not fault
    assert found.spoils_verdicts is fault
    assert asked(Seen(n=9)) == ()


@pytest.mark.parametrize(("part", "n_jobs"), [("features", 1), ("targets", 1), ("features", 2)])
def test_data_that_a_trial_changed_spoil_the_verdict(part: str, n_jobs: int) -> None:
    """Before: no word, and a verdict about data that nobody gave."""

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        if rng.random() < 0.05:
            write_through(getattr(retained, part))
        return model + rng.standard_normal(3)

    result = run(deterministic(), unlearn=unlearn, trials=200, engine=Engine(n_jobs=n_jobs))
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    found = control(result, "unchanged_data")
    assert f"the {part} of the retained records" in found.message
    assert found.message in markdown.render(result)


def test_a_tensor_that_shares_the_memory_is_seen() -> None:
    torch = pytest.importorskip("torch")

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        with warnings.catch_warnings():
            # All that torch says of the fault is a warning, once.
            warnings.simplefilter("ignore")
            features = torch.from_numpy(data.features)
        features -= features.mean(dim=0)
        return np.asarray(features.numpy().T @ data.targets[:, 0])

    found = control(run(learn, trials=60), "unchanged_data")
    assert "the features of all records" in found.message
    assert not found.as_expected


def test_data_changed_by_calibrate_are_seen() -> None:
    def calibrate(data: Dataset, forget: Dataset) -> float:
        write_through(data.features)
        return 1.0

    mechanism = from_functions(
        learn=deterministic(),
        unlearn=lambda model, retained, forget, rng, scale: model + scale * rng.standard_normal(3),
        calibrate=calibrate,
        release=ReleaseSpec(shape=(3,)),
    )
    data = small()
    digest = data.sha256()
    result = audit.run(mechanism, data, forget=4, claim=ONE, trials=60)
    assert "the features of all records" in control(result, "unchanged_data").message
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    # What is reported is what was given.
    assert result.data.sha256 == digest != data.sha256()


def test_data_that_nobody_changed_are_said_to_be_unchanged() -> None:
    found = control(run(train, trials=60), "unchanged_data")
    assert found.as_expected
    assert "unchanged" in found.message


def test_an_original_that_was_trained_once_spoils_the_verdict() -> None:
    """A usual shortcut: the model of all data is loaded, and retraining is real. A fresh process sees nothing wrong."""
    data = small()
    original = train(data, np.random.default_rng(9))

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        return original if len(data) == 30 else train(data, rng)

    service = from_functions(learn=learn, unlearn=noisy, release=(3,))
    result = audit.run(service, data, forget=4, claim=ONE, trials=TRIALS, seed=2, attacks=("lda",))
    (finding,) = result.findings
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason is Reason.NOT_REPRODUCIBLE
    assert load_json(result.to_json()) == result
