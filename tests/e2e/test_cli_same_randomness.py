"""``unlearn-audit same-randomness`` as a user runs it: exit codes, words and JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

import audit
from audit.cli import guarded
from audit.controls import replay

PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
[data]
name = "diabetes"
[records]
forget = [[123]]
[[claims]]
kind = "gaussian_dp"
mu = 0.5
[[attacks]]
name = "portfolio"
"""
MODULE = """
from functools import partial
from mechanisms import from_functions

def learn(data, rng):
    return data.features.mean(axis=0)

def unlearn(model, retained, forget, rng, sigma):
    return model + sigma * rng.standard_normal(model.shape)

def laplace(model, retained, forget, rng):
    return model + rng.laplace(size=model.shape)

careless, careful = (
    from_functions(learn=learn, unlearn=partial(unlearn, sigma=s), release=(11,)) for s in (1e-5, 1.0)
)
other = from_functions(learn=learn, unlearn=laplace, release=(11,))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # What a fresh process would draw is the matter of other tests, and takes seconds.
    monkeypatch.setattr(replay, "in_fresh_process", lambda function, *arguments: function(*arguments))
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "noises_of_a_test.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def command(name: str) -> list[str]:
    return ["same-randomness", "plan.toml", "--streams", "2", "--jobs", "1", "--mechanism", f"noises_of_a_test:{name}"]


def test_exit_codes_tell_the_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(command("careless")) == 1
    said = capsys.readouterr().out
    assert said.startswith("Same randomness: noises_of_a_test:careless on diabetes")
    assert "✕ REFUTED" in said
    assert guarded([*command("careful"), "--json"]) == 0
    found = audit.SameRandomness.from_json(capsys.readouterr().out)
    assert found.command == (
        "unlearn-audit same-randomness plan.toml --seed 3 --streams 2 --mechanism noises_of_a_test:careful"
    )
    assert found.verdict is audit.Verdict.NOT_REFUTED


@pytest.mark.slow
def test_what_it_does_not_apply_to_is_inconclusive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(command("other")) == 3
    said = capsys.readouterr().out
    assert "? INCONCLUSIVE" in said
    assert "does not apply. It uses its generator for other things than normal numbers (laplace)." in said
    assert guarded([*command("other"), "--allow-inconclusive"]) == 0
