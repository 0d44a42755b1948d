"""Coins against what is known of the candidates without any score: a coin file that follows a column is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit.lots.coins import draw_coins
from audit.lots.covariates import log_chance, ranks_of
from audit.lots.files.pools import read_pool
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, EpsilonDelta, OneRecord, UpTo
from mechanisms.errors import InvalidInputError
from tests.statistical.budget import binomial_limits

CLAIMED = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), covers=UpTo(k=200))


@pytest.mark.parametrize("draw", ["fair", "paired", "exactly_k"])
def test_coins_that_follow_a_covariate_are_refused_by_name(draw: Any) -> None:
    """A coin file that goes with a column of the records: whoever knows the column could guess."""
    rng, m = np.random.default_rng(3), 200
    size = rng.normal(size=m)
    pairs = np.arange(m).reshape(-1, 2) if draw == "paired" else None
    if draw == "fair":
        coins = size + rng.normal(size=m) > 0
    elif draw == "paired":
        coins = np.zeros(m, dtype=bool)
        coins[np.where(size[::2] > size[1::2], np.arange(0, m, 2), np.arange(1, m, 2))] = True
    else:
        coins = np.isin(np.arange(m), np.argsort(size + rng.normal(size=m))[-60:])
    claim = replace(CLAIMED, covers=UpTo(k=m))
    options: dict[str, Any] = {"claim": claim, "draw": draw, "pairs": pairs}
    assert audit.from_lots(rng.normal(size=m), coins, **options).verdict is Verdict.NOT_REFUTED
    with pytest.raises(InvalidInputError, match=r"coins.*independent of age.*follow it"):
        audit.from_lots(rng.normal(size=m), coins, covariates={"weight": rng.normal(size=m), "age": size}, **options)
    audit.from_lots(rng.normal(size=m), coins, covariates={"weight": rng.normal(size=m)}, **options)


@pytest.mark.parametrize(
    ("draw", "k"), [("fair", 0), ("paired", 0), ("exactly_k", 1), pytest.param("exactly_k", 5, marks=pytest.mark.slow)]
)
def test_fair_coins_follow_a_covariate_no_more_often_than_is_said(draw: Any, k: int) -> None:
    """The bound itself, at every level that was seen: against columns with ties, outliers, and few values."""
    rng, m, runs, replicates = np.random.default_rng(4), 24, 2, 600
    pairs = np.arange(m).reshape(-1, 2) if draw == "paired" else None
    for column in (rng.normal(size=m), np.arange(m) % 2, np.where(np.arange(m) == 0, 1e9, 0.0)):
        ranks = ranks_of(np.asarray(column, dtype=float))
        assert abs(ranks.sum()) < 1e-9
        logs = []
        for _ in range(replicates):
            coins = draw_coins(draw, candidates=m, runs=runs, rng=rng, pairs=pairs, k=k or None)
            logs.append(log_chance(ranks, coins, draw=draw, pairs=pairs))
        for level in (0.3, 0.1, 0.01):
            assert np.sum(np.asarray(logs) <= math.log(level)) <= binomial_limits(replicates, level)[1]


def test_drawn_records_that_follow_a_covariate_are_refused() -> None:
    rng, m, runs = np.random.default_rng(5), 50, 64
    drawn = rng.integers(m // 2, m, size=runs)
    claim = replace(CLAIMED, covers=OneRecord())
    scores = rng.normal(size=(runs, m))
    with pytest.raises(InvalidInputError, match="independent of place"):
        audit.which_record(scores, drawn, claim=claim, covariates={"place": np.arange(m)})
    fair = rng.integers(0, m, size=runs)
    audit.which_record(scores, fair, claim=claim, covariates={"place": np.arange(m)})
    with pytest.raises(InvalidInputError, match="shape"):
        audit.from_lots(scores[0], rng.random(m) < 0.5, claim=replace(CLAIMED, covers=UpTo(k=m)), covariates={"a": [1]})


def test_columns_of_a_pool_are_read_whatever_its_format(tmp_path: Path) -> None:
    paths = [tmp_path / f"pool{kind}" for kind in (".csv", ".json", ".jsonl", ".npy")]
    rows = [{"age": 1.5 * i, "name": f"n{i}"} for i in range(4)]
    paths[0].write_text("age,name\n" + "".join(f"{r['age']},{r['name']}\n" for r in rows), encoding="utf-8")
    paths[1].write_text(json.dumps(rows), encoding="utf-8")
    paths[2].write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    np.save(paths[3], np.asarray([[r["age"]] for r in rows]))
    for path in paths:
        found = read_pool(path).covariates()
        assert found.pop("the order of the rows").tolist() == [0, 1, 2, 3]
        assert [values.tolist() for values in found.values()] == [[0.0, 1.5, 3.0, 4.5]]
