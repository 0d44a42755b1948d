"""From a certification to the parts of its page: every number rounded outward, every sentence written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.records.evidence import Preview
from mechanisms.errors import InvalidInputError
from reports.certificates import words as texts
from reports.page import facts
from reports.page.numbers import DIGITS, counted, enough_digits, nearest, up
from reports.page.parts import NONE, CodeText, Passage, RecordView, TableView, map_text, plain

N_EXTREMES = 10
NOISE = "noise\N{NO-BREAK SPACE}σᵤ"
N_FEATURES = 4
QUANTILES = (("10 %", 0.1), ("median", 0.5), ("90 %", 0.9), ("99 %", 0.99))
NUMERIC_RECORD = (False, False, True, True, True, True)


@dataclass(frozen=True, kw_only=True)
class RecordTable:
    """A table about records, and the picture of the record in each row (``None`` where there is none)."""

    table: TableView
    pictures: tuple[RecordView | None, ...]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What the certificates of one route rest on."""

    route: str
    has_gap: bool
    assumptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CertificationView:
    """Everything that a page of certificates prints, in order."""

    title: str
    headline: str
    points: tuple[str, ...]
    warning: str
    glossary: tuple[Passage, ...]
    quantiles: TableView
    distribution_caption: str
    difficulty_caption: str
    records: tuple[RecordTable, ...]
    routes: RecordTable
    route_notes: tuple[str, ...]
    basis: tuple[Basis, ...]
    limits: tuple[Passage, ...]
    parameters: TableView
    data: TableView
    environment: TableView
    command: CodeText | None
    rounding: str


def page(certification: Certification, *, n_extremes: int = N_EXTREMES) -> CertificationView:
    """Return everything that a page prints, in order.

    Parameters
    ----------
    certification
        At least one record.
    n_extremes
        How many of the costliest and of the cheapest records are listed.

    Raises
    ------
    InvalidInputError
        When there is no record.
    """
    if not certification.rows:
        raise InvalidInputError(
            field="certification.rows", expected="at least one record", got="none", fix="certify some record"
        )
    command = certification.environment.command
    pictures = {p.record: p for p in certification.previews}
    view = CertificationView(
        title=certification.title,
        headline=texts.headline(certification),
        points=(*texts.points(certification), *(f"Note on the data: {note}" for note in certification.data.notes)),
        warning=texts.WARNING,
        glossary=texts.glossary(certification),
        quantiles=_quantiles(certification),
        distribution_caption=texts.distribution_caption(certification),
        difficulty_caption=texts.difficulty_caption(certification),
        records=_extremes(certification, pictures, n_extremes),
        routes=_routes(certification, pictures),
        route_notes=texts.route_notes(certification),
        basis=tuple(
            Basis(
                route=texts.route_name(certification, route),
                has_gap=texts.has_gap(certification, route),
                assumptions=tuple(facts.as_sentence(text) for text in assumptions),
            )
            for route, assumptions in certification.assumptions.items()
        ),
        limits=texts.LIMITS,
        parameters=_parameters(certification),
        data=facts.data(certification.data),
        environment=facts.environment(certification.environment, certification.schema),
        command=CodeText(text=plain(command)) if command else None,
        rounding=texts.ROUNDING,
    )
    return map_text(view, plain)


def by_cost(rows: Iterable[RecordRow]) -> list[RecordRow]:
    """Return records from cheapest to costliest: by the noise that each needs, or by epsilon at one noise for all."""
    return sorted(rows, key=lambda row: (row.sigma_unlearn, row.epsilon))


def _quantiles(certification: Certification) -> TableView:
    measures: list[tuple[str, Callable[[RecordRow], float]]] = [
        ("ε", lambda row: row.epsilon),
        ("ε without unlearning", lambda row: row.epsilon_without_unlearning),
        (NOISE, lambda row: row.sigma_unlearn),
    ]
    if certification.target_epsilon is None and len({row.sigma_unlearn for row in certification.rows}) == 1:
        measures.pop()
    if len(certification.rows) == 1:
        measures.clear()  # the headline has said it all
    rows = []
    for name, measure in measures:
        values = sorted(map(measure, certification.rows))
        # The smallest stored value that at least this share of the records does not exceed.
        inner = (values[math.ceil(share * len(values)) - 1] for _, share in QUANTILES)
        rows.append((name, *(up(value) for value in (values[0], *inner, values[-1]))))
    return TableView(
        title="Over all records" if rows else "In pictures",
        caption=f"The value that a share of the {counted(len(certification.rows), 'record')} does not exceed. "
        f"{texts.infinity(certification)}".strip(),
        columns=("", "smallest", *(name for name, _ in QUANTILES), "largest"),
        rows=tuple(rows),
        numeric=(False, *(True,) * (len(QUANTILES) + 2)),
    )


