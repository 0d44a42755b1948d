"""Many bounded pairs as rows of arrays: :class:`BoundedPair`'s numbers for all of them at once, no object for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting import many_pairs
from mechanisms.accounting.many_pairs import ManyPairs
from mechanisms.ridge.reduced.bounded_pair import LOG_SHARE, SHARE, BoundedPair

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundedPairs:
    """Bounded pairs, one a row.

    Parameters
    ----------
    pairs, change_error, shift_error
        As in :class:`BoundedPair`; the errors of shape (m,).
    """

    pairs: ManyPairs
    change_error: Array
    shift_error: Array

    def __post_init__(self) -> None:
        for name in ("change_error", "shift_error"):
            # What overflowed on the way is not known at all.
            errors = getattr(self, name)
            object.__setattr__(self, name, np.where(np.isnan(errors), math.inf, errors))

    @staticmethod
    def of(pairs: Sequence[BoundedPair]) -> BoundedPairs:
        """Return these pairs."""
        return BoundedPairs(
            pairs=ManyPairs.of([each.pair for each in pairs]),
            change_error=np.array([each.change_error for each in pairs], dtype=np.float64),
            shift_error=np.array([each.shift_error for each in pairs], dtype=np.float64),
        )

    @staticmethod
    def joined(first: BoundedPairs, second: BoundedPairs) -> BoundedPairs:
        """Return the pairs of one, then those of the other."""
        return BoundedPairs(
            pairs=ManyPairs.joined(first.pairs, second.pairs),
            change_error=np.concatenate([first.change_error, second.change_error]),
            shift_error=np.concatenate([first.shift_error, second.shift_error]),
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> BoundedPair:
        return BoundedPair(
            pair=self.pairs[row], change_error=float(self.change_error[row]), shift_error=float(self.shift_error[row])
        )

    def take(self, rows: NDArray[np.intp]) -> BoundedPairs:
        """Return some of the pairs, in this order."""
        return BoundedPairs(
            pairs=self.pairs.take(rows), change_error=self.change_error[rows], shift_error=self.shift_error[rows]
        )

    def slack(self, log_odds: float | Array) -> Array:
        """Return :meth:`BoundedPair.slack` of every pair, at one number for all or one a pair, shape (m,)."""
        narrowest = np.min(self.pairs.ratios, axis=1, initial=1.0)
        with np.errstate(all="ignore"):
            margin = narrowest - self.change_error
            change, shift = self.change_error / margin, self.shift_error**2 / margin
            growth = self.pairs.n_columns * change**2 / 2 + shift
            s = np.minimum(np.sqrt(log_odds / growth), np.where(change > 0, 0.5 / change, math.inf))
            slack = (1 + s) * growth + log_odds / s
        slack = np.where(growth == 0, 0.0, np.where(change > 0.5, math.inf, slack))
        return np.where((margin > 0) & ~self.pairs.disjoint, slack, math.inf)

    def epsilons(self, delta: float) -> Array:
        """Return :meth:`BoundedPair.epsilons` of every pair, shape (m, 2)."""
        found = np.full((len(self), 2), math.nan)
        usual = np.zeros(len(self), dtype=bool)
        if 0 < delta < 1 and len(self):
            odds = LOG_SHARE - math.log(delta)
            slacks = self.slack(odds)
            usual = np.isfinite(slacks) & ~self.pairs.identical
            chosen = self.take(np.flatnonzero(usual))
            targets = np.repeat(delta * (1 - SHARE) * np.exp(-slacks[usual]), 2)
            values = many_pairs.epsilons(chosen.pairs.both_directions(), targets).reshape(-1, 2)
            for column in range(2):
                # From Q to P the exceptional event is multiplied by e^epsilon.
                raised = chosen.slack(odds + values[:, column])
                values[:, column] += np.where(np.isfinite(values[:, column]), raised, 0.0)
            found[usual] = values
        for i in np.flatnonzero(~usual).tolist():
            found[i] = self[i].epsilons(delta)
        return found

    def errors(self, delta: float, epsilons: Array) -> Array:
        """Return :meth:`BoundedPair.error` of every pair at its epsilon, shape (m,)."""
        exact = (self.change_error == 0) & (self.shift_error == 0)
        if not 0 < delta < 1:
            return np.where(exact, 0.0, math.inf)
        known = np.isfinite(epsilons)
        slack = self.slack(LOG_SHARE - math.log(delta) + np.where(known, epsilons, 0.0))
        return np.where(known, slack, np.where(exact, 0.0, math.inf))


def epsilons_of(pairs: Sequence[BoundedPair], delta: float) -> Array:
    """Return :meth:`BoundedPair.epsilons` of many pairs at once, shape (len(pairs), 2)."""
    return BoundedPairs.of(pairs).epsilons(delta)
