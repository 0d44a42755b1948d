"""Whether stored p-values and bounds are those of the stored counts.

In the flow: a result that is loaded is asked here before anybody believes it.

Recomputed numbers need not be equal to the last digit: a p-value is a supremum that is bounded from above within 0.5 %,
by steps whose number may change with the rounding of another machine, and a bound falls short of its supremum by about
0.1 %. Numbers are said to agree within those accuracies, which no verdict depends on: whether a test rejects is
decided on the stored p-value.
"""

from __future__ import annotations

from audit.records.counts import Counts
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value, exact_joint_rejects
from audit.statistics.joint_test import RELATIVE_GAP
from mechanisms.claim import Direction, EpsilonDelta

# What a bound may fall short by, twice: the stored one and the recomputed one.
BOUND_GAP = 0.005


def p_value_of_counts(
    counts: Counts, stored: float, *, point: EpsilonDelta, direction: Direction, level: float
) -> float:
    """Return the stored p-value where the counts give it within its accuracy, else what they give.

    Parameters
    ----------
    counts, point, direction, level
        As for :func:`audit.statistics.bounds.exact_joint_p_value`.
    stored
        What is said to be their p-value.

    Raises
    ------
    InvalidInputError
        For a level outside (0, 1).

    References
    ----------
    As :func:`audit.statistics.bounds.exact_joint_p_value`.
    """
    found = exact_joint_p_value(counts, point=point, direction=direction, level=level)
    return stored if abs(found - stored) <= RELATIVE_GAP * max(found, stored) else found


def bound_of_counts(counts: Counts, stored: float, *, delta: float, direction: Direction, level: float) -> float:
    """Return the stored lower bound where the counts give it within its accuracy, else the bound that they give.

    Parameters
    ----------
    counts, delta, direction, level
        As for :func:`audit.statistics.bounds.exact_joint_bound`; what is returned holds with probability at least
        1 - level.
    stored
        What is said to be their bound, in nats.

    Raises
    ------
    InvalidInputError
        For delta outside [0, 1], or a level outside (0, 1).

    Notes
    -----
    Two tests, at the stored bound and just above it, answer nearly always; the inversion takes ten times as long.

    References
    ----------
    As :func:`audit.statistics.bounds.exact_joint_bound`.
    """

    def rejects(epsilon: float) -> bool:
        point = EpsilonDelta(epsilon=epsilon, delta=delta)
        return exact_joint_rejects(counts, point=point, direction=direction, level=level)

    margin = BOUND_GAP * max(stored, 0.1)
    if (stored == 0 or rejects(stored)) and not rejects(stored + margin):
        return stored
    found = exact_joint_bound(counts, delta=delta, direction=direction, level=level)
    return stored if abs(found - stored) <= margin else found
