"""False refutations by a portfolio, whose families choose their members on the trials that they are fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.portfolio import portfolio
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Verdict
from audit.running.runner import run
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.ridge.langevin import RidgeLangevin
from tests.statistical.budget import binomial_limits


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
