"""What must hold of every comparison of rates: symmetry, order, and that equals are never shown to differ."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.regression.differences import compare_means, compare_rates, rate_interval

LEVELS = st.sampled_from([0.05, 0.01, 0.0005])
TRIALS = st.integers(1, 300)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n1, n0 = draw(TRIALS), draw(TRIALS)
    return draw(st.integers(0, n1)), n1, draw(st.integers(0, n0)), n0


@settings(max_examples=40, deadline=None)
@given(counts(), LEVELS)
def test_swapping_the_sides_turns_the_interval_over(given: tuple[int, int, int, int], level: float) -> None:
    k1, n1, k0, n0 = given
    low, high = rate_interval(k1, n1, k0, n0, level=level)
    assert rate_interval(k0, n0, k1, n1, level=level) == (-high, -low)
    assert -1 <= low <= k1 / n1 - k0 / n0 <= high <= 1


@settings(max_examples=30, deadline=None)
@given(TRIALS, st.data(), LEVELS)
def test_equal_counts_are_never_shown_to_differ(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    found = compare_rates(k, n, k, n, level=level, margin=0.0)
    assert found.low < 0 < found.high
    assert found.detectable > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), LEVELS, st.booleans())
def test_equal_runs_are_never_shown_to_differ(runs: list[float], level: float, paired: bool) -> None:
    found = compare_means(runs, runs, level=level, margin=0.01, paired=paired)
    assert found.low <= 0 <= found.high
    assert found.detectable >= 0.01
