"""A torch data set as records: deleted by index, hashed by what it holds, and given to functions as torch gives parts.

In the flow: :mod:`mechanisms.adapters.torch` makes one of whatever data set an audit is given. Torch is imported when a
part is asked for, never before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.models import OpaqueModelError, parts_of
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.records import RecordSet

_DEEPEST = 4
_GIVE_DIGEST = (
    "wrap it: mechanisms.TorchRecords(dataset=..., digest=...), with a text that tells these records from others, such "
    "as the SHA-256 of their file"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchRecords:
    """A torch data set as records that an audit deletes by index; nothing in it is copied or flattened.

    ``audit.run`` makes one by itself of a data set that is given to :func:`from_torch`'s mechanism. Make one to say a
    name or a digest.

    Parameters
    ----------
    dataset
        Anything with a length and ``dataset[i]``: a torch ``Dataset`` of any kind, or a list.
    name
        For reports; the name of its class by default.
    digest
        What tells these records from others. By default everything that the data set holds is hashed: tensors, arrays,
        numbers, texts, transforms with their settings, and data sets within it. Needed where the records lie elsewhere
        (files that it names, a database), where it holds functions such as a ``lambda``, and where it changes when it
        is read. A digest that is given is believed: a change of the data by a trial is then not seen.
    chosen
        Positions in ``dataset`` of the records that are meant; ``None`` for all. Filled by ``take``.

    Raises
    ------
    InvalidInputError
        For what has no length or no records, and without a digest for what cannot be hashed.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> records = TorchRecords(dataset=TensorDataset(torch.eye(3), torch.arange(3)))
    >>> records.name, len(records), records.without([1]).chosen
    ('TensorDataset', 3, (0, 2))
    >>> records.without([1]).part()[1][1]
    tensor(2)
    """

    dataset: Any
    name: str = ""
    digest: str | None = None
    chosen: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.chosen is not None:
            return
        _check_dataset(self.dataset)
        object.__setattr__(self, "name", self.name or type(self.dataset).__name__)
        said = self.digest is None or (isinstance(self.digest, str) and bool(self.digest))
        require(said, "digest", expected="a text", got=self.digest, fix="give for example the SHA-256 of the file")
        why = _lies_elsewhere(self.dataset, len(self.dataset)) if self.digest is None else None
        require(
            not why,
            "data",
            expected="a data set that holds its records, so that they can be told from others",
            got=f"a {type(self.dataset).__name__} {why}",
            fix=_GIVE_DIGEST,
        )
        # Once, so that what cannot be hashed is refused before anything is trained.
        self.sha256()

    def __repr__(self) -> str:
        """Return sizes and no values: records are what must not end up in a log."""
        return f"<TorchRecords {self.name!r}: {len(self)} records>"

    def __len__(self) -> int:
        return len(self.dataset) if self.chosen is None else len(self.chosen)

    def take(self, records: Sequence[int]) -> TorchRecords:
        """Return the records at these positions only (possibly none), in the order given."""
        positions = range(len(self)) if self.chosen is None else self.chosen
        return replace(self, chosen=tuple(int(positions[i]) for i in records))

    def without(self, records: Sequence[int]) -> TorchRecords:
        """Return all records but those at these positions, in their order."""
        left_out = {int(i) for i in records}
        return self.take([i for i in range(len(self)) if i not in left_out])

    def sha256(self) -> str:
        """Return the given digest, or that of all that the data set holds; with the positions, for a part.

        Raises
        ------
        InvalidInputError
            Without a digest, for a data set that cannot be taken apart.
        """
        whole = _digest_of(self.dataset) if self.digest is None else self.digest
        if self.chosen is None:
            return whole
        return hashlib.sha256(f"{whole}\n{self.chosen}".encode()).hexdigest()

    def part(self) -> Any:
        """Return the records as a torch ``Subset``: in every world of the same kind, all records included."""
        from torch.utils.data import Subset

        return Subset(self.dataset, list(range(len(self)) if self.chosen is None else self.chosen))

    def labels(self) -> NDArray[np.int64] | None:
        """Return the class of each record, where records are pairs whose second part is a whole number."""
        part = self.part()
        found = [_label_of(part[i]) for i in range(len(part))]
        return None if any(label is None for label in found) else np.array(found, dtype=np.int64)


def torch_part(records: RecordSet) -> Any:
    """Return records of any kind as a torch ``Subset`` that a DataLoader reads.

    Matrices of numbers become tensors: features of 32 bits, classes as whole numbers.
    """
    from torch import as_tensor, float32
    from torch.utils.data import Subset, TensorDataset

    if isinstance(records, TorchRecords):
        return records.part()
    if not isinstance(records, Dataset):
        return Subset(records, range(len(records)))
    features = as_tensor(np.array(records.features), dtype=float32)
    if records.kind == "classification":
        y = records.targets
        targets = as_tensor(y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0).astype(np.int64))
    else:
        targets = as_tensor(np.array(records.targets), dtype=float32)
    return Subset(TensorDataset(features, targets), range(len(records)))


def torch_records(data: Any) -> RecordSet:
    """Return what an audit was given as records: a record set as it is, anything else as :class:`TorchRecords`.

    Raises
    ------
    InvalidInputError
        For what is no data set with a length and records by position.
    """
    return data if isinstance(data, RecordSet) and not isinstance(data, type) else TorchRecords(dataset=data)


def _check_dataset(data: Any) -> None:
    """Refuse what is no map-style data set, with the one step that makes it one."""
    kind = type(data).__name__
    fixes = {
        "DataLoader": "give the data set itself: loader.dataset",
        "Tensor": "make one by torch.utils.data.TensorDataset(inputs, labels)",
        "ndarray": "make one by torch.utils.data.TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels))",
        "DataFrame": "make records by mechanisms.from_table, for from_estimator and from_functions",
        "dict": "make a data set whose records are dataset[0], dataset[1], ...",
        "str": "load it first",
        "type": "call it: an instance is meant",
    }
    mapped = hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__")
    if kind not in fixes and mapped:
        require(len(data) > 0, "data", expected="at least one record", got="none", fix="load records first")
        return
    raise InvalidInputError(
        field="data",
        expected="a torch Dataset with a length, whose records are dataset[i]",
        got=f"a {kind}",
        fix=fixes.get(kind, "an iterable data set has no positions to delete: read it into a list of records"),
    )


def _digest_of(dataset: Any) -> str:
    digest = hashlib.sha256()
    try:
        for part in parts_of(dataset):
            words = "" if isinstance(part, bytes) else f"{part.dtype.str}{part.shape}"
            body = part if isinstance(part, bytes) else np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            digest.update(f"{words}{len(body)}:".encode())
            digest.update(body)
    except OpaqueModelError as error:
        raise InvalidInputError(
            field="data",
            expected="a data set that can be hashed",
            got=f"a {type(dataset).__name__}: {error}",
            fix=_GIVE_DIGEST,
        ) from None
    return digest.hexdigest()


def _lies_elsewhere(dataset: Any, n_records: int) -> str:
    """Return why a data set may not hold its records, in words; empty where it does.

    Names of files say nothing of what is in them, and look like texts: one a record makes both a case to ask about.
    """
    if _count(dataset, _n_texts, 0) >= n_records:
        return "that holds a text for each record (are they names of files?)"
    if _count(dataset, _n_numbers, 0) < n_records:
        return "that holds fewer numbers than records (do they lie in files?)"
    return ""


def _count(value: Any, counted: Callable[[Any], int | None], depth: int) -> int:
    """Return the sum of what is counted in a value and in all that it holds."""
    found = counted(value)
    if found is not None:
        return found
    if depth >= _DEEPEST or isinstance(value, type):
        return 0
    if isinstance(value, Mapping):
        inside: Iterable[Any] = value.values()
    else:
        inside = value if isinstance(value, list | tuple) else getattr(value, "__dict__", {}).values()
    return sum(_count(item, counted, depth + 1) for item in inside)


def _n_numbers(value: Any) -> int | None:
    if isinstance(value, int | float | complex | np.generic):
        return 1
    is_array = isinstance(value, np.ndarray) or hasattr(value, "iloc") or hasattr(value, "numel")
    return int(np.prod(value.shape)) if is_array else None


def _n_texts(value: Any) -> int | None:
    if isinstance(value, str | PathLike):
        return 1
    if isinstance(value, np.ndarray):
        return value.size if value.dtype.kind in "OUS" else 0
    if hasattr(value, "iloc"):
        types = value.dtypes if hasattr(value, "columns") else [value.dtype]
        return len(value) if any(getattr(kind, "kind", "O") == "O" for kind in types) else 0
    return 0 if isinstance(value, int | float) or hasattr(value, "numel") else None


def _label_of(item: Any) -> int | None:
    if not isinstance(item, list | tuple) or len(item) != 2:
        return None
    try:
        label = np.asarray(item[1])
        whole = label.size == 1 and label.dtype.kind in "biuf" and float(label.ravel()[0]).is_integer()
    except Exception:
        return None
    return int(label.ravel()[0]) if whole else None
