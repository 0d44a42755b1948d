"""What is given to an audit by lot, read and refused by name: scores, levels, and claims that must cover the draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.lots.statistics.judging import DIRECTION
from audit.lots.statistics.subsets import Draw
from mechanisms.claim import Claim, EpsilonDelta, OnAverage
from mechanisms.errors import require
from mechanisms.reading.arrays import real_numbers
from mechanisms.reading.scalars import real_number, whole_number

Floats = NDArray[np.float64]
DEFAULT_DELTA = 1e-5


def read_scores(scores: ArrayLike) -> Floats:
    """Return scores, shape (runs, m); infinities become a number beyond all others, which keeps their order.

    Raises
    ------
    InvalidInputError
        For what is no array of numbers, NaN, other shapes, and fewer than two candidates.
    """
    found = real_numbers(scores, "scores")
    fix = "give one score for each candidate: shape (m,) of one model, or (runs, m)"
    require(found.ndim in (1, 2), "scores", expected="of shape (m,) or (runs, m)", got=f"shape {found.shape}", fix=fix)
    rows = found[None, :] if found.ndim == 1 else found
    enough = rows.shape[0] >= 1 and rows.shape[1] >= 2
    require(enough, "scores", expected="at least 1 run and 2 candidates", got=f"shape {found.shape}", fix=fix)
    missing = int(np.isnan(rows).sum())
    require(missing == 0, "scores", expected="numbers", got=f"{missing} NaN", fix="score every candidate")
    finite = rows[np.isfinite(rows)]
    largest = float(np.max(np.abs(finite), initial=1.0))
    if len(finite) < rows.size or largest > _LARGEST:
        scaled = np.clip(rows, -_LARGEST, _LARGEST) if largest > _LARGEST else rows
        return np.nan_to_num(scaled, posinf=min(2 * largest, _LARGEST), neginf=-min(2 * largest, _LARGEST))
    return rows


# Differences of larger numbers overflow.
_LARGEST = 1e300


def check_claim(claim: Claim, draw: Draw, *, candidates: int, k: int) -> None:
    """Refuse a claim that says nothing of some set that the coins can give, or nothing in this direction.

    Parameters
    ----------
    claim
        What is claimed.
    draw, candidates, k
        How sets are drawn from how many, and the size of those drawn where it is the same for all.

    Raises
    ------
    InvalidInputError
        When it is.
    """
    _check_kind(claim)
    largest = {"fair": candidates, "paired": candidates // 2, "exactly_k": k}[draw]
    if isinstance(claim.covers, OnAverage):
        same = claim.covers == OnAverage(candidates=candidates, draw=draw, k=k if draw == "exactly_k" else None)
        fix = "average over the draws that are made here: for another draw the mean is another one"
        got = f"a claim about {claim.covers.words}"
        require(same, "claim.covers", expected=f"about this draw, {draw} from {candidates} records", got=got, fix=fix)
        return
    # Of the empty set nothing is claimed, and such a run counts for nothing.
    sizes = range(1, largest + 1) if draw == "fair" else (largest,)
    kind = claim.covers.kind
    covered = kind in ("up_to", "exactly", "one_record") and all(map(claim.covers.includes, (sizes[0], sizes[-1])))
    wanted = f"UpTo(k={largest})" if draw == "fair" else f"Exactly(k={largest}) or UpTo(k={largest})"
    require(
        covered,
        "claim.covers",
        expected=f"about every set that the coins can give, {wanted}",
        got=f"a claim about {claim.covers.words}",
        fix="it says nothing of these sets: state what is claimed of sets deleted at once, Claim(guarantee=..., "
        f"covers={wanted.split(' or ')[0]}), or draw one record a run (which_record)",
    )


def check_named_claims(claim: Claim | Sequence[Claim], candidates: int) -> tuple[Claim, ...]:
    """Return one claim, or one for each candidate, about deleting a single record.

    Raises
    ------
    InvalidInputError
        For other numbers of claims, claims about larger sets alone, and curves where each candidate has its own.
    """
    claims = (claim,) if isinstance(claim, Claim) else tuple(claim) if isinstance(claim, Sequence) else (claim,)
    fix = "give one claim, or one for each candidate"
    require(len(claims) in (1, candidates), "claim", expected=f"1 or {candidates}", got=len(claims), fix=fix)
    for each in claims:
        _check_kind(each)
        covered = each.covers.kind != "this_set" and each.covers.includes(1)
        require(
            covered,
            "claim.covers",
            expected="about the deletion of one record",
            got=f"a claim about {each.covers.words}",
            fix="write Claim(guarantee=..., covers=OneRecord())",
        )
    points = len(claims) == 1 or all(isinstance(each.guarantee, EpsilonDelta) for each in claims)
    fix = "state each candidate's epsilon at one delta"
    require(points, "claim", expected="EpsilonDelta where each candidate has its own", got="a curve", fix=fix)
    return claims


def checked_significance(significance: float) -> float:
    """Return a level in (0, 0.5).

    Raises
    ------
    InvalidInputError
        For any other.
    """
    fix = "0.05 is usual"
    value = real_number(significance, "significance", fix=fix)
    require(0 < value < 0.5, "significance", expected="in (0, 0.5)", got=value, fix=fix)
    return value


def checked_delta(delta: float | None, claim: Claim) -> float:
    """Return at which delta the bound is stated: as given, or the claim's own, or 1e-5.

    Raises
    ------
    InvalidInputError
        Outside [0, 1].
    """
    if delta is None:
        return claim.guarantee.delta if isinstance(claim.guarantee, EpsilonDelta) else DEFAULT_DELTA
    fix = "give a probability, for example 1e-5"
    value = real_number(delta, "delta", fix=fix)
    require(0 <= value <= 1, "delta", expected="in [0, 1]", got=value, fix=fix)
    return value


def checked_seed(seed: int) -> int:
    """Return a seed of at least 0.

    Raises
    ------
    InvalidInputError
        For any other.
    """
    value = whole_number(seed, "seed", fix="0 is usual")
    require(value >= 0, "seed", expected="a non-negative integer", got=value, fix="0 is usual")
    return value


def check_seeds(seeds: ArrayLike | None, runs: int) -> None:
    """Refuse runs that were made from equal seeds.

    Raises
    ------
    InvalidInputError
        When two are equal, or there is not one a run.
    """
    if seeds is None:
        return
    found = real_numbers(seeds, "run_seeds").ravel()
    fix = "give every run a seed of its own: with one for all, runs that each meet a claim refute it together"
    require(len(found) == runs, "run_seeds", expected=f"{runs}, one a run", got=len(found), fix=fix)
    values, counts = np.unique(found, return_counts=True)
    require(
        len(values) == runs,
        "run_seeds",
        expected="different",
        got=f"{values[np.argmax(counts)]:g} for {counts.max()} runs",
        fix=fix,
    )


def is_one_of(field: str, value: object, known: Sequence[str]) -> None:
    """Refuse a word that is not known.

    Raises
    ------
    InvalidInputError
        Naming the known ones.
    """
    good = isinstance(value, str) and value in known
    require(good, field, expected=f"one of {', '.join(known)}", got=value, fix="choose one of them")


def _check_kind(claim: object) -> None:
    fix = "write Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), covers=UpTo(k=...))"
    require(isinstance(claim, Claim), "claim", expected="a Claim", got=claim, fix=fix)
    directed = isinstance(claim, Claim) and DIRECTION in claim.directions
    require(
        directed,
        "claim.directions",
        expected=f"{DIRECTION.value} among them",
        got="the other direction alone",
        fix="lots show events that are more frequent after unlearning; audit the other direction in two worlds",
    )
