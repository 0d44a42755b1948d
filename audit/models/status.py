"""What each model did with each record: read, and held against what a claim a record needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.models.assigning import ModelKind, Status
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import flag

Flags = NDArray[np.bool_]
# Chance that coins look like fixed numbers, or that fixed numbers of models are taken for coins.
_FALSE_ALARM = 1e-6
# Fixed numbers show in a spread this much smaller than that of coins.
_FIXED = 0.05
ASSIGN = "draw it by unlearn-audit models assign"


def checked_kinds(kinds: ArrayLike, n_models: int) -> Flags:
    """Return which models unlearned something.

    Raises
    ------
    InvalidInputError
        When there is not one kind for each model, or it is neither "deletion" nor "reference".
    """
    coded = _coded(kinds, {"reference": ModelKind.REFERENCE, "deletion": ModelKind.DELETION}, "kinds")
    require(
        coded.shape == (n_models,),
        "kinds",
        expected=f'{n_models:,} kinds, "deletion" or "reference" (1 or 0), one a model',
        got=f"an array of shape {coded.shape}",
        fix="say of each model whether it unlearned anything",
    )
    return np.asarray(coded == ModelKind.DELETION)


def checked_status(status: ArrayLike, is_deletion: Flags, n_records: int, *, drawn_by_coins: bool) -> NDArray[np.int8]:
    """Return the status as codes, after a look at whether it allows claims of single records.

    Raises
    ------
    InvalidInputError
        For another shape or other values; a reference model that forgot something; a status of fixed numbers of models
        a record, for which no exact test is known; deletion models only.
    """
    words = {"absent": Status.ABSENT, "forgotten": Status.FORGOTTEN, "retained": Status.RETAINED}
    coded = _coded(status, words, "status").astype(np.int8)
    shape = (len(is_deletion), n_records)
    require(
        coded.shape == shape,
        "status",
        expected=f"shape {shape}, a row a model and a column a record",
        got=f"shape {coded.shape}" + (", which is transposed" if coded.shape == shape[::-1] else ""),
        fix="give a row for each model",
    )
    wrong = (coded == Status.FORGOTTEN) & ~is_deletion[:, None]
    if wrong.any():
        model, record = (int(i) for i in np.argwhere(wrong)[0])
        raise InvalidInputError(
            field="status",
            expected="no record forgotten in a reference model, which unlearns nothing",
            got=f"record {record} forgotten in model {model}",
            fix="mend the kind of the model, or its status",
        )
    require(
        bool((coded == Status.FORGOTTEN).any()),
        "status",
        expected="records that were forgotten in some models",
        got="no model that forgot anything",
        fix=f"say what was forgotten ({ASSIGN})",
    )
    require(
        not bool(is_deletion.all()),
        "kinds",
        expected="reference models, which learned what is retained and unlearned nothing",
        got="deletion models only",
        fix="train some: deletion models in which a record is absent are no reference, for between two unlearned "
        "models a claim of epsilon implies 2 epsilon only",
    )
    _check_coins(coded, is_deletion, flag(drawn_by_coins, "drawn_by_coins"))
    return coded


def note_on_coins(status: NDArray[np.int8], is_deletion: Flags) -> Iterator[str]:
    """Yield what a reader has to know of the status."""
    yield (
        "Each claim is about deleting the set that holds a record, on average over the sets that were retained and "
        "deleted with it; it is tested against models that were trained without that record and unlearned nothing."
    )
    forgotten = np.sum(status[is_deletion] == Status.FORGOTTEN, axis=0)
    never = int(np.sum(forgotten == 0))
    if never:
        yield f"{never:,} of {len(forgotten):,} records were forgotten in no model: nothing is said of them."


def _check_coins(status: NDArray[np.int8], is_deletion: Flags, drawn_by_coins: bool) -> None:
    """Refuse fixed numbers of models a record, declared or seen: their counts spread far less than those of coins."""
    fix = f"{ASSIGN}; exactly so many models a record make the two counts of a record dependent"
    require(drawn_by_coins, "drawn_by_coins", expected="True", got=False, fix=fix)
    for which, value in ((is_deletion, Status.FORGOTTEN), (~is_deletion, Status.RETAINED), (None, Status.RETAINED)):
        of_kind = status if which is None else status[which]
        counts = np.sum(of_kind == value, axis=0)
        n, m, rate = len(of_kind), len(counts), float(counts.mean()) / len(of_kind)
        expected = n * rate * (1 - rate)
        # With m records the sample variance of coins is below this with probability of about 1e-6 or less.
        sure = m * (1 - _FIXED) ** 2 / 4 > math.log(1 / _FALSE_ALARM)
        if sure and expected > 1 and float(counts.var()) < _FIXED * expected:
            raise InvalidInputError(
                field="status",
                expected="coins that are independent over records and models",
                got=f"each record {value.name.lower()} in about {counts[0]} of {n} models",
                fix=fix,
            )


def _coded(values: ArrayLike, words: dict[str, Any], field: str) -> NDArray[Any]:
    """Return words or numbers as codes."""
    array = np.asarray(values)
    fix = f"use {', '.join(f'{int(code)} for {word}' for word, code in words.items())}"
    if array.dtype.kind in "US":
        known = array.astype(np.str_)
        found = np.full(known.shape, -1, dtype=np.int8)
        for word, code in words.items():
            found[known == word] = code
        if np.any(found < 0):
            odd = str(known[found < 0].flat[0])
            raise InvalidInputError(field=field, expected=f"one of {', '.join(words)}", got=odd, fix=fix)
        return found
    whole = array.dtype.kind in "iub"
    inside = whole and array.size > 0 and bool(np.all((array >= 0) & (array <= max(words.values()))))
    is_flag = array.dtype.kind == "b" and field == "status"
    require(
        inside and not is_flag,
        field,
        expected=f"whole numbers from 0 to {int(max(words.values()))}, or words",
        got="in or out alone" if is_flag else f"dtype {array.dtype}" if not whole else "other numbers",
        fix=f"{fix}; in or out alone does not say what was forgotten" if is_flag else fix,
    )
    return array
