"""How the significance is spent, from the plan file to the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, Needs
from attacks.registry import ATTACKS
from audit.commands.plan_file.example import example_plan
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan, Bonferroni, CertifiedClaim, Correction, FixedSequence, Holm
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.audits.view import page
from reports.page.parts import NONE

EXAMPLE_PLAN = example_plan()
LINE = next(line for line in EXAMPLE_PLAN.splitlines() if line.startswith("correction"))
# The second claim is false: the two worlds differ.
PLAN = AuditPlan(
    claims=(CertifiedClaim(method="exact"), Claim(guarantee=EpsilonDelta(epsilon=0.0, delta=1e-3))),
    forget=((3,), (5,)),
    attacks=(ATTACKS["likelihood_ratio"], ATTACKS["target_loss"]),
    trials=600,
    control_trials=100,
    seed=4,
)
MECHANISM = RidgeLangevin(n_learn=20, n_unlearn=2, sigma_unlearn=0.001, sampler="closed_form")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Bonferroni()),
        ('correction = "bonferroni"', Bonferroni()),
        ('correction = "holm"', Holm()),
        ('correction = { kind = "holm" }', Holm()),
        ('correction = "fixed_sequence"', FixedSequence()),
        (
            'correction = { kind = "fixed_sequence", order = ["claims", "attacks"] }',
            FixedSequence(order=("claims", "attacks")),
        ),
    ],
)
def test_plan_files_name_a_correction(tmp_path: Path, text: str, expected: Correction) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE_PLAN.replace(LINE, text), encoding="utf-8")
    assert read_plan(path).plan.correction == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('correction = "hommel"', "correction.kind"),
        ('correction = { kind = "holm", order = ["claims"] }', "order belongs to"),
        ('correction = { kind = "fixed_sequence", order = ["claims", "claims"] }', "distinct names"),
        ('correction = { kind = "fixed_sequence", order = ["seasons"] }', "correction.order"),
    ],
)
def test_unusable_corrections_are_explained(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE_PLAN.replace(LINE, text), encoding="utf-8")
    with pytest.raises(PlanError, match=said):
        read_plan(path)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=150)


@pytest.fixture(scope="module")
def results(digits: Dataset) -> dict[str, AuditResult]:
    corrections: tuple[Correction, ...] = (Bonferroni(), Holm(), FixedSequence())
    return {c.kind: audit.run(MECHANISM, digits, dataclasses.replace(PLAN, correction=c)) for c in corrections}


def test_bounds_and_p_values_do_not_depend_on_the_correction(results: dict[str, AuditResult]) -> None:
    plain, *others = results.values()
    for other in others:
        for a, b in zip(plain.findings, other.findings, strict=True):
            assert (a.p_value, a.sandwiches) == (b.p_value, b.sandwiches)
            assert [t.bound for t in a.tests] == [t.bound for t in b.tests]


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """The score is one coordinate."""

    name: str
    index: int
    needs: Needs = Needs()

    def fit(self, unlearned: Any, retained: Any, context: AttackContext, *, rng: np.random.Generator) -> LinearScore:
        return LinearScore(weights=np.eye(2)[self.index])


def test_a_sequence_quotes_the_test_that_it_rests_on(digits: Dataset) -> None:
    """The stronger attack comes second, and is never tested: the first step ends with a claim that is not refuted."""
    shift = np.array([0.7, 3.0])
    mechanism = from_functions(
        learn=lambda data, rng: np.zeros(2),
        unlearn=lambda model, retained, forget, rng: rng.standard_normal(2) + shift * (len(forget) > 0),
        release=2,
    )
    plan = AuditPlan(
        claims=tuple(Claim(guarantee=EpsilonDelta(epsilon=e, delta=1e-3)) for e in (0.2, 30.0)),
        forget=((3,),),
        attacks=(Coordinate("weak", 0), Coordinate("strong", 1)),
        trials=1000,
        correction=FixedSequence(order=("attacks", "claims")),
    )
    finding = audit.run(mechanism, digits, plan).findings[0]
    assert finding.verdict is Verdict.REFUTED
    weak, strong = (test for test in finding.tests if test.role == "claim_row")
    assert weak.rejected
    assert not strong.rejected
    assert finding.p_value == weak.p_value
    assert finding.level == 0.05
    assert finding.bound is not None
    assert finding.bound.attack == "weak"


def test_verdicts_follow_the_ledger(results: dict[str, AuditResult]) -> None:
    for result in results.values():
        for i, finding in enumerate(result.findings):
            members = [m for m in result.family.members if m.forget == finding.forget and m.claim == i % 2]
            assert [t.rejected for t in finding.tests] == [m.rejected for m in members]
            assert (finding.verdict is Verdict.REFUTED) == any(m.rejected for m in members)
            assert all(m.rejected <= (m.tested_at is not None) for m in members)
    plain, holm, sequence = results.values()
    false = [f for f in plain.findings if isinstance(f.claim.guarantee, EpsilonDelta)]
    assert [f.verdict for f in false] == [Verdict.REFUTED] * 2
    # 2 records x 2 attacks x (2 roles of the profile + 1 row) = 12 tests.
    assert all(m.tested_at == m.level for m in plain.family.members)
    # The two tests of a profile by one attack divide what they have together, nine to one.
    shares = {m.role: m.level * 12 / 0.05 for m in plain.family.members if m.claim == 0}
    assert shares == pytest.approx({"claim_row": 1.8, "plan_delta": 0.2})
    assert [m.level for m in plain.family.members if m.claim == 1] == pytest.approx([0.05 / 12] * 4)
    # The four tests of the two false claims are gone: the others are tested at a larger level.
    assert max(m.tested_at or 0 for m in holm.family.members) == pytest.approx(1.8 * 0.05 / 8)
    # The exact claim comes first, holds, and ends the sequence.
    first, *rest = sequence.findings
    assert first.verdict is Verdict.NOT_REFUTED
    assert first.level in {m.tested_at for m in sequence.family.members[:4]}
    assert {m.tested_at for m in sequence.family.members[:4]} == {0.0225, 0.0025}
    assert [(f.verdict, f.reason, f.level) for f in rest] == [(Verdict.INCONCLUSIVE, Reason.NOT_TESTED, 0.0)] * 3


def test_results_round_trip_and_reports_say_it(results: dict[str, AuditResult]) -> None:
    for result in results.values():
        assert AuditResult.from_json(result.to_json()) == result
    captions = {name: page(result).audits[0].ledger.caption for name, result in results.items()}
    assert "corrected after Bonferroni: their levels add up to" in captions["bonferroni"]
    assert "corrected after Holm" in captions["holm"]
    assert "in a fixed sequence, by records and claims" in captions["fixed_sequence"]
    assert "two statements" in captions["holm"]
    ledger = page(results["fixed_sequence"]).audits[0].ledger
    assert {NONE, "0.0225", "0.0025"} <= {row[7] for row in ledger.rows}
    said = page(results["fixed_sequence"]).audits[0].findings[1].sentence
    assert "could not be decided: the plan tests its claims in a declared order" in said
