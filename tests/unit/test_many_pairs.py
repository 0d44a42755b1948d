"""Epsilons of many pairs at once against one at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.accounting.many_pairs import ManyPairs, epsilons
from mechanisms.errors import InvalidInputError


def random_pairs(n: int, rng: np.random.Generator) -> list[GaussianPair]:
    """Return pairs of 0 to 30 coordinates, from nearly identical to far apart, one in five with a bounded loss."""
    pairs = []
    for _ in range(n):
        p, spread = int(rng.integers(1, 31)), 10 ** rng.uniform(-4, 0.5)
        ratios = np.exp(spread * rng.standard_normal(p))
        if rng.random() < 0.2:
            ratios = np.minimum(ratios, 1 / ratios)
        ratios[rng.random(p) < 0.2] = 1.0
        shifts = spread**2 * rng.chisquare(1, p) * 10 ** rng.uniform(-3, 1)
        pairs.append(GaussianPair(variance_ratios=ratios, squared_shifts=shifts, n_columns=int(rng.integers(1, 11))))
    return pairs


@pytest.mark.parametrize(
    "delta", [0.0, 1e-200, *(pytest.param(d, marks=pytest.mark.slow) for d in (1e-30, 1e-5, 0.3)), 0.01, 1.0]
)
def test_epsilons_equal_those_of_each_pair_and_are_on_the_safe_side(delta: float) -> None:
    pairs = random_pairs(60, np.random.default_rng(3))
    pairs.append(GaussianPair(variance_ratios=np.ones(3), squared_shifts=np.zeros(3)))
    pairs.append(GaussianPair(variance_ratios=np.ones(3), squared_shifts=np.array([0.0, 0.5, 0.1])))
    pairs.append(GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([math.inf])))
    found = epsilons(pairs, delta)
    expected = np.array([pair.epsilon(delta) for pair in pairs])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    above = [pair.log_delta(e) for pair, e in zip(pairs, found, strict=True) if math.isfinite(e)]
    assert delta == 0 or max(above) <= math.log(delta) + 1e-12


def test_each_pair_may_have_its_own_delta() -> None:
    pairs = random_pairs(20, np.random.default_rng(4))
    deltas = np.geomspace(1e-12, 0.1, 20)
    expected = [pair.epsilon(delta) for pair, delta in zip(pairs, deltas, strict=True)]
    np.testing.assert_allclose(epsilons(pairs, deltas), expected, rtol=1e-9, atol=1e-13)
    assert epsilons([], 0.1).shape == (0,)


def test_most_pairs_are_answered_without_a_search_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_pairs(100, np.random.default_rng(5))
    alone: list[GaussianPair] = []
    search = GaussianPair.epsilon

    def counted(pair: GaussianPair, delta: float) -> float:
        alone.append(pair)
        return search(pair, delta)

    monkeypatch.setattr(GaussianPair, "epsilon", counted)
    epsilons(pairs, 1e-5)
    assert len(alone) < 40


@pytest.mark.parametrize("delta", [-0.1, 1.1, math.nan, [0.1, 2.0]])
def test_a_delta_out_of_range_is_refused(delta: float | list[float]) -> None:
    with pytest.raises(InvalidInputError, match="delta"):
        epsilons(random_pairs(2, np.random.default_rng(6)), delta)


def test_losses_in_rows_are_those_of_each_pair() -> None:
    pairs = [pair for pair in random_pairs(60, np.random.default_rng(7)) if pair.is_ordinary]
    # Ratios so near 1 that they are merged, and several that are equal.
    near = 1 + np.array([1e-9, -1e-9, 3e-8, 3e-8, 0.2, 0.2, 0.0])
    pairs.append(GaussianPair(variance_ratios=near, squared_shifts=np.geomspace(1e-12, 1e-2, 7), n_columns=4))
    many = ManyPairs.of(pairs)
    np.testing.assert_allclose(many.max_loss, [pair.max_loss for pair in pairs], rtol=1e-13)
    assert np.isfinite(many.max_loss).any()
    for merged in (True, False):
        found, some = many.losses(merged=merged), np.full(len(pairs), 0.7)
        alone = [pair.loss if merged else pair.every_coordinate for pair in pairs]
        s = np.minimum(some, 0.5 * found.upper)
        expected = [float(each.value(s[i, None])[0]) for i, each in enumerate(alone)]
        np.testing.assert_allclose(found.value(s), expected, rtol=1e-11)
        np.testing.assert_allclose(found.skew_neglected, [each.skew_neglected[0] for each in alone], rtol=1e-9)
    assert many.losses().skew_neglected[-1] > 0


def test_a_pair_out_of_range_is_refused_where_it_is_asked_for() -> None:
    good = {"ratios": np.array([[0.5, 1.0], [0.5, 1.0]]), "shifts": np.full((2, 2), 0.1)}
    for name, value in (("ratios", -1.0), ("ratios", math.nan), ("shifts", -1.0), ("shifts", math.nan)):
        wrong = {key: values.copy() for key, values in good.items()}
        wrong[name][1, 0] = value
        many = ManyPairs(**wrong, n_columns=np.ones(2, dtype=np.intp))
        np.testing.assert_array_equal(many.ordinary, [True, False])
        with pytest.raises(InvalidInputError):
            epsilons(many, 1e-5)