def _extremes(
    certification: Certification, previews: Mapping[int, Preview], n_extremes: int
) -> tuple[RecordTable, ...]:
    ordered = by_cost(certification.rows)
    if len(ordered) <= 2 * n_extremes:
        title = "The record" if len(ordered) == 1 else f"All {len(ordered)} records, costliest first"
        return (_record_table(certification, title, ordered[::-1], previews),)
    costliest, cheapest = ordered[: -n_extremes - 1 : -1], ordered[:n_extremes]
    return (
        _record_table(certification, f"The {n_extremes} costliest records", costliest, previews),
        _record_table(certification, f"The {n_extremes} cheapest records", cheapest, previews),
    )


def _record_table(
    certification: Certification, title: str, rows: Sequence[RecordRow], previews: Mapping[int, Preview]
) -> RecordTable:
    pictures = [facts.record_view(previews[row.record], "Record") if row.record in previews else None for row in rows]
    has_features = any(picture and not picture.shape and picture.values for picture in pictures)
    cells = tuple(
        (
            str(row.record),
            previews[row.record].target if row.record in previews else NONE,
            nearest(row.difficulty, DIGITS),
            up(row.sigma_unlearn),
            up(row.epsilon),
            up(row.epsilon_without_unlearning),
            *([_features(picture)] if has_features else []),
        )
        for row, picture in zip(rows, pictures, strict=True)
    )
    columns = ("record", "target", "difficulty", NOISE, "ε", "ε without unlearning")
    table = TableView(
        title=title,
        caption=texts.infinity(certification),
        columns=(*columns, "leading features") if has_features else columns,
        rows=cells,
        numeric=(*NUMERIC_RECORD, False) if has_features else NUMERIC_RECORD,
    )
    return RecordTable(table=table, pictures=tuple(pictures))


def _features(picture: RecordView | None) -> str:
    if picture is None or picture.shape or not picture.values:
        return NONE
    shown = ", ".join(nearest(value, DIGITS) for value in picture.values[:N_FEATURES])
    return f"{shown}, …" if len(picture.values) > N_FEATURES else shown


def _routes(certification: Certification, previews: Mapping[int, Preview]) -> RecordTable:
    routes = certification.routes
    has_accuracy = any(row.accuracy is not None for row in routes)
    has_notes = any(row.note for row in routes)
    score = "R²" if certification.data.kind == "regression" else "accuracy"
    cells, pictures, seen = [], [], set()
    for row in routes:
        digits = enough_digits(row.exact_epsilon, row.epsilon)
        cells.append(
            (
                _subject(row),
                texts.route_name(certification, row.route),
                up(row.sigma_unlearn),
                up(row.epsilon, digits),
                up(row.exact_epsilon, digits),
                _ratio(certification, row),
                *([_accuracy(row)] if has_accuracy else []),
                *([row.note] if has_notes else []),
            )
        )
        is_first = row.record not in seen and row.record in previews
        pictures.append(facts.record_view(previews[row.record], "Record") if is_first else None)
        seen.add(row.record)
    against = "noise over exact" if certification.target_epsilon is not None else "ε over exact"
    columns = ["record", "route", NOISE, "ε by route", "exact ε at that noise", against]
    columns += [score] * has_accuracy + ["note"] * has_notes
    table = TableView(
        title="Routes compared",
        caption=texts.routes_caption(certification, has_accuracy),
        columns=tuple(columns),
        rows=tuple(cells),
        numeric=(False, False, *(True,) * (4 + has_accuracy), *(False,) * has_notes),
    )
    return RecordTable(table=table, pictures=tuple(pictures))


def _subject(row: RouteRow) -> str:
    return f"{row.record} ({row.label})" if row.label else str(row.record)


def _ratio(certification: Certification, row: RouteRow) -> str:
    found = texts.ratio(certification, row)
    return NONE if found is None else nearest(found, DIGITS)


def _accuracy(row: RouteRow) -> str:
    return NONE if row.accuracy is None else nearest(row.accuracy, DIGITS)


def _parameters(certification: Certification) -> TableView:
    target = certification.target_epsilon
    rows = [
        ("mechanism", certification.mechanism),
        *facts.parameter_rows(certification.parameters),
        ("target ε", "none: the noise is given" if target is None else up(target)),
        ("δ", nearest(certification.delta)),
    ]
    return facts.facts("Parameters", rows)
