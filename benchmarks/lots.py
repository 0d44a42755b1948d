"""Deletions by lot beside two worlds, at equal numbers of trained models: what each shows, and where each loses.

    python benchmarks/lots.py --out benchmarks/results/lots.md [--repetitions 64]

Ridge regression with penalty 1 on digits, solved exactly: 1,300 records and a pool of 200 others; a release is the
weights with Gaussian noise. "lost": the request is ignored. "half": every second record of it is. "served": retrained.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import audit
from attacks import AttackContext
from attacks.lots import JointFilter, LotScorer, MatchedFilter
from mechanisms import (
    Claim,
    Dataset,
    EpsilonDelta,
    OneRecord,
    Reference,
    ReleaseSpec,
    UpTo,
    from_arrays,
    from_functions,
    load_named,
)

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
M, LEVEL, DELTA = 200, 0.05, 1e-5
NOISES = (0.01, 0.02, 0.05, 0.1)
TARGETS = {("lost", 0.01): 17.0, ("lost", 0.02): 14.0, ("lost", 0.05): 5.0, ("half", 0.02): 4.3}
POINT = EpsilonDelta(epsilon=1.0, delta=DELTA)
SETS = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY, covers=UpTo(k=M))
SINGLES = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY, covers=OneRecord())


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Core and pool, and what an attacker computes of them."""

    core: Dataset
    pool: Dataset
    gram: Array
    moment: Array

    @staticmethod
    def digits() -> Problem:
        """1,300 core records of digits and a pool of 200 others, rows of length 1."""
        digits = load_named("digits", rows=1797)
        rows = digits.features / np.linalg.norm(digits.features, axis=1, keepdims=True)
        chosen = np.random.default_rng(0).permutation(len(rows))[:1500]
        data = from_arrays(rows[chosen], digits.targets[chosen], name="digits", intercept=False)
        core, pool = data.take(range(1300)), data.take(range(1300, 1500))
        gram = core.features.T @ core.features + np.eye(rows.shape[1])
        return Problem(core=core, pool=pool, gram=gram, moment=core.features.T @ core.targets)

    def mislabelled(self) -> Problem:
        """Every candidate with the label of the next class: planted, and far easier to tell apart."""
        targets = np.roll(self.pool.targets, 1, axis=1)
        pool = from_arrays(self.pool.features, targets, name="mislabelled", intercept=False)
        return replace(self, pool=pool)

    def weights(self, kept: Flags) -> Array:
        """Solve with those of the pool that are kept."""
        x, y = self.pool.features[kept], self.pool.targets[kept]
        return np.asarray(np.linalg.solve(self.gram + x.T @ x, self.moment + x.T @ y))

    def released(self, drawn: Flags, kind: str, noise: float, rng: np.random.Generator) -> Array:
        """Return what is released after the drawn records were given and asked to be deleted."""
        kept = {"lost": drawn, "half": drawn.copy(), "served": np.zeros(M, dtype=bool)}[kind]
        if kind == "half":
            kept[np.flatnonzero(drawn)[::2]] = False
        centre = self.weights(kept)
        return np.asarray(centre + noise * rng.standard_normal(centre.shape))

    def scorer(self, attack: Any, noise: float, *, alone: bool = False) -> LotScorer:
        """Prepare an attack, without any run."""
        shape = self.moment.shape
        context = AttackContext(
            retained=self.core,
            deleted=self.pool,
            release=ReleaseSpec(shape=shape),
            parameters={"penalty": 1.0, "noise": noise},
        )
        return attack.prepare(context, np.empty((0, *shape)), (), alone=alone)  # type: ignore[no-any-return]


