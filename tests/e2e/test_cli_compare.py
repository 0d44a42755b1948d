"""The command ``compare`` and the option ``--mechanism``: messages, exit codes, files, and broken input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit.cli import guarded
from tests.e2e.command_line import run as run_here

COMMAND = [sys.executable, "-c", "from audit.cli import entry_point; entry_point()"]
PLAN = """
schema = "unlearn-audit/plan/1"
seed = {seed}
trials = 400
[data]
name = "diabetes"
rows = 60
[mechanism]
name = "ridge_langevin"
n_learn = 6
n_unlearn = 2
sigma_unlearn = {noise}
sampler = "closed_form"
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-5
[[attacks]]
name = "lda"
"""
CALIBRATED = '{ calibrate = "exact", epsilon = 0.5, delta = 1e-5 }'
OWN_PLAN = """
schema = "unlearn-audit/plan/1"
seed = 1
trials = 300
[data]
name = "diabetes"
[records]
choose = ["hardest"]
[[claims]]
kind = "gaussian_dp"
mu = 1.0
[[attacks]]
name = "lda"
"""
MODULE = """
import numpy as np
from mechanisms.adapters.functions import from_functions

def learn(data, rng):
    x, y = data.features, data.targets[:, 0]
    return np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)

def unlearn(model, retained, forget, rng, sigma):
    return model + sigma * rng.standard_normal(model.shape)

def of_noise(sigma):
    return from_functions(learn=learn, unlearn=unlearn, calibrate=lambda d, f: sigma, release=(11,), name=f"n{sigma}")

wide, narrow = of_noise(0.4), of_noise(0.02)

class Unfinished:
    name = "unfinished"
    def bind(self, data, forget):
        return None

