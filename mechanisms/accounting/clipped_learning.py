"""Gaussian DP that the noise of clipped learning gives, whatever is done to the learned model afterwards.

In the flow: :mod:`mechanisms.networks.langevin` asks for the number of its own settings; ``gdp`` turns it into epsilon.

References
----------
Dong, Roth, Su 2022, "Gaussian differential privacy", Corollary 2 (arXiv:1905.02383), for composition; Abadi et al.
2016, "Deep learning with differential privacy" (arXiv:1607.00133), for clipping; Koskela, Tobaben, Honkela 2022,
"Individual privacy accounting with Gaussian differential privacy" (arXiv:2209.15596), for the individual filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from mechanisms.accounting import gdp
from mechanisms.errors import require

# Share by which a gradient that was clipped in numbers of 32 bits may exceed its radius, some hundred roundings of
# 6e-8 each; every mu is raised by it.
ROUNDING = 1e-5


def learning_noise_mu(
    *, step_size: float, clip_norm: float, n_steps: int, divisor: int, sigma: float, n_deleted: int = 1
) -> float:
    """Return the mu of deleting records that steps of clipped gradients with noise have learned, rounded up.

    A step is ``weights -= step_size / divisor * sum_i clip(gradient_i) + sigma * Z``.

    Parameters
    ----------
    step_size, clip_norm
        Positive; a clipped gradient is at most ``clip_norm`` long.
    n_steps
        At least 0.
    divisor
        What sums of gradients are divided by: the same number in both worlds.
    sigma
        Standard deviation of the noise that a step adds to each weight, at least 0.
    n_deleted
        How many records are removed at once. Replacing them doubles mu.

    Returns
    -------
    float
        ``n_deleted step_size clip_norm sqrt(n_steps) / (divisor sigma)``; infinite for steps without noise.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.

    Notes
    -----
    Given all weights so far, a step without the records differs by a vector of at most ``n_deleted step_size clip_norm
    / divisor``, which the step's own noise hides at that over sigma; steps compose by the root of the sum of squares,
    in both directions. Reached where all these vectors have full length and one direction. It covers the whole path,
    and so all that is computed from it without the records.

    Examples
    --------
    >>> round(learning_noise_mu(step_size=2.0, clip_norm=1.0, n_steps=200, divisor=1500, sigma=0.0113), 3)
    1.669
    """
    settings = (("step_size", step_size, "the step of learning"), ("clip_norm", clip_norm, "the radius of clipping"))
    for name, value, fix in settings:
        require(0 < value < math.inf, name, expected="positive and finite", got=value, fix=f"give {fix}")
    for name, count, least in (("n_steps", n_steps, 0), ("divisor", divisor, 1), ("n_deleted", n_deleted, 1)):
        require(count >= least, name, expected=f"at least {least}", got=count, fix="give a whole number")
    require(0 <= sigma < math.inf, "sigma", expected="at least 0 and finite", got=sigma, fix="0 means no noise")
    return _raised(step_size, clip_norm * n_deleted * math.sqrt(n_steps), divisor, sigma)


def filtered_mu(budgets: Iterable[float], *, step_size: float, divisor: int, sigma: float) -> float:
    """Return the mu of deleting records that took part in learning within their budgets, rounded up.

    Parameters
    ----------
    budgets
        Of each deleted record: it takes part in a step only while the sum of the squared lengths of its clipped
        gradients, that of this step included, is at most this. Frozen before learning, the same in both worlds.
    step_size, divisor, sigma
        As for :func:`learning_noise_mu`.

    Returns
    -------
    float
        ``step_size sum_i sqrt(budget_i) / (divisor sigma)``; infinite for steps without noise.

    Notes
    -----
    Of one record: given the path, whether any other record takes part is the same in both worlds, and a step differs
    by ``step_size / divisor`` times a vector whose squared lengths sum to at most the budget, whatever the path.
    Continued by a fictitious release that spends what is left, the privacy loss is exactly normal. Sets follow record
    by record. All noisy steps are run, even when nobody takes part.

    References
    ----------
    Koskela, Tobaben, Honkela 2022 (arXiv:2209.15596), Theorem 8; Smith, Thakurta 2022 (arXiv:2202.10209).

    Examples
    --------
    >>> round(filtered_mu([50.0], step_size=2.0, divisor=1500, sigma=0.0113), 3)
    0.834
    """
    return _raised(step_size, math.fsum(math.sqrt(budget) for budget in budgets), divisor, sigma)


def budget_within(epsilon: float, delta: float, *, step_size: float, divisor: int, sigma: float) -> float:
    """Return the largest budget of one record that keeps it within (epsilon, delta), rounded down.

    Parameters
    ----------
    epsilon, delta
        Positive.
    step_size, divisor, sigma
        As for :func:`learning_noise_mu`.

    Examples
    --------
    >>> budget = budget_within(4.0, 1e-5, step_size=2.0, divisor=1500, sigma=0.0113)
    >>> gdp.epsilon(filtered_mu([budget], step_size=2.0, divisor=1500, sigma=0.0113), 1e-5) <= 4.0
    True
    """
    length = gdp.mu(epsilon, delta) * divisor * sigma / (step_size * (1 + ROUNDING))
    # Where the noise is beyond all numbers, any budget will do.
    budget = min(length * length * (1 - 1e-12), 1e300)
    # Both searches round to the safe side, each by its own error.
    while gdp.epsilon(filtered_mu([budget], step_size=step_size, divisor=divisor, sigma=sigma), delta) > epsilon:
        budget *= 1 - 1e-10
    return budget


def _raised(step_size: float, length: float, divisor: int, sigma: float) -> float:
    """Return mu of a sum of gradients whose root of the sum of squared lengths over the steps is at most a number."""
    if length == 0:
        return 0.0
    noise = divisor * sigma
    return step_size * length / noise * (1 + ROUNDING) if noise > 0 else math.inf
