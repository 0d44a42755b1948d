"""Decide on the fit split what will be counted: the attack's fit, and the event and row of the claim to test.

Thresholds are chosen on cross-fitted scores: on the trials that it was fitted on, a learned attack looks better than
it is, and a threshold chosen there misses its false-positive rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import Attack, AttackContext, FittedAttack
from audit.bounds import score_statistic
from audit.counts import Counts
from audit.result import Tail
from audit.trials import score, worker_limits
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile
from mechanisms.errors import UnlearnAuditError

Array = NDArray[np.float64]
N_FOLDS = 2
# Candidate thresholds: quantiles of the pooled fit scores, dense in both tails.
CANDIDATE_LEVELS = np.unique(
    np.concatenate([np.linspace(0.02, 0.98, 49), np.geomspace(5e-4, 0.02, 12), 1 - np.geomspace(5e-4, 0.02, 12)])
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event to count and the point of the claim to test with it; fixed before counting."""

    point: EpsilonDelta
    direction: Direction
    tail: Tail
    threshold: float

    def count(self, unlearned: Array, retrained: Array) -> Counts:
        """Return how often the event occurs among scores of both worlds."""
        k1, k0 = (int(np.count_nonzero(scores > self.threshold)) for scores in (unlearned, retrained))
        counts = Counts(k_unlearned=k1, n_unlearned=len(unlearned), k_retrained=k0, n_retrained=len(retrained))
        return counts if self.tail == "upper" else counts.complement()


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedAttack:
    """A fitted attack with its cross-fitted scores on the fit split, or the sentence that says why it failed."""

    name: str
    fitted: FittedAttack | None
    unlearned: Array
    retrained: Array
    failure: str | None = None


def prepare(
    attack: Attack, unlearned: Array, retrained: Array, context: AttackContext, rng: np.random.Generator
) -> PreparedAttack:
    """Fit an attack on the whole fit split, and score that split by cross-fitting."""
    with worker_limits():
        try:
            fitted = attack.fit(unlearned, retrained, context, rng=rng)
            scores = _cross_fitted(attack, unlearned, retrained, context, rng)
        except UnlearnAuditError as error:
            return _failed(attack, str(error))
        except Exception as error:
            return _failed(attack, f"fitting raised {type(error).__name__}: {error}")
    if isinstance(scores, str):
        return _failed(attack, scores)
    return PreparedAttack(name=attack.name, fitted=fitted, unlearned=scores[0], retrained=scores[1])


def _failed(attack: Attack, message: str) -> PreparedAttack:
    return PreparedAttack(name=attack.name, fitted=None, unlearned=np.empty(0), retrained=np.empty(0), failure=message)


def _cross_fitted(
    attack: Attack, unlearned: Array, retrained: Array, context: AttackContext, rng: np.random.Generator
) -> tuple[Array, Array] | str:
    """Return scores of the fit split by attacks that never saw the trial they score, or a failure's message."""
    results = tuple(np.empty(len(trials)) for trials in (unlearned, retrained))
    folds = tuple(rng.permutation(len(trials)) % N_FOLDS for trials in (unlearned, retrained))
    for fold in range(N_FOLDS):
        rest = [trials[f != fold] for trials, f in zip((unlearned, retrained), folds, strict=True)]
        fitted = attack.fit(rest[0], rest[1], context, rng=rng)
        for trials, f, result in zip((unlearned, retrained), folds, results, strict=True):
            outcome = score(fitted, trials[f == fold])
            if isinstance(outcome, str):
                return outcome
            result[f == fold] = outcome
    return results[0], results[1]


def candidate_thresholds(unlearned: Array, retrained: Array) -> Array:
    """Return increasing distinct thresholds at fixed quantiles of the pooled fit scores."""
    return np.unique(np.quantile(np.concatenate([unlearned, retrained]), CANDIDATE_LEVELS))


def choose_event(prepared: PreparedAttack, points: Sequence[tuple[Direction, EpsilonDelta]]) -> Event:
    """Return the event and point with the largest score statistic on the fit split.

    Searches every candidate threshold, both tails, and every given (direction, point).
    """
    thresholds = candidate_thresholds(prepared.unlearned, prepared.retrained)
    above = [_n_above(scores, thresholds) for scores in (prepared.unlearned, prepared.retrained)]
    sizes = (len(prepared.unlearned), len(prepared.retrained))
    epsilons = np.array([point.epsilon for _, point in points])
    deltas = np.array([point.delta for _, point in points])
    swapped = np.array([direction is Direction.RETRAINED_FROM_UNLEARNED for direction, _ in points])
    best: tuple[float, Event] | None = None
    tails: tuple[Tail, Tail] = ("upper", "lower")
    for tail in tails:
        ku, kr = (k if tail == "upper" else n - k for k, n in zip(above, sizes, strict=True))
        k1, n1, k0, n0 = _orient(ku, kr, sizes, swapped)
        z = score_statistic(k1, n1, k0, n0, epsilon=epsilons[:, None], delta=deltas[:, None])
        row, column = np.unravel_index(int(np.argmax(z)), z.shape)
        if best is None or z[row, column] > best[0]:
            direction, point = points[int(row)]
            event = Event(point=point, direction=direction, tail=tail, threshold=float(thresholds[column]))
            best = (float(z[row, column]), event)
    if best is None:
        raise UnlearnAuditError("no point to test: the claim promises nothing finite")
    return best[1]


def _n_above(scores: Array, thresholds: Array) -> NDArray[np.int64]:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right")


def _orient(ku: Any, kr: Any, sizes: tuple[int, int], swapped: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Return (k1, n1, k0, n0) with a row for each point, the null world second."""
    mask = swapped[:, None]
    k1, k0 = np.where(mask, kr, ku), np.where(mask, ku, kr)
    n1, n0 = np.where(mask, sizes[1], sizes[0]), np.where(mask, sizes[0], sizes[1])
    return k1, n1, k0, n0


def claim_rows(claim: Claim) -> tuple[tuple[Direction, EpsilonDelta], ...]:
    """Return every finite point that the claim implies, with its direction."""
    return tuple(
        (direction, point)
        for direction in claim.directions
        for point in claim.points(direction)
        if np.isfinite(point.epsilon) and point.delta < 1
    )


def plan_delta_points(claim: Claim, delta: float) -> tuple[tuple[Direction, EpsilonDelta], ...]:
    """Return the claim's points at the plan's delta; none for a plain (epsilon, delta) claim, which is one row."""
    if not isinstance(claim.guarantee, GaussianDP | PrivacyProfile):
        return ()
    points = ((direction, claim.epsilon_at(delta, direction)) for direction in claim.directions)
    return tuple((d, EpsilonDelta(epsilon=epsilon, delta=delta)) for d, epsilon in points if np.isfinite(epsilon))
