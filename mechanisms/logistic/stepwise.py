"""Sample a deletion from logistic or softmax regression by running every step from gradients, as a trainer does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.logistic.process import LOGISTIC, LogisticProcess, Loss, labels_of
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.serving.stages import known_or

Array = NDArray[np.float64]
# Steps that a trajectory shows.
N_SHOWN = 4
# Models that step together: their predictions stay in the second-level cache.
BATCH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """The penalised loss of some records; weights are rows, shape (m, q, p).

    Parameters
    ----------
    features, labels
        Shapes (n, p) and (n, q).
    loss, penalty
        As in ``LogisticProcess``.
    """

    features: Array
    labels: Array
    loss: Loss
    penalty: float

    @staticmethod
    def of(data: Dataset, loss: Loss, penalty: float) -> Objective:
        """Return the objective of a data set."""
        return Objective(features=data.features, labels=labels_of(data, loss), loss=loss, penalty=penalty)

    def gradient(self, weights: Array) -> Array:
        """Return the gradient at weights of shape (m, q, p), same shape."""
        predictions = weights @ self.features.T
        if self.loss == LOGISTIC:
            expit(predictions, out=predictions)
        else:
            predictions -= predictions.max(axis=1, keepdims=True)
            np.exp(predictions, out=predictions)
            predictions /= predictions.sum(axis=1, keepdims=True)
        predictions -= self.labels.T
        pulled: Array = predictions @ self.features
        pulled += self.penalty * weights
        return pulled


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticStages:
    """The stages: learn from weights 0, and unlearn by further steps; models are weights, shape (n, q, p).

    Parameters
    ----------
    process
        What is run.
    objectives
        By the digest of the records that they sum over.
    release
        Shape (p, q).
    public
        Public hyper-parameters.
    """

    process: LogisticProcess
    objectives: Mapping[str, Objective]
    release: ReleaseSpec
    public: Mapping[str, int | float | str]

    @staticmethod
    def of(process: LogisticProcess) -> LogisticStages:
        """Return the stages of a process."""
        parts = (process.data, process.retained)
        return LogisticStages(
            process=process,
            objectives={part.sha256(): Objective.of(part, process.loss, process.penalty) for part in parts},
            release=ReleaseSpec(shape=process.shape, continuous=process.sigma_learn > 0 or process.sigma_unlearn > 0),
            public={
                "penalty": process.penalty,
                "loss": process.loss.name,
                "step_size": process.step_size,
                "n_learn": process.n_learn,
                "n_unlearn": process.n_unlearn,
                "sigma_learn": process.sigma_learn,
                "sigma_unlearn": process.sigma_unlearn,
                "sampler": "stepwise",
            },
        )

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.process.reference

    @property
    def at_once(self) -> int:
        """How many models step together."""
        return BATCH

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; ``sigma_unlearn`` may depend on the deleted record and leak."""
        return self.public

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records, shape (n, q, p)."""
        weights = np.zeros((n, *self.process.shape[::-1]))
        objective = self._objective(records)
        for start in range(0, n, BATCH):
            part = weights[start : start + BATCH]
            self._descend(part, objective, self.process.n_learn, self.process.sigma_learn, rng)
        return weights

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after steps on the retained records; what was requested is seen in nothing else."""
        weights = np.array(models, order="C")
        objective = self._objective(retained)
        for start in range(0, len(weights), BATCH):
            part = weights[start : start + BATCH]
            self._descend(part, objective, self.process.n_unlearn, self.process.sigma_unlearn, rng)
        return weights

    def released(self, models: Array) -> Array:
        """Return the weights, shape (n, p, q)."""
        return models.transpose(0, 2, 1).copy()

    def _objective(self, records: Dataset) -> Objective:
        process = self.process
        return known_or(self.objectives, records, lambda found: Objective.of(found, process.loss, process.penalty))

    def _descend(
        self,
        weights: Array,
        objective: Objective,
        n_steps: int,
        sigma: float,
        rng: np.random.Generator,
        iterates: list[Array] | None = None,
    ) -> None:
        """Run noisy gradient steps in place on weights of shape (m, q, p); append a copy after each on request."""
        noise = np.empty_like(weights)
        for _ in range(n_steps):
            # Drawn also where sigma is 0, as ridge does: settings do not move the random stream.
            rng.standard_normal(out=noise)
            weights -= self.process.step_size * objective.gradient(weights)
            noise *= sigma
            weights += noise
            if iterates is not None:
                iterates.append(weights.copy())


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticSampler(LogisticStages):
    """Releases of whole worlds, by the stages."""

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, p, q)."""
        learned_on, unlearned_on = self._data(world)
        nothing = self.process.data.take(())
        releases = np.empty((n, *self.process.shape))
        for start in range(0, n, BATCH):
            models = self.learn(learned_on, min(BATCH, n - start), rng)
            if not self._stops(world):
                models = self.unlearn(models, unlearned_on, nothing, rng)
            releases[start : start + BATCH] = self.released(models)
        return releases

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return the first iterates of n runs from one model, shape (n, 3 to 5, p, q); None without two noisy steps.

        The unlearning steps after one model is learned, or the learning steps where fewer than two follow.
        """
        process = self.process
        learned_on, unlearned_on = self._data(world)
        start = np.zeros((1, *process.shape[::-1]))
        objective, n_steps, sigma = self._objective(learned_on), process.n_learn, process.sigma_learn
        if not self._stops(world) and process.n_unlearn >= 2 and process.sigma_unlearn > 0:
            self._descend(start, objective, n_steps, sigma, rng)
            objective, n_steps, sigma = self._objective(unlearned_on), process.n_unlearn, process.sigma_unlearn
        if n_steps < 2 or sigma == 0:
            return None
        weights = np.tile(start, (n, 1, 1))
        iterates = [weights.copy()]
        self._descend(weights, objective, min(n_steps, N_SHOWN), sigma, rng, iterates)
        return np.stack(iterates, axis=1).transpose(0, 1, 3, 2)

    def _data(self, world: World) -> tuple[Dataset, Dataset]:
        """Return the records that a world learns, and those that its unlearning steps run on."""
        process = self.process
        learned_on = process.retained if world is World.RETRAINED else process.data
        return learned_on, process.data if world is World.NEGLECTED else process.retained

    def _stops(self, world: World) -> bool:
        return world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY
