"""The planning commands as a user runs them: what they print, what they refuse, and that they write nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.command_line import run

PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
trials = 400
[data]
name = "digits"
rows = 200
[mechanism]
name = "ridge_langevin"
n_learn = 30
n_unlearn = 5
sigma_unlearn = 0.01
sampler = "closed_form"
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = {epsilon}
delta = 1e-5
[[attacks]]
name = "{attack}"
"""


def words(text: str) -> str:
    """Text without the line breaks of a terminal."""
    return " ".join(text.split())


def write_plan(folder: Path, *, epsilon: float = 1.0, attack: str = "likelihood_ratio") -> Path:
    path = folder / "plan.toml"
    path.write_text(PLAN.format(epsilon=epsilon, attack=attack))
    return path


def test_power_of_numbers() -> None:
    done = run("power", "--epsilon", "1", "--delta", "1e-5", "--trials", "2000", "--tests", "4")
    assert done.returncode == 0, done.stderr
    text = words(done.stdout)
    assert "4 tests, 0.05 together: 0.0125 each" in text
    for column in ("ceiling", "detectable", "power", "trials", "1.5 (1.5 ×)", "5 (5 ×)", "of a Gaussian shift"):
        assert column in text


def test_power_of_a_plan_as_json(tmp_path: Path) -> None:
    done = run("power", write_plan(tmp_path), "--margin", "3", "--trials", "1000", "--json")
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert stored["schema"] == "unlearn-audit/forecast/1"
    assert stored["trials"] == 1000
    assert len(stored["family"]["members"]) == stored["n_tests"] == 1
    claim = stored["claims"][0]
    assert claim["margins"][0]["ratio"] == 3
    assert claim["neglected"]["alternative"]["kind"] == "neglected_laws"
    assert stored["cost"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"plan.toml"}


@pytest.mark.all_rehearsals
def test_dry_run_says_loudly_what_cannot_be_refuted_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = write_plan(tmp_path, epsilon=12.0)
    done = run("run", plan, "--dry-run", "--out", tmp_path / "out", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    text = words(done.stdout)
    assert "NOT AUDITABLE at this number of trials" in text
    assert "trials would be needed" in text
    assert "Drawing takes about" in text
    assert "1 forget set bound; 1 attack can run" in text
    assert "gave the same releases in both worlds" in text
    assert f"What the audit could show: unlearn-audit power {plan}" in text
    assert {path.name for path in tmp_path.iterdir()} == {"plan.toml"}


@pytest.mark.slow
def test_dry_run_does_not_change_what_the_run_finds(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    first = json.loads(run("run", plan, "--json", "--jobs", "1").stdout)
    checked = run("run", plan, "--dry-run", "--json", "--jobs", "1")
    assert checked.returncode == 0
    (control,) = json.loads(checked.stdout)["controls"]
    assert (control["name"], control["as_expected"]) == ("replay", True)
    again = json.loads(run("run", plan, "--json", "--jobs", "1").stdout)
    assert first["findings"] == again["findings"]


def test_run_warns_before_it_starts(tmp_path: Path) -> None:
    done = run("run", write_plan(tmp_path, attack="lda"), "--jobs", "1")
    assert done.returncode in (0, 1), done.stderr
    assert "lda is hopeless at this d/m" in done.stderr
    assert done.stderr.index("hopeless") < done.stderr.index("done in")
    assert "hopeless" not in done.stdout


BAD = {
    "nothing": ((), ["PLAN", "nothing", "--epsilon 1 --delta 1e-5 --trials 20000"]),
    "no_trials": (("--epsilon", "1"), ["--trials", "nothing", "--trials 20000"]),
    "negative_epsilon": (("--epsilon", "-1", "--trials", "100"), ["epsilon", "at least 0", "-1.0", "nats"]),
    "delta": (("--epsilon", "1", "--trials", "100", "--delta", "2"), ["delta", "[0, 1]", "2.0", "1e-5"]),
    "few_trials": (("--epsilon", "1", "--trials", "3"), ["trials", "at least 20", "got 3", "thousands"]),
    "no_tests": (("--epsilon", "1", "--trials", "100", "--tests", "0"), ["tests", "at least 1", "got 0", "count"]),
    "significance": (("--epsilon", "1", "--trials", "100", "--significance", "0.9"), ["significance", "0.9", "0.05"]),
    "margin": (("--epsilon", "1", "--trials", "100", "--margin", "1"), ["margin", "above 1", "1.0", "2 asks"]),
    "not_a_number": (("--epsilon", "one", "--trials", "100"), ["--epsilon", "'one'"]),
    "missing_plan": (("nowhere.toml",), ["nowhere.toml", "check the path"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_field_value_and_fix(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = BAD[case]
    done = run("power", *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in expected:
        assert word in done.stderr


def test_a_plan_and_numbers_do_not_mix(tmp_path: Path) -> None:
    done = run("power", write_plan(tmp_path), "--epsilon", "1")
    assert done.returncode == 2
    assert "--epsilon" in done.stderr
    assert "put it into the plan" in done.stderr


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_bad_margin_stops_a_run_before_it_starts(tmp_path: Path, dry: tuple[str, ...]) -> None:
    done = run("run", write_plan(tmp_path), "--margin", "0.5", "--jobs", "1", *dry)
    assert done.returncode == 2
    assert "margin" in done.stderr
    assert "done in" not in done.stderr
