"""A world that gives one number again and again: a broken file, or a perfect leak; nothing in the rows says which."""

from __future__ import annotations

import numpy as np
import pytest

import audit
from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import Claim, EpsilonDelta
from reports.audits import markdown

ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def spread(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def control(result: AuditResult) -> Control:
    return next(c for c in result.controls if c.name == "duplicates")


def one_column(value: float, *, world: int) -> tuple[np.ndarray, np.ndarray]:
    rows = spread(300, 4), spread(200, 4, seed=1)
    rows[world][:, 2] = value
    return rows


SAME = "all {} rows of {} are the same (0.5), and {} rows of {} are that too"
CASES = {
    "unlearned score": (np.full(300, 0.5), spread(200), SAME.format(300, "unlearned", "none of 200", "retrained")),
    "retrained score": (spread(300), np.full(200, 0.5), SAME.format(200, "retrained", "none of 300", "unlearned")),
    "two scores": (np.full(300, 0.5), np.full(200, 1.5), SAME.format(300, "unlearned", "none of 200", "retrained")),
    "shared score": (
        np.full(300, 0.5),
        np.where(np.arange(200) % 5 == 0, 0.5, spread(200)),
        SAME.format(300, "unlearned", "40 of 200", "retrained"),
    ),
    "unlearned release": (np.tile(spread(4), (300, 1)), spread(200, 4), "all 300 rows of unlearned are the same, and"),
    "unlearned column": (
        *one_column(0.0, world=0),
        "column 3 of unlearned is 0 in all 300 rows, and in none of the 200 rows of retrained",
    ),
    "retrained column": (*one_column(0.25, world=1), "column 3 of retrained is 0.25 in all 200 rows"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_seen_is_said_plainly_and_nothing_is_refuted(case: str) -> None:
    unlearned, retrained, words = CASES[case]
    result = audit.from_scores(unlearned, retrained, claim=ONE, releases=unlearned.ndim > 1)
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    for text in (control(result).message, str(result), markdown.render(result).replace("\\", "")):
        assert words in text
        assert "it tells the worlds apart" in text
        assert "continuous=False (--discrete)" in text


@pytest.mark.parametrize("case", CASES)
def test_what_models_give_by_rights_is_audited_as_it_is(case: str) -> None:
    unlearned, retrained, words = CASES[case]
    releases = unlearned.ndim > 1
    result = audit.from_scores(unlearned, retrained, claim=ONE, releases=releases, continuous=False)
    assert not control(result).applicable
    # An attack may be blind to one column, which is said all the same.
    assert words in control(result).message
    assert result.verdict is Verdict.REFUTED or "column" in case
    assert result.verdict is not Verdict.INCONCLUSIVE


def test_a_constant_column_of_both_worlds_and_sparse_ones_say_nothing() -> None:
    rows = spread(300, 4), spread(200, 4, seed=1)
    for each in rows:
        each[:, 1] = 0.25
    # A coefficient that is zero in all of one world and in most of the other.
    rows[0][:, 3] = 0.0
    rows[1][5:, 3] = 0.0
    found = control(audit.from_scores(*rows, claim=ONE, releases=True))
    assert found.as_expected, found.message
    flags = spread(300, 4), spread(200, 4, seed=1)
    flags[0][:, 2], flags[1][:, 2] = 1.0, 2.0
    assert control(audit.from_scores(*flags, claim=ONE, releases=True)).as_expected


def test_equal_constants_are_one_model_everywhere() -> None:
    found = control(audit.from_scores(np.full(300, 0.5), np.full(200, 0.5), claim=ONE))
    assert "all 500 rows of the two together are the same" in found.message
    assert "tells the worlds apart" not in found.message
