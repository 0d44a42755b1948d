"""Epsilons of many pairs at once, for maps over all records of a data set.

The same searches as :meth:`GaussianPair.epsilon`, which stays the oracle and takes every pair that is out of the
ordinary; together they save the overhead of one call a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.accounting.contour import HOCKEY_STICK, Integral, integrate
from mechanisms.accounting.gaussian_pair import EDGE, SEARCH_TOLERANCE, SUSPECT_ERROR, GaussianPair
from mechanisms.accounting.grids import guess_epsilon
from mechanisms.accounting.loss_cumulant import stack
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Array


def epsilons(pairs: Sequence[GaussianPair], delta: ArrayLike) -> Array:
    """Return the smallest epsilon of every pair at ``delta``, rounded up: delta there is at most ``delta``.

    Parameters
    ----------
    pairs
        Any pairs; those of similar size together cost least.
    delta
        In [0, 1], one for all or one a pair.

    Returns
    -------
    numpy.ndarray
        Shape (len(pairs),), in nats; equal to each pair's own :meth:`GaussianPair.epsilon` up to the tolerance of
        the search (log delta at the result is below its target by at most about 1e-11).

    Raises
    ------
    InvalidInputError
        When a delta is outside [0, 1].
    """
    deltas = np.broadcast_to(np.asarray(delta, dtype=np.float64), (len(pairs),))
    if not np.all((deltas >= 0) & (deltas <= 1)):
        wrong = deltas[~((deltas >= 0) & (deltas <= 1))][0]
        raise InvalidInputError(field="delta", expected="in [0, 1]", got=wrong, fix="give a probability")
    found = np.full(len(pairs), np.nan)
    ordinary = [i for i, pair in enumerate(pairs) if 0 < deltas[i] < 1 and pair.is_ordinary]
    if ordinary:
        found[ordinary] = _search([pairs[i] for i in ordinary], np.log(deltas[ordinary]))
    for i in np.flatnonzero(np.isnan(found)).tolist():
        found[i] = pairs[i].epsilon(float(deltas[i]))
    return found


def _search(pairs: Sequence[GaussianPair], targets: Array) -> Array:
    """Return epsilons where the first guess was verified to be one, or the next one; NaN elsewhere."""
    loss, largest = stack([pair.loss for pair in pairs]), np.array([pair.max_loss for pair in pairs])
    guess = guess_epsilon(loss, targets - SEARCH_TOLERANCE / 2, largest)
    inside = ~guess.near_zero & (guess.levels < largest * (1 - EDGE))
    levels = np.where(inside, guess.levels, np.where(np.isfinite(largest), 0.5 * largest, 1.0))
    verified = inside & _passes(integrate(loss, levels, HOCKEY_STICK), targets)
    again = np.flatnonzero(inside & ~verified)
    if len(again):
        # The merged coordinates may be what costs accuracy: take every coordinate by itself there.
        loss = stack([pairs[i].every_coordinate for i in again.tolist()])
        near = integrate(loss, levels[again], HOCKEY_STICK)
        with np.errstate(invalid="ignore"):
            moved = levels[again] + (near.log_upper - targets[again] + SEARCH_TOLERANCE / 2) / near.mean_s
        useful = (moved > 0) & (moved < largest[again] * (1 - EDGE))
        levels[again] = np.where(useful, moved, levels[again])
        verified[again] = useful & _passes(integrate(loss, levels[again], HOCKEY_STICK), targets[again])
    return np.where(verified, levels, np.nan)


def _passes(result: Integral, targets: Array) -> NDArray[np.bool_]:
    """Return where log delta is at most its target, by hardly more than it must."""
    gap = result.log_upper - targets
    close = (gap <= 0) & (gap >= -SEARCH_TOLERANCE - 4 * result.log_error)
    return np.asarray(close & (result.log_error <= SUSPECT_ERROR))
