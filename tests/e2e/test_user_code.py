"""Code of the user never decides how a command ends: not by what it does to its process, nor by what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest

from audit.trials.storing.inspection import damage_in, summary_of
from tests.e2e.command_line import Done, hear_interruptions, run
from tests.e2e.test_going_on import wait_for

ROOT = Path(__file__).parents[2]
# As an installed command: without the current folder before installed modules.
COMMAND = [sys.executable, "-P", "-c", "from audit.cli import entry_point; entry_point()"]

PLAN = """
schema = "unlearn-audit/plan/1"
seed = 7
trials = 200
chunk_size = 20
control_trials = 40
[data]
name = "digits"
rows = 60
[records]
forget = [[3]]
[[claims]]
kind = "gaussian_dp"
mu = 3.0
[[attacks]]
name = "lda"
[counting]
fit_fraction = 0.3
"""

MODULE = """
import os, signal, sys
import numpy as np
from mechanisms import from_functions

def harm(place):
    if place == {place!r}:
        {what}

harm("body")
def calibrate(data, forget):
    harm("calibrate")
    return 1.0
def learn(data, rng):
    harm("learn")
    if rng.bit_generator.seed_seq.spawn_key == (1, 0, 0, 6): harm("chunk 6")
    return data.features[:, 10:13].T @ data.targets[:, 0]
def unlearn(model, retained, forget, rng, scale):
    return model + 300 * scale * rng.standard_normal(3)
def observe(model, deleted):
    harm("observe")
    print("said by a mechanism")
    return model
