"""Unlearning by noisy stochastic gradient descent (Chien et al. 2024): epochs of fixed batches on the new data.

On losses -z w with the penalty (m/2) w^2, batches in a fixed order, a replaced record in the last one: both worlds are
Gaussian with one variance at the end of each epoch.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, claimed, gaussian_epsilon
from mechanisms.published.langevin import AGAINST
from mechanisms.published.releases import Array, DrawnRelease

# Settings of the experiments on MNIST, digits 3 and 8.
N, BATCH = 11_264, 512
CONVEXITY = 1e-6 * N
ETA = 1 / (0.25 + CONVEXITY)
M, DELTA, EPSILON = 1.0, 1 / N, 1.0
EPOCHS = 1
STEPS = N // BATCH
KEEP = 1 - ETA * CONVEXITY
REFERENCE = Reference.RETRAIN_ONLY


def largest_gap() -> float:
    """Return the distance of coupled iterates that the paper allows before unlearning."""
    return 2 * ETA * M / BATCH / (1 - KEEP**STEPS)


def published_epsilon(sigma: float) -> float:
    """Return the epsilon of the paper after the epochs, the least over orders."""
    slope = largest_gap() ** 2 / (2 * ETA * sigma**2) * KEEP ** (2 * EPOCHS * STEPS)

    def at(order: float) -> float:
        return order * slope + math.log(1 / DELTA) / (order - 1)

    best = minimize_scalar(lambda log: at(1 + math.exp(log)), bounds=(-10, 12), method="bounded")
    return float(best.fun)


def smallest_sigma() -> float:
    """Return the noise at which the published epsilon is the one claimed, rounded up."""
    low, high = 1e-6, 10.0
    while high / low - 1 > 1e-12:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if published_epsilon(middle) <= EPSILON else (middle, high)
    return high


def deviation(sigma: float) -> float:
    """Return the standard deviation of the stationary law."""
    return math.sqrt(2 * ETA) * sigma / math.sqrt(1 - KEEP**2)


def mean_after(sums: Array, start: float, epochs: int) -> float:
    """Return the mean after epochs over batches with these sums of z."""
    w = start
    for _ in range(epochs):
        for total in sums:
            w = KEEP * w + ETA * total / BATCH
    return w


def stationary_mean(sums: Array) -> float:
    """Return the mean that one epoch over batches with these sums of z leaves as it is."""
    return mean_after(sums, 0.0, 1) / (1 - KEEP**STEPS)


def build() -> PublishedMechanism:
    """Return the mechanism."""
    sigma = smallest_sigma()
    old, new = np.zeros(STEPS), np.zeros(STEPS)
    old[-1], new[-1] = M, -M
    sums = {World.UNLEARNED: new, World.RETRAINED: new, World.NEGLECTED: old}
    starts = {world: stationary_mean(new if world is World.RETRAINED else old) for world in World}

    def draw(world: World, n: int, rng: np.random.Generator) -> Array:
        w = starts[world] + deviation(sigma) * rng.standard_normal(n)
        for _ in range(EPOCHS):
            for total in sums[world]:
                w = KEEP * w + ETA * total / BATCH + math.sqrt(2 * ETA) * sigma * rng.standard_normal(n)
        return w

    shift = abs(
        mean_after(new, starts[World.UNLEARNED] - starts[World.RETRAINED], EPOCHS) - mean_after(new, 0.0, EPOCHS)
    )
    targets = np.zeros((N, 1))
    targets[0] = M
    return PublishedMechanism(
        name="noisy_sgd",
        title="Unlearning by noisy SGD: one deletion",
        paper="Chien et al., NeurIPS 2024 (arXiv:2403.17105)",
        source="the paper; settings from the authors' code at 3eae86a",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="epsilon = min over a of a Z^2 c^(2 K n/b) / (2 eta sigma^2) + log(1/delta)/(a - 1), "
        "c = 1 - eta m, Z = 2 eta M / (b (1 - c^(n/b))).",
        against=AGAINST,
        data=from_arrays(np.ones((N, 1)), targets, name="one opposed record", kind="regression"),
        forget=(0,),
        canary="Losses -z w with the penalty (m/2) w^2; the deleted record has z = M, its replacement z = -M, all "
        "others 0; it is in the last batch of an epoch. Batches of 512, one epoch of unlearning.",
        reason="The last batch has had the fewest steps to be forgotten, and the two gradients differ by 2 M.",
        assumptions=(
            Assumption(statement="norm of a gradient of a loss", value=float(np.abs(targets).max()), limit=M),
            Assumption(statement="step size times smoothness", value=ETA * CONVEXITY, limit=1.0),
        ),
        variants=(
            Variant(
                name="as_published",
                settings={"batch": BATCH, "epochs": EPOCHS, "sigma": sigma},
                deletion=DrawnRelease(draw=draw, reference=REFERENCE),
                exact=gaussian_epsilon(shift / deviation(sigma), DELTA),
            ),
        ),
        not_said="The theorem counts the noise of the last steps only; that of learning, which a converged run has "
        "too, makes the exact epsilon smaller.",
    )
