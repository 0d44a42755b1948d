"""Noisy fine-tuning: both bounds against exact laws of the worst chains in one dimension, and their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from mechanisms.accounting import best_n_steps, gdp, gradient_clipping_mu, model_clipping_log_delta
from mechanisms.errors import InvalidInputError


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize("n_steps", [1, 5, 40])
def test_chains_that_drift_apart_are_within_the_mu_of_clipped_gradients(penalty: float, n_steps: int) -> None:
    # Gradients that push each chain outward all the way: the means differ by all that clipping allows, the noise is
    # that of all steps. Both laws are Gaussian while neither chain looks at where it is.
    start, clip, step, sigma = 1.0, 0.5, 0.1, 0.7
    kept = 1 - step * penalty
    gap, variance = 2 * start, 0.0
    for _ in range(n_steps):
        gap, variance = kept * gap + 2 * step * clip, kept**2 * variance + sigma**2
    exact = gap / math.sqrt(variance)
    stated = gradient_clipping_mu(
        start_norm=start, clip_norm=clip, step_size=step, n_steps=n_steps, sigma=sigma, penalty=penalty
    )
    assert exact <= stated * (1 + 1e-12)
    # One segment: there is nothing to gain or lose.
    assert stated == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("start", [0.3, 1.0, 4.0])
def test_the_best_number_of_steps_is_the_best(start: float) -> None:
    scale = {"start_norm": start, "clip_norm": 0.5, "step_size": 0.1}
    best = best_n_steps(**scale)
    found = {n: gradient_clipping_mu(**scale, n_steps=n, sigma=0.7) for n in range(1, 200)}
    assert found[best] == min(found.values())
    assert found[best] >= 4 * math.sqrt(start * 0.5 * 0.1) / 0.7
    assert found[best] == pytest.approx(4 * math.sqrt(start * 0.5 * 0.1) / 0.7, rel=1e-2)


def exact_deltas(epsilon: float, radius: float, n_steps: int, sigma: float, learning_mu: float) -> float:
    """Delta of chains that jump to the end of the ball on whose side they are: two states, and normal noise."""
    stays = norm.cdf(radius / sigma)
    # How likely each world is on the right before the last step.
    right = [norm.cdf(learning_mu / 2), norm.cdf(-learning_mu / 2)] if math.isfinite(learning_mu) else [1.0, 0.0]
    for _ in range(n_steps - 1):
        right = [p * stays + (1 - p) * (1 - stays) for p in right]
    grid, width = np.linspace(-radius - 12 * sigma, radius + 12 * sigma, 60_001, retstep=True)
    both = [p * norm.pdf(grid, radius, sigma) + (1 - p) * norm.pdf(grid, -radius, sigma) for p in right]
    return float(np.maximum(both[0] - math.exp(epsilon) * both[1], 0).sum() * width)


@pytest.mark.parametrize("learning_mu", [math.inf, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2, 4, 8])
def test_a_clipped_model_is_within_the_recursion_which_is_within_the_power(n_steps: int, learning_mu: float) -> None:
    for epsilon in (0.0, 0.3, 1.0, 3.0):
        for radius, sigma in ((0.5, 0.5), (0.5, 1.0)):
            scale = {"radius": radius, "n_steps": n_steps, "sigma": sigma, "learning_mu": learning_mu}
            stated = math.exp(model_clipping_log_delta(epsilon, **scale))
            start = gdp.delta(learning_mu, epsilon)
            power = start * gdp.delta(2 * radius / sigma, epsilon) ** n_steps
            assert exact_deltas(epsilon, **scale) <= stated * (1 + 1e-6)
            assert stated <= power * (1 + 1e-9)
            if n_steps == 1 and math.isinf(learning_mu):
                assert stated == pytest.approx(power, rel=1e-9)


def test_fine_tuning_out_of_range_is_named() -> None:
    usual = {"start_norm": 1.0, "clip_norm": 0.5, "step_size": 0.1, "n_steps": 3, "sigma": 1.0}
    for name, value in (("start_norm", -1.0), ("clip_norm", math.inf), ("n_steps", 0), ("penalty", 10.0)):
        with pytest.raises(InvalidInputError, match=name):
            gradient_clipping_mu(**{**usual, name: value})
    with pytest.raises(InvalidInputError, match="radius"):
        model_clipping_log_delta(1.0, radius=0.0, n_steps=1, sigma=1.0)
    assert gradient_clipping_mu(**{**usual, "sigma": 0.0}) == math.inf
    assert model_clipping_log_delta(1.0, radius=1.0, n_steps=0, sigma=1.0) == 0.0
    # Far out nothing overflows.
    assert -math.inf <= model_clipping_log_delta(800.0, radius=1.0, n_steps=50, sigma=1.0) < -1e4
