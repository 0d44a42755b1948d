"""Read scores or releases from a file: .npy, .npz with one array, or .csv. Never a pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.given.tables import read_csv
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import read_arrays


def read_scores(path: Path, *, column: str | None = None, releases: bool = False) -> NDArray[np.generic]:
    """Return the array of a file, one row a model.

    Parameters
    ----------
    path
        The file.
    column
        Which column is the score, by its name in a header or its number, counted from 1; the array is then that column.
    releases
        Whether every column is known to be a parameter.

    Raises
    ------
    InvalidInputError
        When the file is missing, empty, of another kind, or holds anything but numbers.
    """
    kind = path.suffix.lower()
    if kind not in (".npy", ".npz", ".csv"):
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
        if kind == ".csv":
            return read_csv(path, column=column, releases=releases)
        array = _read_numpy(path)
        return array if column is None else _chosen(path, array, column)
    except OSError as error:
        raise InvalidInputError(
            field=str(path), expected="a readable file", got=str(error), fix="check the file"
        ) from None


def _read_numpy(path: Path) -> NDArray[np.generic]:
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise InvalidInputError(
            field=str(path),
            expected="one array",
            got=f"{len(arrays)} arrays ({', '.join(arrays) or 'none'})",
            fix="save each world's scores to a file of their own",
        )
    array: NDArray[np.generic] = next(iter(arrays.values()))
    return array


def _chosen(path: Path, array: NDArray[np.generic], column: str) -> NDArray[np.generic]:
    """Return one column of an array, by its number; arrays have no names."""
    width = 1 if array.ndim < 2 else int(array.shape[1])
    if array.ndim > 2 or not (column.isascii() and column.isdigit() and 1 <= int(column) <= width):
        raise InvalidInputError(
            field="--column",
            expected=f"a number in [1, {width}] for {path}, an array of shape {array.shape}",
            got=repr(column),
            fix="count columns from 1",
        )
    return array if array.ndim < 2 else array[:, int(column) - 1]
