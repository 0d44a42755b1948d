"""Count the chosen events and test them: the step from scores to p-values and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.gathering.contrast import Evidence
from audit.gathering.selection import Event, choose_event
from audit.records.evidence import EpsilonLowerBound, EventTest
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value, p_value_floor
from audit.statistics.multiplicity import Role
from mechanisms.claim import BOTH_DIRECTIONS, Direction, EpsilonDelta

Points = Sequence[tuple[Direction, EpsilonDelta]]
# What two worlds of one law satisfy.
IDENTICAL = tuple((direction, EpsilonDelta(epsilon=0.0, delta=0.0)) for direction in BOTH_DIRECTIONS)


def run_tests(
    evidence: Evidence, hypotheses: Mapping[str, Sequence[tuple[Role, Points]]], *, levels: Mapping[Role, float]
) -> tuple[EventTest, ...]:
    """Return one test for each attack and role: the event is chosen on the fit split and counted on the other.

    Parameters
    ----------
    evidence
        Prepared attacks and counted scores; of an audit that stops when decided, the tests themselves.
    hypotheses
        For each attack name, the roles with the points among which the fit split chooses one to test.
    levels
        Level of each single test, by role.
    """
    if evidence.followed is not None:
        return evidence.followed.tests(hypotheses)
    return tuple(
        run_test(evidence, attack, role, _chosen(evidence, attack, points, levels[role]), levels[role])
        for attack, roles in hypotheses.items()
        for role, points in roles
        if points
    )


def _chosen(evidence: Evidence, attack: str, points: Points, level: float) -> Event:
    n_counted = (
        len(evidence.unlearned[attack]) + evidence.lost[0],
        len(evidence.retrained[attack]) + evidence.lost[1],
    )
    return choose_event(evidence.prepared[attack], points, n_counted=n_counted, level=level)


def run_test(evidence: Evidence, attack: str, role: Role, event: Event, level: float) -> EventTest:
    """Return the test of one event that was fixed before counting; trials that failed count against rejecting."""
    counts = event.count(evidence.unlearned[attack], evidence.retrained[attack])
    counts = counts.with_failed(*evidence.lost, event.direction)
    p_value = float(exact_joint_p_value(counts, point=event.point, direction=event.direction, level=level))
    value = float(exact_joint_bound(counts, delta=event.point.delta, direction=event.direction, level=level))
    return EventTest(
        role=role,
        point=event.point,
        p_value=p_value,
        rejected=p_value <= level,
        bound=EpsilonLowerBound(
            value=value,
            delta=event.point.delta,
            direction=event.direction,
            level=level,
            method="exact_joint",
            attack=attack,
            tail=event.tail,
            threshold=event.threshold,
            counts=counts,
        ),
        p_value_floor=p_value_floor(level),
    )


def best_test(tests: Sequence[EventTest]) -> EventTest:
    """Return the test with the strongest evidence: the smallest p-value, then the bound nearest to the claim."""
    return min(tests, key=lambda test: (test.p_value, test.point.epsilon - test.bound.value))
