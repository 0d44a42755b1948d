"""Columns that are no score and no parameter end an audit of given rows; genuine ones do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import audit
from audit.given.bookkeeping import check_columns
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import InvalidInputError

ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
N1, N0 = 400, 300
Pair = tuple[np.ndarray, np.ndarray]


def null(seed: int = 0) -> Pair:
    rng = np.random.default_rng(seed)
    return rng.normal(size=N1), rng.normal(size=N0)


def both(make: Callable[[int, int], np.ndarray]) -> Pair:
    return make(N1, 0), make(N0, N1)


RNG = np.random.default_rng(5)
COLUMNS: dict[str, tuple[Pair, str]] = {
    "job numbers": (both(lambda n, first: first + np.arange(n)), "distinct whole numbers: an index or job number?"),
    "an index in each": (both(lambda n, first: np.arange(n)), "distinct whole numbers: an index or job number?"),
    "ids as floats": (both(lambda n, first: first + np.arange(1.0, n + 1)), "distinct whole numbers"),
    "ids in thousands": (both(lambda n, first: 1000 * (first + np.arange(n))), "distinct whole numbers"),
    "ids with gaps": (both(lambda n, first: np.sort(RNG.choice(2000, n, replace=False))), "distinct whole numbers"),
    "seeds": (both(lambda n, first: RNG.choice(2**31, n, replace=False)), "distinct whole numbers"),
    "epochs": (both(lambda n, first: np.arange(n) % 10), "an epoch, a seed or a restart?"),
    "restarts": (both(lambda n, first: np.repeat(np.arange(n // 20), 20)), "an epoch, a seed or a restart?"),
    "dates": (both(lambda n, first: 1.76e9 + np.cumsum(RNG.exponential(60, n)) + 3e5 * first), "a time stamp?"),
    "dates in nanoseconds": (both(lambda n, first: (1.76e9 + 7.3 * RNG.permutation(n)) * 1e9), "a time stamp?"),
    "seconds since the start": (both(lambda n, first: np.arange(n) * 12.5), "in equal steps|a time stamp"),
    "a label": ((np.full(N1, 1.0), np.full(N0, 0.0)), "one number in all rows of each, 1 and 0"),
}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_bookkeeping_ends_the_audit(name: str, place: int, shuffled: bool) -> None:
    columns, said = COLUMNS[name]
    rng = np.random.default_rng(1)
    given = []
    for column, scores in zip(columns, null(), strict=True):
        kept = rng.permutation(column) if shuffled else column
        given.append(np.column_stack([kept, scores] if place == 0 else [scores, kept]))
    with pytest.raises(InvalidInputError, match=said) as caught:
        audit.from_scores(given[0], given[1], claim=ONE)
    assert f"column {place + 1} of unlearned and retrained" in str(caught.value)
    for way_out in ("--column", "--releases", "column=2", "releases=True"):
        assert way_out in str(caught.value)


def test_clocks_that_rise_unevenly_are_found_in_order() -> None:
    """Shuffled, such numbers look like any score; in order they look like a clock."""
    rng = np.random.default_rng(0)
    times = [start + np.cumsum(12 + rng.random(n)) for start, n in ((0.0, N1), (100.0, N0))]
    with pytest.raises(InvalidInputError, match=r"column 1 .*a time stamp"):
        audit.from_scores(*(np.column_stack(pair) for pair in zip(times, null(), strict=True)), claim=ONE)


def test_naming_the_score_gives_the_audit_of_the_score() -> None:
    ids, scores = (RNG.permutation(column) for column in COLUMNS["job numbers"][0]), null()
    tables = [np.column_stack(pair) for pair in zip(ids, scores, strict=True)]
    frames = [pd.DataFrame({"job": [f"j{i}" for i in range(len(s))], "loss": s}) for s in scores]
    alone = audit.from_scores(*scores, claim=ONE)
    assert alone.verdict is Verdict.NOT_REFUTED
    assert audit.from_scores(*tables, claim=ONE, column=2).findings == alone.findings
    assert audit.from_scores(*frames, claim=ONE, column="loss").findings == alone.findings
    assert audit.from_scores(*frames, claim=ONE, column=2).findings == alone.findings
    # The job numbers tell the files apart, and that is what the caller asked for.
    assert audit.from_scores(*tables, claim=ONE, releases=True).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"column": 0}, r"column to be in \[1, 2\], got 0; count columns from 1"),
        ({"column": 3}, r"in \[1, 2\], got 3"),
        ({"column": "loss"}, r"got loss; count columns from 1, or name one of a pandas table"),
        ({"column": 1, "releases": True}, "leave out column or releases"),
    ],
)
def test_columns_that_are_not_there(options: dict[str, object], said: str) -> None:
    table = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InvalidInputError, match=said):
        audit.from_scores(table, table + 1, claim=ONE, **options)  # type: ignore[arg-type]
    frame = pd.DataFrame(table, columns=["a", "b"])
    with pytest.raises(InvalidInputError, match=r"one of the columns a, b, got loss"):
        audit.from_scores(frame, frame, claim=ONE, column="loss")


def draws(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Genuine scores and releases, of every kind that a model may have."""
    return {
        "two parameters": lambda: rng.normal(size=(n, 2)),
        "rounded": lambda: np.round(rng.normal(size=(n, 3)), 1),
        "sparse": lambda: np.where(rng.random((n, 4)) < 0.7, 0.0, rng.normal(size=(n, 4))),
        "clipped": lambda: np.clip(rng.normal(size=(n, 2)), -0.5, 0.5),
        "a dead parameter": lambda: np.column_stack([np.zeros(n), rng.normal(size=(n, 2))]),
        "float32": lambda: rng.normal(size=(n, 2)).astype(np.float32),
        "error counts": lambda: rng.poisson(12, n),
        "flags": lambda: (rng.random(n) < 0.3).astype(int),
        "large counts": lambda: rng.poisson(1e6, n),
        "labels of five records": lambda: rng.integers(0, 10, (n, 5)),
        "int8 weights": lambda: np.round(40 * rng.normal(size=(n, 3))).astype(np.int8),
        "large whole parameters": lambda: rng.integers(-(10**6), 10**6, (n, 2)),
        "matrices with a whole entry": lambda: np.stack(
            [np.column_stack([rng.normal(size=n), rng.integers(0, 5, n)]), rng.normal(size=(n, 2))], axis=2
        ),
        "huge": lambda: 1e20 * rng.normal(size=(n, 2)),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        *("two parameters", "rounded", "sparse", "clipped", "a dead parameter", "float32", "error counts", "flags"),
        *("large counts", "labels of five records", "int8 weights", "large whole parameters"),
        *("matrices with a whole entry", "huge"),
    ],
)
def test_genuine_scores_and_releases_pass(kind: str) -> None:
    """None of 60 pairs of files, from the smallest size that is audited."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pair = [draws(kind, rng, n) for n in (20 + seed, 20 + 2 * seed)]
        if pair[0].ndim < 3:
            check_columns(*(np.asarray(p, dtype=float).reshape(len(p), -1) for p in pair), ("u", "v"))
    result = audit.from_scores(*(draws(kind, np.random.default_rng(s), n) for s, n in ((1, 60), (2, 60))), claim=ONE)
    assert result.verdict is not Verdict.REFUTED


def test_a_leak_in_genuine_releases_is_still_found() -> None:
    rng = np.random.default_rng(0)
    assert (
        audit.from_scores(rng.normal(2.5, 1, (N1, 2)), rng.normal(0, 1, (N0, 2)), claim=ONE).verdict is Verdict.REFUTED
    )
    assert audit.from_scores(rng.poisson(30, N1), rng.poisson(12, N0), claim=ONE).verdict is Verdict.REFUTED


def test_releases_sorted_by_one_parameter_are_no_clock() -> None:
    rng = np.random.default_rng(0)
    first, second = (rows[np.argsort(rows[:, 0])] for rows in (rng.normal(size=(N1, 2)), rng.normal(size=(N0, 2))))
    assert audit.from_scores(first, second, claim=ONE).verdict is not Verdict.REFUTED


@pytest.mark.parametrize("order", [np.sort, np.random.default_rng(0).permutation])
def test_one_column_that_is_an_index_is_no_score(order: Callable[[np.ndarray], np.ndarray]) -> None:
    for first, second in (
        (np.arange(N1), np.arange(N0)),
        (np.arange(N1), N1 + np.arange(N0)),
        (np.arange(N1), null()[1]),
    ):
        with pytest.raises(InvalidInputError, match=r"whole numbers in equal steps: an index or job number\?"):
            audit.from_scores(order(first), second, claim=ONE)
    # A rank is a score, for a caller who says so.
    assert audit.from_scores(np.arange(N1), N1 + np.arange(N0), claim=ONE, column=1).verdict is Verdict.REFUTED
