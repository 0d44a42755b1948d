"""What a user should know of data before anything is learned: how targets were read, features that look wrong.

Sentences and nothing else: no value is changed. A leaf.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# In fewer records distinct whole numbers may be chance.
_MIN_RECORDS = 20
# The curvature of such a feature is a million times that of the others: more than any number of steps that is usual.
_UNLIKE = 1e3
_MOST_NAMED = 5


def feature_notes(features: Array, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return a sentence on features that look like identifiers, and one on features in far larger units than the rest.

    Parameters
    ----------
    features
        Shape (n, p), as they were given.
    names
        Of the columns, where they are known; they are numbered from 1 otherwise.
    """
    n, p = features.shape
    if n < _MIN_RECORDS:
        return ()
    named = [f"column {i + 1}" for i in range(p)] if names is None else [f"column {name}" for name in names]
    whole = np.all(features == np.round(features), axis=0)
    identifiers = [named[i] for i in np.flatnonzero(whole) if len(np.unique(features[:, i])) == n]
    large = [named[i] for i in _unlike(features)]
    found = []
    if identifiers:
        found.append(
            f"features: {_listed(identifiers)}: distinct whole numbers, as of an index or ID. A model learns from them "
            "as from any feature; remove them if they only name records."
        )
    if large:
        found.append(
            f"features: {_listed(large)}: values more than {_UNLIKE:,.0f} times as large as those of the others. One "
            "step size then fits no other feature; divide by a public constant."
        )
    return tuple(found)


def _unlike(features: Array) -> list[int]:
    sizes = np.sqrt(np.mean((features / max(float(np.abs(features).max()), 1e-300)) ** 2, axis=0))
    used = np.flatnonzero(sizes > 0)
    return [int(i) for i in used if len(used) > 1 and sizes[i] > _UNLIKE * np.median(sizes[used[used != i]])]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def target_note(targets: Array, *, as_classes: bool, most_classes: int) -> tuple[str, ...]:
    """Return how whole-numbered targets were read when nobody said what they are; nothing where it is plain.

    Parameters
    ----------
    targets
        Shape (n, q), as they were given.
    as_classes
        What was decided.
    most_classes
        Up to how many distinct values are read as classes.
    """
    if targets.shape[1] > 1 or np.any(targets != np.round(targets)):
        return ()
    values = np.unique(targets)
    shown = ", ".join(f"{value:g}" for value in values[:_MOST_NAMED]) + (", ..." if len(values) > _MOST_NAMED else "")
    if as_classes:
        return (
            f"targets: {len(values)} distinct whole numbers ({shown}) are read as class labels; "
            'say kind = "regression" if they are quantities.',
        )
    return (
        f"targets: {len(values):,} distinct whole numbers ({shown}), more than {most_classes}, are read as quantities; "
        'say kind = "classification" if they are class labels.',
    )
