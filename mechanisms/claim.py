"""What a claim says. A leaf: how a claim is derived lives in ``mechanisms.accounting``.

The auditor shares nothing with the code that calibrates a mechanism but the data in this module, so the few
formulas here (a Gaussian trade-off curve) are written independently of the accounting on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from mechanisms.errors import require
from mechanisms.reading.scalars import real_number, whole_number

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


class Reference(Enum):
    """The reference world that the unlearned model is compared with.

    ``RETRAIN_THEN_UNLEARN`` retrains without the forget set and then runs the unlearning steps on an empty
    forget set, with the same noise (the published definition). ``RETRAIN_ONLY`` retrains and stops: a stricter
    and usually far larger divergence. ``CERTIFYING`` is some law of the retained data that is only said to exist
    ("there is a certifying algorithm"), the same for every deletion in question: nobody can sample it, so that no two
    worlds can be compared, but deletions that are drawn by lot can refute it (:func:`audit.from_lots`).
    """

    RETRAIN_THEN_UNLEARN = "retrain_then_unlearn"
    RETRAIN_ONLY = "retrain_only"
    CERTIFYING = "certifying"


# The two worlds then share no event, to any number of digits, and the square still is a number.
_HOPELESS_MU = 1e100
Provenance = Literal["exact", "repaired", "published", "user"]


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


@dataclass(frozen=True, kw_only=True)
class ThisSet:
    """The claim is about the forget set that is audited, and about no other."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["this_set"] = "this_set"

    @property
    def words(self) -> str:
        """Return "this set"."""
        return "this set"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted >= 1


