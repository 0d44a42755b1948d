"""Certificates without records: what is left of many when every number of a single record is withheld.

In the flow: commands ask here before anything is written, so that every format withholds the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.records import json_text
from audit.records.ledger import DataRecord, Environment
from audit.records.words.rounding import as_float, nearest, up
from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import require

SHARES_SCHEMA: Literal["unlearn-audit/shares/1"] = "unlearn-audit/shares/1"
# A mean of fewer nearly gives away each, and a share with fewer beyond it is the number of one of a known few.
FEWEST = 20
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
# A share is the number of some record: so coarse it is that of many.
DIGITS = 2
LARGEST_PART = 1 / 3
# Values that agree to so many digits are the same: noise is calibrated to a target only nearly.
SAME = 6
# Routes that price a record by itself. Uniform and pool are of the record that asks for most; downdate is always 0.
OWN_ROUTES = ("exact", "repaired", "published")
Measure = Literal["epsilon", "epsilon_without_unlearning", "sigma_unlearn"]
# A figure in a sentence, but not the number of a paper.
_FIGURE = re.compile(r"(?<![\w:.])\d(?:[\d.,]*\d|e[-+]?\d)")


@dataclass(frozen=True, kw_only=True)
class Share:
    """The value, rounded up to two digits, that a share of the records does not exceed."""

    __pydantic_config__ = JSON_CONFIG
    share: float
    value: float


@dataclass(frozen=True, kw_only=True)
class MeasureShares:
    """One number of every record, over all of them.

    Parameters
    ----------
    measure
        Epsilon with unlearning, epsilon of the learning noise alone, or the noise of an unlearning step.
    n_finite
        Of how many records it is finite; the mean is over these.
    mean
        Rounded up to two digits; ``None`` where it would give away a few: of fewer than 20 records, where fewer than 20
        differ from all others, or one makes up more than a third of the sum.
    shares
        Those with at least 20 records beyond on both sides; the records where it is infinite count as the largest.
    """

    __pydantic_config__ = JSON_CONFIG
    measure: Measure
    n_finite: int
    mean: float | None
    shares: tuple[Share, ...]


@dataclass(frozen=True, kw_only=True)
class RouteMean:
    """What a route asks for, on average over the records whose routes were compared and for which it is finite.

    Parameters
    ----------
    route
        "exact", "repaired" or "published".
    n_records
        At least 20.
    sigma_unlearn, epsilon
        Means, rounded up to two digits; ``None`` where one would give away a few records.
    """

    __pydantic_config__ = JSON_CONFIG
    route: str
    n_records: int
    sigma_unlearn: float | None
    epsilon: float | None


@dataclass(frozen=True, kw_only=True)
class CertificationShares:
    """Certificates of many records from which every record was withheld.

    Parameters
    ----------
    title, mechanism, parameters, data
        What was certified.
    delta, target_epsilon
        All epsilons are at this delta; the target is ``None`` when the noise is given and not calibrated.
    n_records
        How many were certified; one that was named twice counts once.
    n_without_noise, n_not_served
        How many meet the target by the learning noise alone, and how many at no noise; ``None`` without a target.
    measures
        Epsilon with and without unlearning, and noise.
    routes
        Means of the routes of which at least 20 records were compared.
    assumptions
        For each route, what it rests on; sentences with figures, which may be of one record, are withheld.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    parameters: Mapping[str, int | float | str]
    data: DataRecord
    delta: float
    target_epsilon: float | None
    n_records: int
    n_without_noise: int | None
    n_not_served: int | None
    measures: tuple[MeasureShares, ...]
    routes: tuple[RouteMean, ...]
    assumptions: Mapping[str, tuple[str, ...]]
    environment: Environment
    schema: Literal["unlearn-audit/shares/1"] = SHARES_SCHEMA

    def to_json(self) -> str:
        """Return the shares as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> CertificationShares:
        """Return the shares that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, CertificationShares, schemas=(SHARES_SCHEMA,))


def check_enough(records: Sequence[int]) -> None:
    """Refuse to withhold records where too few are left to hide among.

    Raises
    ------
    InvalidInputError
        For fewer than 20 different records.
    """
    n = len(set(records))
    require(
        n >= FEWEST,
        "--redact",
        expected=f"at least {FEWEST} records",
        got=f"{n}: what is left of so few are numbers of single records",
        fix="certify more of them, or leave --redact out and keep the page as safe as the data",
    )


