"""Noise that is a function of the retained records and a public pool, and says nothing of who was deleted.

The retained records are fixed, and the deleted one may be any of the pool: the largest exact certificate over the pool
holds for whoever it was. The step size is frozen for all of them too.

References
----------
Heinzler, Malihi, Sanyal 2026, "Less noise, same certificate: retain sensitivity for unlearning" (arXiv:2603.03172).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin, smallest_unlearning_noise
from mechanisms.ridge.reduced.krylov import KrylovSetup, ReducedDeletion, reduce_deletion, same_products

Array = NDArray[np.float64]
# The bound on the curvature is raised by this share, more than the rounding of a singular value.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class PoolNoise:
    """One noise for whoever of a pool was deleted.

    Parameters
    ----------
    sigma_unlearn
        The noise: 0 where the learning noise alone is enough for everybody, infinite where no noise is.
    epsilon
        Largest exact epsilon over the pool at this noise, both directions, rounded up, in nats.
    epsilon_without_unlearning
        The same for the learning noise alone.
    step_size
        The step size that it holds for.
    hardest
        Which record of the pool decides.

    Notes
    -----
    All are functions of the retained records and the pool. ``hardest`` is no property of who was deleted.
    """

    sigma_unlearn: float
    epsilon: float
    epsilon_without_unlearning: float
    step_size: float
    hardest: int


def pool_noise(retained: Dataset, pool: Dataset, mechanism: RidgeLangevin) -> PoolNoise:
    """Return the noise at which deleting any one record of a pool meets the target, or the largest epsilon at a noise.

    Parameters
    ----------
    retained
        The records that stay. Without the deleted one: what is returned may not depend on it.
    pool
        Every record that may have been deleted; public.
    mechanism
        Settings and noise: a number, or a calibration by the route "exact". Without a step size that of 1/L is taken,
        L a bound on the curvature with any record of the pool.

    Raises
    ------
    InvalidInputError
        For an empty pool, a calibration by another route, or the reference ``retrain_only``.

    Notes
    -----
    Exact for each record of the pool, with its numerical error on the safe side. Epsilon falls with the noise for each
    of them, so that the noise of the hardest one serves all; epsilon is evaluated for all of them at what is returned.
    """
    noise, delta = _target(mechanism, pool)
    step_size = mechanism.step_size or _public_step(retained, pool, mechanism.penalty)
    # The laws depend on the retained records by X'X and X'Y alone.
    small = same_products(retained)
    reduced = [_reduced(small, pool, i, mechanism, step_size) for i in range(pool.n_records)]
    alone = np.array([one.epsilon(delta, 0.0) for one in reduced])
    if isinstance(noise, float):
        sigma = noise
    elif alone.max() <= noise.epsilon:
        sigma = 0.0
    elif mechanism.n_unlearn == 0:
        sigma = math.inf
    else:
        sigma = _smallest(reduced, alone, noise, mechanism.sigma_learn)
    finite = 0 < sigma < math.inf
    found = np.array([one.epsilon(delta, sigma) for one in reduced]) if finite else alone
    return PoolNoise(
        sigma_unlearn=sigma,
        epsilon=float(found.max()),
        epsilon_without_unlearning=float(alone.max()),
        step_size=step_size,
        hardest=int(found.argmax()),
    )


def _target(mechanism: RidgeLangevin, pool: Dataset) -> tuple[float | CalibratedNoise, float]:
    noise = mechanism.sigma_unlearn
    if pool.n_records == 0:
        raise InvalidInputError(field="pool", expected="at least one record", got=0, fix="name who may be deleted")
    if mechanism.reference is Reference.RETRAIN_ONLY:
        raise InvalidInputError(
            field="reference",
            expected='"retrain_then_unlearn"',
            got='"retrain_only"',
            fix="epsilon is not monotone in the noise there",
        )
    if not isinstance(noise, CalibratedNoise):
        return float(noise), mechanism.delta
    if noise.route != "exact":
        raise InvalidInputError(
            field="sigma_unlearn.calibrate", expected='"exact"', got=noise.route, fix="certificates here are exact"
        )
    return noise, noise.delta


def _public_step(retained: Dataset, pool: Dataset, penalty: float) -> float:
    """Return 1/L with L at least the curvature of the retained data and any one record of the pool."""
    widest = float(np.linalg.norm(retained.features, 2)) ** 2 + float(np.max(np.sum(pool.features**2, axis=1)))
    return 1 / (widest * (1 + _ROUNDING) + penalty)


def _reduced(
    retained: Dataset, pool: Dataset, record: int, mechanism: RidgeLangevin, step_size: float
) -> ReducedDeletion:
    """Return the compressed deletion of one record of the pool from the retained records and itself."""
    both = Dataset(
        name=retained.name,
        features=np.vstack([retained.features, pool.features[record]]),
        targets=np.vstack([retained.targets, pool.targets[record]]),
        kind=retained.kind,
    )
    setup = KrylovSetup.of(
        both,
        penalty=mechanism.penalty,
        n_learn=mechanism.n_learn,
        n_unlearn=mechanism.n_unlearn,
        sigma_learn=mechanism.sigma_learn,
        step_size=step_size,
    )
    noise = mechanism.sigma_unlearn
    # Where the noise is not known yet the space is chosen at one like that of learning; its error is carried anyway.
    expected = mechanism.sigma_learn if isinstance(noise, CalibratedNoise) else float(noise)
    return reduce_deletion(setup, (retained.n_records,), sigma_unlearn=expected)


def _smallest(reduced: Sequence[ReducedDeletion], alone: Array, noise: CalibratedNoise, sigma_learn: float) -> float:
    """Return the smallest noise that meets the target for all: that of the hardest, until nobody is above it."""
    sigma, failing = 0.0, alone
    while failing.max() > noise.epsilon:
        hardest = reduced[int(failing.argmax())]
        wanted = smallest_unlearning_noise(partial(hardest.epsilon, noise.delta), noise.epsilon, sigma_learn)
        # Progress at any rate, should two evaluations differ in their last digits.
        sigma = max(wanted.noise, sigma * (1 + 1e-9))
        failing = np.array([one.epsilon(noise.delta, sigma) for one in reduced])
    return sigma
