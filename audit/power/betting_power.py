"""What an audit that stops when decided could have seen within its budget of pairs.

In the flow: reports print it beside every verdict, as :mod:`audit.power.ceilings` does for a fixed number of trials. No
test of data looks at it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from audit.power.alternatives import gaussian_epsilon
from audit.power.ceilings import smallest_response
from audit.statistics.bets import growth
from audit.statistics.bounds import ceiling
from audit.statistics.e_process import threshold
from mechanisms.claim import EpsilonDelta

Floats = NDArray[np.float64]
_SMALLEST_MU, _LARGEST_MU = 1e-3, 40.0
# What spreading the capital over bets costs, in nats, when some hundred trials have weighed them (measured: 0.3 to 1).
_SPREAD = 1.0


def detectable_by_betting(*, point: EpsilonDelta, n: int, level: float, target_power: float = 0.8) -> float:
    """Return the smallest epsilon, of a stated alternative, that an e-process would refute within its budget.

    Parameters
    ----------
    point
        The claim; the alternatives are those of :func:`audit.power.ceilings.detectable_epsilon`.
    n
        Pairs that may be counted at most.
    level
        Level of the one test.
    target_power
        Probability of refuting.

    Returns
    -------
    float
        In nats; infinity where none is large enough.

    Notes
    -----
    Approximate: the best threshold and bet are known in advance, the logarithm of the capital is taken as normal after
    n pairs, and a refutation on the way there is not counted, nor what other attacks add.
    """
    if point.epsilon >= ceiling(n_null=n, level=level, delta=point.delta):
        return math.inf
    if point.delta == 0:
        return smallest_response(
            lambda p1, p0: _score(p1, p0, point, n, level) - float(ndtri(target_power)), above=point.epsilon
        )

    def shortfall(log_mu: float) -> float:
        return float(ndtri(target_power)) - _best_score(math.exp(log_mu), point, n, level)

    low, high = math.log(_SMALLEST_MU), math.log(_LARGEST_MU)
    if shortfall(high) > 0:
        return math.inf
    mu = _SMALLEST_MU if shortfall(low) <= 0 else math.exp(brentq(shortfall, low, high, xtol=0.01))
    return float(gaussian_epsilon(mu, point.delta))


def _best_score(mu: float, point: EpsilonDelta, n: int, level: float) -> float:
    """Return by how many standard deviations the capital is expected beyond the threshold, for the best event."""
    x = np.linspace(min(-2.0, mu - 5), mu + 5, 101)
    return _score(ndtr(mu - x), ndtr(-x), point, n, level)


def _score(p1: Floats, p0: Floats, point: EpsilonDelta, n: int, level: float) -> float:
    mean, variance = growth(p1, p0, epsilon=point.epsilon, delta=point.delta)
    ahead = n * mean - threshold(level) - _SPREAD
    return float(np.max(np.clip(ahead / np.sqrt(n * variance + 1e-12), -40, 40)))
