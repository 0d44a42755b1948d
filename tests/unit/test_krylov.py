"""The reduced certificate against the dense route, its safe side at every size, and the maps of all records."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from attacks.canary import difficulty
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import GaussianLaw
from mechanisms.ridge.certificates import exact_pair, pair_without_unlearning
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.laws import RidgeLaws, StepMap, geometric_sum, signed_power
from mechanisms.ridge.privacy_map import calibrate_map, privacy_map
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.reduced import krylov
from mechanisms.ridge.reduced.bounded_pair import BoundedPair
from mechanisms.ridge.reduced.bounded_pairs import epsilons_of
from mechanisms.ridge.reduced.krylov import KrylovSetup, ReducedDeletion, reduce_deletion, reduced_pair
from mechanisms.ridge.reduced.lanczos import BlockLanczos, divided_differences, power_sum
from mechanisms.sources import load_named

Array = NDArray[np.float64]
DELTA = 1e-5
EXACT = 1e-9


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> object:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=600)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Hyper-parameters of a deletion; ``step`` multiplies 1/L."""

    penalty: float = 1.0
    n_learn: int = 300
    n_unlearn: int = 30
    sigma_learn: float = 0.01
    sigma_unlearn: float = 0.005
    step: float = 1.0

    def setup(self, data: Dataset) -> KrylovSetup:
        smoothness = float(np.linalg.norm(data.features, 2)) ** 2 + self.penalty
        return KrylovSetup.of(
            data,
            penalty=self.penalty,
            n_learn=self.n_learn,
            n_unlearn=self.n_unlearn,
            sigma_learn=self.sigma_learn,
            step_size=None if self.step == 1 else self.step / smoothness,
        )


def dense(setup: KrylovSetup, forget: tuple[int, ...], sigma: float) -> tuple[GaussianPair, GaussianPair]:
    """The oracle: the pairs with and without unlearning from p x p laws."""
    process = RidgeProcess(
        data=setup.data,
        retained=setup.data.without(forget),
        deleted=setup.data.take(forget),
        penalty=setup.penalty,
        step_size=setup.step_size,
        n_learn=setup.n_learn,
        n_unlearn=setup.n_unlearn,
        sigma_learn=setup.sigma_learn,
        sigma_unlearn=sigma,
        reference=Reference.RETRAIN_THEN_UNLEARN,
    )
    laws = RidgeLaws.of(process)
    return exact_pair(laws), pair_without_unlearning(laws)


def both(pair: GaussianPair, delta: float = DELTA) -> Array:
    return np.array([pair.epsilon(delta), pair.reversed().epsilon(delta)])


def assert_equal_to_dense(data: Dataset, forget: tuple[int, ...], case: Case, rtol: float = EXACT) -> ReducedDeletion:
    setup = case.setup(data)
    reduced = reduce_deletion(setup, forget, sigma_unlearn=case.sigma_unlearn)
    for sigma, oracle in zip((case.sigma_unlearn, 0.0), dense(setup, forget, case.sigma_unlearn), strict=True):
        expected = both(oracle)
        found = np.array(reduced.bounded_pair(sigma).epsilons(DELTA))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)
        assert np.all(found >= expected * (1 - EXACT))
        assert reduced.epsilon(DELTA, sigma) == max(found)
    return reduced


def random_data(n: int, p: int, q: int, seed: int = 3) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(
        name="random", features=rng.normal(size=(n, p)) / 2, targets=rng.normal(size=(n, q)), kind="regression"
    )


DIGITS_CASES = {
    "usual": Case(),
    "learning noise dominates": Case(sigma_unlearn=1e-4),
    "unlearning noise dominates": Case(sigma_learn=0.001, n_unlearn=100, sigma_unlearn=0.02),
    "long learning": Case(n_learn=2000),
    "hardly regularised, long learning": Case(penalty=1e-4, n_learn=2000, n_unlearn=300),
    "one step": Case(n_learn=1, n_unlearn=1),
    "no unlearning steps": Case(n_unlearn=0),
    "no unlearning noise": Case(sigma_unlearn=0.0),
    "negative eigenvalues of the step map": Case(step=1.9, n_unlearn=31),
    "small steps": Case(step=0.1),
}


