"""Two mechanisms that perturb what was trained: a clipped model, and the minimiser of a strongly convex objective."""

from __future__ import annotations

import numpy as np

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import World
from mechanisms.published.frame import (
    Assumption,
    PublishedMechanism,
    Variant,
    claimed,
    classical_factor,
    gaussian_epsilon,
)
from mechanisms.published.releases import GaussianRelease, by_world, clip

EPSILON, DELTA = 1.0, 1e-5
REFERENCE = Reference.RETRAIN_ONLY


def clipped_model() -> PublishedMechanism:
    """Return a clipped model plus noise: the one-shot method that noisy fine-tuning is compared with."""
    radius = 0.01
    x, y = np.zeros((40, 1)), np.zeros((40, 1))
    x[:2, 0], y[:2, 0] = (1.0, 0.5), (50.0, -50.0)
    sigma = 2 * radius * classical_factor(DELTA) / EPSILON

    def of_record(record: int) -> GaussianRelease:
        rest = np.arange(len(x)) != record
        full, retained = (
            float(clip((x[kept, 0] @ y[kept, 0]) / (x[kept, 0] @ x[kept, 0]), radius)) for kept in (slice(None), rest)
        )
        return GaussianRelease(centres=by_world(full, retained, full), sigma=sigma, reference=REFERENCE)

    release = of_record(0)
    fitted = abs(release.centres[World.NEGLECTED])
    return PublishedMechanism(
        name="clipped_output",
        title="Clip the model, then add noise",
        paper="Koloskova et al., ICML 2025 (arXiv:2506.06985), a method that they compare with",
        source="the paper",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="clip(w, C0) + N(0, sigma^2), sigma^2 = 8 log(1.25/delta) C0^2 / epsilon^2: (epsilon, delta).",
        data=from_arrays(x, y, name="two opposed records", kind="regression"),
        forget=(0,),
        canary="40 records of one feature, least squares: record 0 is (1, 50), record 1 is (0.5, -50), all others 0.",
        reason="The two models lie at the two ends of the ball: the largest shift that clipping allows.",
        assumptions=(Assumption(statement="norm of the model, clipped", value=fitted, limit=radius),),
        variants=(
            Variant(
                name="as_published",
                settings={"radius": radius, "sigma": sigma},
                deletion=release,
                exact=gaussian_epsilon(release.mu, DELTA),
            ),
        ),
        declared_shift=2 * radius,
        of_record=of_record,
        not_said="The factor is the classical one. At delta = 1e-5 it holds up to an epsilon of about 8; see the "
        "numbers at 8 and 9.",
        figures={
            f"exact epsilon where {epsilon:g} is claimed": gaussian_epsilon(epsilon / classical_factor(DELTA), DELTA)
            for epsilon in (8.0, 9.0)
        },
    )


def strongly_convex_minimiser() -> PublishedMechanism:
    """Return the minimiser of a strongly convex objective plus noise for its sensitivity 2 L / (n m)."""
    n, lipschitz, convexity = 100, 1.0, 0.1
    targets = np.full((n, 1), -lipschitz)
    targets[0] = lipschitz
    # Losses -z w have gradients of norm |z|; the penalty (m/2) w^2 makes the mean m-strongly convex.
    bound = 2 * lipschitz / (n * convexity)
    sigma = bound * classical_factor(DELTA) / EPSILON

    def of_record(record: int) -> GaussianRelease:
        full, retained = (float(z.mean() / convexity) for z in (targets, np.delete(targets, record)))
        return GaussianRelease(centres=by_world(full, retained, full), sigma=sigma, reference=REFERENCE)

    release = of_record(0)
    return PublishedMechanism(
        name="strongly_convex_output",
        title="Output perturbation of a strongly convex objective",
        paper="Chaudhuri, Monteleoni, Sarwate 2011 (JMLR 12), with Gaussian noise",
        source="the paper, for the sensitivity",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="argmin (1/n) sum l_i(w) + (m/2)|w|^2, plus N(0, sigma^2), sigma = (2 L / (n m)) "
        "sqrt(2 log(1.25/delta)) / epsilon.",
        data=from_arrays(np.ones((n, 1)), targets, name="one record against all others", kind="regression"),
        forget=(0,),
        canary="100 linear losses -z w, record 0 with z = L, all others with z = -L.",
        reason="Every gradient has the largest norm, and the deleted one points against all others.",
        assumptions=(Assumption(statement="norm of a gradient", value=float(np.abs(targets).max()), limit=lipschitz),),
        variants=(
            Variant(
                name="as_published",
                settings={"records": n, "lipschitz": lipschitz, "convexity": convexity, "sigma": sigma},
                deletion=release,
                exact=gaussian_epsilon(release.mu, DELTA),
            ),
        ),
        declared_shift=bound,
        of_record=of_record,
        not_said="The sensitivity is the paper's; Gaussian noise with the classical factor is ours, in place of its "
        "own noise. The canary attains the sensitivity; what is left is what the classical factor gives away.",
    )
