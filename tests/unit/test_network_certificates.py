"""What the learning noise certifies of a network: against an exact law, against audits, and where it is not stated."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest

import audit
from attacks.registry import ATTACKS
from audit.records.verdict import Verdict
from mechanisms.accounting import GaussianPair, gdp
from mechanisms.accounting.clipped_learning import ROUNDING, learning_noise_mu
from mechanisms.claim import BOTH_DIRECTIONS, Claim, GaussianDP, Reference, UpTo
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import GaussianLaw, World

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[torch]'"
)
# Record 0 alone has the last feature, and its gradient is clipped: what it does to the weights is as plain as can be.
LDA = [ATTACKS["lda"]]
PUBLIC = NetworkLangevin(
    hidden=2,
    n_learn=6,
    n_unlearn=2,
    step_size=1.0,
    clip_norm=0.5,
    sigma_learn=0.05,
    sigma_unlearn=0.0,
    n_probe=0,
    start_seed=0,
)


def canary_data(n: int = 24) -> Dataset:
    rng = np.random.default_rng(5)
    features = np.zeros((n, 6))
    features[:, :5] = rng.normal(size=(n, 5)) / 2
    features[0] = [0, 0, 0, 0, 0, 6]
    return from_arrays(features, rng.integers(0, 3, n), kind="classification", intercept=False)


def clipped(rows: np.ndarray, radius: float) -> np.ndarray:
    return rows * np.minimum(1, radius / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("n_deleted", [1, 3])
def test_a_model_whose_law_is_known_has_at_most_the_certified_mu(aligned: bool, n_deleted: int) -> None:
    # A linear score w'x is maximised: gradients are the records themselves, so w is exactly Gaussian in both worlds.
    rng, n, steps, step, radius, sigma = np.random.default_rng(3), 20, 7, 0.8, 0.5, 0.03
    rows = rng.normal(size=(n, 4))
    if aligned:
        rows[:n_deleted] = rows[0] * np.arange(1, n_deleted + 1)[:, None]
    pulls = clipped(rows, radius)
    means = [steps * step / n * pulls[start:].sum(axis=0)[:, None] for start in (0, n_deleted)]
    laws = [GaussianLaw(mean=mean, covariance=steps * sigma**2 * np.eye(4)) for mean in means]
    exact = math.sqrt(float(GaussianPair.from_laws(*laws).squared_shifts.sum()))
    # And step by step, as it is trained: the same law.
    weights = np.zeros((4000, 4))
    for _ in range(steps):
        weights += step / n * pulls.sum(axis=0) + sigma * rng.standard_normal(weights.shape)
    assert np.allclose(weights.mean(axis=0), means[0][:, 0], atol=5 * sigma * math.sqrt(steps / 4000))
    certified = learning_noise_mu(
        step_size=step, clip_norm=radius, n_steps=steps, divisor=n, sigma=sigma, n_deleted=n_deleted
    )
    assert exact <= certified * (1 + 1e-12)
    if aligned:
        assert certified == pytest.approx(exact, rel=2 * ROUNDING)
    else:
        assert (n_deleted == 1) == (exact > 0.999 * certified)


def test_mu_goes_with_its_settings_and_is_rounded_up() -> None:
    usual = {"step_size": 2.0, "clip_norm": 1.0, "n_steps": 200, "divisor": 1500, "sigma": 0.0113}
    mu = learning_noise_mu(**usual)
    assert 2 * math.sqrt(200) / (1500 * 0.0113) < mu
    for name, factor in (("step_size", 3.0), ("clip_norm", 3.0), ("n_steps", math.sqrt(3)), ("divisor", 1 / 3)):
        changed = learning_noise_mu(**{**usual, name: 3 * usual[name]})
        assert changed == pytest.approx(factor * mu, rel=1e-12)
    assert learning_noise_mu(**usual, n_deleted=5) == pytest.approx(5 * mu, rel=1e-12)
    assert learning_noise_mu(**{**usual, "sigma": 0.0}) == math.inf
    assert learning_noise_mu(**{**usual, "n_steps": 0}) == 0.0
    with pytest.raises(InvalidInputError, match="clip_norm"):
        learning_noise_mu(**{**usual, "clip_norm": math.inf})


@needs_torch
def test_a_certificate_is_stated_where_learning_has_noise() -> None:
    data = canary_data()
    one, three = (PUBLIC.bind(data, forget).certificates() for forget in ((0,), (0, 3, 8)))
    certificate = one[0]
    assert [c.method for c in one] == ["learning_noise"]
    assert isinstance(certificate.claim.guarantee, GaussianDP)
    mu = certificate.claim.guarantee.mu
    assert mu == pytest.approx(1.0 * 0.5 * math.sqrt(6) / (24 * 0.05), rel=2 * ROUNDING)
    assert gdp.delta(mu, certificate.epsilon) <= PUBLIC.delta
    assert certificate.claim.directions == BOTH_DIRECTIONS
    assert certificate.epsilon_without_unlearning == certificate.epsilon
    assert certificate.claim.covers == UpTo(k=1)
    assert three[0].claim.covers == UpTo(k=3)
    assert three[0].claim.guarantee == GaussianDP(mu=3 * mu)
    # What unlearning does changes nothing of it.
    other = replace(PUBLIC, n_unlearn=9, sigma_unlearn=0.3).bind(data, (5,)).certificates()
    assert other == one


@needs_torch
def test_no_certificate_is_stated_where_none_is_known() -> None:
    data = canary_data()
    assert replace(PUBLIC, sigma_learn=0.0).bind(data, (0,)).certificates() == ()
    alone = replace(PUBLIC, reference=Reference.RETRAIN_ONLY)
    assert alone.bind(data, (0,)).certificates() == ()
    # Without unlearning steps the two reference worlds are one.
    (stated,) = replace(alone, n_unlearn=0).bind(data, (0,)).certificates()
    assert stated.claim.reference is Reference.RETRAIN_ONLY
    with pytest.raises(InvalidInputError, match=r"delta to be in \(0, 1\)"):
        replace(PUBLIC, delta=1.0)


@needs_torch
def test_an_audit_does_not_refute_the_certificate_and_refutes_a_fraction_of_it() -> None:
    data = canary_data()
    claim = PUBLIC.bind(data, (0,)).certificates()[0].claim
    assert isinstance(claim.guarantee, GaussianDP)
    quarter = Claim(guarantee=GaussianDP(mu=claim.guarantee.mu / 4))
    results = [
        audit.run(PUBLIC, data, forget=0, claim=stated, trials=400, attacks=LDA, seed=1) for stated in (claim, quarter)
    ]
    assert [result.verdict for result in results] == [Verdict.NOT_REFUTED, Verdict.REFUTED]
    assert results[0].findings[0].certificates[0].claim == claim


@needs_torch
def test_gradients_of_wide_records_are_clipped_to_the_radius_that_is_charged() -> None:
    from mechanisms.networks.clipped_descent import Batch, Networks, Shape

    rng = np.random.default_rng(1)
    wide = from_arrays(rng.random((8, 800)), np.arange(8) % 7, kind="classification")
    shape = Shape(n_inputs=800, hidden=16, n_outputs=7)
    networks = Networks.of(rng.standard_normal((4, shape.n_parameters)).astype(np.float32), shape)
    lengths = []
    for record in range(8):
        alone = networks.clipped_gradients(Batch.of(wide.take((record,))), 0.5)
        lengths.append(alone.first.double().square().sum((0, 2)) + alone.second.double().square().sum((1, 2)))
    longest = max(float(squared.max()) for squared in lengths) ** 0.5
    assert 0.5 * (1 - ROUNDING) < longest < 0.5 * (1 + ROUNDING / 4)


@needs_torch
def test_a_public_start_is_the_same_in_every_run() -> None:
    data, rng = canary_data(), np.random.default_rng(1)
    still = replace(PUBLIC, step_size=1e-12, sigma_learn=0.0, n_unlearn=0)
    first, second = still.bind(data, (0,)).sample(World.UNLEARNED, 2, rng=rng)
    np.testing.assert_array_equal(first, second)
    moved = replace(still, start_seed=1).bind(data, (0,)).sample(World.UNLEARNED, 1, rng=rng)[0]
    drawn = replace(still, start_seed=None).bind(data, (0,)).sample(World.UNLEARNED, 2, rng=rng)
    assert not np.allclose(moved, first)
    assert not np.allclose(drawn[0], drawn[1])
