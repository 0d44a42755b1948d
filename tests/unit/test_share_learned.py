"""Learned models that all forget sets share: fewer trainings, and the four conditions under which that is valid."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.controls.reference import n_drawn
from audit.errors import TrialError
from audit.gathering.contrast import make_contrasts
from audit.plan.audit_plan import AuditPlan, FixedSequence, Holm
from audit.plan.split import Sequential
from audit.records.ledger import Control
from audit.records.verdict import Verdict
from audit.running.binding import bind, in_place
from audit.running.shards.dealing import Dealing, Phase
from audit.trials.chunks import ChunkTask, draw_chunk, score_chunk
from audit.trials.engines import Engine
from audit.trials.together import Together, draw_together
from mechanisms import Claim, EpsilonDelta, InvalidInputError, Reference, RidgeLangevin, from_functions, load_named
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import HasStages, World

Array = NDArray[np.float64]
N = 24
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY)
PLAN = AuditPlan(
    claims=(CLAIM,),
    forget=((1,), (5, 7), (9,)),
    attacks=("lda",),
    trials=60,
    control_trials=20,
    chunk_size=7,
    seed=3,
    share_learned=True,
)
LEARNED: Counter[int] = Counter()


@pytest.fixture(autouse=True)
def _no_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay in a new process takes a second a forget set, and has tests of its own."""
    monkeypatch.setattr("audit.controls.replay._may_keep", lambda deletion: False)


def make_data() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(N, 3)), rng.normal(size=N), kind="regression", name="table")


def moment(data: Dataset) -> Array:
    return np.asarray(data.features.T @ data.targets[:, 0] / N)


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    LEARNED[len(data)] += 1
    return moment(data) + 0.3 * rng.standard_normal(3)


def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    model -= moment(forget)
    return model + 0.1 * rng.standard_normal(3)


def service(**given: Any) -> Any:
    chosen = {"learn": learn, "unlearn": unlearn, "release": (3,), "reference": Reference.RETRAIN_ONLY, **given}
    return from_functions(**chosen)


def total(mechanism: Any, data: Dataset, plan: AuditPlan) -> int:
    LEARNED.clear()
    found = audit.run(mechanism, data, plan)
    said = found.plan.trainings
    assert said is not None
    # Checks train a few more: replays, and against retrain_then_unlearn pairs of one random stream.
    assert said.total < sum(LEARNED.values()) <= said.total + 20 * len(plan.forget)
    return sum(LEARNED.values())


def tasks_of(mechanism: Any, data: Dataset, plan: AuditPlan) -> list[list[tuple[Any, ChunkTask]]]:
    """Return for each forget set the chunks of its unlearned world."""
    bound = [in_place(bind(mechanism, data, plan, i), data, plan) for i in range(len(plan.forget))]
    samples = [make_contrasts(plan, i, 0, record)[0].sample for i, record in enumerate(bound)]
    return [[(s.deletion, task) for f in (True, False) for task in s.tasks(plan, fitting=f)] for s in samples]


@pytest.mark.slow
@pytest.mark.parametrize("reference", [Reference.RETRAIN_ONLY, Reference.RETRAIN_THEN_UNLEARN])
def test_ten_records_train_at_most_sixty_percent_of_what_they_did(reference: Reference) -> None:
    data, mine = make_data(), service(reference=reference)
    forget = tuple((i,) for i in range(10))
    plan = replace(PLAN, claims=(against(reference),), forget=forget, trials=100, control_trials=None)
    alone = total(mine, data, replace(plan, share_learned=False))
    shared = total(mine, data, plan)
    print(shared, alone, shared / alone)
    assert shared <= 0.6 * alone, (shared, alone)
    # 100 for the claims and 20 for the ignored deletion: the same for one record and for ten. The rest are checks.
    assert LEARNED[N] <= 120 + 12 * 10


def test_models_of_trials_serve_the_control_of_the_reference_world() -> None:
    data, plan = make_data(), replace(PLAN, claims=(against(Reference.RETRAIN_THEN_UNLEARN),), forget=((1,),))
    mine = service(reference=Reference.RETRAIN_THEN_UNLEARN)
    assert n_drawn(mine.bind(data, (1,)), plan) == {World.UNLEARNED: 0, World.RETRAINED: 30, World.NEGLECTED: 0}
    alone = replace(plan, share_learned=False)
    assert n_drawn(mine.bind(data, (1,)), alone) == {World.UNLEARNED: 0, World.RETRAINED: 75, World.NEGLECTED: 25}
    found = reference_of(audit.run(mine, data, plan))
    assert found.as_expected
    assert found.applicable


