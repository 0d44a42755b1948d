"""A faulty service as the auditor meets it: releases of the fault, certificates and laws of what it claims to be.

It shows no trajectory of its steps: a control would see repeated noise there before any trial is counted, and the
self-test asks whether the releases alone give it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, Reference
from mechanisms.protocol import GaussianLaw, HasCertificates, HasLaw, HasParameters, ReleaseSpec, World

Array = NDArray[np.float64]


class Claimed(HasCertificates, HasParameters, Protocol):
    """What a service claims to be: a deletion of the correct mechanism."""

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        ...

    @property
    def reference(self) -> Reference:
        """The reference world."""
        ...


class ClaimedWithLaw(Claimed, HasLaw, Protocol):
    """A correct deletion whose laws are known."""


class Service(Protocol):
    """What a faulty service really does."""

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, p, q)."""
        ...

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return its own laws of the unlearned and the retrained world; ``None`` where one is not Gaussian."""
        ...

    def oracle(self, releases: Array) -> Array | None:
        """Return the exact log likelihood ratio of its two worlds at releases, ``None`` where it is not known."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultyDeletion:
    """One deletion by a faulty service whose mechanism states no law.

    Parameters
    ----------
    claimed
        The correct deletion: its certificates and public parameters are what the service states.
    service
        What it does.
    certified
        Certificates that it states instead of the claimed deletion's own.
    """

    claimed: Claimed
    service: Service
    certified: tuple[Certificate, ...] | None = None

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.claimed.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.claimed.reference

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of the faulty service."""
        return self.service.sample(world, n, rng=rng)

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificates that the service states."""
        return self.claimed.certificates() if self.certified is None else self.certified

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters that the service states."""
        return self.claimed.parameters()


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultyGaussianDeletion(FaultyDeletion):
    """One deletion by a faulty service that grants attackers the laws of what it claims to be."""

    claimed: ClaimedWithLaw

    def law(self, world: World) -> GaussianLaw:
        """Return the law of the CLAIMED mechanism, never the fault's."""
        return self.claimed.law(world)
