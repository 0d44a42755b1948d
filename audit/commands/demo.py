"""The demonstration: per-record noise on digits, what it claims, and a service that lost the deletion request.

Nothing about its outcome is typed in: records are chosen by rule, noise is calibrated, and expected verdicts are
computed by the planner from the exact laws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from attacks.canary import RULES, Rule, choose_records
from attacks.registry import ATTACKS
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.power.rehearsal import rehearsed_verdict
from audit.records.evidence import Finding
from audit.records.result import AuditCollection, AuditResult, Table
from audit.records.verdict import Verdict
from audit.records.words.phrases import name
from audit.running.runner import run_services
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine, Progress, results, worker_limits
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.faulty import NeglectedRidge
from mechanisms.protocol import World
from mechanisms.ridge.certificates import exact_pair, two_sided_epsilon
from mechanisms.ridge.downdate import RidgeSolution
from mechanisms.ridge.langevin import CalibratedNoise, RidgeDeletion, RidgeLangevin, Route
from mechanisms.sources import load_named

N_ACCURACY = 20


# For each record's label, its deletion with the exact and with the published noise.
Bound = Mapping[str, tuple[RidgeDeletion, RidgeDeletion]]


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demonstration can be asked to vary."""

    rows: int = 1500
    seed: int = 7
    trials: int = 20_000
    epsilon: float = 0.5
    delta: float = 1e-5

    @property
    def command(self) -> str:
        """The exact command that runs it again."""
        return f"unlearn-audit demo --rows {self.rows} --seed {self.seed} --trials {self.trials}"


