"""What the methods share: the records of a request, and networks moved by the steps that a method says.

In the flow: each method says its steps in a few lines; :mod:`mechanisms.networks.steps` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from mechanisms.errors import require
from mechanisms.networks.batches import Batches, device_of
from mechanisms.networks.steps import Descent, Masks, Step
from mechanisms.networks.together import chosen_chunk, descend
from mechanisms.networks.training import check_chunk, check_steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is asked of a network: positions count through the records that stay, and then through those to forget.

    Parameters
    ----------
    n_retained, n_forget
        How many records stay, and how many are to be forgotten, which may be none.
    classes
        Outputs of the network.
    batches
        The records.
    """

    n_retained: int
    n_forget: int
    classes: int
    batches: Batches

    @staticmethod
    def of(model: nn.Module, retained: Any, forget: Any) -> Request:
        """Return the request of two data sets to a network.

        Raises
        ------
        InvalidInputError
            For records that are no pairs of an input and a class, and networks with one output.
        """
        parts = (retained, forget) if len(forget) else (retained,)
        batches = Batches(parts=parts, device=device_of(model))
        modes = [part.training for part in model.modules()]
        with torch.no_grad():
            classes = model.eval()(batches.read(torch.zeros(1, dtype=torch.long))[0]).shape[-1]
        for part, mode in zip(model.modules(), modes, strict=True):
            part.training = mode
        require(
            classes >= 2,
            "what the network answers",
            expected="one row of logits for each record, with a column for every class",
            got=f"{classes} column",
            fix="give the network as many outputs as there are classes, two of them for two classes",
        )
        return Request(n_retained=len(retained), n_forget=len(forget), classes=int(classes), batches=batches)

    @property
    def forgotten(self) -> torch.Tensor:
        """Positions of the records to forget."""
        return torch.arange(self.n_retained, self.n_retained + self.n_forget)


class Method(Protocol):
    """A method that moves weights by stochastic gradient descent: its settings, and its steps."""

    @property
    def epochs(self) -> int:
        """How often records are shown."""
        ...

    @property
    def batch_size(self) -> int:
        """Records of a batch."""
        ...

    @property
    def learning_rate(self) -> float:
        """Of the descent."""
        ...

    @property
    def momentum(self) -> float:
        """Of the descent."""
        ...

    @property
    def chunk(self) -> int | None:
        """How many networks are moved together; ``None`` for the measured rule."""
        ...

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        ...


def check_method(method: Method) -> None:
    """Check the settings that all of these methods have."""
    check_steps(method.epochs, method.batch_size, method.learning_rate, method.momentum)
    check_chunk(method.chunk)


def moved(
    method: Method,
    models: Sequence[nn.Module],
    request: Request,
    generators: Sequence[torch.Generator],
    *,
    parts: int = 1,
    parameters: tuple[str, ...] | None = None,
    teaches: bool = False,
    masks: Sequence[Masks] | None = None,
) -> list[nn.Module]:
    """Return the networks, moved in place by the steps of a method, each by its own generator.

    Parameters
    ----------
    method, models, request, generators
        A generator for each network.
    parts
        How many batches a step holds.
    parameters, teaches
        As ``moved`` and ``teaches`` of :class:`~mechanisms.networks.steps.Descent`.
    masks
        Of each network, which of its weights move; ``None`` for all.

    Raises
    ------
    InvalidInputError
        For records, networks or a chunk that do not fit.
    """
    descent = Descent(learning_rate=method.learning_rate, momentum=method.momentum, moved=parameters, teaches=teaches)
    size = parts * method.batch_size
    at_once = 1 if len(models) == 1 else chosen_chunk(method.chunk, models[0], request.batches, size)
    schedules = [method.steps(request, generator) for generator in generators]
    descend(models, request.batches, schedules, descent, chunk=at_once, masks=masks)
    return list(models)
