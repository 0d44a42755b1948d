"""The laws of a stream in full: p x p matrices, one phase after the other. The oracle of the reduced ones.

With ``A_j`` the step map and ``W*_j`` the optimum of the data after request j,

    m_j = W*_j + A_j^K_j (m_(j-1) - W*_j),   Sigma_j = A_j^K_j Sigma_(j-1) A_j^K_j + s_j^2 sum of A_j^2k over k < K_j.

In the reference world A(D_m) is followed by the same m phases, all on D_m.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.laws import StepMap
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.streams.phases import Phase, served

Array = NDArray[np.float64]


def stream_law(process: RidgeProcess, phases: Sequence[Phase], world: World) -> GaussianLaw:
    """Return the law of the release after the last of the phases.

    Parameters
    ----------
    process
        Its data, penalty, step size and learning count; what it unlearns does not.
    phases
        In order.
    world
        ``NEGLECTED``: all phases on all records.
    """
    phases, data = served(phases, process.data.n_records), process.data
    steps = [_step_map(process, data)]
    for i in range(len(phases)):
        gone = [record for phase in phases[: i + 1] for record in phase.request]
        steps.append(_step_map(process, data.without(gone)))
    if world is World.NEGLECTED:
        steps = [steps[0]] * len(steps)
    if world is World.RETRAINED:
        steps = [steps[-1]] * len(steps)
    p, q = process.shape
    law = GaussianLaw(mean=np.zeros((p, q)), covariance=np.zeros((p, p)))
    law = _after(law, steps[0], process.n_learn, process.sigma_learn)
    for step, phase in zip(steps[1:], phases, strict=True):
        law = _after(law, step, phase.n_steps, phase.sigma)
    return law


def stream_pair(process: RidgeProcess, phases: Sequence[Phase]) -> GaussianPair:
    """Return the pair (unlearned, retrained) of the release after the last phase, from p x p laws."""
    laws = [stream_law(process, phases, world) for world in (World.UNLEARNED, World.RETRAINED)]
    return GaussianPair.from_laws(laws[0], laws[1])


def _step_map(process: RidgeProcess, data: Dataset) -> StepMap:
    return StepMap.of(data, penalty=process.penalty, step_size=process.step_size)


def _after(law: GaussianLaw, step: StepMap, n_steps: int, sigma: float) -> GaussianLaw:
    power = step.power(n_steps)
    mean = step.optimum + step.basis @ (power[:, None] * (step.basis.T @ (law.mean - step.optimum)))
    inside = power[:, None] * (step.basis.T @ law.covariance @ step.basis) * power
    inside[np.diag_indices_from(inside)] += sigma**2 * step.noise(n_steps)
    covariance = step.basis @ inside @ step.basis.T
    return GaussianLaw(mean=mean, covariance=(covariance + covariance.T) / 2)
