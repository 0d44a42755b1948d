"""What an attacker computes from the retained data and the public hyper-parameters of a linear model.

The public parameter ``loss`` says which: "squared" (the default) or "logistic" (each column against the rest).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.protocol import AttackContext, matrices
from mechanisms.dataset import Dataset
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
LOSSES = ("squared", "logistic")


def linear_model(context: AttackContext, attack: str) -> tuple[int, ...]:
    """Return the release's shape if a release is the (p, q) weights of a linear model on these data.

    Raises
    ------
    NotApplicableError
        When it is not, or the records are no matrices.
    """
    shape = context.release.shape
    p, q = matrices(context, attack)[1].features.shape[1], n_outputs(context, attack)
    if context.release.access is not Access.WHITE_BOX:
        raise NotApplicableError(
            f"{attack} needs white_box releases (linear weights of shape ({p}, {q})), "
            f"got {context.release.access.value}; use u_lira or lda instead"
        )
    if context.release.axes:
        raise NotApplicableError(f"{attack} needs linear weights of one shape, got releases that differ in shape")
    if not p:
        raise NotApplicableError(f"{attack} needs the data that models learn, and none are given; use lda instead")
    if shape == (p, q) or (q == 1 and shape == (p,)):
        return shape
    raise NotApplicableError(
        f"{attack} needs releases that are linear weights of shape ({p}, {q}), got shape {shape}; use lda instead"
    )


def n_outputs(context: AttackContext, attack: str) -> int:
    """Return how many outputs the model has: one a target column, or one for two classes by logistic regression."""
    q = matrices(context, attack)[1].targets.shape[1]
    single = loss_of(context, attack) == "logistic" and q == 2 and context.release.shape[1:] in ((), (1,))
    return 1 if single else q


def penalty_of(context: AttackContext, attack: str) -> float:
    """Return the public penalty, of the sum over records.

    Raises
    ------
    NotApplicableError
        When the mechanism does not publish one.
    """
    penalty = context.parameters.get("penalty")
    if not isinstance(penalty, int | float) or not np.isfinite(penalty) or penalty <= 0:
        raise NotApplicableError(
            f"{attack} needs the public hyper-parameter 'penalty' (positive), got {penalty!r}; "
            "pass parameters={'penalty': ...} with the mechanism"
        )
    return float(penalty)


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """The retained objective around its optimum, and how the deleted records pull at it.

    Parameters
    ----------
    residual
        Prediction minus response at the deleted records, shape (n, q).
    responses
        What the deleted records' predictions are compared with, shape (n, q).
    gradient
        Of the deleted records' loss, shape (p, q).
    values, vectors
        Eigenvalues and eigenvectors of the Hessian, shapes (k, p) and (k, p, p): k is 1 where the columns share one
        Hessian, and else q.
    """

    residual: Array
    responses: Array
    gradient: Array
    values: Array
    vectors: Array

    @staticmethod
    def of(context: AttackContext, attack: str) -> Geometry:
        """Return the geometry that a context grants.

        Raises
        ------
        NotApplicableError
            When a release is not the weights of a linear model on these data, or the penalty is not public.
        """
        found = _KNOWN.get(context)
        if found is None:
            found = _KNOWN[context] = Geometry._of(context, attack)
        return found

    @staticmethod
    def _of(context: AttackContext, attack: str) -> Geometry:
        linear_model(context, attack)
        penalty = penalty_of(context, attack)
        logistic = loss_of(context, attack) == "logistic"
        parts = matrices(context, attack)
        retained, deleted = (responses_of(part, context, attack) for part in parts)
        x, z = (part.features for part in parts)
        gram = x.T @ x + penalty * np.eye(x.shape[1])
        if logistic:
            optimum = np.column_stack([_logistic_optimum(x, y, penalty, attack) for y in retained.T])
            fitted = expit(x @ optimum)
            weighted = [x * np.sqrt(f * (1 - f))[:, None] for f in fitted.T]
            hessians = np.stack([w.T @ w + penalty * np.eye(x.shape[1]) for w in weighted])
            residual = expit(z @ optimum) - deleted
        else:
            hessians, residual = gram[None], z @ np.linalg.solve(gram, x.T @ retained) - deleted
        values, vectors = np.linalg.eigh(hessians)
        return Geometry(residual=residual, responses=deleted, gradient=z.T @ residual, values=values, vectors=vectors)

    def in_eigenbasis(self, weights: Array) -> Array:
        """Return the columns of weights (p, q) in the eigenbasis of their Hessian."""
        if len(self.values) > 1:
            return np.asarray(np.einsum("kpe,pk->ek", self.vectors, weights))
        return np.asarray(self.vectors[0].T @ weights)

    def from_eigenbasis(self, coordinates: Array) -> Array:
        """Return weights from their coordinates; undoes :meth:`in_eigenbasis`."""
        if len(self.values) > 1:
            return np.asarray(np.einsum("kpe,ek->pk", self.vectors, coordinates))
        return np.asarray(self.vectors[0] @ coordinates)


# By context, for as long as that lives: several attacks, each fitted several times, ask for one eigendecomposition.
_KNOWN: WeakKeyDictionary[AttackContext, Geometry] = WeakKeyDictionary()


def responses_of(data: Dataset, context: AttackContext, attack: str) -> Array:
    """Return what the model is fitted to: the targets, or 0 and 1 for logistic regression."""
    if loss_of(context, attack) == "squared":
        return data.targets
    return np.asarray((data.targets[:, -n_outputs(context, attack) :] > 0).astype(np.float64))


def _logistic_optimum(x: Array, labels: Array, penalty: float, attack: str) -> Array:
    from sklearn.linear_model import LogisticRegression

    if np.all(labels == labels[0]):
        raise NotApplicableError(f"{attack} needs both classes among the retained records; use lda instead")
    model = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-8, max_iter=1000, solver="newton-cholesky")
    return np.asarray(model.fit(x, labels).coef_[0], dtype=np.float64)


def loss_of(context: AttackContext, attack: str) -> str:
    """Return the public loss, "squared" or "logistic"."""
    loss = context.parameters.get("loss", LOSSES[0])
    if loss not in LOSSES:
        raise NotApplicableError(f"{attack} knows the losses {' and '.join(LOSSES)}, got {loss!r}; use lda instead")
    return str(loss)
