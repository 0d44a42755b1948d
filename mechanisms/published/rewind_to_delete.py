"""Rewind-to-delete (Mu, Klabjan 2024): go back to a checkpoint, take K steps on the retained data, add noise."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.published.frame import (
    Assumption,
    PublishedMechanism,
    Variant,
    VariantName,
    claimed,
    classical_factor,
    gaussian_epsilon,
)
from mechanisms.published.releases import Array, GaussianRelease, by_world

EPSILON, DELTA = 1.0, 1e-5
N, TRAINED, REWOUND, ETA = 100, 100, 50, 0.02
REFERENCE = Reference.RETRAIN_ONLY
PAPER = "Mu, Klabjan 2024 (arXiv:2409.09778)"
# Losses -(1/2) w^2 - z w on |w| <= REACH: smooth with constant 1 and as far from convex as that allows.
REACH, PULL = 0.5, 1.0
# Logistic losses, whose constants are estimated from the run.
LOGISTIC_ETA, BATCH, DIFFERENCES = 0.1, 10, 100


def descend(w: float, z: Array, steps: int) -> float:
    """Return w after gradient steps."""
    for _ in range(steps):
        w = w + ETA * (w + float(z.mean()))
    return w


def allowed_shift(gradient: float, smoothness: float, eta: float = ETA) -> float:
    """Return 2 G ((1 + eta L)^(T - K) - 1) (1 + eta L)^K / (n L) for one deletion.

    Until the checkpoint two runs, on all records and without one, drift apart by eta 2 G / n a step and expand by
    1 + eta L; after it they only expand.
    """
    growth = 1 + eta * smoothness
    return 2 * gradient * (growth ** (TRAINED - REWOUND) - 1) * growth**REWOUND / (N * smoothness)


def build() -> PublishedMechanism:
    """Return the mechanism."""
    targets = np.zeros((N, 1))
    # The others balance the one, so that learning on all records stays at 0.
    targets[:, 0] = -PULL / (N - 1)
    targets[0] = PULL
    z = targets[:, 0]
    checkpoint = descend(0.0, z, TRAINED - REWOUND)
    gradient = PULL + REACH
    declared = allowed_shift(gradient, 1.0)
    sigma = declared * classical_factor(DELTA) / EPSILON

    def of_record(record: int) -> GaussianRelease:
        rest = np.delete(z, record)
        centres = by_world(
            descend(checkpoint, rest, REWOUND), descend(0.0, rest, TRAINED), descend(checkpoint, z, REWOUND)
        )
        return GaussianRelease(centres=centres, sigma=sigma, reference=REFERENCE)

    release = of_record(0)
    return PublishedMechanism(
        name="rewind_to_delete",
        title="Rewind-to-delete, with a bound of our own",
        paper=PAPER,
        source="the paper, for the algorithm; the bound is our own derivation",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="T steps, back by K, K steps on the retained records; sigma = (2 G / (n L)) ((1 + eta L)^(T - K) - "
        "1) (1 + eta L)^K sqrt(2 log(1.25/delta)) / epsilon, G and L bounds on gradients and smoothness.",
        data=from_arrays(np.ones((N, 1)), targets, name="one balanced record", kind="regression"),
        forget=(0,),
        canary="Losses -w^2/2 - z w on |w| <= 0.5, 100 records: record 0 has z = 1, the others balance it. T = 100, "
        "K = 50, eta = 0.02.",
        reason="The objective expands as fast as its smoothness allows, so that what the record moved grows.",
        assumptions=(
            Assumption(statement="norm of the model", value=max(map(abs, release.centres.values())), limit=REACH),
            Assumption(statement="norm of a gradient", value=PULL + REACH, limit=gradient),
        ),
        variants=(
            Variant(
                name="as_published",
                settings={"steps": TRAINED, "rewound": REWOUND, "eta": ETA, "sigma": sigma},
                deletion=release,
                exact=gaussian_epsilon(release.mu, DELTA),
            ),
        ),
        declared_shift=declared,
        of_record=of_record,
        not_said="That the theorem of the paper was audited: compare its bound with ours before you quote it. "
        "The true constants are used; ones that are estimated from the run are a row of their own.",
        figures={"allowed shift over the shift": declared / release.shift},
    )


def logistic_path(w: float, x: Array, steps: int) -> Array:
    """Return the models on the way of gradient steps on the mean logistic loss, labels 1; shape (steps + 1,)."""
    path = [w]
    for _ in range(steps):
        w = w + LOGISTIC_ETA * float((x * expit(-x * w)).mean())
        path.append(w)
    return np.array(path)


def estimated_gradient(path: Array, x: Array, batch: int = BATCH) -> float:
    """Return the largest gradient of a batch at the models of a run, batches in order."""
    gradients = -x * expit(-x * path[:, None])
    return float(np.abs(gradients.reshape(len(path), -1, batch).mean(axis=2)).max())


def estimated_smoothness(x: Array) -> float:
    """Return the largest of 100 quotients of differences, of the mean gradient at random pairs in [-1, 1]."""
    pairs = np.random.default_rng(0).uniform(-1, 1, (DIFFERENCES, 2))
    means = (-x * expit(-x * pairs[:, :, None])).mean(axis=2)
    return float(np.abs(np.diff(means)[:, 0] / np.diff(pairs)[:, 0]).max())


def logistic_release(x: Array, record: int, sigma: float) -> GaussianRelease:
    """Return both worlds."""
    rest = np.delete(x, record)
    checkpoint = logistic_path(0.0, x, TRAINED - REWOUND)[-1]
    unlearned, neglected = (logistic_path(checkpoint, part, REWOUND)[-1] for part in (rest, x))
    retrained = logistic_path(0.0, rest, TRAINED)[-1]
    return GaussianRelease(centres=by_world(unlearned, retrained, neglected), sigma=sigma, reference=REFERENCE)


def estimated() -> PublishedMechanism:
    """Return the mechanism with constants that are estimated from the run."""
    x = np.zeros(N)
    x[0] = 1.0
    path, smooth = logistic_path(0.0, x, TRAINED), estimated_smoothness(x)
    known = {"as_coded": (estimated_gradient(path, x), smooth), "corrected": (1.0, 0.25)}

    def noise(gradient: float, smoothness: float) -> float:
        return allowed_shift(gradient, smoothness, LOGISTIC_ETA) * classical_factor(DELTA) / EPSILON

    def variant(name: VariantName) -> Variant:
        gradient, smoothness = known[name]
        release = logistic_release(x, 0, noise(gradient, smoothness))
        settings = {"steps": TRAINED, "rewound": REWOUND, "gradient": gradient, "smoothness": smoothness}
        return Variant(name=name, settings=settings, deletion=release, exact=gaussian_epsilon(release.mu, DELTA))

    sizes = {size: logistic_release(x, 0, noise(estimated_gradient(path, x, size), smooth)).mu for size in (1, 5, 20)}
    return PublishedMechanism(
        name="rewind_to_delete_estimated",
        title="Rewind-to-delete with estimated constants",
        paper=PAPER,
        source="the paper, for the algorithm; the authors' code, whose version was not noted; the bound is ours",
        kind="assumption",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="The noise of the row rewind_to_delete, with G the largest gradient of a batch that was met in the "
        "run, and L the largest of 100 random quotients of differences of the gradient.",
        data=from_arrays(x[:, None], np.ones((N, 1)), name="one record with a feature", kind="regression"),
        forget=(0,),
        canary="Logistic regression of one parameter, 100 records of label 1: record 0 has x = 1, all others 0. T = "
        "100, K = 50, eta = 0.1, start at 0; batches of ten in order, pairs in [-1, 1].",
        reason="A batch divides the gradient of the one record by its size, and so does the mean for the quotients.",
        assumptions=(
            Assumption(statement="norm of a gradient of a loss", value=float(np.abs(x).max()), limit=1.0),
            Assumption(statement="smoothness of a loss", value=float((x**2).max()) / 4, limit=0.25),
        ),
        variants=(variant("as_coded"), variant("corrected")),
        differ=("gradient", "smoothness"),
        declared_shift=allowed_shift(*known["as_coded"], LOGISTIC_ETA),
        of_record=lambda record: logistic_release(x, record, noise(*known["as_coded"])),
        cause="G and L are to bound every record's loss everywhere, and what a run meets lies below.",
        repair="Take constants that are proved; for logistic regression the norm of a record and a quarter of its "
        "square.",
        caught_by="Compare the estimate with the gradient of each single record.",
        not_said="Nothing about the theorem. Batches, eta and data are ours, and so is the bound that the constants "
        "enter; with another bound, or batches of one, the same estimates may be enough (see the numbers).",
        figures={f"exact epsilon with batches of {size}": gaussian_epsilon(mu, DELTA) for size, mu in sizes.items()},
    )
