"""Lower bounds from 1,000 scores a world by the methods of other auditors, and how often they pass the truth.

    python benchmarks/comparison.py [--replicates 200] [--alarms 1000] [--seed 0]
    python benchmarks/comparison.py --alarms 0 --jax-privacy jax_privacy/auditing.py
    python benchmarks/comparison.py --alarms 0 --privacy-guard privacy_guard/analysis/mia/mia_results.py

The first command needs nothing else: the methods are written here from their formulas. The others also load one file of
an unpacked wheel (``pip download --no-deps jax-privacy==2.0.0``, ``privacyguard-platform==0.0.2``), give it the same
scores, and print its means and the largest distance to what is written here.

* ``split``: this tool's default for a fixed number of trials.
* ``hull``: Clopper-Pearson pairs at the vertices of the empirical hull, both ends included, a share of the level each.
* ``half split``: one half chooses the threshold by its own best pair, the other half counts it at the whole level.
* ``one run``: the p-value of arXiv:2305.08846 for guesses of fair coins, 2,000 of them, a share for each vertex.
* ``middle``: one Clopper-Pearson pair at a threshold fixed in advance, where the two densities meet.
* ``mean of guesses``: guesses of fair coins at that threshold, and Chernoff for their mean (arXiv:2607.05898's code).
* ``best of all``: the best Clopper-Pearson pair of all thresholds and both ratios, each at the whole level.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path

import lower_bounds
import numpy as np
from lower_bounds import LEVEL, Floats, N, Row
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainccinv, betaincinv, expit
from scipy.stats import binom

Ints = NDArray[np.int64]
DELTA = 1e-5
Method = Callable[[Floats, Floats, np.random.Generator], float]


def pairs(k1: Ints, k0: Ints, n1: int, n0: int, share: float) -> Floats:
    """Return log((p1 - delta) / p0) with Clopper-Pearson limits at half a share each, 0 where it is negative."""
    low = np.where(k1 > 0, betaincinv(np.maximum(k1, 1), n1 - k1 + 1.0, share / 2), 0.0)
    high = np.where(k0 < n0, betainccinv(k0 + 1.0, np.maximum(n0 - k0, 1), share / 2), 1.0)
    return np.asarray(np.maximum(np.log(np.maximum(low - DELTA, 1e-300) / high), 0.0))


def at_least(left: Floats, right: Floats) -> tuple[Floats, Ints, Ints]:
    """Return all thresholds, from the highest, and how many scores of either world are at least as high."""
    thresholds = np.append(np.unique(np.concatenate([left, right])), np.inf)[::-1]
    k1, k0 = (len(scores) - np.searchsorted(np.sort(scores), thresholds) for scores in (left, right))
    return thresholds, k1, k0


def vertices(left: Floats, right: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the thresholds and counts on the upper convex hull of the counts."""
    thresholds, k1, k0 = at_least(left, right)
    kept: list[int] = []
    for c in range(len(thresholds)):
        while len(kept) >= 2:
            a, b = kept[-2:]
            if (k0[b] - k0[a]) * (k1[c] - k1[a]) < (k1[b] - k1[a]) * (k0[c] - k0[a]):
                break
            kept.pop()
        kept.append(c)
    return thresholds[kept], k1[kept], k0[kept]


