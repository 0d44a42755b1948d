"""The study of the auditor's statistics: power, false alarms and times in one report.

    python benchmarks/auditor_statistics.py --out benchmarks/results/statistics.md      # make test-slow does this

``--quick`` takes a tenth of the replicates. Ends with exit code 1 when a false-alarm count is above its limit.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import false_alarms
import lower_bounds
import numpy as np
from bounds import FORWARD, LEVEL, RATES, milliseconds

from audit.records.counts import Counts
from audit.statistics.bands import band_bound
from audit.statistics.bounds import exact_joint_bound, exact_joint_p_value
from audit.statistics.e_process import epsilon_grid, make_e_process
from mechanisms.claim import EpsilonDelta


def times() -> list[str]:
    """Return a table of the times of one test, one bound, one band and a stream of pairs."""
    rng = np.random.default_rng(0)
    lines = ["| what | n = 1,000 | n = 100,000 | target |", "|---|---|---|---|"]
    tests: dict[int, list[float]] = {1000: [], 100_000: []}
    inversions: dict[int, list[float]] = {1000: [], 100_000: []}
    bands: dict[int, float] = {}
    for n in tests:
        for share1, share0, delta in RATES:
            counts = Counts(k_unlearned=round(share1 * n), n_unlearned=n, k_retrained=round(share0 * n), n_retrained=n)
            value = exact_joint_bound(counts, delta=delta, direction=FORWARD, level=LEVEL)
            point = EpsilonDelta(epsilon=value, delta=delta)
            test: Callable[[], object] = partial(
                exact_joint_p_value, counts, point=point, direction=FORWARD, level=LEVEL
            )
            tests[n].append(milliseconds(test))
            inversions[n].append(
                milliseconds(partial(exact_joint_bound, counts, delta=delta, direction=FORWARD, level=LEVEL))
            )
        left, right = rng.standard_normal(n) + 1, rng.standard_normal(n)
        bands[n] = milliseconds(partial(band_bound, left, right, delta=1e-5, direction=FORWARD, level=LEVEL))
    for name, found, target in (
        ("exact p-value (slowest of 6)", {n: max(v) for n, v in tests.items()}, "20 and 200 ms"),
        ("exact lower bound (median of 6)", {n: float(np.median(v)) for n, v in inversions.items()}, ""),
        ("exact lower bound (slowest of 6)", {n: max(v) for n, v in inversions.items()}, "50 ms and 1 s"),
        ("band over all thresholds", bands, "1 s at 100,000"),
    ):
        lines.append(f"| {name} | {found[1000]:.1f} ms | {found[100_000]:.1f} ms | {target} |")
    state = make_e_process(epsilons=epsilon_grid(1.0, 8.0), delta=1e-5)
    pairs = 200_000
    events = rng.random(pairs) < 0.3, rng.random(pairs) < 0.2
    seconds = milliseconds(lambda: state.update(*events)) / 1e3
    lines.append(f"| e-process, {len(state.epsilons)} epsilons | {pairs / seconds:,.0f} pairs/s | | 100,000 pairs/s |")
    return lines


class _Report:
    """Sections that are printed, and written, as each is done: the study takes over an hour."""

    def __init__(self, out: Path | None) -> None:
        self.out, self.text = out, ""

    def add(self, section: str) -> None:
        self.text += section if not self.text else "\n" + section
        print(section, flush=True)
        if self.out:
            self.out.write_text(self.text)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the replicates")
    arguments = parser.parse_args()
    share, quick = (10, " --quick") if arguments.quick else (1, "")
    head = [
        "# Statistics of the auditor: power, false alarms, times",
        "",
        f"`python benchmarks/auditor_statistics.py --seed {arguments.seed}{quick}`, "
        f"Python {platform.python_version()}, numpy {np.__version__}, two cores shared with other work. The",
        "methods are described in `benchmarks/lower_bounds.py` and `benchmarks/false_alarms.py`.",
        "",
    ]
    report = _Report(arguments.out)
    report.add("\n".join(head))
    report.add("## Lower bounds\n\n" + lower_bounds.study(200 // share, arguments.seed))
    alarms, sound = false_alarms.study(2000 // share, 2000 // share, arguments.seed)
    report.add("## False alarms\n\n" + alarms)
    report.add("\n".join(["## Times (median of 5 calls)", "", *times(), ""]))
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
