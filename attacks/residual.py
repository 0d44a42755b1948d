"""The attack that most papers use alone: how well does the released model still fit the deleted record?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.geometry import Geometry
from attacks.linear import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TargetLoss:
    """Signed residual at the deleted records, along the residual of a model that never saw them.

    A model that still remembers a record has a smaller residual there, so the score is minus the projection.
    Neyman-Pearson optimal for Gibbs laws (Sablayrolles et al. 2019, arXiv:1908.11229).
    """

    name: str = "target_loss"
    needs: Needs = Needs()

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack; uses the retained data only for the reference residual, and no trials.

        Raises
        ------
        NotApplicableError
            When a release is not the weights of a linear model on these data.
        """
        geometry = Geometry.of(context, self.name)
        direction = geometry.residual
        norm = np.linalg.norm(direction)
        direction = direction / norm if norm > 0 else direction
        weights = (-context.deleted.features.T @ direction).reshape(context.release.shape)
        offset = float(np.sum(geometry.responses * direction))
        return LinearScore(weights=weights, offset=offset)
