"""A pair of Gaussians known up to a bounded error, and epsilons that are on the safe side of that error.

Between ``mechanisms.ridge.reduced.krylov``, which truncates, and the exact accounting, which does not know that it did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, PrivacyProfile

Array = NDArray[np.float64]

# The share of delta that pays for the event on which the two versions of a law differ by more than the slack.
SHARE = 1e-12
LOG_SHARE = -math.log(SHARE)
# Log delta below which a row of a table is not asked to follow.
_LOG_FLOOR = -690.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundedPair:
    """A pair whose first law is known up to an error, measured where the second law is standard normal.

    Parameters
    ----------
    pair
        Best value of the pair (unlearned, retrained).
    change_error
        Bound on the error of P's covariance, Frobenius norm, in coordinates where Q is N(0, I).
    shift_error
        Bound on the error of the mean difference, Frobenius norm over all columns, in the same coordinates.

    Notes
    -----
    With P the true first law and R the known one, both in those coordinates, ``P(E) <= e^t R(E) + d`` and the reverse
    hold for the slack t of :meth:`slack`; chaining this with a bound between R and Q gives one between P and Q, in
    either direction. No failure probability, no asymptotics.
    """

    pair: GaussianPair
    change_error: float
    shift_error: float

    def __post_init__(self) -> None:
        for name in ("change_error", "shift_error"):
            # What overflowed on the way is not known at all.
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, math.inf)

    def slack(self, log_odds: float | Array) -> float | Array:
        """Return t such that ``P(E) <= e^t R(E) + e^-log_odds`` for every event, and the same with P and R swapped.

        Notes
        -----
        Chernoff's bound on the loss of P against R. With x the relative error of the covariance and b that of the
        squared shift, its cumulant function is at most ``s (1 + s) (q x^2 / 2 + b)`` while ``s x <= 1/2``.
        """
        odds = np.asarray(log_odds, dtype=np.float64)
        margin = float(np.min(self.pair.variance_ratios, initial=1.0)) - self.change_error
        if not margin > 0 or self.pair.disjoint:
            return _unwrap(np.full(odds.shape, math.inf))
        change, shift = self.change_error / margin, self.shift_error**2 / margin
        growth = self.pair.n_columns * change**2 / 2 + shift
        if growth == 0:
            return _unwrap(np.zeros(odds.shape))
        if change > 0.5:
            return _unwrap(np.full(odds.shape, math.inf))
        s = np.sqrt(odds / growth)
        if change > 0:
            s = np.minimum(s, 0.5 / change)
        return _unwrap((1 + s) * growth + odds / s)

    def epsilons(self, delta: float) -> tuple[float, float]:
        """Return epsilon at ``delta`` in both directions (of ``BOTH_DIRECTIONS``), rounded up by more than the error.

        Parameters
        ----------
        delta
            In [0, 1]. At 0 any error makes epsilon infinite.
        """
        return self._directed(self.pair, delta), self._directed(self.pair.reversed(), delta)

    def epsilon(self, delta: float) -> float:
        """Return the larger of the two directions' epsilons at ``delta``, rounded up by more than the error."""
        return max(self.epsilons(delta))

    def error(self, delta: float, epsilon: float) -> float:
        """Return by how many nats an epsilon of this pair at ``delta`` was raised for the error."""
        if not (0 < delta < 1 and math.isfinite(epsilon)):
            return 0.0 if self.change_error == self.shift_error == 0 else math.inf
        return float(self.slack(LOG_SHARE - math.log(delta) + epsilon))

    def log_deltas(self, epsilons: Array, *, floor: float | None = None) -> tuple[Array, Array]:
        """Return log delta at each epsilon in both directions, rounded up by more than the error.

        Parameters
        ----------
        epsilons
            In nats, at least 0.
        floor
            The log delta of interest: far below it the answer is loose. By default it follows each value.
        """
        epsilons = np.asarray(epsilons, dtype=np.float64)
        return self._rows(self.pair, epsilons, floor), self._rows(self.pair.reversed(), epsilons, floor)

    def profile(self, epsilons: Array | None = None) -> PrivacyProfile:
        """Return delta(epsilon) in both directions as a table; every row is raised by more than the error.

        Parameters
        ----------
        epsilons
            At least 0 and increasing, in nats; by default the grid of :meth:`GaussianPair.profile`.
        """
        grid = np.asarray(self.pair.profile().epsilons if epsilons is None else epsilons, dtype=np.float64)
        rows = [np.maximum.accumulate(row[::-1])[::-1] for row in self.log_deltas(grid)]
        log_deltas = {direction: tuple(row.tolist()) for direction, row in zip(BOTH_DIRECTIONS, rows, strict=True)}
        return PrivacyProfile(epsilons=tuple(grid.tolist()), log_deltas=log_deltas)

    def _directed(self, pair: GaussianPair, delta: float) -> float:
        if not 0 < delta < 1 or pair.disjoint or pair.identical:
            value = pair.epsilon(delta)
            certain = (self.change_error == 0 and self.shift_error == 0) or delta == 1
            if certain or math.isinf(value):
                return value
            if delta == 0:
                return math.inf
        odds = LOG_SHARE - math.log(delta)
        slack = float(self.slack(odds))
        if math.isinf(slack):
            return math.inf
        value = pair.epsilon(delta * (1 - SHARE) * math.exp(-slack))
        # From Q to P the exceptional event is multiplied by e^epsilon.
        return value + float(self.slack(odds + value)) if math.isfinite(value) else value

    def _rows(self, pair: GaussianPair, epsilons: Array, floor: float | None) -> Array:
        best = np.asarray(pair.log_delta_upper(epsilons)) if floor is None else np.full(epsilons.shape, floor)
        slack = np.asarray(self.slack(LOG_SHARE - np.maximum(best, _LOG_FLOOR) + epsilons))
        if np.all(np.isinf(slack)):
            return np.zeros(epsilons.shape)
        raised: Array = np.asarray(pair.log_delta_upper(epsilons - slack)) + slack
        if np.all(slack == 0):
            return raised
        return np.asarray(np.minimum(np.logaddexp(raised, np.maximum(best, _LOG_FLOOR) - LOG_SHARE), 0.0))


def _unwrap(values: Array) -> float | Array:
    return float(values) if np.ndim(values) == 0 else values
