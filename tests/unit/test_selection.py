"""Choosing an event: smoothed rates, the search over candidates, and the split route that rests on them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from audit.gathering import selection
from audit.gathering.selection import Event, PreparedAttack, candidate_thresholds, choose_event, choose_for_bound
from audit.gathering.split_bound import split_bound
from audit.power.alternatives import gaussian_curve
from audit.power.ceilings import best_power
from audit.power.event_power import expected_score
from audit.power.rehearsal import rehearsed_power
from audit.statistics.bounds import exact_joint_bound
from audit.statistics.smoothing import rate_above, thresholds_across
from mechanisms.accounting import gdp
from mechanisms.claim import Claim, Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from tests.statistical.budget import binomial_limits

Floats = NDArray[np.float64]
FORWARD, BACKWARD = Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED


def prepared(unlearned: Floats, retrained: Floats) -> PreparedAttack:
    """Return scores of a fit split."""
    return PreparedAttack(name="scores", fitted=None, unlearned=unlearned, retrained=retrained)


def test_rates_between_the_tails_are_empirical_and_those_beyond_fall_on() -> None:
    scores = np.random.default_rng(0).standard_normal(400)
    t = np.sort(np.concatenate([thresholds_across(scores), scores]))
    rates = rate_above(scores, t)
    assert np.all(np.diff(rates) <= 1e-15)
    assert np.all((rates > 0) & (rates < 1))
    middle = (t > np.quantile(scores, 0.2)) & (t < np.quantile(scores, 0.8))
    expected = [np.mean(scores > value) for value in t[middle]]
    np.testing.assert_allclose(rates[middle], expected, atol=1e-15)
    assert rates[-1] < 1 / 400 < 399 / 400 < rates[0]


def test_no_threshold_lies_at_a_score() -> None:
    """Scores of equal releases may differ in the last digit, and must fall on one side."""
    rng = np.random.default_rng(0)
    atoms = np.array([-3.0, 0.0, 0.1, 7e9])
    unlearned, retrained = rng.choice(atoms, 400), rng.choice(atoms, 400)
    thresholds = candidate_thresholds(unlearned, retrained)
    assert np.all(np.abs(thresholds[:, None] - atoms) > 1e-11 * np.abs(atoms))
    for delta in (0.0, 0.1, 0.4):
        event = choose_event(prepared(unlearned, retrained), [(FORWARD, EpsilonDelta(epsilon=0.1, delta=delta))])
        nudged = [values * (1 + rng.choice([-1e-15, 1e-15], 400)) for values in (unlearned, retrained)]
        assert event.count(*nudged) == event.count(unlearned, retrained)
    assert np.all(candidate_thresholds(np.zeros(50), np.zeros(50)) != 0)


def test_an_exponential_tail_is_continued_far_beyond_the_sample() -> None:
    scores = np.random.default_rng(1).laplace(size=20_000)
    for t in (5.0, 12.0, 15.0):
        assert math.log(rate_above(scores, np.array([t]))[0]) == pytest.approx(math.log(0.5) - t, abs=0.7)
        assert math.log1p(-rate_above(scores, np.array([-t]))[0]) == pytest.approx(math.log(0.5) - t, abs=0.7)


@pytest.mark.parametrize("scores", [[3.0], [3.0, 3.0, 3.0], [0.0] * 50 + [1.0] * 50, [0.0, 1.0]])
def test_few_or_discrete_scores_have_rates_too(scores: list[float]) -> None:
    t = np.array([-1.0, 0.0, 0.5, 1.0, 3.0, 4.0])
    rates = rate_above(np.array(scores), t)
    assert np.all((rates >= 0) & (rates <= 1))
    assert np.all(np.diff(rates) <= 0)


@pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_event_lies_where_the_left_world_is_more_frequent(direction: Direction, sign: float) -> None:
    rng = np.random.default_rng(2)
    left, right = sign * (rng.standard_normal(2000) + 1), sign * rng.standard_normal(2000)
    worlds = (left, right) if direction is FORWARD else (right, left)
    event = choose_event(prepared(*worlds), [(direction, EpsilonDelta(epsilon=0.5, delta=1e-5))])
    assert event.tail == ("upper" if sign > 0 else "lower")
    assert event.direction is direction
    assert 0.5 < sign * event.threshold < 3.0


def test_a_claim_that_any_event_refutes_is_met_with_the_strongest_bound() -> None:
    rng = np.random.default_rng(3)
    scores = prepared(rng.standard_normal(500) + 3, rng.standard_normal(500))
    n = (2000, 2000)
    easy = choose_event(scores, [(FORWARD, EpsilonDelta(epsilon=0.1, delta=1e-5))], n_counted=n)
    strongest = choose_for_bound(scores, delta=1e-5, direction=FORWARD, n_counted=n, level=0.05)
    assert (easy.threshold, easy.tail) == (strongest.threshold, strongest.tail)
    # The largest bound of 2,000 trials rests on an event that is hardly ever seen in the null world.
    assert ndtr(-easy.threshold) < 3 / 2000
    near = choose_event(scores, [(FORWARD, EpsilonDelta(epsilon=5.5, delta=1e-5))], n_counted=n)
    assert near.threshold >= easy.threshold - 0.5


@pytest.mark.slow
def test_a_claim_far_above_the_truth_is_met_with_the_strongest_bound_too() -> None:
    """N(0.25, 1) against N(0, 1), 3,000 trials, delta 0.01: the truth is 0.36, and a claim of 3 was met with 0."""
    delta, level, bounds = 0.01, 0.05, []
    points = [(direction, EpsilonDelta(epsilon=3.0, delta=delta)) for direction in (FORWARD, BACKWARD)]
    for seed in range(60):
        rng = np.random.default_rng([seed, 7])
        unlearned, retrained = rng.normal(0.25, 1, 3000), rng.normal(0, 1, 3000)
        event = choose_event(prepared(unlearned[:600], retrained[:600]), points, n_counted=(2400, 2400), level=level)
        counts = event.count(unlearned[600:], retrained[600:])
        bounds.append(exact_joint_bound(counts, delta=delta, direction=event.direction, level=level))
    assert np.mean(bounds) >= 0.14
    assert max(bounds) < 0.6


@pytest.mark.parametrize("ratio", [1.2, 1.5, 2.0, 3.0])
@pytest.mark.parametrize(("mu", "delta", "n"), [(0.25, 0.01, 3000), (1.0, 1e-5, 3000), (1.0, 1e-5, 20_000)])
def test_no_power_is_given_up_for_a_bound(
    monkeypatch: pytest.MonkeyPatch, mu: float, delta: float, n: int, ratio: float
) -> None:
    """The truth is 1.2 to 3 times the claim; without the rule for hopeless claims the same fit splits choose alike."""
    epsilon = gdp.epsilon(mu, delta) / ratio
    claim, truth = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta)), gaussian_curve(mu)

    def found() -> float:
        rng = np.random.default_rng(3)
        return rehearsed_power(
            claim, truth.fpr, truth.tpr, n_fit=n // 5, n_counted=n - n // 5, level=0.05, rng=rng, repeats=20
        )

    now = found()
    monkeypatch.setattr(selection, "_HOPELESS_SHARE", 0.0)
    assert now == pytest.approx(found(), abs=0.005)


def test_a_claim_is_hopeless_by_the_trials_that_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 trials that choose for a sequence of 50,000 do not make a claim hopeless that so many would refute."""
    rng = np.random.default_rng(5)
    fit = prepared(rng.normal(0.25, 1, 500), rng.normal(0, 1, 500))

    def chosen(epsilon: float, horizon: int | None) -> Event:
        point = [(FORWARD, EpsilonDelta(epsilon=epsilon, delta=0.01))]
        return choose_event(fit, point, horizon=None if horizon is None else (horizon, horizon))

    far = [chosen(3.0, horizon) for horizon in (None, 5_000, 50_000)]
    for event, n in zip(far, (500, 5_000, 50_000), strict=True):
        strongest = choose_for_bound(fit, delta=0.01, direction=FORWARD, n_counted=(n, n), level=0.05)
        assert (event.tail, event.threshold) == (strongest.tail, strongest.threshold)
    near = chosen(0.3, 50_000)
    monkeypatch.setattr(selection, "_HOPELESS_SHARE", 0.0)
    assert near == chosen(0.3, None)


