"""The command ``unlearn-audit compare``: is a candidate worse than a baseline? Imports are lazy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import check_writable, settled
from audit.errors import ExitCode
from audit.trials.workers.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from mechanisms.protocol import Mechanism

side_type = click.Path(path_type=Path, dir_okay=False)


def mechanism_option(what: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return the option ``--mechanism``, whose help begins with what it does."""
    return click.option(
        "--mechanism",
        "own",
        metavar="MODULE:OBJECT",
        default=None,
        help=f"{what} instead of a [mechanism] table, which the plan then must not have. Imports the module, searching "
        "the current directory too: this RUNS its code.",
    )


def own_mechanism(name: str | None, *, limit: float | None = None) -> Mechanism | None:
    """Return the mechanism that ``--mechanism`` names, which runs its module's code; ``None`` without the option.

    Parameters
    ----------
    name
        Module and object.
    limit
        Seconds that importing it may take; ``None`` for as long as it takes.
    """
    if name is None:
        return None
    from audit.commands.processes.supervised import user_code
    from audit.commands.processes.user_code import load_mechanism

    with user_code(f"importing {name}", limit=limit):
        return load_mechanism(name)


@click.command()
@click.argument("baseline", type=side_type)
@click.argument("candidate", type=side_type)
@click.option(
    "--kind",
    type=click.Choice(["certificates", "audits"]),
    default=None,
    help="For two plans: what to compute. Certificates where both mechanisms have them, else audits.",
)
@click.option(
    "--records", default="all", show_default=True, help="For two plans: all, hardest:N, or indices such as 3,17."
)
@click.option(
    "--baseline-plan",
    type=side_type,
    default=None,
    help="The plan that a stored BASELINE was run from: its attacks are fitted again and its events are frozen.",
)
@click.option(
    "--mechanism",
    "own",
    metavar="MODULE:OBJECT",
    default=None,
    help="CANDIDATE's mechanism, for a plan without a [mechanism] table. Imports the module: this RUNS its code.",
)
@click.option(
    "--baseline-mechanism",
    metavar="MODULE:OBJECT",
    default=None,
    help="The same for BASELINE, or for --baseline-plan.",
)
@click.option(
    "--margin", type=float, default=1e-6, show_default=True, help="Relative rise of epsilon or noise that is tolerated."
)
@click.option(
    "--accuracy-margin", type=float, default=0.01, show_default=True, help="Fall of the accuracy that is tolerated."
)
@click.option(
    "--rate-margin",
    type=float,
    default=0.02,
    show_default=True,
    help="Rise of an attack's true-positive rate (or fall of its false-positive rate) that is tolerated.",
)
@click.option(
    "--significance",
    type=float,
    default=0.05,
    show_default=True,
    help="All intervals hold together with probability 1 minus this.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=min(usable_cores(), 8), show_default=True, help="Worker processes."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on standard output.")
@click.option(
    "--markdown", type=side_type, default=None, help="Also write the comparison as Markdown, for a pull request."
)
@click.option(
    "--write-baseline", type=side_type, default=None, help="Write the candidate, without times, as the next baseline."
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 1 when a regression is shown, 3 when undecided.")
@click.option("--allow-inconclusive", is_flag=True, help="With --fail-on-regression: exit 0 instead of 3.")
def compare(
    baseline: Path,
    candidate: Path,
    kind: str | None,
    records: str,
    baseline_plan: Path | None,
    own: str | None,
    baseline_mechanism: str | None,
    margin: float,
    accuracy_margin: float,
    rate_margin: float,
    significance: float,
    jobs: int,
    as_json: bool,
    markdown: Path | None,
    write_baseline: Path | None,
    fail_on_regression: bool,
    allow_inconclusive: bool,
) -> int:
    """Say whether CANDIDATE is worse than BASELINE, by how much, and what could have been seen.

    Each is the JSON of `run`, the JSON of `certify`, or a plan (.toml), which is certified or run on the spot.
    Certificates are compared number by number; accuracies and the attacks' rates by intervals, which alone decide.
    Commit the baseline: unlearn-audit certify PLAN --json > baseline.json

    Exit codes: 0 after any comparison; with --fail-on-regression 0 only when every line is no worse within its margin,
    1 when a regression is shown, 3 when something could not be decided; 2 usage, 4 a mechanism that crashed.
    """
    from audit.commands import baselines
    from audit.commands.processes.supervised import user_code
    from audit.regression.comparison import Margins
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress
    from reports.comparisons.summary import comparison_markdown, comparison_summary
    from reports.writing import write_texts

    check_writable(files={"--markdown": markdown, "--write-baseline": write_baseline})
    markdown, write_baseline = settled(markdown), settled(write_baseline)
    margins = Margins(exact=margin, accuracy=accuracy_margin, rate=rate_margin, significance=significance)
    with show_progress() as progress, user_code("comparing it"):
        found, stored = baselines.compare_given(
            baselines.Given(path=baseline, mechanism=baseline_mechanism, plan=baseline_plan),
            baselines.Given(path=candidate, mechanism=own),
            baselines.Wanted(
                kind=kind,  # type: ignore[arg-type]
                records=records,
                margins=margins,
                engine=Engine(n_jobs=jobs, isolated=own is not None or baseline_mechanism is not None),
                progress=progress,
            ),
        )
    went_well = True
    try:
        if write_baseline is not None:
            baselines.write_baseline(stored, write_baseline)
        if markdown is not None:
            write_texts(markdown.parent, {markdown.name: comparison_markdown(found)})
    except Exception as error:
        say(f"Error: {error}")
        went_well = False
    went_well &= say_result(found.to_json() if as_json else comparison_summary(found), nl=as_json, is_json=as_json)
    code = _exit_code(found.outcome.value, fail_on_regression, allow_inconclusive)
    # Without --fail-on-regression there is no verdict in the exit code that a failure could hide.
    return code if went_well or fail_on_regression else ExitCode.INTERNAL


def _exit_code(outcome: str, fail_on_regression: bool, allow_inconclusive: bool) -> ExitCode:
    if not fail_on_regression or outcome in ("no_worse", "better"):
        return ExitCode.OK
    if outcome == "worse":
        return ExitCode.REFUTED
    return ExitCode.OK if allow_inconclusive else ExitCode.INCONCLUSIVE
