"""Ranges of stored numbers, checked whenever a record is made: a file of someone else's is refused with its path."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized

from mechanisms.errors import InvalidInputError

FIX = "the file was changed or damaged: write it again"


def check(field: str, value: float | None, *, low: float = 0.0, high: float = math.inf, finite: bool = True) -> None:
    """Refuse a number outside [low, high], NaN, and infinity where it has to be ``finite``; ``None`` is no number.

    Raises
    ------
    InvalidInputError
        When it is refused.
    """
    if value is None or (low <= value <= high and not (finite and math.isinf(value))):
        return
    at_least = f"at least {low:g}" if math.isfinite(low) else "a number"
    end = f"in [{low:g}, {high:g}]" if math.isfinite(high) else at_least
    raise InvalidInputError(field=field, expected=end + (", finite" if finite else ""), got=value, fix=FIX)


def check_all(
    field: str, values: Sequence[float], *, low: float = -math.inf, high: float = math.inf, rising: bool = False
) -> None:
    """Refuse finite numbers that are not all in [low, high], or not ``rising`` (equal neighbours may be).

    Raises
    ------
    InvalidInputError
        Naming the first that is refused.
    """
    for i, value in enumerate(values):
        check(f"{field}[{i}]", value, low=low, high=high)
        if rising and i and value < values[i - 1]:
            raise InvalidInputError(field=f"{field}[{i}]", expected="not below the one before", got=value, fix=FIX)


def check_lengths(what: str, length: int, **columns: Sized) -> None:
    """Refuse columns that are not all of one length.

    Raises
    ------
    InvalidInputError
        Naming the first that is not.
    """
    for name, column in columns.items():
        if len(column) != length:
            raise InvalidInputError(field=name, expected=f"{length} {what}", got=len(column), fix=FIX)
