"""The store of a run: rows come back bit for bit, what is damaged is named, and one process writes at a time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from attacks.protocol import FittedAttack
from audit.trials.chunks import (
    ChunkTask,
    ScoredChunk,
    Source,
    Stream,
    draw_and_score,
    draw_chunk,
    score_chunk,
    trial_error,
)
from audit.trials.engines import Engine
from audit.trials.rows import Row, RowKey, scored_chunk, scored_columns
from audit.trials.store import Storage, Store, releases_folder
from audit.trials.storing import holding, opening
from audit.trials.storing.inspection import damage_in, rows_in, stores_below, summary_of
from audit.trials.storing.opening import SCHEMA, database, opened
from audit.trials.storing.resuming import Resuming
from audit.trials.watching import Watched
from mechanisms import Claim, GaussianDP, Reference, load_named
from mechanisms.errors import InvalidInputError, NotApplicableError
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge import RidgeLangevin

KEY = ((0, 0), "first")
PLACE = {"step": "count", "stream": "releases", "world": "unlearned", "record": 0, "chunk": 3}


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """Releases of three numbers; counts its draws, and fails from one of them on."""

    draws: list[int] = field(default_factory=list)
    fails_at: int = -1
    error: Exception = field(default_factory=lambda: RuntimeError("out of luck"))
    release: ReleaseSpec = ReleaseSpec(shape=(3,))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> np.ndarray:
        self.draws.append(n)
        if 0 <= self.fails_at < len(self.draws):
            raise self.error
        return rng.standard_normal((n, 3))


@dataclass(frozen=True)
class Column:
    """A fitted attack: one number of a release."""

    i: int = 0

    def score(self, releases: np.ndarray) -> np.ndarray:
        return releases[:, self.i]


@dataclass(frozen=True)
class Broken:
    """A fitted attack that raises."""

    def score(self, releases: np.ndarray) -> np.ndarray:
        raise RuntimeError("cannot score")


def task(chunk: int, n: int = 5) -> ChunkTask:
    source = Source(stream=Stream.RELEASES, world=World.UNLEARNED, record=0)
    return ChunkTask(seed=1, source=source, chunk=chunk, n=n)


def scoring(deletion: Noisy, n: int = 4, **attacks: FittedAttack) -> list[tuple[Any, ...]]:
    keys = {((0, 0), name): attack for name, attack in (attacks or {"first": Column()}).items()}
    return [(deletion, keys, task(i)) for i in range(n)]


@contextmanager
def a_store(folder: Path | None, said: list[str] | None = None, **options: Any) -> Iterator[Store]:
    storage = Storage(folder=folder, say=None if said is None else said.append, **options)
    with opened(storage, lambda: {"plan": {"seed": 1}}, n_chunks=10) as store:
        yield store


def streamed(store: Store, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> dict[int, Any]:
    return dict(Resuming(engine=Engine(), store=store).stream(function, calls))


def same(first: ScoredChunk, second: ScoredChunk) -> bool:
    return (
        list(first.scores) == list(second.scores)
        and all(first.scores[key].tobytes() == second.scores[key].tobytes() for key in first.scores)
        and first.failures == second.failures
        and np.array_equal(first.watched.releases, second.watched.releases)
        and first.watched.opaque == second.watched.opaque
        and first.watched.changed == second.watched.changed
    )


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def place_of(path: Path, needle: bytes) -> int:
    place = path.read_bytes().find(needle)
    assert place >= 0
    return place


def test_a_row_gives_its_chunk_back_bit_for_bit() -> None:
    prints = np.array([0, 1, 2**64 - 1], dtype=np.uint64)
    chunk = ScoredChunk(
        scores={((0, 0), "a"): np.array([-0.0, 5e-324, 1 / 3]), ((2, 0), "b ü"): np.array([1e308, -1.0, 2.0])},
        failures={((0, 0), "c"): "scoring raised: no"},
        watched=Watched(releases=prints, models=prints[::-1], opaque="a reason", changed=("features",)),
        n=3,
    )
    row = Row(**PLACE, n=3, **scored_columns(chunk))
    again = scored_chunk(row, [*chunk.scores, *chunk.failures])
    assert again is not None
    assert same(again, chunk)
    assert again.watched.models is not None
    assert again.watched.models.tolist() == [2**64 - 1, 1, 0]
    assert all(values.flags.writeable and values.dtype == np.float64 for values in again.scores.values())
    # What is asked for decides: fewer attacks, in their order; one more, and the row is of no use.
    fewer = scored_chunk(row, [((2, 0), "b ü")])
    assert fewer is not None
    assert list(fewer.scores) == [((2, 0), "b ü")]
    assert not fewer.failures
    assert scored_chunk(row, [((0, 0), "d")]) is None
    none = replace(chunk, watched=replace(chunk.watched, models=None))
    missing = scored_chunk(Row(**PLACE, n=3, **scored_columns(none)), [])
    assert missing is not None
    assert missing.watched.models is None


def test_a_row_holds_every_field_of_a_chunk() -> None:
    """A field that is added later must be stored too; models that were shown are drawn again where none were seen."""
    assert {f.name for f in fields(ScoredChunk)} == {"scores", "failures", "watched", "n"}
    assert {f.name for f in fields(Watched)} - {"shown"} == {"releases", "models", "opaque", "changed"}


@pytest.mark.parametrize("name", [f.name for f in fields(Row)])
def test_the_digest_covers_every_column(name: str) -> None:
    row = Row(**PLACE, n=1)
    value = getattr(row, name)
    other = {str: "x", int: 7, float: 0.5, bytes: b"x"}.get(type(value), b"x")
    assert replace(row, **{name: other}).sha256() != row.sha256()


def test_what_is_stored_is_not_drawn_and_comes_first(tmp_path: Path) -> None:
    deletion = Noisy()
    with a_store(tmp_path) as store:
        before = streamed(store, score_chunk, scoring(deletion, 4)[1:3])
    assert deletion.draws == [5, 5]
    with a_store(tmp_path) as store:
        order = [i for i, _ in Resuming(engine=Engine(), store=store).stream(score_chunk, scoring(deletion, 4))]
        assert order == [1, 2, 0, 3]
        assert deletion.draws == [5] * 4
        after = streamed(store, score_chunk, scoring(deletion, 4))
        assert deletion.draws == [5] * 4
        assert store.n_stored == 4
    plain = dict(Engine().stream(score_chunk, scoring(deletion, 4)))
    assert all(same(after[i], plain[i]) for i in range(4))
    assert same(before[0], plain[1])


def test_a_chunk_of_another_size_or_with_more_attacks_is_drawn_again(tmp_path: Path) -> None:
    deletion = Noisy()
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(deletion, 1))
        streamed(store, score_chunk, [(deletion, {KEY: Column()}, task(0, n=6))])
        assert deletion.draws == [5, 6]
        both = {"first": Column(), "second": Column(1), "broken": Broken()}
        found = streamed(store, score_chunk, scoring(deletion, 1, **both))
        assert deletion.draws == [5, 6, 5]
        again = streamed(store, score_chunk, scoring(deletion, 1, **both))
        assert deletion.draws == [5, 6, 5]
        assert same(again[0], found[0])
        assert found[0].failures == {((0, 0), "broken"): "scoring raised RuntimeError: cannot score"}


def test_a_result_is_stored_before_it_is_seen(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        for seen, _ in enumerate(Resuming(engine=Engine(), store=store).stream(score_chunk, scoring(Noisy(), 9)), 1):
            assert summary_of(tmp_path).n_stored >= seen


@pytest.mark.parametrize("function", [score_chunk, draw_chunk])
def test_a_chunk_that_failed_is_stored_as_failed_and_not_drawn_again(tmp_path: Path, function: Any) -> None:
    def calls(deletion: Noisy) -> list[tuple[Any, ...]]:
        return scoring(deletion, 9) if function is score_chunk else [(deletion, task(i)) for i in range(9)]

    with a_store(tmp_path) as store:
        first = streamed(store, function, calls(Noisy(fails_at=3)))
    found = summary_of(tmp_path)
    assert (found.n_stored, found.n_failed) == (9, 6)
    assert damage_in(tmp_path) == ()
    well = Noisy()
    with a_store(tmp_path) as store:
        again = streamed(store, function, calls(well))
        assert well.draws == []
        for i in range(3, 9):
            assert str(trial_error(task(i), again[i])) == str(trial_error(task(i), first[i]))
            assert again[i].traceback == first[i].traceback
            assert "out of luck" in again[i].message
        store.forget_failed()
        assert (store.n_stored, sorted(streamed(store, function, calls(well)))) == (3, list(range(9)))
    assert len(well.draws) == 6


def test_what_is_wrong_with_the_users_input_is_not_stored_as_a_failed_trial(tmp_path: Path) -> None:
    error = NotApplicableError("no such world")
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(Noisy(fails_at=0, error=error), 2))
        assert store.n_stored == 0


def test_releases_lie_beside_the_store_and_come_back_mapped(tmp_path: Path) -> None:
    deletion = Noisy()
    calls = [(deletion, task(i)) for i in range(3)]
    keeping = [(deletion, {KEY: Column()}, task(i), i > 0) for i in range(3)]
    with a_store(tmp_path) as store:
        first, scored = streamed(store, draw_chunk, calls), streamed(store, draw_and_score, keeping)
    with a_store(tmp_path) as store:
        again, scored_again = streamed(store, draw_chunk, calls), streamed(store, draw_and_score, keeping)
        assert all(isinstance(again[i], np.memmap) for i in range(3))
    assert len(deletion.draws) == 6
    for i in range(3):
        assert again[i].tobytes() == first[i].tobytes()
        assert same(scored_again[i][0], scored[i][0])
        assert np.array_equal(scored_again[i][1].ravel(), scored[i][1].ravel())
    # A chunk whose releases were not asked for before: nothing of it is drawn twice but that one.
    with a_store(tmp_path) as store:
        more = streamed(store, draw_and_score, [(*call[:3], True) for call in keeping])
    assert len(deletion.draws) == 7
    assert more[0][1].tobytes() == first[0].tobytes()
    for path in (tmp_path / "audit-store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_calls_of_other_functions_all_run(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        assert streamed(store, pow, [(2, 3), (3, 2)]) == {0: 8, 1: 9}
        assert Resuming(engine=Engine(n_jobs=3), store=store).n_jobs == 3
        assert store.n_stored == 0


def test_releases_without_room_are_drawn_again_and_said_once(tmp_path: Path) -> None:
    deletion, said = Noisy(), list[str]()
    calls = [(deletion, task(i)) for i in range(2)]
    with a_store(tmp_path, said, most_release_bytes=100) as store:
        for _ in range(2):
            streamed(store, draw_chunk, calls)
            streamed(store, score_chunk, scoring(deletion, 2))
        assert store.n_stored == 2
    assert len(deletion.draws) == 6
    assert len(said) == 1
    assert "are not kept: going on after an interruption will draw them again" in said[0]
    assert list(releases_folder(tmp_path).iterdir()) == []


def test_releases_of_no_row_and_half_written_ones_are_cleared(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        streamed(store, draw_chunk, [(Noisy(), task(0))])
    (kept,) = releases_folder(tmp_path).iterdir()
    for name in ("fit-a-b-0-9.npy", "fit-a-b-0-8.npy.partial"):
        (releases_folder(tmp_path) / name).write_bytes(b"half")
    with a_store(tmp_path):
        assert list(releases_folder(tmp_path).iterdir()) == [kept]


def test_damaged_releases_are_drawn_again(tmp_path: Path) -> None:
    deletion = Noisy()
    with a_store(tmp_path) as store:
        first = streamed(store, draw_chunk, [(deletion, task(0))])
    (path,) = releases_folder(tmp_path).iterdir()
    flip(path, path.stat().st_size - 3)
    assert damage_in(tmp_path) == (
        "Releases missing or not what was stored: world unlearned, forget set 0, chunk 0 (fit).",
    )
    with a_store(tmp_path) as store:
        again = streamed(store, draw_chunk, [(deletion, task(0))])
    assert len(deletion.draws) == 2
    assert again[0].tobytes() == first[0].tobytes()
    assert damage_in(tmp_path) == ()


def test_a_flipped_score_is_named_and_drawn_again(tmp_path: Path) -> None:
    deletion, said = Noisy(), list[str]()
    with a_store(tmp_path) as store:
        found = streamed(store, score_chunk, scoring(deletion))
    path = database(tmp_path)
    flip(path, place_of(path, found[2].scores[KEY].tobytes()) + 4)
    assert damage_in(tmp_path) == ("Not what was stored: world unlearned, forget set 0, chunk 2 (count).",)
    assert [whole for _, whole in rows_in(tmp_path)] == [True, True, False, True]
    with a_store(tmp_path, said) as store:
        assert store.n_stored == 3
        again = streamed(store, score_chunk, scoring(deletion))
    assert said == [f"Damaged in {tmp_path}, and to be drawn again: world unlearned, forget set 0, chunk 2 (count)."]
    assert len(deletion.draws) == 5
    assert all(same(again[i], found[i]) for i in range(4))
    assert damage_in(tmp_path) == ()


def test_whatever_byte_is_flipped_no_wrong_score_comes_back(tmp_path: Path) -> None:
    """Refused, named, drawn again or of no account: never another number, and never another error."""
    deletion = Noisy()
    with a_store(tmp_path / "whole") as store:
        found = streamed(store, score_chunk, scoring(deletion))
    content = database(tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(content), 60, replace=False):
        folder = tmp_path / str(place)
        releases_folder(folder).mkdir(parents=True)
        database(folder).write_bytes(content)
        flip(database(folder), int(place))
        again = {}
        with contextlib.suppress(InvalidInputError), a_store(folder) as store:
            again = streamed(store, score_chunk, scoring(deletion))
        refused += not again
        assert all(same(again[i], found[i]) for i in again), place
    assert refused < 60


@pytest.mark.parametrize("left", [0.9, 0.5])
def test_a_truncated_file_is_refused_and_what_can_be_read_is(tmp_path: Path, left: float) -> None:
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(Noisy(), 200))
    path = database(tmp_path)
    os.truncate(path, int(left * path.stat().st_size) // 4096 * 4096)
    size = path.stat().st_size
    with pytest.raises(InvalidInputError, match=r"a damaged file .*store export .* and start anew by --fresh"):
        a_store(tmp_path).__enter__()
    assert path.stat().st_size == size
    assert damage_in(tmp_path)
    n_read = sum(whole for _, whole in rows_in(tmp_path))
    assert 0.5 * left * 200 < n_read < 200
    with a_store(tmp_path, fresh=True) as store:
        assert store.n_stored == 0


def test_no_database_an_other_one_and_a_newer_one_are_refused(tmp_path: Path) -> None:
    path = database(tmp_path)
    path.parent.mkdir()
    path.write_text("something else entirely, and long enough to be taken for a page\n" * 100)
    with pytest.raises(InvalidInputError, match="not a database"):
        a_store(tmp_path).__enter__()
    assert "something else" in path.read_text()
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    with pytest.raises(InvalidInputError, match="got another database"):
        a_store(tmp_path).__enter__()
    connection.execute("DROP TABLE mine")
    connection.close()
    path.unlink()
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(Noisy()))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    for look in (lambda: a_store(tmp_path).__enter__(), lambda: summary_of(tmp_path)):
        with pytest.raises(InvalidInputError, match=f"of version {SCHEMA}, got of version 7"):
            look()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (4,)
    connection.close()


def test_a_full_disk_ends_the_storing_and_not_the_run(tmp_path: Path) -> None:
    deletion, said = Noisy(), list[str]()
    with a_store(tmp_path, said) as store:
        streamed(store, score_chunk, scoring(deletion, 2))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        found = streamed(store, score_chunk, scoring(deletion, 60))
        store.finish("{}")
    assert len(found) == 60
    assert len(said) == 1
    assert "disk is full" in said[0]
    assert "The run goes on without it; what is stored stays." in said[0]
    stored = summary_of(tmp_path)
    assert 2 <= stored.n_stored < 60
    assert not stored.finished
    # With room again the rest is drawn and stored.
    before = len(deletion.draws)
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(deletion, 60))
    assert len(deletion.draws) - before == 60 - stored.n_stored


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_store(tmp_path):
        pass
    usual = sqlite3.connect

    def read_only(path: Any, **options: Any) -> sqlite3.Connection:
        return usual(f"{Path(path).as_uri()}?mode=ro", uri=True, **options)

    with monkeypatch.context() as patched:
        patched.setattr(opening.sqlite3, "connect", read_only)
        with pytest.raises(InvalidInputError, match=r"a file that can be written, got .*readonly"):
            a_store(tmp_path).__enter__()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="a file that can be written"):
        a_store(tmp_path / "file").__enter__()


def hold(folder: Path, **changes: Any) -> holding.Holder:
    holder = replace(holding.this_process(), **changes)
    connection = sqlite3.connect(database(folder))
    with connection:
        connection.execute("DELETE FROM holder")
        values = (holder.pid, holder.started, holder.host, holder.place, holder.since)
        connection.execute("INSERT INTO holder VALUES (?, ?, ?, ?, ?)", values)
    connection.close()
    return holder


def test_a_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with a_store(tmp_path):
        mine = holding.this_process()
        said = f"process {mine.pid} on {mine.host}, since "
        with pytest.raises(InvalidInputError, match=r"to be free, got one that another run writes to") as refused:
            a_store(tmp_path).__enter__()
        assert said in str(refused.value)
        with pytest.raises(InvalidInputError, match="to be free"):
            a_store(tmp_path, fresh=True).__enter__()
        assert said in str(summary_of(tmp_path).holder)
    assert summary_of(tmp_path).holder is None
    with a_store(tmp_path):
        pass


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"pid": 2**22 + 1}, True),  # no such process
        ({"started": "1"}, True),  # another process has its number now
        ({"host": "elsewhere"}, False),
        ({"place": "another start|pid:[1]"}, True),  # before this machine was started again
        ({"pid": 2**22 + 1, "host": "elsewhere"}, False),
    ],
)
def test_a_dead_writer_holds_nothing_and_one_of_another_machine_may(
    tmp_path: Path, changes: dict[str, Any], free: bool
) -> None:
    if not holding.this_process().place:
        pytest.skip("this system does not tell when a process began")
    with a_store(tmp_path):
        pass
    holder = hold(tmp_path, **changes)
    if free:
        with a_store(tmp_path):
            return
    with pytest.raises(InvalidInputError, match=re.escape(str(holder))) as refused:
        a_store(tmp_path).__enter__()
    assert f"store purge --lock {tmp_path}" in str(refused.value)
    opening.free(tmp_path)
    with a_store(tmp_path):
        pass


def test_a_store_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        streamed(store, score_chunk, scoring(Noisy()))
    for identity, said in (
        ({"plan": {"seed": 2}}, "plan.seed: stored 1, now 2"),
        ({"plan": {"seed": 1, "trials": 5}}, "plan.trials: stored nothing, now 5"),
        ({"plan": {}}, "plan.seed: stored 1, now nothing"),
    ):
        with pytest.raises(InvalidInputError) as refused:
            opened(Storage(folder=tmp_path), lambda identity=identity: identity, n_chunks=1).__enter__()  # type: ignore[misc]
        assert said in str(refused.value)
        assert "--fresh" in str(refused.value)
    with a_store(tmp_path) as store:
        assert store.n_stored == 4


def test_a_finished_run_keeps_its_result_and_drops_its_releases(tmp_path: Path) -> None:
    for keep in (False, True):
        folder = tmp_path / str(keep)
        with a_store(folder, keep_releases=keep) as store:
            streamed(store, draw_chunk, [(Noisy(), task(0))])
            assert store.result is None
            store.finish('{"found": "ü"}')
            assert store.result == '{"found": "ü"}'
        assert len(list(releases_folder(folder).iterdir())) == keep
        assert damage_in(folder) == ()
        found = summary_of(folder)
        assert (found.finished, found.n_stored, found.n_chunks) == (True, 1, 10)
        with a_store(folder) as store:
            assert store.result == '{"found": "ü"}'
        flip(database(folder), place_of(database(folder), b'{"found"'))
        with a_store(folder) as store:
            assert store.result is None
    assert stores_below(tmp_path) == (tmp_path / "False", tmp_path / "True")
    with pytest.raises(InvalidInputError, match="the folder of a run with a store"):
        stores_below(tmp_path / "False" / "audit-store")


def test_a_temporary_store_leaves_nothing_and_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    deletion = Noisy()
    for _ in range(2):
        with a_store(None) as store:
            streamed(store, score_chunk, scoring(deletion))
            streamed(store, score_chunk, scoring(deletion))
            assert store.n_stored == 4
    assert len(deletion.draws) == 8
    assert list(tmp_path.iterdir()) == []


SMALL = RidgeLangevin(sigma_unlearn=0.01, n_learn=5, n_unlearn=2, sampler="closed_form")


def small_plan(**changes: Any) -> audit.AuditPlan:
    claims = (Claim(guarantee=GaussianDP(mu=0.5)),)
    return audit.AuditPlan(
        **{"claims": claims, "forget": ((3,), (5,)), "attacks": ("lda", "target_loss"), "trials": 60, **changes}
    )


def text_of(result: audit.AuditResult) -> str:
    found = json.loads(result.to_json())
    del found["environment"]
    return json.dumps(found)


class Enough(BaseException):
    """Stops a run from its progress."""


def stop_after(n: int) -> Callable[[str, int, int], None]:
    calls: list[str] = []

    def progress(phase: str, done: int, total: int) -> None:
        calls.append(phase)
        if len(calls) == n:
            raise Enough

    return progress


@pytest.mark.parametrize(
    ("counting", "stops"), [(audit.Split(), (1, 7, 19, 31)), (audit.Sequential(first_fit=20), (1, 5, 10, 14))]
)
def test_a_run_that_is_stopped_again_and_again_gives_the_result_of_one_that_is_not(
    tmp_path: Path, counting: Any, stops: tuple[int, ...]
) -> None:
    data, plan = load_named("diabetes"), small_plan(counting=counting, forget=((3,),))
    expected = text_of(audit.run(SMALL, data, plan))
    said: list[str] = []
    storage = Storage(folder=tmp_path, say=said.append)
    n_stored = [0]
    for n in stops:
        with pytest.raises(Enough):
            audit.run(SMALL, data, plan, store=storage, progress=stop_after(n))
        n_stored.append(summary_of(tmp_path).n_stored)
    assert n_stored == sorted(n_stored)
    assert n_stored[-1] > n_stored[1]
    # With more workers than before: waves of chunks are longer.
    engine = Engine(n_jobs=2 if isinstance(counting, audit.Sequential) else 1)
    assert text_of(audit.run(SMALL, data, plan, store=storage, engine=engine)) == expected
    found = summary_of(tmp_path)
    most = "at most " if isinstance(counting, audit.Sequential) else ""
    assert said[-1] == f"Going on: {n_stored[-1]} of {most}{found.n_chunks} chunks are stored in {tmp_path}."
    assert found.finished
    assert found.n_stored <= found.n_chunks
    if isinstance(counting, audit.Split):
        assert found.n_stored == found.n_chunks
    # Finished: nothing is drawn, and what it is called may change.
    again = audit.run(SMALL, data, plan, store=storage, title="Called otherwise", progress=stop_after(1))
    assert said[-1].startswith("This run is finished")
    assert again.title == "Called otherwise"
    assert text_of(replace(again, title=f"Audit of {SMALL.name} on diabetes")) == expected


def test_another_plan_mechanism_and_data_are_refused(tmp_path: Path) -> None:
    data = load_named("diabetes")
    audit.run(SMALL, data, small_plan(), store=tmp_path)
    for mechanism, on, plan, said in (
        (SMALL, data, small_plan(trials=80), "plan.trials: stored 60, now 80"),
        (SMALL, data, small_plan(chunk_size=2), "plan.chunk_size: stored 1000, now 2"),
        (SMALL, data, small_plan(attacks=("lda",)), "plan.attacks: stored "),
        (replace(SMALL, sigma_unlearn=0.02), data, small_plan(), "mechanism.sigma_unlearn: stored 0.01, now 0.02"),
        (SMALL, data.without((9,)), small_plan(), "data.sha256: changed since"),
    ):
        with pytest.raises(InvalidInputError, match="got that of another one") as refused:
            audit.run(mechanism, on, plan, store=tmp_path)
        assert said in str(refused.value)
    assert summary_of(tmp_path).holder is None


def test_row_keys_say_which_chunk() -> None:
    assert str(RowKey(**PLACE)) == "world unlearned, forget set 0, chunk 3 (count)"  # type: ignore[arg-type]
    control = RowKey(**{**PLACE, "stream": "null_control"})  # type: ignore[arg-type]
    assert str(control) == "world unlearned, forget set 0, chunk 3, stream null_control (count)"
