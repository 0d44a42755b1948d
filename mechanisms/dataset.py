"""Data sets as fixed matrices, every value checked. A leaf; ``mechanisms.sources`` loads them.

Preprocessing is public and fixed in advance (division by constants, a column of ones). It is never fitted on the
data: a mean or scale that includes the deleted record would carry that record into the "retrained" world.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_numbers
from mechanisms.reading.notes import feature_notes, target_note

Array = NDArray[np.float64]
TargetKind = Literal["classification", "regression"]
# An integer-valued target column with at most this many distinct values is read as class labels under "auto".
MAX_CLASSES = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Records as fixed matrices.

    Its arrays are float64 and read-only: all trials share them, and one that changed them would change the others.

    Parameters
    ----------
    name
        For reports.
    features
        Shape (n, p), finite; :func:`from_arrays` checks every value.
    targets
        Shape (n, q), finite; one-hot rows for classification.
    kind
        "classification" (prediction = argmax over columns) or "regression".
    image_shape
        Height and width when the leading features of a record are an image in [0, 1].
    held_out
        Records that are never trained on, for measuring accuracy; ``None`` when there are none.
    notes
        What a user should know of how the data were read: sentences for reports.
    """

    name: str
    features: Array
    targets: Array
    kind: TargetKind
    image_shape: tuple[int, int] | None = None
    held_out: Dataset | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("features", "targets"):
            matrix = real_numbers(getattr(self, what), f"{self.name}: {what}")
            require(
                matrix.ndim == 2,
                f"{self.name}: {what}",
                expected="a matrix with one row a record",
                got=f"shape {matrix.shape}",
                fix="use from_arrays",
            )
            if matrix.flags.writeable:
                # A view: the caller's own array stays as writable as it was.
                matrix = matrix.view()
                matrix.setflags(write=False)
            object.__setattr__(self, what, matrix)
        require(
            len(self.features) == len(self.targets),
            f"{self.name}: targets",
            expected=f"{len(self.features)} rows, one for each record",
            got=len(self.targets),
            fix="align the two arrays",
        )

    def __repr__(self) -> str:
        """Return shapes and no values: records are what must not end up in a log."""
        held_out = "" if self.held_out is None else f", {self.held_out.n_records} held out"
        return (
            f"<Dataset {self.name!r}: {self.kind}, {self.n_records} records of {self.features.shape[1]} features and "
            f"{self.targets.shape[1]} targets{held_out}>"
        )

    def __len__(self) -> int:
        return self.n_records

    @property
    def n_records(self) -> int:
        """Number of records."""
        return len(self.features)

    def take(self, records: Sequence[int]) -> Dataset:
        """Return the named records only (possibly none), in the order given."""
        return self._rows(np.asarray(records, dtype=np.intp))

    def without(self, records: Sequence[int]) -> Dataset:
        """Return all records but the named ones."""
        return self._rows(np.setdiff1d(np.arange(self.n_records), np.asarray(records, dtype=np.intp)))

    def _rows(self, rows: NDArray[np.intp]) -> Dataset:
        return replace(self, features=self.features[rows], targets=self.targets[rows])

    def sha256(self) -> str:
        """Return the SHA-256 of the shapes and the little-endian float64 bytes of features and targets."""
        digest = hashlib.sha256()
        for matrix in (self.features, self.targets):
            digest.update(repr(matrix.shape).encode())
            digest.update(np.ascontiguousarray(matrix, dtype="<f8").tobytes())
        return digest.hexdigest()

    @property
    def can_score(self) -> bool:
        """Whether :meth:`score` is defined: R squared needs targets that vary."""
        return self.n_records > 0 and (self.kind == "classification" or bool(np.any(self.targets != self.targets[0])))

    @property
    def scoring_set(self) -> Dataset | None:
        """The held-out records when a score on them is defined, else ``None``."""
        return self.held_out if self.held_out is not None and self.held_out.can_score else None

    def score(self, weights: Array) -> float:
        """Return accuracy (classification) or R squared (regression) of linear weights (p, q) on these records.

        Raises
        ------
        InvalidInputError
            When neither is defined (:attr:`can_score`).
        """
        if not self.can_score:
            raise InvalidInputError(
                field=f"{self.name}: targets",
                expected="at least two distinct rows to score on",
                got=f"{self.n_records} record(s), all alike",
                fix="hold out more records",
            )
        predictions = self.features @ weights
        if self.kind == "classification":
            return float(np.mean(predictions.argmax(axis=1) == self.targets.argmax(axis=1)))
        residual = float(np.sum((self.targets - predictions) ** 2))
        return 1 - residual / float(np.sum((self.targets - self.targets.mean(axis=0)) ** 2))


def validate_forget(forget: Sequence[int], n_records: int, *, field: str = "forget") -> tuple[int, ...]:
    """Return a forget set as distinct indices, in the order given: that in which mechanisms see the records.

    Raises
    ------
    InvalidInputError
        When it is no sequence of integers, is empty, holds an index out of range or twice, or would leave no record.
    """
    if isinstance(forget, str) or not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in forget):
        raise InvalidInputError(
            field=field, expected="whole numbers, the indices of records", got=forget, fix="write 17, or (17, 123)"
        )
    records = tuple(int(i) for i in forget)
    if not records:
        raise InvalidInputError(
            field=field, expected="at least one record index", got="()", fix="name a record to delete"
        )
    for i in records:
        if not 0 <= i < n_records:
            raise InvalidInputError(
                field=field,
                expected=f"record indices in [0, {n_records - 1}]",
                got=i,
                fix="count records from 0 after the choice of rows",
            )
    if len(set(records)) != len(records):
        raise InvalidInputError(field=field, expected="distinct record indices", got=records, fix="remove the repeat")
    if len(records) == n_records:
        raise InvalidInputError(
            field=field, expected="a proper subset of the records", got=f"all {n_records}", fix="retain at least one"
        )
    return records


