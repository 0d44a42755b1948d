"""Audits by lot of mechanisms: verdicts, what is frozen, what is refused by name, attacks, noise of single draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
import reports
from attacks.lots import Alignment, JointFilter, Learned, MatchedFilter, OutputScores, Rehearsal
from attacks.lots.protocol import check_rehearsals
from audit.errors import TrialError
from audit.lots.noise import certified_singles
from audit.records.verdict import Verdict
from audit.trials.engines import Engine
from mechanisms import (
    Access,
    Certificate,
    Claim,
    Dataset,
    EpsilonDelta,
    OneRecord,
    Outputs,
    RecordList,
    Reference,
    ReleaseSpec,
    RidgeLangevin,
    UpTo,
    from_functions,
    load_named,
)
from mechanisms.errors import InvalidInputError, NotApplicableError, UserFunctionError
from mechanisms.ridge import CalibratedNoise

Array = NDArray[np.float64]
M = 60
DATA = load_named("digits", rows=300)
SMALL = load_named("diabetes", rows=60)
POOL = tuple(range(3, 300, 5))
POINT = EpsilonDelta(epsilon=1.0, delta=1e-5)
CLAIM = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY, covers=UpTo(k=M))
ONE = replace(CLAIM, covers=OneRecord())
SIZE = (DATA.features.shape[1], DATA.targets.shape[1])


def solved(data: Dataset) -> Array:
    x, y = data.features, data.targets
    return np.asarray(np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y))


def fit(data: Dataset, rng: np.random.Generator) -> Array:
    return solved(data) + 0.01 * rng.standard_normal(SIZE)


def retrain(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return fit(retained, rng)


def lose(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model


def service(unlearn: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"learn": fit, "release": SIZE, "reference": Reference.RETRAIN_ONLY}
    given |= {"parameters": {"penalty": 1.0, "noise": 0.01}} | options
    return from_functions(unlearn=unlearn, **given)


def test_one_model_tells_who_deletes() -> None:
    lost = audit.run_lots(service(lose), DATA, pool=POOL, claim=CLAIM, seed=1)
    assert lost.verdict is Verdict.REFUTED
    assert lost.lower_bound > 5
    assert len(lost.runs) == 1
    assert lost.mechanism == "user_functions"
    assert lost.data is not None
    assert lost.data.sha256 == DATA.sha256()
    assert any("own random stream" in text or "stream of its own" in text for text in lost.conditions)
    served = audit.run_lots(service(retrain), DATA, pool=POOL, claim=CLAIM, seed=1)
    assert served.verdict is Verdict.NOT_REFUTED
    # What an ignored request would leave, from the same model: that is what the lost one left.
    assert served.before == lost.before == lost.runs
    assert "Before the deletion, of the same model" in " ".join(reports.lots_summary(served).split())
    assert audit.LotsResult.from_json(served.to_json()) == served


def test_results_depend_on_the_seed_alone() -> None:
    found = [
        audit.run_lots(service(lose), DATA, pool=POOL, claim=CLAIM, runs=3, seed=7, engine=Engine(n_jobs=1))
        for _ in range(2)
    ]
    assert replace(found[0], seconds=0.0) == replace(found[1], seconds=0.0)
    other = audit.run_lots(service(lose), DATA, pool=POOL, claim=CLAIM, runs=3, seed=8)
    assert other.commitments != found[0].commitments
    assert len({run.right for run in found[0].runs} | {run.inserted for run in found[0].runs}) > 1


@pytest.mark.parametrize(
    ("draw", "options", "claim"),
    [
        ("paired", {"pairs": np.arange(M).reshape(-1, 2)}, CLAIM),
        ("exactly_k", {"k": 20}, CLAIM),
        ("one", {"runs": 24}, ONE),
    ],
)
def test_every_draw(draw: Any, options: dict[str, Any], claim: Claim) -> None:
    lost = audit.run_lots(service(lose), DATA, pool=POOL, claim=claim, draw=draw, **options)
    assert lost.verdict is Verdict.REFUTED
    assert lost.draw == draw
    served = audit.run_lots(service(retrain), DATA, pool=POOL, claim=claim, draw=draw, **options)
    assert served.verdict is Verdict.NOT_REFUTED


def test_the_drawn_are_given_and_deleted_and_the_others_never_given() -> None:
    """The experiment itself, seen by a mechanism that remembers what it was given."""
    seen: list[tuple[set[str], set[str], set[str]]] = []
    records = RecordList(items=[f"r{i}" for i in range(40)], name="names")
    pool = tuple(range(1, 40, 2))

    def learn(data: Any, rng: np.random.Generator) -> Array:
        seen.append((set(data), set(), set()))
        return rng.standard_normal(3)

    def unlearn(model: Array, retained: Any, forget: Any, rng: np.random.Generator) -> Array:
        seen[-1] = (seen[-1][0], set(retained), set(forget))
        return rng.standard_normal(3)

    mechanism = from_functions(learn=learn, unlearn=unlearn, release=(3,), reference=Reference.RETRAIN_ONLY)
    claim = replace(CLAIM, covers=UpTo(k=20))
    audit.run_lots(mechanism, records, pool=pool, claim=claim, runs=6, references=0, attack=Learned(rehearsals=12))
    core, everyone = {f"r{i}" for i in range(0, 40, 2)}, {f"r{i}" for i in pool}
    assert len(seen) == 18
    draws = set()
    for learned, retained, forgotten in seen:
        assert retained == core
        assert learned == core | forgotten
        assert forgotten <= everyone
        draws.add(frozenset(forgotten))
    assert len(draws) > 12
    with pytest.raises(TypeError):
        audit.run_lots(mechanism, records, pool=pool, claim=claim, planted=True)  # type: ignore[call-arg]


def test_every_run_has_a_stream_of_its_own() -> None:
    drawn: list[float] = []

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        drawn.append(float(rng.random()))
        return fit(data, rng)

    audit.run_lots(service(lose, learn=learn), DATA, pool=POOL, claim=CLAIM, runs=5)
    assert len(set(drawn)) == len(drawn) == 7


def test_one_training_seed_for_all_runs_is_refused() -> None:
    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        return fit(data, np.random.default_rng(0))

    with pytest.raises(InvalidInputError, match="independent"):
        audit.run_lots(service(lose, learn=learn), DATA, pool=POOL, claim=CLAIM, runs=2)
    # One run assumes nothing of chance.
    assert audit.run_lots(service(lose, learn=learn), DATA, pool=POOL, claim=CLAIM).verdict is Verdict.REFUTED


COUNTER = {"records": 0}


def by_length(data: Dataset, forget: Dataset) -> float:
    return 0.01 * len(forget)


def by_data(data: Dataset, forget: Dataset) -> float:
    return float(np.abs(data.features).sum())


def by_global(data: Dataset, forget: Dataset) -> int:
    return COUNTER["records"]


def by_chance(data: Dataset, forget: Dataset) -> float:
    return float(np.random.default_rng().random())


def learn_and_count(data: Dataset, rng: np.random.Generator) -> Array:
    COUNTER["records"] = len(data)
    return fit(data, rng)


def lose_with(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator, value: Any) -> Array:
    return model


@pytest.mark.parametrize(
    ("calibrate", "through"),
    [(by_length, r"len\(forget\)"), (by_data, "which records"), (by_global, "global"), (by_chance, "global")],
)
def test_a_calibrate_that_follows_the_draw_is_refused(calibrate: Callable[..., Any], through: str) -> None:
    COUNTER["records"] = 0
    mechanism = service(lose_with, learn=learn_and_count, calibrate=calibrate)
    with pytest.raises(InvalidInputError, match=rf"calibrate.*{through}"):
        audit.run_lots(mechanism, DATA, pool=POOL, claim=CLAIM)


def test_a_calibrate_that_is_the_same_for_all_draws_is_fine() -> None:
    mechanism = service(lose_with, calibrate=lambda data, forget: np.asarray([0.5, data.features.shape[1]]))
    assert audit.run_lots(mechanism, DATA, pool=POOL, claim=CLAIM).verdict is Verdict.REFUTED


class Drifting:
    """Stages whose step size follows what they learned last."""

    name = "drifting"

    def __init__(self) -> None:
        self.release = ReleaseSpec(shape=SIZE)
        self.reference, self.at_once, self.step = Reference.RETRAIN_ONLY, 1, 0.0

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> Drifting:
        return self

    def parameters(self) -> dict[str, float]:
        return {"penalty": 1.0, "noise": 0.01, "step_size": self.step}

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        self.step = 1 / len(records)
        return np.stack([fit(records, rng) for _ in range(n)])

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        return models

    def released(self, models: Array) -> Array:
        return models


def test_parameters_that_change_with_the_draw_are_named() -> None:
    with pytest.raises(InvalidInputError, match="step_size"):
        audit.run_lots(Drifting(), DATA, pool=POOL, claim=CLAIM)


class OnlyBinds:
    name = "only_binds"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Any:
        raise AssertionError("never called")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no pools": ({"mechanism": OnlyBinds()}, "bind_pool"),
    "pool of one": ({"pool": (3,)}, "pool"),
    "pool outside": ({"pool": (3, 300)}, "pool"),
    "pool twice": ({"pool": (3, 3)}, "pool"),
    "draw": ({"draw": "half"}, "draw"),
    "k": ({"draw": "exactly_k"}, "k"),
    "k for fair": ({"k": 4}, "k"),
    "pairs": ({"draw": "paired"}, "pairs"),
    "runs": ({"runs": 0}, "runs"),
    "half a run": ({"runs": 1.5}, "runs"),
    "seed": ({"seed": -2}, "seed"),
    "covers": ({"claim": ONE}, r"claim\.covers"),
    "covers fewer": ({"claim": replace(CLAIM, covers=UpTo(k=M - 1))}, r"claim\.covers"),
    "reference": ({"claim": replace(CLAIM, reference=Reference.RETRAIN_THEN_UNLEARN)}, r"claim\.reference"),
    "claim": ({"claim": 1.0}, "claim"),
    "attack": ({"attack": "influence"}, "attack"),
    "certificates of the pool": ({"claim": audit.CertifiedClaim(method="exact")}, "two records may cancel"),
    "data": ({"data": [1, 2, 3]}, "data"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_trained(case: str) -> None:
    changed, field = BAD[case]
    trained: list[int] = []

    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        trained.append(1)
        return fit(data, rng)

    options: dict[str, Any] = {"mechanism": service(lose, learn=learn), "data": DATA, "pool": POOL, "claim": CLAIM}
    options |= {"references": 0} | changed
    with pytest.raises(InvalidInputError, match=field):
        audit.run_lots(options.pop("mechanism"), options.pop("data"), **options)
    assert not trained


def test_a_mechanism_that_fails_is_named() -> None:
    def learn(data: Dataset, rng: np.random.Generator) -> Array:
        raise ValueError("no")

    with pytest.raises((TrialError, UserFunctionError), match="learn raised ValueError: no"):
        audit.run_lots(service(lose, learn=learn), DATA, pool=POOL, claim=CLAIM)


def test_a_law_that_is_only_said_to_exist() -> None:
    claim = replace(CLAIM, reference=Reference.CERTIFYING)
    assert audit.run_lots(service(lose), DATA, pool=POOL, claim=claim).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    "attack", [MatchedFilter(), JointFilter(), Alignment(), OutputScores(), JointFilter(noise=0.01)]
)
def test_attacks_on_weights(attack: Any) -> None:
    lost = audit.run_lots(service(lose), DATA, pool=POOL, claim=CLAIM, attack=attack, statistic="weighted")
    assert lost.verdict is Verdict.REFUTED
    served = audit.run_lots(service(retrain), DATA, pool=POOL, claim=CLAIM, attack=attack, statistic="weighted")
    assert served.verdict is Verdict.NOT_REFUTED


def test_learned_attack_is_fitted_on_other_coins_alone() -> None:
    found = audit.run_lots(service(lose), DATA, pool=POOL, claim=CLAIM, attack=Learned(rehearsals=64))
    assert found.verdict is Verdict.REFUTED
    with pytest.raises(InvalidInputError, match="kind Rehearsal"):
        check_rehearsals("mine", [np.zeros(3)], 1)
    with pytest.raises(InvalidInputError, match="at least 8"):
        check_rehearsals("mine", [Rehearsal(release=np.zeros(3), coins=np.zeros(3, dtype=bool))], 8)


def test_black_box_outputs_of_the_whole_pool() -> None:
    spec = ReleaseSpec(shape=(M, SIZE[1]), access=Access.BLACK_BOX, outputs=Outputs(kind="values"))
    shown = {"release": spec, "observe": lambda model, pool: pool.features @ model, "parameters": {}}
    lost = audit.run_lots(service(lose, **shown), DATA, pool=POOL, claim=CLAIM, statistic="weighted")
    assert lost.verdict is Verdict.REFUTED
    assert audit.run_lots(service(retrain, **shown), DATA, pool=POOL, claim=CLAIM).verdict is Verdict.NOT_REFUTED
    # Each release has a row for each candidate, drawn or not: its shape tells nothing.
    bare = service(lose, **(shown | {"release": ReleaseSpec(shape=(M, SIZE[1]), access=Access.BLACK_BOX)}))
    with pytest.raises(NotApplicableError, match=r"attack=Learned\(\)"):
        audit.run_lots(bare, DATA, pool=POOL, claim=CLAIM)


def test_the_ridge_mechanism_by_lot() -> None:
    claim = replace(CLAIM, reference=Reference.RETRAIN_THEN_UNLEARN)
    # Hardly any unlearning: the drawn records are still in the weights.
    weak = RidgeLangevin(n_learn=200, n_unlearn=1, sigma_learn=1e-4, sigma_unlearn=1e-4)
    assert audit.run_lots(weak, DATA, pool=POOL, claim=claim).verdict is Verdict.REFUTED
    calibrated = replace(weak, sigma_unlearn=CalibratedNoise(epsilon=0.5, route="exact"))
    with pytest.raises(InvalidInputError, match="calibration"):
        audit.run_lots(calibrated, DATA, pool=POOL, claim=claim)


@pytest.mark.slow
def test_one_noise_for_all_single_deletions() -> None:
    """The largest of the noises, and each epsilon with it, computed for what the runs are given."""
    pool = (3, 20, 41)
    wanted = CalibratedNoise(epsilon=0.5, delta=1e-5, route="exact")
    mechanism = RidgeLangevin(n_learn=40, n_unlearn=10, sigma_learn=0.001, sigma_unlearn=wanted)
    common, claims = certified_singles(mechanism, SMALL, pool, "exact")
    step = float(replace(mechanism, sigma_unlearn=0.0).bind_pool(SMALL, pool).parameters()["step_size"])
    noises = []
    for record in pool:
        others = [i for i in pool if i != record]
        position = record - sum(i < record for i in others)
        given, alone = SMALL.without(others), replace(mechanism, step_size=step)
        noises.append(float(alone.bind(given, (position,)).parameters()["sigma_unlearn"]))
    assert common.sigma_unlearn == max(noises)
    assert common.step_size == step
    epsilons = [c.guarantee.epsilon for c in claims if isinstance(c.guarantee, EpsilonDelta)]
    assert max(epsilons) <= 0.5 * (1 + 1e-9)
    assert min(epsilons) < max(epsilons), "the others have more noise than they need"
    assert all(c.covers == OneRecord() for c in claims)
    # Certificates for the data with the whole pool are another thing.
    whole = common.bind(SMALL, (pool[0],)).certificates()[0]
    assert whole.epsilon != epsilons[0]
    found = audit.run_lots(mechanism, SMALL, pool=pool, claim=audit.CertifiedClaim(method="exact"), draw="one", runs=3)
    assert len(found.claims) == 3
    assert found.verdict is not Verdict.REFUTED
    with pytest.raises(InvalidInputError, match="one of the mechanism's certificates"):
        certified_singles(mechanism, SMALL, pool, "unheard_of")


@pytest.mark.slow
def test_retrain_only_has_no_largest_noise() -> None:
    wanted = CalibratedNoise(epsilon=0.5, route="exact")
    mechanism = RidgeLangevin(n_learn=40, n_unlearn=10, sigma_unlearn=wanted, reference=Reference.RETRAIN_ONLY)
    with pytest.raises(InvalidInputError, match="does not fall with the noise"):
        certified_singles(mechanism, SMALL, (3, 20), "exact")
    # At a common noise that somebody chose, epsilon is computed for each.
    fixed, claims = certified_singles(replace(mechanism, sigma_unlearn=0.01), SMALL, (3, 20), "exact")
    assert fixed.sigma_unlearn == 0.01
    assert len({c.guarantee for c in claims}) == 2


@dataclass(frozen=True, kw_only=True)
class Target:
    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Certifies (length of a record) / noise / step, and learns nothing: what is certified is plain to see."""

    noise: float | Target
    step_size: float | None = None
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    name: str = "toy"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Toy:
        length, step = float(np.linalg.norm(data.features[forget[0]])), self.step_size or 1 / len(data)
        asked = self.noise
        noise = length / step / asked.epsilon if isinstance(asked, Target) else asked
        return replace(self, noise=noise, step_size=step, name=str(length))

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> Toy:
        return replace(self, step_size=1 / len(data))

    def parameters(self) -> dict[str, Any]:
        return {"noise": self.noise, "step_size": self.step_size}

    def certificates(self) -> tuple[Certificate, ...]:
        epsilon = float(self.name) / float(self.step_size or 1) / float(self.noise)  # type: ignore[arg-type]
        guarantee = EpsilonDelta(epsilon=epsilon, delta=1e-5)
        claim = Claim(guarantee=guarantee, reference=self.reference, provenance="exact")
        return (Certificate(claim=claim, method="exact", epsilon=epsilon, delta=1e-5, numerical_error=0.0),)