def one_model(problem: Problem, repetitions: int) -> list[str]:
    """Median bounds of one model, and how often it refutes what holds."""
    lines = ["| requests | noise | matched, count | target | joint, count | joint, weighted | refuted at ε = 1 |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    filters = (MatchedFilter(), JointFilter(), JointFilter())
    for kind in ("lost", "half", "served"):
        for noise in NOISES:
            scorers = [problem.scorer(attack, noise) for attack in filters]
            bounds: list[list[float]] = [[], [], []]
            refuted = 0
            for i in range(repetitions):
                rng = np.random.default_rng([1, int(1000 * noise), i])
                coins = rng.random(M) < 0.5
                release = problem.released(coins, kind, noise, rng)
                for j, statistic in enumerate(("count", "count", "weighted")):
                    scores = scorers[j].scores(release)
                    found = audit.from_lots(scores, coins, claim=SETS, statistic=statistic)  # type: ignore[arg-type]
                    bounds[j].append(found.lower_bound)
                    refuted += found.verdict is audit.Verdict.REFUTED
            shown = [f"{float(np.median(b)):.2f}" for b in bounds]
            target = TARGETS.get((kind, noise))
            cells = [kind, f"{noise}", shown[0], "" if target is None else f"{target}", *shown[1:]]
            lines.append(f"| {' | '.join(cells)} | {refuted / repetitions / 3:.3f} |")
    return lines


def which_record(problem: Problem, repetitions: int, runs: int = 64) -> list[str]:
    """Median bounds of 64 runs with one record each."""
    lines = ["| pool | requests | noise | named rightly, median of 64 | lower bound, median | target |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    plain, wrong = ("as they are", problem), ("mislabelled", problem.mislabelled())
    for (pool, problem), kind, noise in (
        *((plain, "lost", noise) for noise in (0.005, 0.01, 0.02)),
        *((wrong, "lost", noise) for noise in (0.01, 0.02)),
        (plain, "served", 0.01),
    ):
        scorer, bounds, hits = problem.scorer(MatchedFilter(), noise, alone=True), [], []
        for i in range(repetitions):
            rng = np.random.default_rng([2, int(1000 * noise), i])
            drawn = rng.integers(0, M, runs)
            rows = [scorer.scores(problem.released(np.arange(M) == d, kind, noise, rng)) for d in drawn]
            found = audit.which_record(rows, drawn, claim=SINGLES)
            bounds.append(found.lower_bound)
            hits.append(found.hits)
        target = "5.0" if (kind, noise) == ("lost", 0.01) else ""
        shown = f"{np.median(hits):g} | {np.median(bounds):.2f}"
        lines.append(f"| {pool} | {kind} | {noise} | {shown} | {target} |")
    return lines


def stream(problem: Problem, repetitions: int, releases: int = 8) -> list[str]:
    """After how many releases requests that are lost are seen, verdict after every release."""
    lines = [f"| requests | noise | releases until refuted, median | refuted within {releases} |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for kind, noise in (("lost", 0.05), ("lost", 0.1), ("served", 0.05)):
        scorer, first = problem.scorer(MatchedFilter(), noise), []
        for i in range(repetitions):
            rng = np.random.default_rng([3, int(1000 * noise), i])
            state: audit.LotsResult | None = None
            for t in range(releases):
                coins = rng.random(M) < 0.5
                scores = scorer.scores(problem.released(coins, kind, noise, rng))
                state = audit.follow_stream(scores, coins, claim=SETS if state is None else None, state=state)
                if state.verdict is audit.Verdict.REFUTED:
                    first.append(t + 1)
                    break
            else:
                first.append(releases + 1)
        within = np.mean(np.asarray(first) <= releases)
        median = np.median(first)
        shown = f"{median:g}" if median <= releases else f"more than {releases}"
        lines.append(f"| {kind} | {noise} | {shown} | {within:.3f} |")
    return lines


def two_worlds(problem: Problem, noise: float, kind: str, models: int, seed: int) -> float:
    """Return the best bound of an audit in two worlds with so many models in all, of one drawn set."""
    drawn = np.random.default_rng([4, seed]).random(M) < 0.5
    data = from_arrays(
        np.concatenate([problem.core.features, problem.pool.features[drawn]]),
        np.concatenate([problem.core.targets, problem.pool.targets[drawn]]),
        name="digits",
        intercept=False,
    )
    solved: dict[int, Array] = {}

    def fit(records: Dataset, rng: np.random.Generator) -> Array:
        x, y = records.features, records.targets
        if len(x) not in solved:
            solved[len(x)] = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
        return np.asarray(solved[len(x)] + noise * rng.standard_normal(solved[len(x)].shape))

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        if kind == "lost" or not len(forget):
            return model
        half = [i for i in range(len(forget)) if i % 2]
        kept = np.flatnonzero(drawn)[half]
        left = np.zeros(M, dtype=bool)
        left[kept] = True
        centre = problem.weights(left)
        return np.asarray(centre + noise * rng.standard_normal(centre.shape))

    mechanism = from_functions(
        learn=fit,
        unlearn=unlearn,
        release=problem.moment.shape,
        reference=Reference.RETRAIN_ONLY,
        parameters={"penalty": 1.0},
    )
    forget = tuple(range(1300, data.n_records))
    claim = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY)
    attacks = ("influence", "lda") if models >= 128 else ("influence",)
    plan = audit.AuditPlan(claims=(claim,), forget=(forget,), attacks=attacks, trials=models // 2, seed=seed)
    found = audit.run(mechanism, data, plan)
    return max((test.bound.value for finding in found.findings for test in finding.tests), default=0.0)


def side_by_side(problem: Problem, repetitions: int) -> list[str]:
    """Median bounds at equal numbers of trained models."""
    lines = ["| requests | noise | models | by lot, matched | by lot, joint | two worlds | larger |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for kind, noise, models in (
        ("lost", 0.01, 1),
        ("lost", 0.01, 64),
        ("lost", 0.01, 128),
        ("lost", 0.1, 64),
        ("lost", 0.1, 128),
        ("half", 0.1, 64),
        ("half", 0.1, 128),
        ("half", 0.2, 128),
    ):
        scorers = [problem.scorer(attack, noise) for attack in (MatchedFilter(), JointFilter())]
        lots: list[list[float]] = [[], []]
        worlds = []
        for i in range(repetitions):
            rng = np.random.default_rng([5, int(1000 * noise), models, i])
            coins = rng.random((models, M)) < 0.5
            releases = [problem.released(row, kind, noise, rng) for row in coins]
            for j, scorer in enumerate(scorers):
                rows = [scorer.scores(release) for release in releases]
                lots[j].append(audit.from_lots(rows, coins, claim=SETS).lower_bound)
            worlds.append(two_worlds(problem, noise, kind, models, i) if models > 40 else 0.0)
        matched, joint, two = (float(np.median(found)) for found in (*lots, worlds))
        larger = "by lot" if max(matched, joint) > two else "two worlds" if two > max(matched, joint) else "neither"
        shown = f"{two:.2f}" if models > 40 else "too few"
        lines.append(f"| {kind} | {noise} | {models} | {matched:.2f} | {joint:.2f} | {shown} | {larger} |")
    return lines


def speed() -> list[str]:
    """Seconds of processor time to judge a million candidates."""
    rng = np.random.default_rng(6)
    m = 1_000_000
    coins = rng.random(m) < 0.5
    scores, claim = rng.normal(size=m) + 0.1 * coins, Claim(guarantee=POINT, covers=UpTo(k=m))
    lines = ["| statistic | seconds of one core | log of p₀ |", "| --- | ---: | ---: |"]
    for statistic in ("count", "weighted"):
        began = time.process_time()
        found = audit.from_lots(scores, coins, claim=claim, statistic=statistic)  # type: ignore[arg-type]
        took = time.process_time() - began
        lines.append(f"| {statistic} | {took:.2f} | {found.runs[0].log_p:.0f} |")
    return lines


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/lots.md"))
    parser.add_argument("--repetitions", type=int, default=64)
    options = parser.parse_args()
    problem, n = Problem.digits(), options.repetitions
    few = max(1, n // 8)
    parts: list[tuple[str, list[str]]] = []
    for title, make in (
        (f"One model: lower bound on ε, median of {n}", lambda: one_model(problem, n)),
        (f"Which record was deleted: 64 models, 200 candidates, median of {few}", lambda: which_record(problem, few)),
        (f"Release after release, {n} services", lambda: stream(problem, n)),
        (
            f"Beside two worlds (`audit.run`), equal numbers of models, median of {few}",
            lambda: side_by_side(problem, few),
        ),
        ("A million candidates", speed),
    ):
        print(title, flush=True)
        parts.append((title, make()))
        print("\n".join(parts[-1][1]), flush=True)
    text = f"# Deletions by lot\n\n{(__doc__ or '').strip()}\n\nLevel {LEVEL}, bounds at δ = {DELTA:g}.\n\n"
    text += "\n\n".join("\n".join([f"## {title}", "", *lines]) for title, lines in parts)
    options.out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
