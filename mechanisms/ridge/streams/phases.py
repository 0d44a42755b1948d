"""The frozen description of a stream of deletions: what is deleted by each request, with its steps and its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mechanisms.errors import require
from mechanisms.serving.stages import validate_requests


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One request, and the steps that serve it.

    Parameters
    ----------
    request
        Records that it deletes, indices into the data before the first request; their order means nothing.
    n_steps
        K_j noisy steps on the records that are left, at least 1.
    sigma
        Standard deviation of the noise that each step adds, at least 0.
    """

    request: tuple[int, ...]
    n_steps: int
    sigma: float

    def __post_init__(self) -> None:
        require(self.n_steps >= 1, "n_steps", expected="at least 1", got=self.n_steps, fix="a request needs a step")
        noise = self.sigma >= 0 and isfinite(self.sigma)
        require(noise, "sigma", expected="at least 0 and finite", got=self.sigma, fix="give a standard deviation")


def served(phases: Sequence[Phase], n_records: int) -> tuple[Phase, ...]:
    """Return the phases that anything is done in: an empty request asks for nothing, and no step is taken for it.

    Raises
    ------
    InvalidInputError
        When nothing is left, a record is asked for twice or does not exist, or no record would be left.
    """
    kept = tuple(phase for phase in phases if phase.request)
    validate_requests([phase.request for phase in kept], n_records)
    return kept
