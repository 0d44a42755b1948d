"""White box, linear models: how far a release lies in the direction in which each candidate pulls a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.linear.geometry import Geometry, linear_model
from attacks.lots.protocol import LotScorer, Rehearsal
from attacks.protocol import AttackContext, matrices
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearLotScores:
    """Scores that are linear in a release: ``weights @ (release - centre) + offset``.

    Parameters
    ----------
    weights
        Shape (m, d), for releases of d numbers.
    centre, offset
        Shapes (d,) and (m,).
    """

    weights: NDArray[Any]
    centre: NDArray[Any]
    offset: NDArray[Any]

    def scores(self, release: Array) -> Array:
        """Return a score for each candidate, shape (m,)."""
        return np.asarray(self.weights @ (release.ravel() - self.centre) + self.offset)


@dataclass(frozen=True, kw_only=True)
class MatchedFilter:
    """Score each candidate by itself: <release - centre, its influence>, divided by the squared length of that.

    The influence is ``-H^-1 gradient`` at the optimum of the data without the pool, which is also the centre (the mean
    of models that were trained without the pool where these lie elsewhere). Where one candidate is drawn a run, the
    Gaussian log-likelihood ratio of "this one is in" instead, with the shift that it makes alone: exact for squared
    loss.

    References
    ----------
    Koh, Liang 2017, "Understanding black-box predictions via influence functions" (arXiv:1703.04730).
    """

    name: str = "matched_filter"
    rehearsals: int = 0

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return the filter; needs white-box weights of a linear model, matrices and the public ``penalty``.

        Raises
        ------
        NotApplicableError
            When a release is no such model.
        """
        pulls, centre = _pulls(context, self.name, alone=alone), _centre(context, references, self.name)
        squares = np.einsum("md,md->m", pulls, pulls)
        if alone:
            return LinearLotScores(weights=pulls, centre=centre, offset=-squares / 2)
        # A candidate that pulls nowhere cannot be guessed.
        safe = np.where(squares > 0, squares, np.inf)
        return LinearLotScores(weights=pulls / safe[:, None], centre=centre, offset=np.zeros(len(pulls)))


@dataclass(frozen=True, kw_only=True)
class JointFilter:
    """Score all candidates at once: the mean of each coin given the release, were coins and noise Gaussian.

    Candidates pull in directions that overlap, so that each hides others from a filter of its own; solving for all of
    them shows far more. The variance of the noise is a public parameter, or is estimated from two models that were
    trained without the pool; a wrong one costs power, never validity.

    Parameters
    ----------
    noise
        Standard deviation of a released number; by default as said.

    References
    ----------
    Kay 1993, *Fundamentals of statistical signal processing: estimation theory*, chapter 11 (the linear estimator).
    """

    noise: float | None = None
    name: str = "joint_filter"
    rehearsals: int = 0

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return the filter; needs white-box weights of a linear model, matrices and the public ``penalty``.

        Raises
        ------
        NotApplicableError
            When a release is no such model, or nothing tells the size of the noise.
        """
        if alone:
            return MatchedFilter(name=self.name).prepare(context, references, rehearsals, alone=True)
        pulls, centre = _pulls(context, self.name), _centre(context, references, self.name)
        overlap = pulls @ pulls.T
        # Coins have mean and variance 1/2 and 1/4.
        solved = np.linalg.solve(overlap / 4 + self._variance(context, references) * np.eye(len(pulls)), pulls)
        return LinearLotScores(weights=solved, centre=centre, offset=-(solved @ pulls.T).sum(axis=1) / 2)

    def _variance(self, context: AttackContext, references: Array) -> float:
        given = self.noise if self.noise is not None else context.parameters.get("noise")
        if isinstance(given, int | float) and given > 0:
            return float(given) ** 2
        if len(references) >= 2:
            # Never 0, so that the system can be solved where models have no noise at all.
            return max(float(np.mean(np.var(references, axis=0, ddof=1))), 1e-18)
        raise NotApplicableError(
            f"{self.name} needs the size of the noise: pass JointFilter(noise=...), or references=2 models"
        )


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Score each candidate by <release - centre, -its gradient>: for linear models with no public penalty.

    References
    ----------
    Nasr, Shokri, Houmansadr 2019, "Comprehensive privacy analysis of deep learning" (arXiv:1812.00910).
    """

    name: str = "alignment"
    rehearsals: int = 0

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return the score; needs white-box weights of a linear model of squared loss, matrices, and references.

        Raises
        ------
        NotApplicableError
            When there are none.
        """
        shape = linear_model(context, self.name)
        if not len(references):
            raise NotApplicableError(f"{self.name} needs models that were trained without the pool: references=2")
        pool = matrices(context, self.name)[1]
        centre = references.mean(axis=0)
        residual = pool.targets - pool.features @ centre.reshape(pool.features.shape[1], -1)
        pulls = (pool.features[:, :, None] * residual[:, None, :]).reshape(len(pool.features), -1)
        squares = np.einsum("md,md->m", pulls, pulls)
        weights = np.asarray(pulls / np.where(squares > 0, squares, np.inf)[:, None], dtype=np.float64)
        return LinearLotScores(
            weights=weights, centre=centre.reshape(int(np.prod(shape))), offset=np.zeros(len(weights))
        )


def _pulls(context: AttackContext, attack: str, *, alone: bool = False) -> Array:
    """Return how far each candidate moves the optimum, to first order, shape (m, d).

    With ``alone``, of squared loss, exactly as far as it does when no other one is given.
    """
    geometry = Geometry.of(context, attack)
    z = matrices(context, attack)[1].features
    found = np.empty((len(z), z.shape[1], geometry.residual.shape[1]))
    for i in range(geometry.residual.shape[1]):
        j = min(i, len(geometry.values) - 1)
        inverse = (geometry.vectors[j] / geometry.values[j]) @ geometry.vectors[j].T
        moved = z @ inverse
        damped = 1 + np.einsum("mp,mp->m", moved, z) if alone and len(geometry.values) == 1 else np.ones(len(z))
        found[:, :, i] = -moved * (geometry.residual[:, i] / damped)[:, None]
    return found.reshape(len(z), -1)


def _centre(context: AttackContext, references: Array, attack: str) -> Array:
    """Return where models without any candidate lie, shape (d,)."""
    usual = references.mean(axis=0).ravel() if len(references) else None
    if context.parameters.get("loss", "squared") == "squared":
        core, penalty = matrices(context, attack)[0], float(context.parameters["penalty"])
        gram = core.features.T @ core.features + penalty * np.eye(core.features.shape[1])
        optimum = np.asarray(np.linalg.solve(gram, core.features.T @ core.targets).ravel(), dtype=np.float64)
        # Without noise, where models reach it; those that stop early lie elsewhere.
        if usual is None or len(references) < 2 or _agrees(optimum, references):
            return optimum
    if usual is None:
        raise NotApplicableError(f"{attack} needs models that were trained without the pool: references=2")
    return np.asarray(usual)


def _agrees(optimum: Array, references: Array) -> bool:
    """Return whether models scatter around a point as they scatter around each other."""
    n, flat = len(references), references.reshape(len(references), -1)
    expected = float(np.sum(np.var(flat, axis=0, ddof=1))) / n
    return float(np.sum((flat.mean(axis=0) - optimum) ** 2)) <= 2 * expected + 1e-12 * float(optimum @ optimum)
