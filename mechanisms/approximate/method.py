"""What the methods share: the records of a request, and networks moved by the steps that a method says.

In the flow: each method says its steps in a few lines; :mod:`mechanisms.networks.steps` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from mechanisms.errors import require
from mechanisms.networks.batches import Batches, device_of
from mechanisms.networks.steps import Descent, Masks, Step
from mechanisms.networks.together import chosen_chunk, descend


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


StepsFn: TypeAlias = Callable[[Request, torch.Generator], Iterator[Step]]


def moved(
    models: Sequence[nn.Module],
    request: Request,
    generators: Sequence[torch.Generator],
    *,
    steps: StepsFn,
    descent: Descent,
    batch_size: int,
    chunk: int | None,
    masks: Sequence[Masks] | None = None,
) -> list[nn.Module]:
    """Return the networks, moved in place by the steps of a method, each by its own generator.

    Raises
    ------
    InvalidInputError
        For records, networks or a chunk that do not fit.
    """
    at_once = 1 if len(models) == 1 else chosen_chunk(chunk, models[0], request.batches, batch_size)
    schedules = [steps(request, generator) for generator in generators]
    descend(models, request.batches, schedules, descent, chunk=at_once, masks=masks)
    return list(models)
