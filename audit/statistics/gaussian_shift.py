"""Two worlds that are one Gaussian law, shifted: how large a shift a claim allows, and how much noise there may be.

In the flow: :mod:`audit.controls.same_noise` measures shift and noise where both worlds add the same noise. Written
from the definition, and not from the code that calibrates a mechanism.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv, log_ndtr

from mechanisms.claim import Claim, GaussianDP
from mechanisms.errors import require

# Relative; what a claim allows is rounded up by more than the formula's own error.
_ROUNDING = 1e-9
_LARGEST_MU = 1e6
_HALVINGS = 200


def largest_mu(claim: Claim) -> float:
    """Return the largest shift, in standard deviations, that a claim allows two Gaussian worlds; rounded up.

    Two worlds N(0, s^2) and N(m s, s^2) meet the claim when m is at most this; for m above it they do not.

    Parameters
    ----------
    claim
        Of any kind. Both directions allow the same, as the pair is symmetric.

    Returns
    -------
    float
        At least 0. Infinity when no row of the claim says anything. 0 for delta = 0: no Gaussian shift has a finite
        epsilon there.

    Notes
    -----
    Exact: a Gaussian shift is mu-GDP with mu = m and no less, and meets (epsilon, delta) when and only when
    ``Phi(m/2 - epsilon/m) - e^epsilon Phi(-m/2 - epsilon/m) <= delta``, which increases in m.

    References
    ----------
    Balle, Wang 2018, "Improving the Gaussian mechanism for differential privacy", Theorem 5 (arXiv:1805.06530); Dong,
    Roth, Su 2022, Corollary 1 (arXiv:1905.02383).
    """
    guarantee = claim.guarantee
    if isinstance(guarantee, GaussianDP):
        return guarantee.mu
    points = [point for direction in claim.directions for point in claim.points(direction)]
    epsilons, deltas = np.array([p.epsilon for p in points]), np.array([p.delta for p in points])
    says = np.isfinite(epsilons) & (deltas < 1)
    if not np.any(says):
        return math.inf
    with np.errstate(divide="ignore"):
        allowed = _largest_mus(epsilons[says], np.log(deltas[says]))
    return float(allowed.min()) * (1 + _ROUNDING)


def noise_bound(values: ArrayLike, *, level: float) -> float:
    """Return an upper bound on the standard deviation of normal numbers with mean 0, wrong with probability ``level``.

    Parameters
    ----------
    values
        Independent draws, shape (n,), n at least 1.
    level
        In (0, 1).

    Notes
    -----
    Exact: the sum of squares over the variance has a chi-square law with n degrees of freedom.
    """
    require(0 < level < 1, "level", expected="in (0, 1)", got=level, fix="0.05 is usual")
    drawn = np.asarray(values, dtype=np.float64)
    require(drawn.size > 0, "values", expected="at least one draw", got=drawn.size, fix="draw more")
    # The quantile of chi-square with n degrees of freedom is twice that of a gamma law of shape n/2.
    return float(math.sqrt(float(np.sum(drawn**2)) / (2 * gammaincinv(drawn.size / 2, level))))


def log_delta(mu: ArrayLike, epsilon: ArrayLike) -> NDArray[np.float64]:
    """Return the logarithm of the smallest delta that a Gaussian shift of ``mu`` > 0 meets at ``epsilon``, in nats."""
    m, e = np.asarray(mu, dtype=np.float64), np.asarray(epsilon, dtype=np.float64)
    upper, lower = log_ndtr(m / 2 - e / m), e + log_ndtr(-m / 2 - e / m)
    # Equal to the last digit for a shift far below what rounding shows: delta is 0 there.
    with np.errstate(divide="ignore"):
        rest: NDArray[np.float64] = upper + np.log(-np.expm1(np.minimum(lower - upper, 0.0)))
    return rest


def _largest_mus(epsilons: NDArray[np.float64], log_deltas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest mu of each row by halving, the larger end of the last interval."""
    low, high = np.full(len(epsilons), 1e-12), np.full(len(epsilons), _LARGEST_MU)
    for _ in range(_HALVINGS):
        # By ratios: mu may be of any size.
        middle = np.sqrt(low * high)
        meets = log_delta(middle, epsilons) <= log_deltas
        low, high = np.where(meets, middle, low), np.where(meets, high, middle)
    high[np.isneginf(log_deltas)] = 0.0
    return high
