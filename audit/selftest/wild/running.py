"""Audit every published mechanism: screen at 0.05, count again at 1e-6 for what is printed, and the twin alike."""

from __future__ import annotations

import importlib.metadata
import time
import zlib
from dataclasses import dataclass

import numpy as np

from attacks.given.score import GivenScore
from attacks.protocol import Attack
from attacks.tails.density_ratio import DensityRatio
from audit.controls.same_noise import same_noise
from audit.plan.audit_plan import AuditPlan
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.running.runner import run
from audit.selftest.wild.result import (
    Category,
    CheckedAssumption,
    SharedNoise,
    Shown,
    WildAudit,
    WildResult,
    WildRow,
    WildVariant,
    beyond,
)
from audit.trials.engines import Engine, Progress, results, worker_limits
from mechanisms.claim import EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Deletion
from mechanisms.published.catalogue import CATALOGUE, published
from mechanisms.published.frame import PublishedMechanism, Variant

SCREENING, LEVEL = 0.05, 1e-6
# Seeds that a statement is repeated with.
REPEATS = 3
_ATTACKS: dict[str, Attack] = {"scores": GivenScore(), "density_ratio": DensityRatio()}
_CONTROL_TRIALS = 200
_STREAMS = 8
# Those that train models come first, so that no worker is left with one at the end.
_COSTLY = ("features_and_labels", "source_method", "langevin_sequential")


@dataclass(frozen=True, kw_only=True)
class WildSettings:
    """What can be asked to vary.

    Parameters
    ----------
    quick
        One seed in place of three, no screening, and no replay in a process of its own.
    names
        Rows to audit; all when empty.
    """

    quick: bool = False
    names: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that runs it again."""
        return f"unlearn-audit wild{' --quick' if self.quick else ''}" + "".join(f" --row {n}" for n in self.names)

    def rows(self) -> tuple[str, ...]:
        """Return the rows to audit.

        Raises
        ------
        InvalidInputError
            For a name that is not in the table.
        """
        for name in self.names:
            if name not in CATALOGUE:
                raise InvalidInputError(
                    field="row", expected=f"one of {', '.join(CATALOGUE)}", got=name, fix="check the spelling"
                )
        return tuple(dict.fromkeys(self.names)) or tuple(CATALOGUE)


def run_wild(settings: WildSettings, *, engine: Engine, progress: Progress | None = None) -> WildResult:
    """Audit the published mechanisms and their corrected twins; return the table.

    Notes
    -----
    Each audit at :data:`LEVEL` is a family of its own: a true claim is refuted with at most that probability. The same
    for any number of workers.
    """
    clock = time.monotonic()
    names = settings.rows()
    order = sorted(range(len(names)), key=lambda i: names[i] not in _COSTLY)
    rows: dict[int, WildRow] = {}
    calls = [(names[i], settings.quick) for i in order]
    for done, (position, row) in enumerate(results(engine.stream(audit_row, calls)), start=1):
        rows[order[position]] = row
        if progress is not None:
            progress("published mechanisms", done, len(names))
    return WildResult(
        version=installed_version(),
        quick=settings.quick,
        screening=SCREENING,
        level=LEVEL,
        rows=tuple(rows[i] for i in range(len(names))),
        command=settings.command,
        seconds=time.monotonic() - clock,
    )


def installed_version() -> str:
    """Return the version of this package, which seeds are taken from."""
    return importlib.metadata.version("unlearn-audit")


def seed_of(name: str, repeat: int) -> int:
    """Return the seed of one audit of a row: from the version, so that nobody chooses it. Repeat 0 screens."""
    return zlib.crc32(f"unlearn-audit {installed_version()} {name} {repeat}".encode())


def audit_row(name: str, quick: bool) -> WildRow:
    """Build, check, audit and judge one mechanism; a worker's unit of work."""
    with worker_limits():
        made = published(name)
        audited = _audited(made, made.audited, quick)
        twin = None if made.twin is None else _audited(made, made.twin, quick)
        shared = shared_noise(made)
    claim = _guarantee(made)
    shown = shown_by(audited, claim.epsilon)
    return WildRow(
        name=made.name,
        title=made.title,
        paper=made.paper,
        source=made.source,
        statement=made.statement,
        reference=made.against or made.claim.reference.value,
        epsilon=claim.epsilon,
        delta=claim.delta,
        canary=made.canary,
        reason=made.reason,
        assumptions=tuple(
            CheckedAssumption(statement=a.statement, value=a.value, limit=a.limit, holds=a.holds)
            for a in made.assumptions
        ),
        category=category_of(made, shown),
        shown=shown,
        audited=audited,
        twin=twin,
        shared_noise=shared,
        differ=made.differ,
        cause=made.cause,
        repair=made.repair,
        caught_by=made.caught_by,
        not_said=made.not_said,
        figures=dict(made.figures),
    )


