"""A first network: a small classifier learned by clipped gradient descent, unlearned by noisy steps.

With noise in learning its certificate is that of the learning noise alone: clipping bounds what a record does to a
step, and all that comes after learning is the same in both worlds. Without it no certificate is stated: the noise of
the unlearning steps hides a record only where the model is first projected to a ball and the noise is large (Koloskova
et al. 2025), which would drown this network; an audit is then all that there is.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.networks.deletion import NetworkDeletion
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import Budgets, IndividualFilter
from mechanisms.networks.stages import NetworkStages
from mechanisms.protocol import Access, Outputs, ReleaseSpec
from mechanisms.serving.stages import validate_requests


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
        self._check_carried()

    def _check_carried(self) -> None:
        """Refuse unlearning steps that carried budgets have no charge for."""
        if self.individual is None or not self.individual.carried:
            return
        noisy = self.sigma_unlearn > 0 or self.n_unlearn == 0
        fix = "without noise nobody could take part in unlearning"
        expected = "above 0 with budgets that are carried into unlearning"
        require(noisy, "sigma_unlearn", expected=expected, got=self.sigma_unlearn, fix=fix)
        usual = self.fine_tuning is None
        fix = "its steps clip the mean of gradients, and no record's own"
        require(usual, "fine_tuning", expected="None with carried budgets", got=self.fine_tuning, fix=fix)

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
