"""The exact privacy profile of two Gaussians with different means and covariances: no bound, no failure probability.

A mechanism that knows its two laws builds a :class:`GaussianPair` and takes its certificate from
:meth:`GaussianPair.epsilon` or :meth:`GaussianPair.profile`. The integrals are in
``mechanisms.accounting.contour``, the change of coordinates in ``mechanisms.accounting.whitening``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from mechanisms.accounting import gdp
from mechanisms.accounting.contour import (
    HOCKEY_STICK,
    TAIL_UNDER_P,
    TAIL_UNDER_Q,
    Integral,
    Kernel,
    integrate,
)
from mechanisms.accounting.grids import guess_epsilon, profile_levels, trade_off_thresholds
from mechanisms.accounting.loss_cumulant import UNIT, LossCumulant, group_coordinates, merge_near_one
from mechanisms.accounting.whitening import relative_coordinates
from mechanisms.claim import Direction, PrivacyProfile
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Array, GaussianLaw

# Guaranteed relative error of delta and of both tails wherever they are at least 1e-30 (checked against mpmath).
# The one exception is epsilon within a share 1e-4 of a largest loss, or of what nearly is one: there its last digit
# decides, and the error that every value carries says how much.
RELATIVE_ERROR = 1e-10

# A larger error makes a second evaluation worth while.
SUSPECT_ERROR = 5e-12
# The share below a largest loss where rounding decides everything.
EDGE = 1e-10
# Squared shifts beyond this are as good as infinite: epsilon would be half of it, far beyond any promise.
HOPELESS = 1e60
# Log delta at a returned epsilon is below its target by at most this and a few times its own numerical error.
SEARCH_TOLERANCE = 1e-11


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianPair:
    """Two matrix laws with independent columns, jointly diagonalised: P = N(u, diag c), Q = N(0, I) per column.

    Throughout, the privacy loss is ``log dP/dQ`` and the hockey-stick divergence of P from Q at epsilon is
    ``sup_E P(E) - e^epsilon Q(E)``. The other direction is :meth:`reversed`.

    Parameters
    ----------
    variance_ratios
        c, positive, shape (p,).
    squared_shifts
        b, the sum over columns of u^2, at least 0, shape (p,). Infinity anywhere means that the two worlds are
        disjoint: an event has probability 1 in one of them and 0 in the other. Beyond 1e60 a shift counts as infinite.
    n_columns
        Number of columns that share c, at least 1.

    Raises
    ------
    InvalidInputError
        When a parameter is out of range.

    Notes
    -----
    Exact up to numerical error, which every value carries (:meth:`evaluate`). Coordinates of ratio 1 without a
    shift are free of charge. Methods of an epsilon or a threshold return its shape, and refuse NaN by an
    ``InvalidInputError``.

    References
    ----------
    Benarroch, Atif, Cappe 2026 (arXiv:2602.15602); Alghamdi et al. 2023, "The saddle-point method in differential
    privacy" (preprint arXiv:2208.09595).

    Examples
    --------
    >>> pair = GaussianPair(variance_ratios=np.array([0.5, 1.0]), squared_shifts=np.array([0.01, 0.2]))
    >>> round(pair.delta(0.5), 6), round(pair.epsilon(1e-5), 4)
    (0.075863, 2.021)
    """

    variance_ratios: Array
    squared_shifts: Array
    n_columns: int = 1

    def __post_init__(self) -> None:
        c = np.array(self.variance_ratios, dtype=np.float64)
        b = np.array(self.squared_shifts, dtype=np.float64)
        require(
            c.ndim == 1 and c.shape == b.shape,
            "squared_shifts",
            expected=f"of shape {c.shape}",
            got=f"shape {b.shape}",
            fix="give one per ratio",
        )
        outside, negative = c[~((c > 0) & np.isfinite(c))], b[~(b >= 0)]
        require(
            not outside.size,
            "variance_ratios",
            expected="positive and finite",
            got=next(iter(outside), None),
            fix="drop directions in which neither law varies, or use from_laws",
        )
        first = next(iter(negative), None)
        require(not negative.size, "squared_shifts", expected="at least 0", got=first, fix="square")
        require(self.n_columns >= 1, "n_columns", expected="at least 1", got=self.n_columns, fix="count columns")
        b[(b > HOPELESS) | (b > HOPELESS * c)] = math.inf
        for name, values in (("variance_ratios", c), ("squared_shifts", b)):
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @staticmethod
    def from_laws(p: GaussianLaw, q: GaussianLaw) -> GaussianPair:
        """Return the pair of two Gaussian laws of one shape.

        Parameters
        ----------
        p, q
            The law whose events are bounded, and the law that bounds them (unlearned and retrained world).
            Covariances may be singular: common null directions with equal means are dropped, anything that
            separates the laws with probability one gives a disjoint pair (delta = 1 for every epsilon).

        Raises
        ------
        InvalidInputError
            When shapes differ or an entry is not finite.
        """
        coordinates = relative_coordinates(p, q)
        if coordinates is None:
            coordinates = (np.ones(1), np.full(1, math.inf))
        return GaussianPair(
            variance_ratios=coordinates[0], squared_shifts=coordinates[1], n_columns=int(p.mean.shape[1])
        )

    def reversed(self) -> GaussianPair:
        """Return the pair with P and Q exchanged."""
        return GaussianPair(
            variance_ratios=1.0 / self.variance_ratios,
            squared_shifts=self.squared_shifts / self.variance_ratios,
            n_columns=self.n_columns,
        )

    @property
    def disjoint(self) -> bool:
        """Whether an event has probability 1 under P and 0 under Q."""
        return bool(np.isinf(self.squared_shifts).any())

    @property
    def identical(self) -> bool:
        """Whether P equals Q."""
        return bool(np.all(self.variance_ratios == 1) and np.all(self.squared_shifts == 0))

    @cached_property
    def max_loss(self) -> float:
        """Largest possible privacy loss in nats, rounded up; delta is exactly 0 from there on. Usually infinite."""
        c, b = self.variance_ratios, self.squared_shifts
        if self.disjoint or np.any(c > 1) or np.any((c == 1) & (b > 0)):
            return math.inf
        inside = c < 1
        noise = -0.5 * self.n_columns * np.log(c[inside])
        shift = 0.5 * b[inside] / (1.0 - c[inside])
        total = float(np.sum(noise) + np.sum(shift))
        return total * (1.0 + 64 * UNIT)

    @overload
    def log_delta(self, epsilon: float) -> float: ...
    @overload
    def log_delta(self, epsilon: ArrayLike) -> float | Array: ...
    def log_delta(self, epsilon: ArrayLike) -> float | Array:
        """Return log delta at epsilon (nats, any sign; scalar or array), best value; ``-inf`` for delta = 0."""
        return _unwrap(self.evaluate(HOCKEY_STICK, epsilon).log_value)

    @overload
    def log_delta_upper(self, epsilon: float) -> float: ...
    @overload
    def log_delta_upper(self, epsilon: ArrayLike) -> float | Array: ...
    def log_delta_upper(self, epsilon: ArrayLike) -> float | Array:
        """Return log delta at epsilon, rounded up by more than its numerical error and at most 0."""
        return _unwrap(self.evaluate(HOCKEY_STICK, epsilon).log_upper)

    @overload
    def delta(self, epsilon: float) -> float: ...
    @overload
    def delta(self, epsilon: ArrayLike) -> float | Array: ...
    def delta(self, epsilon: ArrayLike) -> float | Array:
        """Return the hockey-stick divergence of P from Q at epsilon (nats, any sign), best value."""
        return _unwrap(np.exp(self.evaluate(HOCKEY_STICK, epsilon).log_value))

    @overload
    def tail_p(self, t: float) -> float: ...
    @overload
    def tail_p(self, t: ArrayLike) -> float | Array: ...
    def tail_p(self, t: ArrayLike) -> float | Array:
        """Return P(loss > t), the true-positive rate of the optimal test at threshold t, best value."""
        return _unwrap(np.exp(self.evaluate(TAIL_UNDER_P, t).log_value))

    @overload
    def tail_q(self, t: float) -> float: ...
    @overload
    def tail_q(self, t: ArrayLike) -> float | Array: ...
    def tail_q(self, t: ArrayLike) -> float | Array:
        """Return Q(loss > t), the false-positive rate of the optimal test at threshold t, best value."""
        return _unwrap(np.exp(self.evaluate(TAIL_UNDER_Q, t).log_value))

    def epsilon(self, delta: float) -> float:
        """Return the smallest epsilon of this direction at ``delta``, rounded up: delta there is at most ``delta``.

        Parameters
        ----------
        delta
            In [0, 1].

        Returns
        -------
        float
            In nats, at least 0; 0 if delta(0) is at most ``delta``; infinite if no epsilon reaches it (delta = 0
            with an unbounded loss, or disjoint worlds and delta < 1).

        Raises
        ------
        InvalidInputError
            When delta is outside [0, 1].
        """
        if not 0 <= delta <= 1:
            raise InvalidInputError(field="delta", expected="in [0, 1]", got=delta, fix="give a probability")
        if delta == 1 or self.identical:
            return 0.0
        if delta == 0 or self.disjoint:
            return self.max_loss
        target, largest = math.log(delta), self.max_loss
        start = guess_epsilon(self.loss, np.array([target - SEARCH_TOLERANCE / 2]), np.array([largest]))
        # Far above 0 there is no need to ask whether 0 is enough.
        if start.near_zero[0] and self.log_delta_upper(0.0) <= target:
            return 0.0
        guess = float(start.levels[0])
        if math.isinf(largest):
            return gdp.smallest_passing(lambda e: self._excess(e, target), start=guess)

        # Near a largest loss delta is a power of what is left of it, so the search is in the logarithm of that.
        def at(depth: float) -> float:
            return -largest * math.expm1(-depth)

        def excess(depth: float) -> tuple[float, float, float]:
            gap, slope, tolerance = self._excess(at(depth), target)
            return gap, slope * largest * math.exp(-depth), tolerance

        return at(gdp.smallest_passing(excess, start=-math.log1p(-guess / largest)))

    def cumulant(self, s: ArrayLike) -> float | Array:
        """Return ``log E_P e^(s loss)`` at real s; infinite outside the interval where it is finite."""
        s = np.asarray(s, dtype=np.float64)
        if self.disjoint:
            return _unwrap(np.where(s == 0, 0.0, np.where(s > 0, math.inf, -math.inf)))
        loss = self.loss
        inside = np.all(1.0 + s[..., None] * loss.gaps[0] > 0, axis=-1)
        flat = np.where(inside, s, 0.0).ravel()
        return _unwrap(np.where(inside, loss.value(flat).reshape(s.shape), math.inf))

    def renyi(self, order: float) -> float:
        """Return the Renyi divergence of P from Q of an order above 0 (1 is Kullback-Leibler), in nats.

        Raises
        ------
        InvalidInputError
            When the order is not positive.
        """
        if not order > 0:
            raise InvalidInputError(field="order", expected="above 0", got=order, fix="give an order, for example 2")
        if self.disjoint or math.isinf(order):
            return self.max_loss
        if order == 1:
            return float(self.loss.derivatives(np.zeros(1))[0][0])
        return float(self.cumulant(order - 1.0)) / (order - 1.0)

    def trade_off(self, n_points: int = 201) -> tuple[Array, Array]:
        """Return the exact trade-off function of Q against P: error rates of the likelihood-ratio test.

        Parameters
        ----------
        n_points
            Number of points, at least 2.

        Returns
        -------
        fpr, fnr
            Q(loss > t) increasing from 0 to 1 and P(loss <= t) decreasing from 1 to 0, best values, for thresholds
            spread from one tail to the other, each of shape (n_points,). Disjoint worlds give the corner (0, 0).

        Raises
        ------
        InvalidInputError
            When fewer than 2 points are asked for.
        """
        if n_points < 2:
            raise InvalidInputError(field="n_points", expected="at least 2", got=n_points, fix="ask for more points")
        if self.identical or self.disjoint:
            fpr = np.linspace(0.0, 1.0, n_points)
            return fpr, 1.0 - fpr if self.identical else np.zeros(n_points)
        t = trade_off_thresholds(self.loss, n_points - 2)
        # Each rate from its own integral: 1 - P(loss > t) would lose a small false-negative rate.
        fpr = np.maximum.accumulate(np.asarray(self.tail_q(t)))
        fnr = np.minimum.accumulate(np.asarray(self.reversed().tail_q(-t)))
        return np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[1.0], fnr, [0.0]])

    def profile(self, epsilons: Sequence[float] | Array | None = None) -> PrivacyProfile:
        """Return delta(epsilon) in both directions as a table, every row rounded up by more than its error.

        Parameters
        ----------
        epsilons
            At least 0, in nats; by default a grid from 0 to where the larger delta is below about 1e-12, denser
            where delta is between 1e-6 and 0.3.

        Returns
        -------
        PrivacyProfile
            With P as the unlearned world and Q as the retrained one.

        Raises
        ------
        InvalidInputError
            When an epsilon is negative or not a number.
        """
        other = self.reversed()
        grid = self._default_epsilons(other) if epsilons is None else np.unique(np.asarray(epsilons, dtype=np.float64))
        if len(grid) == 0 or not np.all(grid >= 0):
            raise InvalidInputError(field="epsilons", expected="at least 0", got=epsilons, fix="give nats, say [0, 1]")
        log_deltas = {
            Direction.UNLEARNED_FROM_RETRAINED: self._rows(grid),
            Direction.RETRAINED_FROM_UNLEARNED: other._rows(grid),
        }
        return PrivacyProfile(epsilons=tuple(grid.tolist()), log_deltas=log_deltas)

    def evaluate(self, kernel: Kernel, level: ArrayLike) -> Integral:
        """Return the logarithm of an integral at each level together with a bound on its numerical error.

        Parameters
        ----------
        kernel
            ``contour.HOCKEY_STICK``, ``TAIL_UNDER_P`` or ``TAIL_UNDER_Q``.
        level
            Epsilon or threshold in nats, scalar or array; infinities allowed.

        Raises
        ------
        InvalidInputError
            When a level is NaN.
        """
        t = np.asarray(level, dtype=np.float64)
        if np.isnan(t).any():
            raise InvalidInputError(field="epsilon", expected="a number", got="NaN", fix="give epsilon in nats")
        flat = t.ravel()
        log_value, log_error, mean_s = self._trivial(kernel, flat)
        open_ = np.isnan(log_value)
        if open_.any():
            part = self._integral(kernel, flat[open_]) if self.is_ordinary else self._closed_form(kernel, flat[open_])
            log_value[open_], log_error[open_], mean_s[open_] = part.log_value, part.log_error, part.mean_s
        return Integral(
            log_value=np.minimum(log_value, 0.0).reshape(t.shape),
            log_error=log_error.reshape(t.shape),
            mean_s=mean_s.reshape(t.shape),
        )

    def _excess(self, epsilon: float, target: float) -> tuple[float, float, float]:
        """How far log delta, rounded up, is above the target; its slope; and what counts as close enough."""
        result = self.evaluate(HOCKEY_STICK, epsilon)
        error = float(result.log_error) if math.isfinite(result.log_error) else 0.0
        return float(result.log_upper) - target, -float(result.mean_s), SEARCH_TOLERANCE + 4 * error

    def _trivial(self, kernel: Kernel, t: Array) -> tuple[Array, Array, Array]:
        """Values known without integration, NaN elsewhere."""
        log_value = np.full(t.shape, math.nan)
        log_value[t == -math.inf] = 0.0
        if self.disjoint:
            log_value[:] = -math.inf if kernel == TAIL_UNDER_Q else 0.0
        elif self.identical:
            below = np.log(-np.expm1(np.minimum(t, -1e-300))) if kernel == HOCKEY_STICK else np.zeros(t.shape)
            log_value = np.where(t < 0, below, -math.inf)
        else:
            log_value[(t >= self.max_loss) | (t == math.inf)] = -math.inf
        return log_value, np.zeros(t.shape), np.zeros(t.shape)

    def _closed_form(self, kernel: Kernel, t: Array) -> Integral:
        """Equal covariances: Gaussian differential privacy."""
        mu = math.sqrt(float(self.loss.flat_shift[0]))
        if kernel == HOCKEY_STICK:
            log_value = np.asarray(gdp.log_delta(mu, t))
            log_slope = np.minimum(t + log_ndtr(-t / mu - mu / 2) - log_value, 700.0)
            error = gdp.log_delta_error(mu, t, log_value)
            return Integral(log_value=log_value, log_error=error, mean_s=np.exp(log_slope))
        log_value = log_ndtr((mu / 2 if kernel == TAIL_UNDER_P else -mu / 2) - t / mu)
        error = 1e-14 * (1.0 + np.abs(log_value))
        return Integral(log_value=log_value, log_error=error, mean_s=np.zeros(t.shape))

    def _integral(self, kernel: Kernel, t: Array) -> Integral:
        # In the last sliver below a largest loss its rounding decides everything: the level before bounds those.
        edge = self.max_loss * (1.0 - EDGE)
        inside = np.minimum(t, edge)
        result = integrate(self.loss, inside, kernel)
        suspect = result.log_error > SUSPECT_ERROR
        if self.loss.skew_neglected[0] > 0 and suspect.any():
            # The merged coordinates may be what costs accuracy: take every coordinate by itself there.
            again = integrate(self.every_coordinate, inside[suspect], kernel)
            for old, new in zip(
                (result.log_value, result.log_error, result.mean_s),
                (again.log_value, again.log_error, again.mean_s),
                strict=True,
            ):
                old[suspect] = new
        result.log_error[t > edge] = math.inf
        return result

    @cached_property
    def every_coordinate(self) -> LossCumulant:
        """Cumulant function of the loss, one row, nothing merged but equal ratios."""
        return group_coordinates(self.variance_ratios, self.squared_shifts, self.n_columns)

    @cached_property
    def loss(self) -> LossCumulant:
        """Cumulant function of the loss, one row, ratios very near 1 merged."""
        return merge_near_one(self.every_coordinate)

    @property
    def is_ordinary(self) -> bool:
        """Whether integrals are needed: the laws overlap and their covariances differ."""
        return self.every_coordinate.weights.shape[1] > 0 and not self.disjoint

    def _default_epsilons(self, other: GaussianPair) -> Array:
        if self.identical or self.disjoint:
            return np.zeros(1)
        top = float(self.delta(0.0))
        mine, theirs = (profile_levels(pair.loss, largest_delta=top, density=2) for pair in (self, other))
        if np.allclose(mine, theirs, rtol=0.02):
            # One direction's grid serves both.
            mine = profile_levels(self.loss, largest_delta=top, density=4)
            theirs = np.empty(0)
        ends = np.array([0.0, self.max_loss, other.max_loss])
        points = np.unique(np.concatenate([np.minimum(mine, self.max_loss), np.minimum(theirs, other.max_loss), ends]))
        return np.asarray(points[np.isfinite(points)])

    def _rows(self, grid: Array) -> tuple[float, ...]:
        upper = np.asarray(self.log_delta_upper(grid))
        # Not increasing, by raising earlier rows.
        return tuple(np.maximum.accumulate(upper[::-1])[::-1].tolist())


def _unwrap(values: Array) -> float | Array:
    return float(values) if np.ndim(values) == 0 else values
