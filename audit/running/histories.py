"""Whether the history of an audit that stops when decided agrees with the tests that came out of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from audit.records.evidence import Finding
from audit.records.figures.history import History
from mechanisms.errors import UnlearnAuditError

Differs = Callable[[str, Any, Any], UnlearnAuditError]
# Capitals are stored as p-values; either is rounded in its last digits.
_ROUNDING = 1e-6


def check_history(finding: Finding, differs: Differs) -> None:
    """Raise what ``differs`` makes of the first thing in which a finding's history and tests contradict each other.

    Parameters
    ----------
    finding
        One without a history, or without tests, has nothing to compare.
    differs
        Makes an error of what differs, its stored value, and the one that follows from the rest.
    """
    history = finding.history
    if history is None or not finding.tests or not history.pairs:
        return
    _check_pairs(finding, history, differs)
    _check_capital(finding, history, differs)
    for curve in history.curves:
        sandwich = next(
            (s for s in finding.sandwiches if s.role == curve.role and s.bound.attack == curve.attack), None
        )
        if sandwich is not None and not math.isclose(curve.bounds[-1], sandwich.bound.value, rel_tol=_ROUNDING):
            raise differs(f"the bound quoted as {curve.role}", sandwich.bound.value, curve.bounds[-1])


def _check_pairs(finding: Finding, history: History, differs: Differs) -> None:
    """Every test counted all pairs, and counting went on until the claim was refuted or the budget spent."""
    n_pairs = history.pairs[-1]
    for test in finding.tests:
        counts = test.bound.counts
        if not counts.n_unlearned == counts.n_retrained == n_pairs:
            raise differs(f"{test.bound.attack}, counted pairs", (counts.n_unlearned, counts.n_retrained), n_pairs)
    if history.refuted_at is None and n_pairs < history.budget:
        raise differs("pairs counted without a refutation", n_pairs, history.budget)


def _check_capital(finding: Finding, history: History, differs: Differs) -> None:
    """The claim's p-value never rises, and crosses its level when it is said to; its tests cross theirs with it."""
    for earlier, later in zip(history.p_values, history.p_values[1:], strict=False):
        if later > earlier * (1 + _ROUNDING):
            raise differs("p-value of a later look", later, f"at most {earlier}")
    reached = [n for n, p in zip(history.pairs, history.p_values, strict=True) if p <= history.level * (1 + _ROUNDING)]
    first = reached[0] if reached else None
    surely = any(p <= history.level * (1 - _ROUNDING) for p in history.p_values)
    if first != history.refuted_at and (surely or history.refuted_at is not None):
        raise differs("pairs until refuted", history.refuted_at, first)
    strongest = min(finding.tests, key=lambda test: test.p_value / test.bound.level)
    own = strongest.p_value / strongest.bound.level
    joint = history.p_values[-1] / history.level
    # All tests of a claim share its capital: when it is refuted the strongest has at least their mean.
    if history.refuted_at is not None and own > joint * (1 + _ROUNDING):
        raise differs("smallest p-value of a refuted claim's tests", strongest.p_value, joint * strongest.bound.level)
    if history.refuted_at is None and own <= 1 - _ROUNDING:
        raise differs("smallest p-value of the tests before a refutation", strongest.p_value, "above its level")
