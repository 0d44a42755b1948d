"""Gaussian DP of the last iterate of noisy contractive iterations, by shifted interpolation.

The route of the published certificates: per-step sensitivities in, one GDP parameter out; ``gdp`` turns it into
(epsilon, delta).

References
----------
Bok, Su, Altschuler 2024, "Shifted interpolation for differential privacy" (arXiv:2403.00278).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Array

# Relative rounding error of mu, by which the returned value is raised: powers of the contraction up to e^-745 and
# sums of up to 10^7 terms in extended precision stay below it (see tests).
RELATIVE_ERROR = 1e-12


def gaussian_dp_mu(*, contraction: float, gaps: ArrayLike, noises: ArrayLike, initial_gap: float = 0.0) -> float:
    """Return a mu for which the last iterates of two noisy contractive chains are mu-GDP, rounded up.

    Chain one runs ``x_k = phi_k(x_{k-1}) + noise``, chain two ``phi'_k`` with the same noise; both maps of a step
    satisfy ``||phi_k(x) - phi'_k(y)|| <= contraction ||x - y|| + gap_k`` for all x, y.

    Parameters
    ----------
    contraction
        In (0, 1].
    gaps
        ``gap_k`` of the steps k = 1..N in order, at least 0, shape (N,).
    noises
        Standard deviation of the Gaussian noise of each coordinate after step k, at least 0, shape (N,).
    initial_gap
        Largest distance of the two starting points, at least 0.

    Returns
    -------
    float
        Infinite when a gap is left that no later noise covers.

    Raises
    ------
    InvalidInputError
        When an argument is out of range or the lengths differ.

    Notes
    -----
    Conservative, in both directions: the chains may be closer. The noise is Gaussian and fresh at every step.

    With ``S_k = S_0 + sum c^-j s_j`` and ``tau_k = sum c^-2j sigma_j^2`` the bound, optimised over all shifts, is
    ``mu^2 = sum of (dS)^2 / d tau`` over the segments of the greatest convex minorant of (0, 0), (tau_k, S_k). Its
    slopes are the isotonic regression of the steps' slopes with weights d tau, found in O(N). Everything is
    multiplied by c^N, so that nothing overflows. One segment gives the closed form
    ``sum c^(N-k) s_k / sqrt(sum c^(2(N-k)) sigma_k^2)``; where the minorant has more, that is too small.

    References
    ----------
    Bok, Su, Altschuler 2024, "Shifted interpolation for differential privacy" (arXiv:2403.00278).

    Examples
    --------
    >>> round(gaussian_dp_mu(contraction=0.5, gaps=[1.0, 0.0], noises=[1.0, 1.0]), 4)
    0.4472
    """
    s, sigma = _checked(contraction, gaps, noises, initial_gap)
    n = len(s)
    decay = np.exp(np.arange(n - 1, -1, -1) * math.log(contraction))
    increments = decay * s
    variances = (decay * sigma) ** 2
    initial = initial_gap * math.exp(n * math.log(contraction))
    noisy = np.flatnonzero(variances > 0)
    if len(noisy) == 0 or increments[noisy[-1] + 1 :].sum() > 0:
        # Gaps that have decayed below the smallest float still count if nothing covers them.
        open_gap = (initial_gap if len(noisy) == 0 else 0.0) + s[noisy[-1] + 1 if len(noisy) else 0 :].sum()
        return math.inf if open_gap > 0 else 0.0
    increments[0] += initial
    # A step without noise leaves tau where it was, and only the lowest S at each tau bounds the minorant: its gap
    # reaches the next noisy step.
    starts = np.concatenate([[0], noisy[:-1] + 1])
    increments, variances = np.add.reduceat(increments, starts), variances[noisy]
    # Loading this takes a third of a second, and only this route needs it.
    from scipy.optimize import isotonic_regression

    blocks = isotonic_regression(increments / variances, weights=variances).blocks[:-1]
    rise = np.add.reduceat(increments.astype(np.longdouble), blocks)
    run = np.add.reduceat(variances.astype(np.longdouble), blocks)
    return float(np.sqrt(np.sum(rise * rise / run))) * (1.0 + RELATIVE_ERROR)


def _checked(contraction: float, gaps: ArrayLike, noises: ArrayLike, initial_gap: float) -> tuple[Array, Array]:
    s, sigma = np.asarray(gaps, dtype=np.float64), np.asarray(noises, dtype=np.float64)
    if not 0 < contraction <= 1:
        raise InvalidInputError(
            field="contraction", expected="in (0, 1]", got=contraction, fix="use a step size of at most 2/L"
        )
    if s.ndim != 1 or s.shape != sigma.shape:
        raise InvalidInputError(
            field="noises", expected=f"of shape {s.shape}", got=f"shape {sigma.shape}", fix="give one for every gap"
        )
    if not (np.all(s >= 0) and np.isfinite(s).all()):
        raise InvalidInputError(field="gaps", expected="finite and at least 0", got=s, fix="give distances")
    if not (np.all(sigma >= 0) and np.isfinite(sigma).all()):
        raise InvalidInputError(field="noises", expected="finite and at least 0", got=sigma, fix="give deviations")
    if not 0 <= initial_gap < math.inf:
        raise InvalidInputError(
            field="initial_gap", expected="finite and at least 0", got=initial_gap, fix="give a distance"
        )
    return s, sigma
