"""How the scores of an attack lie in both worlds: a fixed number of bins, for pictures. Nothing is decided on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.plan.ranges import check_all, check_lengths
from mechanisms.claim import JSON_CONFIG

Array = NDArray[np.float64]
N_BINS = 30
# Bins span the scores between these quantiles of both worlds together; the outermost bins take what lies beyond.
SPAN = (0.001, 0.999)
_LARGEST = 1e300


@dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
    """Counted scores of one attack in both worlds, over the same bins.

    Parameters
    ----------
    attack
        Whose scores; higher means more like an unlearned model.
    edges
        Ends of the bins, not decreasing; one more than there are bins. The first and the last bin also hold the scores
        beyond them.
    unlearned, retrained
        Scores in each bin.
    member
        What a family of attacks chose among its members on the fit split; ``None`` for a single attack.
    """

    __pydantic_config__ = JSON_CONFIG
    attack: str
    edges: tuple[float, ...]
    unlearned: tuple[int, ...]
    retrained: tuple[int, ...]
    member: str | None = None

    def __post_init__(self) -> None:
        check_lengths("ends of bins", len(self.unlearned) + 1, edges=self.edges)
        check_lengths("bins", len(self.unlearned), retrained=self.retrained)
        check_all("edges", self.edges, rising=True)
        check_all("unlearned", self.unlearned, low=0)
        check_all("retrained", self.retrained, low=0)


def histogram_of(attack: str, unlearned: Array, retrained: Array, *, member: str | None = None) -> ScoreHistogram:
    """Return the histogram of an attack's scores over :data:`N_BINS` bins of equal width.

    Parameters
    ----------
    attack, member
        Names.
    unlearned, retrained
        Finite scores, shapes (n,) and (m,), at least one together.
    """
    worlds = [np.clip(np.asarray(scores, dtype=np.float64), -_LARGEST, _LARGEST) for scores in (unlearned, retrained)]
    low, high = map(float, np.quantile(np.concatenate(worlds), SPAN))
    if not high > low:
        # All but a few scores are equal: one bin in the middle holds them.
        margin = 0.5 * max(1.0, abs(low))
        low, high = low - margin, low + margin
    edges = np.linspace(low, high, N_BINS + 1)
    counts = [np.histogram(np.clip(scores, low, high), bins=edges)[0] for scores in worlds]
    return ScoreHistogram(
        attack=attack,
        edges=tuple(map(float, edges)),
        unlearned=tuple(map(int, counts[0])),
        retrained=tuple(map(int, counts[1])),
        member=member,
    )
