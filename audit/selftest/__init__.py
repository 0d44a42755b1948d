"""Who audits the auditor? Services with seeded faults, audited against what is true of them. An edge.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from audit.selftest.audits import SelftestSettings, run_selftest
    from audit.selftest.result import Expectation, LotsRow, SelftestResult, SelftestRow
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "audit.selftest.audits": "SelftestSettings run_selftest",
            "audit.selftest.result": "Expectation LotsRow SelftestResult SelftestRow",
        },
    )

__all__ = [
    "Expectation",
    "LotsRow",
    "SelftestResult",
    "SelftestRow",
    "SelftestSettings",
    "run_selftest",
]
