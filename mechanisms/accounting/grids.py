"""Where to evaluate: thresholds for a trade-off curve, epsilons for a privacy profile, first guesses.

Nothing here decides a value; ``mechanisms.accounting.gaussian_pair`` evaluates exactly at these points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mechanisms.accounting.loss_cumulant import LossCumulant
from mechanisms.protocol import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class SaddleCurve:
    """The saddle-point approximation of log delta against epsilon, good to a few percent of delta: a first guess."""

    levels: Array
    log_values: Array

    def level_at(self, log_value: float) -> float:
        """Return roughly the epsilon at which log delta has this value."""
        return float(np.interp(-log_value, -self.log_values, self.levels))


def saddle_curve(loss: LossCumulant) -> SaddleCurve:
    """Return the approximation over all epsilons, one point per saddle point."""
    reach = np.geomspace(1e-4, 1e5, 109) / math.sqrt(loss.variance)
    s = 1.0 / (1.0 / reach + 1.0 / loss.upper)
    first, second = loss.derivatives(s)
    levels = first - 1.0 / s - 1.0 / (1.0 + s)
    curvature = second + 1.0 / s**2 + 1.0 / (1.0 + s) ** 2
    log_values = loss.value(s) - levels * s - np.log(s) - np.log1p(s) - 0.5 * np.log(2 * math.pi * curvature)
    return SaddleCurve(levels=levels, log_values=np.minimum.accumulate(log_values))


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
    return np.array([max(curve.level_at(math.log(target)), 0.0) for target in targets])


def trade_off_thresholds(loss: LossCumulant, n: int) -> Array:
    """Return n decreasing thresholds whose tilts run from the far tail under P to the far tail under Q."""
    reach = 7.0 / math.sqrt(float(loss.derivatives(np.full(1, -0.5))[1][0]))
    narrowest = float(np.min(loss.ratios, initial=1.0))
    # Room on either side of [-1, 0]; 1.001 keeps clear of the ends, where the threshold is infinite.
    right = 1.0 / (1.0 / reach + 1.001 / loss.upper)
    left = 1.0 / (1.0 / reach + 1.001 * (1.0 / narrowest - 1.0))
    return np.asarray(loss.derivatives(np.linspace(right, -1.0 - left, n))[0])
