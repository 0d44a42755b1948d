"""Observers of the model before the deletion as well as of the one after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import audit
from attacks.protocol import AttackContext
from attacks.quadratic.likelihood_ratio import LikelihoodRatio, gaussian_log_ratio
from audit.commands.plan_file.reading import read_plan
from audit.plan.audit_plan import CertifiedClaim
from audit.records.verdict import Verdict
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, HasLaw, World
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.ridge.laws import RidgeLaws
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.snapshots import both_models_law, which_of_two
from mechanisms.serving.snapshots import BothSnapshots

DELTA = 1e-5
RIDGE = RidgeLangevin(penalty=0.3, n_learn=20, n_unlearn=5, sigma_learn=0.05, sigma_unlearn=0.03)


def records(p: int = 3, n: int = 15) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, p)) * np.geomspace(1, 0.4, p)
    return from_arrays(x, x @ rng.normal(size=(p, 2)) + 0.3 * rng.normal(size=(n, 2)), kind="regression")


def process(data: Dataset, record: int) -> RidgeProcess:
    return replace(RIDGE.process(data, (record,)), sigma_unlearn=0.03)


def best(pair: Any) -> float:
    return float(max(pair.epsilon(DELTA), pair.reversed().epsilon(DELTA)))


def test_epsilon_of_both_models_is_that_of_the_learning_noise_alone() -> None:
    """The joint law of both models in both worlds, in full, against the free certificate."""
    data = records()
    laws = [both_models_law(process(data, 3), world) for world in (World.UNLEARNED, World.RETRAINED)]
    certificate = RIDGE.bind(data, (3,)).certificates()[0]
    assert certificate.epsilon_of_both_models is not None
    assert np.isclose(best(GaussianPair.from_laws(*laws)), certificate.epsilon_of_both_models, rtol=1e-7)
    assert certificate.epsilon < 0.9 * certificate.epsilon_of_both_models


def test_plain_retraining_has_no_second_model() -> None:
    data, plain = records(), replace(RIDGE, reference=Reference.RETRAIN_ONLY)
    assert plain.bind(data, (3,)).certificates()[0].epsilon_of_both_models is None
    with pytest.raises(InvalidInputError, match="second model"):
        BothSnapshots(mechanism=plain).bind(data, (3,))


def stepped(run: RidgeProcess) -> tuple[Any, Any]:
    """Mean and covariance of both models in 50 digits, step by step, in 2p dimensions."""
    p, q = run.shape
    mean, covariance = mp.zeros(p, q), mp.zeros(p, p)

    def step(data: Dataset) -> tuple[Any, Any]:
        x, y = mp.matrix(data.features.tolist()), mp.matrix(data.targets.tolist())
        eta = mp.mpf(run.step_size)
        return mp.eye(p) - eta * (x.T * x + mp.mpf(run.penalty) * mp.eye(p)), eta * (x.T * y)

    a, pull = step(run.data)
    for _ in range(run.n_learn):
        mean, covariance = a * mean + pull, a * covariance * a.T + mp.mpf(run.sigma_learn) ** 2 * mp.eye(p)
    both, spread = mp.zeros(2 * p, q), mp.zeros(2 * p, 2 * p)
    after, cross, last = mean, covariance, covariance
    a, pull = step(run.retained)
    for _ in range(run.n_unlearn):
        after, cross = a * after + pull, cross * a.T
        last = a * last * a.T + mp.mpf(run.sigma_unlearn) ** 2 * mp.eye(p)
    for i in range(p):
        for j in range(q):
            both[i, j], both[p + i, j] = mean[i, j], after[i, j]
        for j in range(p):
            spread[i, j], spread[p + i, p + j] = covariance[i, j], last[i, j]
            spread[i, p + j] = spread[p + j, i] = cross[i, j]
    return both, spread


def test_which_of_two_records_is_exact() -> None:
    data = records()
    pair = which_of_two(process(data, 3), process(data, 7))
    with mp.workdps(50):
        (mean_p, cov_p), (mean_q, cov_q) = stepped(process(data, 3)), stepped(process(data, 7))
        inverse = mp.cholesky(cov_q) ** -1
        values, vectors = mp.eigsy(inverse * cov_p * inverse.T)
        shift = vectors.T * (inverse * (mean_p - mean_q))
        exact = GaussianPair(
            variance_ratios=np.array([float(v) for v in values]),
            squared_shifts=np.array([float(sum(s**2 for s in shift[i, :])) for i in range(shift.rows)]),
            n_columns=shift.cols,
        )
    assert np.isclose(best(pair), best(exact), rtol=1e-8)
    # Seeing the first model as well can only help.
    assert best(which_of_two(process(data, 3), process(data, 7), both_models=False)) <= best(pair) * (1 + 1e-9)
    with pytest.raises(InvalidInputError, match="same data and settings"):
        which_of_two(process(data, 3), replace(process(data, 7), penalty=1.0))


def test_both_models_are_released_as_the_stages_make_them() -> None:
    data = records()
    shown = BothSnapshots(mechanism=RIDGE).bind(data, (3,))
    assert (shown.release.shape, shown.release.access) == ((2, 3, 2), Access.TRANSCRIPT)
    drawn, law = shown.sample(World.UNLEARNED, 600, rng=np.random.default_rng(0)), both_models_law(process(data, 3))
    stacked = drawn.reshape(600, 6, 2)
    spread = np.sqrt(np.diag(law.covariance))
    assert np.abs((stacked.mean(axis=0) - law.mean) / spread[:, None]).max() * np.sqrt(600) < 4.5
    found = np.cov(stacked[:, :, 0].T) / np.outer(spread, spread)
    assert np.abs(found - law.covariance / np.outer(spread, spread)).max() < 0.2


def test_the_likelihood_ratio_of_both_models_is_that_of_the_first() -> None:
    """Unlearning is one random map of the first model in both worlds: what comes after it weighs nothing."""
    data = records()
    shown = BothSnapshots(mechanism=RIDGE).bind(data, (3,))
    assert isinstance(shown, HasLaw)
    laws = [shown.law(world) for world in (World.UNLEARNED, World.RETRAINED)]
    context = AttackContext(
        retained=data.without((3,)),
        deleted=data.take((3,)),
        release=shown.release,
        law_unlearned=laws[0],
        law_retrained=laws[1],
    )
    none = np.empty(0)
    fitted = LikelihoodRatio().fit(none, none, context, rng=np.random.default_rng(0))
    pairs = shown.sample(World.UNLEARNED, 20, rng=np.random.default_rng(1))
    first = RidgeLaws.of(process(data, 3))
    alone = gaussian_log_ratio(first.learned(World.UNLEARNED), first.learned(World.RETRAINED))
    np.testing.assert_allclose(fitted.score(pairs), alone.score(pairs[:, 0]), rtol=1e-6, atol=1e-6)
    for no_law in (replace(RIDGE, sigma_unlearn=0.0), replace(RIDGE, n_unlearn=0)):
        assert not isinstance(BothSnapshots(mechanism=no_law).bind(data, (3,)), HasLaw)


def test_an_audit_of_both_models_refutes_what_holds_for_the_last_one_alone() -> None:
    """The claim of the last model is far below what both models give away."""
    data = records()
    ridge = replace(RIDGE, n_unlearn=30, sigma_learn=0.1, sigma_unlearn=0.5)
    certificate = ridge.bind(data, (3,)).certificates()[0]
    last = Claim(guarantee=EpsilonDelta(epsilon=certificate.epsilon, delta=DELTA))
    both = BothSnapshots(mechanism=ridge)
    options: dict[str, Any] = {"forget": 3, "trials": 1000, "attacks": ["likelihood_ratio"]}
    assert audit.run(both, data, claim=last, **options).findings[0].verdict is Verdict.REFUTED
    sound = audit.run(both, data, claim=CertifiedClaim(method="exact"), **options).findings[0]
    assert sound.verdict is Verdict.NOT_REFUTED
    assert sound.certificates[0].epsilon == certificate.epsilon_of_both_models


def test_a_plan_grants_both_models(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("""
schema = "unlearn-audit/plan/1"
trials = 200
access = "transcript"
attacks = [{ name = "lda" }]
[data]
name = "digits"
rows = 60
[mechanism]
name = "ridge_langevin"
sigma_unlearn = 0.01
[records]
forget = [[29]]
[[claims]]
kind = "profile"
from = "exact"
""")
    resolved = read_plan(path)
    assert isinstance(resolved.mechanism, BothSnapshots)
    assert resolved.plan.access is Access.TRANSCRIPT
