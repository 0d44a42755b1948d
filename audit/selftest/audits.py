"""Who audits the auditor? Audits of services with seeded faults, and of harmless variants, against what is true.

Nothing about the outcome is typed in: the planner computes from each fault's own laws how likely an audit is to refute
its claim, and only where that is nearly certain must it do so. A claim that is true must never be refuted.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks.portfolio import portfolio
from attacks.protocol import Attack
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Split
from audit.power.ceilings import best_power
from audit.power.rehearsal import rehearsed_power
from audit.records.evidence import EventTest
from audit.records.result import AuditResult
from audit.records.verdict import Verdict
from audit.running.findings import roles_of
from audit.running.runner import run
from audit.selftest.by_lot import LEVEL, ONE, SEVERAL, audit_by_lot
from audit.selftest.result import Expectation, LotsRow, SelftestResult, SelftestRow
from audit.selftest.truth import Truth, truth_of
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine, Progress, results, worker_limits
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.faulty.catalogue import CATALOGUE, Fault
from mechanisms.faulty.deletion import FaultyDeletion
from mechanisms.faulty.pools import has_pool
from mechanisms.faulty.problems import BoundFault
from mechanisms.protocol import HasLaw

# Where the planner says that an audit refutes with at least this probability, the self-test expects it to.
SURE = 0.95
# The planner knows the most powerful attack. Ones that are fitted to few trials lose something, so power is planned for
# this share of the trials.
PLANNED_SHARE = 0.5
# Chance that a true claim of the whole table is refuted.
SIGNIFICANCE = 0.05
# The delta of the second row that each audit tests.
DELTA = 0.01
_QUICK_SHARE = 5
_REHEARSALS = 20
# Faults that take longer a trial than others of their mechanism: this one trains models.
_COSTLY = {"published_mean_residual": 30.0}


@dataclass(frozen=True, kw_only=True)
class SelftestSettings:
    """What the self-test can be asked to vary.

    Parameters
    ----------
    seed
        The only source of randomness.
    quick
        A fifth of the trials.
    names
        Faults of the catalogue to audit; all when empty.
    """

    seed: int = 7
    quick: bool = False
    names: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that runs it again."""
        only = "".join(f" --only {name}" for name in self.names)
        return f"unlearn-audit selftest{' --quick' if self.quick else ''} --seed {self.seed}{only}"

    def faults(self) -> tuple[Fault, ...]:
        """Return the faults to audit.

        Raises
        ------
        InvalidInputError
            For a name that is not in the catalogue.
        """
        known = {fault.name: fault for fault in CATALOGUE}
        for name in self.names:
            if name not in known:
                raise InvalidInputError(
                    field="only", expected=f"one of {', '.join(known)}", got=name, fix="check the spelling"
                )
        return tuple(known[name] for name in self.names) or CATALOGUE


def run_selftest(settings: SelftestSettings, *, engine: Engine, progress: Progress | None = None) -> SelftestResult:
    """Audit every fault of the catalogue and every harmless variant, in two worlds and by lot; return the tables.

    Notes
    -----
    Each audit is a family of its own, at an equal share of the significance, so that the chance of refuting any true
    claim of the table is at most the significance (Bonferroni); the table of audits by lot has as much of its own. The
    same for any number of workers.
    """
    clock = time.monotonic()
    faults = settings.faults()
    each = SIGNIFICANCE / len(CATALOGUE)
    # The costliest first, so that no worker is left with one of them at the end.
    order = sorted(range(len(faults)), key=lambda i: -_cost(faults[i]))
    calls = [(faults[i], settings, each) for i in order]
    rows: dict[int, SelftestRow] = {}
    for done, (position, row) in enumerate(results(engine.stream(audit_fault, calls)), start=1):
        rows[order[position]] = row
        if progress is not None:
            progress("audits of faulty services", done, len(faults))
    by_lot: dict[int, LotsRow] = {}
    pooled = [fault for fault in faults if has_pool(fault.problem)]
    for done, (position, found) in enumerate(
        results(engine.stream(audit_by_lot, [(fault, settings.seed) for fault in pooled])), start=1
    ):
        by_lot[position] = found
        if progress is not None:
            progress("the same by lot", done, len(pooled))
    return SelftestResult(
        seed=settings.seed,
        quick=settings.quick,
        significance=SIGNIFICANCE,
        each=each,
        rows=tuple(rows[i] for i in range(len(faults))),
        command=settings.command,
        seconds=time.monotonic() - clock,
        lots=tuple(by_lot[i] for i in range(len(pooled))),
        lots_runs=(ONE, SEVERAL),
        lots_each=LEVEL,
    )


def _cost(fault: Fault) -> float:
    by_mechanism = {"newton": 5.0, "network": 7.0}.get(fault.name.partition("_")[0], 1.0)
    return fault.trials * _COSTLY.get(fault.name, by_mechanism)


@dataclass(frozen=True, kw_only=True)
class _Prebound:
    """A mechanism that is bound already."""

    name: str
    deletion: FaultyDeletion

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> FaultyDeletion:
        """Return the deletion."""
        return self.deletion


