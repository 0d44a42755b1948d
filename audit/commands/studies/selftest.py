"""The command ``unlearn-audit selftest``: who audits the auditor? Imports are lazy."""

from __future__ import annotations

from pathlib import Path

import click

from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import SELFTEST, check_writable, display, settled
from audit.errors import ExitCode
from audit.trials.workers.cores import usable_cores


@click.command()
@click.option("--quick", is_flag=True, help="A fifth of the trials: about a minute.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="The only source of randomness.")
@click.option("--only", "names", multiple=True, help="Audit this fault alone; may be given several times.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=min(usable_cores(), 8),
    show_default=True,
    help="Worker processes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for selftest.md and selftest.json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON on standard output.")
def selftest(quick: bool, seed: int, names: tuple[str, ...], jobs: int, out: Path | None, as_json: bool) -> int:
    """Audit services with seeded faults, and harmless variants, and compare with what is true.

    Exits 1 when a fault is missed that the planner calls all but certain to be found, or a harmless variant is refuted.
    """
    from audit.selftest.audits import SelftestSettings, run_selftest
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress
    from reports.selftests.summary import selftest_summary, write_selftest

    check_writable(out, contents=SELFTEST)
    out = settled(out)
    settings = SelftestSettings(seed=seed, quick=quick, names=names)
    with show_progress() as progress:
        result = run_selftest(settings, engine=Engine(n_jobs=jobs), progress=progress)
    written: tuple[Path, ...] = ()
    try:
        written = () if out is None else write_selftest(result, out)
    except Exception as error:
        say(f"Error: {error}. What was found stands.")
    say_result(result.to_json() if as_json else selftest_summary(result), is_json=as_json)
    for path in written:
        say(display(path))
    return ExitCode.OK if result.as_expected else ExitCode.REFUTED
