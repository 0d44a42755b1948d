"""Second derivations of what is printed of published mechanisms: shifts by hand, for mpmath at any precision."""

from __future__ import annotations

import functools

import mpmath as mp

from mechanisms.published.catalogue import published
from mechanisms.published.frame import PublishedMechanism, Variant


@functools.cache
def made(name: str) -> PublishedMechanism:
    return published(name)


def variant(name: str, which: str) -> Variant:
    return next(v for v in made(name).variants if v.name == which)


def delta_of(mu: mp.mpf, epsilon: mp.mpf) -> mp.mpf:
    """Return delta of two Gaussians ``mu`` apart, with 30 digits: the package takes Mills' ratios of doubles."""
    return mp.ncdf(mu / 2 - epsilon / mu) - mp.exp(epsilon) * mp.ncdf(-mu / 2 - epsilon / mu)


def finetuning_mu(which: str) -> mp.mpf:
    """One step: sigma^2 = reach^2 eta lambda (2 - eta lambda) / (2 e (1 - (1 - eta lambda)^2)) = reach^2 / (2 e)."""
    value = 1 if which == "as_coded" else variant("finetuning_gradient", which).settings["renyi_of_order_1"]
    return mp.sqrt(2 * mp.mpf(value))


def langevin_mu(steps: int, sigma: float, replaced: int) -> mp.mpf:
    """The stationary law solves v = k^2 v + 2 eta sigma^2; the gap of the means shrinks by k a step."""
    m = mp.mpf(11982) / 10**6
    eta = 1 / (mp.mpf("0.25") + m)
    k = 1 - eta * m
    variance = 2 * eta * mp.mpf(sigma) ** 2 / (1 - k**2)
    return k**steps * 2 * replaced / (11982 * m) / mp.sqrt(variance)


def sgd_mu() -> mp.mpf:
    """A record in the last of 22 batches: its pull is contracted by k^22 in each later epoch, and not in its own."""
    m = mp.mpf(11264) / 10**6
    eta = 1 / (mp.mpf("0.25") + m)
    k = 1 - eta * m
    sigma = mp.mpf(variant("noisy_sgd", "as_published").settings["sigma"])
    gap = sum(2 * eta / 512 * k ** (22 * j) for j in range(1, 100))
    return gap / mp.sqrt(2 * eta * sigma**2 / (1 - k**2))


def newton_mu() -> mp.mpf:
    """The optimum solves w + w^2/2 = -0.01; a Newton step leaves (w^2/2)/(1 + w)."""
    w = mp.findroot(lambda x: x + x**2 / 2 + mp.mpf("0.01"), -0.01)
    left = w**2 / 2 / (1 + w)
    steep = mp.mpf("0.02") + mp.mpf("0.0002") + 10
    gamma = 2 * steep**2 / (mp.mpf("0.98") ** 3 * 10**6)
    return left / gamma / mp.sqrt(2 * mp.log(125000))


def rewind_mu() -> mp.mpf:
    """Until step 50 both records' pulls cancel; then each run grows by 1.02 towards its own fixed point."""
    g, pull = mp.mpf("1.02"), mp.mpf(1) / 99
    apart = pull * (g**100 - 1) - pull * (g**50 - 1)
    allowed = 2 * mp.mpf("1.5") * (g**50 - 1) * g**50 / 100
    return apart / allowed / mp.sqrt(2 * mp.log(125000))


def descent_mu() -> mp.mpf:
    """Ten steps contract by 1/2 what one record moved: 1.5 / 1000 over m = 1/2."""
    moved = (mp.mpf(1) - 999 * mp.mpf("0.5")) / 1000 / mp.mpf("0.5") + 1
    level, half = mp.log(10**6), mp.mpf(1) / 2
    sigma = 4 * mp.sqrt(2) * mp.mpf("1.5") * half**10
    sigma /= half * 1000 * (1 - half**10) * (mp.sqrt(level + 1) - mp.sqrt(level))
    return moved * half**10 / sigma


def norm_mu(square: bool, *, deletion_steps: int = 200, epsilon: int = 1) -> mp.mpf:
    """Projected descent on two distinct records, in 30 digits."""
    s, m = mp.mpf("0.102"), mp.mpf("0.05")

    def descend(w: mp.mpf, long: int, steps: int) -> mp.mpf:
        for _ in range(steps):
            pull = (999 * s / (1 + mp.exp(w * s)) + long / (1 + mp.exp(w))) / (999 + long)
            w = min(mp.mpf(1), max(mp.mpf(-1), w - (m * (w if square else mp.sign(w)) - pull) / 2))
        return w

    apart = abs(descend(descend(mp.mpf(1), 1, 1000), 0, deletion_steps) - descend(mp.mpf(1), 0, 1000))
    kept, level = (mp.mpf("3.9") / 4) ** deletion_steps, mp.log(10**6)
    sigma = 4 * mp.sqrt(2) * mp.mpf("1.05") * kept
    return apart / (sigma / (m * 1000 * (1 - kept) * (mp.sqrt(level + epsilon) - mp.sqrt(level))))


