"""What a result says of its own origin: the plan, the data and the environment, as data."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from datetime import datetime
from pathlib import Path

from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.records.ledger import DataRecord, Environment, PlanRecord, Trainings
from audit.records.words.phrases import covered
from audit.records.words.rounding import counted
from audit.trials.engines import Streams
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Guarantee
from mechanisms.dataset import Dataset
from mechanisms.protocol import Access, HasNotes
from mechanisms.reading.records import RecordSet

# Kind of data that are no matrices of numbers.
RECORDS = "records"
LIBRARIES = ("unlearn-audit", "numpy", "scipy", "scikit-learn", "joblib")


def claim_text(claim: Claim | CertifiedClaim) -> str:
    """Return a claim in the words of a plan."""
    if isinstance(claim, CertifiedClaim):
        return f"the {claim.method} certificate's claim"
    return _guarantee_text(claim.guarantee) + covered(claim)


def _guarantee_text(guarantee: Guarantee) -> str:
    if isinstance(guarantee, EpsilonDelta):
        return f"epsilon = {guarantee.epsilon:g} at delta = {guarantee.delta:g}"
    if isinstance(guarantee, GaussianDP):
        return f"Gaussian DP with mu = {guarantee.mu:g}"
    return f"a privacy profile of {counted(len(guarantee.epsilons), 'row')}"


def plan_record(plan: AuditPlan, access: Access | None = None, *, trainings: Trainings | None = None) -> PlanRecord:
    """Return a plan as data, what attackers saw, and what it trains."""
    return PlanRecord(
        claims=tuple(claim_text(claim) for claim in plan.claims),
        forget=plan.forget,
        labels=plan.labels,
        attacks=tuple(attack.name for attack in plan.attackers),
        trials=plan.trials,
        n_fit=plan.n_fit,
        n_counted=plan.n_counted,
        control_trials=plan.n_control_trials,
        counting=plan.counting,
        significance=plan.significance,
        delta=plan.delta,
        seed=plan.seed,
        chunk_size=plan.chunk_size,
        access=access,
        max_failed=plan.max_failed,
        trial_timeout=plan.trial_timeout,
        replay=plan.replay,
        share_learned=plan.share_learned,
        trainings=trainings,
    )


def data_record(data: RecordSet, mechanism: object = None) -> DataRecord:
    """Return which data these are, and what is to be known of them and of the mechanism on them."""
    if not isinstance(data, Dataset):
        return DataRecord(
            name=data.name,
            sha256=data.sha256(),
            n_records=len(data),
            n_features=None,
            n_targets=None,
            kind=RECORDS,
        )
    return DataRecord(
        name=data.name,
        sha256=data.sha256(),
        n_records=data.n_records,
        n_features=data.features.shape[1],
        n_targets=data.targets.shape[1],
        kind=data.kind,
        notes=(*data.notes, *(mechanism.notes_on(data) if isinstance(mechanism, HasNotes) else ())),
    )


def environment_of(started: datetime, seconds: float, engine: Streams, command: str | None) -> Environment:
    """Return where an audit ran."""
    versions = {}
    # An extra, which only some mechanisms load.
    for name in (*LIBRARIES, *(("torch",) if "torch" in sys.modules else ())):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return Environment(
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=versions,
        n_jobs=engine.n_jobs,
        command=command,
        machine=machine(),
    )


def machine() -> str:
    """Return the processor and the kernels of linear algebra in use: "AMD EPYC 7B13; openblas 0.3.30 (Haswell)"."""
    from threadpoolctl import threadpool_info

    kernels = {
        f"{found['internal_api']} {found.get('version') or ''}".strip()
        + (f" ({found['architecture']})" if found.get("architecture") else "")
        for found in threadpool_info()
        if found.get("user_api") == "blas"
    }
    return "; ".join(filter(None, (_processor(), *sorted(kernels))))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
