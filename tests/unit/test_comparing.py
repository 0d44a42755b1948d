"""What a comparison says: worse, no worse, undecided; what is missing; and that it never calls silence a pass."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import audit
from attacks.linear.discriminant import LinearDiscriminant
from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.commands.baselines import write_baseline
from audit.errors import InconclusiveError, RegressionError, SchemaError
from audit.plan.audit_plan import AuditPlan
from audit.records.evidence import Preview
from audit.records.ledger import DataRecord, Environment
from audit.records.result import AuditResult
from audit.regression.comparison import Comparison, Margins, Outcome
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.comparisons.summary import SYMBOLS, comparison_markdown, comparison_summary

DATA = DataRecord(name="digits", sha256="5e" * 32, n_records=9, n_features=65, n_targets=10, kind="classification")
ENVIRONMENT = Environment(started="now", seconds=1.0, python="3", platform="here", libraries={}, n_jobs=1)


def row(record: int, *, sigma: float = 0.01, epsilon: float = 0.5) -> RecordRow:
    return RecordRow(
        record=record,
        difficulty=1.0,
        sigma_unlearn=sigma,
        epsilon_unlearned_from_retrained=epsilon,
        epsilon_retrained_from_unlearned=0.9 * epsilon,
        epsilon_without_unlearning=3.0,
    )


def route(record: int, name: str, *, mean: float = 0.8, seed: int = 0, runs: int = 20) -> RouteRow:
    scores = tuple((mean + np.random.default_rng(seed).normal(0, 0.004, runs)).tolist())
    return RouteRow(
        record=record,
        label="",
        route=name,
        sigma_unlearn=0.01,
        epsilon=0.5,
        exact_epsilon=0.4,
        accuracy=float(np.mean(scores)) if scores else mean,
        accuracies=scores,
    )


def certificates(*rows: RecordRow, routes: tuple[RouteRow, ...] = (), seed: int | None = 7) -> Certification:
    return Certification(
        title="Certificates",
        mechanism="ridge_langevin",
        parameters={},
        data=DATA,
        delta=1e-5,
        target_epsilon=0.5,
        rows=rows or (row(3), row(4)),
        routes=routes,
        previews=(),
        assumptions={},
        environment=ENVIRONMENT,
        seed=seed,
    )


@functools.cache
def scores(shift: float, *, seed: int, n: int = 3000) -> AuditResult:
    rng = np.random.default_rng(seed)
    claim = Claim(guarantee=GaussianDP(mu=1.0))
    return audit.from_scores(rng.normal(shift, 1, n), rng.normal(0, 1, n), claim=claim, threshold=1.0)


def test_certificates_against_themselves_show_no_regression_and_what_could_have_been_seen() -> None:
    made = certificates(routes=(route(3, "exact"),))
    found = audit.compare(made, made)
    assert found.outcome is Outcome.NO_WORSE
    assert not found.changes
    assert not found.absences
    assert [tally.n_compared for tally in found.tallies] == [2, 2, 2, 1, 1]
    assert found.means[0].difference is not None
    assert found.means[0].difference.detectable == Margins().accuracy
    found.assert_no_regression()
    assert "NO REGRESSION" in comparison_summary(found)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"epsilon": 0.5 * (1 + 2e-6)}, Outcome.WORSE),
        ({"epsilon": 0.5 * (1 + 5e-7)}, Outcome.NO_WORSE),
        ({"sigma": 0.01 * (1 + 2e-6)}, Outcome.WORSE),
        ({"sigma": 0.009}, Outcome.NO_WORSE),
        ({"epsilon": math.inf}, Outcome.WORSE),
        ({"epsilon": 0.4, "sigma": 0.02}, Outcome.WORSE),
    ],
)
def test_a_computed_number_may_rise_by_the_margin_and_no_more(change: dict[str, float], outcome: Outcome) -> None:
    found = audit.compare(certificates(row(3), row(4)), certificates(row(3), row(4, **change)))
    assert found.outcome is outcome
    assert {c.forget for c in found.changes if c.outcome is Outcome.WORSE} == (
        {(4,)} if outcome is Outcome.WORSE else set()
    )


def test_a_wider_margin_tolerates_more_and_zero_has_none() -> None:
    baseline, candidate = certificates(row(3)), certificates(row(3, epsilon=0.52))
    assert audit.compare(baseline, candidate, margins=Margins(exact=0.05)).outcome is Outcome.NO_WORSE
    none = certificates(row(3, sigma=0.0))
    found = audit.compare(none, certificates(row(3, sigma=1e-12)), margins=Margins(exact=0.5))
    assert found.outcome is Outcome.WORSE
    assert found.tallies[0].largest_step == math.inf
    assert audit.compare(none, none).outcome is Outcome.NO_WORSE


def test_a_missing_record_is_not_a_pass_and_an_extra_one_is_listed() -> None:
    found = audit.compare(certificates(row(3), row(4)), certificates(row(4), row(5)))
    assert found.outcome is Outcome.UNDECIDED
    assert [(a.kind, a.forget) for a in found.absences] == [("missing", ((3,),)), ("extra", ((5,),))]
    with pytest.raises(InconclusiveError, match="could not decide"):
        found.assert_no_regression()
    assert "Missing from the candidate (each record): record 3." in comparison_summary(found)
    assert audit.compare(certificates(row(4)), certificates(row(4), row(5))).outcome is Outcome.NO_WORSE


def test_records_of_other_data_are_not_the_same_records() -> None:
    other = replace(certificates(), data=replace(DATA, sha256="00" * 32))
    found = audit.compare(certificates(), other)
    assert found.outcome is Outcome.UNDECIDED
    assert not found.tallies
    assert "different data" in found.notes[0]


def test_other_deltas_and_other_kinds_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="delta"):
        audit.compare(certificates(), replace(certificates(), delta=1e-6))
    with pytest.raises(InvalidInputError, match="same kind"):
        audit.compare(certificates(), scores(0.0, seed=1))


@pytest.mark.parametrize(
    ("mean", "seed", "outcome", "paired"),
    [
        (0.80, 0, Outcome.NO_WORSE, True),  # the same random numbers
        (0.77, 1, Outcome.WORSE, True),
        (0.795, 2, Outcome.NO_WORSE, True),  # worse, but by less than the margin for sure
        (0.79, 3, Outcome.UNDECIDED, True),  # on the margin
        (0.85, 4, Outcome.BETTER, True),
        (0.79, 3, Outcome.UNDECIDED, False),
    ],
)
def test_accuracy_is_decided_by_its_interval_alone(mean: float, seed: int, outcome: Outcome, paired: bool) -> None:
    baseline = certificates(routes=(route(3, "exact"),))
    candidate = certificates(routes=(route(3, "exact", mean=mean, seed=seed),), seed=7 if paired else 8)
    (found,) = audit.compare(baseline, candidate).means
    assert (found.outcome, found.paired) == (outcome, paired)
    assert found.difference is not None
    if outcome is Outcome.WORSE:
        assert found.difference.high < -0.01
    if outcome is Outcome.NO_WORSE:
        assert found.difference.low >= -0.01


def test_an_accuracy_without_single_runs_cannot_be_decided() -> None:
    """As in files that were written before runs were stored."""
    old = certificates(routes=(route(3, "exact", runs=0),))
    found = audit.compare(old, certificates(routes=(route(3, "exact"),)))
    assert found.means[0].outcome is found.outcome is Outcome.UNDECIDED
    assert found.means[0].difference is None


def test_the_accuracy_of_the_downdate_is_a_number() -> None:
    def made(accuracy: float) -> Certification:
        return certificates(routes=(replace(route(3, "downdate", runs=0), accuracy=accuracy),))

    assert audit.compare(made(0.862), made(0.855)).outcome is Outcome.NO_WORSE
    found = audit.compare(made(0.862), made(0.82))
    assert [(c.quantity, c.outcome) for c in found.changes] == [("accuracy", Outcome.WORSE)]


def test_intervals_share_the_significance() -> None:
    routes = tuple(route(record, "exact", seed=record) for record in range(5))
    found = audit.compare(certificates(routes=routes), certificates(routes=routes))
    assert sum(m.difference.level for m in found.means if m.difference) == pytest.approx(0.05)
    rates = audit.compare(scores(0.5, seed=1), scores(0.5, seed=2)).rates
    # The third interval of each event is that of the candidate's advantage, at the same level.
    assert sum(1.5 * (r.true_positives.level + r.false_positives.level) for r in rates) == pytest.approx(0.05)


def test_a_rate_that_rose_is_a_regression_of_this_attack() -> None:
    found = audit.compare(scores(0.3, seed=1), scores(0.9, seed=2))
    rate = found.rates[0]
    assert rate.frozen
    assert rate.outcome is found.outcome is Outcome.WORSE
    assert rate.true_positives.low > 0.02
    # The complement counts against the other direction: the same event, told the other way round.
    assert found.rates[1].false_positives.high == -rate.true_positives.low
    with pytest.raises(RegressionError, match="regression is shown"):
        found.assert_no_regression()
    text = comparison_summary(found)
    assert "REGRESSION SHOWN" in text
    assert "bound no epsilon" in text


def test_not_seeing_a_difference_is_not_a_pass() -> None:
    """Few trials: the interval holds 0, and reaches past the margin."""
    few = audit.compare(scores(0.5, seed=1, n=200), scores(0.5, seed=2, n=200))
    rate = few.rates[0]
    assert rate.true_positives.low < 0 < rate.true_positives.high
    assert rate.outcome is few.outcome is Outcome.UNDECIDED
    assert rate.true_positives.detectable > 0.1
    assert "no proof that there is none" in comparison_summary(few, width=400)
    many = audit.compare(scores(0.5, seed=1, n=40_000), scores(0.5, seed=2, n=40_000))
    assert many.rates[0].outcome is Outcome.NO_WORSE


def test_a_score_that_moved_in_both_worlds_decides_nothing() -> None:
    """True positives rarer, false positives rarer still: the true-positive rate alone would call it better."""
    rng = np.random.default_rng(3)
    claim = Claim(guarantee=GaussianDP(mu=1.0))
    moved = audit.from_scores(rng.normal(0.2, 1, 8000), rng.normal(-0.8, 1, 8000), claim=claim, threshold=1.0)
    found = audit.compare(scores(0.5, seed=1, n=8000), moved)
    assert found.rates[0].true_positives.high < 0
    assert found.rates[0].outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(("threshold", "shift"), [(3.4, 0.2), (-3.4, 0.2), (5.0, 10.0)])
def test_rates_near_0_or_1_are_never_a_pass(threshold: float, shift: float) -> None:
    """The same law twice, with an event that hardly ever or nearly always occurs, or that gives everything away."""
    rng = np.random.default_rng(6)
    claim = Claim(guarantee=GaussianDP(mu=1.0))
    one, other = (
        audit.from_scores(rng.normal(shift, 1, 20_000), rng.normal(0, 1, 20_000), claim=claim, threshold=threshold)
        for _ in range(2)
    )
    found = audit.compare(one, other)
    assert {rate.outcome for rate in found.rates} == {Outcome.UNDECIDED}
    assert found.notes[-1].startswith("Nothing could have been seen")
    with pytest.raises(InconclusiveError):
        found.assert_no_regression()


def test_an_event_that_tells_more_the_other_way_round_is_worse() -> None:
    """The true-positive rate fell; but now the worlds differ, and before they did not."""
    found = audit.compare(scores(0.0, seed=1), scores(-1.5, seed=2))
    assert found.rates[0].true_positives.high < 0
    assert found.rates[0].advantage is not None
    assert found.rates[0].advantage[1] < -0.1
    assert found.rates[0].outcome is Outcome.WORSE
    better = audit.compare(scores(1.0, seed=1, n=20_000), scores(0.2, seed=2, n=20_000))
    assert better.rates[0].outcome is Outcome.BETTER


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """Releases N(mu, 1) when something was deleted, N(0, 1) when not."""

    mu: float
    name: str = "shifted"
    release: ReleaseSpec = ReleaseSpec(shape=(1,))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Shifted:
        return self

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, 1)) + self.mu * (world is World.UNLEARNED)


def test_a_shift_that_grew_is_seen_although_the_claim_is_far_off() -> None:
    """From 0.2 to 1 under a claim of 4, which no event of this attack could refute."""
    data = load_named("digits", rows=50)
    plan = AuditPlan(
        claims=(Claim(guarantee=EpsilonDelta(epsilon=4.0, delta=1e-5)),),
        forget=((3,),),
        attacks=(LinearDiscriminant(),),
        trials=2000,
        control_trials=40,
    )
    sides = [
        audit.Auditable(mechanism=Shifted(mu=mu), data=data, plan=replace(plan, seed=s))
        for s, mu in ((0, 0.2), (1, 1.0))
    ]
    old, new = (audit.run(side.mechanism, side.data, side.plan) for side in sides)
    frozen = audit.count_frozen_events(old, baseline=sides[0], candidate=sides[1])
    for found in (audit.compare(old, new, frozen=frozen), audit.compare(old, new)):
        (rate,) = found.rates
        assert rate.role == "telling_apart"
        assert 0.1 < rate.baseline.k_retrained / rate.baseline.n_retrained < 0.9
        assert rate.outcome is Outcome.WORSE
    assert "tells most" in comparison_summary(found, width=200)


def test_a_claim_that_became_refuted_is_a_regression_and_one_that_was_is_no_baseline() -> None:
    good, bad = scores(0.5, seed=1), scores(4.0, seed=2)
    assert audit.compare(good, bad).verdicts[0].outcome is Outcome.WORSE
    assert audit.compare(bad, good).verdicts[0].outcome is Outcome.BETTER
    assert audit.compare(bad, bad).verdicts[0].outcome is Outcome.UNDECIDED


def test_a_looser_claim_is_a_regression_although_it_is_harder_to_refute() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.normal(0.1, 1, 900), rng.normal(0, 1, 900)

    def claimed(epsilon: float) -> AuditResult:
        claim = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=1e-5))
        return audit.from_scores(one, other, claim=claim, threshold=1.0)

    found = audit.compare(claimed(0.5), claimed(1.0))
    assert found.changes[0].source == "claim"
    assert found.outcome is Outcome.WORSE


@pytest.fixture(scope="module")
def audited() -> tuple[audit.Auditable, AuditResult]:
    data = load_named("digits", rows=60)
    mechanism = RidgeLangevin(n_learn=6, n_unlearn=3, sigma_unlearn=0.02, sampler="closed_form")
    plan = AuditPlan(
        claims=(audit.CertifiedClaim(method="exact"),),
        forget=((3,),),
        attacks=(LinearDiscriminant(),),
        trials=400,
        seed=3,
    )
    return audit.Auditable(mechanism=mechanism, data=data, plan=plan), audit.run(mechanism, data, plan)


def test_frozen_events_are_those_of_the_baseline(audited: tuple[audit.Auditable, AuditResult]) -> None:
    """Fitted again, the attack chooses the stored thresholds; the candidate's releases are fresh ones, all of them."""
    baseline, result = audited
    candidate = replace(baseline, plan=replace(baseline.plan, trials=300))
    frozen = audit.count_frozen_events(result, baseline=baseline, candidate=candidate)
    (curve,) = result.findings[0].roc
    assert curve.cut is not None
    assert [f.threshold for f in frozen] == [curve.thresholds[curve.cut.position]]
    assert {f.counts.n_unlearned for f in frozen} == {300}
    found = audit.compare(result, result, frozen=frozen)
    assert all(rate.frozen and rate.candidate.n_retrained == 300 for rate in found.rates)
    assert [rate.baseline for rate in found.rates] == [curve.at(curve.cut.position, curve.cut.tail)]
    assert not found.notes
    # A result from before the point was stored has the same counts, and the fit says where.
    older = replace(result, findings=(replace(result.findings[0], roc=(replace(curve, cut=None),)),))
    assert audit.count_frozen_events(older, baseline=baseline, candidate=candidate) == frozen
    own = audit.compare(result, result)
    assert not any(rate.frozen for rate in own.rates)
    assert "frozen event" in own.notes[0]
    assert "seed 3" in own.notes[1]


