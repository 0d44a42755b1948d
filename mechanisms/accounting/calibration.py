"""From a target epsilon to the smallest noise that meets it, on the safe side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mechanisms.errors import InvalidInputError, UnreachableTargetError, require

# Each stretch of the bracket multiplies or divides the noise by this; 128 stretches reach any sensible scale.
_STRETCH = 4.0
_LARGEST_LOG = math.log(1e308)
_MAX_STRETCHES = 128
# Stretches in a row without any fall of epsilon before the target counts as out of reach.
_PATIENCE = 8


# From here on an epsilon, in nats, is no promise that anybody could use.
_HOPELESS = 1e4


def far_too_little(epsilon: float) -> tuple[str, ...]:
    """Return a sentence for a certificate whose epsilon promises nothing, and none for any other."""
    if epsilon < _HOPELESS:
        return ()
    size = f"epsilon = {epsilon:.3g}" if math.isfinite(epsilon) else "no finite epsilon"
    return (f"There is far too little noise: {size} promises nothing.",)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The noise that meets a target.

    Parameters
    ----------
    noise
        Smallest noise found, a standard deviation; 0 when none is needed.
    epsilon
        Epsilon evaluated at exactly that noise, at most the target, in nats.
    epsilon_without_noise
        Epsilon at noise 0, possibly infinite: what is already there before this mechanism adds anything.
    target
        The epsilon that was asked for, in nats.
    """

    noise: float
    epsilon: float
    epsilon_without_noise: float
    target: float

    @property
    def needed(self) -> bool:
        """Whether any noise had to be added."""
        return self.noise > 0


def smallest_noise(
    epsilon_fn: Callable[[float], float],
    *,
    target: float,
    scale: float,
    floor: float = 0.0,
    maximum: float = math.inf,
    relative_tolerance: float = 1e-6,
) -> Calibration:
    """Return the smallest noise with ``epsilon_fn(noise) <= target``, never a noise that was not evaluated.

    Parameters
    ----------
    epsilon_fn
        Non-increasing function of the noise, in nats; must accept 0 (and may return infinity there).
    target
        Epsilon to meet, at least 0, in nats.
    scale
        Where to start looking, positive and finite; any value works, a near one is faster.
    floor
        Return no positive noise below this one, at least 0 and at most ``maximum``.
    maximum
        Largest noise allowed, positive.
    relative_tolerance
        The returned noise exceeds the smallest one by at most this share, in [1e-14, 1).

    Returns
    -------
    Calibration
        Noise 0 when ``epsilon_fn(0)`` meets the target.

    Raises
    ------
    InvalidInputError
        When an argument is out of range, or ``epsilon_fn`` returns NaN.
    UnreachableTargetError
        When no noise up to ``maximum`` meets the target, or epsilon stops falling before it does.

    Notes
    -----
    As exact as ``epsilon_fn``: an upper bound there gives noise that is larger, never too small. Brackets by factors
    of four from ``scale`` and bisects the logarithm. If ``epsilon_fn`` is not monotone the returned noise still meets
    the target, but need not be the smallest. Where every positive noise tried meets the target and 0 does not, the
    smallest one tried is returned.

    References
    ----------
    Balle, Wang 2018, "Improving the Gaussian mechanism for differential privacy: analytical calibration and optimal
    denoising", section 3 (arXiv:1805.06530): the noise by a numerical search on the exact delta of a Gaussian.

    Examples
    --------
    >>> found = smallest_noise(lambda noise: 1.0 / noise if noise else float("inf"), target=0.5, scale=1.0)
    >>> 2.0 <= found.noise <= 2.0 * (1 + 1e-6), found.epsilon <= 0.5
    (True, True)
    """
    _check(target=target, scale=scale, maximum=maximum, relative_tolerance=relative_tolerance)
    if not 0 <= floor <= maximum:
        raise InvalidInputError(field="floor", expected=f"in [0, {maximum}]", got=floor, fix="0 is no floor")
    without = _evaluated(epsilon_fn, 0.0)
    if without <= target:
        return Calibration(noise=0.0, epsilon=without, epsilon_without_noise=without, target=target)
    if floor > 0 and (epsilon := _evaluated(epsilon_fn, floor)) <= target:
        return Calibration(noise=floor, epsilon=epsilon, epsilon_without_noise=without, target=target)
    low, high, epsilon = _bracket(
        epsilon_fn, target=target, start=min(scale, maximum), maximum=maximum, without=without
    )
    while low > 0 and high > low * (1.0 + relative_tolerance):
        middle = math.sqrt(low) * math.sqrt(high)
        if not low < middle < high:
            break
        value = _evaluated(epsilon_fn, middle)
        if value <= target:
            high, epsilon = middle, value
        else:
            low = middle
    return Calibration(noise=high, epsilon=epsilon, epsilon_without_noise=without, target=target)


