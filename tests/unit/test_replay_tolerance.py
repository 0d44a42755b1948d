"""How alike two draws of one stream must be: training whose last digits differ is audited when that is allowed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit.commands.plan_file.reading import read_plan
from audit.controls.replay import replay
from audit.errors import PlanError, TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.provenance import machine
from audit.records.result import AuditResult, read_json
from audit.records.verdict import Reason, Verdict
from mechanisms import Claim, Dataset, GaussianDP, from_functions, load_named
from mechanisms.errors import InvalidInputError
from reports.audits import html, markdown, terminal

CLAIM = Claim(guarantee=GaussianDP(mu=0.5))


def _round_off() -> float:
    """Return 1 and a relative error that no generator decides, as the order of a sum on a GPU does."""
    return 1.0 + 1e-7 * (int.from_bytes(os.urandom(4)) / 2**32 - 0.5)


def _learn(data: Dataset, rng: np.random.Generator) -> Any:
    return data.features.mean(axis=0) * _round_off()


def _unlearn(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    return model + rng.standard_normal(model.shape)


def _unseeded(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    return model + np.random.default_rng(int.from_bytes(os.urandom(8))).standard_normal(model.shape)


def _still(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    return model + 1e-6 * rng.standard_normal(model.shape)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_named("diabetes", rows=40)


def run(data: Dataset, unlearn: Any, replay: Any) -> AuditResult:
    mechanism = from_functions(learn=_learn, unlearn=unlearn, release=(data.features.shape[1],))
    plan = AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=("lda",), trials=200, seed=1, replay=replay)
    return audit.run(mechanism, data, plan)


def replayed(result: AuditResult) -> Any:
    return next(control for control in result.controls if control.name == "replay")


def test_round_off_stops_an_exact_replay_and_the_message_says_what_to_write(data: Dataset) -> None:
    result = run(data, _unlearn, "exact")
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    control = replayed(result)
    assert not control.as_expected
    assert "by up to" in control.message
    assert "replay = 1e-4" in control.message


@pytest.mark.parametrize("tolerance", [1e-4, np.float32(1e-3)])
def test_round_off_is_audited_with_a_tolerance(data: Dataset, tolerance: Any) -> None:
    result = run(data, _unlearn, tolerance)
    assert result.findings[0].verdict is Verdict.NOT_REFUTED
    assert f"at most {float(tolerance):g} of the largest number" in replayed(result).message
    assert result.plan.replay == float(tolerance)
    assert read_json(result.to_json()) == result
    for text in (markdown.render(result), html.render(result)):
        assert "one stream drawn twice" in text.replace("\\", "")
        assert "of the largest number" in text


def test_unseeded_noise_is_stopped_whatever_is_allowed(data: Dataset) -> None:
    for allowed in ("exact", 1e-4, 1e-2):
        result = run(data, _unseeded, allowed)
        assert result.findings[0].verdict is Verdict.INCONCLUSIVE
        assert not replayed(result).as_expected


def test_a_tolerance_that_two_streams_meet_too_shows_nothing(data: Dataset) -> None:
    result = run(data, _still, 1e-2)
    assert result.findings[0].verdict is Verdict.INCONCLUSIVE
    assert "so wide a tolerance shows nothing" in replayed(result).message


def test_what_was_not_asked_is_said_with_the_verdict(data: Dataset) -> None:
    result = run(data, _unseeded, "off")
    assert result.findings[0].verdict is Verdict.NOT_REFUTED
    assert not replayed(result).applicable
    assert read_json(result.to_json()) == result
    for text in (terminal.summary(result), str(result), markdown.render(result).replace("\\", "")):
        assert 'replay = "off"' in " ".join(text.split())


@pytest.mark.parametrize("bad", ["yes", 0, 1.0, -1e-3, float("nan"), True, None, [1e-3]])
def test_other_values_are_refused(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="replay"):
        AuditPlan(claims=(CLAIM,), forget=((3,),), replay=bad)


def test_a_plan_file_names_it(tmp_path: Path) -> None:
    text = (
        'schema = "unlearn-audit/plan/1"\nreplay = {}\n[data]\nname = "diabetes"\n[mechanism]\n'
        'name = "ridge_langevin"\nn_learn = 3\nn_unlearn = 1\nsigma_unlearn = 0.01\n[records]\nforget = [[3]]\n'
        '[[claims]]\nkind = "gaussian_dp"\nmu = 1.0\n[[attacks]]\nname = "lda"\n'
    )
    path = tmp_path / "plan.toml"
    for written, read in (("1e-4", 1e-4), ('"off"', "off"), ('"exact"', "exact")):
        path.write_text(text.format(written))
        assert read_plan(path).plan.replay == read
    path.write_text(text.format("2.0"))
    with pytest.raises(PlanError, match="replay"):
        read_plan(path)


def test_the_machine_is_named() -> None:
    named = machine()
    assert "openblas" in named or ";" not in named
    assert named == machine()


def _exactly(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    return retained.features.mean(axis=0)


def test_a_service_without_randomness_is_not_told_to_narrow_a_tolerance(data: Dataset) -> None:
    result = run(data, _exactly, 1e-4)
    assert replayed(result).as_expected


def _fails_at_times(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    if rng.random() < 0.15:
        raise RuntimeError("diverged")
    return model + rng.standard_normal(model.shape)


def test_a_stream_that_fails_is_left_for_the_next_where_trials_may_fail(data: Dataset) -> None:
    mechanism = from_functions(learn=_learn_exactly, unlearn=_fails_at_times, release=(data.features.shape[1],))
    deletion = mechanism.bind(data, (3,))
    seeds, found = range(8), []
    for allowed in (0, 10):
        n = 0
        for seed in seeds:
            plan = AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=("lda",), seed=seed, max_failed=allowed)
            with contextlib.suppress(TrialError):
                n += replay(deletion, plan, 0, (3,), "").control.as_expected
        found.append(n)
    assert found[0] < found[1] >= 7


def _learn_exactly(data: Dataset, rng: np.random.Generator) -> Any:
    return data.features.mean(axis=0)
