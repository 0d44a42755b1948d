"""Seeded faults: what each edits, and that the ones said to break their claim do, by their own exact laws."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from audit.selftest.truth import truth_of
from mechanisms.claim import GaussianDP
from mechanisms.errors import InvalidInputError
from mechanisms.faulty import network_faults, newton_faults, output_faults, published_faults, ridge_faults
from mechanisms.faulty.catalogue import CATALOGUE, FAULTS, HARMLESS, Fault
from mechanisms.faulty.network_problem import NetworkProblem
from mechanisms.faulty.network_service import NetworkService, gradients
from mechanisms.faulty.newton_service import NewtonService
from mechanisms.faulty.problems import BoundFault, NewtonProblem, OutputProblem, RidgeProblem
from mechanisms.faulty.published_service import PublishedProblem, added_noise
from mechanisms.faulty.ridge_service import RidgeService
from mechanisms.protocol import HasLaw, World
from mechanisms.published.catalogue import published
from mechanisms.published.fine_tuning.model_clipping import reused_noise_delta
from mechanisms.published.langevin import Walk
from tests.statistical.budget import binomial_limits

NAMED = {fault.name: fault for fault in CATALOGUE}
BY_TRIALS = {
    *("ridge_early_stopping", "ridge_clipped_noise", "ridge_skipped_sometimes", "output_clipped_noise"),
    *("published_reused_noise", "published_mean_residual", "published_group_delta", "published_fresh_noise"),
}
GAUSSIAN = [name for name in NAMED if name not in BY_TRIALS and not name.startswith(("newton", "network"))]


# What the released weights do not show at this size: the planner says so, and an audit may say either.
UNSEEN = ("network_repeated_noise", "network_dropout_left_on")


@pytest.fixture(scope="module")
def bound() -> dict[str, BoundFault]:
    return {fault.name: fault.bind() for fault in CATALOGUE}


def unchanged(service: object) -> object:
    return service


def test_the_catalogue_is_complete() -> None:
    assert len(FAULTS) >= 24
    assert len(HARMLESS) >= 6
    assert len(NAMED) == len(CATALOGUE)
    assert all(fault.description.endswith(".") and "\n" not in fault.description for fault in CATALOGUE)
    assert {fault.family for fault in FAULTS} == {"mean", "scale", "tail"}
    for prefix in ("ridge", "output", "newton", "network", "published"):
        assert sum(fault.name.startswith(prefix) for fault in FAULTS) >= 7
    # Every edit is in the catalogue.
    edits = {
        f"{prefix}_{name}"
        for prefix, module in (
            ("ridge", ridge_faults),
            ("output", output_faults),
            ("newton", newton_faults),
            ("network", network_faults),
            ("published", published_faults),
        )
        for name, edit in vars(module).items()
        if callable(edit) and getattr(edit, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert edits == set(NAMED)


@pytest.mark.parametrize(
    "problem", [RidgeProblem(edit=unchanged), OutputProblem(edit=unchanged, target=GaussianDP(mu=0.5))]
)  # type: ignore[arg-type]
def test_a_service_without_a_fault_has_the_laws_of_the_mechanism(problem: RidgeProblem | OutputProblem) -> None:
    deletion = problem.bind().deletion
    assert isinstance(deletion, HasLaw)
    laws = deletion.service.laws()
    assert laws is not None
    for world, law in zip((World.UNLEARNED, World.RETRAINED), laws, strict=True):
        stated = deletion.law(world)
        np.testing.assert_allclose(law.mean, stated.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(law.covariance, stated.covariance, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("world", list(World))
def test_a_newton_service_without_a_fault_is_the_mechanism_draw_for_draw(world: World) -> None:
    deletion = NewtonProblem(edit=unchanged).bind().deletion  # type: ignore[arg-type]
    mine, stated = (d.sample(world, 20, rng=np.random.default_rng(1)) for d in (deletion, deletion.claimed))
    np.testing.assert_allclose(mine, stated, atol=1e-12)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_a_gaussian_fault_breaks_its_claim_and_a_harmless_variant_does_not(
    bound: dict[str, BoundFault], name: str
) -> None:
    truth = truth_of(bound[name], n_oracle=2, rng=np.random.default_rng(0))
    assert truth.method == "exact"
    assert truth.holds is NAMED[name].harmless


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name not in (*GAUSSIAN, *UNSEEN)], ids=lambda f: f.name)
def test_another_fault_breaks_its_claim_by_its_oracle(bound: dict[str, BoundFault], fault: Fault) -> None:
    """A lower bound on the true epsilon at the claim, at level 0.01, from trials of an oracle."""
    truth = truth_of(
        bound[fault.name],
        n_oracle=600 if fault.name.startswith(("newton", "network", "published_mean")) else 1500,
        rng=np.random.default_rng(0),
    )
    assert truth.method == "oracle trials"
    claim = bound[fault.name].claim
    # A claim of one point is judged there; of a table, where trials can say something.
    points = [(d, p) for d in claim.directions for p in claim.points(d)]
    points = [(d, p) for d, p in points if p.delta >= 1e-3] or points
    assert any(truth.epsilon(p.delta, d) > p.epsilon for d, p in points[:: max(1, len(points) // 8)])


@pytest.mark.parametrize("name", ["newton_two_steps", "newton_stale_hessian"])
def test_harmless_newton_variants_leave_less_than_the_budget(bound: dict[str, BoundFault], name: str) -> None:
    """The certificate needs the gradient that is left to be within the budget; computed for each model."""
    service = bound[name].deletion.service
    assert isinstance(service, NewtonService)
    claimed = service.claimed
    models = claimed.train("full", 200, np.random.default_rng(3))
    perturbation = -claimed.full.gradient(models)
    moved = service.sample(World.UNLEARNED, 200, rng=np.random.default_rng(3)).transpose(0, 2, 1)
    left = np.linalg.norm(claimed.retained.gradient(moved) + perturbation, axis=(1, 2))
    assert left.max() < claimed.mechanism.budget


def test_newton_faults_do_what_they_say() -> None:
    claimed = NewtonProblem(edit=unchanged).bind().deletion.claimed  # type: ignore[arg-type]
    correct = NewtonService(claimed=claimed)  # type: ignore[arg-type]
    models = correct.claimed.train("full", 50, np.random.default_rng(2))
    step = correct.claimed.step(models)

    def released(service: NewtonService) -> np.ndarray:
        return service.sample(World.UNLEARNED, 50, rng=np.random.default_rng(2)).transpose(0, 2, 1)

    np.testing.assert_allclose(released(newton_faults.no_step(correct)), models)
    np.testing.assert_allclose(released(newton_faults.wrong_sign(correct)), models - step, atol=1e-12)
    np.testing.assert_allclose(released(newton_faults.averaged_twice(correct)), models + step / 400, atol=1e-12)
    assert np.abs(released(newton_faults.wrong_record(correct)) - (models + step)).max() > 1e-3
    early = newton_faults.stopped_early(correct).sample(World.RETRAINED, 50, rng=np.random.default_rng(2))
    exact = correct.sample(World.RETRAINED, 50, rng=np.random.default_rng(2))
    assert np.abs(early - exact).max() > 0.1


def ridge(edit: object) -> RidgeService:
    service = RidgeProblem(edit=edit).bind().deletion.service  # type: ignore[arg-type]
    assert isinstance(service, RidgeService)
    return service


def test_early_stopping_keeps_a_smaller_loss_on_the_deleted_record() -> None:
    stopped, correct = (
        ridge(edit).sample(World.UNLEARNED, 100, rng=np.random.default_rng(4))
        for edit in (ridge_faults.early_stopping, unchanged)
    )
    deleted = ridge(unchanged).process.deleted
    losses = [np.square(deleted.features @ w - deleted.targets).sum(axis=(1, 2)) for w in (stopped, correct)]
    assert np.all(losses[0] <= losses[1] + 1e-12)
    assert losses[0].mean() < 0.9 * losses[1].mean()


def test_noise_that_is_cut_off_never_exceeds_the_cut() -> None:
    """One step of noise is at most one standard deviation; without clipping some of 3,000 numbers exceed it."""
    service = ridge(ridge_faults.clipped_noise)
    steps = service.steps
    assert steps.clip == 1.0
    clipped, plain = (
        ridge(edit).deleting(n_steps=1, step_size=0.0).sample(World.UNLEARNED, 100, rng=np.random.default_rng(5))
        for edit in (ridge_faults.clipped_noise, unchanged)
    )
    learned = ridge(unchanged).deleting(n_steps=0).sample(World.UNLEARNED, 100, rng=np.random.default_rng(5))
    limit = steps.scale.max() * (1 + 1e-12)
    assert np.abs(clipped - learned).max() <= limit < np.abs(plain - learned).max()


def test_faults_change_the_unlearned_world_and_the_reference_only_where_they_are_shared(
    bound: dict[str, BoundFault],
) -> None:
    """A fault in serving a deletion leaves the reference world alone, draw for draw."""
    correct = ridge(unchanged)
    shared = {"ridge_unlearning_noise_of_learning", "ridge_stale_preprocessing", "ridge_dataset_size_leak"}
    for fault in FAULTS:
        if not fault.name.startswith("ridge") or fault.name in shared:
            continue
        service = bound[fault.name].deletion.service
        worlds = [
            [s.sample(world, 30, rng=np.random.default_rng(6)) for world in (World.UNLEARNED, World.RETRAINED)]
            for s in (service, correct)
        ]
        assert not np.array_equal(worlds[0][0], worlds[1][0]), fault.name
        np.testing.assert_array_equal(worlds[0][1], worlds[1][1], err_msg=fault.name)


def test_faults_differ_from_each_other(bound: dict[str, BoundFault]) -> None:
    laws = {name: bound[name].deletion.service.laws() for name in GAUSSIAN if not NAMED[name].harmless}
    for (a, p), (b, q) in itertools.combinations(laws.items(), 2):
        assert p is not None
        assert q is not None
        same = p[0].mean.shape == q[0].mean.shape and all(
            np.array_equal(x.mean, y.mean) and np.array_equal(x.covariance, y.covariance)
            for x, y in zip(p, q, strict=True)
        )
        assert not same, (a, b)


def test_a_network_of_the_self_test_learns_as_it_says() -> None:
    """One step against gradients of single records by differences; budgets, late ones, and who is divided by."""
    made = NetworkProblem(edit=unchanged, keeping="others").bind()  # type: ignore[arg-type]
    service = made.deletion.service
    assert isinstance(service, NetworkService)
    run, x, y = service.unlearned, made.data.features, made.data.targets
    phase, (first, second) = run.phases[0], run.start

    def loss(weights: np.ndarray, i: int) -> float:
        w, v = weights[: first.size].reshape(first.shape), weights[first.size :].reshape(second.shape)
        logits = np.append(np.maximum(x[i] @ w, 0), 1.0) @ v
        return float(np.log(np.exp(logits).sum()) - logits @ y[i])

    start = np.concatenate([first.ravel(), second.ravel()])
    nudges = 1e-6 * np.eye(len(start))
    each = np.array([[(loss(start + d, i) - loss(start - d, i)) / 2e-6 for d in nudges] for i in range(len(x))])
    lengths = np.linalg.norm(each, axis=1)
    clipped = each * np.minimum(1, phase.clip_norm / lengths)[:, None]
    assert lengths[0] > phase.clip_norm > lengths.min()
    assert phase.budgets is not None
    squared = np.square(np.linalg.norm(clipped, axis=1))
    np.testing.assert_allclose(phase.budgets[1:], squared[1:], rtol=1e-6)

    def after(pulls: np.ndarray, divisor: int = 10) -> np.ndarray:
        return start - phase.step_size / divisor * pulls.sum(axis=0)

    def stepped(**changes: object) -> np.ndarray:
        edited = replace(phase, n_steps=1, sigma=0.0, **changes)  # type: ignore[arg-type]
        return replace(run, phases=(edited,)).sample(1, rng=np.random.default_rng(1))[0, :, 0]

    np.testing.assert_allclose(stepped(budgets=None), after(clipped), atol=1e-8)
    np.testing.assert_allclose(stepped(budgets=None, radius="none"), after(each), atol=1e-8)
    some = np.where(np.arange(10) < 3, 1.0, 0.5) * squared * (1 + 1e-9)
    np.testing.assert_allclose(stepped(budgets=some), after(clipped[:3]), atol=1e-8)
    np.testing.assert_allclose(stepped(budgets=some, by_active=True), after(clipped[:3], 3), atol=1e-8)
    np.testing.assert_allclose(stepped(budgets=some, late=True), after(clipped), atol=1e-8)
    fresh, reused = (
        replace(run, phases=(replace(phase, step_size=0.0, reused=flag),)).sample(400, rng=np.random.default_rng(1))
        for flag in (False, True)
    )
    assert (fresh - start[:, None]).std() == pytest.approx(2 * phase.sigma, rel=0.05)
    assert (reused - start[:, None]).std() == pytest.approx(4 * phase.sigma, rel=0.05)


def test_the_late_canary_spends_a_hundred_times_its_budget_at_once() -> None:
    made = NAMED["network_late_filter"].bind()
    service = made.deletion.service
    assert isinstance(service, NetworkService)
    phase, start = service.unlearned.phases[0], service.unlearned.start
    squared = gradients(start[0][None], start[1][None], made.data.features, made.data.targets)[2][0, 0]
    assert phase.budgets is not None
    assert phase.budgets[0] <= 0.01 * min(squared, phase.clip_norm**2)
    # And the last feature is the canary's own.
    assert np.flatnonzero(made.data.features[:, -1]).tolist() == [0]


def test_the_oracle_of_reused_noise_integrates_to_its_closed_form() -> None:
    """The densities behind the log ratio against the delta that an interval of the line gives."""
    service = NAMED["published_reused_noise"].bind().deletion.service
    w = np.linspace(-12, 12, 2_400_001)
    p = np.exp(published_faults._reused_log_density(w))
    p /= p.sum()
    ratio = service.oracle(w[:, None, None])
    assert ratio is not None
    for epsilon in (0.5, 1.0, 1.5):
        delta = float(np.maximum(p - np.exp(epsilon) * p * np.exp(-ratio), 0).sum())
        assert delta == pytest.approx(reused_noise_delta(epsilon), rel=1e-4)
    releases = service.sample(World.UNLEARNED, 20_000, rng=np.random.default_rng(8))[:, 0, 0]
    seen = np.histogram(releases, bins=[-12, -0.7, 0.5, 12])[0]
    low_high = [binomial_limits(20_000, float(p[(w >= a) & (w < b)].sum())) for a, b in ((-12, -0.7), (-0.7, 0.5))]
    assert all(low <= count <= high for count, (low, high) in zip(seen, low_high, strict=False))


def test_a_fault_of_a_published_mechanism_is_its_coded_variant_or_the_twin(bound: dict[str, BoundFault]) -> None:
    """Draw for draw, with the row's claim; the redrawn replacements alone have records of their own."""
    for fault in CATALOGUE:
        if not isinstance(fault.problem, PublishedProblem):
            continue
        made, faulty = published(fault.problem.row), bound[fault.name]
        assert faulty.claim == made.claim
        if made.name == "features_and_labels":
            continue
        variants = [v.deletion for v in made.variants if (v.name == "corrected") is fault.harmless]
        if made.name == "langevin_single":
            replaced = 1 if fault.harmless else published_faults.REQUEST
            assert int(np.count_nonzero(faulty.data.targets)) == replaced
            sigma = float(made.audited.settings["sigma"])
            variants = [Walk(steps=1, sigma=sigma, replaced=replaced).release()]
        mine, theirs = (
            d.sample(World.UNLEARNED, 20, rng=np.random.default_rng(9)) for d in (faulty.deletion, variants[0])
        )
        np.testing.assert_array_equal(mine, theirs, err_msg=fault.name)


def test_noise_is_asked_for_only_where_it_is_added() -> None:
    with pytest.raises(InvalidInputError, match="plus Gaussian noise"):
        added_noise(published("finetuning_model").audited.deletion)
