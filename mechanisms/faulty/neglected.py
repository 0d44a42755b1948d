"""A service that lost the deletion request: the fault that every audit should see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset
from mechanisms.protocol import GaussianLaw, ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin, StepwiseRidgeDeletion

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NeglectedRidge:
    """A service that runs the unlearning steps but on the full data: the deletion request was lost.

    It still states the certificates, and grants attackers the laws, of the mechanism that it claims to be.
    """

    mechanism: RidgeLangevin

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"neglected_{self.mechanism.name}"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> NeglectedDeletion:
        """Bind the mechanism that the service claims to be."""
        claimed = self.mechanism.bind(data, forget)
        if isinstance(claimed, StepwiseRidgeDeletion):
            return StepwiseNeglectedDeletion(claimed=claimed, data=data)
        return NeglectedDeletion(claimed=claimed)


@dataclass(frozen=True, kw_only=True, eq=False)
class NeglectedDeletion:
    """One deletion of :class:`NeglectedRidge`."""

    claimed: RidgeDeletion

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.claimed.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.claimed.reference

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return releases; the unlearned world ignores the deletion."""
        return self.claimed.sample(World.NEGLECTED if world is World.UNLEARNED else world, n, rng=rng)

    def law(self, world: World) -> GaussianLaw:
        """Return the law of the CLAIMED mechanism, never the fault's."""
        return self.claimed.law(world)

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificates that the service states."""
        return self.claimed.certificates()

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters."""
        return self.claimed.parameters()


@dataclass(frozen=True, kw_only=True, eq=False)
class StepwiseNeglectedDeletion(NeglectedDeletion):
    """One deletion of :class:`NeglectedRidge` that takes every step: those of a request run on all of the data."""

    claimed: StepwiseRidgeDeletion
    data: Dataset

    @property
    def at_once(self) -> int:
        """How many models step together."""
        return self.claimed.at_once

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records, shape (n, q, p)."""
        return self.claimed.learn(records, n, rng)

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after the unlearning steps; a request is lost, and what it names stays in the data."""
        return self.claimed.unlearn(models, self.data if len(request) else retained, request, rng)

    def released(self, models: Array) -> Array:
        """Return the weights, shape (n, p, q)."""
        return self.claimed.released(models)
