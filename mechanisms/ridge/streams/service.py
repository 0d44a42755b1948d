"""Noisy gradient descent on ridge regression that serves a stream: noise by request, laws and certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.calibration import far_too_little, round_up_to_grid, smallest_noise
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, Reference
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.certificates import profile_of
from mechanisms.ridge.laws import StepMap
from mechanisms.ridge.process import RidgeProcess, noise_floor
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.stages import RidgeStages
from mechanisms.ridge.streams.laws import stream_law
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.reduced import reduce_stream

Array = NDArray[np.float64]
ASSUMPTIONS = (
    "The noise is Gaussian and independent across steps.",
    "The release after the last request alone is covered: whoever saw an earlier one may learn more.",
    "Requests, steps and noise were fixed beforehand and do not depend on releases (adaptive requests: "
    "arXiv:2210.08911).",
    "The reference is retraining without all of the records, followed by the same phases on what is left.",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeStream:
    """A stream with everything frozen.

    Parameters
    ----------
    process
        Data, penalty, step size and learning.
    served
        The phases that serve the requests, with their noise.
    phases
        Their stages.
    delta
        Of the certificate's headline.
    """

    process: RidgeProcess
    served: tuple[Phase, ...]
    phases: tuple[RidgeStages, ...]
    delta: float

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; noise that was calibrated by request depends on records and leaks."""
        return self.phases[-1].parameters()

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of the last release."""
        return stream_law(self.process, self.served, world)

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the exact certificate of the last release; none against plain retraining."""
        if self.process.reference is Reference.RETRAIN_ONLY:
            return ()
        pair = reduce_stream(setup_of(self.process), self.served).bounded_pair(self.served[-1].sigma)
        headline = pair.epsilons(self.delta)
        epsilon = max(headline)
        claim = Claim(
            guarantee=profile_of(pair, headline, self.delta),
            reference=self.process.reference,
            provenance="exact",
            directions=BOTH_DIRECTIONS,
            assumptions=(*ASSUMPTIONS, *far_too_little(epsilon)),
        )
        raised = pair.error(self.delta, epsilon) / epsilon if 0 < epsilon < np.inf else 0.0
        return (
            Certificate(
                claim=claim, method="exact", epsilon=epsilon, delta=self.delta, numerical_error=RELATIVE_ERROR + raised
            ),
        )


def setup_of(process: RidgeProcess) -> KrylovSetup:
    """Return the set-up of a process, for the data before the first request."""
    step = StepMap.of(process.data, penalty=process.penalty, step_size=process.step_size)
    return KrylovSetup(
        data=process.data,
        step=step,
        moment=step.basis.T @ (process.data.features.T @ process.data.targets),
        penalty=process.penalty,
        step_size=process.step_size,
        n_learn=process.n_learn,
        n_unlearn=process.n_unlearn,
        sigma_learn=process.sigma_learn,
    )


def calibrated_phases(
    setup: KrylovSetup,
    requests: Sequence[tuple[int, ...]],
    *,
    n_steps: int,
    epsilon: float,
    delta: float,
    grid_ratio: float | None = None,
    before: Sequence[Phase] = (),
) -> tuple[Phase, ...]:
    """Return phases with noise calibrated request by request: each the smallest with which its release meets a target.

    Parameters
    ----------
    setup
        Of the data before the first request.
    requests
        In order, each with a record.
    n_steps
        Of each phase, at least 1.
    epsilon, delta
        The target of every release.
    grid_ratio
        Round each noise up to the powers of this, before the next request is calibrated; ``None`` for no rounding.
    before
        Phases that were calibrated already; they are returned first, as they are.

    Raises
    ------
    UnreachableTargetError
        When no noise meets the target.

    Notes
    -----
    Epsilon of a release falls with the noise of its last phase (data processing) and is not monotone in that of earlier
    ones, so that each is calibrated with those before it as they are.
    """
    found: list[Phase] = list(before)
    for request in requests:
        scale = found[-1].sigma if found and found[-1].sigma > 0 else max(setup.sigma_learn, 1e-6)
        start = Phase(request=request, n_steps=n_steps, sigma=scale)
        reduced = reduce_stream(setup, [*found, start])
        noise = smallest_noise(
            partial(reduced.epsilon, delta),
            target=epsilon,
            scale=scale,
            floor=noise_floor(setup.sigma_learn),
        ).noise
        if grid_ratio is not None and noise > 0:
            noise = round_up_to_grid(noise, ratio=grid_ratio)
        found.append(replace(start, sigma=noise))
    return tuple(found)
