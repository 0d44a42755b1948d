"""Load stored results, and believe them only as far as they hang together.

In the flow: what was written by :mod:`audit.running.runner` or :mod:`audit.given.auditing` comes back here. A file may
have been edited on its way: tests of a fixed number of trials are recomputed from their counts, verdicts from the tests
and the controls, and every planned hypothesis must have a finding. What cannot be recomputed (the counts themselves,
and how the capital of an audit that stops when decided grew) must agree with what it led to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from audit.errors import SchemaError
from audit.gathering.selection import claim_rows, plan_delta_points
from audit.plan.split import Sequential
from audit.records.evidence import EventTest, Finding
from audit.records.ledger import DeclaredThreshold, Member
from audit.records.result import AuditCollection, AuditResult, read_json
from audit.records.verdict import Reason, Verdict
from audit.records.words.phrases import plain, subject
from audit.running.findings import roles_of, settle
from audit.running.histories import check_history
from audit.running.stored_controls import check_controls, was_stopped
from audit.statistics.bounds import ceiling
from audit.statistics.multiplicity import Role
from audit.statistics.recount import bound_of_counts, p_value_of_counts
from audit.trials.failed_chunks import n_failed
from mechanisms.claim import Direction, EpsilonDelta
from mechanisms.errors import InvalidInputError

Key = tuple[int, tuple[int, ...]]
# Sums and formulas in closed form differ between machines in their last digits only.
_ROUNDING = 1e-6


def load_json(text: str) -> AuditResult | AuditCollection:
    """Return the result or collection in a JSON text, after recomputing what it says from the counts in it.

    Raises
    ------
    SchemaError
        When the text is neither; or when a finding, its tests, the ledger and the controls do not agree, a planned
        hypothesis has no finding, a control that was made is missing, or a p-value or bound is not that of its counts:
        with the finding, and the stored and the recomputed value.

    Notes
    -----
    Whoever changes counts and everything that follows from them is not noticed: a file is no signature. A result
    without a count of its controls (``controls_made``) is held to those that earlier versions always made. Of a result
    from which records were withheld (:func:`reports.redact`) only the ledger and the verdicts are left to compare.
    """
    loaded = read_json(text)
    for result in loaded.results if isinstance(loaded, AuditCollection) else (loaded,):
        try:
            check_result(result)
        except InvalidInputError as error:
            # A number that no formula takes, where a record of its own has no range to state.
            raise SchemaError(f"{plain(result.title)}: {error}") from None
    return loaded


def check_result(result: AuditResult) -> None:
    """Raise unless the findings of a result follow from its counts, its controls and its plan.

    Raises
    ------
    SchemaError
        As :func:`load_json`.
    """
    keys = _keys(result)
    said = [_Said(result=result, finding=f, key=key) for f, key in zip(result.findings, keys, strict=True)]
    _check_coverage(result, said)
    check_controls(result, partial(_differs, result))
    if result.redaction is None:
        for each in said:
            _check_tests(each)
    _check_verdicts(result, said)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Said:
    """A finding, with the place that it has in the plan."""

    result: AuditResult
    finding: Finding
    key: Key

    @property
    def about(self) -> str:
        finding = self.finding
        return f"claim {self.key[0] + 1} about {plain(subject(finding.forget, finding.label))}"

    @property
    def reproducible(self) -> bool:
        return not any(c.spoils_verdicts for c in self.result.controls if c.forget == self.finding.forget)

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(m for m in self.result.family.members if (m.claim, m.forget) == self.key)

    @property
    def n_counted(self) -> tuple[int, int]:
        plan = self.result.plan
        return plan.n_counted, (plan.retrained or plan).n_counted

    def differs(self, what: str, stored: Any, recomputed: Any) -> SchemaError:
        return _differs(self.result, f"{self.about}: {what}", stored, recomputed)


def _differs(result: AuditResult, what: str, stored: Any, recomputed: Any) -> SchemaError:
    return SchemaError(
        f"{plain(result.title)}: {plain(what)}: stored {_text(stored)}, recomputed {_text(recomputed)}; the file was "
        "changed after it was written, or damaged: run the audit again."
    )


def _text(value: Any) -> str:
    return plain(str(value.value if isinstance(value, Verdict | Reason) else value))[:200]


def _keys(result: AuditResult) -> list[Key]:
    """Return the place of every finding: those of one forget set are in the order of the claims."""
    seen: Counter[tuple[int, ...]] = Counter()
    keys = []
    for finding in result.findings:
        keys.append((seen[finding.forget], finding.forget))
        seen[finding.forget] += 1
    return keys


def _check_coverage(result: AuditResult, said: Sequence[_Said]) -> None:
    """Every planned claim about every forget set has one finding, and every attack its members in the ledger."""
    plan, family = result.plan, result.family
    planned = [(i, forget) for forget in plan.forget for i in range(len(plan.claims))]
    found = [each.key for each in said]
    if not planned or Counter(planned) != Counter(found):
        lacking = next(iter(Counter(planned) - Counter(found)), None)
        about = "" if lacking is None else f", none on claim {lacking[0] + 1} about forget set {list(lacking[1])}"
        raise _differs(result, f"findings on the {len(planned)} planned claims{about}", len(found), len(planned))
    if not _close(plan.significance, family.significance):
        raise _differs(result, "the ledger's significance", family.significance, plan.significance)
    expected = Counter(
        (*each.key, attack, role) for each in said for attack in plan.attacks for role in _roles(each, attack)
    )
    listed = Counter((m.claim, m.forget, m.attack, m.role) for m in family.members)
    if not expected or expected != listed:
        odd = next(iter((expected - listed) + (listed - expected)), "no attack")
        raise _differs(result, f"members of the ledger, {odd}", sum(listed.values()), sum(expected.values()))
    spent = math.fsum(member.level for member in family.members)
    if spent > family.significance * (1 + _ROUNDING) or any(member.level <= 0 for member in family.members):
        raise _differs(result, "the sum of the ledger's levels", spent, f"at most {family.significance}")


def _roles(said: _Said, attack: str) -> tuple[Role, ...]:
    if isinstance(said.result.plan.counting, DeclaredThreshold):
        return ("claim_row",)
    if said.result.redaction is not None and said.finding.claim.provenance != "user":
        # The claim is withheld; what is left of it cannot say whether it had rows at the plan's delta.
        listed = {m.role for m in said.members}
        return ("claim_row", "plan_delta") if "plan_delta" in listed else ("claim_row",)
    return roles_of(said.finding.claim, said.result.plan.delta)


def _check_tests(said: _Said) -> None:
    """Tests are those that were planned, of points of the claim, and say what their counts say."""
    finding, plan = said.finding, said.result.plan
    if was_stopped(said.result, finding.forget):
        return
    points = _points(said)
    expected = [
        (attack, role)
        for attack in plan.attacks
        if attack not in finding.failures
        for role in _roles(said, attack)
        if points[role]
    ]
    found = [(test.bound.attack, test.role) for test in finding.tests]
    if Counter(found) != Counter(expected):
        raise said.differs("tests by attack and role", sorted(found), sorted(expected))
    levels = {(m.attack, m.role): m.level for m in said.members}
    for test in finding.tests:
        _check_test(said, test, points[test.role], levels[test.bound.attack, test.role])
    for sandwich in finding.sandwiches:
        bound = sandwich.bound
        if not any((test.role, test.bound) == (sandwich.role, bound) for test in finding.tests):
            raise said.differs(f"the bound quoted as {sandwich.role}", bound.value, "none of its tests")
        n_null = said.n_counted[bound.direction is Direction.UNLEARNED_FROM_RETRAINED]
        for what, stored, known in (
            ("claimed epsilon", sandwich.claimed, finding.claim.epsilon_at(bound.delta, bound.direction)),
            ("ceiling", sandwich.ceiling, ceiling(n_null=n_null, level=bound.level, delta=bound.delta)),
        ):
            if not _close(stored, known):
                raise said.differs(what, stored, known)
    if finding.tests and not finding.sandwiches:
        raise said.differs("bounds quoted", 0, "at least 1")
    check_history(finding, said.differs)


def _points(said: _Said) -> dict[Role, tuple[tuple[Direction, EpsilonDelta], ...]]:
    """Return what may be tested, by role."""
    claim, plan = said.finding.claim, said.result.plan
    rows, at_delta = claim_rows(claim), plan_delta_points(claim, plan.delta)
    if isinstance(plan.counting, DeclaredThreshold):
        return {"claim_row": (*rows, *at_delta), "plan_delta": ()}
    return {"claim_row": rows, "plan_delta": at_delta}


def _check_test(said: _Said, test: EventTest, points: Sequence[tuple[Direction, EpsilonDelta]], level: float) -> None:
    bound, point, plan = test.bound, test.point, said.result.plan
    what = f"{bound.attack}, {test.role}"
    if not _close(bound.level, level):
        raise said.differs(f"{what}, level", bound.level, level)
    near = (p for d, p in points if d is bound.direction and _close(p.epsilon, point.epsilon))
    if bound.delta != point.delta or not any(_close(p.delta, point.delta) for p in near):
        raise said.differs(f"{what}, point", f"({point.epsilon}, {point.delta})", "no point of the claim")
    sequential = isinstance(plan.counting, Sequential)
    method = "e_process" if sequential else "exact_joint"
    if bound.method != method:
        raise said.differs(f"{what}, method", bound.method, method)
    if bound.value > point.epsilon and test.p_value > level * (1 + _ROUNDING):
        raise said.differs(f"{what}, p-value where the bound exceeds the claim", test.p_value, f"at most {level}")
    if sequential:
        return
    counts = bound.counts
    if (counts.n_unlearned, counts.n_retrained) != said.n_counted:
        raise said.differs(f"{what}, counted trials", (counts.n_unlearned, counts.n_retrained), said.n_counted)
    side: dict[str, Any] = {"direction": bound.direction, "level": bound.level}
    p_value = p_value_of_counts(counts, test.p_value, point=point, **side)
    if p_value != test.p_value:
        raise said.differs(f"{what}, p-value", test.p_value, p_value)
    value = bound_of_counts(counts, bound.value, delta=point.delta, **side)
    if value != bound.value:
        raise said.differs(f"{what}, bound", bound.value, value)


def _check_verdicts(result: AuditResult, said: Sequence[_Said]) -> None:
    """Verdicts follow from p-values, controls and failures, by the family's correction."""
    if result.redaction is not None:
        for each in said:
            _check_withheld(each)
        return
    undecided = [replace(each.finding, reason=_spoiled(each)) for each in said]
    settled, family = settle(undecided, result.family, n_counted=said[0].n_counted)
    # The first version of the ledger did not say at which level each member was tested.
    has_levels = any(member.tested_at is not None for member in result.family.members)
    for each, known in zip(said, settled, strict=True):
        for what, stored, recomputed in _decisions(each.finding, known):
            if stored != recomputed and not (isinstance(stored, float) and _close(stored, recomputed)):
                raise each.differs(what, stored, recomputed)
    for listed, decided in zip(result.family.members, family.members, strict=True):
        same = listed.rejected == decided.rejected and _close(listed.tested_at or 0.0, decided.tested_at or 0.0)
        if has_levels and not same:
            about = f"{listed.attack}, {listed.role} of claim {listed.claim + 1}, rejected at"
            was, found = ((m.rejected, m.tested_at) for m in (listed, decided))
            raise _differs(result, about, was, found)


