"""A claim a record with models that are still being made: how often true claims are EVER refuted, listed or doubted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from audit.statistics.e_values import e_bh, log_calibrated
from audit.statistics.multiplicity import holm_rejects
from tests.statistical import many_models as worlds
from tests.statistical.budget import binomial_limits

FEW = [pytest.param("shared factor", 160, 12)]
MANY = [
    pytest.param(law, models, n, marks=pytest.mark.slow)
    for law, models, n in (("exchangeable", 320, 1000), ("shared factor", 320, 1000), ("one outlier", 480, 300))
]


@pytest.mark.parametrize(("law", "models", "n"), [*FEW, *MANY])
def test_true_claims_are_ever_refuted_at_most_at_the_level(law: str, models: int, n: int) -> None:
    """The p-values are of the largest capital at any look, so that one look at the end stands for all looks."""
    shares, holm, mean, doubted = [], 0, 0, np.zeros(2, dtype=np.int64)
    found_false = 0
    for i in range(n):
        bets, true = worlds.followed(law, models, np.random.default_rng([7, worlds.LAWS.index(law), i]))
        refuted = holm_rejects(bets.p_values, level=worlds.LEVEL / 2)
        listed = e_bh(np.exp(np.minimum(bets.log_e, 700)), level=worlds.LEVEL)
        holm += bool(np.any(refuted & true))
        found_false += bool(np.any(refuted & ~true))
        mean += bool(np.exp(bets.log_best_mean) * worlds.LEVEL / 2 >= 1)
        shares.append(np.sum(listed & true) / max(1, np.sum(listed)))
        # Of one record in each replicate, so that what is counted is independent.
        doubted += [bets.p_values[3] <= 0.2, bets.p_values[3] < 1]
    print(f"{law}, {models} models: Holm {holm}, mean {mean}, e-BH {np.mean(shares):.4f}")
    print(f"p <= .2 and p < 1 of one record: {doubted} of {n}; the false claim refuted: {found_false}")
    assert holm <= binomial_limits(n, worlds.LEVEL / 2)[1]
    assert np.sum(shares) <= binomial_limits(n, worlds.LEVEL)[1]
    if law != "one outlier":
        assert mean <= binomial_limits(n, worlds.LEVEL / 2)[1]
    assert doubted[0] <= binomial_limits(n, 0.2)[1]
    # Two-sided: bets that are never won would keep every level. At the boundary capital is won by chance, in a thousand
    # replicates fivefold too, and a claim that is false is refuted.
    assert doubted[1] > 0
    assert n < 1000 or doubted[0] >= 1
    assert law != "one outlier" or found_false >= 0.8 * n


@pytest.mark.parametrize("least", [1e-2, 1e-6, 1e-12])
def test_a_calibrated_p_value_is_an_e_value(least: float) -> None:
    """Its mean over uniform p-values above ``least``, against the integral of k p^(k - 1) over both."""
    mean, _ = quad(lambda log: float(np.exp(log_calibrated(log) + log)), np.log(least), 0, limit=200)
    assert mean == pytest.approx(1 - (1 - least) / -np.log(least), rel=1e-6)
