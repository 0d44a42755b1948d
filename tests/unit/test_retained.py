"""Noise for whoever of a pool was deleted: against one deletion after the other, and blind to who it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audit.certificates.certifying import certify, make_request
from mechanisms import CalibratedNoise, Dataset, Reference, RidgeLangevin, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.ridge import RidgeLaws, exact_pair, pool_noise, two_sided_epsilon

TARGET = CalibratedNoise(route="exact", epsilon=0.5)
RIDGE = RidgeLangevin(penalty=1.0, n_learn=20, n_unlearn=5, sigma_learn=0.02, sigma_unlearn=TARGET)


def rows(seed: int, n: int) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return from_arrays(x, x @ [1.0, -1.0, 0.5] + rng.normal(size=n), kind="regression")


def epsilon_of(retained: Dataset, pool: Dataset, record: int, step_size: float, sigma: float) -> float:
    """Exact epsilon of deleting one record of the pool, by dense laws."""
    both = from_arrays(
        np.vstack([retained.features, pool.features[record]]),
        np.vstack([retained.targets, pool.targets[record]]),
        kind="regression",
    )
    process = replace(RIDGE, step_size=step_size).process(both, (retained.n_records,))
    return two_sided_epsilon(exact_pair(RidgeLaws.of(process).with_noise(sigma)), 1e-5)


def test_everybody_of_the_pool_meets_the_target_and_no_smaller_noise_does() -> None:
    retained, pool = rows(1, 15), rows(2, 4)
    found = pool_noise(retained, pool, RIDGE)
    each = [epsilon_of(retained, pool, i, found.step_size, found.sigma_unlearn) for i in range(4)]
    assert max(each) == pytest.approx(found.epsilon, rel=1e-8)
    assert int(np.argmax(each)) == found.hardest
    assert found.epsilon <= 0.5
    assert epsilon_of(retained, pool, found.hardest, found.step_size, 0.99 * found.sigma_unlearn) > 0.5
    # At a given noise: the largest epsilon at it.
    given = pool_noise(retained, pool, replace(RIDGE, sigma_unlearn=found.sigma_unlearn))
    assert given.epsilon == pytest.approx(found.epsilon, rel=1e-12)
    # A larger pool asks for at least as much at the same step, an order for nothing, a duplicate for nothing.
    fixed = replace(RIDGE, step_size=found.step_size)
    smaller = pool_noise(retained, pool.take((0, 1)), fixed)
    assert smaller.sigma_unlearn <= found.sigma_unlearn
    assert pool_noise(retained, pool.take((3, 2, 1, 0, 0)), fixed).sigma_unlearn == pytest.approx(
        found.sigma_unlearn, rel=2e-6
    )


def test_certify_gives_one_noise_to_whoever_was_deleted() -> None:
    """Two data sets that differ in the deleted record alone, both of one pool: the same noise, step and epsilon."""
    retained, pool = rows(3, 12), rows(4, 2)
    others: list[Dataset] = []
    for deleted in (0, 1):
        one, rest = pool.take((deleted,)), pool.take((1 - deleted,))
        features, targets = (
            np.vstack([getattr(part, name) for part in (retained, one)]) for name in ("features", "targets")
        )
        others.append(replace(retained, features=features, targets=targets, held_out=rest))
    found = [
        next(
            r for r in certify(RIDGE, data, make_request(records="12", routes="exact,pool")).routes if r.route == "pool"
        )
        for data in others
    ]
    assert found[0].sigma_unlearn == pytest.approx(found[1].sigma_unlearn, rel=2e-6)
    assert found[0].epsilon == pytest.approx(found[1].epsilon, rel=1e-5)
    assert all(row.exact_epsilon <= row.epsilon * (1 + 1e-9) <= 0.5 * (1 + 1e-9) for row in found)
    assert found[0].exact_epsilon != pytest.approx(found[1].exact_epsilon, rel=1e-3)


def test_what_has_no_such_noise_is_refused() -> None:
    retained, pool = rows(1, 15), rows(2, 3)
    with pytest.raises(InvalidInputError, match="at least one record"):
        pool_noise(retained, pool.take(()), RIDGE)
    with pytest.raises(InvalidInputError, match="retrain_then_unlearn"):
        pool_noise(retained, pool, replace(RIDGE, reference=Reference.RETRAIN_ONLY))
    with pytest.raises(InvalidInputError, match="exact"):
        pool_noise(retained, pool, replace(RIDGE, sigma_unlearn=replace(TARGET, route="published")))
    assert pool_noise(retained, pool, replace(RIDGE, n_unlearn=0)).sigma_unlearn == float("inf")
    assert pool_noise(retained, pool, replace(RIDGE, sigma_unlearn=replace(TARGET, epsilon=1e4))).sigma_unlearn == 0