@pytest.mark.parametrize("forget", [(17,), (3, 250), (8, 52, 131, 424, 599)], ids=str)
@pytest.mark.parametrize("name", DIGITS_CASES)
def test_digits_equal_the_dense_route(digits: Dataset, name: str, forget: tuple[int, ...]) -> None:
    assert_equal_to_dense(digits, forget, DIGITS_CASES[name])


def test_golden_digits() -> None:
    rows = json.loads((Path(__file__).parents[1] / "golden" / "ridge_digits.json").read_text())["rows"]
    data = load_named("digits", rows=1500)
    assert len(rows) > 3
    for row in rows:
        case = Case(
            penalty=row["lam"], n_learn=row["n_learn"], n_unlearn=row["n_unlearn"], sigma_learn=row["sigma_learn"]
        )
        after, _ = reduced_pair(case.setup(data), row["forget"], row["sigma_unlearn"])
        expected = [row["epsilon_PQ_at_1e5"], row["epsilon_QP_at_1e5"]]
        np.testing.assert_allclose(after.epsilons(DELTA), expected, rtol=1e-6)


def with_edit(edit: str) -> Dataset:
    data = random_data(30, 6, 2)
    x, y = data.features.copy(), data.targets.copy()
    if edit == "zero row":
        x[3] = 0
    elif edit == "duplicates":
        x[4] = x[5] = x[3]
        y[5] = y[3]
    elif edit == "near duplicates":
        x[4], x[5] = x[3] * (1 + 1e-10), x[3] + 1e-9 * x[6]
    elif edit == "eigenvector":
        x[:, 0] = 0
        x[3] = 0
        x[3, 0] = 1
    elif edit == "dead feature":
        x[:, 2] = 0
    return replace(data, features=x, targets=y)


SMALL = Case(penalty=0.5, n_learn=40, n_unlearn=5, sigma_learn=0.1, sigma_unlearn=0.2)


@pytest.mark.parametrize("forget", [(3,), (3, 4), (3, 4, 5), tuple(range(3, 15))], ids=len)
@pytest.mark.parametrize(
    "edit", ["nothing", "zero row", "duplicates", "near duplicates", "eigenvector", "dead feature"]
)
def test_awkward_rows_equal_the_dense_route(edit: str, forget: tuple[int, ...]) -> None:
    assert_equal_to_dense(with_edit(edit), forget, SMALL)


def test_a_zero_row_changes_nothing() -> None:
    reduced = reduce_deletion(SMALL.setup(with_edit("zero row")), (3,))
    assert reduced.size == 0
    assert reduced.pair(0.2).identical
    assert reduced.epsilon(DELTA, 0.2) == reduced.epsilon(0.0, 0.2) == 0.0


def test_duplicates_are_deflated_and_an_eigenvector_ends_the_space() -> None:
    setup = SMALL.setup(with_edit("duplicates"))
    assert BlockLanczos(setup.step.contraction, setup.project([3, 4, 5])).block == 1
    assert reduce_deletion(SMALL.setup(with_edit("eigenvector")), (3,)).size == 1


@pytest.mark.parametrize("shape", [(8, 20, 3), (30, 1, 1), (60, 40, 1)], ids=str)
def test_shapes_equal_the_dense_route(shape: tuple[int, int, int]) -> None:
    data = random_data(*shape)
    assert_equal_to_dense(data, (3,), SMALL)
    assert_equal_to_dense(data, (1, 4), SMALL)


def test_hardly_regularised_random_data() -> None:
    # Spread eigenvalues: the space has to grow to most of the features.
    case = Case(penalty=1e-4, n_learn=2000, n_unlearn=300, sigma_learn=0.1, sigma_unlearn=0.05)
    reduced = assert_equal_to_dense(random_data(300, 90, 1), (3,), case, rtol=1e-8)
    assert 60 < reduced.size <= 90


