"""How many trials an audit needs: power turned round.

In the flow: planning alone uses this. Trial numbers are those that are counted, in each of the two worlds; a plan
with a fit split needs more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from audit.power.alternatives import Curve
from audit.power.ceilings import ranked_events, refutable
from audit.power.event_power import approximate_power, power
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import InvalidInputError

FEWEST = 2
# Beyond this many trials the answer is "no audit".
MOST = 10**9
_RELATIVE_STEP = 5e-3
# Events whose exact power is computed: those within this distance of the best by the quick form.
_CLOSE_POWER, _EXACT_EVENTS = 0.05, 12


@dataclass(frozen=True, kw_only=True)
class Asymptotic:
    """Normal approximation of both counts, with a floor on the counts of very rare events. Quickest."""


@dataclass(frozen=True, kw_only=True)
class Interpolated:
    """The exact test's boundary, solved for at a few counts and interpolated; power within about .02."""


@dataclass(frozen=True, kw_only=True)
class Enumerated:
    """The exact test at every count of the null world whose variance is at most 50; slow beyond 1,000 trials."""


Accuracy = Asymptotic | Interpolated | Enumerated


def trials_needed(
    claim: Claim,
    alternative: Curve,
    *,
    level: float,
    target_power: float = 0.8,
    accuracy: Accuracy | None = None,
) -> int | None:
    """Return how many trials must be counted in each world to refute a false claim with a given probability.

    Parameters
    ----------
    claim
        The claim under test.
    alternative
        The truth, for example ``gaussian_curve(gaussian_mu(2 * epsilon, delta))``.
    level
        Level of the one test.
    target_power
        Probability of refuting, with the best row and event known in advance.
    accuracy
        How the power is computed; :class:`Interpolated` by default.

    Returns
    -------
    int or None
        ``None`` where a billion trials would not do, in particular where the alternative does not violate the claim.

    Raises
    ------
    InvalidInputError
        For a level or a power outside its range.

    Notes
    -----
    Power moves up and down by a few hundredths from one n to the next, because counts are whole numbers. Returned is
    an n that reaches the power where one that is .5 % smaller (one less, below 400) does not; it is one of several
    such n when n is small. An audit has to find its event on a fit split, and needs more.
    """
    _check("level", level)
    _check("target_power", target_power)
    if level >= target_power:
        return FEWEST
    if not ranked_events(claim, alternative.fpr, alternative.tpr, n=MOST, level=level):
        # No event violates a row that could ever be refuted.
        return None
    reached = _reached(claim, alternative, level, target_power, accuracy or Interpolated())
    guess = FEWEST
    if not isinstance(accuracy, Asymptotic):
        rough = trials_needed(claim, alternative, level=level, target_power=target_power, accuracy=Asymptotic())
        guess = FEWEST if rough is None else rough
    return _first(reached, guess)


def trials_to_refute(claim: Claim, *, level: float) -> int | None:
    """Return the fewest trials in each world of which some outcome would refute a claim; ``None`` where none does.

    Parameters
    ----------
    claim
        The claim under test.
    level
        Level of the one test.

    Notes
    -----
    Exact up to .5 %. With fewer trials the verdict cannot be REFUTED, whatever the truth is.
    """
    _check("level", level)
    points = [p for d in claim.directions for p in claim.points(d) if math.isfinite(p.epsilon) and p.delta < 1]
    lowest = min((_ceiling_trials(point, level) for point in points), default=math.inf)
    if lowest > MOST:
        return None
    # The exact test spends a part of its level on its interval, and so needs a little more than the ceiling's trials.
    return _first(lambda n: refutable(claim, n_unlearned=n, n_retrained=n, level=level), math.ceil(lowest))


def _ceiling_trials(point: EpsilonDelta, level: float) -> float:
    """Trials at which the ceiling equals a point's epsilon: ``audit.statistics.bounds.ceiling`` solved for n."""
    rare = (1 - point.delta) * math.exp(-point.epsilon)
    return math.log(level) / math.log1p(-rare) if 0 < rare < 1 else 1.0 if rare >= 1 else math.inf


def _reached(
    claim: Claim, curve: Curve, level: float, target_power: float, accuracy: Accuracy
) -> Callable[[int], bool]:
    def reached(n: int) -> bool:
        rows = ranked_events(claim, curve.fpr, curve.tpr, n=n, level=level)
        if isinstance(accuracy, Asymptotic):
            return bool(rows) and rows[0][0] >= float(ndtri(target_power))
        return any(_row_power(row[1:], n, level, accuracy, target_power) >= target_power for row in rows)

    return reached


def _row_power(
    row: tuple[EpsilonDelta, np.ndarray, np.ndarray], n: int, level: float, accuracy: Accuracy, target_power: float
) -> float:
    """Largest power over the events of one row."""
    point, p1, p0 = row
    quick = approximate_power(p1=p1, p0=p0, n1=n, n0=n, point=point, level=level)
    if isinstance(accuracy, Interpolated) or abs(float(quick.max()) - target_power) > 0.2:
        return float(quick.max())
    close = np.flatnonzero(quick >= quick.max() - _CLOSE_POWER)
    close = close[:: -(-close.size // _EXACT_EVENTS)]
    return max(power(p1=float(p1[i]), p0=float(p0[i]), n1=n, n0=n, point=point, level=level) for i in close)


def _first(reached: Callable[[int], bool], guess: int) -> int | None:
    """Return a number at which ``reached`` turns true, searched upward or downward from a guess."""
    low, high, step = guess - 1, guess, max(1, guess // 20)
    if reached(guess):
        while low >= FEWEST and reached(low):
            low, high, step = max(FEWEST - 1, low - step), low, 2 * step
    else:
        while not reached(high):
            low, high, step = high, high + step, 2 * step
            if low > MOST:
                return None
    while high - low > max(1, int(_RELATIVE_STEP * high)):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _check(field: str, value: float) -> None:
    if not 0 < value < 1:
        fix = "0.05 is usual" if field == "level" else "0.8 is usual"
        raise InvalidInputError(field=field, expected="in (0, 1)", got=value, fix=fix)
