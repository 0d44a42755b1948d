"""Capital won against a claim by release after release: an e-process, valid whenever one stops.

In the flow: each release of a service is given a batch of candidates drawn by lot; :mod:`audit.lots.auditing` turns
it into one p-value of "tells nothing of the coins", and this module bets on it. What is bet on a release depends on
earlier ones only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.lots.statistics.judging import log_allowed
from audit.plan.ranges import check
from mechanisms.claim import JSON_CONFIG, Claim, EpsilonDelta

# Shares of the capital, and chances of a hit, among which each bet is chosen.
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
_FIRST_SHARE = 0.5
# The first bet wins the game alone where it is won.
_FIRST_CHANCE = 0.4
_BOUND_STEPS = 60
_LARGEST_EPSILON = 1e6


@dataclass(frozen=True, kw_only=True)
class Bet:
    """One release: what was bet before it was seen, and what it showed.

    Parameters
    ----------
    log_chance
        Logarithm of a: a hit is a release whose p-value is at most this.
    share
        Part of the capital that was bet, in [0, 1].
    log_p
        Logarithm of the release's p-value of "tells nothing of the coins".
    """

    __pydantic_config__ = JSON_CONFIG
    log_chance: float
    share: float
    log_p: float

    def __post_init__(self) -> None:
        check("log_chance", self.log_chance, low=-math.inf, high=0.0, finite=False)
        check("share", self.share, high=1.0)
        check("log_p", self.log_p, low=-math.inf, high=0.0, finite=False)

    @property
    def hit(self) -> bool:
        """Whether the release told so much of the coins."""
        return self.log_p <= self.log_chance


def next_bet(past: Sequence[Bet], claim: Claim, significance: float) -> tuple[float, float]:
    """Return (log a, share) for the next release, from earlier ones alone.

    Parameters
    ----------
    past
        Releases so far.
    claim
        What is claimed.
    significance
        Capital of its inverse refutes.

    Notes
    -----
    The first: a chance so small that one hit refutes. Later: whatever would have grown the capital most, had a release
    more of each kind been seen. Any rule that looks at the past only is valid.

    References
    ----------
    Waudby-Smith, Ramdas 2024 (arXiv:2010.09686), section 4, for bets that are learned on the way.
    """
    first = _chance_for(claim, math.log(_FIRST_CHANCE * significance))
    if not past:
        return first, _FIRST_SHARE
    log_ps = np.asarray([bet.log_p for bet in past])
    best, chosen = -math.inf, (first, _FIRST_SHARE)
    for log_a in (first, *(float(value) for value in log_ps)):
        log_most = log_allowed(claim, log_a)
        rate = (float(np.sum(log_ps <= log_a)) + 0.5) / (len(log_ps) + 1)
        for share in _SHARES if log_most < 0 else ():
            grown = rate * _log_factor(True, share, log_most) + (1 - rate) * _log_factor(False, share, log_most)
            if grown > best:
                best, chosen = grown, (log_a, share)
    return chosen


def log_capital(bets: Sequence[Bet], claim: Claim) -> tuple[float, ...]:
    """Return the logarithm of the capital after each release; where the claim holds its mean never exceeds 1.

    Parameters
    ----------
    bets
        In the order of the releases.
    claim
        What is claimed of each release, given those before.

    References
    ----------
    Ville 1939, *Étude critique de la notion de collectif*: above 1/significance EVER with that probability at most.
    """
    total, found = 0.0, []
    for bet in bets:
        total += _log_factor(bet.hit, bet.share, log_allowed(claim, bet.log_chance))
        found.append(total)
    return tuple(found)


def running_bound(bets: Sequence[Bet], *, delta: float, significance: float) -> float:
    """Return a lower bound on epsilon that holds after every release at once, at least 0.

    Parameters
    ----------
    bets
        In the order of the releases.
    delta
        At which the bound is stated.
    significance
        Probability that it is ever wrong.

    Notes
    -----
    The capital against a smaller epsilon is larger at every time, so the bound is the largest epsilon against which the
    capital has ever reached 1/significance; an epsilon that is true is exceeded with at most that probability.

    References
    ----------
    Ville 1939, as for :func:`log_capital`.
    """

    def refuted(epsilon: float) -> bool:
        claim = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))
        return max(log_capital(bets, claim), default=0.0) >= -math.log(significance)

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) and high < _LARGEST_EPSILON:
        low, high = high, 2 * high
    for _ in range(_BOUND_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def _chance_for(claim: Claim, log_most: float) -> float:
    """Return log a, the largest of a grid at which the claim allows a hit with no more than a chance; else tiny."""
    grid = np.linspace(0.0, 200.0, 2001)
    allowed = [log_allowed(claim, -float(step)) for step in grid]
    fitting = [step for step, log_chance in zip(grid, allowed, strict=True) if log_chance <= log_most]
    # Where nothing fits no bet can win, and any will do.
    return -float(fitting[0]) if fitting else -float(grid[-1])


def _log_factor(hit: bool, share: float, log_most: float) -> float:
    """Return the logarithm of what the capital is multiplied by; nothing is bet where the claim allows everything."""
    if log_most >= 0.0:
        return 0.0
    kept = math.log1p(-share) if share < 1 else -math.inf
    if not hit:
        return kept
    won = math.log(share) - log_most if share > 0 else -math.inf
    return float(np.logaddexp(kept, won))
