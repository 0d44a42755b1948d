"""Compare how often attacks succeed: the true- and false-positive rates of a baseline's events.

In the flow: :mod:`audit.regression.comparing` hands over the findings of two results. About these attacks at these
events, never about epsilon.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.records.counts import Counts
from audit.records.evidence import EventTest, Finding, Roc, Tail
from audit.regression.comparison import Absence, Margins, Outcome, RateComparison, Role
from audit.regression.computed import Forget, matched
from audit.regression.differences import Difference, compare_rates, rate_interval
from audit.regression.frozen import FrozenCount
from audit.statistics.multiplicity import equal_share
from mechanisms.claim import Direction

FindingKey = tuple[Forget, int]
"""A forget set, and the position of a claim among those about it."""
# Intervals for each event: of both rates' differences, and of the candidate's advantage.
_INTERVALS = 3
# A rate is near 0 or 1 within this many margins, and never where it is further from both than the second number.
_NEAR, _MIDDLE = 2.0, 0.25


@dataclass(frozen=True, kw_only=True)
class CountedEvent:
    """An event of one side with its counts; the world on the left of ``direction`` is where it is a true positive."""

    attack: str
    role: Role
    tail: Tail
    threshold: float
    direction: Direction
    counts: Counts

    @staticmethod
    def of_test(test: EventTest) -> CountedEvent:
        """Return the event of a test."""
        bound = test.bound
        return CountedEvent(
            attack=bound.attack,
            role=test.role,
            tail=bound.tail,
            threshold=bound.threshold,
            direction=bound.direction,
            counts=bound.counts,
        )

    @staticmethod
    def of_curve(roc: Roc, position: int, tail: Tail) -> CountedEvent:
        """Return the event at one threshold of a curve."""
        return CountedEvent(
            attack=roc.attack,
            role="telling_apart",
            tail=tail,
            threshold=roc.thresholds[position],
            direction=Direction.UNLEARNED_FROM_RETRAINED,
            counts=roc.at(position, tail),
        )

    def name(self) -> tuple[object, ...]:
        """Return what names an event; an event one way and its complement the other way are one."""
        aligned = (self.tail == "upper") == (self.direction is Direction.UNLEARNED_FROM_RETRAINED)
        return self.attack, aligned, self.threshold


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One event of each side, to be compared."""

    key: FindingKey
    old: CountedEvent
    new: CountedEvent
    frozen: bool


def compare_all_rates(
    baseline: Mapping[FindingKey, Finding],
    candidate: Mapping[FindingKey, Finding],
    margins: Margins,
    frozen: Sequence[FrozenCount],
    *,
    declared: bool,
) -> tuple[tuple[RateComparison, ...], tuple[Absence, ...]]:
    """Return the comparison of every attack of the baseline, and the forget sets where there is none to compare.

    Parameters
    ----------
    baseline, candidate
        Findings by forget set and claim.
    margins, frozen
        As for :func:`audit.regression.comparing.compare`.
    declared
        Whether both sides count a threshold that was declared in advance, of the user's own score: one event.
    """
    pairs: dict[tuple[Any, ...], _Pair] = {}
    lacking: list[Forget] = []
    for key, old, new in matched(baseline, candidate):
        found = list(_pairs(key, old, new, frozen, declared))
        if not found or any(pair is None for pair in found):
            lacking.append(key[0])
        for pair in found:
            if pair is not None:
                # Claims about one forget set share its attacks, and with them the event; it is compared once.
                pairs.setdefault((key[0], *pair.old.name(), *pair.new.name()), pair)
    absent = Absence(kind="missing", what="attack with one counted event", forget=tuple(dict.fromkeys(lacking)))
    level = equal_share(margins.significance, _INTERVALS * max(1, len(pairs)))
    rates = tuple(compare_events(pair.key, pair.old, pair.new, margins, level, pair.frozen) for pair in pairs.values())
    return rates, (absent,) if lacking else ()