def test_no_learning_noise() -> None:
    case = dataclasses.replace(SMALL, sigma_learn=0.0)
    setup = case.setup(random_data(30, 6, 2))
    after, before = reduced_pair(setup, (3,), 0.2)
    np.testing.assert_allclose(after.epsilons(DELTA), both(dense(setup, (3,), 0.2)[0]), rtol=EXACT)
    # Without any noise the worlds are disjoint, unless nothing was deleted.
    assert before.epsilons(DELTA) == (math.inf, math.inf)
    nothing = reduce_deletion(case.setup(with_edit("zero row")), (3,))
    assert nothing.epsilon(DELTA, 0.0) == 0.0


def test_vanishing_unlearning_noise_tends_to_no_unlearning(digits: Dataset) -> None:
    # Here A' is invertible. The p x p laws cannot follow: both covariances are singular long before the limit.
    reduced = reduce_deletion(Case(step=0.5).setup(digits), (17,), sigma_unlearn=1e-9)
    limit = reduced.epsilon(DELTA, 0.0)
    epsilons = [reduced.epsilon(DELTA, sigma) for sigma in (1e-1, 1e-3, 1e-5, 1e-9, 1e-11, 1e-16, 1e-30)]
    assert epsilons[:5] == sorted(epsilons[:5])
    assert epsilons[2] < 0.99 * limit
    assert epsilons[-1] == pytest.approx(limit, rel=EXACT)


SIZES = (1, 2, 4, 8, 12, 16, 20, 24)


@pytest.mark.parametrize("forget", [(17,), (3, 250)], ids=str)
def test_too_small_a_space_is_never_on_the_unsafe_side(digits: Dataset, forget: tuple[int, ...]) -> None:
    case = Case(n_learn=60)
    setup = case.setup(digits)
    oracles = dense(setup, forget, case.sigma_unlearn)
    grid = np.array([0.0, 0.1, 0.3, 1.0, 3.0])
    finite, low, high = 0, 0, 0
    for size in SIZES:
        reduced = reduce_deletion(setup, forget, size=size * len(forget))
        for sigma, oracle in zip((case.sigma_unlearn, 0.0), oracles, strict=True):
            bounded = reduced.bounded_pair(sigma)
            expected, found = both(oracle), np.array(bounded.epsilons(DELTA))
            assert np.all(found >= expected * (1 - EXACT))
            tight = np.isfinite(found) & (found > expected * (1 + 1e-6))
            finite += int(np.sum(tight))
            # The unraised values err on both sides: without the bound this test would fail.
            best = both(bounded.pair)
            low, high = (
                low + int(np.sum(best < expected * (1 - 1e-7))),
                high + int(np.sum(best > expected * (1 + 1e-7))),
            )
            for rows, direction in zip(bounded.log_deltas(grid), (oracle, oracle.reversed()), strict=True):
                assert np.all(rows >= np.asarray(direction.log_delta(grid)) - 1e-9)
    assert finite >= 4
    assert low > 0
    assert high > 0


def test_reported_errors_bound_the_error_of_the_ratios(digits: Dataset) -> None:
    setup = Case(n_learn=60).setup(digits)
    complete = reduce_deletion(setup, (17,), size=65)
    for sigma in (0.005, 0.05, 0.0):
        truth = complete.pair(sigma)
        for size in (2, 4, 8, 12, 16, 20):
            bounded = reduce_deletion(setup, (17,), size=size).bounded_pair(sigma)
            ratios = np.concatenate([bounded.pair.variance_ratios, np.ones(66)])[:66]
            others = np.concatenate([truth.variance_ratios, np.ones(66)])[:66]
            # Hoffman and Wielandt: sorted eigenvalues move by at most the Frobenius norm of the change.
            moved = float(np.linalg.norm(np.sort(ratios) - np.sort(others)))
            assert moved <= bounded.change_error
            lengths = [np.sqrt(np.sum(pair.squared_shifts)) for pair in (bounded.pair, truth)]
            assert abs(lengths[0] - lengths[1]) <= bounded.shift_error


