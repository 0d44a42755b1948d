"""The constrained score of one point claim, and where it reaches a given value.

In the flow: attacks' events are ranked by it on the fit split, and ``audit.statistics.joint_test`` makes an exact test
of it. An event occurred k1 times in n1 trials of the world on the left of the claim and k0 times in n0 trials of the
world on its right, and the null says ``p1 <= e^epsilon p0 + delta``. The score z compares the estimates, with a
variance at the pair of probabilities that fits best on the boundary of the null.

The exact test rests on one lemma, which holds wherever z > 0: *z does not decrease in k1, and does not increase in
k0 or epsilon*. Write c = e^epsilon, a = k0/n0, (P, p) for the constrained estimate, Q = 1 - P, q = 1 - p,
``L = n1 (k1/n1 - P) / (P Q) = n0 (p - a) / (c p q) > 0`` (its stationarity), ``A = n1 + L (1 - 2P) >= 0`` and
``B = n0 - c L (1 - 2p) >= 0``. Then ``z^2 = L^2 (P Q / n1 + c^2 p q / n0)``, and differentiating through the
estimate shows that the derivatives in k1, -k0 and -epsilon have the signs of
``c^2 A + B (c^2 n1/n0 + 2 P Q / (p q))``, ``2 c^2 A p q / (P Q) + B + A n0/n1`` and
``c^2 p A (1 + B/n0) / (P Q) + A B / (n1 q) + c L A / n1 + B a / (p q)``. None is negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Below this difference (in events) a boundary counts as reached, so that ties never fall out of a region.
_TIE = 1e-6
# Relative length of Newton steps from which on they halve at least.
_NEAR = 1e-9


def score_statistic(
    k1: ArrayLike, n1: ArrayLike, k0: ArrayLike, n0: ArrayLike, *, epsilon: ArrayLike, delta: ArrayLike
) -> Floats:
    """Return the constrained score z of ``p1 <= e^epsilon p0 + delta``; large values speak against the claim.

    Parameters
    ----------
    k1, n1
        Occurrences (need not be whole) and trials in the world on the left of the claim.
    k0, n0
        The same in the world on its right.
    epsilon, delta
        The point. All arguments are broadcast together.

    Returns
    -------
    numpy.ndarray
        z, asymptotically at most standard normal under the claim. 0 where the estimated variance is 0: the null
        then fits perfectly, or (delta = 1) is never violated.

    Notes
    -----
    Use it to choose an event on data that do not count. It is no p-value: :mod:`audit.statistics.bounds` makes one.
    """
    k1, n1, k0, n0, epsilon, delta = (np.asarray(x, dtype=np.float64) for x in (k1, n1, k0, n0, epsilon, delta))
    # Past e^50 nothing is ever refuted; the cap keeps the arithmetic finite.
    c = np.exp(np.minimum(epsilon, 50.0))
    k1, n1, k0, n0, c, delta = np.broadcast_arrays(k1, n1, k0, n0, c, delta)
    p0 = boundary_estimate(k1, n1, k0, n0, c=c, delta=delta)
    p1 = np.clip(c * p0 + delta, 0.0, 1.0)
    variance = p1 * (1 - p1) / n1 + c * p0 * (c * (1 - p0)) / n0
    difference = k1 / n1 - c * (k0 / n0) - delta
    z: Floats = np.divide(difference, np.sqrt(variance), out=np.zeros(c.shape), where=variance > 0)
    return z


def boundary_estimate(k1: Floats, n1: Floats, k0: Floats, n0: Floats, *, c: Floats, delta: Floats) -> Floats:
    """Return the maximum-likelihood p0 on the line p1 = c p0 + delta.

    Notes
    -----
    The likelihood is log-concave on the line. Its derivative, cleared of denominators, is a cubic whose middle
    root is the estimate; it lies between the two unconstrained estimates of p0, and Newton steps inside that
    bracket remove what the closed form loses to cancellation.
    """
    end = np.minimum((1 - delta) / c, 1.0)
    direct, implied = k0 / n0, np.clip((k1 / n1 - delta) / c, 0.0, end)
    low, high = np.minimum(direct, implied), np.minimum(np.maximum(direct, implied), end)
    low = np.minimum(low, end)
    # In units of u = c p, so that the coefficients stay of one size when c is large.
    excess = k1 - n1 * delta
    cubic = np.stack(
        [
            (n1 + n0) / c,
            -(excess / c + n1 + k0 + n0 * (1 - 2 * delta) / c),
            excess + k0 * (1 - 2 * delta) - n0 * delta * (1 - delta) / c,
            k0 * delta * (1 - delta),
        ]
    )
    estimate: Floats = _falling_root(cubic.reshape(4, -1), (low * c).ravel(), (high * c).ravel()).reshape(c.shape) / c
    return np.minimum(estimate, end)


def _falling_root(cubic: Floats, low: Floats, high: Floats) -> Floats:
    """Where cubics with real roots, coefficients of shape (4, m), fall through zero inside a bracket."""
    root = np.clip(_middle_root(*cubic), low, high)
    active, last = np.arange(root.size), np.full(root.size, np.inf)
    for _ in range(200):
        a3, a2, a1, a0 = cubic[:, active]
        u, below, above = root[active], low[active], high[active]
        value, slope = ((a3 * u + a2) * u + a1) * u + a0, (3 * a3 * u + 2 * a2) * u + a1
        below, above = np.where(value >= 0, u, below), np.where(value <= 0, u, above)
        new = u - np.divide(value, slope, out=np.full(u.shape, np.inf), where=slope < 0)
        new = np.where((new >= below) & (new <= above), new, (below + above) / 2)
        low[active], high[active], root[active] = below, above, new
        step = np.abs(new - u)
        # Near the root Newton's steps shrink fast; small ones that do not are rounding, and would go on for ever.
        open_ = (step > 1e-14 * new) & ((step > _NEAR * new) | (step < last / 2))
        active, last = active[open_], step[open_]
        if not active.size:
            break
    return root


def _middle_root(a3: Floats, a2: Floats, a1: Floats, a0: Floats) -> Floats:
    """Middle root of cubics whose roots are real (trigonometric form)."""
    shift = -a2 / (3 * a3)
    spread = np.sqrt(np.maximum(shift * shift - a1 / (3 * a3), 0.0))
    value = ((a3 * shift + a2) * shift + a1) * shift + a0
    scale = 2 * a3 * spread**3
    cosine = np.clip(np.divide(-value, scale, out=np.zeros(value.shape), where=scale > 0), -1.0, 1.0)
    root: Floats = shift + 2 * spread * np.cos(np.arccos(cosine) / 3 - 2 * np.pi / 3)
    return root


def first_rejecting(z: ArrayLike, k0: ArrayLike, *, n1: int, n0: int, epsilon: float, delta: float) -> Floats:
    """Return, for each k0, the smallest whole k1 whose score is at least z; n1 + 1 where there is none.

    Parameters
    ----------
    z, k0
        Scores, at least 1e-6 (below, rounding hides the boundary), and occurrences in the world on the right of the
        claim (need not be whole); broadcast together.
    n1, n0
        Trials of the worlds on the left and the right of the claim.
    epsilon, delta
        The point.

    Notes
    -----
    For each k0 the score rises with the constrained estimate p of p0, and p determines k1 in closed form, so one
    root in p replaces a search over k1. A score that is z up to rounding counts as reached.
    """
    c = float(np.exp(epsilon))
    end = min((1 - delta) / c, 1.0)
    z, k0 = (np.array(x) for x in np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(k0, np.float64)))
    first = np.full(k0.shape, n1 + 1.0)
    possible = k0 / n0 < end
    z, direct = z[possible], k0[possible] / n0
    # At k0 = 0 the estimate sticks to p = 0 while few k1 are seen; there the score is linear in k1.
    sticks = (direct == 0) & (z * c * np.sqrt(n1) <= n0 * np.sqrt(delta * (1 - delta)))
    p = np.zeros(direct.shape)
    p[~sticks] = _estimate_at_score(z[~sticks], direct[~sticks], n1=n1, n0=n0, c=c, delta=delta, end=end)
    reached = np.isfinite(p)
    p[~reached] = 0.0
    p1 = c * p + delta
    variance = p1 * np.maximum(1 - p1, 0.0)
    gap = np.divide(n0 * (p - direct) * variance, c * p * (1 - p), out=z * np.sqrt(n1 * variance), where=p > 0)
    first[possible] = np.where(reached, np.clip(np.ceil(n1 * p1 + gap - _TIE), 1, n1 + 1), n1 + 1)
    return first


def _estimate_at_score(z: Floats, direct: Floats, *, n1: int, n0: int, c: float, delta: float, end: float) -> Floats:
    """Constrained estimate p at which the score is z > 0, for each k0/n0 = direct < end; inf where it never is."""

    def score_and_slope(p: Floats, a: Floats) -> tuple[Floats, Floats]:
        variance, p1 = p * (1 - p), np.minimum(c * p + delta, 1.0)
        excess = (n0 / n1) * p1 * (1 - p1) / c / (c * variance)
        log_slope = 1 / (p - a) - (1 - 2 * p) / (2 * variance)
        log_slope += ((n0 / n1) * (1 - 2 * p1) / (c * variance) - excess * (1 - 2 * p) / variance) / (2 + 2 * excess)
        score = (p - a) * np.sqrt(n0 * (1 + excess) / variance)
        return score, score * log_slope

    # Where z > 0 the estimate lies strictly above k0/n0; at ``end`` every release of the left world is an event.
    top = (end - direct) * np.sqrt(n0 / (end * (1 - end))) if end < 1 else np.full(direct.shape, np.inf)
    low, high = direct.copy(), np.full(direct.shape, end)
    # Without the other world's variance the root would be Wilson's upper limit.
    wilson = direct + (z * z / 2 + z * np.sqrt(n0 * direct * (1 - direct) + z * z / 4)) / (n0 + z * z)
    p = np.minimum(wilson, (direct + end) / 2)
    active = np.flatnonzero(top >= z)
    for _ in range(200):
        if not active.size:
            break
        x = p[active]
        score, slope = score_and_slope(x, direct[active])
        low[active] = below = np.where(score < z[active], x, low[active])
        high[active] = above = np.where(score < z[active], high[active], x)
        new = x - np.divide(score - z[active], slope, out=np.full(x.shape, np.inf), where=slope > 0)
        new = np.where((new >= below) & (new <= above), new, (below + above) / 2)
        p[active] = new
        # Newton's error is quadratic in its last step.
        active = active[np.abs(new - x) > 1e-11 * new]
    return np.where(top >= z, p, np.inf)
