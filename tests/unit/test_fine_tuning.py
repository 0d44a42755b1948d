"""Noisy fine-tuning: both bounds against exact laws of the worst chains in one dimension, and their formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

import audit
from audit.records.verdict import Verdict
from mechanisms.accounting import best_n_steps, gdp, gradient_clipping_mu, model_clipping_log_delta
from mechanisms.claim import BOTH_DIRECTIONS, GaussianDP, Reference
from mechanisms.errors import InvalidInputError
from mechanisms.networks.fine_tuning import NoisyFineTuning
from tests.unit.test_network_certificates import LDA, PUBLIC, canary_data, needs_torch


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


TUNED = replace(
    PUBLIC,
    sigma_learn=0.0,
    n_unlearn=4,
    sigma_unlearn=0.3,
    start_seed=None,
    fine_tuning=NoisyFineTuning(start_norm=0.5, gradient_norm=0.2, step_size=0.4, penalty=0.1),
)


@needs_torch
def test_noisy_fine_tuning_certifies_a_network_by_itself() -> None:
    data = canary_data()
    (stated,) = TUNED.bind(data, (0, 3)).certificates()
    mu = gradient_clipping_mu(start_norm=0.5, clip_norm=0.2, step_size=0.4, n_steps=4, sigma=0.3, penalty=0.1)
    assert isinstance(stated.claim.guarantee, GaussianDP)
    assert mu < stated.claim.guarantee.mu < mu * (1 + 2e-5)
    assert (stated.method, stated.epsilon_without_unlearning) == ("fine_tuning", None)
    # Beside the learning noise, which is what doing nothing gives.
    noisy = replace(TUNED, sigma_learn=0.05).bind(data, (0,)).certificates()
    assert [c.method for c in noisy] == ["fine_tuning", "learning_noise"]
    assert noisy[0].epsilon_without_unlearning == noisy[1].epsilon
    by_model = replace(TUNED, sigma_unlearn=1.0, fine_tuning=NoisyFineTuning(start_norm=0.5))
    (clipped,) = by_model.bind(data, (0,)).certificates()
    assert math.exp(model_clipping_log_delta(clipped.epsilon, radius=0.5, n_steps=4, sigma=1.0)) <= 1e-5
    for direction in BOTH_DIRECTIONS:
        assert clipped.claim.epsilon_at(1e-5, direction) <= clipped.epsilon * (1 + 1e-9)
    assert 0 < clipped.epsilon < math.inf
    for without in ({"sigma_unlearn": 0.0}, {"n_unlearn": 0}, {"reference": Reference.RETRAIN_ONLY}):
        assert replace(TUNED, **without).bind(data, (0,)).certificates() == ()


@needs_torch
@pytest.mark.parametrize("gradient_norm", [0.2, None])
def test_steps_of_fine_tuning_are_those_of_a_slow_trainer(gradient_norm: float | None) -> None:
    import torch

    from tests.unit.test_network_langevin import clipped_sum

    tuning = NoisyFineTuning(start_norm=0.5, gradient_norm=gradient_norm, step_size=0.4, penalty=0.1, n_clean=2)
    data = canary_data()
    deletion = replace(TUNED, fine_tuning=tuning).bind(data, (0,))
    learned = deletion.learn(data, 1, np.random.default_rng(3))
    found = deletion.unlearn(learned, deletion.retained, data.take((0,)), np.random.default_rng(4))
    drawn = np.random.default_rng(4).standard_normal((4, 21), dtype=np.float32).astype(float)

    def short(parts: list[torch.Tensor], length: float) -> list[torch.Tensor]:
        norm = float(torch.sqrt(sum(part.square().sum() for part in parts)))
        return [part * min(1.0, length / norm) for part in parts]

    weights = short([learned.first[:, 0].double(), learned.second[0].double()], 0.5)
    for row in drawn:
        mean = [g / 23 for g in clipped_sum(*weights, deletion.retained, math.inf)[:2]]
        mean = mean if gradient_norm is None else short(mean, gradient_norm)
        weights = [0.96 * w - 0.4 * g for w, g in zip(weights, mean, strict=True)]
        weights = short(weights, 0.5) if gradient_norm is None else weights
        noise = [torch.tensor(row[:12]).reshape(6, 2), torch.tensor(row[12:]).reshape(3, 3)]
        weights = [w + 0.3 * z for w, z in zip(weights, noise, strict=True)]
    for _ in range(2):
        weights = [w - g / 24 for w, g in zip(weights, clipped_sum(*weights, deletion.retained, 0.5)[:2], strict=True)]
    np.testing.assert_allclose(found.first[:, 0], weights[0], atol=1e-5)
    np.testing.assert_allclose(found.second[0], weights[1], atol=1e-5)


@needs_torch
@pytest.mark.parametrize("gradient_norm", [0.2, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_an_audit_does_not_refute_what_fine_tuning_certifies(gradient_norm: float | None) -> None:
    # Learned without noise: before the steps a record is plain to see.
    tuning = NoisyFineTuning(start_norm=0.5, gradient_norm=gradient_norm, step_size=0.4)
    mechanism = replace(TUNED, start_seed=0, n_learn=30, sigma_unlearn=0.5, fine_tuning=tuning)
    data = canary_data()
    claim = mechanism.bind(data, (0,)).certificates()[0].claim
    result = audit.run(mechanism, data, forget=0, claim=claim, trials=200, attacks=LDA, seed=1)
    assert result.verdict is Verdict.NOT_REFUTED


@pytest.mark.parametrize(
    ("field", "value"), [("start_norm", 0.0), ("gradient_norm", -1.0), ("penalty", 20.0), ("n_clean", -1)]
)
def test_fine_tuning_out_of_range_is_named_by_its_setting(field: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=f"Expected {field} to be"):
        replace(NoisyFineTuning(start_norm=1.0), **{field: value})
