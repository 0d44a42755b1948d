"""Certificates of many records for readers: one page, a table for a terminal, and every number as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reports.writing import check_formats, write_texts

if TYPE_CHECKING:
    from audit.certificates.certification import Certification
    from reports.page.parts import TableView

FORMATS = ("html", "json", "csv", "md")

__all__ = ["FORMATS", "certification_summary", "write_certification"]


def write_certification(
    certification: Certification, directory: str | Path, formats: Sequence[str] = FORMATS
) -> tuple[Path, ...]:
    """Write ``certificates.html``, ``.json``, ``.csv`` and ``.md``; return the paths in the order of ``formats``.

    Parameters
    ----------
    certification
        At least one record.
    directory
        Created when it is missing; files of these names that lie there are replaced.
    formats
        Some of "html", "json", "csv", "md". With "csv" comes ``routes.csv`` when routes were compared.

    Raises
    ------
    InvalidInputError
        For an unknown format, or when there is no record.
    """
    check_formats(formats, FORMATS)
    data = {}
    if "csv" in formats:
        data["certificates.csv"] = records_csv(certification)
        if certification.routes:
            data["routes.csv"] = routes_csv(certification)
    texts: dict[str, str] = {}
    for name in formats:
        texts |= data if name == "csv" else {f"certificates.{name}": _render(certification, name, tuple(data))}
    return write_texts(directory, texts)


def certification_summary(certification: Certification, *, width: int = 110) -> str:
    """Return the quantiles of epsilon and noise, the extreme records and the routes as plain text.

    Parameters
    ----------
    certification
        At least one record.
    width
        Columns of the terminal.

    Raises
    ------
    InvalidInputError
        When there is no record.
    """
    from reports.certificates.view import page
    from reports.page.terminal import printed

    view = page(certification, n_extremes=5)
    parts: list[str | TableView] = [view.title, view.headline, *view.points]
    if view.quantiles.rows:
        parts.append(view.quantiles)
    for records in view.records:
        parts += [records.table.title, records.table]
    if view.routes.table.rows:
        parts += [view.routes.table.title, _without_notes(view.routes.table), *view.route_notes]
    return printed(parts, width)


def _without_notes(table: TableView) -> TableView:
    """Return the table of routes without its last column of sentences, for which a terminal has no room."""
    if table.columns[-1] != "note":
        return table
    return replace(
        table, columns=table.columns[:-1], rows=tuple(row[:-1] for row in table.rows), numeric=table.numeric[:-1]
    )


def records_csv(certification: Certification) -> str:
    """Return one line a record with every number in full."""
    from audit.certificates.certification import RecordRow

    names = [*(f.name for f in fields(RecordRow)), "epsilon"]
    return _csv(names, certification.rows)


def routes_csv(certification: Certification) -> str:
    """Return one line a record and route with every number in full; an accuracy that is not known is empty.

    The single accuracies behind a mean are in the JSON only.
    """
    from audit.certificates.certification import RouteRow

    return _csv([f.name for f in fields(RouteRow) if f.name != "accuracies"], certification.routes)


def _csv(names: Sequence[str], rows: Iterable[object]) -> str:
    buffer = io.StringIO()
    # The csv module writes a float as its repr, which reads back as the same float.
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return buffer.getvalue()


def _render(certification: Certification, name: str, data: Collection[str]) -> str:
    if name == "json":
        return certification.to_json()
    from reports.certificates.view import page

    view = page(certification)
    if name == "html":
        from reports.certificates import html as certification_html

        return certification_html.render(certification, view, data=data)
    from reports.page import markdown

    return markdown.filled("certification.md.j2", view, data=data)
