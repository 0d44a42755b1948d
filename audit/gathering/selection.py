"""Decide on the fit split what will be counted: the attack's fit, and the event and row of the claim to test.

Thresholds are chosen on cross-fitted scores: on the trials that it was fitted on, a learned attack looks better than
it is, and a threshold chosen there misses its false-positive rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from attacks.protocol import Attack, AttackContext, FittedAttack
from audit.gathering.row_by_row import N_TOGETHER, batch_dependence
from audit.records.counts import Counts
from audit.records.evidence import Tail
from audit.statistics.bounds import score_statistic
from audit.statistics.smoothing import rate_above, thresholds_across
from audit.trials.chunks import score
from audit.trials.engines import worker_limits
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP, PrivacyProfile
from mechanisms.errors import UnlearnAuditError

Array = NDArray[np.float64]
N_FOLDS = 2
HALF = N_TOGETHER // 2
# Candidate thresholds: quantiles of the pooled fit scores, dense in both tails.
CANDIDATE_LEVELS = np.unique(
    np.concatenate([np.linspace(0.02, 0.98, 49), np.geomspace(5e-4, 0.02, 12), 1 - np.geomspace(5e-4, 0.02, 12)])
)

# Predicted bounds use a critical value this much larger: estimated rates flatter the best of many events.
_CAUTION = 1.25
# An event refutes all but surely when its predicted score is this far above the critical value.
_SURE_MARGIN = 3.0
# Refuting is hopeless when no event's predicted score is nearer to the critical value than this (power of 5 %), and no
# predicted bound exceeds this share of the claim: by one of the two alone, events that still had power were given up.
_HOPELESS_MARGIN, _HOPELESS_SHARE = 1.645, 0.5
_TINY = 1e-12
# Scores this share apart may be those of equal releases.
_TIE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event to count and the point of the claim to test with it; fixed before counting."""

    point: EpsilonDelta
    direction: Direction
    tail: Tail
    threshold: float

    def count(self, unlearned: Array, retrained: Array) -> Counts:
        """Return how often the event occurs among scores of both worlds."""
        return count_event(self.threshold, self.tail, unlearned, retrained)


def count_event(threshold: float, tail: Tail, unlearned: Array, retrained: Array) -> Counts:
    """Return how often scores of both worlds lie above ("upper") or at most at ("lower") a threshold."""
    k1, k0 = (int(np.count_nonzero(scores > threshold)) for scores in (unlearned, retrained))
    counts = Counts(k_unlearned=k1, n_unlearned=len(unlearned), k_retrained=k0, n_retrained=len(retrained))
    return counts if tail == "upper" else counts.complement()


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
    if not (len(unlearned) and len(retrained)):
        return _failed(attack, "every chunk of a world that was to fit it failed")
    with worker_limits():
        try:
            fitted = attack.fit(unlearned, retrained, context, rng=rng)
            scores = _cross_fitted(attack, unlearned, retrained, context, rng)
            said = batch_dependence(fitted, np.concatenate([unlearned[:HALF], retrained[:HALF]]))
        except UnlearnAuditError as error:
            return _failed(attack, str(error))
        except Exception as error:
            return _failed(attack, f"fitting raised {type(error).__name__}: {error}")
    if isinstance(scores, str):
        return _failed(attack, scores)
    if said is not None:
        return _failed(attack, said)
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
    """Return increasing distinct thresholds at fixed quantiles of the pooled fit scores, none of them at a score."""
    pooled = np.concatenate([unlearned, retrained])
    return np.unique(_off_scores(np.quantile(pooled, CANDIDATE_LEVELS), pooled))


def _off_scores(thresholds: Array, scores: Array) -> Array:
    """Return thresholds with those at a score moved up to the middle of the next gap.

    Equal releases may score apart in the last digit, as they lie in memory. At a threshold between two scores such
    digits decide nothing.
    """
    ordered, tie = np.sort(scores), _TIE * np.abs(thresholds)
    below = np.searchsorted(ordered, thresholds - tie, side="left")
    above = np.searchsorted(ordered, thresholds + tie, side="right")
    lower, upper = ordered[np.maximum(above - 1, 0)], ordered[np.minimum(above, len(ordered) - 1)]
    # Beyond the largest score there is no gap: any distance above a tie will do.
    gap = np.where(above < len(ordered), upper - lower, np.where(tie > 0, 4 * tie, 2.0))
    return np.asarray(np.where(below < above, lower + gap / 2, thresholds))


