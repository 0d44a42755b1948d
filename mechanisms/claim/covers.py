"""Which deletions a claim is about: a set, any record, sets of some size, or sets that coins draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mechanisms.claim.guarantees import JSON_CONFIG
from mechanisms.errors import require
from mechanisms.reading.scalars import whole_number


@dataclass(frozen=True, kw_only=True)
class ThisSet:
    """The claim is about the forget set that is audited, and about no other."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["this_set"] = "this_set"

    @property
    def words(self) -> str:
        """Return "this set"."""
        return "this set"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted >= 1


@dataclass(frozen=True, kw_only=True)
class OneRecord:
    """The claim is about deleting any one record; it says nothing of two that are deleted at once."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["one_record"] = "one_record"

    @property
    def words(self) -> str:
        """Return "any one record"."""
        return "any one record"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted == 1


@dataclass(frozen=True, kw_only=True)
class Exactly:
    """The claim is about deleting any set of exactly k records at once.

    Parameters
    ----------
    k
        At least 1.
    """

    __pydantic_config__ = JSON_CONFIG
    k: int
    kind: Literal["exactly"] = "exactly"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _size(self.k))

    @property
    def words(self) -> str:
        """Return "any set of exactly 3 records"."""
        return f"any set of exactly {_records(self.k)}"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted == self.k


@dataclass(frozen=True, kw_only=True)
class UpTo:
    """The claim is about deleting any set of at most k records at once.

    Parameters
    ----------
    k
        At least 1.
    """

    __pydantic_config__ = JSON_CONFIG
    k: int
    kind: Literal["up_to"] = "up_to"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _size(self.k))

    @property
    def words(self) -> str:
        """Return "any set of up to 3 records"."""
        return f"any set of up to {_records(self.k)}"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return 1 <= n_deleted <= self.k


@dataclass(frozen=True, kw_only=True)
class OnAverage:
    """The claim is about the sets that coins draw, in the mean over the draws; it says nothing of any one of them.

    For each set there may be another delta, of which the claim's is the mean: enough where the auditor draws the set
    (:func:`audit.from_lots`), and nowhere else.

    Parameters
    ----------
    candidates
        How many records the coins draw from, at least 2.
    draw
        "fair" (a coin each), "paired" (one of each pair), or "exactly_k", with k.
    k
        How many "exactly_k" draws.
    """

    __pydantic_config__ = JSON_CONFIG
    candidates: int
    draw: Literal["fair", "paired", "exactly_k"] = "fair"
    k: int | None = None
    kind: Literal["on_average"] = "on_average"

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", _size(self.candidates, "covers.candidates"))
        known = self.draw in ("fair", "paired", "exactly_k")
        require(known, "covers.draw", expected="fair, paired or exactly_k", got=self.draw, fix="name the draw")
        given = self.k is not None if self.draw == "exactly_k" else self.k is None
        require(given, "covers.k", expected='given for "exactly_k" alone', got=self.k, fix="say how many are drawn")

    @property
    def words(self) -> str:
        """Return "sets drawn by fair coins from 200 records, in the mean over the draws"."""
        how = {"fair": "drawn by fair coins", "paired": "of one of each pair"}.get(self.draw, f"of {self.k}")
        return f"sets {how} from {_records(self.candidates)}, in the mean over the draws"

    def includes(self, n_deleted: int) -> bool:
        """Return ``False``: of no single set is anything said."""
        return False


Covers = ThisSet | OneRecord | Exactly | UpTo | OnAverage


def _size(k: Any, field: str = "covers.k") -> int:
    fix = "say how many records are deleted" if field == "covers.k" else "say how many records coins draw from"
    size = whole_number(k, field, fix=fix)
    require(size >= 1, field, expected="at least 1", got=size, fix=fix)
    return size


def _records(k: int) -> str:
    return f"{k} record{'s' if k != 1 else ''}"
