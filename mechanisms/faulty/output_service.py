"""A service that perturbs a fitted ridge model, and whose calibration and noise a fault can edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import EpsilonDelta, GaussianDP
from mechanisms.dataset import Dataset
from mechanisms.perturbation.output_perturbation import PerturbedDeletion
from mechanisms.protocol import GaussianLaw, World

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputService:
    """What a service releases in each world: a fixed centre plus noise; built by :meth:`of` without a fault.

    Parameters
    ----------
    data, retained, deleted
        D, D minus S, and S.
    forget
        Indices of S.
    claimed
        The correct deletion, calibrated to the target.
    target
        What is calibrated for, and claimed.
    penalty
        Of the ridge fit.
    centres
        Mean of each world's release, shape (p, 1).
    scale
        Standard deviation of each world's noise, shape (p, 1).
    clip
        Noise beyond this many standard deviations is cut off to it.
    noise
        "fresh" for every release, or "fixed" (from a generator that is seeded anew for every request).
    """

    data: Dataset
    retained: Dataset
    deleted: Dataset
    forget: tuple[int, ...]
    claimed: PerturbedDeletion
    target: GaussianDP | EpsilonDelta
    penalty: float
    centres: Mapping[World, Array]
    scale: Mapping[World, Array]
    clip: float | None = None
    noise: Literal["fresh", "fixed"] = "fresh"

    @staticmethod
    def of(
        data: Dataset,
        forget: tuple[int, ...],
        claimed: PerturbedDeletion,
        *,
        target: GaussianDP | EpsilonDelta,
        penalty: float,
    ) -> OutputService:
        """Return the correct service."""
        return OutputService(
            data=data,
            retained=data.without(forget),
            deleted=data.take(forget),
            forget=forget,
            claimed=claimed,
            target=target,
            penalty=penalty,
            centres=claimed.centres,
            scale=dict.fromkeys(World, np.full(claimed.release.shape, claimed.sigma_unlearn)),
        )

    @property
    def sigma(self) -> float:
        """The noise that the correct calibration adds."""
        return self.claimed.sigma_unlearn

    def with_noise(self, scale: float | Array) -> OutputService:
        """Return the service with other noise in every world: calibration is code that all worlds share."""
        return replace(self, scale=dict.fromkeys(World, np.broadcast_to(scale, self.claimed.release.shape)))

    def deleting(self, *, centre: Array | None = None, scale: Array | None = None, **changes: Any) -> OutputService:
        """Return the service edited where a deletion is requested; other fields are changed as they are."""
        if centre is not None:
            changes["centres"] = {**self.centres, World.UNLEARNED: centre}
        if scale is not None:
            changes["scale"] = {**self.scale, World.UNLEARNED: scale}
        return replace(self, **changes)

    def shift_of(self, record: int) -> float:
        """Return how far deleting one record alone moves the ridge fit."""
        return float(np.linalg.norm(self.fit(self.data) - self.fit(self.data.without((record,)))))

    def fit(self, data: Dataset) -> Array:
        """Return the ridge fit, shape (p, 1)."""
        x = data.features
        fitted = np.linalg.solve(x.T @ x + self.penalty * np.eye(x.shape[1]), x.T @ data.targets)
        return np.asarray(fitted, dtype=np.float64)

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, p, 1)."""
        shape = self.claimed.release.shape
        z: Array = rng.standard_normal((n, *shape))
        if self.noise == "fixed" and world is World.UNLEARNED:
            z[:] = np.random.default_rng(0).standard_normal(shape)
        if self.clip is not None:
            z = np.clip(z, -self.clip, self.clip)
        released: Array = self.centres[world] + self.scale[world] * z
        return released

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return its own laws of the unlearned and the retrained world; ``None`` where one is not Gaussian."""
        if self.clip is not None:
            return None
        unlearned, retrained = (
            GaussianLaw(mean=self.centres[world], covariance=np.diag(self.scale[world][:, 0] ** 2))
            for world in (World.UNLEARNED, World.RETRAINED)
        )
        if self.noise == "fixed":
            constant = self.sample(World.UNLEARNED, 1, rng=np.random.default_rng(0))[0]
            unlearned = GaussianLaw(mean=constant, covariance=np.zeros_like(unlearned.covariance))
        return unlearned, retrained

    def oracle(self, releases: Array) -> Array | None:
        """Return how many coefficients lie at a cut of the unlearned world, less those at one of the retrained world.

        Clipped noise has atoms, at other places in the two worlds: the likelihood ratio is infinite or 0 there.
        ``None`` without clipping, where the laws are Gaussian.
        """
        if self.clip is None:
            return None
        unlearned, retrained = (
            sum((releases == self.centres[w] + self.scale[w] * cut).sum(axis=(1, 2)) for cut in (-self.clip, self.clip))
            for w in (World.UNLEARNED, World.RETRAINED)
        )
        return np.asarray(unlearned - retrained, dtype=np.float64)
