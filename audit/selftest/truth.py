"""The truth about a seeded fault: its exact curve where both worlds are Gaussian, else one of many oracle trials.

For the self-test alone. The auditor's statistics never see it: it says what an audit should find.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.quadratic.clouds import Qda
from audit.gathering.selection import PreparedAttack, choose_for_bound
from audit.running.binding import make_context
from audit.statistics.bounds import exact_joint_bound
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, Direction
from mechanisms.faulty.problems import BoundFault
from mechanisms.protocol import World

Array = NDArray[np.float64]
Method = Literal["exact", "oracle trials"]
# Level of a true epsilon that is bounded by trials.
ORACLE_LEVEL = 0.01
# Log deltas of a claim's rows and of the exact profile may differ by their rounding.
_ROUNDING = 1e-6
_CHUNK = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What is true of a faulty service.

    Parameters
    ----------
    method
        "exact", from the service's own Gaussian laws, or "oracle trials".
    fpr, tpr
        Nested events, from the impossible to the certain one, in the retrained and in the unlearned world: of the
        most powerful attack where the laws or the densities are known, else of a Gaussian log ratio that was fitted
        to as many trials again.
    epsilon
        Of (delta, direction), in nats: exact, or a lower bound that holds with probability 1 - ``ORACLE_LEVEL``.
    holds
        Whether the claim is exactly true; ``None`` where that is not known.
    constant
        Whether the unlearned world always releases the same model.
    """

    method: Method
    fpr: Array
    tpr: Array
    epsilon: Callable[[float, Direction], float]
    holds: bool | None
    constant: bool = False


def truth_of(bound: BoundFault, *, n_oracle: int, rng: np.random.Generator) -> Truth:
    """Return the truth about a bound fault.

    Parameters
    ----------
    bound
        The fault.
    n_oracle
        Trials of each world that count where the laws are not Gaussian, and as many again that fit.
    rng
        Draws them.
    """
    laws = bound.deletion.service.laws()
    if laws is None:
        return _from_trials(bound, n_oracle, rng)
    pair = GaussianPair.from_laws(*laws)
    fpr, fnr = pair.trade_off()
    certain = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])

    def epsilon(delta: float, direction: Direction) -> float:
        return _side(pair, direction).epsilon(delta)

    return Truth(
        method="exact",
        fpr=certain[0] if pair.disjoint else fpr,
        tpr=certain[1] if pair.disjoint else 1 - fnr,
        epsilon=epsilon,
        holds=holds_exactly(bound.claim, pair),
        constant=not laws[0].covariance.any(),
    )


def _side(pair: GaussianPair, direction: Direction) -> GaussianPair:
    return pair if direction is Direction.UNLEARNED_FROM_RETRAINED else pair.reversed()


def holds_exactly(claim: Claim, pair: GaussianPair) -> bool:
    """Return whether every row of a claim is at least the exact delta there."""
    for direction in claim.directions:
        points = [point for point in claim.points(direction) if math.isfinite(point.epsilon) and point.delta > 0]
        exact = np.asarray(_side(pair, direction).log_delta(np.array([point.epsilon for point in points])))
        if np.any(exact > np.log([point.delta for point in points]) + _ROUNDING):
            return False
    return True


def _from_trials(bound: BoundFault, n: int, rng: np.random.Generator) -> Truth:
    unlearned, retrained = (_drawn(bound, world, 2 * n, rng) for world in (World.UNLEARNED, World.RETRAINED))
    score = _oracle(bound, unlearned[:n], retrained[:n], rng)
    first = PreparedAttack(name="oracle", fitted=None, unlearned=score(unlearned[:n]), retrained=score(retrained[:n]))
    p, q = score(unlearned[n:]), score(retrained[n:])
    # Events "score above", from none to all; one trial in five hundred steps is fine enough for a power.
    thresholds = np.unique(np.quantile(np.concatenate([p, q]), np.linspace(0, 1, 501)))[::-1]
    fpr, tpr = (np.array([0.0, *((s > t).mean() for t in thresholds), 1.0]) for s in (q, p))

    def epsilon(delta: float, direction: Direction) -> float:
        event = choose_for_bound(first, delta=delta, direction=direction, n_counted=(n, n), level=ORACLE_LEVEL)
        return exact_joint_bound(event.count(p, q), delta=delta, direction=direction, level=ORACLE_LEVEL)

    return Truth(method="oracle trials", fpr=fpr, tpr=tpr, epsilon=epsilon, holds=None)


def _drawn(bound: BoundFault, world: World, n: int, rng: np.random.Generator) -> Array:
    sizes = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
    return np.concatenate([bound.deletion.sample(world, size, rng=rng) for size in sizes])


def _oracle(
    bound: BoundFault, unlearned: Array, retrained: Array, rng: np.random.Generator
) -> Callable[[Array], Array]:
    """Return the exact log likelihood ratio, or a Gaussian one that is fitted to the trials."""
    service = bound.deletion.service
    if service.oracle(unlearned[:1]) is not None:
        return lambda releases: np.asarray(service.oracle(releases))
    context = make_context(bound.deletion, bound.data, bound.forget)
    return Qda().fit(unlearned, retrained, context, rng=rng).score
