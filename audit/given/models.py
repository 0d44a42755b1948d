"""Which model each given row is of: several rows of one model are not independent, and one of them counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.given.rows import MIN_ROWS, GivenRows
from audit.trials.chunks import Stream, make_generator
from mechanisms.errors import InvalidInputError

Ids = NDArray[np.generic]
_SUFFIXES = (".npy", ".txt", ".csv")


def one_row_a_model(given: GivenRows, ids: tuple[ArrayLike, ArrayLike], *, seed: int) -> GivenRows:
    """Return one row of each model, chosen by the seed, in the order in which the models first appear.

    Parameters
    ----------
    given
        Rows, several of which may be of one model.
    ids
        The model of each row of the unlearned and of the retrained world: whole numbers or words.
    seed
        Of the choice.

    Raises
    ------
    InvalidInputError
        When there is not one id for each row, or there are fewer than 20 models.

    Notes
    -----
    A row drawn from those of its model has the same law however many there are. Their mean would use them all, but the
    mean of 5 rows and the mean of 15 have different laws, which a test would take for a difference of the worlds.
    """
    chosen = []
    for side, (rows, labels, name) in enumerate(zip((given.unlearned, given.retrained), ids, given.names, strict=True)):
        models = _models(labels, len(rows), name)
        order = make_generator(seed, Stream.MODELS, side).permutation(len(rows))
        _, first = np.unique(models[order], return_index=True)
        kept = order[first]
        # In the order of the models, so that drift and neighbours that depend on each other still show.
        _, appears = np.unique(models, return_index=True)
        chosen.append(rows[kept[np.argsort(appears)]])
        if len(kept) < MIN_ROWS:
            raise InvalidInputError(
                field=f"model_ids of {name}",
                expected=f"at least {MIN_ROWS} models",
                got=f"{len(kept)} models in {len(rows)} rows",
                fix="add models: further rows of the same models add nothing",
            )
    return replace(given, unlearned=chosen[0], retrained=chosen[1])


def _models(labels: ArrayLike, n: int, name: str) -> Ids:
    models = np.asarray(labels)
    if models.ndim != 1 or models.dtype.kind not in "biuUS" or len(models) != n:
        raise InvalidInputError(
            field=f"model_ids of {name}",
            expected=f"{n:,} whole numbers or words, the model of each row",
            got=f"an array of shape {models.shape} and dtype {models.dtype}",
            fix="give one id for each row, the same for all rows of one model",
        )
    return models


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
