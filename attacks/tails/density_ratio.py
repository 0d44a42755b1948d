"""Density ratio of releases of one number: how much likelier each part of the line is in the unlearned world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
# Fitting trials of both worlds together in one part of the line, about.
_TRIALS_A_PART = 60
_MOST_PARTS = 200
# Added to each count, so that an empty part has a finite ratio.
_ADDED = 0.5


@dataclass(frozen=True, kw_only=True)
class DensityRatio:
    """Learned: log ratio of how often each part of the line is hit in the two worlds; sees events inside it.

    Parts hold about equally many fitting trials, of both worlds together.
    """

    name: str = "density_ratio"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=_TRIALS_A_PART)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the ratios, from trials of both worlds, shape (m, 1, ...) each.

        Raises
        ------
        NotApplicableError
            When a release is not one number, or there are too few trials.
        """
        if unlearned[:1].size > 1:
            raise NotApplicableError(self._sentence)
        require_trials(self.name, unlearned, retrained, least=self.needs.trials)
        worlds = [trials.reshape(len(trials)) for trials in (unlearned, retrained)]
        both = np.concatenate(worlds)
        parts = max(2, min(_MOST_PARTS, len(both) // _TRIALS_A_PART))
        edges = np.unique(np.quantile(both, np.arange(1, parts) / parts))
        counts = [np.bincount(np.searchsorted(edges, world), minlength=len(edges) + 1) for world in worlds]
        shares = [(count + _ADDED) / len(world) for count, world in zip(counts, worlds, strict=True)]
        return FittedRatio(edges=edges, scores=np.log(shares[0] / shares[1]))

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that a release is more than one number."""
        return self._sentence if math.prod(context.release.shape) > 1 else None

    @property
    def _sentence(self) -> str:
        return f"{self.name} needs releases of one number; use classifier for others"


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedRatio:
    """A fitted :class:`DensityRatio`: parts of the line and their scores."""

    edges: Array
    scores: Array

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,)."""
        return np.asarray(self.scores[np.searchsorted(self.edges, releases.reshape(len(releases)))])
