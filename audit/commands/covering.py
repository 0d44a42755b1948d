"""Which deletions a claim is about, as a word of the command line."""

from __future__ import annotations

from mechanisms.claim import Covers, Exactly, OneRecord, ThisSet, UpTo
from mechanisms.errors import InvalidInputError


def covers_of(text: str) -> Covers:
    """Return what "this_set", "one_record", "exactly:3" or "up_to:3" means.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    word, _, number = text.partition(":")
    if text == "this_set":
        return ThisSet()
    if text == "one_record":
        return OneRecord()
    if word in ("exactly", "up_to") and number.isascii() and number.isdecimal() and len(number) < 10 and int(number):
        return Exactly(k=int(number)) if word == "exactly" else UpTo(k=int(number))
    raise InvalidInputError(
        field="--covers",
        expected="this_set, one_record, exactly:K or up_to:K, with K at least 1",
        got=text,
        fix="write for example up_to:3",
    )
