"""Numbers in the cells of text tables, read strictly: what a program in another locale wrote is refused, not guessed. A
leaf.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WHOLE = re.compile(r"[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)", re.ASCII)
_DIGITS = re.compile(r"\d+([eE][+-]?\d+)?", re.ASCII)
_PADDED = re.compile(r"0\d+", re.ASCII)


def number_of(cell: str) -> float:
    """Return the number in a cell; ``nan`` and ``inf`` are read, so that whoever checks values can name them.

    Raises
    ------
    ValueError
        When it holds anything else, digits with separators (``1_000``) and digits of other scripts included.
    """
    text = cell.strip()
    if "_" in text or not text.isascii():
        raise ValueError(cell)
    return float(text)


def fix_of(cell: str) -> str | None:
    """Return what to do about a cell that is no number, where its text tells."""
    text = cell.strip()
    if any(separator in text for separator in ";\t|"):
        return "separate cells by commas, and write decimals with a point"
    if re.fullmatch(r"[+-]?[\d.]*,\d+([eE][+-]?\d+)?", text):
        return "write decimals with a point, 0.5 and not 0,5"
    if re.fullmatch(r"[+-]?[\d_' ]+(\.\d*)?", text):
        return "write digits without separators, 1000 and not 1_000"
    return None


def may_have_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows of cells look like numbers with decimal commas that were split at the comma.

    Every second cell then holds digits alone, without sign or point, and those before it whole numbers. Two columns of
    whole numbers look alike: see :func:`has_padded_decimals`.
    """
    if not rows or len(rows[0]) % 2 or not rows[0]:
        return False
    return all(
        _WHOLE.fullmatch(before.strip()) is not None and _DIGITS.fullmatch(after.strip()) is not None
        for row in rows
        for before, after in zip(row[::2], row[1::2], strict=True)
    )


def has_padded_decimals(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether some second cell starts with a zero before other digits, as decimals do and whole numbers do not.

    So does, in a cell before it, a point that separates thousands.
    """
    return any(
        _PADDED.match(after.strip()) is not None or "." in before
        for row in rows
        for before, after in zip(row[::2], row[1::2], strict=True)
    )
