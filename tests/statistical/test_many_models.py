"""Audits of many records with the same few models, replicated at the boundary of true claims."""

from __future__ import annotations

import numpy as np
import pytest

from audit.models.assigning import Status
from tests.statistical import many_models as worlds
from tests.statistical.budget import binomial_limits

CASES = [(law, models) for law in worlds.LAWS for models in worlds.SIZES]
# All laws and sizes by make test-slow, in 1,000 replicates.
FEW = [pytest.param("shared factor", 64, 60), pytest.param("one outlier", 32, 60)]
MANY = [pytest.param(law, models, 1000, marks=pytest.mark.slow) for law, models in CASES]


@pytest.mark.parametrize(("law", "models", "n"), [*FEW, *MANY])
def test_one_deletion_is_refuted_wrongly_at_most_at_the_level(law: str, models: int, n: int) -> None:
    def rejects(rng: np.random.Generator) -> bool:
        return worlds.joint_test_rejects(*worlds.one_deletion(law, models, rng), seed=int(rng.integers(2**31)))

    rejected = worlds.count(n, rejects, 1, models, worlds.LAWS.index(law))
    print(f"one deletion, {law}, {models} models: {rejected} of {n}")
    assert rejected <= binomial_limits(n, worlds.LEVEL)[1]
    # Two-sided: a test that never rejects at its boundary would be no test. 8 counted models of a kind, of 32 in all,
    # refute only when all agree, at the boundary in one replicate of a thousand.
    assert n < 1000 or models < 64 or rejected >= 1


@pytest.mark.parametrize(("law", "models", "n"), [*FEW, *MANY])
def test_a_claim_a_record_is_refuted_wrongly_at_most_at_the_level(law: str, models: int, n: int) -> None:
    """Family-wise by Holm, in expectation by e-BH; the mean e-value where every claim holds.

    Whoever counts every record of a model as a trial of its own refutes true claims of the same models far more often
    than at the level, where records share a factor.
    """
    study = worlds.Study()
    true = np.ones(study.records, dtype=bool)
    if law == "one outlier":
        true[17] = False
    holm, mean_e, shares = 0, 0, []
    keys = [[2, models, worlds.LAWS.index(law), i] for i in range(max(n, 200))]
    for key in keys[:n]:
        found = worlds.replicate(study, law, models, np.random.default_rng(key))
        holm += bool(np.any(found.holm & true))
        mean_e += found.mean_e >= 1 / worlds.LEVEL
        shares.append(np.sum(found.listed & true) / max(1, np.sum(found.listed)))
    # The same generator draws the same models; counting is quick, and is done of some more where the audits are few.
    pooled = sum(worlds.pooled_rejects(law, models, np.random.default_rng(key)) for key in keys)
    print(f"a claim a record, {law}, {models} models: Holm {holm}, mean e-value {mean_e}, e-BH {np.mean(shares):.4f}")
    print(f"counted as trials of their own: {pooled} of {len(keys)}")
    assert holm <= binomial_limits(n, worlds.LEVEL)[1]
    if true.all():
        assert mean_e <= binomial_limits(n, worlds.LEVEL)[1]
        assert (pooled > binomial_limits(len(keys), worlds.LEVEL)[1]) == (law == "shared factor")
    # A share in [0, 1] of mean at most the level exceeds any bound less often than a coin of that probability.
    assert np.sum(shares) <= binomial_limits(n, worlds.LEVEL)[1]


def test_against_other_deletion_models_a_true_claim_would_be_refuted() -> None:
    """What meets epsilon = 1 for all sets is refuted at most at the level against reference models alone."""
    n, models, study = 40, 1500, worlds.Study(records=1)
    wrong = right = 0
    for i in range(n):
        rng = np.random.default_rng([5, i])
        status, deletion = worlds.status_of(models, 1, rng)
        outputs = worlds.numbers(worlds.chances(status, deletion, "exchangeable"), "exchangeable", rng)
        unlearned, fitting = deletion[:, None] & (status == Status.FORGOTTEN), worlds.fitted(deletion, rng)
        for is_wrong, others in (
            (True, deletion[:, None] & (status == Status.ABSENT)),
            (False, ~deletion[:, None] & (status != Status.RETAINED)),
        ):
            rejected = study.rows(outputs, unlearned, others, fitting, rng).p_value[0] <= worlds.LEVEL
            wrong, right = wrong + (is_wrong and rejected), right + (not is_wrong and rejected)
    print(f"of {n}: {wrong} refuted against other deletion models, {right} against reference models")
    assert wrong >= 0.9 * n
    assert right <= binomial_limits(n, worlds.LEVEL)[1]
