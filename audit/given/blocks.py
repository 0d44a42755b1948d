"""Columns a block at a time: checks of rows of a million numbers need no copy of them all."""

from __future__ import annotations

from collections.abc import Iterator

# Numbers of both worlds in one block: 16 MB.
_NUMBERS = 2**21


def column_blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Yield slices that together cover the columns of a matrix, in order."""
    step = max(1, _NUMBERS // max(n_rows, 1))
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))
