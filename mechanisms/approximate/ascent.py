"""Raising the loss of the records to forget, and holding the others: NegGrad+ and SCRUB.

In the flow: the ``unlearn`` of :func:`mechanisms.from_torch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import nn

from mechanisms.approximate.method import Request, check_method, moved
from mechanisms.errors import require
from mechanisms.networks.steps import Step, mean_weights, orders
from mechanisms.reading.scalars import real_number, whole_number


@dataclass(frozen=True, kw_only=True)
class NegGradPlus:
    """Descend on the loss of the records that stay and ascend on the loss of the others, in the same steps.

    One step takes a batch of each: ``retain_weight * loss(retained) - (1 - retain_weight) * loss(forget)``, means both.
    The records to forget come round as often as it takes.

    Parameters
    ----------
    retain_weight
        In (0, 1]; with 1 it is fine-tuning.
    epochs, batch_size, learning_rate, momentum
        Of stochastic gradient descent; an epoch shows the records that stay once.
    chunk
        As for :class:`mechanisms.networks.NetworkTraining`.

    Notes
    -----
    Both batches go through the network as one. Where nothing is to be forgotten a step has the first part alone.

    References
    ----------
    Kurmanji, Triantafillou, Hayes, Triantafillou 2023 (arXiv:2302.09880); gradient ascent alone is a baseline of
    Golatkar, Achille, Soatto 2019 (arXiv:1911.04933).
    """

    retain_weight: float = 0.95
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    chunk: int | None = None

    together = True

    def __post_init__(self) -> None:
        check_method(self)
        fix = "0.95 is a good start"
        weight = real_number(self.retain_weight, "retain_weight", fix=fix)
        require(0 < weight <= 1, "retain_weight", expected="in (0, 1]", got=self.retain_weight, fix=fix)

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
        return moved(self, models, Request.of(models[0], retained, forget), generators, parts=2)

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        n, n_forget, size = request.n_retained, request.n_forget, self.batch_size
        again = (p for _ in count() for p in orders(n_forget, epochs=1, batch_size=size, generator=generator))
        for kept in orders(n, epochs=self.epochs, batch_size=size, generator=generator):
            weights = mean_weights(len(kept), self.retain_weight)
            if not n_forget:
                yield Step(positions=kept, weights=weights)
                continue
            gone = next(again)
            yield Step(
                positions=torch.cat([kept, n + gone]),
                weights=torch.cat([weights, mean_weights(len(gone), self.retain_weight - 1)]),
            )


@dataclass(frozen=True, kw_only=True)
class Scrub:
    """Move a student away from what the network answered on the records to forget, and keep it near on the others.

    Each of the first ``max_epochs`` epochs begins with ascent on the divergence of the answers before and after, over
    the records to forget; every epoch then descends, over the records that stay, on ``loss_weight`` times their
    cross-entropy plus ``near_weight`` times that divergence.

    Parameters
    ----------
    epochs, max_epochs
        Epochs in all, and how many of them begin with ascent.
    loss_weight, near_weight
        The paper's gamma and alpha, at least 0.
    batch_size, learning_rate, momentum
        Of stochastic gradient descent.
    chunk
        As for :class:`mechanisms.networks.NetworkTraining`.

    Notes
    -----
    The divergence is Kullback and Leibler's of the answers before from those after, without a temperature. Ascent
    leaves the running averages of batch norm as they are.

    References
    ----------
    Kurmanji, Triantafillou, Hayes, Triantafillou 2023 (arXiv:2302.09880).
    """

    epochs: int = 3
    max_epochs: int = 2
    loss_weight: float = 0.99
    near_weight: float = 0.5
    batch_size: int = 32
    learning_rate: float = 0.02
    momentum: float = 0.9
    chunk: int | None = None

    together = True

    def __post_init__(self) -> None:
        check_method(self)
        expected, fix = f"from 0 to {self.epochs}, the epochs in all", "2 of 3 epochs is a good start"
        ascents = whole_number(self.max_epochs, "max_epochs", expected=expected, fix=fix)
        require(0 <= ascents <= self.epochs, "max_epochs", expected=expected, got=self.max_epochs, fix=fix)
        for name, usual in (("loss_weight", 0.99), ("near_weight", 0.5)):
            weight = real_number(getattr(self, name), name, fix=f"{usual} is the paper's")
            fine = 0 <= weight < float("inf")
            require(fine, name, expected="at least 0 and finite", got=weight, fix=f"{usual} is the paper's")

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
        return moved(self, models, Request.of(models[0], retained, forget), generators, teaches=True)

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        n, size = request.n_retained, self.batch_size
        for epoch in range(self.epochs):
            ascents = 1 if epoch < self.max_epochs else 0
            for gone in orders(request.n_forget, epochs=ascents, batch_size=size, generator=generator):
                yield Step(positions=n + gone, towards=mean_weights(len(gone), -1.0), still=True)
            for kept in orders(n, epochs=1, batch_size=size, generator=generator):
                yield Step(
                    positions=kept,
                    weights=mean_weights(len(kept), self.loss_weight),
                    towards=mean_weights(len(kept), self.near_weight),
                )
