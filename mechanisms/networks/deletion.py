"""One deletion from networks: what is certified of it, trials of its worlds, and its first noisy steps.

In the flow: :meth:`mechanisms.networks.langevin.NetworkLangevin.bind` returns one; its stages are those of
:mod:`mechanisms.networks.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.clipped_learning import filtered_mu, learning_noise_mu
from mechanisms.claim import Certificate, GaussianDP, Reference
from mechanisms.dataset import Dataset
from mechanisms.networks.certificates import individual_certificate, learning_noise_certificate
from mechanisms.networks.stages import AT_ONCE, NetworkStages
from mechanisms.protocol import World

if TYPE_CHECKING:
    from mechanisms.networks.clipped_descent import Batch

Array = NDArray[np.float64]
# Steps that a trajectory shows.
N_SHOWN = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkDeletion(NetworkStages):
    """One deletion with everything frozen; build it with ``NetworkLangevin.bind``."""

    data: Dataset
    retained: Dataset
    deleted: Dataset

    def certificates(self) -> tuple[Certificate, ...]:
        """Return what noisy fine-tuning certifies, what the deleted records' own budgets do, and the learning noise.

        Each where it applies: none where the reference world stops before unlearning steps that the other world takes.
        """
        mechanism = self.mechanism
        stops_early = mechanism.reference is Reference.RETRAIN_ONLY and mechanism.n_unlearn > 0
        if stops_early:
            return ()
        learning_mu, of_learning = np.inf, self._of_learning()
        if of_learning:
            learning_mu = min(c.claim.guarantee.mu for c in of_learning if isinstance(c.claim.guarantee, GaussianDP))
        tuning = mechanism.fine_tuning
        if tuning is None or mechanism.n_unlearn == 0 or mechanism.sigma_unlearn == 0:
            return of_learning
        steps: dict[str, Any] = {"n_steps": mechanism.n_unlearn, "sigma": mechanism.sigma_unlearn}
        return tuning.certificate(**steps, learning_mu=learning_mu, of=mechanism), *of_learning

    def _of_learning(self) -> tuple[Certificate, ...]:
        mechanism = self.mechanism
        if mechanism.sigma_learn == 0:
            return ()
        settings: dict[str, Any] = {
            "step_size": mechanism.step_size,
            "divisor": self.divisor,
            "sigma": mechanism.sigma_learn,
        }
        n_deleted = self.deleted.n_records
        mu = learning_noise_mu(
            clip_norm=mechanism.clip_norm, n_steps=mechanism.n_learn, n_deleted=n_deleted, **settings
        )
        of_any = learning_noise_certificate(mu, n_deleted=n_deleted, of=mechanism)
        if self.budgets is None:
            return (of_any,)
        own = filtered_mu(self.budgets.of(self.deleted), **settings)
        return individual_certificate(min(own, mu), of=mechanism), of_any

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases, shape (n, probes, classes): every network is trained from the start.

        Notes
        -----
        Networks of the full data would serve every record alike, but they are not kept: a release depends on its own
        random stream alone, so that any trial replays alone and trials of one stream are independent.
        """
        from mechanisms.networks.clipped_descent import one_thread

        releases = np.empty((n, *self.release.shape))
        with one_thread():
            learned_on, unlearned_on = self._batches(world)
            for start in range(0, n, AT_ONCE):
                networks = self._learned(learned_on, min(AT_ONCE, n - start), rng)
                if not self._stops(world):
                    networks = self._unlearn(networks, unlearned_on, rng)
                releases[start : start + AT_ONCE] = self._logits(networks)
        return releases

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return the releases of one learned model after each of its first unlearning steps, in n runs.

        Shape (n, 3 to 5, probes, classes); ``None`` without two noisy unlearning steps.
        """
        from mechanisms.networks.clipped_descent import Networks, one_thread

        n_steps = 0 if self._stops(world) else min(self.mechanism.n_unlearn, N_SHOWN)
        if n_steps < 2 or self.mechanism.sigma_unlearn == 0:
            return None
        with one_thread():
            learned_on, unlearned_on = self._batches(world)
            start = self._learned(learned_on, 1, rng)
            networks = Networks.joined([start] * n)
            shown = [self._logits(networks)]
            self._unlearn(networks, unlearned_on, rng, n_steps=n_steps, shown=shown)
        return np.stack(shown, axis=1)

    def _batches(self, world: World) -> tuple[Batch, Batch]:
        """Return the records that a world learns from, and those that its unlearning steps run on."""
        learned_on = self.retained if world is World.RETRAINED else self.data
        return self._to_learn(learned_on), self._to_unlearn(self.data if world is World.NEGLECTED else self.retained)

    def _stops(self, world: World) -> bool:
        return world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY
