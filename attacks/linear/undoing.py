"""Learned attack that undoes training: what force holds a released model where it is?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.geometry import Geometry, loss_of, penalty_of, responses_of
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs, matrices, require_trials, too_few
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]
# Numbers of predictions that are held at once.
_BLOCK = 2**22


@dataclass(frozen=True, kw_only=True)
class UndoTraining:
    """Score Fisher's discriminant on the gradient of the retained loss at the release; higher means unlearned.

    A mechanism that adds noise to its objective releases the model at which the retained gradient balances that noise
    and what is left of the deleted records. In weights both are bent and stretched by the inverse Hessian; in the
    gradient they are as they were added. Needs white-box weights of a linear model, the data, the public ``penalty``
    and two trials a world; no law.

    Parameters
    ----------
    least_condition
        Refuse data whose Hessian has a smaller condition number than this, at least 1: ``lda`` sees as much there.
    trials_a_dimension
        Refuse fewer fitting trials of a world than this many a number of a release, at least 0.

    Notes
    -----
    With ever more trials the most powerful attack on objective perturbation with Gaussian noise, for squared and for
    logistic loss (whose gradient is no linear function of the weights).

    References
    ----------
    Chaudhuri, Monteleoni, Sarwate 2011, "Differentially private empirical risk minimization", J. Mach. Learn. Res. 12,
    for the map between noise and model; Warnecke, Pirch, Wressnegger, Rieck 2023, "Machine unlearning of features and
    labels" (arXiv:2108.11577), which unlearns under it.
    """

    name: str = "undo_training"
    needs: Needs = Needs(matrices=True, trials=2)
    least_condition: float = 1.0
    trials_a_dimension: float = 0.0

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer trials in a world than asked for (at least two); when a release is not the weights of a linear
            model on these data, the penalty is not public, the loss is not a known one, or a logistic model's retained
            records are all of one class; or when the data are better conditioned than asked for.
        """
        require_trials(self.name, unlearned, retrained, least=self._least(unlearned.shape[1:]))
        if (said := self._unsuitable(context)) is not None:
            raise NotApplicableError(said)
        pull = Pull.of(context, self.name)
        fitted = LinearDiscriminant().fit(pull.at(unlearned), pull.at(retrained), context, rng=rng)
        return pull.along(fitted, context)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why it cannot run: the release, the data, or too few trials."""
        least = self._least(context.release.shape)
        return too_few(self.name, least, n_fit) if n_fit < least else self._unsuitable(context)

    def _least(self, shape: tuple[int, ...]) -> int:
        return max(2, math.ceil(self.trials_a_dimension * math.prod(shape)))

    def _unsuitable(self, context: AttackContext) -> str | None:
        try:
            values = Geometry.of(context, self.name).values
        except NotApplicableError as error:
            return str(error)
        condition = float(np.max(values[:, -1] / values[:, 0]))
        if condition >= self.least_condition:
            return None
        return (
            f"{self.name} is for data whose Hessian has a condition number of at least {self.least_condition:g}, and "
            f"these have {condition:.3g}; lda sees as much"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pull:
    """The gradient of the retained objective as a function of weights (p, q); no Hessian where it is not one matrix."""

    features: Array
    responses: Array
    penalty: float
    hessian: Array | None

    @staticmethod
    def of(context: AttackContext, attack: str) -> Pull:
        """Return it for what a context grants."""
        retained = matrices(context, attack)[0]
        hessian = None
        if loss_of(context, attack) == "squared":
            # From what is known already: the product of many records' features takes longer than all else here.
            geometry = Geometry.of(context, attack)
            hessian = (geometry.vectors[0] * geometry.values[0]) @ geometry.vectors[0].T
        return Pull(
            features=retained.features,
            responses=responses_of(retained, context, attack),
            penalty=penalty_of(context, attack),
            hessian=hessian,
        )

    def at(self, releases: Array) -> Array:
        """Return the gradient at each release, shape (n, p, q)."""
        weights = releases.reshape(len(releases), self.features.shape[1], -1)
        if self.hessian is not None:
            return np.asarray(self.hessian @ weights - self.features.T @ self.responses)
        found = np.empty_like(weights, dtype=np.float64)
        for block in _blocks(len(weights), self.responses.size):
            found[block] = self.features.T @ (expit(self.features @ weights[block]) - self.responses)
        found += self.penalty * weights
        return found

    def along(self, fitted: LinearScore, context: AttackContext) -> FittedAttack:
        """Return a linear score of the gradient as a score of releases."""
        weights = fitted.weights
        offset = fitted.offset - float(np.sum(weights * (self.features.T @ self.responses)))
        if self.hessian is not None:
            return LinearScore(weights=(self.hessian @ weights).reshape(context.release.shape), offset=offset)
        return AlongPull(context=context, direction=weights, offset=offset)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlongPull:
    """A fitted :class:`UndoTraining` of logistic loss: the gradient along a direction, which bends.

    Parameters
    ----------
    context
        Holds the data: whoever scores was granted them too, and a fitted attack carries no copy of its own.
    direction
        Shape (p, q).
    offset
        Added to every score.
    """

    context: AttackContext
    direction: Array
    offset: float

    def score(self, releases: Array) -> Array:
        """Return the gradient of the retained loss along the direction that was learned, shape (n,)."""
        features = matrices(self.context, "undo_training")[0].features
        along = features @ self.direction
        rows = releases.reshape(len(releases), *self.direction.shape)
        found = np.tensordot(rows, penalty_of(self.context, "undo_training") * self.direction, axes=2) + self.offset
        for block in _blocks(len(rows), along.size):
            found[block] += np.tensordot(expit(features @ rows[block]), along, axes=2)
        return np.asarray(found)


def _blocks(n: int, each: int) -> list[slice]:
    step = max(1, _BLOCK // max(each, 1))
    return [slice(start, start + step) for start in range(0, n, step)]
