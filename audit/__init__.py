"""How evidence becomes a verdict.

``audit.run`` audits a mechanism; ``audit.AuditPlan`` is what it follows and ``audit.AuditResult`` what it returns.
Names are loaded on first use, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.given.auditing import from_scores
    from audit.plan.audit_plan import AuditPlan, Bonferroni, CertifiedClaim, FixedSequence, Holm
    from audit.plan.split import Sequential, Split
    from audit.power.forecasts import Forecast
    from audit.records.evidence import Finding
    from audit.records.result import AuditCollection, AuditResult, load_json
    from audit.records.verdict import Reason, Verdict
    from audit.regression.comparing import compare
    from audit.regression.comparison import Comparison, Margins, Outcome
    from audit.regression.frozen import Auditable, count_frozen_events
    from audit.running.forecast_plan import forecast
    from audit.running.runner import run
    from audit.trials.engines import Engine

_HOMES = {
    "AuditPlan": "audit.plan.audit_plan",
    "Bonferroni": "audit.plan.audit_plan",
    "CertifiedClaim": "audit.plan.audit_plan",
    "FixedSequence": "audit.plan.audit_plan",
    "Holm": "audit.plan.audit_plan",
    "AuditCollection": "audit.records.result",
    "AuditResult": "audit.records.result",
    "Finding": "audit.records.result",
    "Auditable": "audit.regression.frozen",
    "Comparison": "audit.regression.comparison",
    "Margins": "audit.regression.comparison",
    "Outcome": "audit.regression.comparison",
    "compare": "audit.regression.comparing",
    "count_frozen_events": "audit.regression.frozen",
    "from_scores": "audit.given.auditing",
    "Forecast": "audit.power.forecasts",
    "forecast": "audit.running.forecast_plan",
    "load_json": "audit.records.result",
    "run": "audit.running.runner",
    "Sequential": "audit.plan.split",
    "Split": "audit.plan.split",
    "Engine": "audit.trials.engines",
    "Reason": "audit.records.verdict",
    "Verdict": "audit.records.verdict",
}

__all__ = [
    "AuditCollection",
    "AuditPlan",
    "AuditResult",
    "Auditable",
    "Bonferroni",
    "CertifiedClaim",
    "Comparison",
    "Engine",
    "Finding",
    "FixedSequence",
    "Forecast",
    "Holm",
    "Margins",
    "Outcome",
    "Reason",
    "Sequential",
    "Split",
    "Verdict",
    "compare",
    "count_frozen_events",
    "forecast",
    "from_scores",
    "load_json",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return what is loaded and what can be, so that ``help(audit)`` and completion show the latter too."""
    return sorted({*globals(), *__all__})