def without_records(certification: Certification) -> CertificationShares:
    """Return what is a property of many records: counts, means and shares, each rounded up to two digits.

    Raises
    ------
    InvalidInputError
        For fewer than 20 different records.
    """
    # One that is named twenty times is still one.
    rows = list({row.record: row for row in certification.rows}.values())
    check_enough([row.record for row in rows])
    target = certification.target_epsilon
    return CertificationShares(
        title=f"Certificates of {certification.mechanism} on {certification.data.name}",
        mechanism=certification.mechanism,
        parameters=_parameters(certification),
        data=certification.data,
        delta=certification.delta,
        target_epsilon=target,
        n_records=len(rows),
        n_without_noise=None if target is None else sum(row.epsilon_without_unlearning <= target for row in rows),
        n_not_served=None if target is None else sum(row.epsilon > target for row in rows),
        measures=_measures(rows, target),
        routes=_routes(certification.routes, target),
        assumptions={
            route: tuple(text for text in sentences if not _FIGURE.search(text))
            for route, sentences in certification.assumptions.items()
        },
        environment=replace(certification.environment, command=None),
    )


def _measures(rows: Sequence[RecordRow], target: float | None) -> tuple[MeasureShares, ...]:
    return (
        _measure("epsilon", [row.epsilon for row in rows], target),
        _measure("epsilon_without_unlearning", [row.epsilon_without_unlearning for row in rows], target),
        _measure("sigma_unlearn", [row.sigma_unlearn for row in rows]),
    )


def _measure(name: Measure, values: Sequence[float], target: float | None = None) -> MeasureShares:
    ordered = sorted(values)
    finite = [value for value in ordered if math.isfinite(value)]
    places = ((share, math.ceil(share * len(ordered))) for share in SHARES)
    return MeasureShares(
        measure=name,
        n_finite=len(finite),
        mean=_mean(finite, target),
        shares=tuple(
            Share(share=share, value=_coarse(ordered[place - 1], target))
            for share, place in places
            if place - 1 >= FEWEST and len(ordered) - place >= FEWEST
        ),
    )


def _mean(values: Sequence[float], target: float | None = None) -> float | None:
    """Return a coarse mean of many; ``None`` where it would give away a few of them.

    These are few values, few that differ from what all others have (of 59 zeros and one noise the mean is the noise),
    and one value that makes up much of the sum.
    """
    if len(values) < FEWEST:
        return None
    n_same = max(Counter(up(value, SAME) for value in values).values())
    if (n_same > 1 and 0 < len(values) - n_same < FEWEST) or max(values) > LARGEST_PART * math.fsum(values):
        return None
    # Rounding does not push it out of the range of its values.
    return _coarse(min(math.fsum(values) / len(values), max(values)), target)


def _coarse(value: float, target: float | None = None) -> float:
    """Return a value rounded up to two digits, but not above the target that it meets."""
    if not math.isfinite(value):
        return value
    rounded = as_float(up(value, DIGITS))
    return rounded if target is None or value > target else min(rounded, target)


def _routes(compared: Sequence[RouteRow], target: float | None) -> tuple[RouteMean, ...]:
    found = []
    for route in OWN_ROUTES:
        rows = {row.record: row for row in compared if row.route == route}.values()
        finite = [row for row in rows if math.isfinite(row.sigma_unlearn) and math.isfinite(row.epsilon)]
        if len(finite) >= FEWEST:
            found.append(
                RouteMean(
                    route=route,
                    n_records=len(finite),
                    sigma_unlearn=_mean([row.sigma_unlearn for row in finite]),
                    epsilon=_mean([row.epsilon for row in finite], target),
                )
            )
    return tuple(found)


def _parameters(certification: Certification) -> dict[str, int | float | str]:
    """Return the parameters; in batches of one the step size is that of the record with the largest features."""
    shown = dict(certification.parameters)
    step_size = shown.get("step_size")
    if certification.mechanism == "ridge_minibatch" and isinstance(step_size, float):
        shown["step_size"] = as_float(nearest(step_size, DIGITS))
    return shown
