"""Gaussian differential privacy: delta, epsilon and mu of one another, inverses rounded to the safe side.

References
----------
Dong, Roth, Su 2022, "Gaussian differential privacy", Corollary 1 (arXiv:1905.02383).
Balle, Wang 2018, "Improving the Gaussian mechanism", Theorem 8 (arXiv:1805.06530).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, log_ndtr

from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Array

# Bound on the error of log_delta, absolute down to delta = 1e-300 and relative to |log_delta| below (see tests), beside
# what rounding eps/mu and mu/2 does where mu is large.
LOG_DELTA_ERROR = 1e-12
_ROUNDING = 2.0**-51

_GL_NODES, _GL_WEIGHTS = np.polynomial.legendre.leggauss(16)
_LOG_SQRT_2PI, _LOG_2 = 0.5 * math.log(2 * math.pi), math.log(2)
# Left of the first the integral over [x, x + mu] is taken only where x mu is small, and left of the second never: the
# Mills ratio grows like e^(x^2 / 2) and ends being a number.
_FAR, _FARTHEST = -8.0, -37.0


@overload
def log_delta(mu: float, epsilon: float) -> float: ...
@overload
def log_delta(mu: ArrayLike, epsilon: ArrayLike) -> float | Array: ...
def log_delta(mu: ArrayLike, epsilon: ArrayLike) -> float | Array:
    """Return the logarithm of the exact delta of mu-GDP at epsilon, the best value.

    Parameters
    ----------
    mu
        GDP parameter, at least 0, a scalar or of any shape; broadcast with ``epsilon``.
    epsilon
        In nats, any sign, a scalar or of any shape.

    Returns
    -------
    float or array
        At most 0, of the common shape; ``-inf`` for delta = 0.

    Raises
    ------
    InvalidInputError
        When mu is negative, or either is NaN.

    Notes
    -----
    Exact, in both directions alike, up to an error of :func:`log_delta_error`.
    ``delta = phi(x) (R(x) - R(y))`` with ``x = eps/mu - mu/2``, ``y = x + mu`` and R the Mills ratio. The difference
    is integrated where it would cancel; for x < 0 it is written as one minus two tails. Infinite mu gives delta = 1,
    mu = 0 gives ``max(0, 1 - e^epsilon)``.

    References
    ----------
    Dong, Roth, Su 2022, Corollary 1 (arXiv:1905.02383); Balle, Wang 2018, Theorem 8 (arXiv:1805.06530).

    Examples
    --------
    >>> round(float(log_delta(1.0, 0.0)), 6)
    -0.959916
    """
    if isinstance(mu, float) and isinstance(epsilon, float) and mu >= 0 and not math.isnan(epsilon):
        # Searches ask for one value at a time, and arrays of one cost ten times as much.
        return _one_log_delta(float(mu), float(epsilon))
    m, e = np.broadcast_arrays(np.asarray(mu, dtype=np.float64), np.asarray(epsilon, dtype=np.float64))
    if not np.all(m >= 0):
        raise InvalidInputError(field="mu", expected="at least 0", got=mu, fix="give a GDP parameter, say 0.5")
    if np.any(np.isnan(e)):
        raise InvalidInputError(field="epsilon", expected="a number", got=epsilon, fix="give epsilon in nats")
    out = np.full(m.shape, -math.inf)
    with np.errstate(all="ignore"):
        zero = m == 0
        out[zero] = np.where(e[zero] < 0, np.log(-np.expm1(np.minimum(e[zero], 0.0))), -math.inf)
        out[np.isinf(m) | (e == -math.inf)] = 0.0
        usual = ~zero & np.isfinite(m) & np.isfinite(e)
        out[usual] = _usual_log_delta(m[usual], e[usual])
    return float(out) if out.ndim == 0 else out


@overload
def delta(mu: float, epsilon: float) -> float: ...
@overload
def delta(mu: ArrayLike, epsilon: ArrayLike) -> float | Array: ...
def delta(mu: ArrayLike, epsilon: ArrayLike) -> float | Array:
    """Return the exact delta of mu-GDP at epsilon, the best value.

    Parameters
    ----------
    mu, epsilon
        As for :func:`log_delta`, scalars or of any shape; broadcast.

    Returns
    -------
    float or array
        In [0, 1], of the common shape.

    Raises
    ------
    InvalidInputError
        When mu is negative, or either is NaN.

    References
    ----------
    As :func:`log_delta`.

    Examples
    --------
    >>> round(float(delta(0.5016, 2.0)), 9)
    1.0018e-05
    """
    value = np.exp(log_delta(mu, epsilon))
    return float(value) if value.ndim == 0 else np.asarray(value)


def log_delta_error(mu: float, epsilon: ArrayLike, log_value: ArrayLike) -> Array:
    """Return a bound on the error of :func:`log_delta` at finite values, of the shape of ``epsilon``.

    Parameters
    ----------
    mu, epsilon
        As for :func:`log_delta`, mu positive or 0.
    log_value
        What it returned.

    Notes
    -----
    ``x = epsilon/mu - mu/2`` is off by a rounding of its two terms, and log delta by that times at most
    ``|x| + 1``.

    References
    ----------
    As :func:`log_delta`.
    """
    e, log = np.asarray(epsilon, dtype=np.float64), np.abs(np.asarray(log_value, dtype=np.float64))
    if not 0 < mu < math.inf:
        return np.full(e.shape, LOG_DELTA_ERROR)
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.abs(e / mu) + mu / 2
        rounded = _ROUNDING * terms * (np.abs(e / mu - mu / 2) + 1.0 + _ROUNDING * terms)
    usual = LOG_DELTA_ERROR * np.maximum(1.0, np.where(np.isfinite(log), log, 0.0) / 690)
    # Below mu = 1000 the checked bound covers it.
    return np.asarray(usual if mu < 1e3 else usual + rounded)


def epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon that mu-GDP gives at delta, rounded up: the true delta there is at most ``delta``.

    Parameters
    ----------
    mu
        GDP parameter, at least 0 or infinite.
    delta
        In [0, 1].

    Returns
    -------
    float
        In nats, at least 0. Infinite when delta = 0 and mu > 0, or mu is infinite and delta < 1.

    Raises
    ------
    InvalidInputError
        When delta is outside [0, 1], or mu is negative or NaN.

    Notes
    -----
    Exact in both directions, but for rounding up by more than the numerical error.

    References
    ----------
    Dong, Roth, Su 2022, Corollary 1 (arXiv:1905.02383); Balle, Wang 2018, Theorem 8 (arXiv:1805.06530).

    Examples
    --------
    >>> round(epsilon(0.5016, 1e-5), 3)
    2.0
    """
    target = _log_target(delta)
    if delta == 1 or _upper(mu, 0.0, log_delta(mu, 0.0)) <= target:
        return 0.0
    if delta == 0 or math.isinf(mu):
        return math.inf

    def excess(value: float) -> tuple[float, float, float]:
        log = log_delta(mu, value)
        slope = -_exp(value + float(log_ndtr(-value / mu - mu / 2)) - log)
        return _upper(mu, value, log) - target, slope, 2 * _one_error(mu, value, log)

    start = mu * mu / 2 + mu
    # Beyond what a double holds; less noise than that is none.
    return smallest_passing(excess, start=start) if math.isfinite(start) else math.inf


