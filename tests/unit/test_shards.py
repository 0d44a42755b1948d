"""An audit as an array of jobs: its shards together are one run, and what does not belong together is named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.errors import TrialError
from audit.gathering.contrast import planned_tasks
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential
from audit.records.result import AuditResult
from audit.records.verdict import Reason
from audit.running.shards import origin as origins
from audit.running.shards.collecting import fit_shards, judge_shards, origin_of
from audit.running.shards.dealing import Dealing, Phase, Shard, listed, shards_in
from audit.running.shards.drawing import Drawn, draw_shard
from audit.running.shards.fits import fits_in, required_fits
from audit.running.shards.origin import MACHINE, Origin, differing
from audit.trials.engines import Engine, Streams
from audit.trials.identity import of_runs
from audit.trials.rows import RowKey
from audit.trials.storing import holding
from audit.trials.storing.inspection import rows_in, said_of, summary_of
from audit.trials.storing.opening import database
from mechanisms import Claim, EpsilonDelta, Reference, from_functions
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism

Array = NDArray[np.float64]
ORIGIN = Origin(plan="/somewhere/plan.toml", place={MACHINE: "one"})
PLAN = AuditPlan(
    claims=(Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY),),
    forget=((3,), (7, 8)),
    attacks=("lda", "radius"),
    trials=80,
    control_trials=30,
    chunk_size=10,
    seed=5,
)


def small() -> Dataset:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 3))
    return from_arrays(features, features.sum(axis=1) + rng.normal(size=20), kind="regression")


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    return np.asarray(data.features.T @ data.targets[:, 0])


def noisy(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model + rng.standard_normal(model.shape)


def out_of_luck(data: Dataset, rng: np.random.Generator) -> Array:
    raise RuntimeError("out of luck")


def mechanism_of(unlearn: Any = noisy, learn: Any = learn) -> Mechanism:
    return from_functions(learn=learn, unlearn=unlearn, release=(3,), reference=Reference.RETRAIN_ONLY)


MECHANISM = mechanism_of()


def draw(
    folder: Path,
    phase: str,
    number: int,
    of: int,
    *,
    mechanism: Mechanism = MECHANISM,
    plan: AuditPlan = PLAN,
    data: Dataset | None = None,
    engine: Streams | None = None,
    **options: Any,
) -> Drawn:
    shard = Shard(phase=Phase(phase), number=number, of=of)
    options = {"origin": ORIGIN, **options}
    return draw_shard(mechanism, data or small(), plan, shard, folder, engine=engine or Engine(), **options)


def fit(folder: Path, *, mechanism: Mechanism = MECHANISM, plan: AuditPlan = PLAN, **options: Any) -> Any:
    options = {"say": lambda _: None, "origin": ORIGIN, "engine": Engine(), **options}
    return fit_shards(mechanism, small(), plan, folder, **options)


def judge(folder: Path, *, mechanism: Mechanism = MECHANISM, plan: AuditPlan = PLAN, **options: Any) -> AuditResult:
    options = {"say": lambda _: None, "origin": ORIGIN, "engine": Engine(), **options}
    return judge_shards(mechanism, small(), plan, folder, **options)


def found(result: AuditResult) -> str:
    said = json.loads(result.to_json())
    del said["environment"]
    return json.dumps(said)


def as_shards(folder: Path, n_fit: int = 2, n_count: int = 4, order: Sequence[int] | None = None, **what: Any) -> None:
    for number in range(1, n_fit + 1):
        draw(folder, "fit", number, n_fit, **what)
    fit(folder, mechanism=what.get("mechanism", MECHANISM), plan=what.get("plan", PLAN))
    for number in order or range(1, n_count + 1):
        draw(folder, "count", number, n_count, **what)


@pytest.fixture(scope="module", autouse=True)
def few_files() -> Iterator[None]:
    """What code an identity covers is tested elsewhere; here it would be all tests that are loaded, again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_runs, "files_beside", lambda modules: {})
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for number in (2, 1):
        draw(folder, "fit", number, 2)
    shutil.copytree(folder, folder.parent / f"{folder.name}-unfitted")
    fit(folder, keep_releases=True)
    for number in (3, 1, 4, 2):
        draw(folder, "count", number, 4)
    return folder


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> Path:
    """Two shards that fit, the attacks, and four that count."""
    return Path(shutil.copytree(made, tmp_path / "audit"))


