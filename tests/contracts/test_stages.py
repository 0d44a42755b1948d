"""One suite over mechanisms that learn models: their samplers are their stages bit for bit, and pools are deletions."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.adapters.sklearn import from_estimator
from mechanisms.claim import GaussianDP, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, UserFunctionError
from mechanisms.faulty import NeglectedRidge
from mechanisms.faulty.catalogue import CATALOGUE
from mechanisms.logistic import LogisticLangevin
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import IndividualFilter
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
from mechanisms.protocol import Access, Deletion, HasPools, HasStages, HasStreams, Outputs, ReleaseSpec, World
from mechanisms.reading.records import RecordList, RecordSet
from mechanisms.registry import MECHANISMS
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.serving.stages import sample_by_stages
from mechanisms.sources import load_named
from tests.contracts.test_mechanisms_and_attacks import EVERY_MECHANISM, NEEDS_TORCH

Array = NDArray[np.float64]
# A batch and a rest of the ridge sampler and of the network, whose batches have 16 models.
N = 18
FORGET = (8, 3)
POOL = (8, 3, 40, 21)
SMALL = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_learn=0.001, sigma_unlearn=0.0005, step_size=1e-4)
LOGISTIC = LogisticLangevin(n_learn=6, n_unlearn=3, step_size=0.001)
NETWORK = NetworkLangevin(hidden=3, n_learn=5, n_unlearn=3, sigma_learn=0.01)
FITTED = Ridge(alpha=1.0, fit_intercept=False)


def _learn(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features.T @ data.targets / 100 + rng.standard_normal((65, 10))


def _unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    # In place, as a trainer does.
    model += rng.standard_normal(model.shape) + retained.targets.sum() + forget.features.sum()
    return model


def _calibrated(
    model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator, calibration: float
) -> Array:
    return _unlearn(model, retained, forget, rng) * calibration


def _calibrate(data: Dataset, forget: Dataset) -> float:
    return 1.0 + len(forget) / len(data)


def _answers(model: Array, deleted: Dataset) -> Array:
    return deleted.features @ model


def _moved(weights: Array, retained: Dataset, deleted: Dataset) -> Array:
    return weights - deleted.features.sum() / len(retained)


def _perturb(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
    model.coef_ = model.coef_ + rng.standard_normal(model.coef_.shape) + len(forget)
    return model


OBSERVED = ReleaseSpec(shape=(2, 10), access=Access.BLACK_BOX, outputs=Outputs(kind="logits"))
STAGED: dict[str, Any] = {
    "stepwise": SMALL,
    "stepwise, retrain_only": replace(SMALL, reference=Reference.RETRAIN_ONLY),
    "stepwise, calibrated": replace(SMALL, sigma_unlearn=CalibratedNoise(route="exact", epsilon=2.0)),
    "neglected": NeglectedRidge(mechanism=SMALL),
    "observed": ObservedOutputs(mechanism=SMALL, outputs="probabilities", probe=(5,)),
    "downdate": ExactDowndate(),
    "output_perturbation": OutputPerturbation(estimator=FITTED, sigma=CalibratedSigma(target=GaussianDP(mu=0.5))),
    "output_perturbation, noisy": OutputPerturbation(estimator=FITTED, sigma=0.1, sigma_learn=0.2),
    "output_perturbation, removal": OutputPerturbation(estimator=FITTED, sigma=0.1, removal=_moved),
    "output_perturbation, retrain_only": OutputPerturbation(
        estimator=FITTED, sigma=0.1, sigma_learn=0.2, reference=Reference.RETRAIN_ONLY
    ),
    "estimator": from_estimator(FITTED, unlearn=_perturb),
    "estimator, once": from_estimator(FITTED, unlearn=_perturb, fit_once=True),
    "functions": from_functions(learn=_learn, unlearn=_calibrated, calibrate=_calibrate, release=(65, 10)),
    "functions, observed": from_functions(learn=_learn, unlearn=_unlearn, observe=_answers, release=OBSERVED),
    "functions, retrain_only": from_functions(
        learn=_learn, unlearn=_unlearn, release=(65, 10), reference=Reference.RETRAIN_ONLY
    ),
    "newton_removal": NewtonRemoval(penalty=0.1, sigma=3.0, epsilon=2.5),
    "newton_removal, some anew": NewtonRemoval(penalty=0.1, sigma=3.0, epsilon=1.96),
    "logistic": LOGISTIC,
    "logistic, retrain_only": replace(LOGISTIC, reference=Reference.RETRAIN_ONLY),
    "network": NETWORK,
    "network, individual": replace(NETWORK, individual=IndividualFilter(margin=1.0)),
    "network, fine-tuned": replace(NETWORK, fine_tuning=NoisyFineTuning(start_norm=2.0, gradient_norm=0.3, n_clean=2)),
    "network, retrain_only": replace(NETWORK, reference=Reference.RETRAIN_ONLY),
}
POOLED = [
    "stepwise",
    "stepwise, retrain_only",
    "output_perturbation, noisy",
    "output_perturbation, retrain_only",
    "output_perturbation, removal",
    "estimator",
    "estimator, once",
    "functions",
    "functions, retrain_only",
    "logistic",
    "network",
]
# Frozen from data and set together: alike for a pool only where that set is the pool.
OF_THE_SET = {"functions", "network"}


def marked(names: Any) -> list[Any]:
    return [pytest.param(name, marks=NEEDS_TORCH) if name.startswith("network") else name for name in names]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=120)


@pytest.fixture(scope="module")
def deletions(digits: Dataset) -> Callable[[str], Any]:
    """Bind a mechanism to the forget set once for all tests: nothing that is bound is ever changed."""
    return functools.cache(lambda name: STAGED[name].bind(digits, FORGET))


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_mechanism_that_is_registered_is_here() -> None:
    # A schedule of minibatches is of positions among all records, which stages are not told.
    assert {mechanism.name for mechanism in STAGED.values()} >= set(MECHANISMS) - {"ridge_minibatch"}


@pytest.mark.parametrize("world", list(World))
@pytest.mark.parametrize("name", marked(STAGED))
def test_a_sampler_is_its_stages_bit_for_bit(
    digits: Dataset, deletions: Callable[[str], Any], name: str, world: World
) -> None:
    deletion = deletions(name)
    assert isinstance(deletion, HasStages)
    assert isinstance(deletion, Deletion)
    sampled, staged = rng(), rng()
    expected = deletion.sample(world, N, rng=sampled)
    found = sample_by_stages(deletion, world, N, data=digits, forget=FORGET, rng=staged)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (N, *deletion.release.shape)
    # And as many random numbers were taken, where any are.
    assert sampled.bit_generator.state == staged.bit_generator.state


@pytest.mark.parametrize("name", marked(STAGED))
def test_stages_give_the_same_in_another_process_and_are_told_apart_by_the_request(
    digits: Dataset, deletions: Callable[[str], Any], name: str
) -> None:
    deletion = deletions(name)
    copied = pickle.loads(pickle.dumps(deletion))
    retained, deleted, n = digits.without(FORGET), digits.take(FORGET), min(3, deletion.at_once)

    def run(bound: Any, learned_on: Dataset, request: Dataset) -> Array:
        generator = rng()
        models = bound.learn(learned_on, n, generator)
        return bound.released(bound.unlearn(models, retained, request, generator))

    first = run(deletion, digits, deleted)
    np.testing.assert_array_equal(run(copied, digits, deleted), first)
    # A downdate gives what retraining gives, to every digit that is released.
    assert np.array_equal(run(deletion, retained, digits.take(())), first) == (name == "downdate")


@pytest.mark.parametrize("name", marked(STAGED))
def test_one_model_serves_several_requests(digits: Dataset, deletions: Callable[[str], Any], name: str) -> None:
    deletion = deletions(name)
    retained, deleted = digits.without(FORGET), digits.take(FORGET)
    models = deletion.learn(digits, 3, rng())
    before = deletion.released(models)
    first, again = (deletion.unlearn(models, retained, deleted, rng(2)) for _ in range(2))
    np.testing.assert_array_equal(deletion.released(first), deletion.released(again))
    np.testing.assert_array_equal(deletion.released(models), before)


@pytest.mark.parametrize("name", [name for name in STAGED if name != "neglected"])
def test_stages_take_records_that_nothing_was_bound_to(
    digits: Dataset, deletions: Callable[[str], Any], name: str
) -> None:
    """A model of other records is what a deletion that is bound to them would learn."""
    if name.startswith("network") and find_spec("torch") is None:
        pytest.skip("needs torch")
    deletion = deletions(name)
    others = digits.without((50, 51, 52))
    if name in ("stepwise, calibrated", "observed", "functions, observed") or name.startswith("network"):
        # What is frozen or shown depends on the set: only that it runs.
        assert np.all(np.isfinite(deletion.released(deletion.learn(others, 2, rng()))))
        return
    elsewhere = STAGED[name].bind(others, FORGET)
    found, expected = (bound.released(bound.learn(others, 2, rng())) for bound in (deletion, elsewhere))
    np.testing.assert_array_equal(found, expected)


def test_newton_removal_trains_some_models_anew(digits: Dataset, deletions: Callable[[str], Any]) -> None:
    """So that the stages above are seen to draw for those alone."""
    for name, least, most in (("newton_removal", 0, 0), ("newton_removal, some anew", 5, 30)):
        deletion = deletions(name)
        steps = deletion.step(deletion.learn(digits, N, rng()))
        assert least <= np.count_nonzero(deletion.residual_bound(steps) > deletion.mechanism.budget) <= most


def test_closed_forms_and_seeded_faults_have_no_stages(digits: Dataset) -> None:
    """They draw from a law, or run phases that a fault has edited for their own records: no model is learned."""
    closed = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_unlearn=0.0005, sampler="closed_form")
    for mechanism in (closed, NeglectedRidge(mechanism=closed), ObservedOutputs(mechanism=closed)):
        deletion = mechanism.bind(digits, FORGET)
        assert isinstance(deletion, Deletion)
        assert not isinstance(deletion, HasStages)
    assert not [fault.name for fault in (CATALOGUE[0], CATALOGUE[23], CATALOGUE[-1]) if _has_stages(fault)]
    with pytest.raises(InvalidInputError, match=r"sampler.*stepwise.*closed_form"):
        closed.bind_pool(digits, POOL)


def _has_stages(fault: Any) -> bool:
    return isinstance(fault.bind().deletion, HasStages)


def test_what_has_no_stages_is_known_by_name(digits: Dataset) -> None:
    without = {
        n for n, m in EVERY_MECHANISM.items() if n != "network" and not isinstance(m.bind(digits, FORGET), HasStages)
    }
    assert without == {"closed_form", "minibatch"}


@pytest.mark.parametrize("world", [World.UNLEARNED, pytest.param(World.RETRAINED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", marked(POOLED))
def test_a_deletion_of_a_pool_is_the_deletion_that_bind_returns(
    digits: Dataset, deletions: Callable[[str], Any], name: str, world: World
) -> None:
    mechanism = STAGED[name]
    assert isinstance(mechanism, HasPools)
    deletion, pool = deletions(name), mechanism.bind_pool(digits, FORGET)
    assert isinstance(pool, HasStages)
    assert not isinstance(pool, Deletion)
    assert (pool.release, pool.reference) == (deletion.release, deletion.reference)
    expected = deletion.sample(world, N, rng=rng())
    np.testing.assert_array_equal(sample_by_stages(pool, world, N, data=digits, forget=FORGET, rng=rng()), expected)
    if name in OF_THE_SET:
        return
    # A larger pool: its other records are never given to the service.
    larger, given = mechanism.bind_pool(digits, POOL), digits.without((40, 21))
    places = (8, 3)
    expected = mechanism.bind(given, places).sample(world, N, rng=rng())
    np.testing.assert_array_equal(sample_by_stages(larger, world, N, data=given, forget=places, rng=rng()), expected)


@pytest.mark.parametrize("name", marked(POOLED))
def test_the_first_request_of_a_stream_is_a_deletion_and_others_go_on_from_there(digits: Dataset, name: str) -> None:
    mechanism = STAGED[name]
    assert isinstance(mechanism, HasStreams)
    requests = ((8,), (3, 40))
    stream, pool = mechanism.bind_stream(digits, requests), mechanism.bind_pool(digits, (8, 3, 40))
    first = sample_by_stages(stream, World.UNLEARNED, 5, data=digits, forget=(8,), rng=rng())
    np.testing.assert_array_equal(
        first, sample_by_stages(pool, World.UNLEARNED, 5, data=digits, forget=(8,), rng=rng())
    )
    models = stream.learn(digits, 3, rng())
    left = digits
    shown = []
    for request in ((8,), (3, 39)):
        left, asked = left.without(request), left.take(request)
        models = stream.unlearn(models, left, asked, rng(3))
        shown.append(stream.released(models))
    assert len(left) == 117
    assert shown[0].shape == shown[1].shape == (3, *stream.release.shape)
    assert not np.array_equal(*shown)


def test_what_a_pool_freezes_does_not_depend_on_the_set(digits: Dataset) -> None:
    """Step size, noise, calibration, number and probe rows are those of all records with the whole pool."""
    ridge = replace(SMALL, step_size=None)
    pool = ridge.bind_pool(digits, POOL)
    assert pool.parameters()["step_size"] == ridge.bind(digits, (3,)).parameters()["step_size"]
    assert pool.parameters()["step_size"] != ridge.bind(digits.without((40, 21)), (3,)).parameters()["step_size"]
    functions = STAGED["functions"].bind_pool(digits, POOL)
    assert functions.calibration == (1.0 + 4 / 120,)
    shown = from_functions(learn=_learn, unlearn=_unlearn, observe=_answers, release=replace(OBSERVED, shape=(4, 10)))
    models = shown.bind_pool(digits, POOL)
    np.testing.assert_array_equal(models.released([np.eye(65)[:, :10]])[0], digits.features[list(POOL), :10])


@NEEDS_TORCH
def test_a_pool_of_a_network_freezes_number_and_probes(digits: Dataset) -> None:
    network = NETWORK.bind_pool(digits, POOL)
    assert network.divisor == 120
    np.testing.assert_array_equal(network.probes[:4], digits.features[list(POOL)])
    assert network.release.outputs is not None
    assert network.release.outputs.records == (*POOL, -1, -1, -1, -1)


@pytest.mark.parametrize("name", ["stepwise, calibrated", "output_perturbation"])
def test_a_calibration_is_of_one_set_and_refused_for_a_pool(digits: Dataset, name: str) -> None:
    for bind in (lambda m: m.bind_pool(digits, POOL), lambda m: m.bind_stream(digits, ((8,), (3,)))):
        with pytest.raises(InvalidInputError, match=r"a number where several sets.*calibration"):
            bind(STAGED[name])


@pytest.mark.parametrize("name", marked(POOLED))
@pytest.mark.parametrize(
    ("pool", "requests", "said"),
    [
        ((), (), "pool.*at least one|requests.*at least one"),
        ((3, 3), ((3,), (8, 3)), "distinct"),
        ((120,), ((3,), (120,)), r"\[0, 119\]"),
        (tuple(range(120)), (tuple(range(60)), tuple(range(60, 120))), "fewer|leave|all"),
    ],
)
def test_pools_and_streams_that_are_none_are_refused(
    digits: Dataset, name: str, pool: tuple[int, ...], requests: tuple[tuple[int, ...], ...], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        STAGED[name].bind_pool(digits, pool)
    with pytest.raises(InvalidInputError, match=said):
        STAGED[name].bind_stream(digits, requests)


def test_a_model_that_cannot_be_copied_is_said(digits: Dataset) -> None:
    """Several requests are served from one model, and ``unlearn`` may change it."""
    mechanism = from_functions(learn=_generator, unlearn=_first, release=(2,))
    deletion = mechanism.bind(digits, FORGET)
    assert deletion.sample(World.UNLEARNED, 2, rng=rng()).shape == (2, 2)
    with pytest.raises(UserFunctionError, match="cannot be copied"):
        deletion.unlearn(deletion.learn(digits, 1, rng()), digits, digits.take(()), rng())


def _generator(data: Dataset, rng: np.random.Generator) -> Any:
    return (number for number in rng.standard_normal((3, 2)))


def _first(model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return np.asarray(next(model))


RECORDS: dict[str, RecordSet] = {
    "texts": RecordList(items=[f"record {i}" for i in range(30)], name="texts"),
    "files": RecordList(items=[f"{i}.png" for i in range(30)], name="files", digest="sha256 of an archive"),
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("world", list(World))
def test_functions_learn_records_that_are_no_matrices(name: str, world: World) -> None:
    records, mechanism = RECORDS[name], from_functions(learn=_lengths, unlearn=_blurred, release=(2,))
    deletion = mechanism.bind(records, (4, 20))
    expected = deletion.sample(world, 5, rng=rng())
    found = sample_by_stages(deletion, world, 5, data=records, forget=(4, 20), rng=rng())
    np.testing.assert_array_equal(found, expected)
    pool = mechanism.bind_pool(records, (4, 20))
    np.testing.assert_array_equal(sample_by_stages(pool, world, 5, data=records, forget=(4, 20), rng=rng()), expected)


def _lengths(records: RecordList, rng: np.random.Generator) -> Array:
    return np.array([len(records), sum(len(text) for text in records)]) + rng.standard_normal(2)


def _blurred(model: Array, retained: RecordList, forget: RecordList, rng: np.random.Generator) -> Array:
    return model + rng.standard_normal(2) + len(forget)


@pytest.mark.parametrize("name", marked([n for n in EVERY_MECHANISM if n != "functions"]))
def test_a_mechanism_of_matrices_refuses_other_records_by_name(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"a Dataset, for \w+ learns from matrices.*RecordList"):
        EVERY_MECHANISM[name].bind(RECORDS["texts"], (3,))
