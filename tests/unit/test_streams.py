"""Requests that come one after the other: exact certificates, properties, refusals, and audits of each release."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.power.rehearsal import rehearsed_power
from audit.records.verdict import Verdict
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, EpsilonDelta, Exactly, OneRecord, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.streams.laws import stream_pair
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.reduced import reduce_stream, stream_epsilons
from mechanisms.serving.streams import RequestStream, StreamDeletion

DELTA = 1e-5
RIDGE = RidgeLangevin(penalty=0.3, n_learn=60, n_unlearn=10, sigma_learn=0.02, sigma_unlearn=0.03)


def records(p: int = 6, n: int = 40, q: int = 2, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.geomspace(1, 0.2, p)
    return from_arrays(x, x @ rng.normal(size=(p, q)) + 0.3 * rng.normal(size=(n, q)), kind="regression")


def setup(data: Dataset, ridge: RidgeLangevin = RIDGE) -> KrylovSetup:
    return KrylovSetup.of(
        data,
        penalty=ridge.penalty,
        n_learn=ridge.n_learn,
        n_unlearn=ridge.n_unlearn,
        sigma_learn=ridge.sigma_learn,
        step_size=ridge.step_size,
    )


def phases(*requests: tuple[int, ...], steps: Any = 10, sigmas: Any = 0.03) -> list[Phase]:
    steps, sigmas = np.broadcast_to(steps, len(requests)), np.broadcast_to(sigmas, len(requests))
    return [Phase(request=r, n_steps=int(k), sigma=float(s)) for r, k, s in zip(requests, steps, sigmas, strict=True)]


def best(pair: Any) -> float:
    return float(max(pair.epsilon(DELTA), pair.reversed().epsilon(DELTA)))


@pytest.mark.parametrize("p", [6, 30])
@pytest.mark.parametrize(
    ("sigma_learn", "sigmas"), [(0.02, (0.03, 0.04, 0.02)), (0.0, 0.03), (0.02, (0.001, 0.03, 0.0))]
)
def test_compressed_streams_equal_the_dense_laws(p: int, sigma_learn: float, sigmas: Any) -> None:
    data, ridge = records(p, n=60), replace(RIDGE, sigma_learn=sigma_learn)
    served = phases((3,), (7, 1), (20,), steps=(10, 4, 12), sigmas=sigmas)
    dense = stream_pair(ridge.process(data, (3,)), [*served[:2], replace(served[2], sigma=max(served[2].sigma, 1e-5))])
    reduced = reduce_stream(setup(data, ridge), served)
    bounded = reduced.bounded_pair(max(served[2].sigma, 1e-5))
    assert np.isclose(best(bounded.pair), best(dense), rtol=1e-9, atol=0)
    assert bounded.epsilon(DELTA) >= best(bounded.pair)
    assert reduced.size <= p


@pytest.mark.slow
def test_truncation_is_charged_and_equal_to_the_dense_law() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(150, 120)) / np.arange(1, 121) ** 0.9
    data = from_arrays(x, x @ rng.normal(size=(120, 2)) + rng.normal(size=(150, 2)), kind="regression")
    served = phases((3,), (7,), sigmas=0.02)
    reduced = reduce_stream(setup(data), served)
    assert reduced.size < 120
    assert reduced.edge.size
    found, expected = reduced.epsilon(DELTA, 0.02), best(stream_pair(RIDGE.process(data, (3,)), served))
    assert expected * (1 - 1e-9) <= found <= expected * (1 + 1e-7)


def test_a_stream_of_one_is_todays_certificate() -> None:
    data = records()
    stated = RIDGE.bind(data, (3, 7)).certificates()[0].epsilon
    np.testing.assert_allclose(stream_epsilons(setup(data), phases((3, 7)), DELTA), stated, rtol=1e-10)
    stream = RequestStream(mechanism=RIDGE, requests=[[3, 7]])
    np.testing.assert_allclose(stream.bind(data, (3, 7)).certificates()[0].epsilon, stated, rtol=1e-10)


def test_the_order_inside_a_request_changes_nothing_and_that_of_requests_does() -> None:
    data = setup(records())
    one, other = (stream_epsilons(data, phases(r, (20,)), DELTA) for r in ((7, 1, 4), (4, 7, 1)))
    np.testing.assert_allclose(one, other, rtol=1e-9)
    turned = stream_epsilons(data, phases((20,), (7, 1, 4)), DELTA)
    assert abs(turned[1] - one[1]) > 1e-3 * one[1]


def test_an_empty_request_changes_nothing() -> None:
    data = records()
    usual = stream_epsilons(setup(data), phases((3,), (20,)), DELTA)
    found = stream_epsilons(setup(data), phases((), (3,), (), (20,), ()), DELTA)
    assert found == (0.0, usual[0], usual[0], usual[1], usual[1])
    stream = RequestStream(mechanism=RIDGE, requests=[[], [3], [], [20]])
    draw = stream.bind(data, (3, 20)).sample(World.UNLEARNED, 3, rng=np.random.default_rng(0))
    same = RequestStream(mechanism=RIDGE, requests=[[3], [20]]).bind(data, (3, 20))
    np.testing.assert_array_equal(draw, same.sample(World.UNLEARNED, 3, rng=np.random.default_rng(0)))


def test_a_stream_without_noise_is_never_called_identical() -> None:
    """Targets 0: the means agree, and the covariances differ."""
    data = records()
    nothing = from_arrays(data.features, np.zeros((40, 2)), kind="regression")
    # A step size above 1/L: the spectrum holds 0, where steps without noise leave no variance.
    step_size = 1.5 / (np.linalg.norm(data.features, 2) ** 2 + RIDGE.penalty)
    found = stream_epsilons(
        setup(nothing, replace(RIDGE, step_size=float(step_size))), phases((3,), (20,), sigmas=0.0), DELTA
    )
    assert min(found) > 0.01


def test_many_last_steps_forget_the_past() -> None:
    data = setup(records(), replace(RIDGE, penalty=0.3))
    found = [stream_epsilons(data, phases((3,), (20,), steps=(10, k)), DELTA)[-1] for k in (10, 100, 1000, 10_000)]
    assert all(b < a for a, b in pairwise(found) if a > 0)
    assert found[-1] < 1e-3 < 0.1 < found[0]


def test_epsilon_falls_with_the_last_noise_and_not_with_earlier_ones() -> None:
    data, grid = setup(records()), (0.003, 0.03, 0.3)
    last = [stream_epsilons(data, phases((3,), (20,), sigmas=(0.03, s)), DELTA)[-1] for s in grid]
    assert all(b < a for a, b in pairwise(last))
    grid, steps = (0.03, 0.3, 3.0), (30, 1)
    earlier = [stream_epsilons(data, phases((3,), (20,), steps=steps, sigmas=(s, 0.3)), DELTA)[-1] for s in grid]
    assert any(b < a * 0.99 for a, b in pairwise(earlier))
    assert any(b > a * 1.01 for a, b in pairwise(earlier))


def test_noise_is_calibrated_request_by_request() -> None:
    data, target = records(), CalibratedNoise(route="exact", epsilon=0.3)
    stream = RequestStream(mechanism=replace(RIDGE, sigma_unlearn=target), requests=[[3], [7, 1], [20]])
    deletion = stream.bind(data, stream.forget_sets()[-1])
    assert deletion.certificates()[0].epsilon <= 0.3
    for j in range(3):
        served = deletion.bound.served[: j + 1]
        assert 0.3 * (1 - 1e-5) <= best(stream_pair(deletion.bound.process, served)) <= 0.3
        less = [*served[:-1], replace(served[-1], sigma=served[-1].sigma * 0.99)]
        assert best(stream_pair(deletion.bound.process, less)) > 0.3


def test_a_release_is_its_stages_one_request_after_the_other() -> None:
    data = records()
    stream = RequestStream(mechanism=RIDGE, requests=[[3], [7, 1]])
    rng, stages = np.random.default_rng(5), RIDGE.bind_stream(data, ((3,), (7, 1)))
    models = stages.learn(data, 4, rng)
    models = stages.unlearn(models, data.without((3,)), data.take((3,)), rng)
    models = stages.unlearn(models, data.without((3, 7, 1)), data.take((7, 1)), rng)
    bound = stream.bind(data, (3, 7, 1))
    np.testing.assert_array_equal(
        stages.released(models), bound.sample(World.UNLEARNED, 4, rng=np.random.default_rng(5))
    )
    rng = np.random.default_rng(6)
    models, left = stages.learn(data.without((3, 7, 1)), 4, rng), data.without((3, 7, 1))
    for _ in range(2):
        models = stages.unlearn(models, left, data.take(()), rng)
    np.testing.assert_array_equal(
        stages.released(models), bound.sample(World.RETRAINED, 4, rng=np.random.default_rng(6))
    )


def test_releases_have_the_laws() -> None:
    data = records()
    bound = RequestStream(mechanism=RIDGE, requests=[[3], [7, 1], [20]]).bind(data, (3, 7, 1, 20))
    for i, world in enumerate(World):
        drawn, law = bound.sample(world, 500, rng=np.random.default_rng(i)), bound.law(world)
        spread = np.sqrt(np.diag(law.covariance))
        assert np.abs((drawn.mean(axis=0) - law.mean) / (spread[:, None] / np.sqrt(500))).max() < 5
        assert np.abs(drawn.var(axis=0).mean(axis=1) / spread**2 - 1).max() < 6 * np.sqrt(2 / 1000)
    assert pickle.loads(pickle.dumps(bound)).requests == bound.requests


def test_claims_about_single_deletions_are_refused_on_a_stream() -> None:
    data = records()
    for covers in (OneRecord(), Exactly(k=2)):
        claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=DELTA), covers=covers)
        with pytest.raises(InvalidInputError, match=r"several requests|says nothing of this set"):
            audit.run(RIDGE, data, requests=[[3], [20]], claim=claim, trials=40)


@pytest.mark.parametrize("requests", [lambda release: [3], [[3], lambda release: [20]]])
def test_requests_that_are_chosen_from_releases_are_refused(requests: Any) -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=DELTA))
    with pytest.raises(InvalidInputError, match=r"arXiv:2210\.08911"):
        audit.run(RIDGE, records(), requests=requests, claim=claim, trials=40)


@pytest.mark.parametrize(
    ("ridge", "requests", "said"),
    [
        (RIDGE, [[3], [3]], "distinct"),
        (RIDGE, [[], []], "at least one record"),
        (RIDGE, [3, 7], "list of lists"),
        (RIDGE, [[3], [400]], "400"),
        (replace(RIDGE, n_unlearn=0), [[3], [7]], "n_unlearn"),
        (replace(RIDGE, sampler="closed_form"), [[3], [7]], "stepwise"),
        (replace(RIDGE, sigma_unlearn=CalibratedNoise(route="published", epsilon=1.0)), [[3], [7]], "exact"),
    ],
)
def test_streams_that_are_none_are_refused(ridge: RidgeLangevin, requests: Any, said: str) -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=DELTA))
    with pytest.raises(InvalidInputError, match=said):
        audit.run(ridge, records(), requests=requests, claim=claim, trials=40)


def test_plain_retraining_has_no_certificate_of_a_stream() -> None:
    plain = RequestStream(mechanism=replace(RIDGE, reference=Reference.RETRAIN_ONLY), requests=[[3], [7]])
    assert plain.bind(records(), (3, 7)).certificates() == ()


PLAN = """
schema = "unlearn-audit/plan/1"
trials = 200
[data]
name = "digits"
rows = 100
[mechanism]
name = "ridge_langevin"
n_learn = 20
n_unlearn = 5
sigma_unlearn = 0.01
[records]
stream = {stream}
[[claims]]
kind = "profile"
from = "exact"
"""


def test_a_plan_names_a_stream_and_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(stream="[[29], [], [17, 3], [12]]"))
    resolved = read_plan(path)
    assert resolved.plan.forget == ((29,), (29, 17, 3), (29, 17, 3, 12))
    assert resolved.plan.labels == ("after request 1 of 4", "after request 3 of 4", "after request 4 of 4")
    path.write_text(PLAN.format(stream='[[29], [17]]\nafter = "last"'))
    assert read_plan(path).plan.forget == ((29, 17),)
    for stream, said in (('"adaptive"', "2210.08911"), ("[29, 17]", "one by one"), ("[[29], [29]]", "distinct")):
        path.write_text(PLAN.format(stream=stream))
        with pytest.raises((PlanError, InvalidInputError), match=said):
            read_plan(path)


@dataclass(frozen=True, kw_only=True, eq=False)
class Losing(StreamDeletion):
    """Serves every request but one, whose records stay."""

    lost: int = 0

    def _served(self, world: World) -> list[Any]:
        if world is not World.UNLEARNED:
            return super()._served(world)
        kept, gone = [], []
        for j, request in enumerate(self.requests):
            gone += [] if j == self.lost else list(request)
            kept.append((self.data.without(gone) if gone else self.data, self.data.take(())))
        return kept


@dataclass(frozen=True, kw_only=True)
class LosingStream:
    """A service that claims the certificates of the sound stream, and loses one of its requests."""

    sound: RequestStream
    lost: int
    name: str = "losing"
    mechanism: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mechanism", self.sound)

    @property
    def reference(self) -> Reference:
        return self.sound.reference

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Any:
        bound = self.sound.bind(data, forget)
        return Stated(**{**vars(bound), "lost": self.lost}, sound=bound)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stated(Losing):
    sound: Any

    def certificates(self) -> Any:
        return self.sound.certificates()


def stream_to_audit() -> tuple[Dataset, RequestStream]:
    """Curvatures that are nearly alike: ten steps forget what a request asks for, and little noise hides the rest."""
    rng = np.random.default_rng(0)
    data = from_arrays(rng.normal(size=(12, 2)), rng.normal(size=(12, 1)), kind="regression")
    ridge = replace(RIDGE, n_learn=30, n_unlearn=10, sigma_learn=0.01, sigma_unlearn=0.02)
    return data, RequestStream(mechanism=ridge, requests=[[3], [7], [9]])


def test_an_audit_after_the_last_request_refutes_a_lost_one_and_not_the_sound_stream() -> None:
    data, sound = stream_to_audit()
    result = audit.run(
        sound.mechanism,
        data,
        requests=sound.requests,
        after="last",
        claim=CertifiedClaim(method="exact"),
        trials=400,
        attacks=["lda"],
    )
    assert [(f.label, f.verdict) for f in result.findings] == [("after request 3 of 3", Verdict.NOT_REFUTED)]
    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),), forget=sound.forget_sets()[-1:], attacks=("lda",), trials=400
    )
    lost = audit.run(LosingStream(sound=sound, lost=2), data, plan)
    assert [f.verdict for f in lost.findings] == [Verdict.REFUTED]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_request_is_refuted_from_exactly_there_on(lost: int, capsys: pytest.CaptureFixture[str]) -> None:
    data, sound = stream_to_audit()
    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),),
        forget=sound.forget_sets(),
        labels=sound.labels(),
        attacks=("lda",),
        trials=4000,
        control_trials=200,
    )
    service = LosingStream(sound=sound, lost=lost)
    planned = [planned_power(service.bind(data, gone), plan) for gone in plan.forget]
    findings = audit.run(service, data, plan).findings
    with capsys.disabled():
        print(f"\nrequest {lost + 1} lost: planned power {', '.join(f'{power:.3f}' for power in planned)}")
    for j, (finding, power) in enumerate(zip(findings, planned, strict=True)):
        if j < lost:
            assert finding.verdict is Verdict.NOT_REFUTED
        elif power >= 0.95:
            assert finding.verdict is Verdict.REFUTED
    assert planned[lost] >= 0.95


@pytest.mark.slow
def test_a_sound_stream_is_not_refuted_after_any_request() -> None:
    data, sound = stream_to_audit()
    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),),
        forget=sound.forget_sets(),
        attacks=("likelihood_ratio",),
        trials=4000,
        control_trials=200,
    )
    assert all(finding.verdict is Verdict.NOT_REFUTED for finding in audit.run(sound, data, plan).findings)


def planned_power(bound: Any, plan: AuditPlan) -> float:
    """Power of an audit with the best attack on the laws that are sampled, at the level of one of three releases."""
    fpr, fnr = GaussianPair.from_laws(law_of_losing(bound), bound.sound.law(World.RETRAINED)).trade_off()
    return rehearsed_power(
        bound.certificates()[0].claim,
        fpr,
        1 - fnr,
        n_fit=plan.n_fit,
        n_counted=plan.n_counted,
        level=plan.significance / len(plan.forget) / 2,
        rng=np.random.default_rng(0),
    )


def law_of_losing(bound: Any) -> GaussianLaw:
    """Law of the release of a service that loses a request, step by step."""
    process, gone = bound.bound.process, []
    p, q = process.shape
    mean, covariance = np.zeros((p, q)), np.zeros((p, p))
    stages = [(process.data, process.n_learn, process.sigma_learn)]
    for j, phase in enumerate(bound.bound.served):
        gone += [] if j == bound.lost else list(phase.request)
        stages.append((process.data.without(gone) if gone else process.data, phase.n_steps, phase.sigma))
    for data, n, sigma in stages:
        a = np.eye(p) - process.step_size * (data.features.T @ data.features + process.penalty * np.eye(p))
        for _ in range(n):
            mean = a @ mean + process.step_size * data.features.T @ data.targets
            covariance = a @ covariance @ a + sigma**2 * np.eye(p)
    return GaussianLaw(mean=mean, covariance=covariance)
