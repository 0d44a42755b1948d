"""Compress the deletions of many single records together, each to a space that is large enough for it.

The rule by which a space is large enough is that of :func:`mechanisms.ridge.reduced.krylov.reduce_rows`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mechanisms.ridge.reduced.bounded_pairs import BoundedPairs
from mechanisms.ridge.reduced.krylov import (
    DEFAULT_TOLERANCE,
    FIRST_SIZE,
    GROWTH,
    NEARLY,
    ROUNDING,
    ROUNDING_PER_STEP,
    STALLED,
    VANISHED,
    KrylovSetup,
)
from mechanisms.ridge.reduced.lanczos import lengths
from mechanisms.ridge.reduced.many_deletions import ManyDeletions
from mechanisms.ridge.reduced.many_lanczos import ManyLanczos

Array = NDArray[np.float64]
Records = NDArray[np.intp]

# Sizes below this and above its inverse are out of the ordinary.
_EXTREME = 1e-70


@dataclass(frozen=True, kw_only=True, eq=False)
class Together:
    """Some records' deletions in spaces of one dimension.

    Parameters
    ----------
    which
        Positions among the records that were asked for, shape (m,).
    deletions
        Theirs.
    after, before
        Their pairs with and without unlearning.
    """

    which: Records
    deletions: ManyDeletions
    after: BoundedPairs
    before: BoundedPairs

    def take(self, rows: Records) -> Together:
        """Return some of them."""
        return Together(
            which=self.which[rows],
            deletions=self.deletions.take(rows),
            after=self.after.take(rows),
            before=self.before.take(rows),
        )


def reduce_together(
    setup: KrylovSetup, projected: Array, targets: Array, *, sigma_unlearn: float
) -> tuple[list[Together], Records]:
    """Return the deletions of single records, by the dimension of their spaces.

    Parameters
    ----------
    setup
        Of the data set.
    projected, targets
        Features in the eigenbasis and targets of the records, shapes (m, p) and (m, q).
    sigma_unlearn
        A noise at which errors are looked at, next to that without unlearning.

    Returns
    -------
    groups, left
        Every record is in one group, or among the positions that are left for the way of one at a time: records that
        are zero, spaces that end early, numbers whose squares are none, and all where learning adds no noise.
    """
    sizes = np.column_stack([lengths(projected), np.maximum(lengths(targets), 1.0)])
    known = setup.sigma_learn > 0 and np.abs(setup.moment).max() < 1 / _EXTREME
    usual = known & np.all((sizes > _EXTREME) & (sizes < 1 / _EXTREME), axis=1)
    left, which = [np.flatnonzero(~usual)], np.flatnonzero(usual)
    choice = _Choice(n_steps=setup.n_learn + setup.n_unlearn)
    krylov, wanted = ManyLanczos(setup.step.contraction, projected[which]), FIRST_SIZE
    while len(which):
        krylov.extend(wanted)
        left.append(which[krylov.ended])
        which, krylov = which[~krylov.ended], krylov.take(np.flatnonzero(~krylov.ended))
        most = 10 * DEFAULT_TOLERANCE * setup.step_size * krylov.norm**2 * setup.n_learn
        leaks = krylov.leaks(setup.step_size, 2 * setup.n_learn, most=most)
        waits = ~(krylov.whole | (leaks[0] <= most))
        ready = np.flatnonzero(~waits)
        if len(ready):
            part = (leaks[0][ready], leaks[1][ready])
            deletions = ManyDeletions.of(setup, krylov.take(ready), targets[which[ready]], part)
            before = deletions.bounded_pairs(0.0)
            after = deletions.bounded_pairs(sigma_unlearn) if sigma_unlearn > 0 else before
            found = Together(which=which[ready], deletions=deletions, after=after, before=before)
            waits[ready] = ~choice.settle(found, final=krylov.whole)
        which, krylov = which[waits], krylov.take(np.flatnonzero(waits))
        wanted = math.ceil(GROWTH * krylov.size)
    return choice.groups(), np.sort(np.concatenate(left))


@dataclass(kw_only=True, eq=False)
class _Choice:
    """Which space of each record is its own."""

    n_steps: int
    # By record: how far its last space is from what is tolerated, and where it is.
    _last: dict[int, tuple[float, Together, int]] = field(default_factory=dict)
    _settled: list[tuple[Together, int]] = field(default_factory=list)

    def settle(self, found: Together, *, final: bool) -> NDArray[np.bool_]:
        """Return which of these records need no larger space."""
        settled = np.zeros(len(found.which), dtype=bool)
        excesses = np.max([_excesses(pairs, self.n_steps) for pairs in (found.after, found.before)], axis=0)
        vanish = (excesses <= NEARLY) & (found.deletions.change_leak <= VANISHED * found.after.change_error)
        for i, (record, excess, vanished) in enumerate(
            zip(found.which.tolist(), excesses.tolist(), vanish.tolist(), strict=True)
        ):
            best, last = (excess, found, i), self._last.get(record)
            stalled = last is not None and last[0] < STALLED and excess > last[0] / 2
            if final or excess <= 1 or stalled or vanished:
                if stalled and last is not None and not final and excess > 1:
                    best = min(last, best, key=lambda one: one[0])
                self._settled.append(best[1:])
                settled[i] = True
            self._last[record] = best
        return settled

    def groups(self) -> list[Together]:
        """Return the settled records by the dimension of their spaces."""
        rows: dict[int, tuple[Together, list[int]]] = {}
        for found, i in self._settled:
            rows.setdefault(id(found), (found, []))[1].append(i)
        return [found.take(np.array(of, dtype=np.intp)) for found, of in rows.values()]


def _excesses(pairs: BoundedPairs, n_steps: int) -> Array:
    """Return ``excess_of`` of every pair at the usual tolerance, shape (m,)."""
    differs = np.linalg.norm(pairs.pairs.ratios - 1, axis=1) + np.sqrt(np.sum(pairs.pairs.shifts, axis=1))
    allowed = 2 * ROUNDING + (DEFAULT_TOLERANCE + 2 * ROUNDING_PER_STEP * n_steps) * differs
    return np.asarray(np.maximum(pairs.change_error, pairs.shift_error) / allowed)
