"""One chunk of a stored run again, alone: equal, failed again, different, or the end of its process."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import audit
from audit.running.replay_findings import Replay
from audit.trials.identity.of_runs import digest_of
from audit.trials.rows import row_of
from audit.trials.store import rows_of
from audit.trials.storing.inspection import stores_below
from audit.trials.storing.opening import database
from mechanisms import Claim, GaussianDP, from_arrays, from_functions
from tests.conftest import without_pictures
from tests.e2e.command_line import run, run_alone
from tests.e2e.test_going_on import write_plan
from tests.e2e.test_user_code import MODULE, PLAN

MINE = ("--mechanism", "replayed:mechanism")
FAILED = "count-releases-unlearned-0-6"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stay in one folder, so that workers stay, with a finished run of a built-in mechanism and one that failed."""
    folder = tmp_path_factory.mktemp("replay")
    write_plan(folder, trials=60)
    (folder / "mine.toml").write_text(PLAN)
    (folder / "replayed.py").write_text(MODULE.format(place="chunk 6", what="raise ValueError('a bad batch')"))
    with pytest.MonkeyPatch.context() as patch, without_pictures():
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        assert run("run", "plan.toml", "--out", "whole", "--jobs", "1").returncode == 0
        assert run("run", "mine.toml", *MINE, "--out", "failed", "--jobs", "1").returncode == 3
        yield folder
    sys.modules.pop("replayed", None)


@pytest.fixture
def finished(home: Path) -> Iterator[Path]:
    """Yield a copy of the finished run's folder."""
    shutil.copytree("whole", "out")
    yield home / "out"
    shutil.rmtree("out")


def files_in(out: Path) -> dict[Path, bytes]:
    """Return every file, but for the locks that SQLite leaves beside a database that was read."""
    return {path: path.read_bytes() for path in out.rglob("*.*") if path.suffix in (".sqlite", ".json", ".npy", ".md")}


def edit(out: Path, key: str, **columns: object) -> None:
    """Change a stored row and its digest, as if it had been drawn so."""
    connection = sqlite3.connect(database(out))
    names = key.split("-")
    with connection:
        for number, row, _ in rows_of(connection, 0, 2**40):
            if row.key.id == "-".join(names):
                changed = row_of([{**vars(row), **columns}[name] for name in vars(row)])
                sets = ", ".join(f"{name} = ?" for name in columns)
                connection.execute(
                    f"UPDATE chunks SET {sets}, sha256 = ? WHERE id = ?", [*columns.values(), changed.sha256(), number]
                )
    connection.close()


def stored(out: Path, key: str) -> bytes:
    connection = sqlite3.connect(database(out))
    (found,) = [row.prints for _, row, _ in rows_of(connection, 0, 2**40) if row.key.id == key]
    connection.close()
    return found


def test_chunks_are_listed_with_their_ids_and_nothing_is_written(finished: Path) -> None:
    before = files_in(finished)
    listed = run("replay", "out")
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert len(lines) == 40
    assert any(line.startswith("count-releases-unlearned-0-2 ") and " 6 trials " in line for line in lines)
    assert any(line.startswith("fit-null_control-retrained-0-0 ") for line in lines)
    again = run("replay", "out", "--chunk", "count-releases-retrained-0-3")
    assert (again.returncode, again.stderr) == (0, "")
    first, said, scores = again.stdout.splitlines()
    assert first == "EQUAL: world retrained, forget set 0, chunk 3 (count), 6 trials, seed 3"
    assert said == "The releases of 6 trials have the fingerprints that were stored (64 bits each)."
    assert scores.startswith("Scores were not compared: the trials that attacks were fitted on are not kept")
    assert files_in(finished) == before


