"""How evidence becomes a verdict.

``audit.run`` audits a mechanism; ``audit.AuditPlan`` is what it follows and ``audit.AuditResult`` what it returns.
Names are loaded on first use, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.plan import AuditPlan, Bonferroni, CertifiedClaim
    from audit.result import AuditCollection, AuditResult, Finding, load_json
    from audit.runner import run
    from audit.split import Split
    from audit.trials import Engine
    from audit.verdict import Reason, Verdict

_HOMES = {
    "AuditPlan": "audit.plan",
    "Bonferroni": "audit.plan",
    "CertifiedClaim": "audit.plan",
    "AuditCollection": "audit.result",
    "AuditResult": "audit.result",
    "Finding": "audit.result",
    "load_json": "audit.result",
    "run": "audit.runner",
    "Split": "audit.split",
    "Engine": "audit.trials",
    "Reason": "audit.verdict",
    "Verdict": "audit.verdict",
}

__all__ = [
    "AuditCollection",
    "AuditPlan",
    "AuditResult",
    "Bonferroni",
    "CertifiedClaim",
    "Engine",
    "Finding",
    "Reason",
    "Split",
    "Verdict",
    "load_json",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
