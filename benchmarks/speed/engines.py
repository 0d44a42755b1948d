"""Cost of handing out work, and what a lost worker costs, beside other pools, measured side by side in one run.

    python benchmarks/speed/engines.py                 # a minute
    pip install pebble; python benchmarks/speed/engines.py

Targets: two workers at least 90 % of ideal on a CPU-bound mechanism with chunks of 0.2 s; an ended worker costs its
call and no other, whatever its exit code.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from audit.trials.engines import Engine, results
from audit.trials.workers.pool import Failure

REPEATS = 5
Pool = Callable[[Callable[..., object], Sequence[tuple[object, ...]]], int]


def nothing(i: int) -> int:
    return i


def busy(seconds: float, i: int) -> float:
    """Compute on one core for so much of its own time, whatever else runs beside it; return the time that passed."""
    start, end = time.perf_counter(), time.process_time() + seconds
    while time.process_time() < end:
        sum(j * j for j in range(1000))
    return time.perf_counter() - start


def exits(code: int, i: int) -> int:
    if i == 5:
        os._exit(code)
    time.sleep(0.01)
    return i


def ours(function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> int:
    found = Engine(n_jobs=2).stream(function, calls)
    return sum(not isinstance(outcome, Failure) for _, outcome in found)


def joblib_loky(function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> int:
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=2, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    done = 0
    try:
        for _ in pool(delayed(function)(*call) for call in calls):
            done += 1
    except Exception:
        return done
    return done


def futures(function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> int:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for warm in [pool.submit(nothing, i) for i in range(4)]:
            warm.result()
        return _results([pool.submit(function, *call) for call in calls])


def pebble_pool(function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> int:
    import pebble

    with pebble.ProcessPool(2, context=multiprocessing.get_context("spawn")) as pool:
        return _results([pool.schedule(function, args=call, timeout=5) for call in calls])


def _results(asked: Sequence[object]) -> int:
    done = 0
    for future in asked:
        try:
            future.result(timeout=20)  # type: ignore[attr-defined]
            done += 1
        except Exception:
            continue
    return done


POOLS: dict[str, Pool] = {"this project": ours, "joblib (loky)": joblib_loky, "concurrent.futures": futures}
if importlib.util.find_spec("pebble") is not None:
    POOLS["pebble"] = pebble_pool


def cost_of_a_task(pool: Pool, n: int) -> float:
    """Return microseconds a task: what n more tasks take, so that starting the workers does not count."""
    few, many = [(i,) for i in range(10)], [(i,) for i in range(n + 10)]
    pool(nothing, few)
    costs = []
    for _ in range(REPEATS):
        costs.append(_seconds(pool, many) - _seconds(pool, few))
    return float(np.median(costs)) / n * 1e6


def _seconds(pool: Pool, calls: Sequence[tuple[object, ...]]) -> float:
    start = time.perf_counter()
    pool(nothing, calls)
    return time.perf_counter() - start


def shares(n_chunks: int, seconds: float) -> tuple[float, float]:
    """Return two medians of repeats: the time of one worker over twice that of two, and how much of it two computed.

    The first needs a machine that does nothing else; the second does not.
    """
    found = []
    calls = [(seconds, i) for i in range(n_chunks)]
    one, two = Engine(isolated=True), Engine(n_jobs=2)
    list(two.stream(nothing, [(0,), (1,)]))
    for _ in range(REPEATS):
        times, worked = [], 0.0
        for engine in (one, two):
            start = time.perf_counter()
            worked = sum(passed for _, passed in results(engine.stream(busy, calls)))
            times.append(time.perf_counter() - start)
        found.append((times[0] / (2 * times[1]), worked / (2 * times[1])))
    ratio, share = np.median(found, axis=0)
    return float(ratio), float(share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--chunks", type=int, default=20)
    arguments = parser.parse_args()
    costs = {name: cost_of_a_task(pool, arguments.tasks) for name, pool in POOLS.items()}
    print(f"{'':20}{'us a task':>12}{'ratio':>8}{'of 20 calls, one of which ends its worker, results after':>60}")
    for name, pool in POOLS.items():
        kept = []
        for code in (0, 3):
            start = time.perf_counter()
            done = pool(exits, [(code, i) for i in range(20)])
            kept.append(f"exit {code}: {done} in {time.perf_counter() - start:.1f} s")
        ratio = costs[name] / costs["joblib (loky)"]
        print(f"{name:20}{costs[name]:12.0f}{ratio:8.2f}{', '.join(kept):>60}", flush=True)
    ratio, share = shares(arguments.chunks, 0.2)
    print(f"two workers, chunks of 0.2 s: {100 * ratio:.1f} % of ideal, at work for {100 * share:.1f} % of the time")


if __name__ == "__main__":
    main()
