"""``unlearn-audit scores`` as a user runs it: files of every kind, messages, exit codes."""

from __future__ import annotations

import json
import pickle
import shlex
from pathlib import Path

import numpy as np
import pytest

from audit.cli import guarded

CLAIM = ("--epsilon", "1", "--delta", "1e-5")


def draw(shift: float, n: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("U.npy", draw(2.0, 320))
    np.save("R.npy", draw(0.0, seed=1))
    np.save("same.npy", draw(0.0, seed=2))
    return tmp_path


def test_exit_codes_are_those_of_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["scores", "U.npy", "R.npy", *CLAIM, "--out", "out"]) == 1
    assert "REFUTED" in capsys.readouterr().out
    assert {p.name for p in (folder / "out").iterdir()} == {
        *("report.html", "report.json", "report.md", "report-data", "manifest.json"),
    }
    assert guarded(["scores", "same.npy", "R.npy", *CLAIM]) == 0
    assert "NOT REFUTED" in capsys.readouterr().out
    high = ["scores", "U.npy", "R.npy", "--epsilon", "30"]
    assert guarded(high) == 3
    assert guarded([*high, "--allow-inconclusive"]) == 0


def test_junit_and_redacted_reports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["scores", "U.npy", "R.npy", *CLAIM, "--out", "out", "--junit", "ci/a.xml", "--redact"]) == 1
    assert "U.npy" not in capsys.readouterr().out
    text = (folder / "ci" / "a.xml").read_text()
    assert 'failures="1"' in text
    for path in (folder / "ci" / "a.xml", folder / "out" / "report.json", folder / "out" / "report.html"):
        assert "U.npy" not in path.read_text()
    # A user's claim is a promise made for everyone.
    assert "is claimed" not in text
    assert "ε ≤ 1 at δ = 1e-5" in text


def test_the_printed_command_gives_the_same_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--fixed-threshold", "1.5", "--seed", "4", "--significance", "0.01", "--reference", "retrain_only"]
    assert guarded(["scores", "U.npy", "R.npy", *CLAIM, *options, "--json"]) == 1
    first = json.loads(capsys.readouterr().out)
    command = shlex.split(first["environment"]["command"])
    assert command[0] == "unlearn-audit"
    assert guarded([*command[1:], "--json"]) == 1
    second = json.loads(capsys.readouterr().out)
    for result in (first, second):
        del result["environment"]
    assert first == second
    assert first["plan"]["counting"] == {"threshold": 1.5, "kind": "declared_threshold"}
    assert first["findings"][0]["claim"]["reference"] == "retrain_only"


def test_every_kind_of_file_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("U", "R"):
        scores = np.load(f"{name}.npy")
        np.savez(f"{name}.npz", scores=scores)
        Path(f"{name}.csv").write_text("\n".join(map(repr, scores.tolist())) + "\n\n")
    found = []
    for kind in ("npy", "npz", "csv"):
        assert guarded(["scores", f"U.{kind}", f"R.{kind}", *CLAIM, "--json"]) == 1
        found.append(json.loads(capsys.readouterr().out)["findings"])
    assert found[0] == found[1] == found[2]


