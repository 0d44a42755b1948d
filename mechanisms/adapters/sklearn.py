"""A mechanism from any scikit-learn estimator and the user's function that unlearns.

The estimator is cloned and fitted on all records, or on those that are retained; the user's function unlearns; what is
released are the coefficients (white box) or the model's outputs (black box).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.functions import (
    CalibrateFn,
    FunctionsDeletion,
    FunctionsMechanism,
    LearnFn,
    UnlearnFn,
    from_functions,
)
from mechanisms.adapters.released import Coefficients, Predictions, Released, coefficients_of, targets_for
from mechanisms.adapters.shapes import with_all_classes
from mechanisms.adapters.stages import FunctionsStages
from mechanisms.adapters.tables import TableRecords
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import ReleaseSpec
from mechanisms.serving.stages import validate_requests

Array = NDArray[np.float64]
Learnable = Dataset | TableRecords

__all__ = [
    "Coefficients",
    "EstimatorMechanism",
    "Predictions",
    "Released",
    "coefficients_of",
    "from_estimator",
    "targets_for",
]
# Two fits of the same data may differ by this share of the largest output: threads order sums differently.
_SAME_FIT = 1e-9


@dataclass(frozen=True, kw_only=True)
class EstimatorMechanism:
    """A mechanism made of an estimator and a function; build it with :func:`from_estimator`."""

    estimator: Any
    unlearn: UnlearnFn
    releases: Released
    calibrate: CalibrateFn | None
    reference: Reference
    fit_once: bool
    name: str
    classes: tuple[Any, ...] | None = None
    public: Mapping[str, int | float | str] = field(default_factory=dict)

    def bind(self, data: Learnable, forget: tuple[int, ...]) -> FunctionsDeletion:
        """Fit with and without the forget set to learn the shape of a release, and call ``calibrate`` once.

        Where the two shapes differ, the shape is part of the release (:class:`mechanisms.protocol.ReleaseSpec`).

        Raises
        ------
        InvalidInputError
            For a forget set out of range; when the estimator does not offer what is to be released, or knows classes
            that ``classes`` lacks; with ``fit_once``, when two fits of the same data differ.
        """
        data = _fitted_on(data, self.name)
        fresh = _Fit(estimator=self.estimator)
        bound = self._functions(fresh, ReleaseSpec(shape=())).bind(data, forget)
        # The very objects that trials learn from, so that models that were fitted once are found without a digest.
        retained, deleted = (_fitted_on(part, self.name) for part in (bound.stages.retained, bound.stages.deleted))
        # These generators decide shapes and whether fits agree; no trial draws from them.
        full, without = (fresh(part, np.random.default_rng(0)) for part in (data, retained))
        first, other = self._checked_release(full, deleted), self._seen(without, deleted)
        learn: LearnFn = fresh
        if self.fit_once:
            again = fresh(data, np.random.default_rng(1))
            _check_same_fit(first, self._seen(again, deleted))
            learn = _FittedOnce(fitted=((data, full), (retained, without)), fit=fresh)
        spec, shapes = self._spec(full, first, validate_forget(forget, len(data)), data), {}
        if first.shape != other.shape:
            spec = _of_any_shape(spec, first, other)
            shapes = {"release_shapes": f"{first.shape} with the deleted records, {other.shape} without"}
        mechanism = self._functions(learn, spec, shapes)
        stages = replace(bound.stages, learn_fn=learn, release=spec, public=mechanism.public)
        return replace(bound, stages=stages)

    def bind_pool(self, data: Learnable, pool: tuple[int, ...]) -> FunctionsStages:
        """Fit with and without the whole pool to learn the shape of a release, and call ``calibrate`` once with both.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool.
        """
        return self.bind(data, validate_forget(pool, len(data), field="pool")).stages

    def bind_stream(self, data: Learnable, requests: tuple[tuple[int, ...], ...]) -> FunctionsStages:
        """Bind as :meth:`bind_pool` does, to the records of all requests.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the requests; for a record that is asked for twice.
        """
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def _spec(self, model: Any, release: Array, forget: tuple[int, ...], data: Learnable) -> ReleaseSpec:
        spec = self.releases.spec(model, release, forget)
        if isinstance(data, TableRecords) and isinstance(self.releases, Predictions):
            return replace(spec, outputs=self.releases.outputs(model, release, forget, data.classes))
        return spec

    def _functions(
        self, learn: LearnFn, release: ReleaseSpec, known: Mapping[str, str] | None = None
    ) -> FunctionsMechanism:
        return from_functions(
            learn=learn,
            unlearn=self.unlearn,
            observe=self._observe,
            calibrate=self.calibrate,
            release=release,
            reference=self.reference,
            name=self.name,
            parameters={**self.public, **(known or {})},
        )

    def _observe(self, model: Any, deleted: Learnable) -> Array:
        if not hasattr(model, "get_params"):
            raise InvalidInputError(
                field="unlearn",
                expected="to return the fitted estimator",
                got=type(model).__name__,
                fix="end it with the estimator, as in: return model",
            )
        return self._seen(model, deleted)

    def _seen(self, model: Any, deleted: Learnable) -> Array:
        release = self.releases.of(model, deleted)
        return release if self.classes is None else with_all_classes(release, model, self.classes)

    def _checked_release(self, model: Any, deleted: Learnable) -> Array:
        release = self._seen(model, deleted)
        if not np.all(np.isfinite(release)):
            raise InvalidInputError(
                field="estimator",
                expected="to be fitted to finite outputs",
                got="NaN or infinity",
                fix="scale the features by public constants, or regularise more",
            )
        return release


def _fitted_on(data: Any, name: str) -> Learnable:
    """Return data that an estimator can be fitted on: matrices of numbers, or a table."""
    return data if isinstance(data, TableRecords) else matrices(data, name)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """Learn by fitting a clone anew; every ``random_state`` that is None is drawn from the trial's generator."""

    estimator: Any

    def __call__(self, data: Learnable, rng: np.random.Generator) -> Any:
        from sklearn.base import clone

        model = clone(self.estimator)
        unset = sorted(
            name
            for name, value in model.get_params(deep=True).items()
            if value is None and (name == "random_state" or name.endswith("__random_state"))
        )
        # A state and not an integer seed: among 1e5 trials some 32-bit seeds would be equal, and so would releases.
        model.set_params(**{name: _random_state(rng) for name in unset})
        model.fit(data.features, targets_for(model, data))
        return model


