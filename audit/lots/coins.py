"""Coins: drawn by the auditor, committed to before anything is trained, and looked at before they are believed.

In the flow: everything else conditions on the coins, so they are read here once, and what contradicts the declared draw
is refused. Coins that look odd are never drawn again: whoever redraws until a control is content has drawn other coins.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.lots.statistics.subsets import Draw
from audit.lots.statistics.tails import log_half_tail
from audit.trials.independence import FALSE_ALARM
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.arrays import real_array
from mechanisms.reading.scalars import whole_number

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

COMMITMENT = "unlearn-audit/coins/1"
_REDRAW = "draw coins anew for another experiment; those of this one were not what was declared"


def draw_coins(
    draw: Draw, *, candidates: int, runs: int, rng: np.random.Generator, pairs: Ints | None = None, k: int | None = None
) -> Flags:
    """Return coins, shape (runs, candidates), drawn anew for each run.

    Parameters
    ----------
    draw
        "fair": each candidate by a coin of its own. "paired": one of each pair. "exactly_k": a uniform set of k.
    candidates, runs
        Sizes, at least 2 and 1.
    rng
        A stream of its own: nothing else may draw from it.
    pairs, k
        For the draws that need them.
    """
    if draw == "fair":
        return rng.random((runs, candidates)) < 0.5
    coins = np.zeros((runs, candidates), dtype=bool)
    for j in range(runs):
        if draw == "paired" and pairs is not None:
            coins[j, pairs[np.arange(len(pairs)), rng.integers(0, 2, len(pairs))]] = True
        else:
            coins[j, rng.permutation(candidates)[:k]] = True
    return coins


def commitment(coins: Flags, salt: bytes) -> str:
    """Return the SHA-256 that stands for coins before they are shown.

    Of these lines in ASCII, each ended by a line feed: ``unlearn-audit/coins/1``, one line of 0 and 1 a run, and the
    salt in hexadecimal.

    Parameters
    ----------
    coins
        Shape (runs, candidates).
    salt
        Random bytes: without them, whoever guesses the coins could see that the guess is right.
    """
    lines = [COMMITMENT, *("".join("01"[int(c)] for c in row) for row in coins), salt.hex()]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).hexdigest()


def read_pairs(pairs: ArrayLike | None, draw: Draw, candidates: int) -> Ints | None:
    """Return the pairs of a paired draw, shape (candidates / 2, 2); ``None`` for other draws.

    Raises
    ------
    InvalidInputError
        When a paired draw has none, they are not all candidates once each, or another draw has some.
    """
    if draw != "paired":
        require(pairs is None, "pairs", expected='given for draw="paired" alone', got=pairs, fix="leave pairs out")
        return None
    fix = "fix m/2 pairs of candidates before the coins: pairs=[[0, 1], [2, 3], ...]"
    require(pairs is not None, "pairs", expected='given for draw="paired"', got=None, fix=fix)
    found = real_array(pairs, "pairs")  # type: ignore[arg-type]
    shaped = found.ndim == 2 and found.shape[1] == 2
    require(shaped, "pairs", expected=f"of shape ({candidates // 2}, 2)", got=f"shape {found.shape}", fix=fix)
    whole = sorted(found.ravel().tolist()) == list(range(candidates))
    require(whole, "pairs", expected=f"each of the {candidates} candidates once", got=found.tolist()[:5], fix=fix)
    return found.astype(np.int64)


def read_coins(coins: ArrayLike, *, draw: Draw, pairs: Ints | None, shape: tuple[int, int]) -> Flags:
    """Return coins as flags, shape (runs, candidates), after looking whether they can be what was declared.

    Parameters
    ----------
    coins
        0 and 1, or False and True: 1 for candidates that were given to training and asked to be deleted.
    draw, pairs
        How they were drawn.
    shape
        Of the scores.

    Raises
    ------
    InvalidInputError
        For other values or shapes, and coins that contradict the draw or have a chance below 1e-6 under it.
    """
    found = real_array(coins, "coins")
    found = found[None, :] if found.ndim == 1 else found
    fix = "give one coin for each score: 1 for candidates that were given and asked to be deleted, else 0"
    require(found.shape == shape, "coins", expected=f"of shape {shape}", got=f"shape {found.shape}", fix=fix)
    odd = found[(found != 0) & (found != 1)]
    require(odd.size == 0, "coins", expected="0 or 1", got=odd[:1].tolist(), fix=fix)
    flags = found.astype(bool)
    if draw == "paired" and pairs is not None:
        both = flags[:, pairs[:, 0]] == flags[:, pairs[:, 1]]
        require(
            not np.any(both),
            "coins",
            expected="one of each pair",
            got=f"{int(both.sum())} pairs with both or none, the first in run {int(np.argmax(both.any(axis=1))) + 1}",
            fix="declare the draw that was made",
        )
    if draw == "exactly_k":
        sizes = sorted(set(flags.sum(axis=1).tolist()))
        require(len(sizes) == 1, "coins", expected="equally many 1 in every run", got=sizes, fix="declare another draw")
        inside = 0 < sizes[0] < shape[1]
        require(inside, "coins", expected=f"between 1 and {shape[1] - 1} of 1", got=sizes[0], fix=fix)
    else:
        _check_fair(flags[:, pairs[:, 0]] if pairs is not None else flags)
    return flags


def checked_guesses(guesses: int | None, usual: int, most: int) -> int:
    """Return how many coins are guessed.

    Raises
    ------
    InvalidInputError
        Outside [1, most].
    """
    if guesses is None:
        return usual
    fix = "fix before the coins how many of the surest guesses are counted, half of them for example"
    found = whole_number(guesses, "guesses", fix=fix)
    require(1 <= found <= most, "guesses", expected=f"in [1, {most}]", got=found, fix=fix)
    return found


def _check_fair(tosses: Flags) -> None:
    """Refuse tosses that fair coins show with a chance below 1e-6: their number, their order, and run against run."""
    changes = tosses[:, 1:] != tosses[:, :-1]
    agreements = tosses[1:] == tosses[:-1]
    looks = (
        ("coins", "fair", "{k} of {n} are 1", tosses, "declare the draw that was made, for example exactly_k"),
        (
            "the order of coins",
            "random",
            "neighbours differ {k} of {n} times",
            changes,
            "put the candidates in an order that does not follow the coins, before anything is scored",
        ),
        (
            "coins of different runs",
            "independent",
            "runs agree with the one before in {k} of {n} coins",
            agreements,
            "",
        ),
    )
    for field, expected, got, found, fix in looks:
        k, size = int(found.sum()), int(found.size)
        if size and _log_two_sided(k, size) < math.log(FALSE_ALARM / len(looks)):
            said = got.format(k=f"{k:,}", n=f"{size:,}")
            raise InvalidInputError(
                field=field,
                expected=f"{expected}, as tosses are except once in a million",
                got=said,
                fix=fix or _REDRAW,
            )


def _log_two_sided(k: int, n: int) -> float:
    return min(0.0, math.log(2) + log_half_tail(max(k, n - k), n))
