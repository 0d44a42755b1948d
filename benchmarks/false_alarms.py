"""Count how often claims that hold exactly are refuted: ``python benchmarks/false_alarms.py [--replicates 2000]``.

Every claim is true with equality at a row whose event has probability .05 or more, so that the tests work at their full
level there. Counts above the binomial quantile of the level (a false alarm of this script of 1e-6 each) end with exit
code 1. ``split``, ``band``, ``e-process`` and ``gaussian`` get one-dimensional scores; the e-process is looked at 40
times. ``pipeline`` is a whole audit (records x attacks x both directions x rows, one family), once with a fixed
number of trials and once stopped when decided.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binom

import audit
from attacks.linear.discriminant import LinearDiscriminant
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from audit.gathering.selection import PreparedAttack, choose_event
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.split import Sequential
from audit.records.counts import Counts
from audit.records.verdict import Verdict
from audit.statistics.bands import band_rejects
from audit.statistics.bounds import exact_joint_rejects
from audit.statistics.e_process import make_e_process
from audit.statistics.gdp import tradeoff_p_value
from mechanisms.claim import Claim, Direction, EpsilonDelta, GaussianDP
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.protocol import Deletion
from mechanisms.ridge.langevin import RidgeLangevin

Floats = NDArray[np.float64]
FORWARD = Direction.UNLEARNED_FROM_RETRAINED
LEVEL = 0.05
N, N_FIT = 1000, 200
ALARM = 1e-6


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A law with a point claim that holds with equality, and its event's probability in the null world."""

    name: str
    point: EpsilonDelta
    probability: float
    draw: Callable[[np.random.Generator, bool], Floats]


def gaussian(mu: float, epsilon: float) -> Boundary:
    """Return a shift by mu at the exact delta of epsilon."""
    x = epsilon / mu - mu / 2
    delta = float(ndtr(-x) - math.exp(epsilon) * ndtr(-x - mu))
    return Boundary(
        name=f"Gaussian mu = {mu:g}, epsilon = {epsilon:g}, delta = {delta:.3g}",
        point=EpsilonDelta(epsilon=epsilon, delta=delta),
        probability=float(ndtr(-x - mu)),
        draw=lambda rng, left: rng.standard_normal(N) + mu * left,
    )


def coins() -> Boundary:
    """Return an event of probability .6 and .3, with noise inside that says nothing."""
    return Boundary(
        name="coins .6 and .3, epsilon = log 2, delta = 0",
        point=EpsilonDelta(epsilon=math.log(2), delta=0.0),
        probability=0.3,
        draw=lambda rng, left: (rng.random(N) < (0.6 if left else 0.3)) + 0.5 * rng.random(N),
    )


def rare() -> Boundary:
    """Return a mixture: an event of probability .15 and .05, far from everything else."""
    return Boundary(
        name="outliers .15 and .05, epsilon = log 3, delta = 0",
        point=EpsilonDelta(epsilon=math.log(3), delta=0.0),
        probability=0.05,
        draw=lambda rng, left: 6.0 * (rng.random(N) < (0.15 if left else 0.05)) + rng.random(N),
    )


BOUNDARIES = (gaussian(1.0, 0.3), gaussian(0.5, 0.1), coins(), rare())


def routes(row: Boundary, seed: int, index: int) -> tuple[bool, bool, bool, bool]:
    """Return whether the split, the band, the e-process and the Gaussian test refute the true claim."""
    rng = np.random.default_rng([seed, index])
    left, right = row.draw(rng, True), row.draw(rng, False)
    prepared = PreparedAttack(name="scores", fitted=None, unlearned=left[:N_FIT], retrained=right[:N_FIT])
    n_counted = (N - N_FIT, N - N_FIT)
    event = choose_event(prepared, [(FORWARD, row.point)], n_counted=n_counted, level=LEVEL)
    counts = event.count(left[N_FIT:], right[N_FIT:])
    above = [(scores[N_FIT:] > event.threshold) == (event.tail == "upper") for scores in (left, right)]
    state = make_e_process(epsilons=(0.0, row.point.epsilon), delta=row.point.delta)
    e_process = False
    # Whoever stops at the most favourable moment sees the largest capital.
    for x1, x0 in zip(*(np.array_split(x, 40) for x in above), strict=True):
        state = state.update(x1, x0)
        e_process |= state.p_value(row.point.epsilon) <= LEVEL
    return (
        exact_joint_rejects(counts, point=row.point, direction=FORWARD, level=LEVEL),
        band_rejects(left, right, point=row.point, direction=FORWARD, level=LEVEL),
        e_process,
        _gaussian_refuted(row, left, right),
    )