@dataclass(frozen=True, kw_only=True, eq=False)
class _FittedOnce:
    """Learn by copying the model that was fitted on the same records when the deletion was bound; fit on others."""

    fitted: tuple[tuple[Learnable, Any], ...]
    fit: _Fit

    def __call__(self, data: Learnable, rng: np.random.Generator) -> Any:
        for records, model in self.fitted:
            if data is records or (len(data) == len(records) and data.sha256() == records.sha256()):
                # A copy: the user's function may change the model that it is given.
                return copy.deepcopy(model)
        # As when the deletion was bound: fitting is not random, and takes nothing from the trial's generator.
        return self.fit(data, np.random.default_rng(0))


def _of_any_shape(spec: ReleaseSpec, *releases: Array) -> ReleaseSpec:
    """Return a spec with room for releases of several shapes."""
    axes = max(release.ndim for release in releases)
    return replace(spec, shape=(axes + max(release.size for release in releases),), axes=axes, outputs=None)


def _random_state(rng: np.random.Generator) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(rng.integers(0, 2**32, size=8, dtype=np.uint32)))


def _check_same_fit(first: Array, again: Array) -> None:
    if not np.allclose(first, again, rtol=0, atol=_SAME_FIT * max(float(np.abs(first).max(initial=0)), 1e-300)):
        raise InvalidInputError(
            field="fit_once",
            expected="False for an estimator whose fit is random",
            got=f"two fits of the same data with outputs that differ by {np.abs(first - again).max():.3g}",
            fix="leave fit_once out, or give the estimator a deterministic solver",
        )


