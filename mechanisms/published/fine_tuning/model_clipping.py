"""Noisy fine-tuning with clipped models (Koloskova et al. 2025): w <- clip(w - eta (g + lambda w), C) + sigma Z."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, claimed
from mechanisms.published.releases import Array, DrawnRelease, clip

CLIP, SIGMA, STEPS = 0.5, 0.5, 6
TWO_STEP_SIGMA = 1.0
EPSILON = 1.0
REFERENCE = Reference.RETRAIN_THEN_UNLEARN
PAPER = "Koloskova et al., ICML 2025 (arXiv:2506.06985)"
_RECURSION = (
    "delta_0 = 1, delta_{t+1} = delta_t theta(e_t, 2C/sigma), e_t = log(1 + (e^epsilon - 1)/delta_t), "
    "theta(e, r) = Q(e/r - r/2) - e^e Q(e/r + r/2),"
)


def accounted_delta(epsilon: float, *, steps: int = STEPS, sigma: float = SIGMA) -> float:
    """Return delta by the recursion of the paper: each step keeps a share of it that clipping and noise allow."""
    apart, delta = 2 * CLIP / sigma, 1.0
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


def _data() -> Dataset:
    x = np.array([[1.0], [0.5], *[[0.0]] * 38])
    y = np.array([[50.0], [-50.0], *[[0.0]] * 38])
    return from_arrays(x, y, name="two opposed records", kind="regression")


def build() -> PublishedMechanism:
    """Return the mechanism."""
    delta = accounted_delta(EPSILON)
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
        paper=PAPER,
        source="the authors' code at 9fdf670",
        kind="code",
        claim=claimed(EPSILON, delta, REFERENCE),
        statement=_RECURSION + " over T = 6 steps.",
        data=_data(),
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


def two_step_density(w: Array, *, sigma: float = TWO_STEP_SIGMA) -> Array:
    """Return the density of two steps from +C on a flat loss: clipped at either end, or nowhere, then noise."""
    ends = 0.5 * norm.pdf(w, CLIP, sigma) + ndtr(-2 * CLIP / sigma) * norm.pdf(w, -CLIP, sigma)
    # Unclipped: two noises together, given that the first ended in the ball.
    middle, spread = (CLIP + w) / 2, sigma / math.sqrt(2)
    inside = ndtr((CLIP - middle) / spread) - ndtr((-CLIP - middle) / spread)
    return np.asarray(ends + norm.pdf(w, CLIP, sigma * math.sqrt(2)) * inside)


def two_step_delta(epsilon: float) -> float:
    """Return the exact delta of two steps; the other start is the mirror image."""
    w = np.linspace(-12, 12, 48_001) * TWO_STEP_SIGMA
    return float(np.trapezoid(np.maximum(two_step_density(w) - math.exp(epsilon) * two_step_density(-w), 0), w))


def recursion() -> PublishedMechanism:
    """Return two steps with fresh noise and the delta that the recursion of the paper gives."""
    delta = accounted_delta(EPSILON, steps=2, sigma=TWO_STEP_SIGMA)
    exact = brentq(lambda epsilon: two_step_delta(epsilon) - delta, 0.01, EPSILON) * (1 + 1e-6)

    def two_steps(world: World, n: int, rng: np.random.Generator) -> Array:
        w = np.full(n, -CLIP if world is World.RETRAINED else CLIP)
        for _ in range(2):
            w = clip(w, CLIP) + TWO_STEP_SIGMA * rng.standard_normal(n)
        return w

    return PublishedMechanism(
        name="finetuning_model_recursion",
        title="Noisy fine-tuning with clipped models: the recursion",
        paper=PAPER,
        source="the paper",
        kind="theorem",
        claim=claimed(EPSILON, delta, REFERENCE),
        statement=_RECURSION + " over T = 2 steps.",
        data=_data(),
        forget=(0,),
        canary="One parameter, C = 0.5, sigma = 1, two steps with fresh noise; the two starts lie at the two ends of "
        "the ball; the retained loss is flat there and lambda is 0.",
        reason="Where gradients vanish only clipping and noise bring the two worlds together.",
        assumptions=(Assumption(statement="norm of the start, clipped", value=float(clip(50.0, CLIP)), limit=CLIP),),
        variants=(
            Variant(
                name="as_published",
                settings={"clip": CLIP, "sigma": TWO_STEP_SIGMA, "steps": 2},
                deletion=DrawnRelease(draw=two_steps, reference=REFERENCE),
                exact=exact,
            ),
        ),
        not_said="Two steps of one parameter; more of either were not audited.",
    )
