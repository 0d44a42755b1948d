"""Seeded faults: deliberately broken services, to audit the auditor with.

A fault is an edit of a mechanism's code path, never a changed epsilon and never a shifted sample. ``catalogue`` lists
them all.
"""

from __future__ import annotations

from mechanisms.faulty.neglected import NeglectedDeletion as NeglectedDeletion
from mechanisms.faulty.neglected import NeglectedRidge as NeglectedRidge
