"""Budgets for single records: each takes part in learning only while what it adds is within its own.

In the flow: :mod:`mechanisms.networks.langevin` freezes budgets when a deletion is bound,
:mod:`mechanisms.networks.stages` learns within them, and :mod:`mechanisms.networks.deletion` certifies a deletion by
those of the deleted records. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.clipped_learning import budget_within
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import flag

Array = NDArray[np.float64]
# Of pilot runs, so that no trial draws from their streams.
_PILOT = 0x9107


class Settings(Protocol):
    """What budgets take from a mechanism."""

    @property
    def step_size(self) -> float:
        """Multiplies the mean of the clipped gradients."""
        ...

    @property
    def clip_norm(self) -> float:
        """Largest length of a record's gradient."""
        ...

    @property
    def n_learn(self) -> int:
        """Steps of learning."""
        ...

    @property
    def sigma_learn(self) -> float:
        """Noise of each."""
        ...

    @property
    def delta(self) -> float:
        """Where epsilon is stated."""
        ...


@dataclass(frozen=True, kw_only=True)
class IndividualFilter:
    """Learning within budgets: each record's is what it spent in a pilot run, times a margin.

    A record spends the squared lengths of its clipped gradients. It takes part in a step only while their sum, this
    step's included, is within its budget; the other records' gradients are still divided by the number of all, and the
    noise is added all the same. A budget is at most what a record can spend at all.

    With ``carried`` it goes on so in unlearning, where a step charges a squared length times the square of
    ``sigma_learn / sigma_unlearn``: then a later request for a record that took part in serving earlier ones is
    certified too. The margin pays for both, also of a record that spends all it can in learning.

    Parameters
    ----------
    margin
        At least 1. The larger, the fewer records are left out of late steps, and the larger every epsilon.
    pilot_seed
        Of the pilot run, at least 0; no other random number depends on it.
    target
        No record gets a budget beyond this epsilon, at the mechanism's delta; ``None`` for no such limit.
    carried
        Unlearning steps keep to what learning left of each budget.

    Raises
    ------
    InvalidInputError
        When a value is out of range.

    References
    ----------
    Koskela, Tobaben, Honkela 2022, "Individual privacy accounting with Gaussian differential privacy"
    (arXiv:2209.15596); Smith, Thakurta 2022, "Fully adaptive composition for Gaussian differential privacy"
    (arXiv:2202.10209).
    """

    margin: float = 1.3
    pilot_seed: int = 0
    target: float | None = None
    carried: bool = False

    def __post_init__(self) -> None:
        require(
            1 <= self.margin < math.inf, "margin", expected="at least 1, finite", got=self.margin, fix="1.3 is usual"
        )
        seed, target = self.pilot_seed, self.target
        require(seed >= 0, "pilot_seed", expected="at least 0", got=seed, fix="give a whole number")
        known = target is None or 0 < target < math.inf
        require(known, "target", expected="positive and finite", got=target, fix="give an epsilon, or None")
        object.__setattr__(self, "carried", flag(self.carried, "carried"))

    @property
    def words(self) -> str:
        """What is public of it, for reports."""
        limit = "" if self.target is None else f", each within epsilon {self.target:g}"
        kept = ", kept to in unlearning too" if self.carried else ""
        return f"budgets {self.margin:g} times those of a pilot of seed {self.pilot_seed}{limit}{kept}"

    def generator(self) -> np.random.Generator:
        """Return the random numbers of the pilot."""
        return np.random.default_rng(np.random.SeedSequence(self.pilot_seed, spawn_key=(_PILOT,)))

    def budgets(self, spent: Array, *, of: Settings, divisor: int) -> Array:
        """Return each record's budget from what it spent in the pilot, shape (n,)."""
        # What can be spent in learning at all; carried budgets leave the margin to unlearning.
        largest = of.n_learn * of.clip_norm * of.clip_norm * (self.margin if self.carried else 1.0)
        if self.target is not None:
            scale: dict[str, Any] = {"step_size": of.step_size, "divisor": divisor, "sigma": of.sigma_learn}
            largest = min(largest, budget_within(self.target, of.delta, **scale))
        # A pilot that diverged says nothing: then all that there is.
        return np.minimum(self.margin * np.nan_to_num(spent, nan=np.inf), largest)


@dataclass(frozen=True, kw_only=True, eq=False)
class Budgets:
    """What each record may spend, by what it looks like: records that are equal have equal gradients."""

    by_record: Mapping[bytes, float]

    @staticmethod
    def of_records(data: Dataset, budgets: Array) -> Budgets:
        """Return the budgets of the records of a data set, in its order; of equal ones the largest."""
        by_record: dict[bytes, float] = {}
        for key, budget in zip(keys_of(data), budgets.tolist(), strict=True):
            by_record[key] = max(budget, by_record.get(key, 0.0))
        return Budgets(by_record=by_record)

    def of(self, records: Dataset) -> Array:
        """Return the budgets of some of these records.

        Raises
        ------
        InvalidInputError
            For a record that has none.
        """
        try:
            return np.array([self.by_record[key] for key in keys_of(records)], dtype=np.float64)
        except KeyError:
            raise InvalidInputError(
                field="records",
                expected="records of the data that the mechanism was bound to",
                got="another one",
                fix="budgets are frozen when it is bound: bind it to all records that are ever learned",
            ) from None


def keys_of(data: Dataset) -> tuple[bytes, ...]:
    """Return what each record is known by: all of its numbers."""
    return tuple(x.tobytes() + y.tobytes() for x, y in zip(data.features, data.targets, strict=True))