def mu(epsilon: float, delta: float) -> float:
    """Return the largest mu whose GDP implies (epsilon, delta), rounded down: delta at the value is at most ``delta``.

    Parameters
    ----------
    epsilon
        In nats, at least 0.
    delta
        In [0, 1].

    Returns
    -------
    float
        0 when delta = 0 (and epsilon is finite), infinite when delta = 1 or epsilon is infinite.

    Raises
    ------
    InvalidInputError
        When epsilon is negative or NaN, or delta is outside [0, 1].

    Notes
    -----
    Exact, but for rounding down by more than the numerical error. The reverse does not hold: a claim of
    (epsilon, delta) alone promises no mu.

    References
    ----------
    Dong, Roth, Su 2022, Corollary 1 (arXiv:1905.02383); Balle, Wang 2018, Theorem 8 (arXiv:1805.06530).

    Examples
    --------
    >>> round(mu(1.0, 1e-5), 4)
    0.2681
    """
    target = _log_target(delta)
    if not epsilon >= 0:
        raise InvalidInputError(field="epsilon", expected="at least 0", got=epsilon, fix="give epsilon in nats")
    if delta == 1 or math.isinf(epsilon):
        return math.inf
    if delta == 0:
        return 0.0

    # In 1/mu the excess falls, so that the same search returns the safe side.
    def excess(inverse: float) -> tuple[float, float, float]:
        mu = 1.0 / inverse
        log, x = log_delta(mu, epsilon), epsilon * inverse - mu / 2
        slope = -mu * mu * _exp(-0.5 * x * x - _LOG_SQRT_2PI - log)
        return _upper(mu, epsilon, log) - target, slope, 2 * _one_error(mu, epsilon, log)

    return math.nextafter(1.0 / smallest_passing(excess, start=1.0 / (0.25 + epsilon / 2)), 0.0)


def _log_target(delta: float) -> float:
    if not 0 <= delta <= 1:
        raise InvalidInputError(field="delta", expected="in [0, 1]", got=delta, fix="give a probability, say 1e-5")
    return math.log(delta) if delta > 0 else -math.inf


def _upper(mu: float, epsilon: float, log_value: float) -> float:
    if not math.isfinite(log_value):
        return log_value
    return min(log_value + _one_error(mu, epsilon, log_value), 0.0)


def _one_error(mu: float, epsilon: float, log_value: float) -> float:
    """One value of :func:`log_delta_error`."""
    if mu >= 1e3:
        return float(log_delta_error(mu, epsilon, log_value))
    return LOG_DELTA_ERROR * max(1.0, abs(log_value) / 690 if math.isfinite(log_value) else 0.0)


