"""``unlearn-audit lots`` as a user runs it: three folders, scores of every kind, changes refused by name."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.cli import guarded

M = 60
CLAIM = ("--epsilon", "1", "--delta", "1e-5")


def write_pool(path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = "".join(f'{i},{rng.normal():.6f},"text, with a comma {i}"\n' for i in range(M))
    path.write_text(f"id,x,words\n{rows}", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pool(Path("pool.csv"))
    assert guarded(["lots", "prepare", "pool.csv", "--out", "study"]) == 0
    capsys.readouterr()
    return tmp_path


def coins_of(study: str = "study") -> np.ndarray:
    stored = json.loads(Path(study, "auditor", "coins.json").read_text())
    return np.asarray([[int(c) for c in row] for row in stored["coins"]])


def names(study: str = "study") -> list[str]:
    return Path(study, "scoring", "candidates.txt").read_text().split()


def save_scores(path: str, shift: float, study: str = "study", seed: int = 2) -> np.ndarray:
    coins = coins_of(study)
    scores = np.random.default_rng(seed).normal(size=coins.shape) + shift * coins
    if path.endswith(".npy"):
        np.save(path, scores)
    elif path.endswith(".json"):
        Path(path).write_text(json.dumps({"candidates": names(study), "scores": scores.tolist()}))
    else:
        head = ",".join(["candidate", *(f"run_{j + 1}" for j in range(len(scores)))])
        rows = [",".join([n, *map(repr, map(float, column))]) for n, column in zip(names(study), scores.T, strict=True)]
        Path(path).write_text("\n".join([head, *rows]) + "\n")
    return scores


def test_the_three_folders(folder: Path) -> None:
    coins = coins_of()[0].astype(bool)
    lines = Path("pool.csv").read_text().splitlines()
    for what in ("insert", "delete"):
        rows = Path(f"study/service/run_1/{what}.csv").read_text().splitlines()
        assert rows == [lines[0], *(line for line, c in zip(lines[1:], coins, strict=True) if c)]
    assert Path("study/scoring/pool.csv").read_bytes() == Path("pool.csv").read_bytes()
    assert len(names()) == M
    manifests = [json.loads(Path("study", f, "manifest.json").read_text()) for f in ("service", "scoring", "auditor")]
    assert {m["commitment"] for m in manifests} == {manifests[0]["commitment"]}
    assert [m["others"] for m in manifests] == ["never_given"] * 3
    assert all(m["draw"] == "fair" for m in manifests)
    # What anybody can recompute, in any language.
    stored = json.loads(Path("study/auditor/coins.json").read_text())
    text = "\n".join(["unlearn-audit/coins/1", *stored["coins"], stored["salt"]]) + "\n"
    assert hashlib.sha256(text.encode()).hexdigest() == manifests[0]["commitment"]
    # Neither the scorer's folder nor a manifest tells the coins.
    for path in Path("study/scoring").iterdir():
        assert stored["coins"][0] not in path.read_text()
    assert "rows" not in manifests[1] or manifests[1]["rows"] == []


def test_exit_codes_and_reports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_scores("told.csv", 4.0)
    save_scores("blind.csv", 0.0)
    assert guarded(["lots", "check", "study", "told.csv", *CLAIM, "--out", "out", "--junit", "ci/a.xml"]) == 1
    shown = capsys.readouterr()
    words = " ".join(shown.out.split())
    assert "60 candidates; a secret half was put into the training data and its deletion requested" in words
    assert re.search(r"Of the 30 surest guesses \d+ are right; a service that deletes lets that happen", words)
    assert "any set of up to 60 records" in shown.err
    assert {p.name for p in Path("out").iterdir()} == {"report.html", "report.json", "report.md", "manifest.json"}
    assert 'failures="1"' in Path("ci/a.xml").read_text()
    assert guarded(["lots", "check", "study", "blind.csv", *CLAIM]) == 0
    assert "NOT REFUTED" in capsys.readouterr().out
    far = ["lots", "check", "study", "told.csv", "--epsilon", "100"]
    assert guarded(far) == 3
    assert guarded([*far, "--allow-inconclusive"]) == 0
    capsys.readouterr()
    assert guarded(["lots", "check", "study", "told.csv", *CLAIM, "--redact", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["redacted"] is True


def test_every_kind_of_file_and_the_printed_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for kind in ("csv", "json", "npy"):
        save_scores(f"s.{kind}", 2.5)
        assert guarded(["lots", "check", "study", f"s.{kind}", *CLAIM, "--statistic", "both", "--json"]) == 1
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["runs"] == found[1]["runs"] == found[2]["runs"]
    command = shlex.split(found[0]["command"])
    assert guarded([*command[1:], "--json"]) == 1
    again = json.loads(capsys.readouterr().out)
    assert {**again, "seconds": 0} == {**found[0], "seconds": 0}
    assert found[0]["commitments"] == [json.loads(Path("study/service/manifest.json").read_text())["commitment"]]


def edit(path: str, change: Callable[[Any], None]) -> None:
    stored = json.loads(Path(path).read_text())
    change(stored)
    Path(path).write_text(json.dumps(stored))


def flip_coin(stored: Any) -> None:
    row = stored["coins"][0]
    stored["coins"][0] = ("1" if row[0] == "0" else "0") + row[1:]


def change_salt(stored: Any) -> None:
    stored["salt"] = ("00" if stored["salt"][:2] != "00" else "01") + stored["salt"][2:]


def other_row() -> None:
    text = Path("study/scoring/pool.csv").read_text()
    Path("study/scoring/pool.csv").write_text(text.replace("text, with a comma 7", "another text"))


def swap_scores() -> None:
    lines = Path("s.csv").read_text().splitlines()
    lines[3], lines[9] = lines[9], lines[3]
    Path("s.csv").write_text("\n".join(lines) + "\n")


def plant(stored: Any) -> None:
    stored["others"] = "planted"


def other_draw(stored: Any) -> None:
    stored["draw"] = "exactly_k"
    stored["k"] = int(coins_of().sum())


def other_request() -> None:
    path = Path("study/service/run_1/delete.csv")
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


CHANGED: dict[str, tuple[Callable[[], None], str]] = {
    "coin": (lambda: edit("study/auditor/coins.json", flip_coin), "coins.json: coins"),
    "salt": (lambda: edit("study/auditor/coins.json", change_salt), "coins.json: salt"),
    "pool row": (other_row, "pool.csv row 8"),
    "score order": (swap_scores, r"s\.csv row 3: candidate to be c03, got c09"),
    "planted": (lambda: edit("study/auditor/manifest.json", plant), "others to be never_given, got planted"),
    "planted for the scorer": (lambda: edit("study/scoring/manifest.json", plant), "scoring/manifest.json: others"),
    "draw": (lambda: edit("study/scoring/manifest.json", other_draw), "scoring/manifest.json: draw"),
    "request": (other_request, "run_1/delete.csv"),
    "commitment": (
        lambda: edit("study/scoring/manifest.json", lambda m: m.update(commitment="0" * 64)),
        "scoring/manifest.json: commitment",
    ),
    "role": (lambda: edit("study/auditor/manifest.json", lambda m: m.update(role="scoring")), "role"),
    "no manifest": (lambda: Path("study/auditor/manifest.json").unlink(), "auditor/manifest.json"),
    "no coins": (lambda: Path("study/auditor/coins.json").unlink(), "coins.json"),
    "half a coin": (lambda: edit("study/auditor/coins.json", lambda c: c.update(coins=["01"])), "coins.json: coins"),
    "names": (lambda: Path("study/scoring/candidates.txt").write_text("c02\nc01\n"), "candidates.txt"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_whatever_was_changed_is_refused_by_name(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_scores("s.csv", 4.0)
    assert guarded(["lots", "check", "study", "s.csv", *CLAIM]) == 1
    capsys.readouterr()
    change, said = CHANGED[case]
    change()
    assert guarded(["lots", "check", "study", "s.csv", *CLAIM]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert "REFUTED" not in error


def test_the_service_folder_may_be_elsewhere(folder: Path) -> None:
    import shutil

    save_scores("s.csv", 4.0)
    shutil.move("study/service", "elsewhere")
    assert guarded(["lots", "check", "study", "s.csv", *CLAIM]) == 1


BAD_SCORES = {
    "header.csv": ("candidate,other\nc01,1\n", "line 1"),
    "short.csv": ("candidate,run_1\nc01,1\n", "60 candidates"),
    "word.csv": ("candidate,run_1\nc01,many\n", "line 2, cell 2"),
    "cells.csv": ("candidate,run_1\nc01,1,2\n", "line 2"),
    "empty.csv": ("", "line 1"),
    "list.json": ("[1, 2]", "list.json"),
    "broken.json": ("{", "broken.json"),
    "scores.txt": ("1\n", ".npy"),
    "no.npy": ("text", "no.npy"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_bad_scores_are_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = BAD_SCORES[name]
    Path(name).write_text(text)
    assert guarded(["lots", "check", "study", name, *CLAIM]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["json", "jsonl", "npy"])
def test_pools_of_every_kind(kind: str, folder: Path) -> None:
    records = [{"text": f"sentence {i}", "n": i} for i in range(M)]
    path = Path(f"p.{kind}")
    if kind == "json":
        path.write_text(json.dumps(records))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        np.save(path, np.arange(M * 3.0).reshape(M, 3))
    assert guarded(["lots", "prepare", str(path), "--out", "other"]) == 0
    drawn = np.flatnonzero(coins_of("other")[0])
    part = Path(f"other/service/run_1/insert.{kind}")
    if kind == "npy":
        assert np.array_equal(np.load(part), np.load(path)[drawn])
    else:
        text = part.read_text()
        found = json.loads(text) if kind == "json" else [json.loads(line) for line in text.splitlines()]
        assert found == [records[i] for i in drawn]
    save_scores("s.csv", 4.0, "other")
    assert guarded(["lots", "check", "other", "s.csv", *CLAIM]) == 1


@pytest.mark.parametrize(
    ("options", "draw"),
    [(["paired"], "paired"), (["exactly_k", "--k", "20"], "exactly_k"), (["one", "--runs", "24"], "one")],
)
def test_the_manifest_carries_the_draw(
    options: list[str], draw: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(["lots", "prepare", "pool.csv", "--out", "other", "--draw", *options]) == 0
    save_scores("s.json", 5.0, "other")
    capsys.readouterr()
    assert guarded(["lots", "check", "other", "s.json", *CLAIM, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["draw"] == draw


def test_several_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["lots", "prepare", "pool.csv", "--out", "other", "--runs", "3"]) == 0
    assert len({tuple(row) for row in coins_of("other")}) == 3
    save_scores("s.csv", 3.0, "other")
    capsys.readouterr()
    assert guarded(["lots", "check", "other", "s.csv", *CLAIM, "--runs-threshold", "1e-3", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 3
    assert found["n_fit"] == 0


def test_what_cannot_be_prepared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.csv").write_text("x\n1\n2\n3\n")
    Path("ragged.csv").write_text("x,y\n1,2\n3\n")
    Path("list.json").write_text("{}")
    for arguments, said in (
        (["pool.csv", "--out", "study"], "missing or empty"),
        (["odd.csv", "--out", "a", "--draw", "paired"], "even number"),
        (["pool.csv", "--out", "a", "--draw", "exactly_k"], "--k"),
        (["pool.csv", "--out", "a", "--k", "3"], "--k"),
        (["ragged.csv", "--out", "a"], "row 2"),
        (["list.json", "--out", "a"], "a list"),
        (["none.csv", "--out", "a"], "none.csv"),
        (["pool.txt", "--out", "a"], ".csv"),
    ):
        assert guarded(["lots", "prepare", *arguments]) == 2, arguments
        assert said in capsys.readouterr().err
    assert not Path("a").exists()


def test_coins_differ_from_experiment_to_experiment(folder: Path) -> None:
    assert guarded(["lots", "prepare", "pool.csv", "--out", "other"]) == 0
    assert not np.array_equal(coins_of(), coins_of("other"))


def test_a_stream_release_after_release(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = []
    for t in range(3):
        study = f"batch_{t}"
        assert guarded(["lots", "prepare", "pool.csv", "--out", study]) == 0
        save_scores("s.csv", 0.0 if t == 0 else 4.0, study, seed=t)
        claim = CLAIM if t == 0 else ()
        codes.append(guarded(["lots", "stream", study, "s.csv", "--state", "stream.json", *claim]))
    assert codes[0] == 0
    assert codes[-1] == 1
    capsys.readouterr()
    before = Path("stream.json").read_bytes()
    assert guarded(["lots", "stream", "batch_1", "s.csv", "--state", "stream.json"]) == 2
    assert "not counted yet" in capsys.readouterr().err
    assert Path("stream.json").read_bytes() == before
    assert guarded(["lots", "stream", "study", "s.csv", "--state", "new.json"]) == 2
    assert "--epsilon" in capsys.readouterr().err
    Path("stream.json").write_text(before.decode().replace('"refuted"', '"not_refuted"'))
    assert guarded(["lots", "prepare", "pool.csv", "--out", "batch_3"]) == 0
    assert guarded(["lots", "stream", "batch_3", "s.csv", "--state", "stream.json"]) == 2
    assert "stream.json" in capsys.readouterr().err


def test_coins_that_follow_a_column_of_the_pool_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything agrees with its commitment; but whoever made the coins looked at the records."""
    from audit.lots.coins import commitment
    from audit.lots.files.folders import _write
    from audit.lots.files.manifest import read_manifest
    from audit.lots.files.pools import read_pool

    pool = read_pool(Path("pool.csv"))
    x = np.asarray([float(row[1]) for row in pool.rows])
    coins, salt = (x > np.median(x))[None, :], b"s" * 32
    told = replace(
        read_manifest(Path("study"), "auditor"),
        commitment=commitment(coins, salt),
        salt_sha256=hashlib.sha256(salt).hexdigest(),
    )
    _write(Path("study"), pool, told, coins, salt)
    save_scores("blind.csv", 0.0)
    assert guarded(["lots", "check", "study", "blind.csv", *CLAIM]) == 2
    assert "independent of the column x" in " ".join(capsys.readouterr().err.split())
