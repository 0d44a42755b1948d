"""Per-instance certified unlearning of ridge regression trained by Langevin dynamics.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.ridge.certificates import exact_pair, pair_without_unlearning, two_sided_epsilon
    from mechanisms.ridge.downdate import ExactDowndate, RidgeSolution
    from mechanisms.ridge.langevin import CalibratedNoise, RidgeDeletion, RidgeLangevin
    from mechanisms.ridge.laws import ClosedFormSampler, RidgeLaws
    from mechanisms.ridge.process import RidgeProcess
    from mechanisms.ridge.reduced.krylov import KrylovSetup, reduced_pair
    from mechanisms.ridge.retained import PoolNoise, pool_noise
    from mechanisms.ridge.routes import RidgeRoutes
    from mechanisms.ridge.snapshots import both_models_law, which_of_two
    from mechanisms.ridge.stepwise import StepwiseSampler
    from mechanisms.ridge.streams.phases import Phase
    from mechanisms.ridge.streams.reduced import reduce_stream, stream_epsilons
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.ridge.certificates": "exact_pair pair_without_unlearning two_sided_epsilon",
            "mechanisms.ridge.downdate": "ExactDowndate RidgeSolution",
            "mechanisms.ridge.reduced.krylov": "KrylovSetup reduced_pair",
            "mechanisms.ridge.langevin": "CalibratedNoise RidgeDeletion RidgeLangevin",
            "mechanisms.ridge.laws": "ClosedFormSampler RidgeLaws",
            "mechanisms.ridge.process": "RidgeProcess",
            "mechanisms.ridge.retained": "PoolNoise pool_noise",
            "mechanisms.ridge.routes": "RidgeRoutes",
            "mechanisms.ridge.snapshots": "both_models_law which_of_two",
            "mechanisms.ridge.stepwise": "StepwiseSampler",
            "mechanisms.ridge.streams.phases": "Phase",
            "mechanisms.ridge.streams.reduced": "reduce_stream stream_epsilons",
        },
    )

__all__ = [
    "CalibratedNoise",
    "ClosedFormSampler",
    "ExactDowndate",
    "KrylovSetup",
    "Phase",
    "PoolNoise",
    "RidgeDeletion",
    "RidgeLangevin",
    "RidgeLaws",
    "RidgeProcess",
    "RidgeRoutes",
    "RidgeSolution",
    "StepwiseSampler",
    "both_models_law",
    "exact_pair",
    "pair_without_unlearning",
    "pool_noise",
    "reduce_stream",
    "reduced_pair",
    "stream_epsilons",
    "two_sided_epsilon",
    "which_of_two",
]
