"""Given values that are stored in unlike steps decide nothing; alike ones, and steps too fine to matter, do."""

from __future__ import annotations

import numpy as np
import pytest

import audit
from audit import load_json
from audit.given.precision import precision_control
from audit.given.rows import GivenRows
from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import Claim, EpsilonDelta
from reports.audits import markdown, terminal


def of(unlearned: np.ndarray, retrained: np.ndarray) -> Control:
    return precision_control(GivenRows.of(unlearned, retrained, ("U.npy", "R.npy")))


def claim(epsilon: float) -> Claim:
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=1e-5))


def same_law(seed: int, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=n)


@pytest.mark.parametrize("epsilon", [0.5, 0.9])
def test_one_law_rounded_in_two_ways_decides_nothing(epsilon: float) -> None:
    first, second = (0.7 * values for values in same_law(0, 3000))
    result = audit.from_scores(np.round(first, 0), np.round(second, 2), claim=claim(epsilon))
    finding = result.findings[0]
    # The rounding alone would refute it.
    assert finding.p_value < finding.level
    assert (finding.verdict, finding.reason) == (Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCIBLE)
    for text in (terminal.summary(result), markdown.render(result)):
        assert "stored in steps of 1, and most of retrained are not" in " ".join(text.split())
    assert "Precision of stored values" in markdown.render(result)
    assert load_json(result.to_json()) == result


def stored(values: np.ndarray, how: int | str | None) -> np.ndarray:
    return values if how is None else values.astype(how) if isinstance(how, str) else np.round(values, how)


@pytest.mark.parametrize(
    ("coarse", "fine", "steps"),
    [
        *((0, 2, "in steps of 1,"), (1, 2, "in steps of 0.1,"), (2, None, "in steps of 0.01,")),
        *((4, 6, "in steps of 0.0001,"), ("f2", "f4", "as float16,"), ("f2", None, "as float16,")),
        *((-1, 0, "in steps of 10,"), (3, "f4", "in steps of 0.001,")),
    ],
)
def test_the_coarser_world_and_its_steps_are_named(coarse: int | str, fine: int | str | None, steps: str) -> None:
    scale = 100 if coarse == -1 else 1
    first, second = same_law(1, 200)
    forward = of(stored(scale * first, coarse), stored(scale * second, fine))
    backward = of(stored(scale * first, fine), stored(scale * second, coarse))
    for control, name in ((forward, "U.npy"), (backward, "R.npy")):
        assert control.spoils_verdicts
        assert f"All values of {name} are stored {steps}" in control.message
        assert control.p_value is not None
        assert control.level is not None
        assert control.p_value <= control.level < 1e-6


def test_one_column_of_many_is_named() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(100, 5)), rng.normal(size=(100, 5))
    assert of(first, second).as_expected
    first[:, 3] = np.round(first[:, 3], 1)
    assert "column 4 of U.npy are stored in steps of 0.1" in of(first, second).message


def test_clipped_scores_are_compared_between_the_clips() -> None:
    first, second = same_law(2, 300)
    assert of(np.clip(first, -0.3, 0.3), np.clip(second, -0.3, 0.3)).as_expected
    assert not of(np.clip(np.round(first, 1), -0.3, 0.3), np.clip(second, -0.3, 0.3)).as_expected


def test_steps_too_fine_to_move_a_row_decide() -> None:
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(2, 1, 400), rng.normal(0, 1, 300)
    result = audit.from_scores(unlearned.astype(np.float32), np.round(retrained, 6), claim=claim(1.0))
    assert result.verdict is Verdict.REFUTED
    # The same steps matter where there are many rows.
    many = np.random.default_rng(1).normal(size=(2, 30_000))
    assert of(many[0], many[1]).as_expected
    assert not of(many[0].astype(np.float32), many[1]).as_expected


def laws(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    return {
        "density": lambda: rng.normal(size=n),
        "heavy tails": lambda: rng.standard_cauchy(n),
        "likelihoods": lambda: np.exp(60 + 30 * rng.normal(size=n)),
        "rounded": lambda: np.round(rng.normal(size=n), 2),
        "float16": lambda: rng.normal(size=n).astype(np.float16),
        "counts": lambda: rng.poisson(6, n),
        "hundreds": lambda: 100 * rng.poisson(40, n),
        "thirds": lambda: np.round(3 * rng.normal(size=n)) / 3,
        "rare halves": lambda: rng.poisson(3, n) + 0.5 * (rng.random(n) < 0.05),
        "soft threshold": lambda: np.maximum(rng.normal(size=n), 0),
        "mostly zero": lambda: np.where(rng.random(n) < 0.95, 0.0, rng.normal(size=n)),
        "flags and doubts": lambda: np.where(rng.random(n) < 0.5, rng.integers(0, 2, n), rng.random(n)),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        *("density", "heavy tails", "likelihoods", "rounded", "float16", "counts", "hundreds", "thirds"),
        *("rare halves", "soft threshold", "mostly zero", "flags and doubts"),
    ],
)
def test_no_law_that_is_stored_alike_alarms(kind: str) -> None:
    """Documented is 1e-6 an audit; 100 pairs of 20 to 120 rows show none."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        control = of(laws(kind, rng, 20 + seed), laws(kind, rng, 120 - seed))
        assert control.as_expected, (seed, control.message)


def test_numbers_too_large_to_hold_a_difference_decide_nothing() -> None:
    rng = np.random.default_rng(0)
    absorbed = [rng.choice([1e308, -1e308], n) + shift for n, shift in ((400, 3), (300, 0))]
    some = [
        np.where(rng.random(n) < 0.5, rng.choice([1e308, -1e308], n), rng.normal(3 * i, 1, n))
        for i, n in ((1, 400), (0, 300))
    ]
    lost = [1e17 + rng.normal(shift, 1, n) for n, shift in ((400, 3), (300, 0))]
    narrow = [(1e9 + rng.normal(shift, 1, n)).astype(np.float32) for n, shift in ((400, 3), (300, 0))]
    for given, said in (
        (absorbed, "overflow"),
        (some, "overflow"),
        (lost, "so large"),
        (narrow, "float32 stores them"),
    ):
        result = audit.from_scores(given[0], given[1], claim=claim(1.0))
        assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
        assert said in next(c.message for c in result.controls if c.name == "precision")
        assert isinstance(load_json(result.to_json()), AuditResult)
        assert "nan" not in terminal.summary(result)
    assert of(1e9 + rng.normal(size=400), 1e9 + rng.normal(size=300)).as_expected


@pytest.mark.parametrize("format_", ["%.6g", "%.4g"])
def test_one_format_of_significant_digits_is_one_precision(format_: str) -> None:
    """Numbers of another size have other decimals: what leaks then is the size, and no rounding."""
    rng = np.random.default_rng(5)
    worlds = [np.array([float(format_ % x) for x in np.exp(rng.standard_normal(300) + shift)]) for shift in (5.0, 0.0)]
    assert of(*worlds).as_expected
    result = audit.from_scores(*worlds, claim=claim(1.0))
    assert result.verdict is Verdict.REFUTED
