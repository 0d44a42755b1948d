"""The self-test as a user runs it: exit codes, files, a round trip, and the two faults that are hard to see."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from attacks.linear.residual import TargetLoss
from attacks.protocol import Attack
from audit.cli import guarded
from audit.errors import ExitCode, SchemaError
from audit.records.verdict import Verdict
from audit.selftest import audits as selftest
from audit.selftest.audits import (
    SIGNIFICANCE,
    SelftestSettings,
    audit_fault,
    expectation,
    family_of_attack,
    run_selftest,
)
from audit.selftest.result import Expectation, SelftestResult
from audit.selftest.truth import Truth
from audit.trials.engines import Engine
from mechanisms.faulty.catalogue import CATALOGUE, FAULTS
from reports.page import schemas
from reports.selftests.summary import selftest_markdown, selftest_summary
from tests.e2e.command_line import Done, run
from tests.statistical.budget import binomial_limits

NAMED = {fault.name: fault for fault in CATALOGUE}
TINY = ("output_wrong_sign", "output_corrected_model", "output_fixed_seed")


@dataclass(frozen=True, kw_only=True)
class Commanded:
    """How a command ended, what it printed, where it wrote, and the result that it computed."""

    done: Done
    folder: Path
    result: SelftestResult


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Commanded:
    folder, computed = tmp_path_factory.mktemp("selftest"), []

    def kept(*arguments: Any, **options: Any) -> SelftestResult:
        computed.append(run_selftest(*arguments, **options))
        return computed[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "run_selftest", kept)
        only = [word for name in TINY for word in ("--only", name)]
        done = run("selftest", "--quick", *only, "--jobs", "1", "--out", folder, "--json")
    (result,) = computed
    return Commanded(done=done, folder=folder, result=result)


@pytest.fixture
def result(commanded: Commanded) -> SelftestResult:
    return commanded.result


def test_a_tiny_selftest(result: SelftestResult) -> None:
    fault, harmless, constant = result.rows
    assert (fault.expected, fault.verdict) == (Expectation.REFUTED, Verdict.REFUTED)
    assert fault.claimed is not None
    assert fault.true_epsilon is not None
    assert fault.lower_bound is not None
    assert fault.claimed < fault.lower_bound <= fault.true_epsilon
    assert fault.fired
    assert fault.fired_family == family_of_attack(fault.fired[0])
    assert (harmless.expected, harmless.verdict) == (Expectation.NEVER_REFUTED, Verdict.NOT_REFUTED)
    assert (constant.expected, constant.verdict) == (Expectation.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    assert constant.controls == ("duplicates",)
    assert result.as_expected
    assert [row.name for row in result.lots] == list(TINY)
    assert result.lots[1].expected == (Expectation.NEVER_REFUTED,) * 2
    assert result.each == pytest.approx(SIGNIFICANCE / len(CATALOGUE))


def test_the_table_round_trips_through_json(result: SelftestResult) -> None:
    assert SelftestResult.from_json(result.to_json()) == result
    with pytest.raises(SchemaError, match="selftest/1"):
        SelftestResult.from_json('{"schema": "unlearn-audit/result/1"}')


def test_the_json_follows_its_published_schema(result: SelftestResult) -> None:
    schema = json.loads((schemas.FOLDER / "selftest-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(result.to_json()))


def test_the_table_says_what_is_not_as_expected(result: SelftestResult) -> None:
    text = selftest_summary(result)
    assert "Everything is as expected." in text
    assert all(name in text for name in TINY)
    assert "faults refuted by 1 model" in " ".join(text.split())
    assert "| right |" in selftest_markdown(result)
    by_lot = replace(result, lots=(replace(result.lots[0], as_expected=False), *result.lots[1:]))
    assert not by_lot.as_expected
    assert f"NOT as expected: {TINY[0]} (by lot)" in selftest_summary(by_lot)
    assert selftest_summary(replace(result, lots=())).count("refuted") < text.count("refuted")
    missed = replace(result, rows=(replace(result.rows[0], as_expected=False), *result.rows[1:]))
    assert not missed.as_expected
    assert f"NOT as expected: {TINY[0]}" in selftest_summary(missed)
    assert "| NO |" in selftest_markdown(missed)


def test_the_command_writes_files_and_exits_zero(commanded: Commanded) -> None:
    assert commanded.done.returncode == ExitCode.OK
    assert "audits of faulty services" in commanded.done.stderr
    stored = (commanded.folder / "selftest.json").read_text()
    assert json.loads(commanded.done.stdout) == json.loads(stored)
    assert SelftestResult.from_json(stored) == commanded.result
    assert commanded.result.command == SelftestSettings(quick=True, names=TINY).command
    assert NAMED[TINY[0]].description in (commanded.folder / "selftest.md").read_text()


def test_a_missed_fault_exits_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the target's loss alone, less noise than stated stays unseen."""

    def loss_alone(bound: object) -> tuple[Attack, ...]:
        return (TargetLoss(),)

    monkeypatch.setattr(selftest, "attacks_for", loss_alone)
    assert guarded(["selftest", "--quick", "--only", "ridge_less_noise", "--jobs", "1"]) == ExitCode.REFUTED
    assert "NOT as expected: ridge_less_noise" in capsys.readouterr().out


