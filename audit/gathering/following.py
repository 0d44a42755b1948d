"""Follow the tests of one claim pair by pair: events chosen from the past, e-processes, and what each look showed.

In the flow: ``audit.gathering.streaming`` feeds scores chunk by chunk and asks whether it may stop; the tests that come
out are those of a fixed number of trials, with p-values and bounds that are valid at any stopping time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.gathering.selection import Event, PreparedAttack, choose_event
from audit.records.counts import Counts
from audit.statistics.bets import SAFETY, Cells
from audit.statistics.bounds import ceiling
from audit.statistics.e_process import (
    Advance,
    EProcess,
    advance,
    bounds_of,
    epsilon_grid,
    log_mean_capital,
    make_e_process,
)
from audit.statistics.multiplicity import Role
from mechanisms.claim import Direction, EpsilonDelta

Array = NDArray[np.float64]
GRID = 96
Points = tuple[tuple[Direction, EpsilonDelta], ...]
Hypothesis = tuple[Role, Points]
LineKey = tuple[str, Role]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One member of the family, followed over time: an attack's event at one point of the claim.

    The point and its direction are chosen on the first trials and kept, so that the bound is about one thing; the
    event is chosen anew whenever attacks are.
    """

    role: Role
    event: Event
    process: EProcess
    counts: Counts | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A claim, or a control's null, with all lines that may refute it.

    Parameters
    ----------
    hypotheses
        The points that may be tested, by role.
    levels
        Of each line, by role.
    asked
        Levels of all lines at the start; an attack that fails later leaves its share unspent.
    horizon
        Pairs that may be counted at most.
    combined
        Whether the lines are judged together, by the mean of their capitals.
    lines
        By attack and role.
    pairs, log_best, bounds
        What each look showed: pairs counted, logarithm of the highest sum of level times capital so far, and the
        lower bound of each line.
    """

    hypotheses: tuple[Hypothesis, ...]
    levels: Mapping[Role, float]
    asked: float
    horizon: int
    combined: bool
    lines: Mapping[LineKey, Line]
    pairs: tuple[int, ...] = ()
    log_best: tuple[float, ...] = ()
    bounds: Mapping[LineKey, tuple[float, ...]]

    @property
    def refuted_at(self) -> int | None:
        """Pairs after which the claim was refuted at its share of the level; ``None`` while it is not."""
        refuted = (n for n, best in zip(self.pairs, self.log_best, strict=True) if _refutes(best))
        return next(refuted, None)


def ask(
    hypotheses: Sequence[Hypothesis],
    prepared: Mapping[str, PreparedAttack],
    *,
    levels: Mapping[Role, float],
    combined: bool,
    n: int,
) -> Question:
    """Return a question before its first pair; events are chosen on the fit split.

    Parameters
    ----------
    hypotheses
        Roles with the points among which the fit split chooses one.
    prepared
        Fitted attacks with their scores of the fit split.
    levels
        Of each line, by role.
    combined
        Whether lines are judged together. Valid when all of them test one claim, and no order among them was declared.
    n
        Pairs that may be counted at most.
    """
    lines: dict[LineKey, Line] = {}
    for name, attack in prepared.items():
        for role, points in hypotheses:
            if points:
                event = choose_event(attack, points, horizon=(n, n))
                point = event.point
                # No e-process can exceed the ceiling of its trials.
                grid = epsilon_grid(point.epsilon, ceiling(n_null=n, level=levels[role], delta=point.delta), GRID)
                process = make_e_process(epsilons=grid, delta=point.delta, past=_past(event, attack))
                lines[name, role] = Line(role=role, event=event, process=process)
    return Question(
        hypotheses=tuple(hypotheses),
        levels=levels,
        asked=math.fsum(levels[line.role] for line in lines.values()),
        horizon=n,
        combined=combined,
        lines=lines,
        bounds=dict.fromkeys(lines, ()),
    )


def choose_again(question: Question, prepared: Mapping[str, PreparedAttack]) -> Question:
    """Return the question with events chosen anew, and bets weighed anew, from everything that was counted before."""
    lines = {}
    for (name, role), line in question.lines.items():
        point = ((line.event.direction, line.event.point),)
        event = choose_event(prepared[name], point, horizon=(question.horizon, question.horizon))
        process = line.process.with_new_event(_past(event, prepared[name]))
        lines[name, role] = replace(line, event=event, process=process)
    return replace(question, lines=lines)


def without(question: Question, attack: str) -> Question:
    """Return the question without the lines of an attack that failed."""
    return replace(question, lines={key: line for key, line in question.lines.items() if key[0] != attack})


def follow(question: Question, unlearned: Mapping[str, Array], retrained: Mapping[str, Array]) -> Question:
    """Return the question after more pairs of scores, in order, by attack name."""
    if not question.lines:
        return question
    steps = {key: _step(line, unlearned[key[0]], retrained[key[0]]) for key, line in question.lines.items()}
    first = next(iter(steps.values()))
    seen = next(iter(question.lines.values())).process.n_pairs
    weights = [question.levels[line.role] for line in question.lines.values()]
    claimed = [step.log_capital[:, claimed_index(question.lines[key])] for key, step in steps.items()]
    if question.combined:
        total = log_mean_capital(claimed, weights) + math.log(math.fsum(weights))
    else:
        total = np.max([c + math.log(weight) for c, weight in zip(claimed, weights, strict=True)], axis=0)
    best = np.maximum.accumulate(np.maximum(total, question.log_best[-1] if question.log_best else -math.inf))
    return replace(
        question,
        lines={key: _stepped(line, steps[key], unlearned, retrained, key[0]) for key, line in question.lines.items()},
        pairs=question.pairs + tuple(int(seen + n) for n in first.looks),
        log_best=question.log_best + tuple(map(float, best)),
        bounds={
            key: question.bounds[key] + tuple(map(float, _bounds(line.process, steps[key], question.levels[line.role])))
            for key, line in question.lines.items()
        },
    )


def _past(event: Event, attack: PreparedAttack) -> Cells:
    """Return how often the event occurred among scores that choose, as cells of pairs."""
    k1, n1, k0, n0 = event.count(attack.unlearned, attack.retrained).oriented(event.direction)
    return Cells.expected(k1, n1, k0, n0)


def _occurs(event: Event, scores: Array, *, failed: bool) -> NDArray[np.bool_]:
    """Return where the event occurred; ``failed`` says what is taken of trials that failed, whose scores are NaN."""
    above: NDArray[np.bool_] = scores > event.threshold
    return np.where(np.isnan(scores), failed, above if event.tail == "upper" else ~above)


def _step(line: Line, unlearned: Array, retrained: Array) -> Advance:
    """Return what pairs do to a line.

    Notes
    -----
    A trial that failed is taken as absent from the world that the claim bounds, and as present in the other. No bet on
    any pair then wins more than it would have won on what the trial might have shown, so the capital is at most that of
    an audit in which nothing failed: it exceeds 1/level with probability at most the level, whatever makes trials fail.
    """
    swapped = line.event.direction is Direction.RETRAINED_FROM_UNLEARNED
    first = _occurs(line.event, unlearned, failed=swapped)
    second = _occurs(line.event, retrained, failed=not swapped)
    return advance(line.process, second, first) if swapped else advance(line.process, first, second)


def _stepped(
    line: Line, step: Advance, unlearned: Mapping[str, Array], retrained: Mapping[str, Array], attack: str
) -> Line:
    more = _counted(line.event, unlearned[attack], retrained[attack])
    return replace(line, process=step.state, counts=more if line.counts is None else _sum(line.counts, more))


def _counted(event: Event, unlearned: Array, retrained: Array) -> Counts:
    swapped = event.direction is Direction.RETRAINED_FROM_UNLEARNED
    first, second = _occurs(event, unlearned, failed=swapped), _occurs(event, retrained, failed=not swapped)
    return Counts(
        k_unlearned=int(first.sum()), n_unlearned=len(first), k_retrained=int(second.sum()), n_retrained=len(second)
    )


def _sum(first: Counts, second: Counts) -> Counts:
    return Counts(
        k_unlearned=first.k_unlearned + second.k_unlearned,
        n_unlearned=first.n_unlearned + second.n_unlearned,
        k_retrained=first.k_retrained + second.k_retrained,
        n_retrained=first.n_retrained + second.n_retrained,
    )


def claimed_index(line: Line) -> int:
    """Return where on its grid a line has the claimed epsilon."""
    return line.process.index(line.event.point.epsilon)


def _bounds(before: EProcess, step: Advance, level: float) -> Array:
    peaks = np.maximum.accumulate(np.maximum(step.log_capital, before.log_peak), axis=0)
    return bounds_of(peaks, before.epsilons, level)


def p_value_of(log_total: float, level: float) -> float:
    """Return level / (sum of level times capital), at most 1, raised by the rounding of the logarithms."""
    return min(1.0, level * math.exp(min(SAFETY - log_total, 700.0)))


def _refutes(log_total: float) -> bool:
    return log_total >= SAFETY
