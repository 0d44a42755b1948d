"""Every rounding of a report or a summary, outward: a printed number never says more than the stored one.

Lower bounds are rounded down; claimed, exact and other upper numbers, p-values and levels are rounded up.
Rounding starts from the shortest decimal that names the float, so a claim of 0.1 is printed as 0.1 and not as
0.101, and reading a printed number back gives a float on the promised side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

DIGITS = 3
INFINITE = "∞"
# Wide enough for any float at any number of digits used here.
_CONTEXT = Context(prec=60)
_SMALLEST_FIXED, _LARGEST_FIXED = -4, 6


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number and the one way in which it is printed.

    Parameters
    ----------
    value
        For pictures.
    text
        For tables and sentences.
    """

    value: float
    text: str


def down(value: float, digits: int = DIGITS) -> str:
    """Return ``value`` rounded down to significant digits: for lower bounds."""
    return _rounded(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = DIGITS) -> str:
    """Return ``value`` rounded up to significant digits: for claims, exact values, ceilings, p-values, levels."""
    return _rounded(value, digits, ROUND_CEILING)


def total(values: Iterable[float]) -> float:
    """Return the sum of the shortest decimals that name the floats: nine times 0.001 is 0.009, and not a bit more."""
    return float(sum(Decimal(repr(float(value))) for value in values))


def nearest(value: float, digits: int = 4) -> str:
    """Return ``value`` rounded to nearest: for labels and parameters, which bound nothing."""
    return _rounded(value, digits, ROUND_HALF_EVEN)


def enough_digits(bound: float, *others: float) -> int:
    """Return the fewest digits (3 at least) at which a bound that exceeds another number is still seen to.

    Rounding a bound of 0.5004 down and a claim of 0.5003 up would print 0.500 against 0.501 and hide a
    refutation.
    """
    exceeded = [other for other in others if bound > other]
    for digits in range(DIGITS, 17):
        if all(float(down(bound, digits)) > float(up(other, digits)) for other in exceeded):
            return digits
    return 17


def as_float(text: str) -> float:
    """Return the number that one of this module's texts stands for."""
    return float(text.replace(INFINITE, "inf"))


def listed(words: Iterable[str]) -> str:
    """Return "a, b and c"."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return "1 record" or "12,000 records"."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def all_of(n: int, singular: str) -> str:
    """Return "the one record" or "all 12,000 records"."""
    return f"the one {singular}" if n == 1 else f"all {counted(n, singular)}"


def _rounded(value: float, digits: int, rounding: str) -> str:
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return INFINITE if value > 0 else f"-{INFINITE}"
    if value == 0:
        return "0"
    exact = Decimal(repr(float(value)))
    exponent = exact.adjusted()
    last = exponent - digits + 1
    if exponent <= _LARGEST_FIXED:
        last = min(last, 0)  # whole numbers keep all of their digits
    rounded = exact.quantize(Decimal(1).scaleb(last), rounding=rounding, context=_CONTEXT)
    return _plain(rounded)


def _plain(value: Decimal) -> str:
    if value == 0:
        return "0"
    value = value.normalize(_CONTEXT)
    exponent = value.adjusted()
    if _SMALLEST_FIXED < exponent <= _LARGEST_FIXED:
        return f"{value:f}"
    return f"{value.scaleb(-exponent, context=_CONTEXT):f}e{exponent}"
