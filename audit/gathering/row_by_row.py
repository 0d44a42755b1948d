"""Does a score depend on which other releases are scored with it? Then a chunk of trials is one trial.

In the flow: asked once of every fitted attack, on releases of the fit split, before anything is counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.trials.chunks import score

Array = NDArray[np.float64]
N_ROWS = 32
# As many as a usual chunk.
N_TOGETHER = 1000
# A score that looks at its batch moves by about the spread of the scores when it is alone. Sums in another order move
# it by its last digits: 1e-12 or so of the spread in float64, and less than 1e-3 of it in float32 unless all of the
# score is rounding. Differences below these shares of the spread and of the largest score decide no event.
_SHARE_OF_SPREAD = 1e-3
_SHARE_OF_LARGEST = 1e-6
# Rounding may move a few scores far, where an attack compares numbers that are nearly equal; a batch moves most.
_FEW = 0.1


def batch_dependence(fitted: FittedAttack, releases: Array) -> str | None:
    """Return what is wrong with scores that depend on their batch; ``None`` where they do not, beyond rounding.

    Parameters
    ----------
    fitted
        A fitted attack.
    releases
        Shape (n, ...): as many as a chunk of them are scored together, and a few of these alone.
    """
    batch = releases[:N_TOGETHER]
    together = score(fitted, batch)
    rows = np.unique(np.linspace(0, len(batch) - 1, N_ROWS).astype(np.intp))
    if isinstance(together, str) or len(batch) < 2:
        return None
    alone = np.empty(len(rows))
    for i, row in enumerate(rows):
        single = score(fitted, batch[row : row + 1])
        if isinstance(single, str):
            return f"it scores {len(batch):,} releases together and not one alone ({single})"
        alone[i] = single[0]
    difference = np.abs(alone - together[rows])
    allowed = max(_SHARE_OF_SPREAD * _spread(together), _SHARE_OF_LARGEST * float(np.abs(together).max()))
    if np.mean(difference > allowed) <= _FEW:
        return None
    return (
        f"its score of a release depends on which others are scored with it (alone, scores differ by up to "
        f"{difference.max():.3g}): trials of one chunk are then not independent. Fix everything when the attack is "
        "fitted, for example the mean and the scale of standardised scores"
    )


def _spread(scores: Array) -> float:
    # Without the tails, which may be heavy.
    low, high = np.quantile(scores, [0.1, 0.9])
    return float(high - low)
