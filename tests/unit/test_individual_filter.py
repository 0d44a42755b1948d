"""Budgets for single records: the theorem by quadrature, the trainer by a slow one, and what is frozen."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

import audit
from audit.certificates import Certification, certify, make_request
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import CertifiedClaim
from audit.records.verdict import Verdict
from mechanisms.accounting import budget_within, filtered_mu, gdp
from mechanisms.accounting.clipped_learning import ROUNDING
from mechanisms.claim import Claim, GaussianDP, ThisSet
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.networks.individual import IndividualFilter
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import World
from reports.certificates.writing import certification_summary
from reports.redaction import redact
from tests.unit.test_network_certificates import LDA, PUBLIC, canary_data

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[torch]'"
)
N_NODES = 120
Rule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Three noisy steps in one dimension; what a step adds of record i and of another one depends on the place."""

    pulls: tuple[Rule, Rule]
    budgets: tuple[float, float]
    late: bool = False

    def shifts(self, *path: np.ndarray) -> list[np.ndarray]:
        """What each record adds at each step from the places so far, 0 once its budget does not allow it."""
        found, spent = [], [np.zeros(()), np.zeros(())]
        for place in path:
            step = []
            for i, (pull, budget) in enumerate(zip(self.pulls, self.budgets, strict=True)):
                before = spent[i]
                spent[i] = before + pull(place) ** 2
                step.append(np.where((before if self.late else spent[i]) <= budget, pull(place), 0.0))
            found.append(step)
        return found


def bumps(seed: int, scale: float) -> Rule:
    """A rule with jumps: pulls of either sign and very different sizes."""
    rng = np.random.default_rng(seed)
    edges, heights = np.sort(rng.normal(size=6) * 2), scale * rng.normal(size=7)
    return lambda w: heights[np.searchsorted(edges, w)]


