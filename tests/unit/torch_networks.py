"""Small networks and services for tests of the torch adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mechanisms import World

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402


def images(n: int = 12, classes: int = 3) -> TensorDataset:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((n, 1, 3, 3)).astype(np.float32))
    return TensorDataset(x, torch.arange(n) % classes)


def network(outputs: int = 3) -> nn.Module:
    layers = (nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, outputs))
    return nn.Sequential(*layers)


def trained(model: nn.Module, dataset: Any, generator: Any, *, steps: int = 2) -> nn.Module:
    loader = DataLoader(dataset, batch_size=8, shuffle=True, generator=generator)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        for x, y in loader:
            optimiser.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model


def learn(dataset: Any, generator: Any) -> nn.Module:
    return trained(network(), dataset, generator)


def linear(dataset: Any, generator: Any) -> nn.Module:
    return trained(nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), dataset, generator, steps=6)


def keep(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
    return model


def tune(model: nn.Module, retained: Any, forget: Any, generator: Any) -> nn.Module:
    return trained(model, retained, generator, steps=1)


def drawn(mechanism: Any, world: World = World.UNLEARNED, *, seed: int = 1, n: int = 1) -> Any:
    return mechanism.bind(images(), (3, 4)).sample(world, n, rng=np.random.default_rng(seed))
