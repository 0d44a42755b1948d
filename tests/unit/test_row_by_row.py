"""Scores that depend on which releases are scored together: refused before anything is counted; rounding is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from attacks.protocol import AttackContext, FittedAttack, Needs
from attacks.registry import ATTACKS
from audit.gathering.row_by_row import batch_dependence
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import ReleaseSpec, World
from reports.audits import markdown

Array = NDArray[np.float64]
RELEASES = np.random.default_rng(0).normal(size=(500, 6)) + 100.0
WEIGHTS = np.random.default_rng(1).normal(size=6)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An attack that scores by a function and fits nothing."""

    by: Callable[[Array], Array]
    name: str = "by_batch"
    needs: Needs = Needs()

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: Any) -> FittedAttack:
        return self

    def score(self, releases: Array) -> Array:
        return self.by(releases.reshape(len(releases), -1))


def standardised(rows: Array) -> Array:
    return np.asarray((rows[:, 0] - rows[:, 0].mean()) / max(rows[:, 0].std(), 1e-9))


def in_float32(rows: Array) -> Array:
    return np.asarray((rows.astype(np.float32) @ WEIGHTS.astype(np.float32)).astype(np.float64))


BY_BATCH: dict[str, Callable[[Array], Array]] = {
    "standardised": standardised,
    "centred": lambda rows: rows[:, 0] - rows[:, 0].mean(),
    "ranks": lambda rows: np.argsort(np.argsort(rows[:, 0])).astype(float),
    "above the median": lambda rows: (rows[:, 0] > np.median(rows[:, 0])).astype(float),
    "largest": lambda rows: (rows[:, 0] == rows[:, 0].max()).astype(float),
    "whitened": lambda rows: np.linalg.solve(np.cov(rows.T), rows.T)[0],
}
ALONE: dict[str, Callable[[Array], Array]] = {
    "linear": lambda rows: rows @ WEIGHTS,
    "one by one": lambda rows: np.array([float(row @ WEIGHTS) for row in rows]),
    "float32": in_float32,
    "huge": lambda rows: 1e300 * (rows @ WEIGHTS),
    "labels": lambda rows: (rows @ WEIGHTS > 100 * WEIGHTS.sum()).astype(float),
    "constant": lambda rows: np.ones(len(rows)),
    "noise in the last digits": lambda rows: rows @ WEIGHTS + 1e-9 * len(rows),
}


@pytest.mark.parametrize("name", BY_BATCH)
def test_scores_that_look_at_their_batch_are_refused(name: str) -> None:
    said = batch_dependence(Scored(by=BY_BATCH[name]), RELEASES)
    assert said is not None
    assert "depends on which others" in said or "not one alone" in said


@pytest.mark.parametrize("name", ALONE)
def test_rounding_is_no_dependence(name: str) -> None:
    assert batch_dependence(Scored(by=ALONE[name]), RELEASES) is None


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_no_attack_of_this_package_looks_at_its_batch(name: str) -> None:
    """Of the linear family, on a release of two columns, whatever can be fitted to releases alone."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(shift, 1, size=(200, 4, 2)) * np.array([1.0, 1e3]) for shift in (0.3, 0.0))
    empty = from_arrays(np.eye(4), np.arange(4.0), kind="regression")
    context = AttackContext(retained=empty, deleted=empty.take((0,)), release=ReleaseSpec(shape=(4, 2)))
    try:
        fitted = ATTACKS[name].fit(first, second, context, rng=rng)
    except Exception:
        pytest.skip("needs more than releases")
    assert batch_dependence(fitted, np.concatenate([first, second])) is None


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Near 1 with probability 0.1 e against 0.1, else near 0; and noise. Epsilon is 1, exactly, at delta = 0."""

    name: str = "exact"
    release: ReleaseSpec = ReleaseSpec(shape=(2,))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Any, forget: tuple[int, ...]) -> Exact:
        return self

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        rate = 0.1 if world is World.RETRAINED else 0.1 * np.e
        return np.column_stack([(rng.random(n) < rate) + 0.01 * rng.normal(size=n), rng.normal(size=n)])


def beside_its_batch(rows: Array) -> Array:
    """A score that looks at all trials of a chunk, and at noise, which hides that neighbours are alike."""
    return np.asarray(rows[:, 0].mean() + 0.13 * rows[:, 1])


@pytest.mark.parametrize("stop", [False, True])
def test_an_audit_refuses_the_attack_and_says_why(stop: bool) -> None:
    """Before: the claim, which is true, REFUTED in 6 of 6 seeds, with a lower bound of 2.0 and more."""
    data = from_arrays(np.arange(12.0)[:, None], np.arange(12.0), kind="regression")
    plan = AuditPlan(
        claims=(Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0)),),
        forget=((3,),),
        attacks=(Scored(by=beside_its_batch),),
        trials=2000,
        chunk_size=200,
    )
    result = audit.run(Exact(), data, plan, stop_when_decided=stop)
    finding = result.findings[0]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason is Reason.ATTACK_FAILED
    assert "which others are scored with it" in finding.failures["by_batch"]
    assert "which others are scored with it" in markdown.render(result)


def test_given_releases_too() -> None:
    rng = np.random.default_rng(0)
    result = audit.from_scores(
        rng.normal(size=(60, 3)),
        rng.normal(size=(60, 3)),
        claim=Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0)),
        attacks=[Scored(by=standardised)],
    )
    assert result.findings[0].reason is Reason.ATTACK_FAILED
