"""The examples run as a user runs them: the long ones in processes of their own, the others in this one."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs an example in this process, which has loaded everything already, and returns what it prints."""

    def run(name: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *words])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_given_scores_are_refuted_and_say_how(run_here: Run) -> None:
    chosen, declared, estimates, *controls = run_here("audit_given_scores.py").splitlines()
    assert " REFUTED" in chosen
    n_unlearned, n_retrained = (int(word) for word in chosen.replace("(", " ").split() if word.isdigit())
    assert 180 < n_unlearned < 360
    assert 150 < n_retrained < 300
    assert " REFUTED" in declared
    assert "360 and 300 models counted" in declared
    assert estimates.startswith("estimates, not bounds")
    assert [line.split(":")[0] for line in controls] == ["null", "duplicates", "lag_one", "paired_rows", "precision"]


@pytest.mark.slow
def test_audit_my_mechanism_tells_the_true_claim_from_the_false_one() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "audit_my_mechanism.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    careful, careless = done.stdout.splitlines()
    assert careful.startswith("careful")
    assert "NOT REFUTED" in careful
    assert careless.startswith("careless")
    assert " REFUTED" in careless
    assert "NOT REFUTED" not in careless


@pytest.mark.slow
def test_stop_when_decided_stops_early_where_the_claim_is_false() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "stop_when_decided.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    hardest, median = done.stdout.splitlines()
    assert re.search(r"  REFUTED +after +\d{1,3} of at most 9,500 pairs", hardest)
    assert "NOT REFUTED  after 9,500 of at most 9,500 pairs" in median


@pytest.mark.slow
def test_an_estimator_is_audited_in_twenty_lines() -> None:
    example = ROOT / "examples" / "audit_my_estimator.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 claim audited: 1 refuted." in done.stdout
    code = [line for line in example.read_text().split('"""')[2].splitlines() if line and "annotations" not in line]
    assert len(code) <= 21


@pytest.mark.slow
def test_a_black_box_audit_refutes_the_service_that_ignored_the_deletion() -> None:
    # Over 20 seeds each: p = 1e-4 at level 0.0125 for the service that ignored it, p >= 0.66 for the honest one.
    example = ROOT / "examples" / "black_box_logistic_regression.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, honest, ignored = done.stdout.splitlines()
    assert "NOT REFUTED" in honest
    assert " REFUTED" in ignored
    assert "NOT REFUTED" not in ignored


@pytest.mark.slow
def test_the_claims_of_the_pytest_example_pass_and_are_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "unlearn_audit_pytest", "-p", "no:cacheprovider", "-q"],
        cwd=ROOT / "examples" / "pytest",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert "at most 0.01 (budget 0.01, base seed 0)" in done.stdout


def test_a_stream_of_releases_is_refuted_after_requests_were_lost(run_here: Run) -> None:
    careful, careless = run_here("deletion_stream.py").split("loses requests from release 4 on")
    assert careful.count("NOT REFUTED") == 8
    assert careless.count("NOT REFUTED") >= 3
    assert "release 8" in careless.splitlines()[-1]
    assert "far REFUTED" in careless.splitlines()[-1]


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("size", [pytest.param(("--records", "20", "--epochs", "12"), id="small"),
                                  pytest.param((), id="whole", marks=pytest.mark.slow)])  # fmt: skip
def test_one_language_model_tells_who_deletes(size: tuple[str, ...], run_here: Run) -> None:
    retrains, ignores = run_here("one_training_run.py", *size).split("A service that ignores the request")
    assert "NOT REFUTED" in retrains
    assert "NOT REFUTED" not in ignores
    assert " REFUTED" in ignores
    assert "surest guesses" in ignores
