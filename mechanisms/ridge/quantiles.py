"""Upper quantiles of the length of a Gaussian vector, on the safe side, at any ratio of mean to noise.

The residual of a deleted record is such a vector; ``sensitivity`` turns its quantiles into gaps between chains.
scipy's noncentral chi-square costs time that grows with the noncentrality (hundreds of milliseconds for one chain at
1e7) and its quantile becomes too small far above 1e9; the quadrature here costs the same everywhere.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaincc, gammaln, log_ndtr, ndtri

Array = NDArray[np.float64]
# Relative rounding of a quantile's excess over the mean: a hundred times its numerical error (see tests).
SAFETY = 1e-9
_ITERATIONS = 40
# Newton stops when the logarithm of the tail is met to this.
_TOLERANCE = 1e-11
_BLOCK = 2048


def length_excess(distance: Array, dimension: int, tail: float) -> Array:
    """Return w with ``P(|d e + Z| > d + w) <= tail``, rounded up, for unit vectors e and Z ~ N(0, I).

    Parameters
    ----------
    distance
        d, at least 0, shape (m,).
    dimension
        Length of Z, at least 1.
    tail
        In (0, 1).

    Returns
    -------
    array
        Shape (m,). Falls with d, because ``|d e + Z| - d`` does for every Z; from the chi quantile at d = 0 to the
        normal quantile at infinity.

    Notes
    -----
    With ``Z_1 = z`` along e and R = d + w, ``P(|d e + Z| > R) = Phi(-w) + Phi(-w - 2d) + integral over u in (0, 2R)
    of phi(w - u) P(chi2_(dimension - 1) > u (2R - u)) du``. Nothing here is a difference of large numbers, and the
    integrand decays like ``e^(-u d)``. Gauss-Legendre nodes in t, where u = R (1 - cos t), give the tail to a
    relative 1e-11 for dimensions up to 300. Newton's method solves the equation inside the bracket of both limits.
    """
    distance = np.asarray(distance, dtype=np.float64)
    out = np.empty_like(distance)
    for start in range(0, len(distance), _BLOCK):
        part = slice(start, start + _BLOCK)
        out[part] = _excess(distance[part], dimension, tail)
    return out


def _excess(d: Array, dimension: int, tail: float) -> Array:
    shortest, longest = _bracket(d, dimension, tail)
    low, high, target = shortest.copy(), longest.copy(), math.log(tail)
    w, active = _first_guess(d, dimension, low, high), np.arange(len(d))
    for _ in range(_ITERATIONS):
        at = w[active]
        log_tail, hazard = _log_tail(at, d[active], dimension)
        gap = log_tail - target
        low[active] = np.where(gap > 0, at, low[active])
        high[active] = np.where(gap > 0, high[active], at)
        open_ = (np.abs(gap) > _TOLERANCE) & (high[active] - low[active] > _TOLERANCE)
        active, at, step = active[open_], at[open_], (gap / hazard)[open_]
        if len(active) == 0:
            break
        moved = at + step
        inside = (moved > low[active]) & (moved < high[active])
        w[active] = np.where(inside, moved, (low[active] + high[active]) / 2)
    # The limits hold exactly, so that no quadrature can take the result out of them.
    w = np.clip(w, shortest, longest)
    return w + SAFETY * (1 + np.abs(w))


def _bracket(d: Array, dimension: int, tail: float) -> tuple[Array, Array]:
    """Return bounds on the excess: |d e + Z| is at least d + Z_1 and, in law, at least |Z|; it is at most d + |Z|."""
    chi = math.sqrt(float(chdtri(dimension, tail)))
    return np.maximum(-float(ndtri(tail)), chi - d), np.full_like(d, chi)


def _first_guess(d: Array, dimension: int, low: Array, high: Array) -> Array:
    # The other coordinates lengthen d + z by about (dimension - 1) / (2 (d + z)).
    z = low + (dimension - 1) / (2 * (d + np.maximum(low, 1.0)))
    return np.minimum(np.maximum(z, low), high)


def _log_tail(w: Array, d: Array, dimension: int) -> tuple[Array, Array]:
    """Return log P(|d e + Z| > d + w) and minus its derivative in w."""
    radius = d + w
    ends = np.logaddexp(log_ndtr(-w), log_ndtr(-w - 2 * d))
    density = _phi(w) + _phi(w + 2 * d)
    tail = np.exp(ends)
    if dimension > 1:
        a = (dimension - 1) / 2
        # Beyond this share of 2R nothing is left of e^(-u d).
        with np.errstate(divide="ignore"):
            share = np.minimum(1.0, (45 + a + 10 * math.sqrt(a)) / (2 * radius * d))
        # u = R (1 - cos t) removes the square roots of an even dimension at both ends: u (2R - u) = (R sin t)^2.
        last = 2 * np.arcsin(np.sqrt(share))[:, None]
        nodes, weights = _rule(dimension)
        t = last * nodes
        r = radius[:, None]
        u, half = 2 * r * np.sin(t / 2) ** 2, 0.5 * (r * np.sin(t)) ** 2
        common = _phi(w[:, None] - u) * r * np.sin(t) * (last * weights)
        tail = tail + np.sum(common * gammaincc(a, half), axis=1)
        chi_density = np.exp((a - 1) * np.log(half) - half - gammaln(a)) / 2
        density = 2 * radius * np.sum(common * chi_density, axis=1)
    return np.log(tail), density / tail


@lru_cache
def _rule(dimension: int) -> tuple[Array, Array]:
    """Return Gauss-Legendre nodes and weights on (0, 1); the integrand sharpens with the dimension."""
    nodes, weights = np.polynomial.legendre.leggauss(40 + dimension)
    return 0.5 + 0.5 * nodes, 0.5 * weights


def _phi(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