@pytest.fixture
def unfitted(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.parent / f"{made.name}-unfitted", tmp_path / "unfitted"))


@pytest.fixture(scope="module")
def whole() -> str:
    return found(audit.run(MECHANISM, small(), PLAN))


class TestOneRun:
    def test_four_shards_are_one_run_bit_for_bit(self, shards: Path, whole: str) -> None:
        said: list[str] = []
        assert found(judge(shards, say=said.append)) == whole
        assert not said

    def test_shards_of_separate_folders_are_copied_together(self, made: Path, tmp_path: Path, whole: str) -> None:
        """Also with the attacks that were fitted elsewhere, and what else lies about."""
        together = tmp_path / "together"
        for name in ("count-1-of-4", "count-2-of-4", "count-3-of-4", "count-4-of-4", "fitted"):
            shutil.copytree(made / name, together / name)
        for stray in ("count-5-of-4x", "count-01-of-4", "count-9-of-12", "slurm-17_3.out", "fit-1-of-2"):
            (together / stray).mkdir()
        (together / "count-2-of-3").write_text("a file")
        assert found(judge(together)) == whole

    def test_a_shard_drawn_twice_is_harmless(self, shards: Path) -> None:
        for phase, of in (("count", 4), ("fit", 2)):
            before = [row for row, _ in rows_in(shards / f"{phase}-2-of-{of}")]
            drawn = draw(shards, phase, 2, of)
            assert drawn.n_before == drawn.n_chunks == len(before) > 0
            assert [row for row, _ in rows_in(shards / f"{phase}-2-of-{of}")] == before

    def test_more_shards_than_chunks(self, unfitted: Path, whole: str) -> None:
        plan = replace(PLAN, forget=((3,),), trials=20, control_trials=20, attacks=("lda",))
        folder = unfitted.parent / "many"
        n_count = len(planned_tasks(plan, 0, fitting=False)) + 1
        as_shards(folder, 1, n_count, plan=plan)
        assert draw(folder, "count", n_count, n_count, plan=plan).n_chunks == 0
        assert found(judge(folder, plan=plan)) == found(audit.run(MECHANISM, small(), plan))

    def test_two_fits_give_the_same_files(self, shards: Path) -> None:
        files = {path.name: path.read_bytes() for path in (shards / "fitted").glob("*.npz")}
        said: list[str] = []
        fit(shards, say=said.append)
        assert said == [f"The attacks are fitted already: {shards / 'fitted'}."]
        shutil.rmtree(shards / "fitted")
        fit(shards)
        assert {path.name: path.read_bytes() for path in (shards / "fitted").glob("*.npz")} == files
        assert len(files) == 2

    def test_releases_are_dropped_once_attacks_are_fitted(self, unfitted: Path) -> None:
        assert list(unfitted.rglob("*.npy"))
        fit(unfitted)
        assert not list(unfitted.rglob("*.npy"))
        # And cost nothing when the fit is asked for again.
        fit(unfitted)
        assert draw(unfitted, "fit", 1, 2).n_before > 0
        assert not list(unfitted.rglob("*.npy"))


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Draws in this process, and is killed after so many chunks."""

    after: int
    n_jobs: int = 1

    def limited(self, trial_timeout: float | None) -> Stopping:
        return self

    def stream(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        left = self.after
        for i, outcome in Engine().stream(function, calls):
            if not left and type(calls[0][-1]).__name__ == "ChunkTask":
                raise KeyboardInterrupt
            left -= 1
            yield i, outcome


@pytest.mark.parametrize("phase", ["fit", "count"])
def test_a_shard_that_was_stopped_is_named_and_goes_on(shards: Path, whole: str, phase: str) -> None:
    of = 2 if phase == "fit" else 4
    name = f"{phase}-2-of-{of}"
    shutil.rmtree(shards / name)
    if phase == "fit":
        shutil.rmtree(shards / "fitted")
    with pytest.raises(KeyboardInterrupt):
        draw(shards, phase, 2, of, engine=Stopping(after=3))
    again = fit if phase == "fit" else judge
    with pytest.raises(InvalidInputError, match=f"all {of} shards of phase {phase}.*shard 2 not drawn to the end"):
        again(shards)
    drawn = draw(shards, phase, 2, of)
    assert drawn.n_before == 3
    again(shards)
    if phase == "count":
        assert found(judge(shards)) == whole
    else:
        # The same attacks: those who counted with them go on.
        assert draw(shards, "count", 1, 4).n_before > 0


def test_a_shard_whose_writer_died_with_its_machine(shards: Path) -> None:
    for host, words in (("elsewhere", "one that another run writes to"), (socket.gethostname(), "process .* on")):
        connection = sqlite3.connect(database(shards / "count-1-of-4"))
        with connection:
            mine = holding.this_process()
            values = (mine.pid, mine.started, host, mine.place)
            connection.execute("INSERT INTO holder VALUES (?, ?, ?, ?, 'now')", values)
        connection.close()
        with pytest.raises(InvalidInputError, match=words):
            draw(shards, "count", 1, 4)
        if host == "elsewhere":
            assert draw(shards, "count", 1, 4, take_over=True).n_before > 0
    # One that runs here is not gone.
    with pytest.raises(InvalidInputError, match="another run writes to"):
        draw(shards, "count", 1, 4, take_over=True)


class TestWhatIsMissing:
    def test_missing_shards_are_named(self, shards: Path) -> None:
        for number in (2, 3):
            shutil.rmtree(shards / f"count-{number}-of-4")
        with pytest.raises(InvalidInputError, match=r"all 4 shards of phase count, got no shard 2, 3; .*--shard 2/4"):
            judge(shards)

    def test_a_shard_that_was_killed_in_its_first_moment(self, shards: Path) -> None:
        path = database(shards / "count-2-of-4")
        path.write_bytes(b"")
        with pytest.raises(InvalidInputError, match="shard 2 not drawn to the end"):
            judge(shards)
        assert draw(shards, "count", 2, 4).n_before == 0

    def test_collecting_before_drawing(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match=r"shards of phase fit.*draw PLAN --phase fit --shard 1/4"):
            fit(tmp_path)
        with pytest.raises(InvalidInputError, match=r"attacks that were fitted.*--fit"):
            judge(tmp_path)
        with pytest.raises(InvalidInputError, match="shards of phase fit"):
            origin_of(tmp_path, fitting=True)
        with pytest.raises(InvalidInputError, match="attacks that were fitted"):
            origin_of(tmp_path, fitting=False)

    def test_counting_before_fitting(self, unfitted: Path) -> None:
        with pytest.raises(
            InvalidInputError, match=r"attacks that were fitted.*when all shards of phase fit are drawn"
        ):
            draw(unfitted, "count", 1, 4)
        assert not list(unfitted.glob("count*"))

    def test_two_divisions(self, shards: Path) -> None:
        draw(shards, "count", 1, 3)
        with pytest.raises(InvalidInputError, match="of one division, got those of 3, 4 shards"):
            judge(shards)

    def test_numbers_in_words(self) -> None:
        assert listed([5, 2, 6, 7, 9, 10]) == "2, 5 to 7, 9, 10"
        assert listed(range(1, 100, 2)).endswith("39 and 30 more")


class TestWhatDoesNotBelong:
    OTHER = replace(PLAN, seed=6)

    def test_another_plan_in_the_same_folder(self, shards: Path, unfitted: Path) -> None:
        for number in (1, 2, 3):
            with pytest.raises(InvalidInputError, match=r"plan.seed: stored 5, now 6"):
                draw(unfitted, "fit", number, 3, plan=self.OTHER)
        with pytest.raises(InvalidInputError, match=r"fitted attacks.*plan.seed: stored 5, now 6"):
            draw(shards, "count", 1, 4, plan=self.OTHER)
        other = replace(small(), targets=small().targets + 1)
        for again in (fit, judge):
            with pytest.raises(InvalidInputError, match=r"plan.seed: stored 5, now 6"):
                again(shards, plan=self.OTHER)
        with pytest.raises(InvalidInputError, match=r"data.sha256: changed since"):
            draw(unfitted, "fit", 1, 2, data=other)

    def test_a_shard_of_another_plan_among_the_others(self, shards: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        plan = replace(PLAN, significance=0.01)
        draw(other, "fit", 1, 2, plan=plan)
        draw(other, "fit", 2, 2, plan=plan)
        fit(other, plan=plan)
        draw(other, "count", 2, 4, plan=plan)
        shutil.rmtree(shards / "count-2-of-4")
        shutil.copytree(other / "count-2-of-4", shards / "count-2-of-4")
        with pytest.raises(
            InvalidInputError, match=r"shard 2/4 of phase count.*plan.significance: stored 0.01, now 0.05"
        ):
            judge(shards)

    def test_a_shard_under_another_name(self, shards: Path) -> None:
        shutil.rmtree(shards / "count-2-of-4")
        shutil.copytree(shards / "count-1-of-4", shards / "count-2-of-4")
        with pytest.raises(InvalidInputError, match=r"shard.number: stored 1, now 2"):
            judge(shards)

    def test_a_shard_that_was_counted_with_other_attacks(self, shards: Path) -> None:
        index = shards / "fitted" / "fitted.json"
        said = json.loads(index.read_text())
        said["digests"].reverse()
        index.write_text(json.dumps(said))
        with pytest.raises(InvalidInputError, match="fitted: changed since"):
            judge(shards)
        with pytest.raises(InvalidInputError, match="fitted: changed since"):
            draw(shards, "count", 1, 4)

    def test_an_audit_that_stops_when_decided(self, tmp_path: Path) -> None:
        plan = replace(PLAN, counting=Sequential())
        for again in (lambda: draw(tmp_path, "fit", 1, 2, plan=plan), lambda: fit(tmp_path, plan=plan)):
            with pytest.raises(InvalidInputError, match=r"fixed beforehand.*stops when decided"):
                again()
        assert not list(tmp_path.iterdir())


class TestDamage:
    def test_a_truncated_shard(self, shards: Path) -> None:
        path = database(shards / "count-3-of-4")
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(InvalidInputError, match="count-3-of-4"):
            judge(shards)
        drawn = draw(shards, "count", 3, 4, fresh=True)
        assert drawn.n_before == 0

    def test_a_lost_and_a_changed_chunk(self, shards: Path, whole: str) -> None:
        for statement in ("DELETE FROM chunks WHERE id = 2", "UPDATE chunks SET worker = 'x' WHERE id = 3"):
            connection = sqlite3.connect(database(shards / "count-1-of-4"))
            with connection:
                connection.execute(statement)
            connection.close()
            with pytest.raises(InvalidInputError, match=r"shard 1/4 of phase count.*1 chunks missing or damaged"):
                judge(shards)
            draw(shards, "count", 1, 4)
        assert found(judge(shards)) == whole

    def test_releases_that_are_gone(self, unfitted: Path) -> None:
        next(iter(sorted((unfitted / "fit-2-of-2").rglob("*.npy")))).write_bytes(b"\x93NUMPY")
        with pytest.raises(InvalidInputError, match=r"shard 2/2 of phase fit.*releases missing or damaged.*--fresh"):
            fit(unfitted)
        assert fits_in(unfitted) is None
        draw(unfitted, "fit", 2, 2, fresh=True)
        fit(unfitted)

    def test_a_disk_that_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []

        def full(store: Any, row: Any, releases: Any) -> str:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("audit.trials.store.Store._save", full)
            with pytest.raises(InvalidInputError, match="no room for world unlearned, forget set 0, chunk 0"):
                draw(tmp_path, "fit", 1, 2, say=said.append)
        assert "No space left" in said[0]
        monkeypatch.setattr("audit.running.shards.drawing.shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(InvalidInputError, match=r"to have room for .* GB of releases"):
            draw(tmp_path, "fit", 1, 2)

    def test_a_chunk_that_says_nothing(self, shards: Path) -> None:
        """Of a shard that was written by somebody else: its digests are right."""
        connection = sqlite3.connect(database(shards / "count-1-of-4"))
        row = next(row for row, _ in rows_in(shards / "count-1-of-4"))
        for change in ({"failed": "[]"}, {"scores": b"1234567"}, {"attacks": "3"}, {"failures": "["}):
            bad = replace(row, **change)
            with connection:
                names = ", ".join(f"{name} = ?" for name in change)
                connection.execute(
                    f"UPDATE chunks SET {names}, sha256 = ? WHERE id = 1", (*change.values(), bad.sha256())
                )
            with pytest.raises(InvalidInputError, match="1 chunks missing or damaged"):
                judge(shards)
            with connection:
                names = ", ".join(f"{name} = ?" for name in change)
                old = [getattr(row, name) for name in change]
                connection.execute(f"UPDATE chunks SET {names}, sha256 = ? WHERE id = 1", (*old, row.sha256()))
        connection.close()

    def test_a_damaged_end(self, shards: Path) -> None:
        connection = sqlite3.connect(database(shards / "count-1-of-4"))
        with connection:
            connection.execute("UPDATE meta SET value = '{}' WHERE key = 'result'")
        connection.close()
        with pytest.raises(InvalidInputError, match="its result is not what was stored"):
            judge(shards)

    @pytest.mark.parametrize(
        "index",
        ["", "[]", "{}", '{"schema": "unlearn-audit/fitted/2"}', "[" * 100_000, '{"schema": "unlearn-audit/fitted/1"}',
         '{"schema": "unlearn-audit/fitted/1", "identity": {}, "digests": 3, "origins": {}}'],
    )  # fmt: skip
    def test_a_damaged_index(self, tmp_path: Path, index: str) -> None:
        (tmp_path / "fitted").mkdir()
        (tmp_path / "fitted" / "fitted.json").write_text(index)
        with pytest.raises(InvalidInputError, match="fitted attacks as they were written"):
            fits_in(tmp_path)

    def test_a_damaged_file_of_attacks(self, shards: Path) -> None:
        first, second = (shards / "fitted" / f"set-{i}.npz" for i in (0, 1))
        content = first.read_bytes()
        for bad in (content[:-5], second.read_bytes(), b""):
            first.write_bytes(bad)
            with pytest.raises(InvalidInputError, match=r"set-0.npz.*not what was written"):
                judge(shards)
        with pytest.raises(InvalidInputError, match=r"set-0.npz.*not what was written"):
            draw(shards, "count", 1, 4, fresh=True)
        fit(shards)
        assert first.read_bytes() == content

    def test_attacks_of_another_plan_in_the_file_of_this_one(self, shards: Path) -> None:
        """Whoever writes the digest too can at most have the attacks refused."""
        from audit.running.shards import fits as module

        good = required_fits(shards)
        bound = next(iter(dict(Engine().stream(_bound, [()])).values()))
        fitted = good.of(0, bound, PLAN)
        fewer = replace(fitted, prepared={key: dict(list(each.items())[:1]) for key, each in fitted.prepared.items()})
        for bad in (fewer, replace(fitted, failed={}), replace(fitted, prepared={})):
            module.write_fits(shards, good.identity, [bad, bad], good.origins)
            with pytest.raises(InvalidInputError, match="attacks of another plan"):
                required_fits(shards).of(0, bound, PLAN)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
    def test_a_folder_that_cannot_be_written(self, unfitted: Path) -> None:
        unfitted.chmod(0o500)
        with pytest.raises(InvalidInputError, match="can be written"):
            draw(unfitted, "fit", 1, 3)
        unfitted.chmod(0o700)


def _bound() -> Any:
    from audit.running.binding import bind

    return bind(MECHANISM, small(), PLAN, 0)


class TestTrialsThatFail:
    def test_they_count_as_in_one_run(self, tmp_path: Path) -> None:
        def sometimes(data: Dataset, rng: np.random.Generator) -> Array:
            return out_of_luck(data, rng) if rng.random() < 0.02 else learn(data, rng)

        mechanism, plan = mechanism_of(learn=sometimes), replace(PLAN, max_failed=200, attacks=("lda",), forget=((3,),))
        as_shards(tmp_path, mechanism=mechanism, plan=plan)
        result = judge(tmp_path, mechanism=mechanism, plan=plan)
        failed = result.findings[0].failed_chunks
        assert len(failed) >= 2
        assert {chunk.world.value for chunk in failed} >= {"unlearned", "retrained"}
        assert found(result) == found(audit.run(mechanism, small(), plan))

    def test_a_shard_of_which_every_chunk_failed_is_drawn_and_collecting_says_so(self, tmp_path: Path) -> None:
        plan = replace(PLAN, max_failed=500, attacks=("lda",), forget=((3,),), replay="off")
        drawn = draw(tmp_path, "fit", 1, 1, mechanism=mechanism_of(learn=out_of_luck), plan=plan)
        assert len(drawn.failures) == drawn.n_chunks
        assert "RuntimeError: out of luck" in drawn.failures[0]
        assert summary_of(tmp_path / "fit-1-of-1").finished
        with pytest.raises(TrialError, match="out of luck"):
            fit(tmp_path, mechanism=mechanism_of(learn=out_of_luck), plan=plan)

    def test_data_that_a_trial_changed_are_seen(self, tmp_path: Path) -> None:
        def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
            if rng.random() < 0.02:
                retained.features.base.flags.writeable = True
                retained.features.flags.writeable = True
                retained.features[0, 0] = 0.0
            return model + rng.standard_normal(model.shape)

        mechanism, plan = mechanism_of(unlearn), replace(PLAN, attacks=("lda",), forget=((3,),))
        as_shards(tmp_path, mechanism=mechanism, plan=plan)
        finding = judge(tmp_path, mechanism=mechanism, plan=plan).findings[0]
        assert finding.reason is Reason.NOT_REPRODUCIBLE

    def test_a_mechanism_that_cannot_be_replayed_costs_nothing(self, tmp_path: Path) -> None:
        own = np.random.default_rng(3)

        def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
            return model + own.standard_normal(model.shape)

        drawn = draw(tmp_path, "fit", 1, 2, mechanism=mechanism_of(unlearn))
        assert "other releases for the same random stream" in drawn.stopped
        assert not summary_of(tmp_path / "fit-1-of-2").n_stored
        assert "result" not in said_of(tmp_path / "fit-1-of-2")


class TestPlaces:
    def test_machines_that_differ_are_named(self, shards: Path, whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []
        shutil.rmtree(shards / "count-2-of-4")
        other = replace(ORIGIN, place={MACHINE: "two", "numpy": "1.0"})
        draw(shards, "count", 2, 4, origin=other)
        result = judge(shards, say=said.append)
        assert f"{MACHINE}: one (shard 1/2 of phase fit, shard 2/2 of phase fit, the fit, " in said[0]
        assert "two (shard 2/4 of phase count)" in said[0]
        assert "numpy: unknown (" in said[0]
        assert result.environment.machine == "one | two"
        assert found(result) == whole

    def test_here_names_processor_kernels_and_versions(self) -> None:
        place = origins.here()
        assert place["numpy"] == np.__version__
        assert place[MACHINE]
        assert {"Python", "scipy"} <= set(place)
        assert not differing([("a", place), ("b", origins.here())])
        assert Origin.from_json(replace(ORIGIN, place=place).to_json()).place == place


class TestDealing:
    @pytest.mark.parametrize("of", [1, 2, 3, 7, 1000])
    @pytest.mark.parametrize("phase", list(Phase))
    def test_each_chunk_is_dealt_once_and_evenly(self, phase: Phase, of: int) -> None:
        dealing = Dealing.of(PLAN, phase)
        hands = [dealing.chunks(Shard(phase=phase, number=number, of=of)) for number in range(1, of + 1)]
        dealt = [key for hand in hands for key in hand]
        tasks = [task for i in (0, 1) for task in planned_tasks(PLAN, i, fitting=phase is Phase.FIT)]
        assert len(set(dealt)) == len(dealt)
        assert set(dealt) == {RowKey.of(phase, task) for task in tasks}
        assert max(map(len, hands)) - min(map(len, hands)) <= 1
        assert all(dealing.number(key, of) == i for i, hand in enumerate(hands, start=1) for key in hand)
        assert {key: n for hand in hands for key, n in hand.items()} == {RowKey.of(phase, t): t.n for t in tasks}
        assert dealing.number(replace(dealt[0], chunk=10_000), of) == 0
        assert dealing.number(replace(dealt[0], record=2), of) == 0

    @pytest.mark.parametrize(
        "text",
        ["0/16", "17/16", "3/0", "x", "", "3", "3/", "/3", "-1/4", "1/4/4", "1.0/4", "１/４", "1/1000000", " 1/4"],
    )
    def test_a_shard_out_of_range(self, text: str) -> None:
        with pytest.raises(InvalidInputError, match=r"--shard to be NUMBER/OF, with 1 <= NUMBER <= OF"):
            Shard.parsed(text, Phase.FIT)

    def test_names_and_words(self, tmp_path: Path) -> None:
        shard = Shard.parsed("03/16", Phase.COUNT)
        assert shard.name == "count-03-of-16"
        assert str(shard) == "shard 3/16 of phase count"
        assert shards_in(tmp_path / "nowhere", Phase.FIT) == ()
