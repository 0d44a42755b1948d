"""A first network: a small classifier learned by clipped gradient descent, unlearned by noisy steps. No certificate.

Noisy clipped steps do have a certificate when the model is first projected to a ball and the noise is large (Koloskova
et al. 2025); it would drown this network. The mechanism adds the noise that a service can afford and states no
certificate, so an audit is all that there is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Access, Outputs, ReleaseSpec, World

if TYPE_CHECKING:
    from torch import Tensor

    from mechanisms.clipped_descent import Batch, Networks, Shape

Array = NDArray[np.float64]
# Networks that step together: twice as fast as one at a time, and more are hardly faster (benchmarks/network.py).
AT_ONCE = 16
# Steps that a trajectory shows.
N_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class NetworkLangevin:
    """A network learned and unlearned by full-batch clipped gradient descent with noise; it states no certificate.

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

    Raises
    ------
    InvalidInputError
        When a value is out of range.

    Notes
    -----
    Nothing is proved about it: an audit gives lower bounds on epsilon, and no upper one is known. Needs torch.

    References
    ----------
    Abadi et al. 2016, "Deep learning with differential privacy" (arXiv:1607.00133), for clipping; Koloskova et al.
    2025, "Certified unlearning for neural networks" (arXiv:2506.06985), for noisy fine-tuning.
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
        forget = validate_forget(forget, data.n_records)
        probes = [data.take(forget).features, *([] if data.held_out is None else [data.held_out.features])]
        shape = (len(forget) + self.n_probe, data.targets.shape[1])
        return NetworkDeletion(
            mechanism=self,
            data=data,
            retained=data.without(forget),
            probes=np.concatenate(probes)[: shape[0]],
            release=ReleaseSpec(
                shape=shape,
                access=Access.BLACK_BOX,
                outputs=Outputs(records=(*forget, *(-1 for _ in range(self.n_probe))), kind="logits"),
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkDeletion:
    """One deletion with everything frozen; build it with ``NetworkLangevin.bind``.

    Parameters
    ----------
    probes
        Features of the records whose logits are released, the deleted ones first.
    """

    mechanism: NetworkLangevin
    data: Dataset
    retained: Dataset
    probes: Array
    release: ReleaseSpec

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.mechanism.reference

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; none depends on the deleted record."""
        names = ("hidden", "step_size", "clip_norm", "n_learn", "n_unlearn", "sigma_learn", "sigma_unlearn", "n_probe")
        return {name: getattr(self.mechanism, name) for name in names} | {"sampler": "training"}

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases, shape (n, probes, classes): every network is trained from the start.

        The same ``rng`` gives the same networks for any number of threads, up to rounding however many train at once.

        Notes
        -----
        Networks of the full data would serve every record alike, but they are not kept: a release depends on its own
        random stream alone, so that any trial replays alone and trials of one stream are independent.
        """
        from mechanisms.clipped_descent import one_thread

        releases = np.empty((n, *self.release.shape))
        with one_thread():
            descent = _Descent.of(self, world)
            for start in range(0, n, AT_ONCE):
                noise = descent.draw(min(AT_ONCE, n - start), rng)
                networks = descent.learned(noise)
                descent.unlearn(networks, noise, descent.n_unlearn)
                releases[start : start + AT_ONCE] = descent.released(networks)
        return releases

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return the releases of one learned model after each of its first unlearning steps, in n runs.

        Shape (n, 3 to 5, probes, classes); ``None`` without two noisy unlearning steps.
        """
        from mechanisms.clipped_descent import Networks, one_thread

        with one_thread():
            descent = _Descent.of(self, world)
            if descent.n_unlearn < 2 or self.mechanism.sigma_unlearn == 0:
                return None
            start = descent.learned(descent.draw(1, rng))
            networks = Networks(first=start.first.repeat(1, n, 1), second=start.second.repeat(n, 1, 1))
            noise, shown = descent.draw(n, rng), [descent.released(networks)]
            for step in range(min(descent.n_unlearn, N_SHOWN)):
                descent.unlearn(networks, noise, step + 1, first=step)
                shown.append(descent.released(networks))
        return np.stack(shown, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Noise:
    """Standard normal numbers of b runs: where each starts, and what each step adds; absent where that has no noise."""

    start: NDArray[np.float32]
    learn: NDArray[np.float32]
    unlearn: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Descent:
    """One world's process, its records as tensors."""

    mechanism: NetworkLangevin
    shape: Shape
    learned_on: Batch
    unlearned_on: Batch
    probes: Tensor
    n_unlearn: int
    divisor: int

    @staticmethod
    def of(deletion: NetworkDeletion, world: World) -> _Descent:
        from mechanisms.clipped_descent import Batch, Shape, as_tensor

        mechanism, data = deletion.mechanism, deletion.data
        stops = world is World.RETRAINED and mechanism.reference is Reference.RETRAIN_ONLY
        return _Descent(
            mechanism=mechanism,
            shape=Shape(n_inputs=data.features.shape[1], hidden=mechanism.hidden, n_outputs=data.targets.shape[1]),
            learned_on=Batch.of(deletion.retained if world is World.RETRAINED else data),
            unlearned_on=Batch.of(data if world is World.NEGLECTED else deletion.retained),
            probes=as_tensor(deletion.probes),
            n_unlearn=0 if stops else mechanism.n_unlearn,
            divisor=data.n_records,
        )

    def draw(self, b: int, rng: np.random.Generator) -> _Noise:
        """Draw run by run, so that a run's numbers do not depend on those that train beside it.

        By numpy: torch's generator for the CPU keeps 32 bits of its seed, too few for many chunks.
        """
        n_learn = self.mechanism.n_learn if self.mechanism.sigma_learn > 0 else 0
        n_unlearn = self.n_unlearn if self.mechanism.sigma_unlearn > 0 else 0
        drawn = rng.standard_normal((b, 1 + n_learn + n_unlearn, self.shape.n_parameters), dtype=np.float32)
        return _Noise(start=drawn[:, 0], learn=drawn[:, 1 : 1 + n_learn], unlearn=drawn[:, 1 + n_learn :])

    def learned(self, noise: _Noise) -> Networks:
        """Return networks that were learned from random weights."""
        from mechanisms.clipped_descent import Networks

        networks = Networks.of(noise.start, self.shape)
        # The usual scales: rectified units keep the variance of their inputs (He et al. 2015, arXiv:1502.01852).
        networks.first.mul_((2 / self.shape.n_inputs) ** 0.5)
        networks.second.mul_(self.shape.hidden**-0.5)
        for step in range(self.mechanism.n_learn):
            self._step(networks, self.learned_on, noise.learn, step, self.mechanism.sigma_learn)
        return networks

    def unlearn(self, networks: Networks, noise: _Noise, n_steps: int, *, first: int = 0) -> None:
        """Run unlearning steps ``first`` to ``n_steps`` - 1 in place."""
        for step in range(first, n_steps):
            self._step(networks, self.unlearned_on, noise.unlearn, step, self.mechanism.sigma_unlearn)

    def _step(self, networks: Networks, batch: Batch, noise: NDArray[np.float32], step: int, sigma: float) -> None:
        from mechanisms.clipped_descent import Networks

        gradients = networks.clipped_gradients(batch, self.mechanism.clip_norm)
        networks.move(gradients, -self.mechanism.step_size / self.divisor)
        if sigma > 0:
            networks.move(Networks.of(noise[:, step], self.shape), sigma)

    def released(self, networks: Networks) -> Array:
        """Return the logits on the probe records, shape (b, probes, classes)."""
        return np.asarray(networks.logits(self.probes).numpy(), dtype=np.float64)
