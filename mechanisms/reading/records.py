"""Records of any kind: what a mechanism needs of a set of them, and a list of objects as such a set.

In the flow: :mod:`mechanisms.dataset` holds matrices, which are one kind of record set. A mechanism of matrices, and an
attack that reads them, refuse other kinds by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError, require

# What a digest is made of without asking: values that say all of what they are.
_PLAIN = (str, bytes, bool, int, float, complex, type(None))


@runtime_checkable
class RecordSet(Protocol):
    """Records that models learn from: a finite set in a fixed order, of any kind.

    :class:`~mechanisms.dataset.Dataset` (matrices of numbers) is one, :class:`RecordList` (any objects) another. Sets
    are never changed: ``take`` and ``without`` return new ones of the same kind.
    """

    @property
    def name(self) -> str:
        """What reports call the records."""
        ...

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def take(self, records: Sequence[int]) -> Self:
        """Return the records at these positions only (possibly none), in the order given."""
        ...

    def without(self, records: Sequence[int]) -> Self:
        """Return all records but those at these positions, in their order."""
        ...

    def sha256(self) -> str:
        """Return what tells this set from others: a digest of its records, equal for equal sets.

        Asked again after every chunk of trials, to see whether a trial changed the records.
        """
        ...


@runtime_checkable
class HasLabels(Protocol):
    """Records that know their classes, so that attacks on answers need no matrices of numbers."""

    def labels(self) -> NDArray[np.int64] | None:
        """Return the class of each record, by its position among a model's outputs; ``None`` where there is none."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordList:
    """Records that are any objects: texts, images of several sizes, names of files, rows of an index.

    Parameters
    ----------
    items
        One object a record. Models are given them as ``for item in records`` or ``records[i]``.
    name
        For reports.
    digest
        What tells these records from others, such as the SHA-256 of the file that they come from. Needed where items
        are objects of your own, or names of files, which say nothing of what is in the files. Without it the items are
        hashed: texts, bytes, numbers, arrays of numbers, and lists, tuples and dictionaries of them.
    chosen
        Positions among the records that ``digest`` is about; ``None`` for all of them. Filled by ``take``.

    Raises
    ------
    InvalidInputError
        Without a digest, for items that cannot be hashed.

    Examples
    --------
    >>> reviews = RecordList(items=["good", "bad", "so so"], name="reviews")
    >>> list(reviews.without([1]))
    ['good', 'so so']
    >>> reviews.without([1]).sha256() == reviews.take([0, 2]).sha256()
    True
    """

    items: Sequence[Any]
    name: str = "records"
    digest: str | None = None
    chosen: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        alone = isinstance(self.items, str | bytes)
        require(not alone, "items", expected="one object a record", got=type(self.items).__name__, fix="make a list")
        object.__setattr__(self, "items", tuple(self.items))
        said = self.digest is None or (isinstance(self.digest, str) and bool(self.digest))
        require(said, "digest", expected="a text", got=self.digest, fix="give for example the SHA-256 of the file")
        if self.chosen is None:
            # Once, so that what cannot be hashed is refused before anything is trained.
            self.sha256()

    def __repr__(self) -> str:
        """Return sizes and no values: records are what must not end up in a log."""
        return f"<RecordList {self.name!r}: {len(self)} records>"

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __getitem__(self, record: int) -> Any:
        return self.items[record]

    def take(self, records: Sequence[int]) -> RecordList:
        """Return the records at these positions only (possibly none), in the order given."""
        positions = range(len(self)) if self.chosen is None else self.chosen
        return replace(
            self, items=tuple(self.items[i] for i in records), chosen=tuple(int(positions[i]) for i in records)
        )

    def without(self, records: Sequence[int]) -> RecordList:
        """Return all records but those at these positions, in their order."""
        left_out = {int(i) for i in records}
        return self.take([i for i in range(len(self)) if i not in left_out])

    def sha256(self) -> str:
        """Return the given digest, with the positions of a part; or the SHA-256 of the items.

        Raises
        ------
        InvalidInputError
            Without a digest, for items that cannot be hashed.
        """
        if self.digest is None:
            digest = hashlib.sha256()
            for item in self.items:
                _add(digest, item)
            return digest.hexdigest()
        if self.chosen is None:
            return self.digest
        return hashlib.sha256(f"{self.digest}\n{self.chosen}".encode()).hexdigest()


def _add(digest: Any, item: Any) -> None:
    """Add an item to a digest, with its kind and length, so that no two items look alike."""
    if isinstance(item, _PLAIN):
        text = item if isinstance(item, bytes) else repr(item).encode()
        digest.update(f"{type(item).__name__}:{len(text)}:".encode() + text)
    elif isinstance(item, np.ndarray | np.generic) and not np.asarray(item).dtype.hasobject:
        array = np.ascontiguousarray(item)
        digest.update(f"array:{array.dtype.str}{np.shape(item)}:".encode() + array.tobytes())
    elif isinstance(item, list | tuple | dict):
        parts = list(item.items()) if isinstance(item, dict) else item
        digest.update(f"{type(item).__name__}:{len(parts)}:".encode())
        for part in parts:
            _add(digest, part)
    else:
        raise InvalidInputError(
            field="digest",
            expected="given for records that are objects of your own",
            got=f"none, and a record that is a {type(item).__name__}",
            fix="pass digest=..., a text that tells these records from others, such as the SHA-256 of their file",
        )


def records_for(mechanism: Any, data: Any) -> Any:
    """Return data as a mechanism takes them: records as they are, and what else it reads by its ``records(data)``.

    Raises
    ------
    InvalidInputError
        When they are no set of records for it.
    """
    reads = getattr(mechanism, "records", None)
    is_records = isinstance(data, RecordSet) and not isinstance(data, type)
    data = reads(data) if callable(reads) and not is_records else data
    require_records(data)
    return data


def require_records(data: Any) -> None:
    """Refuse what is no set of records.

    Raises
    ------
    InvalidInputError
        When it lacks a name, a length, ``take``, ``without`` or ``sha256``.
    """
    require(
        isinstance(data, RecordSet) and not isinstance(data, type),
        "data",
        expected="a set of records (name, len, take, without, sha256)",
        got=f"a {type(data).__name__}",
        fix="make one by mechanisms.from_arrays for numbers, or mechanisms.RecordList for other objects",
    )
