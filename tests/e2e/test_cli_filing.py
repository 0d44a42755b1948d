"""Folders that are filed: the manifest names every file, and ``verify`` every way to tamper with one."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit.commands.output.filing.evidence import Evidence, digest_of, read_manifest
from audit.records.filing.manifest import Manifest
from reports.writing import write_texts
from tests.conftest import without_pictures
from tests.e2e.command_line import Done, run

CLAIM = ("--epsilon", "1")
CASE = 'request_id = "DSR-17"\nerased = 2026-11-06\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_inputs()
    return tmp_path


def write_inputs() -> None:
    for i, name in enumerate(("R", "U")):
        np.save(f"{name}.npy", np.random.default_rng(i).normal(0, 1, 120))
    Path("case.toml").write_text(CASE)


def scores(*more: str) -> Done:
    return run("scores", "U.npy", "R.npy", *CLAIM, "--out", "out", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filed folder and what it was made from, once for all tests."""
    with pytest.MonkeyPatch.context() as patch, without_pictures():
        patch.chdir(tmp_path_factory.mktemp("made"))
        write_inputs()
        done = scores("--case", "case.toml", "--junit", "out/ci/a.xml")
        assert done.returncode == 0, done.stderr
        assert "DSR-17" in done.stdout
        return Path.cwd()


@pytest.fixture
def filed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "filed"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder / "out"


def manifest(out: Path) -> Manifest:
    return read_manifest(out / "manifest.json")


def test_the_manifest_names_what_was_read_and_written(filed: Path) -> None:
    found = manifest(filed)
    present = {path.relative_to(filed).as_posix() for path in filed.rglob("*") if path.is_file()}
    assert {file.path for file in found.files if file.is_inside} == present - {"manifest.json"}
    read = {(file.role, file.path) for file in found.files if not file.is_inside}
    assert read == {("scores", "../U.npy"), ("scores", "../R.npy"), ("case", "../case.toml")}
    for file in found.files:
        assert digest_of(filed / file.path) == (file.sha256, file.size)
    done = run("verify", filed)
    assert done.returncode == 0
    assert f"All {len(found.files)} files" in done.stdout
    assert str(digest_of(filed / "manifest.json")[0]) in done.stdout  # type: ignore[index]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


def swap(out: Path) -> None:
    a, b = (out / "report.md").read_bytes(), (out / "report.html").read_bytes()
    (out / "report.md").write_bytes(b)
    (out / "report.html").write_bytes(a)


def as_pipe(out: Path) -> None:
    (out / "report.md").unlink()
    os.mkfifo(out / "report.md")


def as_folder(out: Path) -> None:
    (out / "report.md").unlink()
    (out / "report.md").mkdir()


TAMPERED: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a flipped byte": (lambda out: flip(out / "report.json"), ["changed    report.json (output)"]),
    "a flipped byte of the data": (lambda out: flip(out.parent / "U.npy"), ["changed    ../U.npy (scores)"]),
    "a case that was edited": (lambda out: (out.parent / "case.toml").write_text("x = 1"), ["changed    ../case.toml"]),
    "a file added": (lambda out: (out / "more.txt").write_text("x"), ["added      more.txt"]),
    "a file added below": (lambda out: (out / "report-data/x.csv").write_text(""), ["added      report-data/x.csv"]),
    "a hidden file": (lambda out: (out / ".x").write_text(""), ["added      .x"]),
    "a second manifest below": (
        lambda out: (out / "ci/manifest.json").write_text("{}"),
        ["added      ci/manifest.json"],
    ),
    "a file removed": (lambda out: (out / "report.html").unlink(), ["removed    report.html"]),
    "a file renamed": (lambda out: (out / "report.md").rename(out / "r.md"), ["renamed    report.md is now r.md"]),
    "a file moved below": (
        lambda out: (out / "report.md").rename(out / "ci/report.md"),
        ["renamed    report.md is now ci/report.md"],
    ),
    "two files swapped": (swap, ["changed    report.md", "changed    report.html"]),
    "a folder in place of a file": (as_folder, ["unreadable report.md"]),
    "a pipe in place of a file": (as_pipe, ["unreadable report.md"]),
    "a link to nothing": (lambda out: (out / "more").symlink_to("nowhere"), ["added      more"]),
    "a link to a folder": (lambda out: (out / "more").symlink_to("/tmp"), ["added      more"]),
    "a store that is a link": (lambda out: (out / "audit-store").symlink_to("/tmp"), ["added      audit-store"]),
    "an emptied file": (lambda out: (out / "report.md").write_text(""), ["changed    report.md"]),
}


