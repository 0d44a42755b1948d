"""The false-alarm budget of the whole test suite.

A statistical assert fails on correct code with some probability. All of them together fail with probability at
most ``FALSE_ALARM_BUDGET``: each takes its limits from here, and there are at most ``MAX_ASSERTS``.
"""

from __future__ import annotations

from scipy.stats import binom

FALSE_ALARM_BUDGET = 1e-6
MAX_ASSERTS = 1000
CHECK_LEVEL = FALSE_ALARM_BUDGET / MAX_ASSERTS


def binomial_limits(trials: int, probability: float) -> tuple[int, int]:
    """Return the smallest and largest count that ``trials`` with this probability may show.

    A count outside [low, high] has at most this assert's share of the budget.
    """
    each_side = CHECK_LEVEL / 2
    return int(binom.ppf(each_side, trials, probability)), int(binom.isf(each_side, trials, probability))
