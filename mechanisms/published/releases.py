"""Deletions that are sampled in a few lines: a fixed array plus Gaussian noise, or any law that a function draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.claim import Reference
from mechanisms.protocol import ReleaseSpec, World

Array = NDArray[np.float64]
Draw = Callable[[World, int, np.random.Generator], Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianRelease:
    """A fixed number for each world plus N(0, sigma^2); no noise where ``sigma`` is 0.

    Parameters
    ----------
    centres
        What each world releases without noise.
    sigma
        Standard deviation of the noise, the same in all worlds.
    reference
        The reference world that ``World.RETRAINED`` is.
    """

    centres: Mapping[World, float]
    sigma: float
    reference: Reference
    release: ReleaseSpec = ReleaseSpec(shape=(1, 1))

    @property
    def shift(self) -> float:
        """Distance of the unlearned and the retrained world without noise."""
        return abs(self.centres[World.UNLEARNED] - self.centres[World.RETRAINED])

    @property
    def mu(self) -> float:
        """The shift in units of noise."""
        return self.shift / self.sigma if self.sigma else float("inf")

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, 1, 1)."""
        noise = rng.standard_normal((n, 1, 1)) * self.sigma if self.sigma else np.zeros((n, 1, 1))
        return np.asarray(self.centres[world] + noise)


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnRelease:
    """Releases of one number, drawn by a function of the world.

    Parameters
    ----------
    draw
        Returns n independent releases of a world, shape (n,).
    reference
        The reference world that ``World.RETRAINED`` is.
    """

    draw: Draw
    reference: Reference
    release: ReleaseSpec = ReleaseSpec(shape=(1, 1))

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, 1, 1)."""
        return np.asarray(self.draw(world, n, rng), dtype=np.float64).reshape(n, 1, 1)


def by_world(unlearned: float, retrained: float, neglected: float) -> dict[World, float]:
    """Return what the three worlds release without noise."""
    return {World.UNLEARNED: unlearned, World.RETRAINED: retrained, World.NEGLECTED: neglected}


def clip(values: ArrayLike, bound: float) -> Array:
    """Return numbers cut off to [-bound, bound]; in one dimension this is clipping the norm."""
    return np.clip(np.asarray(values, dtype=np.float64), -bound, bound)
