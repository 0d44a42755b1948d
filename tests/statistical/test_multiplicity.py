"""Family-wise error of the corrections and of averaged e-values, by simulation with dependent members."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from audit.plan.audit_plan import Bonferroni, Correction, FixedSequence, Holm
from audit.statistics.multiplicity import MemberKey, average_e_values, decide_family, ledger
from tests.statistical.budget import binomial_limits

SIGNIFICANCE, REPLICATES = 0.1, 1500
# Claims by position: which of them hold, and how many attacks test each.
HOLDS = (False, True, False, True)
ATTACKS = (3, 1, 2, 2)


def wrong_refutations(correction: Correction, holds: tuple[bool, ...], shift: float, shared: float) -> tuple[int, int]:
    """Replicates that refute a claim that holds, and refutations of false ones; one-sided z-tests."""
    rng = np.random.default_rng([len(holds), round(10 * shift), round(10 * shared)])
    members: list[MemberKey] = [(0, (g,), f"attack{a}", "claim_row") for g, n in enumerate(ATTACKS) for a in range(n)]
    family = ledger(significance=SIGNIFICANCE, correction=correction, members=members)
    means = np.array([0.0 if holds[key[1][0]] else shift for key in members])
    common = rng.standard_normal((REPLICATES, 1)) * np.sqrt(shared)
    z = means + common + np.sqrt(1 - shared) * rng.standard_normal((REPLICATES, len(members)))
    wrong = right = 0
    for row in ndtr(-z):
        result = decide_family(family, dict(zip(members, row.tolist(), strict=True)))
        refuted = {m.forget[0] for m in result.members if m.rejected}
        wrong += any(holds[g] for g in refuted)
        right += sum(not holds[g] for g in refuted)
    return wrong, right


@pytest.mark.parametrize("shared", [0.0, 0.8])
@pytest.mark.parametrize("shift", [1.5, 6.0])
@pytest.mark.parametrize("correction", [Bonferroni(), Holm(), FixedSequence(), FixedSequence(order=("attacks",))])
def test_claims_that_hold_are_refuted_at_most_as_often_as_stated(
    correction: Correction, shift: float, shared: float
) -> None:
    wrong, _ = wrong_refutations(correction, HOLDS, shift, shared)
    assert wrong <= binomial_limits(REPLICATES, SIGNIFICANCE)[1]


@pytest.mark.parametrize("correction", [Bonferroni(), Holm(), FixedSequence(), FixedSequence(order=("rows",))])
def test_unequal_shares_keep_the_significance(correction: Correction) -> None:
    """Two claims that hold and a false one, each with both tests of two attacks; the two of an attack go together."""
    rng = np.random.default_rng(17)
    members: list[MemberKey] = [
        (c, (c,), a, role) for c in range(3) for a in "xy" for role in ("claim_row", "plan_delta")
    ]
    family = ledger(significance=SIGNIFICANCE, correction=correction, members=members)
    means = np.array([6.0 if key[0] == 0 else 0.0 for key in members])
    shared = np.repeat(rng.standard_normal((REPLICATES, 6)), 2, axis=1)
    z = means + np.sqrt(0.5) * (shared + rng.standard_normal((REPLICATES, len(members))))
    wrong = sum(
        any(m.rejected and m.claim > 0 for m in decide_family(family, dict(zip(members, row, strict=True))).members)
        for row in ndtr(-z).tolist()
    )
    assert 0 < wrong <= binomial_limits(REPLICATES, SIGNIFICANCE)[1]


def test_holm_and_the_sequence_spend_nearly_everything_when_the_false_claims_are_obvious() -> None:
    # Three tests of true claims are left to share .1 after Holm: 1 - (1 - .1/3)^3.
    wrong, _ = wrong_refutations(Holm(), HOLDS, 20.0, 0.0)
    low, high = binomial_limits(REPLICATES, 1 - (1 - SIGNIFICANCE / 3) ** 3)
    assert low <= wrong <= high
    # The second step has one test, at all of .1; a fourth step after a false refutation adds nothing.
    wrong, _ = wrong_refutations(FixedSequence(), HOLDS, 20.0, 0.0)
    low, high = binomial_limits(REPLICATES, SIGNIFICANCE)
    assert low <= wrong <= high


def test_holm_refutes_more_false_claims_than_bonferroni() -> None:
    few, many = (wrong_refutations(c, (False,) * 4, 2.2, 0.3)[1] for c in (Bonferroni(), Holm()))
    assert many > few * 1.03


def test_averaged_e_values_of_the_same_trials_stay_below_the_level() -> None:
    rng = np.random.default_rng(31)
    # Likelihood ratios of N(m, 1) against N(0, 1), all on the same trial: as dependent as can be.
    x = rng.standard_normal(REPLICATES)
    rejected = sum(average_e_values([np.exp(m * v - m * m / 2) for m in (0.5, 1.0, 2.0)]) >= 5 for v in x)
    assert 0 < rejected <= binomial_limits(REPLICATES, 0.2)[1]
    # The product of dependent ones is no e-value: the check would see it.
    product = sum(np.exp(v - 0.5) ** 4 >= 50 for v in x)
    assert product > binomial_limits(REPLICATES, 0.02)[1]
