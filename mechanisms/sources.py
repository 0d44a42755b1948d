"""Where data sets come from: installed packages, and .csv or .npz files."""

from __future__ import annotations

import csv
import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.dataset import Dataset, TargetKind, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.reading.cells import fix_of, may_have_decimal_commas, number_of
from mechanisms.reading.numpy_files import check_table, names_in, read_arrays

Array = NDArray[np.float64]
# Features, targets, and the names of features where they have any.
Table = tuple[ArrayLike, ArrayLike, list[str] | None]


def _digits() -> Dataset:
    """Return scikit-learn's 8x8 digits: pixels / 16 and a column of ones, one-hot labels, 1797 records."""
    pixels, labels = _raw_digits()
    # from_arrays copies: whoever writes into a data set does not write into the next one.
    data = from_arrays(pixels, labels, name="digits", kind="classification", intercept=True, divide_by=16.0)
    return replace(data, image_shape=(8, 8))


@functools.cache
def _raw_digits() -> tuple[Array, Array]:
    # Parsing the file takes a fifth of a second.
    try:
        table = _shipped("digits.csv.gz", delimiter=",")
    except FileNotFoundError:
        from sklearn.datasets import load_digits

        raw = load_digits()
        return raw.data, raw.target
    return table[:, :-1], table[:, -1].astype(int)


def _shipped(name: str, delimiter: str | None = None, *, header: int = 0) -> Array:
    """Return a table that scikit-learn ships, read without importing it: that takes more than a second."""
    spec = importlib.util.find_spec("sklearn")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    return np.loadtxt(folder / "datasets" / "data" / name, delimiter=delimiter, skiprows=header)


# Round public constants near each measurement's usual size, chosen without looking at any record's role:
# age, sex, body mass index, blood pressure, tc, ldl, hdl, tch, ltg, glucose.
_DIABETES_UNITS = np.array([100.0, 2.0, 50.0, 150.0, 300.0, 250.0, 100.0, 10.0, 10.0, 150.0])
_DIABETES_TARGET_UNIT = 350.0


def _diabetes() -> Dataset:
    """Return scikit-learn's diabetes in fixed public units (not its data-dependent standardisation), 442 records."""
    try:
        features, target = _shipped("diabetes_data_raw.csv.gz"), _shipped("diabetes_target.csv.gz")
    except FileNotFoundError:
        from sklearn.datasets import load_diabetes

        raw = load_diabetes(scaled=False)
        features, target = raw.data, raw.target
    return from_arrays(
        features / _DIABETES_UNITS,
        target / _DIABETES_TARGET_UNIT,
        name="diabetes",
        kind="regression",
        intercept=True,
    )


# Round public constants near each measurement's usual value and spread: radius, texture, perimeter, area, smoothness,
# compactness, concavity, concave points, symmetry and fractal dimension, each as mean, error and worst.
_CANCER_CENTRES = np.ravel(
    [
        (14, 19, 92, 650, 0.1, 0.1, 0.09, 0.05, 0.18, 0.06),
        (0.4, 1.2, 3, 40, 0.007, 0.025, 0.03, 0.012, 0.02, 0.004),
        (16, 25, 107, 880, 0.13, 0.25, 0.27, 0.11, 0.29, 0.08),
    ]
)
_CANCER_UNITS = np.ravel(
    [
        (3.5, 4.3, 24, 350, 0.014, 0.05, 0.08, 0.04, 0.027, 0.007),
        (0.28, 0.55, 2, 45, 0.003, 0.018, 0.03, 0.006, 0.008, 0.0026),
        (4.8, 6.1, 34, 570, 0.023, 0.16, 0.2, 0.065, 0.06, 0.018),
    ]
)
_CANCER_NORM = 5.0


