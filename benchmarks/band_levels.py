"""Compute the local levels that ``audit.statistics.bands`` looks up: ``python benchmarks/band_levels.py``.

Writes ``audit/statistics/band_levels.json``: for n draws and an overall level, the local level at which the
Clopper-Pearson intervals of all n order statistics hold simultaneously. Every entry comes from the exact recursion
below; nothing is simulated or extrapolated. The whole table takes half an hour of one core, two thirds of it beyond n =
1e5; ``--largest 100000`` recomputes the rest and keeps the larger entries of the file.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaln, xlogy

Floats = NDArray[np.float64]
TABLE = Path(__file__).parents[1] / "audit" / "statistics" / "band_levels.json"

# Per octave below .2: the usual levels and their halves, thirds and fifths fall on the grid.
LEVELS = [0.2 * share / 2**octave for octave in range(18) for share in (1.0, 0.8, 2 / 3)]
# Beyond n = 1e5 one evaluation takes seconds to a minute: whole octaves, down to about 1e-4.
FEW_LEVELS = [0.05 / 2**octave for octave in range(10)]
FINE, COARSE = (1, 1.2, 1.4, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8), (1, 1.4, 2, 3, 5, 7)
SIZES = [
    *range(1, 11),
    *(round(m * 10**d) for d in (1, 2, 3) for m in FINE if m > 1 or d > 1),
    *(round(m * 10**4) for m in COARSE),
    100_000,
    200_000,
    500_000,
    1_000_000,
]
# Probability that a step of the recursion may lose to the truncation of its Poisson law (lost paths only make the
# coverage smaller), in standard deviations and counts.
_SPREAD, _EXTRA = 9.0, 16
_BATCH = 4096


def coverage(n: int, local_level: float) -> float:
    """Return the probability that all n uniform order statistics are in their beta intervals, from below.

    Parameters
    ----------
    n
        Independent uniform draws U_(1) <= ... <= U_(n).
    local_level
        Each U_(i) ~ Beta(i, n - i + 1) is held between its quantiles at half of this on either side.

    Notes
    -----
    Noe's recursion in Poisson form: the empirical counting process is a Poisson process of rate n given n points, so
    that the law of (count so far, no crossing so far) is carried from one boundary time to the next by a convolution.
    All terms are positive, and no more counts are alive than the band is wide (about 9 sqrt(n)), so that the time is
    about n^1.5. The band is symmetric: the process after 1/2 is the one before it, read backwards. Relative rounding
    is below 1e-15 a step; :func:`crossing` allows for it.

    References
    ----------
    Noe 1972, "The calculation of distributions of two-sided Kolmogorov-Smirnov type statistics", Ann. Math. Stat. 43;
    Moscovich, Nadler 2017, "Fast calculation of boundary crossing probabilities for Poisson processes" (1503.04363).
    """
    i = np.arange(1, n + 1, dtype=np.float64)
    low = betaincinv(i, n - i + 1, local_level / 2)
    high = 1 - low[::-1]
    low, high = low[low <= 0.5], high[high <= 0.5]
    times, opens = np.concatenate([low, high]), np.arange(low.size + high.size) < low.size
    order = np.argsort(times, kind="stable")
    opens = opens[order]
    means = n * np.diff(times[order], prepend=0.0, append=0.5)
    # Entry j: probability of (first + j) points so far and no crossing; ``first`` is the number of high ends passed.
    alive = np.ones(1)
    for start in range(0, means.size, _BATCH):
        steps, lengths = _poisson(means[start : start + _BATCH])
        for step, length, event in zip(steps, lengths, range(start, means.size), strict=False):
            alive = np.convolve(alive, step[: min(length, alive.size)])[: alive.size]
            if event < opens.size:
                # At the low end of U_(i) fewer than i points may have come; from then on i may. At its high end i must.
                alive = np.append(alive, 0.0) if opens[event] else alive[1:]
    # Counts a by time 1/2 and n - a after it, each half without a crossing.
    first = high.size
    counts = np.arange(first, first + alive.size)
    inside = (n - counts >= first) & (n - counts < first + alive.size)
    together = float(alive[inside] @ alive[n - counts[inside] - first])
    return together / _central_poisson(n)


def crossing(n: int, local_level: float) -> float:
    """Return an upper bound on the probability that some order statistic leaves its interval (tight to 3e-15 n)."""
    return 1 - coverage(n, local_level) * (1 - 3e-15 * (n + 10))


def local_level(n: int, level: float, *, guess: float | None = None, tolerance: float = 1e-3) -> float:
    """Return a local level whose band is crossed with probability at most ``level``, and above (1 - tolerance) of it.

    Notes
    -----
    Secant steps on log scales, where the crossing probability is almost a line of slope one. The result is checked by
    the recursion itself, and rounded down to six digits.
    """
    eta = _rounded(level / (1 + math.log(n)) if guess is None else guess)
    target, slope = math.log(level * (1 - tolerance / 2)), 1.0
    previous: tuple[float, float] | None = None
    for _ in range(30):
        crossed = crossing(n, eta)
        if level * (1 - tolerance) <= crossed <= level:
            return eta
        here = (math.log(eta), math.log(crossed))
        if previous is not None and here[0] != previous[0]:
            slope = min(2.0, max(0.5, (here[1] - previous[1]) / (here[0] - previous[0])))
        previous = here
        eta = _rounded(math.exp(here[0] + (target - here[1]) / slope))
    raise ArithmeticError(f"no local level found for n = {n} at level {level}")


def _poisson(means: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Poisson masses, a row for each mean, and how many of each row matter."""
    lengths = np.ceil(means + _SPREAD * np.sqrt(means) + _EXTRA).astype(np.int64)
    k = np.arange(int(lengths.max()))
    return np.exp(xlogy(k, means[:, None]) - means[:, None] - gammaln(k + 1.0)), lengths