def round_up_to_grid(noise: float, ratio: float = 1.25) -> float:
    """Return the smallest power of ``ratio`` that is at least ``noise``: a coarse grid that says less about the record.

    Parameters
    ----------
    noise
        At least 0; 0 and infinity are returned as they are.
    ratio
        Above 1. The grid is ``ratio ** k`` for whole k, the same for every record and data set.

    Raises
    ------
    InvalidInputError
        When an argument is out of range.

    Examples
    --------
    >>> round_up_to_grid(1.1), round_up_to_grid(1.25), round_up_to_grid(0.0)
    (1.25, 1.25, 0.0)
    """
    if not noise >= 0:
        raise InvalidInputError(field="noise", expected="at least 0", got=noise, fix="give a standard deviation")
    if not 1 < ratio < math.inf:
        raise InvalidInputError(field="ratio", expected="above 1", got=ratio, fix="use the default 1.25")
    if noise == 0 or math.isinf(noise):
        return noise
    k = math.ceil(math.log(noise) / math.log(ratio))
    if k * math.log(ratio) > _LARGEST_LOG:
        raise InvalidInputError(
            field="noise",
            expected="below the largest power of ratio that a double can hold",
            got=noise,
            fix="use a finer grid",
        )
    # The logarithms are rounded; the powers themselves decide.
    while ratio**k < noise:
        k += 1
    while ratio ** (k - 1) >= noise:
        k -= 1
    return float(ratio**k)


def _bracket(
    epsilon_fn: Callable[[float], float], *, target: float, start: float, maximum: float, without: float
) -> tuple[float, float, float]:
    """Return (a noise that fails, one that meets the target, epsilon at the latter); the first may be 0."""
    noise, epsilon = start, _evaluated(epsilon_fn, start)
    if epsilon <= target:
        for _ in range(_MAX_STRETCHES):
            below = noise / _STRETCH
            value = _evaluated(epsilon_fn, below)
            if value > target:
                return below, noise, epsilon
            noise, epsilon = below, value
        # Epsilon jumps at 0: no positive noise fails.
        return 0.0, noise, epsilon
    best, idle = min(without, epsilon), 0
    for _ in range(_MAX_STRETCHES):
        if noise >= maximum or idle >= _PATIENCE:
            break
        low, noise = noise, min(noise * _STRETCH, maximum)
        epsilon = _evaluated(epsilon_fn, noise)
        if epsilon <= target:
            return low, noise, epsilon
        # From infinity to infinity nothing is known yet: only a finite plateau is one.
        idle = idle + 1 if math.isfinite(best) and epsilon >= best * (1.0 - 1e-9) else 0
        best = min(best, epsilon)
    limit = (
        f"the largest noise allowed, {maximum:.6g}"
        if noise >= maximum
        else f"a part of epsilon that noise does not lower (it stays there up to noise {noise:.3g})"
    )
    raise UnreachableTargetError(
        f"Expected a target epsilon that some noise meets, got {target:.6g}; the best reachable epsilon is {best:.6g}, "
        f"limited by {limit}; raise the target or lift that limit."
    )


def _evaluated(epsilon_fn: Callable[[float], float], noise: float) -> float:
    epsilon = float(epsilon_fn(noise))
    if math.isnan(epsilon):
        raise InvalidInputError(
            field=f"epsilon_fn({noise:.6g})",
            expected="a number or infinity",
            got="NaN",
            fix="check the mechanism's laws",
        )
    return epsilon


def _check(*, target: float, scale: float, maximum: float, relative_tolerance: float) -> None:
    typical, tolerance = "give a typical noise of the mechanism", relative_tolerance
    require(target >= 0, "target", expected="at least 0", got=target, fix="give epsilon in nats")
    require(0 < scale < math.inf, "scale", expected="positive and finite", got=scale, fix=typical)
    require(maximum > 0, "maximum", expected="positive", got=maximum, fix="allow some noise")
    require(1e-14 <= tolerance < 1, "relative_tolerance", expected="in [1e-14, 1)", got=tolerance, fix="use 1e-6")
