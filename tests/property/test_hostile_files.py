"""Damaged plans, results, data and score files: read, or refused with a sentence; nothing uncaught, and no hang."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
import reports
from audit.commands.plan_file.reading import read_plan
from audit.gathering.selection import claim_rows, plan_delta_points
from audit.given.files import read_scores
from mechanisms.claim import Claim
from mechanisms.sources import load_file
from reports.audits.terminal import summary
from tests.property.mutations import (
    LONGEST_SECONDS,
    Outcome,
    as_json,
    mutated_bytes,
    mutated_json,
    mutated_text,
    outcome_of,
)

STORED = Path(__file__).parents[1] / "golden" / "stored"
RESULTS = sorted(path for path in STORED.glob("*.json") if path.name.startswith(("result", "collection")))
PLAN = """\
schema = "unlearn-audit/plan/1"
title = "A plan"
seed = 7
trials = 600
stop_when_decided = true
significance = 0.05
delta = 1e-5
control_trials = 100
chunk_size = 100
correction = {kind = "fixed_sequence", order = ["records", "claims"]}
[data]
path = "data.csv"
target = "y"
rows = 10
kind = "regression"
intercept = true
divide_by = 2.0
[mechanism]
name = "ridge_langevin"
penalty = 1.0
n_learn = 30
n_unlearn = 10
sigma_learn = 0.001
sigma_unlearn = {calibrate = "exact", epsilon = 1.0, delta = 1e-5}
step_size = 0.1
reference = "retrain_then_unlearn"
[records]
choose = ["hardest", "easiest"]
by = "leverage_residual"
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-5
[[claims]]
kind = "gaussian_dp"
mu = 0.5
[[attacks]]
name = "lda"
[[attacks]]
name = "target_loss"
[counting]
fit_fraction = 0.2
first_fit = 200
refit = true
"""


def table(n: int = 12) -> str:
    rows = np.random.default_rng(1).normal(size=(n, 4)).round(4)
    return "\n".join(["a,b,c,y", *(",".join(map(str, row)) for row in rows)]) + "\n"


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def checked(found: Outcome) -> None:
    print(found)
    assert not found.uncaught, f"{found}; {found.example}"
    assert found.slowest < LONGEST_SECONDS
    # Else nothing was damaged, or everything was refused at the door.
    assert found.refused > 0
    assert found.taken > 0


def plans(cases: int, folder: Path) -> Outcome:
    (folder / "data.csv").write_text(table(), encoding="utf-8")
    path = folder / "plan.toml"

    def make(rng: np.random.Generator) -> bytes:
        if rng.random() < 0.2:
            return mutated_bytes(PLAN.encode(), rng)
        return mutated_text(PLAN, rng).encode()

    def use(given: bytes) -> None:
        path.write_bytes(given)
        resolved = read_plan(path)
        for claim in resolved.plan.claims:
            if isinstance(claim, Claim):
                claim_rows(claim)
                plan_delta_points(claim, resolved.plan.delta)

    return outcome_of(cases, make, use)


def results(cases: int, folder: Path) -> Outcome:
    stored = [json.loads(path.read_text("utf-8")) for path in RESULTS]
    pictures = 0

    def make(rng: np.random.Generator) -> str:
        if rng.random() < 0.1:
            text = json.dumps(stored[int(rng.integers(len(stored)))])
            return mutated_bytes(text.encode(), rng).decode("utf-8", "replace")
        return as_json(mutated_json(stored[int(rng.integers(len(stored)))], rng))

    def use(given: str) -> None:
        nonlocal pictures
        value = audit.load_json(given)
        pictures += 1
        # Pictures take most of a second an audit: every twentieth page of one audit has them.
        drawn = pictures % 20 == 0 and isinstance(value, audit.AuditResult)
        formats = ("html", "md", "json", "junit", "csv") if drawn else ("md", "json", "junit", "csv")
        reports.write(value, folder, formats)
        reports.write(reports.redact(value), folder, ("md", "junit"))
        assert summary(value) + str(value) + repr(value) + value._repr_html_()
        for result in value.results if isinstance(value, audit.AuditCollection) else (value,):
            assert result.describe()

    return outcome_of(cases, make, use)


def data_files(cases: int, folder: Path) -> Outcome:
    rng = np.random.default_rng(2)
    archive = npz(X=rng.normal(size=(20, 3)), y=rng.normal(size=20))
    paths = folder / "d.npz", folder / "d.csv"

    def make(rng: np.random.Generator) -> tuple[Path, bytes]:
        if rng.random() < 0.6:
            return paths[0], mutated_bytes(archive, rng)
        if rng.random() < 0.3:
            return paths[1], mutated_bytes(table().encode(), rng)
        return paths[1], mutated_text(table(), rng).encode()

    def use(given: tuple[Path, bytes]) -> None:
        given[0].write_bytes(given[1])
        load_file(given[0])

    return outcome_of(cases, make, use)


def score_files(cases: int, folder: Path) -> Outcome:
    scores = np.random.default_rng(3).normal(size=40)
    stored = {
        folder / "s.npz": npz(scores=scores),
        folder / "s.npy": npy(scores),
        folder / "s.csv": "\n".join(map(str, scores.round(5))).encode(),
    }
    other = scores[::-1] + 0.1
    claim = audit.load_json(RESULTS[-1].read_text("utf-8")).findings[0].claim

    def make(rng: np.random.Generator) -> tuple[Path, bytes]:
        path = list(stored)[int(rng.integers(len(stored)))]
        if path.suffix == ".csv" and rng.random() < 0.5:
            return path, mutated_text(stored[path].decode(), rng).encode()
        return path, mutated_bytes(stored[path], rng)

    def use(given: tuple[Path, bytes]) -> None:
        given[0].write_bytes(given[1])
        audit.from_scores(read_scores(given[0]), other, claim=claim)

    return outcome_of(cases, make, use)


@pytest.mark.parametrize(("study", "cases"), [(plans, 200), (results, 100), (data_files, 400), (score_files, 60)])
def test_damaged_files(study: Callable[[int, Path], Outcome], cases: int, tmp_path: Path) -> None:
    checked(study(cases, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("study", [plans, results, data_files, score_files])
def test_ten_thousand_damaged_files(study: Callable[[int, Path], Outcome], tmp_path: Path) -> None:
    checked(study(10_000, tmp_path))
