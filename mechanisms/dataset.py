"""Data sets as fixed matrices: named ones, and .npz or .csv files. A leaf.

Preprocessing is public and fixed in advance (division by constants, a column of ones). It is never fitted on the
data: a mean or scale that includes the deleted record would carry that record into the "retrained" world.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
TargetKind = Literal["classification", "regression"]
# An integer-valued target column with at most this many distinct values is read as class labels under "auto".
MAX_CLASSES = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Records as fixed matrices.

    Parameters
    ----------
    name
        For reports.
    features
        Shape (n, p), finite.
    targets
        Shape (n, q), finite; one-hot rows for classification.
    kind
        "classification" (prediction = argmax over columns) or "regression".
    image_shape
        Height and width when the leading features of a record are an image in [0, 1].
    held_out
        Records that are never trained on, for measuring accuracy; ``None`` when there are none.
    """

    name: str
    features: Array
    targets: Array
    kind: TargetKind
    image_shape: tuple[int, int] | None = None
    held_out: Dataset | None = None

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
        return Dataset(
            name=self.name,
            features=self.features[rows],
            targets=self.targets[rows],
            kind=self.kind,
            image_shape=self.image_shape,
            held_out=self.held_out,
        )

    def sha256(self) -> str:
        """Return the SHA-256 of the shapes and the little-endian float64 bytes of features and targets."""
        digest = hashlib.sha256()
        for matrix in (self.features, self.targets):
            digest.update(repr(matrix.shape).encode())
            digest.update(np.ascontiguousarray(matrix, dtype="<f8").tobytes())
        return digest.hexdigest()

    def score(self, weights: Array) -> float:
        """Return accuracy (classification) or R squared (regression) of linear weights (p, q) on these records."""
        predictions = self.features @ weights
        if self.kind == "classification":
            return float(np.mean(predictions.argmax(axis=1) == self.targets.argmax(axis=1)))
        residual = float(np.sum((self.targets - predictions) ** 2))
        return 1 - residual / float(np.sum((self.targets - self.targets.mean(axis=0)) ** 2))


def validate_forget(forget: Sequence[int], n_records: int, *, field: str = "forget") -> tuple[int, ...]:
    """Return a forget set as sorted distinct indices.

    Raises
    ------
    InvalidInputError
        When it is empty, holds an index out of range or twice, or would leave no record.
    """
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
    return tuple(sorted(records))


def from_arrays(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    name: str = "arrays",
    kind: TargetKind | Literal["auto"] = "auto",
    intercept: bool = False,
    divide_by: float = 1.0,
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
        "auto" reads one integer-valued column with 2 to 50 distinct values as class labels.
    intercept
        Append a column of ones.
    divide_by
        A public constant that every feature is divided by (before the column of ones).

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
    if np.all(y == y[0]):
        raise InvalidInputError(
            field=f"{name}: targets",
            expected="at least two distinct values",
            got=f"the constant {y[0].tolist()}",
            fix="choose another target column",
        )
    resolved = _target_kind(y, kind, name)
    if resolved == "classification" and y.shape[1] == 1:
        labels = np.unique(y[:, 0])
        y = (y == labels[None, :]).astype(np.float64)
    x = x / divide_by
    if intercept:
        x = np.hstack([x, np.ones((len(x), 1))])
    return Dataset(name=name, features=x, targets=y, kind=resolved)


def _target_kind(y: Array, kind: str, name: str) -> TargetKind:
    n_values = len(np.unique(y)) if y.shape[1] == 1 else 0
    integral = y.shape[1] == 1 and bool(np.all(y == np.round(y))) and n_values <= MAX_CLASSES
    if kind == "auto":
        return "classification" if integral else "regression"
    if kind == "classification":
        one_hot = y.shape[1] > 1 and bool(np.all((y == 0) | (y == 1))) and bool(np.all(y.sum(axis=1) == 1))
        if not (integral or one_hot):
            raise InvalidInputError(
                field=f"{name}: targets",
                expected=f"integer labels with at most {MAX_CLASSES} classes, or one-hot rows",
                got=f"{n_values or 'other'} distinct values",
                fix='use kind = "regression"',
            )
        return "classification"
    if kind == "regression":
        return "regression"
    raise InvalidInputError(
        field="kind", expected='"auto", "classification" or "regression"', got=kind, fix="choose one of the three"
    )


def _finite_matrix(values: ArrayLike, what: str, name: str) -> Array:
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            field=f"{name}: {what}",
            expected="numbers in a rectangular array",
            got=str(error),
            fix="encode every column as numbers",
        ) from None
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


