"""Certificates of minibatches and of logistic regression, record by record: what binding gives, kept and read again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from audit.certificates import bound_one_by_one
from audit.certificates.certification import Certification
from audit.certificates.certifying import Request, certify
from audit.commands.plan_file.reading import read_plan
from audit.trials.store import Storage
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.logistic import CalibratedLogisticNoise, LogisticLangevin
from mechanisms.ridge.langevin import CalibratedNoise
from mechanisms.ridge.minibatches import RidgeMinibatch
from mechanisms.sources import load_named
from reports.certificates.words import glossary, headline, is_exact

MINIBATCH = RidgeMinibatch(batch=10, n_learn=20, n_unlearn=5, sigma_learn=0.05, sigma_unlearn=0.04)
LOGISTIC = LogisticLangevin(penalty=10.0, n_learn=10, n_unlearn=5, sigma_learn=0.05, sigma_unlearn=0.1)


@pytest.fixture(scope="module")
def diabetes() -> Dataset:
    return load_named("diabetes", rows=60)


@pytest.fixture(scope="module")
def cancer() -> Dataset:
    return load_named("breast_cancer", rows=60)


def test_minibatches_have_both_directions_of_the_exact_certificate(diabetes: Dataset) -> None:
    found = certify(MINIBATCH, diabetes, Request(records="3,17"))
    for row in found.rows:
        bound = MINIBATCH.bind(diabetes, (row.record,))
        certificate = bound.certificates()[0]
        assert row.epsilon == certificate.epsilon
        assert row.epsilon_unlearned_from_retrained != row.epsilon_retrained_from_unlearned
        assert row.epsilon_without_unlearning == certificate.epsilon_without_unlearning
        assert row.sigma_unlearn == 0.04
    assert found.parameters["batch"] == 10
    assert "The last iterate alone is released." in found.assumptions["exact"]
    assert "exact certificates" in headline(found)
    assert Certification.from_json(found.to_json()) == found


def test_calibrated_records_have_their_own_noise(diabetes: Dataset, cancer: Dataset) -> None:
    ours = certify(MINIBATCH, diabetes, Request(records="3,17", target=(0.01, 1e-6)))
    assert all(0.00999 < row.epsilon <= 0.01 for row in ours.rows)
    assert (ours.delta, ours.target_epsilon) == (1e-6, 0.01)
    calibrated = replace(MINIBATCH, sigma_unlearn=CalibratedNoise(route="exact", epsilon=0.01, delta=1e-6))
    assert ours.rows[0].sigma_unlearn == calibrated.bind(diabetes, (3,)).sigma_unlearn
    bounds = certify(LOGISTIC, cancer, Request(records="3,17", target=(1.0, 1e-5)))
    assert all(0.999 < row.epsilon <= 1 for row in bounds.rows)
    assert list(bounds.assumptions) == ["probable"]
    by_norm = replace(LOGISTIC, sigma_unlearn=CalibratedLogisticNoise(route="sure", epsilon=5.0))
    assert list(certify(by_norm, cancer, Request(records="3", target=(1.0, 1e-5))).assumptions) == ["sure"]


def test_bounds_are_not_called_exact(cancer: Dataset) -> None:
    found = certify(LOGISTIC, cancer, Request(records="3"))
    certificate = LOGISTIC.bind(cancer, (3,)).certificates()[0]
    row = found.rows[0]
    assert row.epsilon_unlearned_from_retrained == row.epsilon_retrained_from_unlearned == certificate.epsilon
    assert row.epsilon_without_unlearning == certificate.epsilon_without_unlearning
    assert not is_exact(found)
    assert "exact" not in headline(found)
    assert {"probable"} == {part.heading for part in glossary(found)} & {"exact", "probable", "sure", "downdate"}


def test_no_noise_is_enough_without_steps(diabetes: Dataset) -> None:
    still = replace(MINIBATCH, n_unlearn=0)
    row = certify(still, diabetes, Request(records="3", target=(1e-3, 1e-6))).rows[0]
    assert math.isinf(row.sigma_unlearn)
    alone = replace(still, delta=1e-6).bind(diabetes, (3,)).certificates()[0]
    assert row.epsilon == row.epsilon_without_unlearning == alone.epsilon > 1e-3


def test_plain_retraining_has_no_certificates(cancer: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"mechanism\.reference"):
        certify(replace(LOGISTIC, reference=Reference.RETRAIN_ONLY), cancer, Request(records="3"))


def test_what_is_kept_is_not_computed_again(diabetes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = certify(MINIBATCH, diabetes, Request(records="hardest:6"))
    calls, usual = 0, bound_one_by_one._row

    def stops(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bound_one_by_one, "_row", stops)
    store = Storage(folder=tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        certify(MINIBATCH, diabetes, Request(records="hardest:6"), store=store)
    again = certify(MINIBATCH, diabetes, Request(records="hardest:6"), store=store)
    assert calls == 8
    assert again.rows == whole.rows
    assert again.assumptions == whole.assumptions
    read = certify(MINIBATCH, diabetes, Request(records="hardest:6"), store=store)
    assert calls == 8
    assert read == again
    with pytest.raises(InvalidInputError, match="schedule"):
        certify(replace(MINIBATCH, schedule=1), diabetes, Request(records="hardest:6"), store=store)


def test_plans_name_minibatches(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    text = """
schema = "unlearn-audit/plan/1"
trials = 400
[data]
name = "diabetes"
[mechanism]
name = "ridge_minibatch"
batch = 32
schedule = 4
n_learn = 40
sigma_unlearn = {}
[records]
forget = [[17]]
[[claims]]
kind = "profile"
from = "exact"
"""
    plan.write_text(text.format(0.05))
    assert read_plan(plan).mechanism == RidgeMinibatch(batch=32, schedule=4, n_learn=40, sigma_unlearn=0.05)
    plan.write_text(text.format('{ calibrate = "exact", epsilon = 1.0, grid_ratio = 1.25 }'))
    noise = CalibratedNoise(route="exact", epsilon=1.0, grid_ratio=1.25)
    assert read_plan(plan).mechanism == RidgeMinibatch(batch=32, schedule=4, n_learn=40, sigma_unlearn=noise)
