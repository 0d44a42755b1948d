"""The seeded faults once more, where any set of a pool of candidates may be asked to be deleted.

Each record lies on an axis, and each candidate on one of its own, so that models decouple: the law of a release is a
product over axes, and deleting fewer candidates changes fewer factors. What is exactly true of deleting the whole pool
therefore bounds every part of it (drop the other factors), which no other pool allows (docs/lots.md, section 6).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import Ridge

from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Reference, UpTo
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.faulty.deletion import FaultyDeletion, FaultyGaussianDeletion, Service
from mechanisms.faulty.newton_service import NewtonService
from mechanisms.faulty.output_service import OutputService
from mechanisms.faulty.problems import (
    OUTPUT_PENALTY,
    BoundFault,
    NewtonProblem,
    OutputProblem,
    Problem,
    RidgeProblem,
)
from mechanisms.faulty.ridge_service import RidgeService
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin

Array = NDArray[np.float64]
# Candidates, axes, and features: as many as a claim about all of them at once can be refuted with by one model.
CANDIDATES = 64
# Of logistic regression, which is trained anew for every deletion.
FEWER = 40
DELTA = 1e-5
_POINT = EpsilonDelta(epsilon=1.0, delta=DELTA)


# Makes the faulty service of one deletion, of data that include the set and where it lies in them; everything frozen
# was computed before, from the data with the whole pool.
Serving = Callable[[Dataset, tuple[int, ...]], Service]


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultyStages:
    """A faulty service in stages; what it runs in learning and unlearning is one run of its own."""

    serving: Serving
    whole: FaultyDeletion
    data: Dataset
    pool: tuple[int, ...]

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.whole.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.whole.reference

    @property
    def at_once(self) -> int:
        """One model at a time."""
        return 1

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return what the service states of itself."""
        return self.whole.parameters()

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Dataset:
        """Return the records: they are learned when it is known what is asked to be deleted."""
        return records

    def unlearn(self, models: Dataset, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return one release, shape (1, p, q)."""
        if not len(request):
            # The reference world is the same for all sets: none of them is in it.
            return self.whole.service.sample(World.RETRAINED, 1, rng=rng)
        places = {row.tobytes(): i for i, row in enumerate(models.features)}
        forget = tuple(sorted(places[row.tobytes()] for row in request.features))
        return self.serving(models, forget).sample(World.UNLEARNED, 1, rng=rng)

    def released(self, models: Any) -> Array:
        """Return a release as it is; of records nothing can be shown before the deletion."""
        if isinstance(models, Dataset):
            raise TypeError("nothing is learned before the request is served")
        return np.asarray(models, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultyPool:
    """A faulty mechanism that can be bound to one pool.

    Parameters
    ----------
    name
        Of the mechanism that was edited.
    data, pool
        All records, and the candidates.
    whole
        The deletion of the whole pool, as for an audit of two worlds; its claim is true of every part where it is true.
    serving
        Makes the service of a set.
    pulls
        How far each candidate moves the model along its axis, to first order, shape (m,).
    centre
        The model of the other records, along each candidate's axis, shape (m,).
    axes
        Where in a release each candidate's axis lies, shape (m,).
    """

    name: str
    data: Dataset
    pool: tuple[int, ...]
    whole: BoundFault
    serving: Serving
    pulls: Array
    centre: Array
    axes: NDArray[np.int64]

    @property
    def claim(self) -> Claim:
        """What the service states, of every set of the pool."""
        return replace(self.whole.claim, covers=UpTo(k=len(self.pool)))

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> FaultyStages:
        """Return the stages of this pool, the only one that it knows."""
        return FaultyStages(serving=self.serving, whole=self.whole.deletion, data=self.data, pool=self.pool)


def has_pool(problem: Problem) -> bool:
    """Return whether a fault of this problem can be audited by lot: networks do not decouple over candidates."""
    return isinstance(problem, RidgeProblem | OutputProblem | NewtonProblem)


def pool_of(problem: Problem) -> FaultyPool:
    """Return the same fault of the same mechanism, for a pool of candidates.

    Raises
    ------
    TypeError
        For a problem of another mechanism.
    """
    if isinstance(problem, RidgeProblem):
        return _ridge(problem.edit)
    if isinstance(problem, OutputProblem):
        return _output(problem.edit, problem.target if isinstance(problem.target, GaussianDP) else _POINT)
    if isinstance(problem, NewtonProblem):
        return _newton(problem.edit, problem.ordinary)
    raise TypeError(f"no pool is known for {type(problem).__name__}")


@functools.cache
def _correct_ridge() -> tuple[RidgeLangevin, RidgeDeletion, Dataset, tuple[int, ...]]:
    """Return the correct mechanism, its step size frozen, and its deletion of the whole pool; certificates are dear."""
    data, pool = _records(CANDIDATES, core=3, seed=21)
    usual = RidgeLangevin(penalty=1.0, n_learn=60, n_unlearn=13, sigma_learn=0.01, sigma_unlearn=0.0375, delta=DELTA)
    claimed = usual.bind(data, pool)
    return replace(usual, step_size=float(claimed.parameters()["step_size"])), claimed, data, pool


def _ridge(edit: Callable[[RidgeService], RidgeService]) -> FaultyPool:
    mechanism, claimed, data, pool = _correct_ridge()

    def serving(records: Dataset, forget: tuple[int, ...]) -> RidgeService:
        process = replace(mechanism.process(records, forget), sigma_unlearn=claimed.laws.sigma_unlearn)
        return edit(RidgeService.of(process))

    whole = BoundFault(
        mechanism=mechanism.name,
        data=data,
        forget=pool,
        deletion=FaultyGaussianDeletion(claimed=claimed, service=serving(data, pool)),
        claim=next(c.claim for c in claimed.certificates() if c.method == "exact"),
    )
    return _pool(whole, serving, *_along_axes(data, pool, penalty=1.0))


def _output(edit: Callable[[OutputService], OutputService], target: GaussianDP | EpsilonDelta) -> FaultyPool:
    data, pool = _records(CANDIDATES, core=3, seed=22)
    estimator = Ridge(alpha=OUTPUT_PENALTY, fit_intercept=False)
    claimed = OutputPerturbation(estimator=estimator, sigma=CalibratedSigma(target=target)).bind(data, pool)
    correct = OutputService.of(data, pool, claimed, target=target, penalty=OUTPUT_PENALTY)
    calibrated = edit(correct)
    mechanism = OutputPerturbation(estimator=estimator, sigma=claimed.sigma_unlearn)

    def serving(records: Dataset, forget: tuple[int, ...]) -> OutputService:
        bound = mechanism.bind(records, forget)
        service = OutputService.of(records, forget, bound, target=target, penalty=OUTPUT_PENALTY)
        # Noise is calibrated once, on the whole pool; only what is done to a model follows the request.
        moved = service if calibrated.centres is correct.centres else edit(service)
        return replace(calibrated, data=records, forget=forget, centres=moved.centres)

    whole = BoundFault(
        mechanism="output_perturbation",
        data=data,
        forget=pool,
        deletion=FaultyGaussianDeletion(claimed=claimed, service=calibrated),
        claim=Claim(guarantee=target, reference=claimed.reference, provenance="user"),
    )
    return _pool(whole, serving, *_along_axes(data, pool, penalty=OUTPUT_PENALTY))


def _newton(edit: Callable[[NewtonService], NewtonService], ordinary: bool) -> FaultyPool:
    data, pool = _records(FEWER, core=6, seed=23, classes=True, ordinary=ordinary)
    correct = NewtonRemoval(penalty=0.01, sigma=1.0, epsilon=1.0, delta=DELTA)
    claimed = correct.bind(data, pool)

    def serving(records: Dataset, forget: tuple[int, ...]) -> NewtonService:
        return edit(NewtonService(claimed=correct.bind(records, forget)))

    whole = BoundFault(
        mechanism=correct.name,
        data=data,
        forget=pool,
        deletion=FaultyDeletion(claimed=claimed, service=edit(NewtonService(claimed=claimed))),
        claim=claimed.certificates()[0].claim,
    )
    core, rows, centre = claimed.retained, claimed.deleted, claimed.starts["retained"][0]
    axes = np.argmax(np.abs(rows.features), axis=1)
    inside = expit(core.features @ centre)
    curvature = np.square(core.features).T @ (inside * (1 - inside)) + core.penalty
    x, y = rows.features[np.arange(len(axes)), axes], rows.labels[:, 0]
    pulls = y * x * expit(-y * x * centre[axes]) / curvature[axes]
    return _pool(whole, serving, pulls, centre[axes], axes)


def _pool(whole: BoundFault, serving: Serving, pulls: Array, centre: Array, axes: NDArray[np.int64]) -> FaultyPool:
    return FaultyPool(
        name=whole.mechanism,
        data=whole.data,
        pool=whole.forget,
        whole=whole,
        serving=serving,
        pulls=pulls,
        centre=centre,
        axes=axes,
    )


def _along_axes(data: Dataset, pool: tuple[int, ...], *, penalty: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return how far each candidate moves a ridge fit along its axis, that of the others there, and the axes."""
    core, candidates = data.without(pool), data.take(pool)
    curvature = np.square(core.features).sum(axis=0) + penalty
    fitted = (core.features.T @ core.targets)[:, 0] / curvature
    axes = np.argmax(np.abs(candidates.features), axis=1)
    x = candidates.features[np.arange(len(axes)), axes]
    pulls = x * (candidates.targets[:, 0] - x * fitted[axes]) / (curvature[axes] + x**2)
    return pulls, fitted[axes], axes


def _records(
    m: int, *, core: int, seed: int, classes: bool = False, ordinary: bool = False
) -> tuple[Dataset, tuple[int, ...]]:
    """Return records on axes, ``core`` and one candidate on each, in random order, and where the candidates lie."""
    rng = np.random.default_rng(seed)
    axes = np.tile(np.arange(m), core + 1)
    is_candidate = np.arange(len(axes)) >= core * m
    truth = rng.normal(size=m)
    lengths = rng.uniform(0.8, 1.2, len(axes)) * np.where(is_candidate & (not ordinary), 2.0, 1.0)
    mean = lengths * truth[axes]
    if classes:
        targets = np.where(mean + rng.normal(size=len(axes)) > 0, 1.0, -1.0)
        # Far out, and of the other class.
        targets = np.where(is_candidate & (not ordinary), -np.where(mean > 0, 1.0, -1.0), targets)
    else:
        residual = np.where(is_candidate, 3.0 * rng.choice([-1.0, 1.0], len(axes)), 0.5 * rng.normal(size=len(axes)))
        targets = mean + residual
    features = np.zeros((len(axes), m))
    features[np.arange(len(axes)), axes] = lengths
    order = rng.permutation(len(axes))
    data = from_arrays(features[order], targets[order, None], name="seeded axes", kind="regression", intercept=False)
    return data, tuple(int(i) for i in np.flatnonzero(is_candidate[order]))
