"""What is taken of a network that a user's function returns: checked, asked in evaluation mode, and put back as it was.

In the flow: :mod:`mechanisms.adapters.torch` learns and unlearns; here a network becomes an array of numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import nn

from mechanisms.adapters.seeding import Words, seeded
from mechanisms.errors import InvalidInputError
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
Sees = Literal["logits", "probabilities", "labels", "weights"]
AskFn = Callable[[Any, Sequence[Any]], Any]
# Records that a network answers at once.
_BATCH = 256
# More weights than these are projected: those of a few hundred models would not fit into memory (8 MB a model).
MOST_WEIGHTS = 2**20
_PROJECTED = 2**16
_NETWORK, _ANSWER = "the network: an nn.Module", "what the network answers"
_DIVERGED = "lower the learning rate, or clip gradients: the training diverged"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A network, and the words that seed whatever it draws when it is asked."""

    module: nn.Module
    words: Words

    def state_dict(self) -> dict[str, Any]:
        """Return the network's numbers, by which equal networks are found; the words are not learned."""
        return dict(self.module.state_dict())


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The records that networks are asked about, the same in every world.

    Parameters
    ----------
    items
        Records as their data set gave them when the deletion was bound.
    ask
        The user's way to ask, or ``None`` for ``model(inputs)``.
    device, exact
        As :func:`~mechanisms.adapters.seeding.seeded` takes them.
    """

    items: tuple[Any, ...]
    ask: AskFn | None
    device: str
    exact: bool

    @functools.cached_property
    def batches(self) -> tuple[torch.Tensor, ...]:
        """Inputs of the records, in order: stacked where they are of one shape, else one by one."""
        inputs = [_input_of(item) for item in self.items]
        if len({(x.shape, x.dtype) for x in inputs}) == 1:
            return tuple(torch.stack(inputs).split(_BATCH))
        return tuple(x[None] for x in inputs)

    def logits(self, trained: Trained) -> Array:
        """Return what a network answers, shape (records, columns), in double precision.

        Raises
        ------
        InvalidInputError
            For answers that are no finite matrix with a row for each record.
        """
        outputs = self._answers(trained)
        if not np.all(np.isfinite(outputs)):
            raise InvalidInputError(field=_ANSWER, expected="finite", got="NaN or infinity", fix=_DIVERGED)
        return outputs

    def _answers(self, trained: Trained) -> Array:
        module = trained.module
        with undisturbed(trained, device=self.device, exact=self.exact):
            if self.ask is not None:
                return _matrix(self.ask(module, copied(self.items)), len(self.items), "what ask returns")
            device = next((p.device for p in module.parameters()), torch.device(self.device))
            # Copies: what a network does to its inputs in place would reach the next one.
            batches = (batch.to(device, copy=True) for batch in self.batches)
            return np.concatenate([_matrix(_tensor(module(batch)), len(batch), _ANSWER) for batch in batches])


def copied(item: Any) -> Any:
    """Return a record whose tensors and arrays are its own.

    A part of a tensor would be sent to other processes with all of the tensor.
    """
    if isinstance(item, torch.Tensor):
        return item.detach().clone()
    if isinstance(item, np.ndarray):
        return item.copy()
    if type(item) in (list, tuple):
        return type(item)(copied(part) for part in item)
    if type(item) is dict:
        return {key: copied(part) for key, part in item.items()}
    return item


def seen_of(logits: Array, sees: Sees) -> Array:
    """Return what an attacker sees of answers: the logits, their probabilities, or the position of the largest."""
    if sees == "probabilities":
        return np.asarray(expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1))
    if sees == "labels":
        winners = logits.argmax(axis=1) if logits.shape[1] > 1 else logits[:, 0] > 0
        return np.asarray(winners, dtype=np.float64)
    return logits


def weights_of(trained: Trained) -> Array:
    """Return every number of a network's state in one row: weights, biases, running means and counts.

    More than 2**20 of them are projected to 2**16 numbers: each is added, with a sign, to one of them. Signs and places
    are fixed, the same for every network of its size.

    Raises
    ------
    InvalidInputError
        When one is not finite.
    """
    tensors = [value for value in trained.state_dict().values() if isinstance(value, torch.Tensor)]
    parts = [real_numbers(t, "weights").ravel() for t in tensors]
    weights = np.concatenate(parts) if parts else np.empty(0)
    if not np.all(np.isfinite(weights)):
        raise InvalidInputError(
            field="the weights of the network",
            expected="finite",
            got="NaN or infinity",
            fix=_DIVERGED,
        )
    if len(weights) <= MOST_WEIGHTS:
        return weights
    places, signs = _places_and_signs(len(weights))
    return np.asarray(np.bincount(places, weights=weights * signs, minlength=_PROJECTED), dtype=np.float64)


@functools.lru_cache(maxsize=1)
def _places_and_signs(n: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.integers(0, _PROJECTED, size=n), (2 * rng.integers(0, 2, size=n, dtype=np.int8) - 1).astype(np.int8)


def checked(returned: Any, function: str, device: str) -> nn.Module:
    """Return what ``learn`` or ``unlearn`` returned, if it is a network on the device that can be asked.

    Raises
    ------
    InvalidInputError
        With the step that mends it.
    """
    got, fix = _mended(returned, device)
    if not fix:
        return returned
    raise InvalidInputError(field=f"what {function} returns", expected=_NETWORK, got=got, fix=fix)


def _mended(value: Any, device: str) -> tuple[str, str]:
    """Return what a value is and the step that makes it a network that can be asked; no step where it is one."""
    if isinstance(value, nn.Module):
        return _mended_network(value, device)
    kind = f"a {type(value).__name__}"
    if value is None:
        return "None", "end the function with: return model"
    if isinstance(value, type):
        return f"the class {value.__name__}", f"call it: return {value.__name__}()"
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{kind} of shape {tuple(value.shape)}", "return the network itself; the audit asks for its outputs"
    if isinstance(value, dict):
        return f"{kind} of weights", "load it into a network: model.load_state_dict(state), and return model"
    if isinstance(value, tuple | list) and sum(isinstance(part, nn.Module) for part in value) == 1:
        return f"{kind} that holds a network and more", "return the network alone: return model"
    if isinstance(value, tuple | list):
        return (
            f"{kind} of {len(value)}",
            "return one network; an ensemble is one nn.Module with an nn.ModuleList, whose forward joins the answers",
        )
    if isinstance(value, torch.optim.Optimizer):
        return f"the optimiser {type(value).__name__}", "return the network that it trains"
    if isinstance(value, str | bytes):
        return (
            f"{kind} (the name of a file?)",
            "load the network: model.load_state_dict(torch.load(path)), return model",
        )
    if callable(value):
        return (
            f"a function ({getattr(value, '__name__', type(value).__name__)})",
            "return the nn.Module, not a call of it",
        )
    return kind, "return the trained nn.Module; for estimators of scikit-learn use mechanisms.from_estimator"


def _mended_network(module: nn.Module, device: str) -> tuple[str, str]:
    kind, tensors = type(module).__name__, dict(module.named_parameters()) | dict(module.named_buffers())
    lazy = [name for name, t in tensors.items() if nn.parameter.is_lazy(t)]
    if lazy:
        return (
            f"a {kind} whose {lazy[0]} was never given its shape",
            "train it, or run one batch through it, before it is returned",
        )
    wanted = torch.device(device)
    elsewhere = {t.device for t in tensors.values() if not _is_on(t.device, wanted)}
    if elsewhere:
        found = ", ".join(sorted(map(str, elsewhere)))
        way_out = "" if wanted.type == "cuda" or "meta" in found else f', or say from_torch(..., device="{found}")'
        return f"a {kind} on {found}, where {device} is said", f'end with: return model.to("{device}"){way_out}'
    return "", ""


def _is_on(found: torch.device, wanted: torch.device) -> bool:
    return found.type == wanted.type and (wanted.index is None or found.index == wanted.index)


@contextmanager
def undisturbed(trained: Trained, *, device: str, exact: bool) -> Iterator[None]:
    """Ask a network in evaluation mode, without gradients, from its own random numbers, and put it back as it was."""
    with seeded(trained.words, device=device, exact=exact), torch.no_grad(), _evaluating(trained.module):
        yield


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each of its parts back into its own mode: unlearning may go on from it.

    Raises
    ------
    InvalidInputError
        When a part stays in training mode.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        stuck = [name or type(part).__name__ for name, part in module.named_modules() if part.training]
        if stuck:
            raise InvalidInputError(
                field="the network",
                expected="in evaluation mode after model.eval()",
                got=f"{stuck[0]} in training mode",
                fix="let train() and eval() of its class call super().train(mode), or the parts would answer with "
                "dropout and the statistics of a batch",
            )
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _tensor(answer: Any) -> torch.Tensor:
    if isinstance(answer, torch.Tensor):
        return answer
    raise InvalidInputError(
        field=_ANSWER,
        expected="a tensor",
        got=f"a {type(answer).__name__}",
        fix="say how it is asked, as ask=lambda model, items: model(torch.stack([x for x, _ in items]))[0]",
    )


def _matrix(answer: Any, n: int, field: str) -> Array:
    """Return answers as a matrix with a row for each of n records."""
    found = real_numbers(answer, field, copy=True)
    # One number a record; of a single record its axis may be squeezed away.
    matrix = found.reshape(-1, 1) if found.ndim == 0 or (found.ndim == 1 and len(found) == n) else found
    if matrix.ndim == 2 and len(matrix) == n and matrix.shape[1]:
        return matrix
    squeezed = " (a squeeze() takes the axis of a single record away)" if n == 1 and found.ndim == 1 else ""
    raise InvalidInputError(
        field=field,
        expected=f"of shape ({n}, classes), a row for each of the {n} records that it was asked about",
        got=f"shape {found.shape}{squeezed}",
        fix="let forward answer for whatever number of records, each in a row, or say by ask=(model, items) -> tensor "
        "how it is asked",
    )


def _input_of(item: Any) -> torch.Tensor:
    """Return the input of a record: the record, or the first of a pair (input, label)."""
    value = item[0] if isinstance(item, list | tuple) and len(item) in (1, 2) else item
    if isinstance(value, np.ndarray | np.generic | int | float) and np.asarray(value).dtype.kind in "biuf":
        return torch.as_tensor(value)
    if isinstance(value, torch.Tensor):
        return value
    raise InvalidInputError(
        field="a record",
        expected="(input, label) with a tensor as input",
        got=f"a {type(item).__name__}" + (f" of {len(item)}" if isinstance(item, list | tuple) else ""),
        fix="say how a network is asked: from_torch(..., ask=lambda model, items: a tensor with a row for each item)",
    )
