"""A mechanism from two or three plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.shapes import flattened
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, UnlearnAuditError, UserFunctionError
from mechanisms.protocol import Access, ReleaseSpec, World
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
LearnFn = Callable[[Dataset, np.random.Generator], Any]
UnlearnFn = Callable[..., Any]
CalibrateFn = Callable[[Dataset, Dataset], Any]
ObserveFn = Callable[[Any, Dataset], Any]


class EmptyForgetSetError(UnlearnAuditError):
    """The user's ``unlearn`` failed on an empty forget set, which the reference world needs."""


@dataclass(frozen=True, kw_only=True)
class FunctionsMechanism:
    """A mechanism made of functions; build it with :func:`from_functions`."""

    learn: LearnFn
    unlearn: UnlearnFn
    calibrate: CalibrateFn | None
    reference: Reference
    release: ReleaseSpec
    name: str
    public: Mapping[str, int | float | str] = field(default_factory=dict)
    observe: ObserveFn | None = None

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> FunctionsDeletion:
        """Call ``calibrate`` once and freeze its value for all worlds.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, or outputs that are declared in another order than the deleted records.
        """
        forget = validate_forget(forget, data.n_records)
        _check_order(self.release, forget)
        retained, deleted = data.without(forget), data.take(forget)
        calibration = () if self.calibrate is None else (self.calibrate(data, deleted),)
        return FunctionsDeletion(mechanism=self, data=data, retained=retained, deleted=deleted, calibration=calibration)


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionsDeletion:
    """One deletion by the user's functions; ``calibration`` is empty or holds one value."""

    mechanism: FunctionsMechanism
    data: Dataset
    retained: Dataset
    deleted: Dataset
    calibration: tuple[Any, ...]

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.mechanism.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.mechanism.reference

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the hyper-parameters that the user made public."""
        return self.mechanism.public

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n >= 1 independent releases, one call of the user's functions each, shape (n, *release.shape).

        Raises
        ------
        UserFunctionError
            When ``learn`` or ``unlearn`` raises.
        EmptyForgetSetError
            When ``unlearn`` fails on an empty forget set alone.
        InvalidInputError
            When a release is not of the declared shape, or not finite.
        """
        return np.stack([self._release(world, rng) for _ in range(n)])

    def _release(self, world: World, rng: np.random.Generator) -> Array:
        if world is World.UNLEARNED:
            released = self._unlearn(self._learn(self.data, rng), self.retained, self.deleted, rng)
        elif world is World.NEGLECTED:
            released = self._unlearn(self._learn(self.data, rng), self.data, self.data.take(()), rng)
        elif self.reference is Reference.RETRAIN_ONLY:
            released = self._learn(self.retained, rng)
        else:
            released = self._unlearn(self._learn(self.retained, rng), self.retained, self.data.take(()), rng)
        return self._checked(released)

    def learned(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """Return n models of a world as ``learn`` and then ``unlearn`` return them, shape (n, *release.shape) each.

        ``None`` where what ``learn`` returns is no release.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`.
        """
        before, after = [], []
        forget = self.deleted if world is World.UNLEARNED else self.data.take(())
        for _ in range(n):
            model = self._learn(self.retained if world is World.RETRAINED else self.data, rng)
            try:
                # Before unlearning, which may change the model in place.
                before.append(self._checked(model))
            except Exception:
                return None
            kept = self.data if world is World.NEGLECTED else self.retained
            after.append(self._checked(self._unlearn(model, kept, forget, rng)))
        return np.stack(before), np.stack(after)

    def _learn(self, data: Dataset, rng: np.random.Generator) -> Any:
        try:
            return self.mechanism.learn(data, rng)
        except (Exception, SystemExit) as error:
            raise UserFunctionError(f"learn raised {_said(error)}") from error

    def _unlearn(self, model: Any, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Any:
        try:
            return self.mechanism.unlearn(model, retained, forget, rng, *self.calibration)
        except (Exception, SystemExit) as error:
            said = _said(error)
            if forget.n_records or not self._unlearns_the_deleted():
                raise UserFunctionError(f"unlearn raised {said}") from error
            raise EmptyForgetSetError(
                f"unlearn failed on an empty forget set ({said}), and not on the deleted records. The reference world "
                "retrain_then_unlearn runs unlearn with the same noise and nothing to delete: return the model plus "
                "that noise when len(forget) == 0, or set reference=Reference.RETRAIN_ONLY."
            ) from error

    def _unlearns_the_deleted(self) -> bool:
        """Return whether ``unlearn`` works where something is deleted; only asked to explain a failure."""
        rng = np.random.default_rng(0)
        try:
            self.mechanism.unlearn(
                self.mechanism.learn(self.data, rng), self.retained, self.deleted, rng, *self.calibration
            )
        except (Exception, SystemExit):
            return False
        return True

    def _checked(self, released: Any) -> Array:
        observe = self.mechanism.observe
        seen = released if observe is None else observe(released, self.deleted)
        try:
            # A copy: a mechanism may return the same buffer each time. One layout, so that sums run in one order.
            array = real_numbers(seen, "release", copy=True)
        except InvalidInputError as error:
            fix = f"{error.fix}, or say by observe=(model, deleted) -> array what an attacker sees of a model"
            raise InvalidInputError(field=error.field, expected=error.expected, got=error.got, fix=fix) from None
        if self.release.axes:
            array = flattened(array, self.release)
        if array.shape != self.release.shape:
            raise InvalidInputError(
                field="release", expected=f"of shape {self.release.shape}, as declared in ReleaseSpec",
                got=f"shape {array.shape}",
                fix="return an array of that shape from unlearn, or declare the true shape; if it differs between "
                "models, ReleaseSpec(shape=(axes + numbers,), axes=axes) audits the shape too",
            )  # fmt: skip
        if not np.all(np.isfinite(array)):
            raise InvalidInputError(
                field="release", expected="finite numbers", got="NaN or infinity", fix="mend learn or unlearn"
            )
        return array


def _check_order(release: ReleaseSpec, forget: tuple[int, ...]) -> None:
    """Refuse first rows that are said to be the deleted records in another order than ``observe`` is given them in."""
    declared = release.outputs.records[: len(forget)] if release.outputs else ()
    if declared != forget and sorted(declared) == sorted(forget):
        raise InvalidInputError(
            field="release.outputs.records", expected=f"the deleted records in the order of the forget set, {forget}",
            got=declared, fix="leave records out: the first rows are then the deleted records, in the order in which "
            "observe is given them",
        )  # fmt: skip


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if "read-only" in str(error):
        text += " (the data are shared by all trials: change a copy, such as data.features.copy())"
    return text


def from_functions(
    *,
    learn: LearnFn,
    unlearn: UnlearnFn,
    release: ReleaseSpec | tuple[int, ...] | int,
    observe: ObserveFn | None = None,
    calibrate: CalibrateFn | None = None,
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN,
    name: str = "user_functions",
    parameters: Mapping[str, int | float | str] | None = None,
) -> FunctionsMechanism:
    """Return a mechanism that calls the user's functions; it states no certificate, so that an audit decides.

    Parameters
    ----------
    learn
        ``learn(data, rng) -> model``: ``data`` is a :class:`~mechanisms.dataset.Dataset`; every random number
        must come from ``rng``. Its arrays are read-only, because all trials share them: change copies
        (``data.features.copy()``, ``torch.tensor(data.features)``).
    unlearn
        ``unlearn(model, retained, forget, rng[, calibration]) -> release``: called with an empty ``forget``
        (``len(forget) == 0``) in the reference world ``retrain_then_unlearn``, where it must add the same noise.
    release
        Shape of what an attacker sees, white box (or a full :class:`~mechanisms.protocol.ReleaseSpec`).
    observe
        ``observe(model, deleted) -> array``: what an attacker sees of a model, for example its outputs on the deleted
        records, which are the same ``deleted`` in every world, in the order of the forget set. By default the model
        itself, an array. Say what the rows are by ``ReleaseSpec(outputs=Outputs(kind=...))``: the deleted records
        first, in that order, and then any others.
    calibrate
        ``calibrate(data, forget) -> value``: runs once for each deletion; the value is passed to ``unlearn`` in
        BOTH worlds. It may set the size of the noise. It must not hold what the deleted records did to a model, such as
        the difference of models with and without them: in the reference world ``unlearn`` could add that to a
        retrained model, and an ignored deletion would agree with it. An audit measures how far the reference world is
        from what ``learn(retained)`` returns, and decides nothing where it moves more than half of the way back; less
        than that, or a change in other directions, is reported and not found.
    reference
        With ``RETRAIN_ONLY`` the retrained world releases what ``learn`` returns.
    name
        For reports.
    parameters
        Public hyper-parameters, granted to attacks (``penalty`` enables the influence attack).

    Returns
    -------
    FunctionsMechanism
        For ``audit.run``.

    Raises
    ------
    InvalidInputError
        When ``release`` is neither a shape nor a ``ReleaseSpec``.

    Notes
    -----
    Nothing is called yet: what the functions get wrong shows when a deletion is bound or sampled. Trials are
    independent only if functions keep no state between calls and draw from ``rng`` alone.

    References
    ----------
    Sekhari, Acharya, Kamath, Suresh 2021, "Remember what you want to forget: algorithms for machine unlearning"
    (arXiv:2103.03279), for the world ``retrain_then_unlearn``; Guo, Goldstein, Hannun, van der Maaten 2020, "Certified
    data removal from machine learning models" (arXiv:1911.03030), for ``retrain_only``.

    Examples
    --------
    >>> from_functions(
    ...     learn=lambda data, rng: data.features.T @ data.targets,
    ...     unlearn=lambda model, retained, forget, rng: model + rng.standard_normal(model.shape),
    ...     release=(3, 1),
    ... ).name
    'user_functions'
    """
    if isinstance(release, int):
        release = (release,)
    if not isinstance(release, ReleaseSpec | tuple | list):
        raise InvalidInputError(
            field="release",
            expected="a shape such as (11,), or a ReleaseSpec",
            got=release,
            fix="give the array's shape",
        )
    spec = release if isinstance(release, ReleaseSpec) else ReleaseSpec(shape=tuple(release), access=Access.WHITE_BOX)
    return FunctionsMechanism(
        learn=learn,
        unlearn=unlearn,
        calibrate=calibrate,
        reference=reference,
        release=spec,
        name=name,
        public=dict(parameters or {}),
        observe=observe,
    )
