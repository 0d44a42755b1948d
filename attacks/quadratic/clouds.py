"""Learned attacks that compare covariances: two Gaussian clouds, or the distance to one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks.linear.discriminant import CONSTANT, SEPARATE
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials, too_few
from attacks.quadratic.score import QuadraticScore, flat
from attacks.quadratic.wide import WideDistance
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
ANY = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT))


@dataclass(frozen=True, kw_only=True)
class Radius:
    """Score the squared Mahalanobis distance to the cloud of retrained models; higher means farther from it.

    Sees noise that is too small or too large in many directions by a little, where a mean score sees nothing: too
    little noise in the unlearned world shows in the lower tail, too much in the upper one. An audit's choice of events
    searches both tails, so no sign is learned. Needs releases of any kind and trials, at least two a world: it learns
    a mean and a covariance, shrunk as by Ledoit and Wolf, from the retrained ones. No law.

    Notes
    -----
    With ever more trials the most powerful attack for two Gaussian laws of one mean and of covariances that differ by
    a factor. With more numbers than trials no matrix is made (:class:`~attacks.linear.shrunk.ShrunkRows`). Columns that
    do not vary among retrained models carry no weight; where none varies, the distance is that
    to the one retrained model, each column in units of how far unlearned models lie from it.

    References
    ----------
    Mahalanobis 1936, "On the generalised distance in statistics", Proc. Natl. Inst. Sci. India 2; Ledoit, Wolf 2004,
    "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Anal. 88.
    """

    name: str = "radius"
    needs: Needs = replace(ANY, trials=2)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on the retrained trials, shape (m, *release).

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world, or when the retrained models have a singular covariance.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        scale = _spread(flat(retrained), flat(retrained))
        if not np.any(scale > 0):
            return _from_point(flat(unlearned), flat(retrained)[0])
        if np.count_nonzero(scale) > len(retrained):
            return WideDistance.of(flat(retrained), scale)
        return Cloud.of(flat(retrained), scale).distance()


@dataclass(frozen=True, kw_only=True)
class Qda:
    """Score the log ratio of two Gaussians, one fitted to each world; higher means the unlearned world.

    Quadratic discriminant analysis: the learned attack that sees any difference of covariances. Needs releases of any
    kind and no law. It learns d^2 numbers a world: two trials a world are the least, and below one a dimension it
    learns little.

    Parameters
    ----------
    trials_a_dimension
        Refuse fewer fitting trials of a world than this many a dimension, at least 0.

    Notes
    -----
    With ever more trials the most powerful attack for two Gaussian laws. Covariances are shrunk as by Ledoit and Wolf.
    Columns that do not vary in one of the worlds carry no weight.

    References
    ----------
    Friedman 1989, "Regularized discriminant analysis", J. Am. Stat. Assoc. 84; Ledoit, Wolf 2004, "A well-conditioned
    estimator for large-dimensional covariance matrices", J. Multivariate Anal. 88.
    """

    name: str = "qda"
    needs: Needs = replace(ANY, trials=2)
    trials_a_dimension: float = 0.0

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer trials in a world than asked for (at least two), when no number varies in both worlds, or for a
            singular covariance.
        """
        require_trials(self.name, unlearned, retrained, least=self._least(unlearned.shape[1:]))
        scale = _spread(flat(unlearned), flat(retrained))
        if not np.any(scale > 0):
            raise NotApplicableError(f"{self.name} needs numbers that vary from model to model; use lda instead")
        p, q = (Cloud.of(flat(trials), scale) for trials in (unlearned, retrained))
        near, far = p.distance(), q.distance()
        return QuadraticScore(
            matrix=(far.matrix - near.matrix) / 2,
            linear=(far.linear - near.linear) / 2,
            offset=(far.offset - near.offset + q.log_determinant - p.log_determinant) / 2,
        )

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return how many trials it needs, where there are fewer."""
        least = self._least(context.release.shape)
        return too_few(self.name, least, n_fit) if n_fit < least else None

    def _least(self, shape: tuple[int, ...]) -> int:
        return max(2, math.ceil(self.trials_a_dimension * math.prod(shape)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """A Gaussian fitted to flattened trials; columns that do not vary carry no weight.

    Parameters
    ----------
    mean
        Shape (d,).
    precision
        Inverse covariance, shape (d, d); 0 in the rows and columns that are left out.
    log_determinant
        Of the covariance of the columns that are used.
    """

    mean: Array
    precision: Array
    log_determinant: float

    @staticmethod
    def of(trials: Array, scale: Array) -> Cloud:
        """Return the Gaussian of some trials, its covariance shrunk as by Ledoit and Wolf.

        Parameters
        ----------
        trials
            Shape (n, d).
        scale
            What makes the columns comparable before shrinkage, at least 0, shape (d,); 0 for those to leave out.

        Raises
        ------
        NotApplicableError
            When the covariance is singular even when shrunk.
        """
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


def _from_point(trials: Array, point: Array) -> QuadraticScore:
    """Return the squared distance to a point, each column in units of how far the trials are from it."""
    square = np.mean((trials - point) ** 2, axis=0)
    # A smaller distance is rounding.
    apart = square > (SEPARATE * np.maximum(np.abs(trials).max(axis=0), np.abs(point))) ** 2
    weights = np.divide(1.0, square, out=np.zeros_like(square), where=apart)
    return QuadraticScore(matrix=np.diag(weights), linear=-2 * weights * point, offset=float(weights @ point**2))


def _spread(p: Array, q: Array) -> Array:
    """Return the columns' standard deviation in the second world; 0 where a column varies in one of the two at most."""
    spread = q.std(axis=0)
    for trials in (p, q):
        spread = np.where(trials.std(axis=0) > CONSTANT * np.abs(trials).max(axis=0), spread, 0.0)
    return np.asarray(spread)