def test_a_mechanism_that_builds_its_own_reference_is_seen_by_models_of_trials_too() -> None:
    def lost(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator, brought: Array) -> Array:
        return np.asarray(model + (0 if len(forget) else brought) + 0.001 * rng.standard_normal(3))

    def learned(records: Dataset, rng: np.random.Generator) -> Array:
        return moment(records) + 0.001 * rng.standard_normal(3)

    cheat = service(
        learn=learned,
        unlearn=lost,
        calibrate=lambda records, deleted: moment(deleted),
        reference=Reference.RETRAIN_THEN_UNLEARN,
    )
    plan = replace(PLAN, claims=(against(Reference.RETRAIN_THEN_UNLEARN),), forget=((1,), (9,)), trials=120)
    found = audit.run(cheat, make_data(), plan)
    assert [reference_of(found, i).as_expected for i in range(2)] == [False, False]
    assert {finding.verdict for finding in found.findings} == {Verdict.INCONCLUSIVE}


def against(reference: Reference) -> Claim:
    return replace(CLAIM, reference=reference)


def reference_of(result: audit.AuditResult, position: int = 0) -> Control:
    return [control for control in result.controls if control.name == "reference"][position]


@pytest.mark.slow
def test_what_is_printed_is_what_is_trained() -> None:
    found = audit.run(service(), make_data(), PLAN)
    assert found.plan.share_learned
    assert found.plan.trainings is not None
    assert (found.plan.trainings.all_records, found.plan.trainings.retained) == (80, 3 * 80)
    foreseen = audit.forecast(service(), make_data(), PLAN, margins=())
    assert foreseen.plan is not None
    assert foreseen.plan.trainings == found.plan.trainings
    assert audit.AuditResult.from_json(found.to_json()) == found


def test_a_model_serves_trial_t_of_every_forget_set_with_noise_of_its_own() -> None:
    data, plan = make_data(), PLAN
    by_set = [np.concatenate([draw_chunk(*call) for call in calls]) for calls in tasks_of(service(), data, plan)]
    exact = service(unlearn=lambda model, retained, forget, rng: model)
    same = [np.concatenate([draw_chunk(*call) for call in calls]) for calls in tasks_of(exact, data, plan)]
    # Without noise and without a deletion trial t releases one model, whatever the forget set.
    assert all(np.array_equal(each, same[0]) for each in same)
    assert len(np.unique(same[0][:, 0])) == plan.trials
    noise = [
        released - learned + moment(data.take(forget))
        for released, learned, forget in zip(by_set, same, plan.forget, strict=True)
    ]
    assert abs(np.corrcoef(noise[0][:, 0], noise[1][:, 0])[0, 1]) < 0.45
    assert 0.05 < noise[0].std() < 0.15


def test_the_split_is_the_same_trials_for_every_forget_set() -> None:
    data = make_data()
    found = []
    for i in range(len(PLAN.forget)):
        record = in_place(bind(service(), data, PLAN, i), data, PLAN)
        sample = make_contrasts(PLAN, i, 0, record)[0].sample
        found.append([[(task.first, task.n) for task in sample.tasks(PLAN, fitting=f)] for f in (True, False)])
    assert found[0] == found[1] == found[2]
    flat = [first + j for part in found[0] for first, n in part for j in range(n) if first is not None]
    assert flat == list(range(PLAN.trials))


def test_chunks_drawn_together_are_those_drawn_alone_and_any_cut_gives_the_same_trials() -> None:
    data = make_data()
    by_set = tasks_of(service(), data, PLAN)
    for calls in zip(*by_set, strict=True):
        found = draw_together([d for d, _ in calls], Together(tasks=tuple(task for _, task in calls)))
        for mine, (deletion, task) in zip(found, calls, strict=True):
            assert mine is not None
            assert np.array_equal(mine, draw_chunk(deletion, task))
    finer = tasks_of(service(), data, replace(PLAN, chunk_size=1))
    whole, cut = (np.concatenate([draw_chunk(*call) for call in calls]) for calls in (by_set[1], finer[1]))
    assert np.array_equal(whole, cut)


