"""Planning: published trial counts, and power against enumeration and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import binom

from audit.power.betting_power import detectable_by_betting
from audit.power.ceilings import (
    approximate_power,
    best_power,
    ceiling,
    detectable_epsilon,
    expected_verdict,
    power,
    refutable,
)
from audit.records.counts import Counts
from audit.records.verdict import Verdict
from audit.statistics.bounds import exact_joint_rejects
from audit.statistics.critical import CriticalCounts
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile
from mechanisms.errors import InvalidInputError

FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED


def rejects(k1: int, n1: int, k0: int, n0: int, point: EpsilonDelta, level: float) -> bool:
    table = Counts(k_unlearned=k1, n_unlearned=n1, k_retrained=k0, n_retrained=n0)
    return exact_joint_rejects(table, point=point, direction=FORWARD, level=level)


def gaussian_epsilon(mu: float, delta: float) -> float:
    return Claim(guarantee=GaussianDP(mu=mu)).epsilon_at(delta, FORWARD)


def best_threshold_power(*, mu: float, n: int, point: EpsilonDelta, level: float = 0.05) -> float:
    x = np.linspace(-1, mu + 4, 60)
    return float(approximate_power(p1=ndtr(mu - x), p0=ndtr(-x), n1=n, n0=n, point=point, level=level).max())


# (claimed epsilon, delta, true epsilon / claimed epsilon, trials a side for power .8)
TRIALS = [
    (0.5, 1e-5, 1.5, 2.7e5),
    (0.5, 1e-5, 2, 2.7e4),
    (0.5, 1e-5, 3, 2800),
    (0.5, 1e-5, 5, 369),
    (1, 1e-5, 1.5, 1.4e5),
    (1, 1e-5, 2, 1.3e4),
    (1, 1e-5, 3, 1230),
    (1, 1e-5, 5, 165),
    (4, 1e-5, 1.5, 2.9e5),
    (4, 1e-5, 2, 2.0e4),
    (1, 1e-2, 1.5, 2120),
    (1, 1e-2, 2, 527),
    (1, 1e-2, 3, 137),
    (1, 1e-2, 5, 40),
]


class TestPublishedTable:
    @pytest.mark.parametrize(("claimed", "delta", "ratio", "n"), TRIALS)
    def test_power_at_the_published_trials(self, claimed: float, delta: float, ratio: float, n: float) -> None:
        mu = brentq(lambda mu: gaussian_epsilon(mu, delta) - ratio * claimed, 1e-2, 20)
        got = best_threshold_power(mu=mu, n=int(n), point=EpsilonDelta(epsilon=claimed, delta=delta))
        # Two digits of n are .01 of power; small counts make it jump with n.
        assert got == pytest.approx(0.8, abs=0.025)

    @pytest.mark.parametrize(("ratio", "n", "power_there"), [(3, 1870, 0.85), (5, 360, 0.91)])
    def test_a_large_claim_needs_fewer_trials_than_published(self, ratio: float, n: int, power_there: float) -> None:
        mu = brentq(lambda mu: gaussian_epsilon(mu, 1e-5) - ratio * 4, 1e-2, 20)
        got = best_threshold_power(mu=mu, n=n, point=EpsilonDelta(epsilon=4, delta=1e-5))
        assert got == pytest.approx(power_there, abs=0.02)

    @pytest.mark.parametrize(("claimed", "delta", "ratio", "n"), [row for row in TRIALS if row[3] < 2e4])
    def test_detectable_epsilon_inverts_it(self, claimed: float, delta: float, ratio: float, n: float) -> None:
        point = EpsilonDelta(epsilon=claimed, delta=delta)
        got = detectable_epsilon(point=point, n1=int(n), n0=int(n), level=0.05)
        assert got == pytest.approx(ratio * claimed, rel=0.03)


class TestPower:
    @pytest.mark.parametrize("point", [EpsilonDelta(epsilon=0.3, delta=0.0), EpsilonDelta(epsilon=1.0, delta=0.02)])
    @pytest.mark.parametrize(("n1", "n0"), [pytest.param(15, 15, marks=pytest.mark.slow), (20, 10)])
    def test_equals_enumeration_at_small_counts(self, point: EpsilonDelta, n1: int, n0: int) -> None:
        table = [[rejects(a, n1, b, n0, point, 0.05) for b in range(n0 + 1)] for a in range(n1 + 1)]
        for p1, p0 in [(0.5, 0.05), (0.9, 0.2), (0.2, 0.0), (1.0, 0.1), (0.1, 0.1)]:
            law = np.outer(binom.pmf(np.arange(n1 + 1), n1, p1), binom.pmf(np.arange(n0 + 1), n0, p0))
            expected = float((law * table).sum())
            assert power(p1=p1, p0=p0, n1=n1, n0=n0, point=point, level=0.05) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("level", [0.05, 1e-4])
    @pytest.mark.parametrize(
        ("epsilon", "delta", "mu"),
        [(0.5, 1e-5, 0.8), pytest.param(1, 1e-2, 1.0, marks=pytest.mark.slow), (3, 1e-2, 3.5)],
    )
    def test_quick_form_is_close(self, level: float, epsilon: float, delta: float, mu: float) -> None:
        point, n = EpsilonDelta(epsilon=epsilon, delta=delta), 400
        x = np.array([1.2, 1.8, 2.4, 3.0])
        quick = approximate_power(p1=ndtr(mu - x), p0=ndtr(-x), n1=n, n0=n, point=point, level=level)
        exact = [power(p1=float(ndtr(mu - t)), p0=float(ndtr(-t)), n1=n, n0=n, point=point, level=level) for t in x]
        np.testing.assert_allclose(quick, exact, atol=0.05)

    def test_impossible_and_certain_events(self) -> None:
        point = EpsilonDelta(epsilon=1.0, delta=1e-5)
        assert power(p1=0.0, p0=0.0, n1=100, n0=100, point=point, level=0.05) == 0
        assert power(p1=1.0, p0=1.0, n1=100, n0=100, point=point, level=0.05) == 0
        assert power(p1=1.0, p0=0.0, n1=100, n0=100, point=point, level=0.05) == 1
        got = approximate_power(p1=[0.0, 1.0, 1.0], p0=[0.0, 1.0, 0.0], n1=100, n0=100, point=point, level=0.05)
        np.testing.assert_allclose(got, [0, 0, 1], atol=1e-9)

    def test_claims_above_the_ceiling_are_never_refuted(self) -> None:
        for epsilon, delta in ((3.6, 0.0), (1e4, 0.0), (math.inf, 0.0), (0.0, 1.0)):
            point = EpsilonDelta(epsilon=epsilon, delta=delta)
            assert power(p1=1.0, p0=0.0, n1=100, n0=100, point=point, level=0.05) == 0
            assert approximate_power(p1=1.0, p0=0.0, n1=100, n0=100, point=point, level=0.05) == 0

    def test_critical_counts_are_the_first_that_refute(self) -> None:
        point = EpsilonDelta(epsilon=4.0, delta=1e-5)
        critical = CriticalCounts(point=point, n1=1000, n0=1000, level=1e-3)
        for k0 in (0, 1, 5):
            k1 = critical.exact(k0)
            assert rejects(k1, 1000, k0, 1000, point, 1e-3)
            assert not rejects(k1 - 1, 1000, k0, 1000, point, 1e-3)
        assert critical.exact(20) == 1001


class TestBestPower:
    X = np.linspace(-5, 6, 400)

    def test_equals_the_best_of_a_slow_search(self) -> None:
        claim, n, mu = Claim(guarantee=GaussianDP(mu=0.5)), 150, 1.0
        # By symmetry the upper tails in one direction see every event.
        slow = max(
            approximate_power(
                p1=ndtr(mu - self.X[::8]), p0=ndtr(-self.X[::8]), n1=n, n0=n, point=point, level=0.01
            ).max()
            for point in claim.points(FORWARD)
            if point.epsilon < ceiling(n_null=n, level=0.01, delta=point.delta)
        )
        got = best_power(claim, ndtr(-self.X), ndtr(mu - self.X), n=n, level=0.01)
        assert got == pytest.approx(slow, abs=0.02)

    def test_finds_evidence_in_either_direction_and_either_tail(self) -> None:
        claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.0))
        one_way = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.0), directions=(FORWARD,))
        # Rare under P and common under Q: only "Q from P" is violated by it.
        assert best_power(claim, [0.05], [0.001], n=2000, level=0.05) > 0.99
        assert best_power(one_way, [0.05], [0.001], n=2000, level=0.05) == 0.05
        # Its complement, and the other world.
        assert best_power(claim, [0.95], [0.999], n=2000, level=0.05) > 0.99
        assert best_power(claim, [0.001], [0.05], n=2000, level=0.05) > 0.99

    def test_is_the_level_where_the_claim_holds(self) -> None:
        claim = Claim(guarantee=GaussianDP(mu=1.0))
        assert best_power(claim, ndtr(-self.X), ndtr(1.0 - self.X), n=10_000, level=0.01) == 0.01

    def test_rare_events_do_not_hide_the_good_ones(self) -> None:
        # Thresholds far out have normal approximations of about 1/2, and no power at all.
        claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
        assert best_power(claim, ndtr(-self.X), ndtr(1.0 - self.X), n=200, level=0.05 / 12) > 0.25

    def test_expected_verdicts(self) -> None:
        claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-2))
        q, strong, weak = ndtr(-self.X), ndtr(1.5 - self.X), ndtr(0.2 - self.X)
        assert expected_verdict(claim, q, strong, n=2000, level=0.05) is Verdict.REFUTED
        assert expected_verdict(claim, q, weak, n=2000, level=0.05) is Verdict.NOT_REFUTED
        assert expected_verdict(claim, q, strong, n=60, level=0.05) is None
        assert expected_verdict(claim, q, strong, n=4, level=0.05) is Verdict.INCONCLUSIVE


class TestRefutable:
    def test_agrees_with_the_most_extreme_outcome(self) -> None:
        for epsilon in (0.5, 3.4, 3.5, 3.53):
            point = EpsilonDelta(epsilon=epsilon, delta=0.0)
            got = refutable(Claim(guarantee=point), n_unlearned=100, n_retrained=100, level=0.05)
            assert got == rejects(100, 100, 0, 100, point, 0.05) == (epsilon < 3.51)

    def test_the_null_world_of_each_direction_counts(self) -> None:
        point = EpsilonDelta(epsilon=4.0, delta=0.0)
        for direction, expected in ((FORWARD, False), (BACKWARD, True)):
            claim = Claim(guarantee=point, directions=(direction,))
            assert refutable(claim, n_unlearned=1000, n_retrained=50, level=0.05) is expected

    def test_one_row_of_a_profile_is_enough(self) -> None:
        tables = {FORWARD: (-0.1, -2.0), BACKWARD: (-0.1, -2.0)}
        claim = Claim(guarantee=PrivacyProfile(epsilons=(1.0, 30.0), log_deltas=tables))
        assert not refutable(claim, n_unlearned=20, n_retrained=20, level=0.05)
        assert refutable(Claim(guarantee=GaussianDP(mu=1.0)), n_unlearned=20, n_retrained=20, level=0.05)

    def test_claims_that_promise_nothing(self) -> None:
        for point in (EpsilonDelta(epsilon=math.inf, delta=0.0), EpsilonDelta(epsilon=0.0, delta=1.0)):
            assert not refutable(Claim(guarantee=point), n_unlearned=1000, n_retrained=1000, level=0.05)


class TestDetectableEpsilon:
    def test_is_infinite_where_no_gaussian_is_detectable(self) -> None:
        assert math.isinf(detectable_epsilon(point=EpsilonDelta(epsilon=6.0, delta=1e-5), n1=1000, n0=1000, level=0.05))
        assert math.isinf(detectable_epsilon(point=EpsilonDelta(epsilon=1.0, delta=1.0), n1=1000, n0=1000, level=0.05))
        assert math.isinf(detectable_epsilon(point=EpsilonDelta(epsilon=1.0, delta=0.01), n1=2, n0=2, level=0.05))

    @pytest.mark.parametrize(("epsilon", "n"), [(0.0, 200), (0.5, 2000), (3.0, 2000)])
    def test_at_delta_zero_it_is_that_of_randomised_response(self, epsilon: float, n: int) -> None:
        point = EpsilonDelta(epsilon=epsilon, delta=0.0)
        found = detectable_epsilon(point=point, n1=n, n0=n, level=0.025)
        truth = 1 / (1 + math.exp(-found))
        exact = power(p1=truth, p0=1 - truth, n1=n, n0=n, point=point, level=0.025)
        assert found > epsilon
        assert exact == pytest.approx(0.8, abs=0.02)
        # A bet that may stop at any time needs more, but not another order of it.
        assert found < detectable_by_betting(point=point, n=n, level=0.025) < epsilon + 2 * (found - epsilon)

    def test_falls_with_trials_and_rises_with_power_and_strictness(self) -> None:
        point = EpsilonDelta(epsilon=1.0, delta=1e-3)
        by_n = [detectable_epsilon(point=point, n1=n, n0=n, level=0.01) for n in (100, 1000, 10_000, 100_000)]
        assert by_n == sorted(by_n, reverse=True)
        assert by_n[-1] > 1.0
        base = detectable_epsilon(point=point, n1=1000, n0=1000, level=0.01)
        assert detectable_epsilon(point=point, n1=1000, n0=1000, level=1e-4) > base
        assert detectable_epsilon(point=point, n1=1000, n0=1000, level=0.01, target_power=0.95) > base

    def test_a_power_outside_its_range_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="target_power"):
            detectable_epsilon(point=EpsilonDelta(epsilon=1, delta=0.1), n1=9, n0=9, level=0.05, target_power=1.0)
