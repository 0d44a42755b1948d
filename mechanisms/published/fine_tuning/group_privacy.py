"""Group privacy of DP-SGD (a comparison of Koloskova et al. 2025): from one record to k of them."""

from __future__ import annotations

import math

import numpy as np

from mechanisms.accounting import gdp
from mechanisms.claim import Reference
from mechanisms.dataset import from_arrays
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.published.frame import Assumption, PublishedMechanism, Variant, claimed, gaussian_epsilon
from mechanisms.published.releases import Array, Draw, DrawnRelease, GaussianRelease, by_world

EPSILON, DELTA, SIZE = 1.0, 1e-5, 4500
REFERENCE = Reference.RETRAIN_ONLY


def coded_delta(size: int) -> float:
    """Return the delta for one record that the code takes: log(e^x - 1) is replaced by x - 1 on both sides."""
    return DELTA * math.exp(EPSILON / size - EPSILON)


def right_delta(size: int) -> float:
    """Return the delta for one record that gives DELTA for ``size`` of them."""
    return DELTA * math.expm1(EPSILON / size) / math.expm1(EPSILON)


def group_delta(one: float, size: int) -> float:
    """Return the delta for ``size`` records at EPSILON, of a mechanism with (EPSILON / size, one) for each."""
    return one * math.expm1(EPSILON) / math.expm1(EPSILON / size)


def chances(one: float, size: int) -> Array:
    """Return the chance of a 1 with 0, 1, ..., ``size`` records deleted, of a mechanism that attains the group bound.

    From the other end: p_k = 0, p_{i} = e^{e1} p_{i+1} + one. Each pair of neighbours is (e1, one)-DP with equality.
    """
    left = np.arange(size, -1, -1)
    return np.asarray(one * np.expm1(left * EPSILON / size) / math.expm1(EPSILON / size))


def worst_neighbours(p: Array, size: int) -> float:
    """Return the largest delta at EPSILON / size of any two neighbours, over both directions and all events."""
    factor = math.exp(EPSILON / size)
    a, b = p[:-1], p[1:]
    cases = (a - factor * b, b - factor * a, (1 - a) - factor * (1 - b), (1 - b) - factor * (1 - a))
    return float(max(case.max() for case in cases))


def _draw(chance: float) -> Draw:
    def draw(world: World, n: int, rng: np.random.Generator) -> Array:
        # No record of the group is left in the retrained world, where the chance of a 1 is 0.
        return (rng.random(n) < (0.0 if world is World.RETRAINED else chance)).astype(np.float64)

    return draw


def build() -> PublishedMechanism:
    """Return the mechanism."""
    coded, right = coded_delta(SIZE), right_delta(SIZE)
    spec = ReleaseSpec(shape=(1, 1), continuous=False)
    variants = []
    for name, one in (("as_coded", coded), ("corrected", right)):
        chance = float(chances(one, SIZE)[0])
        variants.append(
            Variant(
                name="as_coded" if name == "as_coded" else "corrected",
                settings={"size": SIZE, "epsilon_of_one": EPSILON / SIZE, "delta_of_one": one},
                deletion=DrawnRelease(draw=_draw(chance), reference=REFERENCE, release=spec),
                # A 1 never happens in the retrained world: no epsilon covers a chance above delta, every one one below.
                exact=math.inf if chance > DELTA * (1 + 1e-9) else 0.0,
            )
        )
    x = np.ones((SIZE + 1, 1))
    return PublishedMechanism(
        name="group_privacy",
        title="DP-SGD with group privacy",
        paper="Koloskova et al., ICML 2025 (arXiv:2506.06985), a method that they compare with",
        source="the authors' code at 9fdf670",
        kind="code",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="Train with (epsilon / k, d) for one record so that k records have (epsilon, delta): "
        "d (e^epsilon - 1) / (e^(epsilon / k) - 1) = delta. Coded: d = delta e^(epsilon / k - epsilon).",
        data=from_arrays(x, x, name="a group of equal records", kind="regression"),
        forget=tuple(range(SIZE)),
        canary="One bit whose chance of being 1 falls from p_0 to p_k = 0 as the k records leave, "
        "p_i = e^(epsilon / k) p_{i+1} + d.",
        reason="Every two neighbours meet (epsilon / k, d) with equality, so the bound for k records is attained.",
        assumptions=(
            Assumption(
                statement="delta of two neighbours at epsilon / k",
                value=worst_neighbours(chances(coded, SIZE), SIZE),
                limit=coded,
            ),
        ),
        variants=tuple(variants),
        differ=("delta_of_one",),
        cause="log(e^x - 1) is replaced by x - 1 also where x is near 0, so that the delta of one record is about "
        "k (1 - e^-epsilon) times too large.",
        repair="delta (e^(epsilon / k) - 1) / (e^epsilon - 1).",
        caught_by="Insert the delta of one record into the bound for k records.",
        not_said="Nothing about DP-SGD: the canary is a mechanism with what the conversion is told, not a network.",
        figures={
            "delta of one record over what the bound allows": coded / right,
            "group delta at epsilon 1 for 100 records": group_delta(coded_delta(100), 100),
            "group delta at epsilon 1 for 4500 records": group_delta(coded, SIZE),
        },
    )


def bound() -> PublishedMechanism:
    """Return the bound for a group, on Gaussian noise that has nothing to spare for one record."""
    size = 10
    one = right_delta(size)
    per_record = gdp.mu(EPSILON / size, one)
    # Whether a record of the group is there moves the sum by 1.
    release = GaussianRelease(
        centres=by_world(float(size), 0.0, float(size)), sigma=1 / per_record, reference=REFERENCE
    )
    x = np.zeros((100, 1))
    x[:size] = 1.0
    return PublishedMechanism(
        name="group_privacy_bound",
        title="Group privacy: the bound",
        paper="Koloskova et al., ICML 2025 (arXiv:2506.06985), a method that they compare with",
        source="the paper",
        kind="theorem",
        claim=claimed(EPSILON, DELTA, REFERENCE),
        statement="A mechanism with (epsilon / k, d) for one record has (epsilon, d (e^epsilon - 1) / "
        "(e^(epsilon / k) - 1)) for k records; nothing is done when they leave.",
        data=from_arrays(x, x, name="ten equal records", kind="regression"),
        forget=tuple(range(size)),
        canary="The sum of 100 numbers plus N(0, sigma^2), sigma the least that has (epsilon / k, d) for one record; "
        "k = 10 records are 1, all others 0.",
        reason="All ten records move the sum in one direction.",
        assumptions=(
            Assumption(statement="delta of one record at epsilon / k", value=gdp.delta(per_record, 0.1), limit=one),
        ),
        variants=(
            Variant(
                name="as_published",
                settings={"size": size, "epsilon_of_one": EPSILON / size, "delta_of_one": one},
                deletion=release,
                exact=gaussian_epsilon(release.mu, DELTA),
            ),
        ),
        not_said="Gaussian noise is better than the bound; the row group_privacy has a mechanism that attains it. "
        "Nothing about DP-SGD.",
    )
