"""Whether the controls of a stored result are those that its audit made, and follow from their own p-values.

In the flow: :mod:`audit.running.stored` asks before it looks at tests. A control that failed spoils verdicts, so that a
file from which it was cut out would say more than its audit did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.statistics.recount import p_value_of_counts
from mechanisms.claim import EpsilonDelta
from mechanisms.errors import UnlearnAuditError

Differs = Callable[[str, Any, Any], UnlearnAuditError]
# What every audit makes for each forget set, whatever the mechanism shows: of drawn and of given trials, and where a
# replay that did not agree stopped it before its first chunk.
_DRAWN = ("replay", "null", "neglected", "duplicates", "lag_one")
_GIVEN = ("null", "duplicates", "lag_one", "paired_rows", "precision")
_STOPPED = ("replay",)
# Of results from before the controls were counted: earlier versions made no others.
_DRAWN_BEFORE = ("replay", "null")
_GIVEN_BEFORE = ("null", "duplicates", "lag_one")


def check_controls(result: AuditResult, differs: Differs) -> None:
    """Raise what ``differs`` makes of the first control that lacks, is one too many, or contradicts itself.

    Parameters
    ----------
    result
        As it was stored.
    differs
        Makes an error of what differs, its stored value, and the one that follows from the rest.
    """
    for forget in result.plan.forget:
        needed, names = _needed(result, forget), {c.name for c in result.controls if c.forget == forget}
        if lacking := [name for name in needed if name not in names]:
            raise differs(f"controls of forget set {list(forget)}", sorted(names), f"also {lacking}")
    _check_tally(result, differs)
    for control in result.controls:
        if control.p_value is not None and control.level is not None and control.applicable:
            _check_control(control, control.p_value, control.level, differs)


def was_stopped(result: AuditResult, forget: tuple[int, ...]) -> bool:
    """Whether an audit ended before its first chunk, because a replay did not agree: it then has no tests at all."""
    replayed = [c for c in result.controls if c.forget == forget and c.name == "replay"]
    untested = all(not f.tests and not f.failures for f in result.findings if f.forget == forget)
    return untested and bool(replayed) and not any(control.as_expected for control in replayed)


def _needed(result: AuditResult, forget: tuple[int, ...]) -> tuple[str, ...]:
    """Return the controls without which an audit of this kind, by the version that wrote it, has not checked itself."""
    is_counted = result.controls_made is not None
    if was_stopped(result, forget):
        return _STOPPED
    if result.data.is_given:
        return _GIVEN if is_counted else _GIVEN_BEFORE
    return _DRAWN if is_counted else _DRAWN_BEFORE


def _check_tally(result: AuditResult, differs: Differs) -> None:
    """The controls are as many of each name as were made: some are made only where a mechanism shows what they need."""
    if result.controls_made is None:
        return
    there, made = Counter(control.name for control in result.controls), Counter(dict(result.controls_made))
    for name in sorted(there | made):
        if there[name] != made[name]:
            raise differs(f"controls named {name}", there[name], made[name])


def _check_control(control: Control, p_value: float, level: float, differs: Differs) -> None:
    what = f"control {control.name} of forget set {list(control.forget)}"
    if control.name not in ("null", "lag_one", "neglected"):
        return
    as_expected = (p_value <= level) == (control.name == "neglected")
    if as_expected != control.as_expected:
        raise differs(f"{what}, as expected", control.as_expected, as_expected)
    bound = control.bound
    if control.name == "null" and bound is not None and bound.method == "exact_joint":
        identical = EpsilonDelta(epsilon=0.0, delta=0.0)
        found = p_value_of_counts(bound.counts, p_value, point=identical, direction=bound.direction, level=level)
        if found != p_value:
            raise differs(f"{what}, p-value", p_value, found)
