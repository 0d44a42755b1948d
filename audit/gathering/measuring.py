"""Measures of one sample against retrained models where nothing is claimed: bounds, areas and rates of frozen attacks.

In the flow: whoever measures comes here with scores of both splits. Everything is decided on the split that fits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audit.gathering.selection import PreparedAttack, choose_for_bound
from audit.records.estimates import advantage_limit, auc
from audit.records.evidence import EpsilonLowerBound
from audit.records.measures import Caught, Measures, Rate
from audit.statistics.bounds import clopper_pearson, exact_joint_bound
from audit.statistics.smoothing import rate_above
from mechanisms.claim import BOTH_DIRECTIONS, Direction

Array = NDArray[np.float64]
# False-positive rates at which an attack is usually judged.
RATES = (0.01, 0.001)
# Of every interval, alone.
_LEVEL = 0.05
_N_THRESHOLDS = 2001


def measures_of(
    prepared: PreparedAttack, unlearned: Array, retrained: Array, *, delta: float, level: float
) -> Measures:
    """Return what an attack shows of a sample, "unlearned", against retrained models.

    Parameters
    ----------
    prepared
        The attack with its scores on the split that fits.
    unlearned, retrained
        Counted scores, at least two each.
    delta
        Of the bound on epsilon.
    level
        Probability that the bound is too large; each direction has half of it.
    """
    bounds = [_bound(prepared, unlearned, retrained, delta, level / 2, direction) for direction in BOTH_DIRECTIONS]
    area, _ = auc(unlearned, retrained)
    # A two-sample U-statistic of numbers in [0, 1] is a mean of means of min(n1, n0) independent ones.
    width = math.sqrt(math.log(2 / _LEVEL) / (2 * min(len(unlearned), len(retrained))))
    return Measures(
        bound=max(bounds, key=lambda bound: bound.value),
        auc=area,
        auc_low=max(0.0, area - width),
        auc_high=min(1.0, area + width),
        # Scores of the split that fits are of attacks fitted on halves of it, and lie elsewhere in the tail.
        caught=tuple(_caught(retrained[::2], unlearned, retrained[1::2], nominal) for nominal in RATES),
        advantage_high=advantage_limit(unlearned, retrained),
    )


def _bound(
    prepared: PreparedAttack, unlearned: Array, retrained: Array, delta: float, level: float, direction: Direction
) -> EpsilonLowerBound:
    n = (len(unlearned), len(retrained))
    event = choose_for_bound(prepared, delta=delta, direction=direction, n_counted=n, level=level)
    counts = event.count(unlearned, retrained)
    return EpsilonLowerBound(
        value=exact_joint_bound(counts, delta=delta, direction=direction, level=level),
        delta=delta,
        direction=direction,
        level=level,
        method="exact_joint",
        attack=prepared.name,
        tail=event.tail,
        threshold=event.threshold,
        counts=counts,
    )


def _caught(choosing: Array, unlearned: Array, retrained: Array, nominal: float) -> Caught:
    """Return the rates above the lowest threshold that some retrained models, which are not counted, seldom exceed."""
    low, high = float(np.min(choosing)), float(np.max(choosing))
    # The smoothed tail goes on beyond the sample, where few trials have no quantile.
    reach = max(high - low, 1e-9 * max(abs(low), abs(high), 1.0))
    thresholds = np.linspace(low, high + reach, _N_THRESHOLDS)
    within = rate_above(choosing, thresholds) <= nominal
    threshold = float(thresholds[int(np.argmax(within))] if within.any() else thresholds[-1])
    return Caught(
        nominal=nominal, threshold=threshold, tpr=_rate(unlearned, threshold), fpr=_rate(retrained, threshold)
    )


def _rate(scores: Array, threshold: float) -> Rate:
    k, n = int(np.count_nonzero(scores > threshold)), len(scores)
    low, high = clopper_pearson(k, n, level=_LEVEL)
    return Rate(k=k, n=n, low=float(low), high=float(high))
