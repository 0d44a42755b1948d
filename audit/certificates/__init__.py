"""Certificates of many records: the work of the commands ``certify`` and ``calibrate``. An edge: it asks accounting.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from audit.certificates.certification import Certification, RecordRow, RouteRow
    from audit.certificates.certifying import Request, certify, make_request
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "audit.certificates.certification": "Certification RecordRow RouteRow",
            "audit.certificates.certifying": "Request certify make_request",
        },
    )

__all__ = [
    "Certification",
    "RecordRow",
    "Request",
    "RouteRow",
    "certify",
    "make_request",
]
