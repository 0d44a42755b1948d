"""Many networks at once or one after the other: what each costs, and what the rule chooses.

    python benchmarks/many_networks.py [--quick]

Processor time of one core for a step of one network: as people write it (``torch.optim.SGD``, one network after the
other), 16 or 32 together, and the choice of ``NetworkTraining`` in chunks of 32. Images are random numbers of the shape
of digits, MNIST and CIFAR. Ends with 1 where the choice is more than a tenth slower than one after the other.
benchmarks/results/many_networks.md has a table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from mechanisms.networks import NetworkTraining, small_cnn, small_mlp

SHAPES = {"digits": (1, 8), "mnist": (1, 28), "cifar": (3, 32)}
SLOWEST = 1.1
N = 1024


def networks(data: str) -> dict[str, Callable[[], nn.Module]]:
    """Networks for images of a data set."""
    channels, side = SHAPES[data]
    inputs = channels * side * side
    return {
        "cnn": partial(small_cnn, channels=channels, side=side),
        "mlp": partial(small_mlp, inputs=inputs),
        "wide mlp": partial(small_mlp, inputs=inputs, hidden=256),
    }


def by_hand(make: Callable[[], nn.Module], data: TensorDataset, size: int, n: int) -> None:
    """Train n networks for one epoch as people do."""
    for _ in range(n):
        model = make()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for positions in torch.randperm(len(data)).split(size):
            x, y = data.tensors[0][positions], data.tensors[1][positions]
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()


def learned(make: Callable[[], nn.Module], data: TensorDataset, size: int, n: int, chunk: int | None) -> None:
    """Train n networks for one epoch by the library."""
    learn = NetworkTraining(network=make, epochs=1, batch_size=size, chunk=chunk)
    learn.descend([learn.start() for _ in range(n)], data, [torch.Generator().manual_seed(i) for i in range(n)])


def milliseconds(run: Callable[[], None], steps: int, repetitions: int) -> float:
    """Return processor time of a step of one network, the least of some repetitions."""
    found = []
    for _ in range(repetitions):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return 1e3 * min(found) / steps


def row(data_name: str, kind: str, size: int, n: int, repetitions: int) -> tuple[str, float]:
    """Return a line of the table, and how much slower the choice is than one after the other."""
    channels, side = SHAPES[data_name]
    records = min(N, 4 * size)
    data = TensorDataset(torch.randn(records, channels, side, side), torch.arange(records) % 10)
    make = networks(data_name)[kind]
    steps = n * max(1, records // size)
    times: dict[str, float] = {}
    runs: dict[str, Any] = {
        "alone": lambda: by_hand(make, data, size, n),
        "16": lambda: learned(make, data, size, n, 16),
        "32": lambda: learned(make, data, size, n, 32),
        "rule": lambda: learned(make, data, size, n, None),
    }
    for name, run in runs.items():
        times[name] = milliseconds(run, steps, repetitions)
    chunk = NetworkTraining(network=make, batch_size=size).chunk_for(data)
    slower = times["rule"] / times["alone"]
    cells = [f"{times[name]:.2f}" for name in runs]
    said = "one after the other" if chunk == 1 else f"{chunk} together"
    return f"| {data_name} | {kind} | {size} | {' | '.join(cells)} | {said} | {1 / slower:.2f} |", slower


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="digits alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (32, 128) if options.quick else (8, 32, 64, 128, 512)
    print("| images | network | batch | one by one, ms | 16 together | 32 | the rule | it chooses | times as fast |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    worst = 0.0
    for data in ("digits",) if options.quick else SHAPES:
        for kind in networks(data):
            for size in sizes:
                line, slower = row(data, kind, size, 32, 2)
                print(line, flush=True)
                worst = max(worst, slower)
    print(f"\nThe choice takes at most {worst:.2f} times as long as one after the other ({SLOWEST} is allowed).")
    return int(worst > SLOWEST)


if __name__ == "__main__":
    sys.exit(main())
