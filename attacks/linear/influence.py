"""Influence attack: along the direction in which deleting the records moves the optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.geometry import Geometry
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Influence:
    """Score <release, -H^-1 g>, the way in which learning the deleted records moves a model; higher means unlearned.

    H is the curvature of the retained records and g the gradient of the deleted ones, both at the retained optimum.
    Needs white-box weights of a linear model, the data and the public ``penalty``; neither a law nor trials.

    Notes
    -----
    For squared loss and one record the direction is exactly that between the two optima, else to first order. Most
    powerful where the worlds differ by that shift alone and the noise is equal in all directions, as in output
    perturbation without removal. Of unit length, and 0 where g is.

    References
    ----------
    Koh, Liang 2017, "Understanding black-box predictions via influence functions" (arXiv:1703.04730); Suri, Zhang,
    Evans 2024, "Do parameters reveal more than loss for membership inference?" (arXiv:2406.11544).
    """

    name: str = "influence"
    needs: Needs = Needs(matrices=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack; uses no trials.

        Raises
        ------
        NotApplicableError
            When a release is not the weights of a linear model on these data, the penalty is not public, the loss is
            not a known one, or a logistic model's retained records are all of one class.
        """
        geometry = Geometry.of(context, self.name)
        weights = -geometry.from_eigenbasis(geometry.in_eigenbasis(geometry.gradient) / geometry.values.T)
        norm = float(np.linalg.norm(weights))
        return LinearScore(weights=(weights / norm if norm > 0 else weights).reshape(context.release.shape))

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why it cannot run, or that the gradient is 0."""
        try:
            blind = not np.any(Geometry.of(context, self.name).gradient)
        except NotApplicableError as error:
            return str(error)
        return f"{self.name} scores all releases alike: learning the deleted records moves nothing" if blind else None
