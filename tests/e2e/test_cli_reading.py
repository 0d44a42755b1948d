"""What is read from files, as a user runs it: bookkeeping columns, decimal commas, headers, notes on data."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from audit.cli import guarded

CLAIM = ("--epsilon", "1", "--delta", "1e-5")


def table(name: str, rows: Iterable[Iterable[object]], header: str = "", between: str = ",") -> None:
    lines = [between.join(map(str, row)) for row in rows]
    Path(name).write_text("\n".join([*([header] if header else []), *lines]) + "\n")


@pytest.fixture
def rng(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.random.Generator:
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(0)


def jobs(rng: np.random.Generator, shift: float = 0.0, header: str = "") -> None:
    """Scores beside a shuffled job number, 0 to 399 and 400 to 699."""
    table("u.csv", zip(rng.permutation(400), rng.normal(shift, 1, 400), strict=True), header)
    table("v.csv", zip(400 + rng.permutation(300), rng.normal(0, 1, 300), strict=True), header)


def test_a_job_number_is_no_parameter(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    jobs(rng)
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM]) == 2
    error = capsys.readouterr().err
    for words in (
        "column 1 of u.csv and v.csv",
        "distinct whole numbers: an index or job number?",
        "--column",
        "--releases",
    ):
        assert words in error
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM, "--column", "2"]) == 0
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM, "--releases"]) == 1
    for name in ("u", "v"):
        np.save(f"{name}.npy", np.loadtxt(f"{name}.csv", delimiter=","))
    assert guarded(["scores", "u.npy", "v.npy", *CLAIM]) == 2
    assert guarded(["scores", "u.npy", "v.npy", *CLAIM, "--column", "2"]) == 0


def test_a_header_names_the_score(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    jobs(rng, 2.0, header="job, loss")
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM]) == 2
    assert "remove the header line, if it is one, or name the score column with --column" in capsys.readouterr().err
    found = []
    for column in ("loss", "2"):
        assert guarded(["scores", "u.csv", "v.csv", *CLAIM, "--column", column, "--json"]) == 1
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["findings"] == found[1]["findings"]
    command = shlex.split(found[0]["environment"]["command"])
    assert "--column=loss" in command
    assert guarded([*command[1:], "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"] == found[0]["findings"]


def test_other_columns_may_hold_words(rng: np.random.Generator) -> None:
    for name, n in (("u.csv", 100), ("v.csv", 90)):
        table(name, zip([f"job-{i}" for i in range(n)], rng.normal(size=n), ["ok"] * n, strict=True), "job,loss,state")
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM, "--column", "loss"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--column", "los"), ["--column", "one of the columns job, loss", "'los'"]),
        (("--column", "3"), ["'3'", "count columns from 1"]),
        (("--column", "2", "--releases"), ["give one of the two"]),
    ],
)
def test_columns_that_are_not_there(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: list[str]
) -> None:
    jobs(rng, header="job,loss")
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM, *options]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def comma(values: np.ndarray, decimals: int) -> list[list[str]]:
    return [[f"{value:.{decimals}f}".replace(".", ",")] for value in values]


def test_a_leak_with_decimal_commas_does_not_pass(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    table("u.csv", comma(rng.uniform(0.002, 0.009, 400), 5))
    table("v.csv", comma(rng.uniform(0.0001, 0.001, 300), 5))
    for more in ((), ("--releases",), ("--column", "2")):
        assert guarded(["scores", "u.csv", "v.csv", *CLAIM, *more]) == 2
        assert "decimal commas throughout; write decimals with a point, 0.5 and not 0,5" in capsys.readouterr().err


def test_a_null_with_decimal_commas_is_not_refuted(rng: np.random.Generator) -> None:
    table("u.csv", comma(rng.normal(size=400), 4))
    table("v.csv", comma(rng.normal(size=300), 6))
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM]) == 2


CELLS = {
    "thousands": ("1.234,56", "decimal commas throughout"),
    "signs": ("-0,5e-3", "decimal commas"),
    "columns of whole numbers": ("3,17", "decimal commas throughout, or columns of whole numbers; .*--releases"),
    "two numbers": ("0,05,1,20", "decimal commas"),
    "quoted": ('"0,5"', "write decimals with a point, 0.5 and not 0,5"),
    "semicolons": ("0,5;0,7", "separate cells by commas, and write decimals with a point"),
    "underscores": ("1_000", "write digits without separators, 1000 and not 1_000"),
    "apostrophes": ("1'000", "write digits without separators"),
    "other digits": ("١٢", "a number"),
}


@pytest.mark.parametrize("case", CELLS)
def test_numbers_of_other_locales_are_refused(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    import re

    cell, words = CELLS[case]
    for name in ("u.csv", "v.csv"):
        table(name, [[cell]] * 40)
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM]) == 2
    assert re.search(words, capsys.readouterr().err)


def test_two_columns_of_floats_and_of_whole_numbers_are_read(rng: np.random.Generator) -> None:
    for name in ("u.csv", "v.csv"):
        table(name, rng.normal(size=(100, 2)))
    assert guarded(["scores", "u.csv", "v.csv", *CLAIM]) == 0
    for name in ("U.CSV", "V.CSV"):
        table(name, rng.integers(0, 9, (100, 2)))
    assert guarded(["scores", "U.CSV", "V.CSV", *CLAIM, "--releases"]) == 0


def test_rows_with_and_without_a_comma(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    table("u.csv", [["1"], ["0,5"], ["2"]] * 20)
    assert guarded(["scores", "u.csv", "u.csv", *CLAIM]) == 2
    assert (
        "u.csv line 2 to be 1 cell(s) as in the rows before, got 2; mend the row; decimals" in capsys.readouterr().err
    )


def test_the_numbers_that_pandas_writes_above_a_table(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    table("u.csv", rng.normal(size=(40, 1)), header="0")
    assert guarded(["scores", "u.csv", "u.csv", *CLAIM]) == 2
    assert "pandas: header=False" in capsys.readouterr().err


PLAN = """
schema = "unlearn-audit/plan/1"
trials = 200
[data]
path = "d.csv"
[mechanism]
name = "ridge_langevin"
sigma_unlearn = 0.01
[records]
forget = [[3]]
[[claims]]
kind = "profile"
from = "exact"
[[attacks]]
name = "lda"
"""


def records(rng: np.random.Generator, name: str, column: np.ndarray | None, header: str = "id,age,bmi,y") -> None:
    x = rng.random((400, 2))
    y = x @ np.array([1.0, -1.0]) + 0.3 * rng.normal(size=400)
    rows = np.column_stack([x, y] if column is None else [column, x, y])
    table(name, rows.tolist(), header)


def test_an_unnamed_column_is_refused(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plan.toml").write_text(PLAN)
    for header, place in ((",age,bmi,y", 1), ("Unnamed: 0,age,bmi,y", 1), ("age,  ,bmi,y", 2)):
        records(rng, "d.csv", np.arange(400), header)
        assert guarded(["certify", "plan.toml", "--jobs", "1"]) == 2
        error = capsys.readouterr().err
        assert f"d.csv line 1 to be a name for every column, got none for column {place} of 4" in error
        assert "index=False" in error


CERTIFY = ("--records", "3", "--routes", "exact", "--jobs", "1")


def test_certificates_that_fall_because_nothing_is_learned_say_so(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.toml").write_text(PLAN)
    records(rng, "d.csv", None, "age,bmi,y")
    assert guarded(["certify", "plan.toml", *CERTIFY]) == 0
    assert "Note" not in "".join(capsys.readouterr())
    for column, said in (
        (rng.permutation(400), "column id: distinct whole"),
        (1e6 * rng.random(400), "column id: values more"),
    ):
        records(rng, "d.csv", column)
        assert guarded(["certify", "plan.toml", *CERTIFY]) == 0
        shown = capsys.readouterr()
        assert f"Note on d.csv: features: {said}" in shown.err
        assert "Note on d.csv: learning moves in 1.0 of the" in shown.err
        assert "learning moves in 1.0 of the" in " ".join(shown.out.split())


def test_a_plan_with_a_byte_order_mark_and_a_capital_suffix(rng: np.random.Generator) -> None:
    records(rng, "D.CSV", None, "age,bmi,y")
    Path("plan.TOML").write_text(PLAN.replace("d.csv", "D.CSV"), encoding="utf-8-sig")
    assert guarded(["certify", "plan.TOML", *CERTIFY, "--out", "out"]) == 0
    (stored,) = Path("out").glob("*.json")
    stored.write_text(stored.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert guarded(["report", str(stored), "--out", "again"]) == 0


def test_notes_reach_the_result(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plan.toml").write_text(PLAN)
    x = rng.normal(size=(60, 2))
    table("d.csv", np.column_stack([x, np.where(np.arange(60) < 2, 50, 0)]).tolist(), "a,b,y")
    assert guarded(["certify", "plan.toml", *CERTIFY, "--json"]) == 0
    shown = capsys.readouterr()
    (note,) = json.loads(shown.out)["data"]["notes"]
    assert note.startswith("targets: 2 distinct whole numbers (0, 50) are read as class labels; say kind = ")
    assert f"Note on d.csv: {note}" in shown.err
    # A kind that is named needs no note.
    Path("plan.toml").write_text(PLAN.replace('path = "d.csv"', 'path = "d.csv"\nkind = "regression"'))
    assert guarded(["certify", "plan.toml", *CERTIFY]) == 0
    assert "Note" not in capsys.readouterr().err
