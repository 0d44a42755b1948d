"""One forget set of a plan, bound to a mechanism and data: what an audit draws from, and what attackers are granted."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.protocol import AttackContext
from mechanisms.claim import Certificate, Claim
from mechanisms.protocol import Deletion
from mechanisms.reading.records import RecordSet


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundRecord:
    """One forget set, bound: the deletion, its claims and what attackers are granted."""

    data: RecordSet
    forget: tuple[int, ...]
    label: str
    deletion: Deletion
    claims: tuple[Claim, ...]
    certificates: tuple[Certificate, ...]
    context: AttackContext