def test_an_unknown_fault_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["selftest", "--only", "no_such_fault"]) == ExitCode.USAGE
    assert "no_such_fault" in capsys.readouterr().err


def test_expectations_follow_from_the_truth_and_the_power() -> None:
    fault = NAMED[TINY[0]]

    def truth(holds: bool | None) -> Truth:
        return Truth(method="exact", fpr=np.zeros(2), tpr=np.zeros(2), epsilon=lambda d, s: 1.0, holds=holds)

    assert expectation(fault, truth(False), 0.95) is Expectation.REFUTED
    assert expectation(fault, truth(False), 0.94) is Expectation.EITHER
    assert expectation(fault, truth(False), None) is Expectation.INCONCLUSIVE
    assert expectation(fault, truth(True), 0.99) is Expectation.NEVER_REFUTED
    assert expectation(NAMED[TINY[1]], truth(None), 0.99) is Expectation.NEVER_REFUTED
    assert Expectation.NEVER_REFUTED.met_by(Verdict.INCONCLUSIVE)
    assert not Expectation.REFUTED.met_by(Verdict.INCONCLUSIVE)
    assert all(Expectation.EITHER.met_by(verdict) for verdict in Verdict)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param("ridge_third_of_the_learning_rate", "scale", marks=pytest.mark.slow),
        ("ridge_skipped_sometimes", "tail"),
    ],
)
def test_faults_that_are_hard_to_see_are_named_in_advance_and_seen(name: str, family: str) -> None:
    """A third of the learning rate, and a deletion skipped with probability 5 %: at this canary, claim and trials."""
    row = audit_fault(NAMED[name], SelftestSettings(quick=True, seed=3), SIGNIFICANCE / len(CATALOGUE))
    assert row.planned_power is not None
    assert row.planned_power >= selftest.SURE
    assert row.expected is Expectation.REFUTED
    assert row.verdict is Verdict.REFUTED
    assert f"portfolio:{family}" in row.fired


@pytest.mark.slow
def test_quick_self_tests_over_several_seeds() -> None:
    """Every fault that the planner calls all but certain is seen, and no harmless variant more often than allowed."""
    seeds = range(4)
    results = [run_selftest(SelftestSettings(quick=True, seed=seed), engine=Engine(n_jobs=2)) for seed in seeds]
    for fault in FAULTS:
        rows = [row for result in results for row in result.rows if row.name == fault.name]
        sure = [row for row in rows if row.expected is Expectation.REFUTED]
        fewest, _ = binomial_limits(len(sure), selftest.SURE)
        assert sum(row.verdict is Verdict.REFUTED for row in sure) >= fewest, fault.name
    harmless = [row for result in results for row in result.rows if row.harmless]
    _, most = binomial_limits(len(harmless), results[0].each)
    assert sum(row.verdict is Verdict.REFUTED for row in harmless) <= most
