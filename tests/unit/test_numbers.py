"""Numbers for readers: rounded outward, at every magnitude."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audit.records.words.rounding import total
from reports.page.numbers import as_float, counted, down, enough_digits, listed, nearest, up


def test_numbers_are_rounded_outward_at_every_magnitude() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [10 ** rng.uniform(-320, 300, 2000), 10 ** rng.uniform(-6, 8, 2000), -(10 ** rng.uniform(-6, 8, 500))]
    )
    for value in [*map(float, values), 0.1, 0.3, 1 / 3, 9.996, 999.5, 1e-4, 9.999e-4, 1e7, 9999999.5, 5e-324, 0.0]:
        for digits in (3, 5, 17):
            low, high = as_float(down(value, digits)), as_float(up(value, digits))
            assert low <= value <= high, (value, digits)
            assert high - low <= 2 * 10 ** (1 - digits) * abs(value) + 1e-323, (value, digits)
        assert abs(as_float(nearest(value)) - value) <= 1e-3 * abs(value) + 1e-323


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (down(0.1), "0.1"),
        (up(0.1), "0.1"),
        (up(0.5000001), "0.501"),
        (down(0.4999999), "0.499"),
        (down(9.996), "9.99"),
        (up(9.996), "10"),
        (up(2413.2), "2414"),
        (down(2413.2), "2413"),
        (up(0.05 / 12), "0.00417"),
        (up(0.00025), "2.5e-4"),
        (down(1e-5), "1e-5"),
        (up(12345678.9), "1.24e7"),
        (up(math.inf), "∞"),
        (down(-math.inf), "-∞"),
        (up(math.nan), "not a number"),
        (down(0.0), "0"),
        (nearest(-0.0), "0"),
        (counted(1, "record"), "1 record"),
        (counted(1500, "record"), "1,500 records"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_number_texts(text: str, expected: str) -> None:
    assert text == expected


def test_totals_of_levels_are_those_of_their_decimals() -> None:
    assert up(total([0.001] * 9)) == "0.009"
    assert up(total([0.0012345] * 7)) == "0.00865"


def test_rounding_outward_never_hides_that_a_bound_exceeds_a_claim() -> None:
    assert enough_digits(0.2, 0.5) == 3
    for bound, claimed in ((0.50040, 0.50035), (1.0000001, 1.0), (0.7, 0.1), (1.0000000000000002, 1.0)):
        digits = enough_digits(bound, claimed)
        assert as_float(down(bound, digits)) > as_float(up(claimed, digits))