def _pairs(
    key: FindingKey, old: Finding, new: Finding, frozen: Sequence[FrozenCount], declared: bool
) -> Iterator[_Pair | None]:
    """Yield the events to compare, ``None`` for an attack of the baseline that has none."""
    counted = {f.attack: f for f in frozen if f.forget == key[0]}
    curves = {roc.attack: roc for roc in old.roc}, {roc.attack: roc for roc in new.roc}
    tests = {(test.bound.attack, test.role): test for test in new.tests}
    done: set[str] = set()
    for test in old.tests:
        attack, other = test.bound.attack, tests.get((test.bound.attack, test.role))
        mine, its = curves[0].get(attack), curves[1].get(attack)
        # An audit that stops when decided changes its event as it goes: there is none to freeze.
        if "e_process" in (test.bound.method, other.bound.method if other and attack not in counted else ""):
            yield None
        elif mine is not None and attack in counted and counted[attack].threshold in mine.thresholds:
            if attack not in done:
                event = counted[attack]
                position = mine.thresholds.index(event.threshold)
                yield _Pair(
                    key=key, old=CountedEvent.of_curve(mine, position, event.tail), new=_of_frozen(event), frozen=True
                )
        elif not declared and mine is not None and its is not None and mine.cut and its.cut:
            if attack not in done:
                sides = [CountedEvent.of_curve(roc, roc.cut.position, roc.cut.tail) for roc in (mine, its) if roc.cut]
                yield _Pair(key=key, old=sides[0], new=sides[1], frozen=False)
        elif other is None:
            yield None
        else:
            before, after = CountedEvent.of_test(test), CountedEvent.of_test(other)
            yield _Pair(key=key, old=before, new=after, frozen=declared and before.name() == after.name())
        done.add(attack)


def _of_frozen(event: FrozenCount) -> CountedEvent:
    return CountedEvent(
        attack=event.attack,
        role="telling_apart",
        tail=event.tail,
        threshold=event.threshold,
        direction=Direction.UNLEARNED_FROM_RETRAINED,
        counts=event.counts,
    )


def compare_events(
    key: FindingKey, old: CountedEvent, new: CountedEvent, margins: Margins, level: float, frozen: bool
) -> RateComparison:
    """Return the comparison of one event of each side.

    Parameters
    ----------
    key
        The finding that it is about.
    old, new
        Events of the baseline and of the candidate, whose trials are independent.
    margins
        How much worse is tolerated.
    level
        Of each of three intervals.
    frozen
        Whether the two are one event.
    """
    k_old, n_old, k0_old, n0_old = old.counts.oriented(old.direction)
    k_new, n_new, k0_new, n0_new = new.counts.oriented(new.direction)
    true = compare_rates(k_new, n_new, k_old, n_old, level=level, margin=margins.rate)
    # For false positives the worse side is down: measured on the complement, turned back for the reader.
    fall = compare_rates(n0_new - k0_new, n0_new, n0_old - k0_old, n0_old, level=level, margin=margins.rate)
    false = Difference(estimate=-fall.estimate, low=-fall.high, high=-fall.low, level=level, detectable=fall.detectable)
    advantage = rate_interval(k_new, n_new, k0_new, n0_new, level=level)
    return RateComparison(
        forget=key[0],
        claim=key[1],
        role=old.role,
        attack=old.attack,
        frozen=frozen,
        baseline_tail=old.tail,
        baseline_threshold=old.threshold,
        baseline_direction=old.direction,
        candidate_tail=new.tail,
        candidate_threshold=new.threshold,
        candidate_direction=new.direction,
        baseline=old.counts,
        candidate=new.counts,
        true_positives=true,
        false_positives=false,
        outcome=_rate_outcome(true, false, advantage, is_blind(old.counts, margins), margins.rate),
        advantage=advantage,
    )


def is_blind(counts: Counts, margins: Margins) -> bool:
    """Whether an event is so rare or so frequent in both worlds of a baseline that a loss could hardly move it.

    A rate within two margins of 0 may multiply within the margin; one so near 1 has nowhere to go. An event that is
    frequent in one world and rare in the other has told nearly everything already.
    """
    near = min(_NEAR * margins.rate, _MIDDLE)
    rates = counts.k_unlearned / counts.n_unlearned, counts.k_retrained / counts.n_retrained
    return all(not near < rate < 1 - near for rate in rates)


def _rate_outcome(
    true: Difference, false: Difference, advantage: tuple[float, float], blind: bool, margin: float
) -> Outcome:
    """Decide by the intervals: an event that became likelier in both worlds has told nothing more apart."""
    losses = ((true.low, true.high), (-false.high, -false.low))
    lows, highs = (sum(loss[i] for loss in losses) for i in (0, 1))
    # All intervals hold at once. The baseline's advantage is the candidate's less what was gained ...
    was_low, was_high = advantage[0] - highs, advantage[1] - lows
    # ... and the other way round an event tells more than it did when the candidate's lies further below 0.
    reversed_least = -advantage[1] - max(was_high, -was_low)
    reversed_most = -advantage[0] - max(0.0, was_low, -was_high)
    if reversed_least > margin or (max(low for low, _ in losses) > margin and lows > margin):
        return Outcome.WORSE
    if blind or reversed_most > margin or any(high > margin for _, high in losses):
        return Outcome.UNDECIDED
    return Outcome.BETTER if any(high < -margin for _, high in losses) else Outcome.NO_WORSE
