"""How numbers are printed: outward, as :mod:`audit.records.words.rounding` says, under the name that reports use."""

from audit.records.words.rounding import (
    DIGITS,
    INFINITE,
    Number,
    all_of,
    as_float,
    counted,
    down,
    enough_digits,
    listed,
    nearest,
    up,
)

__all__ = [
    "DIGITS",
    "INFINITE",
    "Number",
    "all_of",
    "as_float",
    "counted",
    "down",
    "enough_digits",
    "listed",
    "nearest",
    "up",
]
