"""Clipped gradient descent of many small networks at once, on the CPU with torch.

In the flow: :mod:`mechanisms.networks.stages` imports this when it samples, never before: torch takes two seconds to
load, and is an extra. Nothing here draws a random number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mechanisms.dataset import Dataset


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as workers do with every numerical library: sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_tensor(values: NDArray[np.float64]) -> torch.Tensor:
    """Return an array as a tensor of 32 bits."""
    return torch.from_numpy(values.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a network: p inputs, one hidden layer of rectified units with a bias after it, q logits.

    There is no bias before the hidden layer: data sets bring their own column of ones.
    """

    n_inputs: int
    hidden: int
    n_outputs: int

    @property
    def n_first(self) -> int:
        """Number of weights before the hidden layer."""
        return self.n_inputs * self.hidden

    @property
    def n_parameters(self) -> int:
        """Number of weights in all."""
        return self.n_first + (self.hidden + 1) * self.n_outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """The records that gradients are summed over, as tensors.

    Parameters
    ----------
    features
        Shape (n, p).
    targets
        One-hot rows, shape (n, q).
    squared_lengths
        Of the features, shape (n,).
    budgets
        What each record may spend, shape (n,) and in 64 bits; ``None``: all take part in every step.
    keys
        What each record is known by in a ledger; empty where nobody asks.
    """

    features: torch.Tensor
    targets: torch.Tensor
    squared_lengths: torch.Tensor
    budgets: torch.Tensor | None = None
    keys: tuple[bytes, ...] = ()

    @staticmethod
    def of(data: Dataset, budgets: NDArray[np.float64] | None = None, keys: tuple[bytes, ...] = ()) -> Batch:
        """Return the whole of a data set as one batch."""
        features = as_tensor(data.features)
        return Batch(
            features=features,
            targets=as_tensor(data.targets),
            squared_lengths=features.square().sum(1),
            budgets=None if budgets is None else torch.from_numpy(np.array(budgets, dtype=np.float64)),
            keys=keys,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """What each record has spent in each of b networks: the squared lengths of its clipped gradients so far.

    Parameters
    ----------
    budgets
        Shape (n,).
    spent
        Shape (b, n), changed in place.
    keys
        What each record is known by; equal records have equal gradients, and one key.
    rate
        What a step charges for a squared length: more than 1 where its noise is less than that of learning.
    """

    budgets: torch.Tensor
    spent: torch.Tensor
    keys: tuple[bytes, ...] = ()
    rate: float = 1.0

    @staticmethod
    def of(budgets: torch.Tensor, n_networks: int, keys: tuple[bytes, ...] = ()) -> Ledger:
        """Return a ledger in which nothing is spent."""
        return Ledger(budgets=budgets, spent=torch.zeros(n_networks, len(budgets), dtype=torch.float64), keys=keys)

    @staticmethod
    def joined(parts: Sequence[Ledger]) -> Ledger:
        """Return the ledger of the networks of several parts, in order."""
        return replace(parts[0], spent=torch.cat([part.spent for part in parts]))

    def part(self, start: int, stop: int) -> Ledger:
        """Return a copy for the networks from one position to before another."""
        return replace(self, spent=self.spent[start:stop].clone())

    def carried(self, keys: tuple[bytes, ...], rate: float) -> Ledger:
        """Return a copy for some of the records, with what they have spent, at another rate."""
        place = {key: i for i, key in enumerate(self.keys)}
        positions = torch.tensor([place[key] for key in keys], dtype=torch.long)
        return Ledger(budgets=self.budgets[positions], spent=self.spent[:, positions].clone(), keys=keys, rate=rate)

    def admitted(self, squared: torch.Tensor) -> torch.Tensor:
        """Enter the squared lengths of a step, and return whose sum, this step's included, is within its budget.

        Who is over the budget stays so: a record that a step leaves out spends all the same.
        """
        self.spent.add_(squared, alpha=self.rate)
        return self.spent <= self.budgets


@dataclass(frozen=True, kw_only=True, eq=False)
class Networks:
    """The weights of b networks, or a direction in which to move them.

    Parameters
    ----------
    first
        Before the hidden layer, shape (p, b, h): the networks share their inputs, so one product serves them all.
    second
        After it, the bias in the last row, shape (b, h + 1, q).
    ledger
        What each record has spent in learning them, where unlearning goes on with it.
    """

    first: torch.Tensor
    second: torch.Tensor
    ledger: Ledger | None = None

    @staticmethod
    def of(vectors: NDArray[np.float32], shape: Shape) -> Networks:
        """Return networks from their weights in one row each, shape (b, n_parameters), copied."""
        rows, b = torch.from_numpy(np.ascontiguousarray(vectors)), len(vectors)
        first = rows[:, : shape.n_first].reshape(b, shape.n_inputs, shape.hidden)
        second = rows[:, shape.n_first :].reshape(b, shape.hidden + 1, shape.n_outputs)
        return Networks(first=first.transpose(0, 1).clone().contiguous(), second=second.clone())

    @staticmethod
    def joined(parts: Sequence[Networks]) -> Networks:
        """Return the networks of several parts, in order."""
        ledgers = [part.ledger for part in parts if part.ledger is not None]
        return Networks(
            first=torch.cat([part.first for part in parts], dim=1),
            second=torch.cat([part.second for part in parts]),
            ledger=Ledger.joined(ledgers) if len(ledgers) == len(parts) else None,
        )

    @property
    def n(self) -> int:
        """Number of networks."""
        return len(self.second)

    @property
    def shape(self) -> Shape:
        """Sizes of each network."""
        p, _, h = self.first.shape
        return Shape(n_inputs=p, hidden=h, n_outputs=self.second.shape[2])

    def part(self, start: int, stop: int) -> Networks:
        """Return copies of the networks from one position to before another."""
        return Networks(
            first=self.first[:, start:stop].contiguous().clone(),
            second=self.second[start:stop].clone(),
            ledger=None if self.ledger is None else self.ledger.part(start, stop),
        )

    def move(self, direction: Networks, factor: float) -> None:
        """Add a multiple of a direction to the weights, in place."""
        self.first.add_(direction.first, alpha=factor)
        self.second.add_(direction.second, alpha=factor)

    def shrink(self, factors: torch.Tensor | float) -> None:
        """Multiply the weights of each network by a number, in place; one for all, or one each, shape (b,)."""
        each = torch.as_tensor(factors, dtype=self.second.dtype).reshape(-1, 1, 1)
        self.first.mul_(each.transpose(0, 1))
        self.second.mul_(each)

    def shorten(self, length: float) -> None:
        """Scale each network down to at most a length, that of all its weights together, in place."""
        lengths = (self.first.square().sum((0, 2)) + self.second.square().sum((1, 2))).sqrt()
        self.shrink((length / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)).clamp_max(1))

    def activations(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the hidden units put out, shape (b, n, h)."""
        p, b, h = self.first.shape
        inputs = features @ self.first.reshape(p, b * h)
        return inputs.relu_().view(len(features), b, h).transpose(0, 1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (b, n, q)."""
        return self._logits(self.activations(features))

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.second[:, -1:], hidden, self.second[:, :-1])

    def clipped_gradients(self, batch: Batch, clip_norm: float, ledger: Ledger | None = None) -> Networks:
        """Return for each network the sum of the gradients of a batch's records, each clipped to a Euclidean norm.

        The loss of a record is its cross-entropy. ``clip_norm`` bounds what one record adds, so that without a record
        the sum differs by a vector of at most that norm, at any weights. With a ledger only records within their
        budgets are added.

        Notes
        -----
        A record's gradient for a layer is the outer product of the layer's input and of the loss's derivative by the
        layer's output, so its norm is the product of their norms, and no gradient of a single record is formed
        (Goodfellow 2015, arXiv:1510.01799).
        """
        hidden = self.activations(batch.features)
        by_logits = torch.softmax(self._logits(hidden), dim=2).sub_(batch.targets)
        by_hidden = torch.bmm(by_logits, self.second[:, :-1].transpose(1, 2))
        by_hidden.mul_(hidden > 0)
        squared = (hidden.square().sum(2) + 1) * by_logits.square().sum(2)
        squared += batch.squared_lengths * by_hidden.square().sum(2)
        # A gradient of zero is left at zero.
        factors = (clip_norm / squared.sqrt().clamp_min(torch.finfo(squared.dtype).tiny)).clamp_max(1).unsqueeze(2)
        if ledger is not None:
            factors = factors * ledger.admitted(squared.clamp_max(clip_norm * clip_norm)).unsqueeze(2)
        by_logits *= factors
        by_hidden *= factors
        n, b, h = len(batch.features), len(hidden), hidden.shape[2]
        first = batch.features.T @ by_hidden.transpose(0, 1).reshape(n, b * h)
        bias = by_logits.sum(1, keepdim=True)
        return Networks(
            first=first.view(-1, b, h),
            second=torch.cat([torch.bmm(hidden.transpose(1, 2), by_logits), bias], dim=1),
        )
