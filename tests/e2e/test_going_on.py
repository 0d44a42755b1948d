"""Runs that are stopped and go on, from the command line: what they say, how they exit, and that nothing differs."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from audit.trials.storing.inspection import summary_of
from audit.trials.storing.opening import database
from tests.e2e.command_line import COMMAND, PLAIN, hear_interruptions, run, run_alone

ROOT = Path(__file__).parents[2]
PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
trials = {trials}
control_trials = 20
chunk_size = {chunk}
[data]
name = "diabetes"
[mechanism]
name = "ridge_langevin"
n_learn = {steps}
n_unlearn = 1
sigma_unlearn = 0.01
sampler = "{sampler}"
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-5
[[attacks]]
name = "target_loss"
"""


def write_plan(
    folder: Path, *, trials: int = 60, steps: int = 3, sampler: str = "closed_form", chunk: int = 1000
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.toml"
    path.write_text(PLAN.format(trials=trials, steps=steps, sampler=sampler, chunk=chunk))
    return path


def result_in(out: Path) -> str:
    found = json.loads((out / "report.json").read_text())
    del found["environment"]
    return json.dumps(found)


def forget_the_end(out: Path, *, every: int = 2) -> int:
    """Make of a finished run one that was stopped; return how many chunks are left."""
    connection = sqlite3.connect(database(out))
    with connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'result%'")
        connection.execute("DELETE FROM chunks WHERE id % ? = 0", (every,))
        left = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    connection.close()
    return left


@contextmanager
def started(*words: str | Path, command: Sequence[str] = tuple(COMMAND), **options: Any) -> Iterator[Any]:
    """Yield a running command, which is over when the block ends."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes |= {"preexec_fn": hear_interruptions, **options}
    with subprocess.Popen([*command, *map(str, words)], **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_goes_on_and_a_finished_one_is_rendered_again(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    first = run("run", plan, "--out", out, "--jobs", "1", "--keep-releases")
    assert first.returncode == 0, first.stderr
    assert "stored" not in first.stderr
    pages = {path.name: path.read_bytes() for path in out.glob("report.*")}
    expected = result_in(out)
    left = forget_the_end(out)
    again = run("run", plan, "--out", out, "--jobs", "1")
    assert again.returncode == 0, again.stderr
    assert f"Going on: {left} of {2 * left} chunks are stored in {out}." in again.stderr
    assert result_in(out) == expected
    pages = {path.name: path.read_bytes() for path in out.glob("report.*")}
    for path in out.glob("report.*"):
        path.unlink()
    done = run("run", plan, "--out", out, "--jobs", "1")
    assert done.returncode == 0
    assert f"This run is finished: its result is read from {out}, and nothing is drawn." in done.stderr
    assert "done in" not in done.stderr
    assert {path.name: path.read_bytes() for path in out.glob("report.*")} == pages
    assert done.stdout == again.stdout


def test_another_plan_is_refused_until_asked_to_begin_anew(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    assert run("run", plan, "--out", out, "--jobs", "1").returncode == 0
    before = (out / "report.json").read_bytes()
    other = run("run", plan, "--out", out, "--jobs", "1", "--seed", "4", "--trials", "70")
    assert other.returncode == 2
    assert "plan.seed: stored 3, now 4; plan.trials: stored 60, now 70" in other.stderr
    assert "start anew by --fresh" in other.stderr
    assert (out / "report.json").read_bytes() == before
    fresh = run("run", plan, "--out", out, "--jobs", "1", "--seed", "4", "--trials", "70", "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert json.loads((out / "report.json").read_text())["plan"]["seed"] == 4


def test_an_audit_that_stops_when_decided_goes_on(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, trials=600, chunk=20), tmp_path / "out"
    words = ("run", plan, "--out", out, "--jobs", "1", "--stop-when-decided")
    code = run(*words, "--keep-releases").returncode
    expected = result_in(out)
    left = forget_the_end(out, every=3)
    again = run(*words)
    assert again.returncode == code
    assert f"Going on: {left} of at most " in again.stderr
    assert result_in(out) == expected


def others_are_told_who_writes(plan: Path, out: Path, writer: int) -> None:
    for words in (("run", plan, "--out", out, "--jobs", "1"), ("store", "purge", out)):
        refused = run(*words)
        assert refused.returncode == 2
        assert f"another run writes to (process {writer} on " in refused.stderr
    assert f"written to by process {writer} on " in run("store", "ls", out).stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow)]
)
def test_others_are_told_who_writes_and_a_signal_ends_a_run_with_what_is_stored_and_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    plan = write_plan(tmp_path, trials=50_000, steps=100, sampler="stepwise", chunk=20)
    out, junit = tmp_path / "out", tmp_path / "ci" / "audit.xml"
    with started("run", plan, "--out", out, "--jobs", "1", "--junit", junit, "--fresh") as process:
        wait_for(out, 3, process)
        others_are_told_who_writes(plan, out, process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "written to by" not in run("store", "ls", out).stdout
    stored = summary_of(out)
    assert stored.n_stored >= 3
    assert stored.holder is None
    counts = f"{stored.n_stored:,} of {stored.n_chunks:,} chunks are stored in {out}."
    assert f"Interrupted by {number.name}: {counts}" in said
    assert f"Go on by: unlearn-audit run {plan} --out {out} --jobs 1 --junit {junit}\n" in said
    recorded = junit.read_text()
    assert 'failures="0" errors="1"' in recorded
    assert counts in recorded


def wait_for(out: Path, n: int, process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait until so many chunks are stored."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if database(out).exists():
            connection = sqlite3.connect(f"{database(out).as_uri()}?mode=ro", uri=True)
            try:
                if connection.execute("SELECT count(*) FROM chunks").fetchone()[0] >= n:
                    return
            except sqlite3.OperationalError:
                pass
            finally:
                connection.close()
        time.sleep(0.05)
    raise AssertionError(f"no {n} chunks in {seconds} s: {process.poll()}")


def test_a_run_outlives_its_terminal_under_nohup(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, trials=400, steps=50, sampler="stepwise", chunk=20), tmp_path / "out"
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    code = f"{ignoring}; {PLAIN[-1]}"
    words = ("run", plan, "--out", out, "--jobs", "1")
    with started(*words, command=(sys.executable, "-c", code)) as process:
        wait_for(out, 1, process)
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert summary_of(out).finished


def test_without_a_folder_an_interrupted_run_says_that_nothing_was_kept(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, trials=50_000, steps=100, sampler="stepwise", chunk=20)
    # A sign of life each half second shows that trials are drawn.
    often = "import audit.trials.progress as p; p.HEARTBEAT = 0.5; from audit.cli import entry_point; entry_point()"
    with started("run", plan, "--jobs", "1", cwd=tmp_path, command=(sys.executable, "-c", often)) as process:
        while "fitting trials" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Interrupted by SIGTERM: nothing was kept; with --out a run goes on where it was stopped." in said
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]


def test_the_store_is_listed_verified_exported_and_purged(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "runs" / "first"
    assert run("run", plan, "--out", out, "--jobs", "1").returncode == 0
    stored = summary_of(out)
    line = f"{out}: {stored.n_stored} of {stored.n_stored} chunks, finished, "
    for folder in (out, out.parent):
        assert run("store", "ls", folder).stdout.startswith(line)
    assert "diabetes, 60 trials, seed 3" in run("store", "ls", out).stdout
    assert run("store", "verify", out).stdout == f"All {stored.n_stored} chunks are whole.\n"
    table = list(csv.DictReader(io.StringIO(run("store", "export", out).stdout)))
    n_counted = json.loads((out / "report.json").read_text())["plan"]["n_counted"]
    claims = [row for row in table if (row["contrast"], row["world"]) == ("claims", "unlearned")]
    assert len(claims) == n_counted
    assert {row["attack"] for row in table} == {"target_loss"}
    assert {row["contrast"] for row in table} == {"claims", "neglected", "null"}
    target = tmp_path / "scores.json"
    done = run("store", "export", out, "--format", "json", "--to", target)
    assert str(target) in done.stderr
    chunks = json.loads(target.read_text())
    assert len(chunks) == stored.n_stored
    scores = [
        score
        for chunk in chunks
        if chunk["world"] == "unlearned"
        for part in chunk["scores"]
        for score in part["scores"]
    ]
    assert scores == [float(row["score"]) for row in claims]
    assert run("store", "purge", "--lock", out).stdout == "Nobody holds it.\n"
    assert run("store", "purge", "--lock", "--releases", out).returncode == 2
    assert run("store", "purge", out).returncode == 0
    assert not database(out).exists()
    assert (out / "report.json").exists()
    for words in (("ls", out), ("verify", out), ("export", out), ("purge", out)):
        missing = run("store", *words)
        assert missing.returncode == 2
        assert "the folder of a run with a store" in missing.stderr


@pytest.mark.slow
def test_an_export_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, trials=2000, chunk=20), tmp_path / "out"
    assert run("run", plan, "--out", out, "--jobs", "1").returncode == 0
    with started("store", "export", out) as process:
        assert process.stdout.readline().startswith("step,stream,")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


def test_damage_is_named_and_what_can_be_read_is_exported(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, trials=1200, chunk=20), tmp_path / "out"
    assert run("run", plan, "--out", out, "--jobs", "1").returncode == 0
    n_stored = summary_of(out).n_stored
    os.truncate(database(out), database(out).stat().st_size // 2 // 4096 * 4096)
    verified = run("store", "verify", out)
    assert verified.returncode == 2
    assert "The database: " in verified.stdout
    again = run("run", plan, "--out", out, "--jobs", "1")
    assert again.returncode == 2
    assert f"unlearn-audit store export {out}" in again.stderr
    exported = run("store", "export", out, "--format", "json")
    assert exported.returncode == 0, exported.stderr
    assert n_stored / 4 < len(json.loads(exported.stdout)) < n_stored
    assert run("run", plan, "--out", out, "--jobs", "1", "--fresh").returncode == 0


def test_withheld_records_are_in_no_store(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    done = run("run", plan, "--out", out, "--jobs", "1", "--redact")
    assert done.returncode == 0
    assert "The store is deleted: it names the records that --redact withholds." in done.stderr
    assert not (out / "audit-store").exists()
    # Beside an earlier report that names them it is the user's to delete.
    assert run("run", plan, "--out", tmp_path / "named", "--jobs", "1").returncode == 0
    done = run("run", plan, "--out", tmp_path / "named", "--jobs", "1", "--redact")
    assert f"unlearn-audit store purge {tmp_path / 'named'}" in done.stderr
    assert database(tmp_path / "named").exists()


SERVICE = """
import numpy as np
from helper import SIGMA
from mechanisms import from_functions

def learn(data, rng):
    return data.targets.mean(axis=0)

def unlearn(model, retained, forget, rng):
    return model + SIGMA * rng.standard_normal(1)

service = from_functions(learn=learn, unlearn=unlearn, release=(1,))
"""


@pytest.mark.slow
def test_code_of_the_users_that_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "helper.py").write_text("SIGMA = 10.0\n")
    plan = write_plan(tmp_path, trials=200)
    text = plan.read_text()
    plan.write_text(text[: text.index("[mechanism]")] + text[text.index("[records]") :].replace("target_loss", "tail"))
    words = ("run", "plan.toml", "--mechanism", "service:service", "--out", "out", "--jobs", "1")
    done = run_alone(*words, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert "is finished" in run_alone(*words, cwd=tmp_path).stderr
    (tmp_path / "helper.py").write_text("SIGMA = 11.0\n")
    changed = run_alone(*words, cwd=tmp_path)
    assert changed.returncode == 2
    assert "code.helper.py: changed since" in changed.stderr


def killed_at_writes(folder: Path, *words: str, stop_when_decided: bool = False) -> dict[str, int]:
    plan = write_plan(folder, trials=20)
    if stop_when_decided:
        plan.write_text("stop_when_decided = true\n" + plan.read_text().replace("trials = 20\n", "trials = 60\n", 1))
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.killed_runs", str(plan), str(folder / "runs"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    assert found["killed"] == found["trials"]
    return {name: found[name] for name in ("lost", "twice", "missing", "failed", "different")}


NOTHING = {"lost": 0, "twice": 0, "missing": 0, "failed": 0, "different": 0}


def test_a_run_that_is_killed_at_some_writes_loses_nothing(tmp_path: Path) -> None:
    assert killed_at_writes(tmp_path, "--every", "43") == NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("stop_when_decided", [False, True])
def test_a_run_that_is_killed_at_any_write_loses_nothing(tmp_path: Path, stop_when_decided: bool) -> None:
    assert killed_at_writes(tmp_path, stop_when_decided=stop_when_decided) == NOTHING


@pytest.mark.slow
def test_a_run_that_is_killed_at_fifty_random_times_gives_the_same_and_leaves_nobody(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, trials=30_000, steps=60, sampler="stepwise", chunk=100)
    whole = run_alone("run", plan, "--out", tmp_path / "whole", "--jobs", "2")
    assert whole.returncode == 0, whole.stderr
    out, rng, n_killed = tmp_path / "out", random.Random(1), 0
    n_stored = [0]
    while n_killed < 50:
        process = subprocess.Popen(
            [*COMMAND, "run", str(plan), "--out", str(out), "--jobs", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(rng.uniform(0.2, 6.0))
        workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        if process.wait() == 0:
            # Finished before it could be killed: once more from the beginning.
            run("store", "purge", out)
            n_stored.append(0)
            continue
        n_killed += 1
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert not alive
        stored = summary_of(out).n_stored if database(out).exists() and summary_of(out).n_chunks else n_stored[-1]
        assert stored >= n_stored[-1]
        n_stored.append(stored)
    done = run_alone("run", plan, "--out", out, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert result_in(out) == result_in(tmp_path / "whole")
    assert run("store", "verify", out).returncode == 0


def test_what_records_look_like_is_in_no_file_of_a_run(tmp_path: Path) -> None:
    """Not in the store nor in what is kept for comparisons either; a finished run shows it when asked."""
    plan, out = write_plan(tmp_path), tmp_path / "out"
    assert run("run", plan, "--out", out, "--jobs", "1").returncode == 0
    stored = sqlite3.connect(database(out)).execute("SELECT value FROM meta WHERE key LIKE 'result%'").fetchall()
    assert stored
    assert not [value for (value,) in stored if '"image_shape"' in str(value)]
    baseline = tmp_path / "baseline.json"
    words = ("compare", out / "report.json", plan, "--write-baseline", baseline, "--jobs", "1")
    assert run(*words).returncode in (0, 3)
    certified = run("certify", plan, "--records", "3", "--routes", "exact", "--json", "--jobs", "1")
    for text in ((out / "report.json").read_text(), baseline.read_text(), certified.stdout):
        assert '"image_shape"' not in text
    again = run("run", plan, "--out", out, "--jobs", "1", "--show-records")
    assert "is finished" in again.stderr
    assert '"image_shape"' in (out / "report.json").read_text()
