"""What came out of following the tests of a claim pair by pair: tests and their history, at whatever time one stopped.

In the flow: ``audit.gathering.cases`` makes it, the runner turns it into findings and controls like those of a fixed
number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit.gathering.following import Line, LineKey, Question, claimed_index, p_value_of
from audit.records.evidence import EpsilonLowerBound, EventTest
from audit.records.figures.history import BoundCurve, History
from audit.statistics.multiplicity import Role
from mechanisms.errors import InvalidInputError

MAX_LOOKS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """All questions about one contrast, with what was spent on them.

    Parameters
    ----------
    questions
        After their last pair.
    n_fit
        Trials of each world that chose before the first pair.
    budget
        Pairs that may be counted at most.
    n_drawn
        Trials of each world that were drawn and used.
    refits
        Pairs counted when events were chosen anew.
    """

    questions: tuple[Question, ...]
    n_fit: int
    budget: int
    n_drawn: int
    refits: tuple[int, ...]

    def tests(self, hypotheses: Mapping[str, Sequence[tuple[Role, Sequence[Any]]]]) -> tuple[EventTest, ...]:
        """Return the tests of the given points, by attack and role, in the given order."""
        found = {
            (*key, points): test
            for question in self.questions
            for key, test in tests_of(question).items()
            for role, points in question.hypotheses
            if role == key[1]
        }
        wanted = [(name, role, tuple(points)) for name, roles in hypotheses.items() for role, points in roles]
        return tuple(found[key] for key in wanted if key in found)

    def history(self, points: Sequence[Any], chosen: Sequence[EventTest]) -> History | None:
        """Return how the evidence about a claim with these points grew, with the curves of the chosen tests."""
        for question in self.questions:
            if ("claim_row", tuple(points)) in question.hypotheses:
                return _history(question, chosen, self)
        return None


def _history(question: Question, chosen: Sequence[EventTest], spent: Followed) -> History:
    kept = _thinned(question)
    return History(
        n_fit=spent.n_fit,
        budget=spent.budget,
        pairs=tuple(question.pairs[i] for i in kept),
        p_values=tuple(p_value_of(question.log_best[i], question.asked) for i in kept),
        level=question.asked,
        refits=tuple(n for n in spent.refits if question.pairs and n < question.pairs[-1]),
        refuted_at=question.refuted_at,
        curves=tuple(
            BoundCurve(
                role=test.role,
                attack=test.bound.attack,
                delta=test.bound.delta,
                direction=test.bound.direction,
                claimed=test.point.epsilon,
                bounds=tuple(question.bounds[test.bound.attack, test.role][i] for i in kept),
            )
            for test in chosen
        ),
    )


def _thinned(question: Question) -> list[int]:
    """Return the looks to keep: about evenly spread, and every one at which the claim or a bound was decided."""
    if not question.pairs:
        return []
    targets = np.linspace(question.pairs[0], question.pairs[-1], MAX_LOOKS - 2)
    kept = set(np.searchsorted(question.pairs, targets).tolist()) | {0, len(question.pairs) - 1}
    if question.refuted_at is not None:
        kept.add(question.pairs.index(question.refuted_at))
    return sorted(kept)


def tests_of(question: Question) -> dict[LineKey, EventTest]:
    """Return one test for each line.

    Notes
    -----
    Each p-value is that of the line alone. Only when all lines together refute the claim, the smallest becomes
    level / sum(level * capital), which is then at most its level: the mean of e-processes for one claim, weighted by
    levels, is an e-process, so that this number times all levels over the line's own is a valid p-value of the claim
    (Vovk and Wang 2021, arXiv:1912.06116, Proposition 3.1, with Ville's inequality), as Bonferroni's and Holm's rules
    need.
    """
    lines = {key: line for key, line in question.lines.items() if line.counts is not None}
    levels = {key: question.levels[line.role] for key, line in lines.items()}
    own = {key: _own_p_value(line, levels[key]) for key, line in lines.items()}
    if own and question.refuted_at is not None:
        strongest = min(own, key=lambda key: own[key] / levels[key])
        own[strongest] = min(own[strongest], p_value_of(question.log_best[-1], levels[strongest]))
    return {key: _test(lines[key], key[0], p_value, levels[key]) for key, p_value in own.items()}


def _own_p_value(line: Line, level: float) -> float:
    return p_value_of(line.process.log_peak[claimed_index(line)] + math.log(level), level)


def _test(line: Line, attack: str, p_value: float, level: float) -> EventTest:
    event = line.event
    if line.counts is None:
        raise InvalidInputError(field="line", expected="at least one pair", got="none", fix="count before testing")
    return EventTest(
        role=line.role,
        point=event.point,
        p_value=p_value,
        rejected=p_value <= level,
        bound=EpsilonLowerBound(
            value=line.process.bound(level),
            delta=event.point.delta,
            direction=event.direction,
            level=level,
            method="e_process",
            attack=attack,
            tail=event.tail,
            threshold=event.threshold,
            counts=line.counts,
        ),
    )
