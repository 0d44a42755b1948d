"""Mechanisms that learn and unlearn networks with torch.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.networks.fine_tuning import NoisyFineTuning
    from mechanisms.networks.individual import IndividualFilter
    from mechanisms.networks.langevin import NetworkLangevin
    from mechanisms.networks.mapping import RecordMap, record_map
    from mechanisms.networks.small import small_cnn, small_mlp
    from mechanisms.networks.training import NetworkTraining
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.networks.fine_tuning": "NoisyFineTuning",
            "mechanisms.networks.individual": "IndividualFilter",
            "mechanisms.networks.langevin": "NetworkLangevin",
            "mechanisms.networks.mapping": "RecordMap record_map",
            "mechanisms.networks.small": "small_cnn small_mlp",
            "mechanisms.networks.training": "NetworkTraining",
        },
    )

__all__ = [
    "IndividualFilter",
    "NetworkLangevin",
    "NetworkTraining",
    "NoisyFineTuning",
    "RecordMap",
    "record_map",
    "small_cnn",
    "small_mlp",
]
