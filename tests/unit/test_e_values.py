"""E-values from counts of pairs: their mean under the null by enumeration, and what e-BH rejects."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from audit.statistics.bets import Cells
from audit.statistics.e_process import make_e_process
from audit.statistics.e_values import e_bh, log_final_capital, paired_log_e_values
from mechanisms.errors import InvalidInputError


@pytest.mark.parametrize(
    ("epsilon", "delta", "p0"), [(0.0, 0.0, 0.3), (1.0, 1e-5, 0.2), (1.0, 0.1, 0.02), (0.5, 0.0, 0.6), (3.0, 0.0, 0.04)]
)
@pytest.mark.parametrize("past", [(0, 0, 0, 0), (20, 1, 2, 7), (1, 2, 20, 7)])
def test_the_mean_capital_at_the_boundary_is_at_most_one_and_hardly_less(
    epsilon: float, delta: float, p0: float, past: tuple[int, ...]
) -> None:
    p1, m = math.exp(epsilon) * p0 + delta, 6
    chances = [p1 * (1 - p0), p1 * p0, (1 - p1) * p0, (1 - p1) * (1 - p0)]
    total = 0.0
    for cells in itertools.product(range(m + 1), repeat=4):
        if sum(cells) == m:
            ways = math.factorial(m) / math.prod(map(math.factorial, cells))
            chance = ways * math.prod(c**k for c, k in zip(chances, cells, strict=True))
            capital = log_final_capital(np.array(cells, float), np.array(past, float), epsilon=epsilon, delta=delta)
            total += chance * math.exp(float(capital))
    assert 1 - 1e-8 < total <= 1


def test_the_capital_is_that_of_the_e_process_without_looks() -> None:
    rng = np.random.default_rng(1)
    x1, x0 = rng.random(40) < 0.7, rng.random(40) < 0.2
    past = Cells(only_first=9, both=3, only_second=1, neither=4)
    process = make_e_process(epsilons=(0.0, 1.0), delta=1e-3, past=past).update(x1, x0)
    cells = [np.sum(x1 & ~x0), np.sum(x1 & x0), np.sum(~x1 & x0), np.sum(~x1 & ~x0)]
    found = log_final_capital(np.array(cells, float), np.array([9.0, 3, 1, 4]), epsilon=1.0, delta=1e-3)
    assert float(found) == pytest.approx(float(process.log_capital[1]), abs=1e-9)


def test_mean_e_value_over_all_counts_of_unequal_worlds_is_at_most_one() -> None:
    n1, n0, p0, epsilon = 5, 9, 0.25, 0.5
    p1 = math.exp(epsilon) * p0
    k1, k0 = (grid.ravel() for grid in np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1), indexing="ij"))
    weight = binom.pmf(k1, n1, p1) * binom.pmf(k0, n0, p0)
    mean = []
    for seed in range(200):
        e = paired_log_e_values(
            (k1, np.full(len(k1), n1), k0, np.full(len(k1), n0)),
            (np.full(len(k1), 3.0), np.full(len(k1), 4.0), np.full(len(k1), 1.0), np.full(len(k1), 4.0)),
            epsilon=epsilon,
            delta=0.0,
            rng=np.random.default_rng(seed),
        )
        mean.append(float(weight @ np.exp(e)))
    # The pairing is all that is random here.
    assert abs(np.mean(mean) - 1) < 4 * np.std(mean) / math.sqrt(len(mean))


@pytest.mark.parametrize(
    ("values", "rejected"),
    [
        ([19.9], [False]),
        ([20.0], [True]),
        ([20.0, 20.0], [True, True]),
        ([39.0, 1.0], [False, False]),
        ([40.0, 19.0], [True, False]),
        ([np.inf, 0.0, 30.0], [True, False, True]),
        ([], []),
    ],
)
def test_e_bh_rejects_the_k_largest_when_the_kth_is_large_enough(values: list[float], rejected: list[bool]) -> None:
    assert e_bh(values, level=0.05).tolist() == rejected


@pytest.mark.parametrize("values", [[-1.0], [np.nan], [[1.0]]])
def test_what_is_no_e_value_is_refused(values: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="e_values"):
        e_bh(values, level=0.05)
