"""Mean lower bounds on epsilon from 1,000 scores a world, by this tool's routes and by its peers' methods.

    python benchmarks/lower_bounds.py [--replicates 200] [--seed 0] [--out FILE.md]

Every replicate draws both worlds once and gives the same scores to every method (paired), one direction, level .05.
The peers' methods are written here from their descriptions and used for nothing else.

* ``split``: this tool's default for a fixed number of trials. Nothing is tuned to a row.
* ``band``: this tool's simultaneous band; no split.
* ``e-process``: this tool's bound that holds at any time; the threshold from the first fifth of the trials.
* ``Bonferroni-CP``: Clopper-Pearson pairs at 100 thresholds fixed in advance, each at its share of the level.
* ``hull-CP``: the same at the vertices of the empirical convex hull only, and a share for each of these. The vertices
  depend on the data, so that nothing proves it; its misses are counted below.
* ``DKW``: the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant for both distribution functions.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import betainccinv, betaincinv, ndtr

from audit.gathering.selection import PreparedAttack, choose_for_bound
from audit.gathering.split_bound import split_bound
from audit.statistics.bands import band_bound
from audit.statistics.e_process import epsilon_grid, make_e_process
from mechanisms.claim import Direction

Floats = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, int], Floats]
FORWARD = Direction.UNLEARNED_FROM_RETRAINED
LEVEL = 0.05
N = 1000
# What the two tests of one claim by one attack get of their share of the level (docs/statistics.md, section 7).
ROLE_WEIGHTS = {"claim_row": 0.9, "plan_delta": 0.1}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Two worlds: samplers, the true smallest epsilon at delta of this direction, and the range of the scores."""

    name: str
    delta: float
    epsilon: float
    left: Sampler
    right: Sampler
    reach: tuple[float, float]


def gaussian(mu: float, delta: float, epsilon: float) -> Row:
    """Return N(mu, 1) against N(0, 1)."""
    return Row(
        name=f"Gaussian, mu = {mu:g}",
        delta=delta,
        epsilon=epsilon,
        left=lambda rng, n: rng.standard_normal(n) + mu,
        right=lambda rng, n: rng.standard_normal(n),
        reach=(-5.0, mu + 5.0),
    )


def laplace() -> Row:
    """Return Laplace(1, 1) against Laplace(0, 1): epsilon 1, but for what delta takes off."""
    delta = 1e-5
    # Right of 1 the ratio is e everywhere, so delta(eps) = (1 - e^((eps - 1) / 2)) for eps < 1.
    return Row(
        name="Laplace, epsilon = 1",
        delta=delta,
        epsilon=1 + 2 * math.log1p(-delta),
        left=lambda rng, n: rng.laplace(size=n) + 1,
        right=lambda rng, n: rng.laplace(size=n),
        reach=(-8.0, 9.0),
    )


def mixture() -> Row:
    """Return .95 N(0, 1) + .05 N(6, 1) against N(0, 1)."""

    def left(rng: np.random.Generator, n: int) -> Floats:
        return rng.standard_normal(n) + 6.0 * (rng.random(n) < 0.05)

    delta = 1e-5
    x = np.linspace(0.0, 12.0, 200_001)
    tail1, tail0 = 0.95 * ndtr(-x) + 0.05 * ndtr(6 - x), ndtr(-x)
    with np.errstate(divide="ignore", invalid="ignore"):
        epsilon = float(np.nanmax(np.where(tail1 > delta, np.log((tail1 - delta) / tail0), -np.inf)))
    return Row(
        name="5 % of N(6, 1) in N(0, 1)",
        delta=delta,
        epsilon=epsilon,
        left=left,
        right=lambda rng, n: rng.standard_normal(n),
        reach=(-5.0, 11.0),
    )


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon of N(mu, 1) against N(0, 1): the best event is a half line."""
    x = np.linspace(-10.0, 40.0, 500_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log((ndtr(mu - x) - delta) / ndtr(-x))
    return float(np.nanmax(values))


@cache
def make_rows() -> tuple[Row, ...]:
    """Return the laws that are compared."""
    shifts = ((0.5, 1e-2), (1.0, 1e-5), (3.0, 1e-5))
    return (*(gaussian(mu, delta, gaussian_epsilon(mu, delta)) for mu, delta in shifts), laplace(), mixture())


Method = Callable[[Row, Floats, Floats, np.random.Generator], float]


def by_split(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return this tool's default."""
    return split_bound(left, right, delta=row.delta, direction=FORWARD, level=LEVEL, rng=rng).value


