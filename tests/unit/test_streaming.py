"""Audits that stop when decided: reproducible on any engine, never counted twice, early where the claim is false."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
import reports
from attacks.protocol import AttackContext, FittedAttack, Needs
from attacks.registry import ATTACKS
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan, CertifiedClaim, FixedSequence
from audit.plan.split import Sequential, Split
from audit.records.ledger import Environment
from audit.records.result import AuditResult, read_json
from audit.records.verdict import Reason, Verdict
from audit.running.runner import run_services
from audit.trials.engines import Engine
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.faulty import NeglectedRidge
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.audits import html, markdown, terminal
from tests.conftest import without_pictures

FOUR = tuple(ATTACKS[name] for name in ("likelihood_ratio", "target_loss", "influence", "lda"))
Array = NDArray[np.float64]
SMALL = RidgeLangevin(n_learn=6, n_unlearn=3, sigma_unlearn=0.003, sampler="closed_form")
TINY = Claim(guarantee=EpsilonDelta(epsilon=0.1, delta=0.01))
PLAN = AuditPlan(
    claims=(TINY, CertifiedClaim(method="exact")),
    forget=((3,), (5, 9)),
    attacks=FOUR,
    trials=1500,
    counting=Sequential(first_fit=100),
    seed=4,
)
BLANK = Environment(started="", seconds=0.0, python="", platform="", libraries={}, n_jobs=1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("diabetes", rows=60)


@pytest.fixture(scope="module")
def result(digits: Dataset) -> AuditResult:
    return audit.run(SMALL, digits, PLAN)


@pytest.fixture(scope="module")
def early(digits: Dataset) -> AuditResult:
    """An audit of one false claim, with analytic attacks."""
    plan = replace(PLAN, claims=(TINY,), forget=((3,),), attacks=(ATTACKS["likelihood_ratio"], ATTACKS["influence"]))
    return audit.run(SMALL, digits, plan)


@pytest.mark.slow
def test_two_workers_find_exactly_what_one_finds(digits: Dataset, result: AuditResult) -> None:
    again = audit.run(SMALL, digits, PLAN, engine=Engine(n_jobs=2))
    assert replace(again, environment=BLANK) == replace(result, environment=BLANK)


def test_false_claim_stops_early_and_true_claim_does_not(early: AuditResult, result: AuditResult) -> None:
    (finding,) = early.findings
    history = finding.history
    assert finding.verdict is Verdict.REFUTED
    assert history is not None
    assert history.refuted_at == history.pairs[-1] < history.budget / 2
    assert history.n_fit == early.plan.n_fit == 100
    assert all(
        test.bound.counts.n_unlearned == test.bound.counts.n_retrained == history.pairs[-1] for test in finding.tests
    )
    assert min(test.p_value for test in finding.tests) <= finding.level
    assert history.p_values[-1] <= history.level
    true = [f for f in result.findings if f.claim != TINY]
    assert len(true) == 2
    for finding in true:
        assert finding.verdict is Verdict.NOT_REFUTED
        assert finding.history is not None
        assert finding.history.refuted_at is None
        assert finding.history.pairs[-1] == finding.history.budget == result.plan.n_counted == 1400


def test_history_agrees_with_the_bounds_and_never_falls(early: AuditResult, result: AuditResult) -> None:
    for finding in (*early.findings, *result.findings):
        history = finding.history
        assert history is not None
        assert len(history.pairs) <= 60
        assert all(np.diff(history.pairs) > 0)
        assert all(np.diff(history.p_values) <= 0)
        assert [curve.role for curve in history.curves] == [s.role for s in finding.sandwiches]
        for curve, sandwich in zip(history.curves, finding.sandwiches, strict=True):
            assert all(np.diff(curve.bounds) >= 0)
            assert curve.bounds[-1] == sandwich.bound.value
            assert sandwich.bound.value <= sandwich.ceiling
            assert sandwich.bound.method == "e_process"
            assert (curve.delta, curve.direction) == (sandwich.bound.delta, sandwich.bound.direction)


def test_fits_double_and_controls_are_carried(result: AuditResult) -> None:
    histories = [f.history for f in result.findings if f.history]
    # 100 trials fit; anew at 200, 400 and 800 trials, whose first 100 are not counted.
    assert {history.refits for history in histories} == {(100, 300, 700)}
    names = [control.name for control in result.controls]
    assert names.count("null") == names.count("neglected") == 2
    for control in result.controls:
        if control.name == "null":
            assert control.as_expected
            assert control.p_value is not None
            assert control.bound is not None
            assert control.bound.method == "e_process"
        if control.name in ("null", "neglected"):
            assert control.n_trials is not None
            assert 100 < control.n_trials <= 1500 / 5 + 100


def test_results_go_through_json_and_older_results_still_load(result: AuditResult) -> None:
    assert AuditResult.from_json(result.to_json()) == result
    old = json.loads(result.to_json())
    for finding in old["findings"]:
        del finding["history"]
    old["plan"]["counting"] = {"fit_fraction": 0.3, "max_fit": 20000, "kind": "split"}
    loaded = read_json(json.dumps(old))
    assert isinstance(loaded, AuditResult)
    assert loaded.findings[0].history is None
    assert loaded.plan.counting == Split(fit_fraction=0.3)


@pytest.mark.slow
def test_services_share_the_retrained_world_and_each_stops_by_itself(digits: Dataset) -> None:
    # A claim that holds of the one is followed to the end; of the other, it is refuted at once.
    claims = (CertifiedClaim(method="exact"),)
    plan = replace(PLAN, forget=((3,),), claims=claims, attacks=(ATTACKS["likelihood_ratio"], ATTACKS["lda"]))
    services = (SMALL, NeglectedRidge(mechanism=SMALL))
    both = run_services({"careful": services[0], "careless": services[1]}, digits, plan)
    for mechanism, shared in zip(services, both, strict=True):
        (alone,) = audit.run(mechanism, digits, plan).findings
        # Estimates have random streams of their own.
        assert replace(alone, estimates=()) == replace(shared.findings[0], estimates=())
    used = [r.findings[0].history.pairs[-1] for r in both if r.findings[0].history]
    assert used[1] < used[0]


@dataclass(frozen=True)
class Remembering:
    """Scores a release by whether it was seen in fitting: any trial that both fits and counts would show at once."""

    name: str = "remembering"
    needs: Needs = Needs()

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator) -> Any:
        return Remembered(first=frozenset(map(bytes, unlearned)), second=frozenset(map(bytes, retrained)))


@dataclass(frozen=True)
class Remembered:
    first: frozenset[bytes]
    second: frozenset[bytes]

    def score(self, releases: Array) -> Array:
        rows = [bytes(release) for release in releases]
        if any(row in self.first or row in self.second for row in rows):
            raise ValueError("scored a trial that it was fitted on")
        return np.array([float(np.frombuffer(row[:8])[0]) for row in rows])


def test_no_trial_is_counted_by_an_attack_that_was_fitted_on_it(digits: Dataset) -> None:
    plan = replace(PLAN, forget=((3,),), claims=(CertifiedClaim(method="exact"),), attacks=(Remembering(),))
    (finding,) = audit.run(SMALL, digits, plan).findings
    assert not finding.failures
    assert finding.history is not None
    assert len(finding.history.refits) == 3


@dataclass(frozen=True)
class Fragile:
    """Works for its first fit, and fails on some later chunk."""

    name: str = "fragile"
    needs: Needs = Needs()

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        return FragileFitted(highest=float(np.max(np.abs(unlearned[:, 0]))))


@dataclass(frozen=True)
class FragileFitted:
    highest: float

    def score(self, releases: Array) -> Array:
        if len(releases) == 100 and float(np.sum(releases)) % 1.0 < 0.4:
            raise ValueError("no score today")
        first: Array = releases.reshape(len(releases), -1)[:, 0]
        return first


def test_attack_that_fails_on_the_way_leaves_the_others_and_the_audit_inconclusive(digits: Dataset) -> None:
    claim = CertifiedClaim(method="exact")
    plan = replace(PLAN, forget=((3,),), claims=(claim,), attacks=(Fragile(), ATTACKS["likelihood_ratio"]))
    results = [audit.run(SMALL, digits, plan, engine=Engine(n_jobs=n)) for n in (1, 2)]
    assert replace(results[0], environment=BLANK) == replace(results[1], environment=BLANK)
    (finding,) = results[0].findings
    assert finding.reason is Reason.ATTACK_FAILED
    assert "no score today" in finding.failures["fragile"]
    assert {test.bound.attack for test in finding.tests} == {"likelihood_ratio"}
    assert finding.history is not None
    assert finding.history.pairs[-1] == 1400


@pytest.mark.slow
def test_without_refits_thresholds_are_chosen_anew_all_the_same(digits: Dataset) -> None:
    plan = replace(PLAN, forget=((3,),), claims=(CertifiedClaim(method="exact"),), attacks=(ATTACKS["lda"],))
    once = replace(plan, counting=Sequential(first_fit=100, refit=False))
    capped = replace(plan, counting=Sequential(first_fit=100, max_fit=100))
    results = [audit.run(SMALL, digits, p) for p in (once, capped)]
    assert results[0].findings == results[1].findings
    (finding,) = results[0].findings
    assert finding.history is not None
    assert finding.history.refits == (100, 300, 700)
    # One fit scored everything.
    assert finding.roc[0].n_unlearned == 1400


def test_fixed_sequence_by_attacks_does_not_mix_its_steps(digits: Dataset) -> None:
    plan = replace(PLAN, claims=(TINY,), forget=((3,),), correction=FixedSequence(order=("attacks",)))
    (finding,) = audit.run(SMALL, digits, plan).findings
    assert finding.history is not None
    assert finding.history.refuted_at is not None
    assert min(test.p_value for test in finding.tests) <= 0.05 / 4


def test_argument_plan_file_and_command_line_agree(digits: Dataset, tmp_path: Path) -> None:
    direct = audit.run(
        SMALL, digits, forget=3, claim=TINY, trials=1500, attacks=PLAN.attacks, seed=4, stop_when_decided=True
    )
    assert direct.plan.counting == Sequential()
    text = (
        'schema = "unlearn-audit/plan/1"\n{top}\ntrials = 400\n[data]\nname = "digits"\nrows = 150\n[mechanism]\n'
        'name = "ridge_langevin"\nsigma_unlearn = 0.003\n[records]\nforget = [[3]]\n[[claims]]\nkind = "profile"\n'
        'from = "exact"\n[[attacks]]\nname = "lda"\n{counting}\n'
    )
    path = tmp_path / "plan.toml"
    path.write_text(text.format(top="stop_when_decided = true", counting="[counting]\nfirst_fit = 60\nrefit = false"))
    assert read_plan(path).plan.counting == Sequential(first_fit=60, refit=False)
    path.write_text(text.format(top="", counting=""))
    assert read_plan(path).plan.counting == Split()
    assert read_plan(path, stop_when_decided=True).plan.counting == Sequential()
    path.write_text(text.format(top="", counting="[counting]\nfirst_fit = 60"))
    with pytest.raises(PlanError, match="first_fit belongs to stop_when_decided"):
        read_plan(path)
    with pytest.raises(InvalidInputError, match=r"counting\.first_fit"):
        Sequential(first_fit=1)


@pytest.mark.pictures
def test_reports_say_when_it_stopped_and_why_that_is_valid(early: AuditResult, tmp_path: Path) -> None:
    (finding,) = early.findings
    history = finding.history
    assert history is not None
    page, text, short = html.render(early), markdown.render(early), terminal.summary(early)
    stopped = f"stopped after {history.pairs[-1]:,} of at most {history.budget:,}"
    for rendered in (page, text, short):
        assert stopped in " ".join(rendered.split())
    for rendered in (page, text):
        assert "reached over time" in rendered
        assert "EVER" in rendered
        assert f"{history.pairs[0]:,}" in rendered
    assert 'aria-label="Lower bound on epsilon over' in page
    with without_pictures():
        assert html.render(early) == html.render(read_json(early.to_json()))
        written = {path.name for path in reports.write(early, tmp_path)}
    assert {"report.html", "report.json", "report.md", "history.csv"} <= written


def test_reports_of_a_fixed_number_of_trials_say_nothing_of_it(digits: Dataset) -> None:
    plan = replace(PLAN, claims=(TINY,), forget=((3,),), attacks=(ATTACKS["influence"],), counting=Split())
    fixed = audit.run(SMALL, digits, plan)
    assert fixed.findings[0].history is None
    for rendered in (html.render(fixed), markdown.render(fixed), terminal.summary(fixed)):
        assert "over time" not in rendered