mechanism = from_functions(learn=learn, unlearn=unlearn, calibrate=calibrate, observe=observe, release=(3,))
print("said by a module")
"""


def command(folder: Path, *arguments: str, place: str = "nowhere", what: str = "pass") -> Done:
    (folder / "plan.toml").write_text(PLAN)
    (folder / "mine.py").write_text(MODULE.format(place=place, what=what))
    words = [*COMMAND, "run", "plan.toml", "--mechanism", "mine:mechanism", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


def slow(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


# A command takes more than a second to start: one of each kind always, the product where time is.
@pytest.mark.parametrize(
    ("place", "jobs"),
    [("body", "1"), ("learn", "2")]
    + [slow(*case) for case in product(("body", "calibrate", "learn", "observe"), ("1", "2"))],
)
def test_an_exit_without_an_error_is_an_error_with_a_junit_file(tmp_path: Path, place: str, jobs: str) -> None:
    done = command(tmp_path, "--jobs", jobs, "--junit", "j.xml", place=place, what="os._exit(0)")
    assert done.returncode == 4, done.stderr
    assert "exit code 0" in done.stderr
    recorded = (tmp_path / "j.xml").read_text()
    assert 'errors="1"' in recorded
    assert "exit code 0" in recorded


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("place", ["calibrate", "learn", "observe"])
@pytest.mark.parametrize(
    "what", ["os.abort()", "sys.exit(0)", "raise BaseException('mine')", "os.closerange(0, 256); raise OSError"]
)
def test_no_other_end_passes_for_a_verdict_wherever_it_happens(
    tmp_path: Path, place: str, what: str, jobs: str
) -> None:
    done = command(tmp_path, "--jobs", jobs, "--junit", "j.xml", place=place, what=what)
    assert done.returncode == 4, done.stderr
    assert 'errors="1"' in (tmp_path / "j.xml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("place", ["learn", "observe"])
def test_a_mechanism_that_always_hangs_is_given_up(tmp_path: Path, place: str, jobs: str) -> None:
    limit = ("--jobs", jobs, "--trial-timeout", "0.2", "--junit", "j.xml")
    done = command(tmp_path, *limit, place=place, what="import time; time.sleep(600)")
    assert done.returncode == 4, done.stderr
    assert "still at work" in (tmp_path / "j.xml").read_text()


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("body", "os.kill(os.getpid(), signal.SIGKILL)"),
        slow("body", "raise KeyboardInterrupt"),
        slow("body", "os.closerange(0, 256)"),
        slow("body", "os.abort()"),
        slow("body", "sys.exit(0)"),
        slow("learn", "raise KeyboardInterrupt"),
    ],
)
def test_neither_does_any_other_end_pass_for_a_verdict(tmp_path: Path, place: str, what: str) -> None:
    assert command(tmp_path, "--jobs", "1", place=place, what=what).returncode == 4


SAYS = "print('said by a body', flush=True); os.write(1, b'said past Python '); "


@pytest.mark.parametrize("what", [SAYS + "os.chdir('/'); os.close(0); os.close(1)", slow(SAYS + "os.dup2(2, 1)")])
def test_what_a_module_does_to_its_process_changes_neither_output_nor_place(tmp_path: Path, what: str) -> None:
    done = command(tmp_path, "--jobs", "1", "--json", "--junit", "j.xml", place="body", what=what)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "unlearn-audit/result/1"
    assert (tmp_path / "j.xml").exists()
    for words in ("said by a body", "said past Python", "said by a mechanism"):
        assert words in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["2", "1"])
def test_a_chunk_that_ends_its_worker_is_lost_and_no_other(tmp_path: Path, jobs: str) -> None:
    whole, broken, allowed = (
        command(tmp_path, "--jobs", jobs, "--json", *more, place=place, what="os._exit(0)")
        for place, more in (("nowhere", ()), ("chunk 6", ()), ("chunk 6", ("--max-failed", "20")))
    )
    assert [whole.returncode, broken.returncode, allowed.returncode] == [0, 3, 0], broken.stderr
    finding, kept = (json.loads(done.stdout)["findings"][0] for done in (broken, allowed))
    assert finding["reason"] == "trials_failed"
    (lost,) = finding["failed_chunks"]
    assert (lost["world"], lost["chunk"], lost["seed"], lost["n"]) == ("unlearned", 6, 7, 20)
    assert "ended by itself with exit code 0 (world unlearned, forget set 0, chunk 6, seed 7)" in lost["message"]
    assert kept["tests"] == [{**test, "rejected": False} for test in finding["tests"]]
    counts = kept["tests"][0]["bound"]["counts"]
    assert counts["n_unlearned"] == counts["n_retrained"] == json.loads(whole.stdout)["plan"]["n_counted"]


@pytest.mark.parametrize(
    ("place", "stage"), [("body", "importing mine:mechanism after"), slow("calibrate", "(while binding the mechanism)")]
)
def test_a_mechanism_that_hangs_before_its_first_trial_is_given_up(tmp_path: Path, place: str, stage: str) -> None:
    limit = ("--jobs", "1", "--setup-timeout", "1.5", "--junit", "j.xml")
    done = command(tmp_path, *limit, place=place, what="import time; time.sleep(600)")
    assert done.returncode == 4, done.stderr
    assert stage in done.stderr
    recorded = (tmp_path / "j.xml").read_text()
    assert stage in recorded
    assert 'errors="1"' in recorded


@pytest.mark.slow
def test_a_hanging_trial_is_given_up(tmp_path: Path) -> None:
    done = command(
        tmp_path,
        *("--jobs", "1", "--json", "--trial-timeout", "0.1", "--max-failed", "20"),
        place="chunk 6",
        what="import time; time.sleep(600)",
    )
    assert done.returncode == 0, done.stderr
    (lost,) = json.loads(done.stdout)["findings"][0]["failed_chunks"]
    assert "still at work after 2 seconds" in lost["message"]


@pytest.mark.parametrize("jobs", [slow("1"), slow("2")])
def test_what_user_code_prints_is_not_in_the_result(tmp_path: Path, jobs: str) -> None:
    done = command(tmp_path, "--jobs", jobs, "--json")
    assert json.loads(done.stdout)["schema"] == "unlearn-audit/result/1"
    assert "said by a module" in done.stderr
    assert "said by a mechanism" in done.stderr


SHADOWED = (
    "audit", "click", "cloudpickle", "ctypes", "joblib", "json", "mechanisms", "multiprocessing", "numpy", "pickle",
    "queue", "scipy", "select", "signal", "socket", "threadpoolctl",
)  # fmt: skip


@pytest.mark.parametrize("jobs", [slow("1"), slow("2")])
def test_files_beside_a_plan_take_the_place_of_no_module(tmp_path: Path, jobs: str) -> None:
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise OSError\n")
    done = command(tmp_path, "--jobs", jobs, "--json")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()


@contextmanager
def at_work(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a long audit of the user's own mechanism, whose trials are stored in ``out``, at its third chunk."""
    (folder / "plan.toml").write_text(PLAN.replace("trials = 200", "trials = 200000"))
    (folder / "mine.py").write_text(MODULE.format(place="nowhere", what="pass"))
    command_line = [
        *COMMAND,
        "run",
        "plan.toml",
        "--mechanism",
        "mine:mechanism",
        "--jobs",
        "2",
        "--out",
        "out",
        *words,
    ]
    options: dict[str, Any] = {
        "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "cwd": folder, "text": True, "start_new_session": True,
        "preexec_fn": hear_interruptions,
    }  # fmt: skip
    with (
        open(folder / "said.txt", "w", encoding="utf-8") as said,
        subprocess.Popen(command_line, stderr=said, stdout=said, **options) as process,
    ):
        try:
            wait_for(folder / "out", 3, process)
            yield process
        finally:
            process.kill()


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
     pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_signal_reaches_the_process_that_works_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with at_work(tmp_path, "--junit", "j.xml") as process:
        workers = below(process)
        assert len(workers) >= 3
        # To the group, as a terminal does.
        os.killpg(process.pid, number)
        assert process.wait(timeout=120) == code
        assert not psutil.wait_procs(workers, timeout=5)[1]
    said, found = (tmp_path / "said.txt").read_text(), summary_of(tmp_path / "out")
    counts = f"{found.n_stored:,} of {found.n_chunks:,} chunks are stored in"
    assert f"Interrupted by {number.name}: {counts}" in said
    assert "Go on by: unlearn-audit run plan.toml --out out" in said
    assert counts in (tmp_path / "j.xml").read_text()
    assert found.holder is None
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
def test_a_killed_command_leaves_no_process_behind_and_a_store_that_goes_on(tmp_path: Path) -> None:
    with at_work(tmp_path) as process:
        workers = below(process)
        assert len(workers) >= 3
        process.kill()
        process.wait()
        assert not psutil.wait_procs(workers, timeout=5)[1]
    found = summary_of(tmp_path / "out")
    assert (found.n_stored >= 3, found.holder) == (True, None)
    assert damage_in(tmp_path / "out") == ()
    assert "written to by" not in run("store", "ls", tmp_path / "out").stdout
    assert run("store", "purge", tmp_path / "out").returncode == 0