def test_scores_and_releases_are_compared_bit_for_bit(finished: Path) -> None:
    fit = run("replay", "out", "--chunk", "fit-releases-unlearned-0-0")
    assert fit.returncode == 0
    assert "The releases of 6 trials are those that were stored, bit for bit (SHA-256)." in fit.stdout
    key = "count-neglected_control-neglected-0-5"
    scored = run("replay", "out", "--chunk", key, "--scores")
    assert scored.returncode == 0, scored.stdout
    assert "Scores are those that were stored, bit for bit: target_loss (neglected)." in scored.stdout
    connection = sqlite3.connect(database(finished))
    (scores,) = [row.scores for _, row, _ in rows_of(connection, 0, 2**40) if row.key.id == key]
    connection.close()
    values = np.frombuffer(scores, dtype="<f8").copy()
    values[1] = np.nextafter(values[1], np.inf)
    edit(finished, key, scores=values.tobytes())
    other = run("replay", "out", "--chunk", key, "--scores")
    assert other.returncode == 1
    assert other.stdout.startswith("DIFFERENT: ")
    assert "target_loss (neglected): 1 of 2 scores differ, by up to" in other.stdout


@pytest.mark.parametrize("key", ["count-releases-unlearned-0-4", "fit-releases-retrained-0-0"])
def test_another_release_is_different(finished: Path, key: str) -> None:
    prints = np.frombuffer(stored(finished, key), dtype="<u8").copy()
    prints[2:4] += np.uint64(1)
    edit(finished, key, **({"prints": prints.tobytes()} if len(prints) else {"releases_sha256": "0" * 64}))
    done = run("replay", "out", "--chunk", key)
    assert done.returncode == 1
    assert "2 of 6 trials gave another" in done.stdout or "are not those that were stored (SHA-256)" in done.stdout


@pytest.mark.parametrize("key", ["count-releases-unlearned-0-99", "3", "../x-0-0", "count-x-unlearned-0-3"])
def test_no_such_chunk_is_bad_input(finished: Path, key: str) -> None:
    done = run("replay", "out", "--chunk", key)
    assert (done.returncode, done.stdout) == (2, "")
    assert "lists the ids" in done.stderr


def test_another_plan_is_refused_and_changed_code_is_named(finished: Path) -> None:
    plan = Path("plan.toml")
    text = plan.read_text()
    words = ("replay", "out", "--chunk", "count-releases-unlearned-0-4")
    plan.write_text(text.replace("epsilon = 1.0", "epsilon = 2.0"))
    other = run(*words)
    assert other.returncode == 2
    assert "plan.claims[0].guarantee.epsilon: stored 1.0, now 2.0" in other.stderr
    plan.write_text(text.replace("sigma_unlearn = 0.01", "sigma_unlearn = 0.02"))
    louder = run(*words)
    assert louder.returncode == 1
    assert "6 of 6 trials gave another release than was stored." in louder.stdout
    assert "Changed since it was stored: mechanism.sigma_unlearn: stored 0.01, now 0.02." in louder.stdout
    plan.unlink()
    gone = run(*words)
    assert gone.returncode == 2
    assert "name the plan by --plan" in gone.stderr
    Path("other.toml").write_text(text)
    assert run(*words, "--plan", "other.toml").returncode == 0
    plan.write_text(text)


def test_code_that_a_store_names_runs_only_when_the_user_names_it_too(finished: Path) -> None:
    Path("named_by_a_store.py").write_text("raise SystemExit('ran')\n")
    connection = sqlite3.connect(database(finished))
    with connection:
        command = "unlearn-audit run plan.toml --mechanism named_by_a_store:mechanism"
        connection.execute("UPDATE meta SET value = ? WHERE key = 'command'", (command,))
    connection.close()
    done = run("replay", "out", "--chunk", "count-releases-unlearned-0-4")
    assert done.returncode == 2
    assert "add --mechanism named_by_a_store:mechanism" in done.stderr
    assert "ran" not in done.stderr
    assert "--mechanism named_by_a_store:mechanism" in run("replay", "out").stderr


