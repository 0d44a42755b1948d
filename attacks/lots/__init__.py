"""Guessing which candidates a model was given: one score a candidate from one release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from attacks.lots.filters import Alignment, JointFilter, MatchedFilter
    from attacks.lots.learned import Learned
    from attacks.lots.outputs import OutputScores
    from attacks.lots.protocol import LotAttack, LotScorer, Rehearsal
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "attacks.lots.filters": "Alignment JointFilter MatchedFilter",
            "attacks.lots.learned": "Learned",
            "attacks.lots.outputs": "OutputScores",
            "attacks.lots.protocol": "LotAttack LotScorer Rehearsal",
        },
    )

__all__ = [
    "Alignment",
    "JointFilter",
    "Learned",
    "LotAttack",
    "LotScorer",
    "MatchedFilter",
    "OutputScores",
    "Rehearsal",
]
