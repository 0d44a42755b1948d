"""What a claim says. A leaf: how a claim is derived lives in ``mechanisms.accounting``.

The auditor shares nothing with the code that calibrates a mechanism but the data in this room, so the few
formulas here (a Gaussian trade-off curve) are written independently of the accounting on purpose.
"""

from mechanisms.claim.certificates import Certificate
from mechanisms.claim.claims import Claim, Provenance, Reference
from mechanisms.claim.covers import Covers, Exactly, OnAverage, OneRecord, ThisSet, UpTo
from mechanisms.claim.guarantees import (
    BOTH_DIRECTIONS,
    JSON_CONFIG,
    Direction,
    EpsilonDelta,
    GaussianDP,
    Guarantee,
    PrivacyProfile,
)

__all__ = [
    "BOTH_DIRECTIONS",
    "JSON_CONFIG",
    "Certificate",
    "Claim",
    "Covers",
    "Direction",
    "EpsilonDelta",
    "Exactly",
    "GaussianDP",
    "Guarantee",
    "OnAverage",
    "OneRecord",
    "PrivacyProfile",
    "Provenance",
    "Reference",
    "ThisSet",
    "UpTo",
]
