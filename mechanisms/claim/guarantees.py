"""Which curve of (epsilon, delta) is promised, and in which direction between the two worlds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from scipy.special import log_ndtr

from mechanisms.errors import require
from mechanisms.reading.scalars import real_number

# Infinities are legal (a claim without noise has epsilon = inf): JSON carries them as strings.
JSON_CONFIG: dict[str, Any] = {"ser_json_inf_nan": "strings", "extra": "forbid"}


class Direction(Enum):
    """Which world's events are bounded by the other's.

    With P the law of the unlearned world and Q that of the retrained world, ``UNLEARNED_FROM_RETRAINED`` is
    ``P(E) <= e^epsilon Q(E) + delta`` for every event E, and ``RETRAINED_FROM_UNLEARNED`` swaps P and Q.
    """

    UNLEARNED_FROM_RETRAINED = "unlearned_from_retrained"
    RETRAINED_FROM_UNLEARNED = "retrained_from_unlearned"

    @property
    def opposite(self) -> Direction:
        """The other direction."""
        return _OPPOSITE[self]


_OPPOSITE = {
    Direction.UNLEARNED_FROM_RETRAINED: Direction.RETRAINED_FROM_UNLEARNED,
    Direction.RETRAINED_FROM_UNLEARNED: Direction.UNLEARNED_FROM_RETRAINED,
}
BOTH_DIRECTIONS = (Direction.UNLEARNED_FROM_RETRAINED, Direction.RETRAINED_FROM_UNLEARNED)

# The two worlds then share no event, to any number of digits, and the square still is a number.
_HOPELESS_MU = 1e100


@dataclass(frozen=True, kw_only=True)
class EpsilonDelta:
    """The plain guarantee ``P(E) <= e^epsilon Q(E) + delta`` at one point.

    Parameters
    ----------
    epsilon
        In nats, at least 0; infinity is allowed and says nothing.
    delta
        In [0, 1].
    """

    __pydantic_config__ = JSON_CONFIG
    epsilon: float
    delta: float
    kind: Literal["epsilon_delta"] = "epsilon_delta"

    def __post_init__(self) -> None:
        nats, probability = "give epsilon in nats, for example 1.0", "give a probability, for example 1e-5"
        # Floats from the start: what is written down is then what is read back.
        object.__setattr__(self, "epsilon", real_number(self.epsilon, "epsilon", fix=nats))
        object.__setattr__(self, "delta", real_number(self.delta, "delta", fix=probability))
        require(self.epsilon >= 0, "epsilon", expected="at least 0", got=self.epsilon, fix=nats)
        require(0 <= self.delta <= 1, "delta", expected="in [0, 1]", got=self.delta, fix=probability)

    def points(self, direction: Direction) -> tuple[EpsilonDelta, ...]:
        """Return the one point; it holds in both directions."""
        return (self,)


@dataclass(frozen=True, kw_only=True)
class GaussianDP:
    """Gaussian differential privacy: distinguishing P from Q is at least as hard as N(mu, 1) from N(0, 1).

    Parameters
    ----------
    mu
        At least 0.

    References
    ----------
    Dong, Roth, Su 2022, "Gaussian differential privacy", Definition 4 and Corollary 1 (arXiv:1905.02383).
    """

    __pydantic_config__ = JSON_CONFIG
    mu: float
    kind: Literal["gaussian_dp"] = "gaussian_dp"

    def __post_init__(self) -> None:
        fix = "give a GDP parameter, say 0.5"
        object.__setattr__(self, "mu", real_number(self.mu, "mu", fix=fix))
        require(self.mu >= 0, "mu", expected="at least 0", got=self.mu, fix=fix)

    def points(self, direction: Direction) -> tuple[EpsilonDelta, ...]:
        """Return the claim's (epsilon, delta) points on a fixed grid, delta rounded up (each is implied)."""
        if self.mu == 0:
            return (EpsilonDelta(epsilon=0.0, delta=0.0),)
        if self.mu > _HOPELESS_MU:
            return (EpsilonDelta(epsilon=math.inf, delta=1.0),)
        # Events of probability .97 down to 1e-9 under P: x is the threshold on the Gaussian score.
        x = np.linspace(-2.0, 6.0, 33)
        epsilons = np.unique(np.maximum(self.mu * x + self.mu**2 / 2, 0.0))
        upper, lower = self.mu / 2 - epsilons / self.mu, -self.mu / 2 - epsilons / self.mu
        deltas = np.exp(log_ndtr(upper)) - np.exp(epsilons + log_ndtr(lower))
        # The subtraction cancels for tiny delta; its absolute error is far below 1e-13.
        rounded = np.minimum(deltas * (1 + 1e-9) + 1e-13, 1.0)
        return tuple(EpsilonDelta(epsilon=float(e), delta=float(d)) for e, d in zip(epsilons, rounded, strict=True))


