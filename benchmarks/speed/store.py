"""What a store costs, and how fast a run goes on: ``python benchmarks/speed/store.py [--out FILE.md]``.

Three numbers, each beside the same work without a store, in one run: the time of chunks of 0.2 s, drawn in this process
and by two workers; reading back 1,000,000 scores; and going on with an audit of which 1,000 chunks are stored.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import audit
from audit.trials.chunks import ChunkTask, Source, Stream, score_chunk
from audit.trials.engines import Streams, results
from audit.trials.rows import RowKey, scored_chunk
from audit.trials.store import Storage, Store
from audit.trials.storing.opening import database, opened
from audit.trials.storing.resuming import Resuming
from mechanisms import Claim, GaussianDP, from_arrays
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge import RidgeLangevin

SECONDS, N_TIMED, N_SCORES, N_CHUNKS = 0.2, 25, 1000, 1000
ROUNDS = 3
KEY = ((0, 0), "first")


@dataclass(frozen=True, kw_only=True)
class Busy:
    """A mechanism that computes for so many seconds a chunk, by the clock."""

    seconds: float
    release: ReleaseSpec = ReleaseSpec(shape=(8,))
    reference: None = None

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> np.ndarray:
        end = time.perf_counter() + self.seconds
        releases = rng.standard_normal((n, *self.release.shape))
        while time.perf_counter() < end:
            np.dot(releases, releases[:8].T)
        return releases


@dataclass(frozen=True)
class First:
    """A fitted attack: the first number of a release."""

    def score(self, releases: np.ndarray) -> np.ndarray:
        return releases[:, 0]


def task(chunk: int) -> ChunkTask:
    source = Source(stream=Stream.RELEASES, world=World.UNLEARNED, record=0)
    return ChunkTask(seed=1, source=source, chunk=chunk, n=N_SCORES)


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    with opened(Storage(folder=folder), lambda: {"of": "a benchmark"}, n_chunks=N_CHUNKS) as found:
        yield found


def seconds_of(engine: Streams, seconds: float, n: int) -> float:
    calls = [(Busy(seconds=seconds), {KEY: First()}, task(i)) for i in range(n)]
    began = time.perf_counter()
    n_done = len(dict(results(engine.stream(score_chunk, calls))))
    return (time.perf_counter() - began) * n / n_done


def overhead(n_jobs: int, folder: Path) -> tuple[float, float]:
    """Return the median seconds of a chunk without and with a store, in turns."""
    plain, stored = [], []
    engine = audit.Engine(n_jobs=n_jobs)
    seconds_of(engine, 0.01, 2 * n_jobs)
    for i in range(ROUNDS):
        plain.append(seconds_of(engine, SECONDS, N_TIMED) / N_TIMED)
        with store(folder / f"{n_jobs}-{i}") as found:
            stored.append(seconds_of(Resuming(engine=engine, store=found), SECONDS, N_TIMED) / N_TIMED)
    return statistics.median(plain), statistics.median(stored)


def reading(folder: Path) -> tuple[float, float]:
    """Return the seconds to read 1,000,000 scores back, and those of the chunks' arithmetic alone."""
    with store(folder) as found:
        bare = seconds_of(audit.Engine(), 0.0, N_CHUNKS)
        seconds_of(Resuming(engine=audit.Engine(), store=found), 0.0, N_CHUNKS)
    times = []
    with store(folder) as found:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            rows = (found.read(RowKey.of("count", task(i))) for i in range(N_CHUNKS))
            chunks = [scored_chunk(row, (KEY,)) for row in rows if row is not None]
            n_read = sum(len(chunk.scores[KEY]) for chunk in chunks if chunk is not None)
            times.append((time.perf_counter() - began) * N_SCORES * N_CHUNKS / n_read)
    return statistics.median(times), bare


def going_on(folder: Path, *, trials: int = 480_000) -> tuple[int, float, float, float]:
    """Return how many chunks are stored, and the seconds of a whole run, of going on, and of rendering its result."""
    rng = np.random.default_rng(0)
    data = from_arrays(rng.standard_normal((60, 4)), rng.standard_normal(60), name="noise")
    mechanism = RidgeLangevin(sigma_unlearn=0.05, n_learn=40, n_unlearn=5, sampler="closed_form")
    plan = audit.AuditPlan(
        claims=(Claim(guarantee=GaussianDP(mu=2.0)),), forget=((3,),), attacks=("target_loss",), trials=trials
    )

    def run() -> float:
        began = time.perf_counter()
        audit.run(mechanism, data, plan, store=Storage(folder=folder, keep_releases=True))
        return time.perf_counter() - began

    whole = run()
    finished = run()
    forget_result(folder)
    times = []
    for _ in range(ROUNDS):
        times.append(run())
        n_stored = forget_result(folder)
    return n_stored, whole, statistics.median(times), finished


def forget_result(folder: Path) -> int:
    """Make a finished run, whose releases were kept, one that was stopped after its last chunk."""
    connection = sqlite3.connect(database(folder))
    with connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'result%'")
        n = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    connection.close()
    return n


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=None)
    out = parser.parse_args().out
    lines = [f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, medians of {ROUNDS}", ""]
    with tempfile.TemporaryDirectory(dir=out.parent if out else None) as name:
        folder = Path(name)
        for n_jobs in (1, 2):
            plain, stored = overhead(n_jobs, folder)
            share = 100 * (stored / plain - 1)
            lines.append(
                f"* chunks of {SECONDS} s, {n_jobs} at a time: {1e3 * plain:.2f} ms each without a store, "
                f"{1e3 * stored:.2f} ms with one: {share:+.2f} %"
            )
        read, bare = reading(folder / "reading")
        lines.append(
            f"* {N_SCORES * N_CHUNKS:,} scores of {N_CHUNKS:,} chunks: read back in {read:.3f} s "
            f"({bare:.2f} s to make them in this process, which compute nothing)"
        )
        n, whole, again, finished = going_on(folder / "run")
        lines.append(
            f"* an audit of {n:,} chunks: {whole:.1f} s whole, {again:.2f} s to go on when all are stored, "
            f"{finished:.2f} s to read its result when it is finished"
        )
    text = "\n".join(["# The store", "", *lines, ""])
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
