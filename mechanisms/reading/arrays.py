"""The gate of every array that comes in: scores, releases, features and targets become float64, or are refused.

numpy drops a mask and an imaginary part, and reads text and dates as numbers, without a word; here each is an error in
the same sentence, wherever the array came from. A leaf.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.errors import InvalidInputError

Array = NDArray[np.float64]
EXPECTED = "an array of real numbers"
_REAL = "biuf"
_FIXES = {
    "c": "take .real if the imaginary parts mean nothing, or give each part as one real number",
    "U": "encode text as numbers, or convert digits with .astype(float)",
    "S": "encode text as numbers, or convert digits with .astype(float)",
    "M": "subtract a public date and divide by a unit, so that numbers are left",
    "m": "divide by a unit, so that numbers are left",
    "V": "widen bfloat16 to float32 before it is saved, and give the fields of a structured array as columns",
    "O": "give plain numbers, an array of floats",
}


def real_array(values: ArrayLike, field: str) -> NDArray[Any]:
    """Return values as a numpy array of bool, integers or floats, in the precision in which they came.

    Parameters
    ----------
    values
        An array, nested lists, a table or Series of pandas, or a tensor of torch: that is detached, brought to the
        processor, and widened to float64 where it is bfloat16.
    field
        What errors call it.

    Raises
    ------
    InvalidInputError
        For masked values, complex numbers (also with imaginary parts of 0), text, dates, structured types, objects, and
        rows of unequal length. A mask that hides nothing is no mask.
    """
    try:
        array = np.asarray(_opened(values, field))
    except InvalidInputError:
        raise
    except Exception as error:
        # Whatever an object's own conversion raises: numpy asks it to turn itself into an array.
        ragged = isinstance(error, ValueError) and "inhomogeneous" in str(error)
        said = f"a {type(values).__name__} that numpy cannot read ({type(error).__name__}: {error})"
        raise _refused(
            field,
            "rows of unequal length" if ragged else said,
            "give every row the same length" if ragged else _FIXES["O"],
        ) from None
    if array.dtype.kind in _REAL:
        return array
    raise _refused(field, _named(array), _FIXES.get(array.dtype.kind, _FIXES["O"]))


def real_numbers(values: ArrayLike, field: str, *, copy: bool = False) -> Array:
    """Return values as float64, in a memory of their own if ``copy``; refuse what :func:`real_array` refuses.

    Raises
    ------
    InvalidInputError
        As :func:`real_array`.
    """
    array = real_array(values, field)
    return np.array(array, dtype=np.float64, order="C") if copy else np.asarray(array, dtype=np.float64)


def _refused(field: str, got: str, fix: str) -> InvalidInputError:
    return InvalidInputError(field=field, expected=EXPECTED, got=got, fix=fix)


def _named(array: NDArray[Any]) -> str:
    """Return what an array is, for a reader who may have given no array at all."""
    if array.ndim == 0:
        return "None" if array.item() is None else f"a {type(array.item()).__name__}"
    if array.dtype.kind != "O":
        return f"dtype {array.dtype}"
    return f"dtype object ({type(array.flat[0]).__name__}, ...)" if array.size else "dtype object"


def _opened(values: Any, field: str) -> Any:
    """Return values in a form that numpy reads for what they are, however deep in lists they lie."""
    if type(values) in (np.ndarray, float, int):
        return values
    if isinstance(values, list | tuple):
        return [value if type(value) is float else _opened(value, field) for value in values]
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            n = int(np.ma.getmaskarray(values).sum())
            raise _refused(
                field, f"masked values ({n:,} of {values.size:,})", "remove or impute them with a public rule"
            )
        return values.data
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    if tensor is not None and isinstance(values, tensor):
        return _from_torch(values, field)
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        # One array of a whole table would turn columns of unlike kinds into objects.
        return np.column_stack([real_array(values.iloc[:, i], _column(field, values, i)) for i in _places(values)])
    return values


def _places(table: Any) -> range:
    return range(len(table.columns))


def _column(field: str, table: Any, i: int) -> str:
    return f"{field}, column {table.columns[i]}"


def _from_torch(tensor: Any, field: str) -> NDArray[Any]:
    if tensor.is_complex():
        raise _refused(field, f"dtype {tensor.dtype}".replace("torch.", ""), _FIXES["c"])
    found = tensor.detach().cpu().to_dense().resolve_neg()
    # numpy has no type for floats of 16 bits with the exponent of 32, nor for those of 8.
    return np.asarray((found.double() if found.is_floating_point() and found.element_size() < 4 else found).numpy())
