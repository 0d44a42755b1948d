"""Run ``unlearn-audit selftest --quick`` over many seeds: how often is each fault seen, how often a false alarm raised?

    python benchmarks/selftest_seeds.py [--seeds 20] [--out benchmarks/results/selftest.md]

Ends with exit code 1 when a fault is refuted in less than 90 % of the runs in which the planner calls its power .95 or
more, or when harmless variants are refuted more often than the binomial quantile (1e-6) of their level allows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import binom

from audit.records.verdict import Verdict
from audit.selftest.audits import SelftestSettings, run_selftest
from audit.selftest.result import Expectation, SelftestResult
from audit.trials.engines import Engine

SHARE, ALARM = 0.9, 1e-6


def report(results: list[SelftestResult]) -> tuple[str, bool]:
    """Return the table in Markdown, and whether every count is as it should be."""
    seconds = [result.seconds for result in results]
    lines = [
        "# Quick self-tests over many seeds",
        "",
        f"`python benchmarks/selftest_seeds.py --seeds {len(results)}`; two workers; {np.median(seconds):.0f} s each "
        f"(median, {min(seconds):.0f} to {max(seconds):.0f}).",
        "",
        "| service | trials a world | median planned power | runs with power >= .95 | refuted in these | refuted |",
        "|---|---|---|---|---|---|",
    ]
    sound, alarms, harmless_runs = True, 0, 0
    for i, first in enumerate(results[0].rows):
        rows = [result.rows[i] for result in results]
        sure = [row for row in rows if row.expected is Expectation.REFUTED]
        seen = sum(row.verdict is Verdict.REFUTED for row in sure)
        refuted = sum(row.verdict is Verdict.REFUTED for row in rows)
        sound &= seen >= SHARE * len(sure)
        if first.harmless:
            alarms, harmless_runs = alarms + refuted, harmless_runs + len(rows)
        powers = [row.planned_power for row in rows if row.planned_power is not None]
        power = f"{np.median(powers):.3f}" if powers else "-"
        kind = " (harmless)" if first.harmless else ""
        lines.append(
            f"| {first.name}{kind} | {first.trials:,} | {power} | {len(sure)} | {seen} | {refuted} of {len(rows)} |"
        )
    most = int(binom.isf(ALARM, harmless_runs, results[0].each))
    sound &= alarms <= most
    lines += ["", f"Harmless variants refuted: {alarms} of {harmless_runs} audits at level {results[0].each:g} each "]
    lines[-1] += f"(at most {most} are within the binomial quantile)."
    return "\n".join([*lines, ""]), sound


def main() -> None:
    """Run the study; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    start, results = time.monotonic(), []
    for seed in range(arguments.seeds):
        results.append(run_selftest(SelftestSettings(quick=True, seed=seed), engine=Engine(n_jobs=2)))
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        text, sound = report(results)
        if arguments.out:
            arguments.out.write_text(text)
    print(text)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
