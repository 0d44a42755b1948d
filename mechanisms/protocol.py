"""What a mechanism is to an auditor: a Protocol, the worlds, and the shape of a release. A leaf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset
from mechanisms.reading.scalars import flag

Array = NDArray[np.float64]


class World(Enum):
    """The process that a release comes from; A learns, U unlearns, D is the data and S the forget set.

    ``UNLEARNED`` is U(A(D), D minus S, S). ``RETRAINED`` is the claim's reference world. ``NEGLECTED`` is
    U(A(D), D, {}): the same steps with the deletion ignored, the positive control of every audit.
    """

    UNLEARNED = "unlearned"
    RETRAINED = "retrained"
    NEGLECTED = "neglected"


class Access(Enum):
    """What an attacker sees of a release."""

    WHITE_BOX = "white_box"
    BLACK_BOX = "black_box"
    TRANSCRIPT = "transcript"


OutputKind = Literal["values", "logits", "probabilities", "labels"]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a black-box release shows: the model's outputs on a fixed probe set, one row a probe record.

    Parameters
    ----------
    records
        The record of the data set (before any deletion) that each row of a release belongs to; -1 for a probe record
        that is not one of them. By default the deleted records, in the order of each forget set, and then others.
    kind
        "values" (of a regression), "logits" or "probabilities" (a column for each class, or one for the second of
        two), or "labels" (the predicted class, no column axis).
    """

    records: tuple[int, ...] = ()
    kind: OutputKind


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec:
    """Shape and kind of one release.

    Parameters
    ----------
    shape
        Shape of one release, without the batch axis.
    access
        ``WHITE_BOX``: parameters; ``BLACK_BOX``: outputs on a probe set; ``TRANSCRIPT``: before and after.
    continuous
        True when two independent releases are equal with probability 0.
    outputs
        What a ``BLACK_BOX`` release shows; without it attacks do not know where the deleted records are.
    axes
        Above 0 where releases differ in shape: a release is then flat, with the lengths of its axes as the first
        ``axes`` numbers, and zeros after its last one. The shape is audited like every other number.
    """

    shape: tuple[int, ...]
    access: Access = Access.WHITE_BOX
    continuous: bool = True
    outputs: Outputs | None = None
    axes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "continuous", flag(self.continuous, "continuous"))


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianLaw:
    """The law of a (p, q) matrix whose q columns are independent Gaussians with one common covariance.

    Parameters
    ----------
    mean
        Shape (p, q).
    covariance
        Shape (p, p), symmetric positive semi-definite.
    """

    mean: Array
    covariance: Array


@runtime_checkable
class Deletion(Protocol):
    """A mechanism bound to one data set and forget set: everything that defines the laws is frozen here."""

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        ...

    @property
    def reference(self) -> Reference:
        """The reference world that ``World.RETRAINED`` samples."""
        ...

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, *release.shape)."""
        ...


class Mechanism(Protocol):
    """A way to learn and to unlearn."""

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def bind(self, data: Any, forget: tuple[int, ...]) -> Deletion:
        """Freeze every quantity (step size, calibrated noise, preprocessing) from the data and the forget set.

        Calibration happens here, once, for all worlds: recomputing anything inside a world is another law. The data are
        a :class:`~mechanisms.dataset.Dataset`, or any :class:`~mechanisms.reading.records.RecordSet` that it can learn.
        """
        ...


@runtime_checkable
class HasStages(Protocol):
    """A bound object whose releases are made in stages that can be run one by one: learn, unlearn, release.

    What ``bind`` returns, where a sampler learns models. Everything else is frozen: noise, step size, the number that
    sums are divided by, and the records whose outputs are released. A sampler that draws from the law of a release
    never learns a model, and has no stages.

    :meth:`Deletion.sample` is these stages, bit for bit: of at most ``at_once`` models after those before them, with
    one generator for all (:func:`mechanisms.serving.stages.sample_by_stages`). In the reference world the retained
    records are learned, and ``unlearn`` is given an empty request; with ``Reference.RETRAIN_ONLY`` it is not called.
    """

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        ...

    @property
    def reference(self) -> Reference:
        """The reference world that claims are about."""
        ...

    @property
    def at_once(self) -> int:
        """How many models ``sample`` takes through all stages before it learns the next, at least 1."""
        ...

    def learn(self, records: Any, n: int, rng: np.random.Generator) -> Any:
        """Return n independent models of these records; what holds them is for the other stages to know."""
        ...

    def unlearn(self, models: Any, retained: Any, request: Any, rng: np.random.Generator) -> Any:
        """Return the models without the requested records, which may be none; the models given stay as they are.

        Parameters
        ----------
        retained
            The records that stay; all of them where the request is lost.
        request
            The records to delete.
        """
        ...

    def released(self, models: Any) -> Array:
        """Return what an attacker sees of the models, shape (n, *release.shape)."""
        ...


@runtime_checkable
class HasPools(Protocol):
    """A mechanism that can be bound to a pool of records of which any set may be asked to be deleted."""

    def bind_pool(self, data: Any, pool: tuple[int, ...]) -> HasStages:
        """Freeze every quantity from the data with the whole pool, for every deletion of a set of the pool.

        Parameters
        ----------
        data
            All records, those of the pool among them.
        pool
            Which records may be deleted. To delete a set S of them learn ``data`` without the rest of the pool.
        """
        ...


@runtime_checkable
class HasStreams(Protocol):
    """A mechanism that can be bound to several requests, to be served one after the other."""

    def bind_stream(self, data: Any, requests: tuple[tuple[int, ...], ...]) -> HasStages:
        """Freeze every quantity from the data before the first request, for all of them.

        Parameters
        ----------
        data
            All records.
        requests
            What is deleted, in order; no record twice.
        """
        ...


@runtime_checkable
class HasLaw(Protocol):
    """A deletion whose laws are known in closed form."""

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a world."""
        ...


