"""Audits of given scores, replicated at the boundary of a true claim: false alarms of verdicts and of controls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

import audit
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import BOTH_DIRECTIONS, Claim, EpsilonDelta
from tests.statistical.budget import binomial_limits

FORWARD, _ = BOTH_DIRECTIONS
MU, EPSILON, REPLICATES = 1.0, 0.5, 300


def boundary() -> Claim:
    """The exact point of N(1, 1) against N(0, 1) at epsilon = 0.5; its event, score > 1, has probability .16 and .5."""
    delta = ndtr(MU / 2 - EPSILON / MU) - np.exp(EPSILON) * ndtr(-MU / 2 - EPSILON / MU)
    return Claim(guarantee=EpsilonDelta(epsilon=EPSILON, delta=float(delta)), directions=(FORWARD,))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [None, 1.0])
def test_false_refutations_and_false_alarms_of_controls(threshold: float | None) -> None:
    """A threshold at the very event works at the full level; a chosen one somewhere near it cannot do more harm."""
    refuted = spoilt = 0
    for i in range(REPLICATES):
        rng = np.random.default_rng([11, i])
        result = audit.from_scores(
            rng.normal(MU, 1, 260), rng.normal(0, 1, 340), claim=boundary(), seed=i, threshold=threshold
        )
        refuted += result.verdict is Verdict.REFUTED
        spoilt += result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    _, most = binomial_limits(REPLICATES, 0.05)
    print(f"threshold {threshold}: refuted {refuted}, spoilt {spoilt} of {REPLICATES}")
    assert refuted <= most
    if threshold is not None:
        # Two-sided: a test that never rejects at its boundary would be no test.
        assert refuted >= 1
    # The control of the halves has level 1e-3, the others 1e-6.
    assert spoilt <= binomial_limits(REPLICATES, 1.1e-3)[1]


@pytest.mark.slow
def test_a_false_claim_is_refuted_with_the_power_that_the_declared_threshold_has() -> None:
    """The same delta at epsilon = 0: p1 - p0 = .341 where .238 is claimed, with a standard error of .037."""
    point = boundary().guarantee
    assert isinstance(point, EpsilonDelta)
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.0, delta=point.delta), directions=(FORWARD,))
    refuted = 0
    for i in range(100):
        rng = np.random.default_rng([12, i])
        result = audit.from_scores(rng.normal(MU, 1, 260), rng.normal(0, 1, 340), claim=claim, threshold=1.0)
        refuted += result.verdict is Verdict.REFUTED
    print(f"refuted {refuted} of 100")
    # 2.8 standard errors against a critical value of 1.64: power about .87; a little is left to the approximation.
    assert refuted >= binomial_limits(100, 0.8)[0]
