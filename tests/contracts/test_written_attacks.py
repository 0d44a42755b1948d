"""Fitted attacks as data: every one of the registry comes back with the same scores, bit for bit; a lie is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.given.score import GivenScore
from attacks.outputs.columns import BestColumn, ColumnHits, ColumnSum
from attacks.outputs.shape import Shape
from attacks.portfolio import Family
from attacks.protocol import Attack, AttackContext
from attacks.registry import ATTACKS
from attacks.written import KINDS, read, written
from audit.running.binding import make_context
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError, NotApplicableError
from mechanisms.faulty import NeglectedRidge
from mechanisms.protocol import Access, ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeLangevin

Array = NDArray[np.float64]
RIDGE = NeglectedRidge(
    mechanism=RidgeLangevin(n_learn=20, n_unlearn=4, sigma_learn=0.002, sigma_unlearn=0.02, sampler="closed_form")
)
N = 120


def data_set(columns: int = 3) -> Dataset:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, columns))
    return from_arrays(features, features @ rng.normal(size=(columns, 2)) + rng.normal(size=(40, 2)), kind="regression")


def problem(mechanism: Any) -> tuple[AttackContext, Array, Array, Array]:
    data = data_set()
    deletion = mechanism.bind(data, (7,))
    rng = np.random.default_rng(2)
    unlearned, retrained = (deletion.sample(world, N, rng=rng) for world in (World.UNLEARNED, World.RETRAINED))
    others = np.concatenate([deletion.sample(world, 8, rng=rng) for world in (World.UNLEARNED, World.RETRAINED)])
    return make_context(deletion, data, (7,)), unlearned, retrained, others


def of_shapes() -> tuple[AttackContext, Array, Array, Array]:
    """Releases that say their shape in their first number."""
    context, *_ = problem(RIDGE)
    spec = ReleaseSpec(shape=(5,), access=Access.BLACK_BOX, axes=1)
    rng = np.random.default_rng(3)
    trials = [np.column_stack([rng.integers(1, 4, size=N), rng.normal(size=(N, 4))]) for _ in range(3)]
    return replace(context, release=spec), *trials  # type: ignore[return-value]


def of_labels() -> tuple[AttackContext, Array, Array, Array]:
    """Releases that are right about the deleted record more often in one world than in the other."""
    context, *_ = problem(ObservedOutputs(mechanism=RIDGE, outputs="labels", probe=(4, 9)))
    rng = np.random.default_rng(4)
    trials = [(rng.random((N, *context.release.shape)) < share).astype(np.float64) for share in (0.8, 0.4, 0.5)]
    return context, *trials  # type: ignore[return-value]


def of_classes() -> tuple[AttackContext, Array, Array, Array]:
    """Weights of logistic regression with noise on its objective."""
    rng = np.random.default_rng(5)
    data = from_arrays(rng.normal(size=(40, 3)), (np.arange(40) % 2).astype(float), kind="regression")
    context = AttackContext(
        retained=data.without((7,)),
        deleted=data.take((7,)),
        release=ReleaseSpec(shape=(3,)),
        parameters={"penalty": 1.0, "loss": "logistic"},
    )
    trials = [rng.normal(size=(n, 3)) + shift for n, shift in ((N, 0.3), (N, 0.0), (16, 0.15))]
    return context, *trials  # type: ignore[return-value]


PROBLEMS: dict[str, Callable[[], tuple[AttackContext, Array, Array, Array]]] = {
    "white": lambda: problem(RIDGE),
    "values": lambda: problem(ObservedOutputs(mechanism=RIDGE, outputs="values", probe=(4, 9))),
    "labels": of_labels,
    "classes": of_classes,
    "shapes": of_shapes,
}
MORE: tuple[Attack, ...] = (
    BestColumn(), ColumnSum(), ColumnHits(), Shape(),
    Family(name="of columns", members=(ColumnSum(), BestColumn())),
)  # fmt: skip


def again(fitted: Any, context: AttackContext) -> Any:
    """Write an attack down and read it, through JSON text and the bytes of the arrays."""
    arrays: list[Array] = []
    text = json.dumps(written(fitted, arrays))
    copies = [np.frombuffer(a.tobytes(order="A")).reshape(a.shape, order="F" if a.flags.fnc else "C") for a in arrays]
    return read(json.loads(text), copies, context)


def kinds_in(plain: Any) -> set[str]:
    if isinstance(plain, dict):
        return {plain["kind"], *kinds_in(list(plain.values()))} if "kind" in plain else set()
    return {kind for item in plain for kind in kinds_in(item)} if isinstance(plain, list) else set()


def tried(name: str) -> tuple[Attack, ...]:
    """Return the attacks that a problem is for."""
    few = {
        "values": ("u_lira", "tail"),
        "labels": ("u_lira",),
        "classes": ("undo_training", "density_ratio"),
        "shapes": ("portfolio:mean",),
    }
    chosen = tuple(ATTACKS[each] for each in few[name]) if name in few else tuple(ATTACKS.values())
    return (*chosen, *MORE) if name in ("white", "shapes") else chosen


def test_every_attack_scores_as_before_bit_for_bit_once_it_was_written_and_read() -> None:
    seen: set[str] = set()
    fitted_once: set[str] = set()
    for name, make in PROBLEMS.items():
        context, unlearned, retrained, others = make()
        # With few trials covariances of many numbers are held by rows.
        for n in (N, 5) if name == "white" else (N,):
            for attack in tried(name):
                try:
                    fitted = attack.fit(unlearned[:n], retrained[:n], context, rng=np.random.default_rng(0))
                except NotApplicableError:
                    continue
                fitted_once.add(attack.name)
                seen |= kinds_in(written(fitted, []))
                before, after = fitted.score(others), again(fitted, context).score(others)
                assert before.tobytes() == after.tobytes(), attack.name
    one = replace(context, release=ReleaseSpec(shape=(1,)))
    given = GivenScore().fit(np.zeros((2, 1)), np.zeros((2, 1)), one, rng=np.random.default_rng(0))
    seen |= kinds_in(written(given, []))
    np.testing.assert_array_equal(again(given, one).score(np.ones((3, 1))), 1.0)
    assert fitted_once >= set(ATTACKS)
    # No kind that no attack makes, and each is tried here.
    assert seen == set(KINDS)


class TestWhatSklearnSays:
    """Fitted classifiers were scikit-learn's own; their numbers alone score alike."""

    def test_logistic_and_network(self) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        context, unlearned, retrained, others = problem(RIDGE)
        flat = [trials.reshape(len(trials), -1) for trials in (unlearned, retrained, others)]
        worlds = np.repeat([1, 0], [N, N])
        logistic = make_pipeline(StandardScaler(), LogisticRegression(C=1 / 6, max_iter=500))
        logistic.fit(np.concatenate(flat[:2]), worlds)
        mine = ATTACKS["classifier"].fit(unlearned, retrained, context, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(mine.score(others), logistic.decision_function(flat[2]))
        seed = int(np.random.default_rng(0).integers(2**31))
        network = make_pipeline(StandardScaler(), MLPClassifier((32,), early_stopping=True, random_state=seed))
        network.fit(np.concatenate(flat[:2]), worlds)
        p = network.predict_proba(flat[2])
        mine = ATTACKS["mlp"].fit(unlearned, retrained, context, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(mine.score(others), np.log(p[:, 1]) - np.log(p[:, 0]))

    @pytest.mark.parametrize("outputs", ["values", "labels"])
    def test_naive_bayes(self, outputs: str) -> None:
        from sklearn.naive_bayes import BernoulliNB, GaussianNB

        from attacks.outputs.statistics import target_statistics

        context, unlearned, retrained, others = PROBLEMS[outputs]()
        seen = [target_statistics(trials, context, "u_lira") for trials in (unlearned, retrained, others)]
        model = BernoulliNB(fit_prior=False) if outputs == "labels" else GaussianNB(priors=(0.5, 0.5))
        model.fit(np.concatenate(seen[:2]), np.repeat([1, 0], [N, N]))
        joint = model.predict_joint_log_proba(seen[2])
        mine = ATTACKS["u_lira"].fit(unlearned, retrained, context, rng=np.random.default_rng(0))
        np.testing.assert_allclose(mine.score(others), joint[:, 1] - joint[:, 0], rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def tail() -> tuple[Any, list[Array], AttackContext]:
    context, unlearned, retrained, _ = problem(RIDGE)
    arrays: list[Array] = []
    fitted = ATTACKS["tail"].fit(unlearned, retrained, context, rng=np.random.default_rng(0))
    return written(fitted, arrays), arrays, context


def put(plain: Any, value: Any, *path: str) -> Any:
    found = copy.deepcopy(plain)
    at = found
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "os.system"),
        (("kind",), ["LinearScore"]),
        (("kind",), "View"),
        (("view", "kind"), "LinearScore"),
        (("view", "context"), {"kind": "View"}),
        (("view", "directions"), {"array": 99}),
        (("view", "directions"), {"array": True}),
        (("view", "directions"), {"array": -1}),
        (("view", "directions"), [1.0]),
        (("direction",), {"array": 0}),
        (("offset",), "0"),
        (("offset",), True),
        (("offset",), {"float": "1e400"}),
        (("more",), 1),
    ],
)
def test_what_was_not_written_is_refused(tail: Any, path: tuple[str, ...], value: Any) -> None:
    plain, arrays, context = tail
    read(plain, arrays, context)
    with pytest.raises(InvalidInputError, match="attack"):
        read(put(plain, value, *path), arrays, context)


def test_arrays_of_another_shape_or_kind_and_endless_parts_are_refused(tail: Any) -> None:
    plain, arrays, context = tail
    for bad in (arrays[0][:, :1], arrays[0].astype(np.float32), arrays[0].astype(complex)):
        with pytest.raises(InvalidInputError, match="attack"):
            read(plain, [bad, *arrays[1:]], context)
    deep: Any = plain
    for _ in range(3000):
        deep = {"kind": "Chosen", "member": "x", "fitted": deep}
    with pytest.raises(InvalidInputError, match="without end"):
        read(deep, arrays, context)
    for nonsense in (None, [], 3, {}, {"kind": None}, "LinearScore"):
        with pytest.raises(InvalidInputError, match="unknown kind"):
            read(nonsense, arrays, context)


def test_an_attack_of_your_own_is_not_written_down() -> None:
    class Mine:
        def score(self, releases: Array) -> Array:
            return releases[:, 0]

    class LinearScore(Mine):
        """Of the same name as one that may be."""

    for mine in (Mine(), LinearScore()):
        with pytest.raises(InvalidInputError, match="one of this project's"):
            written(mine, [])
