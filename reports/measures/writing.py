"""What was measured, for readers: one page, a text for a terminal, every number as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.records.measures import MeasureResult
from reports.measures.view import page, strongest_table
from reports.page.parts import TableView
from reports.writing import check_formats, write_texts

FORMATS = ("html", "json", "md")


def write_measures(result: MeasureResult, directory: str | Path, formats: Sequence[str] = FORMATS) -> tuple[Path, ...]:
    """Write ``measures.html``, ``.json`` and ``.md``; return the paths.

    Parameters
    ----------
    result
        Of :func:`audit.measure` or :func:`audit.measure_models`.
    directory
        Created when it is missing; files of these names that lie there are replaced.
    formats
        Some of "html", "json" and "md".

    Raises
    ------
    InvalidInputError
        For an unknown format, or a folder that cannot be written.
    """
    check_formats(formats, FORMATS)
    return write_texts(directory, {f"measures.{name}": render(result, name) for name in formats})


def render(result: MeasureResult, name: str) -> str:
    """Return what was measured in one format."""
    if name == "json":
        return result.to_json()
    if name == "html":
        from reports.page.html import template, unbroken
        from reports.page.parts import map_text

        return template("measures.html.j2").render(page=map_text(page(result), unbroken)) + "\n"
    from reports.page import markdown

    return markdown.filled("measures.md.j2", page(result))


def measures_summary(result: MeasureResult, *, width: int = 120) -> str:
    """Return of each set what the attack with the largest lower bound showed, as plain text.

    Parameters
    ----------
    result
        What was measured.
    width
        Columns of the terminal.
    """
    from reports.page.terminal import printed

    view, table = page(result), strongest_table(result)
    failed = [f"{row[0]}: {row[2]}" for row in view.controls.rows if row[1] == "no"]
    told = [f"{row[0]}: {row[2]}" for row in view.controls.rows if row[0] == "Utility"]
    parts: list[str | TableView] = [view.title, "", view.headline]
    if table.rows:
        parts += [table, table.caption]
    if any(len(each.attacks) > 1 for each in result.sets):
        parts.append("Of several attacks the one with the largest lower bound; all are on the page.")
    return printed([*parts, *view.points, *failed, *told, view.limits[0].text], width)
