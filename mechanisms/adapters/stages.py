"""The user's functions as stages: learn models, unlearn a request, release what an attacker sees.

In the flow: :mod:`mechanisms.adapters.deletion` samples by these, one model after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.shapes import flattened
from mechanisms.claim import Reference
from mechanisms.errors import InvalidInputError, UserFunctionError
from mechanisms.protocol import ReleaseSpec
from mechanisms.reading.arrays import real_numbers
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]
# The user's functions name the kind of records that they take.
LearnFn = Callable[[Any, np.random.Generator], Any]
UnlearnFn = Callable[..., Any]
CalibrateFn = Callable[[Any, Any], Any]
ObserveFn = Callable[[Any, Any], Any]
EvaluateFn = Callable[[Any], float]
# How often a failure on an empty forget set is tried again before it is called a failure of every call.
_RETRIES = 3


class EmptyForgetSetError(UserFunctionError):
    """The user's ``unlearn`` fails on every empty forget set, which the reference world needs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionsStages:
    """Learning and unlearning by the user's functions, with everything else frozen.

    Models are a list of what ``learn`` returns.

    Parameters
    ----------
    learn_fn, unlearn_fn, observe_fn
        The user's functions.
    release, reference, public
        Shape of a release, the reference world, and public hyper-parameters.
    data, retained, deleted
        All records; those that no request can hold; the others, in the order in which ``observe`` is given them.
    calibration
        Empty, or the one value that ``unlearn`` is given.
    evaluate_fn
        What a model is good for, as a number, or ``None``.
    at_once
        How many models are made before the next: one, as a user's models may be large, unless ``learn`` learns several
        together (``learn_fn.many(records, n, rng)``).
    """

    learn_fn: LearnFn
    unlearn_fn: UnlearnFn
    observe_fn: ObserveFn | None
    release: ReleaseSpec
    reference: Reference
    data: RecordSet
    retained: RecordSet
    deleted: RecordSet
    calibration: tuple[Any, ...] = ()
    public: Mapping[str, int | float | str] = field(default_factory=dict)
    evaluate_fn: EvaluateFn | None = None
    at_once: int = 1

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the hyper-parameters that the user made public."""
        return self.public

    def learn(self, records: RecordSet, n: int, rng: np.random.Generator) -> list[Any]:
        """Return n models of these records, one call of ``learn`` each.

        Raises
        ------
        UserFunctionError
            When ``learn`` raises.
        """
        made: list[Any] = []
        while len(made) < n:
            made += self._learned(records, min(self.at_once, n - len(made)), rng)
        return made

    def unlearn(
        self, models: Sequence[Any], retained: RecordSet, request: RecordSet, rng: np.random.Generator
    ) -> list[Any]:
        """Return what ``unlearn`` makes of copies of the models: it may change a model in place.

        Raises
        ------
        UserFunctionError
            When ``unlearn`` raises, or a model cannot be copied.
        EmptyForgetSetError
            When it fails on every empty request, and on no other.
        """
        return self.unlearned_in_place([_copy_of(model) for model in models], retained, request, rng)

    def unlearned_in_place(
        self, models: Sequence[Any], retained: RecordSet, request: RecordSet, rng: np.random.Generator
    ) -> list[Any]:
        """Return the models after unlearning; those that are given may be changed."""
        many, made = getattr(self.unlearn_fn, "many", None), []
        for start in range(0, len(models), self.at_once):
            part = models[start : start + self.at_once]
            if many is None or len(part) == 1:
                made += [self.unlearned(model, retained, request, rng) for model in part]
                continue
            with self._explained(request):
                made += many(part, retained, request, rng)
        return made

    def _learned(self, records: RecordSet, n: int, rng: np.random.Generator) -> list[Any]:
        many: Any = getattr(self.learn_fn, "many", None)
        if many is None or n == 1:
            return [self.learned(records, rng) for _ in range(n)]
        try:
            return list(many(records, n, rng))
        except (Exception, SystemExit) as error:
            raise UserFunctionError(f"learn raised {_said(error)}") from error

    def released(self, models: Sequence[Any]) -> Array:
        """Return what an attacker sees of n >= 1 models, shape (n, *release.shape).

        Raises
        ------
        InvalidInputError
            When a release is not of the declared shape, or not finite.
        """
        return np.stack([self.seen(model) for model in models])

    def learned(self, records: RecordSet, rng: np.random.Generator) -> Any:
        """Return one model of these records."""
        try:
            return self.learn_fn(records, rng)
        except (Exception, SystemExit) as error:
            raise UserFunctionError(f"learn raised {_said(error)}") from error

    def unlearned(self, model: Any, retained: RecordSet, request: RecordSet, rng: np.random.Generator) -> Any:
        """Return one model after unlearning; the one that is given may be changed."""
        with self._explained(request):
            return self.unlearn_fn(model, retained, request, rng, *self.calibration)

    @contextmanager
    def _explained(self, request: RecordSet) -> Iterator[None]:
        """Say of what is raised that ``unlearn`` raised it, and whether empty requests are the reason."""
        try:
            yield
        except (Exception, SystemExit) as error:
            said = _said(error)
            if len(request) or not self._never_unlearns_nothing():
                raise UserFunctionError(f"unlearn raised {said}") from error
            raise EmptyForgetSetError(
                f"unlearn failed on an empty forget set ({said}), and not on the deleted records. The reference world "
                "retrain_then_unlearn runs unlearn with the same noise and nothing to delete: return the model plus "
                "that noise when len(forget) == 0, or set reference=Reference.RETRAIN_ONLY."
            ) from error

    def seen(self, model: Any) -> Array:
        """Return what an attacker sees of one model, checked."""
        shown = model if self.observe_fn is None else self.observe_fn(model, self.deleted)
        try:
            # A copy: a mechanism may return the same buffer each time. One layout, so that sums run in one order.
            array = real_numbers(shown, "release", copy=True)
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

    def worth(self, model: Any) -> float:
        """Return what a model is good for.

        Raises
        ------
        UserFunctionError
            When ``evaluate`` raises.
        InvalidInputError
            When it returns no finite number.
        """
        if self.evaluate_fn is None:
            return float("nan")
        try:
            found = self.evaluate_fn(model)
        except (Exception, SystemExit) as error:
            raise UserFunctionError(f"evaluate raised {_said(error)}") from error
        array = real_numbers(found, "what evaluate returns")
        if array.size != 1 or not np.all(np.isfinite(array)):
            raise InvalidInputError(
                field="what evaluate returns",
                expected="one finite number",
                got=f"shape {array.shape}" if array.size != 1 else "NaN or infinity",
                fix="return for example the accuracy on held-out records",
            )
        return float(array.ravel()[0])

    def _never_unlearns_nothing(self) -> bool:
        """Return whether ``unlearn`` fails each time with nothing to delete, and works where something is deleted.

        Only asked to explain a failure: one that is rare has another cause than the empty forget set.
        """
        nothing = self.data.take(())
        with_nothing = [self._unlearns(self.retained, self.retained, nothing, seed) for seed in range(_RETRIES)]
        return not any(with_nothing) and self._unlearns(self.data, self.retained, self.deleted, _RETRIES)

    def _unlearns(self, learned: RecordSet, retained: RecordSet, forget: RecordSet, seed: int) -> bool:
        # No release of an audit comes from these generators.
        rng = np.random.default_rng(seed)
        try:
            model = self.learn_fn(learned, rng)
            self.unlearn_fn(model, retained, forget, rng, *self.calibration)
        except (Exception, SystemExit):
            return False
        return True


def _copy_of(model: Any) -> Any:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise UserFunctionError(
            f"a model that learn returned cannot be copied ({_said(error)}): several requests are served from one model"
        ) from error


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if "read-only" in str(error):
        text += " (the data are shared by all trials: change a copy, such as data.features.copy())"
    return text
