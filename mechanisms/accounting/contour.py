"""Exact integrals over the privacy loss of two Gaussians, by quadrature along a complex contour.

The loss of ``P = N(u, diag c)`` against ``Q = N(0, I)`` has the cumulant function ``kappa(s) = log E_P e^(s loss)``
in closed form, and divergences and tails are inverse Laplace transforms of ``e^kappa``. :func:`integrate` evaluates
them with the trapezoid rule along a curve that starts at the saddle point and leans the way in which the integrand
falls. ``mechanisms.accounting.gaussian_pair`` is the type that callers use.

References
----------
Alghamdi et al. 2023, "The saddle-point method in differential privacy" (the contour form of delta).
Trefethen, Weideman 2014, "The exponentially convergent trapezoidal rule" (why few nodes suffice).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import xlogy

from mechanisms.accounting.loss_cumulant import UNIT, Complex, LossCumulant
from mechanisms.protocol import Array

# The integrand counts as dead below e^-38 = 3e-17 of its value at the saddle point.
_DEAD = -38.0
# Contour parameter x: height above the real axis is w sinh x, so x = 72 is 10^31 widths away.
_X_MAX = 72.0
_STEP = 0.1
_COARSE = 4
# Nodes of step .1 are computed in stretches between these: most integrands are dead after the first.
_STRETCHES = (0, 56, 84, 160, 320, 720)
# The contour leans by a slope that may change at the heights w 4^m; cap and share keep its tangent near vertical,
# where the strip of analyticity is widest (measured: .5 to .7 are equally good, 1 is worse).
_SCALES = 4.0 ** np.arange(12)
_SLOPE_SHARE, _SLOPE_CAP = 0.6, 0.6
_TARGET_ERROR = 1e-12
_MAX_REFINEMENTS = 3


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Which transform: the integrand is ``e^(kappa(s) - (s - shift) t) / (s^zero (1 + s)^one)``."""

    pole_at_zero: int
    pole_at_minus_one: int

    @property
    def lower(self) -> float:
        """The pole at the left end of the strip in which the saddle point is sought."""
        return 0.0 if self.pole_at_zero else -1.0


