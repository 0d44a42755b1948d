"""Claims in the mean over draws: the limit of a mean, deltas of draws, and audits that need no more than the mean."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

import audit
from audit.lots.averaging import AveragedClaim, delta_at, upper_mean
from audit.lots.statistics.judging import DIRECTION
from audit.lots.statistics.subsets import judge_run
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Verdict
from audit.records.words.phrases import claim_text
from mechanisms import (
    CalibratedNoise,
    Certificate,
    Claim,
    EpsilonDelta,
    GaussianDP,
    OnAverage,
    PrivacyProfile,
    RecordList,
    Reference,
    ReleaseSpec,
)
from mechanisms.errors import InvalidInputError
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
DATA = RecordList(items=tuple(str(i) for i in range(80)), name="numbers")
POOL = tuple(range(0, 60, 3))
M = len(POOL)


@dataclass(frozen=True, kw_only=True, eq=False)
class Toy:
    """Releases an indicator of the drawn, each weighed by its size, with noise: mu of a set is its length over that."""

    noise: Any = 1.0
    stated: float | None = None
    sizes: tuple[float, ...] = tuple(0.02 * (1 + i) for i in range(M))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    release: ReleaseSpec = ReleaseSpec(shape=(M,))
    at_once: int = 1
    mu: float = 0.0
    name: str = "toy"

    def bind_pool(self, data: Any, pool: tuple[int, ...]) -> Toy:
        return self

    def bind(self, data: Any, forget: tuple[int, ...]) -> Toy:
        drawn = [POOL.index(int(data[record])) for record in forget]
        length = math.sqrt(sum(self.sizes[i] ** 2 for i in drawn))
        return replace(self, mu=length / (self.stated or self.noise))

    def parameters(self) -> dict[str, float]:
        return {"noise": self.noise}

    def certificates(self) -> tuple[Certificate, ...]:
        claim = Claim(guarantee=GaussianDP(mu=self.mu), provenance="exact")
        return (
            Certificate(
                claim=claim,
                method="exact",
                epsilon=1.0,
                delta=1e-5,
                numerical_error=0.0,
                epsilon_without_unlearning=None,
            ),
        )

    def learn(self, records: Any, n: int, rng: np.random.Generator) -> Array:
        given = set(map(int, records))
        clean = np.asarray([size * (record in given) for size, record in zip(self.sizes, POOL, strict=True)])
        return np.tile(clean, (n, 1))

    def unlearn(self, models: Array, retained: Any, request: Any, rng: np.random.Generator) -> Array:
        return models + self.noise * rng.standard_normal(models.shape)

    def released(self, models: Array) -> Array:
        return models


@dataclass(frozen=True)
class Plain:
    """Scores each candidate by its own entry."""

    name: str = "plain"
    rehearsals: int = 0

    def prepare(self, *_: object, **__: object) -> Plain:
        return self

    def scores(self, release: Array) -> Array:
        return release


def audited(mechanism: Toy, claim: Any, **options: Any) -> audit.LotsResult:
    return audit.run_lots(mechanism, DATA, pool=POOL, claim=claim, attack=Plain(), **options)


def test_the_limit_of_a_mean_by_hand() -> None:
    # All 0: (1 - q)^n = level.
    assert upper_mean(np.zeros(500), level=0.005) == pytest.approx(1 - 0.005 ** (1 / 500), rel=1e-9)
    assert upper_mean(np.ones(3), level=0.005) == 1.0
    assert upper_mean([0.2] * 100, level=0.05) == pytest.approx(0.30858, abs=1e-5)
    for bad in ([], [-0.1], [1.1], [math.nan]):
        with pytest.raises(InvalidInputError, match="deltas"):
            upper_mean(bad, level=0.1)


@pytest.mark.parametrize("replicates", [500, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["coins", "small", "uniform"])
def test_the_limit_is_too_small_at_most_as_often_as_it_says(kind: str, replicates: int) -> None:
    rng, n, level = np.random.default_rng(4), 60, 0.1
    made = {
        "coins": (lambda size: (rng.random(size) < 0.05).astype(float), 0.05),
        "small": (lambda size: 1e-3 * rng.random(size), 5e-4),
        "uniform": (lambda size: rng.random(size), 0.5),
    }[kind]
    sums = made[0]((replicates, n)).mean(axis=1)
    limits = {mean: upper_mean(np.full(n, mean), level=level) for mean in np.unique(sums)}
    wrong = sum(limits[mean] < made[1] for mean in sums)
    assert wrong <= binomial_limits(replicates, level)[1]


@pytest.mark.parametrize(("epsilon", "k"), [(0.0, 4), (0.7, 4), (0.7, 8)])
def test_the_mean_is_enough_whatever_the_sets_are(epsilon: float, k: int) -> None:
    """Enumerated: each set has a law of its own that meets its own delta, some with none, and one law R for all."""
    m, rng = 8, np.random.default_rng(5)
    scores = [rng.normal(size=m) for _ in range(4)]  # R is uniform over these releases
    coins = [np.asarray(bits, dtype=bool) for bits in itertools.product((False, True), repeat=m)]
    deltas = np.where(rng.random(len(coins)) < 0.5, 0.0, rng.random(len(coins)) * 0.1)
    options: dict[str, Any] = {"draw": "fair", "pairs": None, "statistic": "count", "guesses": k}
    logs = np.asarray(
        [[judge_run(s, c, rng=np.random.default_rng(0), **options).log_counted for c in coins] for s in scores]
    )
    for level in np.unique(logs):
        under_r = (logs <= level + 1e-12).mean(axis=0)
        worst = float(np.mean(np.minimum(1.0, math.exp(epsilon) * under_r + deltas)))
        assert worst <= math.exp(epsilon) * math.exp(level) + float(deltas.mean()) + 1e-12


def test_delta_at_an_epsilon() -> None:
    mu, epsilon = 0.8, 1.0
    exact = ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu)
    found = delta_at(Claim(guarantee=GaussianDP(mu=mu)), epsilon)
    assert exact <= found <= exact * (1 + 1e-6)
    assert delta_at(Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.01)), 1.0) == pytest.approx(0.01, rel=1e-8)
    assert delta_at(Claim(guarantee=EpsilonDelta(epsilon=2.0, delta=0.01)), 1.0) == 1.0
    assert delta_at(Claim(guarantee=GaussianDP(mu=0.0)), 0.0) < 1e-200
    table = PrivacyProfile(epsilons=(0.0, 2.0), log_deltas={DIRECTION: (math.log(0.2), math.log(0.01))})
    chord = 0.2 + (math.exp(1.0) - 1) / (math.exp(2.0) - 1) * (0.01 - 0.2)
    one_way = Claim(guarantee=table, directions=(DIRECTION,))
    assert delta_at(one_way, 1.0) == pytest.approx(chord, rel=1e-6)


def test_a_service_is_audited_at_the_mean_of_its_draws() -> None:
    claim = AveragedClaim(epsilon=1.0)
    found = audited(Toy(noise=2.0), claim, seed=1)
    assert found.verdict is Verdict.NOT_REFUTED
    assert found.significance == pytest.approx(0.045)
    assert isinstance(found.claim.guarantee, EpsilonDelta)
    # All 2^20 draws are too many; of 2,000 others the mean is surely below the limit, and not far.
    coins = np.random.default_rng(9).random((2_000, M)) < 0.5
    mus = np.sqrt(coins @ np.square(Toy().sizes)) / 2.0
    mean = float(np.mean([delta_at(Claim(guarantee=GaussianDP(mu=float(mu))), 1.0) for mu in mus]))
    assert mean < found.claim.guarantee.delta < mean + 0.03
    assert found.claim.covers == OnAverage(candidates=M)
    assert "in the mean over the draws" in claim_text(found.claim, 1e-5)
    assert "Delta is an upper limit of the mean" in found.claim.assumptions[0]
    assert audit.LotsResult.from_json(found.to_json()) == found


def test_less_noise_than_certified_is_refuted() -> None:
    """The same service with a thirtieth of the noise that its certificates are about."""
    claim = AveragedClaim(epsilon=1.0)
    honest, lying = Toy(noise=2.0), Toy(noise=0.02, stated=2.0)
    refuted = [audited(each, claim, seed=2).verdict is Verdict.REFUTED for each in (honest, lying)]
    assert refuted == [False, True]


@pytest.mark.slow
def test_an_exact_service_is_seldom_refuted() -> None:
    replicates, claim = 200, AveragedClaim(epsilon=0.5, draws=200, share=0.5)
    found = [audited(Toy(noise=4.0), claim, seed=seed, references=0).verdict for seed in range(replicates)]
    assert found.count(Verdict.REFUTED) <= binomial_limits(replicates, 0.05)[1]
    # Not vacuous: each of them could have been refuted.
    assert Verdict.INCONCLUSIVE not in found


def test_what_is_certified_must_be_of_the_process_that_runs() -> None:
    @dataclass(frozen=True, kw_only=True, eq=False)
    class Drifting(Toy):
        def bind(self, data: Any, forget: tuple[int, ...]) -> Toy:
            return replace(super().bind(data, forget), noise=0.01 * len(data))

    with pytest.raises(InvalidInputError, match="parameters: noise"):
        audited(Drifting(), AveragedClaim(epsilon=1.0, draws=3))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"draw": "one"}, "claim"),
        ({"claim": AveragedClaim(epsilon=1.0, draws=10, method="published")}, "claim"),
        ({"claim": Claim(guarantee=GaussianDP(mu=1.0), covers=OnAverage(candidates=M + 1))}, r"claim\.covers"),
        ({"claim": Claim(guarantee=GaussianDP(mu=1.0), covers=OnAverage(candidates=M, draw="paired"))}, r"claim"),
        ({"mechanism": Toy(noise=CalibratedNoise(epsilon=1.0, route="exact"))}, "noise"),
    ],
)
def test_what_has_no_mean_is_refused(options: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"mechanism": Toy(), "claim": AveragedClaim(epsilon=1.0, draws=10)} | options
    with pytest.raises(InvalidInputError, match=field):
        audited(given.pop("mechanism"), given.pop("claim"), **given)


def test_bad_numbers() -> None:
    for options, field in (({"epsilon": -1.0}, "epsilon"), ({"draws": 0}, "draws"), ({"share": 1.0}, "share")):
        with pytest.raises(InvalidInputError, match=field):
            AveragedClaim(**({"epsilon": 1.0} | options))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"covers\.k"):
        OnAverage(candidates=4, draw="exactly_k")
    with pytest.raises(InvalidInputError, match=r"covers\.draw"):
        OnAverage(candidates=4, draw="half")  # type: ignore[arg-type]


def test_a_mean_over_draws_is_no_claim_about_one_set() -> None:
    claim = Claim(guarantee=GaussianDP(mu=1.0), covers=OnAverage(candidates=M))
    with pytest.raises(InvalidInputError, match="says nothing of one set"):
        AuditPlan(claims=(claim,), forget=((1, 2),))
    with pytest.raises(InvalidInputError, match=r"claim\.covers"):
        audit.which_record(np.eye(4), np.arange(4), claim=replace(claim, covers=OnAverage(candidates=4)))
