"""A ridge Langevin service whose steps a fault can edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.dataset import Dataset
from mechanisms.faulty.training import Phase, Run
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.process import RidgeProcess

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeService:
    """What a service runs in each world; built by :meth:`of` without a fault.

    A fault in the code that serves a deletion request edits the unlearned world alone (:meth:`deleting`): nobody asks
    for a deletion in the reference world. A fault in code that both share edits all worlds (:meth:`throughout`).

    Parameters
    ----------
    process
        The correct mechanism's data and settings.
    unlearned, retrained, neglected
        Runs of the three worlds: a phase that learns, and phases that unlearn.
    lapse
        With this probability a deletion request is served by this run instead.
    """

    process: RidgeProcess
    unlearned: Run
    retrained: Run
    neglected: Run
    lapse: tuple[float, Run] | None = None

    @staticmethod
    def of(process: RidgeProcess) -> RidgeService:
        """Return the correct service of a process."""

        def phase(data: Dataset, n_steps: int, sigma: float) -> Phase:
            return Phase(
                features=data.features,
                targets=data.targets,
                penalty=process.penalty,
                step_size=process.step_size,
                n_steps=n_steps,
                scale=np.full(data.features.shape[1], sigma),
            )

        def run(learned: Dataset, unlearned: Dataset) -> Run:
            learn = phase(learned, process.n_learn, process.sigma_learn)
            return Run(phases=(learn, phase(unlearned, process.n_unlearn, process.sigma_unlearn)))

        return RidgeService(
            process=process,
            unlearned=run(process.data, process.retained),
            retrained=run(process.retained, process.retained),
            neglected=run(process.data, process.data),
        )

    @property
    def steps(self) -> Phase:
        """The phase that unlearns when a deletion is requested."""
        return self.unlearned.phases[-1]

    def deleting(self, **changes: Any) -> RidgeService:
        """Return the service with its unlearning phase edited where a deletion is requested."""
        return replace(self, unlearned=_edited(self.unlearned, changes))

    def throughout(self, **changes: Any) -> RidgeService:
        """Return the service with its unlearning phase edited in every world."""
        return self.with_runs({world: _edited(self.run(world), changes) for world in World})

    def with_runs(self, runs: Mapping[World, Run]) -> RidgeService:
        """Return the service with another run in every world."""
        return replace(
            self,
            unlearned=runs[World.UNLEARNED],
            retrained=runs[World.RETRAINED],
            neglected=runs[World.NEGLECTED],
        )

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, p, q), step by step."""
        if world is not World.UNLEARNED or self.lapse is None:
            return self.run(world).sample(n, rng=rng)
        probability, instead = self.lapse
        lapsed = rng.random(n) < probability
        releases = np.empty((n, *self.process.shape))
        releases[lapsed] = instead.sample(int(lapsed.sum()), rng=rng)
        releases[~lapsed] = self.unlearned.sample(int((~lapsed).sum()), rng=rng)
        return releases

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return its own laws of the unlearned and the retrained world; ``None`` where one is not Gaussian."""
        p, q = self.unlearned.law(), self.retrained.law()
        return None if p is None or q is None or self.lapse is not None else (p, q)

    def oracle(self, releases: Array) -> Array | None:
        """Return the exact log likelihood ratio at releases, of Gaussian worlds or a mixture of two runs."""
        p, q = self.unlearned.law(), self.retrained.law()
        if p is None or q is None:
            return None
        served = log_density(p, releases)
        if self.lapse is not None:
            probability, instead = self.lapse
            lapsed = instead.law()
            if lapsed is None:
                return None
            served = np.logaddexp(np.log1p(-probability) + served, np.log(probability) + log_density(lapsed, releases))
        return served - log_density(q, releases)

    def run(self, world: World) -> Run:
        """Return the run of a world; of the unlearned one, what is run without a lapse."""
        run: Run = getattr(self, world.value)
        return run


def _edited(run: Run, changes: dict[str, Any]) -> Run:
    return Run(phases=(*run.phases[:-1], replace(run.phases[-1], **changes)))


def log_density(law: GaussianLaw, releases: Array) -> Array:
    """Return the log density of a law with an invertible covariance at releases of shape (n, p, q), shape (n,)."""
    n, p, q = releases.shape
    factor = np.linalg.cholesky(law.covariance)
    centred = (releases - law.mean).transpose(1, 0, 2).reshape(p, n * q)
    squares = np.square(np.linalg.solve(factor, centred)).reshape(p, n, q).sum(axis=(0, 2))
    log_volume = 2 * np.log(np.diag(factor)).sum() + p * np.log(2 * np.pi)
    density: Array = -(squares + q * log_volume) / 2
    return density
