"""Trials that fail: they cost their chunk, decide nothing by default, and never speak against a claim."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

import audit
from attacks.protocol import AttackContext, FittedAttack, Needs
from audit.errors import InconclusiveError, SchemaError, TrialError
from audit.gathering.following import Line, Question, follow
from audit.gathering.selection import Event
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Counting, Sequential, Split
from audit.records.counts import Counts
from audit.records.evidence import Tail
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict, decide
from audit.running.stored import load_json
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value
from audit.statistics.e_process import make_e_process
from audit.trials.chunks import Stream
from audit.trials.engines import Engine
from audit.trials.failed_chunks import FailedChunk
from mechanisms.claim import BOTH_DIRECTIONS, Claim, Direction, EpsilonDelta, GaussianDP, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import ReleaseSpec, World
from reports.audits.markdown import render
from reports.audits.terminal import summary

Array = NDArray[np.float64]
MU = 0.5
CLAIM = Claim(guarantee=GaussianDP(mu=MU), reference=Reference.RETRAIN_ONLY)
P_FIRST = Direction.UNLEARNED_FROM_RETRAINED


@dataclass(frozen=True, kw_only=True)
class Itself:
    """Scores a release by its one number."""

    name: str = "itself"
    needs: Needs = Needs()

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: Any) -> FittedAttack:
        return self

    def score(self, releases: Array) -> Array:
        return releases[:, 0]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Two normal worlds exactly ``MU`` apart. A trial of ``world`` fails in a tail of probability ``share``."""

    world: World = World.UNLEARNED
    share: float = 0.0
    tail: int = -1
    how: str = "raises"
    in_replay: bool = False
    name: str = "shift"
    reference: Reference = Reference.RETRAIN_ONLY
    release: ReleaseSpec = ReleaseSpec(shape=(1,))

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Shift:
        return self

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal((n, 1))
        counts = self.in_replay or rng.bit_generator.seed_seq.spawn_key[0] != Stream.REPLAY  # type: ignore[attr-defined]
        if counts and world is self.world and self.share and (self.tail * noise > -ndtri(self.share)).any():
            if self.how == "exits":
                os._exit(0)
            raise np.linalg.LinAlgError("Singular matrix")
        return noise + (MU if world is World.UNLEARNED else 3.0 if world is World.NEGLECTED else 0.0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.standard_normal((6, 2)), rng.standard_normal(6), name="six")


def plan(**changes: Any) -> AuditPlan:
    usual = AuditPlan(
        claims=(CLAIM,), forget=((1,),), attacks=(Itself(),), trials=1500, control_trials=40, chunk_size=1
    )
    return replace(usual, **changes)


# Left out of the counts, the failed trials of these would refute the claim with few trials already.
QUICK = {(0.14, World.RETRAINED, 1), (0.14, World.UNLEARNED, -1)}


@pytest.mark.parametrize(
    ("share", "world", "tail"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in product((0.01, 0.03, 0.14), (World.UNLEARNED, World.RETRAINED), (-1, 1))
    ],
)
def test_trials_that_fail_in_one_worlds_tail_refute_no_true_claim(
    data: Dataset, share: float, world: World, tail: int
) -> None:
    allowed = plan(max_failed=10_000, trials=400 if (share, world, tail) in QUICK else 1500)
    result = audit.run(Shift(world=world, share=share, tail=tail), data, allowed)
    finding = result.findings[0]
    assert finding.verdict is Verdict.NOT_REFUTED
    counted = [chunk for chunk in finding.failed_chunks if chunk.stream == "releases" and chunk.chunk >= allowed.n_fit]
    assert len(counted) >= allowed.n_counted * share / 2
    for test in finding.tests:
        counts = test.bound.counts
        assert (counts.n_unlearned, counts.n_retrained) == (allowed.n_counted, allowed.n_counted)
    assert load_json(result.to_json()) == result


