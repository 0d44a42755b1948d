"""Columns that no model released: job numbers, seeds, epochs, time stamps. A test would call them a perfect leak.

In the flow: :mod:`audit.given.rows` asks before anything is split. Nothing here looks at a claim, and nothing is
dropped: a column that looks like bookkeeping ends the audit until the caller says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audit.given.blocks import column_blocks
from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Above this every float is a whole number.
_LARGEST_WHOLE = 2.0**53
# Seconds since 1970 from 2001 to 2065, and the same in thousandths, millionths and billionths.
_EPOCH = (1e9, 3e9)
_UNITS = (1.0, 1e3, 1e6, 1e9)
# A step of a clock, or of a counter, is nearly the same from row to row; gaps between sorted draws are not.
_LARGEST_STEP = 3.0
_WAY_OUT = (
    "name the score column with --column, or say --releases when every column is a parameter (in Python column=2, "
    "counted from 1, and releases=True)"
)


def check_columns(first: Array, second: Array, names: tuple[str, str]) -> None:
    """Refuse rows with a column that looks like bookkeeping.

    Parameters
    ----------
    first, second
        Rows of the two worlds, shapes (n1, d) and (n0, d), in the order given.
    names
        What the two are called.

    Raises
    ------
    InvalidInputError
        Naming the column, counted from 1, and the two ways out.

    Notes
    -----
    Of one column, only whole numbers in equal steps, such as 0 to n - 1, are refused: error counts and other whole
    scores repeat. Of several, whole numbers beside columns that are not; equal steps; and numbers that follow a clock.
    Where all columns are whole numbers, as labels are, only equal steps are refused. Independent draws from a density
    in n >= 20 rows show none of these but with probability below 1e-9 a column, unless all lie where dates do.
    """
    for column, what in _suspects(first, second):
        where = f"column {column + 1} of " if first.shape[1] > 1 else ""
        raise InvalidInputError(
            field=f"{where}{names[0]} and {names[1]}",
            expected="a score or a parameter of a model",
            got=what,
            fix=_WAY_OUT,
        )


def _suspects(first: Array, second: Array) -> Iterator[tuple[int, str]]:
    if first.shape[1] == 1:
        if any(_whole(rows)[0] and _equal_steps(rows)[0] for rows in (first, second)):
            yield 0, "whole numbers in equal steps: an index or job number?"
        return
    blocks = column_blocks(len(first) + len(second), first.shape[1])
    found = [_looked_at(first[:, block], second[:, block]) for block in blocks]
    whole, varies, settings, steps, clock = (np.concatenate(flags) for flags in zip(*found, strict=True))
    beside = whole & bool(np.any(varies & ~whole))
    for column in np.flatnonzero(varies & (beside | settings | steps | clock)):
        yield int(column), _said(first, second, int(column), whole=bool(whole[column]), clock=bool(clock[column]))


def _looked_at(first: Array, second: Array) -> tuple[Flags, Flags, Flags, Flags, Flags]:
    """Return which columns hold whole numbers, vary, are constant in each world, go in equal steps, follow a clock."""
    both = np.concatenate([first, second])
    settings = np.all(first == first[0], axis=0) & np.all(second == second[0], axis=0)
    steps = _equal_steps(first) | _equal_steps(second) | _equal_steps(both)
    return _whole(both), np.any(both != both[0], axis=0), settings, steps, _follow_a_clock(first, second)


def _said(first: Array, second: Array, column: int, *, whole: bool, clock: bool) -> str:
    """Return what a suspicious column holds, and what it may be."""
    sides = first[:, column], second[:, column]
    distinct = all(len(np.unique(side)) == len(side) for side in sides)
    if all(len(np.unique(side)) == 1 for side in sides):
        return f"one number in all rows of each, {sides[0][0]:g} and {sides[1][0]:g}: a setting or a label?"
    if whole and distinct:
        return "distinct whole numbers: an index or job number?"
    if clock:
        return "numbers that rise or fall like a clock: a time stamp?"
    return (
        "whole numbers beside columns that are not: an epoch, a seed or a restart?"
        if whole
        else "numbers in equal steps: an index or a time?"
    )


def _whole(rows: Array) -> Flags:
    whole: Flags = np.all((rows == np.round(rows)) & (np.abs(rows) < _LARGEST_WHOLE), axis=0)
    return whole


def _equal_steps(rows: Array) -> Flags:
    """Return which columns are, once sorted, an arithmetic progression."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    with np.errstate(all="ignore"):
        place = (rows - low) / ((high - low) / (len(rows) - 1))
        near: Flags = np.all(np.abs(place - np.round(place)) < 1e-3, axis=0) & (high > low)
    for column in np.flatnonzero(near):
        near[column] = len(np.unique(np.round(place[:, column]))) == len(rows)
    return near


def _follow_a_clock(first: Array, second: Array) -> Flags:
    """Return which columns hold dates in seconds since 1970, or go one way in even steps or without overlap."""
    low = np.minimum(first.min(axis=0), second.min(axis=0))
    high = np.maximum(first.max(axis=0), second.max(axis=0))
    dates = np.any([(low >= _EPOCH[0] * unit) & (high <= _EPOCH[1] * unit) for unit in _UNITS], axis=0)
    with np.errstate(all="ignore"):
        sides = [np.diff(rows, axis=0) for rows in (first, second)]
    one_way = np.all([np.all(s >= 0, axis=0) for s in sides], axis=0) | np.all(
        [np.all(s <= 0, axis=0) for s in sides], axis=0
    )
    even = np.all([np.abs(s).max(axis=0) <= _LARGEST_STEP * np.median(np.abs(s), axis=0) for s in sides], axis=0)
    apart = (first.max(axis=0) < second.min(axis=0)) | (second.max(axis=0) < first.min(axis=0))
    found: Flags = dates | (one_way & (even | apart))
    return found
