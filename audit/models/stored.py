"""Outputs of models that lie in files, and how the small files beside them are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.given.tables import read_csv
from audit.models.following.deletion import follow_models
from audit.models.following.records import follow_status
from audit.models.measuring import measure_models
from audit.models.one_deletion import from_models
from audit.models.outputs import OutputsKind
from audit.models.per_record import from_status
from audit.models.stacks import Stack
from audit.records.measures import MeasureResult
from audit.records.models import ModelsResult
from audit.records.result import AuditResult
from mechanisms.claim import Claim
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import open_array, read_arrays

Raw = NDArray[Any]
SUFFIXES = (".npy", ".csv", ".parquet")
_STORE_FLOATS = "store outputs as floats of 16 to 64 bits"


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredModels:
    """Outputs of models that lie in files; :meth:`audit` audits them.

    Parameters
    ----------
    path, layout
        Where they lie, and in which layout.
    kind
        What an output is, where the layout says it; else ``None``.
    unlearned, retrained
        Outputs of the two worlds of one deletion; ``None`` for a claim a record.
    outputs, status, kinds
        Of all models, for a claim a record; ``None`` for one deletion.
    labels, records, before
        The class and the name of each record, and outputs before unlearning; ``None`` where not known.
    seeds
        Training seeds of the models: of both worlds, or in the order of ``outputs``.
    notes
        How the files were read.
    """

    path: Path
    layout: str
    kind: OutputsKind | None = None
    unlearned: Raw | Stack | None = None
    retrained: Raw | Stack | None = None
    outputs: Raw | Stack | None = None
    status: Raw | None = None
    kinds: Raw | None = None
    labels: Raw | None = None
    records: tuple[str, ...] | None = None
    before: Raw | None = None
    seeds: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_one_deletion(self) -> bool:
        """Whether all models of a kind deleted the same set."""
        return self.status is None

    def audit(self, *, claim: Claim, kind: OutputsKind | None = None, **options: Any) -> ModelsResult:
        """Audit the models, by :func:`audit.from_models` or :func:`audit.from_status`.

        Parameters
        ----------
        claim
            What is claimed of the deletion, or of deleting the set that holds a record.
        kind
            What an output is, where the layout does not say it; "logits" by default.
        options
            As for the function that is called.

        Raises
        ------
        InvalidInputError
            As for the function that is called.
        """
        said: dict[str, Any] = {"claim": claim, "kind": kind or self.kind or "logits", **options}
        said = {"labels": self.labels, "records": self.records, **said}
        if self.status is not None and self.outputs is not None and self.kinds is not None:
            seeds = self.seeds[0] if self.seeds else ()
            return from_status(self.outputs, self.status, self.kinds, **{"seeds": seeds, **said})
        if self.unlearned is None or self.retrained is None:
            raise InvalidInputError(
                field=str(self.path), expected="two worlds, or a status", got="neither", fix="read the files again"
            )
        beside = {"before": self.before, "seeds": self.seeds or None}
        return from_models(self.unlearned, self.retrained, **{**beside, **said})

    def follow(
        self, *, claim: Claim, state: str | Path, kind: OutputsKind | None = None, **options: Any
    ) -> AuditResult | ModelsResult:
        """Audit models that are still being made: the files may grow from call to call.

        One deletion by :func:`audit.follow_models`, a claim a record by :func:`audit.follow_status`.

        Parameters
        ----------
        claim, state
            As for the function that is called.
        kind
            What an output is, where the layout does not say it; "logits" by default.
        options
            As for the function that is called.

        Raises
        ------
        InvalidInputError, SchemaError
            As for the function that is called.
        """
        said: dict[str, Any] = {"claim": claim, "state": state, "kind": kind or self.kind or "logits", **options}
        said = {"labels": self.labels, **said}
        if self.status is not None and self.outputs is not None and self.kinds is not None:
            beside = {"records": self.records, "seeds": self.seeds[0] if self.seeds else ()}
            return follow_status(self.outputs, self.status, self.kinds, **{**beside, **said})
        return follow_models(*self._one_deletion("read the files again"), **said)

    def measure(self, *, kind: OutputsKind | None = None, **options: Any) -> MeasureResult:
        """Measure the models where nothing is claimed, by :func:`audit.measure_models`.

        Parameters
        ----------
        kind
            What an output is, where the layout does not say it; "logits" by default.
        options
            As for the function that is called.

        Raises
        ------
        InvalidInputError
            As for the function that is called, and for a status: each record then has worlds of its own.
        """
        sides = self._one_deletion("state what is claimed: read_models(path).audit(claim=...) bounds every record's")
        said: dict[str, Any] = {"labels": self.labels, "records": self.records, "before": self.before, **options}
        return measure_models(*sides, kind=kind or self.kind or "logits", **said)

    def _one_deletion(self, fix: str) -> tuple[Raw | Stack, Raw | Stack]:
        if self.unlearned is None or self.retrained is None:
            raise InvalidInputError(
                field=str(self.path),
                expected="models of one deletion, unlearned and retrained",
                got="a status for each model and record",
                fix=fix,
            )
        return self.unlearned, self.retrained


def named(folder: Path, stem: str, suffixes: tuple[str, ...] = SUFFIXES) -> Path | None:
    """Return the one file of a stem in a folder, ``None`` where there is none.

    Raises
    ------
    InvalidInputError
        When there are several.
    """
    found = [folder / f"{stem}{suffix}" for suffix in suffixes if (folder / f"{stem}{suffix}").is_file()]
    if len(found) > 1:
        raise InvalidInputError(
            field=str(found[0]), expected="one file of that name", got=f"also {found[1].name}", fix="remove one"
        )
    return found[0] if found else None


def opened(path: Path) -> Raw:
    """Return outputs in a file, memory-mapped where the format allows it.

    Raises
    ------
    InvalidInputError
        For a file that is missing or damaged, or holds anything but floats.
    """
    if path.suffix == ".csv":
        return read_csv(path, releases=True)
    if path.suffix == ".parquet":
        return _parquet(path)
    return floats(open_array(path), str(path))


def floats(array: Raw, name: str) -> Raw:
    """Return an array of floats as it is.

    Raises
    ------
    InvalidInputError
        For another type.
    """
    if array.dtype.kind != "f":
        what = (
            "a type of 2 bytes that numpy does not know, perhaps bfloat16" if array.dtype.kind == "V" else array.dtype
        )
        fix = "widen bfloat16 to float32 before it is saved" if array.dtype.kind == "V" else _STORE_FLOATS
        raise InvalidInputError(field=name, expected="floats", got=f"dtype {what}", fix=fix)
    return array


def small(folder: Path, stem: str) -> Raw | None:
    """Return a small array beside the outputs (labels, status, kinds) in full, ``None`` where there is none."""
    path = folder / f"{stem}.npy"
    return next(iter(read_arrays(path).values())) if path.is_file() else None


def record_names(folder: Path) -> tuple[str, ...] | None:
    """Return the names in records.txt, one a line; ``None`` where there is none.

    Raises
    ------
    InvalidInputError
        When it is no text.
    """
    path = folder / "records.txt"
    if not path.is_file():
        return None
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise InvalidInputError(field=str(path), expected="UTF-8 text", got=str(error), fix="save it again") from None


def check_labels(labels: Raw | None, shape: tuple[int, ...], *, outputs: str, labels_file: str) -> None:
    """Refuse labels that are not one a record, and say so where the outputs are transposed.

    Parameters
    ----------
    shape
        Of one model's outputs, records first.
    outputs, labels_file
        Files, for the error.

    Raises
    ------
    InvalidInputError
        Naming the file that is to be mended.
    """
    if labels is None or len(labels) == shape[0]:
        return
    is_transposed = len(labels) in shape[1:]
    raise InvalidInputError(
        field=outputs if is_transposed else labels_file,
        expected=f"{len(labels):,} records before columns, as many as labels"
        if is_transposed
        else f"{shape[0]:,} labels",
        got=f"shape {shape}, which is transposed" if is_transposed else f"{len(labels):,}",
        fix="store records on the axis after the models" if is_transposed else "give one label a record",
    )


def _parquet(path: Path) -> Raw:
    try:
        from pyarrow import parquet
    except ImportError:
        raise InvalidInputError(
            field=str(path),
            expected=".npy or .csv where pyarrow is not installed",
            got=".parquet",
            fix="pip install pyarrow, or save the table with numpy.save",
        ) from None
    try:
        table = parquet.read_table(path)
        columns = [np.asarray(column.to_numpy()) for column in table.columns]
    except Exception as error:
        # A damaged file raises errors of many kinds.
        raise InvalidInputError(
            field=str(path), expected="a parquet table", got=f"{type(error).__name__}: {error}", fix="write it again"
        ) from None
    return floats(np.column_stack(columns), str(path))
