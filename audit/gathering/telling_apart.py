"""The operating points of an attack that are counted for curves, and the one that tells the worlds apart best.

In the flow: findings keep these counts, and a comparison of two audits rests on the one point. It is not the event that
a claim is tested with: that one may lie so far in a tail that a loss would move nothing there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.gathering.selection import PreparedAttack, candidate_thresholds
from audit.records.evidence import Cut
from audit.statistics.smoothing import rate_above

Array = NDArray[np.float64]
MAX_ROC_POINTS = 60


def roc_thresholds(prepared: PreparedAttack) -> Array:
    """Return at most 60 increasing thresholds, by the scores of the fit split alone."""
    thresholds = candidate_thresholds(prepared.unlearned, prepared.retrained)
    if len(thresholds) > MAX_ROC_POINTS:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, MAX_ROC_POINTS).round().astype(int)]
    return thresholds


def best_cut(prepared: PreparedAttack) -> Cut:
    """Return which of :func:`roc_thresholds` tells the worlds apart best on the fit split, and by which tail.

    Notes
    -----
    Where the geometric mean of two numbers is largest: of the difference of the smoothed rates, which is what a margin
    of a comparison is about, and of that difference in standard errors of one common rate, which is what can be seen.
    By the second alone noise in the tails is chosen too often, by the first rare outliers are missed.
    """
    thresholds = roc_thresholds(prepared)
    unlearned, retrained = (rate_above(scores, thresholds) for scores in (prepared.unlearned, prepared.retrained))
    n1, n0 = len(prepared.unlearned), len(prepared.retrained)
    common = (n1 * unlearned + n0 * retrained) / (n1 + n0)
    difference, spread = unlearned - retrained, np.sqrt(common * (1 - common))
    told = np.divide(np.abs(difference), np.sqrt(spread), out=np.zeros(spread.shape), where=spread > 0)
    position = int(np.argmax(told))
    return Cut(position=position, tail="upper" if difference[position] >= 0 else "lower")