def _central_poisson(n: int) -> float:
    """Probability that a Poisson variable of mean n is n, without the cancellation of n log n."""
    if n < 20:
        return math.exp(-n + n * math.log(n) - math.lgamma(n + 1))
    series = 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5) - 1 / (1680 * n**7)
    return math.exp(-series) / math.sqrt(2 * math.pi * n)


def _rounded(value: float) -> float:
    """Round down to six significant digits."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return float(f"{math.floor(value / digit) * digit:.6g}")


def _row(n: int, before: list[tuple[int, list[float | None]]]) -> list[float | None]:
    """Local levels for one n, starting each search from the trend of the sizes before."""
    large = n > 100_000
    row: list[float | None] = []
    for j, level in enumerate(LEVELS):
        if large and level not in FEW_LEVELS:
            row.append(None)
            continue
        known = [(m, eta) for m, etas in before if (eta := etas[j]) is not None]
        row.append(local_level(n, level, guess=_trend(known, n), tolerance=5e-3 if large else 1e-3))
    return row


def _trend(known: list[tuple[int, float]], n: int) -> float | None:
    """Continue the last two sizes in log(eta) against log(1 + log n); the local level falls about that slowly."""
    if len(known) < 2 or known[-2][0] < 5:
        return known[-1][1] if known else None
    (m2, eta2), (m1, eta1) = known[-2:]
    x2, x1, x = (math.log(1 + math.log(m)) for m in (m2, m1, n))
    return math.exp(math.log(eta1) + (math.log(eta1) - math.log(eta2)) * (x - x1) / (x1 - x2))


def main() -> None:
    """Write the table, size by size, so that an interrupted run leaves a valid one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=max(SIZES), help="recompute sizes up to this")
    parser.add_argument("--smallest", type=int, default=1, help="recompute sizes from this")
    options = parser.parse_args()
    rows: dict[int, list[float | None]] = {}
    if TABLE.exists():
        old = json.loads(TABLE.read_text(encoding="utf-8"))
        if old["levels"] == LEVELS:
            rows = dict(zip(old["sizes"], old["local_levels"], strict=True))
    for n in SIZES:
        if options.smallest <= n <= options.largest:
            start = time.perf_counter()
            rows[n] = _row(n, sorted((m, row) for m, row in rows.items() if m < n))
            _write(rows)
            print(f"n = {n}: {time.perf_counter() - start:.1f} s", flush=True)


def _write(rows: dict[int, list[float | None]]) -> None:
    sizes = sorted(rows)
    lines = ",\n".join(json.dumps(rows[n], separators=(",", ":")) for n in sizes)
    head = f'"levels": {json.dumps(LEVELS)},\n"sizes": {json.dumps(sizes)}'
    TABLE.write_text(f'{{\n{head},\n"local_levels": [\n{lines}\n]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