@dataclass(frozen=True, kw_only=True)
class OneRecord:
    """The claim is about deleting any one record; it says nothing of two that are deleted at once."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["one_record"] = "one_record"

    @property
    def words(self) -> str:
        """Return "any one record"."""
        return "any one record"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted == 1


@dataclass(frozen=True, kw_only=True)
class Exactly:
    """The claim is about deleting any set of exactly k records at once.

    Parameters
    ----------
    k
        At least 1.
    """

    __pydantic_config__ = JSON_CONFIG
    k: int
    kind: Literal["exactly"] = "exactly"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _size(self.k))

    @property
    def words(self) -> str:
        """Return "any set of exactly 3 records"."""
        return f"any set of exactly {_records(self.k)}"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return n_deleted == self.k


@dataclass(frozen=True, kw_only=True)
class UpTo:
    """The claim is about deleting any set of at most k records at once.

    Parameters
    ----------
    k
        At least 1.
    """

    __pydantic_config__ = JSON_CONFIG
    k: int
    kind: Literal["up_to"] = "up_to"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _size(self.k))

    @property
    def words(self) -> str:
        """Return "any set of up to 3 records"."""
        return f"any set of up to {_records(self.k)}"

    def includes(self, n_deleted: int) -> bool:
        """Return whether the claim covers deleting a set of this size."""
        return 1 <= n_deleted <= self.k


@dataclass(frozen=True, kw_only=True)
class OnAverage:
    """The claim is about the sets that coins draw, in the mean over the draws; it says nothing of any one of them.

    For each set there may be another delta, of which the claim's is the mean: enough where the auditor draws the set
    (:func:`audit.from_lots`), and nowhere else.

    Parameters
    ----------
    candidates
        How many records the coins draw from, at least 2.
    draw
        "fair" (a coin each), "paired" (one of each pair), or "exactly_k", with k.
    k
        How many "exactly_k" draws.
    """

    __pydantic_config__ = JSON_CONFIG
    candidates: int
    draw: Literal["fair", "paired", "exactly_k"] = "fair"
    k: int | None = None
    kind: Literal["on_average"] = "on_average"

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", _size(self.candidates, "covers.candidates"))
        known = self.draw in ("fair", "paired", "exactly_k")
        require(known, "covers.draw", expected="fair, paired or exactly_k", got=self.draw, fix="name the draw")
        given = self.k is not None if self.draw == "exactly_k" else self.k is None
        require(given, "covers.k", expected='given for "exactly_k" alone', got=self.k, fix="say how many are drawn")

    @property
    def words(self) -> str:
        """Return "sets drawn by fair coins from 200 records, in the mean over the draws"."""
        how = {"fair": "drawn by fair coins", "paired": "of one of each pair"}.get(self.draw, f"of {self.k}")
        return f"sets {how} from {_records(self.candidates)}, in the mean over the draws"

    def includes(self, n_deleted: int) -> bool:
        """Return ``False``: of no single set is anything said."""
        return False


Covers = ThisSet | OneRecord | Exactly | UpTo | OnAverage


def _size(k: Any, field: str = "covers.k") -> int:
    fix = "say how many records are deleted" if field == "covers.k" else "say how many records coins draw from"
    size = whole_number(k, field, fix=fix)
    require(size >= 1, field, expected="at least 1", got=size, fix=fix)
    return size


def _records(k: int) -> str:
    return f"{k} record{'s' if k != 1 else ''}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A guarantee together with the reference world, the directions and the deletions that it is about.

    Parameters
    ----------
    guarantee
        What is promised.
    reference
        The reference world; a claim about one says nothing about the other.
    provenance
        "exact", "repaired", "published" (named routes of the accounting) or "user".
    directions
        Directions in which the promise is made.
    assumptions
        Sentences that the derivation rests on; printed in every report.
    covers
        Which deletions: the forget set that is audited (:class:`ThisSet`), any one record (:class:`OneRecord`), any set
        of exactly k (:class:`Exactly`) or of up to k (:class:`UpTo`), or those that coins draw in the mean
        (:class:`OnAverage`). An audit of a set that is not covered is refused:
        what is claimed of single deletions says nothing of a set that is deleted at once.
    """

    __pydantic_config__ = JSON_CONFIG
    guarantee: Guarantee
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    provenance: Provenance = "user"
    directions: tuple[Direction, ...] = BOTH_DIRECTIONS
    assumptions: tuple[str, ...] = ()
    covers: Covers = ThisSet()

    def __post_init__(self) -> None:
        require(
            isinstance(self.guarantee, Guarantee),
            "guarantee",
            expected="EpsilonDelta, GaussianDP or PrivacyProfile",
            got=self.guarantee,
            fix="write EpsilonDelta(epsilon=1.0, delta=1e-5)",
        )
        require(
            isinstance(self.reference, Reference),
            "reference",
            expected="a Reference",
            got=self.reference,
            fix="write Reference.RETRAIN_THEN_UNLEARN or Reference.RETRAIN_ONLY",
        )
        require(
            isinstance(self.covers, Covers),
            "covers",
            expected="ThisSet, OneRecord, Exactly, UpTo or OnAverage",
            got=self.covers,
            fix="write UpTo(k=2)",
        )
        object.__setattr__(self, "directions", _directions(self.directions))
        require(
            bool(self.directions),
            "directions",
            expected="at least one Direction",
            got=(),
            fix="name the direction that is claimed",
        )
        tabled = self.guarantee.log_deltas if isinstance(self.guarantee, PrivacyProfile) else BOTH_DIRECTIONS
        missing = [direction.value for direction in self.directions if direction not in tabled]
        require(
            not missing,
            "directions",
            expected="only directions of which the profile has a table",
            got=missing,
            fix="leave them out, or give their log_deltas",
        )

    def points(self, direction: Direction) -> tuple[EpsilonDelta, ...]:
        """Return point claims that the claim implies in a direction (none if it says nothing there)."""
        return self.guarantee.points(direction) if direction in self.directions else ()

    def epsilon_at(self, delta: float, direction: Direction) -> float:
        """Return the smallest epsilon that the claim promises at ``delta`` in a direction, in nats.

        Rounded to the generous side: a table's row or a chord between two rows. Infinity when the claim
        promises nothing at that delta.
        """
        if direction not in self.directions:
            return math.inf
        if isinstance(self.guarantee, GaussianDP):
            return _gaussian_epsilon(self.guarantee.mu, delta)
        return _table_epsilon(self.points(direction), delta)

    def max_tpr(self, fpr: ArrayLike, direction: Direction) -> NDArray[np.float64]:
        """Return the largest true-positive rate that the claim allows at each false-positive rate.

        Parameters
        ----------
        fpr
            Probabilities of an event under the null world, in [0, 1].
        direction
            ``UNLEARNED_FROM_RETRAINED``: the null is the retrained world (fpr = Q(E), tpr = P(E)); the other
            direction swaps them. Both of the claim's directions constrain the result: the direct one through
            the event, the opposite one through its complement.
        """
        rate = np.asarray(fpr, dtype=np.float64)
        if isinstance(self.guarantee, GaussianDP) and len(self.directions) == 2:
            # The trade-off function itself: no table in between. Rounded up.
            if math.isinf(self.guarantee.mu):
                return np.ones_like(rate)
            curve: NDArray[np.float64] = ndtr(ndtri(rate) + self.guarantee.mu) * (1 + 1e-12)
            return np.minimum(curve, 1.0)
        bound = np.ones_like(rate)
        for point in self.points(direction):
            if math.isfinite(point.epsilon):
                with np.errstate(over="ignore", invalid="ignore"):
                    # Beyond 709 nats e^epsilon overflows; an event of rate 0 stays one of rate 0.
                    scaled = np.where(rate == 0, 0.0, np.exp(point.epsilon) * rate)
                bound = np.minimum(bound, scaled + point.delta)
        for point in self.points(direction.opposite):
            if math.isfinite(point.epsilon):
                bound = np.minimum(bound, 1 - np.exp(-point.epsilon) * np.maximum(1 - rate - point.delta, 0.0))
        return np.minimum(bound, 1.0)


