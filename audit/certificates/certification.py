"""Certificates of many records as data: what the commands ``certify`` and ``calibrate`` compute and reports render.

No audit takes place here: these are numbers that follow from a mechanism's laws and formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.records import json_text
from audit.records.evidence import Preview
from audit.records.ledger import DataRecord, Environment
from mechanisms.claim import JSON_CONFIG

CERTIFICATION_SCHEMA: Literal["unlearn-audit/certification/1"] = "unlearn-audit/certification/1"


@dataclass(frozen=True, kw_only=True)
class RecordRow:
    """The exact certificate of one record.

    Parameters
    ----------
    record, difficulty
        Index, and |residual| sqrt(h / (1 - h)) of the ridge fit (h the leverage).
    sigma_unlearn
        Noise per unlearning step at which the row holds: the plan's, or calibrated for this record.
    epsilon_unlearned_from_retrained, epsilon_retrained_from_unlearned
        Exact epsilon at the certification's delta in each direction, rounded up.
    epsilon_without_unlearning
        The larger direction's epsilon of the learning noise alone.
    """

    __pydantic_config__ = JSON_CONFIG
    record: int
    difficulty: float
    sigma_unlearn: float
    epsilon_unlearned_from_retrained: float
    epsilon_retrained_from_unlearned: float
    epsilon_without_unlearning: float

    @property
    def epsilon(self) -> float:
        """The larger of the two directions."""
        return max(self.epsilon_unlearned_from_retrained, self.epsilon_retrained_from_unlearned)


@dataclass(frozen=True, kw_only=True)
class RouteRow:
    """One record by one route.

    Parameters
    ----------
    record, label
        Index, and a word such as "hardest" (may be empty).
    route
        "exact", "repaired", "published", "uniform", "pool" or "downdate".
    sigma_unlearn
        With a target: the smallest noise whose epsilon by this route meets it (0: the learning noise alone does).
        Without: the plan's noise.
    epsilon
        Epsilon by this route at ``sigma_unlearn``.
    exact_epsilon
        The exact value at the same noise.
    accuracy
        Mean score of unlearned models on held-out records (accuracy, or R squared for regression), or ``None``.
    note
        A sentence for readers, may be empty.
    accuracies
        The score of each model of that mean; none where the model is not random.
    """

    __pydantic_config__ = JSON_CONFIG
    record: int
    label: str
    route: str
    sigma_unlearn: float
    epsilon: float
    exact_epsilon: float
    accuracy: float | None
    note: str = ""
    accuracies: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Certification:
    """Exact certificates of records, and a comparison of routes for some of them.

    Parameters
    ----------
    title, mechanism, parameters, data
        What was certified.
    delta, target_epsilon
        All epsilons are at this delta; the target is ``None`` when the noise is given and not calibrated.
    rows
        One a record, by record index.
    routes
        The routes' comparison for a selection of records.
    previews
        The records that are shown: those of ``routes`` and the ten costliest and cheapest of ``rows``.
    assumptions
        For each route, what it rests on.
    seed
        Of the models whose accuracies are averaged: with equal seeds, two certifications drew equal random numbers.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    parameters: Mapping[str, int | float | str]
    data: DataRecord
    delta: float
    target_epsilon: float | None
    rows: tuple[RecordRow, ...]
    routes: tuple[RouteRow, ...]
    previews: tuple[Preview, ...]
    assumptions: Mapping[str, tuple[str, ...]]
    environment: Environment
    seed: int | None = None
    schema: Literal["unlearn-audit/certification/1"] = CERTIFICATION_SCHEMA

    def to_json(self) -> str:
        """Return the certification as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> Certification:
        """Return the certification that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, Certification, schemas=(CERTIFICATION_SCHEMA,))
