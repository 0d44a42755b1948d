"""Budgets that go on in unlearning: the theorem by quadrature, the trainer by a slow one, what a stream certifies."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

import audit
from mechanisms.accounting.clipped_learning import ROUNDING
from mechanisms.claim import GaussianDP, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import IndividualFilter
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import World
from mechanisms.serving.streams import RequestStream
from tests.unit.test_individual_filter import bumps, gdp_delta
from tests.unit.test_network_certificates import PUBLIC, canary_data

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[torch]'"
)
Rule = Callable[[np.ndarray], np.ndarray]
N_NODES = 120
KEPT = replace(PUBLIC, sigma_learn=0.05, sigma_unlearn=0.05, n_unlearn=3, individual=IndividualFilter(carried=True))


def path_delta(pulls: tuple[Rule, Rule], budgets: tuple[float, float], *, rate: float, carried: bool) -> float:
    """Delta at epsilon = 0.5 of two steps of learning with both records and one of unlearning with the first alone.

    The second record was asked for before that step, the first after it: deleted are both, and the reference is the
    path without either. In units of the noise of each step, of which that of unlearning is ``rate`` times smaller.
    """
    nodes, worst, epsilon = ndtri((np.arange(N_NODES) + 0.5) / N_NODES), 0.0, 0.5
    for sign in (1, -1):  # paths drawn with the records, and without
        place, loss, spent = np.zeros(()), np.zeros(()), [np.zeros(()), np.zeros(())]
        for noise in (nodes[:, None], nodes[None, :]):
            shift = np.zeros(())
            for i, pull in enumerate(pulls):
                spent[i] = spent[i] + pull(place) ** 2
                shift = shift + np.where(spent[i] <= budgets[i], pull(place), 0.0)
            loss = loss + shift**2 / 2 + sign * shift * noise
            place = place + np.sin(place) + (shift if sign == 1 else 0.0) + noise
        charge = (rate * pulls[0](place)) ** 2
        last = np.where((spent[0] + charge <= budgets[0]) | (not carried), rate * pulls[0](place), 0.0)
        worst = max(worst, float(np.mean(gdp_delta(np.abs(last), epsilon - loss))))
    return worst


@pytest.mark.parametrize("rate", [1.0, 0.4, 3.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_stream_within_carried_budgets_keeps_to_them(seed: int, rate: float) -> None:
    pulls = (bumps(seed, 0.5), bumps(100 + seed, 0.5))
    budgets = (0.3, 0.2)
    allowed = float(gdp_delta(np.array(sum(map(math.sqrt, budgets))), np.array(0.5)))
    # 120 quantiles a step: rules with jumps are integrated to about 1e-3.
    assert path_delta(pulls, budgets, rate=rate, carried=True) <= allowed + 2e-3


def test_unlearning_that_forgets_the_budgets_exceeds_them() -> None:
    """Constant pulls spend all in learning, so that what unlearning adds is exactly too much."""

    def pull(place: np.ndarray) -> np.ndarray:
        return np.full(np.shape(place), 0.6)

    def nothing(place: np.ndarray) -> np.ndarray:
        return np.zeros(np.shape(place))

    budgets = (2 * 0.6**2, 0.0)
    allowed = float(gdp_delta(np.array(math.sqrt(budgets[0])), np.array(0.5)))
    kept, free = (path_delta((pull, nothing), budgets, rate=2.0, carried=carried) for carried in (True, False))
    assert kept == pytest.approx(allowed, abs=1e-3)
    exact = float(gdp_delta(np.array(0.6 * math.sqrt(2 + 2.0**2)), np.array(0.5)))
    assert free == pytest.approx(exact, abs=2e-3)
    assert free > 1.5 * allowed


@needs_torch
def test_unlearning_within_carried_budgets_is_that_of_a_slow_trainer() -> None:
    import torch

    from tests.unit.test_network_langevin import clipped_sum

    data, first_asked = canary_data(), (0, 3)
    m = replace(KEPT, sigma_unlearn=0.06)  # a step charges 0.69 of one of learning
    deletion = m.bind(data, first_asked)
    retained, deleted = deletion.retained, deletion.deleted
    learned = deletion.learn(data, 1, np.random.default_rng(4))
    assert learned.ledger is not None
    first, second = learned.first[:, 0].double(), learned.second[0].double()
    positions = [i for i in range(len(data)) if i not in first_asked]
    spent = learned.ledger.spent[0].numpy()[positions]
    budgets, rate = deletion.budgets.of(retained), (0.05 / 0.06) ** 2
    drawn = np.random.default_rng(5).standard_normal((m.n_unlearn, first.numel() + second.numel()), dtype=np.float32)
    takes_part = []
    for noise in drawn:
        alone = [clipped_sum(first, second, retained.take((i,)), m.clip_norm) for i in range(len(retained))]
        spent = spent + rate * np.minimum([norms[0] for _, _, norms in alone], m.clip_norm) ** 2
        takes_part.append(spent <= budgets)
        inside = [gradients for gradients, here in zip(alone, takes_part[-1], strict=True) if here]
        shaken = (noise[: first.numel()].reshape(first.shape), noise[first.numel() :].reshape(second.shape))
        for place, weights in enumerate((first, second)):
            weights -= m.step_size / len(data) * sum((g[place] for g in inside), torch.zeros_like(weights))
            weights += m.sigma_unlearn * torch.tensor(shaken[place])
    found = deletion.unlearn(learned, retained, deleted, np.random.default_rng(5))
    np.testing.assert_allclose(found.first[:, 0], first, atol=2e-5)
    np.testing.assert_allclose(found.second[0], second, atol=2e-5)
    assert 0 < np.mean(takes_part) < 1
    # What is left goes on to the next request, and the learned models were not touched.
    assert found.ledger is not None
    np.testing.assert_allclose(found.ledger.spent[0], spent, rtol=1e-5)
    assert len(learned.ledger.keys) == len(data)


@needs_torch
def test_a_deletion_certifies_the_same_and_samples_as_its_stages_do() -> None:
    data = canary_data()
    free = replace(KEPT, individual=IndividualFilter())
    kept = KEPT.bind(data, (0,))
    assert kept.certificates() == free.bind(data, (0,)).certificates()
    for world, records, left in (
        (World.UNLEARNED, data, kept.retained),
        (World.RETRAINED, kept.retained, kept.retained),
    ):
        rng = np.random.default_rng(3)
        by_stages = kept.released(kept.unlearn(kept.learn(records, 4, rng), left, kept.deleted, rng))
        np.testing.assert_allclose(kept.sample(world, 4, rng=np.random.default_rng(3)), by_stages, atol=1e-5)
    assert not np.array_equal(
        kept.sample(World.UNLEARNED, 2, rng=np.random.default_rng(3)),
        free.bind(data, (0,)).sample(World.UNLEARNED, 2, rng=np.random.default_rng(3)),
    )
    assert kept.trajectory(World.UNLEARNED, 3, rng=np.random.default_rng(1)).shape[:2] == (3, 4)  # type: ignore[union-attr]


@needs_torch
def test_a_stream_certifies_the_budgets_of_all_that_was_asked_for() -> None:
    data = canary_data()
    stream = RequestStream(mechanism=KEPT, requests=((2,), (5, 7)))
    after_one, after_two = (stream.bind(data, forget) for forget in ((2,), (2, 5, 7)))
    budgets = KEPT.bind(data, (2,)).budgets
    assert budgets is not None
    for bound, asked in ((after_one, (2,)), (after_two, (2, 5, 7))):
        (stated,) = bound.certificates()
        own = budgets.of(data.take(asked))
        expected = KEPT.step_size * float(np.sqrt(own).sum()) / (len(data) * KEPT.sigma_learn)
        assert isinstance(stated.claim.guarantee, GaussianDP)
        assert expected <= stated.claim.guarantee.mu <= expected * (1 + 2 * ROUNDING)
        assert "left of each record's budget" in " ".join(stated.claim.assumptions)
    # Steps that keep to no budget certify nothing of records that took part in them.
    for mechanism in (
        replace(KEPT, individual=IndividualFilter()),
        replace(KEPT, individual=None),
        replace(KEPT, reference=Reference.RETRAIN_ONLY),
    ):
        assert RequestStream(mechanism=mechanism, requests=((2,), (5,))).bind(data, (2, 5)).certificates() == ()


@needs_torch
@pytest.mark.slow
def test_an_audit_does_not_refute_what_a_stream_certifies() -> None:
    data: Dataset = canary_data()
    mechanism: NetworkLangevin = replace(KEPT, individual=IndividualFilter(target=17.0, carried=True))
    stream = RequestStream(mechanism=mechanism, requests=((2,), (0,)))
    claim = stream.bind(data, (2, 0)).certificates()[0].claim
    result = audit.run(stream, data, forget=(2, 0), claim=claim, trials=200, seed=1)
    assert result.verdict.value == "not_refuted"


def test_what_cannot_be_carried_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="sigma_unlearn to be above 0 with budgets that are carried"):
        replace(KEPT, sigma_unlearn=0.0)
    with pytest.raises(InvalidInputError, match="fine_tuning to be None with carried budgets"):
        replace(KEPT, fine_tuning=NoisyFineTuning(start_norm=1.0))
    with pytest.raises(InvalidInputError, match="carried"):
        IndividualFilter(carried="yes")  # type: ignore[arg-type]
