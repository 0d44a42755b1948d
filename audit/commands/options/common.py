"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from audit.trials.workers.cores import usable_cores

DEFAULT_JOBS = min(usable_cores(), 8)

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for the page as HTML, Markdown and JSON, and its numbers as CSV.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
allow_inconclusive_option = click.option(
    "--allow-inconclusive", is_flag=True, help="Exit 0 instead of 3 when nothing could be decided."
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1), default=DEFAULT_JOBS, show_default=True, help="Worker processes."
)
max_failed_option = click.option(
    "--max-failed",
    type=click.IntRange(0),
    default=None,
    help="Trials of a forget set that may fail before it is inconclusive; all count against refuting. 0 by default.",
)
trial_timeout_option = click.option(
    "--trial-timeout",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="Seconds that a trial may take: a chunk of n trials is given up after n times as long. No limit by default.",
)
setup_timeout_option = click.option(
    "--setup-timeout",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="Seconds that importing your mechanism, and binding it to a forget set, may take each. With a limit on trials "
    "120, or that of one trial if it is longer; else no limit.",
)
seed_option = click.option("--seed", type=click.IntRange(0), default=None, help="Overrides the seed.")
trials_option = click.option("--trials", type=click.IntRange(20), default=None, help="Overrides the plan's trials.")
