"""The whole pipeline, replicated: false alarms at the exact boundary, power against claims that are too small."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import audit
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from attacks.registry import ATTACKS
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.split import Sequential
from audit.power.ceilings import best_power
from audit.power.rehearsal import rehearsed_power
from audit.records.verdict import Verdict
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, Claim, EpsilonDelta, PrivacyProfile
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World
from mechanisms.ridge.certificates import exact_pair
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin
from tests.statistical.budget import binomial_limits

FOUR = tuple(ATTACKS[name] for name in ("likelihood_ratio", "target_loss", "influence", "lda"))
PQ, QP = BOTH_DIRECTIONS
MECHANISM = RidgeLangevin(
    penalty=0.5, n_learn=20, n_unlearn=2, sigma_learn=0.05, sigma_unlearn=0.12, sampler="closed_form"
)
FORGET = (4,)


@pytest.fixture(scope="module")
def small() -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 4)) / 2
    return from_arrays(x, x @ rng.normal(size=4) + rng.normal(size=30), kind="regression")


def pair_of(data: Dataset) -> GaussianPair:
    return exact_pair(MECHANISM.bind(data, FORGET).laws)


def refutations(data: Dataset, plan: AuditPlan, replicates: int) -> int:
    verdicts = [audit.run(MECHANISM, data, replace(plan, seed=1000 + i)).verdict for i in range(replicates)]
    return sum(verdict is Verdict.REFUTED for verdict in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("direction", BOTH_DIRECTIONS)
def test_false_refutations_at_the_boundary_of_one_row(small: Dataset, direction: object) -> None:
    """The claim is exactly true at a row whose event is frequent: the test works at its full level there."""
    pair = pair_of(small) if direction is PQ else pair_of(small).reversed()
    epsilon = 0.3
    assert pair.tail_q(epsilon) >= 0.05
    point = EpsilonDelta(epsilon=epsilon, delta=pair.delta(epsilon))
    plan = AuditPlan(
        claims=(Claim(guarantee=point, directions=(direction,)),),  # type: ignore[arg-type]
        forget=(FORGET,),
        attacks=(LikelihoodRatio(),),
        trials=1000,
    )
    replicates = 200
    _, most = binomial_limits(replicates, plan.significance)
    assert refutations(small, plan, replicates) <= most


@pytest.mark.slow
def test_false_refutations_of_a_whole_plan(small: Dataset) -> None:
    """The exact profile, several records and every attack: one family at one significance."""
    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),),
        forget=(FORGET, (7,), (11, 12)),
        attacks=FOUR,
        trials=600,
    )
    replicates = 200
    _, most = binomial_limits(replicates, plan.significance)
    assert refutations(small, plan, replicates) <= most


@pytest.mark.slow
def test_false_refutations_of_a_whole_plan_that_stops_when_decided(small: Dataset) -> None:
    """The same family, counted pair by pair with attacks and thresholds chosen anew on the way."""
    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),),
        forget=(FORGET, (7,), (11, 12)),
        attacks=FOUR,
        trials=600,
        counting=Sequential(first_fit=60),
    )
    replicates = 50
    _, most = binomial_limits(replicates, plan.significance)
    assert refutations(small, plan, replicates) <= most


@pytest.mark.slow
def test_false_refutations_at_the_boundary_by_a_user_who_stops_when_decided(small: Dataset) -> None:
    """The claim is exactly true at a row whose event is frequent."""
    pair = pair_of(small)
    point = EpsilonDelta(epsilon=0.3, delta=pair.delta(0.3))
    plan = AuditPlan(
        claims=(Claim(guarantee=point, directions=(PQ,)),),
        forget=(FORGET,),
        attacks=(LikelihoodRatio(),),
        trials=2000,
        counting=Sequential(first_fit=200),
    )
    replicates = 200
    _, most = binomial_limits(replicates, plan.significance)
    refuted = refutations(small, plan, replicates)
    print(f"refuted {refuted} of {replicates}")
    # Two-sided: with no refutation at all the test would be vacuous.
    assert 1 <= refuted <= most


@pytest.mark.slow
def test_claims_of_seven_tenths_are_refuted_with_the_planned_power(small: Dataset) -> None:
    pair = pair_of(small)
    profile = pair.profile()
    scaled = PrivacyProfile(epsilons=tuple(0.7 * e for e in profile.epsilons), log_deltas=profile.log_deltas)
    plan = AuditPlan(claims=(Claim(guarantee=scaled),), forget=(FORGET,), attacks=(LikelihoodRatio(),), trials=6000)
    fpr, fnr = pair.trade_off()
    level = plan.significance / 2
    claim = Claim(guarantee=scaled)
    rng = np.random.default_rng(1)
    power = rehearsed_power(
        claim, fpr, 1 - fnr, n_fit=plan.n_fit, n_counted=plan.n_counted, level=level, rng=rng, repeats=400
    )
    # The second role (the plan's delta) can only add power, and the rehearsal's own error is below .025.
    assert 0.3 < power - 0.025 <= best_power(claim, fpr, 1 - fnr, n=plan.n_counted, level=level)
    replicates = 200
    fewest, _ = binomial_limits(replicates, power - 0.025)
    refuted = refutations(small, plan, replicates)
    print(f"rehearsed power {power:.3f}, refuted {refuted} of {replicates}")
    assert refuted >= fewest


@dataclass(frozen=True, kw_only=True)
class OneStepShort:
    """A trainer that runs one unlearning step fewer than the laws (and so the certificates) assume."""

    n_unlearn: int

    @property
    def name(self) -> str:
        return "one_step_short"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> RidgeDeletion:
        claimed = replace(MECHANISM, n_unlearn=self.n_unlearn, sampler="stepwise").bind(data, forget)
        return replace(claimed, stepwise=replace(claimed.stepwise, n_unlearn=self.n_unlearn - 1))


@pytest.mark.slow
def test_an_error_in_the_laws_is_refuted_by_stepwise_samples_and_not_by_closed_form(small: Dataset) -> None:
    """K where the trainer runs K - 1: releases drawn from the wrong law itself cannot show it."""
    wrong = OneStepShort(n_unlearn=2)
    plan = AuditPlan(claims=(CertifiedClaim(method="exact"),), forget=(FORGET,), attacks=FOUR, trials=20_000)
    assert audit.run(wrong, small, plan).verdict is Verdict.REFUTED
    right = replace(MECHANISM, sampler="stepwise")
    assert audit.run(right, small, plan).verdict is Verdict.NOT_REFUTED
    blind = replace(MECHANISM, sampler="closed_form")
    assert audit.run(blind, small, plan).verdict is Verdict.NOT_REFUTED


def test_the_boundary_is_exact(small: Dataset) -> None:
    """What the replicates above rest on: at the row, the optimal event has P(E) = e^eps Q(E) + delta."""
    pair = pair_of(small)
    left = pair.tail_p(0.3)
    assert left == pytest.approx(np.exp(0.3) * pair.tail_q(0.3) + pair.delta(0.3), rel=1e-9)
    assert MECHANISM.bind(small, FORGET).law(World.UNLEARNED).mean.shape == (4, 1)
