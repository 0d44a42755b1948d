"""Estimates that a report prints beside the bounds. They bound nothing and take no part in any verdict.

In the flow: the runner asks for one for each attack, on scores that its fit never saw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.plan.ranges import check
from mechanisms.claim import JSON_CONFIG

Array = NDArray[np.float64]

# As in the unlearning challenge: its delta, and the number of models a side that its scale is known for.
CHALLENGE_DELTA = 1e-5
CHALLENGE_MODELS = 512
N_SPLITS = 21
# Of the upper limit on an attack's advantage: probability that it is too low, for each attack alone.
ADVANTAGE_LEVEL = 0.05
# Scores below 2 to this power have squares whose sum is finite.
_LARGEST_EXPONENT = 480


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one attack's scores look like: estimates, with no guarantee of either direction.

    Parameters
    ----------
    attack
        Whose scores.
    n_unlearned, n_retrained
        Scored trials; none of them fitted the attack.
    mu, mu_se
        Shift of the scores in standard deviations, positive when the unlearned world scores higher, and its standard
        error; ``None`` when the scores of both worlds are constant.
    auc, auc_se
        Probability that an unlearned model scores above a retrained one, ties for half, and its standard error.
    challenge_epsilon
        Epsilon as the unlearning challenge scores one record, with ``challenge_models`` models a side.
    challenge_floor, challenge_floor_high
        The same number for retrained against retrained models (median and largest over repeated splits): what perfect
        unlearning scores with so few models. Epsilon at or below the floor says nothing.
    challenge_models
        Models a side for the three numbers above.
    advantage_high
        Upper confidence limit (95 %, for this attack alone) on the advantage of this attack as it was frozen
        (:func:`advantage_limit`). No limit for another attack, and none on epsilon. ``None`` where the audit stopped
        when decided or trials failed, and in older results.
    """

    __pydantic_config__ = JSON_CONFIG
    attack: str
    n_unlearned: int
    n_retrained: int
    mu: float | None
    mu_se: float | None
    auc: float
    auc_se: float
    challenge_epsilon: float
    challenge_floor: float
    challenge_floor_high: float
    challenge_models: int
    advantage_high: float | None = None

    def __post_init__(self) -> None:
        check("mu", self.mu, low=-math.inf)
        check("mu_se", self.mu_se)
        check("auc", self.auc, high=1.0)
        check("advantage_high", self.advantage_high, high=1.0)
        check("auc_se", self.auc_se)
        for name in ("challenge_epsilon", "challenge_floor", "challenge_floor_high"):
            check(name, getattr(self, name), finite=False)