def test_a_plan_that_did_not_make_the_baseline_is_refused(audited: tuple[audit.Auditable, AuditResult]) -> None:
    baseline, result = audited
    other = replace(baseline, plan=replace(baseline.plan, seed=4))
    with pytest.raises(InvalidInputError, match="threshold"):
        audit.count_frozen_events(result, baseline=other, candidate=baseline)
    data = load_named("digits", rows=70)
    with pytest.raises(InvalidInputError, match="data"):
        audit.count_frozen_events(result, baseline=replace(baseline, data=data), candidate=baseline)
    sequential = replace(baseline, plan=replace(baseline.plan, counting=audit.Sequential()))
    with pytest.raises(InvalidInputError, match="stop_when_decided"):
        audit.count_frozen_events(result, baseline=sequential, candidate=baseline)


@pytest.mark.slow
def test_the_same_records_in_another_order_are_no_silent_miss(audited: tuple[audit.Auditable, AuditResult]) -> None:
    """Mechanisms are given the records in the plan's order, so that (3, 1) and (1, 3) are two requests."""
    one, other = (
        replace(audited[0], plan=replace(audited[0].plan, forget=forget, trials=100))
        for forget in (((3, 1), (5,)), ((1, 3), (5,)))
    )
    result, candidate = (audit.run(side.mechanism, side.data, side.plan) for side in (one, other))
    with pytest.raises(InvalidInputError, match=r"forget sets to be \(3, 1\) as in .*, got \(1, 3\); name the records"):
        audit.count_frozen_events(result, baseline=one, candidate=other)
    with pytest.raises(InvalidInputError, match=r"plan \(forget sets\) to be .*\(1, 3\), \(5,\), got \(3, 1\)"):
        audit.count_frozen_events(candidate, baseline=one, candidate=one)
    found = audit.compare(result, candidate)
    assert [rate.forget for rate in found.rates] == [(5,)]
    said = "Forget set [3, 1] of the baseline is [1, 3] in the candidate: the same records in another order."
    assert said in found.notes[0]
    assert said in comparison_markdown(found).replace("\\", "")
    assert not any("another order" in note for note in audit.compare(result, result).notes)
    frozen = audit.count_frozen_events(result, baseline=one, candidate=one)
    assert {count.forget for count in frozen} == {(3, 1), (5,)}
    with pytest.raises(InvalidInputError, match=r"frozen to be counts of .*\(1, 3\).*, got \(3, 1\)"):
        audit.compare(candidate, candidate, frozen=frozen)


