"""Renyi divergence to (epsilon, delta): composition, conversion, and the Renyi bound on a pair of Gaussian laws.

The exact route integrates the privacy loss; this one bounds it through its moments. It needs no more than the moments,
so it serves mechanisms for which nothing else is known, and here it is a baseline that is never below the exact value.

References
----------
Mironov 2017, "Renyi differential privacy", Propositions 1 and 3 (arXiv:1702.07476).
Balle, Barthe, Gaboardi, Hsu, Sato 2020, "Hypothesis testing interpretations and Renyi differential privacy", Theorem 21
(arXiv:1905.09982); Canonne, Kamath, Steinke 2020, "The discrete Gaussian", Proposition 12 (arXiv:2004.00010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Certificate, Claim, Direction, PrivacyProfile, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Array

# Every epsilon and log delta is raised by this share of the terms that it is a sum of.
ROUNDING = 1e-10
# Orders at which a pair's curve is evaluated before the best one is refined.
N_ORDERS = 160
RENYI_BOUND = (
    "An upper bound: the Renyi divergence of the exact laws, converted at the best order (Balle et al. 2020, Theorem "
    "21). The exact epsilon is at most this."
)
# Rows of the certificate's table, in units of the headline epsilon.
_PROFILE_GRID = np.concatenate([np.linspace(0.0, 2.0, 41), np.linspace(2.25, 4.0, 8)])


def mironov_epsilon(order: ArrayLike, divergence: ArrayLike, delta: float) -> Array:
    """Return an upper bound on epsilon at ``delta`` from a Renyi divergence; never below :func:`improved_epsilon`.

    Parameters
    ----------
    order
        alpha above 1, infinity allowed, a scalar or of any shape; broadcast with ``divergence``.
    divergence
        Upper bound on the Renyi divergence of that order, at least 0, in nats, a scalar or of any shape.
    delta
        In (0, 1].

    Returns
    -------
    array
        In nats, of the common shape; one bound for each order, and each is valid.

    Raises
    ------
    InvalidInputError
        When delta is not in (0, 1].

    Notes
    -----
    Conservative, in the direction of the divergence alone. Ranges of the arrays are not checked.

    References
    ----------
    Mironov 2017, "Renyi differential privacy", Proposition 3 (arXiv:1702.07476).

    Examples
    --------
    >>> round(float(mironov_epsilon(10.0, 0.5, 1e-5)), 4)
    1.7792
    """
    _check_delta(delta)
    return np.asarray(np.asarray(divergence) - math.log(delta) / (np.asarray(order) - 1))


def _check_delta(delta: float) -> None:
    if not 0 < delta <= 1:
        raise InvalidInputError(field="delta", expected="in (0, 1]", got=delta, fix="1e-5 is usual")


def improved_epsilon(order: ArrayLike, divergence: ArrayLike, delta: float) -> Array:
    """Return an upper bound on epsilon at ``delta`` from a Renyi divergence; may be negative, which is still valid.

    Parameters
    ----------
    order, divergence, delta
        As in :func:`mironov_epsilon`, in shape too.

    Returns
    -------
    array
        In nats, of the common shape; one bound for each order, and each is valid.

    Raises
    ------
    InvalidInputError
        When delta is not in (0, 1].

    Notes
    -----
    Conservative: Chernoff's bound, never below the exact epsilon of that direction.

    References
    ----------
    Balle et al. 2020, Theorem 21 (arXiv:1905.09982); Canonne et al. 2020, Proposition 12 (arXiv:2004.00010).

    Examples
    --------
    >>> round(float(improved_epsilon(10.0, 0.5, 1e-5)), 4)
    1.418
    """
    _check_delta(delta)
    alpha = np.asarray(order, dtype=np.float64)
    # At infinite order the divergence itself bounds the loss, and there is nothing to gain.
    finite = np.where(np.isinf(alpha), 2.0, alpha)
    gain = np.where(np.isinf(alpha), 0.0, np.log(finite) / (finite - 1) - np.log1p(-1 / finite))
    return np.asarray(mironov_epsilon(alpha, divergence, delta) - gain)


def improved_log_delta(order: ArrayLike, divergence: ArrayLike, epsilon: float) -> Array:
    """Return an upper bound on log delta at ``epsilon`` from a Renyi divergence, the inverse of the epsilon bound.

    Parameters
    ----------
    order, divergence
        As in :func:`mironov_epsilon`, in shape too.
    epsilon
        In nats, any sign.

    Returns
    -------
    array
        Of the common shape, not capped at 0; ``-inf`` at infinite order from the divergence on.

    Notes
    -----
    Conservative; one bound for each order, and each is valid.

    References
    ----------
    As :func:`improved_epsilon`.
    """
    alpha, rho = np.asarray(order, dtype=np.float64), np.asarray(divergence, dtype=np.float64)
    finite = np.isfinite(alpha)
    a = np.where(finite, alpha, 2.0)
    bound = (a - 1) * (rho - epsilon + np.log1p(-1 / a)) - np.log(a)
    return np.asarray(np.where(finite, bound, np.where(rho <= epsilon, -math.inf, 0.0)))


@dataclass(frozen=True, kw_only=True, eq=False)
class RenyiCurve:
    """Upper bounds on the Renyi divergence of P from Q at some orders; each alone implies (epsilon, delta) points.

    Parameters
    ----------
    orders
        Above 1, infinity allowed, shape (m,).
    divergences
        At least 0, in nats, infinity allowed, shape (m,).

    Raises
    ------
    InvalidInputError
        When a value is out of range or the shapes differ.

    Notes
    -----
    Conservative: epsilon and delta are the best over the orders of the better conversion; the bound on total variation
    that follows from the smallest divergence serves where it is better still. Raised by more than the rounding error.

    References
    ----------
    Mironov 2017, "Renyi differential privacy" (arXiv:1702.07476); :func:`improved_epsilon` for the conversion.

    Examples
    --------
    >>> curve = RenyiCurve.of_gaussian(0.5, orders=np.linspace(1.5, 60, 200))
    >>> round(curve.epsilon(1e-5), 3)
    2.166
    """

    orders: Array
    divergences: Array

    def __post_init__(self) -> None:
        orders, divergences = np.asarray(self.orders), np.asarray(self.divergences)
        require(
            orders.ndim == 1 and len(orders) > 0 and bool(np.all(orders > 1)),
            "orders",
            expected="a list of numbers above 1",
            got=orders,
            fix="for example [1.5, 2, 4, 8, 16]",
        )
        require(
            divergences.shape == orders.shape and bool(np.all(divergences >= 0)),
            "divergences",
            expected=f"{len(orders)} values at least 0",
            got=divergences,
            fix="give one for every order",
        )

    @staticmethod
    def of_gaussian(mu: float, orders: ArrayLike) -> RenyiCurve:
        """Return the exact curve ``order mu^2 / 2`` of two unit Gaussians whose means are mu apart.

        Parameters
        ----------
        mu
            Any real number; its sign does not matter.
        orders
            Above 1, shape (m,).

        Raises
        ------
        InvalidInputError
            When an order is not above 1.
        """
        alpha = np.asarray(orders, dtype=np.float64)
        return RenyiCurve(orders=alpha, divergences=alpha * mu**2 / 2)

    @staticmethod
    def of_pair(pair: GaussianPair, orders: ArrayLike) -> RenyiCurve:
        """Return the exact curve of P from Q of a pair of Gaussian laws, up to rounding.

        Parameters
        ----------
        pair
            The two laws.
        orders
            Above 1, infinity allowed, shape (m,).

        Raises
        ------
        InvalidInputError
            When an order is not above 1.
        """
        alpha = np.asarray(orders, dtype=np.float64)
        finite = np.isfinite(alpha)
        divergences = np.full(alpha.shape, pair.max_loss)
        divergences[finite] = np.asarray(pair.cumulant(alpha[finite] - 1)) / (alpha[finite] - 1)
        # A divergence is at least 0; rounding may say otherwise for nearly equal laws.
        return RenyiCurve(orders=alpha, divergences=np.maximum(divergences, 0.0))

    def epsilon(self, delta: float) -> float:
        """Return an upper bound on epsilon at ``delta``, minimised over the orders, at least 0; delta in (0, 1].

        Raises
        ------
        InvalidInputError
            When delta is outside (0, 1].
        """
        _check_delta(delta)
        if self._log_total_variation <= math.log(delta):
            return 0.0
        scale = 1 + mironov_epsilon(self.orders, 0.0, delta)
        bounds = improved_epsilon(self.orders, self.divergences, delta) + ROUNDING * (self.divergences + scale)
        return max(float(np.min(bounds)), 0.0)

    def log_delta(self, epsilon: float) -> float:
        """Return an upper bound on log delta at ``epsilon`` (at least 0), minimised over the orders, at most 0.

        Raises
        ------
        InvalidInputError
            When epsilon is negative or NaN.
        """
        if not epsilon >= 0:
            raise InvalidInputError(field="epsilon", expected="at least 0", got=epsilon, fix="give epsilon in nats")
        bound = min(float(np.min(improved_log_delta(self.orders, self.divergences, epsilon))), 0.0)
        return min(bound * (1 - ROUNDING), self._log_total_variation)

    @property
    def _log_total_variation(self) -> float:
        """Bound on log delta at epsilon 0 from the Kullback-Leibler divergence, which no order's is below.

        The smaller of Pinsker's and of Bretagnolle and Huber's.
        """
        divergence = float(np.min(self.divergences))
        squared = min(divergence / 2, -math.expm1(-divergence))
        return min(0.5 * math.log(squared) + ROUNDING, 0.0) if squared > 0 else -math.inf


def compose(curves: Sequence[RenyiCurve]) -> RenyiCurve:
    """Return the curve of releasing all of the outputs, chosen adaptively: divergences add up at each order.

    Raises
    ------
    InvalidInputError
        When there is no curve, or the orders differ.

    References
    ----------
    Mironov 2017, Proposition 1.
    """
    if not curves or any(not np.array_equal(curve.orders, curves[0].orders) for curve in curves):
        raise InvalidInputError(
            field="curves",
            expected="at least one, all at the same orders",
            got=[len(curve.orders) for curve in curves],
            fix="evaluate every mechanism at one list of orders",
        )
    return RenyiCurve(orders=curves[0].orders, divergences=np.sum([curve.divergences for curve in curves], axis=0))


def best_curve(pair: GaussianPair, delta: float) -> RenyiCurve:
    """Return the pair's curve, from P to Q, at a grid of orders and at the order that is best at ``delta``.

    Parameters
    ----------
    pair
        The two laws; the other direction is that of ``pair.reversed()``.
    delta
        In (0, 1].

    Raises
    ------
    InvalidInputError
        When delta is not positive, unless the laws are identical or disjoint.

    Notes
    -----
    The grid reaches up to the largest order with a finite divergence, and infinity is one of its orders: finite where
    the loss is bounded. The divergences are exact up to rounding; a choice of orders can only make bounds looser.

    References
    ----------
    As :func:`improved_epsilon`, which the order is best for.
    """
    if pair.identical or pair.disjoint:
        return RenyiCurve.of_pair(pair, [math.inf])
    widest = float(np.max(pair.variance_ratios))
    # Finite for order - 1 below this; 1 - 1e-9 keeps clear of it.
    end = (1 - 1e-9) / (widest - 1) if widest > 1 else math.inf
    reach = np.geomspace(1e-3, 1e8, N_ORDERS)
    orders = np.append(1 + 1 / (1 / reach + 1 / end), math.inf)
    curve = RenyiCurve.of_pair(pair, np.unique(orders))
    at = int(np.argmin(improved_epsilon(curve.orders, curve.divergences, delta)))
    low, high = max(at - 1, 0), min(at + 1, len(curve.orders) - 2)

    def bound(log_s: float) -> float:
        order = 1 + math.exp(log_s)
        return float(improved_epsilon(order, pair.renyi(order), delta))

    if low >= high:
        return curve
    # Loading this takes a third of a second, and only some curves need it.
    from scipy.optimize import minimize_scalar

    bounds = tuple(math.log(float(curve.orders[i]) - 1) for i in (low, high))
    found = minimize_scalar(bound, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return RenyiCurve.of_pair(pair, np.append(curve.orders, 1 + math.exp(float(found.x))))


def renyi_certificate(
    pair: GaussianPair, *, delta: float, reference: Reference = Reference.RETRAIN_THEN_UNLEARN
) -> Certificate:
    """Return an upper bound on the epsilon of two Gaussian laws at ``delta``, both directions, by Renyi divergence.

    Parameters
    ----------
    pair
        Laws of the unlearned and of the retrained world.
    delta
        In (0, 1].
    reference
        The reference world that the retrained law belongs to.

    Returns
    -------
    Certificate
        Its epsilon is the larger one of the two directions, in nats; infinite for disjoint worlds.

    Raises
    ------
    InvalidInputError
        When delta is above 1 or NaN.
    InvalidInputError
        When delta is not in (0, 1].

    Notes
    -----
    Conservative: never below the exact epsilon of :class:`~mechanisms.accounting.gaussian_pair.GaussianPair`.

    References
    ----------
    As :func:`improved_epsilon`.
    """
    ways = {
        Direction.UNLEARNED_FROM_RETRAINED: best_curve(pair, delta),
        Direction.RETRAINED_FROM_UNLEARNED: best_curve(pair.reversed(), delta),
    }
    headlines = [curve.epsilon(delta) for curve in ways.values()]
    epsilon = max(headlines)
    rows = np.zeros(1)
    if 0 < epsilon < math.inf:
        rows = np.unique(np.concatenate([epsilon * _PROFILE_GRID, headlines]))
    table = {
        way: tuple(np.minimum.accumulate([curve.log_delta(float(e)) for e in rows]).tolist())
        for way, curve in ways.items()
    }
    claim = Claim(
        guarantee=PrivacyProfile(epsilons=tuple(rows.tolist()), log_deltas=table),
        reference=reference,
        provenance="published",
        assumptions=(RENYI_BOUND, "The last iterate alone is released."),
    )
    return Certificate(claim=claim, method="renyi", epsilon=epsilon, delta=delta, numerical_error=ROUNDING)
