"""The joint test with learned models that several forget sets share: its level for each, and for all together.

Drawn by the code that draws audits. The claim holds with equality, and what a release shows is mostly its learned
model, so that forget sets are refuted together or not at all.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from audit.plan.audit_plan import Bonferroni, Correction, Holm
from audit.records.counts import Counts
from audit.statistics.bounds import exact_joint_p_value
from audit.statistics.multiplicity import MemberKey, decide_family, ledger
from audit.trials.chunks import ChunkTask, Source, Stream, draw_chunk
from audit.trials.learned_once import LearnedOnce
from audit.trials.together import Together, draw_together
from mechanisms import EpsilonDelta, Reference, from_functions
from mechanisms.claim import Direction
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import World
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
RECORDS, TRIALS, LEVEL = 4, 30, 0.1
SHOWN, CLAIMED = 0.2, EpsilonDelta(epsilon=float(np.log(2.0)), delta=0.0)
DATA = from_arrays(np.arange(12.0)[:, None], np.zeros(12), kind="regression", name="twelve")


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    return np.array([rng.random()])


def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    """Show a learned model that is below a line, which is twice as high where something was deleted."""
    return np.array([float(model[0] + 0.02 * rng.random() < SHOWN * (1 + len(forget)) + 0.01)])


def deletions() -> list[LearnedOnce]:
    service = from_functions(learn=learn, unlearn=unlearn, release=(1,), reference=Reference.RETRAIN_THEN_UNLEARN)
    return [
        LearnedOnce(bound=service.bind(DATA, (i,)), data=DATA, retained=DATA.without((i,)), deleted=DATA.take((i,)))
        for i in range(RECORDS)
    ]


def counts_of(bound: list[LearnedOnce], seed: int) -> list[Counts]:
    """Return the counts of every forget set in one audit."""
    sources = [[Source(stream=Stream.RELEASES, world=w, record=i) for i in range(RECORDS)] for w in World]
    unlearned, retrained, _ = ([ChunkTask(seed=seed, source=s, chunk=0, n=TRIALS) for s in row] for row in sources)
    shared = tuple(ChunkTask(seed=seed, source=t.source, chunk=0, n=TRIALS, first=0) for t in unlearned)
    drawn = draw_together(bound, Together(tasks=shared))
    found = []
    for first, deletion, task in zip(drawn, bound, retrained, strict=True):
        assert first is not None
        second = draw_chunk(deletion.bound, task)  # type: ignore[arg-type]
        k1, k0 = int(first.sum()), int(second.sum())
        found.append(Counts(k_unlearned=k1, n_unlearned=TRIALS, k_retrained=k0, n_retrained=TRIALS))
    return found


@cache
def p_value(k1: int, k0: int) -> float:
    counts = Counts(k_unlearned=k1, n_unlearned=TRIALS, k_retrained=k0, n_retrained=TRIALS)
    return exact_joint_p_value(counts, point=CLAIMED, direction=Direction.UNLEARNED_FROM_RETRAINED, level=LEVEL)


def size() -> float:
    """Return how often one forget set alone is refuted, by enumeration."""
    k = np.arange(TRIALS + 1)
    masses = binom.pmf(k, TRIALS, 2 * SHOWN)[:, None] * binom.pmf(k, TRIALS, SHOWN)[None]
    return float(sum(masses[i, j] for i in k for j in k if masses[i, j] > 1e-9 and p_value(i, j) <= LEVEL))


def p_values(replicates: int) -> Array:
    bound = deletions()
    return np.array(
        [[p_value(c.k_unlearned, c.k_retrained) for c in counts_of(bound, seed)] for seed in range(replicates)]
    )


@pytest.mark.slow
def test_every_forget_set_keeps_its_level_and_all_together_theirs() -> None:
    replicates = 300
    found = p_values(replicates)
    low, high = binomial_limits(replicates, size())
    for column in found.T:
        # What other forget sets share does not change the law of one: its size is that of independent trials.
        assert low <= np.sum(column <= LEVEL) <= high, (low, high)
    # Forget sets do depend on each other: half of their counts come from the same models.
    assert np.corrcoef(found.T)[0, 1] > 0.1
    for correction in (Bonferroni(), Holm()):
        assert wrong(found, correction) <= binomial_limits(replicates, LEVEL)[1]


def test_a_few_audits_keep_their_level() -> None:
    found = p_values(8)
    assert 0 < np.sum(found <= 0.5) <= binomial_limits(found.size, 0.5)[1]
    assert wrong(found, Holm()) <= binomial_limits(len(found), LEVEL)[1]


def wrong(found: Array, correction: Correction) -> int:
    """Return how many audits refute anything, where every claim holds."""
    members: list[MemberKey] = [(0, (i,), "threshold", "claim_row") for i in range(RECORDS)]
    family = ledger(significance=LEVEL, correction=correction, members=members)
    decided = (decide_family(family, dict(zip(members, row.tolist(), strict=True))) for row in found)
    return sum(any(member.rejected for member in each.members) for each in decided)