def preprocessing_mu(*, refitted: bool, longest: str = "1.001") -> mp.mpf:
    """The retained mean is 399/999; it is divided by the longest record, or by 1 where the divisor is fitted anew."""
    d, level = mp.mpf(longest), mp.log(10**6)
    full, kept = 2 * (d + 399) / 1000 / d, 2 * mp.mpf(399) / 999 / d
    anew = kept * d if refitted else kept
    sigma = (
        4 * mp.sqrt(2) * mp.mpf("1.5") / 1024 / (500 * (1 - mp.mpf(1) / 1024) * (mp.sqrt(level + 1) - mp.sqrt(level)))
    )
    return abs(kept + (full - kept) / 1024 - anew) / sigma


def estimated_mu(gradient: mp.mpf, smoothness: mp.mpf) -> mp.mpf:
    """Without record 0 nothing moves: what 50 steps of it left is the shift."""
    w = mp.mpf(0)
    for _ in range(50):
        w += mp.mpf("0.001") / (1 + mp.exp(w))
    g = 1 + smoothness / 10
    allowed = 2 * gradient * (g**50 - 1) * g**50 / (100 * smoothness)
    return w / allowed / mp.sqrt(2 * mp.log(125000))


def batches_mu(size: int) -> mp.mpf:
    """A batch meets its largest gradient at 0, where record 0 has one half."""
    smoothness = mp.mpf(variant("rewind_to_delete_estimated", "as_coded").settings["smoothness"])
    return estimated_mu(mp.mpf(1) / 2 / size, smoothness)


def chain_mu() -> mp.mpf:
    """Means and variances of thirty steps, one by one."""
    apart = variance = mp.mpf(0)
    sigma = mp.mpf(variant("shifted_interpolation", "as_published").settings["sigma"])
    for step in range(30):
        apart = mp.mpf("0.9") * apart + (mp.mpf("0.001") if step < 20 else 0)
        variance = mp.mpf("0.81") * variance + sigma**2
    return apart / mp.sqrt(variance)


def group_mu() -> mp.mpf:
    """Ten times the mu of one record, which is a root."""
    one = mp.mpf("1e-5") * (mp.exp(mp.mpf("0.1")) - 1) / (mp.e - 1)
    return 10 * mp.findroot(lambda mu: mp.log(delta_of(mu, mp.mpf("0.1")) / one), (0.02, 0.04), solver="illinois")


def hessian_free_mu(records: int, penalty: str, divisor: int = 32) -> mp.mpf:
    """What each visit of the last batch left, contracted by all later steps; the noise from its root."""
    k = -(-records // 32)
    size, steps = records - 32 * (k - 1), records // 2
    q, m = mp.mpf("0.995"), mp.mpf(penalty)
    eta = [mp.mpf("0.05") * q**t for t in range(15 * k)]
    w = shift = mp.mpf(0)
    for epoch in range(15):
        last = epoch * k + k - 1
        w *= mp.fprod(1 - m * e for e in eta[epoch * k : last])
        left = mp.fprod(1 - m * e for e in eta[last:])
        shift += eta[last] * (5 - m * w) / size * left
        w += eta[last] * (5 - m * w)
    return shift / hessian_free_sigma(steps, k, divisor)


def hessian_free_sigma(steps: int, k: int, divisor: int) -> mp.mpf:
    """The bound by sums over steps; its visits are a geometric series of q^k with a broken number of terms."""
    q = mp.mpf("0.995")
    first = sum(q**t - q ** (2 * t) for t in range(steps))
    visits = q**k * (1 - q**steps) / (1 - q**k)
    bound = mp.mpf("0.025") * (1 - q) * first + mp.mpf("0.5") / divisor * visits
    one = mp.findroot(lambda mu: mp.log(delta_of(mu, mp.mpf(1)) / mp.mpf("1e-5")), (0.2, 0.3), solver="illinois")
    return bound / one


def first_batch_mu() -> mp.mpf:
    """Half of 5 eta q^(500 e), for fifteen epochs; nothing is forgotten."""
    q = mp.mpf("0.995")
    return mp.mpf("0.125") * sum(q ** (500 * e) for e in range(15)) / hessian_free_sigma(8000, 500, 2)


def surrogate_mu(count: int, steep: str) -> mp.mpf:
    """Sums of Hessians less that of record 0, which is 1; gradient 1. The divergence is log 2 or 0."""
    s = mp.mpf(steep)
    shift = abs(1 / (count * (1 + 2 * s) - 1) - mp.mpf(1) / 1999)
    apart = mp.sqrt(mp.mpf(1) / 2) if s == 0 else mp.mpf(0)
    bound = mp.mpf("2e-6") + mp.mpf(3 * (count + 1000)) / ((count - 3) * 997) * 2 * apart
    return shift / bound / mp.sqrt(2 * mp.log(125000))


def classical_mu(numerator: str, delta: str) -> mp.mpf:
    return 1 / mp.sqrt(2 * mp.log(mp.mpf(numerator) / mp.mpf(delta)))
