"""Batches of a torch data set by position: tensors are indexed at once, other data sets are read and put together.

In the flow: :mod:`mechanisms.networks.steps` asks for the records of a step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Subset, TensorDataset, default_collate

from mechanisms.errors import InvalidInputError, require


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Data sets one after the other, whose records are pairs (input, class); positions count through all of them.

    Parameters
    ----------
    parts
        Data sets with a length, as a mechanism's functions are given them.
    device
        Where networks learn.
    """

    parts: tuple[Any, ...]
    device: torch.device

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @functools.cached_property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Inputs, classes, and the row of each position, where all parts are of one data set of two tensors."""
        held = [part.dataset if isinstance(part, Subset) else part for part in self.parts]
        # A subclass may change what it is read as.
        if type(held[0]) is not TensorDataset or len(held[0].tensors) != 2 or any(one is not held[0] for one in held):
            return None
        rows = [part.indices if isinstance(part, Subset) else range(len(part)) for part in self.parts]
        inputs, labels = held[0].tensors
        places = torch.tensor([int(i) for some in rows for i in some], device=self.device)
        return inputs.to(self.device), _classes(labels.to(self.device)), places

    def read(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and classes of the records at these positions, in their order.

        Positions may have any shape where the data are tensors, else one axis.

        Raises
        ------
        InvalidInputError
            For records that are no pairs of an input and a class.
        """
        if self.tensors is not None:
            inputs, labels, places = self.tensors
            rows = places[positions.to(self.device)]
            return inputs[rows], labels[rows]
        return self._put_together([self._item(int(i)) for i in positions])

    def _item(self, position: int) -> Any:
        for part in self.parts:
            if position < len(part):
                return part[position]
            position -= len(part)
        raise IndexError(position)

    def _put_together(self, items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        wrong = next((item for item in items if not isinstance(item, tuple | list) or len(item) != 2), None)
        require(
            wrong is None,
            "a record",
            expected="a pair (input, class)",
            got=f"a {type(wrong).__name__}",
            fix="write learn and unlearn yourself for records of another form (mechanisms.from_torch takes any)",
        )
        inputs, labels = default_collate(list(items))
        return inputs.to(self.device), _classes(torch.as_tensor(labels).to(self.device))


def _classes(labels: torch.Tensor) -> torch.Tensor:
    whole = labels.ndim == 1 and not labels.is_floating_point() and not labels.is_complex()
    if not whole:
        raise InvalidInputError(
            field="classes",
            expected="one whole number a record",
            got=f"{labels.dtype} of shape {tuple(labels.shape)}",
            fix="give a TensorDataset(inputs, classes) with classes 0, 1, ... as torch.long",
        )
    return labels.long()


def device_of(model: torch.nn.Module) -> torch.device:
    """Return where a network's weights lie."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