unfinished = Unfinished()
"""


def plan(folder: Path, name: str = "plan.toml", *, noise: str = CALIBRATED, seed: int = 3) -> Path:
    path = folder / name
    path.write_text(PLAN.format(noise=noise, seed=seed))
    return path


def run(*arguments: str | Path) -> int:
    one_worker = ["--jobs", "1"] if arguments[0] == "compare" else []
    return guarded([*map(str, arguments), *one_worker])


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return standard output of a command that succeeds."""
    capsys.readouterr()
    assert run(*arguments) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Certificates as a user commits them."""
    options = ("--records", "3,17", "--routes", "exact,uniform", "--jobs", "1", "--json")
    done = run_here("certify", plan(tmp_path_factory.mktemp("certified")), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def baseline(tmp_path: Path, certified: str) -> Path:
    """The same, beside the plan that they are of."""
    plan(tmp_path)
    path = tmp_path / "baseline.json"
    path.write_text(certified, encoding="utf-8")
    return path


def test_a_plan_is_compared_with_its_own_certificates(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", baseline, plan(tmp_path), "--fail-on-regression") == 0
    shown = capsys.readouterr().out
    assert "NO REGRESSION: every line is no worse within its margin" in shown
    assert "could have been seen" in shown
    found = json.loads(printed(capsys, "compare", baseline, baseline, "--json"))
    assert found["schema"] == "unlearn-audit/comparison/1"
    assert {mean["route"] for mean in found["means"]} == {"exact", "uniform"}
    assert all(mean["paired"] for mean in found["means"])


def test_a_looser_calibration_is_a_regression_only_where_asked_to_fail(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(tmp_path, "looser.toml", noise=CALIBRATED.replace("0.5", "1.0"))
    # As a plan once; what it certifies is then compared as a file.
    looser = tmp_path / "looser.json"
    assert run("compare", baseline, tmp_path / "looser.toml", "--write-baseline", looser) == 0
    assert "REGRESSION SHOWN" in capsys.readouterr().out
    markdown = tmp_path / "comment.md"
    assert run("compare", baseline, looser, "--fail-on-regression", "--markdown", markdown) == 1
    assert "**REGRESSION SHOWN" in markdown.read_text(encoding="utf-8")
    assert run("compare", baseline, looser, "--fail-on-regression", "--margin", "2") in (0, 3)


@pytest.mark.slow
def test_a_written_baseline_is_the_same_whenever_it_is_written(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "kept" / "first.json", tmp_path / "second.json"
    for path in (first, second):
        assert run("compare", baseline, plan(tmp_path), "--write-baseline", path) == 0
    assert first.read_bytes() == second.read_bytes()
    stored = json.loads(first.read_text(encoding="utf-8"))
    assert stored["environment"]["started"] == ""
    assert run("compare", first, second, "--fail-on-regression") == 0
    capsys.readouterr()


def test_audits_are_compared_at_frozen_events_when_the_plan_is_at_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "audit.json"
    given = plan(tmp_path, noise="0.01")
    stored.write_text(printed(capsys, "run", given, "--jobs", "1", "--json", "--trials", "300"))
    again = plan(tmp_path, "again.toml", noise="0.01", seed=4)
    arguments = ("compare", stored, again, "--rate-margin", "0.5", "--fail-on-regression", "--allow-inconclusive")
    assert run(*arguments, "--baseline-plan", given) == 0
    shown = capsys.readouterr().out
    assert "frozen" in shown
    assert "this attack" in shown
    assert run(*arguments) == 0
    assert "same design" in capsys.readouterr().out
    # Too few trials to decide within the usual margin: that is no pass.
    assert run("compare", stored, stored, "--fail-on-regression") == 3
    assert "NOT DECIDED" in capsys.readouterr().out
    wrong = plan(tmp_path, "wrong.toml", noise="0.02")
    assert run("compare", stored, again, "--baseline-plan", wrong) == 2
    assert "the plan and mechanism that made it" in capsys.readouterr().err


@pytest.mark.slow
def test_two_plans_are_certified_or_audited_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = plan(tmp_path), plan(tmp_path, "other.toml", seed=5)
    found = json.loads(printed(capsys, "compare", one, other, "--records", "3", "--json"))
    assert found["kind"] == "certificates"
    found = json.loads(printed(capsys, "compare", one, other, "--kind", "audits", "--json"))
    assert found["kind"] == "audits"
    assert all(rate["frozen"] for rate in found["rates"])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan that has no mechanism, and a module that has some."""
    name = f"own_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "own.toml").write_text(OWN_PLAN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Path(f"{name}")


