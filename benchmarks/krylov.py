"""Speed, accuracy and memory of the reduced certificate on MNIST, next to the dense route in one run.

    python benchmarks/krylov.py --data mnist.npz          # a minute or two
    python benchmarks/krylov.py --data mnist.npz --all    # and all 60,000 records, ten minutes

The file holds ``X_train`` (images of unsigned bytes) and ``y_train``. Pixels / 255, a column of ones, one-hot labels.
Targets on two cores: a set-up of at most 10 s; one record, both directions, at most 12 ms and at least 30 times faster
than the dense route, epsilon equal to 1e-9; 2,000 records in at most 20 s; 60,000 in at most 10 minutes under 4 GB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from memory import PeakMemory
from threadpoolctl import threadpool_limits

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset
from mechanisms.ridge.certificates import exact_pair, pair_without_unlearning
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.laws import RidgeLaws
from mechanisms.ridge.privacy_map import calibrate_map, privacy_map
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.reduced.krylov import KrylovSetup, reduce_deletion, reduced_pair

DELTA = 1e-5
MECHANISM = RidgeLangevin(penalty=1.0, n_learn=300, n_unlearn=30, sigma_learn=0.01, sigma_unlearn=0.01)
SIGMA = 0.01
SIZES = (8, 16, 24, 32, 40, 48)


def load(path: Path, rows: int | None) -> Dataset:
    """Return MNIST's first rows."""
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["X_train"][:rows], archive["y_train"][:rows]
    features = np.ones((len(images), images[0].size + 1))
    np.divide(images.reshape(len(images), -1), 255.0, out=features[:, :-1])
    return Dataset(name="mnist", features=features, targets=np.eye(10)[labels.astype(int)], kind="classification")


def make_setup(data: Dataset) -> KrylovSetup:
    """Return the set-up of the benchmark's mechanism."""
    return KrylovSetup.of(
        data,
        penalty=MECHANISM.penalty,
        n_learn=MECHANISM.n_learn,
        n_unlearn=MECHANISM.n_unlearn,
        sigma_learn=MECHANISM.sigma_learn,
    )


def milliseconds(functions: list[Callable[[], object]]) -> tuple[float, float]:
    """Return the median wall and processor time of calls."""
    wall, processor = [], []
    for function in functions:
        start, start_processor = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return float(np.median(wall)) * 1e3, float(np.median(processor)) * 1e3


def dense_laws(setup: KrylovSetup, record: int) -> RidgeLaws:
    """Return the p x p laws of one deletion."""
    process = RidgeProcess(
        data=setup.data,
        retained=setup.data.without((record,)),
        deleted=setup.data.take((record,)),
        penalty=setup.penalty,
        step_size=setup.step_size,
        n_learn=setup.n_learn,
        n_unlearn=setup.n_unlearn,
        sigma_learn=setup.sigma_learn,
        sigma_unlearn=SIGMA,
        reference=MECHANISM.reference,
    )
    return RidgeLaws.of(process)


def both(pair: GaussianPair) -> tuple[float, float]:
    """Return both directions' epsilons."""
    return pair.epsilon(DELTA), pair.reversed().epsilon(DELTA)