def by_split(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return this tool's bound."""
    row = Row(name="", delta=DELTA, epsilon=0.0, left=_unused, right=_unused, reach=(0.0, 0.0))
    return float(lower_bounds.by_split(row, left, right, rng))


def _unused(rng: np.random.Generator, n: int) -> Floats:
    raise NotImplementedError  # by_split reads delta only


def by_hull(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the best vertex, each with its share of the level."""
    thresholds, k1, k0 = vertices(left, right)
    return float(pairs(k1, k0, len(left), len(right), LEVEL / len(thresholds)).max())


def by_half_split(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Choose on one half of each world, count on the other."""
    left, right = rng.permutation(left), rng.permutation(right)
    half1, half0 = len(left) // 2, len(right) // 2
    thresholds, k1, k0 = vertices(left[:half1], right[:half0])
    threshold = thresholds[pairs(k1, k0, half1, half0, LEVEL).argmax()]
    k1, k0 = (np.array([np.count_nonzero(half >= threshold)]) for half in (left[half1:], right[half0:]))
    return float(pairs(k1, k0, len(left) - half1, len(right) - half0, LEVEL)[0])


def one_run_p_value(coins: int, guesses: int, correct: int, epsilon: float) -> float:
    """Return the probability of so many correct guesses of fair coins under (epsilon, delta), at most."""
    rate = expit(epsilon)
    tail = binom.sf(correct - 1, guesses, rate)
    steps = np.arange(1, correct + 1)
    slope = np.max((binom.sf(correct - steps - 1, guesses, rate) - tail) / steps, initial=0.0)
    return float(min(tail + slope * DELTA * 2 * coins, 1.0))


def by_one_run(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the one-run bound for canaries that were held in (left) or out (right) by fair coins."""
    thresholds, k1, k0 = vertices(left, right)
    coins, share, best = len(left) + len(right), LEVEL / len(thresholds), 0.0
    for right_guesses, wrong in zip(k1.tolist(), k0.tolist(), strict=True):

        def excess(epsilon: float, right_guesses: int = right_guesses, wrong: int = wrong) -> float:
            return one_run_p_value(coins, right_guesses + wrong, right_guesses, epsilon) - share

        if right_guesses and excess(best) < 0:
            best = float(brentq(excess, best, 40.0, xtol=1e-9))
    return best


def by_middle(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the better of the two ratios at 1/2, the middle of N(1, 1) and N(0, 1): one pair of limits serves both."""
    k1, k0 = (np.array([np.count_nonzero(scores > 0.5)]) for scores in (left, right))
    n1, n0 = len(left), len(right)
    return float(max(pairs(k1, k0, n1, n0, LEVEL)[0], pairs(n0 - k0, n1 - k1, n0, n1, LEVEL)[0]))


def by_mean(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return epsilon at which exp(T (h + log q)) is the level: h the entropy of the share that is right, q = expit."""
    correct, total = np.count_nonzero(left > 0.5) + np.count_nonzero(right <= 0.5), len(left) + len(right)
    share = correct / total
    if share <= 0.5:
        return 0.0
    entropy = -share * math.log(share) - (1 - share) * math.log1p(-share) if share < 1 else 0.0
    log_q = math.log(LEVEL) / total - entropy
    return max(0.0, log_q - math.log(-math.expm1(log_q)))


def by_best_of_all(left: Floats, right: Floats, rng: np.random.Generator) -> float:
    """Return the best of all thresholds and of both ratios, uncorrected."""
    _, k1, k0 = at_least(left, right)
    n1, n0 = len(left), len(right)
    return float(max(pairs(k1, k0, n1, n0, LEVEL).max(), pairs(n0 - k0, n1 - k1, n0, n1, LEVEL).max()))


METHODS: dict[str, Method] = {
    "split": by_split,
    "hull": by_hull,
    "half split": by_half_split,
    "one run": by_one_run,
    "middle": by_middle,
    "mean of guesses": by_mean,
    "best of all": by_best_of_all,
}
ALARMED = ("hull", "half split", "GDP", "best of all")
COINS = ("one run", "mean of guesses")  # these want worlds that were chosen by a coin for each model


def load(path: Path) -> types.ModuleType:
    """Load one file of an unpacked wheel."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"Expected a Python file, got {path}; unpack the wheel and name the file in it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def of_jax_privacy(path: Path) -> dict[str, Method]:
    """Return the methods of jax_privacy's ``auditing.py``, of the same names where they are written here."""
    package = load(path)
    auditor = package.CanaryScoreAuditor

    def clopper_pearson(strategy: Callable[[int], object]) -> Method:
        return lambda left, right, rng: float(
            auditor(left, right).epsilon_clopper_pearson(
                LEVEL, DELTA, threshold_strategy=strategy(int(rng.integers(2**31)))
            )
        )

    return {
        "hull": clopper_pearson(lambda seed: package.Bonferroni()),
        "half split": clopper_pearson(lambda seed: package.Split(seed=seed)),
        "100 half splits": clopper_pearson(lambda seed: package.MultiSplit(seed=seed)),
        "one run": lambda left, right, rng: float(auditor(left, right).epsilon_one_run(LEVEL, DELTA)),
        "GDP": lambda left, right, rng: float(auditor(left, right).epsilon_from_gdp(LEVEL, DELTA)),
    }


def of_privacy_guard(path: Path) -> dict[str, Method]:
    """Return the Clopper-Pearson epsilon of PrivacyGuard's ``mia_results.py``."""
    import torch

    package = load(path)

    def best(left: Floats, right: Floats, rng: np.random.Generator) -> float:
        results = package.MIAResults(torch.from_numpy(left), torch.from_numpy(right))
        return float(results.compute_acc_auc_ci_epsilon(DELTA)[2])

    return {"best of all": best}


def scores(method: str, seed: int, index: int, shift: float = 1.0) -> tuple[Floats, Floats]:
    """Return N(shift, 1) and N(0, 1), ``N`` of each; for guesses of coins, as many as a fair coin gives of 2 ``N``."""
    rng = np.random.default_rng([seed, index])
    n1 = int(np.random.default_rng([seed, index, 2]).binomial(2 * N, 0.5)) if method in COINS else N
    return rng.standard_normal(n1) + shift, rng.standard_normal(2 * N - n1)


def bounds_of(name: str, method: Method, replicates: int, seed: int) -> Floats:
    """Return a method's bounds on the Gaussian pair."""
    rngs = (np.random.default_rng([seed, index, 1]) for index in range(replicates))
    return np.array([method(*scores(name, seed, index), rng) for index, rng in enumerate(rngs)])


def means(methods: dict[str, Method], replicates: int, seed: int, truth: float) -> dict[str, Floats]:
    """Print every method's mean bound, its standard error and its misses; return the bounds."""
    print("\n| method | mean bound | misses |\n|---|---|---|")
    found = {}
    for name, method in methods.items():
        found[name] = bounds = bounds_of(name, method, replicates, seed)
        error = bounds.std(ddof=1) / math.sqrt(replicates)
        print(f"| {name} | {bounds.mean():.3f} ({error:.3f}) | {np.count_nonzero(bounds > truth)} |", flush=True)
    return found


def alarms(methods: dict[str, Method], replicates: int, seed: int) -> None:
    """Print how many bounds pass the truth where every threshold, or every high one, is at its limit."""
    laws: dict[str, tuple[Callable[[np.random.Generator], tuple[Floats, Floats]], float]] = {
        "the same law twice, epsilon 0": (lambda rng: (rng.standard_normal(N), rng.standard_normal(N)), 0.0),
        "Laplace, epsilon 1": (lambda rng: (rng.laplace(1.0, 1.0, N), rng.laplace(0.0, 1.0, N)), 1.0),
    }
    print(f"\nBounds above the truth of {replicates}:\n")
    for law, (draw, truth) in laws.items():
        counts = dict.fromkeys((name for name in ALARMED if name in methods), 0)
        for index in range(replicates):
            left, right = draw(np.random.default_rng([seed, index]))
            for name in counts:
                counts[name] += methods[name](left, right, np.random.default_rng([seed, index, 1])) > truth
        print(f"* {law}: " + ", ".join(f"{name} {count}" for name, count in counts.items()), flush=True)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--alarms", type=int, default=1000, help="replicates of the counts of misses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jax-privacy", type=Path, help="auditing.py of jax-privacy")
    parser.add_argument("--privacy-guard", type=Path, help="mia_results.py of privacyguard-platform")
    arguments = parser.parse_args()
    truth = lower_bounds.gaussian_epsilon(1.0, DELTA)
    print(f"N(1, 1) against N(0, 1), delta {DELTA:g}, true epsilon {truth:.3f}, n = {N} a world, level {LEVEL:g},")
    print(f"{arguments.replicates} replicates, seed {arguments.seed}.")
    if arguments.jax_privacy or arguments.privacy_guard:
        methods = of_jax_privacy(arguments.jax_privacy) if arguments.jax_privacy else {}
        methods |= of_privacy_guard(arguments.privacy_guard) if arguments.privacy_guard else {}
        found = means(methods, arguments.replicates, arguments.seed, truth)
        distances = [
            f"{name} {np.abs(bounds - bounds_of(name, METHODS[name], len(bounds), arguments.seed)).max():.1e}"
            for name, bounds in found.items()
            if name in ("hull", "one run", "best of all")  # half splits are drawn otherwise
        ]
        print("\nLargest distance to the same method as written here: " + ", ".join(distances))
    else:
        methods = METHODS
        means(methods, arguments.replicates, arguments.seed, truth)
    if arguments.alarms:
        alarms(methods, arguments.alarms, arguments.seed)


if __name__ == "__main__":
    main()
