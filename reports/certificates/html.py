"""The page of certificates: one self-contained HTML file under the same policy as the audit report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from markupsafe import Markup

from audit.certificates.certification import Certification
from reports.certificates import figures as certification_figures
from reports.certificates.view import CertificationView, RecordTable
from reports.page import drawing
from reports.page.html import template, unbroken
from reports.page.parts import map_text


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of a page; empty where there is nothing to draw."""

    distribution: Markup
    difficulty: Markup
    records: tuple[tuple[str, ...], ...]
    routes: tuple[str, ...]


def render(certification: Certification, view: CertificationView, *, data: Collection[str] = ()) -> str:
    """Return the certification as one HTML document, with links to the files that hold its figures as data."""
    # Markup marks what this package drew itself; matplotlib escapes the names that it is given.
    pictures = Pictures(
        distribution=Markup(certification_figures.distribution(certification, "distribution")),
        difficulty=Markup(certification_figures.difficulty(certification, "difficulty")),
        records=tuple(_thumbnails(records) for records in view.records),
        routes=_thumbnails(view.routes),
    )
    filled = template("certification.html.j2").render(page=map_text(view, unbroken), pictures=pictures, data=data)
    return f"{filled}\n"


def _thumbnails(records: RecordTable) -> tuple[str, ...]:
    return tuple(
        drawing.image(picture.values, picture.shape) if picture and picture.shape else ""
        for picture in records.pictures
    )
