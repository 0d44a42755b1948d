"""Seeded faults: deliberately broken services, to audit the auditor with.

A fault is an edit of a mechanism's code path, never a changed epsilon and never a shifted sample. ``catalogue`` lists
them all. Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.faulty.catalogue import Fault
    from mechanisms.faulty.neglected import NeglectedDeletion, NeglectedRidge
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.faulty.catalogue": "Fault",
            "mechanisms.faulty.neglected": "NeglectedDeletion NeglectedRidge",
        },
    )

__all__ = [
    "Fault",
    "NeglectedDeletion",
    "NeglectedRidge",
]
