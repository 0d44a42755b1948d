"""The finding on one claim about rows that were given: no record, mechanism or certificate is known.

In the flow: :mod:`audit.given.auditing` asks when rows are gathered, and ``audit.models.following`` at every look.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.gathering.contrast import Evidence
from audit.given.rows import no_data
from audit.plan.audit_plan import AuditPlan
from audit.records.estimates import Estimate
from audit.records.evidence import EventTest, Finding
from audit.records.ledger import Control, Family
from audit.running.findings import make_finding, settle
from audit.statistics.multiplicity import role_levels
from mechanisms.claim import Claim


def judge(
    claim: Claim,
    evidence: Evidence,
    plan: AuditPlan,
    family: Family,
    controls: Sequence[Control],
    *,
    n_counted: tuple[int, int],
    estimates: tuple[Estimate, ...] = (),
    tests: tuple[EventTest, ...] | None = None,
    independence_checked: bool = True,
) -> tuple[tuple[Finding, ...], Family]:
    """Return the finding with its verdict, and the ledger with what was spent.

    Parameters
    ----------
    claim, evidence, plan, family, controls
        What is claimed, gathered and planned, the ledger from before, and the controls, of which any may spoil the
        verdict.
    n_counted, estimates, tests, independence_checked
        As for :func:`audit.running.findings.make_finding`.
    """
    finding = make_finding(
        claim=claim,
        forget=(),
        label="",
        evidence=evidence,
        delta=plan.delta,
        levels=role_levels(family, claim=0, forget=()),
        reproducible=not any(control.spoils_verdicts for control in controls),
        n_counted=n_counted,
        certificates=(),
        parameters={},
        data=no_data(),
        estimates=estimates,
        tests=tests,
        independence_checked=independence_checked,
    )
    return settle([finding], family, n_counted=n_counted)
