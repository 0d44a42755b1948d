"""A table of pandas as records: texts, missing values and categories stay what they are until the user's own pipeline.

In the flow: :func:`~mechanisms.adapters.sklearn.from_estimator` fits on it, ``from_functions`` gives it to ``learn``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.errors import InvalidInputError, require

# More distinct whole numbers than these are values, and no classes, unless it is said.
_MOST_CLASSES = 50
Kind = Literal["classification", "regression"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TableRecords:
    """A table whose rows are records; build it with :func:`from_table`.

    Parameters
    ----------
    frame
        The table, target included. It is never changed, nor may a trial change it.
    target
        The column that is learned.
    name
        For reports.
    kind
        Whether the target is a class or a value.
    classes
        The labels of all records before any deletion, in order; empty for values.
    """

    frame: Any
    target: Any
    name: str
    kind: Kind
    classes: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        """Return sizes and no values: records are what must not end up in a log."""
        return f"<TableRecords {self.name!r}: {len(self)} records, {len(self.frame.columns) - 1} features>"

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def features(self) -> Any:
        """The table without its target, in the types in which it came."""
        return self.frame.drop(columns=[self.target])

    @property
    def targets(self) -> Any:
        """The target's column."""
        return self.frame[self.target].copy()

    def take(self, records: Sequence[int]) -> TableRecords:
        """Return the records at these positions only (possibly none), in the order given."""
        return replace(self, frame=self.frame.iloc[[int(i) for i in records]])

    def without(self, records: Sequence[int]) -> TableRecords:
        """Return all records but those at these positions, in their order."""
        left_out = {int(i) for i in records}
        return self.take([i for i in range(len(self)) if i not in left_out])

    def sha256(self) -> str:
        """Return the SHA-256 of the table: names, types and values of its columns, the index, and which is learned."""
        digest = hashlib.sha256(f"{self.target!r}\n{self.kind}\n{len(self)}\n".encode())
        for name, column in (("index", self.frame.index), *self.frame.items()):
            digest.update(f"\n{name!r}:{_type_of(column)}:".encode())
            digest.update(_content(column))
        return digest.hexdigest()

    def labels(self) -> NDArray[np.int64] | None:
        """Return the position of each record's label among ``classes``; ``None`` for values."""
        return self.positions(self.targets) if self.kind == "classification" else None

    def positions(self, labels: ArrayLike) -> NDArray[np.int64]:
        """Return the positions of labels among ``classes``; -1 for one that no record had."""
        of_label = {label: i for i, label in enumerate(self.classes)}
        return np.array([of_label.get(label, -1) for label in np.asarray(labels, dtype=object)], dtype=np.int64)


def from_table(
    frame: Any, *, target: Any, name: str = "table", kind: Literal["auto", "classification", "regression"] = "auto"
) -> TableRecords:
    """Return a table of pandas as records, for ``from_estimator`` and ``from_functions``; nothing in it is converted.

    Parameters
    ----------
    frame
        A ``pandas.DataFrame``, a row a record: numbers, texts, categories, dates, missing values.
    target
        The column that is learned. ``learn`` is given ``data.features`` (the other columns) and ``data.targets``.
    name
        For reports.
    kind
        "auto" reads texts, categories, flags, and whole numbers with at most 50 distinct values as classes.

    Returns
    -------
    TableRecords

    Raises
    ------
    InvalidInputError
        For what is no table, a target that is no column or has missing values, columns of one name, and fewer than two
        records.

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"town": ["Ulm", None, "Bonn"], "moved": ["no", "yes", "no"]})
    >>> table = from_table(frame, target="moved")
    >>> table.classes, table.without([0]).labels().tolist()
    (('no', 'yes'), [1, 0])
    """
    if not (hasattr(frame, "iloc") and hasattr(frame, "columns")):
        fix = "make one by pandas.DataFrame(...), or use mechanisms.from_arrays for arrays of numbers"
        raise InvalidInputError(field="frame", expected="a DataFrame", got=f"a {type(frame).__name__}", fix=fix)
    columns = list(frame.columns)
    fix = "name the column that is learned"
    require(target in columns, "target", expected=f"one of {columns}", got=target, fix=fix)
    repeated = sorted({str(c) for c in columns if columns.count(c) > 1})
    require(not repeated, "frame", expected="columns of distinct names", got=repeated, fix="rename one of them")
    require(len(frame) >= 2, "frame", expected="at least 2 records", got=len(frame), fix="add records")
    missing = int(frame[target].isna().sum())
    fix = "leave those records out: nothing can be learned of them"
    require(not missing, "target", expected="known for every record", got=f"{missing} missing values", fix=fix)
    known = ("auto", "classification", "regression")
    require(kind in known, "kind", expected=f"one of {', '.join(known)}", got=kind, fix="choose one of the three")
    labels = frame[target].unique().tolist()
    resolved: Kind = _kind_of(frame[target], len(labels)) if kind == "auto" else kind
    classes = tuple(sorted(labels)) if resolved == "classification" else ()
    return TableRecords(frame=frame.copy(), target=target, name=name, kind=resolved, classes=classes)


def _kind_of(column: Any, distinct: int) -> Kind:
    # Types of pandas' own (texts, categories) have kind "O".
    kind = getattr(column.dtype, "kind", "O")
    is_class = kind in "OUSb" or (kind in "iu" and distinct <= _MOST_CLASSES)
    return "classification" if is_class else "regression"


def _type_of(column: Any) -> str:
    categories = getattr(column.dtype, "categories", None)
    if categories is None:
        return str(column.dtype)
    return f"{column.dtype}, ordered {column.dtype.ordered}, of {[repr(c) for c in categories]}"


def _content(column: Any) -> bytes:
    """Return a column's values as bytes: of numpy's own types as they lie in memory, else each with its type."""
    if isinstance(column.dtype, np.dtype) and not column.dtype.hasobject:
        return np.ascontiguousarray(column.to_numpy()).tobytes()
    parts = (f"{type(value).__name__}:{value!r}".encode() for value in column)
    return b"".join(f"{len(part)}:".encode() + part for part in parts)