def test_releases_in_a_table(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shift in (("U", 3.0), ("R", 0.0)):
        rows = rng.normal(size=(200, 4)) + np.array([shift, 0, 0, 0])
        np.savetxt(f"{name}.csv", rows, delimiter=",")
    assert guarded(["scores", "U.csv", "R.csv", *CLAIM]) == 1


class Payload:
    """Would run code if anything unpickled it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("pwned"),))  # type: ignore[return-value]


def write(name: str, what: str) -> None:
    path = Path(name)
    if what == "object":
        np.save(path, np.array([Payload()] * 30, dtype=object), allow_pickle=True)
    elif what == "pickle":
        path.write_bytes(pickle.dumps(Payload()))
    elif what == "two arrays":
        np.savez(path, a=np.ones(30), b=np.ones(30))
    elif what == "truncated":
        np.save("whole.npy", draw(0.0))
        path.write_bytes(Path("whole.npy").read_bytes()[:200])
    elif what == "complex":
        np.save(path, draw(0.0) + 1j)
    elif what == "text array":
        np.save(path, np.array(["a"] * 30))
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "nan":
        np.save(path, np.where(np.arange(300) == 3, np.nan, draw(0.0)))
    elif what == "latin":
        path.write_bytes("1.5\né\n".encode("latin-1"))
    elif what != "missing":
        path.write_text(what)


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("X.npy", "missing", ["X.npy", "no file of that name", "check the path"]),
        ("X.npy", "empty", ["X.npy", "an empty file"]),
        ("X.npy", "object", ["X.npy", "plain numbers", "astype(float)"]),
        ("X.npy", "pickle", ["X.npy", "plain numbers", "Python objects, or no numpy file at all"]),
        ("X.npy", "truncated", ["X.npy", "plain numbers"]),
        ("X.npy", "text array", ["X.npy", "real numbers", "dtype <U1"]),
        ("X.npy", "nan", ["X.npy, row 3", "finite", "nan", "biases"]),
        ("X.npz", "two arrays", ["X.npz", "one array", "2 arrays (a, b)"]),
        ("X.txt", "1\n2\n", ["X.txt", ".npy, .npz or .csv", "'.txt'"]),
        ("X.csv", "loss\n1.0\n2.0\n", ["X.csv line 1", "a number", "'loss'", "remove the header line"]),
        ("X.csv", "# loss\n1.0\n", ["X.csv line 1", "remove the comment"]),
        ("X.csv", "1.0;2.0\n", ["X.csv line 1", "separate cells by commas"]),
        ("X.csv", "1.0\n\n2.0\n", ["X.csv line 2", "an empty line", "leaving out failed models biases"]),
        ("X.npy", "complex", ["X.npy", "complex128", "one real number"]),
        ("X.csv", "1.0\n2.0,3.0\n", ["X.csv line 2", "1 cell(s)", "mend the row"]),
        ("X.csv", "1.0,2.0\n3.0,\n", ["X.csv line 2, cell 2", "''", "leave no cell empty"]),
        ("X.csv", "1.0\n2.0\n", ["X.csv", "at least 20 rows", "2 row(s)"]),
        ("X.csv", "\n\n", ["X.csv", "at least 20 rows"]),
        ("X.csv", "latin", ["X.csv", "UTF-8"]),
    ],
)
def test_bad_files_name_field_value_and_fix(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, what: str, words: list[str]
) -> None:
    write(name, what)
    assert guarded(["scores", name, "R.npy", *CLAIM]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not Path("pwned").exists()
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilon", "-1"), ["--epsilon"]),
        (("--epsilon", "nan"), ["epsilon", "at least 0"]),
        (("--epsilon", "1", "--delta", "1.5"), ["--delta"]),
        (("--epsilon", "1", "--significance", "0.5"), ["--significance"]),
        (("--epsilon", "1", "--fixed-threshold", "inf"), ["threshold", "finite"]),
        ((), ["--epsilon"]),
    ],
)
def test_bad_options_are_usage_errors(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: list[str]
) -> None:
    assert guarded(["scores", "U.npy", "R.npy", *options]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def test_files_of_one_name_in_two_folders_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, values in (("unlearned", np.full(320, 0.5)), ("retrained", draw(0.0, seed=1))):
        (folder / name).mkdir()
        np.save(folder / name / "scores.npy", values)
    files = ["scores", "unlearned/scores.npy", "retrained/scores.npy", *CLAIM]
    assert guarded([*files, "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert result["title"] == "Audit of scores.npy (unlearned) against scores.npy (retrained)"
    (said,) = (c["message"] for c in result["controls"] if c["name"] == "duplicates")
    assert "all 320 rows of scores.npy (unlearned) are the same (0.5), and none of 300 rows of scores.npy" in said
    assert "--discrete" in said
    assert guarded([*files, "--discrete"]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilon", "nan"), "epsilon"),
        (("--epsilon", "1", "--delta", "nan"), "delta"),
        (("--epsilon", "1", "--significance", "nan"), "significance"),
        (("--epsilon", "1", "--fixed-threshold", "nan"), "threshold"),
        (("--epsilon", "1", "--fixed-threshold", "x"), "fixed-threshold"),
        (("--epsilon", "true"), "epsilon"),
        (("--epsilon", "1", "--seed", "a"), "seed"),
    ],
)
def test_what_is_no_number_is_a_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert guarded(["scores", "U.npy", "R.npy", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_model_ids_of_whole_floats_are_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("U-ids.npy", np.repeat(np.arange(160.0), 2))
    np.save("R-ids.npy", np.repeat(np.arange(150.0), 2))
    assert guarded(["scores", "U.npy", "R.npy", *CLAIM, "--model-ids", "U-ids.npy", "R-ids.npy", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["plan"]["trials"] == 160
