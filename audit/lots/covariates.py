"""Do the coins follow what is known of the candidates without any score? Then they were neither fair nor secret.

In the flow: :mod:`audit.lots.auditing` looks here before it believes coins. Columns of the pool, the order of its rows,
scores of a model that never saw the pool: none of them can depend on coins that were tossed in secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.lots.statistics.subsets import Draw
from audit.trials.independence import FALSE_ALARM
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_array

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
# How much the furthest rank may be tilted, in nats, and in how many steps the best tilt is looked for.
_MOST_TILTED, _TILTS = 20.0, 80


def check_covariates(
    covariates: Mapping[str, ArrayLike] | None, coins: Flags, *, draw: Draw, pairs: Ints | None = None
) -> None:
    """Refuse coins that go with a covariate so closely as tosses do less than once in a million.

    Parameters
    ----------
    covariates
        A number for each candidate by name, shape (m,); of none nothing is asked.
    coins
        Shape (runs, m).
    draw, pairs
        How the coins are said to be drawn.

    Raises
    ------
    InvalidInputError
        Naming the covariate; also for columns of another shape.

    Notes
    -----
    The ranks of the drawn are added up. All covariates share a chance of one in a million of a false alarm.

    References
    ----------
    Hoeffding 1963, "Probability inequalities for sums of bounded random variables", Theorem 2, and section 6 for sets
    that are drawn without replacement.
    """
    if not covariates:
        return
    require(isinstance(covariates, Mapping), "covariates", expected="columns by name", got=covariates, fix="use a dict")
    columns = {str(name): _column(name, values, coins.shape[1]) for name, values in covariates.items()}
    found = [(log_chance(ranks_of(column), coins, draw=draw, pairs=pairs), name) for name, column in columns.items()]
    least, name = min(found)
    if least < math.log(FALSE_ALARM / len(columns)):
        raise InvalidInputError(
            field="coins",
            expected=f"independent of {name}, as tosses are except once in a million",
            got="coins that follow it",
            fix="whoever knows it could tell who was drawn, and a perfect service would be refuted: nothing is judged. "
            "Draw coins anew for another experiment; those of this one were not what was declared",
        )


def log_chance(ranks: Floats, coins: Flags, *, draw: Draw, pairs: Ints | None = None) -> float:
    """Return the logarithm of a bound on how likely coins of this draw go so closely with ranks, in either direction.

    Parameters
    ----------
    ranks
        Shape (m,), with mean 0.
    coins, draw, pairs
        As for :func:`check_covariates`.

    References
    ----------
    As for :func:`check_covariates`.
    """
    runs = len(coins)
    if draw == "exactly_k":
        exponent = _drawn_exponent(ranks, abs(float((coins @ ranks).sum())), int(coins.sum()))
    else:
        weights = ranks[pairs[:, 0]] - ranks[pairs[:, 1]] if pairs is not None else ranks
        tossed = coins[:, pairs[:, 0]] if pairs is not None else coins
        total = float((np.where(tossed, 1.0, -1.0) @ weights).sum())
        size = runs * float(np.square(weights).sum())
        exponent = total**2 / (2 * size) if size > 0 else 0.0
    return min(0.0, math.log(2) - exponent)


def _drawn_exponent(ranks: Floats, total: float, k: int) -> float:
    """Return the largest ``t total - k log mean exp(t ranks)``; every t gives a valid exponent, for either sign."""
    largest = float(np.max(np.abs(ranks)))
    if largest == 0 or total == 0:
        return 0.0
    tilts = np.linspace(0.0, _MOST_TILTED, _TILTS + 1)[1:] / largest
    # Sets are drawn without replacement: no wider than with it. Both directions are bounded by the wider one.
    up, down = (np.log(np.mean(np.exp(np.outer(tilts, side)), axis=1)) for side in (ranks, -ranks))
    return max(0.0, float(np.max(tilts * total - k * np.maximum(up, down))))


def ranks_of(values: Floats) -> Floats:
    """Return ranks with mean 0, ties at their mean rank, shape (m,)."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places] - (len(values) + 1) / 2, dtype=np.float64)


def _column(name: object, values: ArrayLike, m: int) -> Floats:
    found = real_array(values, f"covariates[{name!r}]")
    fix = "give a number for each candidate, in the order of the scores"
    require(found.shape == (m,), f"covariates[{name!r}]", expected=f"shape ({m},)", got=f"shape {found.shape}", fix=fix)
    return np.asarray(found, dtype=np.float64)
