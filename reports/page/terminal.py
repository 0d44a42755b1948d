"""Paragraphs and tables as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable

from reports.page.parts import TableView, map_text, plain

# Longer names are broken, so that a hostile one cannot push the numbers out of the table.
_LONGEST_NAME = 24


def printed(parts: Iterable[str | TableView], width: int) -> str:
    """Return paragraphs and tables as plain text, without control characters: a terminal obeys what it is sent."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    # Text and not markup: names are data and may hold square brackets.
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False, highlight=False, emoji=False)
    for part in parts:
        shown = map_text(part, plain)
        console.print(Text(shown) if isinstance(shown, str) else _drawn(shown))
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def shown_case(case: TableView | None) -> list[str | TableView]:
    """Return the parts that a terminal shows of a case; none where there is none."""
    if case is None:
        return []
    # No folded table: in a terminal a row is a line.
    return [f"{case.title}:", *(f"  {name}: {value}" for name, value in case.rows), case.caption, ""]


def _drawn(view: TableView) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, (name, is_numeric) in enumerate(zip(view.columns, view.numeric, strict=True)):
        # A name is kept in one piece; columns that have spaces to break at make room for it.
        is_name = not is_numeric and not any(" " in cell for cell in (name, *(row[i] for row in view.rows)))
        short = is_name and all(len(row[i]) <= _LONGEST_NAME for row in view.rows)
        table.add_column(Text(name), overflow="fold", justify="right" if is_numeric else "left", no_wrap=short)
    for row in view.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
