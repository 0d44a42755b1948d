"""The user's functions on torch networks, each run from the numbers of its trial.

In the flow: :mod:`mechanisms.adapters.torch` makes the stages of a mechanism of these. They are sent to workers, and
import torch there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.seeding import seeded, words_of
from mechanisms.adapters.torch_records import torch_part
from mechanisms.errors import InvalidInputError
from mechanisms.reading.records import RecordSet

if TYPE_CHECKING:
    from mechanisms.adapters.torch_models import Asked, Sees, Trained

Array = NDArray[np.float64]
TorchLearnFn = Callable[[Any, Any], Any]
TorchUnlearnFn = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """The user's ``learn``, run from the numbers of a trial."""

    function: TorchLearnFn
    device: str
    exact: bool

    def __call__(self, records: RecordSet, rng: np.random.Generator) -> Trained:
        """Return one network of these records."""
        from mechanisms.adapters.torch_models import Trained, checked

        dataset = torch_part(records)
        with seeded(words_of(rng), device=self.device, exact=self.exact) as generator:
            returned = _called(self.function, dataset, generator)
        return Trained(module=checked(returned, "learn", self.device), words=words_of(rng))

    @property
    def many(self) -> Callable[..., list[Trained]] | None:
        """How several networks are learned together, where the function offers it (``NetworkTraining``)."""
        return self._together if getattr(self.function, "together", False) else None

    def chunk_for(self, records: RecordSet) -> int:
        """Return how many networks are learned before they unlearn: one, unless several are learned together."""
        if self.many is None:
            return 1
        try:
            return int(self.function.chunk_for(torch_part(records)))  # type: ignore[attr-defined]
        except InvalidInputError:
            raise
        except Exception:
            # What is wrong with the network shows when it is learned, and is named there.
            return 1

    def _together(self, records: RecordSet, n: int, rng: np.random.Generator) -> list[Trained]:
        """Return n networks from the numbers of n calls."""
        from mechanisms.adapters.torch_models import Trained, checked

        dataset, starts, generators, words = torch_part(records), [], [], []
        for _ in range(n):
            with seeded(words_of(rng), device=self.device, exact=self.exact) as generator:
                starts.append(self.function.start())  # type: ignore[attr-defined]
                generators.append(generator)
            words.append(words_of(rng))
        with seeded(words[0], device=self.device, exact=self.exact):
            returned = _called(self.function.descend, starts, dataset, generators)  # type: ignore[attr-defined]
        return [
            Trained(module=checked(module, "learn", self.device), words=own)
            for module, own in zip(returned, words, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unlearning:
    """The user's ``unlearn``, run from the numbers of a trial."""

    function: TorchUnlearnFn
    device: str
    exact: bool

    def __call__(self, model: Trained, retained: RecordSet, request: RecordSet, rng: np.random.Generator) -> Trained:
        """Return the network without the request; it may be changed in place."""
        from mechanisms.adapters.torch_models import Trained, checked

        datasets = torch_part(retained), torch_part(request)
        with seeded(words_of(rng), device=self.device, exact=self.exact) as generator:
            returned = _called(self.function, model.module, *datasets, generator)
        return Trained(module=checked(returned, "unlearn", self.device), words=words_of(rng))

    @property
    def many(self) -> Callable[..., list[Trained]] | None:
        """How several networks unlearn together, where the function offers it (:mod:`mechanisms.approximate`)."""
        return self._together if getattr(self.function, "together", False) else None

    def _together(
        self, models: Sequence[Trained], retained: RecordSet, request: RecordSet, rng: np.random.Generator
    ) -> list[Trained]:
        from mechanisms.adapters.torch_models import Trained, checked

        datasets = torch_part(retained), torch_part(request)
        starts, generators, words = [], [], []
        for model in models:
            with seeded(words_of(rng), device=self.device, exact=self.exact) as generator:
                starts.append(_called(self.function.start, model.module))  # type: ignore[attr-defined]
                generators.append(generator)
            words.append(words_of(rng))
        with seeded(words[0], device=self.device, exact=self.exact):
            returned = _called(self.function.descend, starts, *datasets, generators)  # type: ignore[attr-defined]
        return [
            Trained(module=checked(module, "unlearn", self.device), words=own)
            for module, own in zip(returned, words, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observing:
    """What an attacker sees of a network; ``columns`` is how many outputs, or weights, a network is known to have."""

    asked: Asked
    sees: Sees
    columns: int | None

    def __call__(self, trained: Trained, deleted: RecordSet) -> Array:
        """Return what an attacker sees of a network; ``deleted`` were read when the deletion was bound."""
        from mechanisms.adapters.torch_models import seen_of, weights_of

        if self.sees == "weights":
            found = weights_of(trained)
            self._check(len(found), "weights")
            return found
        logits = self.asked.logits(trained)
        self._check(logits.shape[1], "outputs a record")
        return seen_of(logits, self.sees)

    def _check(self, found: int, what: str) -> None:
        if self.columns in (None, found):
            return
        raise InvalidInputError(
            field="the network",
            expected=f"of {self.columns} {what}, as the first one that learned all records",
            got=f"{found}",
            fix="build it with one size, such as nn.Linear(..., 10), whatever classes the records have: a size that "
            "follows the records gives a deletion away",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluating:
    """The user's ``evaluate``, asked in evaluation mode, without gradients, from numbers of the trial."""

    function: Callable[[Any], float]
    device: str
    exact: bool

    def __call__(self, trained: Trained) -> Any:
        """Return what the function says of a network."""
        from mechanisms.adapters.torch_models import undisturbed

        with undisturbed(trained, device=self.device, exact=self.exact):
            return self.function(trained.module)


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except AttributeError as error:
        if "'Subset' object" not in str(error):
            raise
        raise AttributeError(
            f"{error}. In every world records come as a torch Subset of the data set: read them by dataset[i] or a "
            "DataLoader, or take dataset.dataset at dataset.indices"
        ) from error
