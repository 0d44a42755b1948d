"""What noisy fine-tuning on the retained records certifies of any model: gradients are clipped, or the model is.

Whatever was learned, both worlds run the same steps on the retained data from two starting points; no loss and no
gradient has to be smooth, for clipping bounds how far two steps can differ.

References
----------
Koloskova et al. 2025, "Certified unlearning for neural networks" (arXiv:2506.06985), for both; the bounds are derived
anew (docs/certificates.md, section 9). Bok, Su, Altschuler 2024 (arXiv:2403.00278), for the first; Balle, Barthe,
Gaboardi 2018, "Privacy amplification by subsampling" (arXiv:1807.01647), Theorem 2, for the second.
"""

from __future__ import annotations

import math

from mechanisms.accounting import gdp
from mechanisms.accounting.shifted_interpolation import gaussian_dp_mu
from mechanisms.errors import require


def gradient_clipping_mu(
    *, start_norm: float, clip_norm: float, step_size: float, n_steps: int, sigma: float, penalty: float = 0.0
) -> float:
    """Return the mu of fine-tuning by clipped gradients from a clipped start, rounded up, in both directions.

    The model is shortened to ``start_norm``; then steps ``w -= step_size (clip(g(w)) + penalty w) + sigma Z`` follow,
    with g any function of the retained data, clipped to ``clip_norm`` after it was averaged.

    Parameters
    ----------
    start_norm, clip_norm
        Lengths of the start and of a gradient, at least 0.
    step_size, n_steps, sigma
        Of the steps; sigma is the standard deviation that each adds to each weight.
    penalty
        At least 0, with ``step_size penalty`` below 1.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.

    Notes
    -----
    Two starts are at most ``2 start_norm`` apart, and two steps bring points apart by at most ``2 step_size
    clip_norm``, beside the contraction of the penalty. Without one, mu is ``2 (start_norm + step_size clip_norm N) /
    (sigma sqrt(N))``, least at :func:`best_n_steps`.

    Examples
    --------
    >>> one = {"start_norm": 1.0, "clip_norm": 0.5, "step_size": 0.1}
    >>> best_n_steps(**one), round(gradient_clipping_mu(**one, n_steps=20, sigma=1.0), 4)
    (20, 0.8944)
    """
    for name, length in (("start_norm", start_norm), ("clip_norm", clip_norm)):
        require(0 <= length < math.inf, name, expected="at least 0 and finite", got=length, fix="give a length")
    require(n_steps >= 1, "n_steps", expected="at least 1", got=n_steps, fix="noise comes with steps")
    require(0 < step_size < math.inf, "step_size", expected="positive and finite", got=step_size, fix="0.1, say")
    kept = 1 - step_size * penalty
    fix = "lower the step size or the penalty"
    require(0 < kept <= 1, "penalty", expected="at least 0, below 1 over the step size", got=penalty, fix=fix)
    return gaussian_dp_mu(
        contraction=kept,
        gaps=[2 * step_size * clip_norm] * n_steps,
        noises=[sigma] * n_steps,
        initial_gap=2 * start_norm,
    )


def best_n_steps(*, start_norm: float, clip_norm: float, step_size: float) -> int:
    """Return the number of steps, at least 1, at which the mu of :func:`gradient_clipping_mu` is least without penalty.

    There it is ``4 sqrt(start_norm step_size clip_norm) / sigma``, but for rounding to a whole number.
    """
    ideal = start_norm / (step_size * clip_norm)
    below = max(1, math.floor(ideal))
    cost = {n: (start_norm + step_size * clip_norm * n) / math.sqrt(n) for n in (below, below + 1)}
    return min(cost, key=lambda n: cost[n])


def model_clipping_log_delta(
    epsilon: float, *, radius: float, n_steps: int, sigma: float, learning_mu: float = math.inf
) -> float:
    """Return the logarithm of a delta that fine-tuning by a clipped model has at epsilon, rounded up; both directions.

    Steps are ``w = clip(w - step_size g(w)) + sigma Z``, with g any function of the retained data and the model clipped
    to length ``radius`` before the noise.

    Parameters
    ----------
    epsilon
        In nats, at least 0.
    radius, n_steps, sigma
        Of the steps.
    learning_mu
        Mu of the learning noise, which the start has already; infinite for none.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.

    Notes
    -----
    Where the laws before a step have delta d at epsilon, they share a part of weight 1 - d; of the rest d each step
    hides a shift of ``2 radius`` at ``epsilon' = log(1 + (e^epsilon - 1) / d)`` (advanced joint convexity), so that
    ``d' = d theta(epsilon')`` with theta the delta of mu = ``2 radius / sigma``. Raising every step to the first one's
    theta would be valid and looser.

    Examples
    --------
    >>> round(model_clipping_log_delta(1.0, radius=0.5, n_steps=1, sigma=1.0) - gdp.log_delta(1.0, 1.0), 9)
    0.0
    """
    require(0 <= epsilon < math.inf, "epsilon", expected="at least 0, finite", got=epsilon, fix="give epsilon in nats")
    require(0 < radius < math.inf, "radius", expected="positive and finite", got=radius, fix="give a length")
    require(0 < sigma < math.inf, "sigma", expected="positive and finite", got=sigma, fix="give a deviation")
    require(n_steps >= 0, "n_steps", expected="at least 0", got=n_steps, fix="give a whole number")
    log_delta, mu = _raised(gdp.log_delta(learning_mu, epsilon)), 2 * radius / sigma
    for _ in range(n_steps):
        if log_delta == -math.inf:
            break
        rest = _log_expm1(epsilon) - log_delta
        further = max(rest, 0.0) + math.log1p(math.exp(-abs(rest))) if rest > -math.inf else 0.0
        # A smaller epsilon has a larger delta: the safe side.
        log_delta = min(log_delta + _raised(gdp.log_delta(mu, further * (1 - 1e-14))), 0.0)
    return min(_raised(log_delta), 0.0)


def _log_expm1(epsilon: float) -> float:
    if epsilon == 0:
        return -math.inf
    return epsilon + math.log(-math.expm1(-epsilon))


def _raised(log_delta: float) -> float:
    return log_delta + gdp.LOG_DELTA_ERROR * max(1.0, abs(log_delta)) if math.isfinite(log_delta) else log_delta
