"""Records for human eyes: an image where the data are images, else the leading feature values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.records.evidence import Preview
from mechanisms.dataset import Dataset
from mechanisms.reading.records import RecordSet

N_VALUES = 12
# Of a larger forget set the first ones.
MAX_PREVIEWS = 4


def make_previews(data: RecordSet, records: Sequence[int]) -> tuple[Preview, ...]:
    """Return a preview of each named record; none of records that are no matrices of numbers."""
    if not isinstance(data, Dataset):
        return ()
    n_values = math.prod(data.image_shape) if data.image_shape else min(data.features.shape[1], N_VALUES)
    return tuple(
        Preview(
            record=record,
            target=_target(data, record),
            image_shape=data.image_shape,
            values=tuple(float(v) for v in data.features[record, :n_values]),
        )
        for record in records
    )


def previews_of(data: RecordSet, forget: Sequence[int]) -> tuple[Preview, ...]:
    """Return previews of a forget set: of its first records where it is large."""
    return make_previews(data, forget[:MAX_PREVIEWS])


def _target(data: Dataset, record: int) -> str:
    target = data.targets[record]
    return str(int(target.argmax())) if data.kind == "classification" else f"{float(target[0]):.4g}"