@pytest.mark.parametrize("forget", [(17,), (3, 250)], ids=str)
def test_every_part_of_the_error_is_bounded(digits: Dataset, forget: tuple[int, ...]) -> None:
    case = Case(n_learn=60)
    setup = case.setup(digits)
    a, eta, t = setup.step.contraction, setup.step_size, case.n_learn
    rows = setup.project(forget)
    without, basis = np.linalg.eigh(np.diag(a) + eta * rows.T @ rows)
    change = np.diag(geometric_sum(a, t)) - (basis * geometric_sum(without, t)) @ basis.T
    targets = digits.targets[list(forget)]
    shift = eta * (power_sum(a, t)[:, None] * setup.moment)
    shift -= eta * (basis * power_sum(without, t)) @ basis.T @ (setup.moment - rows.T @ targets)
    for size in (2, 4, 6, 8, 12, 16):
        space = BlockLanczos(a, rows)
        space.extend(size * len(forget))
        into = space.rows[: space.size].T @ np.linalg.eigh(space.compressed(eta)[1])[1]
        reduced = reduce_deletion(setup, forget, size=size * len(forget))
        # The sign of an eigenvector is free: compare in the original coordinates.
        assert np.linalg.norm(change - into @ reduced.change @ into.T) <= reduced.change_leak + 1e-10
        assert np.linalg.norm(shift - into @ reduced.shift) <= reduced.shift_leak + 1e-12
        for sigma in (0.005, 1e-5, 0.1, 0.0):

            def whiten(x: Array, sigma: float = sigma, reduced: ReducedDeletion = reduced) -> Array:
                return reduced._whiten(sigma, x)

            missing = (basis * whiten(without)) @ basis.T @ into - into * whiten(reduced.nodes)
            bounds = reduced._residuals(sigma)
            assert np.linalg.norm(missing @ reduced.change) <= bounds[0] + 1e-9
            assert np.linalg.norm(missing @ reduced.shift) <= bounds[1] + 1e-12
    assert bounds[0] < 1e-3


def test_probes_find_the_largest_residual(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # Long unlearning at little noise: w falls within a hundredth of a wide gap between nodes.
    cases = [Case(n_learn=50, n_unlearn=300, step=0.3), Case(n_learn=5, n_unlearn=300, step=1.8), Case(n_unlearn=5)]
    coarse, fine = krylov.PROBES, np.linspace(0.02, 0.98, 801)
    missed = 0
    for case in cases:
        for size in (3, 8):
            reduced = reduce_deletion(case.setup(digits), (17,), size=size)
            for share in (1e-5, 1e-3, 1.0, 30.0):
                found = np.array(reduced._residuals(share * case.sigma_learn))
                with monkeypatch.context() as patch:
                    patch.setattr(krylov, "PROBES", fine)
                    largest = np.array(reduced._residuals(share * case.sigma_learn))
                    patch.setattr(krylov, "PROBES", coarse)
                    patch.setattr(krylov, "FALL", np.empty(0))
                    missed += int(np.any(largest > 3 * np.array(reduced._residuals(share * case.sigma_learn))))
                assert np.all(largest <= 1.3 * found)
    assert missed > 0


def test_chosen_sizes_leave_little_to_raise(digits: Dataset) -> None:
    after, before = reduced_pair(Case().setup(digits), (17,), 0.005)
    for pair in (after, before):
        epsilon = pair.epsilon(DELTA)
        assert 0 < pair.error(DELTA, epsilon) < 1e-9 * epsilon


@pytest.mark.parametrize("seed", range(4))
def test_slack_covers_the_exact_divergence_of_two_versions_of_a_law(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = 5, 3
    for size in (1e-6, 1e-3, 0.05):
        change, noise = rng.normal(size=(2, p, p))
        known = np.eye(p) + 0.2 * (change + change.T) / np.linalg.norm(change + change.T)
        error = size * (noise + noise.T) / np.linalg.norm(noise + noise.T)
        moved = size * rng.normal(size=(p, q)) / 4
        pair = GaussianPair(variance_ratios=np.linalg.eigvalsh(known), squared_shifts=np.zeros(p), n_columns=q)
        bounded = BoundedPair(
            pair=pair, change_error=float(np.linalg.norm(error)), shift_error=float(np.linalg.norm(moved))
        )
        laws = [GaussianLaw(mean=np.zeros((p, q)), covariance=known), GaussianLaw(mean=moved, covariance=known + error)]
        for odds in (3.0, 10.0, 40.0, 300.0):
            slack = float(bounded.slack(odds))
            assert 0 < slack < 200 * size * (odds + q)
            for first, second in (laws, laws[::-1]):
                assert GaussianPair.from_laws(first, second).log_delta(slack) <= -odds


def test_slack_for_a_shift_alone_or_many_columns() -> None:
    known = GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1))
    shifted = BoundedPair(pair=known, change_error=0.0, shift_error=0.1)
    wide = GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1), n_columns=400)
    scaled = BoundedPair(pair=wide, change_error=0.01, shift_error=0.0)
    for odds in (3.0, 12.0, 100.0):
        truth = GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.full(1, 0.01))
        assert truth.log_delta(float(shifted.slack(odds))) <= -odds
        truth = GaussianPair(variance_ratios=np.full(1, 1.01), squared_shifts=np.zeros(1), n_columns=400)
        assert truth.log_delta(float(scaled.slack(odds))) <= -odds