def _digits() -> Dataset:
    """Return scikit-learn's 8x8 digits: pixels / 16 and a column of ones, one-hot labels, 1797 records."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    data = from_arrays(raw.data, raw.target, name="digits", kind="classification", intercept=True, divide_by=16.0)
    return Dataset(name=data.name, features=data.features, targets=data.targets, kind=data.kind, image_shape=(8, 8))


# Round public constants near each measurement's usual size, chosen without looking at any record's role:
# age, sex, body mass index, blood pressure, tc, ldl, hdl, tch, ltg, glucose.
_DIABETES_UNITS = np.array([100.0, 2.0, 50.0, 150.0, 300.0, 250.0, 100.0, 10.0, 10.0, 150.0])
_DIABETES_TARGET_UNIT = 350.0


def _diabetes() -> Dataset:
    """Return scikit-learn's diabetes in fixed public units (not its data-dependent standardisation), 442 records."""
    from sklearn.datasets import load_diabetes

    raw = load_diabetes(scaled=False)
    return from_arrays(
        raw.data / _DIABETES_UNITS,
        raw.target / _DIABETES_TARGET_UNIT,
        name="diabetes",
        kind="regression",
        intercept=True,
    )


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A data set that ships with an installed package."""

    load: Callable[[], Dataset]
    default_rows: int
    summary: str


NAMED: dict[str, NamedDataset] = {
    "digits": NamedDataset(
        load=_digits,
        default_rows=1500,
        summary="8x8 handwritten digits, 1797 records, 10 classes, pixels / 16 and ones",
    ),
    "diabetes": NamedDataset(
        load=_diabetes,
        default_rows=342,
        summary="disease progression, 442 records, regression, fixed public units and ones",
    ),
}


def load_named(name: str, *, rows: int | None = None) -> Dataset:
    """Return a named data set: the first ``rows`` records to train on, the others held out.

    Raises
    ------
    InvalidInputError
        For an unknown name, or a number of rows out of range.
    """
    if name not in NAMED:
        raise InvalidInputError(
            field="data.name", expected=f"one of {', '.join(NAMED)}", got=repr(name), fix="or give data.path for a file"
        )
    return _hold_out(NAMED[name].load(), NAMED[name].default_rows if rows is None else rows)


def load_file(
    path: str | Path,
    *,
    target: str = "y",
    rows: int | None = None,
    kind: TargetKind | Literal["auto"] = "auto",
    intercept: bool = True,
    divide_by: float = 1.0,
) -> Dataset:
    """Return a data set from a file.

    Parameters
    ----------
    path
        A ``.csv`` with a header row, or an ``.npz`` with an array ``X`` and the target array.
    target
        Name of the target column (csv) or array (npz).
    rows
        Train on the first ``rows`` records and hold out the others; all records by default.
    kind, intercept, divide_by
        As in :func:`from_arrays`.

    Raises
    ------
    InvalidInputError
        When the file cannot be read, or any value in it is unusable.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(field="data.path", expected="an existing file", got=str(path), fix="check the path")
    readers = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix not in readers:
        raise InvalidInputError(
            field="data.path", expected="a .csv or .npz file", got=path.name, fix="convert the file to one of the two"
        )
    features, targets = readers[path.suffix](path, target)
    data = from_arrays(features, targets, name=path.name, kind=kind, intercept=intercept, divide_by=divide_by)
    return _hold_out(data, data.n_records if rows is None else rows)


def _hold_out(data: Dataset, rows: int) -> Dataset:
    if not 2 <= rows <= data.n_records:
        raise InvalidInputError(
            field="data.rows",
            expected=f"in [2, {data.n_records}]",
            got=rows,
            fix="lower it, or leave it out for the default",
        )
    train, rest = np.arange(rows), np.arange(rows, data.n_records)
    kept = data.take(train.tolist())
    if np.all(kept.targets == kept.targets[0]):
        raise InvalidInputError(
            field="data.rows", expected="rows with at least two distinct targets", got=rows, fix="use more rows"
        )
    return Dataset(
        name=data.name,
        features=kept.features,
        targets=kept.targets,
        kind=data.kind,
        image_shape=data.image_shape,
        held_out=data.take(rest.tolist()) if len(rest) else None,
    )


def _read_csv(path: Path, target: str) -> tuple[Array, Array]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            table = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            field=path.name, expected="a UTF-8 csv file", got=str(error), fix="export it again"
        ) from None
    if target not in header:
        raise InvalidInputError(
            field="data.target",
            expected=f"one of the columns {', '.join(header)}",
            got=repr(target),
            fix="name the target column",
        )
    if not table:
        raise InvalidInputError(field=path.name, expected="at least one record", got="a header only", fix="add records")
    values = np.array([_csv_row(path, line, header, row) for line, row in table])
    column = header.index(target)
    return np.delete(values, column, axis=1), values[:, column]


def _csv_row(path: Path, line: int, header: list[str], row: list[str]) -> list[float]:
    if len(row) != len(header):
        raise InvalidInputError(
            field=f"{path.name} line {line}", expected=f"{len(header)} cells", got=len(row), fix="mend the row"
        )
    values = []
    for name, cell in zip(header, row, strict=True):
        try:
            values.append(float(cell))
        except ValueError:
            raise InvalidInputError(
                field=f"{path.name} line {line}, column {name}",
                expected="a number",
                got=repr(cell),
                fix="encode text columns as numbers and fill empty cells with a public rule",
            ) from None
    return values


def _read_npz(path: Path, target: str) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInputError(
            field=path.name,
            expected="an .npz file of plain numeric arrays",
            got=str(error),
            fix="save it with numpy.savez",
        ) from None
    for name in ("X", target):
        if name not in arrays:
            raise InvalidInputError(
                field=path.name,
                expected=f"an array named {name}",
                got=f"arrays {', '.join(arrays) or 'none'}",
                fix="save features as X and name the target array in data.target",
            )
    return arrays["X"], arrays[target]
