"""Per-instance certified unlearning of ridge regression (Benarroch, Atif, Cappe 2026): the published route.

Two records of one feature, two learning steps: both worlds are Gaussian in closed form, of different variances.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import require
from mechanisms.protocol import World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, VariantName, claimed
from mechanisms.published.releases import Array, DrawnRelease
from mechanisms.ridge import RidgeLangevin, RidgeLaws, RidgeRoutes, exact_pair, two_sided_epsilon

FEATURES, TARGETS = (2.0, 0.45), (2.0, 0.0)
PENALTY, SHARE, DELTA = 0.01, 0.5, 0.01
CURVATURE = FEATURES[0] ** 2 + FEATURES[1] ** 2 + PENALTY
ETA = SHARE / CURVATURE
SIGMA = 0.1
REFERENCE = Reference.RETRAIN_THEN_UNLEARN
PAPER = "Benarroch, Atif, Cappe 2026 (arXiv:2602.15602), v1 of 17 February 2026"
SOURCE = "the paper; a v2 exists and was not read"
STATEMENT = (
    "mu-GDP by shifted interpolation with gradients bounded except with probability d; claimed in both directions: "
    "delta = delta_mu(epsilon) + d."
)
CANARY = (
    "Records (2, 2) and (0.45, 0), penalty 0.01, two learning steps of 0.5 / L with noise 0.1, no unlearning step; the "
    "first record is deleted."
)


def data() -> Dataset:
    """Return the two records."""
    return from_arrays(np.array(FEATURES)[:, None], np.array(TARGETS), name="two records", kind="regression")


@functools.cache
def routes(sigma: float) -> RidgeRoutes:
    """Return the routes for this noise of a learning step."""
    learner = RidgeLangevin(penalty=PENALTY, n_learn=2, n_unlearn=0, sigma_learn=sigma, step_size=ETA)
    process = learner.process(data(), (0,))
    return RidgeRoutes(process=process, laws=RidgeLaws.of(process), delta=DELTA)


@dataclass(frozen=True, kw_only=True)
class TwoSteps:
    """Draws two noisy steps of learning; there is no unlearning step."""

    sigma: float

    def __call__(self, world: World, n: int, rng: np.random.Generator) -> Array:
        """Return n releases, shape (n,)."""
        curvature, pull = CURVATURE, FEATURES[0] * TARGETS[0]
        if world is World.RETRAINED:
            curvature, pull = curvature - FEATURES[0] ** 2, 0.0
        w = np.zeros(n)
        for _ in range(2):
            w = w - ETA * (curvature * w - pull) + self.sigma * rng.standard_normal(n)
        return w


def repaired_sigma(epsilon: float) -> float:
    """Return the noise at which the repaired route gives this epsilon, rounded up."""
    low, high = SIGMA, 2 * SIGMA
    while high / low - 1 > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if routes(middle).repaired.epsilon(0.0) <= epsilon else (middle, high)
    return high


def build() -> PublishedMechanism:
    """Return the mechanism."""
    epsilon = routes(SIGMA).published.epsilon(0.0)

    def variant(name: VariantName, sigma: float) -> Variant:
        return Variant(
            name=name,
            settings={"sigma": sigma, "step_size": ETA, "steps": 2},
            deletion=DrawnRelease(draw=TwoSteps(sigma=sigma), reference=REFERENCE),
            exact=two_sided_epsilon(exact_pair(routes(sigma).laws), DELTA),
        )

    return PublishedMechanism(
        name="source_method",
        title="Per-instance noise for ridge regression, at a large epsilon",
        paper=PAPER,
        source=SOURCE,
        kind="theorem",
        claim=claimed(epsilon, DELTA, REFERENCE),
        statement=STATEMENT,
        data=data(),
        forget=(0,),
        canary=CANARY,
        reason="A derivation by hand is possible, and the two variances differ much.",
        assumptions=(Assumption(statement="step size times smoothness", value=ETA * CURVATURE, limit=1.0),),
        variants=(variant("as_published", SIGMA), variant("corrected", repaired_sigma(epsilon))),
        differ=("sigma",),
        cause="Given that no gradient exceeds its bound the noises are truncated and dependent, and are used as "
        "independent ones. In the direction from the retrained world the exception costs e^epsilon d, not d.",
        repair="delta = delta_mu(epsilon) + e^epsilon d in that direction.",
        caught_by="Compare with the exact profile of the two Gaussians at every epsilon, in both directions.",
        not_said="It is the theorem of v1 as this project implements it; v2 may state another one. "
        "Seen at large epsilon only; the other "
        "direction is proved. At such an epsilon no audit by counting can say anything: the row rests on closed forms.",
        figures={"epsilon of the repaired route at the same noise": routes(SIGMA).repaired.epsilon(0.0)},
    )


def sigma_for(epsilon: float) -> float:
    """Return the noise at which the published route gives this epsilon, rounded up."""
    low, high = SIGMA, 100 * SIGMA
    found = routes(high).published.epsilon(0.0)
    require(
        found <= epsilon,
        "epsilon",
        expected=f"at least {found:.3g} on these two records",
        got=epsilon,
        fix="no noise makes the published epsilon smaller: the two variances differ",
    )
    while high / low - 1 > 1e-3:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if routes(middle).published.epsilon(0.0) <= epsilon else (middle, high)
    return high


def usual() -> PublishedMechanism:
    """Return the same with noise for an epsilon of 4; below 3.8 no noise is enough on these records."""
    epsilon = 4.0
    sigma = sigma_for(epsilon)
    return PublishedMechanism(
        name="source_method_usual",
        title="Per-instance noise for ridge regression, at an epsilon of 4",
        paper=PAPER,
        source=SOURCE,
        kind="theorem",
        claim=claimed(epsilon, DELTA, REFERENCE),
        statement=STATEMENT,
        data=data(),
        forget=(0,),
        canary=CANARY.replace("noise 0.1", "the noise that an epsilon of 4 needs"),
        reason="The records on which the same statement is false at a large epsilon.",
        assumptions=(Assumption(statement="step size times smoothness", value=ETA * CURVATURE, limit=1.0),),
        variants=(
            Variant(
                name="as_published",
                settings={"sigma": sigma, "step_size": ETA, "steps": 2},
                deletion=DrawnRelease(draw=TwoSteps(sigma=sigma), reference=REFERENCE),
                exact=two_sided_epsilon(exact_pair(routes(sigma).laws), DELTA),
            ),
        ),
        not_said="Holding on one canary is no proof; at a large epsilon the statement of v1 is false (a row of its "
        "own).",
        figures={"epsilon of the repaired route at the same noise": routes(sigma).repaired.epsilon(0.0)},
    )
