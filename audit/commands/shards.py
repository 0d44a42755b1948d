"""The commands ``draw`` and ``collect``: one audit as an array of jobs. Imports are lazy."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.compare import mechanism_option, own_mechanism
from audit.commands.options.common import (
    allow_inconclusive_option,
    jobs_option,
    json_option,
    max_failed_option,
    seed_option,
    setup_timeout_option,
    trial_timeout_option,
    trials_option,
)
from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import check_writable, display, settled
from audit.commands.processes.engines import engine_of, engine_options
from audit.commands.processes.going_on import goes_on
from audit.commands.processes.supervised import user_code
from audit.commands.report import (
    crash_recorded,
    exit_code,
    junit_option,
    publish,
    redact_option,
    show_records_option,
)
from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from audit.commands.plan_file.reading import ResolvedPlan
    from audit.records.result import AuditResult
    from audit.running.shards.drawing import Drawn
    from audit.running.shards.origin import Origin, Overrides
    from audit.trials.engines import Streams

    Drawing = AbstractContextManager[Streams]

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("plan", type=_FILE)
@click.option(
    "--phase",
    type=click.Choice(["fit", "count"]),
    required=True,
    help="Trials that attacks are fitted on, or those that are counted with the attacks that were fitted.",
)
@click.option("--shard", metavar="NUMBER/OF", required=True, help="Which part of the trials: 3/16 is the third of 16.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the audit; each shard has its own in it.")
@jobs_option
@seed_option
@trials_option
@mechanism_option("Draw from this object of yours")
@click.option("--fresh", is_flag=True, help="Delete what an earlier draw of this shard stored, and start anew.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Go on with a shard that another machine's process seems to write to: your batch system says that it is gone.",
)
@max_failed_option
@trial_timeout_option
@setup_timeout_option
@engine_options
@goes_on
def draw(
    plan: Path,
    phase: str,
    shard: str,
    out: Path,
    jobs: int,
    seed: int | None,
    trials: int | None,
    own: str | None,
    fresh: bool,
    take_over: bool,
    max_failed: int | None,
    trial_timeout: float | None,
    setup_timeout: float | None,
    engine: str,
    scheduler: str | None,
) -> int:
    """Draw one part of an audit's trials, on this machine alone; the same command goes on where it was stopped.

    First all shards of phase fit, then `collect DIR --fit`, all shards of phase count, and `collect DIR`. A phase may
    have any number of shards.
    """
    from audit.commands import power as cli_power
    from audit.running.shards.dealing import Dealing, Phase, Shard
    from audit.running.shards.drawing import draw_shard
    from audit.running.shards.origin import Origin, Overrides
    from audit.trials.progress import show_progress

    part = Shard.parsed(shard, Phase(phase))
    check_writable(out, contents=(f"{part.name}/",))
    folder = settled(out) or out
    overrides = Overrides(seed=seed, trials=trials, max_failed=max_failed, trial_timeout=trial_timeout)
    resolved = _read(plan, overrides, own, setup_timeout)
    # Said before any work is done, and before anything is written.
    Dealing.of(resolved.plan, part.phase)
    command = f"unlearn-audit draw {shlex.quote(str(plan))} --seed {resolved.plan.seed} --trials {resolved.plan.trials}"
    command += f" --mechanism {shlex.quote(own)}" if own else ""
    command += "" if max_failed is None else f" --max-failed {max_failed}"
    command += "" if trial_timeout is None else f" --trial-timeout {trial_timeout:g}"
    drawing = engine_of(engine, scheduler, jobs=jobs, isolated=own is not None, setup_timeout=setup_timeout)
    with show_progress() as progress, user_code(f"drawing {part}"), drawing as drawn_by:
        drawn = draw_shard(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            part,
            folder,
            origin=Origin(plan=str(plan.absolute()), overrides=overrides),
            engine=drawn_by,
            fresh=fresh,
            take_over=take_over,
            say=say,
            progress=progress,
            announce=cli_power.warner(None),
            command=f"{command} --phase {phase} --shard {shard}",
        )
    return _said(drawn, str(part), folder / part.name)


def _said(drawn: Drawn, part: str, folder: Path) -> int:
    """Say how a shard was drawn; the exit code is that of a mechanism that fails where every chunk did."""
    if drawn.stopped:
        say(f"Nothing was drawn: no trial can be drawn again. {drawn.stopped}")
        return ExitCode.INCONCLUSIVE
    before = f", {drawn.n_before:,} of them before" if drawn.n_before else ""
    say_result(f"{part[:1].upper()}{part[1:]}: {drawn.n_chunks:,} chunks drawn{before}, in {display(folder)}")
    if drawn.failures:
        n = len(drawn.failures)
        say(f"{n:,} chunks failed, twice each, and count against refuting; --fresh draws anew. {drawn.failures[0]}")
        if n == drawn.n_chunks:
            return ExitCode.INTERNAL
    return ExitCode.OK


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--fit", is_flag=True, help="Fit the attacks on the shards of phase fit, which count needs; once.")
@click.option("--plan", type=_FILE, default=None, help="The plan's file, where it is not where the shards found it.")
@mechanism_option("The object of yours that was drawn from")
@click.option("--out", type=_FOLDER, default=None, help="Folder for the report; DIR by default.")
@click.option("--keep-releases", is_flag=True, help="With --fit: keep the releases that attacks were fitted on.")
@json_option
@jobs_option
@engine_options
@allow_inconclusive_option
@junit_option
@redact_option
@show_records_option
def collect(
    folder: Path,
    fit: bool,
    plan: Path | None,
    own: str | None,
    out: Path | None,
    keep_releases: bool,
    as_json: bool,
    jobs: int,
    engine: str,
    scheduler: str | None,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    show_records: bool,
) -> int:
    """Put the shards of an audit together: fit its attacks (--fit), or judge it and write the report that `run` writes.

    Shards may have been drawn in DIR itself, or in folders that were copied into it.
    """
    if not folder.is_dir():
        raise InvalidInputError(
            field="DIR", expected="a folder with drawn shards", got=str(folder), fix="name what --out of `draw` named"
        )
    drawing = engine_of(engine, scheduler, jobs=jobs, isolated=own is not None)
    if fit:
        unused = {"--out": out is not None, "--json": as_json, "--junit": junit is not None, "--redact": redact}
        _refuse(unused | {"--allow-inconclusive": allow_inconclusive, "--show-records": show_records})
        check_writable(folder, contents=("fitted/",))
        return _fitted(settled(folder) or folder, plan, own, keep_releases, drawing)
    _refuse({"--keep-releases": keep_releases}, only="with --fit")
    out = folder if out is None else out
    check_writable(out, {"--junit": junit})
    folder, out, junit = settled(folder) or folder, settled(out) or out, settled(junit)
    result = _judged(folder, plan, own, junit, redact, drawing)
    publish(result, out, as_json, junit=junit, redact=redact, show_records=show_records)
    if redact:
        say(f"The shards in {folder} name the records that --redact withholds; delete them when you need them no more.")
    return exit_code(result, allow_inconclusive=allow_inconclusive)


def _fitted(folder: Path, plan: Path | None, own: str | None, keep_releases: bool, drawing: Drawing) -> int:
    from audit.running.shards.collecting import fit_shards
    from audit.trials.progress import show_progress

    resolved, origin = _found(folder, plan, own, fitting=True)
    with show_progress() as progress, user_code("fitting attacks"), drawing as drawn_by:
        fits = fit_shards(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            folder,
            origin=origin,
            engine=drawn_by,
            keep_releases=keep_releases,
            say=say,
            progress=progress,
        )
    n = len(fits.digests)
    say_result(f"Attacks on {n:,} forget set{'s' * (n != 1)} are fitted, in {display(folder / 'fitted')}")
    return ExitCode.OK


def _judged(
    folder: Path, plan: Path | None, own: str | None, junit: Path | None, redact: bool, drawing: Drawing
) -> AuditResult:
    from audit.running.shards.collecting import judge_shards
    from audit.trials.progress import show_progress

    with crash_recorded(junit, str(folder), redact=redact):
        resolved, origin = _found(folder, plan, own, fitting=False)
    recorded = crash_recorded(junit, resolved.title or str(folder), redact=redact)
    with recorded, show_progress() as progress, user_code("judging it"), drawing as drawn_by:
        return judge_shards(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            folder,
            origin=origin,
            engine=drawn_by,
            say=say,
            progress=progress,
            title=resolved.title,
            command=_command(folder, own),
        )


def _found(folder: Path, plan: Path | None, own: str | None, *, fitting: bool) -> tuple[ResolvedPlan, Origin]:
    """Return the plan that shards were drawn for, and where it is read now."""
    from audit.running.shards.collecting import origin_of
    from audit.running.shards.origin import Origin

    drawn = origin_of(folder, fitting=fitting)
    path = _plan_of(drawn, plan)
    origin = Origin(plan=str(path.absolute()), overrides=drawn.overrides)
    return _read(path, drawn.overrides, own), origin


def _command(folder: Path, own: str | None) -> str:
    return f"unlearn-audit collect {shlex.quote(str(folder))}" + (f" --mechanism {shlex.quote(own)}" if own else "")


def _read(plan: Path, overrides: Overrides, own: str | None, setup_timeout: float | None = None) -> ResolvedPlan:
    """Return the objects of a plan's file, titled as `run` does."""
    from audit.commands.output.saying import say_notes
    from audit.commands.plan_file.reading import limit_in, read_plan
    from audit.trials.engines import setup_limit

    mechanism = own_mechanism(own, limit=setup_limit(overrides.trial_timeout or limit_in(plan), setup_timeout))
    resolved = read_plan(
        plan,
        seed=overrides.seed,
        trials=overrides.trials,
        max_failed=overrides.max_failed,
        trial_timeout=overrides.trial_timeout,
        mechanism=mechanism,
    )
    say_notes(resolved)
    if own and not resolved.title:
        return replace(resolved, title=f"Audit of {own} on {resolved.data.name}")
    return resolved


def _plan_of(origin: Origin, given: Path | None) -> Path:
    """Return where the plan's file lies: where the first shard found it, unless another place is named."""
    path = Path(origin.plan) if given is None else given
    if given is None and not path.is_file():
        raise InvalidInputError(
            field="the plan of these shards",
            expected="where the first of them found it",
            got=f"{path}, which is not there",
            fix="name its file on this machine by --plan",
        )
    return path


def _refuse(given: dict[str, bool], *, only: str = "without --fit") -> None:
    for name, is_given in given.items():
        if is_given:
            raise InvalidInputError(field=name, expected=f"given only {only}", got="the other", fix="leave it out")