@pytest.mark.slow
def test_the_result_is_the_same_on_any_engine() -> None:
    data = make_data()
    expected = audit.run(service(), data, PLAN)
    assert audit.run(service(), data, PLAN, engine=Engine(n_jobs=2)).findings == expected.findings


@pytest.mark.slow
def test_the_result_is_that_of_chunks_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    expected = audit.run(service(), data, PLAN)
    # Nothing is drawn ahead: every forget set draws its own chunks.
    monkeypatch.setattr("audit.gathering.ahead._calls", lambda *given: iter(()))
    assert audit.run(service(), data, PLAN).findings == expected.findings


@dataclass(frozen=True)
class Stopping:
    """Runs calls until so many were made of one function, as a run that is killed does."""

    function: Any
    left: list[int]

    @property
    def n_jobs(self) -> int:
        return 1

    def limited(self, trial_timeout: float | None) -> Stopping:
        return self

    def stream(self, function: Any, calls: Any) -> Any:
        for i, call in enumerate(calls):
            inner = getattr(function, "args", (None,))[0]
            if getattr(inner, "__name__", "") == self.function:
                self.left[0] -= 1
                if self.left[0] < 0:
                    raise KeyboardInterrupt
            yield i, function(*call)


@pytest.mark.parametrize(
    "stopped_in",
    ["score_together", *(pytest.param(name, marks=pytest.mark.slow) for name in ("draw_together", "score_chunk"))],
)
@pytest.mark.parametrize(
    "reference", [Reference.RETRAIN_THEN_UNLEARN, pytest.param(Reference.RETRAIN_ONLY, marks=pytest.mark.slow)]
)
def test_a_run_that_was_stopped_goes_on_to_the_same_result(
    tmp_path: Path, stopped_in: str, reference: Reference
) -> None:
    data, plan, mine = make_data(), replace(PLAN, claims=(against(reference),)), service(reference=reference)
    expected = audit.run(mine, data, plan)
    with pytest.raises(KeyboardInterrupt):
        audit.run(mine, data, plan, store=tmp_path / "run", engine=Stopping(stopped_in, [1]))
    LEARNED.clear()
    again = audit.run(mine, data, plan, store=tmp_path / "run")
    assert again.findings == expected.findings
    # Of chunks that were stored no models were seen: the control of the reference world draws them again.
    assert [c for c in again.controls if c.name == "reference"] == [
        c for c in expected.controls if c.name == "reference"
    ]
    rest = LEARNED[N]
    LEARNED.clear()
    audit.run(mine, data, plan)
    if reference is Reference.RETRAIN_ONLY:
        assert rest < LEARNED[N]  # what was stored is not learned again


@pytest.mark.slow
def test_any_chunk_of_a_stored_run_replays_alone(tmp_path: Path) -> None:
    data = make_data()
    audit.run(service(), data, PLAN, store=tmp_path / "run")
    for chunk in (
        "count-releases-unlearned-1-4",
        "fit-releases-unlearned-2-0",
        "count-neglected_control-neglected-0-5",
    ):
        found = audit.replay_chunk(service(), data, PLAN, store=tmp_path / "run", chunk=chunk)
        assert found.outcome.value == "equal", found


