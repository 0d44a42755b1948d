"""Which model each given row is of: several rows of one model are not independent, and one of them counts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.given.rows import MIN_ROWS, GivenRows
from audit.trials.chunks import Stream, make_generator
from mechanisms.errors import InvalidInputError, require

Ids = NDArray[np.generic]
# From here on a float stands for several whole numbers.
_LARGEST_WHOLE = 2.0**53
# What pandas writes where there is no value.
_MISSING = ("NAType", "NaTType")
_SUFFIXES = (".npy", ".txt", ".csv")


def one_row_a_model(
    given: GivenRows, ids: tuple[ArrayLike, ArrayLike], *, seed: int, least: int = MIN_ROWS
) -> GivenRows:
    """Return one row of each model, chosen by the seed, in the order in which the models first appear.

    Parameters
    ----------
    given
        Rows, several of which may be of one model.
    ids
        The model of each row of the unlearned and of the retrained world: whole numbers (also as floats) or words, in
        an array, a list or a Series of pandas.
    seed
        Of the choice.
    least
        Fewest models of a world.

    Raises
    ------
    InvalidInputError
        When there is not one id for each row, one names no model (a missing value, a fraction, True), or there are
        fewer models than the least.

    Notes
    -----
    A row drawn from those of its model has the same law however many there are. Their mean would use them all, but the
    mean of 5 rows and the mean of 15 have different laws, which a test would take for a difference of the worlds.
    """
    known = isinstance(ids, list | tuple | np.ndarray) and len(ids) == 2
    fix = "write model_ids=(ids of unlearned, ids of retrained)"
    require(known, "model_ids", expected="two columns of ids, one for each world", got=ids, fix=fix)
    chosen = []
    for side, (rows, labels, name) in enumerate(zip((given.unlearned, given.retrained), ids, given.names, strict=True)):
        models = _models(labels, len(rows), name)
        order = make_generator(seed, Stream.MODELS, side).permutation(len(rows))
        _, first = np.unique(models[order], return_index=True)
        kept = order[first]
        # In the order of the models, so that drift and neighbours that depend on each other still show.
        _, appears = np.unique(models, return_index=True)
        chosen.append(rows[kept[np.argsort(appears)]])
        if len(kept) < least:
            raise InvalidInputError(
                field=f"model_ids of {name}",
                expected=f"at least {least} models",
                got=f"{len(kept)} models in {len(rows)} rows",
                fix="add models: further rows of the same models add nothing",
            )
    return replace(given, unlearned=chosen[0], retrained=chosen[1])


def _models(labels: ArrayLike, n: int, name: str) -> Ids:
    """Return the ids of one world as whole numbers or words, whatever holds them."""
    field, fix = f"model_ids of {name}", "give one id for each row, the same for all rows of one model"
    expected = f"{n:,} whole numbers or words, the model of each row"
    array = _as_they_are(labels)
    if array.ndim != 1 or len(array) != n:
        raise InvalidInputError(field=field, expected=expected, got=f"an array of shape {array.shape}", fix=fix)
    if array.dtype.kind in "iu":
        return array
    values = [value.item() if isinstance(value, np.generic) else value for value in array.tolist()]
    for i, value in enumerate(values):
        if (odd := _trouble(value)) is not None:
            raise InvalidInputError(field=f"{field}, row {i}", expected="a whole number or a word", got=odd, fix=fix)
    kinds = {type(value) if isinstance(value, str | bytes) else float for value in values}
    if len(kinds) > 1:
        raise InvalidInputError(field=field, expected=expected, got="numbers and words", fix="write all ids as words")
    # By their own order: which numbers they are does not matter, and some are larger than any of numpy's.
    places = {value: i for i, value in enumerate(sorted(set(values)))}
    return np.array([places[value] for value in values], dtype=np.intp)


def _as_they_are(labels: ArrayLike) -> NDArray[Any]:
    """Return labels as an array in which each keeps its kind: numpy would turn a list of numbers and words to words."""
    if isinstance(labels, np.ma.MaskedArray):
        known: NDArray[Any] = labels.data.astype(object)
        known[np.ma.getmaskarray(labels)] = None
        return known
    if not isinstance(labels, list | tuple):
        return np.asarray(labels)
    array = np.empty(len(labels), dtype=object)
    for i, label in enumerate(labels):
        array[i] = label
    return array


def _trouble(value: Any) -> str | None:
    """Return what a value is that names no model."""
    if value is None or type(value).__name__ in _MISSING or (isinstance(value, float) and math.isnan(value)):
        return f"a missing value ({value})"
    if isinstance(value, str | bytes):
        return None if value.strip() else "an empty word"
    if isinstance(value, float) and not (value.is_integer() and abs(value) < _LARGEST_WHOLE):
        return f"{value!r}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number else f"{value!r}"


def read_ids(path: Path) -> Ids:
    """Return the ids of a file: an .npy array of whole numbers or words, or a text file with one id a line.

    Raises
    ------
    InvalidInputError
        When the file is missing, of another kind or not readable.
    """
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        raise InvalidInputError(
            field=str(path),
            expected=f"a file ({', '.join(_SUFFIXES)}) with the model of each row",
            got="no file of that name" if not path.is_file() else f"the suffix {path.suffix!r}",
            fix="write one id a line, in the order of the scores",
        )
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInputError(
            field=str(path), expected="a readable file of ids", got=str(error).splitlines()[0], fix="write it again"
        ) from None
    if "" in lines:
        raise InvalidInputError(
            field=f"{path} line {lines.index('') + 1}", expected="an id", got="an empty line", fix="name the model"
        )
    return np.array(lines, dtype=np.str_)
