"""The command ``unlearn-audit same-randomness``: a few pairs of runs against a plan's claims. Imports are lazy."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from audit.commands.compare import mechanism_option, own_mechanism
from audit.commands.options.common import json_option
from audit.commands.output.saying import say_result
from audit.commands.processes.supervised import user_code
from audit.trials.workers.cores import usable_cores


@click.command("same-randomness")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--streams", type=click.IntRange(2), default=20, show_default=True, help="Pairs of runs a forget set.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Overrides the plan's seed.")
@click.option(
    "--jobs", type=click.IntRange(1), default=min(usable_cores(), 8), show_default=True, help="Worker processes."
)
@json_option
@mechanism_option("Look at this object of yours")
@click.option("--allow-inconclusive", is_flag=True, help="Exit 0 instead of 3 where the method does not apply.")
def same_randomness(
    plan: Path, streams: int, seed: int | None, jobs: int, as_json: bool, own: str | None, allow_inconclusive: bool
) -> int:
    """Run both worlds from the same random numbers and compare their difference with what the claims of PLAN allow.

    For mechanisms that add Gaussian noise to a fixed model: a few pairs of runs decide what sampling needs thousands of
    trials for. Whether a mechanism is one is checked; where it is not, nothing is said of its claims.

    Exit codes: 0 nothing refuted, 1 a claim refuted, 3 does not apply.
    """
    from audit.commands.output.saying import say_notes
    from audit.commands.plan_file.reading import read_plan
    from audit.commands.report import exit_code
    from audit.running.same_randomness import same_randomness as look
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress
    from reports.randomness.summary import randomness_summary

    resolved = read_plan(plan, seed=seed, mechanism=own_mechanism(own))
    say_notes(resolved)
    command = f"unlearn-audit same-randomness {shlex.quote(str(plan))} --seed {resolved.plan.seed} --streams {streams}"
    command += f" --mechanism {shlex.quote(own)}" if own else ""
    name = resolved.title or (f"{own} on {resolved.data.name}" if own else None)
    with show_progress() as progress, user_code("running both worlds"):
        found = look(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            streams=streams,
            engine=Engine(n_jobs=jobs, isolated=own is not None),
            progress=progress,
            title=f"Same randomness: {name}" if name else None,
            command=command,
        )
    say_result(found.to_json() if as_json else randomness_summary(found), nl=as_json, is_json=as_json)
    return exit_code(found, allow_inconclusive=allow_inconclusive)
