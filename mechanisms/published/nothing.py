"""Two programs that release nothing random: there is a formula for the noise, and none is added."""

from __future__ import annotations

import numpy as np

from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.published.frame import PublishedMechanism, Variant, VariantName, claimed, gaussian_epsilon
from mechanisms.published.releases import GaussianRelease, by_world

EPSILON, DELTA = 1.0, 1e-5
REFERENCE = Reference.RETRAIN_ONLY


def _mechanism(
    name: str, title: str, paper: str, source: str, statement: str, cause: str, repair: str
) -> PublishedMechanism:
    targets = np.arange(10.0)[:, None]
    full, retained = float(targets.mean()), float(targets[1:].mean())
    # What unlearning leaves of the record, at a calibration that has nothing to spare.
    left = 0.1 * (full - retained)
    sigma = abs(left) / 0.25

    def variant(which: VariantName, added: float) -> Variant:
        release = GaussianRelease(centres=by_world(retained + left, retained, full), sigma=added, reference=REFERENCE)
        return Variant(
            name=which, settings={"sigma": added}, deletion=release, exact=gaussian_epsilon(release.mu, DELTA)
        )

    return PublishedMechanism(
        name=name,
        title=title,
        paper=paper,
        source=source,
        kind="nothing",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement=statement,
        data=from_arrays(np.ones((10, 1)), targets, name="ten records", kind="regression"),
        forget=(0,),
        canary="A stand-in for the network: ten records and their mean; unlearning leaves a tenth of what the first "
        "one moved. Any record will do.",
        reason="A release without noise differs in every digit, whatever the record.",
        assumptions=(),
        variants=(variant("as_coded", 0.0), variant("corrected", sigma)),
        differ=("sigma",),
        cause=cause,
        repair=repair,
        caught_by="Release the same deletion twice: the two releases are equal.",
        not_said="Nothing about the theorem, the other modes, or how much such a network leaks. "
        "The run computes no claim: that of the row, and the "
        "twin's noise, are ours. The audit is inconclusive because equal releases are no independent trials.",
    )


def deep_unlearning() -> PublishedMechanism:
    """Return certified unlearning of deep networks, in its sequential mode."""
    return _mechanism(
        name="deep_unlearning_sequential",
        title="Certified deep unlearning: the sequential mode",
        paper="Zhang, Dong, Wang, Li, ICML 2024 (arXiv:2408.00920)",
        source="the authors' code, whose version was not noted",
        statement="One Newton step, then N(0, sigma^2) on every parameter.",
        cause="In the sequential mode noise is added to tensors with a flag that is never set on stored ones, so no "
        "noise is added.",
        repair="Add the noise whatever the flag says.",
    )


def edge_unlearning() -> PublishedMechanism:
    """Return certified edge unlearning of graph networks."""
    return _mechanism(
        name="edge_unlearning",
        title="Certified edge unlearning",
        paper="Wu et al., Certified edge unlearning for graph neural networks, KDD 2023",
        source="the authors' code, whose version was not noted",
        statement="sigma = bound / epsilon, noise of that size in training.",
        cause="The noise is computed and never used.",
        repair="Use it.",
    )
