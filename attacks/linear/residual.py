"""The attack that most papers use alone: how well does the released model still fit the deleted record?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.geometry import Geometry
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs, matrices
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TargetLoss:
    """Score minus the residual at the deleted records, along that of a model without them; higher means unlearned.

    A model that still remembers a record has a smaller residual there. Needs white-box weights of a linear model, the
    data and the public ``penalty``; neither a law nor trials.

    Notes
    -----
    For Gibbs laws of one temperature log dP/dQ is minus the loss of the deleted records, up to constants. The score is
    that loss to first order around the optimum of the retained data, so that it is optimal there to first order. Noise
    that is added to an optimum hides it better than :class:`~attacks.linear.influence.Influence`. Where the reference
    residual is 0, so is every score.

    References
    ----------
    Sablayrolles, Douze, Ollivier, Schmid, Jegou 2019, "White-box vs black-box: Bayes optimal strategies for membership
    inference" (arXiv:1908.11229); Yeom, Giacomelli, Fredrikson, Jha 2018, "Privacy risk in machine learning: analyzing
    the connection to overfitting" (arXiv:1709.01604), for the loss as an attack.
    """

    name: str = "target_loss"
    needs: Needs = Needs(matrices=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack; uses the retained data only for the reference residual, and no trials.

        Raises
        ------
        NotApplicableError
            When a release is not the weights of a linear model on these data, the penalty is not public, the loss is
            not a known one, or a logistic model's retained records are all of one class.
        """
        geometry = Geometry.of(context, self.name)
        direction = geometry.residual
        norm = np.linalg.norm(direction)
        direction = direction / norm if norm > 0 else direction
        weights = (-matrices(context, self.name)[1].features.T @ direction).reshape(context.release.shape)
        offset = float(np.sum(geometry.responses * direction))
        return LinearScore(weights=weights, offset=offset)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why it cannot run, or that the residual is 0."""
        try:
            blind = not np.any(Geometry.of(context, self.name).residual)
        except NotApplicableError as error:
            return str(error)
        said = f"{self.name} scores all releases alike: a model without the deleted records predicts them exactly"
        return said if blind else None
