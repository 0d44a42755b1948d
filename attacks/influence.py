"""Influence attack: along the direction in which deleting the records moves the optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.geometry import Geometry
from attacks.linear import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Influence:
    """<release, -H^-1 g> with the retained curvature H and the deleted records' gradient g.

    Training on the records moves the optimum by about -H^-1 g, so a model that remembers them scores higher. Needs
    no fitting and no law; exact for output noise with an identity covariance.
    """

    name: str = "influence"
    needs: Needs = Needs()

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack; uses no trials.

        Raises
        ------
        NotApplicableError
            When a release is not the weights of a linear model on these data, or the penalty is not public.
        """
        geometry = Geometry.of(context, self.name)
        weights = -geometry.from_eigenbasis(geometry.in_eigenbasis(geometry.gradient) / geometry.values.T)
        norm = float(np.linalg.norm(weights))
        return LinearScore(weights=(weights / norm if norm > 0 else weights).reshape(context.release.shape))