@runtime_checkable
class HasTrajectory(Protocol):
    """A deletion that shows its first noisy steps, so that an audit can see whether their noise is drawn afresh."""

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return leading iterates of n trials of a world's noisy steps, shape (n, 3 or more, *release.shape).

        All n trials start from the same model (learned or initial), which is the first iterate, and are independent
        from there on: the code that :meth:`Deletion.sample` runs, watched. ``None`` when there are not two noisy steps
        or the sampler takes none. Do not offer one for steps with momentum.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedModels:
    """Which models a sample was made from.

    Parameters
    ----------
    prints
        64 bits for each learned model, shape (n,): equal for equal models. ``None`` where they cannot be told apart.
    opaque
        Why not.
    released
        The models as they would be released before unlearning, shape (n, *release.shape); ``None`` where nobody asked,
        or where a learned model has no such form.
    """

    prints: NDArray[np.uint64] | None
    opaque: str = ""
    released: Array | None = None


@runtime_checkable
class HasModels(Protocol):
    """A deletion that shows which learned models its releases were made from, so that an audit sees reused ones."""

    def sample_with_models(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, LearnedModels]:
        """Return the releases of :meth:`Deletion.sample` for this generator, and the model of each."""
        ...

    def learned(self, world: World | None, *, rng: np.random.Generator, nudge: float = 0.0) -> Array:
        """Return the numbers of one model, learned on a world's data; with ``None``, on data that no world has.

        With a nudge, on data that differ from those by that factor, as by a rounding.
        """
        ...


@runtime_checkable
class HasData(Protocol):
    """A deletion that knows whether the data that all trials share were changed."""

    def changed_data(self) -> tuple[str, ...]:
        """Return which arrays are no longer what they were when the deletion was bound, in words."""
        ...


@runtime_checkable
class ShowsLearned(Protocol):
    """A deletion that shows models as they were learned, so that an audit can see what unlearning does to them."""

    def before_and_after(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """Return n independent models of a world before and after unlearning, shape (n, *release.shape) each.

        Both as they would be released: the second are what :meth:`Deletion.sample` would return. ``None`` where a
        learned model has no such form.
        """
        ...


@runtime_checkable
class SamplesLearned(Protocol):
    """A deletion whose trials show their models as they were learned too, so that a control need not train its own."""

    def sample_with_learned(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, LearnedModels]:
        """Return what :meth:`HasModels.sample_with_models` does for this generator, with the models as released."""
        ...


@runtime_checkable
class HasUtility(Protocol):
    """A deletion whose models can be evaluated by a function of the user's: what they are good for."""

    def utility(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return a number for each of n independent models of a world, shape (n,); ``None`` without a function."""
        ...


@runtime_checkable
class HasCertificates(Protocol):
    """A deletion that states certificates; they reach the auditor as data."""

    def certificates(self) -> tuple[Certificate, ...]:
        """Return certificates, the primary one first."""
        ...


@runtime_checkable
class HasNotes(Protocol):
    """A mechanism that has something to say of data before it is bound to any record of them."""

    def notes_on(self, data: Dataset) -> tuple[str, ...]:
        """Return sentences for reports, for example of directions in which learning does not move."""
        ...


@runtime_checkable
class HasParameters(Protocol):
    """A deletion that publishes its hyper-parameters (reported, and granted to attacks)."""

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return public hyper-parameters by name, for example ``penalty`` and ``sigma_unlearn``."""
        ...
