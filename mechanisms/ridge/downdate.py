"""The honest baseline: ridge regression deletes a record exactly, by a low-rank downdate, with no noise at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import ReleaseSpec, World

Array = NDArray[np.float64]
# Models that go through the stages together: a chunk of the usual size.
AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeSolution:
    """The ridge optimum with the inverse curvature that a downdate needs.

    Parameters
    ----------
    weights
        Shape (p, q).
    inverse
        ``(X'X + penalty I)^-1``, shape (p, p).
    """

    weights: Array
    inverse: Array

    @staticmethod
    def of(data: Dataset, penalty: float) -> RidgeSolution:
        """Return the solution for a data set and a positive penalty, by the normal equations in O(n p^2)."""
        x = data.features
        inverse: Array = np.asarray(np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1])), dtype=np.float64)
        return RidgeSolution(weights=inverse @ (x.T @ data.targets), inverse=inverse)

    def without(self, deleted: Dataset) -> RidgeSolution:
        """Return the solution without the deleted records, in O(m p^2) (Sherman-Morrison-Woodbury)."""
        x, y = deleted.features, deleted.targets
        columns = self.inverse @ x.T
        gain = np.linalg.solve(np.eye(len(x)) - x @ columns, columns.T).T
        return RidgeSolution(
            weights=self.weights + gain @ (x @ self.weights - y), inverse=self.inverse + gain @ columns.T
        )


@dataclass(frozen=True, kw_only=True)
class ExactDowndate:
    """Ridge regression with exact deletion: epsilon = delta = 0 without noise, in both directions.

    Parameters
    ----------
    penalty
        lambda of the objective ``1/2 |XW - Y|^2 + (lambda/2) |W|^2``, positive.
    decimals
        Releases are rounded to this many decimals, the same in every world: floating-point rounding differs
        between a downdate and a retraining in the last digits and would tell the two apart.

    Raises
    ------
    InvalidInputError
        When the penalty is out of range.

    Notes
    -----
    Exact, against ``retrain_only``. A deletion whose two worlds differ after rounding is refused when it is bound, and
    that refusal depends on the record.

    References
    ----------
    Sherman, Morrison 1950, "Adjustment of an inverse matrix corresponding to a change in one element of a given
    matrix", Ann. Math. Stat. 21; Hager 1989, "Updating the inverse of a matrix", SIAM Review 31, for several records.
    """

    penalty: float = 1.0
    decimals: int = 8

    def __post_init__(self) -> None:
        penalty = self.penalty
        require(0 < penalty < np.inf, "penalty", expected="positive and finite", got=penalty, fix="1.0 is a good start")

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "exact_downdate"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> DowndateDeletion:
        """Solve once with and once without the forget set.

        Raises
        ------
        InvalidInputError
            For a forget set out of range; where the downdated and the retrained weights differ after rounding, so that
            the claim of epsilon = delta = 0 would be false.
        """
        data = matrices(data, self.name)
        forget = validate_forget(forget, data.n_records)
        full = RidgeSolution.of(data, self.penalty)
        outputs = {
            World.UNLEARNED: full.without(data.take(forget)).weights,
            World.RETRAINED: RidgeSolution.of(data.without(forget), self.penalty).weights,
            World.NEGLECTED: full.weights,
        }
        rounded = {world: np.round(weights, self.decimals) for world, weights in outputs.items()}
        if not np.array_equal(rounded[World.UNLEARNED], rounded[World.RETRAINED]):
            gap = float(np.abs(outputs[World.UNLEARNED] - outputs[World.RETRAINED]).max())
            raise InvalidInputError(
                field="decimals",
                expected="so few that the downdated and the retrained weights round alike",
                got=f"{self.decimals}, with weights {gap:.1e} apart",
                fix="round to fewer decimals or raise penalty, else the digits tell the two worlds apart",
            )
        return DowndateDeletion(
            outputs=rounded,
            penalty=self.penalty,
            decimals=self.decimals,
            release=ReleaseSpec(shape=full.weights.shape, continuous=False),
            reference=Reference.RETRAIN_ONLY,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DowndateDeletion:
    """A deterministic deletion: every release of a world is the same."""

    outputs: Mapping[World, Array]
    penalty: float
    decimals: int
    release: ReleaseSpec
    reference: Reference
    sampler: Literal["deterministic"] = "deterministic"

    @property
    def at_once(self) -> int:
        """How many models go through the stages together: all are equal."""
        return AT_ONCE

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> tuple[RidgeSolution, ...]:
        """Return the solution for these records, n times."""
        return (RidgeSolution.of(records, self.penalty),) * n

    def unlearn(
        self, models: Sequence[RidgeSolution], retained: Dataset, request: Dataset, rng: np.random.Generator
    ) -> tuple[RidgeSolution, ...]:
        """Return the models after a downdate by the requested records; nothing changes for an empty request."""
        if not len(request):
            return tuple(models)
        # Equal models, as those of one learning are, are downdated once.
        distinct = {id(model): model for model in models}
        downdated = {key: model.without(request) for key, model in distinct.items()}
        return tuple(downdated[id(model)] for model in models)

    def released(self, models: Sequence[RidgeSolution]) -> Array:
        """Return the rounded weights, shape (n, p, q)."""
        return np.stack([np.round(model.weights, self.decimals) for model in models])

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n copies of the world's weights; uses no randomness."""
        return np.repeat(self.outputs[world][None], n, axis=0)

    def certificates(self) -> tuple[Certificate, ...]:
        """Return epsilon = delta = 0; what holds without the downdate is infinite, since there is no noise."""
        claim = Claim(
            guarantee=EpsilonDelta(epsilon=0.0, delta=0.0),
            reference=self.reference,
            provenance="exact",
            directions=BOTH_DIRECTIONS,
            assumptions=("Releases are rounded, so that floating-point error does not mark a world.",),
        )
        changed = not np.array_equal(self.outputs[World.NEGLECTED], self.outputs[World.RETRAINED])
        return (
            Certificate(
                claim=claim,
                method="exact",
                epsilon=0.0,
                delta=0.0,
                numerical_error=0.0,
                epsilon_without_unlearning=np.inf if changed else 0.0,
            ),
        )

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters."""
        return {"penalty": self.penalty, "sampler": self.sampler}