def test_everything_that_is_tampered_with_is_named(filed: Path) -> None:
    for how, (tamper, named) in TAMPERED.items():
        kept = filed.parent / how.replace(" ", "-")
        kept.mkdir()
        for name in ("U.npy", "R.npy", "case.toml"):
            shutil.copy(filed.parent / name, kept / name)
        shutil.copytree(filed, kept / "out")
        assert run("verify", kept / "out").returncode == 0, how
        tamper(kept / "out")
        done = run("verify", kept / "out")
        assert done.returncode == 1, (how, done.stdout)
        lines = done.stdout.splitlines()
        assert [words for words in named if not any(line.startswith(words) for line in lines)] == [], (how, lines)
        problems = [
            line for line in lines if line[:11].strip() in ("changed", "added", "removed", "renamed", "unreadable")
        ]
        assert len(problems) == len(named), (how, lines)


def test_what_is_elsewhere_may_be_gone_and_is_said_so(filed: Path) -> None:
    (filed.parent / "U.npy").unlink()
    (filed / "manifest.json.asc").write_text("signed")
    done = run("verify", filed)
    assert done.returncode == 0
    assert "not here   ../U.npy (scores): not checked" in done.stdout
    assert "manifest.json.asc: a signature, which is not checked here; gpg --verify" in done.stdout
    n = len(manifest(filed).files)
    assert f"{n - 1} of {n} files" in done.stdout


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1", '{"schema": "unlearn-audit/result/1"}', "EMPTY", "OUTSIDE"],
)
def test_without_a_manifest_that_can_be_read_nothing_is_verified(filed: Path, text: str) -> None:
    path = filed / "manifest.json"
    found = json.loads(path.read_text())
    if text == "EMPTY":
        text = json.dumps({**found, "files": []})
    elif text == "OUTSIDE":
        text = json.dumps({**found, "files": [{**file, "path": "a/../../" + file["path"]} for file in found["files"]]})
    path.write_text(text)
    assert run("verify", filed).returncode == 2
    path.unlink()
    done = run("verify", filed)
    assert done.returncode == 2
    assert "readable manifest" in done.stderr


def test_a_redacted_folder_lists_nothing_that_was_read(folder: Path) -> None:
    done = scores("--case", "case.toml", "--redact", "--junit", "elsewhere.xml")
    assert done.returncode == 0
    for text in (done.stdout, *(p.read_text() for p in Path("out").rglob("*") if p.is_file())):
        assert "DSR-17" not in text
    found = manifest(folder / "out")
    assert {file.role for file in found.files} == {"output"}
    assert all(file.is_inside for file in found.files)
    assert found.withheld == 4
    assert str(digest_of(folder / "case.toml")[0]) not in (folder / "out/manifest.json").read_text()  # type: ignore[index]
    assert "left out   4 files that were read" in run("verify", "out").stdout


