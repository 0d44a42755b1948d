"""Mechanisms that learn and unlearn networks with torch.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.networks.langevin import NetworkLangevin
else:
    __getattr__, __dir__ = lend(__name__, {"mechanisms.networks.langevin": "NetworkLangevin"})

__all__ = ["NetworkLangevin"]