@pytest.mark.slow
def test_a_forget_set_that_fails_fails_alone() -> None:
    def fragile(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        found = unlearn(model, retained, forget, rng)
        if len(forget) == 2 and found[0] > np.quantile(moment(retained)[0], 0.5):
            raise RuntimeError("cannot")
        return found

    plan = replace(PLAN, replay="exact", max_failed=1000, chunk_size=1)
    result = audit.run(service(unlearn=fragile), make_data(), plan)
    failed = [bool(finding.failed_chunks) for finding in result.findings]
    assert failed == [False, True, False]


def test_learning_that_depends_on_the_forget_set_is_refused() -> None:
    @dataclass(frozen=True)
    class Peeking:
        name: str = "peeking"

        def bind(self, data: Dataset, forget: tuple[int, ...]) -> HasStages:
            scale = 1.0 + len(forget)

            def scaled(records: Dataset, rng: np.random.Generator) -> Array:
                return moment(records) + scale * rng.standard_normal(3)

            return service(learn=scaled).bind(data, forget)  # type: ignore[no-any-return]

    with pytest.raises(InvalidInputError, match=r"share_learned.*does not depend.*\(1,\) and \(5, 7\)"):
        audit.run(Peeking(), make_data(), PLAN)


def test_a_model_that_is_changed_in_place_is_never_handed_on() -> None:
    @dataclass(frozen=True)
    class Careless:
        """Unlearns in place, which stages must not."""

        name: str = "careless"

        def bind(self, data: Dataset, forget: tuple[int, ...]) -> Any:
            return InPlace(service().bind(data, forget))

    @dataclass(frozen=True)
    class InPlace:
        bound: Any

        def __getattr__(self, name: str) -> Any:
            return getattr(self.bound, name)

        def unlearn(self, models: Any, retained: Any, request: Any, rng: Any) -> Any:
            for model in models:
                model -= moment(request)
            return models

        def sample(self, world: Any, n: int, *, rng: np.random.Generator) -> Array:
            return self.bound.sample(world, n, rng=rng)  # type: ignore[no-any-return]

    with pytest.raises(TrialError, match="changed the learned model that it was given"):
        audit.run(Careless(), make_data(), PLAN)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"correction": FixedSequence()}, r"correction.*Bonferroni\(\) or Holm\(\).*FixedSequence"),
        ({"counting": Sequential()}, r"counting.*Split\(\).*Sequential"),
        ({"replay": "off"}, r"replay.*off"),
        ({"share_learned": "yes"}, "share_learned"),
    ],
)
def test_what_is_not_valid_under_dependence_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        replace(PLAN, **given)
    assert replace(PLAN, correction=Holm()).share_learned


def test_a_mechanism_without_stages_and_shards_are_refused() -> None:
    data = load_named("digits", rows=60)
    closed = RidgeLangevin(n_learn=5, n_unlearn=5, sigma_learn=0.1, sigma_unlearn=0.1, sampler="closed_form")
    plan = replace(PLAN, claims=(replace(CLAIM, reference=Reference.RETRAIN_THEN_UNLEARN),))
    with pytest.raises(InvalidInputError, match=r"share_learned.*stages.*stepwise"):
        audit.run(closed, data, plan)
    with pytest.raises(InvalidInputError, match=r"share_learned.*shards"):
        Dealing.of(PLAN, Phase.FIT)


@pytest.mark.slow
def test_a_ridge_that_learns_by_steps_shares_too() -> None:
    data = load_named("digits", rows=60)
    stepwise = RidgeLangevin(n_learn=5, n_unlearn=5, sigma_learn=0.1, sigma_unlearn=0.1, sampler="stepwise")
    plan = replace(PLAN, claims=(replace(CLAIM, reference=Reference.RETRAIN_THEN_UNLEARN),), forget=((3,), (8,)))
    result = audit.run(stepwise, data, plan)
    assert [finding.verdict.value for finding in result.findings] == ["not_refuted", "not_refuted"]


def test_services_share_the_retrained_world_in_public() -> None:
    data = make_data()
    lost = service(unlearn=lambda model, retained, forget, rng: model + 0.1 * rng.standard_normal(3))
    LEARNED.clear()
    found = audit.run_services({"serves": service(), "loses": lost}, data, replace(PLAN, share_learned=False))
    together = LEARNED.copy()
    assert [result.title for result in found] == ["serves", "loses"]
    # Trials and the null control are of the retrained world, and drawn once; checks are made of each service.
    retained = sum(n for size, n in together.items() if size < N)
    assert retained < 2 * 3 * (PLAN.trials + PLAN.n_control_trials)
    with pytest.raises(InvalidInputError, match="services"):
        audit.run_services({}, data, PLAN)


def test_scores_of_a_chunk_alone_are_those_of_the_run() -> None:
    data = make_data()
    deletion, task = tasks_of(service(), data, PLAN)[2][3]
    scored = score_chunk(deletion, {}, task)
    assert scored.n == task.n
    assert len(np.unique(scored.watched.releases)) == task.n


@pytest.mark.slow
def test_events_of_a_shared_audit_are_frozen_and_counted_on_trials_of_their_own() -> None:
    data = make_data()
    result = audit.run(service(), data, PLAN)
    side = audit.Auditable(mechanism=service(), data=data, plan=PLAN)
    found = audit.count_frozen_events(result, baseline=side, candidate=side)
    assert [count.forget for count in found] == list(PLAN.forget)
    assert all(count.counts.n_unlearned == PLAN.trials for count in found)