def _gaussian_refuted(row: Boundary, left: Floats, right: Floats) -> bool:
    """Test "mu-GDP" at the event above mu / 2, fixed in advance; only where the law is a Gaussian shift."""
    if not row.name.startswith("Gaussian"):
        return False
    mu = float(row.name.split()[3].rstrip(","))
    counts = Counts(
        k_unlearned=int(np.count_nonzero(left > mu / 2)),
        n_unlearned=N,
        k_retrained=int(np.count_nonzero(right > mu / 2)),
        n_retrained=N,
    )
    return tradeoff_p_value(counts, claim=Claim(guarantee=GaussianDP(mu=mu)), direction=FORWARD) <= LEVEL


RIDGE = RidgeLangevin(penalty=0.5, n_learn=20, n_unlearn=2, sigma_learn=0.05, sigma_unlearn=0.12, sampler="closed_form")


@cache
def small() -> Dataset:
    """Return the data of every whole audit."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 4)) / 2
    return from_arrays(x, x @ rng.normal(size=4) + rng.normal(size=30), kind="regression")


@cache
def bound(forget: tuple[int, ...]) -> Deletion:
    """Return what thousands of audits share, its certificates among it."""
    return RIDGE.bind(small(), forget)


@dataclass(frozen=True, kw_only=True)
class BoundOnce:
    """The mechanism of every whole audit."""

    name: str = "ridge_langevin"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> Deletion:
        """Return it bound to the data of the study."""
        return bound(forget)


PLAN = AuditPlan(
    claims=(CertifiedClaim(method="exact"),),
    forget=((4,), (7,)),
    attacks=(LikelihoodRatio(), LinearDiscriminant()),
    trials=400,
    control_trials=20,
    significance=LEVEL,
)
STOPPED = replace(PLAN, counting=Sequential(first_fit=80))


def pipeline(plan: AuditPlan, seed: int, index: int) -> tuple[bool]:
    """Return whether a whole audit refutes a mechanism's exact profile, which it touches at every row."""
    audited = audit.run(BoundOnce(), small(), replace(plan, seed=10_000 * (seed + 1) + index))
    return (audited.verdict is Verdict.REFUTED,)


def count(function: Callable[..., tuple[bool, ...]], argument: object, seed: int, replicates: int) -> list[int]:
    """Return how many replicates refuted, for each entry of the function's result."""
    chunks = np.array_split(np.arange(replicates), max(2, replicates // 25))
    tasks = (delayed(_chunk)(function, argument, seed, chunk.tolist()) for chunk in chunks)
    return list(np.sum(Parallel(n_jobs=2)(tasks), axis=0))


def _chunk(function: Callable[..., tuple[bool, ...]], argument: object, seed: int, indices: list[int]) -> list[int]:
    if isinstance(argument, int):
        argument = BOUNDARIES[argument]
    return list(np.sum([function(argument, seed, index) for index in indices], axis=0))


def study(replicates: int, audits: int, seed: int) -> tuple[str, bool]:
    """Return the table in Markdown and whether every count is within its limit; progress goes to standard error."""
    start, sound = time.monotonic(), True
    limit, limit_audits = (int(binom.isf(ALARM, n, LEVEL)) for n in (replicates, audits))
    lines = [
        f"False alarms at exact boundaries, level {LEVEL:g}, n = {N} a world, {replicates} replicates, seed {seed}.",
        f"At most {limit} are within the binomial quantile of the level ({limit_audits} of {audits} whole audits).",
        "",
        "| law | event | split | band | e-process, any time | Gaussian |",
        "|---|---|---|---|---|---|",
    ]
    for i, row in enumerate(BOUNDARIES):
        found = count(routes, i, seed, replicates)
        sound &= max(found) <= limit
        gaussian_test = str(found[3]) if row.name.startswith("Gaussian") else "-"
        lines.append(f"| {row.name} | {row.probability:.2f} | {found[0]} | {found[1]} | {found[2]} | {gaussian_test} |")
        print(f"{row.name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    family = f"{len(PLAN.forget)} records x {len(PLAN.attacks)} attacks x both directions x all rows"
    lines += ["", f"Whole audits of an exact profile ({family}), {audits} each:", ""]
    for name, plan in (("fixed number of trials", PLAN), ("stopped when decided", STOPPED)):
        (found_all,) = count(pipeline, plan, seed, audits)
        sound &= found_all <= limit_audits
        lines.append(f"* {name}: {found_all} of {audits} refuted")
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return "\n".join([*lines, ""]), sound


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--audits", type=int, default=2000, help="replicates of whole audits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    text, sound = study(arguments.replicates, arguments.audits, arguments.seed)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
