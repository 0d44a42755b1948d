"""Time and accuracy of the certificate of a stream of five requests, p = 785 and q = 10, after set-up.

    python benchmarks/streams.py                    # features with a falling spectrum
    python benchmarks/streams.py --data mnist.npz   # the first 2,000 images

Target: under 150 ms, and equal to the law in full to 1e-9. 300 learning steps, and 30 for each request. The time is the
least of seven, on as many cores as BLAS takes; ``--first`` measures the first row of the table alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from krylov import load

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


def measure(data: Dataset, sigma_learn: float, sigma: float) -> str:
    """Return a row of the table."""
    setup = KrylovSetup.of(data, penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=sigma_learn)
    phases = [Phase(request=(record,), n_steps=30, sigma=sigma) for record in REQUESTS]
    times = []
    for _ in range(7):
        started = time.perf_counter()
        reduced = reduce_stream(setup, phases)
        found = reduced.epsilon(DELTA, sigma)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    table = stream_epsilons(setup, phases, DELTA)
    whole = time.perf_counter() - started
    process = RidgeLangevin(penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=sigma_learn).process(data, (0,))
    started = time.perf_counter()
    dense = stream_pair(process, phases)
    exact = max(dense.epsilon(DELTA), dense.reversed().epsilon(DELTA))
    in_full = time.perf_counter() - started
    best = reduced.bounded_pair(sigma).pair
    apart = abs(max(best.epsilon(DELTA), best.reversed().epsilon(DELTA)) / exact - 1)
    return (
        f"| {sigma_learn:g} | {sigma:g} | {', '.join(f'{e:.3f}' for e in table)} | {reduced.size} | "
        f"{1e3 * min(times):.0f} | {1e3 * whole:.0f} | {in_full:.1f} | {apart:.0e} | {found / exact - 1:.0e} |"
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
        "ms, all five | s, in full | relative difference | raised by |\n|---|---|---|---|---|---|---|---|---|"
    )
    for sigma_learn, sigma in ((0.01, 0.01), (0.0003, 0.003), (0.0003, 0.0001))[: 1 if arguments.first else None]:
        print(measure(data, sigma_learn, sigma), flush=True)


if __name__ == "__main__":
    main()
