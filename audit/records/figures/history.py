"""How the evidence of an audit that stops when decided grew over time, as plain data for results and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from audit.plan.ranges import FIX, check, check_all, check_lengths
from mechanisms.claim import JSON_CONFIG, Direction
from mechanisms.errors import require


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

    def __post_init__(self) -> None:
        check("delta", self.delta, high=1.0)
        check("claimed", self.claimed, finite=False)
        check_all("bounds", self.bounds, low=0.0, rising=True)


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

    def __post_init__(self) -> None:
        n_looks = len(self.pairs)
        check_lengths("looks", n_looks, p_values=self.p_values)
        for i, curve in enumerate(self.curves):
            check_lengths("looks", n_looks, **{f"curves[{i}].bounds": curve.bounds})
        check_all("pairs", self.pairs, low=1, high=max(self.budget, 0), rising=True)
        check_all("p_values", self.p_values, low=0.0, high=1.0)
        check("level", self.level, high=1.0)
        is_look = self.refuted_at is None or self.refuted_at in self.pairs
        require(is_look, "refuted_at", expected="one of the looks", got=self.refuted_at, fix=FIX)