def test_a_chunk_that_failed_comes_first_and_fails_again_with_its_traceback() -> None:
    listed = run("replay", "failed")
    assert listed.stdout.splitlines()[0].startswith(f"{FAILED}           20 trials  failed: ")
    assert f"Replay one by: unlearn-audit replay failed --chunk {FAILED} --mechanism" in listed.stderr
    done = run("replay", "failed", *MINE, "--chunk", FAILED)
    assert done.returncode == 0, done.stderr
    first, said, message = done.stdout.splitlines()
    assert first == "FAILED AGAIN: world unlearned, forget set 0, chunk 6 (count), 20 trials, seed 7"
    assert said == "It failed again, as it did when it was stored."
    assert "a bad batch" in message
    assert 'harm("chunk 6")' in done.stderr
    assert "ValueError: a bad batch" in done.stderr
    other = run("replay", "failed", *MINE, "--chunk", "count-releases-unlearned-0-7")
    assert (other.returncode, other.stdout[:5]) == (0, "EQUAL")


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("os._exit(0)", 4, "ENDED ITS PROCESS"),
        pytest.param("pass", 1, "It did not fail. When it was stored it did: ", marks=pytest.mark.slow),
        pytest.param("raise KeyError('else')", 1, "It failed again, in another way", marks=pytest.mark.slow),
    ],
)
def test_a_mended_module_is_named_and_tried(home: Path, what: str, code: int, said: str) -> None:
    path = home / "replayed.py"
    before = path.read_text()
    try:
        path.write_text(MODULE.format(place="chunk 6", what=what))
        done = run_alone("replay", "failed", *MINE, "--chunk", FAILED, "--plan", "mine.toml", cwd=home)
    finally:
        path.write_text(before)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    assert "Changed since it was stored: code.replayed.py: changed since." in done.stdout
    if code == 4:
        assert "os._exit(0) was called here:" in done.stderr
        assert 'harm("chunk 6")' in done.stderr


def test_a_run_from_python_is_replayed_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = from_arrays(rng.standard_normal((30, 2)), rng.standard_normal(30), name="noise")

    def learn(records: object, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(2)

    def unlearn(model: np.ndarray, retained: object, forget: object, rng: np.random.Generator) -> np.ndarray:
        return model

    mechanism = from_functions(learn=learn, unlearn=unlearn, release=(2,))
    asked = {"forget": 3, "claim": Claim(guarantee=GaussianDP(mu=3.0)), "trials": 60, "attacks": ["lda"]}
    audit.run(mechanism, data, **asked, store=tmp_path)  # type: ignore[arg-type]
    listed = run("replay", tmp_path)
    name = next(line.split()[0] for line in listed.stdout.splitlines() if line.startswith("count-releases-unlearned"))
    command = run("replay", tmp_path, "--chunk", name)
    assert command.returncode == 2
    assert "audit.replay_chunk(" in command.stderr
    found = audit.replay_chunk(mechanism, data, **asked, store=tmp_path, chunk=name, scores=True)  # type: ignore[arg-type]
    assert (found.outcome, found.changed, found.traceback) == (Replay.EQUAL, "", "")
    assert "bit for bit: lda (claims)" in " ".join(found.sentences)


def test_chunks_of_a_run_that_stops_when_decided_are_scored_by_their_own_fit(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path, trials=320, chunk=20), tmp_path / "out"
    words = ("run", plan, "--out", out, "--jobs", "1", "--stop-when-decided", "--keep-releases")
    assert run(*words).returncode in (0, 1)
    names = [line.split()[0] for line in run("replay", out).stdout.splitlines()]
    counted = [name for name in names if name.startswith("count-releases-unlearned")]
    # The first and the last were scored by different fits.
    for name in (counted[0], counted[-1]):
        done = run("replay", out, "--chunk", name)
        assert done.returncode == 0, done.stdout
        assert "Scores are those that were stored, bit for bit: target_loss (claims)" in done.stdout


def test_a_store_says_which_run_it_is_of(finished: Path) -> None:
    connection = sqlite3.connect(database(finished))
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    connection.close()
    assert meta["command"].startswith("unlearn-audit run plan.toml --seed 3 --trials 60")
    assert digest_of(json.loads(meta["identity"])) == meta["digest"]


def test_a_chunk_of_a_shard_is_replayed_too(tmp_path: Path) -> None:
    assert run("draw", "plan.toml", "--phase", "fit", "--shard", "1/1", "--out", tmp_path).returncode == 0
    (folder,) = stores_below(tmp_path)
    done = run("replay", folder, "--chunk", "fit-releases-unlearned-0-0")
    assert done.returncode == 0, done.stderr
    assert "bit for bit (SHA-256)" in done.stdout
    assert "Changed since" not in done.stdout
