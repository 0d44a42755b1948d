"""What :func:`~mechanisms.adapters.functions.from_functions` returns: a mechanism that calls the user's functions.

Besides releases it shows an audit which models they came from, and whether a function changed the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.models import OpaqueModelError, fingerprint, numbers_of
from mechanisms.adapters.shapes import flattened
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, UserFunctionError
from mechanisms.protocol import LearnedModels, ReleaseSpec, World
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
LearnFn = Callable[[Dataset, np.random.Generator], Any]
UnlearnFn = Callable[..., Any]
CalibrateFn = Callable[[Dataset, Dataset], Any]
ObserveFn = Callable[[Any, Dataset], Any]
# How often a failure on an empty forget set is tried again before it is called a failure of every call.
_RETRIES = 3


class EmptyForgetSetError(UserFunctionError):
    """The user's ``unlearn`` fails on every empty forget set, which the reference world needs."""


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
        # Before the first call of a user's function.
        sealed = _sealed(data, retained, deleted)
        calibration = () if self.calibrate is None else (self.calibrate(data, deleted),)
        return FunctionsDeletion(
            mechanism=self, data=data, retained=retained, deleted=deleted, calibration=calibration, sealed=sealed
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionsDeletion:
    """One deletion by the user's functions.

    ``calibration`` is empty or holds one value; ``sealed`` has a digest of each array of the data, from the start.
    """

    mechanism: FunctionsMechanism
    data: Dataset
    retained: Dataset
    deleted: Dataset
    calibration: tuple[Any, ...]
    sealed: Mapping[str, bytes]

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
            When ``unlearn`` fails on every empty forget set, and on no other.
        InvalidInputError
            When a release is not of the declared shape, or not finite.
        """
        return np.stack([self._release(world, self._model(world, rng), rng) for _ in range(n)])

    def sample_with_models(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, LearnedModels]:
        """Return the releases of :meth:`sample`, with a fingerprint of the model that each was made from.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`.
        """
        releases, prints, opaque = [], np.zeros(n, dtype=np.uint64), ""
        for i in range(n):
            model = self._model(world, rng)
            if not opaque:
                # Before unlearning, which may change the model in place.
                try:
                    prints[i] = fingerprint(model)
                except OpaqueModelError as error:
                    opaque = str(error)
            releases.append(self._release(world, model, rng))
        return np.stack(releases), LearnedModels(prints=None if opaque else prints, opaque=opaque)

    def learned(self, world: World | None, *, rng: np.random.Generator, nudge: float = 0.0) -> Array:
        """Return the numbers of one model, learned on a world's data; with ``None``, on half of the retained records.

        Parameters
        ----------
        nudge
            All features are multiplied by ``1 + nudge``: every order and every tie stays, those of sums over targets
            too, and no model has been kept for such data.

        Raises
        ------
        UserFunctionError
            When ``learn`` raises.
        OpaqueModelError
            When the model holds no numbers that can be seen.
        """
        data = self.retained if world is World.RETRAINED else self.data
        if world is None:
            data = self.retained.take(range(0, self.retained.n_records, 2))
        if nudge:
            data = replace(data, features=data.features * (1 + nudge))
        return numbers_of(self._learn(data, rng))

    def before_and_after(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, Array] | None:
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
            model = self._model(world, rng)
            try:
                # Before unlearning, which may change the model in place.
                before.append(self._checked(model))
            except Exception:
                return None
            kept = self.data if world is World.NEGLECTED else self.retained
            after.append(self._checked(self._unlearn(model, kept, forget, rng)))
        return np.stack(before), np.stack(after)

    def changed_data(self) -> tuple[str, ...]:
        """Return which arrays of the data are no longer what they were when the deletion was bound, in words."""
        now = _sealed(self.data, self.retained, self.deleted)
        return tuple(name for name, digest in self.sealed.items() if now[name] != digest)

    def _model(self, world: World, rng: np.random.Generator) -> Any:
        return self._learn(self.retained if world is World.RETRAINED else self.data, rng)

    def _release(self, world: World, model: Any, rng: np.random.Generator) -> Array:
        if world is World.UNLEARNED:
            return self._checked(self._unlearn(model, self.retained, self.deleted, rng))
        if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY:
            return self._checked(model)
        retained = self.data if world is World.NEGLECTED else self.retained
        return self._checked(self._unlearn(model, retained, self.data.take(()), rng))

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
            if forget.n_records or not self._never_unlearns_nothing():
                raise UserFunctionError(f"unlearn raised {said}") from error
            raise EmptyForgetSetError(
                f"unlearn failed on an empty forget set ({said}), and not on the deleted records. The reference world "
                "retrain_then_unlearn runs unlearn with the same noise and nothing to delete: return the model plus "
                "that noise when len(forget) == 0, or set reference=Reference.RETRAIN_ONLY."
            ) from error

    def _never_unlearns_nothing(self) -> bool:
        """Return whether ``unlearn`` fails each time with nothing to delete, and works where something is deleted.

        Only asked to explain a failure: one that is rare has another cause than the empty forget set.
        """
        nothing = self.data.take(())
        with_nothing = [self._unlearns(self.retained, self.retained, nothing, seed) for seed in range(_RETRIES)]
        return not any(with_nothing) and self._unlearns(self.data, self.retained, self.deleted, _RETRIES)

    def _unlearns(self, learned: Dataset, retained: Dataset, forget: Dataset, seed: int) -> bool:
        # No release of an audit comes from these generators.
        rng = np.random.default_rng(seed)
        try:
            model = self.mechanism.learn(learned, rng)
            self.mechanism.unlearn(model, retained, forget, rng, *self.calibration)
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
                field="release",
                expected=f"of shape {self.release.shape}, as declared in ReleaseSpec",
                got=f"shape {array.shape}",
                fix="return an array of that shape from unlearn, or declare the true shape; if it differs between "
                "models, ReleaseSpec(shape=(axes + numbers,), axes=axes) audits the shape too",
            )
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
            field="release.outputs.records",
            expected=f"the deleted records in the order of the forget set, {forget}",
            got=declared,
            fix="leave records out: the first rows are then the deleted records, in the order in which observe is "
            "given them",
        )


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if "read-only" in str(error):
        text += " (the data are shared by all trials: change a copy, such as data.features.copy())"
    return text


def _sealed(data: Dataset, retained: Dataset, deleted: Dataset) -> dict[str, bytes]:
    """Return a digest of each array: one pass over the data, where every training makes at least one of its own."""
    parts = {"all records": data, "the retained records": retained, "the deleted records": deleted}
    return {
        f"the {what} of {name}": hashlib.blake2b(np.ascontiguousarray(matrix).data, digest_size=16).digest()
        for name, part in parts.items()
        for what, matrix in (("features", part.features), ("targets", part.targets))
    }
