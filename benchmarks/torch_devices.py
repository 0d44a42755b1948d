"""What a device does to an audit of torch networks: replays in every digit, verdicts, and trainings a second.

    python benchmarks/torch_devices.py --device cuda
    python benchmarks/torch_devices.py --device cpu

A small convolutional network learns 64 images by heart, and 16 of them are deleted. On the device it audits, with
``replay="exact"``, unlearning that does nothing (to be REFUTED) and retraining (not to be), and with a tolerance the
former again. Under a minute on a GPU of a server. Ends with 1 where a verdict or a replay is not as it should be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import audit
from mechanisms import Claim, EpsilonDelta, InvalidInputError, Reference, World, from_torch

N, N_DELETED, EPOCHS = 64, 16, 12
TOLERANCE = 1e-3
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5), reference=Reference.RETRAIN_ONLY)


def images() -> TensorDataset:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((N, 1, 8, 8)).astype(np.float32))
    return TensorDataset(x, torch.from_numpy(rng.integers(0, 10, N)))


class Service:
    """Learning on a device, and two ways to unlearn."""

    def __init__(self, device: str) -> None:
        self.device = device

    def learn(self, dataset: Any, generator: torch.Generator) -> nn.Module:
        layers = (nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        model = nn.Sequential(*layers, nn.Linear(256, 10)).to(self.device)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(EPOCHS):
            for x, y in DataLoader(dataset, batch_size=32, shuffle=True, generator=generator):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x.to(self.device)), y.to(self.device)).backward()
                optimiser.step()
        return model

    def nothing(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        return model

    def retrained(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        return self.learn(retained, generator)


def mechanism(device: str, replay: Any, unlearn: str) -> Any:
    service = Service(device)
    return from_torch(
        service.learn, getattr(service, unlearn), device=device, replay=replay, reference=Reference.RETRAIN_ONLY
    )


def difference(device: str, replay: Any) -> float:
    """Return by which share of the largest logit two trainings from one stream differ."""
    deletion = mechanism(device, "off" if replay == "fast" else replay, "nothing").bind(images(), tuple(range(4)))
    first, again = (deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(1)) for _ in range(2))
    return float(np.abs(first - again).max() / np.abs(first).max())


def rate(device: str, replay: Any, n: int = 15) -> float:
    """Return trainings a second of the clock, the first ones left out."""
    deletion = mechanism(device, replay, "nothing").bind(images(), tuple(range(N_DELETED)))
    started = time.monotonic()
    deletion.sample(World.RETRAINED, n, rng=np.random.default_rng(2))
    return n / (time.monotonic() - started)


def judged(device: str, replay: Any, unlearn: str, expected: str) -> bool:
    started = time.monotonic()
    subject = mechanism(device, replay, unlearn)
    try:
        result = audit.run(subject, images(), forget=range(N_DELETED), claim=CLAIM, trials=40, seed=1)
    except InvalidInputError as error:
        print(f"  {unlearn:9s} replay={replay}: STOPPED, {error}")
        return False
    (finding,) = result.findings
    said = next(control.message for control in result.controls if control.name == "replay")
    print(f"  {unlearn:9s} replay={replay}: {finding.verdict.value} ({expected} expected)", end=", ")
    print(f"{time.monotonic() - started:.1f} s. {said}", flush=True)
    return finding.verdict.value == expected


def tried(what: Callable[[], float], show: Callable[[float], str]) -> tuple[str, float | None]:
    try:
        found = what()
    except InvalidInputError as error:
        return str(error), None
    return show(found), found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    device = parser.parse_args().device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "the processor"
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, device {device}: {name}", flush=True)
    exactly, share = tried(lambda: difference(device, "exact"), lambda d: f"{d:.2g} of the largest logit")
    print(f"two trainings from one stream, deterministic kernels, differ by: {exactly}")
    print(f"two trainings from one stream, fast kernels, differ by: {difference(device, 'fast'):.2g}", flush=True)
    print("verdicts")
    right = [
        judged(device, "exact", "nothing", "refuted"),
        judged(device, "exact", "retrained", "not_refuted"),
        judged(device, TOLERANCE, "nothing", "refuted"),
    ]
    print("trainings a second, one at a time")
    for where in dict.fromkeys((device, "cpu")):
        for replay in ("exact", "off") if where != "cpu" else ("exact",):
            kernels = "" if where == "cpu" else (" (deterministic kernels)" if replay == "exact" else " (fast kernels)")
            print(
                f"  {where}{kernels}: {tried(lambda w=where, r=replay: rate(w, r), lambda x: f'{x:.1f}')[0]}",
                flush=True,
            )
    as_it_should = share == 0.0 and all(right)
    print("all as it should be" if as_it_should else "NOT as it should be")
    return 0 if as_it_should else 1


if __name__ == "__main__":
    sys.exit(main())
