"""Shards that are learned apart, so that few of them need to be learned again (SISA).

In the flow: its two functions are the ``learn`` and the ``unlearn`` of :func:`mechanisms.from_torch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Subset

from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import whole_number


class ShardEnsemble(nn.Module):  # type: ignore[misc]
    """Networks of one shard each; they answer with the logarithm of their mean probabilities.

    Parameters
    ----------
    members
        By the number of their shard.
    shard_of
        The shard of each record, by its place in the data set.
    """

    def __init__(self, members: Mapping[int, nn.Module], shard_of: Mapping[int, int]) -> None:
        super().__init__()
        self.members = nn.ModuleDict({str(shard): members[shard] for shard in sorted(members)})
        # No buffer: who is where is not what the network shows.
        self.shard_of = dict(shard_of)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits whose probabilities are the mean of the members'."""
        answers = torch.stack([nn.functional.log_softmax(member(x), dim=-1) for member in self.members.values()])
        return torch.logsumexp(answers, dim=0) - math.log(len(answers))


@dataclass(frozen=True, kw_only=True)
class Sisa:
    """Learn a network for each shard of the records, and learn those shards again that held a record to forget.

    ``from_torch(sisa.learn, sisa.unlearn)``.

    Parameters
    ----------
    member
        ``member(dataset, generator) -> nn.Module``: learns one network, as the ``learn`` of
        :func:`mechanisms.from_torch`.
    shards
        How many, at least 2. A shard that no record fell into has no network.

    Raises
    ------
    InvalidInputError
        For a number out of range.

    Notes
    -----
    Each record is put into a shard by a draw of its own, so that the shards of the others do not depend on it: what is
    left is a draw from learning without it, exactly, and only what it costs is approximate. Shards of equal size would
    show by one record more that somebody left. Slices within a shard, the paper's second half, are left out.

    References
    ----------
    Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie, Papernot 2019 (arXiv:1912.03817).
    """

    member: Callable[[Any, torch.Generator], nn.Module]
    shards: int = 5

    def __post_init__(self) -> None:
        is_function = callable(self.member) and not isinstance(self.member, nn.Module)
        fix = "give the function that learns one network"
        require(is_function, "member", expected="a function", got=f"a {type(self.member).__name__}", fix=fix)
        expected = "a whole number of at least 2"
        count = whole_number(self.shards, "shards", expected=expected, fix="5 is the paper's usual one")
        require(count >= 2, "shards", expected=expected, got=self.shards, fix="5 is the paper's usual one")

    def learn(self, dataset: Any, generator: torch.Generator) -> ShardEnsemble:
        """Return an ensemble of one network a shard."""
        places = _places(dataset)
        drawn = torch.randint(self.shards, (len(places),), generator=generator).tolist()
        shard_of = dict(zip(places, drawn, strict=True))
        return ShardEnsemble(self._members(sorted(set(drawn)), dataset, shard_of, generator), shard_of)

    def unlearn(self, model: nn.Module, retained: Any, forget: Any, generator: torch.Generator) -> ShardEnsemble:
        """Return the ensemble, with the shards learned again that held a record to forget.

        Raises
        ------
        InvalidInputError
            For a network that :meth:`learn` did not return, and records that it did not learn.
        """
        if not isinstance(model, ShardEnsemble):
            fix = "give both functions of one Sisa to from_torch"
            raise InvalidInputError(
                field="model", expected="what Sisa.learn returns", got=f"a {type(model).__name__}", fix=fix
            )
        places = _places(forget)
        unknown = [place for place in (*places, *_places(retained)) if place not in model.shard_of]
        require(not unknown, "records", expected="those that were learned", got=unknown[:5], fix="delete only these")
        touched = sorted({model.shard_of[place] for place in places})
        shard_of = {place: model.shard_of[place] for place in _places(retained)}
        kept = {int(shard): member for shard, member in model.members.items() if int(shard) not in touched}
        fresh = self._members([shard for shard in touched if shard in shard_of.values()], retained, shard_of, generator)
        require(bool(kept or fresh), "retained", expected="at least one record", got="none", fix="delete fewer records")
        return ShardEnsemble({**kept, **fresh}, shard_of)

    def _members(
        self, shards: Sequence[int], dataset: Any, shard_of: Mapping[int, int], generator: torch.Generator
    ) -> dict[int, nn.Module]:
        whole, places = getattr(dataset, "dataset", dataset), _places(dataset)
        held = {shard: [place for place in places if shard_of[place] == shard] for shard in shards}
        return {shard: self.member(Subset(whole, rows), generator) for shard, rows in held.items()}


def _places(dataset: Any) -> list[int]:
    """Return where the records of a part lie in the whole data set."""
    return [int(i) for i in dataset.indices] if isinstance(dataset, Subset) else list(range(len(dataset)))
