"""Learned attack on the shape of a release alone: which parameters or outputs a model has, not their values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Score the log ratio of how often a release's shape was seen in each world; higher means the unlearned world.

    Where the last record of a class is deleted, a retrained classifier has an output less: whoever sees a release knows
    its world without a look at any number. A member of the portfolio. Needs releases that differ in shape
    (:class:`mechanisms.protocol.ReleaseSpec` with ``axes``) and a trial a world; no law.

    Notes
    -----
    With ever more trials the most powerful attack on the shape, by the lemma of Neyman and Pearson for a discrete law.
    Frequencies are smoothed by half a trial; a shape that was not seen in either world scores 0.

    References
    ----------
    Krichevsky, Trofimov 1981, "The performance of universal encoding", IEEE Trans. Inf. Theory 27, for the half.
    """

    name: str = "shape"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=1)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            Without a trial in a world, or when all releases have one shape by declaration.
        """
        said = self.trouble(context, n_fit=min(len(unlearned), len(retrained)))
        if said is not None:
            raise NotApplicableError(said)
        require_trials(self.name, unlearned, retrained, least=1)
        axes = context.release.axes
        first, second = (Counter(_shapes(trials, axes)) for trials in (unlearned, retrained))
        scale = (len(retrained) + 1) / (len(unlearned) + 1)
        ratios = {shape: math.log((first[shape] + 0.5) / (second[shape] + 0.5) * scale) for shape in first | second}
        return ShapeRatio(axes=axes, ratios=ratios)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that all releases have one shape, where they do."""
        return None if context.release.axes else f"{self.name} needs releases that differ in shape"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeRatio:
    """A fitted :class:`Shape`: the log ratio of each shape, by the leading numbers of a release that tell it."""

    axes: int
    ratios: Mapping[tuple[float, ...], float]

    def score(self, releases: Array) -> Array:
        """Return the log ratio of each release's shape, shape (n,)."""
        return np.array([self.ratios.get(shape, 0.0) for shape in _shapes(releases, self.axes)])


def _shapes(releases: Array, axes: int) -> list[tuple[float, ...]]:
    return [tuple(row) for row in releases[:, :axes].tolist()]
