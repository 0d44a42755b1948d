"""How to train many small networks: batches of several sizes, one network at a time, and torch.func's gradients.

    python benchmarks/network.py

One step is a clipped full-batch gradient of 500 digits for every network. Times are of one core and of the processor,
not of the clock, so that a busy machine does not show.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch.func import grad, vmap

from mechanisms.networks.clipped_descent import Batch, Networks, Shape, one_thread
from mechanisms.sources import load_named

SHAPE = Shape(n_inputs=65, hidden=16, n_outputs=10)
N_NETWORKS, N_STEPS = 32, 5
CLIP_NORM, STEP = 1.0, 2.0 / 500


def fresh() -> np.ndarray:
    return 0.2 * np.random.default_rng(0).standard_normal((N_NETWORKS, SHAPE.n_parameters), dtype=np.float32)


def batched(batch: Batch, size: int) -> None:
    vectors = fresh()
    for start in range(0, N_NETWORKS, size):
        networks = Networks.of(vectors[start : start + size], SHAPE)
        for _ in range(N_STEPS):
            networks.move(networks.clipped_gradients(batch, CLIP_NORM), -STEP)


def _loss(first: torch.Tensor, second: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    logits = torch.relu(x @ first) @ second[:-1] + second[-1]
    return torch.logsumexp(logits, 0) - logits @ y


def transformed(batch: Batch, *, over_networks: bool) -> None:
    """Gradients of single records by torch.func, for one network at a time or for all of them at once."""
    of_records = vmap(grad(_loss, argnums=(0, 1)), (None, None, 0, 0))

    def clipped(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts = of_records(first, second, batch.features, batch.targets)
        norms = torch.sqrt(sum(part.square().sum((1, 2)) for part in parts))
        factors = (CLIP_NORM / norms.clamp_min(1e-30)).clamp_max(1)
        return tuple(torch.einsum("n,nij->ij", factors, part) for part in parts)

    networks = Networks.of(fresh(), SHAPE)
    first, second = networks.first.transpose(0, 1).contiguous(), networks.second
    for _ in range(N_STEPS):
        if over_networks:
            a, b = vmap(clipped, chunk_size=8)(first, second)
            first, second = first - STEP * a, second - STEP * b
            continue
        for i in range(N_NETWORKS):
            a, b = clipped(first[i], second[i])
            first[i] -= STEP * a
            second[i] -= STEP * b


def report(name: str, run: Callable[[], None]) -> None:
    run()
    times = []
    for _ in range(3):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    print(f"{name:34s} {1e6 * min(times) / N_NETWORKS / N_STEPS:8.0f}")


def main() -> None:
    batch = Batch.of(load_named("digits", rows=500))
    print(f"{'way':34s} {'microseconds a network and step':>8s}")
    with one_thread():
        for size in (1, 2, 4, 8, 16, 32):
            name = "one network at a time" if size == 1 else f"batches of {size}"
            report(name, lambda size=size: batched(batch, size))
        report("torch.func, one network at a time", lambda: transformed(batch, over_networks=False))
        report("torch.func over networks too", lambda: transformed(batch, over_networks=True))


if __name__ == "__main__":
    main()
