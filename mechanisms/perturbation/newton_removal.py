"""Newton removal from logistic regression with its paper's certificate (Guo et al. 2020).

Learning minimises a loss that is perturbed by a random linear term; removal takes one Newton step on the retained data.
What the step leaves of the gradient is bounded from the data at hand. Where that bound exceeds what the perturbation
hides, the service retrains.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mechanisms.accounting import gdp
from mechanisms.claim import Certificate, Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, UnlearnAuditError, require
from mechanisms.protocol import ReleaseSpec, World

Array = NDArray[np.float64]

# Lipschitz constant of the logistic loss's second derivative, as the paper takes it, for records of norm at most 1.
CURVATURE_LIPSCHITZ = 0.25
# The least one. The residual is an integral of differences of the second derivative, hence at most half of it times
# the largest norm of a record: that is more than the paper's constant for norms above 3 sqrt 3.
LEAST_CURVATURE_LIPSCHITZ = 1 / (6 * math.sqrt(3))
# Largest gradient that counts as the optimum; it is added to the bound.
TOLERANCE = 1e-9
# Models that go through the stages together: a chunk of the usual size.
AT_ONCE = 1000
# Weight vectors whose Hessians are held at a time.
_ROWS = 256
# Numbers in the outer products of a block of records.
_NUMBERS = 2_000_000
_MAX_ITERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class NewtonRemoval:
    """Logistic regression with objective perturbation, unlearned by one Newton step or else retrained.

    The objective is ``sum_i loss(y_i w'x_i) + (n penalty / 2) |w|^2 + b'w`` with b of independent N(0, sigma^2)
    entries, drawn once for each training. Several target columns are independent one-against-rest models.

    Parameters
    ----------
    penalty
        lambda, positive, for each record as in the paper: the objective's penalty is n times that.
    sigma
        Standard deviation of the perturbation, positive.
    epsilon, delta
        What is claimed: epsilon in nats, positive; delta in (0, 1). They and ``sigma`` set the budget
        ``sigma epsilon / c`` with ``delta = 1.5 exp(-c^2 / 2)`` for the gradient that removal may leave.
    reference
        The reference world. Removing nothing is no step at all, so that both references are one law here.

    Raises
    ------
    InvalidInputError
        When a value is out of range, or a shift of the budget breaks the claim (none known up to epsilon 4.9).

    Notes
    -----
    The claim is the published one, in both directions, and not proved in full: the gradient that removal leaves counts
    as a fixed shift of b, although it depends on b, as does the choice to retrain. The certificate says so.

    References
    ----------
    Guo, Goldstein, Hannun, van der Maaten 2020, "Certified data removal from machine learning models", Theorem 3 and
    Corollaries 1 and 2, Algorithms 1 and 2 (arXiv:1911.03030).
    """

    penalty: float = 0.01
    sigma: float = 1.0
    epsilon: float = 1.0
    delta: float = 1e-4
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def __post_init__(self) -> None:
        for name in ("penalty", "sigma", "epsilon"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, expected="positive and finite", got=value, fix="1.0 is a start")
        require(0 < self.delta < 1, "delta", expected="in (0, 1)", got=self.delta, fix="1e-4 is usual")
        # The paper's budget is that of a classical Gaussian mechanism, whose formula fails where epsilon is large.
        require(
            gdp.delta(self.budget / self.sigma, self.epsilon) <= self.delta,
            "epsilon",
            expected=f"small enough that a shift of the paper's budget keeps it at delta = {self.delta:g}",
            got=self.epsilon,
            fix="claim at most 4.9, which holds at every delta",
        )

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "newton_removal"

    @property
    def budget(self) -> float:
        """Largest gradient norm that the perturbation hides at (epsilon, delta)."""
        return self.sigma * self.epsilon / math.sqrt(2 * math.log(1.5 / self.delta))

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> NewtonDeletion:
        """Fit the unperturbed optima, from where every training starts.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, or targets that are not two-valued.
        UnlearnAuditError
            When Newton's method does not reach the tolerance.
        """
        data = matrices(data, self.name)
        forget = validate_forget(forget, data.n_records)
        parts = (data, data.without(forget), data.take(forget))
        full, retained, deleted = (Objective.of(part, self.penalty, labels_of(data, part)) for part in parts)
        return NewtonDeletion(
            mechanism=self,
            full=full,
            retained=retained,
            deleted=deleted,
            starts={"full": full.optimum(), "retained": retained.optimum()},
            digests={data.sha256(): "full", parts[1].sha256(): "retained"},
            release=ReleaseSpec(shape=(data.features.shape[1], data.targets.shape[1])),
            reference=self.reference,
        )


def labels_of(data: Dataset, part: Dataset) -> Array:
    """Return the targets of a part of the data as -1 and 1, shape (n, q).

    Raises
    ------
    InvalidInputError
        When the data's targets are neither 0 and 1 nor -1 and 1.
    """
    for low in (0.0, -1.0):
        if np.isin(data.targets, (low, 1.0)).all():
            return np.where(part.targets == 1.0, 1.0, -1.0)
    raise InvalidInputError(
        field="targets", expected="0 and 1, or -1 and 1", got="other values", fix="give class labels or one-hot rows"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """Regularised logistic loss of some records; weights are rows, shape (..., q, p).

    Parameters
    ----------
    features, labels
        Shapes (n, p) and (n, q), labels -1 or 1.
    penalty
        n lambda: of the sum over these records.
    """

    features: Array
    labels: Array
    penalty: float

    @staticmethod
    def of(data: Dataset, penalty: float, labels: Array) -> Objective:
        """Return the objective of a data set with a penalty for each record."""
        return Objective(features=data.features, labels=labels, penalty=penalty * data.n_records)

    def gradient(self, weights: Array) -> Array:
        """Return the gradient at weights of shape (m, q, p), same shape."""
        margins = (weights @ self.features.T) * self.labels.T
        pulled: Array = -(expit(-margins) * self.labels.T) @ self.features
        pulled += self.penalty * weights
        return pulled

    def newton_direction(self, weights: Array, gradient: Array) -> Array:
        """Return Hessian^-1 gradient at weights of shape (m, q, p), same shape."""
        x, p = self.features, self.features.shape[1]
        rows, right = weights.reshape(-1, p), gradient.reshape(-1, p)
        solved = np.empty_like(rows)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            # The curvature does not depend on the label's sign.
            probability = expit(rows[part] @ x.T)
            hessians = _weighted_squares(x, probability * (1 - probability))
            hessians[:, np.arange(p), np.arange(p)] += self.penalty
            solved[part] = np.linalg.solve(hessians, right[part][..., None])[..., 0]
        return solved.reshape(weights.shape)

    def minimise(self, perturbation: Array, start: Array, *, tolerance: float = TOLERANCE) -> Array:
        """Return the optima of the objective plus b'w for perturbations b of shape (m, q, p), same shape.

        Raises
        ------
        UnlearnAuditError
            When Newton's method does not reach the tolerance.
        """
        weights = np.broadcast_to(start, perturbation.shape).copy()
        gradient = self.gradient(weights) + perturbation
        norm = np.linalg.norm(gradient, axis=-1)
        step = np.ones_like(norm)
        for _ in range(_MAX_ITERATIONS):
            if np.all(norm <= tolerance):
                return weights
            trial = weights - step[..., None] * self.newton_direction(weights, gradient)
            trial_gradient = self.gradient(trial) + perturbation
            trial_norm = np.linalg.norm(trial_gradient, axis=-1)
            # The gradient's norm falls along the Newton direction of a convex function if the step is short enough.
            better = trial_norm < norm
            weights[better], gradient[better], norm[better] = trial[better], trial_gradient[better], trial_norm[better]
            step = np.where(better, 1.0, step / 2)
        raise UnlearnAuditError(
            f"Newton's method left a gradient of norm {norm.max():.3g}, more than {tolerance:g}; raise penalty, or "
            "scale the features down."
        )

    def optimum(self) -> Array:
        """Return the unperturbed optimum, shape (q, p), by scikit-learn's solver and polished by Newton steps."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        columns = []
        for labels in self.labels.T:
            if len(np.unique(labels)) < 2:
                # One class alone is no classification for scikit-learn; Newton's method starts at 0 instead.
                columns.append(np.zeros(self.features.shape[1]))
                continue
            model = LogisticRegression(C=1 / self.penalty, fit_intercept=False, solver="newton-cholesky", tol=1e-8)
            with warnings.catch_warnings():
                # Its result is a start: Newton steps below reach the tolerance or raise.
                warnings.simplefilter("ignore", ConvergenceWarning)
                columns.append(model.fit(self.features, labels).coef_[0])
        start: Array = np.array(columns, dtype=np.float64)
        optimum: Array = self.minimise(np.zeros((1, *start.shape)), start)[0]
        return optimum


def _weighted_squares(x: Array, weights: Array) -> Array:
    """Return X' diag(w) X for each row w of the weights, shape (m, p, p), by one product for a block of records."""
    n, p = x.shape
    squares = np.zeros((len(weights), p * p))
    size = max(1, _NUMBERS // p**2)
    for start in range(0, n, size):
        block = x[start : start + size]
        squares += weights[:, start : start + size] @ (block[:, :, None] * block[:, None, :]).reshape(len(block), p * p)
    return squares.reshape(-1, p, p)


@dataclass(frozen=True, kw_only=True, eq=False)
class NewtonDeletion:
    """One deletion; build it with ``NewtonRemoval.bind``.

    Parameters
    ----------
    full, retained, deleted
        Objectives of D, D minus S and S.
    starts
        Where training on the "full" and the "retained" data starts.
    digests
        Which of these two a digest of records belongs to.
    """

    mechanism: NewtonRemoval
    full: Objective
    retained: Objective
    deleted: Objective
    starts: Mapping[str, Array]
    digests: Mapping[str, str]
    release: ReleaseSpec
    reference: Reference

    @property
    def at_once(self) -> int:
        """How many models go through the stages together: a chunk of the usual size."""
        return AT_ONCE

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records, shape (n, q, p)."""
        objective, start = self._trainable(records)
        return replace(self, full=objective, starts={"full": start}).train("full", n, rng)

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after removal, a Newton step on the retained records; removing nothing is no step."""
        if not len(request):
            return models.copy()
        objective, start = self._trainable(retained)
        deleted = Objective.of(request, self.mechanism.penalty, labels_of(request, request))
        return replace(self, retained=objective, deleted=deleted, starts={"retained": start}).remove(models, rng)

    def released(self, models: Array) -> Array:
        """Return the weights, shape (n, p, q)."""
        return models.transpose(0, 2, 1).copy()

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, p, q)."""
        q, p = self.starts["full"].shape
        weights = np.empty((n, q, p))
        for start in range(0, n, AT_ONCE):
            # Removing nothing takes no step: the reference world retrains, an ignored deletion keeps the model.
            models = self.train("retained" if world is World.RETRAINED else "full", min(AT_ONCE, n - start), rng)
            weights[start : start + AT_ONCE] = self.remove(models, rng) if world is World.UNLEARNED else models
        return weights.transpose(0, 2, 1)

    def train(self, on: str, n: int, rng: np.random.Generator) -> Array:
        """Return n models learned on the "full" or the "retained" data, shape (n, q, p)."""
        objective: Objective = getattr(self, on)
        start = self.starts[on]
        return objective.minimise(self.mechanism.sigma * rng.standard_normal((n, *start.shape)), start)

    def remove(self, weights: Array, rng: np.random.Generator) -> Array:
        """Return models after removal: a Newton step each, or training anew where its residual may be too large."""
        step = self.step(weights)
        removed = weights + step
        exceeded = self.residual_bound(step) > self.mechanism.budget
        if exceeded.any():
            removed[exceeded] = self.train("retained", int(exceeded.sum()), rng)
        return removed

    def step(self, weights: Array) -> Array:
        """Return the Newton step ``H^-1 Delta`` with the retained Hessian and the deleted records' gradient."""
        return self.retained.newton_direction(weights, self.deleted.gradient(weights))

    def residual_bound(self, step: Array) -> Array:
        """Return an upper bound on the norm of the retained gradient that a step leaves, for each model.

        Notes
        -----
        Corollary 1: ``(1/4) |X|_2 |step| |X step|`` for each column, with the spectral norm of the retained features;
        norms of columns add as squares. The tolerance of training is added. The paper's records have norm at most 1;
        beyond 3 sqrt 3 the factor grows with the largest norm.
        """
        x = self.retained.features
        longest = float(np.linalg.norm(x, axis=1).max(initial=0.0))
        factor = max(CURVATURE_LIPSCHITZ, LEAST_CURVATURE_LIPSCHITZ / 2 * longest)
        spectral = float(np.linalg.norm(x, 2)) * (1 + 1e-12)
        left = np.linalg.norm(step, axis=-1) * np.linalg.norm(step @ x.T, axis=-1)
        columns = factor * spectral * left + TOLERANCE
        bound: Array = np.linalg.norm(columns, axis=-1)
        return bound

    def _trainable(self, records: Dataset) -> tuple[Objective, Array]:
        """Return the objective of some records, and where training on it starts."""
        known = self.digests.get(records.sha256())
        if known is not None:
            return getattr(self, known), self.starts[known]
        objective = Objective.of(records, self.mechanism.penalty, labels_of(records, records))
        return objective, objective.optimum()

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the paper's certificate."""
        mechanism = self.mechanism
        claim = Claim(
            guarantee=EpsilonDelta(epsilon=mechanism.epsilon, delta=mechanism.delta),
            reference=self.reference,
            provenance="published",
            assumptions=(
                "The model is the optimum of the perturbed objective, up to the stated tolerance.",
                "The perturbation is Gaussian, drawn once for each training and kept secret.",
                "As in the paper's proof, the gradient that removal leaves shifts the perturbation by at most the "
                "budget; how it varies with the perturbation is not accounted for.",
                "The removed model alone is released.",
            ),
        )
        return (
            Certificate(
                claim=claim,
                method="published",
                epsilon=mechanism.epsilon,
                delta=mechanism.delta,
                numerical_error=0.0,
                epsilon_without_unlearning=None,
            ),
        )

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; ``penalty`` is that of the sum over the retained records."""
        return {
            "penalty": self.retained.penalty,
            "loss": "logistic",
            "penalty_per_record": self.mechanism.penalty,
            "sigma": self.mechanism.sigma,
            "sampler": "perturbed_optimum",
        }
