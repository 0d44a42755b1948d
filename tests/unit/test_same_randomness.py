"""Both worlds from the same random numbers: false claims are shown false, true ones never, others are left alone."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import Ridge

import audit
import reports
from audit.controls.same_noise import SameNoise, same_noise
from audit.controls.seen_generator import OtherDrawError, SeenGenerator
from audit.errors import ClaimRefutedError, InconclusiveError, TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.accounts.remarks import remarks
from audit.records.verdict import Verdict
from audit.running.shared_noise import SameRandomness
from audit.statistics.gaussian_shift import largest_mu, noise_bound
from audit.trials.engines import Engine
from mechanisms import accounting
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.perturbation.output_perturbation import CalibratedSigma, OutputPerturbation
from mechanisms.protocol import ReleaseSpec, World
from mechanisms.ridge.langevin import RidgeLangevin
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
WIDTH = 4
HALF = Claim(guarantee=GaussianDP(mu=0.5))
# No noise, however large, meets it: whoever is not accused of this is accused of nothing.
IMPOSSIBLE = Claim(guarantee=GaussianDP(mu=0.0))


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, WIDTH)) / 2
    return from_arrays(x, x @ rng.normal(size=WIDTH) + rng.normal(size=30), kind="regression", intercept=False)


def mean(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features.mean(axis=0)


def shift_of(data: Dataset, record: int = 4) -> float:
    return float(np.linalg.norm(data.features.mean(axis=0) - data.without((record,)).features.mean(axis=0)))


def noisy(noise: Callable[[Array, np.random.Generator], Array], learn: Callable[..., Any] = mean) -> Any:
    """Return a service that releases the mean, with a noise of its own."""
    return from_functions(learn=learn, unlearn=lambda model, retained, forget, rng: noise(model, rng), release=(WIDTH,))


def gaussian(sigma: float) -> Any:
    return noisy(lambda model, rng: model + sigma * rng.standard_normal(model.shape))


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """Releases N(shift, A A^T) against N(0, A A^T): the noise is A times what is drawn."""

    mixing: Array
    shift: Array
    release: ReleaseSpec = ReleaseSpec(shape=(WIDTH,))
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal((n, self.mixing.shape[1])) @ self.mixing.T
        return noise + (self.shift if world is World.UNLEARNED else 0.0)


def shown(deletion: Any, **options: Any) -> SameNoise:
    return same_noise(deletion, **{"seed": 0, "record": 0, "streams": 4, "level": 0.05} | options)


# --- What a claim allows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-5), (1.0, 1e-5), (1.0, 0.1), (8.0, 1e-9), (0.0, 0.3)])
def test_the_largest_shift_of_a_point_is_that_of_the_accounting(epsilon: float, delta: float) -> None:
    found = largest_mu(Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta)))
    assert found == pytest.approx(accounting.gdp.mu(epsilon, delta), rel=1e-6)
    assert found >= accounting.gdp.mu(epsilon, delta) * (1 - 1e-12)


def test_the_strictest_row_decides_and_rows_that_say_nothing_do_not() -> None:
    rows = {0.5: 0.2, 1.0: 1e-4, 2.0: 1e-5}
    profile = PrivacyProfile(
        epsilons=tuple(rows), log_deltas={d: tuple(math.log(v) for v in rows.values()) for d in Direction}
    )
    each = [largest_mu(Claim(guarantee=EpsilonDelta(epsilon=e, delta=d))) for e, d in rows.items()]
    assert largest_mu(Claim(guarantee=profile)) == min(each) < max(each)
    assert largest_mu(Claim(guarantee=EpsilonDelta(epsilon=math.inf, delta=0.0))) == math.inf
    assert largest_mu(Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1.0))) == math.inf
    # Two Gaussians have no finite epsilon at delta = 0.
    assert largest_mu(Claim(guarantee=EpsilonDelta(epsilon=5.0, delta=0.0))) == 0.0
    assert largest_mu(HALF) == 0.5


@pytest.mark.parametrize("n", [1, 2, 20, 500])
@pytest.mark.parametrize("level", [0.5, 0.05, 1e-6])
def test_the_bound_on_noise_is_the_chi_square_one(n: int, level: float) -> None:
    values = np.random.default_rng(n).standard_normal(n)
    expected = math.sqrt(float(np.sum(values**2)) / stats.chi2.ppf(level, n))
    assert noise_bound(values, level=level) == pytest.approx(expected, rel=1e-9)


# --- The generator -----------------------------------------------------------------------------------------------


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def test_a_seen_generator_draws_what_the_usual_one_does() -> None:
    seen, usual = SeenGenerator(stream(), keep=6), stream()
    out, again = np.empty(3), np.empty(3)
    for made in (
        lambda rng: rng.standard_normal((2, 3)),
        lambda rng: rng.standard_normal(),
        lambda rng: rng.standard_normal(3, dtype=np.float32),
        lambda rng: rng.standard_normal(out=out if rng is seen else again),
        lambda rng: rng.normal(1.0, [2.0, 3.0]),
        lambda rng: rng.normal(1.0, 2.0),
        lambda rng: rng.normal(size=()),
        lambda rng: rng.multivariate_normal(np.ones(2), np.eye(2), size=2),
        lambda rng: stats.norm.rvs(size=2, random_state=rng),
    ):
        np.testing.assert_array_equal(made(seen), made(usual))
    drawn = seen.drawn()
    assert drawn.shapes == ((2, 3), (), (3,), (3,), (2,), (), (), (2, 2), (2,))
    assert drawn.others == ()
    assert [values.size for values in drawn.kept] == [6]


def test_other_uses_are_named() -> None:
    rng = SeenGenerator(stream())
    rng.integers(3)
    rng.laplace()
    rng.spawn(1)[0].normal()
    copy.deepcopy(rng).normal()
    rng.bit_generator.random_raw()
    assert rng.drawn().others == ("integers", "laplace", "spawn", "a copy of the generator", "bit_generator")
    unnamed = {name for name in dir(np.random.Generator) if not name.startswith("_")}
    allowed = {"standard_normal", "normal", "multivariate_normal"}
    assert {name for name in unnamed if getattr(SeenGenerator, name) is getattr(np.random.Generator, name)} == set()
    assert allowed < unnamed


def test_numbers_of_two_streams_are_mixed_and_another_draw_is_refused() -> None:
    rng = SeenGenerator(stream(0), second=stream(1), weights=(-6.0, 8.0), expected=[(2,), ()])
    np.testing.assert_array_equal(
        rng.standard_normal(2), -6.0 * stream(0).standard_normal(2) + 8.0 * stream(1).standard_normal(2)
    )
    rng.normal(1.0, 2.0)
    with pytest.raises(OtherDrawError):
        rng.standard_normal()
    assert SeenGenerator(stream(), weights=(0.0, 0.0)).normal(1.0, 2.0) == 1.0


# --- False claims are shown false, with few runs -----------------------------------------------------------------


def test_too_little_noise_is_shown_where_counting_does_not_see_it(data: Dataset) -> None:
    service = gaussian(0.95 * shift_of(data) / 0.5)
    counted = audit.run(service, data, forget=4, claim=HALF, trials=400, seed=1)
    assert counted.verdict is not Verdict.REFUTED
    found = audit.same_randomness(service, data, forget=4, claim=HALF, streams=2)
    assert found.verdict is Verdict.REFUTED
    (finding,) = found.findings
    assert finding.recognised
    assert finding.mu == pytest.approx(0.5 / 0.95, rel=2e-4)
    assert finding.shift == pytest.approx(shift_of(data))
    assert finding.allowed_shift == pytest.approx(0.95 * shift_of(data))
    with pytest.raises(ClaimRefutedError, match="The shift is"):
        found.assert_holds()


@pytest.mark.parametrize("claim", [EpsilonDelta(epsilon=1.0, delta=1e-5), GaussianDP(mu=0.3)])
@pytest.mark.parametrize(("factor", "verdict"), [(0.999, Verdict.REFUTED), (1.0, Verdict.NOT_REFUTED)])
def test_one_thousandth_too_little_is_seen_and_just_enough_is_not_accused(
    data: Dataset, claim: Any, factor: float, verdict: Verdict
) -> None:
    stated = Claim(guarantee=claim)
    sigma = factor * shift_of(data) / largest_mu(stated)
    assert audit.same_randomness(gaussian(sigma), data, forget=4, claim=stated, streams=2).verdict is verdict


def test_noise_of_several_draws_is_recognised(data: Dataset) -> None:
    def noise(model: Array, rng: np.random.Generator) -> Array:
        return model + 0.3 * rng.standard_normal(WIDTH) + rng.normal(0.0, 0.4, size=WIDTH)

    (finding,) = audit.same_randomness(noisy(noise), data, forget=4, claim=HALF, streams=2).findings
    assert finding.recognised
    assert finding.noise == pytest.approx(0.5)


def test_correlated_noise_is_bounded_in_the_direction_of_the_shift() -> None:
    mixing = np.diag([1.0, 10.0, 10.0, 10.0])[:, ::-1]
    found = shown(Shifted(mixing=mixing, shift=np.array([3.0, 0, 0, 0])), streams=200)
    assert found.applies
    assert not found.recognised
    assert found.noise == pytest.approx(1.0, rel=0.2)
    assert found.noise_bound is not None
    assert found.noise < found.noise_bound < 1.3


def test_float32_weights_are_one_shift_to_rounding(data: Dataset) -> None:
    def noise(model: Array, rng: np.random.Generator) -> Array:
        drawn = rng.standard_normal(WIDTH, dtype=np.float32)
        return np.asarray(model.astype(np.float32) + np.float32(0.1) * drawn, dtype=np.float64)

    (finding,) = audit.same_randomness(noisy(noise), data, forget=4, claim=IMPOSSIBLE).findings
    assert finding.verdict is Verdict.REFUTED


# --- True claims are not -----------------------------------------------------------------------------------------


def test_bounds_of_estimated_noise_miss_as_often_as_they_say() -> None:
    """At the boundary of a true claim: each bound that is too small would refute it."""
    mixing = np.linalg.cholesky(np.eye(WIDTH) + 0.5)
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    towards = shift / np.linalg.norm(shift)
    deletion = Shifted(mixing=mixing[:, ::-1], shift=shift)
    mu = float(np.linalg.norm(shift) / np.linalg.norm(mixing.T @ towards))
    n, level = 400, 0.2
    refuted = sum((shown(deletion, seed=seed, streams=3, level=level).mu or 0.0) > mu for seed in range(n))
    low, high = binomial_limits(n, level)
    assert low <= refuted <= high


def test_exact_claims_are_never_accused(data: Dataset) -> None:
    estimator = Ridge(alpha=1.0, fit_intercept=False)
    mechanism = OutputPerturbation(estimator=estimator, sigma=CalibratedSigma(target=GaussianDP(mu=0.5)))
    exact = audit.CertifiedClaim(method="exact")
    for seed in range(3):
        plan = AuditPlan(claims=(exact,), forget=tuple((i,) for i in range(seed, data.n_records, 3)))
        found = audit.same_randomness(mechanism, data, plan, seed=seed, streams=2)
        assert {f.verdict for f in found.findings} == {Verdict.NOT_REFUTED}
        assert all(f.recognised and f.mu is not None and 0.499 < f.mu < 0.5 for f in found.findings)


def test_worlds_that_are_one_are_not_accused_of_anything() -> None:
    found = shown(Shifted(mixing=np.eye(WIDTH), shift=np.zeros(WIDTH)))
    assert (found.applies, found.shift, found.mu) == (True, 0.0, 0.0)


# --- Where the method does not apply, nothing is said ------------------------------------------------------------


def laplace(model: Array, rng: np.random.Generator) -> Array:
    return model + rng.laplace(scale=0.1, size=model.shape)


def laplace_of_normals(model: Array, rng: np.random.Generator) -> Array:
    a, b, c, d = rng.standard_normal((4, *model.shape))
    return model + 0.1 * (a * b + c * d)


def seeded(model: Array, rng: np.random.Generator) -> Array:
    return model + np.random.default_rng(int(rng.integers(2**32))).standard_normal(model.shape)


def clipped(model: Array, rng: np.random.Generator) -> Array:
    return model + 0.1 * np.clip(rng.standard_normal(model.shape), -4, 4)


def folded(model: Array, rng: np.random.Generator) -> Array:
    return model + 0.1 * np.abs(rng.standard_normal(model.shape))


def sign_flipped(model: Array, rng: np.random.Generator) -> Array:
    z = rng.standard_normal(model.shape)
    return model + 0.1 * z * np.sign(z[0] * z[1])


def rounded(model: Array, rng: np.random.Generator) -> Array:
    return np.round(model + 0.1 * rng.standard_normal(model.shape), 2)


def truncated(model: Array, rng: np.random.Generator) -> Array:
    z = rng.standard_normal(model.shape)
    while np.abs(z).max() > 3:
        z = rng.standard_normal(model.shape)
    return model + 0.1 * z


def at_least(model: Array, rng: np.random.Generator) -> Array:
    z = rng.standard_normal(model.shape)
    while np.linalg.norm(z) < 1e-3:
        z = rng.standard_normal(model.shape)
    return model + 0.1 * z


def unseeded(model: Array, rng: np.random.Generator) -> Array:
    return model + 0.1 * np.random.default_rng().standard_normal(model.shape)


def fixed(model: Array, rng: np.random.Generator) -> Array:
    return model + 0.1 * np.random.default_rng(0).standard_normal(model.shape)


def drawn_and_ignored(model: Array, rng: np.random.Generator) -> Array:
    rng.standard_normal(model.shape)
    return fixed(model, rng)


def scaled_by_the_data(model: Array, rng: np.random.Generator) -> Array:
    return model + np.linalg.norm(model) * rng.standard_normal(model.shape)


def by_the_size(model: Array, rng: np.random.Generator) -> Array:
    z = rng.standard_normal(model.shape)
    return model + 0.1 * z / (1 + 0.01 * np.linalg.norm(z))


def refuses_zeros(model: Array, rng: np.random.Generator) -> Array:
    z = rng.standard_normal(model.shape)
    if not z.any():
        raise ValueError("no noise")
    return model + 0.1 * z


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (laplace, r"other things than normal numbers \(laplace\)"),
        (laplace_of_normals, "no fixed array plus a linear function"),
        (seeded, "integers"),
        (clipped, "no fixed array plus a linear function"),
        (folded, "no fixed array plus a linear function"),
        (sign_flipped, "no fixed array plus a linear function"),
        (rounded, "varies with the random stream"),
        (truncated, "with noise of another size"),
        (at_least, "with noise of another size"),
        (unseeded, "other releases for the same random stream"),
        (fixed, "draws no random number"),
        (drawn_and_ignored, "gave one release"),
        (scaled_by_the_data, "varies with the random stream"),
        (by_the_size, "no fixed array plus a linear function"),
        (refuses_zeros, "no noise"),
    ],
)
def test_other_noise_is_left_alone(data: Dataset, noise: Any, why: str) -> None:
    found = audit.same_randomness(noisy(noise), data, forget=4, claim=IMPOSSIBLE, streams=5)
    assert found.verdict is Verdict.INCONCLUSIVE
    (finding,) = found.findings
    with pytest.raises(InconclusiveError, match=why):
        found.assert_holds()
    assert "Nothing is said of the claim." in finding.sentence()
    assert (finding.shift, finding.mu, finding.noise) == (None, None, None)


def shuffled(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features[rng.permutation(data.n_records)].mean(axis=0)


def a_number_a_record(data: Dataset, rng: np.random.Generator) -> Array:
    return (data.features + 0.1 * rng.standard_normal(data.features.shape)).mean(axis=0)


def noise_through_training(data: Dataset, rng: np.random.Generator) -> Array:
    w = np.zeros(WIDTH)
    for _ in range(5):
        w -= 0.01 * data.features.T @ (data.features @ w - data.targets[:, 0]) + 0.01 * rng.standard_normal(WIDTH)
    return w


@pytest.mark.parametrize(
    ("learn", "why"),
    [
        (shuffled, "permutation"),
        (a_number_a_record, "two worlds draw different numbers"),
        (noise_through_training, "varies with the random stream"),
    ],
)
def test_a_stream_whose_use_depends_on_the_data_is_left_alone(data: Dataset, learn: Any, why: str) -> None:
    service = noisy(lambda model, rng: model + 1e-3 * rng.standard_normal(model.shape), learn=learn)
    (finding,) = audit.same_randomness(service, data, forget=4, claim=IMPOSSIBLE).findings
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert why in finding.why


def test_ridge_by_langevin_steps_is_left_alone(data: Dataset) -> None:
    for sampler in ("stepwise", "closed_form"):
        mechanism = RidgeLangevin(
            penalty=1.0, n_learn=20, n_unlearn=5, sigma_learn=0.01, sigma_unlearn=0.01, sampler=sampler
        )
        (finding,) = audit.same_randomness(mechanism, data, forget=4, claim=IMPOSSIBLE).findings
        assert finding.verdict is Verdict.INCONCLUSIVE


@dataclass
class Keeping:
    """Adds noise that it draws for the first trial and keeps, and less that is fresh."""

    kept: list[Array] = field(default_factory=list)
    from_rng: bool = True

    def __call__(self, model: Array, rng: np.random.Generator) -> Array:
        if not self.kept:
            self.kept.append((rng if self.from_rng else np.random.default_rng()).standard_normal(model.shape))
        return model + self.kept[0] + 1e-6 * rng.standard_normal(model.shape)


@pytest.mark.parametrize("from_rng", [True, False])
def test_noise_kept_from_one_trial_to_the_next_is_seen(data: Dataset, from_rng: bool) -> None:
    """With what it keeps a single release is well hidden: calling the fresh noise too small would be wrong."""
    found = audit.same_randomness(noisy(Keeping(from_rng=from_rng)), data, forget=4, claim=HALF)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (
        "keeps something from one trial to the next" in found.findings[0].why or "gave other" in found.findings[0].why
    )
    without_replay = shown(noisy(Keeping()).bind(data, (4,)))
    assert not without_replay.applies
    assert "kept from one trial to the next" in without_replay.why


@cache
def noise_of_this_process() -> Array:
    return np.random.default_rng().standard_normal(WIDTH)


def of_this_process(model: Array, rng: np.random.Generator) -> Array:
    return model + noise_of_this_process() + 1e-6 * rng.standard_normal(model.shape)


@pytest.mark.fresh_process
def test_noise_that_a_process_keeps_is_seen(data: Dataset) -> None:
    noise_of_this_process()
    found = audit.same_randomness(noisy(of_this_process), data, forget=4, claim=HALF, streams=2)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "another release in a fresh process" in found.findings[0].why


def test_a_pure_claim_of_laplace_noise_is_never_accused(data: Dataset) -> None:
    """Its standard deviation alone would refute it: a Gaussian of that size has no epsilon at delta = 0."""
    sensitivity = float(np.abs(data.features.mean(axis=0) - data.without((4,)).features.mean(axis=0)).sum())
    service = noisy(lambda model, rng: model + rng.laplace(scale=sensitivity, size=model.shape))
    pure = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0))
    verdicts = {audit.same_randomness(service, data, forget=4, claim=pure, seed=s).verdict for s in range(3)}
    assert verdicts == {Verdict.INCONCLUSIVE}


def test_a_mechanism_that_fails_is_an_error_and_not_a_verdict(data: Dataset) -> None:
    def fails(model: Array, rng: np.random.Generator) -> Array:
        raise ValueError("out of memory")

    with pytest.raises(TrialError, match="out of memory"):
        audit.same_randomness(noisy(fails), data, forget=4, claim=HALF)


@dataclass(frozen=True, kw_only=True)
class Sometimes(Shifted):
    """Adds its noise in one stream of two, five times as much in others."""

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal((n, self.mixing.shape[1])) @ self.mixing.T
        return noise * np.where(noise[:, :1] > 0, 1.0, 5.0) + (self.shift if world is World.UNLEARNED else 0.0)


def test_noise_that_is_larger_in_some_streams_is_seen() -> None:
    mixing = np.linalg.cholesky(np.eye(WIDTH) + 0.5)[:, ::-1]
    deletion = Sometimes(mixing=mixing, shift=np.ones(WIDTH))
    found = [shown(deletion, seed=seed, streams=20) for seed in range(20)]
    assert not any(one.applies for one in found)
    assert all("linear function" in one.why for one in found)


# --- Results -----------------------------------------------------------------------------------------------------


def test_results_are_data_and_the_same_for_any_workers(data: Dataset) -> None:
    plan = AuditPlan(
        claims=(HALF, Claim(guarantee=EpsilonDelta(epsilon=50.0, delta=1e-3))), forget=((4,), (5, 6)), labels=("a", "b")
    )
    # Of this project, so that no fresh process is asked.
    estimator = Ridge(fit_intercept=False)
    sigma = OutputPerturbation(estimator=estimator, sigma=1.0).bind(data, (4,)).shift
    service = OutputPerturbation(estimator=estimator, sigma=sigma)
    seen: list[tuple[str, int, int]] = []
    one = audit.same_randomness(service, data, plan, streams=2, progress=lambda *step: seen.append(step))
    two = audit.same_randomness(service, data, plan, streams=2, engine=Engine(n_jobs=2))
    assert one.findings == two.findings
    assert [f.verdict for f in one.findings] == [
        Verdict.REFUTED, Verdict.NOT_REFUTED, Verdict.REFUTED, Verdict.NOT_REFUTED,
    ]  # fmt: skip
    assert seen == [("same randomness", 1, 2), ("same randomness", 2, 2)]
    assert SameRandomness.from_json(one.to_json()) == one
    assert repr(one) == f"<SameRandomness {one.title}: 2 refuted and 2 not refuted>"
    said = reports.randomness_summary(one)
    for text in (said, str(one)):
        assert "ecords 5 and 6 (b)" in text
        assert text.count(" REFUTED") == 4
    assert "4 claims: 2 refuted and 2 not refuted." in said


def test_a_shift_barely_above_what_is_allowed_is_printed_so() -> None:
    claim = Claim(guarantee=GaussianDP(mu=0.5))
    finding = audit.running.same_randomness.SharedNoiseFinding(
        claim=claim, forget=(1,), label="", verdict=Verdict.REFUTED, why="Seen.", streams=2, recognised=True,
        shift=0.50042, allowed_shift=0.50031, noise=1.0, noise_bound=1.0, mu=0.50042, allowed_mu=0.50031,
    )  # fmt: skip
    numbers = [word.strip(":,") for word in finding.sentence().split() if word.startswith("0.500")]
    assert numbers[0] > numbers[1]
    assert numbers[2] > numbers[3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"streams": 1}, "streams"),
        ({"forget": None}, "forget"),
        ({"claim": "mu"}, "claim"),
        ({"forget": 1000}, "forget"),
        ({"significance": 2.0}, "significance"),
        ({"plan": AuditPlan(claims=(HALF,), forget=((4,),))}, "plan"),
    ],
)
def test_bad_input_is_refused(data: Dataset, options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"forget": 4, "claim": HALF} | options
    with pytest.raises(InvalidInputError, match=f"Expected .*{said}"):
        audit.same_randomness(gaussian(1.0), data, **given)


# --- The control of every audit ----------------------------------------------------------------------------------


def control_of(result: audit.AuditResult) -> Any:
    (found,) = [c for c in result.controls if c.name == "same_randomness"]
    return found


def test_an_audit_says_that_the_noise_is_too_small_where_its_counts_do_not(data: Dataset) -> None:
    run = partial(audit.run, data=data, forget=4, claim=HALF, trials=200, seed=1, attacks=("lda",))
    false, true, other = (
        run(service)
        for service in (
            gaussian(0.95 * shift_of(data) / 0.5),
            gaussian(1.05 * shift_of(data) / 0.5),
            noisy(laplace),
        )
    )
    assert not control_of(false).as_expected
    assert not control_of(false).spoils_verdicts
    assert false.verdict is Verdict.NOT_REFUTED
    assert any("That claim is false here" in text for text in remarks(false.findings[0], false.controls, 200))
    assert control_of(true).as_expected
    assert control_of(true).applicable
    assert not control_of(other).applicable
    assert control_of(other).as_expected


def test_the_control_never_loses_an_audit(data: Dataset) -> None:
    calls = itertools.count()

    def fails_late(model: Array, rng: np.random.Generator) -> Array:
        if isinstance(rng, SeenGenerator) and next(calls) > 2:
            raise ValueError("a bad day")
        return model + rng.standard_normal(model.shape)

    found = audit.run(noisy(fails_late), data, forget=4, claim=HALF, trials=60, attacks=("lda",))
    assert not control_of(found).applicable
    assert "a bad day" in control_of(found).message
