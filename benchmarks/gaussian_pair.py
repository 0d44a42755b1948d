"""Time and accuracy of the exact certificate of two Gaussians: run with ``python benchmarks/gaussian_pair.py``.

Every time is the best of several repetitions on fresh pairs, so that nothing cached is counted. References are the
golden tables (mpmath, 30 and 80 digits), an mpmath quadrature for 48 coordinates, and dp-accounting's discretised
privacy loss distribution where both covariances are equal, the only case that it covers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import mpmath as mp
import numpy as np
from dp_accounting.pld import privacy_loss_distribution

from mechanisms.accounting.gaussian_pair import GaussianPair

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
REPEATS = 15


def best_ms(call: Callable[[GaussianPair], object], make: Callable[[], GaussianPair]) -> float:
    """Return the best wall-clock time of one call on a fresh pair, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        pair = make()
        start = time.perf_counter()
        call(pair)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def golden_rows() -> list[tuple[Callable[[], GaussianPair], float, float]]:
    """Return (maker, epsilon, delta) of both golden tables."""
    rows = []
    for name in ("gaussian_pair.json", "gaussian_pair_one_coordinate.json"):
        for case in json.loads((GOLDEN / name).read_text())["cases"]:
            c, b = (np.array(case[key], dtype=float) for key in "cb")
            maker = _maker(c, b, case["n_columns"])
            rows.append((maker, float(case["epsilon"]), float(case["delta_PQ"])))
            rows.append((lambda maker=maker: maker().reversed(), float(case["epsilon"]), float(case["delta_QP"])))
    return rows


def _maker(c: np.ndarray, b: np.ndarray, n_columns: int) -> Callable[[], GaussianPair]:
    return lambda: GaussianPair(variance_ratios=c, squared_shifts=b, n_columns=n_columns)


def forty_eight() -> Callable[[], GaussianPair]:
    """Return a pair like those of a ridge deletion on images: 48 coordinates, 10 columns."""
    rng = np.random.default_rng(48)
    return _maker(np.exp(0.05 * rng.standard_normal(48)), 0.02 * rng.random(48), 10)


def two_thousand() -> Callable[[], GaussianPair]:
    """Return 2,000 coordinates of which 60 differ; the others are 1 up to an eigensolver's rounding."""
    rng = np.random.default_rng(60)
    c = np.concatenate([np.exp(0.05 * rng.standard_normal(60)), 1 + 1e-13 * rng.standard_normal(1940)])
    return _maker(c, np.concatenate([0.02 * rng.random(60), np.zeros(1940)]), 1)


def many_differing() -> Callable[[], GaussianPair]:
    """Return 20,000 coordinates that all differ a little: the dearest case."""
    rng = np.random.default_rng(61)
    return _maker(1 + 1e-4 * rng.standard_normal(20_000), 1e-6 * rng.random(20_000), 1)


def reference_delta(pair: GaussianPair, epsilon: float) -> mp.mpf:
    """Return delta by mpmath, 30 digits, up a vertical line whose step is halved until 18 digits agree."""
    coordinates = [
        (mp.mpf(float(c)), mp.mpf(float(b))) for c, b in zip(pair.variance_ratios, pair.squared_shifts, strict=True)
    ]
    half = mp.mpf(pair.n_columns) / 2

    def log_integrand(s: mp.mpc) -> mp.mpc:
        total = -mp.mpf(epsilon) * s - mp.log(s) - mp.log(1 + s)
        for c, b in coordinates:
            v = 1 + s * (1 - c)
            total += -half * (s * mp.log(c) + mp.log(v)) + s * (1 + s) * b / (2 * v)
        return total

    def walk(step: mp.mpf, offset: mp.mpf) -> mp.mpf:
        total, x = mp.mpf(0), offset
        while True:
            s = mp.mpc(saddle, width * mp.sinh(x))
            term = (mp.e ** log_integrand(s)).real * width * mp.cosh(x) / mp.pi
            total += term / 2 if x == 0 else term
            if abs(term) < mp.mpf("1e-22") * abs(total):
                return total * step
            x += step

    with mp.workdps(30):
        saddle, step = mp.mpf(2), mp.mpf("0.2")
        width = mp.mpf("0.8")
        value, refined = walk(step, mp.mpf(0)), mp.mpf(0)
        while True:
            refined = (value + walk(step, step / 2)) / 2
            if abs(refined - value) < mp.mpf("1e-18") * abs(refined):
                return refined
            value, step = refined, step / 2


