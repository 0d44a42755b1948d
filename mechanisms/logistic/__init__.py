"""Per-instance certified unlearning of logistic and softmax regression by noisy gradient descent.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.logistic.langevin import CalibratedLogisticNoise, LogisticDeletion, LogisticLangevin
    from mechanisms.logistic.process import LogisticProcess
    from mechanisms.logistic.routes import LogisticRoutes
    from mechanisms.logistic.stepwise import LogisticSampler, LogisticStages
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.logistic.langevin": "CalibratedLogisticNoise LogisticDeletion LogisticLangevin",
            "mechanisms.logistic.process": "LogisticProcess",
            "mechanisms.logistic.routes": "LogisticRoutes",
            "mechanisms.logistic.stepwise": "LogisticSampler LogisticStages",
        },
    )

__all__ = [
    "CalibratedLogisticNoise",
    "LogisticDeletion",
    "LogisticLangevin",
    "LogisticProcess",
    "LogisticRoutes",
    "LogisticSampler",
    "LogisticStages",
]
