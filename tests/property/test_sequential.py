"""Properties of the anytime bound that hold for every outcome."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.statistics.bets import Cells
from audit.statistics.bounds import ceiling
from audit.statistics.e_process import EProcess, epsilon_grid, make_e_process

LEVEL = 0.05
counts = st.integers(0, 60)
deltas = st.sampled_from([0.0, 1e-5, 0.05, 0.4])


def state_of(cells: tuple[int, int, int, int], delta: float, past: Cells | None = None) -> EProcess:
    """The state after pairs of these cells in one batch: only the last pair and the counts matter here."""
    only_first, both, only_second, neither = cells
    x1 = np.repeat([1, 1, 0, 0], [only_first, both, only_second, neither])
    x0 = np.repeat([0, 1, 1, 0], [only_first, both, only_second, neither])
    grid = epsilon_grid(0.5, 6.0, 40)
    return make_e_process(epsilons=grid, delta=delta, past=past).update(x1, x0)


@settings(max_examples=70, deadline=None)
@given(cells=st.tuples(counts, counts, counts, counts), delta=deltas)
def test_capital_grows_with_the_event_on_the_left_and_shrinks_with_it_on_the_right(
    cells: tuple[int, int, int, int], delta: float
) -> None:
    only_first, both, only_second, neither = cells
    here = state_of(cells, delta).log_capital
    if neither:
        more = state_of((only_first + 1, both, only_second, neither - 1), delta).log_capital
        assert np.all(more >= here - 1e-9)
        less = state_of((only_first, both, only_second + 1, neither - 1), delta).log_capital
        assert np.all(less <= here + 1e-9)


@settings(max_examples=50, deadline=None)
@given(cells=st.tuples(counts, counts, counts, counts), delta=deltas, times=st.integers(2, 5))
def test_more_pairs_at_equal_rates_never_lower_a_capital_above_its_start(
    cells: tuple[int, int, int, int], delta: float, times: int
) -> None:
    """The logarithm of the capital is convex in the number of pairs at fixed rates, and 0 before the first."""
    here = state_of(cells, delta).log_capital
    more = state_of(tuple(times * k for k in cells), delta).log_capital  # type: ignore[arg-type]
    assert np.all(more[here > 1e-6] >= here[here > 1e-6])


@settings(max_examples=50, deadline=None)
@given(data=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80), delta=deltas)
def test_bound_never_falls_over_time_and_never_exceeds_the_ceiling(data: list[tuple[bool, bool]], delta: float) -> None:
    state, last = make_e_process(epsilons=epsilon_grid(0.5, 6.0, 40), delta=delta), 0.0
    for n, (x1, x0) in enumerate(data, start=1):
        state = state.update(x1, x0)
        bound = state.bound(LEVEL)
        assert bound >= last
        assert bound == 0 or bound <= ceiling(n_null=n, level=LEVEL, delta=delta)
        assert state.bound(LEVEL / 10) <= bound
        last = bound


@settings(max_examples=50, deadline=None)
@given(cells=st.tuples(counts, counts, counts, counts), cut=st.integers(0, 240), delta=deltas)
def test_states_resume(cells: tuple[int, int, int, int], cut: int, delta: float) -> None:
    past = Cells.expected(cells[0] + 1, 100, cells[2] + 1, 100)
    state = state_of(cells, delta, past)
    again = EProcess.from_json(state.to_json())
    assert again == state
    x = np.arange(cut) % 3 == 0
    assert again.update(x, ~x) == state.update(x, ~x)
