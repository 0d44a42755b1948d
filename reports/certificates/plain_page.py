"""The page of certificates that are a few tables: of a stream, or of many records whose numbers are withheld."""

from __future__ import annotations

from dataclasses import dataclass

from reports.page.html import template, unbroken
from reports.page.parts import CodeText, TableView, map_text, plain


@dataclass(frozen=True, kw_only=True)
class PlainView:
    """Everything that such a page prints, in order."""

    title: str
    headline: str
    points: tuple[str, ...]
    tables: tuple[TableView, ...]
    assumptions: tuple[str, ...]
    parameters: TableView
    data: TableView
    environment: TableView
    command: CodeText | None


def plain_html(view: PlainView) -> str:
    """Return one HTML document."""
    return f"{template('plain.html.j2').render(page=map_text(map_text(view, plain), unbroken))}\n"