def test_the_row_with_most_power_is_chosen() -> None:
    rng = np.random.default_rng(4)
    scores = prepared(rng.standard_normal(1000) + 0.5, rng.standard_normal(1000))
    loose, tight = EpsilonDelta(epsilon=3.0, delta=1e-5), EpsilonDelta(epsilon=0.1, delta=0.01)
    assert choose_event(scores, [(FORWARD, loose), (FORWARD, tight), (BACKWARD, loose)]).point == tight


@pytest.mark.parametrize(
    ("claimed", "times", "n_fit", "n_counted"),
    [(1.0, 2.0, 4000, 16_000), (0.5, 3.0, 1000, 4000), (4.0, 2.0, 4000, 16_000)],
)
def test_the_choice_costs_little_of_the_power_of_the_best_event(
    claimed: float, times: float, n_fit: int, n_counted: int
) -> None:
    """A claim at a small delta, which only a rare event refutes: neither the middle nor the far tail will do."""
    mu = gdp.mu(times * claimed, 1e-5)
    x = np.linspace(-9, 9, 4001)[::-1]
    fpr, tpr = np.concatenate([[0.0], ndtr(-x), [1.0]]), np.concatenate([[0.0], ndtr(mu - x), [1.0]])
    claim = Claim(guarantee=EpsilonDelta(epsilon=claimed, delta=1e-5))
    rng = np.random.default_rng(9)
    power = rehearsed_power(claim, fpr, tpr, n_fit=n_fit, n_counted=n_counted, level=0.0125, rng=rng, repeats=30)
    best = best_power(claim, fpr, tpr, n=n_counted, level=0.0125)
    assert 0.3 < best < 0.95
    assert 0.7 * best < power <= best + 0.01


