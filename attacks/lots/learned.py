"""Any release of numbers: the direction of each candidate, learned from runs with coins of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.lots.filters import LinearLotScores
from attacks.lots.protocol import LotScorer, Rehearsal, check_rehearsals
from attacks.protocol import AttackContext
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]
_LEAST = 8


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Score along the difference of mean releases with and without each candidate, over rehearsals.

    Needs no knowledge of the model, and many more trained models than a filter.

    Parameters
    ----------
    rehearsals
        Runs with coins of their own, at least 8; they are not audited.

    References
    ----------
    Carlini et al. 2022 (arXiv:2112.03570), section IV: models with and without a record, here all records at once.
    """

    rehearsals: int = 64
    name: str = "learned"

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return the score.

        Raises
        ------
        InvalidInputError
            When it is fitted on anything but rehearsals.
        NotApplicableError
            When some candidate was in all rehearsals, or in none.
        """
        check_rehearsals(self.name, rehearsals, _LEAST)
        releases = np.stack([each.release.ravel() for each in rehearsals])
        coins = np.stack([each.coins for each in rehearsals]).astype(np.float64)
        n, inside = len(coins), coins.sum(axis=0)
        if np.any(inside == 0) or np.any(inside == n):
            raise NotApplicableError(f"{self.name} needs rehearsals with and without each candidate: raise rehearsals")
        pulls = (coins / inside).T @ releases - ((1 - coins) / (n - inside)).T @ releases
        squares = np.einsum("md,md->m", pulls, pulls)
        weights = pulls / np.where(squares > 0, squares, np.inf)[:, None]
        return LinearLotScores(weights=weights, centre=releases.mean(axis=0), offset=np.zeros(len(weights)))
