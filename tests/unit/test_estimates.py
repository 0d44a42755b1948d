"""Estimates beside the bounds: closed forms, slow oracles, standard errors that match the spread, and the floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from audit.records.estimates import (
    ADVANTAGE_LEVEL,
    CHALLENGE_MODELS,
    advantage_limit,
    auc,
    challenge_epsilon,
    estimate,
    gaussian_mu,
)


def slow_challenge(unlearned: np.ndarray, retrained: np.ndarray, delta: float = 1e-5) -> float:
    """The definition, threshold by threshold."""
    best = 0.0
    for t in np.concatenate([unlearned, retrained]):
        for sign in (1, -1):
            fpr = float(np.mean(sign * retrained > sign * t)) if sign == 1 else float(np.mean(retrained <= t))
            fnr = float(np.mean(unlearned <= t)) if sign == 1 else float(np.mean(unlearned > t))
            if fpr == 0 and fnr == 0:
                return math.inf
            if fpr == 0 or fnr == 0:
                continue
            for x, y in ((fpr, fnr), (fnr, fpr)):
                if 1 - delta - x > 0:
                    best = max(best, math.log((1 - delta - x) / y))
    return best


def slow_auc(unlearned: np.ndarray, retrained: np.ndarray) -> tuple[float, float]:
    """Every pair, and DeLong's structural components."""
    wins = (unlearned[:, None] > retrained) + 0.5 * (unlearned[:, None] == retrained)
    v1, v0 = wins.mean(axis=1), wins.mean(axis=0)
    return float(wins.mean()), math.sqrt(np.var(v1, ddof=1) / len(v1) + np.var(v0, ddof=1) / len(v0))


def test_values_by_hand() -> None:
    unlearned, retrained = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0])
    mu, error = gaussian_mu(unlearned, retrained)
    assert mu == pytest.approx(1.0)
    assert error == pytest.approx(math.sqrt(1 / 3 + 1 / 3 + 1 / 8))
    area, _ = auc(unlearned, retrained)
    assert area == pytest.approx((6 + 2 * 0.5) / 9)
    # "score > 1": fpr 1/3, fnr 1/3. "score > 0": fpr 2/3, fnr 0, left out.
    assert challenge_epsilon(unlearned, retrained, delta=0.0) == pytest.approx(math.log(2.0))
    assert challenge_epsilon(retrained, unlearned, delta=0.0) == pytest.approx(math.log(2.0))


