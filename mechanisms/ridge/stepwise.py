"""Sample a ridge deletion by simulating every step from gradients: what a real trainer does.

Never a matrix power, never a closed-form law; shares no code with ``laws``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.protocol import World
from mechanisms.ridge.process import RidgeProcess

Array = NDArray[np.float64]
# Steps that a trajectory shows.
N_SHOWN = 4
# Trials that step together: their weights, noise and gradient stay in the second-level cache.
BATCH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """Ridge objective through its normal equations: gradient(W) = (X'X) W - X'Y + penalty W."""

    curvature: Array
    moment: Array

    @staticmethod
    def of(data: Dataset, penalty: float) -> Objective:
        """Return the objective of a data set."""
        x = data.features
        return Objective(curvature=x.T @ x + penalty * np.eye(x.shape[1]), moment=x.T @ data.targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class StepwiseSampler:
    """Draws releases step by step; build it with :meth:`of`."""

    full: Objective
    retained: Objective
    step_size: float
    n_learn: int
    n_unlearn: int
    sigma_learn: float
    sigma_unlearn: float
    reference: Reference

    @staticmethod
    def of(process: RidgeProcess) -> StepwiseSampler:
        """Return the sampler of a process."""
        return StepwiseSampler(
            full=Objective.of(process.data, process.penalty),
            retained=Objective.of(process.retained, process.penalty),
            step_size=process.step_size,
            n_learn=process.n_learn,
            n_unlearn=process.n_unlearn,
            sigma_learn=process.sigma_learn,
            sigma_unlearn=process.sigma_unlearn,
            reference=process.reference,
        )

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases, shape (n, p, q)."""
        learned_on = self.retained if world is World.RETRAINED else self.full
        unlearned_on = self.full if world is World.NEGLECTED else self.retained
        n_unlearn = self.n_unlearn
        if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY:
            n_unlearn = 0
        p, q = learned_on.moment.shape
        releases = np.zeros((n, q, p))
        for start in range(0, n, BATCH):
            weights = releases[start : start + BATCH]
            self._descend(weights, learned_on, self.n_learn, self.sigma_learn, rng)
            self._descend(weights, unlearned_on, n_unlearn, self.sigma_unlearn, rng)
        return releases.transpose(0, 2, 1)

    def learned(self, objective: Objective, n: int, rng: np.random.Generator) -> Array:
        """Return n models learned on an objective, shape (n, q, p)."""
        q, p = objective.moment.T.shape
        weights = np.zeros((n, q, p))
        for start in range(0, n, BATCH):
            self._descend(weights[start : start + BATCH], objective, self.n_learn, self.sigma_learn, rng)
        return weights

    def unlearned(self, models: Array, objective: Objective, rng: np.random.Generator) -> Array:
        """Return copies of models of shape (n, q, p) after the unlearning steps on an objective."""
        weights = np.array(models, order="C")
        for start in range(0, len(weights), BATCH):
            self._descend(weights[start : start + BATCH], objective, self.n_unlearn, self.sigma_unlearn, rng)
        return weights

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return the first iterates of n runs from one model, shape (n, 3 to 5, p, q); None without two noisy steps.

        The unlearning steps after one model is learned, or the learning steps where fewer than two follow.
        """
        learned_on = self.retained if world is World.RETRAINED else self.full
        unlearned_on = self.full if world is World.NEGLECTED else self.retained
        n_unlearn = 0 if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY else self.n_unlearn
        p, q = learned_on.moment.shape
        start = np.zeros((1, q, p))
        objective, n_steps, sigma = learned_on, self.n_learn, self.sigma_learn
        if n_unlearn >= 2 and self.sigma_unlearn > 0:
            self._descend(start, learned_on, self.n_learn, self.sigma_learn, rng)
            objective, n_steps, sigma = unlearned_on, n_unlearn, self.sigma_unlearn
        if n_steps < 2 or sigma == 0:
            return None
        weights = np.tile(start, (n, 1, 1))
        iterates = [weights.copy()]
        self._descend(weights, objective, min(n_steps, N_SHOWN), sigma, rng, iterates)
        return np.stack(iterates, axis=1).transpose(0, 1, 3, 2)

    def _descend(
        self,
        weights: Array,
        objective: Objective,
        n_steps: int,
        sigma: float,
        rng: np.random.Generator,
        iterates: list[Array] | None = None,
    ) -> None:
        """Run noisy gradient steps in place on weights of shape (batch, q, p); append a copy after each on request."""
        rows = weights.reshape(-1, weights.shape[2])
        pull = np.tile(self.step_size * objective.moment.T, (len(weights), 1))
        noise = np.empty_like(rows)
        for _ in range(n_steps):
            rng.standard_normal(out=noise)
            # One call for -step_size * W H + sigma * Z, into the noise buffer. Transposed because BLAS is
            # column-major and the curvature is symmetric.
            dgemm(-self.step_size, objective.curvature, rows.T, beta=sigma, c=noise.T, overwrite_c=True)
            noise += pull
            rows += noise
            if iterates is not None:
                iterates.append(weights.copy())
