"""A first network: a small classifier learned by clipped gradient descent, unlearned by noisy steps.

With noise in learning its certificate is that of the learning noise alone: clipping bounds what a record does to a
step, and all that comes after learning is the same in both worlds. Without it no certificate is stated: the noise of
the unlearning steps hides a record only where the model is first projected to a ball and the noise is large (Koloskova
et al. 2025), which would drown this network; an audit is then all that there is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.clipped_learning import filtered_mu, learning_noise_mu
from mechanisms.claim import Certificate, GaussianDP, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.networks.certificates import individual_certificate, learning_noise_certificate
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import Budgets, IndividualFilter
from mechanisms.protocol import Access, Outputs, ReleaseSpec, World
from mechanisms.serving.stages import validate_requests

if TYPE_CHECKING:
    from mechanisms.networks.clipped_descent import Batch, Ledger, Networks

Array = NDArray[np.float64]
# Networks that step together: twice as fast as one at a time, and more are hardly faster (benchmarks/network.py).
AT_ONCE = 16
# Steps that a trajectory shows.
N_SHOWN = 4
# Of public starting weights, so that no trial draws them.
_START = 0x5747


@dataclass(frozen=True, kw_only=True)
class NetworkLangevin:
    """A network learned and unlearned by full-batch clipped gradient descent with noise.

    It has one hidden layer. One step is ``weights -= step_size / n * sum_i clip(gradient_i) + sigma * Z``, where clip
    shortens the gradient of one record's cross-entropy to at most ``clip_norm``, and n is the number of records before
    any deletion, in every world: the number that is left would tell the worlds apart. Learning starts from random
    weights; unlearning takes ``n_unlearn`` steps on the retained records. Released are the logits of the deleted
    records and of a few held-out ones.

    Parameters
    ----------
    hidden
        Rectified units, at least 1.
    n_learn, n_unlearn
        Steps of learning (T >= 1) and unlearning (K >= 0).
    step_size
        Positive; the mean of the clipped gradients is multiplied by it.
    clip_norm
        Largest Euclidean norm of one record's gradient, positive.
    sigma_learn, sigma_unlearn
        Standard deviation of the noise that a step adds to each weight, at least 0.
    n_probe
        Held-out records whose logits are released too, the first ones; at least 0.
    reference
        The reference world of the claims and of ``World.RETRAINED``.
    delta
        Delta at which certificates state their epsilon, in (0, 1).
    start_seed
        Learning starts from public weights that are drawn from this seed, the same in every run; ``None``: each run
        draws its own.
    individual
        Learning keeps to a budget for each record, for a certificate of each; ``None``: all take part in every step.
    fine_tuning
        Unlearning steps of another kind, which certify a deletion by their own noise; ``None``: the usual ones.

    Raises
    ------
    InvalidInputError
        When a value is out of range.

    Notes
    -----
    With ``sigma_learn`` above 0 a deletion states the certificate "learning_noise", of the noise of learning alone: it
    is the same for every set of so many records, whatever ``n_unlearn`` and ``sigma_unlearn`` are, and so it says
    nothing about the unlearning. It bounds both directions, for removal; replacing records doubles its mu. It is not
    stated for ``RETRAIN_ONLY`` with unlearning steps. With ``sigma_learn`` 0 no upper bound on epsilon is known, and
    an audit is all that there is. With ``individual`` there is a certificate "individual" of the record's own budget
    before it, and with ``fine_tuning``, noise in unlearning and ``RETRAIN_THEN_UNLEARN`` one "fine_tuning", of any set
    whatever was learned. Needs torch.

    References
    ----------
    Abadi et al. 2016, "Deep learning with differential privacy" (arXiv:1607.00133), for clipping; Dong, Roth, Su 2022,
    "Gaussian differential privacy" (arXiv:1905.02383), for the certificate; Koloskova et al. 2025, "Certified
    unlearning for neural networks" (arXiv:2506.06985), for noisy fine-tuning.
    """

    hidden: int = 16
    n_learn: int = 200
    n_unlearn: int = 50
    step_size: float = 2.0
    clip_norm: float = 1.0
    sigma_learn: float = 0.0
    sigma_unlearn: float = 0.02
    n_probe: int = 4
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    delta: float = 1e-5
    start_seed: int | None = None
    individual: IndividualFilter | None = None
    fine_tuning: NoisyFineTuning | None = None

    def __post_init__(self) -> None:
        positive = "positive and finite"
        require(self.hidden >= 1, "hidden", expected="at least 1", got=self.hidden, fix="16 is a good start")
        require(self.n_learn >= 1, "n_learn", expected="at least 1", got=self.n_learn, fix="200 is a good start")
        require(
            self.n_unlearn >= 0,
            "n_unlearn",
            expected="at least 0",
            got=self.n_unlearn,
            fix="0 means no unlearning at all",
        )
        require(
            0 < self.step_size < np.inf, "step_size", expected=positive, got=self.step_size, fix="2.0 is a good start"
        )
        require(0 < self.clip_norm < np.inf, "clip_norm", expected=positive, got=self.clip_norm, fix="1.0 is usual")
        for name, sigma in (("sigma_learn", self.sigma_learn), ("sigma_unlearn", self.sigma_unlearn)):
            require(0 <= sigma < np.inf, name, expected="at least 0 and finite", got=sigma, fix="0 means no noise")
        alone = "0 releases the deleted records' logits alone"
        require(self.n_probe >= 0, "n_probe", expected="at least 0", got=self.n_probe, fix=alone)
        require(0 < self.delta < 1, "delta", expected="in (0, 1)", got=self.delta, fix="1e-5 is usual")
        seed, fix = self.start_seed, "give a whole number, or None for random starts"
        require(seed is None or seed >= 0, "start_seed", expected="at least 0", got=seed, fix=fix)
        needs = "above 0 with an individual filter"
        noisy = self.individual is None or self.sigma_learn > 0
        require(noisy, "sigma_learn", expected=needs, got=self.sigma_learn, fix="budgets are of its noise")

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "network_langevin"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> NetworkDeletion:
        """Freeze the data, the probe records and the number that gradients are divided by.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, data without classes, too few held-out records, or without torch.
        """
        data = self._checked(data)
        forget = validate_forget(forget, data.n_records)
        return NetworkDeletion(
            data=data, retained=data.without(forget), deleted=data.take(forget), **self._frozen(data, forget)
        )

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> NetworkStages:
        """Freeze the probe records, the whole pool among them, and the number of all records.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool.
        """
        data = self._checked(data)
        return NetworkStages(**self._frozen(data, validate_forget(pool, data.n_records, field="pool")))

    def bind_stream(self, data: Dataset, requests: tuple[tuple[int, ...], ...]) -> NetworkStages:
        """Bind as :meth:`bind_pool` does, to the records of all requests.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the requests; for a record that is asked for twice.
        """
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def _frozen(self, data: Dataset, shown: tuple[int, ...]) -> dict[str, Any]:
        """Return the fields that deletions, pools and streams share; the records shown are probes."""
        probes = [data.take(shown).features, *([] if data.held_out is None else [data.held_out.features])]
        shape = (len(shown) + self.n_probe, data.targets.shape[1])
        outputs = Outputs(records=(*shown, *(-1 for _ in range(self.n_probe))), kind="logits")
        frozen: dict[str, Any] = {
            "mechanism": self,
            "divisor": data.n_records,
            "probes": np.concatenate(probes)[: shape[0]],
            "release": ReleaseSpec(shape=shape, access=Access.BLACK_BOX, outputs=outputs),
        }
        if self.individual is None:
            return frozen
        # One run without budgets, of a stream that is used for nothing else, serves every trial of every world.
        spent = NetworkStages(**frozen).pilot(data, self.individual.generator())
        own = self.individual.budgets(spent, of=self, divisor=data.n_records)
        return frozen | {"budgets": Budgets.of_records(data, own)}

    def _checked(self, given: Dataset) -> Dataset:
        """Return the data if a network can learn them and torch is there."""
        data = matrices(given, self.name)
        try:
            importlib.import_module("torch")
        except ImportError:
            raise InvalidInputError(
                field="mechanism",
                expected="one whose packages are installed",
                got=f"{self.name} without torch",
                fix="run pip install 'unlearn-audit[torch]'",
            ) from None
        if data.kind != "classification":
            raise InvalidInputError(
                field="data.kind", expected='"classification"', got=data.kind, fix=f"{self.name} learns classes only"
            )
        n_held_out = 0 if data.held_out is None else data.held_out.n_records
        if n_held_out < self.n_probe:
            raise InvalidInputError(
                field="n_probe",
                expected=f"at most {n_held_out}, the number of held-out records",
                got=self.n_probe,
                fix="lower it, or hold out more records with data.rows",
            )
        return data


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

    mechanism: NetworkLangevin
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
        from mechanisms.networks.clipped_descent import Batch, Networks, one_thread

        with one_thread():
            batch = Batch.of(retained)
            parts = [models.part(i, i + AT_ONCE) for i in range(0, models.n, AT_ONCE)]
            for networks in parts:
                self._unlearn(networks, batch, rng)
            return Networks.joined(parts)

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
            ledger = Ledger.of(batch.budgets, n)
        for step in range(mechanism.n_learn):
            self._step(networks, batch, drawn[:, n_starts + step] if sigma > 0 else None, sigma, ledger)
        return networks

    def pilot(self, data: Dataset, rng: np.random.Generator) -> Array:
        """Return the squared lengths of each record's clipped gradients, summed over one run, shape (n,)."""
        from mechanisms.networks.clipped_descent import Batch, Ledger, as_tensor, one_thread

        with one_thread():
            ledger = Ledger.of(as_tensor(np.full(data.n_records, np.inf)).double(), 1)
            self._learned(Batch.of(data), 1, rng, ledger)
        return np.asarray(ledger.spent[0].numpy())

    def _to_learn(self, records: Dataset) -> Batch:
        """Return records with the budgets that learning keeps to; unlearning steps keep to none."""
        from mechanisms.networks.clipped_descent import Batch

        return Batch.of(records, None if self.budgets is None else self.budgets.of(records))

    def _unlearn(
        self,
        networks: Networks,
        batch: Batch,
        rng: np.random.Generator,
        *,
        n_steps: int | None = None,
        shown: list[Array] | None = None,
    ) -> None:
        """Run unlearning steps in place, all of them by default; append the releases after each on request."""
        sigma = self.mechanism.sigma_unlearn
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
                self._step(networks, batch, noise, sigma)
            else:
                _tune(networks, batch, tuning)
                self._shake(networks, noise, sigma)
            if shown is not None:
                shown.append(self._logits(networks))
        for _ in range(0 if tuning is None or shown is not None else tuning.n_clean):
            self._step(networks, batch, None, 0.0)

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
                    self._unlearn(networks, unlearned_on, rng)
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
            networks = Networks(first=start.first.repeat(1, n, 1), second=start.second.repeat(n, 1, 1))
            shown = [self._logits(networks)]
            self._unlearn(networks, unlearned_on, rng, n_steps=n_steps, shown=shown)
        return np.stack(shown, axis=1)

    def _batches(self, world: World) -> tuple[Batch, Batch]:
        """Return the records that a world learns from, and those that its unlearning steps run on."""
        from mechanisms.networks.clipped_descent import Batch

        learned_on = self.retained if world is World.RETRAINED else self.data
        return self._to_learn(learned_on), Batch.of(self.data if world is World.NEGLECTED else self.retained)

    def _stops(self, world: World) -> bool:
        return world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY


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
