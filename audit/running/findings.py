"""Turn the tests of one claim about one forget set into a finding."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from audit.gathering.contrast import Evidence
from audit.gathering.selection import claim_rows, plan_delta_points
from audit.gathering.telling_apart import best_cut, roc_thresholds
from audit.gathering.testing import best_test, run_tests
from audit.power.betting_power import detectable_by_betting
from audit.power.ceilings import ceiling, detectable_epsilon, refutable
from audit.records.estimates import Estimate
from audit.records.evidence import EpsilonLowerBound, EventTest, Finding, Roc, Sandwich
from audit.records.figures.histograms import ScoreHistogram, histogram_of
from audit.records.figures.history import History
from audit.records.ledger import Family, Member
from audit.records.verdict import Reason, decide
from audit.running.previews import previews_of
from audit.statistics.multiplicity import MemberKey, Role, decide_family
from audit.trials.failed_chunks import FailedChunk, n_failed
from mechanisms.claim import Certificate, Claim, Direction, EpsilonDelta
from mechanisms.reading.records import RecordSet

_REJECTS_NOTHING = (Reason.NOT_REPRODUCIBLE, Reason.TRIALS_FAILED)


def roles_of(claim: Claim, delta: float) -> tuple[Role, ...]:
    """Return the hypotheses that are tested for a claim with each attack; depends on the claim alone."""
    return ("claim_row", "plan_delta") if plan_delta_points(claim, delta) else ("claim_row",)


def make_finding(
    *,
    claim: Claim,
    forget: tuple[int, ...],
    label: str,
    evidence: Evidence,
    delta: float,
    levels: Mapping[Role, float],
    reproducible: bool,
    n_counted: tuple[int, int],
    certificates: tuple[Certificate, ...],
    parameters: Mapping[str, int | float | str],
    data: RecordSet,
    estimates: tuple[Estimate, ...] = (),
    tests: tuple[EventTest, ...] | None = None,
    independence_checked: bool = True,
    failed: tuple[FailedChunk, ...] = (),
    max_failed: int = 0,
) -> Finding:
    """Return the finding about one claim and forget set, decided as if each test had its own share of the level.

    :func:`settle` decides anew when the p-values of the whole family are known.

    Parameters
    ----------
    levels
        Shares of the significance by role, from the ledger.
    n_counted
        Counted trials of the unlearned and the retrained world.
    tests
        Of events that were declared in advance; by default they are chosen on the fit split.
    independence_checked
        Whether the order of the trials could show that they depend on each other.
    failed, max_failed
        Chunks that failed, and how many trials may.
    """
    rows, at_delta = claim_rows(claim), plan_delta_points(claim, delta)
    # A declared threshold has no fit split: what was prepared are the counted scores.
    declared = tests is not None
    if tests is None:
        hypotheses = dict.fromkeys(evidence.prepared, (("claim_row", rows), ("plan_delta", at_delta)))
        tests = run_tests(evidence, hypotheses, levels=levels)  # type: ignore[arg-type]
    verdict, reason = decide(
        rejected=any(test.rejected for test in tests),
        reproducible=reproducible,
        too_many_failed=n_failed(failed) > max_failed,
        attack_failed=bool(evidence.failures),
        refutable=refutable(claim, n_unlearned=n_counted[0], n_retrained=n_counted[1], level=max(levels.values())),
    )
    sandwiches = _sandwiches(claim, tests, certificates, n_counted)
    return Finding(
        claim=claim,
        forget=forget,
        label=label,
        verdict=verdict,
        reason=reason,
        p_value=min((test.p_value for test in tests), default=1.0),
        level=levels["claim_row"],
        tests=tests,
        sandwiches=sandwiches,
        roc=tuple(_roc(name, evidence, not declared) for name in evidence.prepared),
        failures=dict(evidence.failures),
        certificates=certificates,
        parameters=dict(parameters),
        preview=previews_of(data, forget),
        estimates=estimates,
        history=_history(evidence, rows, tests, sandwiches),
        histograms=tuple(_histogram(name, evidence) for name in evidence.prepared if len(evidence.unlearned[name])),
        independence_checked=independence_checked,
        failed_chunks=failed,
    )


def settle(
    findings: Sequence[Finding], family: Family, *, n_counted: tuple[int, int]
) -> tuple[tuple[Finding, ...], Family]:
    """Return the findings with their verdicts, and the ledger with what was spent, by the family's correction.

    Parameters
    ----------
    findings
        Of :func:`make_finding`: forget set by forget set, each in the order of the claims.
    family
        The ledger, from before the trials.
    n_counted
        Counted trials of the unlearned and the retrained world.

    Notes
    -----
    Verdicts follow from the decision; the bounds stay at their shares, at which they hold together. Evidence
    from a sampler that is not reproducible, or that failed too often, rejects nothing, and so frees no level for other
    claims.
    """
    keys, seen = [], Counter[tuple[int, ...]]()
    for finding in findings:
        keys.append((seen[finding.forget], finding.forget))
        seen[finding.forget] += 1
    p_values: dict[MemberKey, float] = {
        (*key, test.bound.attack, test.role): test.p_value
        for key, finding in zip(keys, findings, strict=True)
        if finding.reason not in _REJECTS_NOTHING
        for test in finding.tests
    }
    decided = decide_family(family, p_values)
    members = {(m.claim, m.forget, m.attack, m.role): m for m in decided.members}
    settled = tuple(
        _settled(finding, {(m.attack, m.role): m for k, m in members.items() if k[:2] == key}, n_counted)
        for key, finding in zip(keys, findings, strict=True)
    )
    return settled, decided


def _settled(finding: Finding, members: Mapping[tuple[str, str], Member], n_counted: tuple[int, int]) -> Finding:
    """Return a finding as its members in the decided ledger have it."""
    mine = [members[test.bound.attack, test.role] for test in finding.tests]
    highest = max((member.tested_at or 0.0 for member in members.values()), default=0.0)
    verdict, reason = decide(
        rejected=any(member.rejected for member in mine),
        reproducible=finding.reason is not Reason.NOT_REPRODUCIBLE,
        too_many_failed=finding.reason is Reason.TRIALS_FAILED,
        tested=highest > 0,
        attack_failed=bool(finding.failures),
        refutable=highest > 0
        and refutable(finding.claim, n_unlearned=n_counted[0], n_retrained=n_counted[1], level=highest),
    )
    tests = tuple(replace(test, rejected=member.rejected) for test, member in zip(finding.tests, mine, strict=True))
    levels = dict(zip(tests, (member.tested_at or 0.0 for member in mine), strict=True))
    settled = replace(finding, verdict=verdict, reason=reason, tests=tests)
    return _quoting(settled, levels, n_counted) if tests else settled


def _quoting(finding: Finding, levels: Mapping[EventTest, float], n_counted: tuple[int, int]) -> Finding:
    """Return a finding that quotes what its verdict rests on, by the levels at which its tests were made.

    A sequence may end before the test with the smallest p-value, which then says nothing.
    """
    tests = finding.tests
    quoted = [test for test in tests if test.rejected] or [test for test in tests if levels[test] > 0] or list(tests)
    best = min(quoted, key=lambda test: test.p_value)
    sandwiches = finding.sandwiches
    if min(tests, key=lambda test: test.p_value) is not best:
        shown = [test for test in tests if test in quoted or test.role != "claim_row"]
        sandwiches = _sandwiches(finding.claim, shown, finding.certificates, n_counted)
    return replace(finding, p_value=best.p_value, level=levels[best], sandwiches=sandwiches)


def _history(
    evidence: Evidence,
    rows: Sequence[tuple[Direction, EpsilonDelta]],
    tests: Sequence[EventTest],
    sandwiches: Sequence[Sandwich],
) -> History | None:
    """Return how the evidence grew in an audit that stops when decided, with a curve for each sandwich."""
    if evidence.followed is None:
        return None
    chosen = [test for s in sandwiches for test in tests if (test.role, test.bound) == (s.role, s.bound)]
    return evidence.followed.history(rows, chosen)


def _sandwiches(
    claim: Claim,
    tests: Sequence[EventTest],
    certificates: Sequence[Certificate],
    n_counted: tuple[int, int],
) -> tuple[Sandwich, ...]:
    found = []
    for role in ("claim_row", "plan_delta"):
        mine = [test for test in tests if test.role == role]
        if mine:
            # At a fixed delta the largest bound is the best; across rows of the table the strongest test is.
            best = best_test(mine) if role == "claim_row" else max(mine, key=lambda test: test.bound.value)
            found.append(_sandwich(claim, best, certificates, n_counted))
    return tuple(found)


def _sandwich(
    claim: Claim,
    test: EventTest,
    certificates: Sequence[Certificate],
    n_counted: tuple[int, int],
) -> Sandwich:
    bound, level = test.bound, test.bound.level
    n1, n0 = n_counted if bound.direction is Direction.UNLEARNED_FROM_RETRAINED else n_counted[::-1]
    return Sandwich(
        role=test.role,
        bound=bound,
        exact=_exact(claim, bound, certificates),
        claimed=claim.epsilon_at(bound.delta, bound.direction),
        ceiling=ceiling(n_null=n0, level=level, delta=bound.delta),
        detectable_epsilon=(
            detectable_by_betting(point=test.point, n=min(n1, n0), level=level)
            if bound.method == "e_process"
            else detectable_epsilon(point=test.point, n1=n1, n0=n0, level=level)
        ),
    )


def _exact(claim: Claim, bound: EpsilonLowerBound, certificates: Sequence[Certificate]) -> float | None:
    """Return exact epsilon from a certificate about the same reference world, as data; never computed here."""
    for certificate in certificates:
        stated = certificate.claim
        if stated.provenance == "exact" and stated.reference is claim.reference:
            epsilon = stated.epsilon_at(bound.delta, bound.direction)
            return None if math.isinf(epsilon) and not math.isinf(certificate.epsilon) else epsilon
    return None


def _roc(name: str, evidence: Evidence, chosen: bool) -> Roc:
    prepared = evidence.prepared[name]
    thresholds = roc_thresholds(prepared)
    unlearned, retrained = np.sort(evidence.unlearned[name]), np.sort(evidence.retrained[name])

    def above(scores: np.ndarray) -> tuple[int, ...]:
        return tuple(int(k) for k in len(scores) - np.searchsorted(scores, thresholds, side="right"))

    return Roc(
        attack=name,
        n_unlearned=len(unlearned),
        n_retrained=len(retrained),
        thresholds=tuple(float(t) for t in thresholds),
        k_unlearned=above(unlearned),
        k_retrained=above(retrained),
        cut=best_cut(prepared) if chosen else None,
    )


def _histogram(name: str, evidence: Evidence) -> ScoreHistogram:
    # A family of attacks says which of its members it chose; other fits have no such word.
    member = getattr(evidence.prepared[name].fitted, "member", None)
    return histogram_of(name, evidence.unlearned[name], evidence.retrained[name], member=member)
