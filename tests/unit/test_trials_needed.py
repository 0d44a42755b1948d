"""Trials needed: the published table, an independent enumeration, and the fewest trials that could refute at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from audit.power.alternatives import CERTAIN, gaussian_curve, gaussian_epsilon, gaussian_mu
from audit.power.ceilings import best_power, detectable_epsilon, detectable_shift, refutable
from audit.power.trials_needed import Asymptotic, Enumerated, trials_needed, trials_to_refute
from audit.records.counts import Counts
from audit.statistics.bounds import exact_joint_rejects
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP
from mechanisms.errors import InvalidInputError

pytestmark = pytest.mark.all_rehearsals

FORWARD = Direction.UNLEARNED_FROM_RETRAINED

# (claimed epsilon, delta, true / claimed, published trials a side, those of the exact test): level .05, power .8.
# The published figures are the normal approximation's; the exact test needs up to a fifth fewer at a large claim.
TABLE = [
    (0.5, 1e-5, 1.5, 2.7e5, 2.68e5),
    (0.5, 1e-5, 2, 2.7e4, 2.75e4),
    (0.5, 1e-5, 3, 2800, 2790),
    (0.5, 1e-5, 5, 369, 370),
    (1, 1e-5, 1.5, 1.4e5, 1.43e5),
    (1, 1e-5, 2, 1.3e4, 1.3e4),
    (1, 1e-5, 3, 1230, 1212),
    (1, 1e-5, 5, 165, 158),
    (4, 1e-5, 1.5, 2.9e5, 2.86e5),
    (4, 1e-5, 2, 2.0e4, 1.99e4),
    (4, 1e-5, 3, 1870, 1697),
    (4, 1e-5, 5, 360, 284),
    (1, 1e-2, 1.5, 2120, 2107),
    (1, 1e-2, 2, 527, 518),
    (1, 1e-2, 3, 137, 132),
    (1, 1e-2, 5, 40, 39),
]


def plain(epsilon: float, delta: float) -> Claim:
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))


@pytest.mark.parametrize(
    ("claimed", "delta", "ratio", "published", "exact"),
    # The middle of each claim's four rows takes the same way as its ends.
    [pytest.param(*row, marks=pytest.mark.slow if row[2] in (2, 3) else ()) for row in TABLE],
)
def test_published_table(claimed: float, delta: float, ratio: float, published: float, exact: float) -> None:
    claim, truth = plain(claimed, delta), gaussian_curve(gaussian_mu(ratio * claimed, delta))
    asymptotic = trials_needed(claim, truth, level=0.05, accuracy=Asymptotic())
    # Two digits are published; thresholds on a grid cost less than 1 %.
    assert asymptotic == pytest.approx(published, rel=0.03)
    assert trials_needed(claim, truth, level=0.05) == pytest.approx(exact, rel=0.03)


def enumerated_power(n: int, claim: Claim, mu: float, level: float) -> float:
    """Slow oracle: every pair of counts is tested, and weighted by scipy's binomials; the best threshold of a grid."""
    point = claim.points(FORWARD)[0]
    first = []
    for k0 in range(n + 1):
        k1 = first[-1] if first else 0
        while k1 <= n and not exact_joint_rejects(
            Counts(k_unlearned=k1, n_unlearned=n, k_retrained=k0, n_retrained=n),
            point=point,
            direction=FORWARD,
            level=level,
        ):
            k1 += 1
        first.append(k1)
    x = np.linspace(-1, 4, 101)
    weights = binom.pmf(np.arange(n + 1)[:, None], n, norm.sf(x))
    return float((weights * binom.sf(np.array(first)[:, None] - 1, n, norm.sf(x - mu))).sum(axis=0).max())


def test_small_numbers_agree_with_enumeration() -> None:
    claim, mu = plain(1.0, 1e-2), gaussian_mu(5.0, 1e-2)
    needed = trials_needed(claim, gaussian_curve(mu), level=0.05, accuracy=Enumerated())
    assert needed is not None
    oracle = {n: enumerated_power(n, claim, mu, 0.05) for n in range(needed - 2, needed + 2)}
    # A threshold between two of the search may add a hair.
    assert oracle[needed] >= 0.8 - 1e-3
    assert min(oracle[needed - 1], oracle[needed - 2]) < 0.8 + 5e-3


