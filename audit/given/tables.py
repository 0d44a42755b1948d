"""Read scores or releases from a text table: strict numbers, one row a model, a header where a column is named."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError
from mechanisms.reading.cells import fix_of, has_padded_decimals, may_have_decimal_commas, number_of
from mechanisms.reading.numpy_files import check_table

Array = NDArray[np.float64]
Line = tuple[int, list[str]]


def read_csv(path: Path, *, column: str | None = None, releases: bool = False) -> Array:
    """Return the numbers of a .csv file, shape (n, d); with a ``column`` its numbers alone, shape (n,).

    Parameters
    ----------
    path
        The file.
    column
        Name of the score column in the header, or its number, counted from 1. Other columns may hold anything.
    releases
        Whether every column is known to be a parameter, so that two columns of whole numbers are no decimal commas.

    Raises
    ------
    InvalidInputError
        For a cell that is no number, naming line and cell; decimal commas; an empty line; rows of unequal length; a
        header that nothing asked for.
    """
    lines = _lines(path)
    asked = column is not None or releases
    header = lines[0][1] if lines and asked and any(not _is_number(cell) for cell in lines[0][1]) else None
    body = lines[1:] if header is not None else lines
    chosen = None if column is None else _place(path, column, header, len(lines[0][1]) if lines else 0)
    for line, cells in body:
        _check_shape(path, line, cells, len(lines[0][1]))
    _check_commas(path, body, sure_only=asked)
    rows = [_row(path, line, cells, chosen, is_first=line == lines[0][0]) for line, cells in body]
    _check_header(path, lines, rows, asked=asked)
    values = np.array(rows, dtype=np.float64)
    return values if chosen is None else values.ravel()


def _lines(path: Path) -> list[Line]:
    check_table(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            field=str(path), expected="a UTF-8 csv file", got=str(error), fix="export it again"
        ) from None
    # The end of a file may be empty; an empty line between others is a model without a score.
    while lines and not any(cell.strip() for cell in lines[-1][1]):
        lines.pop()
    return lines


def _is_number(cell: str) -> bool:
    try:
        number_of(cell)
    except ValueError:
        return False
    return True


def _place(path: Path, column: str, header: list[str] | None, width: int) -> int:
    """Return the position of the named column, counted from 0."""
    names = [] if header is None else [cell.strip() for cell in header]
    if names.count(column) == 1:
        return names.index(column)
    if column.isascii() and column.isdigit() and 1 <= int(column) <= width:
        return int(column) - 1
    raise InvalidInputError(
        field="--column",
        expected=f"one of the columns {', '.join(names)} of {path}"
        if names
        else f"a number in [1, {width}] for {path}",
        got=repr(column),
        fix="name one column of the header, or count columns from 1",
    )


def _check_shape(path: Path, line: int, cells: list[str], width: int) -> None:
    where = f"{path} line {line}"
    if not any(cell.strip() for cell in cells):
        raise InvalidInputError(
            field=where,
            expected="a score",
            got="an empty line",
            fix="find out why; leaving out failed models biases an audit",
        )
    if len(cells) != width:
        commas = len(cells) % width == 0 or width % len(cells) == 0
        raise InvalidInputError(
            field=where,
            expected=f"{width} cell(s) as in the rows before",
            got=len(cells),
            fix="mend the row; decimals are written with a point, not with a comma" if commas else "mend the row",
        )


def _check_commas(path: Path, body: Sequence[Line], *, sure_only: bool) -> None:
    """Refuse decimal commas: what another locale prints as 0,5 would be two columns."""
    rows = [cells for _, cells in body]
    if not may_have_decimal_commas(rows):
        return
    sure = has_padded_decimals(rows)
    if not sure and sure_only:
        return
    line, cells = body[0]
    raise InvalidInputError(
        field=f"{path} line {line}",
        expected="numbers with decimal points",
        got=f"{','.join(cells)!r}, and decimal commas throughout" + ("" if sure else ", or columns of whole numbers"),
        fix="write decimals with a point, 0.5 and not 0,5"
        + ("" if sure else "; for whole numbers say --releases, or name the score column with --column"),
    )


def _row(path: Path, line: int, cells: list[str], chosen: int | None, *, is_first: bool) -> list[float]:
    values = []
    for i, cell in enumerate(cells) if chosen is None else [(chosen, cells[chosen])]:
        try:
            values.append(number_of(cell))
        except ValueError:
            raise InvalidInputError(
                field=f"{path} line {line}, cell {i + 1}",
                expected="a number",
                got=repr(cell),
                fix=_fix(cell, is_first=is_first),
            ) from None
    return values


def _fix(cell: str, *, is_first: bool) -> str:
    """Return what to do about a cell that is no number."""
    if cell.lstrip().startswith("#"):
        return "remove the comment"
    if (known := fix_of(cell)) is not None:
        return known
    return (
        "remove the header line, if it is one, or name the score column with --column; encode text as numbers"
        if is_first
        else "encode text as numbers, and leave no cell empty; --column reads the score column alone"
    )


def _check_header(path: Path, lines: Sequence[Line], rows: Sequence[Sequence[float]], *, asked: bool) -> None:
    """Refuse the column numbers 0, 1, ... that pandas writes above a table without names: they are no model."""
    if asked or len(rows) < 2 or lines[0][1] != [str(i) for i in range(len(lines[0][1]))]:
        return
    others = np.array(rows[1:])
    if np.any(others != np.round(others)):
        raise InvalidInputError(
            field=f"{path} line 1",
            expected="a row of numbers that a model gave",
            got=f"{','.join(lines[0][1])!r}",
            fix="remove the line if it numbers the columns (pandas: header=False), or say --releases if it is a model",
        )
