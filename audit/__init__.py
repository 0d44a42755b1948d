"""How evidence becomes a verdict.

``audit.run`` audits a mechanism; ``audit.AuditPlan`` is what it follows and ``audit.AuditResult`` what it returns.
Names are loaded on first use, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from audit.given.auditing import from_scores
    from audit.given.files import read_scores
    from audit.lots.auditing import follow_stream, from_lots, which_record
    from audit.lots.averaging import AveragedClaim, averaged_claim
    from audit.lots.result import LotsResult
    from audit.lots.running import run_lots
    from audit.models.assigning import Assignment, assign_status
    from audit.models.following.deletion import follow_models
    from audit.models.following.records import follow_status
    from audit.models.measuring import measure_models
    from audit.models.one_deletion import from_models
    from audit.models.per_record import from_status
    from audit.models.reading import read_models
    from audit.models.stored import StoredModels
    from audit.plan.audit_plan import AuditPlan, Bonferroni, CertifiedClaim, FixedSequence, Holm
    from audit.plan.split import Sequential, Split
    from audit.power.forecasts import Forecast
    from audit.records.estimates import Estimate
    from audit.records.evidence import Finding
    from audit.records.measures import MeasureResult
    from audit.records.models import ModelsResult
    from audit.records.result import AuditCollection, AuditResult
    from audit.records.verdict import Reason, Verdict
    from audit.regression.comparing import compare
    from audit.regression.comparison import Comparison, Margins, Outcome
    from audit.regression.frozen import Auditable, count_frozen_events
    from audit.running.forecast_plan import forecast
    from audit.running.measuring import measure
    from audit.running.replaying import ReplayedChunk, replay_chunk
    from audit.running.runner import run, run_services
    from audit.running.same_randomness import same_randomness
    from audit.running.shared_noise import SameRandomness
    from audit.running.stored import load_json
    from audit.trials.cluster import DaskEngine
    from audit.trials.engines import Engine
    from audit.trials.store import Storage
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "audit.given.auditing": "from_scores",
            "audit.given.files": "read_scores",
            "audit.lots.auditing": "follow_stream from_lots which_record",
            "audit.lots.averaging": "AveragedClaim averaged_claim",
            "audit.lots.result": "LotsResult",
            "audit.lots.running": "run_lots",
            "audit.models.assigning": "Assignment assign_status",
            "audit.models.following.deletion": "follow_models",
            "audit.models.following.records": "follow_status",
            "audit.models.measuring": "measure_models",
            "audit.models.one_deletion": "from_models",
            "audit.models.per_record": "from_status",
            "audit.models.reading": "read_models",
            "audit.models.stored": "StoredModels",
            "audit.plan.audit_plan": "AuditPlan Bonferroni CertifiedClaim FixedSequence Holm",
            "audit.plan.split": "Sequential Split",
            "audit.power.forecasts": "Forecast",
            "audit.records.estimates": "Estimate",
            "audit.records.evidence": "Finding",
            "audit.records.measures": "MeasureResult",
            "audit.records.models": "ModelsResult",
            "audit.records.result": "AuditCollection AuditResult",
            "audit.running.shared_noise": "SameRandomness",
            "audit.records.verdict": "Reason Verdict",
            "audit.regression.comparing": "compare",
            "audit.regression.comparison": "Comparison Margins Outcome",
            "audit.regression.frozen": "Auditable count_frozen_events",
            "audit.running.forecast_plan": "forecast",
            "audit.running.measuring": "measure",
            "audit.running.replaying": "ReplayedChunk replay_chunk",
            "audit.running.runner": "run run_services",
            "audit.running.same_randomness": "same_randomness",
            "audit.running.stored": "load_json",
            "audit.trials.cluster": "DaskEngine",
            "audit.trials.engines": "Engine",
            "audit.trials.store": "Storage",
        },
    )

__all__ = [
    "Assignment",
    "AuditCollection",
    "AuditPlan",
    "AuditResult",
    "Auditable",
    "AveragedClaim",
    "Bonferroni",
    "CertifiedClaim",
    "Comparison",
    "DaskEngine",
    "Engine",
    "Estimate",
    "Finding",
    "FixedSequence",
    "Forecast",
    "Holm",
    "LotsResult",
    "Margins",
    "MeasureResult",
    "ModelsResult",
    "Outcome",
    "Reason",
    "ReplayedChunk",
    "SameRandomness",
    "Sequential",
    "Split",
    "Storage",
    "StoredModels",
    "Verdict",
    "assign_status",
    "averaged_claim",
    "compare",
    "count_frozen_events",
    "follow_models",
    "follow_status",
    "follow_stream",
    "forecast",
    "from_lots",
    "from_models",
    "from_scores",
    "from_status",
    "load_json",
    "measure",
    "measure_models",
    "read_models",
    "read_scores",
    "replay_chunk",
    "run",
    "run_lots",
    "run_services",
    "same_randomness",
    "which_record",
]
