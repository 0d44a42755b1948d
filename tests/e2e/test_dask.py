"""A real Dask cluster on this machine: the same results as anywhere, also where one of its workers is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential
from audit.trials.cluster import DaskEngine
from audit.trials.workers.pool import Failure
from mechanisms import Claim, GaussianDP, UpTo, load_named
from mechanisms.errors import InvalidInputError
from mechanisms.ridge import RidgeLangevin
from tests.e2e.command_line import run

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'unlearn-audit[dask]'")
# Of Dask's own sockets and coroutines, which end with the process.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
MECHANISM = RidgeLangevin(n_learn=20, n_unlearn=5, sigma_unlearn=0.01, sampler="closed_form")
PLAN = AuditPlan(
    claims=(Claim(guarantee=GaussianDP(mu=1.0)),),
    forget=((3,),),
    attacks=("target_loss",),
    trials=240,
    chunk_size=40,
    seed=1,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", silence_logs=50
    ) as started:
        yield started


@pytest.fixture
def engine(cluster: Any) -> Iterator[DaskEngine]:
    with DaskEngine(scheduler=cluster.scheduler_address) as connected:
        yield connected


def found(engine: Any, plan: AuditPlan = PLAN) -> dict[str, Any]:
    result = json.loads(audit.run(MECHANISM, load_named("digits", rows=150), plan, engine=engine).to_json())
    del result["environment"]
    return dict(result)


IN_ROUNDS = replace(PLAN, counting=Sequential(first_fit=80))


@pytest.mark.parametrize(
    "plan", [pytest.param(PLAN, id="fixed"), pytest.param(IN_ROUNDS, id="sequential", marks=pytest.mark.slow)]
)
def test_results_are_those_of_one_process(engine: DaskEngine, plan: AuditPlan) -> None:
    assert found(engine, plan) == found(audit.Engine(), plan)


@pytest.mark.slow
def test_audits_by_lot_are_those_of_one_process(engine: DaskEngine) -> None:
    stepwise = replace(MECHANISM, sampler="stepwise")
    claim = Claim(guarantee=GaussianDP(mu=1.0), covers=UpTo(k=30))
    options: dict[str, Any] = {"pool": tuple(range(30)), "claim": claim, "runs": 3, "seed": 2}
    data = load_named("digits", rows=150)
    shared, alone = (audit.run_lots(stepwise, data, engine=each, **options) for each in (engine, audit.Engine()))
    assert replace(shared, seconds=0.0) == replace(alone, seconds=0.0)


def test_a_worker_that_is_killed_changes_nothing(cluster: Any, engine: DaskEngine) -> None:
    """Killed in the middle of a stream of calls; its supervisor starts another."""
    nannies = [worker.pid for worker in cluster.workers.values()]
    assert len(nannies) == 2
    numbers = []
    shared = np.arange(5000.0)
    for position, outcome in engine.stream(_total, [(shared, i) for i in range(40)]):
        numbers.append((position, outcome))
        if len(numbers) == 5:
            os.kill(nannies[0], signal.SIGKILL)
    assert sorted(numbers) == [(i, float(shared.sum()) + i) for i in range(40)]


def _total(shared: Any, i: int) -> float:
    import time

    time.sleep(0.02)
    return float(shared.sum()) + i


def test_what_fails_twice_is_a_failure_and_costs_no_other(engine: DaskEngine) -> None:
    outcomes = dict(engine.stream(_odd_fails, [(i,) for i in range(6)]))
    assert [outcomes[i] for i in (0, 2, 4)] == [0, 2, 4]
    for i in (1, 3, 5):
        failure = outcomes[i]
        assert isinstance(failure, Failure)
        assert f"ValueError: odd: {i}" in failure.message
        assert "_odd_fails" in failure.traceback
        assert isinstance(failure.error, ValueError)


def _odd_fails(i: int) -> int:
    if i % 2:
        raise ValueError(f"odd: {i}")
    return i


def test_few_calls_wait_at_the_scheduler(engine: DaskEngine) -> None:
    stream = engine.stream(_odd_fails, [(2 * i,) for i in range(60)])
    next(stream)
    waiting = [key for key in engine._client.futures if "unlearn-audit" in str(key)]
    assert len(waiting) <= 2 * engine.n_jobs + 2
    stream.close()


def test_a_limit_on_trials_and_nonsense_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="trial_timeout"):
        DaskEngine().limited(1.0)
    for bad in (0, 1.5, "two"):
        with pytest.raises(InvalidInputError, match="workers"):
            DaskEngine(workers=bad)  # type: ignore[arg-type]


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.trials.cluster.JOINING", 1.0)
    with pytest.raises(TrialError, match=r"tcp://127\.0\.0\.1:9 could be reached in 1 s"):
        list(DaskEngine(scheduler="tcp://127.0.0.1:9").stream(_odd_fails, [(0,)]))


@pytest.mark.slow
def test_the_command_draws_on_a_cluster_and_goes_on_from_its_store(cluster: Any, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'schema = "unlearn-audit/plan/1"\nseed = 3\ntrials = 60\ncontrol_trials = 20\n[data]\nname = "diabetes"\n'
        '[mechanism]\nname = "ridge_langevin"\nn_learn = 3\nn_unlearn = 1\nsigma_unlearn = 0.01\n[records]\n'
        'forget = [[3]]\n[[claims]]\nkind = "epsilon_delta"\nepsilon = 1.0\ndelta = 1e-5\n[[attacks]]\n'
        'name = "target_loss"\n'
    )
    results = []
    for name, words in (("here", ()), ("there", ("--engine", "dask", "--scheduler", cluster.scheduler_address))):
        done = run("run", plan, "--out", tmp_path / name, "--jobs", "1", *words)
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / name / "report.json").read_text())
        del result["environment"]
        results.append(result)
    assert results[0] == results[1]
    again = run("run", plan, "--out", tmp_path / "there", "--engine", "serial")
    assert "is finished" in again.stderr
    refused = run("run", plan, "--scheduler", "tcp://127.0.0.1:1")
    assert refused.returncode == 2
    assert "add --engine dask" in refused.stderr


@pytest.mark.slow
def test_a_worker_with_two_threads_runs_one_call_at_a_time() -> None:
    """Calls that seed numpy's own generator, as trainings do, get what they would alone."""
    two = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0", "host": "127.0.0.1", "silence_logs": 50}
    with distributed.LocalCluster(**two) as cluster, DaskEngine(scheduler=cluster.scheduler_address) as engine:
        assert engine.n_jobs == 1
        assert dict(engine.stream(_seeded, [(i,) for i in range(8)])) == {i: _seeded(i) for i in range(8)}


def _seeded(seed: int) -> float:
    import time

    np.random.seed(seed)  # noqa: NPY002
    drawn = 0.0
    for _ in range(20):
        drawn += float(np.random.standard_normal())  # noqa: NPY002
        time.sleep(0.002)
    return drawn