@dataclass(frozen=True, kw_only=True)
class PrivacyProfile:
    """A finite table of delta(epsilon) per direction; every row is a point guarantee.

    Chords are safe: delta is convex in e^epsilon, so interpolating linearly in e^epsilon between rows gives a
    valid (larger) delta.

    Parameters
    ----------
    epsilons
        Increasing, at least 0, in nats, length m.
    log_deltas
        For each direction, m natural logarithms of delta, at most 0 (``-inf`` for delta = 0), not increasing.
    """

    __pydantic_config__ = JSON_CONFIG
    epsilons: tuple[float, ...]
    log_deltas: Mapping[Direction, tuple[float, ...]]
    kind: Literal["privacy_profile"] = "privacy_profile"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilons", _column(self.epsilons, "epsilons"))
        object.__setattr__(self, "log_deltas", _columns(self.log_deltas))
        steps = np.diff(self.epsilons)
        require(
            bool(self.epsilons) and self.epsilons[0] >= 0 and bool(np.all(steps > 0)),
            "epsilons",
            expected="increasing and at least 0",
            got=self.epsilons[:5],
            fix="sort the table",
        )
        for direction, values in self.log_deltas.items():
            require(
                len(values) == len(self.epsilons) and bool(np.all(np.asarray(values) <= 0)),
                f"log_deltas[{direction.value}]",
                expected=f"{len(self.epsilons)} values at most 0",
                got=values[:5],
                fix="give one log(delta) for every epsilon",
            )

    def points(self, direction: Direction) -> tuple[EpsilonDelta, ...]:
        """Return the rows of the table for one direction."""
        rows = zip(self.epsilons, self.log_deltas[direction], strict=True)
        return tuple(EpsilonDelta(epsilon=e, delta=math.exp(log_delta)) for e, log_delta in rows)


def _columns(log_deltas: Any) -> dict[Direction, tuple[float, ...]]:
    """Return the columns of a table by their direction."""
    known = isinstance(log_deltas, Mapping) and all(isinstance(direction, Direction) for direction in log_deltas)
    fix = "write log_deltas={Direction.UNLEARNED_FROM_RETRAINED: ...}"
    require(known, "log_deltas", expected="a column for each Direction", got=log_deltas, fix=fix)
    return {d: _column(values, f"log_deltas[{d.value}]") for d, values in log_deltas.items()}


def _column(values: Any, field: str) -> tuple[float, ...]:
    """Return a column of a table as floats."""
    fix = "give a column of numbers"
    is_column = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    require(is_column, field, expected="a sequence of numbers", got=values, fix=fix)
    return tuple(real_number(value, f"{field}[{i}]", fix=fix) for i, value in enumerate(values))


Guarantee = EpsilonDelta | GaussianDP | PrivacyProfile


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon >= 0 with delta(epsilon) <= delta for mu-GDP, rounded up."""
    if mu == 0:
        return 0.0
    if mu > _HOPELESS_MU or delta <= 0:
        return math.inf

    def promised(epsilon: float) -> float:
        upper, lower = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return float(np.exp(log_ndtr(upper)) - np.exp(epsilon + log_ndtr(lower)))

    low, high = 0.0, 1.0
    if promised(low) <= delta:
        return 0.0
    while promised(high) > delta:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if promised(middle) > delta else (low, middle)
    return high


def table_epsilon(points: tuple[EpsilonDelta, ...], delta: float) -> float:
    """Smallest epsilon of a row, or on a chord (linear in e^epsilon) between two rows, with delta at most ``delta``."""
    meeting = [i for i, point in enumerate(points) if point.delta <= delta]
    if not meeting:
        return math.inf
    i = meeting[0]
    if i == 0:
        return points[0].epsilon
    low, high = points[i - 1], points[i]
    if math.isinf(high.epsilon) or low.delta == high.delta:
        return high.epsilon
    share = (low.delta - delta) / (low.delta - high.delta)
    # e^eps = e^low + share (e^high - e^low), written so that nothing overflows and rounded up.
    step = (
        high.epsilon + math.log(share + (1 - share) * math.exp(low.epsilon - high.epsilon))
        if share > 0
        else low.epsilon
    )
    return min(high.epsilon, step * (1 + 1e-12))
