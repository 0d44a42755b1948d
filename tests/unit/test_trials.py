"""Chunks: independent streams, replay, the same results on any number of workers, and clear failures."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs
from attacks.registry import ATTACKS
from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.records.result import AuditResult, read_json
from audit.records.verdict import Reason, Verdict
from audit.trials.chunks import ChunkTask, Source, Stream, draw, make_generator, sampled, score, score_releases
from audit.trials.engines import Engine
from audit.trials.independence import fingerprints
from audit.trials.progress import show_progress
from audit.trials.watching import Watched
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, NotApplicableError
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

FOUR = tuple(ATTACKS[name] for name in ("likelihood_ratio", "target_loss", "influence", "lda"))
Array = NDArray[np.float64]
SMALL = RidgeLangevin(n_learn=6, n_unlearn=3, sigma_unlearn=0.003, sampler="closed_form")
PLAN = AuditPlan(
    claims=(CertifiedClaim(method="exact"), CertifiedClaim(method="published")),
    forget=((3,), (5, 9)),
    attacks=FOUR,
    trials=500,
    chunk_size=100,
    seed=4,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=60)


@pytest.fixture(scope="module")
def numbers() -> Dataset:
    """Eleven numbers a release, where digits have 650."""
    return load_named("diabetes", rows=60)


def evidence_of(result: AuditResult) -> AuditResult:
    """The result without the environment, the only part that may differ between runs."""
    from dataclasses import replace

    from audit.records.ledger import Environment

    blank = Environment(started="", seconds=0.0, python="", platform="", libraries={}, n_jobs=1)
    return replace(result, environment=blank)


@pytest.fixture(scope="module")
def result(numbers: Dataset) -> AuditResult:
    return audit.run(SMALL, numbers, PLAN)


def test_two_workers_find_exactly_what_one_finds(numbers: Dataset, result: AuditResult) -> None:
    assert evidence_of(audit.run(SMALL, numbers, PLAN, engine=Engine(n_jobs=2))) == evidence_of(result)


@pytest.mark.slow
def test_order_of_chunks_does_not_matter(
    numbers: Dataset, result: AuditResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Engine.stream

    def backwards(self: Engine, function: Any, calls: Any) -> Any:
        return ((len(calls) - 1 - i, value) for i, value in straight(self, function, calls[::-1]))

    monkeypatch.setattr(Engine, "stream", backwards)
    assert evidence_of(audit.run(SMALL, numbers, PLAN)) == evidence_of(result)


def test_another_seed_is_another_audit(numbers: Dataset) -> None:
    from dataclasses import replace

    small = replace(PLAN, claims=(CLAIM,), forget=((3,),), attacks=("lda",), trials=60)
    first, again, other = (audit.run(SMALL, numbers, replace(small, seed=seed)).findings for seed in (4, 4, 5))
    assert first == again != other


def test_json_round_trip_is_exact(result: AuditResult) -> None:
    assert AuditResult.from_json(result.to_json()) == result
    assert read_json(result.to_json()) == result


def test_family_holds_every_hypothesis_and_spends_at_most_the_significance(result: AuditResult) -> None:
    keys = {(m.claim, m.forget, m.attack, m.role) for m in result.family.members}
    # 2 claims x 2 forget sets x 4 attacks x 2 roles (both claims are profiles).
    assert len(keys) == len(result.family.members) == 32
    assert sum(m.level for m in result.family.members) <= result.family.significance
    assert len(result.findings) == 4
    for finding in result.findings:
        assert len(finding.tests) == 8
        levels = {m.role: m.level for m in result.family.members}
        assert {test.role: test.bound.level for test in finding.tests} == levels
        assert levels["claim_row"] == pytest.approx(9 * levels["plan_delta"])


def test_fit_and_counting_splits_are_whole_chunks(result: AuditResult) -> None:
    # Ten percent chunks: 500 trials in chunks of 50, 20 % of them fit.
    assert (result.plan.n_fit, result.plan.n_counted) == (100, 400)
    for finding in result.findings:
        assert all(test.bound.counts.n_unlearned == 400 for test in finding.tests)


def test_streams_and_worlds_are_independent() -> None:
    draws = {
        (stream, record, world, chunk): make_generator(9, stream, record, world, chunk).random()
        for stream in Stream
        for record in range(3)
        for world in range(3)
        for chunk in range(3)
    }
    assert len(set(draws.values())) == len(draws)


def test_any_chunk_replays_alone(digits: Dataset) -> None:
    deletion = SMALL.bind(digits, (3,))
    source = Source(stream=Stream.RELEASES, world=World.UNLEARNED, record=0)
    task = ChunkTask(seed=4, source=source, chunk=7, n=10)
    np.testing.assert_array_equal(draw(deletion, task), draw(deletion, task))


def user_mechanism(digits: Dataset, unlearn: Any, **options: Any) -> Any:
    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        return data.targets.mean(axis=0)

    return from_functions(learn=learn, unlearn=unlearn, release=(10,), **options)


def noisy(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model + rng.standard_normal(10)


CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def test_user_functions_run_with_the_attacks_that_apply(digits: Dataset) -> None:
    result = audit.run(user_mechanism(digits, noisy), digits, forget=3, claim=CLAIM, trials=200)
    assert result.plan.attacks == ("portfolio:mean", "portfolio:scale", "portfolio:tail")
    assert result.verdict is Verdict.NOT_REFUTED
    assert result.sampler == "user functions"


def test_user_functions_run_on_workers_too(digits: Dataset) -> None:
    scale = 2.0

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return model + scale * rng.standard_normal(10)

    mechanism = user_mechanism(digits, unlearn)
    alone, shared = (
        audit.run(mechanism, digits, forget=3, claim=CLAIM, trials=200, engine=Engine(n_jobs=n)) for n in (1, 2)
    )
    assert evidence_of(alone) == evidence_of(shared)


def test_a_mechanism_that_ignores_its_generator_is_not_reproducible(digits: Dataset) -> None:
    wild = np.random.default_rng()

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return model + wild.standard_normal(10)

    result = audit.run(user_mechanism(digits, unlearn), digits, forget=3, claim=CLAIM, trials=200)
    assert result.findings[0].verdict is Verdict.INCONCLUSIVE
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE


def test_a_sampler_whose_streams_differ_refutes_nothing(digits: Dataset) -> None:
    """A retrained world whose law depends on the stream is caught by the null control."""

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        stream = rng.bit_generator.seed_seq.spawn_key[0]  # type: ignore[attr-defined]
        return model + rng.standard_normal(10) + 5.0 * (stream == Stream.NULL_CONTROL)

    result = audit.run(user_mechanism(digits, unlearn), digits, forget=3, claim=CLAIM, trials=400)
    null = next(c for c in result.controls if c.name == "null")
    assert not null.as_expected
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE


def test_empty_forget_sets_must_be_handled_and_the_message_says_how(digits: Dataset) -> None:
    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return model + forget.features[0, :10]

    with pytest.raises(Exception, match=r"empty forget set .*IndexError.*Reference\.RETRAIN_ONLY"):
        audit.run(user_mechanism(digits, unlearn), digits, forget=3, claim=CLAIM, trials=200)


@pytest.mark.parametrize(
    ("unlearn", "pattern"),
    [
        (lambda m, r, f, rng: np.full(10, np.nan), "finite numbers"),
        (lambda m, r, f, rng: np.zeros(3), r"shape \(10,\).*got shape \(3,\)"),
        (lambda m, r, f, rng: 1 / 0, "ZeroDivisionError|division by zero"),
    ],
)
def test_unusable_releases_name_the_trial(digits: Dataset, unlearn: Any, pattern: str) -> None:
    mechanism = user_mechanism(digits, unlearn, reference=Reference.RETRAIN_ONLY)
    task = ChunkTask(seed=4, source=Source(stream=Stream.RELEASES, world=World.UNLEARNED, record=0), chunk=2, n=3)
    with pytest.raises(TrialError, match=pattern) as caught:
        draw(mechanism.bind(digits, (3,)), task)
    assert "world unlearned, forget set 0, chunk 2, seed 4" in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Broken:
    name: str = "broken"
    needs: Needs = Needs()
    stage: str = "fit"

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: Any) -> FittedAttack:
        if self.stage == "fit":
            raise NotApplicableError("broken needs something else")
        return self

    def score(self, releases: Array) -> Array:
        return np.full(len(releases), np.nan) if self.stage == "nan" else np.zeros(1)


@pytest.mark.parametrize(
    ("stage", "pattern"), [("fit", "needs something else"), ("nan", "NaN"), ("shape", "expected scores of shape")]
)
def test_a_failed_attack_makes_the_audit_inconclusive(numbers: Dataset, stage: str, pattern: str) -> None:
    from dataclasses import replace

    plan = replace(PLAN, attacks=(ATTACKS["lda"], Broken(stage=stage)), forget=((3,),), trials=200)
    finding = audit.run(SMALL, numbers, plan).findings[0]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason is Reason.ATTACK_FAILED
    assert pattern in finding.failures["broken"]
    assert {test.bound.attack for test in finding.tests} == {"lda"}


def test_scores_that_are_not_one_number_a_release_are_explained() -> None:
    assert "expected scores of shape (4,)" in str(score(Broken(stage="shape"), np.zeros((4, 2))))


def test_a_claim_about_the_other_reference_world_is_refused(digits: Dataset) -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY)
    with pytest.raises(InvalidInputError, match=r"claim\.reference.*retrain_then_unlearn.*retrain_only"):
        audit.run(SMALL, digits, forget=3, claim=claim)


def test_what_is_missing_or_doubled_is_named(digits: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="forget"):
        audit.run(SMALL, digits, claim=CLAIM)
    with pytest.raises(InvalidInputError, match="claim"):
        audit.run(SMALL, digits, forget=3)
    with pytest.raises(InvalidInputError, match="plan"):
        audit.run(SMALL, digits, PLAN, forget=3)
    with pytest.raises(InvalidInputError, match=r"certificates .*exact, published.*'magic'"):
        audit.run(SMALL, digits, forget=3, claim=CertifiedClaim(method="magic"))
    with pytest.raises(InvalidInputError, match=r"\[0, 59\]"):
        audit.run(SMALL, digits, forget=60, claim=CLAIM)
    with pytest.raises(InvalidInputError, match="n_jobs"):
        Engine(n_jobs=0)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Jobs that a shell runs in the background ignore interruptions, and then so do these runs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interruption_that_python_dropped_ends_the_run_at_the_next_report() -> None:
    before = signal.getsignal(signal.SIGINT)
    with show_progress() as report:
        report("drawing", 0, 10)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            report("drawing", 1, 10)
    assert signal.getsignal(signal.SIGINT) is before


@dataclass(frozen=True)
class Turned:
    """Both worlds release the same models; in one of them the sampler holds columns together."""

    release: ReleaseSpec = ReleaseSpec(shape=(5, 4))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> np.ndarray:
        releases = rng.standard_normal((n, 5, 4))
        if world is World.UNLEARNED:
            return np.ascontiguousarray(releases.transpose(0, 2, 1)).transpose(0, 2, 1)
        return releases


def test_equal_releases_have_equal_scores_however_a_sampler_holds_them() -> None:
    """Sums in another order end with other digits, and at a threshold such a digit would tell the worlds apart."""

    class InMemoryOrder:
        def score(self, releases: np.ndarray) -> np.ndarray:
            return np.array([np.cumsum(release.ravel(order="K"))[-1] for release in releases])

    scores = {}
    for world in (World.UNLEARNED, World.RETRAINED):
        releases = sampled(Turned(), world, 200, rng=np.random.default_rng(0), where="here")
        assert releases.flags.c_contiguous
        attacks = {
            "linear": LinearScore(weights=np.random.default_rng(1).standard_normal((5, 4))),
            "memory": InMemoryOrder(),
        }
        scores[world] = score_releases(releases, Watched(releases=fingerprints(releases)), attacks).scores
    for name, values in scores[World.UNLEARNED].items():
        np.testing.assert_array_equal(values, scores[World.RETRAINED][name])