def _breast_cancer() -> Dataset:
    """Return scikit-learn's breast cancer: fixed public centres and units, ones, norms at most 5, 569 records."""
    try:
        table = _shipped("breast_cancer.csv", delimiter=",", header=1)
        features, labels = table[:, :-1], table[:, -1].astype(int)
    except FileNotFoundError:
        from sklearn.datasets import load_breast_cancer

        raw = load_breast_cancer()
        features, labels = raw.data, raw.target
    rows = np.hstack([(features - _CANCER_CENTRES) / _CANCER_UNITS, np.ones((len(features), 1))])
    # A row is shortened by itself alone: nothing is fitted to the data.
    rows *= np.minimum(1.0, _CANCER_NORM / np.linalg.norm(rows, axis=1))[:, None]
    return from_arrays(rows, labels, name="breast_cancer", kind="classification")


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A data set that ships with an installed package."""

    load: Callable[[], Dataset]
    default_rows: int
    summary: str


NAMED: dict[str, NamedDataset] = {
    "breast_cancer": NamedDataset(
        load=_breast_cancer,
        default_rows=400,
        summary="malignant or benign, 569 records, fixed public units and ones, norms at most 5; trains on the first "
        "400",
    ),
    "digits": NamedDataset(
        load=_digits,
        default_rows=1500,
        summary="8x8 handwritten digits, 1797 records, 10 classes, pixels / 16 and ones; trains on the first 1500",
    ),
    "diabetes": NamedDataset(
        load=_diabetes,
        default_rows=342,
        summary="disease progression, 442 records, regression, fixed public units and ones; trains on the first 342",
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
    return _hold_out(NAMED[name].load(), NAMED[name].default_rows if rows is None else rows, constant=False)


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
    if not _is_file(path):
        raise InvalidInputError(field="data.path", expected="an existing file", got=str(path), fix="check the path")
    readers: dict[str, Callable[[Path, str], Table]] = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InvalidInputError(
            field="data.path", expected="a .csv or .npz file", got=path.name, fix="convert the file to one of the two"
        )
    features, targets, names = readers[path.suffix.lower()](path, target)
    data = from_arrays(
        features,
        targets,
        name=path.name,
        kind=kind,
        intercept=intercept,
        divide_by=divide_by,
        feature_names=names,
    )
    return _hold_out(data, data.n_records if rows is None else rows, constant=kind != "auto")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that no file can have: too long, or with a null byte.
        return False


def _hold_out(data: Dataset, rows: int, *, constant: bool) -> Dataset:
    """Return the first rows to train on, the others held out; a ``constant`` target there was asked for."""
    if not 2 <= rows <= data.n_records:
        raise InvalidInputError(
            field="data.rows",
            expected=f"in [2, {data.n_records}]",
            got=rows,
            fix="lower it, or leave it out for the default",
        )
    train, rest = np.arange(rows), np.arange(rows, data.n_records)
    kept = data.take(train.tolist())
    if not constant and np.all(kept.targets == kept.targets[0]):
        raise InvalidInputError(
            field="data.rows", expected="rows with at least two distinct targets", got=rows, fix="use more rows"
        )
    return replace(kept, held_out=data.take(rest.tolist()) if len(rest) else None)


def _read_csv(path: Path, target: str) -> Table:
    try:
        check_table(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            table = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InvalidInputError(
            field=path.name, expected="a readable UTF-8 csv file", got=str(error), fix="export it again"
        ) from None
    if not header:
        raise InvalidInputError(
            field=path.name, expected="a header row and records", got="an empty file", fix="export it again"
        )
    unnamed = [i for i, name in enumerate(header) if not name.strip() or name.strip().startswith("Unnamed: ")]
    if unnamed:
        raise InvalidInputError(
            field=f"{path.name} line 1",
            expected="a name for every column",
            got=f"none for column {unnamed[0] + 1} of {len(header)}",
            fix="write tables without row numbers (pandas: index=False), or name what a model may learn from",
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InvalidInputError(
            field=f"{path.name} line 1",
            expected="distinct column names",
            got=f"{', '.join(repeated)} more than once",
            fix="rename or remove columns",
        )
    if target not in header:
        one_column = len(header) == 1 and any(separator in header[0] for separator in ";\t|")
        raise InvalidInputError(
            field="data.target",
            expected=f"one of the columns {', '.join(header)}",
            got=repr(target),
            fix="separate columns by commas" if one_column else "name the target column",
        )
    if len(header) == 1:
        raise InvalidInputError(
            field=path.name,
            expected="a column of features beside the target",
            got=f"the column {target} alone",
            fix="add the columns that a model learns from",
        )
    if not table:
        raise InvalidInputError(field=path.name, expected="at least one record", got="a header only", fix="add records")
    values = np.array([_csv_row(path, line, header, row) for line, row in table])
    column = header.index(target)
    return np.delete(values, column, axis=1), values[:, column], [name for name in header if name != target]


def _csv_row(path: Path, line: int, header: list[str], row: list[str]) -> list[float]:
    if len(row) != len(header):
        commas = len(row) > len(header) and may_have_decimal_commas([row[-2:]])
        raise InvalidInputError(
            field=f"{path.name} line {line}",
            expected=f"{len(header)} cells",
            got=len(row),
            fix="mend the row; decimals are written with a point, not with a comma" if commas else "mend the row",
        )
    values = []
    for name, cell in zip(header, row, strict=True):
        try:
            values.append(number_of(cell))
        except ValueError:
            raise InvalidInputError(
                field=f"{path.name} line {line}, column {name}",
                expected="a number",
                got=repr(cell),
                fix=fix_of(cell) or "encode text columns as numbers and fill empty cells with a public rule",
            ) from None
    return values


def _read_npz(path: Path, target: str) -> Table:
    arrays = read_arrays(path, wanted=("X", target))
    for name in ("X", target):
        if name not in arrays:
            raise InvalidInputError(
                field=path.name,
                expected=f"an array named {name}",
                got=f"arrays {', '.join(names_in(path)) or 'none'}",
                fix="save features as X and name the target array in data.target",
            )
    return arrays["X"], arrays[target], None
