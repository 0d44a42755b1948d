"""Which trials fit and choose, and which trials count. No trial does both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Fit attacks and choose events on a fraction of the trials, count on the others.

    Parameters
    ----------
    fit_fraction
        Share of the trials of each world that fit and choose, in (0, 1).
    max_fit
        Cap on that number of trials a world: a learned attack stops improving long before a bound does.
    """

    __pydantic_config__ = JSON_CONFIG
    fit_fraction: float = 0.3
    max_fit: int = 20_000
    kind: Literal["split"] = "split"

    def __post_init__(self) -> None:
        if not 0 < self.fit_fraction < 1:
            raise InvalidInputError(
                field="counting.fit_fraction", expected="in (0, 1)", got=self.fit_fraction, fix="0.3 is a good start"
            )
        if self.max_fit < 2:
            raise InvalidInputError(field="counting.max_fit", expected="at least 2", got=self.max_fit, fix="use 20000")

    def n_fit_chunks(self, chunk_sizes: tuple[int, ...]) -> int:
        """Return how many leading chunks fit and choose: whole chunks, at least one, and at least one is left."""
        total, wanted = sum(chunk_sizes), 0.0
        wanted = min(self.fit_fraction * total, float(self.max_fit))
        taken = count = 0
        for size in chunk_sizes[:-1]:
            if count and taken + size / 2 > wanted:
                break
            taken, count = taken + size, count + 1
        return count
