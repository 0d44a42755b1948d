"""The gate of single numbers and flags: what is called a number is one, before anything is done with it. A leaf.

Python takes True for 1 and compares words with nothing: unchecked, the one is audited as a claim that nobody made, and
the other ends in a traceback.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from mechanisms.errors import InvalidInputError, require


def real_number(value: Any, field: str, *, fix: str, expected: str = "a number") -> float:
    """Return a number as a float; infinity and NaN are numbers, and ranges are the caller's.

    Parameters
    ----------
    value
        A number of Python, numpy (also an array without axes) or whatever else turns itself into a float.
    field, fix, expected
        As in :class:`InvalidInputError`.

    Raises
    ------
    InvalidInputError
        For True and False, words, complex numbers, arrays, and numbers beyond those of double precision.
    """
    if type(value) is float:
        # Claims of many rows make thousands of these.
        return value
    try:
        if not _is_scalar(value) or not hasattr(value, "__float__"):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(field=field, expected=expected, got=value, fix=fix) from None


def whole_number(value: Any, field: str, *, fix: str, expected: str = "a whole number") -> int:
    """Return a whole number as an int; ranges are the caller's.

    Raises
    ------
    InvalidInputError
        For True and False, words, arrays, and floats, also whole ones: ``2e4`` is a float, and so is what a division
        left.
    """
    try:
        if not _is_scalar(value):
            raise TypeError
        return operator.index(value)
    except TypeError:
        # Where a float is whole the way out is to write it as an integer.
        whole = isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value)
        said = f"write {int(value)}" if whole else fix
        raise InvalidInputError(field=field, expected=expected, got=value, fix=said) from None


def flag(value: Any, field: str) -> bool:
    """Return True or False; a word such as "no" would count as True.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    known = isinstance(value, bool | np.bool_)
    require(known, field, expected="True or False", got=value, fix="write True or False, without quotes")
    return bool(value)


def _is_scalar(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    odd = isinstance(value, bool | str | bytes | complex | np.complexfloating) or kind in ("b", "c")
    return not odd and getattr(value, "ndim", 0) == 0
