"""Draw which records each model learns, and which it is then asked to forget, so that every record can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from audit.models.checks import LEAST
from audit.trials.chunks import Stream, make_generator
from mechanisms.errors import require
from mechanisms.reading.scalars import real_number, whole_number


class Status(IntEnum):
    """What a model did with a record; these numbers are in status files and never change."""

    ABSENT = 0
    FORGOTTEN = 1
    RETAINED = 2


class ModelKind(IntEnum):
    """Whether a model unlearned anything; these numbers are in files of kinds and never change."""

    REFERENCE = 0
    DELETION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """Which records each model learns and forgets.

    Parameters
    ----------
    status
        A :class:`Status` for each model and record, shape (models, records), int8. A deletion model learns what is
        retained or forgotten, and unlearns what is forgotten; a reference model learns what is retained, and unlearns
        nothing.
    kinds
        A :class:`ModelKind` for each model, shape (models,), int8.
    """

    status: NDArray[np.int8]
    kinds: NDArray[np.int8]

    def sentence(self) -> str:
        """Return what models that are made this way can test."""
        deletion = self.kinds == ModelKind.DELETION
        forgotten = np.sum(self.status[deletion] == Status.FORGOTTEN, axis=0)
        absent = np.sum(self.status[~deletion] != Status.RETAINED, axis=0)
        return (
            f"{int(deletion.sum()):,} models learn what is retained or forgotten and then unlearn what is forgotten; "
            f"{int((~deletion).sum()):,} learn what is retained and unlearn nothing. A record is forgotten in "
            f"{forgotten.min()} to {forgotten.max()} of the first and not retained in {absent.min()} to {absent.max()} "
            "of the second. Tested is, for each record, the claim about deleting the set that holds it, on average "
            "over what is retained and deleted with it: not about the record alone."
        )


def assign_status(
    *, records: int, models: int, retain: float = 0.5, forget: float = 0.5, deletion: float = 0.5, seed: int = 0
) -> Assignment:
    """Return a status for each model and record, drawn by coins that are independent over models and records.

    Parameters
    ----------
    records, models
        How many; at least 1 record and 16 models of each kind.
    retain
        Probability that a model retains a record, in (0, 1).
    forget
        Probability that a deletion model is made to forget a record that it does not retain, in (0, 1].
    deletion
        Share of the models that unlearn something, in (0, 1).
    seed
        Of the coins.

    Raises
    ------
    InvalidInputError
        For numbers out of range.

    Notes
    -----
    Coins and no fixed numbers ("each record in exactly half of the models"): with these the two counts of a record are
    not independent binomials, and the exact test of epsilon above 0 does not hold its level. The retained set is drawn
    first and alike for both kinds: that is what makes the two worlds of a record comparable.
    """
    sizes = {"records": 1, "models": 2 * LEAST}
    for field, least in sizes.items():
        value = whole_number({"records": records, "models": models}[field], field, fix="count them")
        require(value >= least, field, expected=f"at least {least}", got=value, fix="add some")
    for field, given in (("retain", retain), ("forget", forget), ("deletion", deletion)):
        share = real_number(given, field, fix="0.5 is usual")
        inside = 0 < share < 1 or (field == "forget" and share == 1)
        require(inside, field, expected="in (0, 1)", got=share, fix="0.5 is usual")
    n_deletion = round(deletion * models)
    few = min(n_deletion, models - n_deletion)
    require(few >= LEAST, "deletion", expected=f"{LEAST} models of each kind at least", got=few, fix="add models")
    rng = make_generator(seed, Stream.STATUS, 0)
    kinds = rng.permutation((np.arange(models) < n_deletion).astype(np.int8))
    status = np.empty((models, records), dtype=np.int8)
    for model, kind in enumerate(kinds):
        retained = rng.random(records) < retain
        forgotten = ~retained & (rng.random(records) < forget) & bool(kind)
        status[model] = np.where(retained, Status.RETAINED, np.where(forgotten, Status.FORGOTTEN, Status.ABSENT))
    return Assignment(status=status, kinds=kinds)