def from_estimator(
    estimator: Any,
    *,
    unlearn: UnlearnFn,
    releases: Released | None = None,
    calibrate: CalibrateFn | None = None,
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN,
    fit_once: bool = False,
    classes: Sequence[Any] | None = None,
    name: str | None = None,
    parameters: Mapping[str, int | float | str] | None = None,
) -> EstimatorMechanism:
    """Return a mechanism that fits an estimator and calls the user's function to unlearn; it states no certificate.

    Parameters
    ----------
    estimator
        Any estimator with ``fit``: it is cloned, never changed. Every ``random_state`` that is None, in nested
        estimators too, is drawn from the trial's generator. A number that you set is kept: the same in every fit,
        and part of what is audited.
    unlearn
        ``unlearn(fitted_estimator, retained, deleted, rng[, calibration]) -> fitted_estimator``. The data are
        :class:`~mechanisms.dataset.Dataset`, or tables of :func:`from_table` (:func:`targets_for` gives what is
        fitted). It may change the estimator that
        it is given, and must take every random number from ``rng``. In the reference world ``retrain_then_unlearn``
        it is called with the retrained estimator and an empty ``deleted``, and must add the same noise.
    releases
        What an attacker sees: :class:`Coefficients` (default) or :class:`Predictions`.
    calibrate
        ``calibrate(data, deleted) -> value``: runs once for each deletion; the value is passed to ``unlearn`` in
        every world, and must not hold what the deleted records did to a model (as :func:`from_functions`).
    reference
        With ``RETRAIN_ONLY`` the retrained world releases the retrained estimator as it was fitted.
    fit_once
        True when fitting is deterministic: models are then fitted once for each deletion and copied for every trial.
    classes
        All labels that a classifier may know, 0 to q - 1 for the classes of a :class:`~mechanisms.dataset.Dataset`,
        ``table.classes`` for a table.
        Releases then have a column for each: outputs, probabilities or weights 0 where a model does not know a class.
        Without it, deleting the last record of a class gives away the world by the shape of a release, and the audit
        says so: that shape is part of the release.
    name
        For reports; the estimator's class by default.
    parameters
        Public hyper-parameters, granted to attacks (``penalty`` enables the influence attack on Ridge coefficients).

    Returns
    -------
    EstimatorMechanism
        For ``audit.run``.

    Raises
    ------
    InvalidInputError
        When the estimator is not an instance with ``fit`` and ``get_params``.

    Notes
    -----
    Nothing is fitted yet: :meth:`EstimatorMechanism.bind` refuses what cannot be released. Trials are independent only
    if ``unlearn`` keeps no state between calls and draws from ``rng`` alone.

    References
    ----------
    As :func:`~mechanisms.adapters.functions.from_functions`.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> def unlearn(model, retained, deleted, rng):
    ...     model.coef_ = model.coef_ + 0.1 * rng.standard_normal(model.coef_.shape)
    ...     return model
    >>> from_estimator(Ridge(fit_intercept=False), unlearn=unlearn).name
    'Ridge'
    """
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        raise InvalidInputError(
            field="estimator",
            expected="a scikit-learn estimator that is not fitted yet, with fit and get_params",
            got=estimator.__name__ + " (a class)" if isinstance(estimator, type) else type(estimator).__name__,
            fix="pass an instance such as LogisticRegression(), or use from_functions",
        )
    known: dict[str, int | float | str] = {"estimator": type(estimator).__name__, "sampler": "fit and unlearn"}
    return EstimatorMechanism(
        estimator=estimator,
        unlearn=unlearn,
        releases=Coefficients() if releases is None else releases,
        calibrate=calibrate,
        reference=reference,
        fit_once=fit_once,
        classes=None if classes is None else tuple(classes),
        name=type(estimator).__name__ if name is None else name,
        public=known | dict(parameters or {}),
    )
