"""Rehearse an audit of a known law: the power that is left after the fit split has chosen what to count.

``planning.best_power`` knows the best event in advance. An audit chooses it on a finite fit split among many rows,
thresholds and directions, and sometimes chooses worse; rehearsing that choice gives the power to expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    chosen = rehearse(claim, fpr, tpr, n_fit=n_fit, n_counted=n_counted, level=level, rng=rng, repeats=repeats)
    return float(np.mean(chosen.powers(n_counted, level=level)))


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What rehearsed fit splits chose: by point of the claim, the events' probabilities in the worlds on its sides."""

    events: Mapping[EpsilonDelta, tuple[tuple[float, float], ...]]

    def powers(self, n: int, *, level: float) -> Array:
        """Return the power of the test of each of these events when ``n`` trials of each world are counted."""
        powers = []
        for point, events in self.events.items():
            p1, p0 = np.transpose(events)
            powers.append(power_of_events(p1, p0, CriticalCounts(point=point, n1=n, n0=n, level=level)))
        return np.concatenate(powers)


def rehearse(
    claim: Claim,
    fpr: ArrayLike,
    tpr: ArrayLike,
    *,
    n_fit: int,
    n_counted: int,
    level: float,
    rng: np.random.Generator,
    repeats: int,
) -> Rehearsal:
    """Return what an audit would choose to count, with the parameters of :func:`rehearsed_power`."""
    fpr, tpr = np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)
    position = np.linspace(0.0, 1.0, len(fpr))
    rows = claim_rows(claim)
    chosen: dict[EpsilonDelta, tuple[tuple[float, float], ...]] = {}
    for _ in range(repeats):
        # Scores fall along the curve: an event "score above" holds its beginning.
        unlearned, retrained = (-np.interp(rng.random(n_fit), curve, position) for curve in (tpr, fpr))
        prepared = PreparedAttack(name="", fitted=None, unlearned=unlearned, retrained=retrained)
        event = choose_event(prepared, rows, n_counted=(n_counted, n_counted), level=level)
        # Rehearsals that choose the same row share the boundary of its test.
        chosen[event.point] = (*chosen.get(event.point, ()), _probabilities(event, fpr, tpr, position))
    return Rehearsal(events=chosen)


def _probabilities(event: Event, fpr: Array, tpr: Array, position: Array) -> tuple[float, float]:
    """Return the probabilities of a chosen event in the worlds on the left and the right of its point."""
    p_retrained, p_unlearned = (float(np.interp(-event.threshold, position, curve)) for curve in (fpr, tpr))
    if event.tail == "lower":
        p_retrained, p_unlearned = 1 - p_retrained, 1 - p_unlearned
    if event.direction is Direction.RETRAINED_FROM_UNLEARNED:
        return p_retrained, p_unlearned
    return p_unlearned, p_retrained


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