def choose_event(
    prepared: PreparedAttack,
    points: Sequence[tuple[Direction, EpsilonDelta]],
    *,
    n_counted: tuple[int, int] | None = None,
    level: float = 0.05,
    horizon: tuple[int, int] | None = None,
) -> Event:
    """Return the event and point that promise most, by smoothed rates on the fit split.

    Parameters
    ----------
    prepared
        A fitted attack with its cross-fitted scores.
    points
        Points of the claim with their directions, at least one.
    n_counted
        Trials of the unlearned and the retrained world that will be counted; as many as fit by default.
    level
        Level of the one test.
    horizon
        The most trials of both worlds that may ever be counted, where more than ``n_counted`` may follow: by these it
        is judged whether refuting is hopeless.

    Raises
    ------
    UnlearnAuditError
        When there is no point.

    Notes
    -----
    Of every candidate threshold, both tails and every point, the one with the largest predicted score. But the event
    with the largest predicted lower bound, which says more,

    * where it refutes the claim, at that point, all but surely as well;
    * where refuting is hopeless: no event is predicted to refute with probability 0.05, and the largest predicted bound
      at that point's delta, of all directions, is positive and below half of what is claimed.
    """
    if not points:
        raise UnlearnAuditError("no point to test: the claim promises nothing finite")
    candidates = _Candidates.of(prepared, n_counted or (len(prepared.unlearned), len(prepared.retrained)))
    z = candidates.scores(points, level=level)
    row, column = np.unravel_index(int(np.argmax(z)), z.shape)
    direction, point = points[int(row)]
    bounds = candidates.predicted_bounds(direction, delta=point.delta, level=level)
    strongest = int(np.argmax(bounds))
    if z[row, strongest] >= -ndtri(level) + _SURE_MARGIN:
        return candidates.event(strongest, direction, point)
    if horizon is None:
        hopeless = _hopeless(candidates, points, point.delta, level, scores=z)
    else:
        far = replace(candidates, n_counted=horizon)
        hopeless = _hopeless(far, points, point.delta, level, scores=far.scores(points, level=level))
    return hopeless or candidates.event(int(column), direction, point)


def _hopeless(
    candidates: _Candidates,
    points: Sequence[tuple[Direction, EpsilonDelta]],
    delta: float,
    level: float,
    *,
    scores: Array,
) -> Event | None:
    """Return the event with the largest predicted bound at a delta where refuting is hopeless; else ``None``."""
    if scores.max() >= -ndtri(level) - _HOPELESS_MARGIN:
        return None
    mine = [(direction, point) for direction, point in points if point.delta == delta]
    bounds = np.stack([candidates.predicted_bounds(d, delta=delta, level=level) for d, _ in mine])
    row, column = np.unravel_index(int(np.argmax(bounds)), bounds.shape)
    direction, point = mine[int(row)]
    if not 0 < bounds[row, column] < _HOPELESS_SHARE * point.epsilon:
        return None
    return candidates.event(int(column), direction, point)


