"""What an attacker sees of a fitted scikit-learn estimator: its coefficients, or its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.adapters.tables import TableRecords
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Access, OutputKind, Outputs, ReleaseSpec
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
OutputMethod = Literal["predict_proba", "decision_function", "predict"]


class Released(Protocol):
    """What an attacker sees of a fitted estimator: :class:`Coefficients` or :class:`Predictions`."""

    def of(self, model: Any, deleted: Any) -> Array:
        """Return the release of a fitted estimator."""
        ...

    def spec(self, model: Any, release: Array, forget: tuple[int, ...]) -> ReleaseSpec:
        """Return shape and kind of a release, from the release of a fitted estimator and the deleted records."""
        ...


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """White box: ``coef_`` as columns, shape (p, q), with the intercept as a last row where one is fitted.

    Parameters
    ----------
    continuous
        False for a service without any randomness: its releases are equal, and that is no defect of the sampling.
    """

    continuous: bool = True

    def of(self, model: Any, deleted: Any) -> Array:
        """Return the coefficients."""
        return coefficients_of(model)

    def spec(self, model: Any, release: Array, forget: tuple[int, ...]) -> ReleaseSpec:
        """Return a white-box release of that shape."""
        return ReleaseSpec(shape=release.shape, access=Access.WHITE_BOX, continuous=self.continuous)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Black box: a method's outputs, first on the deleted records, then on a probe set.

    A release has a row for each record that is asked about and a column for each output; labels have no columns.

    Parameters
    ----------
    method
        "predict_proba", "decision_function" or "predict" (values, or the positions of labels).
    probe
        Features of further records that an attacker asks about, shape (m, p), or a table with the same columns;
        ``None`` for the deleted ones alone.
    continuous
        Whether independent releases never have equal outputs; by default true unless labels are released. False for
        estimators whose outputs take few values, such as trees, and for a service without any randomness.
    """

    method: OutputMethod
    probe: ArrayLike | None = None
    continuous: bool | None = None

    def __post_init__(self) -> None:
        require(
            self.method in get_args(OutputMethod),
            "method",
            expected=f"one of {', '.join(get_args(OutputMethod))}",
            got=repr(self.method),
            fix="choose what the service answers with",
        )

    def of(self, model: Any, deleted: Dataset | TableRecords) -> Array:
        """Return the outputs; labels of a table as their positions among its classes.

        Raises
        ------
        InvalidInputError
            When the estimator lacks the method, or its outputs are not one matrix of numbers.
        """
        answer = getattr(model, self.method, None)
        if answer is None:
            offered = [name for name in get_args(OutputMethod) if hasattr(model, name)]
            raise InvalidInputError(
                field="releases.method",
                expected=f"a method of a fitted {type(model).__name__} ({', '.join(offered) or 'it has none'})",
                got=repr(self.method),
                fix="name another method, or set what enables it, as probability=True",
            )
        outputs = answer(self._asked(deleted))
        if isinstance(deleted, TableRecords) and self._labels(model):
            outputs = deleted.positions(outputs)
        # Several targets make a list of matrices.
        several = isinstance(outputs, list) and any(np.ndim(output) > 1 for output in outputs)
        matrix = np.empty(()) if several else real_numbers(outputs, "releases")
        if matrix.ndim not in (1, 2):
            raise InvalidInputError(
                field="releases",
                expected=f"one matrix of numbers from {self.method}",
                got=f"{type(outputs).__name__} of {type(model).__name__}",
                fix="fit one target, or wrap the estimator so that it returns one array",
            )
        # Labels have no column axis (mechanisms.protocol.Outputs).
        return matrix if self._labels(model) and matrix.ndim == 1 else matrix.reshape(len(matrix), -1)

    def spec(self, model: Any, release: Array, forget: tuple[int, ...]) -> ReleaseSpec:
        """Return a black-box release of that shape, with what its rows and columns are where that is known."""
        columns = release.shape[1] if release.ndim > 1 else 1
        classes = tuple(range(max(columns, 2)))
        return ReleaseSpec(
            shape=release.shape,
            access=Access.BLACK_BOX,
            continuous=not self._labels(model) if self.continuous is None else self.continuous,
            outputs=self.outputs(model, release, forget, classes),
        )

    def outputs(self, model: Any, release: Array, forget: tuple[int, ...], classes: tuple[Any, ...]) -> Outputs | None:
        """Return what rows and columns are, where the model's classes are these, in order; ``None`` where not known."""
        kind = self._kind(model, release, classes)
        records = (*forget, *[-1] * (len(release) - len(forget)))
        return None if kind is None else Outputs(records=records, kind=kind)

    def _labels(self, model: Any) -> bool:
        from sklearn.base import is_classifier

        return self.method == "predict" and is_classifier(model)

    def _kind(self, model: Any, release: Array, classes: tuple[Any, ...]) -> OutputKind | None:
        from sklearn.base import is_classifier, is_regressor

        if self._labels(model):
            return "labels" if release.ndim == 1 else None
        if self.method == "predict":
            return "values" if is_regressor(model) else None
        # A column for each class in order, or one for the second of two; for each pair of classes is something else.
        columns = release.shape[1]
        fits = columns == len(classes) or (columns == 1 and len(classes) == 2)
        if not is_classifier(model) or not fits or list(model.classes_) != list(classes):
            return None
        return "probabilities" if self.method == "predict_proba" else "logits"

    def _asked(self, deleted: Dataset | TableRecords) -> Any:
        if self.probe is None:
            return deleted.features
        if isinstance(deleted, TableRecords):
            return _joined(deleted.features, self.probe)
        probe = real_numbers(self.probe, "releases.probe")
        p = deleted.features.shape[1]
        if probe.ndim != 2 or probe.shape[1] != p or not np.all(np.isfinite(probe)):
            raise InvalidInputError(
                field="releases.probe",
                expected=f"finite features of shape (m, {p})",
                got=f"shape {probe.shape}",
                fix="give the features of records like those of the data",
            )
        return np.concatenate([deleted.features, probe])


