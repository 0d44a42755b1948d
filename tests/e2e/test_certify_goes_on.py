"""Certificates of all records that are stopped and go on: nothing is computed twice, and nothing differs."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import audit.certificates.certifying as certifying
from audit.certificates.certification import Certification
from audit.commands.output.writable import CERTIFICATES_STORE
from audit.trials.storing.inspection import damage_in, summary_of
from audit.trials.storing.opening import database
from mechanisms import from_arrays
from mechanisms.ridge import RidgeLangevin, privacy_map
from tests.e2e.command_line import run
from tests.e2e.test_going_on import ROOT, started, wait_for

PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
[data]
name = "diabetes"
rows = {rows}
[mechanism]
name = "ridge_langevin"
n_learn = 20
n_unlearn = 2
{noise}
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-5
[[attacks]]
name = "lda"
"""
GIVEN = "sigma_unlearn = 0.01"
CALIBRATED = 'sigma_unlearn = { calibrate = "exact", epsilon = 0.5 }'


def write_plan(folder: Path, *, rows: int = 40, noise: str = GIVEN) -> Path:
    path = folder / "plan.toml"
    path.write_text(PLAN.format(rows=rows, noise=noise))
    return path


def certificates_in(out: Path) -> str:
    found = json.loads((out / "certificates.json").read_text())
    del found["environment"]
    return json.dumps(found)


def forget_the_end(out: Path) -> int:
    """Make of finished certificates some that were stopped; return how many chunks are left."""
    connection = sqlite3.connect(database(out / CERTIFICATES_STORE))
    with connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'result%'")
        connection.execute("DELETE FROM chunks WHERE id % 2 = 0")
        left = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    connection.close()
    return left


@pytest.mark.parametrize("noise", [GIVEN, pytest.param(CALIBRATED, marks=pytest.mark.slow)])
def test_what_is_stored_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: str) -> None:
    plan, out = write_plan(tmp_path, noise=noise), tmp_path / "out"
    words = ("certify", plan, "--routes", "exact", "--jobs", "1", "--out", out)
    assert run(*words).returncode == 0
    expected = certificates_in(out)
    left = forget_the_end(out)
    computed: list[int] = []
    usual, compares = privacy_map._one_chunk, certifying.compare_routes

    def counted(i: int, *rest: object) -> object:
        computed.append(i)
        return usual(i, *rest)  # type: ignore[arg-type]

    def compared(*arguments: object) -> object:
        computed.append(-1)
        return compares(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(privacy_map, "_one_chunk", counted)
    monkeypatch.setattr(certifying, "compare_routes", compared)
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert f"Going on: {left} of 9 chunks are stored in {out / CERTIFICATES_STORE}." in again.stderr
    assert len(computed) == 9 - left
    assert certificates_in(out) == expected
    for path in out.glob("certificates.*"):
        path.unlink()
    done = run(*words, "--show-records")
    assert "These certificates are finished: they are read from their store" in done.stderr
    assert len(computed) == 9 - left
    shown = Certification.from_json((out / "certificates.json").read_text())
    assert len(shown.previews) > 7
    run(*words)
    assert certificates_in(out) == expected
    assert "certificates, seed 3" in run("store", "ls", out).stdout
    assert damage_in(out / CERTIFICATES_STORE) == ()


def test_other_certificates_are_refused_until_asked_to_begin_anew(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    assert run("certify", plan, "--records", "3", "--routes", "exact", "--out", out).returncode == 0
    before = (out / "certificates.json").read_bytes()
    other = run("certify", plan, "--records", "4", "--routes", "exact", "--out", out)
    assert other.returncode == 2
    assert 'request.records: stored "3", now "4"' in other.stderr
    write_plan(tmp_path, noise="sigma_unlearn = 0.02")
    words = ("certify", plan, "--records", "3", "--routes", "exact", "--out", out)
    louder = run(*words)
    assert louder.returncode == 2
    assert "mechanism.sigma_unlearn: stored 0.01, now 0.02" in louder.stderr
    calibrated = run("calibrate", plan, "--epsilon", "1", "--records", "3", "--routes", "exact", "--out", out)
    assert calibrated.returncode == 2
    assert (out / "certificates.json").read_bytes() == before
    assert run(*words, "--fresh").returncode == 0
    assert (out / "certificates.json").read_bytes() != before
    replayed = run("replay", out / CERTIFICATES_STORE, "--chunk", "map-certificates-records-0-0")
    assert replayed.returncode == 2
    assert "nothing was drawn there that could be replayed" in replayed.stderr


def test_a_map_computes_what_is_not_kept() -> None:
    rng = np.random.default_rng(0)
    data = from_arrays(rng.standard_normal((70, 2)), rng.standard_normal(70), name="noise")
    mechanism = RidgeLangevin(n_learn=5, n_unlearn=1, sigma_unlearn=0.1)
    kept: dict[int, np.ndarray] = {}
    whole = privacy_map.privacy_map(data, mechanism, delta=1e-5, kept=kept)
    assert sorted(kept) == [0, 1, 2]
    del kept[1]
    seen: list[tuple[int, int]] = []
    again = privacy_map.privacy_map(
        data, mechanism, delta=1e-5, kept=kept, progress=lambda _, done, total: seen.append((done, total))
    )
    assert seen == [(70, 70)]
    assert again.epsilon.tobytes() == whole.epsilon.tobytes()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_says_what_is_stored_and_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    plan, out = write_plan(tmp_path, rows=440, noise=CALIBRATED), tmp_path / "out"
    words = ("certify", plan, "--out", out, "--jobs", "1")
    with started(*words, stdout=subprocess.DEVNULL) as process:
        wait_for(out / CERTIFICATES_STORE, 2, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    found = summary_of(out / CERTIFICATES_STORE)
    assert (found.finished, found.holder) == (False, None)
    counts = f"{found.n_stored:,} of {found.n_chunks:,} chunks are stored in {out / CERTIFICATES_STORE}."
    assert f"Interrupted by {number.name}: {counts}" in said
    assert f"Go on by: unlearn-audit certify {plan} --out {out} --jobs 1\n" in said


def killed_at_writes(folder: Path, *words: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.killed_runs", "--certify", str(write_plan(folder)), str(folder / "runs"),
         *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    assert found["killed"] == found["trials"] > 1
    return {name: found[name] for name in ("lost", "twice", "missing", "failed", "different")}


NOTHING = {"lost": 0, "twice": 0, "missing": 0, "failed": 0, "different": 0}


def test_certificates_that_are_killed_at_some_writes_lose_nothing(tmp_path: Path) -> None:
    assert killed_at_writes(tmp_path, "--every", "41") == NOTHING


@pytest.mark.slow
def test_certificates_that_are_killed_at_any_write_lose_nothing(tmp_path: Path) -> None:
    assert killed_at_writes(tmp_path) == NOTHING
