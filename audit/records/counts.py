"""Counts of an event in both worlds: the sufficient statistics of every bound."""

from __future__ import annotations

from dataclasses import dataclass

from mechanisms.claim import JSON_CONFIG, Direction
from mechanisms.errors import require


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often one event occurred in independent trials of the two worlds.

    Parameters
    ----------
    k_unlearned, n_unlearned
        Occurrences and trials in the unlearned world.
    k_retrained, n_retrained
        Occurrences and trials in the retrained world.
    """

    __pydantic_config__ = JSON_CONFIG
    k_unlearned: int
    n_unlearned: int
    k_retrained: int
    n_retrained: int

    def __post_init__(self) -> None:
        for k, n, world in (
            (self.k_unlearned, self.n_unlearned, "unlearned"),
            (self.k_retrained, self.n_retrained, "retrained"),
        ):
            require(n >= 1, f"n_{world}", expected="at least 1", got=n, fix="count at least one trial")
            require(0 <= k <= n, f"k_{world}", expected=f"in [0, {n}]", got=k, fix="count events, not scores")

    def complement(self) -> Counts:
        """Return the counts of the complementary event."""
        return Counts(
            k_unlearned=self.n_unlearned - self.k_unlearned,
            n_unlearned=self.n_unlearned,
            k_retrained=self.n_retrained - self.k_retrained,
            n_retrained=self.n_retrained,
        )

    def with_failed(self, unlearned: int, retrained: int, direction: Direction) -> Counts:
        """Return the counts with trials that failed, each as what it could have shown least against the claim.

        In the world that the claim bounds the event is absent, in the other it is present: whatever the trials would
        have shown, p-values are no smaller and bounds no larger than with it.
        """
        first = direction is Direction.UNLEARNED_FROM_RETRAINED
        return Counts(
            k_unlearned=self.k_unlearned + (0 if first else unlearned),
            n_unlearned=self.n_unlearned + unlearned,
            k_retrained=self.k_retrained + (retrained if first else 0),
            n_retrained=self.n_retrained + retrained,
        )

    def oriented(self, direction: Direction) -> tuple[int, int, int, int]:
        """Return (k1, n1, k0, n0) such that the claim in ``direction`` reads p1 <= e^epsilon p0 + delta."""
        if direction is Direction.UNLEARNED_FROM_RETRAINED:
            return self.k_unlearned, self.n_unlearned, self.k_retrained, self.n_retrained
        return self.k_retrained, self.n_retrained, self.k_unlearned, self.n_unlearned