def _joined(features: Any, probe: Any) -> Any:
    """Return a table with the rows of both."""
    import pandas as pd

    if not isinstance(probe, pd.DataFrame) or list(probe.columns) != list(features.columns):
        raise InvalidInputError(
            field="releases.probe",
            expected=f"a table with the columns {list(features.columns)}",
            got=f"columns {list(probe.columns)}" if isinstance(probe, pd.DataFrame) else f"a {type(probe).__name__}",
            fix="give rows of the table without its target",
        )
    return pd.concat([features, probe])


def targets_for(estimator: Any, data: Dataset | TableRecords) -> Any:
    """Return the targets that an estimator is fitted on.

    Parameters
    ----------
    estimator
        A classifier gets labels, 0 to q - 1 for one-hot columns; any other estimator the target columns.
    data
        The records.

    Returns
    -------
    NDArray or Series
        Shape (n,), or (n, q) for several columns of numbers; of a table the target as it is.
    """
    from sklearn.base import is_classifier

    targets = data.targets
    if isinstance(data, TableRecords):
        return targets
    if is_classifier(estimator) and targets.shape[1] > 1:
        labels: NDArray[Any] = targets.argmax(axis=1)
        return labels
    return targets[:, 0] if targets.shape[1] == 1 else targets


def coefficients_of(model: Any) -> Array:
    """Return a fitted linear model's coefficients as columns, shape (p, q), with the intercept as a last row if fitted.

    Raises
    ------
    InvalidInputError
        When the model has no ``coef_``.
    """
    if not hasattr(model, "coef_"):
        raise InvalidInputError(
            field="estimator",
            expected="a linear model with coef_ after fit",
            got=type(model).__name__,
            fix="use for example Ridge, LinearRegression or LogisticRegression, not a pipeline, or release answers by "
            'releases=Predictions(method="predict_proba")',
        )
    weights = np.atleast_2d(real_numbers(model.coef_, "coef_")).T
    if getattr(model, "fit_intercept", False):
        intercept = np.broadcast_to(real_numbers(model.intercept_, "intercept_").ravel(), (weights.shape[1],))
        weights = np.vstack([weights, intercept])
    return weights
