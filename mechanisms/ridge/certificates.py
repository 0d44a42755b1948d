"""The exact certificate of a ridge deletion: its two laws are Gaussian, so there is no bound and no failure event."""

from __future__ import annotations

import numpy as np

from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, PrivacyProfile, Reference
from mechanisms.protocol import World
from mechanisms.ridge.laws import RidgeLaws

# Above this condition number the rounding of the laws can outgrow the stated error of 1e-10.
_WELL_CONDITIONED = 1e6


def exact_pair(laws: RidgeLaws) -> GaussianPair:
    """Return the pair (unlearned, retrained) whose privacy profile is exact.

    Without unlearning noise both covariances are numerically singular (A'^(2K)); A' is generically invertible and
    the divergence then equals that of the models before the unlearning steps (data processing gives "at most" when
    A' is singular), so those well-conditioned laws are used.
    """
    then_unlearn = laws.reference is Reference.RETRAIN_THEN_UNLEARN
    if then_unlearn and (laws.sigma_unlearn == 0 or laws.n_unlearn == 0):
        return pair_without_unlearning(laws)
    return GaussianPair.from_laws(laws.law(World.UNLEARNED), laws.law(World.RETRAINED))


def pair_without_unlearning(laws: RidgeLaws) -> GaussianPair:
    """Return the pair A(D) against A(D minus S): what the learning noise gives without a single unlearning step."""
    return GaussianPair.from_laws(laws.learned(World.UNLEARNED), laws.learned(World.RETRAINED))


def two_sided_epsilon(pair: GaussianPair, delta: float) -> float:
    """Return the larger of the two directions' epsilon at ``delta``, rounded up."""
    return max(pair.epsilon(delta), pair.reversed().epsilon(delta))


def exact_certificate(laws: RidgeLaws, *, delta: float) -> Certificate:
    """Return the exact certificate of a deletion: its whole privacy profile, both directions, rounded up."""
    pair = exact_pair(laws)
    headline = [pair.epsilon(delta), pair.reversed().epsilon(delta)]
    claim = Claim(
        guarantee=_profile_with_rows(pair, headline),
        reference=laws.reference,
        provenance="exact",
        directions=BOTH_DIRECTIONS,
        assumptions=(
            "The noise is Gaussian and independent across steps.",
            "The last iterate alone is released.",
            *_rounding_of_laws(laws),
        ),
    )
    return Certificate(
        claim=claim,
        method="exact",
        epsilon=max(headline),
        delta=delta,
        numerical_error=RELATIVE_ERROR,
        epsilon_without_unlearning=two_sided_epsilon(pair_without_unlearning(laws), delta),
    )


def _rounding_of_laws(laws: RidgeLaws) -> tuple[str, ...]:
    """Return what double precision leaves open where the laws are badly conditioned, which no stated error covers."""
    then_unlearn = laws.reference is Reference.RETRAIN_THEN_UNLEARN
    learned_alone = then_unlearn and (laws.sigma_unlearn == 0 or laws.n_unlearn == 0)
    covariance = (laws.learned if learned_alone else laws.law)(World.RETRAINED).covariance
    spread = np.sqrt(np.diag(covariance))
    spread = spread[spread > 0]
    if not spread.size:
        return ()
    kept = np.diag(covariance) > 0
    values = np.linalg.eigvalsh(covariance[np.ix_(kept, kept)] / np.outer(spread, spread))
    condition = values[-1] / max(values[0], np.finfo(np.float64).tiny)
    if condition < _WELL_CONDITIONED:
        return ()
    return (
        f"The laws are badly conditioned (condition number {condition:.1e}): double precision may move epsilon by "
        "more than the stated numerical error. `unlearn-audit certify --records` computes it without forming the laws.",
    )


def _profile_with_rows(pair: GaussianPair, epsilons: list[float]) -> PrivacyProfile:
    """Return the pair's profile with further rows, so that the headline epsilon is a row and not on a chord."""
    rows = [epsilon for epsilon in epsilons if np.isfinite(epsilon)]
    return pair.profile(np.union1d(pair.profile().epsilons, rows))
