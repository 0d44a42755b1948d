"""Which releases of a stream an audit is about: those after each request, or the one after the last."""

from __future__ import annotations

from typing import Literal, get_args

from mechanisms.errors import require
from mechanisms.serving.streams import RequestStream

After = Literal["each", "last"]


def audited_sets(stream: RequestStream, after: After) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """Return the records that are gone at each audited release, and what to call it.

    Raises
    ------
    InvalidInputError
        For a word that says neither.
    """
    require(after in get_args(After), "after", expected='"each" or "last"', got=after, fix="say after which requests")
    sets, labels = stream.forget_sets(), stream.labels()
    return (sets, labels) if after == "each" else (sets[-1:], labels[-1:])
