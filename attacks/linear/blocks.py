"""Learned attack on very wide releases: what happens to stretches of neighbouring numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BlockLda:
    """Score Fisher's discriminant on the means and norms of blocks of a release; higher means the unlearned world.

    A discriminant on d numbers keeps about ``mu / sqrt(mu^2 + 2 d / m)`` of a signal mu from m trials, which is nothing
    above 100,000 numbers and a hundred trials. Numbers that lie together in a network (a layer, a channel) often move
    together; the mean of a block of neighbours keeps that and averages the noise, and its norm shows noise that is too
    large or too small there. Needs releases of any kind and two trials a world; no law.

    Parameters
    ----------
    blocks
        How many blocks of neighbours a release is cut into, at least 1 (as many as it has numbers, where it has fewer).
    least_numbers
        Refuse releases of fewer numbers than this: ``lda`` sees more there.

    Notes
    -----
    A projection, beside ``lda`` and never instead of it: a shift whose signs alternate has no block means. Norms are
    about the mean of the retrained fitting trials.

    References
    ----------
    As :class:`~attacks.linear.discriminant.LinearDiscriminant`, on these coordinates.
    """

    name: str = "block_lda"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=2)
    blocks: int = 128
    least_numbers: int = 1

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world, or a release of fewer numbers than asked for.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        if (said := self._too_narrow(unlearned.shape[1:])) is not None:
            raise NotApplicableError(said)
        size = math.prod(unlearned.shape[1:])
        bounds = np.linspace(0, size, min(self.blocks, size) + 1).astype(int)
        view = Blocks(bounds=tuple(bounds.tolist()), centre=retrained.reshape(len(retrained), -1).mean(axis=0))
        p, q = view.of(unlearned), view.of(retrained)
        # The centre is their own mean, so that these lie nearer to it than any others will: by a little in each block,
        # which all blocks together would take for a sure sign.
        q[:, len(bounds) - 1 :] *= math.sqrt((len(q) + 1) / (len(q) - 1))
        fitted = LinearDiscriminant().fit(p, q, context, rng=rng)
        return BlockScore(view=view, fitted=fitted)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that a release has too few numbers."""
        return self._too_narrow(context.release.shape)

    def _too_narrow(self, shape: tuple[int, ...]) -> str | None:
        size = math.prod(shape)
        said = (
            f"{self.name} is for releases of at least {self.least_numbers:,} numbers, and these have {size:,}; use lda"
        )
        return said if size < self.least_numbers else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """How a release is cut into blocks of neighbours.

    Parameters
    ----------
    bounds
        Where each block begins, and the end of the last one.
    centre
        What norms are taken about, shape (d,).
    """

    bounds: tuple[int, ...]
    centre: Array

    def of(self, releases: Array) -> Array:
        """Return the means and the norms of each release's blocks, shape (n, 2 blocks)."""
        rows = releases.reshape(len(releases), -1)
        means, norms = (np.empty((len(rows), len(self.bounds) - 1)) for _ in range(2))
        for i, block in self._slices():
            # A block at a time: a copy of a release of a million numbers is eight megabytes for each trial.
            part = rows[:, block] - self.centre[block]
            means[:, i] = part.mean(axis=1)
            norms[:, i] = np.sqrt(np.einsum("ij,ij->i", part, part) / part.shape[1])
        return np.concatenate([means, norms], axis=1)

    def _slices(self) -> Iterator[tuple[int, slice]]:
        yield from enumerate(slice(a, b) for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockScore:
    """A fitted :class:`BlockLda`: a linear score of the means and norms of a release's blocks."""

    view: Blocks
    fitted: LinearScore

    def score(self, releases: Array) -> Array:
        """Return the discriminant of each release's blocks, shape (n,)."""
        return self.fitted.score(self.view.of(releases))
