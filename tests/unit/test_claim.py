"""Claims: what each kind implies, checked against independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import erfc, mp, mpf, sqrt
from scipy.stats import norm

from mechanisms.claim import BOTH_DIRECTIONS, Claim, Direction, EpsilonDelta, GaussianDP, Guarantee, PrivacyProfile
from mechanisms.errors import InvalidInputError

PQ, QP = BOTH_DIRECTIONS


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Hockey-stick divergence of N(mu, 1) and N(0, 1) in 40 digits."""
    with mp.workdps(40):

        def cdf(x: mpf) -> mpf:
            return erfc(-x / sqrt(mpf(2))) / 2

        m, e = mpf(mu), mpf(epsilon)
        return float(cdf(m / 2 - e / m) - mp.exp(e) * cdf(-m / 2 - e / m))


@pytest.mark.parametrize("mu", [0.05, 0.5, 1.0, 3.0])
def test_gaussian_points_are_implied_and_not_vacuous(mu: float) -> None:
    points = Claim(guarantee=GaussianDP(mu=mu)).points(PQ)
    assert len(points) > 10
    for point in points:
        exact = gaussian_delta(mu, point.epsilon)
        assert exact <= point.delta <= exact * (1 + 1e-8) + 2e-13


@pytest.mark.parametrize("mu", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("delta", [1e-5, 0.01])
def test_gaussian_epsilon_at_is_the_inverse(mu: float, delta: float) -> None:
    epsilon = Claim(guarantee=GaussianDP(mu=mu)).epsilon_at(delta, QP)
    assert gaussian_delta(mu, epsilon) <= delta * (1 + 1e-9)
    assert epsilon == 0 or gaussian_delta(mu, epsilon * (1 - 1e-6)) > delta


def test_gaussian_max_tpr_is_the_trade_off_function() -> None:
    fpr = np.array([0.0, 1e-6, 0.01, 0.5, 1.0])
    np.testing.assert_allclose(
        Claim(guarantee=GaussianDP(mu=1.0)).max_tpr(fpr, PQ), norm.cdf(norm.ppf(fpr) + 1.0), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("guarantee", "expected"),
    [
        (GaussianDP(mu=math.inf), [1.0, 1.0, 1.0]),
        (EpsilonDelta(epsilon=800.0, delta=0.1), [0.1, 1.0, 1.0]),
    ],
)
def test_claims_that_promise_next_to_nothing_have_no_nan(guarantee: Guarantee, expected: list[float]) -> None:
    np.testing.assert_array_equal(Claim(guarantee=guarantee).max_tpr([0.0, 0.1, 1.0], PQ), expected)
    one_sided = Claim(guarantee=GaussianDP(mu=40.0), directions=(PQ,))
    assert not np.any(np.isnan(one_sided.max_tpr([0.0, 0.1, 1.0], PQ)))


def test_point_claim_max_tpr_uses_both_directions() -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.01))
    # By the event itself at small fpr, by its complement at large fpr.
    assert claim.max_tpr(0.1, PQ) == pytest.approx(math.e * 0.1 + 0.01)
    assert claim.max_tpr(0.9, PQ) == pytest.approx(1 - math.exp(-1.0) * (0.1 - 0.01))
    one_sided = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.01), directions=(PQ,))
    assert one_sided.max_tpr(0.9, PQ) == 1.0
    assert one_sided.points(QP) == ()
    assert one_sided.epsilon_at(0.5, QP) == math.inf


def test_profile_chords_are_safe() -> None:
    epsilons = np.linspace(0.1, 4, 9)
    logs = tuple(float(np.log(gaussian_delta(1.0, e))) for e in epsilons)
    claim = Claim(guarantee=PrivacyProfile(epsilons=tuple(epsilons), log_deltas={PQ: logs, QP: logs}))
    for delta in (0.2, 1e-2, 1e-3):
        epsilon = claim.epsilon_at(delta, PQ)
        assert gaussian_delta(1.0, epsilon) <= delta
        assert any(abs(epsilon - e) < 0.5 for e in epsilons)
    assert claim.epsilon_at(1e-30, PQ) == math.inf
    assert claim.epsilon_at(0.99, PQ) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EpsilonDelta(epsilon=-0.1, delta=0.0),
        lambda: EpsilonDelta(epsilon=math.nan, delta=0.0),
        lambda: EpsilonDelta(epsilon=1.0, delta=1.5),
        lambda: GaussianDP(mu=-1.0),
        lambda: PrivacyProfile(epsilons=(1.0, 0.5), log_deltas={PQ: (-1.0, -2.0)}),
        lambda: PrivacyProfile(epsilons=(math.nan,), log_deltas={PQ: (-1.0,)}),
        lambda: PrivacyProfile(epsilons=(0.5, 1.0), log_deltas={PQ: (-1.0,)}),
        lambda: PrivacyProfile(epsilons=(0.5,), log_deltas={PQ: (0.5,)}),
        lambda: Claim(guarantee=GaussianDP(mu=1.0), directions=()),
    ],
)
def test_impossible_claims_are_refused(make: object) -> None:
    with pytest.raises(InvalidInputError):
        make()  # type: ignore[operator]


def test_opposite_directions() -> None:
    assert Direction.UNLEARNED_FROM_RETRAINED.opposite is Direction.RETRAINED_FROM_UNLEARNED
    assert all(d.opposite.opposite is d for d in Direction)


def test_a_direction_without_a_table_is_not_claimed() -> None:
    one = Direction.UNLEARNED_FROM_RETRAINED
    profile = PrivacyProfile(epsilons=(0.0, 1.0), log_deltas={one: (-1.0, -3.0)})
    with pytest.raises(InvalidInputError, match=r"directions.*retrained_from_unlearned"):
        Claim(guarantee=profile)
    assert Claim(guarantee=profile, directions=(one,)).points(one.opposite) == ()
