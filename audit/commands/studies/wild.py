"""The command ``unlearn-audit wild``: published mechanisms against the committed table. Imports are lazy."""

from __future__ import annotations

from pathlib import Path

import click

from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import WILD, check_writable, display, settled
from audit.errors import ExitCode
from audit.trials.workers.cores import usable_cores

# In a clone; a wheel has none.
COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results" / "wild.json"


@click.command()
@click.option("--quick", is_flag=True, help="One seed in place of three, and no screening: under three minutes.")
@click.option("--row", "names", multiple=True, help="Audit this row alone; may be given several times.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Table to compare with; benchmarks/results/wild.json of a clone by default. It is never rewritten.",
)
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
    help="Folder for wild.json, wild.html and wild.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON on standard output.")
def wild(quick: bool, names: tuple[str, ...], against: Path | None, jobs: int, out: Path | None, as_json: bool) -> int:
    """Audit published mechanisms of certified unlearning beside their corrected twins.

    Exits 1 when a category or a verdict differs from the committed table, and 0 otherwise: refuted rows are its normal
    content. Seeds are taken from the version.
    """
    from audit.selftest.wild.comparing import differences
    from audit.selftest.wild.result import WildResult
    from audit.selftest.wild.running import WildSettings, run_wild
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress
    from reports.wild.writing import wild_summary, write_wild

    settings = WildSettings(quick=quick, names=names)
    settings.rows()
    place = against or (COMMITTED if COMMITTED.exists() else None)
    committed = None if place is None else WildResult.from_json(place.read_text(encoding="utf-8"))
    check_writable(out, contents=WILD)
    out = settled(out)
    _keep(out, place)
    with show_progress() as progress:
        result = run_wild(settings, engine=Engine(n_jobs=jobs), progress=progress)
    found = None if committed is None else differences(result, committed, whole=not names)
    written: tuple[Path, ...] = ()
    try:
        written = () if out is None else write_wild(result, out)
    except Exception as error:
        say(f"Error: {error}. What was found stands.")
    say_result(result.to_json() if as_json else wild_summary(result, found), is_json=as_json)
    if as_json:
        for sentence in found or ():
            say(f"NOT as committed: {sentence}")
    for path in written:
        say(display(path))
    return ExitCode.REFUTED if found else ExitCode.OK


def _keep(out: Path | None, committed: Path | None) -> None:
    """Refuse to write over the table that is compared with."""
    from mechanisms.errors import require

    taken = out is not None and committed is not None and (out / "wild.json").resolve() == committed.resolve()
    require(
        not taken,
        "--out",
        expected="another folder than that of the committed table",
        got=str(out),
        fix="choose out/wild, and copy the file yourself where a change is meant",
    )
