"""Compare how often attacks succeed: the true- and false-positive rates of a baseline's events.

In the flow: :mod:`audit.regression.comparing` hands over the findings of two results. About these attacks at these
events, never about epsilon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.records.evidence import EpsilonLowerBound, EventTest, Finding
from audit.regression.comparison import Absence, Margins, Outcome, RateComparison
from audit.regression.computed import Forget, matched
from audit.regression.differences import Difference, compare_rates
from audit.regression.frozen import FrozenCount
from audit.statistics.multiplicity import equal_share
from mechanisms.claim import Direction

FindingKey = tuple[Forget, int]
"""A forget set, and the position of a claim among those about it."""


def compare_all_rates(
    baseline: Mapping[FindingKey, Finding],
    candidate: Mapping[FindingKey, Finding],
    margins: Margins,
    frozen: Sequence[FrozenCount],
    *,
    declared: bool,
) -> tuple[tuple[RateComparison, ...], tuple[Absence, ...]]:
    """Return the comparison of every event of the baseline, and the forget sets where there is none to compare.

    Parameters
    ----------
    baseline, candidate
        Findings by forget set and claim.
    margins, frozen
        As for :func:`audit.regression.comparing.compare`.
    declared
        Whether both sides count a threshold that was declared in advance, of the user's own score: one event.
    """
    counted = {(f.forget, f.claim, f.attack, f.role): f for f in frozen}
    pairs: dict[tuple[Any, ...], tuple[FindingKey, EventTest, EventTest | FrozenCount]] = {}
    lacking: list[Forget] = []
    for key, old, new in matched(baseline, candidate):
        tests = {(test.bound.attack, test.role): test for test in new.tests}
        for test in old.tests:
            mine = (test.bound.attack, test.role)
            other = counted.get((*key, *mine)) or tests.get(mine)
            # An audit that stops when decided changes its event as it goes: there is none to freeze.
            if other is None or "e_process" in (test.bound.method, _method(other)):
                lacking.append(key[0])
            else:
                # Two rows of a claim often choose one event; it is compared once.
                pairs.setdefault((key[0], *_event(test.bound), *_event(_bound(other))), (key, test, other))
    lacking += [key[0] for key, old, _ in matched(baseline, candidate) if not old.tests]
    absent = Absence(kind="missing", what="attack with one counted event", forget=tuple(dict.fromkeys(lacking)))
    if not pairs:
        return (), (absent,) if lacking else ()
    level = equal_share(margins.significance, 2 * len(pairs))
    rates = tuple(_compare_rate(key, test, other, margins, level, declared) for key, test, other in pairs.values())
    return rates, (absent,) if lacking else ()


def _method(other: EventTest | FrozenCount) -> str:
    return other.bound.method if isinstance(other, EventTest) else ""


def _bound(other: EventTest | FrozenCount) -> EpsilonLowerBound | FrozenCount:
    return other.bound if isinstance(other, EventTest) else other


def _event(bound: EpsilonLowerBound | FrozenCount) -> tuple[object, ...]:
    """Return what names an event; an event against one direction and its complement against the other are one."""
    aligned = (bound.tail == "upper") == (bound.direction is Direction.UNLEARNED_FROM_RETRAINED)
    return bound.attack, aligned, bound.threshold


def _compare_rate(
    key: FindingKey, test: EventTest, other: EventTest | FrozenCount, margins: Margins, level: float, declared: bool
) -> RateComparison:
    old, new = test.bound, _bound(other)
    k_old, n_old, k0_old, n0_old = old.counts.oriented(old.direction)
    k_new, n_new, k0_new, n0_new = new.counts.oriented(new.direction)
    true = compare_rates(k_new, n_new, k_old, n_old, level=level, margin=margins.rate)
    # For false positives the worse side is down: measured on the complement, turned back for the reader.
    fall = compare_rates(n0_new - k0_new, n0_new, n0_old - k0_old, n0_old, level=level, margin=margins.rate)
    false = Difference(estimate=-fall.estimate, low=-fall.high, high=-fall.low, level=level, detectable=fall.detectable)
    return RateComparison(
        forget=key[0],
        claim=key[1],
        role=test.role,
        attack=old.attack,
        frozen=isinstance(other, FrozenCount) or (declared and _event(old) == _event(new)),
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
        outcome=_rate_outcome(true, false, margins.rate),
    )


def _rate_outcome(true: Difference, false: Difference, margin: float) -> Outcome:
    """Decide by both intervals: an event that became likelier in both worlds has told nothing more apart."""
    losses = ((true.low, true.high), (-false.high, -false.low))
    if all(high <= margin for _, high in losses):
        gained = any(high < -margin for _, high in losses)
        return Outcome.BETTER if gained else Outcome.NO_WORSE
    lows = [low for low, _ in losses]
    # Both intervals hold at once, so that their sum bounds what remains after the other rate made up for some.
    return Outcome.WORSE if max(lows) > margin and sum(lows) > margin else Outcome.UNDECIDED
