"""What :func:`~mechanisms.adapters.functions.from_functions` returns: a mechanism that calls the user's functions.

Besides releases it shows an audit which models they came from, and whether a function changed the data.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.models import OpaqueModelError, fingerprint, numbers_of
from mechanisms.adapters.stages import CalibrateFn, EvaluateFn, FunctionsStages, LearnFn, ObserveFn, UnlearnFn
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, NotApplicableError
from mechanisms.protocol import LearnedModels, ReleaseSpec, World
from mechanisms.reading.records import RecordSet, require_records
from mechanisms.serving.stages import validate_requests

Array = NDArray[np.float64]


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
    evaluate: EvaluateFn | None = None

    def bind(self, data: RecordSet, forget: tuple[int, ...]) -> FunctionsDeletion:
        """Call ``calibrate`` once and freeze its value for all worlds.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, data that are no set of records, or outputs that are declared in another
            order than the deleted records.
        """
        require_records(data)
        forget = validate_forget(forget, len(data))
        _check_order(self.release, forget)
        retained, deleted = data.without(forget), data.take(forget)
        # Before the first call of a user's function.
        sealed = _sealed(data, retained, deleted)
        return FunctionsDeletion(stages=self._stages(data, retained, deleted), sealed=sealed)

    def bind_pool(self, data: RecordSet, pool: tuple[int, ...]) -> FunctionsStages:
        """Call ``calibrate(data, records of the pool)`` once; ``observe`` is shown the whole pool, in this order.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool.
        """
        require_records(data)
        pool = validate_forget(pool, len(data), field="pool")
        _check_order(self.release, pool)
        return self._stages(data, data.without(pool), data.take(pool))

    def bind_stream(self, data: RecordSet, requests: tuple[tuple[int, ...], ...]) -> FunctionsStages:
        """Call ``calibrate`` once with the records of all requests, in order; ``observe`` is shown all of them.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the requests; for a record that is asked for twice.
        """
        require_records(data)
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def _stages(self, data: RecordSet, retained: RecordSet, deleted: RecordSet) -> FunctionsStages:
        chunk_for: Any = getattr(self.learn, "chunk_for", None)
        return FunctionsStages(
            learn_fn=self.learn,
            unlearn_fn=self.unlearn,
            observe_fn=self.observe,
            release=self.release,
            reference=self.reference,
            data=data,
            retained=retained,
            deleted=deleted,
            calibration=() if self.calibrate is None else (self.calibrate(data, deleted),),
            public=self.public,
            evaluate_fn=self.evaluate,
            at_once=1 if chunk_for is None else int(chunk_for(data)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionsDeletion:
    """One deletion by the user's functions; ``sealed`` has a digest of each part of the data, from the start."""

    stages: FunctionsStages
    sealed: Mapping[str, bytes]

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.stages.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.stages.reference

    @property
    def at_once(self) -> int:
        """How many models are made before the next."""
        return self.stages.at_once

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the hyper-parameters that the user made public."""
        return self.stages.public

    def learn(self, records: RecordSet, n: int, rng: np.random.Generator) -> list[Any]:
        """Return n models of these records."""
        return self.stages.learn(records, n, rng)

    def unlearn(self, models: list[Any], retained: RecordSet, request: RecordSet, rng: np.random.Generator) -> Any:
        """Return the models without the requested records."""
        return self.stages.unlearn(models, retained, request, rng)

    def released(self, models: list[Any]) -> Array:
        """Return what an attacker sees of the models."""
        return self.stages.released(models)

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
        return np.stack(
            [
                self.stages.seen(model)
                for models in self._learned(world, n, rng)
                for model in self._unlearned(world, models, rng)
            ]
        )

    def sample_with_models(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, LearnedModels]:
        """Return the releases of :meth:`sample`, with a fingerprint of the model that each was made from.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`.
        """
        return self._sampled(world, n, rng, lambda models: None)

    def sample_with_learned(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, LearnedModels]:
        """Return what :meth:`sample_with_models` does, with the models as they would be released before unlearning.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`.
        """
        return self._sampled(world, n, rng, self.released_learned)

    def released_learned(self, models: list[Any]) -> Array | None:
        """Return what an attacker would see of learned models, which stay as they are; ``None`` where they cannot be.

        Copies are looked at: to observe a model may change it.
        """
        try:
            return self.stages.released([copy.deepcopy(model) for model in models])
        except Exception:
            return None

    def _sampled(
        self, world: World, n: int, rng: np.random.Generator, show: Callable[[list[Any]], Array | None]
    ) -> tuple[Array, LearnedModels]:
        """Return releases, and of each model a fingerprint and what is shown of it."""
        releases: list[Array] = []
        prints: list[int] = []
        shown: list[Array | None] = []
        opaque = ""
        for models in self._learned(world, n, rng):
            # Before unlearning, which may change the models in place.
            if not opaque:
                try:
                    prints += [fingerprint(model) for model in models]
                except OpaqueModelError as error:
                    opaque = str(error)
            shown.append(show(models))
            releases += [self.stages.seen(model) for model in self._unlearned(world, models, rng)]
        known = None if opaque else np.array(prints, dtype=np.uint64)
        before = [each for each in shown if each is not None]
        released = np.concatenate(before) if len(before) == len(shown) else None
        return np.stack(releases), LearnedModels(prints=known, opaque=opaque, released=released)

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
        NotApplicableError
            For a nudge of records that are no matrices of numbers.
        """
        stages = self.stages
        data = stages.retained if world is World.RETRAINED else stages.data
        if world is None:
            data = stages.retained.take(range(0, len(stages.retained), 2))
        if nudge:
            if not isinstance(data, Dataset):
                raise NotApplicableError("records that are no matrices of numbers cannot be moved by a rounding")
            data = replace(data, features=data.features * (1 + nudge))
        return numbers_of(stages.learned(data, rng))

    def before_and_after(self, world: World, n: int, *, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """Return n models of a world as ``learn`` and then ``unlearn`` return them, shape (n, *release.shape) each.

        ``None`` where what ``learn`` returns is no release.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`.
        """
        before: list[Array] = []
        after: list[Array] = []
        stages = self.stages
        for models in self._learned(world, n, rng):
            try:
                # Before unlearning, which may change the models in place.
                before += [stages.seen(model) for model in models]
            except Exception:
                return None
            gone = stages.unlearned_in_place(models, *self._asked(world), rng)
            after += [stages.seen(model) for model in gone]
        return np.stack(before), np.stack(after)

    def utility(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return what each of n models of a world is good for, shape (n,); ``None`` where no function was given.

        Raises
        ------
        UserFunctionError, EmptyForgetSetError, InvalidInputError
            As :meth:`sample`, and when the function raises or returns no finite number.
        """
        stages = self.stages
        if stages.evaluate_fn is None:
            return None
        learned = self._learned(world, n, rng)
        return np.array([stages.worth(model) for models in learned for model in self._unlearned(world, models, rng)])

    def changed_data(self) -> tuple[str, ...]:
        """Return which parts of the data are no longer what they were when the deletion was bound, in words."""
        now = _sealed(self.stages.data, self.stages.retained, self.stages.deleted)
        return tuple(name for name, digest in self.sealed.items() if now[name] != digest)

    def _learned(self, world: World, n: int, rng: np.random.Generator) -> Iterator[list[Any]]:
        """Yield n models of a world as they are learned, as many as are made at once."""
        stages = self.stages
        records = stages.retained if world is World.RETRAINED else stages.data
        for start in range(0, n, self.at_once):
            yield stages.learn(records, min(self.at_once, n - start), rng)

    def _unlearned(self, world: World, models: list[Any], rng: np.random.Generator) -> list[Any]:
        """Return what a world releases of learned models, which may be changed."""
        if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY:
            return models
        return self.stages.unlearned_in_place(models, *self._asked(world), rng)

    def _asked(self, world: World) -> tuple[RecordSet, RecordSet]:
        """Return the records that stay in a world, and the request."""
        stages = self.stages
        request = stages.deleted if world is World.UNLEARNED else stages.data.take(())
        return stages.data if world is World.NEGLECTED else stages.retained, request


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


def _sealed(data: RecordSet, retained: RecordSet, deleted: RecordSet) -> dict[str, bytes]:
    """Return a digest of each array, or of each set of other records.

    One pass over the data, where every training makes at least one of its own.
    """
    sealed = {}
    for name, part in {"all records": data, "the retained records": retained, "the deleted records": deleted}.items():
        if not isinstance(part, Dataset):
            sealed[name] = part.sha256().encode()
            continue
        for what, matrix in (("features", part.features), ("targets", part.targets)):
            whole = np.ascontiguousarray(matrix).data
            sealed[f"the {what} of {name}"] = hashlib.blake2b(whole, digest_size=16).digest()
    return sealed