def test_same_scores_and_separated_scores() -> None:
    scores = np.arange(10.0)
    assert challenge_epsilon(scores, scores) == 0.0
    assert challenge_epsilon(scores + 20, scores) == math.inf
    assert auc(scores + 20, scores) == (1.0, 0.0)
    assert gaussian_mu(np.ones(4), np.ones(5)) == (None, None)
    assert auc(np.ones(4), np.ones(5)) == (0.5, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_against_slow_oracles_with_ties_and_unequal_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    unlearned, retrained = np.round(rng.normal(0.7, 1, 37), seed), np.round(rng.normal(0, 1, 53), seed)
    assert auc(unlearned, retrained) == pytest.approx(slow_auc(unlearned, retrained))
    assert challenge_epsilon(unlearned, retrained) == pytest.approx(slow_challenge(unlearned, retrained))


@pytest.mark.parametrize("mu", [0.0, 1.0, 2.5])
def test_gaussian_closed_forms_and_standard_errors(mu: float) -> None:
    """Estimates scatter around mu and Phi(mu / sqrt 2) as widely as their standard errors say."""
    rng = np.random.default_rng(7)
    pairs = [(rng.normal(mu, 1, 300), rng.normal(0, 1, 200)) for _ in range(800)]
    for found, true in (
        ([gaussian_mu(*pair) for pair in pairs], mu),
        ([auc(*pair) for pair in pairs], float(ndtr(mu / math.sqrt(2)))),
    ):
        values, errors = (np.array(column, dtype=float) for column in zip(*found, strict=True))
        spread = values.std(ddof=1)
        # Five standard errors of a mean and of a standard deviation over 800 replicates; the bias is O(1/n).
        assert abs(values.mean() - true) < 5 * spread / math.sqrt(800) + 0.006 * mu
        assert errors.mean() == pytest.approx(spread, rel=5 / math.sqrt(2 * 800))


def test_perfect_retraining_scores_its_floor() -> None:
    """The challenge's number for two samples of one law is far from 0; the floor says so."""
    rng = np.random.default_rng(11)
    found = [estimate("a", rng.normal(size=600), rng.normal(size=1100), rng=rng) for _ in range(10)]
    assert {e.challenge_models for e in found} == {CHALLENGE_MODELS}
    floors, epsilons = np.mean([e.challenge_floor for e in found]), np.mean([e.challenge_epsilon for e in found])
    print(f"floor {floors:.2f}, perfect retraining {epsilons:.2f}")
    assert 0.5 < floors < 2
    assert epsilons == pytest.approx(floors, abs=0.4)


def test_estimates_are_deterministic_and_turn_with_the_scores() -> None:
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(1, 1, 90), rng.normal(0, 1, 61)
    one, two = (estimate("a", unlearned, retrained, rng=np.random.default_rng(1)) for _ in range(2))
    assert one == two
    assert one.challenge_models == 30
    turned = estimate("a", -unlearned, -retrained, rng=np.random.default_rng(1))
    assert turned.mu == pytest.approx(-one.mu)
    assert turned.auc == pytest.approx(1 - one.auc)
    assert turned.auc_se == pytest.approx(one.auc_se)
    assert turned.challenge_epsilon == pytest.approx(one.challenge_epsilon)


def binomials(n: int, p: float) -> np.ndarray:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.parametrize("sizes", [(12, 12), (25, 10)])
def test_the_limit_on_the_advantage_covers_in_both_directions_and_is_no_excess(sizes: tuple[int, int]) -> None:
    """Exact coverage for scores of 0 and 1, where the advantage is the difference of two rates."""
    n1, n0 = sizes
    limits = np.array(
        [
            [
                advantage_limit((np.arange(n1) < k1).astype(float), (np.arange(n0) < k0).astype(float))
                for k0 in range(n0 + 1)
            ]
            for k1 in range(n1 + 1)
        ]
    )
    rates = np.linspace(0, 1, 21)
    missed = {
        (p1, p0): float(binomials(n1, p1) @ (limits < abs(p1 - p0) - 1e-12) @ binomials(n0, p0))
        for p1 in rates
        for p0 in rates
    }
    above = [chance for (p1, p0), chance in missed.items() if p1 > p0]
    below = [chance for (p1, p0), chance in missed.items() if p1 < p0]
    for chances in (above, below):
        assert max(chances) <= ADVANTAGE_LEVEL
        # Neither is it so wide that it could not miss.
        assert max(chances) > ADVANTAGE_LEVEL / 25
    assert max(missed[p, p] for p in rates) == 0.0


def test_the_limit_is_over_all_thresholds_and_at_most_one() -> None:
    rng = np.random.default_rng(3)
    unlearned, retrained = rng.normal(0, 1, 300), rng.normal(0, 1, 200).round(1)
    width = math.sqrt((1 / 300 + 1 / 200) * math.log(20) / 2)
    cuts = np.concatenate([unlearned, retrained])
    largest = max(abs(np.mean(unlearned > t) - np.mean(retrained > t)) for t in cuts)
    assert advantage_limit(unlearned, retrained) == pytest.approx(largest + width)
    assert advantage_limit(-unlearned, -retrained) == pytest.approx(largest + width)
    assert advantage_limit(np.ones(5), np.zeros(5)) == 1.0
    assert advantage_limit(np.ones(5), np.ones(5)) < 1.0
    shown = estimate("a", unlearned, retrained, rng=rng, is_fixed=False)
    assert shown.advantage_high is None