def choose_for_bound(
    prepared: PreparedAttack, *, delta: float, direction: Direction, n_counted: tuple[int, int], level: float
) -> Event:
    """Return the event with the largest predicted lower bound at a delta, where no claim is at stake.

    The event's point is the one at epsilon = 0.
    """
    candidates = _Candidates.of(prepared, n_counted)
    bounds = candidates.predicted_bounds(direction, delta=delta, level=level)
    return candidates.event(int(np.argmax(bounds)), direction, EpsilonDelta(epsilon=0.0, delta=delta))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidates:
    """Events to choose from, "upper" ones first, with the rates that the fit split promises.

    Parameters
    ----------
    thresholds
        Shape (m,).
    unlearned, retrained
        Smoothed probabilities of the 2 m events.
    n_counted
        Trials of the unlearned and the retrained world.
    """

    thresholds: Array
    unlearned: Array
    retrained: Array
    n_counted: tuple[int, int]

    @staticmethod
    def of(prepared: PreparedAttack, n_counted: tuple[int, int]) -> _Candidates:
        pooled = np.concatenate([prepared.unlearned, prepared.retrained])
        inside = candidate_thresholds(prepared.unlearned, prepared.retrained)
        thresholds = np.unique(np.concatenate([inside, _off_scores(thresholds_across(pooled), pooled)]))
        above = [rate_above(scores, thresholds) for scores in (prepared.unlearned, prepared.retrained)]
        unlearned, retrained = (np.concatenate([rate, 1.0 - rate]) for rate in above)
        return _Candidates(thresholds=thresholds, unlearned=unlearned, retrained=retrained, n_counted=n_counted)

    def scores(self, points: Sequence[tuple[Direction, EpsilonDelta]], *, level: float) -> Array:
        """Return the predicted score of every event at every point, a row for each point."""
        epsilons = np.array([[point.epsilon] for _, point in points])
        deltas = np.array([[point.delta] for _, point in points])
        swapped = np.array([[direction is Direction.RETRAINED_FROM_UNLEARNED] for direction, _ in points])
        k1, n1, k0, n0 = self._oriented(swapped)
        return predicted_score(k1, n1, k0, n0, epsilon=epsilons, delta=deltas, level=level)

    def predicted_bounds(self, direction: Direction, *, delta: float, level: float) -> Array:
        """Return roughly the lower bound that every event would give, at a cautious level.

        Wilson's limits of both rates, put together on the logarithmic scale (Zou and Donner 2008): close to the score's
        own limit, in closed form.
        """
        k1, n1, k0, n0 = self._oriented(np.array(direction is Direction.RETRAINED_FROM_UNLEARNED))
        z = -_CAUTION * float(ndtri(level))
        p1, p0 = np.maximum(k1 / n1, _TINY), np.maximum(k0 / n0, _TINY)
        low1, high0 = _wilson(p1, n1, -z), _wilson(p0, n0, z)
        excess, low_excess = np.maximum(p1 - delta, _TINY), np.maximum(low1 - delta, _TINY)
        slack = np.hypot(np.log(excess / low_excess), np.log(high0 / p0))
        return np.asarray(np.log(excess / p0) - slack)

    def event(self, index: int, direction: Direction, point: EpsilonDelta) -> Event:
        """Return one of the events."""
        tail, column = divmod(index, len(self.thresholds))
        tails: tuple[Tail, Tail] = ("upper", "lower")
        return Event(point=point, direction=direction, tail=tails[tail], threshold=float(self.thresholds[column]))

    def _oriented(self, swapped: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
        """Return (k1, n1, k0, n0), expected counts, the null world second."""
        n_u, n_r = self.n_counted
        ku, kr = self.unlearned * n_u, self.retrained * n_r
        k1, k0 = np.where(swapped, kr, ku), np.where(swapped, ku, kr)
        return k1, np.where(swapped, n_r, n_u), k0, np.where(swapped, n_u, n_r)


def predicted_score(
    k1: Array, n1: Array, k0: Array, n0: Array, *, epsilon: ArrayLike, delta: ArrayLike, level: float
) -> Array:
    """Return the score that expected counts promise, for arrays that broadcast.

    Capped where the event is too rare for a normal law: even if the null world never shows it, some number of
    occurrences is needed, and a fraction of one expected occurrence will not do.
    """
    z = score_statistic(k1, n1, k0, n0, epsilon=epsilon, delta=delta)
    odds = np.exp(epsilon) * n1 / n0
    needed = -math.log(level) / np.log1p(1 / odds)
    return np.asarray(np.minimum(z, (k1 - needed) / np.sqrt(np.maximum(k1, _TINY)) - ndtri(level)))


def _wilson(p: Array, n: Array, z: float) -> Array:
    """Return Wilson's upper (z above 0) or lower limit of a rate."""
    spread = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.asarray((p + z * z / (2 * n) + spread) / (1 + z * z / n))


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
