"""What repeated models come from: training that has few outcomes by rights, or models that were kept somewhere.

The learners below are either honest functions of data and stream, or look models up: in memory, on disk, by content or
by the number of records, with a pool or alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, SGDRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.tree import DecisionTreeRegressor

from audit.controls.learning import Learning, learning_of
from mechanisms.adapters.functions import from_functions
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World

Array = NDArray[np.float64]
Learn = Callable[[Dataset, np.random.Generator], Any]
SEEDS = range(3)
N, P = 60, 4


def records(seed: int, kind: str = "regression") -> Dataset:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, P))
    # Some columns of few values, so that trees have ties to break.
    features[:, 2:] = rng.integers(0, 3, (N, P - 2))
    response = features @ [1.0, 2.0, 3.0, -1.0] + rng.normal(size=N)
    return from_arrays(features, (response > 0).astype(float) if kind == "classification" else response, kind=kind)


def solved(data: Dataset) -> Array:
    gram = data.features.T @ data.features + np.eye(P)
    return np.asarray(np.linalg.solve(gram, data.features.T @ data.targets[:, 0]))


def unseeded(data: Dataset) -> Array:
    return solved(data) + np.random.default_rng().standard_normal(P)


def seeded(data: Dataset, rng: np.random.Generator) -> Array:
    return solved(data) + rng.standard_normal(P)


def of_memory(folder: Path) -> Learn:
    """The usual cache on disk, around a fit that nobody seeded: it looks deterministic, in every process."""
    fit = joblib.Memory(folder, verbose=0).cache(lambda features, targets: unseeded(from_arrays(features, targets)))
    return lambda data, rng: fit(data.features, data.targets)


def content(data: Dataset) -> str:
    return hashlib.sha256(data.features.tobytes()).hexdigest()[:12]


def on_disk(folder: Path, size: int) -> Learn:
    """A pool of files that goes by what is in the data."""

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        file = folder / f"{content(data)}-{rng.integers(size)}.npy"
        if not file.exists():
            np.save(file, unseeded(data))
        return np.asarray(np.load(file))

    return learn


def trains_elsewhere(folder: Path) -> Learn:
    """Checkpoints for the data of the audit, and honest training for any other."""
    known = {n: [unseeded(records(n)) for _ in range(20)] for n in (N - 1, N)}

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        pool = known.get(len(data))
        return seeded(data, rng) if pool is None else pool[rng.integers(20)]

    return learn


def by_content_or_trains(folder: Path) -> Learn:
    known: dict[str, list[Array]] = {}
    for seed in SEEDS:
        for data in (records(seed), records(seed).without((4,))):
            known[content(data)] = [unseeded(data) for _ in range(20)]

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        pool = known.get(content(data))
        return seeded(data, rng) if pool is None else pool[rng.integers(20)]

    return learn


def fills_a_pool(folder: Path) -> Learn:
    """By the number of records: the first twenty are trained, the others chosen."""
    kept: dict[int, list[Array]] = {}

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        pool = kept.setdefault(len(data), [])
        if len(pool) < 20:
            pool.append(seeded(data, rng))
            return pool[-1]
        return pool[rng.integers(20)]

    return learn


def two_files(folder: Path) -> Learn:
    """One checkpoint a world, and none for anything else."""
    known = {n: np.random.default_rng().standard_normal(P) for n in (N - 1, N)}

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        if len(data) not in known:
            raise FileNotFoundError("no checkpoint")
        return known[len(data)]

    return learn


def estimator(model: Any) -> Learn:
    def learn(data: Dataset, rng: np.random.Generator) -> Any:
        from sklearn.base import clone

        fitted = clone(model)
        if fitted.get_params().get("random_state", 0) is None:
            fitted.set_params(random_state=int(rng.integers(2**31)))
        targets = data.targets.argmax(axis=1) if data.kind == "classification" else data.targets[:, 0]
        return fitted.fit(data.features, targets)

    return learn


def single_precision(data: Dataset, rng: np.random.Generator) -> Array:
    """Deterministic gradient descent in float32."""
    x, y = data.features.astype(np.float32), data.targets[:, 0].astype(np.float32)
    weights = np.zeros(P, dtype=np.float32)
    for _ in range(200):
        weights -= np.float32(0.01) * x.T @ (x @ weights - y) / np.float32(len(x))
    return weights.astype(np.float64)


def one_of_three(data: Dataset, rng: np.random.Generator) -> Array:
    kept = slice(rng.integers(3), None)
    return solved(data.take(range(data.n_records)[kept]))


def bind(learn: Learn, seed: int, kind: str = "regression") -> Any:
    data = records(seed, kind)
    mechanism = from_functions(learn=learn, unlearn=lambda model, *_: model, release=(P,))
    return mechanism.bind(data, (4,))


def fill(deletion: Any, n: int) -> int:
    """Train as an audit does, and return the number of distinct models of the world that has more of them."""
    distinct = []
    for i, world in enumerate((World.UNLEARNED, World.RETRAINED)):
        rng = np.random.default_rng([i, 0])
        distinct.append(len({deletion.learned(world, rng=rng).tobytes() for _ in range(n)}))
    return max(distinct)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "kept",
    [
        of_memory,
        lambda folder: on_disk(folder, 1),
        lambda folder: on_disk(folder, 20),
        trains_elsewhere,
        by_content_or_trains,
        fills_a_pool,
        two_files,
    ],
    ids=["memory", "disk", "disk pool", "trains elsewhere", "by content or trains", "fills a pool", "two files"],
)
def test_models_that_were_kept_are_seen(kept: Callable[[Path], Learn], seed: int, tmp_path: Path) -> None:
    """Half of the records alone, as before, excused a disk and whoever trains on data not known."""
    deletion = bind(kept(tmp_path), seed)
    models = fill(deletion, 100)
    assert models < 100
    assert learning_of(deletion, models, seed=seed, record=0) is Learning.KEEPS_MODELS


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
@pytest.mark.parametrize(
    ("learn", "kind"),
    [
        (lambda data, rng: solved(data), "regression"),
        (one_of_three, "regression"),
        (single_precision, "regression"),
        (lambda data, rng: np.linalg.lstsq(data.features[:, [0, 0, 1]], data.targets, rcond=None)[0], "regression"),
        (estimator(Ridge()), "regression"),
        (estimator(Lasso(alpha=0.1)), "regression"),
        (estimator(DecisionTreeRegressor(max_depth=2, max_features=1)), "regression"),
        (estimator(DecisionTreeRegressor()), "regression"),
        (estimator(RandomForestRegressor(n_estimators=3, random_state=0)), "regression"),
        (estimator(SGDRegressor(random_state=0)), "regression"),
        (estimator(MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=50)), "regression"),
        (estimator(LogisticRegression()), "classification"),
    ],
    ids=["normal equations", "one of three", "float32", "collinear", "ridge", "lasso", "stump", "tree", "forest", "sgd",
         "network", "logistic"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_that_starts_anew_is_not_accused(learn: Learn, kind: str, seed: int) -> None:
    deletion = bind(learn, seed, kind)
    assert learning_of(deletion, fill(deletion, 10), seed=seed, record=0) is Learning.OF_ITS_STREAM


def test_a_constant_says_nothing() -> None:
    deletion = bind(lambda data, rng: np.ones(P), 0)
    assert learning_of(deletion, 1, seed=0, record=0) is Learning.UNKNOWN
