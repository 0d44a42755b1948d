"""Scores of candidates in files of other languages: CSV with a name a row, JSON, or a plain array."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_numbers
from mechanisms.reading.cells import number_of
from mechanisms.reading.numpy_files import read_arrays

Floats = NDArray[np.float64]
COLUMN = "candidate"
_ORDER = "keep the order of scoring/candidates.txt: a score belongs to the candidate of its row"


def read_lot_scores(path: Path, candidates: Sequence[str], runs: int) -> Floats:
    """Return the scores of a file, shape (runs, candidates).

    Parameters
    ----------
    path
        ``.csv`` with a header, the column ``candidate`` and one column a run; ``.json`` with ``candidates`` (names) and
        ``scores`` (a list a run); or ``.npy`` of shape (runs, candidates) or, for one run, (candidates,), in order.
    candidates, runs
        Names in their order, and how many models were scored.

    Raises
    ------
    InvalidInputError
        For files that are missing or damaged, names in another order, and other shapes.
    """
    kind = path.suffix.lower()
    fix = "write a .csv with the columns candidate, run_1, ..., a .json, or an .npy array"
    require(kind in (".csv", ".json", ".npy"), str(path), expected=".csv, .json or .npy", got=kind or "none", fix=fix)
    require(path.is_file(), str(path), expected="a file", got="no file of that name", fix="check the path")
    if kind == ".npy":
        (array,) = read_arrays(path).values()
        names, values = None, real_numbers(array, str(path))
    elif kind == ".json":
        names, values = _from_json(path)
    else:
        names, values = _from_csv(path, runs)
    values = values[None, :] if values.ndim == 1 else values
    shape = (runs, len(candidates))
    if names is not None:
        _check_names(path, names, candidates)
    got = f"shape {values.shape}"
    require(
        values.shape == shape, str(path), expected=f"scores of shape {shape}: runs, candidates", got=got, fix=_ORDER
    )
    return values


def _check_names(path: Path, names: Sequence[str], candidates: Sequence[str]) -> None:
    n, m = len(names), len(candidates)
    require(n == m, f"{path}: {COLUMN}", expected=f"{m} candidates", got=n, fix="score every candidate, once")
    for i, (name, known) in enumerate(zip(names, candidates, strict=True)):
        require(name == known, f"{path} row {i + 1}: {COLUMN}", expected=known, got=name, fix=_ORDER)


def _from_json(path: Path) -> tuple[list[str], Floats]:
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        names, scores = [str(name) for name in stored["candidates"]], stored["scores"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(
            path, f"{type(error).__name__}: {error}", '{"candidates": [...], "scores": [[...], ...]}'
        ) from None
    return names, real_numbers(scores, f"{path}: scores")


def _from_csv(path: Path, runs: int) -> tuple[list[str], Floats]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = [row for row in csv.reader(io.StringIO(text, newline="")) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error), "a .csv file in UTF-8") from None
    header = [cell.strip() for cell in table[0]] if table else []
    wanted = [COLUMN, *(["score"] if runs == 1 and header[1:] == ["score"] else [f"run_{j + 1}" for j in range(runs)])]
    fix = "write the header candidate,run_1,run_2,... (candidate,score for one run)"
    require(header == wanted, f"{path} line 1", expected=",".join(wanted), got=",".join(header), fix=fix)
    names, rows = [], []
    for i, row in enumerate(table[1:], start=2):
        cells = len(row) == len(wanted)
        require(cells, f"{path} line {i}", expected=f"{len(wanted)} cells", got=len(row), fix="mend the row")
        names.append(row[0].strip())
        rows.append([_number(path, i, j, cell) for j, cell in enumerate(row[1:], start=2)])
    return names, np.asarray(rows, dtype=np.float64).T.reshape(runs, -1)


def _number(path: Path, line: int, cell: int, text: str) -> float:
    try:
        return number_of(text)
    except ValueError:
        raise InvalidInputError(
            field=f"{path} line {line}, cell {cell}", expected="a number", got=text, fix="score every candidate"
        ) from None


def _damaged(path: Path, got: str, expected: str) -> InvalidInputError:
    return InvalidInputError(field=str(path), expected=expected, got=got, fix="write the file again")
