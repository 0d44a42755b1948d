"""What a fault of a published mechanism really releases, and the problem that it is audited on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.faulty.deletion import FaultyDeletion, Service
from mechanisms.faulty.problems import BoundFault
from mechanisms.protocol import Deletion, GaussianLaw, ReleaseSpec, World
from mechanisms.published.catalogue import published
from mechanisms.published.frame import PublishedMechanism
from mechanisms.published.langevin import Walk
from mechanisms.published.releases import GaussianRelease

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedService:
    """A variant of a published mechanism.

    Parameters
    ----------
    deletion
        The variant.
    log_ratio
        The exact log likelihood ratio of releases, shape (n,) each; ``None`` where it is not known.
    """

    deletion: Deletion
    log_ratio: Callable[[Array], Array] | None = None

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, 1, 1)."""
        return self.deletion.sample(world, n, rng=rng)

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return ``None``: a world is not Gaussian."""
        return None

    def oracle(self, releases: Array) -> Array | None:
        """Return the exact log likelihood ratio where it is known."""
        return None if self.log_ratio is None else self.log_ratio(releases[:, 0, 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianService:
    """A variant whose worlds are Gaussian with one deviation; constant where that is 0."""

    deletion: Deletion
    means: Mapping[World, float]
    deviation: float

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, 1, 1)."""
        return self.deletion.sample(world, n, rng=rng)

    def laws(self) -> tuple[GaussianLaw, GaussianLaw]:
        """Return the laws of the unlearned and the retrained world."""
        covariance = np.array([[self.deviation**2]])
        unlearned, retrained = (
            GaussianLaw(mean=np.array([[self.means[world]]]), covariance=covariance)
            for world in (World.UNLEARNED, World.RETRAINED)
        )
        return unlearned, retrained

    def oracle(self, releases: Array) -> Array | None:
        """Return ``None``: the laws say it."""
        return None


def added_noise(deletion: Deletion) -> GaussianService:
    """Return the service of a deletion that adds Gaussian noise to a fixed number.

    Raises
    ------
    InvalidInputError
        For a deletion of another kind.
    """
    if not isinstance(deletion, GaussianRelease):
        raise InvalidInputError(
            field="deletion",
            expected="a fixed number plus Gaussian noise",
            got=type(deletion).__name__,
            fix="take PublishedService",
        )
    return GaussianService(deletion=deletion, means=deletion.centres, deviation=deletion.sigma)


def walking(walk: Walk) -> GaussianService:
    """Return the service of noisy steps on a quadratic objective."""
    return GaussianService(deletion=walk.release(), means=walk.means(), deviation=walk.deviation)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClaimedRow:
    """What a published mechanism claims to be; the claim itself is the bound fault's."""

    release: ReleaseSpec
    reference: Reference
    stated: Mapping[str, int | float | str]

    def certificates(self) -> tuple[Certificate, ...]:
        """Return none: the claim is printed, and no certificate is computed."""
        return ()

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the settings that the claim goes with."""
        return self.stated


@dataclass(frozen=True, kw_only=True)
class PublishedProblem:
    """A row of the table of published mechanisms: its canary, its claim, and what is run instead.

    Parameters
    ----------
    edit
        The published mechanism in, what is run out.
    row
        Its name in the table.
    records
        Makes the data where they are not the row's own.
    """

    edit: Callable[[PublishedMechanism], Service]
    row: str
    records: Callable[[], Dataset] | None = None

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        made = published(self.row)
        deletion = made.audited.deletion
        claimed = ClaimedRow(
            release=deletion.release, reference=deletion.reference, stated={"row": made.name, "claim": made.statement}
        )
        return BoundFault(
            mechanism=made.name,
            data=made.data if self.records is None else self.records(),
            forget=made.forget,
            deletion=FaultyDeletion(claimed=claimed, service=self.edit(made)),
            claim=made.claim,
        )
