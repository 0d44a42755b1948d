"""Workers: what ends one, or changes its process, costs the call in hand and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from audit.errors import TrialError
from audit.trials.engines import Engine, SetUp, results, setup_limit
from audit.trials.workers.cores import usable_cores
from audit.trials.workers.pool import POOL, Failure, Worker
from tests.unit.calls_of_workers import (
    BAD,
    HARM,
    One,
    disturbing,
    doubled,
    exits_at_0,
    flaky,
    hangs,
    harmed,
    one_raises_late_others_end,
    slowly,
    stamped,
    where,
)

TWO = Engine(n_jobs=2)
ONE = Engine(isolated=True)


# Ends of which the next test has one, or that differ in a number.
ALIKE = ("exits with 3", "is killed")


@pytest.mark.parametrize("how", [pytest.param(how, marks=pytest.mark.slow) if how in ALIKE else how for how in HARM])
def test_what_ends_a_worker_costs_its_call_and_no_other(how: str) -> None:
    calls = [(how, i) for i in range(8)]
    began = time.monotonic()
    engine = replace(TWO, trial_timeout=1.0 if how == "hangs" else 60.0)
    found = dict(engine.stream(harmed, [(*call, One()) for call in calls]))
    assert time.monotonic() - began < 120
    assert {i: found[i] for i in range(8) if i != BAD} == {i: (i, os.getcwd()) for i in range(8) if i != BAD}
    assert isinstance(found[BAD], Failure)
    if how == "exits with 0":
        assert found[BAD].message == "The worker process was lost: it ended by itself with exit code 0"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param("exits with 0", "ended by itself with exit code 0", marks=pytest.mark.slow),
        ("is killed", "ended by SIGKILL"),
        ("hangs", "still at work after 0.5 seconds"),
    ],
)
def test_one_worker_says_how_it_was_lost(how: str, said: str) -> None:
    engine = replace(ONE, trial_timeout=0.5 if how == "hangs" else 60.0)
    ((position, failure),) = engine.stream(harmed, [(how, BAD, One())])
    assert position == 0
    assert isinstance(failure, Failure)
    assert said in failure.message


@pytest.mark.parametrize("engine", [ONE, TWO])
def test_a_lost_call_is_made_again(tmp_path: Path, engine: Engine) -> None:
    assert sorted(engine.stream(flaky, [(str(tmp_path / "seen"), i) for i in range(6)])) == [(i, i) for i in range(6)]


def test_a_worker_that_ends_before_its_next_call_is_sent_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call in hand, of which nothing was heard, is made again, and so is the one that could not be sent."""
    send, ended = Worker.send, []

    def late(self: Worker, position: int, parcels: Any, **options: Any) -> None:
        if self.tasks and self.tasks[0] == 0 and not ended:
            self.process.wait(timeout=60)
            ended.append(position)
        send(self, position, parcels, **options)

    monkeypatch.setattr(Worker, "send", late)
    found = dict(TWO.stream(exits_at_0, [(i,) for i in range(8)]))
    assert ended
    assert isinstance(found.pop(0), Failure)
    assert found == {i: i for i in range(1, 8)}


