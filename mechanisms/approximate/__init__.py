"""Ways to unlearn that are published without a promise, for any classifier of torch. They claim nothing.

Each is the ``unlearn`` of :func:`mechanisms.from_torch`, and an audit measures what it hides. Names are loaded on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.approximate.ascent import NegGradPlus, Scrub
    from mechanisms.approximate.descent import DoesNothing, FineTuning, LastLayer, Retraining
    from mechanisms.approximate.relabelling import RandomLabels, SalUn
    from mechanisms.approximate.shards import Sisa
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.approximate.ascent": "NegGradPlus Scrub",
            "mechanisms.approximate.descent": "DoesNothing FineTuning LastLayer Retraining",
            "mechanisms.approximate.relabelling": "RandomLabels SalUn",
            "mechanisms.approximate.shards": "Sisa",
        },
    )

__all__ = [
    "DoesNothing",
    "FineTuning",
    "LastLayer",
    "NegGradPlus",
    "RandomLabels",
    "Retraining",
    "SalUn",
    "Scrub",
    "Sisa",
]
