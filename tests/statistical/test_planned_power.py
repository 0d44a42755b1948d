"""Planned power is met: simulated tests and whole simulated splits, within binomial limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from audit.gathering.selection import PreparedAttack, choose_event, claim_rows
from audit.power.alternatives import Curve, gaussian_curve, gaussian_mu, law_curve
from audit.power.ceilings import best_power, power, ranked_events
from audit.power.rehearsal import rehearsed_power
from audit.power.trials_needed import Asymptotic, trials_needed
from audit.power.trials_planned import planned_trials
from audit.records.counts import Counts
from audit.statistics.bounds import exact_joint_rejects
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP
from mechanisms.protocol import GaussianLaw
from tests.statistical.budget import binomial_limits

pytestmark = pytest.mark.all_rehearsals

FORWARD = Direction.UNLEARNED_FROM_RETRAINED


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "delta", "ratio", "level"), [(1.0, 1e-2, 3.0, 0.05), (0.5, 1e-5, 5.0, 0.01)])
def test_the_needed_trials_reach_the_power(epsilon: float, delta: float, ratio: float, level: float) -> None:
    point = EpsilonDelta(epsilon=epsilon, delta=delta)
    claim, mu = Claim(guarantee=point), gaussian_mu(ratio * epsilon, delta)
    truth = gaussian_curve(mu)
    n = trials_needed(claim, truth, level=level)
    assert n is not None
    _, _, p1, p0 = ranked_events(claim, truth.fpr, truth.tpr, n=n, level=level)[0]
    powers = [
        power(p1=float(a), p0=float(b), n1=n, n0=n, point=point, level=level) for a, b in zip(p1, p0, strict=True)
    ]
    planned, threshold = max(powers), norm.isf(float(p0[int(np.argmax(powers))]))
    assert planned == pytest.approx(0.8, abs=0.03)
    rng, replicates, refuted = np.random.default_rng(5), 600, 0
    for _ in range(replicates):
        k1, k0 = (int((rng.normal(loc, size=n) > threshold).sum()) for loc in (mu, 0.0))
        table = Counts(k_unlearned=k1, n_unlearned=n, k_retrained=k0, n_retrained=n)
        refuted += exact_joint_rejects(table, point=point, direction=FORWARD, level=level)
    low, high = binomial_limits(replicates, planned)
    assert low <= refuted <= high


Setting = tuple[Claim, float, float]
# Claims, the shift that is the truth, and the level of the test.
SETTINGS: tuple[Setting, ...] = (
    (Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5)), gaussian_mu(2.0, 1e-5), 0.05),
    (Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-2)), gaussian_mu(3.0, 1e-2), 0.05),
    (Claim(guarantee=EpsilonDelta(epsilon=4.0, delta=1e-5)), gaussian_mu(12.0, 1e-5), 0.05),
    (Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5)), gaussian_mu(2.5, 1e-5), 0.01),
    (Claim(guarantee=GaussianDP(mu=0.3)), 0.6, 0.045),
)


def planned(setting: Setting) -> tuple[int, int]:
    """Return the trials that choose and that count, of a plan that is to have power 0.8."""
    claim, mu, level = setting
    truth = gaussian_curve(mu)
    start = trials_needed(claim, truth, level=level, accuracy=Asymptotic())
    assert start is not None
    trials = planned_trials(
        claim, truth, level=level, start=start, split=lambda n: (n // 5, n - n // 5), rng=np.random.default_rng(6)
    )
    assert trials is not None
    return trials // 5, trials - trials // 5


@pytest.mark.parametrize("setting", SETTINGS[1:4])
def test_planned_trials_give_the_power_to_an_audit_that_chooses(setting: Setting) -> None:
    claim, mu, level = setting
    n_fit, n_counted = planned(setting)
    truth = gaussian_curve(mu)
    found = rehearsed_power(
        claim, truth.fpr, truth.tpr, n_fit=n_fit, n_counted=n_counted, level=level, rng=np.random.default_rng(7)
    )
    # Both this power and the one that was turned round are known up to about .02.
    assert found == pytest.approx(0.8, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_simulated_audits_with_planned_trials_have_the_power(setting: Setting) -> None:
    claim, mu, level = setting
    n_fit, n_counted = planned(setting)
    rng, n, replicates = np.random.default_rng(8), n_fit + n_counted, 200
    refuted = sum(
        simulated(claim, {"p": rng.normal(mu, size=n), "q": rng.normal(size=n)}, n_fit, level)
        for _ in range(replicates)
    )
    print(claim.guarantee, n, refuted)
    # 141 to 178: five such intervals hold together with probability .995, up to the planned number's own error. By the
    # event that is known in advance, the power was .64 to .75.
    assert binom.ppf(0.0005, replicates, 0.8) <= refuted <= binom.isf(0.0005, replicates, 0.8)


def simulated(claim: Claim, draw: dict[str, np.ndarray], n_fit: int, level: float) -> bool:
    """One audit as the runner does it: choose on the leading scores, count on the others."""
    event = choose_event(
        PreparedAttack(name="", fitted=None, unlearned=draw["p"][:n_fit], retrained=draw["q"][:n_fit]),
        claim_rows(claim),
        n_counted=(len(draw["p"]) - n_fit, len(draw["q"]) - n_fit),
        level=level,
    )
    counts = event.count(draw["p"][n_fit:], draw["q"][n_fit:])
    return exact_joint_rejects(counts, point=event.point, direction=event.direction, level=level)


@pytest.mark.parametrize(
    "claim",
    [
        Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-2)),
        pytest.param(Claim(guarantee=GaussianDP(mu=0.3)), marks=pytest.mark.slow),
    ],
)
def test_rehearsed_power_is_that_of_simulated_audits(claim: Claim) -> None:
    mu, n_fit, n_counted, level, replicates = 0.55, 300, 700, 0.01, 250
    truth = gaussian_curve(mu) if isinstance(claim.guarantee, GaussianDP) else gaussian_curve(0.95)
    mu = mu if isinstance(claim.guarantee, GaussianDP) else 0.95
    planned = rehearsed_power(
        claim,
        truth.fpr,
        truth.tpr,
        n_fit=n_fit,
        n_counted=n_counted,
        level=level,
        rng=np.random.default_rng(1),
        repeats=250,
    )
    assert 0.2 < planned < 0.95
    rng, n = np.random.default_rng(2), n_fit + n_counted
    refuted = sum(
        simulated(claim, {"p": rng.normal(mu, size=n), "q": rng.normal(size=n)}, n_fit, level)
        for _ in range(replicates)
    )
    # The planned power is itself known up to about .03, and the test's boundary is interpolated.
    low, high = binomial_limits(replicates, planned - 0.06)[0], binomial_limits(replicates, planned + 0.06)[1]
    assert low <= refuted <= high


def test_laws_with_other_covariances_occur_as_often_as_their_curve_says() -> None:
    ratios, shifts, n = np.linspace(0.9, 1.15, 12), np.full(12, 0.15), 200_000
    p = GaussianLaw(mean=shifts[:, None], covariance=np.diag(ratios))
    q = GaussianLaw(mean=np.zeros((12, 1)), covariance=np.eye(12))
    curve: Curve = law_curve(p, q)
    rng = np.random.default_rng(3)
    scores = []
    for mean, spread in ((shifts, np.sqrt(ratios)), (0.0, np.ones(12))):
        z = mean + spread * rng.normal(size=(n, 12))
        scores.append(((z**2 - (z - shifts) ** 2 / ratios) / 2).sum(axis=1))
    for fpr in (0.5, 0.1, 0.01):
        threshold = np.quantile(scores[1], 1 - fpr)
        observed = int((scores[1] > threshold).sum()) / n
        found = int((scores[0] > threshold).sum())
        expected = np.interp([0.97 * observed, 1.03 * observed], curve.fpr, curve.tpr)
        low, high = binomial_limits(n, float(expected[0]))[0], binomial_limits(n, float(expected[1]))[1]
        assert low <= found <= high


def test_best_power_is_no_less_than_rehearsed() -> None:
    claim, truth = Claim(guarantee=GaussianDP(mu=0.3)), gaussian_curve(0.6)
    known = best_power(claim, truth.fpr, truth.tpr, n=700, level=0.01)
    rehearsed = rehearsed_power(
        claim, truth.fpr, truth.tpr, n_fit=300, n_counted=700, level=0.01, rng=np.random.default_rng(4), repeats=60
    )
    assert rehearsed <= known + 0.02