@dataclass(frozen=True, kw_only=True)
class DemoOutcome:
    """The audits, and whether every verdict came out as the planner expected."""

    collection: AuditCollection
    as_expected: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Audits of the demonstration that share records and retrained releases.

    Parameters
    ----------
    services
        Mechanisms by the title of their audit.
    method
        Route of the claim that they all make.
    labels
        Which records.
    """

    services: Mapping[str, RidgeLangevin | NeglectedRidge]
    method: Route
    labels: tuple[Rule, ...]


def run_demo(settings: DemoSettings, *, engine: Engine, progress: Progress | None = None) -> DemoOutcome:
    """Run the demonstration and return its audits with the tables of facts beside them."""
    data = load_named("digits", rows=settings.rows)
    base = RidgeLangevin(
        penalty=1.0, n_learn=300, n_unlearn=100, sigma_learn=0.001, sampler="closed_form", delta=settings.delta
    )
    records: dict[str, int] = dict(zip(RULES, choose_records(data, RULES, penalty=base.penalty), strict=True))
    exact = replace(base, sigma_unlearn=_target(settings, "exact"))
    published = replace(base, sigma_unlearn=_target(settings, "published"))
    bound = _bind_all(data, records, exact, published, engine)
    results: dict[str, AuditResult] = {}
    for part in _parts(exact, published):
        audited = run_services(
            part.services,
            data,
            _plan(settings, part, records),
            engine=engine,
            progress=_titled(progress, " and ".join(title[:3] for title in part.services)),
            command=settings.command,
        )
        results |= {result.title: result for result in audited}
    ordered = tuple(results[title] for title in sorted(results))
    verdicts = [_expectation(result, finding, bound) for result in ordered for finding in result.findings]
    collection = AuditCollection(
        title="Deleting three digits",
        introduction=_introduction(settings, data),
        results=ordered,
        tables=(
            _noise_table(settings, data, records, bound),
            _reference_table(settings, bound),
            _verdict_table(verdicts),
        ),
    )
    return DemoOutcome(collection=collection, as_expected=all(v.as_expected for v in verdicts))


def _parts(exact: RidgeLangevin, published: RidgeLangevin) -> tuple[_Part, ...]:
    """Return the audits; the hardest record is sampled step by step, which can refute the laws themselves."""
    stepwise = replace(exact, sampler="stepwise")
    return (
        _Part(
            services={
                "(a) Exact claim, hardest record, sampled step by step": stepwise,
                "(c) Deletion ignored while claiming (a), hardest record, sampled step by step": NeglectedRidge(
                    mechanism=stepwise
                ),
            },
            method="exact",
            labels=("hardest",),
        ),
        _Part(
            services={
                "(a) Exact claim, other records": exact,
                "(c) Deletion ignored while claiming (a), other records": NeglectedRidge(mechanism=exact),
            },
            method="exact",
            labels=("median", "easiest"),
        ),
        _Part(
            services={"(b) Published claim at its own, larger noise": published},
            method="published",
            labels=("hardest", "median", "easiest"),
        ),
    )


def _plan(settings: DemoSettings, part: _Part, records: Mapping[str, int]) -> AuditPlan:
    return AuditPlan(
        claims=(CertifiedClaim(method=part.method),),
        forget=tuple((records[label],) for label in part.labels),
        labels=part.labels,
        attacks=tuple(ATTACKS[name] for name in ("likelihood_ratio", "target_loss", "influence", "lda")),
        trials=settings.trials,
        # Audit (c) is the NEGLECTED control at full size, so that the controls beside it can be small.
        control_trials=max(20, settings.trials // 20),
        delta=settings.delta,
        seed=settings.seed,
        chunk_size=500,
    )


def _bind_all(
    data: Dataset, records: Mapping[str, int], exact: RidgeLangevin, published: RidgeLangevin, engine: Engine
) -> Bound:
    calls = [(mechanism, data, i) for i in records.values() for mechanism in (exact, published)]
    done = dict(results(engine.stream(_bind_one, calls)))
    return {label: (done[2 * i], done[2 * i + 1]) for i, label in enumerate(records)}


def _bind_one(mechanism: RidgeLangevin, data: Dataset, record: int) -> RidgeDeletion:
    with worker_limits():
        return mechanism.bind(data, (record,))


def _target(settings: DemoSettings, route: Route) -> CalibratedNoise:
    return CalibratedNoise(route=route, epsilon=settings.epsilon, delta=settings.delta)


def _titled(progress: Progress | None, title: str) -> Progress | None:
    if progress is None:
        return None
    return lambda phase, done, total: progress(f"{title}, {phase}", done, total)


@dataclass(frozen=True, kw_only=True)
class _Expectation:
    title: str
    label: str
    expected: Verdict | None
    found: Verdict

    @property
    def as_expected(self) -> bool:
        return self.expected is None or self.expected is self.found


def _expectation(result: AuditResult, finding: Finding, bound: Bound) -> _Expectation:
    """Return what the planner expects of a finding, from the exact laws of the two worlds that were sampled."""
    exact, published = bound[finding.label]
    laws = (published if finding.claim.provenance == "published" else exact).laws
    pair = exact_pair(laws)
    if result.mechanism.startswith("neglected"):
        pair = GaussianPair.from_laws(laws.law(World.NEGLECTED), laws.law(World.RETRAINED))
    fpr, fnr = pair.trade_off()
    expected = rehearsed_verdict(
        finding.claim,
        fpr,
        1 - fnr,
        n_fit=result.plan.n_fit,
        n_counted=result.plan.n_counted,
        level=finding.level,
        rng=make_generator(result.plan.seed, Stream.REHEARSAL, finding.forget[0]),
    )
    return _Expectation(title=result.title, label=finding.label, expected=expected, found=finding.verdict)


def _introduction(settings: DemoSettings, data: Dataset) -> str:
    return (
        f"Ridge regression on {data.n_records} handwritten digits, trained by 300 noisy gradient steps. Three records "
        "are deleted, one at a time: the hardest, a median and the easiest to delete. 100 further noisy steps on the "
        f"retained records unlearn each, with noise calibrated per record to epsilon = {settings.epsilon:g} at delta = "
        f"{settings.delta:g}. (a) audits that exact claim, (b) the claim of the published route at its own noise, and "
        "(c) a service that makes claim (a) but lost the deletion request. Audits (a) and (c) of a record share their "
        "retrained releases."
    )


def _noise_table(settings: DemoSettings, data: Dataset, records: Mapping[str, int], bound: Bound) -> Table:
    held_out = data.scoring_set
    rows = []
    for label, (exact, published) in bound.items():
        accuracies = ["no records are held out"] * 3
        if held_out is not None:
            downdated = RidgeSolution.of(data, penalty=1.0).without(data.take((records[label],)))
            noisy = [_mean_accuracy(d, held_out, settings.seed, i) for i, d in enumerate((exact, published))]
            accuracies = [f"{a:.3f}" for a in (*noisy, held_out.score(downdated.weights))]
        without = exact.certificates()[0].epsilon_without_unlearning
        rows.append(
            (
                label,
                str(records[label]),
                f"{without:.2f}",
                f"{exact.laws.sigma_unlearn:.3g}",
                f"{published.laws.sigma_unlearn:.3g}",
                *accuracies,
            )
        )
    return Table(
        title="Noise and accuracy by route",
        caption=(
            f"sigma_unlearn is the noise per step that each route needs for epsilon = {settings.epsilon:g} at delta = "
            f"{settings.delta:g}, accuracy the mean over {N_ACCURACY} unlearned models on held-out digits. For ridge "
            "regression an exact downdate deletes a record with no noise at all; use noise where no downdate exists."
        ),
        columns=(
            "record",
            "index",
            "epsilon without unlearning",
            "noise, exact",
            "noise, published",
            "accuracy, exact",
            "accuracy, published",
            "accuracy, downdate",
        ),
        rows=tuple(rows),
    )


def _mean_accuracy(deletion: RidgeDeletion, held_out: Dataset, seed: int, route: int) -> float:
    rng = make_generator(seed, Stream.ACCURACY, route)
    releases = deletion.sample(World.UNLEARNED, N_ACCURACY, rng=rng)
    return float(np.mean([held_out.score(weights) for weights in releases]))


def _reference_table(settings: DemoSettings, bound: Bound) -> Table:
    rows = []
    for label, (exact, _) in bound.items():
        certificate = exact.certificates()[0]
        retrain_only = exact_pair(exact.laws.with_reference(Reference.RETRAIN_ONLY))
        rows.append(
            (
                label,
                f"{certificate.epsilon:.3g}",
                f"{certificate.epsilon_of_both_models:.3g}",
                f"{two_sided_epsilon(retrain_only, settings.delta):.3g}",
            )
        )
    return Table(
        title="(d) Reference world and observer must be named",
        caption=(
            f"Exact epsilon at delta = {settings.delta:g} of the same releases against two reference worlds; not "
            "audited. The published definition retrains, then runs the same noisy steps on an empty forget set. "
            "Whoever sees the model before the deletion as well as the one after it is held to the second number: that "
            "of the learning noise alone. "
            "Against plain retraining the noise gives the release away: the covariances differ wherever sigma_unlearn "
            "differs from sigma_learn."
        ),
        columns=(
            "record",
            "epsilon, retrain then unlearn (claimed)",
            "epsilon, both models seen",
            "epsilon, retrain only",
        ),
        rows=tuple(rows),
    )


def _verdict_table(verdicts: list[_Expectation]) -> Table:
    def shown(verdict: Verdict | None) -> str:
        return "either" if verdict is None else name(verdict).lower()

    return Table(
        title="Expected and found",
        caption=(
            "Expected verdicts are computed from the exact laws of the sampled worlds: refuted when a rehearsal of the "
            "audit gives at least 90 % power, not refuted when the claim holds."
        ),
        columns=("audit", "record", "expected", "found", "as expected"),
        rows=tuple(
            (v.title, v.label, shown(v.expected), shown(v.found), "yes" if v.as_expected else "NO") for v in verdicts
        ),
    )
