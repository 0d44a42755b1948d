"""Descent-to-delete on records that were divided by the largest norm: the divisor knows of the deleted record."""

from __future__ import annotations

import numpy as np

from mechanisms.dataset import from_arrays
from mechanisms.published.descent_to_delete import DELTA, PAPER, REFERENCE, N, allowed_shift, noise
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, VariantName, claimed, gaussian_epsilon
from mechanisms.published.releases import Array, GaussianRelease, by_world

EPSILON, STEPS, CONVEXITY, SMOOTHNESS = 1.0, 10, 0.5, 1.5
LIPSCHITZ = 1.0 + CONVEXITY
CONTRACTION = (SMOOTHNESS - CONVEXITY) / (SMOOTHNESS + CONVEXITY)
LONGEST = 1.001


def lengths(longest: float = LONGEST) -> Array:
    """Return the records before they are divided: one a little longer than all others, which are 1 or -1."""
    return np.concatenate([[longest], np.ones(699), -np.ones(300)])


def optimum(x: Array, divisor: float) -> float:
    """Return where the mean of (m/2) w^2 - (x / divisor) w is least."""
    return float(x.mean()) / divisor / CONVEXITY


def release(x: Array, record: int, *, refitted: bool) -> GaussianRelease:
    """Return both worlds; retraining fits the divisor to the retained records, or keeps the one that was given."""
    rest, divisor = np.delete(x, record), float(np.abs(x).max())
    full, retained = optimum(x, divisor), optimum(rest, divisor)
    moved = retained + CONTRACTION**STEPS * (full - retained)
    trained_anew = optimum(rest, float(np.abs(rest).max()) if refitted else divisor)
    sigma = noise(lipschitz=LIPSCHITZ, convexity=CONVEXITY, smoothness=SMOOTHNESS, steps=STEPS, epsilon=EPSILON)
    return GaussianRelease(centres=by_world(moved, trained_anew, full), sigma=sigma, reference=REFERENCE)


def build() -> PublishedMechanism:
    """Return the mechanism."""
    x = lengths()

    def variant(name: VariantName, *, refitted: bool) -> Variant:
        found = release(x, 0, refitted=refitted)
        divisor = float(np.abs(x[1:]).max()) if refitted else LONGEST
        settings = {"divisor": LONGEST, "divisor_of_retraining": divisor, "steps": STEPS, "sigma": found.sigma}
        return Variant(name=name, settings=settings, deletion=found, exact=gaussian_epsilon(found.mu, DELTA))

    longer = release(lengths(1.05), 0, refitted=True)
    largest = max(map(abs, release(x, 0, refitted=True).centres.values()))
    return PublishedMechanism(
        name="descent_to_delete_preprocessing",
        title="Descent-to-delete: preprocessing that knows of the deleted record",
        paper=PAPER,
        source="the paper, for the noise; the authors' code, whose version was not noted",
        kind="code",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="The noise of the theorem (the row descent_to_delete) on records that were centred, scaled and "
        "divided by the largest norm once, over all records, the deleted one too; unlearning keeps these numbers.",
        data=from_arrays(x[:, None], np.ones((N, 1)), name="one record a little longer", kind="regression"),
        forget=(0,),
        canary="Of the three numbers the divisor alone: losses (m/2) w^2 - (x / divisor) w on the unit ball, m = 0.5, "
        "L = 1.5, n = 1000, ten steps; record 0 has x = 1.001, 699 others have 1 and 300 have -1. Learning has "
        "converged; retraining fits the divisor to the retained records.",
        reason="A record that is longer than all others by a thousandth moves every other one by a thousandth.",
        assumptions=(
            Assumption(statement="norm of a record, divided", value=float(np.abs(x).max()) / LONGEST, limit=1.0),
            Assumption(statement="norm of the model", value=largest, limit=1.0),
            Assumption(statement="gradient of a loss", value=1.0 + CONVEXITY * largest, limit=LIPSCHITZ),
        ),
        variants=(variant("as_coded", refitted=True), variant("corrected", refitted=False)),
        differ=("divisor_of_retraining",),
        declared_shift=allowed_shift(lipschitz=LIPSCHITZ, convexity=CONVEXITY, smoothness=SMOOTHNESS, steps=STEPS),
        of_record=lambda record: release(x, record, refitted=True),
        cause="What preprocessing takes from all records enters the model and is not undone, while the theorem begins "
        "after it.",
        repair="Fix these numbers beforehand, or make fitting them a part of learning that is unlearned.",
        caught_by="Delete the longest record and fit the preprocessing anew: its numbers must not change.",
        not_said="Not the theorem (a row of its own). If retraining may keep the old numbers the claim holds here; "
        "that is the corrected row, and then these numbers are not protected. n, steps and records are ours.",
        figures={"exact epsilon where the record is five percent longer": gaussian_epsilon(longer.mu, DELTA)},
    )
