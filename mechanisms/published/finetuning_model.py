"""Noisy fine-tuning with clipped models (Koloskova et al. 2025): w <- clip(w - eta (g + lambda w), C) + sigma Z."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, claimed
from mechanisms.published.releases import Array, DrawnRelease, clip

CLIP, SIGMA, STEPS = 0.5, 0.5, 6
EPSILON = 1.0
REFERENCE = Reference.RETRAIN_THEN_UNLEARN


def accounted_delta(epsilon: float, *, steps: int = STEPS) -> float:
    """Return delta by the recursion of the paper: each step keeps a share of it that clipping and noise allow."""
    apart, delta = 2 * CLIP / SIGMA, 1.0
    for _ in range(steps):
        local = math.log1p(math.expm1(epsilon) / delta)
        delta *= float(ndtr(apart / 2 - local / apart) - math.exp(local) * ndtr(-local / apart - apart / 2))
    return delta


def reused_noise_delta(epsilon: float) -> float:
    """Return the exact delta of the canary where one normal number serves all six steps, for epsilon above 0.06.

    From +C the release is C + sigma Z for Z > 0; from -C it is -C + 6 sigma Z for 0 < Z < 0.4 and C + sigma Z above.
    With x = w - C in [0, 0.2] the log ratio of the densities is log 6 - 2 x^2 + (1 + x)^2 / 18; elsewhere it is below
    0.06.
    """
    root = math.sqrt(max(0.0, 1 / 81 + 4 * (35 / 18) * (math.log(6) + 1 / 18 - epsilon)))
    low, high = (float(np.clip((1 / 9 + sign * root) / (35 / 9), 0, 0.2)) for sign in (-1, 1))
    unlearned = ndtr(2 * high) - ndtr(2 * low)
    retrained = ndtr((1 + high) / 3) - ndtr((1 + low) / 3)
    return max(0.0, float(unlearned - math.exp(epsilon) * retrained))


def reused_noise_epsilon(delta: float) -> float:
    """Return the exact epsilon of the canary at delta, to 1e-12."""
    low, high = 0.06, math.log(6) + 1 / 17
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if reused_noise_delta(middle) > delta else (low, middle)
    return high


def draw(world: World, n: int, rng: np.random.Generator, *, fresh: bool) -> Array:
    """Return n releases on a flat retained loss, shape (n,)."""
    w = np.full(n, -CLIP if world is World.RETRAINED else CLIP)
    noise = rng.standard_normal(n)
    for step in range(STEPS):
        if fresh and step:
            noise = rng.standard_normal(n)
        w = clip(w, CLIP) + SIGMA * noise
    return w


def _fresh(world: World, n: int, rng: np.random.Generator) -> Array:
    return draw(world, n, rng, fresh=True)


def _reused(world: World, n: int, rng: np.random.Generator) -> Array:
    return draw(world, n, rng, fresh=False)


def build() -> PublishedMechanism:
    """Return the mechanism."""
    delta = accounted_delta(EPSILON)
    x = np.array([[1.0], [0.5], *[[0.0]] * 38])
    y = np.array([[50.0], [-50.0], *[[0.0]] * 38])
    variants = (
        Variant(
            name="as_coded",
            settings={"clip": CLIP, "sigma": SIGMA, "steps": STEPS, "normal_numbers": 1},
            deletion=DrawnRelease(draw=_reused, reference=REFERENCE),
            exact=reused_noise_epsilon(delta),
        ),
        Variant(
            name="corrected",
            settings={"clip": CLIP, "sigma": SIGMA, "steps": STEPS, "normal_numbers": STEPS},
            deletion=DrawnRelease(draw=_fresh, reference=REFERENCE),
            exact=None,
        ),
    )
    return PublishedMechanism(
        name="finetuning_model",
        title="Noisy fine-tuning with clipped models",
        paper="Koloskova et al., ICML 2025 (arXiv:2506.06985)",
        source="the authors' code at 9fdf670",
        kind="code",
        claim=claimed(EPSILON, delta, REFERENCE),
        statement="delta_0 = 1, delta_{t+1} = delta_t theta(e_t, 2C/sigma), e_t = log(1 + (e^epsilon - 1)/delta_t), "
        "theta(e, r) = Q(e/r - r/2) - e^e Q(e/r + r/2), over T = 6 steps.",
        data=from_arrays(x, y, name="two opposed records", kind="regression"),
        forget=(0,),
        canary="One parameter, C = sigma = 0.5; the two starts lie at the two ends of the ball; the retained loss is "
        "flat there and lambda is 0.",
        reason="Where gradients vanish only clipping and noise bring the two worlds together.",
        assumptions=(Assumption(statement="norm of the start, clipped", value=float(clip(50.0, CLIP)), limit=CLIP),),
        variants=variants,
        differ=("normal_numbers",),
        score="density_ratio",
        cause="A random key is fixed when the step is compiled, so one noise vector serves all steps.",
        repair="Draw fresh noise in every step.",
        caught_by="Look at the noise of two consecutive steps of one run: it is equal.",
        not_said="The recursion of the paper is right; C, sigma and T are ours, and delta is what it gives for them. "
        "In ten dimensions and more we expect to see nothing: what shows "
        "here is an event of one parameter.",
        figures={
            "exact delta at epsilon 1 with one noise vector": reused_noise_delta(EPSILON),
            "delta at epsilon 1 that is accounted for": delta,
        },
    )
