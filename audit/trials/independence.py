"""Are the trials what a count of them assumes: independent draws? Pure functions on releases, scores and trajectories.

In the flow: workers take fingerprints of the releases that they score; :mod:`audit.controls.worlds` makes controls of
what is found here. Nothing here looks at a claim.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, pdtrc

Array = NDArray[np.float64]
Prints = NDArray[np.uint64]

# Chance that one check of the sampling calls a healthy sampler faulty, over one whole audit. A broken one is wrong by
# a wide margin, and suites of hundreds of audits are not to lose verdicts to chance.
FALSE_ALARM = 1e-6
N_COORDINATES = 16
# Scores that agree in this many leading bits are ties.
_TIE_BITS = 40
# An odd number with well spread bits: 2^64 over the golden ratio.
_MIX = np.uint64(0x9E3779B97F4A7C15)
BLOCK = 25
N_COLUMNS = 16
# Below this share of common noise two steps are not called alike: a drift that is not convex may correlate them a bit.
SMALLEST_SHARE = 0.25


def fingerprints(releases: Array) -> Prints:
    """Return 64 bits for each release, shape (n,): equal for bit-equal releases, else different but for 2^-60 or so.

    Parameters
    ----------
    releases
        Shape (n, ...), float64.

    Notes
    -----
    A multilinear hash (Carter and Wegman 1979) of at most 16 coordinates and of the sum of all: hashing every
    coordinate would cost as much as an attack. Two releases that agree in all of these are equal for every law with a
    density.
    """
    if releases.ndim == 3 and not releases.flags.c_contiguous:
        # Samplers hold the columns of a weight matrix contiguously: (n, q, p) seen as (n, p, q).
        releases = releases.transpose(0, 2, 1)
    rows = releases.reshape(len(releases), -1)
    chosen = np.unique(np.linspace(0, rows.shape[1] - 1, N_COORDINATES).round().astype(np.intp))
    # Adding zero makes -0.0 into 0.0, which is the same number.
    words = (np.column_stack([rows[:, chosen], rows.sum(axis=1)]) + 0.0).view(np.uint64)
    # Numbers from float32 end in 29 zero bits, which a product keeps: fold the upper half into the lower, twice.
    for _ in range(2):
        words ^= words >> np.uint64(32)
        words *= _MIX
    words ^= words >> np.uint64(29)
    return np.asarray(words @ _multipliers(words.shape[1]), dtype=np.uint64)


@functools.cache
def _multipliers(n: int) -> Prints:
    odd = np.random.Generator(np.random.PCG64(0)).integers(0, 2**63, size=n, dtype=np.uint64)
    return odd * np.uint64(2) + np.uint64(1)


def n_repeated(prints: Prints) -> int:
    """Return how many releases are equal to an earlier one."""
    return len(prints) - n_distinct(prints)


def n_distinct(prints: Prints) -> int:
    """Return how many different values there are."""
    # Sorting takes a hundredth of the time of np.unique, which hashes.
    ordered = np.sort(prints)
    return min(1, len(prints)) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def chance_repeats(rows: Array) -> int:
    """Return how many rows may repeat an earlier one by chance, given how finely the values are stored.

    Independent trials with values as finely spaced as these show more with probability at most 1e-6; stored values
    are rounded (float32, or a table's decimals), so that some ties are no fault. Conservative: rows of several columns
    tie less often than any column.

    Parameters
    ----------
    rows
        Shape (n, d).

    Notes
    -----
    Among about 25 neighbouring distinct values the smallest gap stands for the spacing at which values are stored
    there; it is at least the true spacing, so more ties are forgiven than rounding explains. Numbers in full precision
    that lie in no steps are not rounded, and no tie of theirs is forgiven.
    """
    n = len(rows)
    expected = min((_chance_pairs(rows[:, j]) for j in chosen_columns(int(rows.shape[1]))), default=0.0)
    if expected >= n:
        return n
    allowed = 0
    # Tail of the Poisson law; a few steps suffice and scipy.stats takes a second to load.
    while pdtrc(allowed, expected) > FALSE_ALARM and allowed < n:
        allowed += 1 + allowed // 50
    return allowed


def chosen_columns(width: int) -> NDArray[np.intp]:
    """Return at most 16 columns, equally spaced, that stand for all."""
    return np.unique(np.linspace(0, width - 1, N_COLUMNS).round().astype(np.intp))


def _chance_pairs(values: Array) -> float:
    """Return about how many pairs of independent draws from this law are stored as the same number."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3:
        return math.inf
    if not _is_short(distinct) and not _are_steps(distinct):
        return 0.0
    total = 0.0
    for start in range(0, len(distinct) - 1, BLOCK):
        block = distinct[start : start + BLOCK + 1]
        n, spans = float(counts[start : start + BLOCK].sum()), np.diff(block)
        total += n * n / 2 * float(spans.min()) / float(spans.sum())
    return total


def _is_short(values: Array) -> bool:
    """Return whether all values are numbers of single precision, or of at most twelve decimals."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32).astype(np.float64)
        rounded = np.round(values, 12)
    return bool(np.all(single == values) or np.all(rounded == values))


def _are_steps(distinct: Array) -> bool:
    """Return whether values lie in steps, which may widen slowly, as shares of a count and logarithms of rounded ones.

    Then gaps are mostly whole multiples of the smallest near them, or mostly like the one before. A few models that
    were copied lie anywhere: a gap is near a multiple with probability 1/5, and like the one before with 1/9.
    """
    gaps = np.diff(distinct)
    n_near = n_gaps = 0
    for start in range(0, len(gaps), BLOCK):
        block = gaps[start : start + BLOCK]
        # A multiple beyond all numbers is near none.
        with np.errstate(over="ignore", invalid="ignore"):
            multiples = np.delete(block, int(np.argmin(block))) / block.min()
            n_near += int(np.sum(np.abs(multiples - np.round(multiples)) < 0.1))
        n_gaps += len(multiples)
    like = np.abs(np.log(gaps[1:]) - np.log(gaps[:-1])) < math.log(1.25)
    return 2 * n_near >= n_gaps or bool(np.mean(like) > 0.5)


def at_extremes(rows: Array) -> NDArray[np.bool_]:
    """Return which rows hold only smallest or largest values of their columns: clipped scores repeat with reason."""
    extreme: NDArray[np.bool_] = np.all((rows == rows.min(axis=0)) | (rows == rows.max(axis=0)), axis=1)
    return extreme


def lag_one(values: Array, *, rng: np.random.Generator) -> tuple[float, float]:
    """Return the correlation of each trial's rank with the next one's, and a two-sided p-value of "any order is equal".

    Parameters
    ----------
    values
        One number for each trial in the order of drawing, shape (n,); ties are allowed.
    rng
        Breaks ties.

    Returns
    -------
    correlation, p_value
        (0, 1) when the values are constant in their leading 40 bits, or fewer than 20.
    """
    _, correlation, p_value = strongest_lag(values, 1, rng=rng)
    return correlation, p_value


def strongest_lag(values: Array, n_lags: int, *, rng: np.random.Generator) -> tuple[int, float, float]:
    """Return the lag, of 1 to ``n_lags``, at which ranks are correlated most, with the correlation and its p-value.

    Parameters
    ----------
    values
        One number for each trial in the order of drawing, shape (n,); ties are allowed.
    n_lags
        At least 1; lags of n/2 and more are left out.
    rng
        Breaks ties.

    Returns
    -------
    lag, correlation, p_value
        The two-sided p-value of "any order is equal", times the number of lags. (1, 0, 1) when the values are constant
        in their leading 40 bits, or fewer than 20.

    Notes
    -----
    The p-value is a normal approximation to the permutation law of the circular serial correlation of ranks, whose mean
    and variance are exact; ranks are bounded, so its far tail is lighter than the normal one. The law is that of lag
    one at every lag below n/2, for each rank has two neighbours in all of them. Ties are broken by chance: with equal
    ranks a few rare values would have a law far from normal (two of three among a thousand side by side, once in 150
    times, were "significant" at 1e-6); a random order of equal values is that of independent draws.

    References
    ----------
    Wald and Wolfowitz 1943, "An exact test for randomness in the non-parametric case based on serial correlation".
    """
    ranks = ranks_of(values, rng=rng)
    n = len(ranks)
    if n < 20:
        return 1, 0.0, 1.0
    x = ranks - ranks.mean()
    n_lags = max(1, min(n_lags, (n - 1) // 2))
    products = np.fft.irfft(np.abs(np.fft.rfft(x)) ** 2, n)[1 : n_lags + 1]
    s2, s4 = float(np.sum(x**2)), float(np.sum(x**4))
    mean = -s2 / (n - 1)
    variance = (s2**2 - s4) / (n - 1) + (s2**2 - 2 * s4) / ((n - 1) * (n - 2)) - mean**2
    lag = int(np.argmax(np.abs(products - mean)))
    p_value = 2 * ndtr(-abs(products[lag] - mean) / math.sqrt(variance))
    return lag + 1, float(products[lag] / s2), min(1.0, n_lags * float(p_value))


def ranks_of(values: Array, *, rng: np.random.Generator) -> Array:
    """Return ranks 1 to n with ties in a random order; nothing when all values are equal.

    Parameters
    ----------
    values
        Shape (n,); they are ties when they agree in their leading 40 bits.
    rng
        Breaks ties.
    """
    # Equal releases may score apart in the last digit, in a pattern that depends on where they lie in their chunk.
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(np.ldexp(mantissa, _TIE_BITS)), exponent - _TIE_BITS)
    if np.all(rounded == rounded[:1]):
        return np.empty(0)
    ranks, by_chance = np.empty(len(values)), rng.random(len(values))
    order = np.argsort(rounded)
    ordered = rounded[order]
    if np.any(ordered[1:] == ordered[:-1]):
        # Seven times as slow, and the same order where nothing is equal.
        order = np.lexsort((by_chance, rounded))
    ranks[order] = np.arange(1, len(values) + 1)
    return ranks


def common_step_noise(trajectories: Array) -> Array | None:
    """Return for each pair of trials the share of noise, in [-1, 1], that its first two steps have in common.

    Parameters
    ----------
    trajectories
        Shape (2 m, 3 or more, ...): iterates of trials that all start from the same model.

    Returns
    -------
    Array or None
        m independent cosines; with noise that is drawn afresh each is positive with probability at most one half.
        ``None`` when there is nothing to compare: fewer than two steps, trials that start apart, or no noise.

    Notes
    -----
    From a common start the difference of two trials' first increments is noise and nothing else. A gradient step
    answers noise with a pull back: for independent symmetric noise and a convex objective the next difference has a
    cosine with it that is negative or symmetric about zero; only noise that is used again makes it positive. It is no
    test for steps with momentum, whose increments are alike by design.
    """
    if trajectories.ndim < 3 or trajectories.shape[0] < 2 or trajectories.shape[1] < 3:
        return None
    paths = trajectories[:, :3].reshape(len(trajectories), 3, -1)
    if np.any(paths[:, 0] != paths[0, 0]):
        return None
    steps = np.diff(paths, axis=1)
    differences = steps[0 : 2 * (len(steps) // 2) : 2] - steps[1::2]
    lengths = np.linalg.norm(differences, axis=2)
    # Without noise only rounding is left of the differences.
    if np.any(lengths <= 1e-12 * np.linalg.norm(steps, axis=2).max()):
        return None
    cosines: Array = np.sum(differences[:, 0] * differences[:, 1], axis=1) / np.prod(lengths, axis=1)
    return cosines
