"""Trials that fail in one world's tail, under a claim that is exactly true: refutations stay within the level.

What fails is drawn from the same law as what does not, so an audit that left such trials out would see two worlds that
differ by more than the claim allows. They are counted against refuting instead, in audits of a fixed number of trials
and in those that stop when decided. Fitting leaves them out: that only chooses what is tested.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

import audit
from audit.gathering.following import ask, choose_again, follow
from audit.gathering.selection import PreparedAttack, claim_rows, plan_delta_points
from audit.plan.split import Counting, Sequential, Split
from audit.records.verdict import Verdict
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World
from tests.statistical.budget import binomial_limits
from tests.unit.test_failed_trials import CLAIM, MU, Itself, Shift, plan

Array = NDArray[np.float64]
LEVEL = 0.05
# The tails whose absence makes the worlds look most different: low scores of unlearned models, high ones of retrained.
HARMFUL = [(World.UNLEARNED, -1), (World.RETRAINED, 1)]
N_FIT, N = 100, 700


def with_failed(seed: int, world: World, tail: int, share: float) -> Array:
    """Return scores of pairs of trials, NaN where one failed."""
    noise = np.random.default_rng(seed).standard_normal((2, N))
    row = 0 if world is World.UNLEARNED else 1
    failed = tail * noise[row] > -ndtri(share)
    scores = noise + np.array([[MU], [0.0]])
    scores[row, failed] = np.nan
    return scores


def is_refuted(scores: Array, counted: Callable[[Array], Array]) -> bool:
    """Follow pairs like an audit that stops when decided; ``counted`` says which pairs of an era it is shown."""
    hypotheses = (("claim_row", claim_rows(CLAIM)), ("plan_delta", plan_delta_points(CLAIM, 1e-5)))
    levels = {"claim_row": 0.9 * LEVEL, "plan_delta": 0.1 * LEVEL}
    begin, question = N_FIT, None
    while begin < N:
        end = min(2 * begin, N)
        past = [side[~np.isnan(side)] for side in scores[:, :begin]]
        fitted = {"itself": PreparedAttack(name="itself", fitted=Itself(), unlearned=past[0], retrained=past[1])}
        if question is None:
            question = ask(hypotheses, fitted, levels=levels, combined=True, n=N - N_FIT)
        else:
            question = choose_again(question, fitted)
        shown = counted(scores[:, begin:end])
        question = follow(question, {"itself": shown[0]}, {"itself": shown[1]})
        if question.refuted_at is not None:
            return True
        begin = end
    return False


def left_out(scores: Array) -> Array:
    """Return the pairs of the trials that did not fail, as if there had been no others."""
    sides = [side[~np.isnan(side)] for side in scores]
    n = min(map(len, sides))
    return np.stack([side[:n] for side in sides])


@pytest.mark.parametrize(
    ("n_audits", "case"), [(24, HARMFUL[0]), *(pytest.param(2000, case, marks=pytest.mark.slow) for case in HARMFUL)]
)
def test_pairs_with_failed_trials_refute_within_the_level_and_without_them_far_above_it(
    n_audits: int, case: tuple[World, int]
) -> None:
    refuted = sum(is_refuted(with_failed(seed, *case, 0.14), lambda pairs: pairs) for seed in range(n_audits))
    assert refuted <= binomial_limits(n_audits, LEVEL)[1]
    # The control: where such trials are left out, the same audits refute far more often.
    n_control = max(8, n_audits // 20)
    assert sum(is_refuted(with_failed(seed, *case, 0.14), left_out) for seed in range(n_control)) > n_control / 2


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.standard_normal((6, 2)), rng.standard_normal(6), name="six")


@pytest.mark.slow
@pytest.mark.parametrize("counting", [Split(), Sequential(first_fit=N_FIT)], ids=["fixed", "sequential"])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.14])
def test_whole_audits_refute_a_true_claim_within_the_level(data: Dataset, share: float, counting: Counting) -> None:
    n_audits, refuted = 80, 0
    for seed in range(n_audits):
        world, tail = HARMFUL[seed % 2]
        # One trial a chunk: what fails is no more than what has to.
        allowed = plan(max_failed=10_000, trials=N, control_trials=20, counting=counting, seed=seed)
        finding = audit.run(Shift(world=world, share=share, tail=tail), data, allowed).findings[0]
        assert finding.failed_chunks
        refuted += finding.verdict is Verdict.REFUTED
    assert refuted <= binomial_limits(n_audits, LEVEL)[1]
