"""Black or white box: how well a model fits each candidate, next to models that were trained without the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.lots.protocol import LotScorer, Rehearsal
from attacks.outputs.statistics import output_kind, target_statistics
from attacks.protocol import AttackContext, matrices

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputLotScores:
    """What a release says of each candidate, minus what models without the pool say of it."""

    context: AttackContext
    usual: Array
    attack: str

    def scores(self, release: Array) -> Array:
        """Return a score for each candidate, shape (m,)."""
        return np.asarray(_fits(release[None], self.context, self.attack)[0] - self.usual)


@dataclass(frozen=True, kw_only=True)
class OutputScores:
    """Log odds of each candidate's own class, or minus its squared error, less the mean over reference models.

    References
    ----------
    Carlini et al. 2022, "Membership inference attacks from first principles" (arXiv:2112.03570), for the log odds;
    Sablayrolles et al. 2019 (arXiv:1908.11229), for the difference from reference models.
    """

    name: str = "output_scores"
    rehearsals: int = 0

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return the scores; needs outputs of the whole pool, or white-box weights of a linear model.

        Raises
        ------
        NotApplicableError
            When a release shows no outputs of the candidates.
        """
        n = len(matrices(context, self.name)[1].features)
        usual = _fits(references, context, self.name).mean(axis=0) if len(references) else np.zeros(n)
        # Whether a release has such outputs shows before anything is trained.
        output_kind(context, self.name)
        return OutputLotScores(context=context, usual=usual, attack=self.name)


def _fits(releases: Array, context: AttackContext, attack: str) -> Array:
    """Return how well each release fits each candidate, shape (n, m)."""
    shown = target_statistics(releases, context, attack)
    if output_kind(context, attack) != "values":
        return shown
    m = len(matrices(context, attack)[1].targets)
    return np.asarray(-np.sum(shown.reshape(len(releases), m, -1) ** 2, axis=2))