def from_arrays(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    name: str = "arrays",
    kind: TargetKind | Literal["auto"] = "auto",
    intercept: bool = False,
    divide_by: float = 1.0,
    feature_names: Sequence[str] | None = None,
) -> Dataset:
    """Return a data set from two arrays after checking every value.

    Parameters
    ----------
    features
        Shape (n, p), finite numbers.
    targets
        Shape (n,) or (n, q), finite. One column of labels becomes one-hot rows for classification.
    name
        For reports.
    kind
        "auto" reads one integer-valued column with 2 to 50 distinct values as class labels, and says so in
        ``Dataset.notes``. A kind that is named is obeyed, with any number of classes and for a constant target.
    intercept
        Append a column of ones.
    divide_by
        A public constant that every feature is divided by (before the column of ones).
    feature_names
        What notes call the p features; their numbers by default.

    Raises
    ------
    InvalidInputError
        Naming the field, the first bad value with its row and column, and the fix.
    """
    x = _finite_matrix(features, "features", name)
    y = _finite_matrix(targets, "targets", name)
    if len(x) != len(y):
        raise InvalidInputError(
            field=f"{name}: targets",
            expected=f"{len(x)} rows, one for each record",
            got=len(y),
            fix="align the two arrays",
        )
    if len(x) < 2:
        raise InvalidInputError(field=f"{name}: features", expected="at least 2 records", got=len(x), fix="add records")
    if not (np.isfinite(divide_by) and divide_by > 0):
        raise InvalidInputError(
            field="divide_by", expected="a positive number", got=divide_by, fix="use 1 for no scaling"
        )
    if kind == "auto" and np.all(y == y[0]):
        raise InvalidInputError(
            field=f"{name}: targets",
            expected="at least two distinct values",
            got=f"the constant {y[0].tolist()}",
            fix='choose another target column, or say kind = "regression" if it is meant to be constant',
        )
    notes = feature_notes(x, feature_names)
    resolved = _target_kind(y, kind, name)
    if kind == "auto":
        notes += target_note(y, as_classes=resolved == "classification", most_classes=MAX_CLASSES)
    if resolved == "classification" and y.shape[1] == 1:
        labels = np.unique(y[:, 0])
        y = (y == labels[None, :]).astype(np.float64)
    with np.errstate(over="ignore"):
        x = x / divide_by
    if not np.all(np.isfinite(x)):
        raise InvalidInputError(
            field="divide_by",
            expected="large enough that features stay finite",
            got=divide_by,
            fix="divide by about their usual size",
        )
    if intercept:
        x = np.hstack([x, np.ones((len(x), 1))])
    return Dataset(name=name, features=x, targets=y, kind=resolved, notes=notes)


def _target_kind(y: Array, kind: str, name: str) -> TargetKind:
    if kind == "auto":
        integral = y.shape[1] == 1 and bool(np.all(y == np.round(y))) and len(np.unique(y)) <= MAX_CLASSES
        return "classification" if integral else "regression"
    if kind == "classification":
        one_hot = bool(np.all((y == 0) | (y == 1))) and bool(np.all(y.sum(axis=1) == 1))
        # Any labels will do, but not one for each record: those are no classes, and one-hot rows of them fill memory.
        if not (one_hot if y.shape[1] > 1 else len(np.unique(y)) < max(len(y), 3)):
            raise InvalidInputError(
                field=f"{name}: targets",
                expected="one column of labels, some of them shared by records, or one-hot rows",
                got=f"{y.shape[1]} columns of other numbers" if y.shape[1] > 1 else f"{len(y):,} distinct values",
                fix='use kind = "regression"',
            )
        return "classification"
    if kind == "regression":
        return "regression"
    raise InvalidInputError(
        field="kind", expected='"auto", "classification" or "regression"', got=kind, fix="choose one of the three"
    )


def _finite_matrix(values: ArrayLike, what: str, name: str) -> Array:
    matrix = real_numbers(values, f"{name}: {what}", copy=True)
    if matrix.ndim == 1 and what == "targets":
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidInputError(
            field=f"{name}: {what}",
            expected="a matrix with one row a record",
            got=f"shape {matrix.shape}",
            fix="reshape to (records, columns)",
        )
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise InvalidInputError(
            field=f"{name}: {what}[{row}, {column}]",
            expected="a finite number",
            got=matrix[row, column],
            fix=f"remove or impute the {len(bad)} NaN or infinite value(s) with a public rule",
        )
    return matrix


def matrices(data: Any, mechanism: str) -> Dataset:
    """Return records that are matrices of numbers; refuse others for a mechanism that needs such.

    Raises
    ------
    InvalidInputError
        When they are not.
    """
    if isinstance(data, Dataset):
        return data
    raise InvalidInputError(
        field="data",
        expected=f"a Dataset, for {mechanism} learns from matrices of numbers",
        got=f"a {type(data).__name__}",
        fix="make one by from_arrays, or audit functions of your own by from_functions, which take any records",
    )
