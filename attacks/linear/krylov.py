"""Learned attack on the few directions along which a gradient or Newton method can move a linear model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.geometry import Geometry
from attacks.linear.score import LinearScore, project_on
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials, too_few
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]
POWERS = 3
# A direction of which less than this share is new is rounding.
_NEW = 1e-9


@dataclass(frozen=True, kw_only=True)
class KrylovLda:
    """Score Fisher's discriminant on span{H^-3 g, ..., g, ..., H^3 g}, learned; higher means the unlearned world.

    H is the regularised Hessian of the retained records and g the gradient of the deleted ones. Gradient descent,
    Newton steps and what is left of them move the mean by f(H) g for some function f, which these seven directions
    follow closely; so seven weights are learned and not one for each parameter. The best single default where the
    release is a linear model. Needs white-box weights of a linear model, the data, the public ``penalty`` and eight
    trials a world (one more than directions, which may be fewer); no law.

    Notes
    -----
    Nearly the most powerful attack where both worlds have one covariance that is a function of H too; blind to a
    difference of covariances. Within the span the sample covariance is used unshrunk: the discriminant is invariant to
    linear maps of the seven coordinates, and shrinkage in any basis but the principal one would not be. Scores are in
    standard deviations within a world; all are 0 where g is.

    References
    ----------
    Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7; Druskin, Knizhnerman
    1998, "Extended Krylov subspaces: approximation of the matrix square root and related functions", SIAM J. Matrix
    Anal. Appl. 19, for the span.
    """

    name: str = "krylov_lda"
    needs: Needs = Needs(matrices=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            As for :func:`krylov_basis`, or with too few trials.
        """
        basis = krylov_basis(context, self.name)
        require_trials(self.name, unlearned, retrained, least=len(basis) + 1)
        if not len(basis):
            # The deleted records have no gradient: deleting them moves nothing.
            return LinearScore(weights=np.zeros(context.release.shape))
        coordinates = [project_on(trials, basis) for trials in (unlearned, retrained)]
        within = np.concatenate([c - c.mean(axis=0) for c in coordinates])
        # In principal coordinates the sample correlation is the identity, so that shrinkage has nothing to do.
        _, _, principal = np.linalg.svd(within, full_matrices=False)
        p, q = (c @ principal.T for c in coordinates)
        fitted = LinearDiscriminant().fit(p, q, context, rng=rng)
        # In standard deviations within a world, so that thresholds of one fit suit another.
        spread = float(np.std(within @ (fitted.weights @ principal))) or 1.0
        weights = np.tensordot(fitted.weights @ principal, basis, axes=1) / spread
        return LinearScore(weights=weights, offset=fitted.offset / spread)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why it cannot run, or that there is no direction to learn along."""
        try:
            rank = len(krylov_basis(context, self.name))
        except NotApplicableError as error:
            return str(error)
        if not rank:
            return f"{self.name} scores all releases alike: learning the deleted records moves nothing"
        return too_few(self.name, rank + 1, n_fit) if n_fit <= rank else None


def krylov_basis(context: AttackContext, attack: str) -> Array:
    """Return orthonormal directions that span H^j g for |j| <= 3, shape (r, *release.shape) with r <= 7.

    Raises
    ------
    NotApplicableError
        When a release is not the weights of a linear model on these data, the penalty is not public, the loss is not a
        known one, or a logistic model's retained records are all of one class.

    Notes
    -----
    The extended Krylov space (Druskin and Knizhnerman 1998), grown by turns at both ends. Each new direction is H or
    H^-1 times the last *orthonormal* one, and made orthogonal twice: powers H^j g themselves are parallel to rounding
    for the condition numbers of real data.
    """
    shape, geometry = context.release.shape, Geometry.of(context, attack)
    values = geometry.values.T
    gradient = geometry.in_eigenbasis(geometry.gradient)
    norm = float(np.linalg.norm(gradient))
    if norm == 0:
        return np.empty((0, *shape))
    found = [gradient / norm]
    ends = {1: found[0], -1: found[0]}
    for _ in range(POWERS):
        for sign in (1, -1):
            direction = ends[sign] * values**sign
            direction /= np.linalg.norm(direction)
            for _ in range(2):
                for known in found:
                    direction = direction - np.sum(known * direction) * known
                norm = float(np.linalg.norm(direction))
                if norm <= _NEW:
                    break
                direction = direction / norm
            if norm > _NEW:
                ends[sign] = direction
                found.append(direction)
    return np.stack([geometry.from_eigenbasis(direction).reshape(shape) for direction in found])
