"""Seeded faults by lot: what is true of a whole pool bounds its parts, and the planner does its own arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom

from audit.records.verdict import Verdict
from audit.selftest import by_lot
from audit.selftest.result import Expectation
from mechanisms import Claim, EpsilonDelta, UpTo
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.faulty.catalogue import CATALOGUE
from mechanisms.faulty.pools import FaultyPool, has_pool, pool_of
from mechanisms.protocol import World

NAMED = {fault.name: fault for fault in CATALOGUE}


def given(made: FaultyPool, coins: np.ndarray) -> tuple[object, tuple[int, ...]]:
    """The data of a run, and where the drawn candidates lie in them."""
    outside = [record for record, coin in zip(made.pool, coins, strict=True) if not coin]
    inside = [record for record, coin in zip(made.pool, coins, strict=True) if coin]
    return made.data.without(outside), tuple(record - sum(o < record for o in outside) for record in inside)


SOME = ("ridge_no_fault", "ridge_more_noise", "ridge_small_ascent_first", "output_doubled_noise")


@pytest.mark.parametrize("name", [SOME[-1], *(pytest.param(name, marks=pytest.mark.slow) for name in SOME[:-1])])
def test_what_is_true_of_the_whole_pool_bounds_its_parts(name: str) -> None:
    """Exact laws of parts: closer to one reference law, which is the same for all, than those of the whole."""
    made, rng = pool_of(NAMED[name].problem), np.random.default_rng(1)
    whole = made.whole.deletion.service.laws()
    assert whole is not None
    claimed = made.claim.epsilon_at(1e-5, by_lot.DIRECTION)
    at = np.array([claimed / 2, claimed])
    most = GaussianPair.from_laws(*whole).log_delta(at)
    assert most[1] <= math.log(1e-5) + 1e-6
    assert made.claim.covers == UpTo(k=len(made.pool))
    for share in (0.03, 0.5, 0.9):
        service = made.serving(*given(made, rng.random(len(made.pool)) < share))  # type: ignore[arg-type]
        laws = service.laws()
        assert laws is not None
        assert np.all(GaussianPair.from_laws(*laws).log_delta(at) <= most + 1e-9)
        assert laws[1].mean == pytest.approx(whole[1].mean, abs=1e-12)
        assert laws[1].covariance == pytest.approx(whole[1].covariance, abs=1e-12)


def test_stages_release_what_the_service_of_the_set_does() -> None:
    made, rng = pool_of(NAMED["output_wrong_sign"].problem), np.random.default_rng(2)
    coins = rng.random(len(made.pool)) < 0.5
    data, forget = given(made, coins)
    stages = made.bind_pool(made.data, made.pool)
    core, request = (
        made.data.without(made.pool),
        made.data.take([r for r, c in zip(made.pool, coins, strict=True) if c]),
    )
    found = stages.unlearn(stages.learn(data, 1, rng), core, request, np.random.default_rng(3))  # type: ignore[arg-type]
    known = made.serving(data, forget).sample(World.UNLEARNED, 1, rng=np.random.default_rng(3))  # type: ignore[arg-type]
    assert np.array_equal(found, known)


def test_the_planner_counts_for_itself() -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), covers=UpTo(k=64))
    # 24 guesses: e P(Bin(24, 1/2) >= v) + 1e-5 <= 5e-4 from v = 21 on, by hand: 1.3858e-4 e = 3.77e-4.
    assert binom.sf(20, 24, 0.5) == pytest.approx(1.3858e-4, rel=1e-4)
    assert by_lot.power_of_one(claim, 64, 0.95) == pytest.approx(binom.sf(20, 24, 0.95))
    assert by_lot.power_of_one(claim, 64, 0.5) < by_lot.LEVEL
    assert by_lot.power_of_several(claim, 64, 0.5) < by_lot.LEVEL
    assert by_lot.power_of_several(claim, 64, 0.9) > 0.99
    hopeless = Claim(guarantee=EpsilonDelta(epsilon=math.inf, delta=0.0), covers=UpTo(k=64))
    assert by_lot.power_of_one(hopeless, 64, 1.0) == by_lot.power_of_several(hopeless, 64, 1.0) == 0.0


def test_a_lost_request_must_be_seen_by_one_model() -> None:
    row = by_lot.audit_by_lot(NAMED["ridge_lost_request"], 7)
    assert row.expected == (Expectation.REFUTED,) * 2
    assert row.verdicts == (Verdict.REFUTED,) * 2
    assert row.as_expected


@dataclass(frozen=True)
class Blind:
    """An attack that knows nothing."""

    name: str = "blind"
    rehearsals: int = 0

    def prepare(self, *_: object, **__: object) -> Blind:
        return self

    def scores(self, release: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).normal(size=release.shape[0])


def test_an_attack_that_sees_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_lot, "MatchedFilter", Blind)
    row = by_lot.audit_by_lot(NAMED["ridge_lost_request"], 7)
    assert row.expected == (Expectation.REFUTED,) * 2
    assert not row.as_expected


def test_models_that_are_always_equal_are_refused_together() -> None:
    row = by_lot.audit_by_lot(NAMED["newton_stopped_early"], 7)
    assert row.expected[1] is Expectation.INCONCLUSIVE
    assert row.verdicts[1] is Verdict.INCONCLUSIVE
    assert row.hits is None


@pytest.mark.slow
def test_all_faults_by_lot_over_several_seeds() -> None:
    rows = [by_lot.audit_by_lot(fault, seed) for seed in range(3) for fault in CATALOGUE if has_pool(fault.problem)]
    assert [row.name for row in rows if not row.as_expected] == []
    assert sum(row.expected[0] is Expectation.REFUTED for row in rows) >= 3 * 6
