"""Controls of a mechanism's randomness: planted faults are named and spoil the verdict, healthy mechanisms pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from attacks.linear.discriminant import LinearDiscriminant
from audit.controls.randomness import step_noise_control
from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.trials.engines import Engine
from mechanisms.claim import Claim, GaussianDP, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin
from mechanisms.ridge.stepwise import Objective, StepwiseSampler
from reports.audits import html, markdown

Array = NDArray[np.float64]
WIDTH, TRIALS = 3, 600


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 4)) / 2
    return from_arrays(x, x @ rng.normal(size=4) + rng.normal(size=30), kind="regression")


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Releases N(shift, 1) against N(0, 1), with a fault in where the noise comes from."""

    fault: str = "none"
    name: str = "shift"
    release: ReleaseSpec = ReleaseSpec(shape=(WIDTH,))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Shift:
        return self

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        if self.fault == "rng ignored":
            rng = np.random.default_rng()
        if self.fault == "fixed seed":
            # A forgotten seed in the data loader: every chunk starts alike.
            rng = np.random.default_rng({World.UNLEARNED: 1, World.RETRAINED: 2, World.NEGLECTED: 3}[world])
        noise = rng.normal(size=(n, WIDTH))
        if self.fault == "autoregression":
            for i in range(1, n):
                noise[i] = 0.6 * noise[i - 1] + 0.8 * noise[i]
        if self.fault == "one repeat" and world is World.UNLEARNED and n > 2:
            noise[5] = noise[2]
        return noise + (0.0 if world is World.RETRAINED else 0.2)


def run(data: Dataset, mechanism: object, **changes: object) -> AuditResult:
    plan = AuditPlan(
        claims=(Claim(guarantee=GaussianDP(mu=1.0), reference=getattr(mechanism, "reference")),),  # noqa: B009
        forget=((4,),),
        attacks=(LinearDiscriminant(),),
        trials=TRIALS,
    )
    return audit.run(mechanism, data, replace(plan, **changes))  # type: ignore[arg-type]


def control(result: AuditResult, name: str) -> Control:
    return next(c for c in result.controls if c.name == name)


def test_a_healthy_mechanism_passes_every_check(data: Dataset) -> None:
    result = run(data, Shift())
    assert result.verdict is Verdict.NOT_REFUTED
    assert [c.name for c in result.controls] == [
        "replay",
        "null",
        "neglected",
        "duplicates",
        "lag_one",
        "same_randomness",
    ]
    assert all(c.as_expected for c in result.controls if c.name != "neglected")
    assert not any(c.spoils_verdicts for c in result.controls)


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("rng ignored", "replay", "Take every random number from rng"),
        ("fixed seed", "duplicates", "look for a fixed seed"),
        ("one repeat", "duplicates", "equal to an earlier one"),
        ("autoregression", "lag_one", "neighbouring"),
    ],
)
def test_planted_faults_are_named_and_spoil_the_verdict(data: Dataset, fault: str, name: str, words: str) -> None:
    result = run(data, Shift(fault=fault))
    found = control(result, name)
    assert not found.as_expected
    assert words in found.message
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
    for text in (markdown.render(result), html.render(result)):
        assert words in text
        assert "could not be decided" in text
    sentence = markdown.render(result).split("could not be decided")[1][:200]
    assert {"replay": "Same random stream twice", "duplicates": "Equal releases", "lag_one": "Neighbouring trials"}[
        name
    ] in sentence


def test_duplicates_are_found_across_chunks(data: Dataset) -> None:
    found = control(run(data, Shift(fault="fixed seed"), chunk_size=50), "duplicates")
    # Counted in chunks of 50, each chunk a copy of the first.
    n = found.n_trials or 0
    assert n > 300
    assert f"{n - 50} of {n} unlearned" in found.message
    assert f"{n - 50} of {n} retrained" in found.message


def test_controls_are_the_same_for_any_number_of_workers(data: Dataset) -> None:
    mechanism = RidgeLangevin(n_learn=10, n_unlearn=3, sigma_learn=0.05, sigma_unlearn=0.1)
    plan = AuditPlan(
        claims=(Claim(guarantee=GaussianDP(mu=1.0)),), forget=((4,),), attacks=(LinearDiscriminant(),), trials=200
    )
    one, two = (audit.run(mechanism, data, plan, engine=Engine(n_jobs=n)) for n in (1, 2))
    assert one.controls == two.controls
    assert [f.estimates for f in one.findings] == [f.estimates for f in two.findings]


def test_equal_releases_are_no_fault_where_the_mechanism_says_so(data: Dataset) -> None:
    from audit.plan.audit_plan import CertifiedClaim

    plan = AuditPlan(
        claims=(CertifiedClaim(method="exact"),), forget=((4,),), attacks=(LinearDiscriminant(),), trials=100
    )
    result = audit.run(ExactDowndate(), data, plan)
    found = control(result, "duplicates")
    assert found.as_expected
    assert not found.applicable
    assert "not applicable" in markdown.render(result)
    assert result.findings[0].reason is not Reason.NOT_REPRODUCIBLE


