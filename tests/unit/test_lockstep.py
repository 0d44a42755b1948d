"""Records worked on together against one at a time: the same certificates, and never less noise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mechanisms.accounting import many_pairs
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.privacy_map import calibrate_map, privacy_map
from mechanisms.ridge.reduced import lockstep
from mechanisms.ridge.reduced.bounded_pair import BoundedPair
from mechanisms.ridge.reduced.bounded_pairs import BoundedPairs
from mechanisms.ridge.reduced.krylov import KrylovSetup, ReducedDeletion, reduce_deletion
from mechanisms.ridge.reduced.lockstep import Lockstep
from mechanisms.ridge.reduced.one_by_one import OneByOne
from mechanisms.ridge.reduced.together import reduce_together
from mechanisms.sources import load_named

Array = NDArray[np.float64]
DELTA = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> object:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=600)


def awkward() -> Dataset:
    """Return data with a record of zeros, two that are the same, huge and tiny ones, and one alone in its column."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, 12)) / 3
    features[0], features[2], features[3], features[4] = 0, features[1], 40 * features[3], 1e-9 * features[4]
    features[:, 11] = 0
    features[5] = np.eye(12)[11]
    targets = rng.normal(size=(60, 2))
    # What Krylov spaces of one direction end early on.
    features[6] = np.linalg.eigh(features.T @ features)[1][:, 5]
    return Dataset(name="awkward", features=features, targets=targets, kind="regression")


def setup_of(data: Dataset, **changed: float) -> KrylovSetup:
    settings = {"penalty": 1.0, "n_learn": 300, "n_unlearn": 30, "sigma_learn": 0.003} | changed
    share = settings.pop("step", None)
    smoothness = float(np.linalg.norm(data.features, 2)) ** 2 + settings["penalty"]
    return KrylovSetup.of(data, **settings, step_size=None if share is None else share / smoothness)  # type: ignore[arg-type]


def compared(setup: KrylovSetup, records: list[int], target: float) -> tuple[Array, Array]:
    chosen = np.array(records)
    projected, start = setup.project(chosen), max(setup.sigma_learn, 1e-6)
    fast = Lockstep(setup=setup, target=target, delta=DELTA).rows(chosen, projected, start)
    slow = OneByOne(setup=setup, target=target, delta=DELTA).rows(chosen, projected, start)
    return fast, slow