@pytest.mark.slow
def test_a_mechanism_of_ones_own_is_audited_and_compared(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json.loads(printed(capsys, "run", "own.toml", "--mechanism", f"{own}:wide", "--jobs", "1", "--json"))
    assert stored["mechanism"] == "n0.4"
    assert f"--mechanism {own}:wide" in stored["environment"]["command"]
    sides = ("--baseline-mechanism", f"{own}:wide", "--mechanism", f"{own}:narrow")
    assert run("compare", "own.toml", "own.toml", *sides, "--fail-on-regression") == 1
    assert "REGRESSION SHOWN" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_find_the_module_too(own: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*COMMAND, "run", "own.toml", "--mechanism", f"{own}:wide", "--jobs", "2", "--allow-inconclusive"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine", ["--mechanism", "module:object", "'mine'", "after a colon"]),
        (":x", ["module:object"]),
        ("nowhere_to_be_found:x", ["can be imported here", "nowhere_to_be_found", "without .py"]),
        ("{own}:nope", ["an object in module", "nope", "mechanisms there: wide, narrow"]),
        ("{own}:np", ["a mechanism: an object with a name and bind", "without bind"]),
        ("{own}:Unfinished", ["the class Unfinished without an instance", "the object that it returns"]),
        ("{own}:learn", ["a function without bind", "the object that it returns"]),
        ("{own}:unfinished", ["bind of unfinished returns", "a NoneType", "from_functions"]),
    ],
)
def test_bad_mechanisms_are_usage_errors(
    own: Path, name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", "own.toml", "--mechanism", name.format(own=own), "--jobs", "1") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for word in words:
        assert word in said


def test_a_module_that_crashes_is_an_error_of_its_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crashing = f"crash_{own}"
    Path(f"{crashing}.py").write_text("import not_installed_anywhere\n")
    assert run("run", "own.toml", "--mechanism", f"{crashing}:x") == 4
    assert "not_installed_anywhere" in capsys.readouterr().err
    Path(f"{crashing}2.py").write_text("raise ZeroDivisionError('at import')\n")
    assert run("run", "own.toml", "--mechanism", f"{crashing}2:x") == 4
    assert "at import" in capsys.readouterr().err


def test_two_mechanisms_are_one_too_many_and_none_one_too_few(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", plan(tmp_path), "--mechanism", f"{own}:wide") == 2
    assert "remove the table, or leave the option out" in capsys.readouterr().err
    assert run("run", "own.toml") == 2
    assert "mechanism: field required" in capsys.readouterr().err
    assert run("certify", "own.toml", "--mechanism", f"{own}:wide") == 2
    assert "ridge_langevin" in capsys.readouterr().err


def broken_files(folder: Path) -> None:
    (folder / "not.json").write_text("{")
    (folder / "other.json").write_text('{"schema": "other/1"}')
    (folder / "half.json").write_text('{"schema": "unlearn-audit/certification/1"}')
    (folder / "binary.json").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.json", "baseline.json"), ["BASELINE", "nowhere.json", "make a baseline"]),
        (("baseline.json", "nowhere.toml"), ["plan file", "nowhere.toml"]),
        (("not.json", "baseline.json"), ["BASELINE", "not.json", "schema missing"]),
        (("baseline.json", "other.json"), ["CANDIDATE", "schema other/1"]),
        (("half.json", "baseline.json"), ["unlearn-audit/certification/1"]),
        (("binary.json", "baseline.json"), ["BASELINE", "binary.json"]),
        (("baseline.json", "baseline.json", "--kind", "audits"), ["of one kind", "certificates", "--kind audits"]),
        (("baseline.json", "baseline.json", "--margin", "-1"), ["margins.exact", "at least 0", "-1"]),
        (("baseline.json", "baseline.json", "--accuracy-margin", "nan"), ["margins.accuracy", "nan"]),
        (("baseline.json", "baseline.json", "--significance", "0.7"), ["margins.significance", "0.7"]),
        (("baseline.json", "baseline.json", "--mechanism", "a:b"), ["--mechanism", "left out", "a:b"]),
        (("baseline.json", "plan.toml", "--baseline-plan", "plan.toml"), ["--baseline-plan", "certificates"]),
        (("plan.toml", "plan.toml", "--baseline-plan", "plan.toml"), ["--baseline-plan", "BASELINE is a plan"]),
        (("baseline.json",), ["CANDIDATE"]),
    ],
)
def test_broken_input_names_field_value_and_fix(
    baseline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: list[str],
) -> None:
    broken_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run("compare", *arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for word in words:
        assert word in said


def test_help_says_that_it_runs_code_and_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(printed(capsys, "compare", "--help").split())
    assert "this RUNS its code" in said
    assert "1 when a regression is shown, 3 when something could not be decided" in said
    for command in ("run", "certify"):
        assert "this RUNS its code" in " ".join(printed(capsys, command, "--help").split())


def test_records_in_another_order_are_refused_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exact epsilon of two records is the same in either order; what a mechanism is given is not."""
    paths = [plan(tmp_path, name) for name in ("one.toml", "other.toml")]
    for path, order in zip(paths, ("[[3, 1]]", "[[1, 3]]"), strict=True):
        path.write_text(path.read_text().replace("[[3]]", order).replace("trials = 400", "trials = 100000000"))
    assert guarded(["compare", *map(str, paths), "--kind", "audits"]) == 2
    said = capsys.readouterr().err
    assert "(3, 1) as in the baseline's plan" in said
    assert "got (1, 3); name the records in one order in both plans" in said
