"""A guarantee together with what it is about: the reference world, the directions and the deletions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from mechanisms.claim.covers import Covers, ThisSet
from mechanisms.claim.guarantees import (
    BOTH_DIRECTIONS,
    JSON_CONFIG,
    Direction,
    EpsilonDelta,
    GaussianDP,
    Guarantee,
    PrivacyProfile,
    gaussian_epsilon,
    table_epsilon,
)
from mechanisms.errors import require


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


Provenance = Literal["exact", "repaired", "published", "user"]


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
            return gaussian_epsilon(self.guarantee.mu, delta)
        return table_epsilon(self.points(direction), delta)

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
