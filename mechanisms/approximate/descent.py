"""Going on without the records: fine-tuning, a new last layer, everything anew, nothing at all.

In the flow: the ``unlearn`` of :func:`mechanisms.from_torch`. The last two are the rows that the others stand between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mechanisms.approximate.method import Request, check_method, moved
from mechanisms.errors import InvalidInputError, require
from mechanisms.networks.steps import Step, mean_weights, orders


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Train on with the records that stay, and hope that the others are forgotten.

    Parameters
    ----------
    epochs, batch_size, learning_rate, momentum
        Of stochastic gradient descent on the cross-entropy.
    chunk
        As for :class:`mechanisms.networks.NetworkTraining`.

    References
    ----------
    A baseline of Golatkar, Achille, Soatto 2019 (arXiv:1911.04933).
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
        return _on(request, generator, self.epochs, self.batch_size)


@dataclass(frozen=True, kw_only=True)
class LastLayer:
    """Give the last layer fresh weights and learn it from the records that stay; the layers below keep what they know.

    Parameters
    ----------
    layer
        Name of the layer, as in ``model.named_modules()``; ``None`` for the last one with weights.
    epochs, batch_size, learning_rate, momentum, chunk
        As :class:`FineTuning`.

    Notes
    -----
    Fresh weights are drawn by the layer's own ``reset_parameters``.

    References
    ----------
    Goel, Prabhu, Sanyal, Lim, Torr, Kumaraguru 2022 (arXiv:2201.06640): EU-k with k = 1.
    """

    layer: str | None = None
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.9
    chunk: int | None = None

    together = True

    def __post_init__(self) -> None:
        check_method(self)

    def __call__(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        """Return the network after unlearning; it is moved in place."""
        return self.descend([self.start(model)], retained, forget, [generator])[0]

    def start(self, model: nn.Module) -> nn.Module:
        """Return the network with a fresh last layer, drawn from torch's own generator.

        Raises
        ------
        InvalidInputError
            When the layer is not there, or cannot be drawn anew.
        """
        name = self._name(model)
        reset: Any = getattr(model.get_submodule(name), "reset_parameters", None)
        require(
            callable(reset),
            "layer",
            expected="a layer that can be drawn anew (it has reset_parameters)",
            got=f"{name}, a {type(model.get_submodule(name)).__name__}",
            fix='name a linear or convolutional one, as layer="fc"',
        )
        reset()
        return model

    def descend(
        self, models: Sequence[nn.Module], retained: Any, forget: Any, generators: Sequence[torch.Generator]
    ) -> list[nn.Module]:
        """Return the networks, moved in place, each by its own generator."""
        name = self._name(models[0])
        inside = tuple(f"{name}.{p}" for p, _ in models[0].get_submodule(name).named_parameters())
        return moved(self, models, Request.of(models[0], retained, forget), generators, parameters=inside)

    def steps(self, request: Request, generator: torch.Generator) -> Iterator[Step]:
        """Yield the steps of one network."""
        return _on(request, generator, self.epochs, self.batch_size, still=True)

    def _name(self, model: nn.Module) -> str:
        parts = model.named_modules()
        layers: list[str] = [name for name, part in parts if name and next(part.parameters(False), None) is not None]
        if self.layer is None and layers:
            return layers[-1]
        if self.layer in layers:
            return str(self.layer)
        raise InvalidInputError(
            field="layer",
            expected=f"a layer with weights ({', '.join(layers) or 'this network has none'})",
            got=self.layer,
            fix="name one of them, or leave it out for the last",
        )


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Learn the records that stay from the start: exact, and what the others are to be cheaper than.

    Parameters
    ----------
    learn
        The ``learn`` of :func:`mechanisms.from_torch`.
    """

    learn: Callable[[Any, torch.Generator], nn.Module]

    def __post_init__(self) -> None:
        is_function = callable(self.learn) and not isinstance(self.learn, nn.Module)
        fix = "give the function that learns networks"
        require(is_function, "learn", expected="a function", got=f"a {type(self.learn).__name__}", fix=fix)

    @property
    def together(self) -> bool:
        """Whether its ``learn`` can learn several networks at once."""
        return bool(getattr(self.learn, "together", False))

    def __call__(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        """Return a new network of the records that stay."""
        return self.learn(retained, generator)

    def start(self, model: nn.Module) -> nn.Module:
        """Return a fresh network, where ``learn`` can learn several at once."""
        fresh: nn.Module = self.learn.start()  # type: ignore[attr-defined]
        return fresh

    def descend(
        self, models: Sequence[nn.Module], retained: Any, forget: Any, generators: Sequence[torch.Generator]
    ) -> list[nn.Module]:
        """Return the fresh networks, learned from the records that stay."""
        learned: list[nn.Module] = self.learn.descend(models, retained, generators)  # type: ignore[attr-defined]
        return learned


@dataclass(frozen=True, kw_only=True)
class DoesNothing:
    """Leave the network as it is: what an audit must notice."""

    def __call__(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> nn.Module:
        """Return the network."""
        return model


def _on(
    request: Request, generator: torch.Generator, epochs: int, batch_size: int, *, still: bool = False
) -> Iterator[Step]:
    for positions in orders(request.n_retained, epochs=epochs, batch_size=batch_size, generator=generator):
        yield Step(positions=positions, weights=mean_weights(len(positions)), still=still)
