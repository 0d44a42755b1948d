"""Gaussian DP and trade-off curves: enumeration of the coverage, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from audit.records.counts import Counts
from audit.statistics.bounds import clopper_pearson
from audit.statistics.gdp import gdp_bound, tradeoff_p_value
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile
from mechanisms.errors import InvalidInputError

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED
CLAIM = Claim(guarantee=GaussianDP(mu=1.0))


def counts(k1: int, n1: int, k0: int, n0: int) -> Counts:
    return Counts(k_unlearned=k1, n_unlearned=n1, k_retrained=k0, n_retrained=n0)


def laplace_profile(epsilons: tuple[float, ...]) -> PrivacyProfile:
    """The exact profile of Laplace noise of scale 1 at distance 1: delta = 1 - e^((epsilon - 1) / 2) up to 1."""
    logs = tuple(math.log(-math.expm1((e - 1) / 2)) if e < 1 else -math.inf for e in epsilons)
    return PrivacyProfile(epsilons=epsilons, log_deltas={FORWARD: logs, BACKWARD: logs})


class TestBound:
    def test_by_hand(self) -> None:
        got = gdp_bound(counts(80, 100, 10, 100), claim=CLAIM, direction=FORWARD, level=0.05)
        low, _ = clopper_pearson(80, 100, level=0.05)
        _, high = clopper_pearson(10, 100, level=0.05)
        assert got.mu == pytest.approx(float(ndtri(1 - high) - ndtri(1 - low)), rel=1e-9)
        assert 1.3 < got.mu < 2.12

    def test_complement_in_the_opposite_direction_is_the_same(self) -> None:
        table = counts(50, 90, 5, 70)
        forward = gdp_bound(table, claim=CLAIM, direction=FORWARD, level=0.05)
        backward = gdp_bound(table.complement(), claim=CLAIM, direction=BACKWARD, level=0.05)
        assert forward.mu == pytest.approx(backward.mu, rel=1e-9)
        assert forward.mu > 0.3

    @pytest.mark.parametrize("table", [(0, 9, 0, 9), (9, 9, 9, 9), (0, 9, 9, 9), (4, 9, 4, 9), (1, 1, 0, 1)])
    def test_corners_are_zero(self, table: tuple[int, int, int, int]) -> None:
        assert gdp_bound(counts(*table), claim=CLAIM, direction=FORWARD, level=0.05).mu == 0

    @pytest.mark.parametrize(("n1", "n0", "mu", "x"), [(120, 120, 1.0, 0.5), (80, 160, 1.5, 1.0), (150, 75, 2.0, 1.5)])
    def test_coverage_by_enumeration(self, n1: int, n0: int, mu: float, x: float) -> None:
        level = 0.05
        law = np.outer(binom.pmf(range(n1 + 1), n1, ndtr(mu - x)), binom.pmf(range(n0 + 1), n0, ndtr(-x)))
        missed = mean = 0.0
        for k1, k0 in np.argwhere(law > 1e-7):
            got = gdp_bound(counts(int(k1), n1, int(k0), n0), claim=CLAIM, direction=FORWARD, level=level).mu
            missed += float(law[k1, k0]) * (got > mu)
            mean += float(law[k1, k0]) * got
        # Two separate intervals seldom miss together; a vacuous bound never would.
        assert 1e-5 <= missed <= level
        assert mean >= 0.2 * mu

    def test_in_epsilon_it_never_exceeds_the_conversion_of_mu(self) -> None:
        got = gdp_bound(counts(900, 1000, 20, 1000), claim=CLAIM, direction=FORWARD, level=0.05)
        for delta in (1e-8, 1e-5, 0.01, 0.3):
            epsilon = got.epsilon_at(delta)
            # delta(epsilon) of a Gaussian shift by mu, written out again.
            exact = ndtr(got.mu / 2 - epsilon / got.mu) - math.exp(epsilon) * ndtr(-got.mu / 2 - epsilon / got.mu)
            assert delta <= exact <= delta * (1 + 1e-6)
        with pytest.raises(InvalidInputError, match="delta"):
            got.epsilon_at(0.0)

    def test_other_claims_are_refused_because_the_bound_would_be_wrong(self) -> None:
        # A Laplace mechanism with epsilon = 1 for certain: in the Gaussian's terms it looks far worse at delta = 1e-5.
        n = 100_000
        table = counts(round(0.5 * n), n, round(0.5 * math.exp(-1) * n), n)
        wrong = gdp_bound(table, claim=CLAIM, direction=FORWARD, level=0.05)
        assert wrong.epsilon_at(1e-5) > 3
        for guarantee in (EpsilonDelta(epsilon=1.0, delta=1e-5), laplace_profile((0.0, 1.0))):
            with pytest.raises(InvalidInputError, match="GaussianDP"):
                gdp_bound(table, claim=Claim(guarantee=guarantee), direction=FORWARD, level=0.05)

    def test_one_direction_of_a_gaussian_claim_is_refused(self) -> None:
        claim = Claim(guarantee=GaussianDP(mu=1.0), directions=(FORWARD,))
        with pytest.raises(InvalidInputError, match="directions"):
            gdp_bound(counts(9, 10, 1, 10), claim=claim, direction=FORWARD, level=0.05)


class TestPValue:
    def test_is_the_smallest_level_at_which_the_bound_exceeds_the_claim(self) -> None:
        table = counts(150, 200, 20, 200)
        for mu in (0.3, 1.0, 1.3, 1.5):
            claim = Claim(guarantee=GaussianDP(mu=mu))
            p = tradeoff_p_value(table, claim=claim, direction=FORWARD)
            assert gdp_bound(table, claim=claim, direction=FORWARD, level=p * 1.0001).mu > mu
            assert gdp_bound(table, claim=claim, direction=FORWARD, level=p * 0.999).mu < mu

    def test_corners(self) -> None:
        assert tradeoff_p_value(counts(5, 10, 5, 10), claim=CLAIM, direction=FORWARD) == 1
        assert tradeoff_p_value(counts(0, 10, 10, 10), claim=CLAIM, direction=FORWARD) == 1
        certain = tradeoff_p_value(counts(10**6, 10**6, 0, 10**6), claim=CLAIM, direction=FORWARD)
        assert 0 < certain <= 1e-299
        worthless = Claim(guarantee=GaussianDP(mu=math.inf))
        assert tradeoff_p_value(counts(10, 10, 0, 10), claim=worthless, direction=FORWARD) == 1

    @pytest.mark.parametrize(
        "claim", [CLAIM, Claim(guarantee=laplace_profile(tuple(np.linspace(0, 1, 41))))], ids=["gaussian", "laplace"]
    )
    @pytest.mark.parametrize("p0", [0.05, *(pytest.param(p0, marks=pytest.mark.slow) for p0 in (0.15, 0.8))])
    def test_size_by_enumeration_on_the_curve(self, claim: Claim, p0: float) -> None:
        n1, n0 = 50, 70
        p1 = float(claim.max_tpr(p0, FORWARD))
        law = np.outer(binom.pmf(range(n1 + 1), n1, p1), binom.pmf(range(n0 + 1), n0, p0))
        likely = np.argwhere(law > 1e-6)
        p = np.array(
            [tradeoff_p_value(counts(int(k1), n1, int(k0), n0), claim=claim, direction=FORWARD) for k1, k0 in likely]
        )
        weights = law[tuple(likely.T)]
        for level in (0.01, 0.05, 0.2):
            assert weights[p <= level].sum() <= level
        assert weights[p <= 0.2].sum() > 0.001

    def test_a_profile_is_tested_by_its_own_curve_in_its_own_directions(self) -> None:
        profile = laplace_profile(tuple(np.linspace(0, 1, 41)))
        table = counts(800, 1000, 100, 1000)
        both = tradeoff_p_value(table, claim=Claim(guarantee=profile), direction=FORWARD)
        alone = tradeoff_p_value(table, claim=Claim(guarantee=profile, directions=(BACKWARD,)), direction=FORWARD)
        assert both <= alone < 1e-6
        with pytest.raises(InvalidInputError, match="exact_joint_p_value"):
            tradeoff_p_value(table, claim=Claim(guarantee=EpsilonDelta(epsilon=1, delta=0)), direction=FORWARD)
