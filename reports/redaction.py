"""Withhold what says most about single records: which they are, what they look like, and epsilon for each of them.

In the flow: applied to a result before anything is written, so that every format, JSON included, withholds the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from audit.records.evidence import Finding
from audit.records.filing.case import withheld
from audit.records.ledger import Control, DataRecord, Family, PlanRecord
from audit.records.redaction import Average, Redaction
from audit.records.result import AuditCollection, AuditResult
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, EpsilonDelta

T = TypeVar("T")
Reportable = AuditResult | AuditCollection
# An average over fewer deletions would nearly give away each of them.
LEAST = 5
WITHHELD = "withheld"
Forget = tuple[int, ...]


def redact(value: Reportable) -> Reportable:
    """Return a copy without record identifiers, labels, previews, and epsilon or noise of single records.

    Verdicts, levels, sizes, controls, seed, versions and the hash of the data stay, and averages over at least five
    deletions. Free text (titles, the command, tables of facts, the case) goes, as nobody can tell what it names; so do
    the days of a case. Withholding is not anonymising: verdicts and averages still depend on the records.

    Parameters
    ----------
    value
        A result or a collection; what is redacted already is returned as it is.
    """
    if isinstance(value, AuditCollection):
        results = tuple(_redacted(result) for result in value.results)
        case = None if value.case is None else withheld(value.case)
        return AuditCollection(title=f"{len(results)} audits", introduction="", results=results, case=case)
    return _redacted(value)


def without_values(value: Reportable) -> Reportable:
    """Return a copy without previews of deleted records; which they are, and all numbers, stay."""
    if isinstance(value, AuditCollection):
        return replace(value, results=tuple(_unseen(result) for result in value.results))
    return _unseen(value)


def _unseen(result: AuditResult) -> AuditResult:
    return replace(result, findings=tuple(replace(finding, preview=()) for finding in result.findings))


def is_withheld(finding: Finding) -> bool:
    """Return whether the guarantee of a redacted finding's claim was withheld."""
    return finding.claim.provenance != "user"


def _redacted(result: AuditResult) -> AuditResult:
    if result.redaction is not None:
        return result
    names = _names(result)
    data = _data(result.data)
    forget_sets = sorted(names.values(), reverse=True)
    return replace(
        result,
        title=f"Audit of {data.name}" if data.is_given else f"Audit of {result.mechanism} on {data.name}",
        plan=_plan(result, forget_sets),
        findings=_in_order([_finding(f, names, result.plan.delta) for f in result.findings], forget_sets),
        controls=_in_order([_control(control, names) for control in result.controls], forget_sets),
        family=_family(result.family, names, forget_sets),
        data=data,
        environment=replace(result.environment, command=None),
        case=None if result.case is None else withheld(result.case),
        redaction=Redaction(
            least=LEAST, ceiling=_ceiling(result), detectable=_detectable(result), averages=_averages(result)
        ),
    )


def _names(result: AuditResult) -> dict[Forget, Forget]:
    """Return a negative number for each forget set, in an order that depends on what is still shown alone.

    The order of a plan often says more than the verdicts do: hardest first, say.
    """

    def shown(forget: Forget) -> str:
        findings = [
            (f.verdict.value, f.level, sorted(f.failures), [(c.key, c.n) for c in f.failed_chunks])
            for f in result.findings
            if f.forget == forget
        ]
        controls = [_control(c, {forget: (0,)}) for c in result.controls if c.forget == forget]
        members = [(m.claim, m.attack, m.role, m.rejected) for m in result.family.members if m.forget == forget]
        return repr((findings, [vars(c) for c in controls], members))

    found = dict.fromkeys((*result.plan.forget, *(f.forget for f in result.findings)))
    return {forget: (-i - 1,) for i, forget in enumerate(sorted(found, key=shown))}


def _in_order(items: Sequence[T], forget_sets: Sequence[Forget]) -> tuple[T, ...]:
    places = {forget: i for i, forget in enumerate(forget_sets)}
    return tuple(sorted(items, key=lambda item: places.get(getattr(item, "forget", ()), len(places))))