def _directions(directions: Any) -> tuple[Direction, ...]:
    """Return directions as a tuple; a word is a sequence too, of letters."""
    found = tuple(directions) if isinstance(directions, Iterable) and not isinstance(directions, str) else (directions,)
    known = all(isinstance(direction, Direction) for direction in found)
    fix = "write directions=(Direction.UNLEARNED_FROM_RETRAINED,)"
    require(known, "directions", expected="a tuple of Direction", got=directions, fix=fix)
    return found


def _gaussian_epsilon(mu: float, delta: float) -> float:
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


def _table_epsilon(points: tuple[EpsilonDelta, ...], delta: float) -> float:
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


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A claim together with how it was derived: an upper bound on epsilon, or its exact value.

    Parameters
    ----------
    claim
        What the certificate promises.
    method
        Name of the route, for example "exact" or "published".
    epsilon, delta
        The headline point, the larger epsilon of the claim's directions at ``delta``.
    numerical_error
        Bound on the relative numerical error of epsilon; the value is already rounded up by more than that.
    epsilon_without_unlearning
        Epsilon at ``delta`` of the learning noise alone, with no unlearning step. A certificate that is hardly
        below this number says nothing about the unlearning. ``None`` where it is not known.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    method: str
    epsilon: float
    delta: float
    numerical_error: float
    epsilon_without_unlearning: float | None = None

    @property
    def epsilon_of_both_models(self) -> float | None:
        """Epsilon at ``delta`` of whoever sees the model before the deletion as well as the one after it.

        Against a world in which the records were never there: where the reference world unlearns too, unlearning is
        one random map of the first model in both worlds, so that this is ``epsilon_without_unlearning``. ``None`` where
        that is not known, and against plain retraining, which has no second model.
        """
        unlearns = self.claim.reference is Reference.RETRAIN_THEN_UNLEARN
        return self.epsilon_without_unlearning if unlearns else None

    def __post_init__(self) -> None:
        for name in ("epsilon", "epsilon_without_unlearning"):
            value, fix = getattr(self, name), "give epsilon in nats"
            if value is None and name != "epsilon":
                continue
            value = real_number(value, name, fix=fix)
            require(value >= 0, name, expected="at least 0", got=value, fix=fix)
            object.__setattr__(self, name, value)
        for name in ("delta", "numerical_error"):
            value = real_number(getattr(self, name), name, fix="give a small number")
            small = 0 <= value < math.inf
            require(small, name, expected="at least 0, finite", got=value, fix="give a small number")
            object.__setattr__(self, name, value)
