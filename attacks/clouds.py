"""Learned attacks that compare covariances: two Gaussian clouds, or the distance to one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.discriminant import CONSTANT
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from attacks.quadratic import QuadraticScore, flat
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
ANY = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT))


@dataclass(frozen=True, kw_only=True)
class Radius:
    """Squared Mahalanobis distance to the cloud of retrained models, with a Ledoit-Wolf covariance.

    Sees noise that is too small or too large in many directions by a little, where a mean score sees nothing: too
    little noise in the unlearned world shows in the lower tail, too much in the upper one. An audit's choice of events
    searches both tails, so no sign is learned.
    """

    name: str = "radius"
    needs: Needs = ANY

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on the retrained trials.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world, or when the retrained models are all equal.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        scale = _spread(flat(retrained), flat(retrained), attack=self.name)
        cloud = Cloud.of(flat(retrained), scale)
        return cloud.distance()


@dataclass(frozen=True, kw_only=True)
class Qda:
    """Log ratio of two Gaussians, one a world, with Ledoit-Wolf covariances: quadratic discriminant analysis.

    The learned attack that sees any difference of covariances. It learns d^2 numbers, and needs trials accordingly.

    Parameters
    ----------
    trials_a_dimension
        Refuse fewer fitting trials of a world than this many a dimension.

    References
    ----------
    Friedman 1989, "Regularized discriminant analysis"; Ledoit and Wolf 2004 for the shrinkage.
    """

    name: str = "qda"
    needs: Needs = ANY
    trials_a_dimension: float = 0.0

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on the trials.

        Raises
        ------
        NotApplicableError
            With fewer trials in a world than asked for (at least two), or when no number varies in both worlds.
        """
        least = max(2, math.ceil(self.trials_a_dimension * math.prod(unlearned.shape[1:])))
        require_trials(self.name, unlearned, retrained, least=least)
        scale = _spread(flat(unlearned), flat(retrained), attack=self.name)
        p, q = (Cloud.of(flat(trials), scale) for trials in (unlearned, retrained))
        near, far = p.distance(), q.distance()
        return QuadraticScore(
            matrix=(far.matrix - near.matrix) / 2,
            linear=(far.linear - near.linear) / 2,
            offset=(far.offset - near.offset + q.log_determinant - p.log_determinant) / 2,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """A Gaussian fitted to flattened trials; columns that do not vary carry no weight."""

    mean: Array
    precision: Array
    log_determinant: float

    @staticmethod
    def of(trials: Array, scale: Array) -> Cloud:
        """Fit one; ``scale`` makes the columns comparable before shrinkage, and is 0 for those to leave out."""
        from scipy.linalg.lapack import dpotrf, dpotri
        from sklearn.covariance import ledoit_wolf

        used = scale > 0
        mean = trials.mean(axis=0)
        covariance, _ = ledoit_wolf((trials - mean)[:, used] / scale[used], assume_centered=True)
        # One factor gives inverse and determinant, in a fraction of the time of both.
        factor, trouble = dpotrf(covariance, lower=1)
        if trouble:
            raise NotApplicableError("the covariance of the trials is singular; use lda instead")
        inverse, _ = dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        precision = np.zeros((len(scale), len(scale)))
        precision[np.ix_(used, used)] = inverse / np.outer(scale[used], scale[used])
        return Cloud(
            mean=mean,
            precision=precision,
            log_determinant=float(2 * np.sum(np.log(np.diag(factor))) + 2 * np.sum(np.log(scale[used]))),
        )

    def distance(self) -> QuadraticScore:
        """Return the squared Mahalanobis distance as a score."""
        pulled = self.precision @ self.mean
        return QuadraticScore(matrix=self.precision, linear=-2 * pulled, offset=float(self.mean @ pulled))


def _spread(p: Array, q: Array, *, attack: str) -> Array:
    """Return the columns' standard deviation in the second world; 0 where a column varies in one of the two at most."""
    spread = q.std(axis=0)
    for trials in (p, q):
        spread = np.where(trials.std(axis=0) > CONSTANT * np.abs(trials).max(axis=0), spread, 0.0)
    if not np.any(spread > 0):
        raise NotApplicableError(f"{attack} needs numbers that vary from model to model; use lda instead")
    return np.asarray(spread)
