"""How surely one release tells which candidates were given: one p-value a run, for sets that coins drew.

In the flow: scores and coins in, the logarithm of a p-value of "the release tells nothing of the coins" out;
:mod:`audit.lots.statistics.judging` turns it into one of a claim. Which candidates are guessed, and how much each
weighs, depends on the release alone, never on the coins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.lots.statistics.tails import log_half_tail, log_hypergeometric_tail, log_signs_tail, whole_weights

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

Draw = Literal["fair", "paired", "exactly_k"]
Statistic = Literal["count", "weighted", "both"]

# Beyond so many times the median one, a score weighs no more: one wild score must not outweigh all others.
_CLIPPED_AT = 3.0


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What one run showed.

    Parameters
    ----------
    inserted
        Candidates that were given to training, and asked to be deleted.
    guesses, right
        Coins that were guessed, and how many of them rightly.
    log_counted, log_weighted
        Logarithms of the p-values of "tells nothing of the coins" by the count and by the weighted sum; ``None`` for
        one that was not asked for.
    """

    inserted: int
    guesses: int
    right: int
    log_counted: float | None
    log_weighted: float | None

    @property
    def log_p(self) -> float:
        """Logarithm of the p-value: of the one statistic, or twice the smaller of two."""
        found = [value for value in (self.log_counted, self.log_weighted) if value is not None]
        # Of an empty set nothing is claimed, and nothing was asked to be deleted.
        if not self.inserted:
            return 0.0
        return min(0.0, min(found) + math.log(len(found)))


def judge_run(
    scores: Floats,
    coins: Flags,
    *,
    draw: Draw,
    pairs: Ints | None,
    statistic: Statistic,
    guesses: int,
    rng: np.random.Generator,
) -> RunEvidence:
    """Return what the scores of one run tell of its coins.

    Parameters
    ----------
    scores
        Shape (m,); higher: the release looks as if the candidate had been in the data.
    coins
        Shape (m,); True for candidates that were given, and asked to be deleted.
    draw
        How the coins were drawn: each fair, one fair coin a pair, or uniformly among sets of as many as there are.
    pairs
        For paired draws, shape (m / 2, 2): both candidates of each pair.
    statistic
        "count", "weighted", or "both" at half the level each.
    guesses
        How many coins (pairs of them) the surest of which are guessed.
    rng
        Breaks ties; independent of the coins.

    Notes
    -----
    Each p-value is exact where the release is independent of the coins, whatever the release is.

    References
    ----------
    Steinke, Nasr, Jagielski 2023 (arXiv:2305.08846), Theorem 5.2 at epsilon = 0 for fair coins.
    """
    inserted = int(np.sum(coins))
    if draw == "exactly_k":
        named = highest(scores, guesses, rng)
        right = int(np.sum(coins[named]))
        log_p = log_hypergeometric_tail(right, population=len(coins), marked=inserted, guesses=guesses)
        return RunEvidence(inserted=inserted, guesses=guesses, right=right, log_counted=log_p, log_weighted=None)
    if pairs is not None:
        # The first of a pair was given, or the second: one fair coin, of which the difference tells.
        coins, lean = coins[pairs[:, 0]], scores[pairs[:, 0]] - scores[pairs[:, 1]]
    else:
        lean = scores - np.median(scores)
    chosen = highest(np.abs(lean), guesses, rng)
    guessed = np.where(lean[chosen] == 0, rng.random(len(chosen)) < 0.5, lean[chosen] > 0)
    right = int(np.sum(guessed == coins[chosen]))
    weighted = None
    if statistic != "count":
        weights = whole_weights(clipped(lean))
        weighted = log_signs_tail(weights, int(np.sum(np.where(coins, weights, -weights))))
    return RunEvidence(
        inserted=inserted,
        guesses=guesses,
        right=right,
        log_counted=None if statistic == "weighted" else log_half_tail(right, guesses),
        log_weighted=weighted,
    )


def highest(values: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Return the positions of the n highest values, shape (n,), ties in random order."""
    if n >= len(values):
        return np.arange(len(values))
    border = np.partition(values, len(values) - n)[len(values) - n]
    above, at = np.flatnonzero(values > border), np.flatnonzero(values == border)
    return np.concatenate([above, rng.permutation(at)[: n - len(above)]])


def clipped(lean: Floats) -> Floats:
    """Return values, shape (m,), held to three times their median size; as they are where most of them are 0."""
    usual = float(np.median(np.abs(lean)))
    return np.clip(lean, -_CLIPPED_AT * usual, _CLIPPED_AT * usual) if usual > 0 else lean


def usual_guesses(draw: Draw, candidates: int, marked: int) -> int:
    """Return how many are guessed where nobody says: half of the coins, or as many as were drawn."""
    if draw == "exactly_k":
        return marked
    coins = candidates // 2 if draw == "paired" else candidates
    return (coins + 1) // 2


def log_least(draw: Draw, statistic: Statistic, *, candidates: int, marked: int, guesses: int) -> float:
    """Return the logarithm of the smallest p-value that a run could show: every guess right, every sign too."""
    if draw == "exactly_k":
        return log_hypergeometric_tail(min(marked, guesses), population=candidates, marked=marked, guesses=guesses)
    coins = candidates // 2 if draw == "paired" else candidates
    least = {"count": guesses, "weighted": coins, "both": max(coins, guesses)}[statistic]
    return -least * math.log(2) + (math.log(2) if statistic == "both" else 0.0)
