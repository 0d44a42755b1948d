"""The command ``unlearn-audit measure``: bounds and rates where nothing is claimed. Imports are lazy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.compare import mechanism_option, own_mechanism
from audit.commands.given.models import KINDS
from audit.commands.options.common import jobs_option, json_option, out_option, seed_option, trials_option
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import MEASURES, check_writable, display, settled
from audit.commands.processes.supervised import user_code
from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError

if TYPE_CHECKING:
    from audit.records.measures import MeasureResult


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--delta", type=float, default=None, help="Of the bounds on epsilon; 1e-5, or the plan's.")
@trials_option
@seed_option
@click.option("--significance", type=float, default=None, help="Probability that some bound is too large; 0.05.")
@click.option("--kind", type=click.Choice(KINDS), default=None, help="Of models: what an output is.")
@click.option("--details", type=click.IntRange(0), default=None, help="Of models: how many single records; 20.")
@jobs_option
@out_option
@json_option
@mechanism_option("Measure this object of yours")
def measure(
    path: Path,
    delta: float | None,
    trials: int | None,
    seed: int | None,
    significance: float | None,
    kind: str | None,
    details: int | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
    own: str | None,
) -> int:
    """Measure what nothing is claimed of: lower bounds on epsilon, AUC and true-positive rates, and never a verdict.

    PATH is a plan file, whose claims are not looked at and may be missing; or models of one deletion that exist, in a
    layout of "unlearn-audit models audit --help". Each number stands beside the same one for an ignored deletion (or
    for models before unlearning) and for retrained models against retrained ones.

    The exit code is 0 whatever was measured.
    """
    check_writable(out, contents=MEASURES)
    out = settled(out)
    given = {"delta": delta, "trials": trials, "seed": seed, "significance": significance}
    of_models = {"kind": kind, "details": details}
    options = {name: value for name, value in {**given, **of_models}.items() if value is not None}
    words = ["unlearn-audit", "measure", str(path), *(f"--{name}={value}" for name, value in options.items())]
    words += [f"--mechanism={own}"] if own else []
    command = shlex.join(words)
    if path.suffix == ".toml":
        _refuse(of_models, "models that exist")
        found = _drawn(path, jobs, own, command, given)
    else:
        _refuse({"trials": trials, "mechanism": own}, "a plan file")
        from audit.models.reading import read_models

        stored = read_models(path)
        say(f"{path.name or path}: {stored.layout}")
        found = stored.measure(command=command, **options)  # type: ignore[arg-type]
    return _publish(found, out, as_json)


def _refuse(options: Mapping[str, object], about: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InvalidInputError(
                field=f"--{name}", expected=f"only with {about}", got=value, fix="leave it out, or give another PATH"
            )


def _drawn(path: Path, jobs: int, own: str | None, command: str, given: dict[str, float | int | None]) -> MeasureResult:
    from audit.commands.output.saying import say_notes
    from audit.commands.plan_file.reading import read_plan
    from audit.running.measuring import measure as look
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress

    resolved = read_plan(path, mechanism=own_mechanism(own), claimed=False)
    say_notes(resolved)
    options = {name: value for name, value in given.items() if value is not None}
    with show_progress() as progress, user_code("measuring it"):
        return look(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            engine=Engine(n_jobs=jobs, isolated=own is not None),
            progress=progress,
            title=resolved.title,
            command=command,
            **options,  # type: ignore[arg-type]
        )


def _publish(found: MeasureResult, out: Path | None, as_json: bool) -> int:
    from reports.measures.writing import measures_summary, write_measures

    written: tuple[Path, ...] = ()
    code = ExitCode.OK
    try:
        written = () if out is None else write_measures(found, out)
    except Exception as error:
        # What was measured is printed all the same.
        say(f"Error: {error}")
        code = ExitCode.INTERNAL
    if not say_result(found.to_json() if as_json else measures_summary(found), is_json=as_json):
        code = ExitCode.INTERNAL
    for each in written:
        say(display(each))
    return code
