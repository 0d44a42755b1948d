"""Which trials fit and choose, and which trials count. No trial does both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import require
from mechanisms.reading.scalars import flag, real_number, whole_number


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
    fit_fraction: float = 0.2
    max_fit: int = 20_000
    kind: Literal["split"] = "split"

    def __post_init__(self) -> None:
        share = real_number(self.fit_fraction, "counting.fit_fraction", fix="0.2 is a good start")
        fit = whole_number(self.max_fit, "counting.max_fit", fix="use 20000")
        object.__setattr__(self, "fit_fraction", share)
        object.__setattr__(self, "max_fit", fit)
        require(0 < share < 1, "counting.fit_fraction", expected="in (0, 1)", got=share, fix="0.2 is a good start")
        require(fit >= 2, "counting.max_fit", expected="at least 2", got=fit, fix="use 20000")

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


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """Fit on the first trials, count the following ones as they come, and stop once every claim is refuted.

    The counted trials are followed by e-processes (:mod:`audit.statistics.e_process`), whose levels hold at all times
    at once. Whenever the number of trials has doubled, attacks are fitted again and thresholds chosen anew, on all
    trials drawn before; no trial is counted under a choice that it had a part in.

    Parameters
    ----------
    first_fit
        Trials of each world that fit and choose before anything is counted, at most 0.3 of all; also the largest
        chunk, so that an audit can stop after few trials.
    refit
        Whether attacks are fitted again. Thresholds are chosen anew in any case.
    max_fit
        Attacks are not fitted on more trials of a world than this.
    """

    __pydantic_config__ = JSON_CONFIG
    first_fit: int = 500
    refit: bool = True
    max_fit: int = 20_000
    kind: Literal["sequential"] = "sequential"

    def __post_init__(self) -> None:
        fix = "leave it out for a good start"
        for name in ("first_fit", "max_fit"):
            value = whole_number(getattr(self, name), f"counting.{name}", fix=fix)
            require(value >= 2, f"counting.{name}", expected="at least 2", got=value, fix=fix)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "refit", flag(self.refit, "counting.refit"))

    def n_fit_chunks(self, chunk_sizes: tuple[int, ...]) -> int:
        """Return how many leading chunks fit before anything is counted."""
        return Split(fit_fraction=0.3, max_fit=self.first_fit).n_fit_chunks(chunk_sizes)


Counting = Split | Sequential
