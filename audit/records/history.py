"""How the evidence of an audit that stops when decided grew over time, as plain data for results and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mechanisms.claim import JSON_CONFIG, Direction


@dataclass(frozen=True, kw_only=True)
class BoundCurve:
    """The lower bound on epsilon over time, at one delta and in one direction: one number for each look."""

    __pydantic_config__ = JSON_CONFIG
    role: Literal["claim_row", "plan_delta"]
    attack: str
    delta: float
    direction: Direction
    claimed: float
    bounds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class History:
    """How the evidence grew, pair by pair, in an audit that stops once its claims are refuted.

    Parameters
    ----------
    n_fit
        Trials of each world that fit and chose before the first pair was counted.
    budget
        Pairs that would have been counted without a refutation.
    pairs
        Pairs counted at each look that is kept, increasing; the last is how many were counted in all.
    p_values
        Smallest anytime-valid p-value of the claim up to each look, from all attacks and rows together.
    level
        What the p-value is compared with: the sum of the shares of the claim's tests.
    refits
        Pairs counted when attacks and thresholds were chosen anew.
    refuted_at
        Pairs after which the claim's share of the level was reached; ``None`` when it was not.
    curves
        One for each sandwich.
    """

    __pydantic_config__ = JSON_CONFIG
    n_fit: int
    budget: int
    pairs: tuple[int, ...]
    p_values: tuple[float, ...]
    level: float
    refits: tuple[int, ...]
    refuted_at: int | None
    curves: tuple[BoundCurve, ...]
