"""Wrong classes for the records to forget: random labels, and random labels for the weights that matter (SalUn).

In the flow: the ``unlearn`` of :func:`mechanisms.from_torch`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mechanisms.approximate.method import Request, check_method, moved
from mechanisms.errors import require
from mechanisms.networks.steps import Masks, Step, mean_weights, orders
from mechanisms.reading.scalars import real_number


@dataclass(frozen=True, kw_only=True)
class RandomLabels:
    """Train on with all records, those to forget under a random class that is not their own, drawn once.

    Parameters
    ----------
    epochs, batch_size, learning_rate, momentum
        Of stochastic gradient descent on the cross-entropy.
    chunk
        As for :class:`mechanisms.networks.NetworkTraining`.

    References
    ----------
    Golatkar, Achille, Soatto 2019 (arXiv:1911.04933), as a baseline; Graves, Nagisetty, Ganesh 2020 (arXiv:2010.10981).
    """

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    chunk: int | None = None

    together = True

    def __post_init__(self) -> None:
        check_method(self)

    def __call__(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        """Return the network after unlearning; it is moved in place."""
        return self.descend([self.start(model)], retained, forget, [generator])[0]

    def start(self, model: nn.Module) -> nn.Module:
        """Return the network that steps start from."""
        return model

    def descend(
        self, models: Sequence[nn.Module], retained: Any, forget: Any, generators: Sequence[torch.Generator]
    ) -> list[nn.Module]:
        """Return the networks, moved in place, each by its own generator."""
        return moved(self, models, Request.of(models[0], retained, forget), generators)

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        return _relabelled(request, generator, self.epochs, self.batch_size)


@dataclass(frozen=True, kw_only=True)
class SalUn:
    """Random labels for the salient weights alone: those on which the loss of the records to forget leans most.

    Parameters
    ----------
    share
        Of the weights that move, in (0, 1]: those with the largest gradients, in size, of the loss of the records to
        forget. With 1 it is :class:`RandomLabels`.
    epochs, batch_size, learning_rate, momentum, chunk
        As :class:`RandomLabels`.

    Notes
    -----
    Where nothing is to be forgotten no weight is salient, and all move, as in fine-tuning.

    References
    ----------
    Fan, Liu, Zhang, Wong, Wei, Liu 2023 (arXiv:2310.12508).
    """

    share: float = 0.5
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    chunk: int | None = None

    together = True

    def __post_init__(self) -> None:
        check_method(self)
        share = real_number(self.share, "share", fix="0.5 is the paper's")
        require(0 < share <= 1, "share", expected="in (0, 1]", got=self.share, fix="0.5 is the paper's")

    def __call__(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        """Return the network after unlearning; it is moved in place."""
        return self.descend([self.start(model)], retained, forget, [generator])[0]

    def start(self, model: nn.Module) -> nn.Module:
        """Return the network that steps start from."""
        return model

    def descend(
        self, models: Sequence[nn.Module], retained: Any, forget: Any, generators: Sequence[torch.Generator]
    ) -> list[nn.Module]:
        """Return the networks, moved in place, each by its own generator."""
        request = Request.of(models[0], retained, forget)
        masks = [salient(model, request, self.share) for model in models] if len(forget) else None
        return moved(self, models, request, generators, masks=masks)

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        return _relabelled(request, generator, self.epochs, self.batch_size)


def salient(model: nn.Module, request: Request, share: float) -> Masks:
    """Return which weights of a network have the largest gradients of the loss of the records to forget, by name."""
    twin = copy.deepcopy(model).eval()
    named = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    x, labels = request.batches.read(request.forgotten)
    loss = nn.functional.cross_entropy(twin(x), labels)
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    sizes = [torch.zeros_like(p) if g is None else g.abs() for p, g in zip(named.values(), found, strict=True)]
    # Sorted, so that exactly so many are taken where sizes are equal.
    order = torch.argsort(torch.cat([size.flatten() for size in sizes]), descending=True, stable=True)
    taken = torch.zeros(len(order), dtype=sizes[0].dtype, device=order.device)
    taken[order[: max(1, int(share * len(order)))]] = 1
    parts = taken.split([size.numel() for size in sizes])
    return {name: part.view_as(size) for name, part, size in zip(named, parts, sizes, strict=True)}


def _relabelled(request: Request, generator: torch.Generator, epochs: int, batch_size: int) -> Iterator[Step]:
    """Yield steps over all records, with classes of their own for those that stay."""
    n, n_forget = request.n_retained, request.n_forget
    labels = torch.cat([_own(request, range(n)), _own(request, range(n, n + n_forget))])
    if n_forget:
        away = torch.randint(1, request.classes, (n_forget,), generator=generator)
        labels[n:] = (labels[n:] + away) % request.classes
    for positions in orders(n + n_forget, epochs=epochs, batch_size=batch_size, generator=generator):
        yield Step(positions=positions, weights=mean_weights(len(positions)), labels=labels[positions])


def _own(request: Request, positions: range) -> torch.Tensor:
    if not len(positions):
        return torch.empty(0, dtype=torch.long)
    return request.batches.read(torch.arange(positions.start, positions.stop))[1].cpu()
