"""Small synthetic problems that the seeded faults are audited on: data, a canary, the correct deletion, the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from sklearn.linear_model import Ridge

from mechanisms.claim import Claim, EpsilonDelta, GaussianDP
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.faulty.deletion import FaultyDeletion, FaultyGaussianDeletion
from mechanisms.faulty.newton_service import NewtonService
from mechanisms.faulty.output_service import OutputService
from mechanisms.faulty.ridge_service import RidgeService
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin

OUTPUT_PENALTY = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundFault:
    """A faulty service, bound: what an audit needs.

    Parameters
    ----------
    mechanism
        Name of the mechanism that was edited.
    data, forget, deletion
        Data, the canary, and the faulty deletion.
    claim
        What the service states.
    """

    mechanism: str
    data: Dataset
    forget: tuple[int, ...]
    deletion: FaultyDeletion
    claim: Claim


class Problem(Protocol):
    """Data, a canary and a claim for faults of one mechanism."""

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        ...


@dataclass(frozen=True, kw_only=True)
class RidgeProblem:
    """Ridge regression with 30 parameters; the canary is a record far out, with the largest residual.

    Its influence is large beside the noise, and the unlearning steps shrink it to what the certificate states.
    """

    edit: Callable[[RidgeService], RidgeService]
    n_records: int = 60
    n_unlearn: int = 10
    route: str = "exact"

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        data, correct, claimed = _served_ridge(self.n_records, self.n_unlearn)
        service = RidgeService.of(replace(correct.process(data, (0,)), sigma_unlearn=claimed.laws.sigma_unlearn))
        return BoundFault(
            mechanism=correct.name,
            data=data,
            forget=(0,),
            deletion=FaultyGaussianDeletion(claimed=claimed, service=self.edit(service)),
            claim=next(c.claim for c in claimed.certificates() if c.method == self.route),
        )


# Faults edit one of a few services, whose certificates take most of a second; nothing of them ever changes.
@lru_cache(maxsize=8)
def _served_ridge(n_records: int, n_unlearn: int) -> tuple[Dataset, RidgeLangevin, RidgeDeletion]:
    rng = np.random.default_rng(11)
    p, q = 10, 3
    x = rng.normal(size=(n_records, p)) / np.sqrt(p)
    y = x @ rng.normal(size=(p, q)) + 0.5 * rng.normal(size=(n_records, q))
    x[0] *= 2
    y[0] = -3 * x[0].sum()
    data = from_arrays(x, y, name="seeded regression", kind="regression")
    correct = RidgeLangevin(
        penalty=1.0, n_learn=60, n_unlearn=n_unlearn, sigma_learn=0.01, sigma_unlearn=0.0375, delta=0.01
    )
    return data, correct, correct.bind(data, (0,))


@dataclass(frozen=True, kw_only=True)
class OutputProblem:
    """A ridge fit of 12 coefficients plus noise; the service calibrates to a target and states that target."""

    edit: Callable[[OutputService], OutputService]
    target: GaussianDP | EpsilonDelta
    n_deleted: int = 1
    residual: float = 1.0

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        rng = np.random.default_rng(12)
        n, p = 100, 12
        x = rng.normal(size=(n, p)) / np.sqrt(p)
        y = (x @ rng.normal(size=p) + 0.2 * rng.normal(size=n)) / 4
        outliers = np.arange(self.n_deleted)
        # The deleted records pull the same way, so that their influences add up.
        x[outliers] = np.sign(x[0]) * np.abs(x[outliers]) + 0.3 * np.sign(x[0])
        y[outliers] = x[outliers] @ np.ones(p) / 4 + self.residual
        data = from_arrays(x, y, name="seeded regression", kind="regression")
        forget = tuple(int(i) for i in outliers)
        correct = OutputPerturbation(
            estimator=Ridge(alpha=OUTPUT_PENALTY, fit_intercept=False), sigma=CalibratedSigma(target=self.target)
        )
        claimed = correct.bind(data, forget)
        service = OutputService.of(data, forget, claimed, target=self.target, penalty=OUTPUT_PENALTY)
        stated = Claim(guarantee=self.target, reference=claimed.reference, provenance="user")
        return BoundFault(
            mechanism=correct.name,
            data=data,
            forget=forget,
            deletion=FaultyGaussianDeletion(claimed=claimed, service=self.edit(service)),
            claim=stated,
        )


@dataclass(frozen=True, kw_only=True)
class NewtonProblem:
    """Logistic regression with 8 parameters; the canary is a misclassified record far out, or an ordinary one."""

    edit: Callable[[NewtonService], NewtonService]
    sigma: float = 1.0
    ordinary: bool = False

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        rng = np.random.default_rng(13)
        n, p = 400, 8
        x = rng.normal(size=(n, p))
        weights = rng.normal(size=p) / np.sqrt(p)
        y = np.sign(x @ weights + rng.normal(size=n))
        x[0] = 3 * weights / np.linalg.norm(weights)
        y[0] = -1.0
        data = from_arrays(x, y, name="seeded classes", kind="regression")
        forget = (1 if self.ordinary else 0,)
        correct = NewtonRemoval(penalty=0.01, sigma=self.sigma, epsilon=1.0, delta=0.1)
        claimed = correct.bind(data, forget)
        return BoundFault(
            mechanism=correct.name,
            data=data,
            forget=forget,
            deletion=FaultyDeletion(claimed=claimed, service=self.edit(NewtonService(claimed=claimed))),
            claim=claimed.certificates()[0].claim,
        )