def audit_fault(fault: Fault, settings: SelftestSettings, significance: float) -> SelftestRow:
    """Bind one fault, plan, audit, and compare; a worker's unit of work."""
    with worker_limits():
        bound = fault.bind()
        plan = make_plan(fault, bound, settings, significance)
        # Not the place in the table: a row is the same when it is audited alone.
        rng = make_generator(plan.seed, Stream.REHEARSAL)
        n_oracle = fault.oracle_trials // (_QUICK_SHARE if settings.quick else 1)
        truth = truth_of(bound, n_oracle=n_oracle, rng=rng)
        power = None if truth.constant else planned_power(bound, truth, plan, rng)
        mechanism = _Prebound(name=bound.mechanism, deletion=bound.deletion)
        result = run(mechanism, bound.data, plan, title=fault.name)
    return _row(fault, bound, truth, power, plan, result)


def make_plan(fault: Fault, bound: BoundFault, settings: SelftestSettings, significance: float) -> AuditPlan:
    """Return the plan of one audit."""
    trials = fault.trials // (_QUICK_SHARE if settings.quick else 1)
    # Audits do not share random numbers, so that their errors are independent; nor does an audit's seed depend on
    # which others there are.
    key = zlib.crc32(fault.name.encode())
    seed = int(np.random.SeedSequence(settings.seed, spawn_key=(key,)).generate_state(1)[0])
    return AuditPlan(
        claims=(bound.claim,),
        forget=(bound.forget,),
        attacks=attacks_for(bound),
        trials=trials,
        counting=Split(fit_fraction=0.3, max_fit=4000),
        significance=significance,
        delta=DELTA,
        control_trials=max(100, trials // 20),
        seed=seed,
    )


def attacks_for(bound: BoundFault) -> tuple[Attack, ...]:
    """Return the portfolio, and the claimed law's likelihood ratio where there is a law."""
    return (*portfolio(), *((LikelihoodRatio(),) if isinstance(bound.deletion, HasLaw) else ()))


def planned_power(bound: BoundFault, truth: Truth, plan: AuditPlan, rng: np.random.Generator) -> float:
    """Return the probability that an audit with half of the trials and the most powerful attack refutes the claim."""
    level = plan.significance / (len(plan.attackers) * len(roles_of(bound.claim, plan.delta)))
    n_fit, n_counted = (int(PLANNED_SHARE * n) for n in (plan.n_fit, plan.n_counted))
    best = best_power(bound.claim, truth.fpr, truth.tpr, n=n_counted, level=level)
    if best < SURE:
        return best
    rehearsed = rehearsed_power(
        bound.claim,
        truth.fpr,
        truth.tpr,
        n_fit=n_fit,
        n_counted=n_counted,
        level=level,
        rng=rng,
        repeats=_REHEARSALS,
    )
    return min(best, rehearsed)


def expectation(fault: Fault, truth: Truth, power: float | None) -> Expectation:
    """Return what an audit must say, from what is true and from the planned power."""
    if fault.harmless or truth.holds:
        return Expectation.NEVER_REFUTED
    if power is None:
        # A release that never varies is a broken sampler: the duplicates control says so, and nothing is counted.
        return Expectation.INCONCLUSIVE
    return Expectation.REFUTED if power >= SURE else Expectation.EITHER


def _row(
    fault: Fault, bound: BoundFault, truth: Truth, power: float | None, plan: AuditPlan, result: AuditResult
) -> SelftestRow:
    finding = result.findings[0]
    shown = finding.sandwiches[0] if finding.sandwiches else None
    place = None if shown is None else (shown.bound.delta, shown.bound.direction)
    fired = _fired(finding.tests) if finding.verdict is Verdict.REFUTED else ()
    expected = expectation(fault, truth, power)
    return SelftestRow(
        name=fault.name,
        description=fault.description,
        mechanism=bound.mechanism,
        harmless=fault.harmless,
        family=fault.family,
        trials=plan.trials,
        counted=plan.n_counted,
        direction=None if place is None else place[1],
        delta=None if place is None else place[0],
        true_epsilon=None if place is None else truth.epsilon(*place),
        truth=truth.method,
        claimed=None if shown is None else shown.claimed,
        lower_bound=None if shown is None else shown.bound.value,
        planned_power=power,
        expected=expected,
        verdict=finding.verdict,
        reason=finding.reason,
        as_expected=expected.met_by(finding.verdict),
        fired=fired,
        fired_family=family_of_attack(fired[0]) if fired else None,
        controls=tuple(control.name for control in result.controls if control.spoils_verdicts),
    )


def _fired(tests: Sequence[EventTest]) -> tuple[str, ...]:
    rejected = sorted((test for test in tests if test.rejected), key=lambda test: (test.p_value, -test.bound.value))
    return tuple(dict.fromkeys(test.bound.attack for test in rejected))


def family_of_attack(name: str) -> str:
    """Return the family of an attack of the self-test."""
    return name.removeprefix("portfolio:") if name.startswith("portfolio:") else "law"