def estimate(
    attack: str, unlearned: Array, retrained: Array, *, rng: np.random.Generator, is_fixed: bool = True
) -> Estimate:
    """Return estimates from scores that the attack was not fitted on; no bound, of either direction.

    Parameters
    ----------
    attack
        Name of the attack.
    unlearned, retrained
        Scores, shapes (n1,) with n1 >= 1 and (n0,) with n0 >= 2.
    rng
        Splits the retrained scores for the challenge's floor.
    is_fixed
        Whether the number of trials was fixed before the first; else no limit on the advantage holds.

    Notes
    -----
    The challenge's number and its floor are medians over 21 splits, with at most 512 models a side.

    References
    ----------
    As :func:`gaussian_mu`, :func:`auc` and :func:`challenge_epsilon`.
    """
    mu, mu_se = gaussian_mu(unlearned, retrained)
    area, area_se = auc(unlearned, retrained)
    models = min(len(unlearned), len(retrained) // 2, CHALLENGE_MODELS)
    pairs = []
    for _ in range(N_SPLITS):
        left, right = rng.choice(retrained, 2 * models, replace=False).reshape(2, models)
        pairs.append(
            (
                challenge_epsilon(rng.choice(unlearned, models, replace=False), left),
                challenge_epsilon(right, left),
            )
        )
    # N_SPLITS is odd, so the medians are values that occurred, infinite ones included.
    found, floor = (sorted(values) for values in zip(*pairs, strict=True))
    return Estimate(
        attack=attack,
        n_unlearned=len(unlearned),
        n_retrained=len(retrained),
        mu=mu,
        mu_se=mu_se,
        auc=area,
        auc_se=area_se,
        challenge_epsilon=found[N_SPLITS // 2],
        challenge_floor=floor[N_SPLITS // 2],
        challenge_floor_high=floor[-1],
        challenge_models=models,
        advantage_high=advantage_limit(unlearned, retrained) if is_fixed else None,
    )


def estimates_of(
    unlearned: Mapping[str, Array],
    retrained: Mapping[str, Array],
    *,
    rng: np.random.Generator,
    is_fixed: bool = True,
) -> tuple[Estimate, ...]:
    """Return estimates for every attack, in the order of ``unlearned``; no bounds, of either direction.

    Parameters
    ----------
    unlearned, retrained
        Scores by the attack's name, shapes (n1,) with n1 >= 1 and (n0,) with n0 >= 2.
    rng, is_fixed
        As for :func:`estimate`.

    Raises
    ------
    KeyError
        When an attack has no retrained scores.

    References
    ----------
    As :func:`estimate`.
    """
    return tuple(
        estimate(name, scores, retrained[name], rng=rng, is_fixed=is_fixed) for name, scores in unlearned.items()
    )


def advantage_limit(unlearned: Array, retrained: Array, *, level: float = ADVANTAGE_LEVEL) -> float:
    """Return an upper confidence limit on the advantage of the one attack that gave these scores.

    Parameters
    ----------
    unlearned, retrained
        Scores, shapes (n1,) and (n0,), at least one each, of an attack that was frozen before them.
    level
        Probability that the limit is below the advantage, in (0, 1).

    Returns
    -------
    float
        At most 1. The advantage is the largest difference of the two worlds' probabilities of scoring above a
        threshold, over all thresholds and in either direction.

    Notes
    -----
    Holds for every sample size and law. The advantage is reached (or nearly) at some threshold that the law has and
    nobody need know. There the counted difference of rates is a sum of n1 + n0 independent terms with ranges 1/n1 and
    1/n0, so that by Hoeffding it falls short of its mean by more than w = sqrt((1/n1 + 1/n0) ln(1/level) / 2) with
    probability at most ``level``; and the largest counted difference is no smaller than that one. The search over
    thresholds therefore costs nothing here, where it would cost a correction in a lower bound.

    References
    ----------
    Hoeffding 1963, "Probability inequalities for sums of bounded random variables", JASA 58, theorem 2.
    """
    n1, n0 = len(unlearned), len(retrained)
    thresholds = np.concatenate([unlearned, retrained])
    below = [np.searchsorted(np.sort(scores), thresholds, side="right") for scores in (unlearned, retrained)]
    largest = float(np.max(np.abs(below[0] / n1 - below[1] / n0)))
    return min(1.0, largest + math.sqrt((1 / n1 + 1 / n0) * math.log(1 / level) / 2))


def gaussian_mu(unlearned: Array, retrained: Array) -> tuple[float | None, float | None]:
    """Return the difference of means in pooled standard deviations and its standard error; an estimate.

    Parameters
    ----------
    unlearned, retrained
        Scores, shapes (n1,) and (n0,), at least one each.

    Returns
    -------
    mu, mu_se : float or None
        Positive when the unlearned world scores higher. ``None`` for fewer than three scores in all, and where the
        scores of both worlds are constant.

    Notes
    -----
    For scores N(mu, s^2) against N(0, s^2) this estimates the mu of Gaussian differential privacy. For other laws it
    describes the scores and no privacy. The standard error is the large-sample one,
    sqrt(1/n1 + 1/n0 + mu^2 / (2 (n1 + n0 - 2))).

    References
    ----------
    Hedges, Olkin 1985, *Statistical Methods for Meta-Analysis*, chapter 5.
    Dong, Roth, Su 2022, "Gaussian differential privacy", JRSS B 84 (arXiv:1905.02383).
    """
    n1, n0 = len(unlearned), len(retrained)
    if n1 + n0 < 3:
        return None, None
    unlearned, retrained = _squarable(unlearned, retrained)
    within = float(np.sum((unlearned - unlearned.mean()) ** 2) + np.sum((retrained - retrained.mean()) ** 2))
    if within <= 0:
        return None, None
    mu = float(unlearned.mean() - retrained.mean()) / math.sqrt(within / (n1 + n0 - 2))
    return mu, math.sqrt(1 / n1 + 1 / n0 + mu**2 / (2 * (n1 + n0 - 2)))


def _squarable(unlearned: Array, retrained: Array) -> tuple[Array, Array]:
    """Return scores whose squares are finite: huge ones are divided by a power of two, which changes no ratio."""
    _, exponent = np.frexp(max(np.abs(unlearned).max(), np.abs(retrained).max()))
    if exponent < _LARGEST_EXPONENT:
        return unlearned, retrained
    return np.ldexp(unlearned, -exponent), np.ldexp(retrained, -exponent)


def auc(unlearned: Array, retrained: Array) -> tuple[float, float]:
    """Return the area under the ROC curve, ties for half, and its standard error; an estimate.

    Parameters
    ----------
    unlearned, retrained
        Scores, shapes (n1,) and (n0,), at least one each.

    Returns
    -------
    auc, auc_se : float
        The area is above 1/2 when unlearned models score higher.

    Notes
    -----
    Asymptotic. The variance is the spread of each trial's placement among the other world's. It is zero when the scores
    do not overlap, and then says nothing; a world with a single trial adds nothing to it.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44.
    """
    n1, n0 = len(unlearned), len(retrained)
    among_retrained = _placements(unlearned, retrained)
    among_unlearned = 1 - _placements(retrained, unlearned)
    variance = sum(
        float(np.var(v, ddof=1)) / n if n > 1 else 0.0 for v, n in ((among_retrained, n1), (among_unlearned, n0))
    )
    return float(among_retrained.mean()), math.sqrt(variance)


def _placements(scores: Array, others: Array) -> Array:
    """Return for each score the share of the others below it, ties for half."""
    ordered, order = np.sort(others), np.argsort(scores)
    # In order, so that neighbours are found in the same part of memory: half the time.
    ranked = scores[order]
    both = np.empty(len(scores), dtype=np.intp)
    both[order] = np.searchsorted(ordered, ranked, side="left") + np.searchsorted(ordered, ranked, side="right")
    placements: Array = both / (2.0 * len(others))
    return placements


def challenge_epsilon(unlearned: Array, retrained: Array, *, delta: float = CHALLENGE_DELTA) -> float:
    """Return epsilon as the unlearning challenge scores one record: an uncorrected maximum, never a bound.

    Parameters
    ----------
    unlearned, retrained
        Scores of the record under the models of both worlds, shapes (n1,) and (n0,), at least one each.
    delta
        In [0, 1]; 1e-5 in the challenge.

    Returns
    -------
    float
        The largest of log((1 - delta - fpr) / fnr) and log((1 - delta - fnr) / fpr) over all thresholds and both
        tails, in nats, at least 0. Events with one empirical rate at zero are left out; infinity when a threshold
        separates the two samples.

    Notes
    -----
    Single thresholds only; the challenge also searches intervals between two, so its own number is at least this.

    References
    ----------
    Triantafillou et al. 2024, "Are we making progress in unlearning?", arXiv:2406.09073.
    """
    thresholds = np.unique(np.concatenate([unlearned, retrained]))
    fpr = 1 - np.searchsorted(np.sort(retrained), thresholds, side="right") / len(retrained)
    fnr = np.searchsorted(np.sort(unlearned), thresholds, side="right") / len(unlearned)
    # The other tail: the event is "score at most the threshold".
    fpr, fnr = np.concatenate([fpr, 1 - fpr]), np.concatenate([fnr, 1 - fnr])
    if np.any((fpr == 0) & (fnr == 0)):
        return math.inf
    kept = (fpr > 0) & (fnr > 0)
    fpr, fnr = fpr[kept], fnr[kept]
    ratios = np.concatenate([(1 - delta - fpr) / fnr, (1 - delta - fnr) / fpr])
    return math.log(max(1.0, float(np.max(ratios, initial=0.0))))
