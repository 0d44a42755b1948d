"""Privacy of the last iterate by shifted interpolation (Bok, Su, Altschuler 2024), on a chain that attains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mechanisms.accounting import gdp
from mechanisms.accounting.shifted_interpolation import gaussian_dp_mu
from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, claimed, gaussian_epsilon
from mechanisms.published.releases import Array, DrawnRelease

EPSILON, DELTA = 1.0, 1e-5
N, LEARNED, UNLEARNED, ETA, CONVEXITY, M = 100, 20, 10, 0.1, 1.0, 1.0
KEEP = 1 - ETA * CONVEXITY
REFERENCE = Reference.RETRAIN_THEN_UNLEARN


def published_mu(sigma: float) -> float:
    """Return the mu of the paper: gaps eta M / n while learning, none while unlearning."""
    gaps = np.repeat([ETA * M / N, 0.0], [LEARNED, UNLEARNED])
    return gaussian_dp_mu(contraction=KEEP, gaps=gaps, noises=np.full(LEARNED + UNLEARNED, sigma))


def smallest_sigma() -> float:
    """Return the noise at which the paper's mu is that of the claim, rounded up: mu is inverse to it."""
    return published_mu(1.0) / gdp.mu(EPSILON, DELTA) * (1 + 1e-9)


def exact_mu(sigma: float) -> float:
    """Return the distance of the two Gaussians that the worlds are, in standard deviations."""
    apart = ETA * M / N * KEEP**UNLEARNED * (1 - KEEP**LEARNED) / (1 - KEEP)
    variance = (1 - KEEP ** (2 * (LEARNED + UNLEARNED))) / (1 - KEEP**2)
    return apart / (sigma * math.sqrt(variance))


@dataclass(frozen=True, kw_only=True)
class NoisyDescent:
    """Draws noisy steps of learning and, on the retained records, of unlearning."""

    sigma: float

    def __call__(self, world: World, n: int, rng: np.random.Generator) -> Array:
        """Return n releases, shape (n,)."""
        learned = 0.0 if world is World.RETRAINED else M / N
        unlearned = learned if world is World.NEGLECTED else 0.0
        w = np.zeros(n)
        for pull in [learned] * LEARNED + [unlearned] * UNLEARNED:
            w = w - ETA * (CONVEXITY * w - pull) + self.sigma * rng.standard_normal(n)
        return w


def build() -> PublishedMechanism:
    """Return the mechanism."""
    sigma = smallest_sigma()
    targets = np.zeros((N, 1))
    targets[0] = M
    return PublishedMechanism(
        name="shifted_interpolation",
        title="Noisy descent, accounted by shifted interpolation",
        paper="Bok, Su, Altschuler, ICML 2024 (arXiv:2403.00278)",
        source="the paper, for the theorem; that both worlds take the same unlearning steps is ours",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="Steps that contract by c and are moved by at most s_k, with noise sigma: the last iterate is "
        "mu-GDP, mu = sum c^(N-k) s_k / (sigma sqrt(sum c^(2(N-k)))) where that is one segment.",
        data=from_arrays(np.ones((N, 1)), targets, name="one record that pulls", kind="regression"),
        forget=(0,),
        canary="Losses (m/2) w^2 - z w, m = 1, 100 records: record 0 has z = M = 1, all others 0. The divisor stays "
        "100. Twenty noisy steps of learning and ten of unlearning, eta = 0.1.",
        reason="Every step moves by as much as is allowed, and in the same direction: the bound is attained.",
        assumptions=(
            Assumption(statement="norm of a gradient that is left out", value=float(np.abs(targets).max()), limit=M),
            Assumption(statement="step size times smoothness", value=ETA * CONVEXITY, limit=1.0),
        ),
        variants=(
            Variant(
                name="as_published",
                settings={"steps": LEARNED, "unlearning_steps": UNLEARNED, "sigma": sigma},
                deletion=DrawnRelease(draw=NoisyDescent(sigma=sigma), reference=REFERENCE),
                exact=gaussian_epsilon(exact_mu(sigma), DELTA),
            ),
        ),
        not_said="Gaps are bounded surely here. What happens where they are bounded with high probability only is the "
        "row source_method.",
        figures={"mu": published_mu(sigma)},
    )
