"""What the truth may be where a claim is false: the curves that power is computed against.

In the flow: planning alone uses these; no test of data does. A Gaussian shift is exact. The curve of two Gaussian
laws with different covariances is a saddlepoint approximation, written from the laws as data: a certificate's own
accounting is deliberately not used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from mechanisms.claim import Claim, Direction, GaussianDP
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import GaussianLaw

Floats = NDArray[np.float64]

# Thresholds of a Gaussian alternative, from events that nearly always occur to very rare ones.
_THRESHOLDS = np.linspace(-4.0, 8.0, 121)
# Directions whose variance is below this share of the largest carry rounding and nothing else.
_CUTOFF = 1e-13
# A direction is decided for certain where one world has less than this share of the variance of both.
_CERTAIN = 1e-10
# Saddlepoints cover this many standard deviations of the log likelihood ratio on both sides.
_REACH = 8.0
_POINTS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Nested events of a known pair of laws.

    Parameters
    ----------
    fpr, tpr
        Probabilities in the retrained and in the unlearned world, both increasing from 0 to 1.
    """

    fpr: Floats
    tpr: Floats

    def epsilon(self, delta: float) -> float:
        """Return the epsilon at a delta that the curve's own events show, the larger of both directions, in nats.

        Notes
        -----
        From below: only the events of the curve are looked at.
        """
        largest = 0.0
        for p1, p0 in ((self.tpr, self.fpr), (1 - self.fpr, 1 - self.tpr)):
            # Tails that are rounded to 0 bound nothing, but an event that is frequent in one world only is decisive.
            if np.any((p1 > delta + 0.5) & (p0 <= 0)):
                return math.inf
            usable = (p1 > delta) & (p0 > 0)
            if usable.any():
                largest = max(largest, float(np.log((p1[usable] - delta) / p0[usable]).max()))
        return largest


CERTAIN = Curve(fpr=np.array([0.0, 0.0, 1.0]), tpr=np.array([0.0, 1.0, 1.0]))
SAME = Curve(fpr=np.array([0.0, 1.0]), tpr=np.array([0.0, 1.0]))


def gaussian_curve(mu: float) -> Curve:
    """Return the curve of N(mu, 1) against N(0, 1)."""
    x = np.unique(np.concatenate([_THRESHOLDS, mu + _THRESHOLDS]))[::-1]
    return _nested(ndtr(-x), ndtr(mu - x))


def _nested(fpr: Floats, tpr: Floats) -> Curve:
    """Return the curve of events from rare to frequent; rounding may not put them out of order."""
    fpr, tpr = (np.maximum.accumulate(np.clip(tail, 0.0, 1.0)) for tail in (fpr, tpr))
    return Curve(fpr=np.concatenate([[0.0], fpr, [1.0]]), tpr=np.concatenate([[0.0], tpr, [1.0]]))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon of N(mu, 1) against N(0, 1) at a delta, in nats."""
    return Claim(guarantee=GaussianDP(mu=mu)).epsilon_at(delta, Direction.UNLEARNED_FROM_RETRAINED)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the shift mu whose epsilon at a delta is the given one.

    Raises
    ------
    InvalidInputError
        For an epsilon that is not positive and finite, or a delta outside (0, 1): no shift has it.
    """
    if not 0 < epsilon < math.inf:
        raise InvalidInputError(field="epsilon", expected="positive and finite", got=epsilon, fix="1.0 is usual")
    if not 0 < delta < 1:
        raise InvalidInputError(
            field="delta", expected="in (0, 1)", got=delta, fix="no Gaussian shift has a finite epsilon at delta = 0"
        )
    high = 1.0
    while gaussian_epsilon(high, delta) < epsilon:
        high *= 2
    return float(brentq(lambda mu: gaussian_epsilon(mu, delta) - epsilon, 0.0, high, xtol=1e-12, rtol=1e-12))


def law_curve(unlearned: GaussianLaw, retrained: GaussianLaw, *, scale: float = 1.0) -> Curve:
    """Return the curve of the most powerful attack on two Gaussian laws.

    Parameters
    ----------
    unlearned, retrained
        Laws of the two worlds, of one shape.
    scale
        Factor on the difference of the means: the family of laws that a claim's own law belongs to.

    Notes
    -----
    Approximate: Lugannani and Rice's saddlepoint formula for the log likelihood ratio in both worlds. Exact where the
    covariances are equal; epsilon within .1 % for many directions with similar variances, within 5 % for a single
    direction whose variance differs by a factor of 4. A direction with noise in one world only decides for certain.

    References
    ----------
    Lugannani, Rice 1980, Adv. Appl. Probab. 12, equation for the tail of a sum.
    """
    found = _standardised(unlearned, retrained)
    if found is None:
        return CERTAIN
    ratios, shifts, columns = found
    shifts = shifts * scale**2
    if not ratios.size or (np.all(np.abs(ratios - 1) < 1e-12) and shifts.sum() < 1e-24):
        return SAME
    return _saddlepoint_curve(ratios, shifts, columns)


