"""Audits by lot that are stopped and go on: the result of one that was never stopped, and no run is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import audit
from attacks.lots import Learned
from audit.cli import main
from audit.trials.engines import Engine
from audit.trials.storing.inspection import damage_in, summary_of
from mechanisms import Claim, EpsilonDelta, Reference, RidgeLangevin, UpTo, from_functions, load_named
from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
DATA = load_named("diabetes", rows=80)
POOL = tuple(range(0, 60, 2))
CLAIM = Claim(
    guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY, covers=UpTo(k=len(POOL))
)
LEARNED: list[int] = []


def learn(data: Any, rng: np.random.Generator) -> Array:
    LEARNED.append(len(data))
    x, y = data.features, data.targets
    fitted = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    return np.asarray(fitted + 0.01 * rng.standard_normal(fitted.shape))


def lose(model: Array, retained: Any, forget: Any, rng: np.random.Generator) -> Array:
    return model


SERVICE = from_functions(
    learn=learn,
    unlearn=lose,
    release=(DATA.features.shape[1], 1),
    reference=Reference.RETRAIN_ONLY,
    parameters={"penalty": 1.0},
)


def audited(store: Any = None, **options: Any) -> audit.LotsResult:
    LEARNED.clear()
    given: dict[str, Any] = {"pool": POOL, "claim": CLAIM, "runs": 4, "attack": Learned(rehearsals=16), "seed": 3}
    return audit.run_lots(SERVICE, DATA, store=store, **(given | options))


def bare(result: audit.LotsResult) -> str:
    return replace(result, seconds=0.0).to_json()


class Stopped(Exception):
    """What ends an audit on its way."""


def stopping(phase: str, at: int) -> Any:
    def progress(now: str, done: int, total: int) -> None:
        if (now, done) == (phase, at):
            raise Stopped

    return progress


@pytest.mark.parametrize(
    ("phase", "at", "left"),
    [
        ("runs", 2, 2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("models without the pool", 1, 21), ("rehearsals", 9, 11), ("runs", 4, 0))
        ),
    ],
)
def test_a_stopped_audit_goes_on_with_the_same_result(tmp_path: Path, phase: str, at: int, left: int) -> None:
    whole = audited()
    assert len(LEARNED) == 22
    with pytest.raises(Stopped):
        audited(tmp_path, progress=stopping(phase, at))
    made = len(LEARNED)
    went_on = audited(tmp_path)
    assert bare(went_on) == bare(whole)
    assert (made, len(LEARNED)) == (22 - left, left)
    again = audited(tmp_path)
    assert again.to_json() == went_on.to_json()
    assert not LEARNED, "a finished audit trains nothing"


RIDGE = RidgeLangevin(n_learn=20, n_unlearn=2)
RIDGE_CLAIM = replace(CLAIM, reference=Reference.RETRAIN_THEN_UNLEARN)


def of_ridge(runs: int = 4, **options: Any) -> audit.LotsResult:
    return audit.run_lots(RIDGE, DATA, pool=POOL, claim=RIDGE_CLAIM, runs=runs, seed=5, **options)


def test_a_killed_audit_goes_on_with_the_same_result(tmp_path: Path) -> None:
    """Killed, in a process of its own, when two of four runs are made."""
    script = f"""
import os, signal
from tests.unit.test_lots_stored import of_ridge

def progress(phase, done, total):
    if (phase, done) == ("runs", 2):
        os.kill(os.getpid(), signal.SIGKILL)

of_ridge(store={str(tmp_path)!r}, progress=progress)
"""
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert summary_of(tmp_path).n_stored == 4
    assert bare(of_ridge(store=tmp_path)) == bare(of_ridge())


def test_another_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        audited(tmp_path, progress=stopping("runs", 1))
    for changed, named in (({"seed": 4}, "plan.seed"), ({"runs": 5}, "plan.runs"), ({"attack": None}, "plan.attack")):
        with pytest.raises(InvalidInputError, match=named):
            audited(tmp_path, **changed)
    assert len(audited(audit.Storage(folder=tmp_path, fresh=True), runs=5).runs) == 5


@pytest.mark.slow
def test_a_damaged_run_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        audited(tmp_path, progress=stopping("runs", 3))
    (first, *_) = sorted((tmp_path / "audit-store" / "fit").glob("*audited*.npy"))
    first.write_bytes(first.read_bytes()[:-8] + b"\0" * 8)
    assert damage_in(tmp_path)
    assert bare(audited(tmp_path)) == bare(audited())


def test_the_store_is_listed(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(Stopped):
        audited(tmp_path, progress=stopping("runs", 1))
    listed = CliRunner().invoke(main, ["store", "ls", str(tmp_path)])
    assert "19 of 22 chunks, unfinished" in listed.output
    assert "seed 3" in listed.output
    audited(audit.Storage(folder=tmp_path, say=said.append))
    audited(audit.Storage(folder=tmp_path, say=said.append))
    assert "Going on: 19 of 22 runs are stored" in said[0]
    assert "nothing is trained" in said[1]
    assert not list((tmp_path / "audit-store" / "fit").glob("*.npy")), "releases are needed only to go on"


def test_any_number_of_processes_gives_the_same_result(tmp_path: Path) -> None:
    assert bare(of_ridge(runs=3, engine=Engine(n_jobs=2), store=tmp_path)) == bare(of_ridge(runs=3))
