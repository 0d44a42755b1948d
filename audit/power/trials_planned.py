"""How many trials a plan needs when its audit has to find the event itself: rehearsed power turned round.

In the flow: forecasts alone use this. :mod:`audit.power.trials_needed` gives the number for an event that is known in
advance, where the search starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from audit.power.alternatives import Curve
from audit.power.rehearsal import rehearse
from audit.power.trials_needed import MOST
from mechanisms.claim import Claim

TARGET = 0.8
# Rehearsed fit splits while the number is sought, and for the last one.
_PILOTS, _FINAL = 10, 60
# The number moves by at most the first factor at a time; when it moves by less than the second it is final.
_REACH, NEAR = 4.0, 1.2
_ROUNDS, _FEWEST = 12, 20
_CERTAIN = 1e-6


def planned_trials(
    claim: Claim,
    alternative: Curve,
    *,
    level: float,
    start: int,
    split: Callable[[int], tuple[int, int]],
    rng: np.random.Generator,
) -> int | None:
    """Return about how many trials a plan needs to refute a false claim with probability 0.8.

    Parameters
    ----------
    claim
        The claim under test.
    alternative
        The truth, for example ``gaussian_curve(gaussian_mu(2 * epsilon, delta))``.
    level
        Level of the one test.
    start
        A first guess, at least 20.
    split
        How many of so many trials a world fit and choose, and how many are counted.
    rng
        Draws the rehearsed fit splits.

    Returns
    -------
    int or None
        Trials a world, fitting and counting together; ``None`` where a billion would not do.

    Notes
    -----
    Approximate: what 10 (at last 60) rehearsed fit splits choose is tested on so many trials, and the number moves to
    where the mean power should be 0.8 if probits of the power grew with its square root; again, until it stays.
    Standard error of the power at that number: about .02.
    """
    trials, repeats = start, _PILOTS
    for _ in range(_ROUNDS):
        if trials > MOST:
            return None
        n_fit, n_counted = split(trials)
        chosen = rehearse(
            claim,
            alternative.fpr,
            alternative.tpr,
            n_fit=n_fit,
            n_counted=n_counted,
            level=level,
            rng=rng,
            repeats=repeats,
        )
        factor = factor_to_target(chosen.powers(n_counted, level=level), level=level)
        trials = max(_FEWEST, math.ceil(trials * factor))
        near = 1 / NEAR <= factor <= NEAR or trials == _FEWEST
        if near and repeats == _FINAL:
            break
        repeats = _FINAL if near else repeats
    return trials


def factor_to_target(powers: NDArray[np.float64], *, level: float) -> float:
    """Return about by how much the counted trials must change for a mean power of 0.8; between 1/4 and 4."""
    critical = -float(ndtri(level))
    # What each event adds to its test's score; the score of one that violates nothing falls when trials are added.
    drift = ndtri(np.clip(powers, _CERTAIN, 1 - _CERTAIN)) + critical

    def shortfall(log_factor: float) -> float:
        return TARGET - float(np.mean(ndtr(drift * math.exp(log_factor / 2) - critical)))

    end = math.log(_REACH)
    if shortfall(end) > 0:
        return _REACH
    return 1 / _REACH if shortfall(-end) < 0 else math.exp(float(brentq(shortfall, -end, end, xtol=1e-3)))
