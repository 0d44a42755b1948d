"""Learned linear attack for ill-conditioned releases: retrained models say in which units a release is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.discriminant import CONSTANT, LinearDiscriminant
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, Needs, require_trials, too_few
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
# Directions whose share of the largest variance is below this are rounding; they lose power, never validity.
RELATIVE_CUTOFF = 1e-13


@dataclass(frozen=True, kw_only=True)
class WhitenedLda:
    """Score Fisher's discriminant in units of the retrained models' own directions; higher means unlearned.

    Ledoit-Wolf shrinkage towards the identity, as in ``lda``, drowns directions of little noise, and weights vary like
    the inverse Hessian of their data: by a factor of 1e8 where its condition number is 1e4. Here a release is first
    expressed in the principal axes of the retrained fitting trials, each in its own standard deviations, and shrunk
    then. Needs releases of any kind and two trials a world for each number; neither a law nor data.

    Parameters
    ----------
    trials_a_dimension
        Refuse fewer fitting trials of a world than this many a dimension, above 1: the axes would be noise.
    least_condition
        Refuse trials whose variances along those axes, in units of each number's own, differ by a smaller factor than
        this, at least 1: ``lda`` sees as much there.

    Notes
    -----
    With ever more trials the most powerful attack for two Gaussian laws of one covariance, however ill-conditioned;
    blind to a difference of covariances. Columns that do not vary in both worlds, and directions of less than 1e-13 of
    the largest variance, carry no weight.

    References
    ----------
    As :class:`~attacks.linear.discriminant.LinearDiscriminant`.
    """

    name: str = "whitened_lda"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=4)
    trials_a_dimension: float = 2.0
    least_condition: float = 1.0

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> LinearScore:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer trials in a world than asked for, when no number varies in both worlds, or when the retrained
            trials are better conditioned than asked for.
        """
        require_trials(self.name, unlearned, retrained, least=self._least(unlearned.shape[1:]))
        p, q = (trials.reshape(len(trials), -1) for trials in (unlearned, retrained))
        centre, spread = q.mean(axis=0), q.std(axis=0)
        used = (spread > CONSTANT * np.abs(q).max(axis=0)) & (p.std(axis=0) > CONSTANT * np.abs(p).max(axis=0))
        if not np.any(used):
            raise NotApplicableError(f"{self.name} needs numbers that vary from model to model; use lda instead")
        rows = (q - centre)[:, used] / spread[used]
        values, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        if values[-1] < self.least_condition * values[0]:
            raise NotApplicableError(f"{self.name} is for ill-conditioned releases; lda sees as much of these")
        kept = values > RELATIVE_CUTOFF * values[-1]
        whiten = axes[:, kept] / np.sqrt(values[kept]) / spread[used, None]
        fitted = LinearDiscriminant().fit(
            (p - centre)[:, used] @ whiten, (q - centre)[:, used] @ whiten, context, rng=rng
        )
        weights = np.zeros(p.shape[1])
        weights[used] = whiten @ fitted.weights
        return LinearScore(weights=weights.reshape(unlearned.shape[1:]), offset=fitted.offset - float(weights @ centre))

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return how many trials it needs, where there are fewer."""
        least = self._least(context.release.shape)
        return too_few(self.name, least, n_fit) if n_fit < least else None

    def _least(self, shape: tuple[int, ...]) -> int:
        return max(self.needs.trials, math.ceil(self.trials_a_dimension * math.prod(shape)))
