"""A lower bound on epsilon from one-dimensional scores: choose the event on some trials, count it on the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from audit.gathering.selection import PreparedAttack, choose_for_bound
from audit.plan.split import Split
from audit.records.evidence import EpsilonLowerBound
from audit.statistics.bounds import exact_joint_bound
from mechanisms.claim import Direction
from mechanisms.errors import InvalidInputError
from mechanisms.reading.arrays import real_numbers


def split_bound(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    *,
    delta: float,
    direction: Direction,
    level: float,
    rng: np.random.Generator,
    fit_fraction: float = Split.fit_fraction,
    attack: str = "scores",
) -> EpsilonLowerBound:
    """Return a lower bound on epsilon that holds with probability at least 1 - level.

    Parameters
    ----------
    unlearned, retrained
        Independent scores of either world by an attack that saw none of these trials, shapes (n1,) and (n0,), at least
        20 each.
    delta
        The bound is on the smallest epsilon with this delta, in [0, 1].
    direction
        The side of the claim: which world's probability is p1 in ``p1 <= e^epsilon p0 + delta``.
    level
        Probability that the bound exceeds the truth, in (0, 1).
    rng
        Shuffles the trials before they are split.
    fit_fraction
        Share of the trials that choose the event, in (0, 1).
    attack
        The name of what scored.

    Returns
    -------
    EpsilonLowerBound
        In nats, with the event and its counts among the trials that did not choose it. 0 when nothing is shown.

    Raises
    ------
    InvalidInputError
        When scores are too few or not finite, a parameter is out of range, or ``fit_fraction`` leaves no trial to
        count.

    Notes
    -----
    Exact (conservative): given the trials that choose the event, the others are still independent. The default for a
    number of trials fixed in advance.

    References
    ----------
    The event of :func:`audit.gathering.selection.choose_for_bound` (largest predicted bound by smoothed rates), then
    the test of :func:`audit.statistics.bounds.exact_joint_bound`.
    """
    if not 0 < fit_fraction < 1:
        raise InvalidInputError(field="fit_fraction", expected="in (0, 1)", got=fit_fraction, fix="0.2 is a good start")
    fit, count = [], []
    for name, values in (("unlearned", unlearned), ("retrained", retrained)):
        scores = real_numbers(values, name)
        if scores.ndim != 1 or len(scores) < 20 or not np.all(np.isfinite(scores)):
            raise InvalidInputError(
                field=name,
                expected="at least 20 finite scores, one-dimensional",
                got=f"shape {scores.shape}" + ("" if np.all(np.isfinite(scores)) else " with NaN or infinity"),
                fix="give one score a trial",
            )
        shuffled = rng.permutation(scores)
        n_fit = max(1, round(fit_fraction * len(shuffled)))
        fit.append(shuffled[:n_fit])
        count.append(shuffled[n_fit:])
    event = choose_for_bound(
        PreparedAttack(name=attack, fitted=None, unlearned=fit[0], retrained=fit[1]),
        delta=delta,
        direction=direction,
        n_counted=(len(count[0]), len(count[1])),
        level=level,
    )
    counts = event.count(count[0], count[1])
    return EpsilonLowerBound(
        value=exact_joint_bound(counts, delta=delta, direction=direction, level=level),
        delta=delta,
        direction=direction,
        level=level,
        method="exact_joint",
        attack=attack,
        tail=event.tail,
        threshold=event.threshold,
        counts=counts,
    )