def gdp_delta(mu: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """By the textbook formula, with mu = 0; no code of the accounting."""
    safe = np.maximum(mu, 1e-9)
    by_formula = norm.cdf(safe / 2 - epsilon / safe) - np.exp(epsilon) * norm.cdf(-safe / 2 - epsilon / safe)
    return np.where(mu > 1e-9, by_formula, np.maximum(0, 1 - np.exp(epsilon)))


def path_deltas(process: Adaptive, deleted: tuple[int, ...], epsilon: float) -> dict[str, tuple[float, float]]:
    """Delta of the whole path in both directions, and of the path continued until the budget is spent.

    The first two steps by quadrature, in quantiles of the true law; the last one in closed form.
    """
    nodes = ndtri((np.arange(N_NODES) + 0.5) / N_NODES)
    found: dict[str, list[float]] = {"path": [], "continued": []}
    budget = sum(math.sqrt(process.budgets[i]) for i in deleted) ** 2
    for sign in (1, -1):  # paths drawn with the deleted records, and without
        places, losses, spent = [np.zeros(())], np.zeros(()), np.zeros(())
        for noise in (nodes[:, None], nodes[None, :]):
            step = process.shifts(*places)[-1]
            theirs = sum(step[i] for i in deleted)
            drift = sum(s for i, s in enumerate(step) if i not in deleted) + (theirs if sign == 1 else 0.0)
            losses = losses + theirs**2 / 2 + sign * theirs * noise
            spent = spent + theirs**2
            places.append(places[-1] + drift + noise)
        last = sum(process.shifts(*places)[-1][i] for i in deleted)
        rest = epsilon - losses
        found["path"].append(float(np.mean(gdp_delta(np.abs(last), rest))))
        found["continued"].append(float(np.mean(gdp_delta(np.sqrt(np.maximum(budget - spent, 0)), rest))))
    return {name: (values[0], values[1]) for name, values in found.items()}


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_a_filtered_path_is_gaussian_dp_whatever_its_rules_are(epsilon: float) -> None:
    left_out = 0
    for seed in range(12):
        process = Adaptive(pulls=(bumps(2 * seed, 0.7), bumps(2 * seed + 1, 0.7)), budgets=(0.8, 0.5))
        found = path_deltas(process, (0,), epsilon)
        stated = gdp.delta(math.sqrt(0.8), epsilon)
        for exact, continued in zip(found["path"], found["continued"], strict=True):
            assert exact <= continued * (1 + 1e-12)
            # What is left to spend is spent: then the loss is normal, and delta is that of the budget.
            assert continued == pytest.approx(stated, rel=4e-3)
        both = path_deltas(process, (0, 1), epsilon)
        assert max(both["path"]) <= gdp.delta(math.sqrt(0.8) + math.sqrt(0.5), epsilon)
        steps = process.shifts(*(np.linspace(-4, 4, 50),) * 3)
        left_out += int(np.mean(steps[2][0] == 0) > 0)
    assert left_out > 8


def test_a_filter_that_is_one_step_late_is_not() -> None:
    process = Adaptive(pulls=(lambda w: 1.0 + 0 * w, bumps(1, 0.5)), budgets=(0.05, 0.5))
    stated = gdp.delta(math.sqrt(0.05), 1.0)
    assert max(path_deltas(process, (0,), 1.0)["path"]) <= stated
    late = path_deltas(replace(process, late=True), (0,), 1.0)["path"]
    assert min(late) > 5 * stated
    assert max(late) == pytest.approx(gdp.delta(1.0, 1.0), rel=4e-3)


def test_mu_of_budgets_is_rounded_up_and_a_budget_down() -> None:
    scale = {"step_size": 2.0, "divisor": 1500, "sigma": 0.0113}
    exact = 2 * (math.sqrt(3.0) + math.sqrt(7.0)) / (1500 * 0.0113)
    assert exact < filtered_mu([3.0, 7.0], **scale) < exact * (1 + 2 * ROUNDING)
    assert filtered_mu([0.0], **scale) == 0.0
    assert filtered_mu([1.0], **{**scale, "sigma": 0.0}) == math.inf
    for sigma in (1e-300, 1e200):
        assert budget_within(1.0, 1e-5, step_size=2.0, divisor=1500, sigma=sigma) in (0.0, 1e300)
    for epsilon in (1e-3, 0.5, 4.0, 30.0):
        budget = budget_within(epsilon, 1e-5, **scale)
        assert gdp.epsilon(filtered_mu([budget], **scale), 1e-5) <= epsilon
        assert gdp.epsilon(filtered_mu([budget * (1 + 1e-6)], **scale), 1e-5) > epsilon


FILTERED = replace(PUBLIC, individual=IndividualFilter(margin=1.1), start_seed=None, n_learn=8)


def with_budgets(mechanism: NetworkLangevin, data: Dataset, forget: tuple[int, ...], factor: float) -> Any:
    """Return the deletion with all budgets changed by a factor."""
    deletion = mechanism.bind(data, forget)
    budgets = {key: factor * value for key, value in deletion.budgets.by_record.items()}
    return replace(deletion, budgets=replace(deletion.budgets, by_record=budgets))


@needs_torch
@pytest.mark.parametrize("world", [World.UNLEARNED, World.RETRAINED])
def test_learning_within_budgets_is_that_of_a_slow_trainer(world: World) -> None:
    from tests.unit.test_network_langevin import clipped_sum

    data, forget = canary_data(), (0, 3)
    deletion = with_budgets(FILTERED, data, forget, 0.6)
    learned_on = deletion.retained if world is World.RETRAINED else data
    budgets = deletion.budgets.of(learned_on)
    m, p, q = FILTERED, 6, 3
    drawn = np.random.default_rng(4).standard_normal((1, 1 + m.n_learn, p * 2 + 3 * q), dtype=np.float32)[0]

    def split(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return row[: p * 2].reshape(p, 2).astype(float), row[p * 2 :].reshape(3, q).astype(float)

    import torch

    first, second = (torch.tensor(w) for w in split(drawn[0]))
    first, second = first * (2 / p) ** 0.5, second * 2**-0.5
    spent, takes_part = np.zeros(len(learned_on)), []
    for step in range(m.n_learn):
        alone = [clipped_sum(first, second, learned_on.take((i,)), m.clip_norm) for i in range(len(learned_on))]
        spent += np.minimum([norms[0] for _, _, norms in alone], m.clip_norm) ** 2
        takes_part.append(spent <= budgets)
        noise = [torch.tensor(w) for w in split(drawn[1 + step])]
        inside = [gradients for gradients, inside in zip(alone, takes_part[-1], strict=True) if inside]
        for place, weights in enumerate((first, second)):
            weights -= m.step_size / 24 * sum((g[place] for g in inside), torch.zeros_like(weights))
            weights += m.sigma_learn * noise[place]
    learned = deletion.learn(learned_on, 1, np.random.default_rng(4))
    np.testing.assert_allclose(learned.first[:, 0], first, atol=2e-5)
    np.testing.assert_allclose(learned.second[0], second, atol=2e-5)
    assert 0 < np.mean(takes_part) < 1
    assert not np.array_equal(takes_part[0], takes_part[-1])


@needs_torch
def test_budgets_that_bind_nobody_change_nothing() -> None:
    data = canary_data()
    plain = replace(FILTERED, individual=None).bind(data, (0,))
    # What nobody can exceed, and a tenth of what was spent.
    for factor, same in ((1e3, True), (0.1, False)):
        found = with_budgets(FILTERED, data, (0,), factor).sample(World.UNLEARNED, 3, rng=np.random.default_rng(1))
        expected = plain.sample(World.UNLEARNED, 3, rng=np.random.default_rng(1))
        assert np.array_equal(found, expected) == same


@needs_torch
def test_budgets_are_frozen_from_all_records_by_a_stream_of_their_own() -> None:
    data = canary_data()
    one, other = (FILTERED.bind(data, forget) for forget in ((0,), (3, 5)))
    assert one.budgets is not None
    assert other.budgets is not None
    assert one.budgets.by_record == other.budgets.by_record
    np.testing.assert_array_equal(one.budgets.of(one.retained), one.budgets.of(data)[1:])
    pool = FILTERED.bind_pool(data, (0, 3))
    assert pool.budgets is not None
    assert pool.budgets.by_record == one.budgets.by_record
    seeded = replace(FILTERED, individual=IndividualFilter(margin=1.1, pilot_seed=1)).bind(data, (0,))
    assert seeded.budgets is not None
    assert seeded.budgets.by_record != one.budgets.by_record
    # Never more than can be spent at all, and never more than a target allows.
    most = FILTERED.n_learn * FILTERED.clip_norm**2
    assert max(one.budgets.by_record.values()) <= most
    within = replace(FILTERED, individual=IndividualFilter(margin=50.0, target=2.0)).bind(data, (0,))
    assert within.certificates()[0].epsilon <= 2.0
    assert within.certificates()[0].epsilon == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(InvalidInputError, match="bind it to all records"):
        one.learn(canary_data(30).take((29, 28)), 1, np.random.default_rng(1))
    twice = data.take((0, *range(24)))
    equal = FILTERED.bind(twice, (1,))
    assert equal.budgets is not None
    assert equal.budgets.of(twice)[0] == equal.budgets.of(twice)[1]


@needs_torch
def test_certificates_are_of_the_deleted_records_and_withheld_with_them() -> None:
    data = canary_data()
    any_budgets = FILTERED.bind(data, (0,)).budgets
    assert any_budgets is not None
    low = tuple(int(i) for i in np.argsort(any_budgets.of(data))[:2])
    one, set_of_two = (FILTERED.bind(data, forget) for forget in (low[:1], low))
    individual, of_any = one.certificates()
    assert (individual.method, of_any.method) == ("individual", "learning_noise")
    assert isinstance(individual.claim.guarantee, GaussianDP)
    assert individual.epsilon < of_any.epsilon
    assert individual.claim.covers == ThisSet()
    own = one.budgets.of(data.take(low))
    expected = 1.0 * (math.sqrt(own[0]) + math.sqrt(own[1])) / (24 * 0.05)
    both = set_of_two.certificates()[0].claim.guarantee
    assert isinstance(both, GaussianDP)
    assert expected <= both.mu <= expected * (1 + 2 * ROUNDING)
    # What is public of it says nothing of any record.
    assert one.parameters() == set_of_two.parameters()
    result = audit.run(FILTERED, data, forget=low[0], claim=individual.claim, trials=40, attacks=LDA, seed=1)
    text = redact(result).to_json()
    for number in (individual.epsilon, individual.claim.guarantee.mu, float(own[0])):
        assert repr(number) not in text
    assert repr(individual.epsilon) in result.to_json()


@needs_torch
def test_an_audit_does_not_refute_what_is_certified_of_a_filtered_record() -> None:
    data = canary_data()
    # The budget is that of two steps of six.
    mechanism = replace(PUBLIC, sigma_learn=0.01, individual=IndividualFilter(target=17.0))
    claim = mechanism.bind(data, (0,)).certificates()[0].claim
    assert isinstance(claim.guarantee, GaussianDP)
    part = Claim(guarantee=GaussianDP(mu=claim.guarantee.mu / 12))
    results = [
        audit.run(mechanism, data, forget=0, claim=stated, trials=300, attacks=LDA, seed=1) for stated in (claim, part)
    ]
    assert [result.verdict for result in results] == [Verdict.NOT_REFUTED, Verdict.REFUTED]


@needs_torch
def test_the_map_of_all_records_is_what_each_deletion_certifies() -> None:
    data = canary_data()
    found = certify(FILTERED, data, make_request(records="all", routes="exact"))
    assert [row.record for row in found.rows] == list(range(24))
    for record in (0, 4, 11):
        own, of_any = FILTERED.bind(data, (record,)).certificates()
        assert found.rows[record].epsilon == own.epsilon
        assert found.parameters["epsilon_of_any_record"] == of_any.epsilon
    assert min(row.epsilon for row in found.rows) < max(row.epsilon for row in found.rows)
    assert Certification.from_json(found.to_json()) == found
    summary = certification_summary(found)
    assert "24 records, each deleted alone: at δ = 1e-5 the certificates give" in summary
    assert "exact" not in summary
    # Calibrated: budgets that keep every record within a target, by a filter that is there or a usual one.
    for mechanism in (FILTERED, replace(FILTERED, individual=None)):
        target = certify(mechanism, data, make_request(records="3,5", routes="exact", target=(1.5, 1e-4)))
        assert target.delta == 1e-4
        assert max(row.epsilon for row in target.rows) <= 1.5
    one = certify(replace(FILTERED, individual=None), data, make_request(records="all", routes="exact"))
    assert {row.epsilon for row in one.rows} == {one.parameters["epsilon_of_any_record"]}
    with pytest.raises(InvalidInputError, match="sigma_learn to be above 0"):
        certify(replace(PUBLIC, sigma_learn=0.0), data, make_request(records="all", routes="exact"))


@needs_torch
def test_a_plan_names_the_filter_and_its_certificate(tmp_path: Path) -> None:
    (path := tmp_path / "plan.toml").write_text(
        'schema = "unlearn-audit/plan/1"\ntrials = 40\n[data]\nname = "digits"\nrows = 40\n[mechanism]\n'
        'name = "network_langevin"\nn_learn = 5\nsigma_learn = 0.1\nstart_seed = 2\n'
        'individual = { margin = 1.5, target = 2.0 }\n[records]\nforget = [[3]]\n[[claims]]\nkind = "profile"\n'
        'from = "individual"\n[[attacks]]\nname = "u_lira"\n'
    )
    resolved = read_plan(path)
    assert resolved.mechanism == NetworkLangevin(
        n_learn=5, sigma_learn=0.1, start_seed=2, individual=IndividualFilter(margin=1.5, target=2.0)
    )
    assert resolved.plan.claims == (CertifiedClaim(method="individual"),)
    path.write_text(path.read_text().replace("margin = 1.5", "margin = 0.5"))
    with pytest.raises(PlanError, match="margin"):
        read_plan(path)


@pytest.mark.parametrize(
    ("field", "value"), [("margin", 0.9), ("margin", math.inf), ("pilot_seed", -1), ("target", 0.0)]
)
def test_a_filter_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=f"Expected {field} to be .*, got .*; "):
        replace(IndividualFilter(), **{field: value})
    with pytest.raises(InvalidInputError, match="sigma_learn to be above 0 with an individual filter"):
        NetworkLangevin(individual=IndividualFilter())
