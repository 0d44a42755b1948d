"""A control that was cut out of a stored result is missed: one that failed would otherwise fail no more."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

import audit
import reports
from audit.errors import SchemaError
from audit.records.result import AuditResult
from audit.records.verdict import Reason
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

Json = dict[str, Any]
ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
GIVEN = {"null", "duplicates", "lag_one", "paired_rows", "precision"}
DRAWN = {"replay", "null", "neglected", "duplicates", "lag_one"}


def learn(data: Dataset, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(3)


def unlearn(model: np.ndarray, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> np.ndarray:
    return model + rng.standard_normal(3)


def unseeded(data: Dataset, rng: np.random.Generator) -> np.ndarray:
    return np.random.default_rng().standard_normal(3)


@functools.cache
def results() -> dict[str, AuditResult]:
    data = load_named("digits", rows=40)
    rng = np.random.default_rng(0)
    scores, others = rng.normal(size=60), rng.normal(size=60)
    ridge = RidgeLangevin(n_learn=5, n_unlearn=2, sigma_unlearn=0.01)
    own, broken = (from_functions(learn=each, unlearn=unlearn, release=(3,)) for each in (learn, unseeded))
    plan: Json = {"claim": ONE, "trials": 60, "attacks": ["lda"], "seed": 1}
    drawn = audit.run(ridge, data, forget=3, **plan)
    return {
        "drawn": drawn,
        "drawn, two deletions": audit.run(
            ridge, data, audit.AuditPlan(claims=(ONE,), forget=((3,), (4,)), attacks=("lda",), trials=60, seed=1)
        ),
        "user functions": audit.run(own, data, forget=3, **plan),
        "sequential": audit.run(own, data, forget=3, stop_when_decided=True, **plan),
        "stopped": audit.run(broken, data, forget=3, **plan),
        "given": audit.from_scores(scores, others, claim=ONE),
        "given, sorted": audit.from_scores(np.sort(scores), others, claim=ONE),
        "given, models": audit.from_scores(scores, others, claim=ONE, model_ids=(range(60), range(60))),
        "given, threshold": audit.from_scores(scores, others, claim=ONE, threshold=0.5),
        "redacted": reports.redact(drawn),  # type: ignore[dict-item]
    }


NAMES = [
    "drawn",
    "drawn, two deletions",
    "user functions",
    "sequential",
    "stopped",
    "given",
    "given, sorted",
    "given, models",
    "given, threshold",
    "redacted",
]


def load(value: Json) -> Any:
    return audit.load_json(json.dumps(value))


@pytest.mark.parametrize("name", NAMES)
def test_any_control_that_is_cut_out_is_missed(name: str) -> None:
    result = results()[name]
    assert audit.load_json(result.to_json()) == result
    for i, control in enumerate(result.controls):
        value = json.loads(result.to_json())
        del value["controls"][i]
        with pytest.raises(SchemaError, match=r"controls .*stored .*recomputed"):
            load(value)
        value["controls"] += [json.loads(result.to_json())["controls"][i]] * 2
        with pytest.raises(SchemaError, match=rf"controls named {control.name}: stored 2|stored 3"):
            load(value)


@pytest.mark.parametrize("name", NAMES)
def test_what_every_audit_of_a_kind_makes_is_needed_whatever_was_counted(name: str) -> None:
    result = results()[name]
    always = GIVEN if result.data.is_given else {"replay"} if name == "stopped" else DRAWN
    assert always <= {control.name for control in result.controls}
    for missing in always:
        value = json.loads(result.to_json())
        value["controls"] = [control for control in value["controls"] if control["name"] != missing]
        del value["controls_made"][missing]
        with pytest.raises(SchemaError, match=rf"controls of forget set .*recomputed also \[.*'{missing}'"):
            load(value)


@pytest.mark.parametrize("name", NAMES)
def test_results_from_before_controls_were_counted_need_what_was_made_then(name: str) -> None:
    result = results()[name]
    before = {"null", "duplicates", "lag_one"} if result.data.is_given else {"replay", "null"}
    before = {"replay"} if name == "stopped" else before
    value = json.loads(result.to_json())
    del value["controls_made"]
    value["controls"] = [control for control in value["controls"] if control["name"] in before]
    assert load(value).controls_made is None
    for missing in before:
        fewer = {**value, "controls": [control for control in value["controls"] if control["name"] != missing]}
        with pytest.raises(SchemaError, match="controls of forget set"):
            load(fewer)


def test_a_stopped_audit_has_its_replay_and_no_more() -> None:
    result = results()["stopped"]
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    assert not result.findings[0].tests
    assert dict(result.controls_made or {})["replay"] == 1


@pytest.mark.parametrize("n", [-1, 0, 1.5, "one"])
def test_counts_of_controls_are_checked(n: Any) -> None:
    value = json.loads(results()["given"].to_json())
    value["controls_made"]["reference"] = n
    with pytest.raises(SchemaError):
        load(value)