def test_a_case_is_put_on_a_stored_result_and_its_sources_stay_known(filed: Path) -> None:
    Path("case.toml").write_text(CASE.replace("17", "18"))
    assert run("report", "out/report.json", "--case", "case.toml", "--out", "page").returncode == 0
    roles = {file.path: file.role for file in manifest(Path("page")).files if not file.is_inside}
    assert roles == {
        "../out/report.json": "result",
        "../out/manifest.json": "manifest",
        "../case.toml": "case",
    }
    assert "DSR-18" in Path("page/report.md").read_text()
    assert run("verify", "page").returncode == 0
    # In place: the earlier manifest is replaced, and what it said of the scores is kept.
    Path("out/ci/a.xml").unlink()
    assert run("report", "out/report.json", "--case", "case.toml", "--out", "out").returncode == 0
    assert {file.role for file in manifest(filed).files} == {"output", "scores", "case"}
    assert run("verify", "out").returncode == 0


def test_a_result_that_was_changed_does_not_carry_the_sources_of_another(filed: Path) -> None:
    stored = filed / "report.json"
    stored.write_text(stored.read_text().replace("DSR-17", "DSR-99"))
    assert run("report", "out/report.json", "--out", "out").returncode == 0
    assert {file.role for file in manifest(filed).files} == {"output"}


def test_another_file_of_that_name_is_left_alone(folder: Path) -> None:
    Path("out").mkdir()
    Path("out/manifest.json").write_text('{"name": "a web page"}')
    done = scores()
    assert done.returncode == 2
    assert "another file of that name" in done.stderr
    assert sorted(os.listdir("out")) == ["manifest.json"]


def test_a_bad_case_is_refused_before_the_work(folder: Path) -> None:
    Path("case.toml").write_text('controler = "x"')
    done = scores("--case", "case.toml")
    assert done.returncode == 2
    assert "controler: no such field; did you mean controller?" in done.stderr
    assert not Path("out").exists()


def test_what_was_changed_on_the_way_is_marked_and_modules_are_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    Path("filing_mine.py").write_text("import filing_helper\n\nclass Mine:\n    pass\n")
    Path("filing_helper.py").write_text("x = 1\n")
    module = importlib.import_module("filing_mine")
    out = folder / "out"
    evidence = Evidence(out)
    evidence.mechanism(module.Mine(), "filing_mine:mine")
    evidence.read("plan", folder / "case.toml")
    evidence.read("data", folder / "not-there.csv")
    Path("case.toml").write_text("other = 1")
    Path("filing_later.py").write_text("")
    importlib.import_module("filing_later")
    out.mkdir()
    (out / "report.json").write_text("{}")
    evidence.write([out / "report.json"], write_texts)
    found = {file.path: file for file in manifest(out).files}
    assert {path for path, file in found.items() if file.role == "module"} == {
        *("../filing_mine.py", "../filing_helper.py", "../filing_later.py"),
    }
    assert [path for path, file in found.items() if file.changed] == ["../case.toml"]
    assert "case.toml (plan) was changed while this ran" in capsys.readouterr().err
    done = run("verify", out)
    assert done.returncode == 1
    assert "changed    ../case.toml (plan)" in done.stdout
    for name in ("filing_mine", "filing_helper", "filing_later"):
        sys.modules.pop(name)


PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
trials = 60
[data]
path = "mine.csv"
[mechanism]
name = "ridge_langevin"
n_learn = 5
n_unlearn = 2
sigma_unlearn = 0.5
sampler = "closed_form"
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-2
[[attacks]]
name = "target_loss"
"""


def test_a_run_lists_its_plan_its_data_and_its_case_but_not_its_store(folder: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(40, 3))
    np.savetxt("mine.csv", rows, delimiter=",", header="a,b,y", comments="")
    Path("plan.toml").write_text(PLAN)
    command = ("run", "plan.toml", "--out", "out", "--jobs", "1", "--case", "case.toml", "--allow-inconclusive")
    done = run(*command)
    assert done.returncode == 0, done.stderr
    read = {(file.role, file.path) for file in manifest(folder / "out").files if not file.is_inside}
    assert read == {("plan", "../plan.toml"), ("data", "../mine.csv"), ("case", "../case.toml")}
    done = run("verify", "out")
    assert done.returncode == 0, done.stdout
    assert "left out   audit-store/" in done.stdout
