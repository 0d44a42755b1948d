"""Learn, unlearn and release many small networks, with everything that depends on the data frozen.

In the flow: :class:`mechanisms.networks.langevin.NetworkLangevin` binds to data and returns these. Loads torch when it
learns, never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.clipped_learning import filtered_mu
from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset
from mechanisms.networks.certificates import carried_certificate
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import Budgets, IndividualFilter, keys_of
from mechanisms.protocol import ReleaseSpec

if TYPE_CHECKING:
    from mechanisms.networks.clipped_descent import Batch, Ledger, Networks

Array = NDArray[np.float64]
# Networks that step together: twice as fast as one at a time, and more are hardly faster (benchmarks/network.py).
AT_ONCE = 16
# Of public starting weights, so that no trial draws them.
_START = 0x5747


class _Settings(Protocol):
    """What is read here of a :class:`mechanisms.networks.langevin.NetworkLangevin`, which stands above."""

    @property
    def hidden(self) -> int: ...
    @property
    def n_learn(self) -> int: ...
    @property
    def n_unlearn(self) -> int: ...
    @property
    def step_size(self) -> float: ...
    @property
    def clip_norm(self) -> float: ...
    @property
    def sigma_learn(self) -> float: ...
    @property
    def sigma_unlearn(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def reference(self) -> Reference: ...
    @property
    def start_seed(self) -> int | None: ...
    @property
    def individual(self) -> IndividualFilter | None: ...
    @property
    def fine_tuning(self) -> NoisyFineTuning | None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkStages:
    """Networks learned and unlearned with everything else frozen; models are their weights.

    Parameters
    ----------
    divisor
        The number of records that gradients are divided by.
    probes
        Features of the records whose logits are released, those that may be deleted first.
    budgets
        Of all records, frozen from the data before any deletion: functions of each record, so never published.
    """

    mechanism: _Settings
    divisor: int
    probes: Array
    release: ReleaseSpec
    budgets: Budgets | None = None

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.mechanism.reference

    @property
    def at_once(self) -> int:
        """How many networks train together."""
        return AT_ONCE

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; none depends on the deleted record."""
        names = ("hidden", "step_size", "clip_norm", "n_learn", "n_unlearn", "sigma_learn", "sigma_unlearn", "n_probe")
        start, individual = self.mechanism.start_seed, self.mechanism.individual
        return {name: getattr(self.mechanism, name) for name in names} | {
            "start": "random" if start is None else f"public, of seed {start}",
            "individual_filter": "none" if individual is None else individual.words,
            "fine_tuning": "none" if self.mechanism.fine_tuning is None else self.mechanism.fine_tuning.words,
            "sampler": "training",
        }

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Networks:
        """Return n networks that were trained on these records from random weights.

        The same ``rng`` gives the same networks for any number of threads, up to rounding however many train at once.
        """
        from mechanisms.networks.clipped_descent import Networks, one_thread

        with one_thread():
            batch = self._to_learn(records)
            return Networks.joined([self._learned(batch, min(AT_ONCE, n - i), rng) for i in range(0, n, AT_ONCE)])

    def unlearn(self, models: Networks, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Networks:
        """Return the networks after noisy steps on the retained records; the request is seen in nothing else."""
        from mechanisms.networks.clipped_descent import Networks, one_thread

        with one_thread():
            batch = self._to_unlearn(retained)
            parts = [models.part(i, i + AT_ONCE) for i in range(0, models.n, AT_ONCE)]
            return Networks.joined([self._unlearn(networks, batch, rng) for networks in parts])

    def released(self, models: Networks) -> Array:
        """Return the logits on the probe records, shape (n, probes, classes)."""
        from mechanisms.networks.clipped_descent import one_thread

        with one_thread():
            parts = [models.part(i, i + AT_ONCE) for i in range(0, models.n, AT_ONCE)]
            return np.concatenate([self._logits(networks) for networks in parts])

    def _learned(self, batch: Batch, n: int, rng: np.random.Generator, ledger: Ledger | None = None) -> Networks:
        """Return networks that train together; how many they are changes the rounding."""
        from mechanisms.networks.clipped_descent import Ledger, Networks, Shape

        mechanism, sigma = self.mechanism, self.mechanism.sigma_learn
        shape = Shape(n_inputs=batch.features.shape[1], hidden=mechanism.hidden, n_outputs=batch.targets.shape[1])
        # Drawn run by run, so that a run's numbers do not depend on those that train beside it. By numpy: torch's
        # generator for the CPU keeps 32 bits of its seed, too few for many chunks.
        n_noisy, n_starts = (mechanism.n_learn if sigma > 0 else 0), int(mechanism.start_seed is None)
        drawn = rng.standard_normal((n, n_starts + n_noisy, shape.n_parameters), dtype=np.float32)
        start = drawn[:, 0] if n_starts else np.tile(_public_start(mechanism.start_seed, shape.n_parameters), (n, 1))
        networks = Networks.of(start, shape)
        # The usual scales: rectified units keep the variance of their inputs (He et al. 2015, arXiv:1502.01852).
        networks.first.mul_((2 / shape.n_inputs) ** 0.5)
        networks.second.mul_(shape.hidden**-0.5)
        if batch.budgets is not None:
            ledger = Ledger.of(batch.budgets, n, batch.keys)
        for step in range(mechanism.n_learn):
            self._step(networks, batch, drawn[:, n_starts + step] if sigma > 0 else None, sigma, ledger)
        return replace(networks, ledger=ledger) if self._carries else networks

    def pilot(self, data: Dataset, rng: np.random.Generator) -> Array:
        """Return the squared lengths of each record's clipped gradients, summed over one run, shape (n,)."""
        from mechanisms.networks.clipped_descent import Batch, Ledger, as_tensor, one_thread

        with one_thread():
            ledger = Ledger.of(as_tensor(np.full(data.n_records, np.inf)).double(), 1)
            self._learned(Batch.of(data), 1, rng, ledger)
        return np.asarray(ledger.spent[0].numpy())

    def _to_learn(self, records: Dataset) -> Batch:
        """Return records with the budgets that learning keeps to."""
        from mechanisms.networks.clipped_descent import Batch

        keys = keys_of(records) if self._carries else ()
        return Batch.of(records, None if self.budgets is None else self.budgets.of(records), keys)

    def _to_unlearn(self, records: Dataset) -> Batch:
        """Return records for unlearning steps, which keep to what is left of budgets, or to none."""
        from mechanisms.networks.clipped_descent import Batch

        return Batch.of(records, keys=keys_of(records) if self._carries else ())

    @property
    def _carries(self) -> bool:
        """Whether unlearning goes on with the budgets of learning."""
        individual = self.mechanism.individual
        return individual is not None and individual.carried and self.budgets is not None

    def _unlearn(
        self,
        networks: Networks,
        batch: Batch,
        rng: np.random.Generator,
        *,
        n_steps: int | None = None,
        shown: list[Array] | None = None,
    ) -> Networks:
        """Run unlearning steps in place, all of them by default; append the releases after each on request.

        Returned are the networks with what is left of budgets, where these are carried.
        """
        sigma, ledger = self.mechanism.sigma_unlearn, networks.ledger
        if ledger is not None:
            ledger = ledger.carried(batch.keys, (self.mechanism.sigma_learn / sigma) ** 2 if sigma > 0 else np.inf)
            networks = replace(networks, ledger=ledger)
        n_steps = self.mechanism.n_unlearn if n_steps is None else n_steps
        drawn = None
        if sigma > 0:
            drawn = rng.standard_normal((networks.n, n_steps, networks.shape.n_parameters), dtype=np.float32)
        tuning = self.mechanism.fine_tuning
        if tuning is not None:
            networks.shorten(tuning.start_norm)
        for step in range(n_steps):
            noise = None if drawn is None else drawn[:, step]
            if tuning is None:
                self._step(networks, batch, noise, sigma, ledger)
            else:
                _tune(networks, batch, tuning)
                self._shake(networks, noise, sigma)
            if shown is not None:
                shown.append(self._logits(networks))
        for _ in range(0 if tuning is None or shown is not None else tuning.n_clean):
            self._step(networks, batch, None, 0.0)
        return networks

    def stream_certificates(self, deleted: Dataset) -> tuple[Certificate, ...]:
        """Return what is certified of the release after several requests, for all records that they asked for.

        Parameters
        ----------
        deleted
            The records of all requests so far; which request asked for which makes no difference.
        """
        mechanism, budgets = self.mechanism, self.budgets
        if budgets is None or not self._carries or mechanism.reference is Reference.RETRAIN_ONLY:
            return ()
        scale = {"step_size": mechanism.step_size, "divisor": self.divisor, "sigma": mechanism.sigma_learn}
        mu = filtered_mu(budgets.of(deleted), **scale)  # type: ignore[arg-type]
        return (carried_certificate(mu, of=mechanism),)

    def _step(
        self,
        networks: Networks,
        batch: Batch,
        noise: NDArray[np.float32] | None,
        sigma: float,
        ledger: Ledger | None = None,
    ) -> None:
        gradients = networks.clipped_gradients(batch, self.mechanism.clip_norm, ledger)
        networks.move(gradients, -self.mechanism.step_size / self.divisor)
        self._shake(networks, noise, sigma)

    def _shake(self, networks: Networks, noise: NDArray[np.float32] | None, sigma: float) -> None:
        from mechanisms.networks.clipped_descent import Networks

        if noise is not None:
            networks.move(Networks.of(noise, networks.shape), sigma)

    def _logits(self, networks: Networks) -> Array:
        from mechanisms.networks.clipped_descent import as_tensor

        return np.asarray(networks.logits(as_tensor(self.probes)).numpy(), dtype=np.float64)


def _tune(networks: Networks, batch: Batch, tuning: NoisyFineTuning) -> None:
    """Take a step of noisy fine-tuning in place, but for its noise."""
    gradients = networks.clipped_gradients(batch, np.inf)
    gradients.shrink(1 / len(batch.features))
    if tuning.gradient_norm is not None:
        gradients.shorten(tuning.gradient_norm)
    networks.shrink(1 - tuning.step_size * tuning.penalty)
    networks.move(gradients, -tuning.step_size)
    if tuning.gradient_norm is None:
        networks.shorten(tuning.start_norm)


def _public_start(seed: int | None, n: int) -> NDArray[np.float32]:
    """Return standard normal numbers of a seed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_START,)))
    return rng.standard_normal(n, dtype=np.float32)