@pytest.mark.parametrize(
    ("size", "scale"), [pytest.param(1e-4, 1.0, marks=pytest.mark.slow), (1e-2, 1.0), (2e-4, 1e-3)]
)
def test_raised_epsilons_cover_every_law_within_the_error(size: float, scale: float) -> None:
    c, b = 1 + scale * np.array([0.3, -0.2, 0.0]), scale**2 * np.array([0.3, 0.1, 0.4])
    bounded = BoundedPair(
        pair=GaussianPair(variance_ratios=c, squared_shifts=b, n_columns=2), change_error=size, shift_error=size
    )
    for delta in (1e-6, 1e-9):
        epsilons = bounded.epsilons(delta)
        levels = np.array([0.5, 2.0, epsilons[0]])
        tables = bounded.log_deltas(levels)
        exceeded = 0
        for direction in np.concatenate([np.eye(3), -np.eye(3)]):
            for sign in (-1, 0, 1):
                shifts = (np.sqrt(b) + sign * size * np.sqrt(b / b.sum())) ** 2
                true = GaussianPair(variance_ratios=c + size * direction, squared_shifts=shifts, n_columns=2)
                assert np.all(both(true, delta) <= epsilons)
                exceeded += int(np.any(both(true, delta) > both(bounded.pair, delta)))
                for table, pair in zip(tables, (true, true.reversed()), strict=True):
                    assert np.all(np.asarray(pair.log_delta(levels)) <= table)
        assert exceeded > 0


def test_an_exact_pair_is_not_raised_and_a_hopeless_one_says_so() -> None:
    pair = GaussianPair(variance_ratios=np.array([0.5, 1.2]), squared_shifts=np.array([0.1, 0.2]))
    exact = BoundedPair(pair=pair, change_error=0.0, shift_error=0.0)
    np.testing.assert_allclose(exact.epsilons(DELTA), both(pair), rtol=1e-10)
    assert exact.error(DELTA, 1.0) == 0.0
    assert exact.profile().epsilons == pair.profile().epsilons
    for direction in BOTH_DIRECTIONS:
        np.testing.assert_allclose(exact.profile().log_deltas[direction], pair.profile().log_deltas[direction])
    hopeless = BoundedPair(pair=pair, change_error=0.6, shift_error=0.0)
    assert hopeless.epsilons(DELTA) == (math.inf, math.inf)
    assert hopeless.epsilons(1.0) == (0.0, 0.0)
    assert all(np.all(row == 0) for row in hopeless.log_deltas(np.array([0.5, 2.0])))
    slightly = BoundedPair(pair=pair, change_error=1e-12, shift_error=0.0)
    assert slightly.epsilons(0.0) == (math.inf, math.inf)


def test_profile_is_above_the_dense_one(digits: Dataset) -> None:
    setup = Case().setup(digits)
    after, _ = reduced_pair(setup, (17,), 0.005)
    table = after.profile()
    oracle = dense(setup, (17,), 0.005)[0]
    for direction, pair in zip(BOTH_DIRECTIONS, (oracle, oracle.reversed()), strict=True):
        expected = np.asarray(pair.log_delta(np.array(table.epsilons)))
        raised = np.array(table.log_deltas[direction]) - expected
        usual = expected > -30
        assert np.all(raised[expected > -200] >= -1e-9)
        assert np.max(raised[usual]) < 1e-7