@dataclass(frozen=True, kw_only=True, eq=False)
class SameNoise(StepwiseSampler):
    """The noise is drawn before the loop and not in it."""

    def _descend(
        self,
        weights: Array,
        objective: Objective,
        n_steps: int,
        sigma: float,
        rng: np.random.Generator,
        iterates: list[Array] | None = None,
    ) -> None:
        noise = rng.normal(size=weights.shape)
        for _ in range(n_steps):
            gradient = weights @ objective.curvature - objective.moment.T
            weights += sigma * noise - self.step_size * gradient
            if iterates is not None:
                iterates.append(weights.copy())


@dataclass(frozen=True, kw_only=True)
class SameNoiseRidge:
    """Ridge whose trainer uses one noise vector for all steps, while certificates assume fresh noise."""

    name: str = "same_noise"
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> RidgeDeletion:
        bound = RidgeLangevin(n_learn=20, n_unlearn=5, sigma_learn=0.05, sigma_unlearn=0.1).bind(data, forget)
        fields = {name: getattr(bound.stepwise, name) for name in bound.stepwise.__dataclass_fields__}
        return replace(bound, stepwise=SameNoise(**fields))


def test_noise_drawn_once_for_all_steps_is_seen(data: Dataset) -> None:
    result = run(data, SameNoiseRidge(), trials=100)
    found = control(result, "step_noise")
    assert not found.as_expected
    assert "drawn once and used again" in found.message
    # Its trials are independent of each other all the same: a verdict may rest on them.
    assert not found.spoils_verdicts
    assert result.findings[0].reason is not Reason.NOT_REPRODUCIBLE
    assert found.message in markdown.render(result)


@pytest.mark.parametrize("reference", list(Reference))
@pytest.mark.parametrize("sigma_unlearn", [0.001, 0.5])
def test_fresh_noise_of_the_reference_mechanism_is_not_called_equal(
    data: Dataset, reference: Reference, sigma_unlearn: float
) -> None:
    mechanism = RidgeLangevin(
        n_learn=20, n_unlearn=5, sigma_learn=0.05, sigma_unlearn=sigma_unlearn, reference=reference
    )
    deletion = mechanism.bind(data, (4,))
    (found,) = step_noise_control(deletion, seed=1, record=0, n_controls=1, forget=(4,), label="")
    assert found.as_expected
    assert found.applicable
    assert found.n_trials == 2 * 21


def test_a_trajectory_is_the_code_that_samples(data: Dataset) -> None:
    """From one model, the last of K iterates has the law of a release given that model: same code, watched."""
    deletion = RidgeLangevin(n_learn=6, n_unlearn=3, sigma_learn=0.05, sigma_unlearn=0.1).bind(data, (4,))
    for world in World:
        paths = deletion.trajectory(world, 7, rng=np.random.default_rng(2))
        assert paths is not None
        assert paths.shape == (7, 4, 4, 1)
        np.testing.assert_array_equal(paths[:, 0], np.broadcast_to(paths[:1, 0], paths[:, 0].shape))
    # With no learning noise the first iterate is known, and a trajectory of one trial is a release.
    bare = RidgeLangevin(n_learn=6, n_unlearn=3, sigma_learn=0.0, sigma_unlearn=0.1).bind(data, (4,))
    rng = [np.random.default_rng(5) for _ in range(2)]
    path = bare.trajectory(World.UNLEARNED, 1, rng=rng[0])
    assert path is not None
    np.testing.assert_allclose(path[:, -1], bare.sample(World.UNLEARNED, 1, rng=rng[1]), rtol=1e-12)


def test_samplers_without_steps_have_no_step_control(data: Dataset) -> None:
    closed = RidgeLangevin(n_learn=6, n_unlearn=3, sampler="closed_form").bind(data, (4,))
    (found,) = step_noise_control(closed, seed=1, record=0, n_controls=1, forget=(4,), label="")
    assert found.as_expected
    assert not found.applicable
    assert step_noise_control(Shift(), seed=1, record=0, n_controls=1, forget=(4,), label="") == ()


@dataclass(frozen=True, kw_only=True)
class BrokenTrajectory(Shift):
    answer: str = "shape"

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        if self.answer == "raise":
            raise ZeroDivisionError("no path")
        if self.answer == "nan":
            return np.full((n, 3, WIDTH), np.nan)
        return np.zeros((n, 3, WIDTH + 1))


@pytest.mark.parametrize(
    ("answer", "words"), [("shape", "mend trajectory"), ("nan", "diverge"), ("raise", "raised ZeroDivisionError")]
)
def test_broken_trajectories_are_errors_of_the_mechanism(answer: str, words: str) -> None:
    with pytest.raises(TrialError, match=words):
        step_noise_control(BrokenTrajectory(answer=answer), seed=1, record=0, n_controls=1, forget=(4,), label="")
