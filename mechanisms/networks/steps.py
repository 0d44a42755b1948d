"""Training as steps of descent on weighted losses: of single networks one after the other, or of many at once.

In the flow: :mod:`mechanisms.networks.training` and the methods of :mod:`mechanisms.approximate` say which records a
step takes and with which weights; here networks are moved. Both ways move a network by the same numbers up to rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from mechanisms.errors import InvalidInputError
from mechanisms.networks.batches import Batches

Masks: TypeAlias = Mapping[str, torch.Tensor]
_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of descent on a weighted sum of the losses of some records.

    Parameters
    ----------
    positions
        Of the records, shape (b,).
    weights
        Of each record's cross-entropy, shape (b,); below zero the loss is raised. ``None`` for none.
    labels
        Classes to learn in place of the records' own, shape (b,).
    towards
        Weights of each record's divergence from what the network answered before its first step, shape (b,): above
        zero the answer is kept, below it is left. ``None`` for none.
    still
        Whether batch norm takes its running averages, and leaves them: a few records have no averages of their own.
    """

    positions: torch.Tensor
    weights: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    towards: torch.Tensor | None = None
    still: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """How steps move a network.

    Parameters
    ----------
    learning_rate, momentum
        Of stochastic gradient descent.
    moved
        Names of the weights that move; ``None`` for all that take gradients.
    teaches
        Whether steps look at what the network answered before.
    """

    learning_rate: float
    momentum: float
    moved: tuple[str, ...] | None = None
    teaches: bool = False

    def names(self, model: nn.Module) -> list[str]:
        """Return the names of the weights that move."""
        return [n for n, p in model.named_parameters() if p.requires_grad and (self.moved is None or n in self.moved)]


def mean_weights(n: int, weight: float = 1.0) -> torch.Tensor:
    """Return weights that make a sum of n losses their mean, times a number."""
    return torch.full((n,), weight / n, dtype=torch.float64)


def orders(n: int, *, epochs: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield the positions of each batch of some epochs, every record once an epoch, in an order of its own.

    A single record that would be left over joins the batch before: batch norm has nothing to average over in it.
    """
    for _ in range(epochs if n else 0):
        order = torch.randperm(n, generator=generator)
        cuts = list(range(batch_size, n, batch_size))
        if len(cuts) > 0 and batch_size > 1 and n - cuts[-1] == 1:
            cuts.pop()
        yield from torch.tensor_split(order, cuts)


def loss_of(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None,
    towards: torch.Tensor | None,
    before: torch.Tensor | None,
) -> torch.Tensor:
    """Return the weighted loss of a batch."""
    parts = []
    if weights is not None:
        parts.append((weights * nn.functional.cross_entropy(logits, labels, reduction="none")).sum())
    if towards is not None and before is not None:
        kept = nn.functional.log_softmax(before, dim=-1)
        divergence = (kept.exp() * (kept - nn.functional.log_softmax(logits, dim=-1))).sum(-1)
        parts.append((towards * divergence).sum())
    return torch.stack(parts).sum()


def descend_alone(
    model: nn.Module, batches: Batches, steps: Iterable[Step], descent: Descent, masks: Masks | None = None
) -> None:
    """Move one network, in place.

    Parameters
    ----------
    masks
        By the name of a weight, which of its numbers move; all where it is ``None``.

    Raises
    ------
    InvalidInputError
        For a network that does not answer with a row of logits for each record.
    """
    before = copy.deepcopy(model).eval() if descent.teaches else None
    moved = {name: p for name, p in model.named_parameters() if name in set(descent.names(model))}
    if not moved:
        return
    optimiser = torch.optim.SGD(moved.values(), lr=descent.learning_rate, momentum=descent.momentum)
    model.train()
    norms = [part for part in model.modules() if isinstance(part, _NORMS) and part.training]
    for step in steps:
        x, own = batches.read(step.positions)
        labels = own if step.labels is None else step.labels.to(own.device)
        with _still(norms if step.still else []):
            logits = _checked(model(x), labels)
        shown = None
        if before is not None and step.towards is not None:
            with torch.no_grad():
                shown = before(x)
        loss = loss_of(logits, labels, _like(step.weights, logits), _like(step.towards, logits), shown)
        optimiser.zero_grad()
        # Weights that stay take no gradient either.
        gradients = torch.autograd.grad(loss, list(moved.values()), allow_unused=True)
        for p, gradient in zip(moved.values(), gradients, strict=True):
            p.grad = gradient
        for name, mask in (masks or {}).items():
            if name in moved and moved[name].grad is not None:
                moved[name].grad.mul_(mask)
        optimiser.step()


def _like(weights: torch.Tensor | None, logits: torch.Tensor) -> torch.Tensor | None:
    return None if weights is None else weights.to(device=logits.device, dtype=logits.dtype)


@contextmanager
def _still(norms: Sequence[nn.Module]) -> Iterator[None]:
    for part in norms:
        part.eval()
    try:
        yield
    finally:
        for part in norms:
            part.train()


def _checked(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    is_matrix = isinstance(logits, torch.Tensor) and logits.ndim == 2
    if is_matrix and len(logits) == len(labels) and logits.shape[1] > int(labels.max()):
        return logits
    got = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    raise InvalidInputError(
        field="what the network answers",
        expected=f"one row of logits for each of {len(labels)} records, with a column for every class",
        got=f"{got}, for classes up to {int(labels.max())}",
        fix="give the network as many outputs as there are classes, two of them for two classes",
    )