def test_quantiles_are_those_of_the_normal_law() -> None:
    """The asymptotic form is the textbook's: ((z_alpha s0 + z_power s1) / margin)^2 at the best threshold."""
    epsilon, delta, ratio, level = 1.0, 1e-2, 2.0, 0.05
    mu, c = gaussian_mu(ratio * epsilon, delta), math.exp(epsilon)
    needed = trials_needed(plain(epsilon, delta), gaussian_curve(mu), level=level, accuracy=Asymptotic())
    x = np.linspace(-1, 4, 501)
    p1, p0 = norm.sf(x - mu), norm.sf(x)
    margin = p1 - c * p0 - delta
    true = np.sqrt(p1 * (1 - p1) + c * c * p0 * (1 - p0))
    # The null law nearest to the truth, found on a grid: largest expected log likelihood on the claim's boundary.
    q0 = np.linspace(1e-4, (1 - delta) / c - 1e-4, 4000)[:, None]
    q1 = c * q0 + delta
    fit = p1 * np.log(q1) + (1 - p1) * np.log1p(-q1) + p0 * np.log(q0) + (1 - p0) * np.log1p(-q0)
    q0, q1 = q0[fit.argmax(axis=0), 0], q1[fit.argmax(axis=0), 0]
    null = np.sqrt(q1 * (1 - q1) + c * c * q0 * (1 - q0))
    n = ((norm.isf(level) * null + norm.isf(0.2) * true) / np.where(margin > 0, margin, np.nan)) ** 2
    assert needed == pytest.approx(np.nanmin(n), rel=0.01)


def test_power_is_reached_there_and_not_well_before() -> None:
    claim, truth = plain(0.5, 1e-3), gaussian_curve(gaussian_mu(1.2, 1e-3))
    needed = trials_needed(claim, truth, level=0.01, target_power=0.9)
    assert needed is not None
    assert best_power(claim, truth.fpr, truth.tpr, n=needed, level=0.01) >= 0.9
    assert best_power(claim, truth.fpr, truth.tpr, n=int(0.9 * needed), level=0.01) < 0.9


def test_a_claim_with_many_rows_needs_fewer_than_its_row_at_a_small_delta() -> None:
    truth = gaussian_curve(0.6)
    profile, row = Claim(guarantee=GaussianDP(mu=0.3)), plain(gaussian_epsilon(0.3, 1e-5), 1e-5)
    by_profile, by_row = (trials_needed(claim, truth, level=0.05) for claim in (profile, row))
    assert by_profile is not None
    assert by_row is not None
    assert by_profile < by_row / 5


def test_no_number_is_enough_where_the_claim_holds() -> None:
    assert trials_needed(plain(1.0, 1e-5), gaussian_curve(gaussian_mu(1.0, 1e-5)), level=0.05) is None
    assert trials_needed(plain(30.0, 1e-5), CERTAIN, level=0.05) is None


def test_certain_events_need_the_trials_that_refute_at_all() -> None:
    claim = plain(3.0, 1e-5)
    assert trials_needed(claim, CERTAIN, level=0.05) == trials_to_refute(claim, level=0.05)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.5, 5.8, 8.0])
@pytest.mark.parametrize("level", [0.05, 1e-3])
def test_fewest_trials_that_could_refute(epsilon: float, level: float) -> None:
    claim = plain(epsilon, 1e-5)
    fewest = trials_to_refute(claim, level=level)
    assert fewest is not None
    assert refutable(claim, n_unlearned=fewest, n_retrained=fewest, level=level)
    before = min(fewest - 1, math.floor(fewest * 0.99))
    assert before < 2 or not refutable(claim, n_unlearned=before, n_retrained=before, level=level)


def test_claims_that_no_trials_refute() -> None:
    assert trials_to_refute(plain(math.inf, 0.0), level=0.05) is None
    assert trials_to_refute(plain(0.0, 1.0), level=0.05) is None
    assert trials_to_refute(plain(40.0, 1e-5), level=0.05) is None


def test_detectable_shift_of_one_row_is_the_detectable_epsilon() -> None:
    point = EpsilonDelta(epsilon=0.7, delta=1e-3)
    shift = detectable_shift(Claim(guarantee=point), n=2000, level=0.01)
    expected = detectable_epsilon(point=point, n1=2000, n0=2000, level=0.01)
    assert gaussian_epsilon(shift, 1e-3) == pytest.approx(expected, rel=0.02)


def test_detectable_shift_inverts_the_trials() -> None:
    claim = Claim(guarantee=GaussianDP(mu=0.3))
    shift = detectable_shift(claim, n=3000, level=0.002)
    assert trials_needed(claim, gaussian_curve(shift), level=0.002) == pytest.approx(3000, rel=0.05)
    assert math.isinf(detectable_shift(plain(9.0, 1e-5), n=100, level=0.05))


@pytest.mark.parametrize(("field", "value"), [("level", 0.0), ("level", 1.0), ("target_power", 1.0)])
def test_bad_probabilities_are_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=field):
        trials_needed(plain(1.0, 0.1), CERTAIN, **{"level": 0.05, field: value})
