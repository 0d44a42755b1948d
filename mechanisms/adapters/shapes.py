"""Releases that differ in shape, and models that know fewer classes than others: what makes them comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError
from mechanisms.protocol import ReleaseSpec

Array = NDArray[np.float64]


def flattened(array: Array, spec: ReleaseSpec) -> Array:
    """Return the lengths of an array's axes, then its numbers, then zeros, as a spec with ``axes`` declares.

    Raises
    ------
    InvalidInputError
        When the array has more axes, or more numbers, than the spec has room for.
    """
    room = spec.shape[0] - spec.axes
    if array.ndim > spec.axes or array.size > room:
        raise InvalidInputError(
            field="release",
            expected=f"at most {spec.axes} axes and {room} numbers, as declared in ReleaseSpec",
            got=f"shape {array.shape}",
            fix="declare ReleaseSpec(shape=(axes + numbers,), axes=axes) with room for all, "
            f"at least ({array.ndim + array.size},) and {array.ndim}",
        )
    flat = np.zeros(spec.shape[0])
    flat[: array.ndim] = array.shape
    flat[spec.axes : spec.axes + array.size] = array.ravel()
    return flat


def with_all_classes(release: Array, model: Any, classes: Sequence[Any]) -> Array:
    """Return a classifier's release with a column for each of the named classes, zeros for those it does not know.

    Parameters
    ----------
    release
        Shape (rows, columns): a column for each of the model's classes in order, or one for the second of two. Labels,
        shape (rows,), have no columns and stay as they are.
    model
        Fitted; its ``classes_`` are the classes that it knows.
    classes
        All classes, distinct.

    Raises
    ------
    InvalidInputError
        When the model knows a class that is not named, or has no column for each of its own.
    """
    known = list(getattr(model, "classes_", ()))
    unnamed = [label for label in known if label not in classes]
    if not known or unnamed:
        raise InvalidInputError(
            field="classes",
            expected="every class that the estimator may know",
            got=f"{tuple(classes)} for a {type(model).__name__} with classes {known}",
            fix="name all classes by the labels that it is fitted on, 0 to q - 1; other estimators have none",
        )
    if release.ndim == 1:
        return release
    if release.shape[1] == 1 and len(known) == 2:
        if len(classes) == 2:
            return release
        # Of two classes a linear model has the second one's weights, which are those against 0 for the first.
        release = np.hstack([np.zeros_like(release), release])
    if release.shape[1] != len(known):
        raise InvalidInputError(
            field="classes",
            expected=f"one column for each of the model's {len(known)} classes",
            got=f"releases of shape {release.shape}",
            fix="leave classes out, or release another method's outputs",
        )
    full = np.zeros((len(release), len(classes)))
    full[:, [list(classes).index(label) for label in known]] = release
    return full
