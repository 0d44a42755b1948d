"""One audit as an array of jobs, from the command line: the commands of its page, what they refuse, and real arrays."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.docs.test_documents import Block, Command, commands, pattern, plain, save
from tests.e2e.command_line import COMMAND, Done, hear_interruptions, run, run_alone
from tests.e2e.test_going_on import wait_for

PAGE = "docs/cluster.md"
SHARDS = ("unlearn-audit draw", "unlearn-audit collect")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "CI")}
MINE = """
from functools import partial
import numpy as np
from mechanisms import from_functions

def learn(data, rng):
    x, y = data.features, data.targets[:, 0]
    return np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)

def unlearn(model, retained, forget, rng, sigma):
    print("at work")
    {harm}
    return model + sigma * rng.standard_normal(model.shape)

careless = from_functions(learn=learn, unlearn=partial(unlearn, sigma=0.018), release=(11,))
"""
OWN = """
schema = "unlearn-audit/plan/1"
seed = 2
trials = 200
control_trials = 40
chunk_size = 20
max_failed = 400
[data]
name = "diabetes"
[records]
forget = [[123]]
[[claims]]
kind = "gaussian_dp"
mu = 0.5
[[attacks]]
name = "lda"
"""


def report(folder: Path) -> str:
    said = json.loads((folder / "report.json").read_text())
    del said["environment"]
    return json.dumps(said)


def own_audit(folder: Path, harm: str = "pass") -> Path:
    (folder / "mine.py").write_text(MINE.format(harm=harm))
    (folder / "own.toml").write_text(OWN)
    return folder


def page_in(folder: Path) -> list[Command]:
    """Save the files of the page, and return its commands."""
    steps = commands(PAGE)
    for step in steps:
        if isinstance(step, Block):
            assert save(step, folder)
    return [step for step in steps if isinstance(step, Command)]


def test_the_commands_of_the_page_give_the_report_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [step for step in page_in(tmp_path) if step.line.startswith(SHARDS)]
    assert len(steps) == 6
    for step in steps:
        done = run(*step.line.split()[1:], *(() if step.line.endswith("shards") else ("--jobs", "1")))
        assert done.returncode == 0, f"{step.line}\n{done.stderr}"
        if step.shown is not None:
            assert pattern(step.shown).fullmatch(plain(done.stdout)), done.stdout
    one = run("run", "small.toml", "--json", "--jobs", "1")
    assert one.returncode == 0
    both = [json.loads(text) for text in (one.stdout, Path("out/shards/report.json").read_text())]
    where = [result.pop("environment") for result in both]
    assert json.dumps(both[0]) == json.dumps(both[1])
    assert where[1]["command"] == f"unlearn-audit collect {tmp_path / 'out' / 'shards'}"
    assert where[0]["machine"] == where[1]["machine"]


@pytest.mark.parametrize("shard", ["0/16", "17/16", "3/0", "x"])
def test_shards_out_of_range_are_usage_errors(tmp_path: Path, shard: str) -> None:
    plan = tmp_path / "plan.toml"
    done = run("draw", plan, "--phase", "fit", "--shard", shard, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"Expected --shard to be NUMBER/OF, with 1 <= NUMBER <= OF <= 100000, got {shard};" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    page_in(tmp_path)
    plan, out = tmp_path / "small.toml", tmp_path / "out"
    fit = ("--phase", "fit", "--shard", "1/2", "--out", out)
    plan.write_text(plan.read_text().replace("seed = 7", "seed = 7\nstop_when_decided = true"))
    done = run("draw", plan, *fit)
    assert done.returncode == 2
    assert "an audit that stops when decided; leave stop_when_decided out" in done.stderr
    assert not out.exists()
    assert run("draw", plan, "--phase", "guess", "--shard", "1/2", "--out", out).returncode == 2
    for words in (("--fit", "--json"), ("--keep-releases",), ("--fit",), ()):
        done = run("collect", tmp_path, *words)
        assert done.returncode == 2, words
        assert "Expected " in done.stderr
    (tmp_path / "file").write_text("")
    done = run("draw", tmp_path / "small.toml", "--phase", "fit", "--shard", "1/2", "--out", tmp_path / "file")
    assert done.returncode == 2
    done = run("collect", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "a folder with drawn shards" in done.stderr


def array(folder: Path, *words: str, n: tuple[int, int] = (2, 4), jobs: Sequence[str] = ("1",), seed: int = 0) -> Done:
    """Draw all shards of an own audit in any order, each on so many workers, and collect them."""
    orders = random.Random(seed)
    mechanism = ("--mechanism", "mine:careless")
    for phase, of in zip(("fit", "count"), n, strict=True):
        for number in orders.sample(range(1, of + 1), of):
            what = ("--phase", phase, "--shard", f"{number}/{of}", "--out", "shards", "--jobs", orders.choice(jobs))
            done = run_alone("draw", "own.toml", *what, *mechanism, cwd=folder)
            assert done.returncode == 0, done.stderr
            assert "at work" not in done.stdout
        last = run_alone("collect", "shards", *(("--fit",) if phase == "fit" else words), *mechanism, cwd=folder)
    return last


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm", ["pass", "assert rng.random() > 0.01", "rng.random() > 0.01 or __import__('os')._exit(0)"]
)
def test_a_mechanism_of_your_own_is_the_audit_of_one_run(tmp_path: Path, harm: str) -> None:
    """Also where its trials fail, or end their process."""
    own_audit(tmp_path, harm)
    expected = run_alone("run", "own.toml", "--mechanism", "mine:careless", "--out", "one", "--jobs", "2", cwd=tmp_path)
    last = array(tmp_path, jobs=("1", "2"))
    assert last.returncode == expected.returncode, last.stderr
    assert last.stdout == expected.stdout
    assert report(tmp_path / "shards") == report(tmp_path / "one")
    # Without it the plan has no mechanism, and another file of it is another audit.
    assert run_alone("collect", "shards", cwd=tmp_path).returncode == 2
    (tmp_path / "mine.py").write_text(MINE.format(harm="0"))
    done = run_alone("collect", "shards", "--mechanism", "mine:careless", cwd=tmp_path)
    assert done.returncode == 2
    assert "code.mine.py: changed since" in done.stderr


@pytest.mark.slow
def test_shards_in_any_order_on_any_workers_over_20_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = Path("small.toml").read_text().replace("trials = 400", "trials = 200").replace("= 200\nchunk", "= 60\nchunk")
    for seed in range(20):
        Path("small.toml").write_text(text.replace("seed = 7", f"seed = {seed}"))
        assert run("run", "small.toml", "--out", f"one-{seed}", "--jobs", "1").returncode in (0, 1)
        chance, out = random.Random(seed), f"shards-{seed}"
        for phase in ("fit", "count"):
            of = chance.randint(1, 5)
            for number in chance.sample(range(1, of + 1), of):
                what = ("--phase", phase, "--shard", f"{number}/{of}", "--jobs", chance.choice("12"))
                done = run("draw", "small.toml", *what, "--out", out)
                assert done.returncode == 0, done.stderr
            done = run("collect", out, *(("--fit",) if phase == "fit" else ()), "--jobs", chance.choice("12"))
            assert done.returncode in (0, 1), done.stderr
        assert report(Path(out)) == report(Path(f"one-{seed}"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_shard_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    page_in(tmp_path)
    slow = (
        (tmp_path / "small.toml")
        .read_text()
        .replace("closed_form", "stepwise")
        .replace("n_learn = 30", "n_learn = 300")
    )
    (tmp_path / "small.toml").write_text(slow.replace("chunk_size = 50", "chunk_size = 10"))
    expected = run("run", tmp_path / "small.toml", "--out", tmp_path / "one", "--jobs", "1")
    assert expected.returncode in (0, 1)
    out = tmp_path / "shards"
    for phase in ("fit", "count"):
        words = ("draw", tmp_path / "small.toml", "--phase", phase, "--shard", "1/1", "--out", out, "--jobs", "1")
        killed = _killed(out / f"{phase}-1-of-1", number, *words)
        if number is signal.SIGTERM:
            assert f"chunks are stored in {out / f'{phase}-1-of-1'}" in killed
            assert f"Go on by: unlearn-audit draw {tmp_path / 'small.toml'} --phase {phase} --shard 1/1" in killed
        done = run("collect", out, *(("--fit",) if phase == "fit" else ()))
        assert done.returncode == 2
        assert "shard 1 not drawn to the end" in done.stderr
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert "of them before" in done.stdout
        done = run("collect", out, *(("--fit",) if phase == "fit" else ()), "--jobs", "1")
        assert done.returncode in (0, 1), done.stderr
    assert report(out) == report(tmp_path / "one")


def _killed(store: Path, number: signal.Signals, *words: str | Path) -> str:
    """Run a command until its store holds a chunk; return what it said when it was killed."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "preexec_fn": hear_interruptions}
    with subprocess.Popen([*COMMAND, *map(str, words)], text=True, **pipes) as process:  # type: ignore[call-overload]
        wait_for(store, 1, process)
        process.send_signal(number)
        return str(process.communicate(timeout=60)[1])


