"""One forget set of a plan, bound to a mechanism and data: what an audit draws from, and what attackers are granted."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.protocol import AttackContext
from mechanisms.claim import Certificate, Claim
from mechanisms.protocol import Deletion, World
from mechanisms.reading.records import RecordSet


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundRecord:
    """One forget set, bound: the deletion, its claims and what attackers are granted.

    ``learned_once`` draws the worlds that learn all records where learned models are shared, and is ``None`` elsewhere.
    """

    data: RecordSet
    forget: tuple[int, ...]
    label: str
    deletion: Deletion
    claims: tuple[Claim, ...]
    certificates: tuple[Certificate, ...]
    context: AttackContext
    learned_once: Deletion | None = None

    def sampler(self, world: World) -> Deletion:
        """Return what a world is drawn from."""
        shared = None if world is World.RETRAINED else self.learned_once
        return self.deletion if shared is None else shared
