"""How numbers are printed: the outward rounding of :mod:`audit.records.rounding`, under the name that reports use."""

from audit.records.rounding import (
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
