"""How numbers are printed: the outward rounding of :mod:`audit.rounding`, under the name that reports use."""

from audit.rounding import (
    DIGITS,
    INFINITE,
    Number,
    as_float,
    counted,
    down,
    enough_digits,
    listed,
    nearest,
    up,
)

__all__ = ["DIGITS", "INFINITE", "Number", "as_float", "counted", "down", "enough_digits", "listed", "nearest", "up"]