@pytest.mark.parametrize(
    ("changed", "target"),
    [
        ({}, 0.5),
        ({"n_learn": 40, "n_unlearn": 3, "sigma_learn": 0.02}, 0.05),
        pytest.param({"penalty": 0.01, "step": 1.8, "n_unlearn": 200}, 3.0, marks=pytest.mark.slow),
    ],
)
def test_lockstep_finds_the_noise_of_one_at_a_time_and_never_less(
    digits: Dataset, changed: dict[str, float], target: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[int] = []
    usual = OneByOne.rows

    def watched(self: OneByOne, records: NDArray[np.intp], projected: Array, start: float) -> Array:
        alone.append(len(records))
        return usual(self, records, projected, start)

    monkeypatch.setattr(OneByOne, "rows", watched)
    fast, slow = compared(setup_of(digits, **changed), list(range(3, 600, 120)), target)
    needed = slow[:, 0] > 0
    assert needed.any()
    assert np.all(fast[:, 0] >= slow[:, 0])
    assert np.all(fast[:, 0] <= slow[:, 0] * (1 + 1e-6))
    assert np.all(fast[needed, 1:3] <= target)
    np.testing.assert_allclose(fast[:, 1:3], slow[:, 1:3], rtol=2e-6)
    np.testing.assert_allclose(fast[:, 3], slow[:, 3], rtol=1e-9)
    # Together means together: the oracle itself was the only one that was asked record by record.
    assert alone == [len(slow)]


@pytest.mark.parametrize(
    "changed",
    [
        {"n_learn": 40},
        {"n_unlearn": 0},
        *(
            pytest.param(changed, marks=pytest.mark.slow)
            for changed in ({}, {"sigma_learn": 0.0}, {"n_learn": 1, "n_unlearn": 1})
        ),
    ],
)
def test_awkward_records_have_the_noise_of_one_at_a_time(changed: dict[str, float]) -> None:
    data = awkward()
    for target in (1e-3, 60.0):
        fast, slow = compared(setup_of(data, **changed), list(range(9)), target)
        np.testing.assert_array_equal(fast[:, 0] == 0, slow[:, 0] == 0)
        np.testing.assert_array_equal(np.isinf(fast[:, 0]), np.isinf(slow[:, 0]))
        finite = np.isfinite(slow[:, 0])
        assert np.all(fast[finite, 0] >= slow[finite, 0])
        assert np.all(fast[finite, 0] <= slow[finite, 0] * (1 + 1e-6))
        assert np.all(fast[finite, 1:3] <= target)


def test_a_noise_that_hardly_matters_is_left_to_one_at_a_time(digits: Dataset) -> None:
    setup = setup_of(digits, sigma_learn=0.01)
    target = reduce_deletion(setup, (17,)).epsilon(DELTA, 1e-4)
    fast, slow = compared(setup, [17], target)
    assert fast[0, 0] == pytest.approx(slow[0, 0], rel=1e-3)
    assert max(fast[0, 1:3]) <= target
    assert reduce_deletion(setup, (17,)).epsilon(DELTA, 0.99 * float(fast[0, 0])) > target


def test_what_is_not_certified_is_not_returned(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # A search that ends too low is caught by the certificate.
    usual = lockstep._Search.smallest
    monkeypatch.setattr(lockstep._Search, "smallest", lambda self, start: 0.9 * usual(self, start))
    fast, slow = compared(setup_of(digits), [17, 250], 0.5)
    assert np.all(fast[:, 0] >= slow[:, 0])
    assert np.all(fast[:, 1:3] <= 0.5)


def test_every_bound_is_that_of_one_deletion(digits: Dataset) -> None:
    for changed, sigma in (({}, 0.005), ({"n_learn": 50, "step": 1.8, "n_unlearn": 300}, 1e-4), ({"n_learn": 4}, 0.1)):
        setup = setup_of(digits, **changed)
        records = np.array([17, 3, 250, 401])
        groups, left = reduce_together(setup, setup.project(records), digits.targets[records], sigma_unlearn=sigma)
        assert not len(left)
        assert sum(len(group.which) for group in groups) == 4
        for group in groups:
            for i, record in enumerate(records[group.which].tolist()):
                one = reduce_deletion(setup, (record,), sigma_unlearn=sigma, size=group.deletions.nodes.shape[1])
                assert_same(one, group.after[i], sigma)
                assert_same(one, group.before[i], 0.0)


def assert_same(one: ReducedDeletion, found: object, sigma: float) -> None:
    expected = one.bounded_pair(sigma)
    np.testing.assert_allclose(found.epsilons(DELTA), expected.epsilons(DELTA), rtol=1e-10)  # type: ignore[attr-defined]
    # Errors themselves are small numbers made of rounded ones.
    for name in ("change_error", "shift_error"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0.02)


def test_a_map_of_awkward_records_is_that_of_each_alone() -> None:
    data = awkward()
    for learned in (0.003, 0.0):
        mechanism = RidgeLangevin(penalty=1.0, n_learn=40, n_unlearn=5, sigma_learn=learned, sigma_unlearn=0.05)
        together = privacy_map(data, mechanism, delta=DELTA)
        for record in range(9):
            alone = privacy_map(data, mechanism, delta=DELTA, records=[record])
            np.testing.assert_allclose(together.epsilon[record], alone.epsilon[0], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(
                together.epsilon_without_unlearning[record], alone.epsilon_without_unlearning[0], rtol=1e-9, atol=1e-12
            )


def test_no_record_changes_what_another_one_needs(digits: Dataset) -> None:
    mechanism = RidgeLangevin(penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=0.003, sigma_unlearn=0.005)
    whole = calibrate_map(digits, mechanism, epsilon=0.5, delta=DELTA, records=[3, 17, 250])
    other = calibrate_map(digits, mechanism, epsilon=0.5, delta=DELTA, records=[17, 599, 4, 3])
    np.testing.assert_allclose(whole.sigma_unlearn[[1, 0]], other.sigma_unlearn[[0, 3]], rtol=1e-9)


def test_epsilons_that_merging_makes_uncertain_are_searched_together(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(digits)
    pairs = [reduce_deletion(setup, (record,)).pair(0.005) for record in (17, 3, 250)]
    expected = [pair.epsilon(DELTA) for pair in pairs]
    usual, calls = many_pairs.integrate, 0

    def uncertain_at_first(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        result = usual(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(result, log_error=result.log_error + 1e-9) if calls == 1 else result

    monkeypatch.setattr(many_pairs, "integrate", uncertain_at_first)
    found = many_pairs._search(many_pairs.ManyPairs.of(pairs), np.full(3, math.log(DELTA)))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert calls == 3


@pytest.mark.filterwarnings("error")
def test_a_search_that_leads_nowhere_at_first_warns_of_nothing() -> None:
    """Targets so large that the first secants are flat."""
    data = awkward()
    setup = setup_of(dataclasses.replace(data, targets=1e8 * data.targets), n_learn=40, n_unlearn=10)
    fast, slow = compared(setup, [7, 8], 8.0)
    assert np.all(fast[:, 0] >= slow[:, 0])
    np.testing.assert_allclose(fast[:, 0], slow[:, 0], rtol=1e-6)


def test_bounds_in_rows_are_those_of_each_pair() -> None:
    ratios, shifts = np.array([0.5, 1.0, 1.3]), np.array([0.01, 0.02, 0.0])
    pairs = [
        GaussianPair(variance_ratios=ratios, squared_shifts=shifts, n_columns=3),
        GaussianPair(variance_ratios=np.ones(2), squared_shifts=np.array([0.0, 0.2])),
        GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.zeros(1)),
        GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([math.inf])),
    ]
    errors = [(0.0, 0.0), (1e-12, 3e-11), (1e-12, 0.0), (0.0, 1e-9), (0.2, 0.1), (0.45, 0.0), (2.0, 0.0)]
    errors.append((math.nan, 0.0))
    bounded = [BoundedPair(pair=p, change_error=c, shift_error=s) for p in pairs for c, s in errors]
    many = BoundedPairs.of(bounded)
    for odds in (12.0, 700.0):
        np.testing.assert_allclose(many.slack(odds), [float(each.slack(odds)) for each in bounded], rtol=1e-14)
    for delta in (0.0, 1e-5, 0.9, 1.0):
        found, expected = many.epsilons(delta), np.array([each.epsilons(delta) for each in bounded])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
        largest = expected.max(axis=1)
        alone = [each.error(delta, e) for each, e in zip(bounded, largest.tolist(), strict=True)]
        np.testing.assert_allclose(many.errors(delta, largest), alone, rtol=1e-14)


def test_a_map_makes_no_object_a_record(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[GaussianPair] = []
    usual = GaussianPair.__post_init__

    def counted(pair: GaussianPair) -> None:
        made.append(pair)
        usual(pair)

    monkeypatch.setattr(GaussianPair, "__post_init__", counted)
    mechanism = RidgeLangevin(penalty=1.0, n_learn=40, n_unlearn=5, sigma_learn=0.003, sigma_unlearn=0.005)
    privacy_map(digits, mechanism, delta=DELTA, records=[3, 17, 250])
    assert not made
