"""The exact divergence agrees with ten million draws, within the simulation's own error."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from mechanisms.accounting.gaussian_pair import GaussianPair
from tests.statistical.budget import CHECK_LEVEL

N_DRAWS, N_CHUNKS = 10_000_000, 20
LIMIT = norm.isf(CHECK_LEVEL / 2)


def test_delta_agrees_with_simulation() -> None:
    """At three epsilons, from the same draws."""
    c, b = np.array([0.6, 1.4, 1.0]), np.array([0.3, 0.05, 0.2])
    pair = GaussianPair(variance_ratios=c, squared_shifts=b)
    rng = np.random.default_rng(12)
    epsilons = (0.0, 0.5, 1.5)
    total, squared = np.zeros(3), np.zeros(3)
    for _ in range(N_CHUNKS):
        z = rng.standard_normal((N_DRAWS // N_CHUNKS, 3))
        x = np.sqrt(b) + np.sqrt(c) * z
        loss = np.sum((x**2 - z**2 - np.log(c)) / 2, axis=1)
        # H = E_P [1 - e^(epsilon - loss)]_+ : bounded, so its average is close to normal.
        for i, epsilon in enumerate(epsilons):
            terms = np.maximum(-np.expm1(epsilon - loss), 0.0)
            total[i] += terms.sum()
            squared[i] += (terms**2).sum()
    mean = total / N_DRAWS
    error = np.sqrt((squared / N_DRAWS - mean**2) / N_DRAWS)
    assert np.all(np.abs(mean - [pair.delta(epsilon) for epsilon in epsilons]) < LIMIT * error)
    # And the simulation is sharp enough to see an error of a few percent.
    assert np.all(error < 0.005 * mean)