def test_no_point_at_all_is_an_error() -> None:
    with pytest.raises(UnlearnAuditError, match="nothing finite"):
        choose_event(prepared(np.zeros(5), np.ones(5)), [])


def test_smoothed_rates_choose_better_than_empirical_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rare outlier, 200 of 1,000 trials to choose on: the mean lower bound is far higher."""

    def mean_bound(rates: Callable[[Floats, Floats], Floats]) -> float:
        monkeypatch.setattr("audit.gathering.selection.rate_above", rates)
        values = []
        for index in range(12):
            rng = np.random.default_rng([5, index])
            left = rng.standard_normal(1000) + 6 * (rng.random(1000) < 0.05)
            values.append(
                split_bound(left, rng.standard_normal(1000), delta=1e-5, direction=FORWARD, level=0.05, rng=rng).value
            )
        return float(np.mean(values))

    def empirical(scores: Floats, t: Floats) -> Floats:
        return 1 - np.searchsorted(np.sort(scores), t, side="right") / len(scores)

    assert mean_bound(rate_above) > mean_bound(empirical) + 0.3


def test_the_split_route_counts_what_it_did_not_choose_on() -> None:
    rng = np.random.default_rng(6)
    left, right = rng.standard_normal(300) + 2, rng.standard_normal(400)
    bound = split_bound(left, right, delta=0.0, direction=FORWARD, level=0.05, rng=np.random.default_rng(7))
    assert (bound.counts.n_unlearned, bound.counts.n_retrained) == (240, 320)
    assert bound.value == exact_joint_bound(bound.counts, delta=0.0, direction=FORWARD, level=0.05)
    assert bound == split_bound(left, right, delta=0.0, direction=FORWARD, level=0.05, rng=np.random.default_rng(7))
    # A monotone map of the scores that keeps their spacing changes nothing.
    moved = split_bound(
        3 * left + 1, 3 * right + 1, delta=0.0, direction=FORWARD, level=0.05, rng=np.random.default_rng(7)
    )
    assert moved.counts == bound.counts


@pytest.mark.parametrize(
    ("law", "replicates"),
    [("shift", 30), *(pytest.param(law, 80, marks=pytest.mark.slow) for law in ("shift", "coins"))],
)
def test_the_split_route_exceeds_the_truth_as_rarely_as_promised(law: str, replicates: int) -> None:
    """Both laws have one likelihood ratio over every event: epsilon = log 2 exactly at delta = 0."""
    misses, positive = 0, 0
    for index in range(replicates):
        rng = np.random.default_rng([8, index])
        if law == "shift":
            left, right = (np.where(rng.random(200) < p, 1.0, 0.0) + rng.random(200) / 2 for p in (0.6, 0.3))
        else:
            left, right = (np.where(rng.random(200) < p, 1.0, 0.0) for p in (0.6, 0.3))
        bound = split_bound(left, right, delta=0.0, direction=FORWARD, level=0.05, rng=rng)
        misses += bound.value > math.log(2)
        positive += bound.value > 0.1
    assert misses <= binomial_limits(replicates, 0.05)[1]
    assert positive > replicates / 2


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(5), "at least 20"),
        (np.full(30, np.nan), "NaN"),
        (np.zeros((30, 2)), r"\(30, 2\)"),
    ],
)
def test_unusable_scores_are_refused(scores: Floats, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        split_bound(scores, np.zeros(30), delta=0.0, direction=FORWARD, level=0.05, rng=np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match="fit_fraction"):
        split_bound(
            np.zeros(30),
            np.zeros(30),
            delta=0.0,
            direction=FORWARD,
            level=0.05,
            rng=np.random.default_rng(0),
            fit_fraction=1.0,
        )


def test_counting_an_event_agrees_with_its_definition() -> None:
    event = Event(point=EpsilonDelta(epsilon=0.0, delta=0.0), direction=FORWARD, tail="lower", threshold=1.0)
    counts = event.count(np.array([0.0, 1.0, 2.0]), np.array([1.5, 2.0]))
    assert (counts.k_unlearned, counts.k_retrained) == (2, 0)


def test_several_points_at_once_are_ranked_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    points = [EpsilonDelta(epsilon=e, delta=d) for e, d in [(0.0, 0.0), (0.3, 1e-5), (2.0, 0.1), (9.0, 0.0)]]
    p1, p0 = rng.random((2, 4, 30))
    p0 *= np.geomspace(1e-6, 1, 30)
    together = expected_score(p1, p0, 300, 200, points, 0.05)
    alone = [expected_score(*row, 300, 200, point, 0.05) for *row, point in zip(p1, p0, points, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert np.isneginf(together).any(axis=1).all()
    assert np.isfinite(together).any(axis=1).all()
