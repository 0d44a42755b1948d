"""``unlearn-audit models`` as a user runs it: layouts, files that are written, messages, exit codes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import audit
from tests.e2e.command_line import run
from tests.unit import model_files

CLAIM = ("--epsilon", "1", "--delta", "1e-5")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((160, 10))
    for name, gap in (("leaky", 1.5), ("fine", 0.0)):
        Path(name).mkdir()
        np.save(f"{name}/unlearned.npy", rows[:80] + gap)
        np.save(f"{name}/retrained.npy", rows[80:])
    return tmp_path


def test_one_deletion_from_files_to_pages(folder: Path) -> None:
    done = run("models", "leaky", *CLAIM, "--kind", "scores", "--out", "out", "--junit", "ci/m.xml", "--details", "2")
    assert done.returncode == 1
    assert "REFUTED" in done.stdout
    assert "leaky: two files" in done.stderr
    assert {path.name for path in Path("out").iterdir()} == {
        *("models.html", "models.json", "models.md", "models.csv", "joint", "manifest.json"),
    }
    assert 'failures="1"' in Path("ci/m.xml").read_text()
    assert run("models", "fine", *CLAIM, "--kind", "scores", "--details", "0").returncode == 0
    high = ("models", "leaky", "--epsilon", "30", "--kind", "scores", "--details", "0")
    assert run(*high).returncode == 3
    assert run(*high, "--allow-inconclusive").returncode == 0


def test_the_printed_command_gives_the_same_result_and_its_json_renders_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.models.writing.write", lambda *_, **__: ())
    options = (
        "--kind",
        "scores",
        "--seed",
        "4",
        "--reference",
        "retrain_only",
        "--covers",
        "up_to:3",
        "--details",
        "1",
    )
    first = json.loads(run("models", *CLAIM, *options, "leaky", "--json").stdout)
    again = json.loads(run(*shlex.split(first["environment"]["command"])[1:], "--json").stdout)
    for found in (first, again):
        found["environment"] = found["joint"]["environment"] = None
    assert first == again
    run("models", "leaky", *CLAIM, *options, "--out", "out")
    assert run("report", "out/models.json", "--out", "again").returncode == 0
    assert Path("again/models.md").read_text() == Path("out/models.md").read_text()
    two = run("report", "out/models.json", "again/models.json", "--out", "again")
    assert two.returncode == 2
    assert "render the file by itself" in two.stderr


def test_a_claim_a_record_redacted(tmp_path: Path) -> None:
    model_files.write_lira(tmp_path)
    (tmp_path / "records.txt").write_text("".join(f"person {i}\n" for i in range(model_files.RECORDS)))
    done = run("models", tmp_path, *CLAIM, "--redact", "--out", tmp_path / "out", "--details", "2")
    assert done.returncode == 0
    for text in (done.stdout, *(path.read_text() for path in (tmp_path / "out").iterdir())):
        assert "person" not in text


def test_a_lira_folder_without_a_status_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    model_files.write_lira(tmp_path, with_status=False)
    done = run("models", tmp_path, *CLAIM)
    assert done.returncode == 2
    assert "status.npy" in done.stderr
    assert "models in and out of training are reference models alone" in done.stderr
    assert "unlearn-audit models assign" in done.stderr


def test_assign_draws_what_can_then_be_audited(folder: Path) -> None:
    done = run("models", "assign", "--records", "30", "--models", "64", "--seed", "3", "--out", "plan/status.npy")
    assert done.returncode == 0
    assert "Tested is, for each record, the claim about deleting the set that holds it" in done.stdout
    status, kinds = np.load("plan/status.npy"), np.load("plan/kinds.npy")
    assert np.array_equal(status, audit.assign_status(records=30, models=64, seed=3).status)
    np.save("plan/outputs.npy", np.random.default_rng(1).standard_normal(status.shape))
    assert kinds.shape == (64,)
    assert run("models", "plan", *CLAIM, "--details", "0").returncode == 0


@pytest.mark.parametrize(
    "words", [("--records", "5", "--models", "8"), ("--records", "5", "--models", "64", "--retain", "2")]
)
def test_assignments_out_of_range_are_refused(folder: Path, words: tuple[str, ...]) -> None:
    assert run("models", "assign", *words, "--out", "s.npy").returncode == 2
    assert not Path("s.npy").exists()


def test_scores_points_here_when_it_is_given_a_matrix(folder: Path) -> None:
    done = run("scores", "leaky/unlearned.npy", "leaky/retrained.npy", *CLAIM)
    assert "unlearn-audit models is made for that" in done.stderr
    assert (
        "unlearn-audit models"
        not in run("scores", "leaky/unlearned.npy", "leaky/retrained.npy", *CLAIM, "--column", "1").stderr
    )


def test_help_names_both_commands(folder: Path) -> None:
    done = run("models", "--help")
    assert done.returncode == 0
    assert "assign" in done.stdout
    assert "models.csv (id, kind)" in " ".join(run("models", "audit", "--help").stdout.split())
