"""Every target of speed beside what is measured, in one run: ``python benchmarks/speed [--quick] [--out FILE.md]``.

On a machine that does nothing else; about six minutes on two cores. ``--quick`` takes small sizes, to see that it runs.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dry_run
import engines
import store

import audit

Line = tuple[str, str, str, bool]


def lines(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield what is measured, the target, the measured number, and whether it is met."""
    for n_jobs in (1, 2):
        plain, stored = store.overhead(n_jobs, folder)
        share = stored / plain - 1
        yield (
            f"store beside chunks of {store.SECONDS} s, {n_jobs} at a time",
            "below +1 %",
            f"{share:+.2%}",
            share < 0.01,
        )
    read, _ = store.reading(folder / "reading")
    yield "1,000,000 scores read back", "below 0.1 s", f"{read:.3f} s", read < 0.1
    n, _, again, _ = store.going_on(folder / "run", trials=24_000 if quick else 480_000)
    yield f"a run of {n:,} finished chunks goes on", "below 3 s", f"{again:.2f} s", again < 3
    ratio, at_work = engines.shares(4 if quick else 20, store.SECONDS)
    said = f"{ratio:.1%} (at work {at_work:.1%} of the time)"
    yield f"two workers, chunks of {store.SECONDS} s, of ideal", "at least 90 %", said, ratio >= 0.9
    beside = dask_beside_processes()
    yield f"dask beside processes, chunks of {store.SECONDS} s", "below +15 %", f"{beside - 1:+.1%}", beside < 1.15
    for name, (dry, whole) in dry_run.ratios(0.1 if quick else 1.0).items():
        yield f"dry run of its run, {name}", "at most 10 %", f"{dry / whole:.1%} of {whole:.1f} s", dry <= whole / 10


def dask_beside_processes() -> float:
    """Return the time of chunks on two Dask workers over that on two worker processes, in turns."""
    ratios = []
    with audit.DaskEngine(workers=2) as dask:
        processes = audit.Engine(n_jobs=2)
        # Twice: Dask changes where modules are looked for, and workers are started anew then.
        for engine in (processes, dask, processes, dask):
            store.seconds_of(engine, 0.01, 4)
        for _ in range(store.ROUNDS):
            times = [store.seconds_of(engine, store.SECONDS, store.N_TIMED) for engine in (processes, dask)]
            ratios.append(times[1] / times[0])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args()
    if chosen.quick:
        store.ROUNDS, store.N_TIMED, engines.REPEATS, store.SECONDS = 1, 4, 1, 0.05
    text = [f"# Speed\n\nPython {platform.python_version()}, medians of {store.ROUNDS}\n"]
    print(text[0])
    with tempfile.TemporaryDirectory(dir=chosen.out.parent if chosen.out else None) as name:
        for measured, target, found, met in lines(Path(name), chosen.quick):
            text.append(f"* {measured}: {found} ({target}{'' if met else ': NOT MET'})")
            print(text[-1], flush=True)
    if chosen.out is not None:
        chosen.out.write_text("\n".join([*text, ""]), encoding="utf-8")


# Dask starts processes that import this file.
if __name__ == "__main__":
    main()