def shown_by(audited: WildVariant, epsilon: float) -> Shown:
    """Return by which evidence a claim is false: refuted in every repeat, or exactly; else what the audits said.

    Where so many trials cannot refute a claim the closed form alone decides. Where a release is no fair trial at all
    (equal releases) nothing does.
    """
    statements = audited.statements(LEVEL)
    verdicts = {statement.verdict for statement in statements}
    if verdicts == {Verdict.REFUTED}:
        return "refuted"
    if {statement.reason for statement in statements} - {None, Reason.CANNOT_BE_REFUTED_AT_THIS_N}:
        return "inconclusive"
    if audited.exact is not None and audited.exact > epsilon:
        return "false_exactly"
    return "not_refuted" if verdicts == {Verdict.NOT_REFUTED} else "inconclusive"


def category_of(made: PublishedMechanism, shown: Shown) -> Category:
    """Return the category of a row; a false claim on a canary outside its assumptions says nothing but that."""
    if made.kind == "nothing":
        return "nothing"
    if not made.inside:
        return "assumption"
    return made.kind if shown in ("refuted", "false_exactly") else "checked"


@dataclass(frozen=True, kw_only=True)
class _Prebound:
    """A mechanism that is bound already."""

    name: str
    deletion: Deletion

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Deletion:
        """Return the deletion."""
        return self.deletion


def _audited(made: PublishedMechanism, variant: Variant, quick: bool) -> WildVariant:
    asked = [(LEVEL, 1)] if quick else [(SCREENING, 0), *((LEVEL, repeat) for repeat in range(1, REPEATS + 1))]
    audits = tuple(_audit(made, variant, level, repeat) for level, repeat in asked)
    return WildVariant(name=variant.name, settings=dict(variant.settings), exact=variant.exact, audits=audits)


def _audit(made: PublishedMechanism, variant: Variant, level: float, repeat: int) -> WildAudit:
    clock = time.monotonic()
    plan = AuditPlan(
        claims=(made.claim,),
        forget=(made.forget,),
        attacks=(_ATTACKS[made.score],),
        # Screening is to be cheap.
        trials=made.trials if repeat else made.trials // 5,
        significance=level,
        delta=_guarantee(made).delta,
        control_trials=_CONTROL_TRIALS,
        # Millions of releases in few chunks.
        chunk_size=max(1000, made.trials // 20),
        seed=seed_of(made.name, repeat),
        # One run of a variant is replayed in another process; that takes longer than an audit.
        replay="off" if repeat else "exact",
    )
    mechanism = _Prebound(name=f"{made.name}:{variant.name}", deletion=variant.deletion)
    return _summary(run(mechanism, made.data, plan), plan, time.monotonic() - clock)


def _summary(result: AuditResult, plan: AuditPlan, seconds: float) -> WildAudit:
    finding = result.findings[0]
    # Counts of trials that are no trials say nothing.
    quoted = None if finding.verdict is Verdict.INCONCLUSIVE else finding.quoted
    return WildAudit(
        level=plan.significance,
        seed=plan.seed,
        trials=plan.trials,
        counted=plan.n_counted,
        verdict=finding.verdict,
        reason=finding.reason,
        p_value=finding.p_value,
        direction=None if quoted is None else quoted.bound.direction,
        lower_bound=None if quoted is None else quoted.bound.value,
        counts=None if quoted is None else quoted.bound.counts,
        detectable=None if quoted is None else quoted.detectable_epsilon,
        seconds=seconds,
    )


def shared_noise(made: PublishedMechanism) -> SharedNoise | None:
    """Return the largest shift over all records; equal ones are deleted alike, so each is looked at once."""
    if made.declared_shift is None or made.of_record is None:
        return None
    rows = np.column_stack([made.data.features, made.data.targets])
    _, first, times = np.unique(rows, axis=0, return_index=True, return_counts=True)
    shifts = {int(record): _shift(made, made.of_record(int(record)), int(record)) for record in first}
    known = {record: shift for record, shift in shifts.items() if shift is not None}
    if len(known) < len(shifts):
        return None
    largest = max(sorted(known), key=lambda record: known[record])
    return SharedNoise(
        shift=known[largest],
        record=largest,
        declared=made.declared_shift,
        records=made.data.n_records,
        distinct=len(first),
        beyond=sum(
            int(n) for record, n in zip(first, times, strict=True) if beyond(known[int(record)], made.declared_shift)
        ),
        streams=_STREAMS,
    )


def _shift(made: PublishedMechanism, deletion: Deletion, record: int) -> float | None:
    return same_noise(deletion, seed=seed_of(made.name, 0), record=record, streams=_STREAMS, level=LEVEL).shift


def _guarantee(made: PublishedMechanism) -> EpsilonDelta:
    guarantee = made.claim.guarantee
    if not isinstance(guarantee, EpsilonDelta):
        raise InvalidInputError(
            field=made.name, expected="a claim of (epsilon, delta)", got=guarantee, fix="state one point"
        )
    return guarantee
