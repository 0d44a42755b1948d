"""Read scores or releases from a file: .npy, .npz with one array, or .csv without a header. Never a pickle."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
NUMERIC = "biuf"


def read_scores(path: Path) -> NDArray[np.generic]:
    """Return the array of a file, one row a model.

    Raises
    ------
    InvalidInputError
        When the file is missing, empty, of another kind, or holds anything but numbers.
    """
    readers = {".npy": _read_numpy, ".npz": _read_numpy, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            field=str(path),
            expected="a .npy, .npz or .csv file",
            got=f"the suffix {path.suffix!r}",
            fix="save the scores with numpy.save, or as a table of numbers in a .csv file",
        )
    if not path.is_file():
        raise InvalidInputError(field=str(path), expected="a file", got="no file of that name", fix="check the path")
    if path.stat().st_size == 0:
        raise InvalidInputError(
            field=str(path), expected="scores of at least 20 models", got="an empty file", fix="write it again"
        )
    try:
        return reader(path)
    except OSError as error:
        raise InvalidInputError(
            field=str(path), expected="a readable file", got=str(error), fix="check the file"
        ) from None


def _read_numpy(path: Path) -> NDArray[np.generic]:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {path.name: loaded} if isinstance(loaded, np.ndarray) else {n: loaded[n] for n in loaded.files}
    except Exception as error:
        # numpy raises errors of many kinds on a damaged file, and refuses object arrays, which would run code. What it
        # then says is how to load them all the same.
        said = (
            "Python objects, or no numpy file at all" if "pickle" in str(error) else f"{type(error).__name__}: {error}"
        )
        raise InvalidInputError(
            field=str(path),
            expected="a numpy file of plain numbers",
            got=said,
            fix="save a plain array of floats, numpy.save(path, scores.astype(float))",
        ) from None
    if len(arrays) != 1:
        raise InvalidInputError(
            field=str(path),
            expected="one array",
            got=f"{len(arrays)} arrays ({', '.join(arrays) or 'none'})",
            fix="save each world's scores to a file of their own",
        )
    array: NDArray[np.generic] = next(iter(arrays.values()))
    return array


def _read_csv(path: Path) -> NDArray[np.generic]:
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader]
            # The end of a file may be empty; an empty line between others is a model without a score.
            while lines and not any(cell.strip() for cell in lines[-1][1]):
                lines.pop()
            for line, cells in lines:
                rows.append(_csv_row(path, line, cells, rows))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            field=str(path), expected="a UTF-8 csv file", got=str(error), fix="export it again"
        ) from None
    return np.array(rows, dtype=np.float64)


def _csv_row(path: Path, line: int, cells: list[str], before: list[list[float]]) -> list[float]:
    where = f"{path} line {line}"
    if not any(cell.strip() for cell in cells):
        raise InvalidInputError(
            field=where, expected="a score", got="an empty line",
            fix="find out why; leaving out failed models biases an audit",
        )  # fmt: skip
    if before and len(cells) != len(before[0]):
        raise InvalidInputError(
            field=where, expected=f"{len(before[0])} cell(s) as in the rows before", got=len(cells), fix="mend the row"
        )
    values = []
    for i, cell in enumerate(cells):
        try:
            values.append(float(cell))
        except ValueError:
            raise InvalidInputError(
                field=f"{where}, cell {i + 1}", expected="a number", got=repr(cell), fix=_fix(cell, is_first=not before)
            ) from None
    return values


def _fix(cell: str, *, is_first: bool) -> str:
    """Return what to do about a cell that is no number."""
    if cell.lstrip().startswith("#"):
        return "remove the comment"
    if any(separator in cell for separator in ";\t|"):
        return "separate cells by commas"
    return (
        "remove the header line, if it is one, and encode text as numbers"
        if is_first
        else ("encode text as numbers, and leave no cell empty")
    )
