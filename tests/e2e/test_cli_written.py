"""What a command finds is written before it is said, whole or not at all; and nothing of that changes its exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

import audit
from audit.cli import guarded
from audit.commands.output import saying
from reports.page import files
from tests.e2e.command_line import COMMAND, PLAIN

SCORES = ["scores", "U.npy", "R.npy", "--epsilon", "1"]
PAGES = {"report.html", "report.json", "report.md", "report-data", "manifest.json"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scores of which the claim is refuted."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("R", "U")):
        np.save(f"{name}.npy", np.random.default_rng(i).normal(2.0 * i, 1, 300))
    return tmp_path


def alone(*words: str, stdout: IO[Any] | int | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)} | options.pop("env", {})
    return subprocess.run(
        [*PLAIN, *SCORES, *words],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=options.pop("stderr", subprocess.PIPE),
        encoding=options.pop("encoding", "utf-8"),
        check=False,
        timeout=300,
        env=env,
        **options,
    )


def is_whole(out: Path) -> bool:
    return audit.load_json((out / "report.json").read_text("utf-8")).verdict is audit.Verdict.REFUTED


# --- Nobody listens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [[], pytest.param(["--json"], marks=pytest.mark.slow)])
def test_a_reader_that_went_away_does_not_change_the_verdict(folder: Path, form: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = alone("--out", "out", *form, stdout=writing)
    os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert is_whole(folder / "out")
    assert {path.name for path in (folder / "out").iterdir()} == PAGES


def test_a_full_disk_behind_standard_output_does_not_change_the_verdict(folder: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = alone("--out", "out", stdout=full)
    assert done.returncode == 1
    assert "Standard output could not be written" in done.stderr
    assert "No space left" in done.stderr
    assert is_whole(folder / "out")


def test_no_verdict_is_no_success_where_it_could_not_be_printed(folder: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([*COMMAND, "init"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4


@pytest.mark.slow
def test_standard_error_that_is_full_or_closed_does_not_change_the_verdict(folder: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = alone("--out", "out", stderr=full)
    assert done.returncode == 1
    assert "REFUTED" in done.stdout
    done = alone("--out", "again", preexec_fn=lambda: os.close(2))
    assert done.returncode == 1
    assert "REFUTED" in done.stdout
    assert is_whole(folder / "again")


@pytest.mark.slow
def test_all_three_descriptors_closed_and_no_file_takes_their_place(folder: Path) -> None:
    def close_all() -> None:
        for descriptor in (0, 1, 2):
            os.close(descriptor)

    done = alone("--out", "out", preexec_fn=close_all)
    assert done.returncode == 1
    assert is_whole(folder / "out")


def test_a_pipe_without_greek_letters_gets_words(folder: Path) -> None:
    env = {"PYTHONIOENCODING": "cp1252"}
    done = alone("--out", "out", env=env, encoding="cp1252")
    assert done.returncode == 1
    assert "x REFUTED" in done.stdout
    assert "epsilon <= 1" in done.stdout
    assert is_whole(folder / "out")
    as_json = alone("--json", env=env, encoding="cp1252")
    assert as_json.returncode == 1
    text = (folder / "out" / "report.json").read_text("utf-8")
    volatile = ("environment",)
    first, second = ({k: v for k, v in json.loads(t).items() if k not in volatile} for t in (as_json.stdout, text))
    assert first == second


# --- No room -----------------------------------------------------------------------------------------------------


def no_room(names: tuple[str, ...]) -> Callable[[Path, str], None]:
    """Return a way to write that finds a full disk for files that are renamed to these names, halfway through."""

    def write(path: Path, text: str) -> None:
        if any(name in text for name in names):
            path.write_text(text[: len(text) // 2], encoding="utf-8")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        path.write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def earlier(folder: Path) -> Iterator[Path]:
    """A folder with an earlier report."""
    assert guarded([*SCORES, "--seed", "5", "--out", "out"]) == 1
    yield folder / "out"
    assert not [path.name for path in (folder / "out").rglob(".*")]


@pytest.mark.parametrize(
    ("mark", "lost"), [("<!doctype html>", "report.html"), ("# ", "report.md"), ('"schema"', "report.json")]
)
def test_a_full_disk_costs_the_file_that_does_not_fit(
    earlier: Path, mark: str, lost: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in earlier.iterdir() if path.is_file()}
    capsys.readouterr()

    def write(path: Path, text: str) -> None:
        if text.lower().lstrip("\ufeff").startswith(mark) or (mark.startswith('"') and text.startswith("{")):
            no_room(("",))(path, text)
        path.write_text(text, encoding="utf-8")

    monkeypatch.setattr(files, "_write", write)
    assert guarded([*SCORES, "--out", "out"]) == 1
    out, err = capsys.readouterr()
    assert "REFUTED" in out
    assert f"Error: {lost} was not written; a file of that name that lies there is older. The verdict stands." in err
    after = {path.name: path.read_bytes() for path in earlier.iterdir() if path.is_file()}
    assert after[lost] == before[lost]
    # The manifest is JSON too.
    kept = {lost, "manifest.json"} if lost == "report.json" else {lost}
    assert all((after[name] == before[name]) is (name in kept) for name in before)


def test_a_disk_of_64_kb_keeps_what_fits_and_the_verdict(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        done = alone("--out", str(disk / "out"), "--junit", str(disk / "j.xml"))
        assert done.returncode == 1
        assert "REFUTED" in done.stdout
        assert "was not written" in done.stderr
        assert is_whole(disk / "out")
        assert not list(disk.rglob("*.tmp"))
        assert guarded([*SCORES, "--out", str(disk / "out" / "again")]) in (1, 2)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_page_that_cannot_be_rendered_does_not_change_the_verdict(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reports.audits import html, terminal

    def broken(*arguments: object, **options: object) -> str:
        raise KeyError("a template")

    monkeypatch.setattr(html, "render", broken)
    monkeypatch.setattr(terminal, "summary", broken)
    assert guarded([*SCORES, "--out", "out", "--junit", "j.xml"]) == 1
    said = capsys.readouterr().err
    assert "Error: report.html was not written" in said
    assert "Error: the table was not written" in said
    assert is_whole(folder / "out")
    assert {path.name for path in (folder / "out").iterdir()} == PAGES - {"report.html"}
    assert Path("j.xml").exists()


def test_json_is_there_before_anything_is_said_or_rendered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.audits import html

    seen = []
    render = html.render

    def watched(*arguments: Any, **options: Any) -> str:
        seen.append(("page", is_whole(folder / "out")))
        return render(*arguments, **options)

    echo = saying.click.echo

    def heard(text: str = "", **options: Any) -> None:
        if "REFUTED" in text:
            seen.append(("said", (folder / "out" / "report.html").exists()))
        echo(text, **options)

    monkeypatch.setattr(html, "render", watched)
    monkeypatch.setattr(saying.click, "echo", heard)
    assert guarded([*SCORES, "--out", "out"]) == 1
    assert seen == [("page", True), ("said", True)]


def test_two_writers_leave_whole_files(folder: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([*PLAIN, *SCORES, "--seed", str(seed), "--out", "out"], env=env, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        for seed in (1, 2)
    ]  # fmt: skip
    assert [process.wait(timeout=300) for process in running] == [1, 1]
    assert is_whole(folder / "out")
    assert {path.name for path in (folder / "out").iterdir()} == PAGES


# --- Places ------------------------------------------------------------------------------------------------------


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert guarded([*SCORES, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "an array of shape" not in err, "refused before the work is done"
    return err


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--out", "dangling", "a link to nowhere, which is not there"),
        ("--out", "dangling/out", "a link to nowhere, which is not there"),
        ("--junit", "dangling", "a link to nowhere, which is not there"),
        ("--out", "U.npy", "file"),
        ("--out", "U.npy/out", "U.npy, a file"),
        ("--out", "x" * 300, "File name too long"),
        ("--out", "ε" * 200, "File name too long"),
        ("--junit", "new/" + "x" * 300, "File name too long (300 characters, where 255 bytes are allowed"),
        ("--out", "/".join(["x" * 200] * 30), "too long"),
        ("--out", "loop", "a link to loop"),
        ("--junit", "folder", "directory"),
        ("--out", "taken", "report.html, a folder"),
        ("--out", "/proc/out", "where nothing can be written"),
    ],
)
def test_places_that_cannot_be_written_are_refused_at_the_start(
    folder: Path, option: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("folder").mkdir()
    Path("taken/report.html").mkdir(parents=True)
    assert said in refused([option, name], capsys)
    assert not list(folder.rglob("*.tmp"))


def test_links_are_followed_and_devices_are_written_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("real").mkdir()
    Path("link").symlink_to("real")
    Path("real/report.md").symlink_to("elsewhere.md")
    Path("elsewhere.md").touch()
    Path("real/report.md").unlink()
    assert guarded([*SCORES, "--out", "link", "--junit", "/dev/null"]) == 1
    assert {path.name for path in Path("real").iterdir()} == PAGES
    assert Path("link").is_symlink()
    assert not Path("/dev/null").is_file()
    kept = Path("target.xml")
    kept.write_text("old", encoding="utf-8")
    Path("j.xml").symlink_to("target.xml")
    assert guarded([*SCORES, "--junit", "j.xml"]) == 1
    assert Path("j.xml").is_symlink()
    assert "<testsuites" in kept.read_text("utf-8")


def test_files_have_the_rights_that_new_files_have(folder: Path) -> None:
    assert guarded([*SCORES, "--out", "out"]) == 1
    plain = folder / "plain"
    plain.touch()
    assert (folder / "out" / "report.json").stat().st_mode == plain.stat().st_mode


def test_a_folder_named_before_the_directory_changes_is_still_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.given import auditing

    usual = auditing.from_scores

    def moves(*arguments: Any, **options: Any) -> Any:
        Path("elsewhere").mkdir()
        os.chdir("elsewhere")
        return usual(*arguments, **options)

    monkeypatch.setattr(auditing, "from_scores", moves)
    assert guarded([*SCORES, "--out", "out", "--junit", "j.xml"]) == 1
    assert is_whole(folder / "out")
    assert (folder / "j.xml").exists()
