"""Tail probabilities of guessing by chance, in logarithms: how often nobody who knows nothing is right so often.

In the flow: :mod:`audit.lots.statistics.subsets` counts, and asks here how likely the count is where a release tells
nothing of the coins. Every function rounds up, never down.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, gammaln

from mechanisms.errors import require

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Up to here in whole numbers of any length, without any rounding; above by logarithms of the gamma function.
LARGEST_WHOLE = 2048
# Up to here the sum of signs is convolved exactly; above by Chernoff.
LARGEST_CONVOLVED = 4096
# Weights are rounded to whole numbers; all of them together are at most so many for sums that are convolved.
_UNITS = 2**18
_FINEST = 1024
# Relative rounding of a sum of a million terms, and of gammaln there, is below this.
_ROUNDING = 1e-7
_SMALL_ROUNDING = 1e-11


def log_half_tail(right: int, guesses: int) -> float:
    """Return log P(Bin(guesses, 1/2) >= right), rounded up: so many of fair coins guessed by chance.

    Parameters
    ----------
    right
        Right guesses, in [0, guesses].
    guesses
        Coins that were guessed, at least 0.

    Raises
    ------
    InvalidInputError
        For numbers out of range.

    Notes
    -----
    Exact for up to 2,048 guesses; above, larger by a factor of at most 1 + 3e-7.

    References
    ----------
    Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run" (arXiv:2305.08846), guess from coins.
    """
    fix = "count the right guesses among those that were made"
    require(0 <= right <= guesses, "right", expected=f"in [0, {guesses}]", got=right, fix=fix)
    return _log_half_tail(int(right), int(guesses))


@functools.lru_cache(maxsize=4096)
def _log_half_tail(right: int, guesses: int) -> float:
    if right == 0:
        return 0.0
    if guesses <= LARGEST_WHOLE:
        ways = sum(math.comb(guesses, j) for j in range(right, guesses + 1))
        return min(0.0, _log_ratio(ways, 2**guesses))
    j = np.arange(right, guesses + 1, dtype=np.float64)
    logs = _log_choose(guesses, j) - guesses * math.log(2)
    return min(0.0, _log_sum(logs) + _ROUNDING)


def log_hypergeometric_tail(right: int, *, population: int, marked: int, guesses: int) -> float:
    """Return log P(Hyp(population, marked, guesses) >= right), rounded up.

    Parameters
    ----------
    right
        Guesses that are marked.
    population, marked
        Candidates, and how many of them a uniform draw marked.
    guesses
        Candidates that were named without knowing the draw, in [0, population].

    Raises
    ------
    InvalidInputError
        For numbers out of range.

    Notes
    -----
    Exact for up to 2,048 candidates.

    References
    ----------
    Fisher 1935, *The design of experiments*, chapter 2 (the lady tasting tea).
    """
    fix = "give sizes of sets of candidates"
    require(0 <= marked <= population, "marked", expected=f"in [0, {population}]", got=marked, fix=fix)
    require(0 <= guesses <= population, "guesses", expected=f"in [0, {population}]", got=guesses, fix=fix)
    most = min(marked, guesses)
    require(0 <= right <= most, "right", expected=f"in [0, {most}]", got=right, fix=fix)
    return _log_hypergeometric(int(right), int(population), int(marked), int(guesses))


@functools.lru_cache(maxsize=4096)
def _log_hypergeometric(right: int, population: int, marked: int, guesses: int) -> float:
    least, most = max(0, guesses + marked - population), min(marked, guesses)
    if right <= least:
        return 0.0
    if population <= LARGEST_WHOLE:
        ways = sum(math.comb(marked, j) * math.comb(population - marked, guesses - j) for j in range(right, most + 1))
        return min(0.0, _log_ratio(ways, math.comb(population, guesses)))
    j = np.arange(right, most + 1, dtype=np.float64)
    logs = _log_choose(marked, j) + _log_choose(population - marked, guesses - j)
    return min(0.0, _log_sum(logs - _log_choose(population, np.asarray(float(guesses)))) + _ROUNDING)


def whole_weights(weights: Floats) -> Ints:
    """Return weights as whole numbers, shape (m,), on a scale that depends on the weights alone.

    Parameters
    ----------
    weights
        Finite numbers of any sign, shape (m,).

    Notes
    -----
    A test of a sum of rounded weights is exact for that sum, whatever was rounded away, as long as the sum and its law
    are computed from the same whole numbers.
    """
    values = np.asarray(weights, dtype=np.float64)
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0.0:
        return np.zeros(len(values), dtype=np.int64)
    finest = _FINEST if len(values) > LARGEST_CONVOLVED else min(_FINEST, _UNITS // len(values))
    return np.rint(values / largest * finest).astype(np.int64)


def log_signs_tail(weights: Ints, total: int) -> float:
    """Return log P(sum of weights with fair random signs >= total), rounded up.

    Parameters
    ----------
    weights
        Whole numbers of any sign, shape (m,).
    total
        What the sum has to reach.

    Notes
    -----
    For up to 4,096 weights exact for these whole numbers: their law, tilted towards the total, is convolved by adding
    shifted arrays of non-negative numbers, so that no digit cancels and nothing near the total underflows. (By a
    Fourier transform, 2e-16 comes out where 1.5e-44 is true.) For more, Chernoff's bound, which loses about 2 nats.

    References
    ----------
    Chernoff 1952, "A measure of asymptotic efficiency for tests of a hypothesis based on the sum of observations",
    Annals of Mathematical Statistics 23.
    """
    sizes = np.sort(np.abs(np.asarray(weights, dtype=np.int64)))
    sizes = sizes[sizes > 0]
    largest = int(sizes.sum())
    if total <= -largest:
        return 0.0
    if total > largest:
        return -math.inf
    if len(sizes) > LARGEST_CONVOLVED:
        return log_chernoff(sizes.astype(np.float64), float(total))
    # The sum is 2 H - largest, where H adds up each weight with probability 1/2.
    reach = -((-(total + largest)) // 2)
    tilt = _tilt(sizes.astype(np.float64), float(2 * reach - largest))
    chances = _convolved(sizes, tilt)
    h = np.arange(reach, largest + 1, dtype=np.float64)
    inside = float(np.sum(chances[reach:] * np.exp(-2 * tilt * (h - reach))))
    if inside <= 0.0:
        # Only where a tilt beyond all floats is needed; Chernoff's bound holds there too.
        return log_chernoff(sizes.astype(np.float64), float(total))
    scaled = _log_cosh_sum(sizes.astype(np.float64), tilt) - tilt * (2 * reach - largest)
    return min(0.0, scaled + math.log(inside) + _SMALL_ROUNDING)


def log_chernoff(weights: Floats, total: float) -> float:
    """Return Chernoff's bound on log P(sum of weights with fair random signs >= total); 0 for totals up to 0.

    Parameters
    ----------
    weights
        Shape (m,).
    total
        What the sum has to reach.

    Notes
    -----
    Valid at every t: the minimum need not be met.

    References
    ----------
    Chernoff 1952, as for :func:`log_signs_tail`.
    """
    if total <= 0:
        return 0.0
    sizes = np.abs(np.asarray(weights, dtype=np.float64))
    sizes = sizes[sizes > 0]
    tilt = _tilt(sizes, total)
    bound = _log_cosh_sum(sizes, tilt) - tilt * total
    return min(0.0, bound + _SMALL_ROUNDING * (1 + abs(tilt * total)))


def log_count_tail(hits: int, trials: int, log_chance: float) -> float:
    """Return log P(Bin(trials, exp(log_chance)) >= hits): independent runs, each a hit with at most this chance.

    Parameters
    ----------
    hits, trials
        In [0, trials], and at least 0.
    log_chance
        Logarithm of a probability.

    References
    ----------
    Clopper, Pearson 1934, Biometrika 26 (the exact test).
    """
    if hits == 0 or log_chance >= 0.0:
        return 0.0
    tail = float(betainc(hits, trials - hits + 1, math.exp(log_chance)))
    if tail > 1e-290:
        return min(0.0, math.log(tail) + _SMALL_ROUNDING)
    # Below all floats: the union over the ways to hit so often.
    return min(0.0, float(_log_choose(trials, np.asarray(float(hits)))) + hits * log_chance + _ROUNDING)


def least_chance(hits: int, trials: int, level: float) -> float:
    """Return a lower limit on a chance that was met ``hits`` times of ``trials``, wrong with probability ``level``.

    Parameters
    ----------
    hits, trials
        Counts, in [0, trials] and at least 1.
    level
        In (0, 1).

    References
    ----------
    Clopper, Pearson 1934, Biometrika 26.
    """
    return float(betaincinv(hits, trials - hits + 1, level)) * (1 - _SMALL_ROUNDING) if hits else 0.0


def _log_ratio(ways: int, of: int) -> float:
    """Logarithm of a ratio of whole numbers of any length, rounded up."""
    # Of more than 1,000 bits the leading ones say it to the last digit of a float.
    value = math.log(ways) - math.log(of)
    return value + 4e-16 * (1 + math.log(of)) if ways < of else 0.0


def _log_choose(n: int, k: Floats) -> Floats:
    found: Floats = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return found


def _log_sum(logs: Floats) -> float:
    largest = float(np.max(logs))
    return largest + math.log(float(np.sum(np.exp(logs - largest))))


def _tilt(sizes: Floats, total: float) -> float:
    """Return t >= 0 near the minimum of ``sum log cosh(t w) - t total``: Newton, held inside a bracket."""
    largest = float(np.sum(sizes))
    if total <= 0.0 or largest == 0.0:
        return 0.0
    # Beyond this every sign is turned to its side up to 1e-17.
    most = 20.0 / float(np.min(sizes))
    low, high = 0.0, most
    t = min(total / float(np.sum(sizes**2)), most)
    for _ in range(60):
        turned = np.tanh(t * sizes)
        gap = float(np.sum(sizes * turned)) - total
        low, high = (low, t) if gap > 0 else (t, high)
        slope = float(np.sum(sizes**2 * (1 - turned**2)))
        step = t - gap / slope if slope > 0 else math.inf
        new = step if low < step < high else (low + high) / 2
        if abs(gap) <= 1e-6 * largest or abs(new - t) <= 1e-9 * new:
            break
        t = new
    return t


def _convolved(sizes: Ints, tilt: float) -> Floats:
    """Return the law of the sum of the weights that turned up, each with its tilted chance; index = the sum."""
    chances = np.zeros(int(sizes.sum()) + 1)
    chances[0] = 1.0
    top = 0
    for size in map(int, sizes):
        up = 1.0 / (1.0 + math.exp(-2 * tilt * size))
        # 1 - up would cancel.
        down = 1.0 / (1.0 + math.exp(min(2 * tilt * size, 700.0)))
        moved = chances[: top + 1] * up
        chances[: top + 1] *= down
        top += size
        chances[size : top + 1] += moved
    return chances


def _log_cosh_sum(sizes: Floats, tilt: float) -> float:
    x = tilt * sizes
    return float(np.sum(x + np.log1p(np.exp(-2 * x)) - math.log(2)))
