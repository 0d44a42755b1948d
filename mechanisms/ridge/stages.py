"""Noisy gradient descent on ridge regression as stages, with step size and noise frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.protocol import ReleaseSpec
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.stepwise import BATCH, Objective, StepwiseSampler
from mechanisms.serving.stages import known_or

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeStages:
    """Learn from weights 0 and unlearn by further steps; models are weights, shape (n, q, p).

    Parameters
    ----------
    objectives
        By the digest of the records that they sum over.
    public
        Public hyper-parameters.
    """

    sampler: StepwiseSampler
    penalty: float
    objectives: Mapping[str, Objective]
    release: ReleaseSpec
    public: Mapping[str, int | float | str]

    @staticmethod
    def of(process: RidgeProcess, release: ReleaseSpec, public: Mapping[str, int | float | str]) -> RidgeStages:
        """Return the stages of a process."""
        sampler = StepwiseSampler.of(process)
        return RidgeStages(
            sampler=sampler,
            penalty=process.penalty,
            objectives={process.data.sha256(): sampler.full, process.retained.sha256(): sampler.retained},
            release=release,
            public=public,
        )

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.sampler.reference

    @property
    def at_once(self) -> int:
        """How many models step together."""
        return BATCH

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters."""
        return self.public

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records."""
        return self.sampler.learned(self._objective(records), n, rng)

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after steps on the retained records; what was requested is seen in nothing else."""
        return self.sampler.unlearned(models, self._objective(retained), rng)

    def released(self, models: Array) -> Array:
        """Return the weights, shape (n, p, q)."""
        return models.transpose(0, 2, 1).copy()

    def _objective(self, records: Dataset) -> Objective:
        return known_or(self.objectives, records, lambda found: Objective.of(found, self.penalty))
