"""Rehearse an audit of a known law: the power that is left after the fit split has chosen what to count.

``planning.best_power`` knows the best event in advance. An audit chooses it on a finite fit split among many rows,
thresholds and directions, and sometimes chooses worse; rehearsing that choice gives the power to expect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.gathering.selection import Event, PreparedAttack, choose_event, claim_rows
from audit.power.ceilings import expected_verdict
from audit.power.event_power import power_of_events
from audit.records.verdict import Verdict
from audit.statistics.critical import CriticalCounts
from mechanisms.claim import Claim, Direction, EpsilonDelta

Array = NDArray[np.float64]
REPEATS = 100
SURE = 0.9


def rehearsed_power(
    claim: Claim,
    fpr: ArrayLike,
    tpr: ArrayLike,
    *,
    n_fit: int,
    n_counted: int,
    level: float,
    rng: np.random.Generator,
    repeats: int = REPEATS,
) -> float:
    """Return the probability that an audit with the optimal attack on a known law refutes a claim.

    Parameters
    ----------
    claim
        What is audited.
    fpr, tpr
        The law's exact curve: increasing probabilities, from 0 to 1, of nested events in the retrained and in the
        unlearned world.
    n_fit, n_counted
        Trials a world that choose and that count.
    level
        Level of the one test.
    rng
        Draws the fit splits.
    repeats
        Rehearsed fit splits; the standard error is at most ``0.5 / sqrt(repeats)``.

    Notes
    -----
    The choice is simulated, the test's power given the choice is computed.
    """
    fpr, tpr = np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)
    position = np.linspace(0.0, 1.0, len(fpr))
    rows = claim_rows(claim)
    powers = []
    boundaries: dict[EpsilonDelta, CriticalCounts] = {}
    for _ in range(repeats):
        # Scores fall along the curve: an event "score above" holds its beginning.
        unlearned, retrained = (-np.interp(rng.random(n_fit), curve, position) for curve in (tpr, fpr))
        prepared = PreparedAttack(name="", fitted=None, unlearned=unlearned, retrained=retrained)
        event = choose_event(prepared, rows, n_counted=(n_counted, n_counted), level=level)
        # Rehearsals that choose the same row share the boundary of its test.
        fresh = CriticalCounts(point=event.point, n1=n_counted, n0=n_counted, level=level)
        powers.append(_power(event, fpr, tpr, position, boundaries.setdefault(event.point, fresh)))
    return float(np.mean(powers))


def _power(event: Event, fpr: Array, tpr: Array, position: Array, boundary: CriticalCounts) -> float:
    """Return the power of the test of a chosen event, whose probabilities the curve gives."""
    p_retrained, p_unlearned = (float(np.interp(-event.threshold, position, curve)) for curve in (fpr, tpr))
    if event.tail == "lower":
        p_retrained, p_unlearned = 1 - p_retrained, 1 - p_unlearned
    p1, p0 = p_unlearned, p_retrained
    if event.direction is Direction.RETRAINED_FROM_UNLEARNED:
        p1, p0 = p0, p1
    return float(power_of_events(np.array([p1]), np.array([p0]), boundary)[0])


def rehearsed_verdict(
    claim: Claim,
    fpr: ArrayLike,
    tpr: ArrayLike,
    *,
    n_fit: int,
    n_counted: int,
    level: float,
    rng: np.random.Generator,
) -> Verdict | None:
    """Return the verdict that an audit of a known law should reach, ``None`` where it may go either way.

    As ``planning.expected_verdict``, but REFUTED only where the rehearsed power is at least 0.9 too.
    """
    verdict = expected_verdict(claim, fpr, tpr, n=n_counted, level=level)
    if verdict is not Verdict.REFUTED:
        return verdict
    power = rehearsed_power(claim, fpr, tpr, n_fit=n_fit, n_counted=n_counted, level=level, rng=rng)
    return verdict if power >= SURE else None
