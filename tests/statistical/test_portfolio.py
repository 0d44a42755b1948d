"""False refutations by a portfolio, whose families choose their members on the trials that they are fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from attacks.portfolio import MEAN, SCALE, Family, portfolio
from attacks.registry import ATTACKS
from audit.gathering.selection import choose_event, claim_rows, prepare
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Verdict
from audit.running.runner import run
from audit.statistics.bounds import exact_joint_rejects
from mechanisms.accounting import gdp
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.ridge.langevin import RidgeLangevin
from tests.statistical.budget import binomial_limits
from tests.statistical.unseen_laws import Law, ill_conditioned, objective_noise, reused_noise, symmetric_mixture

Array = NDArray[np.float64]


@pytest.mark.slow
def test_false_refutations_at_the_boundary() -> None:
    """The claim is exactly true at a row whose event is frequent, and the families come near the best attack."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 4))
    data = from_arrays(features, features @ rng.normal(size=4) + rng.normal(size=50), kind="regression")
    ridge = RidgeLangevin(n_learn=30, n_unlearn=3, sigma_learn=0.02, sigma_unlearn=0.02, sampler="closed_form")
    deletion = ridge.bind(data, (3,))
    pair = GaussianPair.from_laws(deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED))
    point = EpsilonDelta(epsilon=0.3, delta=max(pair.delta(0.3), pair.reversed().delta(0.3)))
    assert point.delta > 0.02
    replicates, refuted = 150, 0
    for seed in range(replicates):
        plan = AuditPlan(claims=(Claim(guarantee=point),), forget=((3,),), attacks=portfolio(), trials=600, seed=seed)
        refuted += run(ridge, data, plan).verdict is Verdict.REFUTED
    print(f"refuted {refuted} of {replicates}")
    assert refuted <= binomial_limits(replicates, plan.significance)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("density_ratio", ill_conditioned(0.5, d=1)),
        ("whitened_lda", ill_conditioned(0.5, d=2)),
        ("undo_training", ill_conditioned(0.5, d=2, known=True)),
    ],
)
def test_false_refutations_by_members_for_unseen_laws(name: str, law: Law) -> None:
    """A claim that a Gaussian shift of .5 meets with equality, at a frequent event that these members come near."""
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.3, delta=gdp.delta(0.5, 0.3)))
    replicates, rejected = 300, 0
    for seed in range(replicates):
        rng = np.random.default_rng(seed)
        fitting, counted = ([law.sample(world, n, rng) for world in (True, False)] for n in (1000, 800))
        prepared = prepare(ATTACKS[name], *fitting, law.context, rng)
        assert prepared.fitted is not None
        event = choose_event(prepared, claim_rows(claim), n_counted=(800, 800), level=0.05)
        counts = event.count(*(prepared.fitted.score(trials) for trials in counted))
        rejected += exact_joint_rejects(counts, point=event.point, direction=event.direction, level=0.05)
    print(f"refuted {rejected} of {replicates}")
    assert 1 <= rejected <= binomial_limits(replicates, 0.05)[1]


def best_event(scores: Sequence[Array]) -> float:
    """Return mu-GDP at the best of 99 events of the scores of both worlds, as many of each."""
    thresholds = np.unique(np.quantile(np.concatenate(scores), np.linspace(0.01, 0.99, 99)))
    rates = [(np.count_nonzero(s[:, None] > thresholds, axis=0) + 0.5) / (len(s) + 1) for s in scores]
    return float(np.max(np.abs(ndtri(rates[0]) - ndtri(rates[1]))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "law"),
    [
        (MEAN, ill_conditioned(1.0)),
        (MEAN, objective_noise(1.0)),
        (SCALE, reused_noise()),
        (SCALE, symmetric_mixture()),
    ],
    ids=lambda value: value.name,
)
def test_from_1000_trials_a_side_a_family_keeps_most_of_an_unseen_law(family: Family, law: Law) -> None:
    shares = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        fitting, fresh = ([law.sample(world, n, rng) for world in (True, False)] for n in (1000, 20_000))
        fitted = family.fit(*fitting, law.context, rng=rng)
        oracle = best_event([law.log_ratio(trials) for trials in fresh])
        shares.append(best_event([fitted.score(trials) for trials in fresh]) / oracle)
    print(f"{law.name}: {np.mean(shares):.3f}")
    assert np.mean(shares) >= 0.85