def test_an_audit_that_stops_when_decided_has_no_event_to_compare(
    audited: tuple[audit.Auditable, AuditResult],
) -> None:
    baseline, result = audited
    plan = replace(baseline.plan, counting=audit.Sequential(first_fit=50))
    stopped = audit.run(baseline.mechanism, baseline.data, plan)
    found = audit.compare(stopped, result)
    assert not found.rates
    assert [(a.kind, a.what) for a in found.absences] == [("missing", "attack with one counted event")]
    assert found.outcome is Outcome.UNDECIDED


def test_json_round_trip_and_no_volatile_fields(audited: tuple[audit.Auditable, AuditResult]) -> None:
    _, result = audited
    later = replace(result, environment=replace(result.environment, started="2030-01-01", seconds=9.0, n_jobs=8))
    found = audit.compare(result, later)
    assert Comparison.from_json(found.to_json()) == found
    assert found.to_json() == audit.compare(result, result).to_json()
    infinite = audit.compare(certificates(row(3, sigma=0.0)), certificates(row(3, sigma=1.0)))
    assert Comparison.from_json(infinite.to_json()) == infinite
    with pytest.raises(SchemaError, match="comparison/1"):
        Comparison.from_json('{"schema": "unlearn-audit/comparison/2"}')


def test_markdown_says_what_the_terminal_says() -> None:
    found = audit.compare(scores(0.3, seed=1), scores(0.9, seed=2))
    markdown = comparison_markdown(found)
    assert markdown.startswith("**REGRESSION SHOWN")
    assert markdown.count("#### ") == 3
    assert "score &gt; 1" in markdown
    assert "bound no epsilon" in markdown
    for rate in found.rates:
        assert f"| {SYMBOLS[rate.outcome]} |" in markdown