def test_noise_that_single_deletions_share() -> None:
    toy = Toy(noise=Target(epsilon=0.5, delta=1e-5))
    common, claims = certified_singles(toy, SMALL, (3, 20, 41), "exact")
    lengths = np.linalg.norm(SMALL.features[[3, 20, 41]], axis=1)
    # The step size is that of all 60 records, not that of the 58 that a run is given.
    assert common.step_size == 1 / 60
    assert common.noise == pytest.approx(lengths.max() * 60 / 0.5)
    epsilons = [c.guarantee.epsilon for c in claims if isinstance(c.guarantee, EpsilonDelta)]
    assert epsilons == pytest.approx(list(0.5 * lengths / lengths.max()))
    assert all(c.covers == OneRecord() for c in claims)
    with pytest.raises(InvalidInputError, match="does not fall with the noise"):
        certified_singles(replace(toy, reference=Reference.RETRAIN_ONLY), SMALL, (3, 20), "exact")
    fixed, others = certified_singles(
        replace(toy, noise=7.0, reference=Reference.RETRAIN_ONLY), SMALL, (3, 20), "exact"
    )
    assert fixed.noise == 7.0
    assert len({c.guarantee for c in others}) == 2
    with pytest.raises(InvalidInputError, match=r"certificates \(exact\)"):
        certified_singles(toy, SMALL, (3, 20), "unheard_of")
