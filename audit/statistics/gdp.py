"""Bounds and p-values against a whole trade-off curve: Gaussian differential privacy and exact profiles.

In the flow: beside ``audit.statistics.bounds``, for claims that promise a curve. One event then says more than any
single (epsilon, delta) row of the curve can: the curve bounds its true-positive rate directly. A bound on mu says
nothing about a plain (epsilon, delta) claim, because the mechanism need not be Gaussian, and is refused there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri

from audit.records.counts import Counts
from audit.statistics.bounds import clopper_pearson
from mechanisms.claim import BOTH_DIRECTIONS, JSON_CONFIG, Claim, Direction, EpsilonDelta, GaussianDP
from mechanisms.errors import InvalidInputError

__all__ = ["GaussianBound", "gdp_bound", "tradeoff_p_value"]

# The conversion to epsilon rounds up, as a claim must; a bound is shaved by more than that.
_ROUNDING = 1e-9
_SMALLEST_P = 1e-300


@dataclass(frozen=True, kw_only=True)
class GaussianBound:
    """A lower bound on the mu of Gaussian differential privacy that holds with probability at least 1 - level.

    Parameters
    ----------
    mu
        At least 0: the two worlds are not mu'-GDP for any mu' below it.
    direction
        The orientation in which the event was read: which world's probability is the true-positive rate.
    level
        Probability that the bound exceeds the smallest mu for which the guarantee holds.
    counts
        Occurrences of the event.
    """

    __pydantic_config__ = JSON_CONFIG
    mu: float
    direction: Direction
    level: float
    counts: Counts

    def epsilon_at(self, delta: float) -> float:
        """Return the epsilon that every mu-GDP guarantee consistent with the bound promises at least, at ``delta``.

        Parameters
        ----------
        delta
            In (0, 1).

        Returns
        -------
        float
            In nats, at least 0.

        Raises
        ------
        InvalidInputError
            For delta outside (0, 1).

        Notes
        -----
        The same bound in another unit, to lay beside the epsilon of the claim. It is a lower bound on the epsilon of
        the mechanism itself only when the two worlds are a Gaussian shift.

        References
        ----------
        Dong, Roth, Su 2022 (arXiv:1905.02383), Corollary 1.
        """
        if not 0 < delta < 1:
            raise InvalidInputError(
                field="delta", expected="in (0, 1)", got=delta, fix="give a positive probability, say 1e-5"
            )
        epsilon = Claim(guarantee=GaussianDP(mu=self.mu)).epsilon_at(delta, self.direction)
        return max(0.0, epsilon * (1 - _ROUNDING) - _ROUNDING)


def gdp_bound(counts: Counts, *, claim: Claim, direction: Direction, level: float) -> GaussianBound:
    """Return a lower bound on the mu of a GDP claim that holds with probability at least 1 - level.

    Parameters
    ----------
    counts
        Occurrences of an event that was fixed before counting.
    claim
        The claim under test; it must promise Gaussian DP, in both directions.
    direction
        Which world's probability of the event is the true-positive rate (the left one); the other is the
        false-positive rate.
    level
        Probability that the bound exceeds the truth, in (0, 1); half of it is spent on each world.

    Returns
    -------
    GaussianBound
        ``mu = Phi^-1(1 - FPR_ub) - Phi^-1(FNR_ub)``, at least 0, with Clopper-Pearson ends; 0 where one of these is 1.

    Raises
    ------
    InvalidInputError
        For a level outside (0, 1), a claim in one direction only, or any other kind of claim. A mechanism with Laplace
        noise can have a mu far above the one that its epsilon at delta would have if it were Gaussian: converted, the
        bound would exceed its epsilon almost always.

    Notes
    -----
    Exact (conservative). Read from the complement of the event the bound is the same as in the opposite direction,
    because a Gaussian trade-off curve is its own inverse.

    References
    ----------
    Dong, Roth, Su 2022, "Gaussian differential privacy", Definition 4 (arXiv:1905.02383).
    Nasr et al. 2023, "Tight auditing of differentially private machine learning" (arXiv:2302.07956).
    """
    _check_gaussian(claim)
    k1, n1, k0, n0 = counts.oriented(direction)
    low, _ = clopper_pearson(k1, n1, level=level)
    _, high = clopper_pearson(k0, n0, level=level)
    mu = float(ndtri(low)) - float(ndtri(high)) if low > 0 and high < 1 else 0.0
    return GaussianBound(mu=max(0.0, mu), direction=direction, level=level, counts=counts)


def tradeoff_p_value(counts: Counts, *, claim: Claim, direction: Direction) -> float:
    """Return a p-value of "the claim's trade-off curve holds": where it does, at most x with probability at most x.

    Parameters
    ----------
    counts
        Occurrences of an event that was fixed before counting.
    claim
        Gaussian DP ("mu is at most the claimed mu") or a privacy profile. A plain (epsilon, delta) claim is one row:
        use :func:`audit.statistics.bounds.exact_joint_p_value`, which is stronger.
    direction
        Which world's probability of the event is the true-positive rate.

    Returns
    -------
    float
        In (0, 1]; never below 1e-300, and 1 instead of anything above 1/2.

    Raises
    ------
    InvalidInputError
        For a plain (epsilon, delta) claim.

    Notes
    -----
    Exact (conservative): the smallest level at which the Clopper-Pearson intervals of both worlds, at half of it each,
    leave the region ``TPR <= max_tpr(FPR)`` that the claim allows; the region grows with both rates, so its corner
    decides. For Gaussian DP that is the smallest level at which :func:`gdp_bound` exceeds the claimed mu. Every
    direction that the claim promises takes part through its curve, an unpromised one does not.

    References
    ----------
    Dong, Roth, Su 2022, "Gaussian differential privacy" (arXiv:1905.02383), for the curves;
    :func:`~audit.statistics.bounds.clopper_pearson` for the intervals.
    """
    if isinstance(claim.guarantee, EpsilonDelta):
        raise InvalidInputError(
            field="claim",
            expected="a GaussianDP or PrivacyProfile claim",
            got="a plain (epsilon, delta) claim",
            fix="use exact_joint_p_value, which is stronger for one row",
        )
    k1, n1, k0, n0 = counts.oriented(direction)

    def refuted(level: float) -> bool:
        low, _ = clopper_pearson(k1, n1, level=level)
        _, high = clopper_pearson(k0, n0, level=level)
        return float(low) > float(claim.max_tpr(float(high), direction))

    # Above this level the ends would pass the estimates' medians; nothing is decided there.
    below, above = math.log(_SMALLEST_P), math.log(0.5)
    if not refuted(math.exp(above)):
        return 1.0
    if refuted(_SMALLEST_P):
        return _SMALLEST_P
    while above - below > 1e-6:
        middle = (below + above) / 2
        below, above = (below, middle) if refuted(math.exp(middle)) else (middle, above)
    return math.exp(above)


def _check_gaussian(claim: Claim) -> None:
    if not isinstance(claim.guarantee, GaussianDP):
        raise InvalidInputError(
            field="claim",
            expected="a GaussianDP claim",
            got=f"a claim of kind {claim.guarantee.kind}",
            fix="a bound on mu says nothing about it unless the mechanism is Gaussian; use exact_joint_bound for "
            "(epsilon, delta), tradeoff_p_value for a profile",
        )
    if set(claim.directions) != set(BOTH_DIRECTIONS):
        raise InvalidInputError(
            field="claim.directions",
            expected="both directions",
            got=[direction.value for direction in claim.directions],
            fix="one direction of Gaussian DP does not imply the whole curve; use tradeoff_p_value",
        )