def _spoiled(said: _Said) -> Reason | None:
    """Return why nothing can be rejected, whatever was counted."""
    if not said.reproducible:
        return Reason.NOT_REPRODUCIBLE
    too_many = n_failed(said.finding.failed_chunks) > said.result.plan.max_failed
    return Reason.TRIALS_FAILED if too_many else None


def _decisions(stored: Finding, known: Finding) -> Iterator[tuple[str, Any, Any]]:
    # A run that was stopped has fewer trials than its plan, and says no more than that.
    if stored.reason is not Reason.CUT_SHORT or stored.verdict is not Verdict.INCONCLUSIVE:
        yield "verdict", stored.verdict, known.verdict
        yield "reason", stored.reason, known.reason
    yield "p-value", stored.p_value, known.p_value
    yield "level", stored.level, known.level
    for mine, other in zip(stored.tests, known.tests, strict=True):
        yield f"{mine.bound.attack}, {mine.role}, rejected", mine.rejected, other.rejected


def _check_withheld(said: _Said) -> None:
    """Of a result whose numbers were withheld the verdict must follow from its ledger, controls and failures."""
    finding, stored = said.finding, said.finding.verdict
    if _spoiled(said) is not None:
        known = Verdict.INCONCLUSIVE
    elif any(member.rejected for member in said.members):
        known = Verdict.REFUTED
    elif finding.failures or all(member.tested_at is None for member in said.members):
        known = Verdict.INCONCLUSIVE
    else:
        known = Verdict.NOT_REFUTED
    # Whether so few trials could have refuted it depends on the claim, which may be withheld.
    hopeless = finding.reason is Reason.CANNOT_BE_REFUTED_AT_THIS_N and known is Verdict.NOT_REFUTED
    if stored is not known and not (stored is Verdict.INCONCLUSIVE and hopeless):
        raise said.differs("verdict", stored, known)


def _close(stored: float, known: float) -> bool:
    return math.isclose(stored, known, rel_tol=_ROUNDING, abs_tol=1e-12)