@pytest.mark.parametrize("engine", [ONE, TWO])
def test_workers_that_end_before_their_first_call_lose_none(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    send, ended = Worker.send, []

    def late(self: Worker, position: int, parcels: Any, **options: Any) -> None:
        if len(ended) < engine.n_jobs:
            ended.append(position)
            self.process.kill()
            self.process.wait()
        send(self, position, parcels, **options)

    monkeypatch.setattr(Worker, "send", late)
    assert dict(engine.stream(where, [(i,) for i in range(4)])) == {i: (i, os.getcwd()) for i in range(4)}


def test_the_next_call_finds_its_directory_and_its_descriptors() -> None:
    for _, seen in ONE.stream(disturbing, [(i,) for i in range(3)]):
        assert seen == (os.getcwd(), [True] * 3)


def test_a_stream_raises_what_a_call_raised_with_the_workers_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        dict(results(TWO.stream(divmod, [(1, i) for i in (2, 1, 0)])))
    assert "worker.py" in str(caught.value.__cause__)
    with pytest.raises(TrialError, match=r"worker process was lost: .* \(while binding\)"):
        dict(results(ONE.stream(harmed, [("exits with 0", BAD)]), doing="binding"))


def test_a_failure_carries_its_traceback() -> None:
    failure = dict(ONE.stream(divmod, [(1, 0)]))[0]
    assert isinstance(failure, Failure)
    assert failure.message.startswith("ZeroDivisionError: ")
    assert "Traceback (most recent call last)" in failure.traceback
    here = dict(Engine().stream(divmod, [(1, 0)]))[0]
    assert isinstance(here, Failure)
    assert (here.message, type(here.error)) == (failure.message, ZeroDivisionError)


def test_what_cannot_be_sent_is_named_with_a_way_out() -> None:
    with pytest.raises(TrialError, match=r"cannot be sent to a worker.*Engine\(n_jobs=1\)"):
        dict(TWO.stream(print, [(threading.Lock(),), (threading.Lock(),)]))


@pytest.mark.parametrize("frozen", [True, False])
def test_what_calls_share_is_sent_once_and_never_changed_by_another_call(
    frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.trials.workers import pool

    sent: list[int] = []
    original = pool.Parcel.send

    def counted(self: Any, connection: Any) -> None:
        sent.append(self.size)
        original(self, connection)

    monkeypatch.setattr(pool.Parcel, "send", counted)
    array = np.ones(10_000)
    array.setflags(write=not frozen)
    found = dict(TWO.stream(doubled, [(array, i) for i in range(12)]))
    assert {total for total, *_ in found.values()} == {10_000.0}
    assert {is_frozen for _, is_frozen, _ in found.values()} == {frozen}
    assert 1 <= sum(size > 80_000 for size in sent) <= 2


def test_results_are_taken_a_few_at_a_time() -> None:
    """Workers do not run ahead of whoever takes the results."""
    stream = TWO.stream(stamped, [(i,) for i in range(40)])
    next(stream)
    time.sleep(0.5)
    asked = time.time()
    began = [when for _, when in stream]
    assert sum(when < asked for when in began if isinstance(when, float)) <= 6


def test_a_stream_that_is_left_leaves_no_worker_at_work() -> None:
    stream = TWO.stream(harmed, [("hangs", i) for i in (0, 1, 2, BAD, BAD, BAD)])
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert all(not worker.tasks for worker in POOL._idle)
    time.sleep(0.1)
    asleep = [
        child for child in psutil.Process().children() if "audit.trials.workers.worker" in " ".join(child.cmdline())
    ]
    assert {child.pid for child in asleep} == {worker.process.pid for worker in POOL._idle}
    assert dict(TWO.stream(where, [(0,), (1,)])) == {0: (0, os.getcwd()), 1: (1, os.getcwd())}


def test_a_thread_that_ends_takes_no_others_workers_with_it() -> None:
    """Linux ends a process with the *thread* that started it, if it asked to end with its parent."""
    POOL.close()
    found: dict[str, list[int]] = {}
    short = threading.Thread(target=lambda: found.update(short=_pids(2)))
    short.start()
    short.join()
    time.sleep(0.2)
    assert len(POOL._idle) == 2
    assert set(_pids(10)) <= set(found["short"])


def _pids(n: int) -> list[int]:
    return [pid for _, pid in TWO.stream(slowly, [(i,) for i in range(n)])]


def test_threads_run_side_by_side() -> None:
    found: list[dict[int, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(dict(TWO.stream(where, [(i,) for i in range(20)]))))]
    threads += [threading.Thread(target=lambda: found.append(dict(ONE.stream(where, [(i,) for i in range(20)]))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{i: (i, os.getcwd()) for i in range(20)}] * 2


DRIVER = """
from audit.trials.engines import Engine, SetUp, results, setup_limit
def work(i):
    import os, time
    os.write(2, b"%d\\n" % os.getpid())
    time.sleep(60)
dict(Engine(n_jobs=2).stream(work, [(0,), (1,)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
def test_a_killed_driver_leaves_no_worker_behind() -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stderr=subprocess.PIPE, text=True)
    assert driver.stderr is not None
    workers = [psutil.Process(int(driver.stderr.readline())) for _ in range(2)]
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    driver.stderr.close()
    assert not alive


SHADOWED = (
    "audit", "cloudpickle", "ctypes", "json", "mechanisms", "multiprocessing", "numpy", "pickle", "queue", "scipy",
    "signal", "socket", "struct", "threading", "typing",
)  # fmt: skip


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_module_of_the_current_folder_takes_the_place_of_another(tmp_path: Path, n_jobs: int) -> None:
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise OSError\n")
    (tmp_path / "mine.py").write_text("def double(i):\n    return 2 * i\n")
    script = (
        "import os, sys; sys.path.append(os.getcwd()); from mine import double; "
        "from audit.trials.engines import Engine; "
        f"print(sorted(Engine(n_jobs={n_jobs}, isolated=True).stream(double, [(1,), (2,), (3,)])))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[(0, 2), (1, 4), (2, 6)]\n", done.stderr
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()


def test_what_a_call_prints_is_not_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    POOL.close()
    dict(ONE.stream(print, [("said by a mechanism",)]))
    POOL.close()
    captured = capfd.readouterr()
    assert "said by a mechanism" not in captured.out
    assert "said by a mechanism" in captured.err


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "a mess"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_share_of_time_limits_the_default_of_jobs(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    everything = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    assert usable_cores(tmp_path) == (cores or everything)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not pin a process to cores")
def test_cores_that_this_process_may_not_use_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert usable_cores() == 1


def test_a_second_try_is_made_also_by_a_crew_of_one(tmp_path: Path) -> None:
    """The last worker that is left failed a call itself: another process has it once more, and nothing is lost."""
    tried = tmp_path / "tried"
    outcomes = dict(Engine(n_jobs=2).stream(one_raises_late_others_end, [(str(tried), 0), (str(tried), 1)]))
    assert sorted(outcomes) == [0, 1]
    assert all(isinstance(outcome, Failure) for outcome in outcomes.values())
    assert len(set(tried.read_text().split())) == 2


def test_calls_that_prepare_trials_have_a_limit_of_their_own() -> None:
    assert [setup_limit(None), setup_limit(None, 3.0), setup_limit(5.0), setup_limit(500.0)] == [
        None,
        3.0,
        120.0,
        500.0,
    ]
    assert setup_limit(500.0, 3.0) == 3.0
    engine = Engine(setup_timeout=0.2)
    # Others run here, without any.
    assert dict(engine.stream(os.getpid, [()])) == {0: os.getpid()}
    ((_, outcome),) = engine.stream(hangs, [(SetUp(index=0),)])
    assert isinstance(outcome, Failure)
    assert "it was still at work after 0.2 seconds" in outcome.message
