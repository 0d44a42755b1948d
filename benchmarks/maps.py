"""Maps of all records in lockstep against one record at a time, both in one run, chunk by chunk in turn.

    python benchmarks/maps.py --data mnist.npz            # five minutes
    python benchmarks/maps.py --data mnist.npz --all      # and the map of all 60,000 records

``krylov.py`` says what the file holds. Seconds are of processor, one thread. Targets: calibration on digits at least 5
times faster, on 2,000 images of MNIST at least 2, equal to a share 1e-6 and never a smaller noise; the map of 60,000
records at most 180 s on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from krylov import DELTA, MECHANISM, every_record, load, make_setup
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mechanisms.ridge.privacy_map import CHUNK
from mechanisms.ridge.reduced.bounded_pairs import epsilons_of
from mechanisms.ridge.reduced.krylov import KrylovSetup, reduce_with_pairs
from mechanisms.ridge.reduced.lockstep import Lockstep
from mechanisms.ridge.reduced.one_by_one import OneByOne
from mechanisms.ridge.reduced.together import reduce_together
from mechanisms.sources import load_named

Array = NDArray[np.float64]
Records = NDArray[np.intp]


def seconds(function: Callable[[], Array]) -> tuple[float, Array]:
    """Return the processor time of a call, and what it returned."""
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def map_together(setup: KrylovSetup, records: Records, sigma: float) -> Array:
    """Return both directions' epsilons of records, worked on together."""
    projected, found = setup.project(records), np.full((len(records), 2), np.nan)
    for group in reduce_together(setup, projected, setup.data.targets[records], sigma_unlearn=sigma)[0]:
        found[group.which] = group.after.epsilons(DELTA)
        group.before.epsilons(DELTA)
    return found


def map_one_by_one(setup: KrylovSetup, records: Records, sigma: float, size: list[int]) -> Array:
    """Return the same, compressed one record at a time as maps were before."""
    pairs = []
    for record, features in zip(records.tolist(), setup.project(records), strict=True):
        reduced, *both = reduce_with_pairs(
            setup, (record,), sigma_unlearn=sigma, first_size=size[0] if size else None, projected=features[None]
        )
        size[:] = [min([*size, reduced.size])]
        pairs.append(both)
    after, _ = (epsilons_of(each, DELTA) for each in zip(*pairs, strict=True))
    return after


def side_by_side(name: str, setup: KrylovSetup, records: Records, target: float, sigma: float) -> None:
    """Print a calibration and a map of records by both ways."""
    fast = Lockstep(setup=setup, target=target, delta=DELTA)
    slow = OneByOne(setup=setup, target=target, delta=DELTA)
    start, size, totals, ratios, differences = setup.sigma_learn, [], np.zeros(4), [], []
    for chunk in np.split(records, range(CHUNK, len(records), CHUNK)):
        projected = setup.project(chunk)
        times = [
            seconds(lambda c=chunk, p=projected: slow.rows(c, p, start)),
            seconds(lambda c=chunk, p=projected: fast.rows(c, p, start)),
            seconds(lambda c=chunk: map_one_by_one(setup, c, sigma, size)),
            seconds(lambda c=chunk: map_together(setup, c, sigma)),
        ]
        totals += [took for took, _ in times]
        (alone, together), needed = (times[0][1][:, 0], times[1][1][:, 0]), times[0][1][:, 0] > 0
        ratios.extend(together[needed] / alone[needed] - 1)
        differences.append(np.nanmax(np.abs(times[3][1] / times[2][1] - 1)))
    each = totals / len(records) * 1e3
    noises = f"{np.min(ratios):.1e} to {np.max(ratios):.1e} of the noise"
    epsilons = f"at most {max(differences):.1e} of epsilon"
    for what, before, now, last in ((f"calibrate to {target:g}", *each[:2], noises), ("map", *each[2:], epsilons)):
        print(
            f"| {name} | {what} | {len(records)} | {before:.1f} | {now:.1f} | {before / now:.1f} | {last} |", flush=True
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="npz file with X_train and y_train")
    parser.add_argument("--all", action="store_true", help="the map of all 60,000 records as well")
    parser.add_argument("--records", type=int, default=256, help="of each data set, evenly spaced")
    arguments = parser.parse_args()
    print("| data | what | records | ms, one at a time | ms, together | ratio | together against one at a time |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(1):
        digits = load_named("digits")
        mechanism = replace(MECHANISM, sigma_learn=0.003)
        setup = KrylovSetup.of(
            digits,
            penalty=mechanism.penalty,
            n_learn=mechanism.n_learn,
            n_unlearn=mechanism.n_unlearn,
            sigma_learn=mechanism.sigma_learn,
        )
        for name, each, target in (("digits", setup, 0.5), ("MNIST", make_setup(load(arguments.data, 2000)), 0.25)):
            records = np.linspace(0, each.data.n_records - 1, arguments.records).astype(np.intp)
            side_by_side(name, each, records, target, 0.01)
    if arguments.all:
        every_record(load(arguments.data, None), None, "target 180 s")


if __name__ == "__main__":
    main()
