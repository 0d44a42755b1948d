"""Turn the tests of one claim about one forget set into a finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from audit.contrast import Evidence
from audit.planning import ceiling, detectable_epsilon, refutable
from audit.previews import make_previews
from audit.result import EpsilonLowerBound, EventTest, Finding, Roc, Sandwich
from audit.selection import candidate_thresholds, claim_rows, plan_delta_points
from audit.testing import Role, best_test, run_tests
from audit.verdict import decide
from mechanisms.claim import Certificate, Claim, Direction
from mechanisms.dataset import Dataset

MAX_PREVIEWS = 4
MAX_ROC_POINTS = 60


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
    level: float,
    reproducible: bool,
    n_counted: tuple[int, int],
    certificates: tuple[Certificate, ...],
    parameters: Mapping[str, int | float | str],
    data: Dataset,
) -> Finding:
    """Return the finding about one claim and forget set.

    Parameters
    ----------
    level
        Level of each test, from the ledger.
    n_counted
        Counted trials of the unlearned and the retrained world.
    """
    rows, at_delta = claim_rows(claim), plan_delta_points(claim, delta)
    hypotheses = dict.fromkeys(evidence.prepared, (("claim_row", rows), ("plan_delta", at_delta)))
    tests = run_tests(evidence, hypotheses, level=level)  # type: ignore[arg-type]
    verdict, reason = decide(
        rejected=any(test.rejected for test in tests),
        reproducible=reproducible,
        attack_failed=bool(evidence.failures),
        refutable=refutable(claim, n_unlearned=n_counted[0], n_retrained=n_counted[1], level=level),
    )
    return Finding(
        claim=claim,
        forget=forget,
        label=label,
        verdict=verdict,
        reason=reason,
        p_value=min((test.p_value for test in tests), default=1.0),
        level=level,
        tests=tests,
        sandwiches=_sandwiches(claim, tests, certificates, n_counted, level),
        roc=tuple(_roc(name, evidence) for name in evidence.prepared),
        failures=dict(evidence.failures),
        certificates=certificates,
        parameters=dict(parameters),
        preview=make_previews(data, forget[:MAX_PREVIEWS]),
    )


def _sandwiches(
    claim: Claim,
    tests: Sequence[EventTest],
    certificates: Sequence[Certificate],
    n_counted: tuple[int, int],
    level: float,
) -> tuple[Sandwich, ...]:
    found = []
    for role in ("claim_row", "plan_delta"):
        mine = [test for test in tests if test.role == role]
        if mine:
            # At a fixed delta the largest bound is the best; across rows of the table the strongest test is.
            best = best_test(mine) if role == "claim_row" else max(mine, key=lambda test: test.bound.value)
            found.append(_sandwich(claim, best, certificates, n_counted, level))
    return tuple(found)


def _sandwich(
    claim: Claim,
    test: EventTest,
    certificates: Sequence[Certificate],
    n_counted: tuple[int, int],
    level: float,
) -> Sandwich:
    bound = test.bound
    n1, n0 = n_counted if bound.direction is Direction.UNLEARNED_FROM_RETRAINED else n_counted[::-1]
    return Sandwich(
        role=test.role,
        bound=bound,
        exact=_exact(claim, bound, certificates),
        claimed=claim.epsilon_at(bound.delta, bound.direction),
        ceiling=ceiling(n_null=n0, level=level, delta=bound.delta),
        detectable_epsilon=detectable_epsilon(point=test.point, n1=n1, n0=n0, level=level),
    )


def _exact(claim: Claim, bound: EpsilonLowerBound, certificates: Sequence[Certificate]) -> float | None:
    """Return exact epsilon from a certificate about the same reference world, as data; never computed here."""
    for certificate in certificates:
        stated = certificate.claim
        if stated.provenance == "exact" and stated.reference is claim.reference:
            epsilon = stated.epsilon_at(bound.delta, bound.direction)
            return None if math.isinf(epsilon) and not math.isinf(certificate.epsilon) else epsilon
    return None


def _roc(name: str, evidence: Evidence) -> Roc:
    prepared = evidence.prepared[name]
    thresholds = candidate_thresholds(prepared.unlearned, prepared.retrained)
    if len(thresholds) > MAX_ROC_POINTS:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, MAX_ROC_POINTS).round().astype(int)]
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
    )