def test_many_pairs_at_once_agree_with_one_at_a_time(digits: Dataset) -> None:
    setup = Case().setup(digits)
    reduced = [reduce_deletion(setup, (record,), sigma_unlearn=0.005) for record in (17, 3, 250)]
    bounded = [each.bounded_pair(sigma) for each in reduced for sigma in (0.0, 0.002, 0.1)]
    # Out of the ordinary: identical, disjoint, and an error that no epsilon survives.
    same = GaussianPair(variance_ratios=np.ones(2), squared_shifts=np.zeros(2))
    apart = GaussianPair(variance_ratios=np.ones(2), squared_shifts=np.array([math.inf, 0.0]))
    for pair, error in ((same, 0.0), (same, 1e-6), (apart, 0.0), (bounded[0].pair, 10.0)):
        bounded.append(BoundedPair(pair=pair, change_error=error, shift_error=0.0))
    for delta in (0.0, 1e-100, 1e-12, 1e-5, 1e-2, 0.5, 1.0):
        np.testing.assert_allclose(epsilons_of(bounded, delta), [each.epsilons(delta) for each in bounded], rtol=1e-10)


def test_lanczos_basis_is_orthonormal_and_leaves_only_the_coupling(digits: Dataset) -> None:
    setup = Case().setup(digits)
    for records in ([17], [3, 250, 4]):
        space = BlockLanczos(setup.step.contraction, setup.project(records))
        space.extend(10)
        space.extend(30)
        basis, matrix = space.rows[: space.size], space.matrix[: space.size, : space.size]
        np.testing.assert_allclose(basis @ basis.T, np.eye(space.size), atol=1e-13)
        residual = basis * setup.step.contraction - matrix @ basis
        residual[space.size - space.coupling.shape[1] :] -= space.coupling.T @ space.waiting
        np.testing.assert_allclose(residual, 0, atol=1e-13)
        np.testing.assert_allclose(space.factor.T @ basis[: space.block], setup.project(records), atol=1e-12)


def test_leak_bounds_hold_for_powers(digits: Dataset) -> None:
    setup, n = Case().setup(digits), 60
    start = setup.project([17])
    space = BlockLanczos(setup.step.contraction, start)
    space.extend(12)
    _, reach = space.leaks(setup.step_size, n)
    basis, matrix = space.rows[:12], space.matrix[:12, :12]
    for j in (5, 12, 30, n):
        exact = signed_power(setup.step.contraction, j) * start[0]
        compressed = np.linalg.matrix_power(matrix, j) @ (basis @ start[0])
        assert np.linalg.norm(exact - compressed @ basis) <= space.norm * reach + 1e-13


def test_divided_differences_and_power_sums() -> None:
    x = np.array([-0.9, 0.0, 0.3, 1 - 1e-3, 1 - 1e-9])
    y = np.array([-0.9 + 1e-12, 1e-14, 0.3 + 1e-7, 0.7, 1 - 1e-9])
    for n in (1, 2, 7, 200):
        np.testing.assert_allclose(power_sum(x, n), [sum(a**k for k in range(n)) for a in x], rtol=1e-9)

        def naive(a: float, b: float, n: int = n) -> float:
            return sum(a**i * b ** (2 * k - 1 - i) for k in range(n) for i in range(2 * k))

        expected = [[naive(float(a), float(b)) for b in y] for a in x]
        found = divided_differences(lambda a, n=n: geometric_sum(a, n), x, y, n)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_setup_of_a_tall_matrix_equals_the_plain_one(digits: Dataset) -> None:
    setup = Case(penalty=0.1).setup(digits)
    plain = StepMap.of(digits, penalty=0.1, step_size=setup.step_size)
    np.testing.assert_allclose(setup.step.contraction, plain.contraction, atol=1e-14)
    np.testing.assert_allclose(setup.step.optimum, plain.optimum, atol=1e-9)
    np.testing.assert_allclose(setup.step.basis @ setup.moment, digits.features.T @ digits.targets, atol=1e-11)
    assert setup.step_size == pytest.approx(1 / (np.linalg.norm(digits.features, 2) ** 2 + 0.1), rel=1e-12)


