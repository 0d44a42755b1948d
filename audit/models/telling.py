"""What was found of records, as the data that a result keeps."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from audit.models.examining import Points, Rows, Tests
from audit.records.evidence import EpsilonLowerBound, Tail
from audit.records.models import RecordColumns, RecordDetail
from mechanisms.errors import require
from mechanisms.reading.scalars import whole_number

# Records that are shown in detail, unless more are asked for.
N_DETAILS = 20


def checked_details(details: int) -> int:
    """Return how many records are to be shown in detail.

    Raises
    ------
    InvalidInputError
        For a negative number, or none.
    """
    n = whole_number(details, "details", fix="20 is usual")
    require(n >= 0, "details", expected="at least 0", got=n, fix="20 is usual")
    return n


def columns_of(rows: Rows, names: tuple[str, ...]) -> RecordColumns:
    """Return every record's numbers."""
    return RecordColumns(
        names=names,
        auc=tuple(map(float, rows.auc)),
        auc_se=tuple(map(float, rows.auc_se)),
        p_values=tuple(map(float, rows.p_value)),
        log_e_values=tuple(map(float, rows.log_e)),
        n_unlearned=tuple(map(int, rows.n_unlearned)),
        n_retrained=tuple(map(int, rows.n_retrained)),
    )


def details_of(
    rows: Rows, points: Points, tests: Tests, *, n: int, refuted: Collection[int], listed: Collection[int]
) -> tuple[RecordDetail, ...]:
    """Return the n records with the smallest p-values, with bounds on epsilon."""
    # Of equal p-values, which may lie at the floor of the test, the larger e-value first.
    order = np.lexsort((-rows.log_e, rows.p_value))
    testable = [int(i) for i in order if rows.n_unlearned[i] and rows.n_retrained[i]]
    return tuple(_detail(rows, i, points, tests, refuted=i in refuted, listed=i in listed) for i in testable[:n])


def _detail(rows: Rows, record: int, points: Points, tests: Tests, *, refuted: bool, listed: bool) -> RecordDetail:
    direction, point = points[int(rows.point[record])]
    counts = rows.counts(record)
    tail: Tail = "upper" if rows.upper[record] else "lower"
    return RecordDetail(
        record=record,
        point=point,
        bound=EpsilonLowerBound(
            value=tests.bound(counts, direction, point.delta),
            delta=point.delta,
            direction=direction,
            level=tests.level,
            method="exact_joint",
            attack="u_lira",
            tail=tail,
            threshold=float(rows.threshold[record]),
            counts=counts,
        ),
        p_value=float(rows.p_value[record]),
        log_e_value=float(rows.log_e[record]),
        refuted=refuted,
        listed=listed,
    )
