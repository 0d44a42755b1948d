"""Certificates that outlive a command: the rows of a store hold what was computed, record by record.

In the flow: :mod:`audit.certificates.certifying` asks here before it computes, and puts here what it has computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.certificates.certification import RouteRow
from audit.trials.rows import Row, RowKey, text_of
from audit.trials.store import Store
from mechanisms.claim import BOTH_DIRECTIONS

Array = NDArray[np.float64]
Assumptions = dict[str, tuple[str, ...]]
_WORLD = "records"
_EPSILONS = tuple(direction.value for direction in BOTH_DIRECTIONS)
# By the number of columns of the two maps of :mod:`mechanisms.ridge.privacy_map`.
_COLUMNS = {
    7: (*_EPSILONS, *(f"{name}, without unlearning" for name in _EPSILONS), "error", "error, without unlearning",
        "difficulty"),
    5: ("noise", *_EPSILONS, "epsilon without unlearning", "difficulty"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRows:
    """The rows of a map by their chunk, each on disk before anybody sees it."""

    store: Store

    def get(self, chunk: int, /) -> Array | None:
        """Return the rows of a chunk of records, or ``None``."""
        row = self.store.read(_key("map", 0, chunk))
        return None if row is None else np.column_stack(list(row.scored().values()))

    def __setitem__(self, chunk: int, rows: Array, /) -> None:
        """Store the rows of a chunk of records."""
        names = _COLUMNS.get(rows.shape[1]) or tuple(map(str, range(rows.shape[1])))
        row = Row(
            **asdict(_key("map", 0, chunk)),
            n=len(rows),
            attacks=json.dumps([text_of((("certificate", 0), name)) for name in names]),
            scores=np.ascontiguousarray(rows.T, dtype="<f8").tobytes(),
        )
        self.store.put(row).result()


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRoutes:
    """The compared routes of a record, by its place among those that are compared."""

    store: Store

    def get(self, place: int, record: int) -> tuple[list[RouteRow], Assumptions] | None:
        """Return a record's routes and what each assumes, or ``None``."""
        row = self.store.read(_key("routes", record, place))
        if row is None:
            return None
        said = json.loads(row.opaque)
        routes = [RouteRow(**{**fields, "accuracies": tuple(fields["accuracies"])}) for fields in said["routes"]]
        return routes, {name: tuple(sentences) for name, sentences in said["assumptions"].items()}

    def put(
        self, place: int, record: int, routes: Sequence[RouteRow], assumptions: Mapping[str, Sequence[str]]
    ) -> None:
        """Store a record's routes."""
        said: dict[str, Any] = {"routes": [asdict(row) for row in routes], "assumptions": dict(assumptions)}
        self.store.put(Row(**asdict(_key("routes", record, place)), n=0, opaque=json.dumps(said))).result()


def _key(step: str, record: int, chunk: int) -> RowKey:
    return RowKey(step=step, stream="certificates", world=_WORLD, record=record, chunk=chunk)
