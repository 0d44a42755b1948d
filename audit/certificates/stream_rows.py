"""Certificates of a stream of requests as data: what ``certify`` and ``calibrate`` compute for ``[records] stream``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from audit.records import json_text
from audit.records.ledger import DataRecord, Environment
from mechanisms.claim import JSON_CONFIG

STREAM_SCHEMA: Literal["unlearn-audit/stream/1"] = "unlearn-audit/stream/1"


@dataclass(frozen=True, kw_only=True)
class ReleaseRow:
    """The release after one request, alone.

    Parameters
    ----------
    request
        Its number, from 1.
    records
        What it asks to delete; none where that is withheld.
    n_records, n_deleted
        How many that are, and how many records are gone with it.
    sigma_unlearn
        Noise of each step of its phase; ``None`` where it is withheld, or nothing is asked for.
    epsilon
        At the certification's delta, the larger direction, rounded up; ``None`` where it is withheld.
    meets_target
        Whether epsilon is at most the target; ``None`` without one.
    """

    __pydantic_config__ = JSON_CONFIG
    request: int
    records: tuple[int, ...]
    n_records: int
    n_deleted: int
    sigma_unlearn: float | None
    epsilon: float | None
    meets_target: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StreamCertification:
    """Exact certificates of the releases of a stream, each of its release alone.

    Parameters
    ----------
    title, mechanism, parameters, data
        What was certified.
    delta, target_epsilon
        Every epsilon is at this delta; the target is ``None`` where the noise is given.
    rows
        One a request, in order.
    assumptions
        What every row rests on.
    redacted
        Whether records, noise and epsilons were withheld.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    parameters: Mapping[str, int | float | str]
    data: DataRecord
    delta: float
    target_epsilon: float | None
    rows: tuple[ReleaseRow, ...]
    assumptions: tuple[str, ...]
    environment: Environment
    redacted: bool = False
    schema: Literal["unlearn-audit/stream/1"] = STREAM_SCHEMA

    def to_json(self) -> str:
        """Return the certification as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> StreamCertification:
        """Return the certification that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, StreamCertification, schemas=(STREAM_SCHEMA,))

    def without_records(self) -> StreamCertification:
        """Return a copy without records, noise, epsilons and words that may name them; sizes and verdicts stay."""
        rows = tuple(replace(row, records=(), sigma_unlearn=None, epsilon=None) for row in self.rows)
        return replace(
            self,
            title=f"Certificates of a stream by {self.mechanism} on {self.data.name}",
            rows=rows,
            environment=replace(self.environment, command=None),
            redacted=True,
        )