def _finding(finding: Finding, names: dict[Forget, Forget], delta: float) -> Finding:
    refuted = finding.verdict is Verdict.REFUTED
    return Finding(
        claim=_claim(finding.claim, delta),
        forget=names[finding.forget],
        label="",
        verdict=finding.verdict,
        reason=finding.reason,
        p_value=finding.level if refuted else 1.0,
        level=finding.level,
        tests=(),
        sandwiches=(),
        roc=(),
        failures=dict.fromkeys(finding.failures, WITHHELD),
        # What was raised is free text, which may name a record.
        failed_chunks=tuple(replace(c, message=WITHHELD, traceback="") for c in finding.failed_chunks),
        certificates=(),
        parameters={},
        preview=(),
    )


def _claim(claim: Claim, delta: float) -> Claim:
    """A user's claim is a promise made for everyone; any other was computed for its record."""
    if claim.provenance == "user":
        return claim
    return replace(claim, guarantee=EpsilonDelta(epsilon=math.inf, delta=delta), assumptions=())


def _control(control: Control, names: dict[Forget, Forget]) -> Control:
    # How plainly an ignored deletion is seen, and how far it lies, says how much the record weighs.
    p_value = None if control.name in ("neglected", "reference") else control.p_value
    return replace(
        control,
        forget=names.get(control.forget, ()),
        label="",
        message=WITHHELD,
        p_value=p_value,
        bound=None,
        worth=None,
    )


def _family(family: Family, names: dict[Forget, Forget], forget_sets: Sequence[Forget]) -> Family:
    members = [replace(member, forget=names.get(member.forget, ())) for member in family.members]
    return replace(family, members=_in_order(members, forget_sets))


def _plan(result: AuditResult, forget_sets: Sequence[Forget]) -> PlanRecord:
    n_claims = len(result.plan.claims)
    kept = dict.fromkeys(range(n_claims), True)
    for i, finding in _with_positions(result.findings):
        kept[i] = kept.get(i, True) and not is_withheld(finding)
    texts = tuple(
        text if kept[i] else f"claim {i + 1}, computed for its record" for i, text in enumerate(result.plan.claims)
    )
    return replace(result.plan, claims=texts, forget=tuple(forget_sets), labels=())


def _data(data: DataRecord) -> DataRecord:
    """The names of given files may name a record; a data set's name does not."""
    return replace(data, name=f"given {data.kind}") if data.is_given else data


def _with_positions(findings: Sequence[Finding]) -> list[tuple[int, Finding]]:
    """Return each finding with the position of its claim in the plan."""
    seen: dict[Forget, int] = {}
    found = []
    for finding in findings:
        position = seen.get(finding.forget, 0)
        seen[finding.forget] = position + 1
        found.append((position, finding))
    return found


def _ceiling(result: AuditResult) -> float | None:
    ceilings = [s.ceiling for f in result.findings for s in f.sandwiches if s.bound.delta == result.plan.delta]
    return max(ceilings, default=None)


def _detectable(result: AuditResult) -> tuple[float | None, ...]:
    """Return what each user's claim could have been refuted from: its row is the plan's or the claim's own."""
    found: list[float | None] = [None] * len(result.plan.claims)
    for i, finding in _with_positions(result.findings):
        rows = finding.sandwiches
        if not isinstance(finding.claim.guarantee, EpsilonDelta):
            rows = tuple(s for s in rows if s.bound.delta == result.plan.delta)
        if i < len(found) and rows and not is_withheld(finding):
            found[i] = max(rows[0].detectable_epsilon, found[i] or 0.0)
    return tuple(found)


def _averages(result: AuditResult) -> tuple[Average, ...]:
    grouped: dict[int, list[Finding]] = {}
    for position, finding in _with_positions(result.findings):
        grouped.setdefault(position, []).append(finding)
    return tuple(average for position, findings in grouped.items() if (average := _average(position, findings, result)))


def _average(position: int, findings: Sequence[Finding], result: AuditResult) -> Average | None:
    """Return the means at the plan's delta, where every deletion has a number; ``None`` when there are too few."""
    shown = [next((s for s in f.sandwiches if s.bound.delta == result.plan.delta), None) for f in findings]
    found = [sandwich for sandwich in shown if sandwich is not None]
    if len(found) < max(LEAST, len(findings)):
        return None
    exact = [s.exact for s in found if s.exact is not None]
    return Average(
        claim=position,
        delta=result.plan.delta,
        n_deletions=len(found),
        bound=_mean([s.bound.value for s in found]),
        claimed=_mean([s.claimed for s in found]),
        exact=_mean(exact) if len(exact) == len(found) else None,
        detectable=_mean([s.detectable_epsilon for s in found]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
