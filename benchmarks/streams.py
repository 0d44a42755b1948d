"""Time and accuracy of the certificate of a stream of five requests, p = 785 and q = 10, after set-up.

    python benchmarks/streams.py                    # features with a falling spectrum
    python benchmarks/streams.py --data mnist.npz   # the first 2,000 images

Target: under 150 ms, and equal to the law in full to 1e-9. 300 learning steps, and 30 for each request. Times are of
processor, on one thread, the least of seven; the floor is the eigendecompositions and the products of a step of block
Lanczos with all rows before it, on matrices of the sizes that were needed. ``--first`` measures the first row alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from krylov import load
from threadpoolctl import threadpool_limits

from mechanisms.dataset import Dataset
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.streams.laws import stream_pair
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.reduced import reduce_stream, stream_epsilons

DELTA, REQUESTS = 1e-5, (291, 17, 123, 5, 900)


def falling(rows: int) -> Dataset:
    """Return Gaussian features whose spectrum falls as that of images does."""
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(785, 785)))[0]
    x = (rng.normal(size=(rows, 785)) / np.arange(1, 786) ** 0.9) @ rotation
    x *= 9 / np.linalg.norm(x, axis=1).mean()
    labels = rng.integers(0, 10, rows)
    return Dataset(name="falling spectrum", features=x, targets=np.eye(10)[labels], kind="classification")


def least(function: Callable[[], object]) -> float:
    """Return the least processor time of seven calls."""
    times = []
    for _ in range(7):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def linear_algebra(size: int, block: int) -> None:
    """Do what the release after a number of single requests cannot do without, on random numbers."""
    rng = np.random.default_rng(0)
    square, basis, waiting = rng.normal(size=(size, size)), rng.normal(size=(size, 785)), rng.normal(size=(block, 785))
    # One step map for the data and each request, and the ratios of variances.
    for _ in range(block + 2):
        np.linalg.eigh(square)
    for stop in range(block, size + 1, block):
        (waiting @ basis[:stop].T) @ basis[:stop]


def measure(data: Dataset, sigma_learn: float, sigma: float) -> str:
    """Return a row of the table."""
    setup = KrylovSetup.of(data, penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=sigma_learn)
    phases = [Phase(request=(record,), n_steps=30, sigma=sigma) for record in REQUESTS]
    with threadpool_limits(1):
        last = least(lambda: reduce_stream(setup, phases).epsilon(DELTA, sigma))
        whole = least(lambda: stream_epsilons(setup, phases, DELTA))
        table = stream_epsilons(setup, phases, DELTA)
        releases = [reduce_stream(setup, phases[: j + 1]) for j in range(len(phases))]
        floor = sum(least(lambda r=r, j=j: linear_algebra(r.size, j + 1)) for j, r in enumerate(releases))
    reduced = releases[-1]
    found = reduced.epsilon(DELTA, sigma)
    process = RidgeLangevin(penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=sigma_learn).process(data, (0,))
    started = time.perf_counter()
    dense = stream_pair(process, phases)
    exact = max(dense.epsilon(DELTA), dense.reversed().epsilon(DELTA))
    in_full = time.perf_counter() - started
    best = reduced.bounded_pair(sigma).pair
    apart = abs(max(best.epsilon(DELTA), best.reversed().epsilon(DELTA)) / exact - 1)
    epsilons = ", ".join(f"{e:.3f}" for e in table)
    milliseconds = " | ".join(f"{1e3 * seconds:.0f}" for seconds in (last, whole, floor))
    return (
        f"| {sigma_learn:g} | {sigma:g} | {epsilons} | {reduced.size} | {milliseconds} | {in_full:.1f} | {apart:.0e} | "
        f"{found / exact - 1:.0e} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    data = falling(arguments.rows) if arguments.data is None else load(arguments.data, arguments.rows)
    print(f"{data.name}, {data.n_records:,} records\n")
    print(
        "| noise, learning | noise, each request | ε after request 1 to 5 | dimension | ms, last release | "
        "ms, all five | ms, floor | s, in full | relative difference | raised by |"
    )
    print("|---" * 10 + "|")
    for sigma_learn, sigma in ((0.01, 0.01), (0.0003, 0.003), (0.0003, 0.0001))[: 1 if arguments.first else None]:
        print(measure(data, sigma_learn, sigma), flush=True)


if __name__ == "__main__":
    main()
