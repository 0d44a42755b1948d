"""The command ``unlearn-audit wild``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from audit.commands.studies.wild import COMMITTED
from audit.errors import ExitCode
from audit.selftest.wild.result import WildResult
from tests.e2e.command_line import run

ROW = ("wild", "--quick", "--jobs", "1", "--row", "newton_step")


@pytest.fixture(scope="module")
def committed() -> WildResult:
    return WildResult.from_json(COMMITTED.read_text(encoding="utf-8"))


def test_one_row_is_as_committed_and_is_written(tmp_path: Path) -> None:
    before = COMMITTED.read_bytes()
    done = run(*ROW, "--out", tmp_path)
    assert done.returncode == ExitCode.OK, done.stderr
    assert "Categories and verdicts are those of the committed table." in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"wild.json", "wild.html", "wild.md"}
    stored = WildResult.from_json((tmp_path / "wild.json").read_text(encoding="utf-8"))
    (row,) = stored.rows
    assert (row.category, row.shown, stored.quick) == ("checked", "not_refuted", True)
    assert COMMITTED.read_bytes() == before


def test_a_difference_exits_one(tmp_path: Path, committed: WildResult) -> None:
    (row,) = (row for row in committed.rows if row.name == "newton_step")
    other = tmp_path / "other.json"
    other.write_text(replace(committed, rows=(replace(row, category="theorem"),)).to_json(), encoding="utf-8")
    done = run(*ROW, "--against", other, "--json")
    assert done.returncode == ExitCode.REFUTED
    assert json.loads(done.stdout)["schema"] == "unlearn-audit/wild/1"
    assert "newton_step: the category was theorem and is checked" in done.stderr


def test_the_committed_table_is_never_written_over(tmp_path: Path, committed: WildResult) -> None:
    own = tmp_path / "wild.json"
    own.write_text(committed.to_json(), encoding="utf-8")
    done = run(*ROW, "--against", own, "--out", tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "another folder" in done.stderr
    assert own.read_text(encoding="utf-8") == committed.to_json()
    assert run("wild", "--row", "no_such_row").returncode == ExitCode.USAGE


def test_help_says_what_the_exit_code_means() -> None:
    done = run("wild", "--help")
    assert "refuted rows are its normal content" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_the_whole_table_is_as_committed() -> None:
    done = run("wild", "--jobs", "2", "--quick")
    assert done.returncode == ExitCode.OK, done.stdout
