"""Where to evaluate: thresholds for a trade-off curve, epsilons for a privacy profile, first guesses.

Nothing here decides a value; ``mechanisms.accounting.gaussian_pair`` evaluates exactly at these points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.contour import HOCKEY_STICK, solve_nearby
from mechanisms.accounting.loss_cumulant import LossCumulant
from mechanisms.protocol import Array

_REACH = np.geomspace(1e-4, 1e5, 109)
# Ten times what the approximation of log delta misses.
_CURVE_ERROR = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleCurve:
    """The saddle-point approximation of log delta against epsilon, good to a few percent of delta: a first guess.

    Both of shape (rows, points), levels increasing.
    """

    levels: Array
    log_values: Array

    def level_at(self, log_value: Array) -> Array:
        """Return roughly the epsilons at which log delta has these values, shape (rows,)."""
        rows = zip(log_value, self.levels, self.log_values, strict=True)
        return np.array([np.interp(-value, -logs, levels) for value, levels, logs in rows])

    def value_at(self, level: float) -> Array:
        """Return roughly log delta at an epsilon, one a row."""
        rows = zip(self.levels, self.log_values, strict=True)
        return np.array([np.interp(level, levels, logs) for levels, logs in rows])


def saddle_curve(loss: LossCumulant) -> SaddleCurve:
    """Return the approximation over all epsilons, one point per saddle point."""
    reach = _REACH / np.sqrt(loss.variance)[:, None]
    s = 1.0 / (1.0 / reach + 1.0 / loss.upper[:, None])
    first, second = loss.derivatives(s)
    levels = first - 1.0 / s - 1.0 / (1.0 + s)
    curvature = second + 1.0 / s**2 + 1.0 / (1.0 + s) ** 2
    log_values = loss.value(s) - levels * s - np.log(s) - np.log1p(s) - 0.5 * np.log(2 * math.pi * curvature)
    return SaddleCurve(levels=levels, log_values=np.minimum.accumulate(log_values, axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class EpsilonGuess:
    """Where a search for epsilon starts, one entry a row of the loss.

    Parameters
    ----------
    levels
        Guessed epsilons in nats, positive and below the largest loss, shape (rows,); usually good to 1e-13.
    near_zero
        Whether epsilon = 0 may be enough, shape (rows,).
    """

    levels: Array
    near_zero: NDArray[np.bool_]


def guess_epsilon(loss: LossCumulant, log_delta: Array, max_loss: Array) -> EpsilonGuess:
    """Return guesses of the epsilons at which log delta has the given values, all of shape (rows,)."""
    curve = saddle_curve(loss)
    centre = np.minimum(curve.level_at(log_delta), 0.99 * max_loss)
    ordinary = (centre > 0) & np.isfinite(centre)
    centre = np.where(ordinary, centre, np.minimum(0.1 * np.sqrt(loss.variance), 0.5 * max_loss))
    found = solve_nearby(loss, centre, HOCKEY_STICK, log_delta)
    # Far from the contour that it was solved on the result means nothing.
    trusted = ordinary & (np.abs(found - centre) < 0.1 * centre) & (found < 0.999 * max_loss)
    near_zero = ~ordinary | (curve.value_at(0.0) < log_delta + _CURVE_ERROR)
    return EpsilonGuess(levels=np.where(trusted, found, centre), near_zero=near_zero)


def profile_levels(loss: LossCumulant, *, largest_delta: float, density: int) -> Array:
    """Return epsilons where delta roughly runs from its value at 0 to below 1e-12, 12 times ``density`` of them.

    Two thirds of them lie where delta is between 1e-6 and 0.3.
    """
    knee = min(0.3, largest_delta)
    foot = min(1e-6, knee * 1e-2)
    targets = np.concatenate(
        [
            np.linspace(largest_delta, knee, 2 * density + 1)[1:],
            np.geomspace(knee, foot, 8 * density + 1)[1:],
            np.geomspace(foot, min(1e-12, foot * 1e-2) / 2, 2 * density + 1)[1:],
        ]
    )
    curve = saddle_curve(loss)
    return np.asarray(np.maximum(np.interp(-np.log(targets), -curve.log_values[0], curve.levels[0]), 0.0))


def trade_off_thresholds(loss: LossCumulant, n: int) -> Array:
    """Return n decreasing thresholds whose tilts run from the far tail under P to the far tail under Q."""
    reach = 7.0 / math.sqrt(float(loss.derivatives(np.full(1, -0.5))[1][0]))
    narrowest = float(np.min(loss.ratios, initial=1.0))
    # Room on either side of [-1, 0]; 1.001 keeps clear of the ends, where the threshold is infinite.
    right = 1.0 / (1.0 / reach + 1.001 / float(loss.upper[0]))
    left = 1.0 / (1.0 / reach + 1.001 * (1.0 / narrowest - 1.0))
    return np.asarray(loss.derivatives(np.linspace(right, -1.0 - left, n))[0])