@pytest.mark.parametrize(
    "bad", [{"exact": -1.0}, {"exact": math.inf}, {"accuracy": 1.0}, {"rate": math.nan}, {"significance": 0.5}]
)
def test_margins_out_of_range_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=f"margins.{next(iter(bad))}"):
        Margins(**bad)


def test_what_models_are_good_for_stands_beside_and_decides_nothing() -> None:
    """A service that destroys its models is not fine, and no rate of an attack says so."""
    data = load_named("diabetes", rows=40)

    def mean(records: Dataset, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(records.features.mean(axis=0) + 0.1 * rng.standard_normal(records.features.shape[1]))

    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY)
    plan = AuditPlan(claims=(claim,), forget=((3,),), attacks=("lda",), trials=60, seed=1)
    good, bad = (
        audit.run(
            from_functions(
                learn=mean,
                unlearn=lambda model, retained, forget, rng, keeps=keeps: keeps * mean(retained, rng),
                release=(data.features.shape[1],),
                reference=Reference.RETRAIN_ONLY,
                evaluate=lambda model: float(np.abs(model).sum()),
            ),
            data,
            plan,
        )
        for keeps in (1.0, 0.0)
    )
    assert "What models are good for, by the function that was given: 0 ± 0 unlearned" in str(bad)
    found = audit.compare(good, bad)
    (worth,) = found.utilities
    assert worth.baseline is not None
    assert worth.candidate is not None
    assert worth.candidate[0].mean == 0 < worth.baseline[0].mean
    assert worth.candidate[1] == worth.baseline[1]
    for text in (comparison_summary(found), comparison_markdown(found)):
        assert "What models are good for" in text
        assert str(worth.baseline[0]) in text
    assert Comparison.from_json(found.to_json()) == found
    assert found.outcome is audit.compare(replace(good, controls=()), replace(bad, controls=())).outcome


def test_what_records_look_like_is_in_no_file_for_version_control(tmp_path: Path) -> None:
    seen = Preview(record=3, target="a secret target", image_shape=None, values=(1.25,))
    shown = replace(certificates(), previews=(seen,))
    audited = scores(0.0, seed=1)
    found = replace(audited.findings[0], preview=(seen,))
    for value in (shown, replace(audited, findings=(found,))):
        assert "a secret target" in value.to_json()
        write_baseline(value, tmp_path / "kept.json")
        written = (tmp_path / "kept.json").read_text(encoding="utf-8")
        assert "a secret target" not in written
        assert json.loads(written)["environment"]["started"] == ""
