"""A Newton removal service whose step, check and training a fault can edit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.perturbation.newton_removal import TOLERANCE, NewtonDeletion, Objective
from mechanisms.protocol import GaussianLaw, World

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class NewtonService:
    """What a service does in each world; without changes it is the correct one.

    Parameters
    ----------
    claimed
        The correct deletion.
    factor
        The Newton step is multiplied by this.
    hessian, removed
        Records of the Hessian and of the gradient that is taken out; the retained and the deleted ones by default.
    checked
        Whether a step whose residual may exceed the budget is replaced by training anew.
    n_steps
        Newton steps; those after the first are on the retained gradient.
    tolerance
        Gradient norm at which training stops; a loose one takes plain gradient steps from 0.
    perturbation
        Factor on the perturbation in training.
    """

    claimed: NewtonDeletion
    factor: float = 1.0
    hessian: Objective | None = None
    removed: Objective | None = None
    checked: bool = True
    n_steps: int = 1
    tolerance: float = TOLERANCE
    perturbation: float = 1.0

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, p, q)."""
        on = "retained" if world is World.RETRAINED else "full"
        weights, perturbation = self._train(on, n, rng)
        if world is World.UNLEARNED:
            weights = self._remove(weights, perturbation, rng)
        return weights.transpose(0, 2, 1)

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return ``None``: the optimum of a perturbed objective is not Gaussian."""
        return None

    def oracle(self, releases: Array) -> Array | None:
        """Return ``None``: the density of a removed model is not known."""
        return None

    def _train(self, on: str, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        objective: Objective = getattr(self.claimed, on)
        start, sigma = self.claimed.starts[on], self.claimed.mechanism.sigma
        perturbation = self.perturbation * sigma * rng.standard_normal((n, *start.shape))
        if self.tolerance <= TOLERANCE:
            return objective.minimise(perturbation, start), perturbation
        return _descend(objective, perturbation, self.tolerance), perturbation

    def _remove(self, weights: Array, perturbation: Array, rng: np.random.Generator) -> Array:
        claimed = self.claimed
        hessian, removed = self.hessian or claimed.retained, self.removed or claimed.deleted
        step = self.factor * hessian.newton_direction(weights, removed.gradient(weights))
        moved = weights + step
        for _ in range(self.n_steps - 1):
            gradient = claimed.retained.gradient(moved) + perturbation
            moved = moved - claimed.retained.newton_direction(moved, gradient)
        exceeded = claimed.residual_bound(step) > claimed.mechanism.budget
        if self.checked and exceeded.any():
            moved[exceeded] = self._train("retained", int(exceeded.sum()), rng)[0]
        return moved


def _descend(objective: Objective, perturbation: Array, tolerance: float) -> Array:
    """Return weights after gradient steps from 0 until each gradient's norm is at most the tolerance."""
    smoothness = np.linalg.norm(objective.features, 2) ** 2 / 4 + objective.penalty
    weights = np.zeros_like(perturbation)
    while True:
        gradient = objective.gradient(weights) + perturbation
        going = np.linalg.norm(gradient, axis=(-2, -1)) > tolerance
        if not going.any():
            return weights
        weights[going] -= gradient[going] / smoothness