def smallest_passing(excess: Callable[[float], tuple[float, float, float]], *, start: float) -> float:
    """Return a value above 0 whose excess is at most 0 and hardly below, or as near to that as floats allow.

    Parameters
    ----------
    excess
        Decreasing function of a positive number, positive near 0. Returns its value, its slope (which only guides the
        search) and how far below zero is good enough there.
    start
        First guess, positive.

    Returns
    -------
    float
        Always a value at which ``excess`` was evaluated and passed; infinite if none was found.

    Notes
    -----
    Newton steps inside a bracket, which are replaced by bisection where they leave it; at most 400 evaluations.

    References
    ----------
    Press, Teukolsky, Vetterling, Flannery 2007, "Numerical recipes", 3rd edition, section 9.4.
    """
    low, high, value = 0.0, math.inf, start
    for _ in range(400):
        gap, slope, tolerance = excess(value)
        if gap <= 0:
            high = value
            if gap >= -tolerance:
                break
        else:
            low = value
        if math.isfinite(high) and high - low <= 4e-16 * high:
            break
        moved = value - (gap + tolerance / 2) / slope if math.isfinite(gap) and slope < 0 else math.inf
        if not low < moved < min(high, 16 * value):
            moved = (low + high) / 2 if math.isfinite(high) else 4 * value
        value = moved if low > 0 or moved > value / 16 else value / 16
    return high


def _exp(log_value: float) -> float:
    return math.exp(min(log_value, 700.0))


def _usual_log_delta(m: Array, e: Array) -> Array:
    x = e / m - m / 2
    y = x + m
    # 1 - delta = Phi(x) + e^eps Phi(-y), sound where x < 0 unless mu is so small that delta is small as well.
    # e^eps phi(y) = phi(x): eps itself would drown what it is added to where mu is large.
    second = np.where(y > 0, np.log(_mills(np.maximum(y, 0.0))) - 0.5 * x * x - _LOG_SQRT_2PI, e + log_ndtr(-y))
    first = np.exp(log_ndtr(x))
    by_tails = np.where(second > -_LOG_2, np.log(-np.expm1(second) - first), np.log1p(-first - np.exp(second)))
    close = (m <= np.maximum(1.0, x)) & ((x > _FAR) | ((x > _FARTHEST) & (m * -x <= -_FAR)))
    difference = np.where(close, _mills_difference(x, m), _mills(x) - _mills(y))
    by_mills = np.log(difference) - 0.5 * x * x - _LOG_SQRT_2PI
    # So small a mu hides nothing and adds nothing: what is left at epsilon < 0 is 1 - e^epsilon.
    limit = np.where(x < 0, np.log(-np.expm1(np.minimum(e, 0.0))), -math.inf)
    return np.where(np.isinf(x), limit, np.where((x < 0) & ~close, by_tails, by_mills))


def _one_log_delta(m: float, e: float) -> float:
    """One value of :func:`log_delta`, by the branch that is needed."""
    if math.isinf(m) or e == -math.inf:
        return 0.0
    x = e / m - m / 2 if m > 0 else math.copysign(math.inf, e) if e else math.inf
    if math.isinf(x):
        return math.log(-math.expm1(e)) if x < 0 else -math.inf
    y = x + m
    close = m <= max(1.0, x) and (x > _FAR or (x > _FARTHEST and m * -x <= -_FAR))
    if x < 0 and not close:
        second = math.log(_one_mills(y)) - 0.5 * x * x - _LOG_SQRT_2PI if y > 0 else e + float(log_ndtr(-y))
        first = math.exp(log_ndtr(x))
        return math.log(-math.expm1(second) - first) if second > -_LOG_2 else math.log1p(-first - math.exp(second))
    if close:
        with np.errstate(over="ignore"):
            difference = float(_mills_difference(np.array(x), np.array(m)))
    else:
        difference = _one_mills(x) - _one_mills(y)
    return math.log(difference) - 0.5 * x * x - _LOG_SQRT_2PI if difference > 0 else -math.inf


def _one_mills(z: float) -> float:
    return math.sqrt(math.pi / 2) * float(erfcx(z / math.sqrt(2)))


def _mills(z: Array) -> Array:
    return np.asarray(math.sqrt(math.pi / 2) * erfcx(z / math.sqrt(2)))


def _mills_difference(x: Array, m: Array) -> Array:
    """R(x) - R(x + m) as the integral of -R' = 1 - z R(z) over [x, x + m], for m <= max(1, x)."""
    z = x[..., None] + m[..., None] * (0.5 + 0.5 * _GL_NODES)
    near = z < 20.0
    falling = 1.0 - z * _mills(z) if near.any() else np.empty_like(z)
    if not near.all():
        # Past 20 the difference 1 - z R cancels and its asymptotic series, 1/z^2 - 3/z^4 + 15/z^6 ..., is exact.
        w = 1.0 / np.maximum(z, 20.0) ** 2
        series = np.ones_like(w)
        for k in range(12, 0, -1):
            series = 1.0 - (2 * k + 1) * w * series
        falling = np.where(near, falling, w * series)
    return np.asarray(m * (falling @ (0.5 * _GL_WEIGHTS)))
