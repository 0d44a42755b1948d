"""A small audit, made by hand: the counts are those that Gaussian scores with a shift mu would give."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from audit.plan.audit_plan import Bonferroni
from audit.plan.split import Split
from audit.records.counts import Counts
from audit.records.estimates import Estimate, estimate
from audit.records.evidence import EpsilonLowerBound, EventTest, Finding, Preview, Roc, Sandwich
from audit.records.figures.histograms import ScoreHistogram, histogram_of
from audit.records.ledger import Control, DataRecord, Environment, Family, Member, PlanRecord
from audit.records.result import AuditCollection, AuditResult, Table, read_json
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import (
    BOTH_DIRECTIONS,
    Certificate,
    Claim,
    Direction,
    EpsilonDelta,
    GaussianDP,
    PrivacyProfile,
    Reference,
)

N = 14_000
DELTA = 1e-5
FORWARD = Direction.UNLEARNED_FROM_RETRAINED
HOSTILE = '<script>alert("x")</script>&|`$_$`[a](javascript:b)\x1b\n# x'


@functools.cache
def profile_claim(mu: float, provenance: Any = "exact") -> Claim:
    points = GaussianDP(mu=mu).points(FORWARD)
    log_deltas = tuple(math.log(max(p.delta, 1e-300)) for p in points)
    return Claim(
        guarantee=PrivacyProfile(
            epsilons=tuple(p.epsilon for p in points), log_deltas=dict.fromkeys(BOTH_DIRECTIONS, log_deltas)
        ),
        provenance=provenance,
        assumptions=("The noise is Gaussian and independent across steps",),
    )


@functools.cache
def roc(attack: str, mu: float, n: int = N) -> Roc:
    thresholds = np.linspace(-3, 3.5 + mu, 40)
    return Roc(
        attack=attack,
        n_unlearned=n,
        n_retrained=n,
        thresholds=tuple(thresholds.tolist()),
        k_unlearned=tuple(int(k) for k in np.round(n * ndtr(mu - thresholds))),
        k_retrained=tuple(int(k) for k in np.round(n * ndtr(-thresholds))),
    )


def event_test(
    attack: str, mu: float, threshold: float, point: EpsilonDelta, role: Any, level: float, n: int = N
) -> EventTest:
    k1, k0 = round(n * ndtr(mu - threshold)), round(n * ndtr(-threshold))
    bound = max(0.0, math.log(max(k1 / n - 2 * math.sqrt(k1 + 1) / n - point.delta, 1e-9) / ((k0 + 3) / n)))
    rejected = bound > point.epsilon
    return EventTest(
        role=role,
        point=point,
        p_value=level * math.exp(-25 * bound) if rejected else min(1.0, 0.0234567 + 3 * level),
        rejected=rejected,
        bound=EpsilonLowerBound(
            value=bound,
            delta=point.delta,
            direction=FORWARD,
            level=level,
            method="exact_joint",
            attack=attack,
            tail="upper",
            threshold=threshold,
            counts=Counts(k_unlearned=k1, n_unlearned=n, k_retrained=k0, n_retrained=n),
        ),
    )


def digit(seed: int) -> Preview:
    rng = np.random.default_rng(seed)
    grid = np.zeros((8, 8))
    grid[1:7, 2:6] = np.round(rng.uniform(0, 1, (6, 4)) * 16) / 16
    return Preview(record=seed, target=str(seed % 10), image_shape=(8, 8), values=tuple(grid.ravel().tolist()))


def certificates(mu: float, without: float) -> tuple[Certificate, ...]:
    exact = profile_claim(mu)
    published = Claim(
        guarantee=GaussianDP(mu=4 * mu),
        provenance="published",
        assumptions=("Proof gap: the accounting conditions on an event that depends on the noise it then uses.",),
    )
    values = ((exact, "exact"), (published, "published"))
    return tuple(
        Certificate(
            claim=claim,
            method=method,
            epsilon=claim.epsilon_at(DELTA, FORWARD),
            delta=DELTA,
            numerical_error=1e-9,
            epsilon_without_unlearning=without,
        )
        for claim, method in values
    )


@functools.cache
def estimate_of(attack: str, mu: float) -> Estimate:
    rng = np.random.default_rng(round(100 * mu))
    return estimate(attack, rng.normal(mu, 1, 120), rng.normal(0, 1, 90), rng=rng)


@functools.cache
def histogram(attack: str, mu: float) -> ScoreHistogram:
    rng = np.random.default_rng(round(100 * mu))
    member = "krylov_lda" if attack == "lda" else None
    return histogram_of(attack, rng.normal(mu, 1, N), rng.normal(0, 1, N), member=member)


def finding(
    claim: Claim,
    record: int,
    label: str,
    *,
    shown: float,
    true: float | None,
    verdict: Verdict,
    level: float = 0.05 / 12,
    **changes: Any,
) -> Finding:
    """A finding whose attacks see a Gaussian shift ``shown`` where the exact law has the shift ``true``."""
    strengths = {"likelihood_ratio": shown, "target_loss": 0.8 * shown, "influence": 0.6 * shown, "lda": 0.5 * shown}
    points = {"claim_row": claim.points(FORWARD)[len(claim.points(FORWARD)) // 3]}
    points["plan_delta"] = EpsilonDelta(epsilon=claim.epsilon_at(DELTA, FORWARD), delta=DELTA)
    tests = tuple(
        event_test(attack, mu, threshold, points[role], role, level)
        for attack, mu in strengths.items()
        for role, threshold in (("claim_row", 0.7), ("plan_delta", 2.3))
    )
    exact = None if true is None else profile_claim(true)
    best = {role: max((t for t in tests if t.role == role), key=lambda t: t.bound.value) for role in points}
    sandwiches = tuple(
        Sandwich(
            role=role,
            bound=test.bound,
            exact=exact.epsilon_at(test.bound.delta, FORWARD) if exact else None,
            claimed=claim.epsilon_at(test.bound.delta, FORWARD),
            ceiling=7.123456,
            detectable_epsilon=1.4321 * claim.epsilon_at(test.bound.delta, FORWARD) + 0.05,
        )
        for role, test in best.items()
    )
    values: dict[str, Any] = {
        "claim": claim,
        "forget": (record,),
        "label": label,
        "verdict": verdict,
        "reason": None,
        "p_value": min(t.p_value for t in tests),
        "level": level,
        "tests": tests,
        "sandwiches": sandwiches,
        "roc": tuple(roc(attack, mu) for attack, mu in strengths.items()),
        "failures": {},
        "certificates": certificates(true, 10.2789) if true is not None else (),
        "parameters": {
            "penalty": 1.0,
            "n_learn": 300.0,
            "n_unlearn": 100.0,
            "sigma_learn": 0.001,
            "sigma_unlearn": 0.0121357,
        },
        "preview": (digit(record),),
        "estimates": tuple(estimate_of(attack, mu) for attack, mu in strengths.items()),
        "histograms": tuple(histogram(attack, mu) for attack, mu in strengths.items()),
    }
    return Finding(**(values | changes))


def controls(forget: tuple[int, ...], label: str, bound: EpsilonLowerBound) -> tuple[Control, ...]:
    about: dict[str, Any] = {"forget": forget, "label": label}
    counted: dict[str, Any] = {"p_value": 0.4567, "level": 0.00025, "n_trials": 4000}
    return (
        Control(name="null", as_expected=True, message="Could not be told apart.", **about, **counted),
        Control(name="neglected", as_expected=False, message="Was NOT told apart.", bound=bound, **about, **counted),
        Control(name="replay", as_expected=True, message="The same stream gave the same releases.", **about),
        Control(name="duplicates", as_expected=True, applicable=False, message="Declared discrete.", **about),
        Control(name="lag_one", as_expected=True, message="Not correlated.", **about, **counted),
        Control(name="step_noise", as_expected=True, message="Drawn afresh.", **about),
    )


def result(title: str, findings: tuple[Finding, ...], **changes: Any) -> AuditResult:
    attacks = ("likelihood_ratio", "target_loss", "influence", "lda")
    level = findings[0].level
    members = tuple(
        Member(claim=0, forget=f.forget, attack=attack, role=role, level=level)
        for f in findings
        for attack in attacks
        for role in ("claim_row", "plan_delta")
    )
    values: dict[str, Any] = {
        "title": title,
        "mechanism": "ridge_langevin",
        "sampler": "closed_form",
        "plan": PlanRecord(
            claims=("exact certificate",),
            forget=tuple(f.forget for f in findings),
            labels=tuple(f.label for f in findings),
            attacks=attacks,
            trials=20_000,
            n_fit=6_000,
            n_counted=N,
            control_trials=4_000,
            counting=Split(),
            significance=0.05,
            delta=DELTA,
            seed=7,
            chunk_size=500,
        ),
        "findings": findings,
        "controls": tuple(c for f in findings if f.bound for c in controls(f.forget, f.label, f.bound)),
        "family": Family(significance=0.05, correction=Bonferroni(), members=members),
        "data": DataRecord(
            name="digits", sha256="9f" * 32, n_records=1500, n_features=65, n_targets=10, kind="classification"
        ),
        "environment": Environment(
            started="2025-11-24T08:00:00Z",
            seconds=41.234,
            python="3.11.2",
            platform="Linux",
            libraries={"numpy": "2.3.5", "scipy": "1.16.3"},
            n_jobs=2,
            command="unlearn-audit run plan.toml --out out --seed 7",
        ),
    }
    return AuditResult(**(values | changes))


@functools.cache
def make_collection() -> AuditCollection:
    claim = profile_claim(0.1422)
    good = tuple(
        finding(claim, record, label, shown=0.13, true=0.1422, verdict=Verdict.NOT_REFUTED)
        for record, label in ((757, "hardest"), (465, "median"), (1463, "easiest"))
    )
    lost = tuple(
        finding(claim, record, label, shown=shown, true=0.1422, verdict=verdict)
        for record, label, shown, verdict in (
            (757, "hardest", 2.1, Verdict.REFUTED),
            (1463, "easiest", 0.1, Verdict.NOT_REFUTED),
        )
    )
    published = Claim(guarantee=GaussianDP(mu=0.5688), provenance="published")
    good = (*good, finding(published, 5, "published", shown=0.13, true=0.1422, verdict=Verdict.NOT_REFUTED))
    return AuditCollection(
        title="Deleting three digits",
        introduction="Three records are deleted.\n\nEvery number below was computed by the run that wrote this page.",
        results=(
            result("Noise from the exact certificate", good),
            result("The service lost the request", lost, sampler="stepwise"),
            result("Your own functions", undecided(claim), sampler="user functions", mechanism="my_service"),
        ),
        tables=(
            Table(
                title="What each certificate costs",
                caption="Accuracy on held-out rows, before any deletion 0.882.",
                columns=("record", "noise, exact", "noise, published", "accuracy, exact"),
                rows=(("hardest", "0.0121", "0.0597", "0.793"), ("easiest", "0.00088", "0.0180", "0.879")),
            ),
        ),
    )


def undecided(profile: Claim) -> tuple[Finding, ...]:
    """A refuted claim without certificates, and every way not to decide."""
    failed: dict[str, Any] = {"true": None, "verdict": Verdict.INCONCLUSIVE, "reason": Reason.ATTACK_FAILED}
    one_way = Claim(guarantee=GaussianDP(mu=0.3), directions=(FORWARD,), reference=Reference.RETRAIN_ONLY)
    table = (Preview(record=3, target="1.25", image_shape=None, values=(0.5, -1.25, 3.0)),)
    return (
        finding(point_claim(0.1, 0.01), 3, "", shown=0.9, true=None, verdict=Verdict.REFUTED, preview=table),
        hopeless(),
        finding(
            one_way, 12, "", shown=0.2, failures={"lda": "Expected at least 132 trials, got 70; draw more."}, **failed
        ),
        finding(
            point_claim(1.0, 0.0),
            13,
            "",
            shown=0.2,
            tests=(),
            sandwiches=(),
            roc=(),
            failures={"lda": "broken"},
            **failed,
        ),
        finding(profile, 14, "", shown=0.9, preview=(), **(failed | {"reason": Reason.NOT_REPRODUCIBLE})),
    )


def point_claim(epsilon: float, delta: float) -> Claim:
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))


def hopeless() -> Finding:
    """A claim above the ceiling, of a mechanism without any noise."""
    made = finding(point_claim(9.5, 0.0), 11, "", shown=0.2, true=0.3, verdict=Verdict.INCONCLUSIVE, p_value=1.0)
    unbounded = {"exact": math.inf, "detectable_epsilon": math.inf}
    certificate = dataclasses.replace(made.certificates[0], epsilon=math.inf, epsilon_without_unlearning=math.inf)
    return dataclasses.replace(
        made,
        sandwiches=tuple(dataclasses.replace(s, **unbounded) for s in made.sandwiches),
        certificates=(certificate,),
        reason=Reason.CANNOT_BE_REFUTED_AT_THIS_N,
    )


def promising_nothing() -> Finding:
    made = hopeless()
    claim = point_claim(math.inf, 0.0)
    return dataclasses.replace(
        made, claim=claim, sandwiches=tuple(dataclasses.replace(s, claimed=math.inf) for s in made.sandwiches)
    )


@functools.cache
def hostile_collection() -> AuditCollection:
    """The collection with every free text replaced."""
    loaded = json.loads(make_collection().to_json())
    names = {"title", "introduction", "caption", "label", "message", "mechanism", "sampler", "method", "name", "kind"}
    names |= {"python", "platform", "started", "command", "attack", "target", "sha256"}
    lists = {"columns", "rows", "assumptions", "labels", "attacks", "claims"}

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in ("parameters", "failures", "libraries"):
                return {f"{k}{HOSTILE}": (v if isinstance(v, float) else HOSTILE) for k, v in value.items()}
            fixed = {"kind"} if "kind" in value and "n_features" not in value else set()
            fixed |= {"name"} if "as_expected" in value else set()
            fixed |= {"method"} if "threshold" in value else set()
            return {k: v if k in fixed else poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and key in names | lists else value

    made = read_json(json.dumps(poison(loaded)))
    assert isinstance(made, AuditCollection)
    return made


@functools.cache
def many(n: int) -> AuditResult:
    """Return an audit of n records, every seventh refuted."""
    refuted = finding(profile_claim(0.14), 0, "", shown=1.5, true=2.0, verdict=Verdict.REFUTED)
    kept = finding(profile_claim(0.14), 0, "", shown=0.1, true=0.14, verdict=Verdict.NOT_REFUTED)
    made = result("Many", tuple(dataclasses.replace((kept, refuted)[i % 7 == 0], forget=(i,)) for i in range(n)))
    return dataclasses.replace(
        made, plan=dataclasses.replace(made.plan, forget=tuple((i,) for i in range(n)), labels=())
    )