SBATCH = """#!{python}
import os, subprocess, sys
words = sys.argv[1:]
options = [w for w in words if w.startswith("--") and w != "--wrap"]
with open("jobs", "a") as file:
    file.write(" ".join(words) + "\\n")
number = sum(1 for _ in open("jobs"))
if "--wrap" in words:
    lines = [(words[words.index("--wrap") + 1], None)]
else:
    ids = next(o for o in options if o.startswith("--array=")).removeprefix("--array=")
    first, last = map(int, ids.split("-"))
    script = " ".join(w for w in words if w not in options)
    lines = [(f"bash {{script}}", i) for i in range(first, last + 1)]
for line, i in lines:
    more = {{}} if i is None else {{"SLURM_ARRAY_TASK_ID": str(i), "SLURM_CPUS_PER_TASK": "1"}}
    done = subprocess.run(line, shell=True, env={{**os.environ, **more}}, stdout=2)
    if done.returncode:
        sys.exit(done.returncode)
print(number)
"""


@pytest.mark.slow
def test_the_scripts_of_the_page_run_on_a_scheduler(tmp_path: Path) -> None:
    """A scheduler that runs one job after the other: the scripts as they are, but for the number of shards."""
    page_in(tmp_path)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "sbatch").write_text(SBATCH.format(python=sys.executable))
    (binaries / "sbatch").chmod(0o755)
    entry = shutil.which("unlearn-audit", path=str(Path(sys.executable).parent)) or ""
    assert entry
    script = (tmp_path / "submit.sh").read_text()
    assert "1-16" in script
    assert "1-64" in script
    (tmp_path / "submit.sh").write_text(script.replace("16", "2").replace("64", "3"))
    path = os.pathsep.join([str(binaries), str(Path(entry).parent), ENVIRONMENT["PATH"]])
    done = subprocess.run(
        ["bash", "submit.sh"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert run("run", tmp_path / "small.toml", "--out", tmp_path / "one", "--jobs", "1").returncode == 0
    assert report(tmp_path / "out" / "array") == report(tmp_path / "one")
    jobs = (tmp_path / "jobs").read_text().splitlines()
    assert [("afterok" in job, "--array" in job) for job in jobs] == [
        (False, True), (True, False), (True, True), (True, False),
    ]  # fmt: skip
