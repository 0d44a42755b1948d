"""E-values of many hypotheses at once, from counts of trials that were paired at random, and what may be said of them.

In the flow: :mod:`audit.models` counts one event a record; an e-value a record is what lists and means are made of.

The e-value of one record: a pair (x1, x0) of 0/1 events, one of each world, has y = x1 - e^epsilon x0 - delta with
mean at most 0 where ``p1 <= e^epsilon p0 + delta``. A bet of the share lambda of one's capital multiplies it by
1 + lambda y, which is never negative for lambda < 1 / (e^epsilon + delta) and has mean at most 1. Stakes are fixed
by the fit split, pairs are independent of it and of each other, so the product over the pairs has mean at most 1, and
so has a weighted mean over stakes. Which trials form a pair is drawn without a look at outcomes: the capital has mean
at most 1 for every pairing, hence also averaged over several. No optional stopping and no maximum is in it, so the
final capital is an e-value; a p-value does not become one for free.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.statistics.bets import BLIND_PART, BLIND_WEIGHTS, SAFETY, log_rates, log_sum
from mechanisms.errors import InvalidInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Pairings that the capital is averaged over.
N_PAIRINGS = 16


def log_final_capital(cells: Floats, past: Floats, *, epsilon: float, delta: float) -> Floats:
    """Return log capital after pairs were bet on: each capital has mean at most 1 where the point claim holds.

    Parameters
    ----------
    cells
        Pairs with (only x1, both, only x0, neither), shape (..., 4).
    past
        The same of pairs that are not counted, which weigh the stakes; any non-negative numbers, shape (..., 4).
    epsilon, delta
        The point claim.

    References
    ----------
    Waudby-Smith, Ramdas 2024 (arXiv:2010.09686), section 4, for the bet; Vovk, Wang 2021 (arXiv:1912.06116) for means.
    """
    rates = log_rates((float(epsilon),), float(delta))[:, 0]
    return log_sum(cells @ rates + _log_weights(past, rates))


def _log_weights(past: Floats, rates: Floats) -> Floats:
    """Return log weights of the bets, which add up to at most 1: what each would have won on the past."""
    blind = np.log(np.asarray(BLIND_WEIGHTS) / math.fsum(BLIND_WEIGHTS))
    won = blind + past @ rates
    won = won - log_sum(won)[..., None]
    weights: Floats = np.logaddexp(won + math.log1p(-BLIND_PART), blind + math.log(BLIND_PART)) - SAFETY / 10
    return weights


def paired_log_e_values(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    past: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    *,
    epsilon: float,
    delta: float,
    rng: np.random.Generator,
) -> Floats:
    """Return the logarithm of an e-value of "p1 <= e^epsilon p0 + delta" for each row of counts.

    Parameters
    ----------
    counts
        (k1, n1, k0, n0): occurrences and trials in the world that the claim bounds and in the other, shapes (m,).
    past
        The same on the fit split; numbers need not be whole.
    epsilon, delta
        The point claim.
    rng
        Draws which trials form a pair, never looking at outcomes: 16 pairings, over which the capital is averaged.

    Notes
    -----
    Exact (conservative); the proof is this module's docstring. min(n1, n0) pairs are formed; where worlds differ in
    size each pairing leaves out other trials. Given the counts, which events meet in a pair has a hypergeometric law,
    so that the trials themselves are not needed.

    References
    ----------
    As :func:`log_final_capital`.
    """
    capital = log_final_capital(_paired(counts, rng), _expected(past), epsilon=epsilon, delta=delta)
    return np.asarray(log_sum(capital.T) - math.log(N_PAIRINGS))


def _paired(counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], rng: np.random.Generator) -> Floats:
    """Return the cells of each pairing, shape (pairings, m, 4)."""
    k1, n1, k0, n0 = (np.asarray(x, dtype=np.int64) for x in counts)
    m = np.minimum(n1, n0)
    shape = (N_PAIRINGS, len(k1))
    # Of each world m trials at random, then how many of both kinds meet.
    first, second = (rng.hypergeometric(k, n - k, m, size=shape) for k, n in ((k1, n1), (k0, n0)))
    both = rng.hypergeometric(first, m - first, second)
    return np.stack([first - both, both, second - both, m - first - second + both], axis=-1).astype(np.float64)


def _expected(past: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]) -> Floats:
    """Return the cells that independent worlds with these counts show on average."""
    q1, m1, q0, m0 = (np.asarray(x, dtype=np.float64) for x in past)
    p1, p0, size = q1 / np.maximum(m1, 1), q0 / np.maximum(m0, 1), np.minimum(m1, m0)
    cells = np.stack([p1 * (1 - p0), p1 * p0, (1 - p1) * p0, (1 - p1) * (1 - p0)], axis=-1)
    return np.asarray(size[:, None] * cells)


def log_stakes(past: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], *, epsilon: float, delta: float) -> Floats:
    """Return how the capital of each row is spread over the bets, as logarithms, shape (m, bets); total at most 1.

    Parameters
    ----------
    past, epsilon, delta
        As for :func:`paired_log_e_values`.

    References
    ----------
    As :func:`log_final_capital`.
    """
    return _log_weights(_expected(past), log_rates((float(epsilon),), float(delta))[:, 0])


def log_gains(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    *,
    epsilon: float,
    delta: float,
    rng: np.random.Generator,
) -> Floats:
    """Return what a batch of trials multiplies the capital of each bet by, as logarithms, shape (m, bets).

    Each factor has mean at most 1 where the point claim holds, whatever was seen before the batch: it is a mean over
    pairings of the batch, none of which looks at outcomes, of products over independent pairs. A product over batches
    is therefore a supermartingale with respect to all that is known at the end of each batch, of this record and of
    all others.

    Parameters
    ----------
    counts, epsilon, delta, rng
        As for :func:`paired_log_e_values`, of one batch.

    References
    ----------
    As :func:`log_final_capital`.
    """
    won = _paired(counts, rng) @ log_rates((float(epsilon),), float(delta))[:, 0]
    return np.asarray(log_sum(np.moveaxis(won, 0, -1)) - math.log(N_PAIRINGS))


def log_calibrated(log_p: ArrayLike) -> Floats:
    """Return the logarithms of e-values that follow from p-values: the integral of k p^(k - 1) over k from 0 to 1.

    Parameters
    ----------
    log_p
        Logarithms of p-values, at most 0; any shape, and the result has it.

    Notes
    -----
    Exact: each k p^(k - 1) integrates to 1 over p, and falls in p. In closed form (1 - p + p log p) / (p log(p)^2),
    from 1/2 (at p = 1) to infinity.

    References
    ----------
    Vovk, Wang 2021, "E-values: calibration, combination and applications", equation 1 and below (arXiv:1912.06116).

    Examples
    --------
    >>> np.exp(log_calibrated(np.log([1e-6, 0.05, 1.0]))).round(2).tolist()
    [5239.14, 1.78, 0.5]
    """
    log = np.minimum(np.asarray(log_p, dtype=np.float64), 0.0)
    far = np.minimum(log, -1e-3)
    # Near p = 1 the quotient cancels: its series is 1/2 - log(p)/6 + log(p)^2/24.
    exact = np.log1p((far - 1) * np.exp(far)) - far - 2 * np.log(-far)
    near = np.log(0.5 - log / 6 + log**2 / 24)
    return np.asarray(np.where(log < -1e-3, exact, near))


def e_bh(e_values: ArrayLike, *, level: float) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected: the expected share of true ones among them is at most the level.

    Parameters
    ----------
    e_values
        One each, non-negative; infinity is allowed. Shape (m,).
    level
        Bound on the false discovery rate, in (0, 1).

    Raises
    ------
    InvalidInputError
        For negative e-values or NaN, or a level outside (0, 1).

    Notes
    -----
    Exact, under every dependence: e-values are rejected from the largest down, the k largest when the k-th is at least
    m / (k level), for the largest such k.

    References
    ----------
    Wang, Ramdas 2022, "False discovery rate control with e-values", JRSS B 84, theorem 2 (arXiv:2009.02824).

    Examples
    --------
    >>> e_bh([90.0, 45.0, 1.0, 0.5], level=0.05).tolist()
    [True, True, False, False]
    """
    values = np.asarray(e_values, dtype=np.float64)
    if not 0 < level < 1:
        raise InvalidInputError(field="level", expected="in (0, 1)", got=level, fix="0.05 is usual")
    if values.ndim != 1 or not np.all(values >= 0):
        raise InvalidInputError(
            field="e_values", expected="non-negative numbers, shape (m,)", got=values, fix="give e, not log(e)"
        )
    m = len(values)
    order = np.argsort(-values, kind="stable")
    enough = np.flatnonzero(values[order] * np.arange(1, m + 1) * level >= m)
    rejected = np.zeros(m, dtype=np.bool_)
    if len(enough):
        rejected[order[: enough[-1] + 1]] = True
    return rejected