HOCKEY_STICK = Kernel(pole_at_zero=1, pole_at_minus_one=1)
TAIL_UNDER_P = Kernel(pole_at_zero=1, pole_at_minus_one=0)
# Under Q the transform variable is 1 + s, so its contour lies right of -1 and the factor is e^(-(1 + s) t).
TAIL_UNDER_Q = Kernel(pole_at_zero=0, pole_at_minus_one=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Integral:
    """Logarithm of an integral with a bound on its error.

    Parameters
    ----------
    log_value
        Best value, shape of the levels.
    log_error
        Bound on ``|log_value - truth|``: quadrature by step halving, plus rounding, plus merged coordinates.
        Infinite where the quadrature failed: ``log_value`` is then the Chernoff bound, which is on the safe side.
    mean_s
        Mean of s under the normalised integrand; minus the derivative of ``log_value`` with respect to the level
        (for :data:`TAIL_UNDER_Q`, mean of 1 + s).
    """

    log_value: Array
    log_error: Array
    mean_s: Array

    @property
    def log_upper(self) -> Array:
        """The value rounded up by more than its error, at most 0."""
        raised = np.where(np.isfinite(self.log_error), self.log_value + self.log_error, self.log_value)
        return np.asarray(np.minimum(raised, 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Saddle:
    """Saddle points: distance from the left pole, width of the peak, logarithm of the integrand there."""

    kernel: Kernel
    loss: LossCumulant
    levels: Array
    z: Array
    width: Array
    log_peak: Array

    def log_integrand(self, z: Complex) -> Complex:
        """Return the log integrand at distance z from the left pole, relative to the peak; rows = levels."""
        s = z + self.kernel.lower
        # z is exact near the pole where s + 1 or s would have lost its digits.
        log = self.loss.value_complex(s) - self.levels[:, None] * z - np.log(z) - self.log_peak[:, None]
        return np.asarray(log - np.log1p(z) if self.kernel == HOCKEY_STICK else log)

    def slope(self, z: Complex) -> Complex:
        """Return the derivative of the log integrand."""
        slope = self.loss.slope_complex(z + self.kernel.lower) - self.levels[:, None] - 1.0 / z
        return np.asarray(slope - 1.0 / (1.0 + z) if self.kernel == HOCKEY_STICK else slope)

    def chernoff(self) -> Array:
        """Return the logarithm of Chernoff's bound on the integral, by the tilt at the saddle point."""
        # log_peak holds kappa - level z and the poles; the poles are taken out again.
        bound = self.log_peak + np.log(self.z)
        if self.kernel != HOCKEY_STICK:
            return np.asarray(bound)
        return np.asarray(bound + xlogy(self.z, self.z) - self.z * np.log1p(self.z))


def integrate(loss: LossCumulant, levels: Array, kernel: Kernel) -> Integral:
    """Return the logarithm of the transform of ``e^kappa`` at each level, with its error.

    Parameters
    ----------
    loss
        Cumulant functions of privacy losses, none identically zero: one for all levels, or one a level.
    levels
        Finite thresholds of the loss (epsilon or t) in nats, shape (e,). Where the loss is bounded above, levels
        must be below its maximum: there is no saddle point beyond it.
    kernel
        :data:`HOCKEY_STICK`, :data:`TAIL_UNDER_P` or :data:`TAIL_UNDER_Q`.

    Notes
    -----
    Exact up to the reported error; no failure probability, no bound. Any curve from the saddle point upwards gives
    the same integral, so its shape decides cost alone; it may be cut where the integrand is dead, because going on
    vertically from there only lowers the modulus.
    """
    # Beyond the height where the integrand is dead anything may overflow; those nodes are masked.
    with np.errstate(all="ignore"):
        saddle = find_saddle(loss, levels, kernel)
        totals, moments = _trapezoid(saddle, _walk(saddle))
        value = totals[-1]
        log_value = saddle.log_peak + np.log(value)
        mean_s = moments / value
        rounding = loss.rounding(saddle.z + kernel.lower) + UNIT * np.abs(levels) * saddle.z
        neglected = loss.skew_neglected * (saddle.z + 3 * saddle.width + 1.0) ** 3
        error = _quadrature_error(totals) / value + 4 * rounding + neglected + 64 * UNIT
        chernoff = saddle.chernoff()
        sound = (error < 1e-2) & (log_value <= chernoff + error)
    return Integral(
        log_value=np.where(sound, log_value, chernoff),
        log_error=np.where(sound, error, math.inf),
        mean_s=np.where(sound, mean_s, saddle.z),
    )


def solve_nearby(loss: LossCumulant, levels: Array, kernel: Kernel, log_values: Array) -> Array:
    """Return where the logarithm of the transform has the given values, from levels that are nearly there.

    A guess, to be verified: Newton's iteration on the nodes of one contour, which neighbouring levels share, so that
    the cumulant function is evaluated only once. What it returns far from ``levels`` is meaningless.
    """
    with np.errstate(all="ignore"):
        saddle = find_saddle(loss, levels, kernel)
        path = _walk(saddle)
        terms = path.terms()
        terms[:, 0] *= 0.5
        targets = np.exp(log_values - saddle.log_peak) / _STEP
        moved = np.zeros(levels.shape)
        for _ in range(8):
            shifted = terms * np.exp(-moved[:, None] * path.z)
            value, moment = shifted.imag.sum(1), np.vecdot(path.z.conj(), shifted).imag
            step = np.log(value / targets) * value / moment
            moved = moved + step
            if np.all(~(np.abs(step) > 1e-13 * np.abs(levels))):
                break
    return levels + moved


def find_saddle(loss: LossCumulant, levels: Array, kernel: Kernel) -> _Saddle:
    """Return the minimum of the integrand on the real axis, roughly (a tenth of its width is plenty).

    Newton's iteration in the logarithm of the distance to the pole (the log-odds where an upper end exists), kept
    inside a bracket; the function is strictly convex.
    """
    span = np.broadcast_to(loss.upper - kernel.lower, levels.shape)
    z = _initial_saddle(loss, levels, kernel, span)
    t = np.log(z) - np.log1p(-z / span)
    # Nearer to the upper end than 1e-13 of the span nothing is left of 1 + s (1 - c); Chernoff's bound takes over.
    furthest = np.where(np.isinf(span), 600.0, np.log(span) + 30.0)
    low, high = np.full_like(t, -math.inf), np.full_like(t, math.inf)
    # Near the upper end Newton overshoots, and comes back slowly: the first steps are short.
    longest = 1.5
    for _ in range(300):
        first, second = loss.derivatives(z + kernel.lower)
        r = 1.0 / z
        first, second = first - levels - r, second + r * r
        if kernel == HOCKEY_STICK:
            r = 1.0 / (1.0 + z)
            first, second = first - r, second + r * r
        found = np.abs(first) <= 0.05 * np.sqrt(second)
        if found.all():
            break
        rises = first > 0
        high, low = np.where(rises, t, high), np.where(rises, low, t)
        moved = t + np.minimum(np.maximum(-first / (second * z * (1.0 - z / span)), -longest), longest)
        longest = min(2.0 * longest, 6.0)
        moved = np.where((moved > low) & (moved < high), moved, (low + high) / 2)
        before, t = t, np.minimum(np.maximum(np.where(found, t, moved), -600.0), furthest)
        if (before == t).all():
            break
        z = 1.0 / (np.exp(-t) + 1.0 / span)
    log_peak = loss.value(z + kernel.lower) - levels * z - np.log(z)
    if kernel == HOCKEY_STICK:
        log_peak = log_peak - np.log1p(z)
    return _Saddle(kernel=kernel, loss=loss, levels=levels, z=z, width=second**-0.5, log_peak=log_peak)


def _initial_saddle(loss: LossCumulant, levels: Array, kernel: Kernel, span: Array) -> Array:
    """Solve for the saddle of the Gaussian loss with the same variance, then pull it inside the interval."""
    n_poles = kernel.pole_at_zero + kernel.pole_at_minus_one
    q = loss.variance * (kernel.lower + 0.5) - levels
    root = np.sqrt(q * q + 4.0 * n_poles * loss.variance)
    z = np.where(q > 0, 2.0 * n_poles / (q + root), (root - q) / (2.0 * loss.variance))
    return 1.0 / (1.0 / z + 1.25 / span)


def _choose_slopes(saddle: _Saddle) -> Array:
    """Return changes of the contour's slope at the heights width * 4^m, shape (e, m).

    On the vertical line the direction of steepest descent is -Re f' / Im f'. Past the height where the integrand is
    dead on that line no slope is needed, and none would be right.
    """
    heights = saddle.width[:, None] * (2.0 * _SCALES)
    z = saddle.z[:, None] + 1j * heights
    alive = saddle.log_integrand(z).real + np.log(np.abs(z) / saddle.width[:, None]) > _DEAD
    slope = saddle.slope(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = np.clip(-_SLOPE_SHARE * slope.real / slope.imag, -_SLOPE_CAP, _SLOPE_CAP)
    # Rounding alone can make the imaginary part vanish; the sign of the real part still says which way is down.
    lean = np.where(slope.imag > 0, lean, -_SLOPE_CAP * np.sign(slope.real))
    last_alive = np.maximum(np.cumprod(alive, axis=1).sum(axis=1) - 1, 0)
    index = np.minimum(np.arange(len(_SCALES)), last_alive[:, None])
    return np.diff(np.take_along_axis(lean, index, axis=1), prepend=0.0, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Nodes:
    """Values at contour parameters x that do not depend on the pair: heights, bends and their derivatives."""

    height: Array
    height_slope: Array
    bend: Array
    bend_slope: Array


@lru_cache(maxsize=8)
def _nodes(level: int) -> _Nodes:
    """Return the nodes of step .1 (level 0), or those that halving the step adds at a higher level."""
    if level == 0:
        x = np.arange(0.0, _X_MAX, _STEP)
    else:
        step = _STEP / 2**level
        x = np.arange(step, _X_MAX, 2 * step)
    height, height_slope = np.sinh(x), np.cosh(x)
    radius = np.sqrt(_SCALES[:, None] ** 2 + height**2)
    # sqrt(W^2 + y^2) - W without cancellation: a slope that sets in at height W.
    bend = height * (height / (radius + _SCALES[:, None]))
    return _Nodes(height=height, height_slope=height_slope, bend=bend, bend_slope=height / radius * height_slope)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Path:
    """A contour, walked at step .1: points, their derivative, the log integrand there, and where it ends."""

    slopes: Array
    z: Complex
    dz: Complex
    log: Complex
    last: Array

    def terms(self) -> Complex:
        """Return the integrand times dz/dx over pi, zero where dead; the integral is that of the imaginary part."""
        return _terms(self.z, self.dz, self.log, _STEP * np.arange(self.z.shape[1], dtype=np.float64), self.last)


def _walk(saddle: _Saddle) -> _Path:
    """Return the contour up to where the integrand is dead.

    Straightens it (halving every slope, at last to a vertical line) where the integrand grows along it, which the
    slopes chosen on the vertical line do not exclude.
    """
    slopes = _choose_slopes(saddle)
    for attempt in range(5):
        z, dz, log, log_modulus = _steps(saddle, slopes)
        dead = log_modulus < _DEAD
        n_alive = np.where(dead.any(axis=1), dead.argmax(axis=1), dead.shape[1])
        growth = np.diff(log_modulus - np.log(np.abs(z[:, ::_COARSE])), axis=1)
        before_death = np.arange(growth.shape[1]) < n_alive[:, None] - 1
        grows = np.any(before_death & ~(growth <= 1e-6), axis=1)
        if not grows.any():
            break
        slopes[grows] *= 0.5 if attempt < 3 else 0.0
    last = np.minimum(n_alive * _COARSE, _STRETCHES[-1] - 1)
    n = int(last.max()) + 1
    return _Path(slopes=slopes, z=z[:, :n], dz=dz[:, :n], log=log[:, :n], last=last * _STEP)


def _steps(saddle: _Saddle, slopes: Array) -> tuple[Complex, Complex, Complex, Array]:
    """Return points, derivatives and the log integrand at step .1, in stretches until every level is dead.

    Last, for every fourth point, the logarithm of modulus * distance / width; infinite where it is not a number.
    """
    found: list[tuple[Complex, Complex, Complex, Array]] = []
    died = np.zeros(len(saddle.levels), dtype=bool)
    for start, stop in pairwise(_STRETCHES):
        z, dz = _along(saddle, slopes, 0, slice(start, stop))
        log = saddle.log_integrand(z)
        log_modulus = log[:, ::_COARSE].real + np.log(np.abs(z[:, ::_COARSE]) / saddle.width[:, None])
        log_modulus[~np.isfinite(log_modulus)] = math.inf
        found.append((z, dz, log, log_modulus))
        died |= np.any(log_modulus < _DEAD, axis=1)
        if died.all():
            break
    if len(found) == 1:
        return found[0]
    z, dz, log, log_modulus = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return z, dz, log, log_modulus


def _along(saddle: _Saddle, slopes: Array, level: int, index: slice) -> tuple[Complex, Complex]:
    """Return contour points and their derivative with respect to x, shape (e, nodes)."""
    nodes, width = _nodes(level), saddle.width[:, None]
    height, bend = nodes.height[index], slopes @ nodes.bend[:, index]
    z, dz = np.empty(bend.shape, complex), np.empty(bend.shape, complex)
    z.real, z.imag = saddle.z[:, None] + width * bend, width * height
    dz.real, dz.imag = width * (slopes @ nodes.bend_slope[:, index]), width * nodes.height_slope[index]
    return z, dz


def _trapezoid(saddle: _Saddle, path: _Path) -> tuple[list[Array], Array]:
    """Return the integral at steps .4, .2, .1 (and finer ones while they differ), and the finest mean of s."""
    # For the tail under Q the transform variable is 1 + s, which is z again.
    terms = path.terms()
    terms[:, 0] *= 0.5
    values = terms.imag
    totals = [values[:, ::4].sum(1) * 4 * _STEP, values[:, ::2].sum(1) * 2 * _STEP, values.sum(1) * _STEP]
    moment = _moment(terms, path.z)
    for level in range(1, _MAX_REFINEMENTS + 1):
        if np.all(_quadrature_error(totals) <= _TARGET_ERROR * totals[-1]):
            break
        step = _STEP / 2**level
        z, dz = _along(saddle, path.slopes, level, slice(0, path.z.shape[1] * 2 ** (level - 1)))
        x = (np.arange(z.shape[1]) * 2 + 1) * step
        terms = _terms(z, dz, saddle.log_integrand(z), x, path.last)
        totals.append(totals[-1] / 2 + terms.imag.sum(1) * step)
        moment = moment / 2 + _moment(terms, z) / 2**level
    return totals, moment


def _terms(z: Complex, dz: Complex, log: Complex, x: Array, last: Array) -> Complex:
    alive = x <= last[:, None] + 1e-9
    return np.asarray(np.exp(np.where(alive, log, -math.inf)) * np.where(alive, dz, 0.0) / math.pi)


def _moment(terms: Complex, z: Complex) -> Array:
    """Return the sum of terms times z at step .1, imaginary part."""
    return np.asarray(np.where(terms == 0, 0.0, terms * z).imag.sum(1) * _STEP)


def _quadrature_error(totals: list[Array]) -> Array:
    """Return an estimate of the error of the finest total, on the large side.

    The trapezoid rule converges geometrically or faster when the step is halved, so the next change is at most
    the last one times its ratio to the one before; ten times that.
    """
    before, now = np.abs(totals[-2] - totals[-3]), np.abs(totals[-1] - totals[-2])
    return np.asarray(10.0 * now * np.minimum(1.0, now / np.maximum(before, 1e-300)))
