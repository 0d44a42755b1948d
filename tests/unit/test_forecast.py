"""Forecasts: what they say of plans, their JSON, and that they leave the run's random streams alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

import audit
from attacks.linear.discriminant import LinearDiscriminant
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from audit.errors import SchemaError
from audit.plan.audit_plan import AuditPlan, FixedSequence
from audit.plan.split import Sequential
from audit.power.ceilings import detectable_epsilon
from audit.power.claim_forecast import plan_trials, stated_at
from audit.power.forecasting import forecast_bound, forecast_numbers
from audit.power.forecasts import ClaimForecast, Forecast
from audit.power.timing import estimate_cost
from audit.running.binding import bind, family_of
from audit.running.forecast_plan import forecast
from audit.trials.chunks import Stream
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Certificate, Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile, Provenance
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, GaussianLaw, Reference, ReleaseSpec, World
from reports.forecasts.summary import caution_lines, duration, forecast_summary

ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-2))


@dataclass(frozen=True)
class Shift:
    """Releases N(mean of the world, 1) in a few dimensions; states laws and certificates only when asked to."""

    unlearned: float = 0.3
    neglected: float = 2.0
    size: int = 3
    states_law: bool = True
    alone: float | None = None
    provenance: Provenance = "exact"
    name: str = "shift"
    release: ReleaseSpec = ReleaseSpec(shape=(3, 1), access=Access.WHITE_BOX)
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Shift:
        release = ReleaseSpec(shape=(self.size, 1))
        return replace(LawfulShift(**vars(self)) if self.states_law else self, release=release)

    def mean(self, world: World) -> np.ndarray:
        mean = np.zeros((self.size, 1))
        mean[0] = {World.UNLEARNED: self.unlearned, World.RETRAINED: 0.0, World.NEGLECTED: self.neglected}[world]
        return mean

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> np.ndarray:
        return self.mean(world) + rng.normal(size=(n, self.size, 1))

    def certificates(self) -> tuple[Certificate, ...]:
        return (
            Certificate(
                claim=replace(ONE, provenance=self.provenance),
                method="stated",
                epsilon=1.0,
                delta=1e-2,
                numerical_error=0.0,
                epsilon_without_unlearning=self.alone,
            ),
        )

    def parameters(self) -> Mapping[str, float]:
        return {}


@dataclass(frozen=True)
class LawfulShift(Shift):
    def law(self, world: World) -> GaussianLaw:
        return GaussianLaw(mean=self.mean(world), covariance=np.eye(self.size))


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(1)
    return from_arrays(rng.normal(size=(12, 2)), rng.normal(size=12), kind="regression")


def make_plan(**changes: object) -> AuditPlan:
    plan = AuditPlan(claims=(ONE,), forget=((3,),), attacks=(LikelihoodRatio(),), trials=2000, delta=1e-3)
    return replace(plan, **changes)  # type: ignore[arg-type]


def brief(mechanism: Shift, data: Dataset, plan: AuditPlan, margins: tuple[float, ...] = (2.0,)) -> Forecast:
    """Warnings alone: those of a whole forecast, which takes longer."""
    records = [bind(mechanism, data, plan, position) for position in range(len(plan.forget))]
    return forecast_bound(plan, records, family_of(plan, records), margins=margins, title="", mechanism="", brief=True)


def kinds(claim: ClaimForecast) -> list[str]:
    return [caution.kind for caution in claim.cautions]


class TestNumbers:
    def test_equal_the_planner_s(self) -> None:
        found = forecast_numbers(epsilon=1.0, delta=1e-2, trials=2000, significance=0.05, tests=5).claims[0]
        n = make_plan().n_counted
        assert (found.n_fit, found.n_counted, found.level) == (2000 - n, n, 0.01)
        assert found.ceiling == pytest.approx(math.log((1 - 1e-2) / (1 - 0.01 ** (1 / n))))
        expected = detectable_epsilon(point=EpsilonDelta(epsilon=1.0, delta=1e-2), n1=n, n0=n, level=0.01)
        assert found.detectable_epsilon == pytest.approx(expected, rel=0.02)
        assert found.margins[0].alternative.epsilon == 2.0
        assert found.refutable

    def test_power_grows_with_the_margin_and_trials_fall(self) -> None:
        found = forecast_numbers(epsilon=0.5, delta=1e-5, trials=5000, margins=(1.5, 2, 4)).claims[0]
        powers = [margin.power_known_event for margin in found.margins]
        trials = [margin.trials_needed or math.inf for margin in found.margins]
        assert powers == sorted(powers)
        assert trials == sorted(trials, reverse=True)
        # The choice on the fit split costs something, and gives nothing but noise.
        assert all(m.power <= m.power_known_event + 0.05 for m in found.margins)

    def test_a_claim_above_the_ceiling_is_told_how_many_trials_it_needs(self) -> None:
        found = forecast_numbers(epsilon=6.0, delta=1e-5, trials=1000).claims[0]
        assert not found.refutable
        assert math.isinf(found.detectable_epsilon or 0)
        assert found.margins[0].power == 0
        assert kinds(found) == ["cannot_be_refuted"]
        assert "NOT AUDITABLE" in found.cautions[0].message
        needed = found.trials_to_refute
        assert needed is not None
        assert forecast_numbers(epsilon=6.0, delta=1e-5, trials=needed).claims[0].refutable
        assert not forecast_numbers(epsilon=6.0, delta=1e-5, trials=int(0.97 * needed)).claims[0].refutable

    def test_nothing_claimed(self) -> None:
        found = forecast_numbers(epsilon=math.inf, delta=1e-5, trials=1000).claims[0]
        assert kinds(found) == ["nothing_claimed"]
        assert forecast_numbers(epsilon=0.0, delta=1e-5, trials=1000).claims[0].margins == ()

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("margin", {"margins": (1.0,)}), ("margin", {"margins": (math.nan,)}), ("tests", {"tests": 0}),
            ("trials", {"trials": 3}), ("epsilon", {"epsilon": -1.0}), ("delta", {"delta": 2.0}),
            ("significance", {"significance": 0.7}),
        ],
    )  # fmt: skip
    def test_numbers_out_of_range_are_refused(self, field: str, change: dict[str, object]) -> None:
        numbers: dict[str, object] = {"epsilon": 1.0, "delta": 1e-5, "trials": 1000} | change
        with pytest.raises(InvalidInputError, match=field):
            forecast_numbers(**numbers)  # type: ignore[arg-type]


class TestPlans:
    def test_neglect_by_the_mechanism_s_laws(self, data: Dataset) -> None:
        found = forecast(Shift(), data, make_plan()).claims[0]
        neglected = found.neglected
        assert neglected is not None
        assert neglected.alternative.kind == "neglected_laws"
        pair = GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([4.0]))
        assert neglected.alternative.epsilon == pytest.approx(pair.epsilon(1e-2), rel=1e-2)
        assert neglected.power > 0.99
        assert "neglect_unseen" not in kinds(found)

    def test_neglect_by_a_certificate(self, data: Dataset) -> None:
        found = forecast(Shift(states_law=False, alone=4.0), data, make_plan(attacks=(LinearDiscriminant(),)))
        neglected = found.claims[0].neglected
        assert neglected is not None
        assert neglected.alternative.kind == "neglected_gaussian"
        assert neglected.alternative.epsilon == pytest.approx(4.0, rel=1e-2)
        assert neglected.ratio == pytest.approx(4.0, rel=1e-2)
        infinite = brief(Shift(states_law=False, alone=math.inf), data, make_plan()).claims[0].neglected
        assert infinite is not None
        assert math.isinf(infinite.alternative.epsilon)
        assert infinite.power == pytest.approx(1.0)
        assert brief(Shift(states_law=False), data, make_plan()).claims[0].neglected is None

    @pytest.mark.parametrize("provenance", ["repaired", "published", "user"])
    def test_a_bound_on_neglect_is_no_neglect_that_can_be_seen(self, data: Dataset, provenance: Provenance) -> None:
        bound = Shift(states_law=False, alone=4.0, provenance=provenance)
        found = brief(bound, data, make_plan(attacks=(LinearDiscriminant(),))).claims[0]
        assert found.neglected is None
        assert "neglect_unseen" not in kinds(found)

    @pytest.mark.parametrize("neglected", [0.35, 0.2])
    def test_neglect_that_no_audit_could_tell(self, data: Dataset, neglected: float) -> None:
        found = brief(Shift(neglected=neglected), data, make_plan()).claims[0]
        assert "neglect_unseen" in kinds(found)
        assert any("no audit could tell" in caution.message for caution in found.cautions)

    def test_a_blind_attack_is_announced(self, data: Dataset) -> None:
        plan = make_plan(attacks=(LinearDiscriminant(),))
        small = forecast(Shift(states_law=False), data, plan).claims[0]
        large = forecast(Shift(states_law=False, size=2000), data, plan).claims[0]
        assert kinds(small) == []
        assert small.learned[0].kept > 0.9
        assert kinds(large) == ["blind_attack"]
        assert large.learned[0].n_parameters == 2000
        assert large.learned[0].n_fit == plan.n_fit
        assert "hopeless at this d/m" in large.cautions[0].message

    def test_an_attack_that_cannot_run_is_announced(self, data: Dataset) -> None:
        found = brief(Shift(states_law=False), data, make_plan()).claims[0]
        assert kinds(found) == ["attack_cannot_run"]

    @pytest.mark.all_rehearsals
    def test_low_power_names_margin_and_trials(self, data: Dataset) -> None:
        plan = make_plan(trials=200, attacks=(LinearDiscriminant(),))
        mechanism = Shift(states_law=False)
        found = forecast(mechanism, data, plan, margins=(1.5,)).claims[0]
        assert "low_power" in kinds(found)
        needed = found.margins[0].trials_needed
        assert needed is not None
        assert "1.5 times the claimed one" in found.cautions[0].message
        enough = forecast(mechanism, data, replace(plan, trials=needed), margins=(1.5,)).claims[0].margins[0]
        # By the event that is known in advance 0.8 would be reached at fewer trials, where an audit has some 0.7.
        assert enough.power == pytest.approx(0.8, abs=0.06)
        assert enough.power_known_event > 0.83

    def test_levels_are_those_of_the_ledger(self, data: Dataset) -> None:
        claims = (ONE, Claim(guarantee=GaussianDP(mu=0.5)))
        plan = make_plan(claims=claims, forget=((3,), (4,)), trials=300)
        found = brief(Shift(states_law=False), data, plan, margins=())
        assert found.n_tests == 6
        assert [claim.level for claim in found.claims] == pytest.approx([0.05 / 6, 1.8 * 0.05 / 6] * 2)
        in_sequence = brief(Shift(states_law=False), data, replace(plan, correction=FixedSequence()), margins=())
        # A step is one claim about one deletion: one test of ONE, two rows of the Gaussian claim.
        assert [claim.level for claim in in_sequence.claims] == pytest.approx([0.05, 0.045] * 2)
        assert "where every claim before it" in " ".join(forecast_summary(in_sequence).split())

    def test_brief_forecast_warns_alike(self, data: Dataset) -> None:
        plan = make_plan(trials=300, attacks=(LinearDiscriminant(),))
        mechanism = Shift(size=500, states_law=False, alone=1.05)
        found = brief(mechanism, data, plan)
        assert caution_lines(found) == caution_lines(forecast(mechanism, data, plan))
        assert found.claims[0].detectable_epsilon is None

    def test_sequential_plans_are_told_apart(self, data: Dataset) -> None:
        plan = make_plan(counting=Sequential(), attacks=(LinearDiscriminant(),))
        found = forecast(Shift(size=200, states_law=False), data, plan)
        assert found.claims[0].learned[0].n_fit == 1000
        assert "counts until it is decided" in forecast_summary(found)

    def test_costs(self, data: Dataset) -> None:
        plan = make_plan(forget=((3,), (4,)))
        cost = estimate_cost(Shift().bind(data, (3,)), plan, n_jobs=1)
        rates, controls = cost.seconds_per_trial, plan.n_control_trials
        drawn = plan.trials * (rates["unlearned"] + rates["retrained"])
        drawn += controls * (rates["neglected"] + rates["retrained"])
        assert cost.seconds == pytest.approx(2 * drawn)
        assert cost.chunk_bytes == 8 * 3 * max(plan.chunk_sizes(plan.trials))
        assert cost.fit_bytes > 8 * 3 * 2 * plan.n_fit

    def test_timing_leaves_the_run_s_streams_alone(self, data: Dataset) -> None:
        plan = make_plan(trials=100)
        before = audit.run(Shift(), data, plan)
        assert forecast(Shift(), data, plan, margins=(), timed=True).cost is not None
        after = audit.run(Shift(), data, plan)
        assert before.findings == after.findings
        assert len({stream.value for stream in Stream}) == len(Stream)

    def test_run_announces_before_it_draws(self, data: Dataset) -> None:
        plan = make_plan(trials=400)
        drawn: list[str] = []
        audit.run(
            Shift(), data, plan,
            announce=lambda *bound: drawn.append("announced"),
            progress=lambda phase, done, total: drawn.append(phase),
        )  # fmt: skip
        assert drawn[0] == "announced"
        assert drawn.count("announced") == 1


class TestJson:
    def test_round_trip(self, data: Dataset) -> None:
        claims = (ONE, Claim(guarantee=EpsilonDelta(epsilon=50.0, delta=0.0)))
        for found in (
            forecast(Shift(), data, make_plan(claims=claims, attacks=(LinearDiscriminant(),)), timed=True),
            forecast_numbers(epsilon=math.inf, delta=1e-5, trials=100),
        ):
            assert Forecast.from_json(found.to_json()) == found
            assert json.loads(found.to_json())["schema"] == "unlearn-audit/forecast/1"

    def test_other_json_is_refused(self) -> None:
        with pytest.raises(SchemaError, match="forecast/1"):
            Forecast.from_json('{"title": 3}')


class TestWhereEpsilonsAreStated:
    def test_kinds_of_claim(self) -> None:
        assert stated_at(ONE, 1e-5) == (1e-2, 1.0)
        assert stated_at(Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0)), 1e-5) == (1e-5, 1.0)
        assert stated_at(Claim(guarantee=GaussianDP(mu=1.0)), 1e-5)[1] == pytest.approx(4.377, abs=1e-3)
        deltas = {direction: (math.log(0.1), math.log(0.01)) for direction in Direction}
        table = Claim(guarantee=PrivacyProfile(epsilons=(0.5, 1.0), log_deltas=deltas))
        # Nothing is promised at 1e-5: the last row it is.
        assert stated_at(table, 1e-5) == (pytest.approx(0.01), 1.0)

    @pytest.mark.parametrize("counted", [5, 700, 14_000, 3_000_000])
    def test_plans_leave_enough_to_count(self, counted: int) -> None:
        plan = make_plan()
        trials = plan_trials(plan, counted)
        assert replace(plan, trials=trials).n_counted >= counted
        assert trials == 20 or replace(plan, trials=int(0.9 * trials)).n_counted < counted


def test_durations() -> None:
    assert [duration(s) for s in (0.0, 40, 725, 3.5 * 3600, 10 * 86400)] == [
        "0.1 seconds", "40 seconds", "12 minutes", "3.5 hours", "10 days"
    ]  # fmt: skip
