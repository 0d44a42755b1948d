"""Networks learned from the start by stochastic gradient descent, as people train classifiers: one, or many at once.

In the flow: the ``learn`` of :func:`mechanisms.from_torch`, which finds that it can learn several networks at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mechanisms.errors import InvalidInputError, require
from mechanisms.networks.batches import Batches, device_of
from mechanisms.networks.steps import Descent, Step, mean_weights, orders
from mechanisms.networks.together import chosen_chunk, descend
from mechanisms.reading.scalars import real_number, whole_number


@dataclass(frozen=True, kw_only=True)
class NetworkTraining:
    """Learn a classifier by stochastic gradient descent on its cross-entropy, from fresh weights.

    ``from_torch(NetworkTraining(network=small_cnn), unlearn)`` learns the networks of an audit together where that is
    quicker. Which networks an audit draws does not depend on it, up to rounding.

    Parameters
    ----------
    network
        Called without arguments for each network: builds it with fresh weights of torch's generator. A
        ``functools.partial`` of :func:`small_cnn`, a class of yours, any function.
    epochs, batch_size
        How often each record is seen, and records of a step.
    learning_rate, momentum
        Of the steps.
    device
        "cpu", "cuda", "cuda:1", or "fastest": a GPU where there is one. Say the same to ``from_torch``.
    chunk
        How many networks learn together, 1 for one after the other; ``None`` for the measured rule: together, up to 32
        and as many as fit into memory, where the records are tensors, the network draws nothing and keeps no running
        averages (no dropout, no batch norm), and a batch is so small that the time between operations counts.

    Raises
    ------
    InvalidInputError
        For a number out of range.

    Examples
    --------
    >>> from torch.utils.data import TensorDataset
    >>> data = TensorDataset(torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
    >>> learn = NetworkTraining(network=small_cnn, epochs=1)
    >>> len(list(learn(data, torch.Generator()).parameters())), learn.chunk_for(data)
    (6, 32)
    """

    network: Callable[[], nn.Module]
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.9
    device: str = "cpu"
    chunk: int | None = None

    # Networks may be learned together.
    together = True

    def __post_init__(self) -> None:
        require(
            callable(self.network) and not isinstance(self.network, nn.Module),
            "network",
            expected="a function that builds a network, called for each",
            got=f"a {type(self.network).__name__}",
            fix="give network=small_cnn, or network=lambda: MyNetwork(10): one object would be trained further",
        )
        check_steps(self.epochs, self.batch_size, self.learning_rate, self.momentum)
        check_chunk(self.chunk)

    def __call__(self, dataset: Any, generator: torch.Generator) -> nn.Module:
        """Return one network of these records."""
        return self.descend([self.start()], dataset, [generator])[0]

    def start(self) -> nn.Module:
        """Return a network with fresh weights, of torch's own generator."""
        device = self.device
        if device == "fastest":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        made = self.network()
        if isinstance(made, nn.Module):
            return made.to(device)
        raise InvalidInputError(
            field="what network returns",
            expected="a new nn.Module",
            got=f"a {type(made).__name__}",
            fix="end the function with: return model",
        )

    def descend(
        self, models: Sequence[nn.Module], dataset: Any, generators: Sequence[torch.Generator]
    ) -> list[nn.Module]:
        """Return the networks, moved in place: each by batches in the order of its own generator."""
        batches = Batches(parts=(dataset,), device=device_of(models[0]))
        schedules = [self._steps(len(dataset), generator) for generator in generators]
        chunk = 1 if len(models) == 1 else self._chunk(models[0], batches)
        descend(models, batches, schedules, self._descent(), chunk=chunk)
        return list(models)

    def chunk_for(self, dataset: Any) -> int:
        """Return how many networks learn together on these records."""
        with torch.random.fork_rng(devices=[]):
            model = self.start()
        return self._chunk(model, Batches(parts=(dataset,), device=device_of(model)))

    def _chunk(self, model: nn.Module, batches: Batches) -> int:
        return chosen_chunk(self.chunk, model, batches, self.batch_size)

    def _descent(self) -> Descent:
        return Descent(learning_rate=self.learning_rate, momentum=self.momentum)

    def _steps(self, n: int, generator: torch.Generator) -> Iterator[Step]:
        for positions in orders(n, epochs=self.epochs, batch_size=self.batch_size, generator=generator):
            yield Step(positions=positions, weights=mean_weights(len(positions)))


def check_steps(epochs: int, batch_size: int, learning_rate: float, momentum: float) -> None:
    """Refuse numbers of steps that are out of range.

    Raises
    ------
    InvalidInputError
        Naming the number.
    """
    for name, count, fix in (("epochs", epochs, "2 is a good start"), ("batch_size", batch_size, "32 is usual")):
        least = "a whole number of at least 1"
        require(whole_number(count, name, expected=least, fix=fix) >= 1, name, expected=least, got=count, fix=fix)
    rate = real_number(learning_rate, "learning_rate", fix="0.1 is a good start")
    positive = "positive and finite"
    require(0 < rate < math.inf, "learning_rate", expected=positive, got=learning_rate, fix="0.1 is a good start")
    kept = real_number(momentum, "momentum", fix="0.9 is usual")
    require(0 <= kept < 1, "momentum", expected="in [0, 1)", got=momentum, fix="0.9 is usual, 0 means none")


def check_chunk(chunk: int | None) -> None:
    """Refuse a chunk that is none.

    Raises
    ------
    InvalidInputError
        For a number below 1, and for what is no whole number.
    """
    fix = "1 means one after the other, None the measured rule"
    count = 1 if chunk is None else whole_number(chunk, "chunk", expected="at least 1, or None", fix=fix)
    require(count >= 1, "chunk", expected="at least 1, or None", got=chunk, fix=fix)