MECHANISM = RidgeLangevin(penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=0.01, sigma_unlearn=0.005)


def test_privacy_map_is_the_same_for_any_number_of_workers_and_record_by_record(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(range(0, 280, 4))
    seen: list[tuple[str, int, int]] = []
    one = privacy_map(
        digits, MECHANISM, delta=DELTA, records=records, progress=lambda *event: seen.append(event), n_jobs=1
    )
    two = privacy_map(digits, MECHANISM, delta=DELTA, records=records, n_jobs=2)
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
    assert [done for _, done, _ in seen] == [32, 64, 70]
    # More and smaller units reach the workers in batches, and stay in order.
    monkeypatch.setattr("mechanisms.ridge.privacy_map.CHUNK", 2)
    batched = privacy_map(digits, MECHANISM, delta=DELTA, records=records, n_jobs=2)
    np.testing.assert_allclose(batched.epsilon, one.epsilon, rtol=EXACT)
    np.testing.assert_allclose(batched.difficulty, one.difficulty, rtol=1e-12)
    assert {(phase, total) for phase, _, total in seen} == {("privacy map", 70)}
    setup = Case().setup(digits)
    for i in (0, 33, 69):
        after, before = reduced_pair(setup, (records[i],), 0.005)
        np.testing.assert_allclose(one.epsilon[i], after.epsilons(DELTA), rtol=EXACT)
        np.testing.assert_allclose(one.epsilon_without_unlearning[i], before.epsilons(DELTA), rtol=EXACT)
    np.testing.assert_array_equal(one.two_sided, np.max(one.epsilon, axis=1))
    np.testing.assert_allclose(one.difficulty, difficulty(digits, penalty=1.0)[records], rtol=1e-9)
    assert np.all(one.two_sided <= one.two_sided_without_unlearning * (1 + EXACT))
    assert np.all((one.error > 0) & (one.error < EXACT))
    alone = privacy_map(digits, MECHANISM, delta=DELTA, sigma_unlearn=0.02, records=[4], setup=setup)
    assert alone.two_sided[0] < one.two_sided[1]


def test_calibrations_meet_the_target_by_the_dense_route_and_one_percent_less_does_not(digits: Dataset) -> None:
    mechanism = dataclasses.replace(MECHANISM, sigma_learn=0.003)
    records = [0, 17, 250, 401, 599]
    found = calibrate_map(digits, mechanism, epsilon=0.5, delta=DELTA, records=records)
    setup = Case(sigma_learn=0.003).setup(digits)
    assert np.all(found.sigma_unlearn > 0)
    assert np.all(found.epsilon <= 0.5)
    assert np.all(found.epsilon_without_unlearning > 0.5)
    for record, sigma in zip(records, found.sigma_unlearn.tolist(), strict=True):
        assert max(both(dense(setup, (record,), sigma)[0])) <= 0.5
        assert max(both(dense(setup, (record,), 0.99 * sigma)[0])) > 0.5
        assert max(both(dense(setup, (record,), (1 - 1e-6) * sigma)[0])) > 0.5


def test_calibration_says_when_no_noise_is_needed_or_none_helps(digits: Dataset) -> None:
    found = calibrate_map(digits, MECHANISM, epsilon=5.0, delta=DELTA, records=[17, 18])
    np.testing.assert_array_equal(found.sigma_unlearn, 0.0)
    np.testing.assert_array_equal(found.two_sided, found.epsilon_without_unlearning)
    stuck = calibrate_map(digits, dataclasses.replace(MECHANISM, n_unlearn=0), epsilon=0.05, delta=DELTA, records=[17])
    assert math.isinf(stuck.sigma_unlearn[0])
    assert stuck.two_sided[0] == stuck.epsilon_without_unlearning[0] > 0.05


def test_calibration_where_epsilon_hardly_depends_on_the_noise(digits: Dataset) -> None:
    setup = Case().setup(digits)
    reduced = reduce_deletion(setup, (17,))
    target = reduced.epsilon(DELTA, 1e-4)
    assert target > (1 - 1e-3) * reduced.epsilon(DELTA, 5e-5)
    found = calibrate_map(digits, MECHANISM, epsilon=target, delta=DELTA, records=[17], setup=setup)
    sigma = float(found.sigma_unlearn[0])
    assert sigma == pytest.approx(1e-4, rel=1e-3)
    assert max(both(dense(setup, (17,), sigma)[0])) <= target
    assert max(both(dense(setup, (17,), 0.99 * sigma)[0])) > target


def test_any_noise_helps_where_the_step_map_is_singular(digits: Dataset) -> None:
    # With eta = 1/L the direction of the largest eigenvalue forgets everything in K steps, given any noise at all.
    setup = Case().setup(digits)
    reduced = reduce_deletion(setup, (17,), sigma_unlearn=1e-9)
    without = reduced.epsilon(DELTA, 0.0)
    assert reduced.epsilon(DELTA, 1e-20) < 0.99 * without
    found = calibrate_map(digits, MECHANISM, epsilon=0.999 * without, delta=DELTA, records=[17], setup=setup)
    assert 0 < found.sigma_unlearn[0] < 1e-6 * MECHANISM.sigma_learn
    assert found.two_sided[0] <= 0.999 * without


def test_impossible_arguments_are_named(digits: Dataset) -> None:
    setup = Case().setup(digits)
    only = dataclasses.replace(MECHANISM, reference=Reference.RETRAIN_ONLY)
    with pytest.raises(InvalidInputError, match=r"mechanism\.reference"):
        privacy_map(digits, only, delta=DELTA)
    with pytest.raises(InvalidInputError, match="delta"):
        privacy_map(digits, MECHANISM, delta=0.0)
    with pytest.raises(InvalidInputError, match="records"):
        privacy_map(digits, MECHANISM, delta=DELTA, records=[0, 600])
    with pytest.raises(InvalidInputError, match="records"):
        privacy_map(digits, MECHANISM, delta=DELTA, records=[])
    with pytest.raises(InvalidInputError, match="n_jobs"):
        privacy_map(digits, MECHANISM, delta=DELTA, n_jobs=0)
    with pytest.raises(InvalidInputError, match="sigma_unlearn"):
        privacy_map(digits, MECHANISM, delta=DELTA, sigma_unlearn=-1.0)
    with pytest.raises(InvalidInputError, match=r"setup\.sigma_learn"):
        privacy_map(digits, dataclasses.replace(MECHANISM, sigma_learn=0.02), delta=DELTA, setup=setup)
    with pytest.raises(InvalidInputError, match=r"setup\.data"):
        privacy_map(digits.without((0,)), MECHANISM, delta=DELTA, setup=setup)
    with pytest.raises(InvalidInputError, match="epsilon"):
        calibrate_map(digits, MECHANISM, epsilon=0.0, delta=DELTA)
    with pytest.raises(InvalidInputError, match="step_size"):
        Case(step=2.1).setup(digits)
    with pytest.raises(InvalidInputError, match="penalty"):
        Case(penalty=0.0).setup(digits)
    with pytest.raises(InvalidInputError, match="size"):
        reduce_deletion(setup, (17,), size=0)
    with pytest.raises(InvalidInputError, match="sigma_unlearn"):
        reduce_deletion(setup, (17,)).pair(-1.0)
    with pytest.raises(InvalidInputError, match="forget"):
        reduce_deletion(setup, (17, 17))


def test_a_mechanism_that_calibrates_needs_a_common_noise(digits: Dataset) -> None:
    from mechanisms.ridge.langevin import CalibratedNoise

    mechanism = dataclasses.replace(MECHANISM, sigma_unlearn=CalibratedNoise(route="exact", epsilon=0.5))
    with pytest.raises(InvalidInputError, match="sigma_unlearn"):
        privacy_map(digits, mechanism, delta=DELTA, records=[0])