def time_pairs() -> None:
    """Print times of the shapes that occur in practice."""
    rows = [(make, epsilon) for make, epsilon, delta in golden_rows() if delta > 0]
    deltas = [best_ms(lambda pair, e=epsilon: pair.delta(e), make) for make, epsilon in rows]
    epsilons = [best_ms(lambda pair: pair.epsilon(1e-5), make) for make, _ in rows]
    print(f"{'pair':44} {'delta ms':>12} {'epsilon(1e-5) ms':>17} {'profile() ms':>13}")
    print(f"{f'{len(rows)} golden rows, median':44} {np.median(deltas):12.2f} {np.median(epsilons):17.2f}")
    print(f"{f'{len(rows)} golden rows, slowest':44} {max(deltas):12.2f} {max(epsilons):17.2f}")
    for label, make in (
        ("48 coordinates x 10 columns", forty_eight()),
        ("2,000 coordinates, 60 not trivial", two_thousand()),
        ("20,000 coordinates, none trivial", many_differing()),
    ):
        times = (
            best_ms(lambda pair: pair.delta(1.0), make),
            best_ms(lambda pair: pair.epsilon(1e-5), make),
            best_ms(lambda pair: pair.profile(), make),
        )
        print(f"{label:44} {times[0]:12.2f} {times[1]:17.2f} {times[2]:13.1f}")


def check_accuracy() -> None:
    """Print the largest relative errors of delta."""
    rows = [(make(), epsilon, delta) for make, epsilon, delta in golden_rows() if delta > 0]
    worst = max(abs(pair.delta(epsilon) / delta - 1) for pair, epsilon, delta in rows)
    print(f"largest relative error of delta, {len(rows)} golden values (14 to 16 digits): {worst:.1e}")
    pair = forty_eight()()
    worst = max(float(abs(pair.delta(e) / reference_delta(pair, e) - 1)) for e in (0.0, 0.5, 2.0, 4.0, 6.0))
    print(f"largest relative error of delta, 48 coordinates x 10 columns, 30 digits: {worst:.1e}")


def compare_with_dp_accounting() -> None:
    """Print equal-covariance cases beside the discretised privacy loss distribution of dp-accounting."""
    print(f"{'deviation':>9} {'epsilon':>8} {'this':>22} {'ms':>6} {'dp-accounting':>22} {'ms':>8} {'its excess':>10}")
    for deviation, epsilon in ((0.5, 1.0), (1.0, 1.0), (4.0, 0.5), (20.0, 0.1)):
        make = _maker(np.ones(1), np.array([deviation**-2]), 1)
        ours, ours_ms = make().delta(epsilon), best_ms(lambda pair, e=epsilon: pair.delta(e), make)
        start = time.perf_counter()
        table = privacy_loss_distribution.from_gaussian_mechanism(deviation, value_discretization_interval=1e-4)
        theirs = table.get_delta_for_epsilon(epsilon)
        theirs_ms = 1e3 * (time.perf_counter() - start)
        excess = theirs / ours - 1
        print(f"{deviation:9} {epsilon:8} {ours:22.15e} {ours_ms:6.2f} {theirs:22.15e} {theirs_ms:8.1f} {excess:10.1e}")


if __name__ == "__main__":
    time_pairs()
    check_accuracy()
    compare_with_dp_accounting()