@pytest.mark.slow
def test_left_out_the_same_trials_would_refute_it(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above, which could not fail otherwise."""
    monkeypatch.setattr(Counts, "with_failed", lambda self, *_: self)
    larger = plan(max_failed=10_000, trials=6000)
    assert audit.run(Shift(share=0.14), data, larger).findings[0].verdict is Verdict.REFUTED


@pytest.mark.parametrize("direction", BOTH_DIRECTIONS)
@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_failed_trials_win_no_bet_that_they_would_have_lost(direction: Direction, tail: Tail) -> None:
    """Pair by pair: whatever trials fail, and for whatever reason, the capital is at most that of all trials."""
    rng = np.random.default_rng(3)
    point = EpsilonDelta(epsilon=0.3, delta=0.01)
    event = Event(point=point, direction=direction, tail=tail, threshold=0.2)
    process = make_e_process(epsilons=(0.0, 0.3, 1.0), delta=0.01)
    question = Question(
        hypotheses=(("claim_row", ((direction, point),)),),
        levels={"claim_row": 0.05},
        asked=0.05,
        horizon=300,
        combined=True,
        lines={("itself", "claim_row"): Line(role="claim_row", event=event, process=process)},
        bounds={("itself", "claim_row"): ()},
    )
    for _ in range(20):
        whole = rng.standard_normal((2, 300)) + np.array([[0.8], [0.0]])
        broken = np.where((whole < -0.3) | (rng.random((2, 300)) < 0.1), np.nan, whole)
        complete, partial = (follow(question, {"itself": s[0]}, {"itself": s[1]}) for s in (whole, broken))
        assert np.all(np.array(partial.log_best) <= np.array(complete.log_best) + 1e-12)
        (ours,), (all_of_them,) = partial.bounds.values(), complete.bounds.values()
        assert np.all(np.array(ours) <= np.array(all_of_them))
        counts = partial.lines["itself", "claim_row"].counts
        assert counts is not None
        assert (counts.n_unlearned, counts.n_retrained) == (300, 300)


@pytest.mark.parametrize("world", [World.UNLEARNED, World.RETRAINED])
def test_an_audit_that_stops_when_decided_counts_them_too(data: Dataset, world: World) -> None:
    weaker = Claim(guarantee=GaussianDP(mu=2.0), reference=Reference.RETRAIN_ONLY)
    allowed = plan(max_failed=10_000, trials=400, claims=(weaker,), counting=Sequential(first_fit=100))
    result = audit.run(Shift(world=world, share=0.14), data, allowed)
    finding = result.findings[0]
    assert finding.verdict is Verdict.NOT_REFUTED
    assert len([chunk for chunk in finding.failed_chunks if chunk.chunk >= 100]) > 30
    assert {t.bound.counts.n_unlearned for t in finding.tests} == {allowed.n_counted}
    assert load_json(result.to_json()) == result


def test_with_failed_counts_what_could_speak_least_against_the_claim() -> None:
    counts = Counts(k_unlearned=10, n_unlearned=100, k_retrained=4, n_retrained=90)
    for direction in BOTH_DIRECTIONS:
        for event in (counts, counts.complement()):
            with_failed = event.with_failed(3, 5, direction)
            k1, n1, k0, n0 = with_failed.oriented(direction)
            old = event.oriented(direction)
            first, second = (3, 5) if direction is P_FIRST else (5, 3)
            assert (k1, n1, k0, n0) == (old[0], old[1] + first, old[2] + second, old[3] + second)
            # Whatever the trials would have shown, nothing is rejected that this does not reject.
            point = EpsilonDelta(epsilon=0.2, delta=0.01)
            least = exact_joint_p_value(with_failed, point=point, direction=direction, level=0.05)
            bound = exact_joint_bound(with_failed, delta=0.01, direction=direction, level=0.05)
            for shown_first in range(first + 1):
                for shown_second in range(second + 1):
                    u, r = (shown_first, shown_second) if direction is P_FIRST else (shown_second, shown_first)
                    shown = Counts(
                        k_unlearned=event.k_unlearned + u,
                        n_unlearned=event.n_unlearned + 3,
                        k_retrained=event.k_retrained + r,
                        n_retrained=event.n_retrained + 5,
                    )
                    assert exact_joint_p_value(shown, point=point, direction=direction, level=0.05) <= least
                    assert exact_joint_bound(shown, delta=0.01, direction=direction, level=0.05) >= bound


def test_too_many_failed_trials_decide_nothing_whatever_was_counted() -> None:
    for rejected in (True, False):
        found = decide(rejected=rejected, reproducible=True, attack_failed=False, refutable=True, too_many_failed=True)
        assert found == (Verdict.INCONCLUSIVE, Reason.TRIALS_FAILED)


def chunky(**changes: Any) -> AuditPlan:
    return plan(trials=400, chunk_size=40, seed=4, **changes)


@pytest.fixture(scope="module")
def broken(data: Dataset) -> AuditResult:
    # About one of a hundred trials fails, and its chunk of forty with it.
    return audit.run(Shift(share=0.01), data, chunky())


def test_one_failed_chunk_is_inconclusive_and_named(data: Dataset, broken: AuditResult) -> None:
    finding = broken.findings[0]
    assert (finding.verdict, finding.reason) == (Verdict.INCONCLUSIVE, Reason.TRIALS_FAILED)
    first = finding.failed_chunks[0]
    assert (first.world, first.n, first.seed, first.stream) == (World.UNLEARNED, 40, 4, "releases")
    assert "LinAlgError" in first.message
    assert f"world unlearned, forget set 0, chunk {first.chunk}, seed 4" in first.message
    assert 'raise np.linalg.LinAlgError("Singular matrix")' in first.traceback
    for said in (summary(broken), str(broken), render(broken)):
        words = " ".join(said.replace("│", " ").split())
        assert "more trials failed than the plan allows" in words
        assert "Singular matrix" in words
        assert f"chunk {first.chunk}, seed 4" in words
    with pytest.raises(InconclusiveError, match="Singular matrix"):
        broken.assert_holds()


def test_as_many_failed_trials_as_the_plan_allows_are_let_pass(data: Dataset, broken: AuditResult) -> None:
    n = sum(chunk.n for chunk in broken.findings[0].failed_chunks)
    for allowed, verdict in ((n, Verdict.NOT_REFUTED), (n - 1, Verdict.INCONCLUSIVE)):
        result = audit.run(Shift(share=0.01), data, chunky(max_failed=allowed))
        assert result.findings[0].verdict is verdict
        assert result.findings[0].failed_chunks == broken.findings[0].failed_chunks
    assert "count against refuting the claim" in summary(result) or allowed == n - 1


@pytest.mark.skipif(sys.platform == "win32", reason="workers are started as POSIX does")
@pytest.mark.slow
@pytest.mark.parametrize("counting", [Split(), Sequential(first_fit=80)])
def test_a_worker_that_exits_costs_its_chunk_and_not_the_audit(data: Dataset, counting: Counting) -> None:
    raised, exited = (
        audit.run(
            Shift(share=0.01, how=how),
            data,
            chunky(max_failed=400, counting=counting),
            engine=Engine(n_jobs=2) if how == "exits" else Engine(),
        )
        for how in ("raises", "exits")
    )
    lost = exited.findings[0].failed_chunks
    assert [(c.key, c.n) for c in lost] == [(c.key, c.n) for c in raised.findings[0].failed_chunks]
    assert lost
    how = "The worker process was lost: it ended by itself with exit code 0 (world unlearned"
    assert all(how in chunk.message for chunk in lost)
    assert exited.findings[0].tests == raised.findings[0].tests


@dataclass(frozen=True, kw_only=True)
class Sleepy(Shift):
    """Hangs in one chunk of the retrained world."""

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Sleepy:
        return self

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        import time

        if world is World.RETRAINED and n > 2 and rng.bit_generator.seed_seq.spawn_key == (1, 0, 1, 7):  # type: ignore[attr-defined]
            time.sleep(600)
        return super().sample(world, n, rng=rng)


def test_a_hanging_trial_is_given_up(data: Dataset) -> None:
    result = audit.run(Sleepy(), data, chunky(trial_timeout=0.02, max_failed=40), engine=Engine(n_jobs=2))
    (lost,) = result.findings[0].failed_chunks
    assert (lost.world, lost.chunk) == (World.RETRAINED, 7)
    assert "still at work after 0.8 seconds" in lost.message
    assert result.findings[0].verdict is Verdict.NOT_REFUTED


@pytest.mark.parametrize("counting", [Split(), Sequential(first_fit=80)])
def test_a_world_of_which_nothing_is_left_is_an_error(data: Dataset, counting: Counting) -> None:
    """Found at the first replay, or where only the whole chunk fails, when it was drawn."""
    with pytest.raises(TrialError, match=r"LinAlgError \(world unlearned, forget set 0, replay"):
        audit.run(Shift(share=1.0 - 1e-12, in_replay=True), data, chunky())
    with pytest.raises(TrialError, match=r"LinAlgError \(world retrained, forget set 0, chunk 0, seed 4"):
        audit.run(Shift(world=World.RETRAINED, share=0.5), data, chunky(counting=counting))


class Stop(BaseException):
    """The end of a process, for a test."""


@pytest.mark.parametrize("counting", [Split(), Sequential(first_fit=80)], ids=["fixed", "sequential"])
@pytest.mark.parametrize("stop", [3, 12])
def test_a_run_that_goes_on_counts_what_failed_as_it_did(
    data: Dataset, tmp_path: Path, counting: Counting, stop: int
) -> None:
    allowed = chunky(max_failed=400, counting=counting)
    whole = audit.run(Shift(share=0.01), data, allowed)
    assert whole.findings[0].failed_chunks
    steps = []

    def stopping(*_: Any) -> None:
        steps.append(None)
        if len(steps) == stop:
            raise Stop

    with pytest.raises(Stop):
        audit.run(Shift(share=0.01), data, allowed, store=tmp_path, progress=stopping)
    resumed = audit.run(Shift(share=0.01), data, allowed, store=tmp_path)
    assert replace(resumed, environment=whole.environment) == whole


def test_a_run_that_ended_in_an_error_tries_failed_chunks_again(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What made them fail, a full disk or a missing file, may be mended without a change of the plan."""
    broken, whole = Shift(world=World.RETRAINED, share=0.5), Shift(world=World.RETRAINED).sample
    with pytest.raises(TrialError):
        audit.run(broken, data, chunky(), store=tmp_path)
    monkeypatch.setattr(Shift, "sample", lambda _, world, n, *, rng: whole(world, n, rng=rng))
    assert audit.run(broken, data, chunky(), store=tmp_path).findings[0].failed_chunks == ()


@pytest.mark.slow
def test_a_null_control_that_fails_raises_no_alarm(data: Dataset) -> None:
    result = audit.run(
        Shift(world=World.RETRAINED, share=0.05), data, plan(trials=600, control_trials=600, max_failed=10_000)
    )
    null = next(control for control in result.controls if control.name == "null")
    assert null.as_expected
    assert any(chunk.stream == "null_control" for chunk in result.findings[0].failed_chunks)


@pytest.mark.parametrize("counting", [Split(), Sequential(first_fit=80)])
def test_a_control_of_which_nothing_is_left_is_not_run(data: Dataset, counting: Counting) -> None:
    result = audit.run(Shift(world=World.NEGLECTED, share=0.5), data, chunky(max_failed=400, counting=counting))
    neglected = next(control for control in result.controls if control.name == "neglected")
    assert "Not run" in neglected.message
    assert result.findings[0].verdict is Verdict.NOT_REFUTED


def test_a_stored_verdict_must_follow_from_what_failed(broken: AuditResult) -> None:
    finding = replace(broken.findings[0], failed_chunks=())
    with pytest.raises(SchemaError, match=r"reason|verdict"):
        load_json(replace(broken, findings=(finding,)).to_json())


def test_results_without_what_failed_can_still_be_read(broken: AuditResult, data: Dataset) -> None:
    import json

    result = audit.run(Shift(), data, chunky())
    old = json.loads(result.to_json())
    del old["findings"][0]["failed_chunks"], old["plan"]["max_failed"], old["plan"]["trial_timeout"]
    assert load_json(json.dumps(old)) == result


def test_words_of_exceptions_are_withheld(broken: AuditResult) -> None:
    import reports

    withheld = reports.redact(broken)
    assert "Singular" not in withheld.to_json()
    assert load_json(withheld.to_json()) == withheld
    assert sum(chunk.n for chunk in withheld.findings[0].failed_chunks) > 0


@pytest.mark.parametrize(
    ("changes", "said"), [({"max_failed": -1}, "max_failed"), ({"trial_timeout": 0.0}, "trial_timeout")]
)
def test_limits_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        plan(**changes)
    with pytest.raises(InvalidInputError):
        FailedChunk(stream="releases", world=World.UNLEARNED, chunk=0, seed=0, n=0, message="")