def scaled_law_curve(unlearned: GaussianLaw, retrained: GaussianLaw, *, epsilon: float, delta: float) -> Curve:
    """Return :func:`law_curve` with the means moved apart until epsilon at ``delta`` is the given one.

    Raises
    ------
    InvalidInputError
        Where no difference of the means gives it: the covariances alone are further apart, or the means are equal.
    """

    def excess(log_scale: float) -> float:
        return min(law_curve(unlearned, retrained, scale=math.exp(log_scale)).epsilon(delta), 1e3) - epsilon

    low, high = math.log(1e-4), math.log(1e4)
    if not excess(low) < 0 < excess(high):
        raise InvalidInputError(
            field="epsilon",
            expected=f"reachable at delta = {delta:g} by moving the means of the claimed laws apart",
            got=epsilon,
            fix="take a Gaussian shift as the alternative",
        )
    return law_curve(unlearned, retrained, scale=math.exp(float(brentq(excess, low, high, xtol=1e-6))))


def _standardised(p: GaussianLaw, q: GaussianLaw) -> tuple[Floats, Floats, int] | None:
    """Variance ratios and squared shifts by direction, in the retrained world's units; ``None`` for certainty."""
    gap = p.mean - q.mean
    values, vectors = np.linalg.eigh(p.covariance + q.covariance)
    kept = values > _CUTOFF * max(values[-1], 0.0)
    rest = vectors[:, ~kept].T @ gap
    if np.abs(rest).max(initial=0.0) > 1e-9 * np.abs(q.mean).max(initial=0.0) + 1e-300:
        return None
    if not kept.any():
        return np.empty(0), np.empty(0), gap.shape[1]
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T
    share, rotation = np.linalg.eigh(whiten @ p.covariance @ whiten.T)
    if share[0] < _CERTAIN or share[-1] > 1 - _CERTAIN:
        return None
    shift = rotation.T @ whiten @ gap
    return share / (1 - share), np.square(shift).sum(axis=1) / (1 - share), gap.shape[1]


def _saddlepoint_curve(c: Floats, u: Floats, columns: int) -> Curve:
    """Curve from variance ratios c, squared shifts u (summed over columns) and the number of columns.

    The log likelihood ratio has the cumulant generating function K(s) under Q, and K(s + 1) under P, so that one
    saddlepoint s serves both worlds at the threshold K'(s).
    """
    k = 1 - c

    def cumulants(s: Floats) -> tuple[Floats, Floats, Floats]:
        column = s[:, None]
        d = c + column * k
        value = columns / 2 * ((1 - column) * np.log(c) - np.log(d)) - column * (1 - column) * u / (2 * d)
        slope = columns / 2 * (-np.log(c) - k / d) - u / 2 * (c - 2 * c * column - column**2 * k) / d**2
        bend = columns / 2 * (k / d) ** 2 + u * c / d**3
        return value.sum(axis=1), slope.sum(axis=1), bend.sum(axis=1)

    s = _saddlepoints(c, cumulants(np.array([0.0, 1.0]))[2])
    value, slope, bend = cumulants(s)
    fpr = _upper_tail(s, value, slope, bend)
    tpr = _upper_tail(s - 1, value, slope, bend)
    # Between laws that are far apart the exponent of a point may be lost by cancellation.
    usable = np.isfinite(fpr) & np.isfinite(tpr)
    order = np.argsort(-slope[usable])
    return _nested(fpr[usable][order], tpr[usable][order])


def _saddlepoints(c: Floats, bend: Floats) -> Floats:
    """Saddlepoints inside the domain, away from the removable singularities at 0 and 1."""
    spread = np.sqrt(np.maximum(bend, 1e-300))
    low, high = -_REACH / float(spread[0]), 1 + _REACH / float(spread[1])
    above, below = c[c > 1], c[c < 1]
    end_low = float(np.max(-below / (1 - below), initial=-np.inf))
    end_high = float(np.min(above / (above - 1), initial=np.inf))
    parts = [np.linspace(max(low, end_low), min(high, end_high), _POINTS)]
    # The likelihood ratio's tails may be stretched near the ends of the domain.
    near = np.geomspace(1e-6, 0.5, 60)
    if end_low > -np.inf:
        parts.append(end_low * (1 - near))
    if end_high < np.inf:
        parts.append(1 + (end_high - 1) * (1 - near))
    s = np.unique(np.concatenate(parts))
    inside = (s > end_low) & (s < end_high)
    away = (np.abs(s) > 1e-3 / float(spread[0])) & (np.abs(s - 1) > 1e-3 / float(spread[1]))
    chosen: Floats = s[inside & away]
    return chosen


def _upper_tail(s: Floats, value: Floats, slope: Floats, bend: Floats) -> Floats:
    """P(X > x) by Lugannani and Rice, x the slope at the saddlepoint s and ``value`` the cumulant function there."""
    exponent = np.maximum(s * slope - value, 0.0)
    w, v = np.sign(s) * np.sqrt(2 * exponent), s * np.sqrt(bend)
    density = np.exp(-exponent) / math.sqrt(2 * math.pi)
    with np.errstate(divide="ignore", invalid="ignore"):
        tail: Floats = ndtr(-w) + density * (1 / v - 1 / w)
    return tail