def by_band(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return this tool's band."""
    return band_bound(left, right, delta=row.delta, direction=FORWARD, level=LEVEL).value


def by_e_process(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return this tool's anytime-valid bound after all pairs."""
    n_fit = len(left) // 5
    prepared = PreparedAttack(name="scores", fitted=None, unlearned=left[:n_fit], retrained=right[:n_fit])
    rest = (len(left) - n_fit, len(right) - n_fit)
    event = choose_for_bound(prepared, delta=row.delta, direction=FORWARD, n_counted=rest, level=LEVEL)
    above = [(scores > event.threshold) == (event.tail == "upper") for scores in (left, right)]
    state = make_e_process(epsilons=epsilon_grid(1.0, 8.0), delta=row.delta)
    return state.update(above[0][n_fit:], above[1][n_fit:]).bound(LEVEL)


def _pairs(row: Row, left: Floats, right: Floats, thresholds: Floats, share: float) -> float:
    """Return the best Clopper-Pearson pair over thresholds and both tails, each limit at half a share."""
    best = 0.0
    for sign in (1.0, -1.0):
        k1, k0 = ((sign * scores[:, None] > sign * thresholds).sum(axis=0) for scores in (left, right))
        n1, n0 = len(left), len(right)
        low = np.where(k1 > 0, betaincinv(np.maximum(k1, 1), n1 - k1 + 1.0, share / 2), 0.0)
        high = np.where(k0 < n0, betainccinv(k0 + 1.0, np.maximum(n0 - k0, 1), share / 2), 1.0)
        best = max(best, float(np.max(np.log(np.maximum(low - row.delta, 1e-300) / high))))
    return best


def by_bonferroni(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the best of 100 thresholds fixed in advance, both tails."""
    return _pairs(row, left, right, np.linspace(*row.reach, 100), LEVEL / 200)


def by_hull(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the best vertex of the empirical hull."""
    thresholds = _hull(left, right)
    return _pairs(row, left, right, thresholds, LEVEL / max(1, len(thresholds)))


def _hull(left: Floats, right: Floats) -> Floats:
    """Return the thresholds of the vertices of the upper convex hull of the empirical error rates."""
    thresholds = np.unique(np.concatenate([left, right]))[::-1]
    tpr, fpr = (len(s) - np.searchsorted(np.sort(s), thresholds, side="right") for s in (left, right))
    points: list[tuple[float, float, float]] = []
    for x, y, t in [(0.0, 0.0, math.inf), *zip(fpr, tpr, thresholds, strict=True), (len(right), len(left), -math.inf)]:
        while len(points) >= 2 and _turns_left(points[-2], points[-1], (x, y, t)):
            points.pop()
        points.append((float(x), float(y), float(t)))
    return np.array([t for _, _, t in points if math.isfinite(t)])


def _turns_left(a: tuple[float, float, float], b: tuple[float, float, float], c: tuple[float, float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0


def by_dkw(row: Row, left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the best threshold within two uniform bands."""
    thresholds = np.unique(np.concatenate([left, right]))
    best = 0.0
    for tail in (0, 1):
        rates = [1 - np.searchsorted(np.sort(s), thresholds, side="right") / len(s) for s in (left, right)]
        p1, p0 = (rate if tail == 0 else 1 - rate for rate in rates)
        low = p1 - math.sqrt(math.log(4 / LEVEL) / (2 * len(left))) - row.delta
        high = np.minimum(p0 + math.sqrt(math.log(4 / LEVEL) / (2 * len(right))), 1.0)
        best = max(best, float(np.max(np.log(np.maximum(low, 1e-300) / high))))
    return best


METHODS: dict[str, Method] = {
    "split": by_split,
    "band": by_band,
    "e-process": by_e_process,
    "Bonferroni-CP": by_bonferroni,
    "hull-CP": by_hull,
    "DKW": by_dkw,
}
OURS = ("split", "band", "e-process")


def replicate(row: Row, seed: int, index: int) -> dict[str, float]:
    """Return every method's bound on the same scores."""
    rng = np.random.default_rng([seed, index])
    left, right = row.left(rng, N), row.right(rng, N)
    return {name: method(row, left, right, np.random.default_rng([seed, index, 1])) for name, method in METHODS.items()}


def _replicate(number: int, seed: int, index: int) -> dict[str, float]:
    return replicate(make_rows()[number], seed, index)


def fit_fractions(rows: tuple[Row, ...], replicates: int, seed: int) -> list[str]:
    """Return a table of the default's mean bound against the share of trials that choose the event."""
    shares = (0.1, 0.15, 0.2, 0.3)
    lines = ["| law | " + " | ".join(f"{share:g}" for share in shares) + " |", "|---" * (len(shares) + 1) + "|"]
    for row in rows:
        cells = []
        for share in shares:
            values = []
            for index in range(replicates):
                rng = np.random.default_rng([seed, index])
                left, right = row.left(rng, N), row.right(rng, N)
                rng = np.random.default_rng([seed, index, 1])
                bound = split_bound(
                    left, right, delta=row.delta, direction=FORWARD, level=LEVEL, rng=rng, fit_fraction=share
                )
                values.append(bound.value)
            cells.append(f"{np.mean(values):.3f}")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return lines


def _at_shares(number: int, seed: int, index: int) -> tuple[float, ...]:
    """Return the default's bound on one draw at the level that each role has, with equal weights and with today's."""
    row, rng = make_rows()[number], np.random.default_rng([seed, index])
    left, right = row.left(rng, N), row.right(rng, N)
    return tuple(
        split_bound(
            left,
            right,
            delta=row.delta,
            direction=FORWARD,
            # One attack: both directions share what a role has.
            level=LEVEL * weight / 2,
            rng=np.random.default_rng([seed, index, 1]),
        ).value
        for weight in (0.5, ROLE_WEIGHTS["claim_row"], ROLE_WEIGHTS["plan_delta"])
    )


def by_role(rows: tuple[Row, ...], replicates: int, seed: int) -> list[str]:
    """Return a table of what each role of a family gained or lost when its weight changed from one half."""
    lines = ["| law | weight .5 | " + " | ".join(f"{role}, {w:g}" for role, w in ROLE_WEIGHTS.items()) + " |"]
    lines.append("|---" * (len(ROLE_WEIGHTS) + 2) + "|")
    for number, row in enumerate(rows):
        found = np.array(Parallel(n_jobs=2)(delayed(_at_shares)(number, seed, i) for i in range(replicates)))
        cells = [f"{found[:, 0].mean():.3f}"]
        for column in found.T[1:]:
            gap = column - found[:, 0]
            error = gap.std(ddof=1) / math.sqrt(replicates)
            cells.append(f"{column.mean():.3f}, {gap.mean():+.3f} ({error:.3f})")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return lines


def study(replicates: int, seed: int) -> str:
    """Return the report in Markdown; progress goes to standard error."""
    rows, start = make_rows(), time.monotonic()
    lines = [
        f"n = {N} a world, level {LEVEL:g}, one direction, {replicates} paired replicates, seed {seed}.",
        "Mean lower bound (standard error), then the mean paired difference to `split` (standard error).",
        "",
        "| law | delta | true epsilon | " + " | ".join(METHODS) + " |",
        "|---" * (len(METHODS) + 3) + "|",
    ]
    misses = dict.fromkeys(METHODS, 0)
    for number, row in enumerate(rows):
        found = Parallel(n_jobs=2)(delayed(_replicate)(number, seed, index) for index in range(replicates))
        values = {name: np.array([one[name] for one in found]) for name in METHODS}
        cells = []
        for name, value in values.items():
            error = value.std(ddof=1) / math.sqrt(replicates)
            gap = value - values["split"]
            paired = "" if name == "split" else f", {gap.mean():+.3f} ({gap.std(ddof=1) / math.sqrt(replicates):.3f})"
            cells.append(f"{value.mean():.3f} ({error:.3f}){paired}")
            misses[name] += int(np.count_nonzero(value > row.epsilon))
        lines.append(f"| {row.name} | {row.delta:g} | {row.epsilon:.3f} | " + " | ".join(cells) + " |")
        print(f"{row.name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    total = replicates * len(rows)
    lines += ["", "Bounds above the truth: " + ", ".join(f"{name} {count}/{total}" for name, count in misses.items())]
    lines += ["", "`split` by the share of the trials that choose the event (the default is 0.2):", ""]
    lines += fit_fractions(rows, max(20, replicates // 2), seed)
    lines += [
        "",
        "`split` in a family of one attack by the weight of its role (mean paired difference to .5, standard error):",
    ]
    return "\n".join([*lines, "", *by_role(rows, replicates, seed), ""])


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    text = study(arguments.replicates, arguments.seed)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
