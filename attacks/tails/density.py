"""Learned attack on the ratio of two densities in one to three dimensions: intervals, modes, gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from attacks.outputs.statistics import target_statistics
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from attacks.quadratic.score import flat
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
MOST_DIMENSIONS = 3
# Cells along each coordinate, for one, two and three of them.
_CELLS = (256, 48, 20)
# Bandwidths to choose from, as shares of the trials along a coordinate.
_BANDWIDTHS = (0.005, 0.012, 0.03, 0.07, 0.16)
# Numbers this share of the largest apart may be those of equal releases.
_TIE = 1e-12


@dataclass(frozen=True, kw_only=True)
class DensityRatio:
    """Score the log ratio of two densities that are learned without any form; higher means the unlearned world.

    Every other attack is monotone along one direction or quadratic. A law that differs in an interval alone (noise that
    is used again between projections gathers mass in the middle of the line; a service that moves some models by plus
    or minus the same shift) shows no event to them. Coordinates are the release's own numbers where it has at most
    three, else what it shows of the deleted records where that is at most three numbers. Needs such a release, of any
    kind, and fifty trials a world; no law.

    Notes
    -----
    Coordinates are ranked among all fitting trials, and counts on a grid of ranks are smoothed by a Gaussian kernel
    whose width is chosen by the likelihood of trials that were left out. With ever more trials and a finer grid the
    most powerful attack on these coordinates. Where there is nothing near, the score is 0. One event may be many
    intervals.

    References
    ----------
    Rosenblatt 1956, "Remarks on some nonparametric estimates of a density function", Ann. Math. Stat. 27; Neyman,
    Pearson 1933, "On the problem of the most efficient tests of statistical hypotheses", Phil. Trans. R. Soc. A 231.
    """

    name: str = "density_ratio"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=50)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than fifty trials in a world, or more than three numbers to look at.
        """
        require_trials(self.name, unlearned, retrained, least=self.needs.trials)
        view = Coordinates.for_shape(context, unlearned.shape[1:], self.name)
        worlds = [view.of_releases(trials) for trials in (unlearned, retrained)]
        grid = Grid.of(np.concatenate(worlds))
        halves = [np.stack([grid.counts(points[fold::2]) for points in worlds]) for fold in range(2)]
        width = max(_BANDWIDTHS, key=lambda share: _left_out_likelihood(halves, share))
        return DensityTable(view=view, grid=grid, values=_log_ratio(halves[0] + halves[1], width).ravel())

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that a release shows more than three numbers, or none, of what was deleted."""
        try:
            Coordinates.for_shape(context, context.release.shape, self.name)
        except NotApplicableError as error:
            return str(error)
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """A release's own numbers, or (with a context) what it shows of the deleted records."""

    context: AttackContext | None

    @staticmethod
    def for_shape(context: AttackContext, shape: tuple[int, ...], attack: str) -> Coordinates:
        """Return how to look at releases of a shape.

        Raises
        ------
        NotApplicableError
            When there are more than three numbers to look at either way.
        """
        if math.prod(shape) <= MOST_DIMENSIONS:
            return Coordinates(context=None)
        n = math.prod(shape)
        shown = 0
        if shape == context.release.shape:
            with suppress(NotApplicableError):
                shown = target_statistics(np.zeros((1, *shape)), context, attack).shape[1]
        if 0 < shown <= MOST_DIMENSIONS:
            return Coordinates(context=context)
        raise NotApplicableError(
            f"{attack} looks at {MOST_DIMENSIONS} numbers at most: a release's own, and it has {n:,}, or its outputs "
            f"at the deleted records, and it shows {shown or 'none'}; use lda or qda instead"
        )

    def of_releases(self, releases: Array) -> Array:
        """Return the coordinates of each release, shape (n, r)."""
        return flat(releases) if self.context is None else target_statistics(releases, self.context, "density_ratio")


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Cells that hold about as many trials each along every coordinate; their bounds lie between two trials."""

    bounds: tuple[Array, ...]

    @staticmethod
    def of(points: Array) -> Grid:
        """Return the grid of all fitting trials, shape (n, r)."""
        levels = np.linspace(0, 1, _CELLS[points.shape[1] - 1] + 1)[1:-1]
        return Grid(bounds=tuple(_between(np.sort(column), levels) for column in points.T))

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each coordinate."""
        return tuple(len(bounds) + 1 for bounds in self.bounds)

    def cells(self, points: Array) -> NDArray[np.int_]:
        """Return the number of the cell of each point, shape (n,)."""
        found = [np.searchsorted(bounds, column) for bounds, column in zip(self.bounds, points.T, strict=True)]
        return np.asarray(np.ravel_multi_index(found, self.shape))

    def counts(self, points: Array) -> Array:
        """Return how many points lie in each cell."""
        return np.bincount(self.cells(points), minlength=math.prod(self.shape)).reshape(self.shape).astype(np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityTable:
    """A fitted :class:`DensityRatio`: the log ratio in each cell of a grid, shape (cells,)."""

    view: Coordinates
    grid: Grid
    values: Array

    def score(self, releases: Array) -> Array:
        """Return the log ratio of the densities in each release's cell, shape (n,)."""
        return np.asarray(self.values[self.grid.cells(self.view.of_releases(releases))])


def _between(ordered: Array, levels: Array) -> Array:
    """Return distinct bounds near quantiles, each in a gap: equal releases may differ in the last digits."""
    values = np.unique(ordered)
    gaps = np.flatnonzero(np.diff(values) > _TIE * np.abs(values).max())
    if not len(gaps):
        return np.empty(0)
    at = np.searchsorted(values, ordered[(levels * len(ordered)).astype(int)])
    chosen = np.unique(gaps[np.minimum(np.searchsorted(gaps, at - 1), len(gaps) - 1)])
    return np.asarray(values[chosen] + (values[chosen + 1] - values[chosen]) / 2)


def _log_ratio(counts: Array, share: float) -> Array:
    """Return the log ratio of two smoothed densities in every cell, from their counts (2, *grid); 0 where no trial is.

    Parameters
    ----------
    counts
        Of the unlearned and the retrained world.
    share
        Bandwidth, as a share of the trials along a coordinate.
    """
    near = counts
    for axis, size in enumerate(counts.shape[1:], start=1):
        near = np.moveaxis(np.moveaxis(near, axis, -1) @ _kernel(size, share), -1, axis)
    n = counts.reshape(2, -1).sum(axis=1)
    prior = n / n.sum()
    return np.asarray(np.log((near[0] + prior[0]) / (near[1] + prior[1])) - math.log(n[0] / n[1]))


@lru_cache(maxsize=64)
def _kernel(size: int, share: float) -> Array:
    """Return how many trials in a cell count as near another cell, shape (size, size); no trial counts more than once.

    In units of one trial: a sum near 1 says that one trial is near.
    """
    places = np.arange(size)
    # Half a cell is as good as no smoothing.
    return np.asarray(np.exp(-0.5 * ((places[:, None] - places) / max(share * size, 0.5)) ** 2))


def _left_out_likelihood(halves: Sequence[Array], share: float) -> float:
    """Return how well the ratio of one half of the trials tells the worlds of the other half: mean log likelihood."""
    total = 0.0
    for fitting, held_out in (halves, halves[::-1]):
        ratio = _log_ratio(fitting, share)
        for sign, counts in zip((-1, 1), held_out, strict=True):
            total -= float(np.sum(counts * np.logaddexp(0.0, sign * ratio)) / counts.sum())
    return total
