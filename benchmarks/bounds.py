"""Time the exact joint test and compare its lower bounds with Clopper-Pearson pairs: ``python benchmarks/bounds.py``.

The means are over counts drawn from known laws, so the distance to the true epsilon is what a bound loses.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtr

from audit.power.ceilings import best_power, detectable_epsilon
from audit.records.counts import Counts
from audit.statistics.bounds import clopper_pearson_bound, exact_joint_bound, exact_joint_p_value
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP

FORWARD = Direction.UNLEARNED_FROM_RETRAINED
LEVEL = 0.05
# (k1 / n, k0 / n, delta): a rare event, the middle, both ends, near the ceiling.
RATES = [(0.02, 0.0, 1e-5), (0.2, 0.1, 1e-5), (0.6, 0.4, 1e-2), (0.93, 0.9, 0.0), (0.995, 0.03, 1e-5), (1.0, 0.0, 1e-5)]


def milliseconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def time_tests() -> None:
    """Print the time of a p-value (just below the bound, where it is slowest) and of an inversion."""
    print(f"{'n':>7} {'k1':>7} {'k0':>6} {'delta':>6} {'p-value':>10} {'bound':>10} {'exact':>8} {'CP pair':>8}")
    for n in (1000, 100_000):
        for share1, share0, delta in RATES:
            k1, k0 = round(share1 * n), round(share0 * n)
            table = Counts(k_unlearned=k1, n_unlearned=n, k_retrained=k0, n_retrained=n)
            value = exact_joint_bound(table, delta=delta, direction=FORWARD, level=LEVEL)
            pair = clopper_pearson_bound(table, delta=delta, direction=FORWARD, level=LEVEL)
            point = EpsilonDelta(epsilon=value, delta=delta)
            options: Any = {"direction": FORWARD, "level": LEVEL}
            test = milliseconds(functools.partial(exact_joint_p_value, table, point=point, **options))
            whole = milliseconds(functools.partial(exact_joint_bound, table, delta=delta, **options))
            print(f"{n:>7} {k1:>7} {k0:>6} {delta:>6.0e} {test:>7.1f} ms {whole:>7.1f} ms {value:>8.3f} {pair:>8.3f}")


def compare_bounds(replicates: int = 200) -> None:
    """Print mean lower bounds of both methods for the event "above x" of N(mu, 1) against N(0, 1)."""
    print(f"\n{'n':>6} {'mu':>4} {'x':>4} {'delta':>6} {'this event':>10} {'exact':>7} {'CP pair':>8} {'misses':>12}")
    for n, mu, x, delta in [(1000, 1, 2.0, 1e-5), (1000, 0.5, 1.0, 1e-2), (1000, 3, 3.0, 1e-5), (10_000, 1, 2.5, 1e-5)]:
        rng = np.random.default_rng(0)
        p1, p0 = float(ndtr(mu - x)), float(ndtr(-x))
        truth = math.log((p1 - delta) / p0)
        found = []
        for k1, k0 in zip(rng.binomial(n, p1, replicates), rng.binomial(n, p0, replicates), strict=True):
            table = Counts(k_unlearned=int(k1), n_unlearned=n, k_retrained=int(k0), n_retrained=n)
            found.append(
                [
                    method(table, delta=delta, direction=FORWARD, level=LEVEL)
                    for method in (exact_joint_bound, clopper_pearson_bound)
                ]
            )
        exact, pair = np.mean(found, axis=0)
        misses = (np.array(found) > truth).sum(axis=0)
        print(
            f"{n:>6} {mu:>4} {x:>4} {delta:>6.0e} {truth:>10.3f} {exact:>7.3f} {pair:>8.3f} "
            f"{misses[0]:>3} {misses[1]:>3} /{replicates:>4}"
        )


def time_planning() -> None:
    """Print the time of the planner's questions."""
    print()
    x, claim, point = (
        np.linspace(-5, 6, 500),
        Claim(guarantee=GaussianDP(mu=0.5)),
        EpsilonDelta(epsilon=1.0, delta=1e-5),
    )
    for n in (1000, 100_000):
        detect = milliseconds(functools.partial(detectable_epsilon, point=point, n1=n, n0=n, level=LEVEL))
        best = milliseconds(functools.partial(best_power, claim, ndtr(-x), ndtr(0.7 - x), n=n, level=LEVEL))
        print(f"n = {n}: detectable_epsilon {detect:.0f} ms, best_power over 500 events and 33 rows {best:.0f} ms")


if __name__ == "__main__":
    time_tests()
    compare_bounds()
    time_planning()
