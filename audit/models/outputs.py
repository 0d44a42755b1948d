"""What outputs say of a record: one number, or a few, for each model and record, read a block of records at a time.

In the flow: outputs may be a memory-mapped file of many gigabytes of 16-bit numbers; nothing else touches it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit, logsumexp

from audit.models.stacks import Stack
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_array

Array = NDArray[np.float64]
Raw = NDArray[Any]
OutputsKind = Literal["logits", "probabilities", "loss", "values", "scores"]
KINDS: tuple[OutputsKind, ...] = ("logits", "probabilities", "loss", "values", "scores")
# Probabilities nearer to 0 or 1 are rounded by the model that states them: 32-bit ones end here.
_CLIP = 1e-7
# Numbers that are widened to 64 bits at a time: 32 MB.
_NUMBERS = 2**22


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Outputs of models on records: (models, records), (models, records, columns) or, of views, four axes.

    Parameters
    ----------
    array
        As it was given; a memory map stays one. Logits and probabilities of several views of a record (augmentations)
        have the shape (models, records, views, columns).
    kind
        What an output is.
    labels
        The class of each record, or what its values are compared with; ``None`` where it is not known.
    name
        What errors call it.
    """

    array: Raw | Stack
    kind: OutputsKind
    labels: Raw | None
    name: str

    @staticmethod
    def of(values: ArrayLike | Stack, kind: OutputsKind, labels: ArrayLike | None, name: str) -> Outputs:
        """Return outputs after checking shapes, types and labels; values are checked when they are read.

        Raises
        ------
        InvalidInputError
            For arrays of another kind or shape, unknown kinds of outputs, labels that are missing or no classes.
        """
        require(
            kind in KINDS, "kind", expected=f"one of {', '.join(KINDS)}", got=kind, fix='write for example kind="loss"'
        )
        array = values if isinstance(values, Stack) else real_array(values, name)
        axes = (2, 3, 4) if kind in ("logits", "probabilities") else (2, 3)
        require(
            len(array.shape) in axes and min(array.shape) > 0,
            name,
            expected="outputs of shape (models, records) or (models, records, columns)",
            got=f"an array of shape {array.shape}",
            fix="stack the models on the first axis",
        )
        several = len(array.shape) > 2 and (len(array.shape) == 4 or array.shape[2] > 1)
        require(
            not (several and kind in ("loss", "scores")),
            name,
            expected=f"one number a model and record, as kind={kind!r} says",
            got=f"an array of shape {array.shape}",
            fix='say kind="logits" or "probabilities" with labels, or kind="values"',
        )
        known = None if labels is None else _labels(labels, array, kind)
        require(
            known is not None or not (several and kind in ("logits", "probabilities")),
            "labels",
            expected="the class of each record, for outputs of several classes",
            got=None,
            fix="give labels=(one whole number a record)",
        )
        return Outputs(array=array, kind=kind, labels=known, name=name)

    @property
    def n_models(self) -> int:
        """How many models there are."""
        return int(self.array.shape[0])

    @property
    def n_records(self) -> int:
        """How many records there are."""
        return int(self.array.shape[1])

    @property
    def per_record(self) -> int:
        """How many numbers :meth:`block` returns for a record."""
        shape = self.array.shape
        is_many = len(shape) == 4 or (self.kind == "values" and len(shape) == 3)
        return int(shape[2]) if is_many else 1

    def blocks(self) -> Iterator[slice]:
        """Yield blocks of records that are small enough to be widened."""
        numbers = self.n_models * math.prod(self.array.shape[2:])
        step = max(1, _NUMBERS // numbers)
        for start in range(0, self.n_records, step):
            yield slice(start, min(start + step, self.n_records))

    def block(self, records: slice) -> Array:
        """Return the statistic of a block of records, shape (models, records, numbers).

        Logits and probabilities become log odds of the record's class, a loss its negative, values residuals where
        there are labels; scores stay.

        Raises
        ------
        InvalidInputError
            For values that are not finite, or no probabilities, with their place.
        """
        # A copy, widened before any arithmetic: sums of 16-bit numbers overflow at 65,504.
        wide = np.array(self.array[:, records], dtype=np.float64)
        self._check(wide, records)
        labels = None if self.labels is None else self.labels[records]
        if wide.ndim == 3 and wide.shape[2] == 1:
            wide = wide[:, :, 0]
        if self.kind in ("logits", "probabilities"):
            odds = _log_odds(wide, labels, self.kind)
            return odds if odds.ndim == 3 else odds[:, :, None]
        if self.kind == "loss":
            wide = -wide
        elif self.kind == "values" and labels is not None:
            wide = wide - np.asarray(labels, dtype=np.float64)
        return wide if wide.ndim == 3 else wide[:, :, None]

    def matrix(self) -> Array:
        """Return the statistic of all records, shape (models, records times numbers)."""
        found = np.empty((self.n_models, self.n_records * self.per_record))
        for records in self.blocks():
            columns = slice(records.start * self.per_record, records.stop * self.per_record)
            found[:, columns] = self.block(records).reshape(self.n_models, -1)
        return found

    def _check(self, wide: Array, records: slice) -> None:
        bad, what = ~np.isfinite(wide), "a finite number"
        if self.kind == "probabilities" and not bad.any():
            bad, what = (wide < 0) | (wide > 1), "a probability"
        if bad.any():
            place = np.argwhere(bad)[0]
            raise InvalidInputError(
                field=f"{self.name}, model {place[0]}, record {records.start + place[1]}",
                expected=what,
                got=str(wide[tuple(place)]),
                fix="find out why; leaving out failed models biases an audit"
                if what == "a finite number"
                else 'say kind="logits" if these are logits',
            )


def _labels(labels: ArrayLike, array: Raw | Stack, kind: OutputsKind) -> Raw:
    given = real_array(labels, "labels")
    records = array.shape[1]
    require(
        given.shape == (records,) or (kind == "values" and given.shape == array.shape[1:]),
        "labels",
        expected=f"{records:,} labels, one a record",
        got=f"an array of shape {given.shape}",
        fix="give the labels in the order of the records",
    )
    if kind == "values":
        return given if given.ndim == 2 or len(array.shape) == 2 or array.shape[2] == 1 else given[:, None]
    classes = array.shape[-1] if len(array.shape) > 2 and array.shape[-1] > 1 else 2
    whole = given.dtype.kind in "biu" or bool(np.all(given == np.round(given)))
    require(
        whole and bool(np.all((given >= 0) & (given < classes))),
        "labels",
        expected=f"whole numbers in [0, {classes - 1}], the class of each record",
        got=f"values from {given.min()} to {given.max()}",
        fix="number the classes as the outputs do",
    )
    return np.asarray(given, dtype=np.int64)


def _log_odds(wide: Array, labels: Raw | None, kind: OutputsKind) -> Array:
    """Return the log odds of each record's class, shape (models, records) or (models, records, views)."""
    if kind == "probabilities":
        wide = np.clip(wide, _CLIP, 1 - _CLIP)
    if wide.ndim == 2:
        odds = wide if kind == "logits" else logit(wide)
        return odds if labels is None else np.asarray(np.where(labels == 1, odds, -odds))
    own = np.asarray(labels).reshape(-1, *(1,) * (wide.ndim - 2))
    own = np.broadcast_to(own, (*wide.shape[:-1], 1))
    of_own = np.take_along_axis(wide, own, axis=-1)[..., 0]
    if kind == "probabilities":
        return np.asarray(logit(of_own))
    np.put_along_axis(wide, own, -np.inf, axis=-1)
    return np.asarray(of_own - logsumexp(wide, axis=-1))
