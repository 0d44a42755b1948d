"""One Newton step with noise (Sekhari et al. 2021), on losses whose Hessian changes as fast as is assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.published.frame import (
    Assumption,
    PublishedMechanism,
    Variant,
    claimed,
    classical_factor,
    gaussian_epsilon,
)
from mechanisms.published.releases import GaussianRelease, by_world

EPSILON, DELTA = 1.0, 1e-5
N, RADIUS = 1000, 10.0
# f(w, z) = (curvature / 2) w^2 + (bend / 6) w^3 - z w on |w| <= REACH.
CURVATURE, BEND, REACH = 1.0, 1.0, 0.02
REFERENCE = Reference.RETRAIN_ONLY


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Bounds on the interval: strong convexity, gradient, smoothness."""

    convexity: float = CURVATURE - BEND * REACH
    gradient: float = CURVATURE * REACH + BEND * REACH**2 / 2 + RADIUS
    smoothness: float = CURVATURE + BEND * REACH


def optimum(mean: float) -> float:
    """Return where the mean loss with this mean of z is least."""
    return (math.sqrt(CURVATURE**2 + 2 * BEND * mean) - CURVATURE) / BEND


def newton_step(w: float, mean: float = 0.0) -> float:
    """Return w after one Newton step on the retained losses, with this mean of z."""
    return w - (CURVATURE * w + BEND * w**2 / 2 - mean) / (CURVATURE + BEND * w)


def bound(steepness: float) -> float:
    """Return gamma = 2 M L^2 / (mu^3 n^2) for one deletion, with L as given."""
    return 2 * BEND * steepness**2 / (Constants().convexity ** 3 * N**2)


def build() -> PublishedMechanism:
    """Return the mechanism."""
    fitted = optimum(-RADIUS / N)
    declared = bound(Constants().gradient)
    sigma = declared * classical_factor(DELTA) / EPSILON
    targets = np.zeros((N, 1))
    targets[0] = -RADIUS

    def of_record(record: int) -> GaussianRelease:
        mean = float(np.delete(targets, record).mean())
        centres = by_world(newton_step(fitted, mean), optimum(mean), fitted)
        return GaussianRelease(centres=centres, sigma=sigma, reference=REFERENCE)

    release = of_record(0)
    misread = bound(Constants().smoothness) * classical_factor(DELTA) / EPSILON
    return PublishedMechanism(
        name="newton_step",
        title="One Newton step with noise",
        paper="Sekhari, Acharya, Kamath, Suresh, NeurIPS 2021 (arXiv:2103.03279)",
        source="the paper",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="sigma = gamma sqrt(2 log(1.25/delta)) / epsilon, gamma = 2 M L^2 k^2 / (mu^3 n^2) for k deletions, "
        "L the bound on gradients, M on the change of Hessians.",
        data=from_arrays(np.ones((N, 1)), targets, name="one steep record", kind="regression"),
        forget=(0,),
        canary="f(w, z) = w^2/2 + w^3/6 - z w on |w| <= 0.02, 1000 records: record 0 has z = -10, all others 0.",
        reason="Hessians change as fast as is assumed, and the deleted gradient is as large: the shift is within a "
        "factor of five of gamma. On logistic regression we saw shifts below a ten-thousandth of gamma.",
        assumptions=(
            Assumption(statement="norm of the model", value=abs(fitted), limit=REACH),
            Assumption(
                statement="norm of a gradient",
                value=CURVATURE * REACH + BEND * REACH**2 / 2 + float(np.abs(targets).max()),
                limit=Constants().gradient,
            ),
            Assumption(statement="strong convexity, turned round", value=-CURVATURE + BEND * REACH, limit=0.0),
        ),
        variants=(
            Variant(
                name="as_published",
                settings={"records": N, "steepness": Constants().gradient, "sigma": sigma},
                deletion=release,
                exact=gaussian_epsilon(release.mu, DELTA),
            ),
        ),
        declared_shift=declared,
        of_record=of_record,
        not_said="A certificate of a Newton step for logistic regression cannot be tested like this: what it hides is "
        "far below its noise.",
        figures={
            "gamma over the shift": declared / release.shift,
            "exact epsilon if L were read as the smoothness": gaussian_epsilon(release.shift / misread, DELTA),
        },
    )
