"""The table of published mechanisms in every format, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.selftest.wild.result import WildResult
from reports.page import markdown
from reports.page.html import template, unbroken
from reports.page.parts import TableView, map_text
from reports.page.terminal import printed
from reports.wild.view import page
from reports.writing import write_texts


def wild_markdown(result: WildResult) -> str:
    """Return the page as Markdown: ``docs/wild.md`` is this of the committed table."""
    return markdown.filled("wild.md.j2", page(result))


def wild_html(result: WildResult) -> str:
    """Return the page as HTML that opens offline."""
    return template("wild.html.j2").render(page=map_text(page(result), unbroken)) + "\n"


def wild_summary(result: WildResult, differences: Sequence[str] | None, *, width: int = 150) -> str:
    """Return the tables as plain text, and what differs from the committed one; ``None`` where there is none."""
    view = page(result)
    parts: list[str | TableView] = [view.headline]
    for table in view.tables:
        parts += [f"{table.title}:", table]
    parts += [*view.reading, "Status of every row: not yet reported to the authors."]
    if differences is None:
        parts.append("There is no committed table here to compare with.")
    elif differences:
        parts += ["NOT as committed:", *(f"  {sentence}" for sentence in differences)]
    else:
        parts.append("Categories and verdicts are those of the committed table.")
    return printed(parts, width)


def write_wild(result: WildResult, directory: Path) -> tuple[Path, ...]:
    """Write wild.json, wild.html and wild.md into a folder; return their paths."""
    texts = {"wild.json": result.to_json(), "wild.html": wild_html(result), "wild.md": wild_markdown(result)}
    return write_texts(directory, texts)