def one_record(data: Dataset) -> KrylovSetup:
    """Print the time of a set-up and of one record by both routes, and how their epsilons differ."""
    start = time.perf_counter()
    setup = make_setup(data)
    print(f"set-up, {data.n_records} x {data.features.shape[1]}             {time.perf_counter() - start:9.2f} s")
    records = np.linspace(0, data.n_records - 1, 40).astype(int).tolist()
    with threadpool_limits(1):
        reduce_deletion(setup, (0,), sigma_unlearn=SIGMA).epsilon(DELTA, SIGMA)
        all_in = milliseconds([lambda i=i: reduced_pair(setup, (i,), SIGMA)[0].epsilons(DELTA) for i in records])
        reduction = milliseconds([lambda i=i: reduce_deletion(setup, (i,), sigma_unlearn=SIGMA) for i in records])
        dense = milliseconds([lambda i=i: both(exact_pair(dense_laws(setup, i))) for i in records[:3]])
    print(f"one record, reduction alone        {reduction[0]:9.2f} ms ({reduction[1]:.2f} ms of processor)")
    print(f"one record, both directions        {all_in[0]:9.2f} ms ({all_in[1]:.2f} ms; target 12)")
    print(f"one record, dense route            {dense[0]:9.2f} ms ({dense[1]:.2f} ms)")
    print(f"dense / reduced                    {dense[0] / all_in[0]:9.0f}    (target at least 30)")
    return setup


def accuracy(setup: KrylovSetup) -> None:
    """Print epsilon against the size of the space, next to the dense route."""
    print("\nrecord size   epsilon P|Q     relative to dense: P|Q, Q|P, the same without unlearning; raised by (nats)")
    for record in (5, 17, 1000):
        laws = dense_laws(setup, record)
        dense = np.array([*both(exact_pair(laws)), *both(pair_without_unlearning(laws))])
        for size in (*SIZES, None):
            reduced = reduce_deletion(setup, (record,), sigma_unlearn=SIGMA, size=size)
            after, before = reduced.bounded_pair(SIGMA), reduced.bounded_pair(0.0)
            found = np.array([*after.epsilons(DELTA), *before.epsilons(DELTA)])
            best = [*both(after.pair), *both(before.pair)]
            shown = " ".join(f"{v:9.1e}" for v in found / dense - 1)
            raised = after.error(DELTA, float(found[1]))
            label = "chosen" if size is None else ""
            print(f"{record:6} {reduced.size:4} {found[0]:14.10f}   {shown}   {raised:8.1e} {label}")
            print(f"{'unraised':>11} {best[0]:14.10f}   " + " ".join(f"{v:9.1e}" for v in np.array(best) / dense - 1))


def processor_seconds() -> float:
    """Return the processor time of this process and its children so far."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    return total


def every_record(data: Dataset, setup: KrylovSetup | None, target: str) -> None:
    """Print time and memory of the map of all records on two workers, the set-up included where it is not given."""
    with PeakMemory(every=2.0) as watched:
        start, before = time.perf_counter(), processor_seconds()
        found = privacy_map(data, MECHANISM, delta=DELTA, n_jobs=2, setup=setup)
        seconds, processor = time.perf_counter() - start, processor_seconds() - before
    quantiles = np.quantile(found.two_sided, [0.0, 0.5, 1.0])
    print(
        f"map of {data.n_records} records, two workers {seconds:9.1f} s ({processor:.1f} s of processor), "
        f"{watched.peak:.2f} GB peak ({target})\n"
        f"    epsilon {quantiles[0]:.3g} / {quantiles[1]:.3g} / {quantiles[2]:.3g} (least, median, largest), "
        f"largest share raised {np.max(found.error[:, 0] / found.two_sided):.1e}",
        flush=True,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="npz file with X_train and y_train")
    parser.add_argument("--all", action="store_true", help="all 60,000 records as well")
    arguments = parser.parse_args()
    data = load(arguments.data, 2000)
    setup = one_record(data)
    every_record(data, None, "targets 20 s")
    start = time.perf_counter()
    calibrated = calibrate_map(data, MECHANISM, epsilon=0.25, delta=DELTA, records=range(200), n_jobs=2, setup=setup)
    print(
        f"200 records calibrated to 0.25     {time.perf_counter() - start:9.1f} s, "
        f"{np.mean(calibrated.sigma_unlearn > 0):.0%} need noise",
        flush=True,
    )
    if arguments.all:
        every_record(load(arguments.data, None), None, "targets 10 minutes, 4 GB")
    accuracy(setup)


if __name__ == "__main__":
    main()
