"""The command line. Imports are lazy: ``--help`` answers at once."""

from __future__ import annotations

import functools
import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.commands.compare import compare, mechanism_option, own_mechanism
from audit.commands.given.lots import lots
from audit.commands.given.measure import measure
from audit.commands.given.models import models
from audit.commands.given.scores import scores
from audit.commands.options.common import (
    allow_inconclusive_option,
    jobs_option,
    json_option,
    max_failed_option,
    out_option,
    seed_option,
    setup_timeout_option,
    trial_timeout_option,
    trials_option,
)
from audit.commands.output.filing.case_file import case_option, filed_case
from audit.commands.output.filing.verify import verify
from audit.commands.output.saying import finish_streams, prepare_streams, say
from audit.commands.output.writable import CERTIFICATES, CERTIFICATES_STORE, STREAMS, check_writable, settled
from audit.commands.power import margin_option, power
from audit.commands.processes.engines import engine_of, engine_options
from audit.commands.processes.going_on import exit_code_of, fresh_option, goes_on, keep_private, keep_releases_option
from audit.commands.processes.supervised import runs_user_code, supervise, user_code
from audit.commands.replay import replay
from audit.commands.report import crash_recorded, junit_option, publish, redact_option, report, show_records_option
from audit.commands.report import exit_code as exit_code
from audit.commands.same_randomness import same_randomness
from audit.commands.shards import collect, draw
from audit.commands.store import store
from audit.commands.streams import certify_requests
from audit.commands.studies.selftest import selftest
from audit.commands.studies.wild import wild
from audit.errors import ExitCode, PlanError, SchemaError, TrialError
from audit.trials.signals import ending_signals
from mechanisms.errors import (
    InvalidInputError,
    NotApplicableError,
    UnlearnAuditError,
    UnreachableTargetError,
)

if TYPE_CHECKING:
    pass

USAGE_ERRORS = (InvalidInputError, PlanError, SchemaError, UnreachableTargetError, NotApplicableError)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unlearn-audit")
def main() -> None:
    """Audit claims of certified unlearning: retrain against unlearn, attack, count, and refute what does not hold.

    Exit codes: 0 nothing refuted, 1 a claim refuted (or, if asked for, a regression shown), 2 usage or configuration,
    3 inconclusive, 4 internal error or a mechanism that crashed, 130 interrupted (129 hung up, 143 terminated).
    """


main.add_command(collect)
main.add_command(compare)
main.add_command(draw)
main.add_command(lots)
main.add_command(measure)
main.add_command(models)
main.add_command(power)
main.add_command(replay)
main.add_command(report)
main.add_command(same_randomness)
main.add_command(scores)
main.add_command(selftest)
main.add_command(store)
main.add_command(verify)
main.add_command(wild)


@main.command()
@click.option("--rows", type=click.IntRange(100, 1797), default=1500, show_default=True, help="Digits to train on.")
@click.option(
    "--trials", type=click.IntRange(200), default=20_000, show_default=True, help="Releases a world and record."
)
@out_option
@json_option
@jobs_option
@seed_option
def demo(rows: int, trials: int, out: Path | None, as_json: bool, jobs: int, seed: int | None) -> int:
    """Delete three digits and audit who really deleted them (a few minutes)."""
    from audit.commands.demo import DemoSettings, run_demo
    from audit.trials.engines import Engine
    from audit.trials.progress import show_progress

    out = out or Path("out/demo")
    check_writable(out)
    out = settled(out)
    settings = (
        DemoSettings(rows=rows, trials=trials) if seed is None else DemoSettings(rows=rows, trials=trials, seed=seed)
    )
    with show_progress() as progress:
        outcome = run_demo(settings, engine=Engine(n_jobs=jobs), progress=progress)
    # The digits are public.
    publish(outcome.collection, out, as_json, show_records=True)
    if not outcome.as_expected:
        say("Some verdicts differ from what the exact laws predict: see 'Expected and found'.")
    return ExitCode.OK if outcome.as_expected else ExitCode.REFUTED


@main.command()
def init() -> int:
    """Print a commented plan that runs: unlearn-audit init > plan.toml."""
    from audit.commands.plan_file.example import example_plan

    click.echo(example_plan(), nl=False)
    return ExitCode.OK


@main.command("list")
@click.argument("what", type=click.Choice(["mechanisms", "attacks", "datasets"]))
def list_(what: str) -> int:
    """List what a plan can name."""
    from attacks.registry import SUMMARIES
    from mechanisms.registry import MECHANISMS
    from mechanisms.sources import NAMED

    entries = {
        "mechanisms": MECHANISMS,
        "attacks": SUMMARIES,
        "datasets": {name: entry.summary for name, entry in NAMED.items()},
    }[what]
    width = max(map(len, entries))
    for name, summary in entries.items():
        click.echo(f"{name:<{width}}  {summary}")
    return ExitCode.OK


@main.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@out_option
@json_option
@jobs_option
@seed_option
@trials_option
@click.option(
    "--stop-when-decided",
    is_flag=True,
    default=None,
    help="Count trials as they come and stop with a record once its claims are refuted; the trials are the most drawn.",
)
@margin_option
@mechanism_option("Audit this object of yours")
@fresh_option
@keep_releases_option
@max_failed_option
@trial_timeout_option
@setup_timeout_option
@engine_options
@click.option(
    "--dry-run", is_flag=True, help="Only check cheaply: replays, a trial of each world, attacks, places, time."
)
@allow_inconclusive_option
@junit_option
@redact_option
@show_records_option
@case_option
@goes_on
def run(
    plan: Path,
    out: Path | None,
    as_json: bool,
    jobs: int,
    engine: str,
    scheduler: str | None,
    seed: int | None,
    trials: int | None,
    stop_when_decided: bool | None,
    margin: float | None,
    own: str | None,
    fresh: bool,
    keep_releases: bool,
    max_failed: int | None,
    trial_timeout: float | None,
    setup_timeout: float | None,
    dry_run: bool,
    allow_inconclusive: bool,
    junit: Path | None,
    redact: bool,
    show_records: bool,
    case_file: Path | None,
) -> int:
    """Run the audit of a plan file. With --out an audit that was stopped goes on where it was."""
    from audit.commands import power as cli_power
    from audit.commands.output.filing.evidence import Evidence
    from audit.commands.output.saying import say_notes
    from audit.commands.plan_file.reading import limit_in, read_plan
    from audit.running.runner import run as run_audit
    from audit.trials.engines import setup_limit
    from audit.trials.progress import show_progress
    from audit.trials.store import Storage
    from audit.trials.storing.opening import database

    check_writable(out, {"--junit": junit})
    out, junit = settled(out), settled(junit)
    evidence = Evidence(out)
    case = filed_case(case_file, evidence)
    with crash_recorded(junit, str(plan), redact=redact):
        limit = setup_limit(trial_timeout or limit_in(plan), setup_timeout)
        mechanism = own_mechanism(own, limit=limit)
        evidence.mechanism(mechanism, own)
        resolved = read_plan(
            plan,
            seed=seed,
            trials=trials,
            stop_when_decided=stop_when_decided,
            max_failed=max_failed,
            trial_timeout=trial_timeout,
            mechanism=mechanism,
            seen=evidence.read,
        )
    if own and not resolved.title:
        # The name that the user knows it by; objects of one kind often share the name that they give themselves.
        resolved = replace(resolved, title=f"Audit of {own} on {resolved.data.name}")
    say_notes(resolved)
    # Nothing that a trial of the user's own code does can end this process.
    drawing = engine_of(engine, scheduler, jobs=jobs, isolated=own is not None, setup_timeout=setup_timeout)
    if dry_run:
        with crash_recorded(junit, resolved.title or str(plan), redact=redact), drawing as drawn_by:
            code = cli_power.dry_run(resolved, plan, margin=margin, engine=drawn_by, as_json=as_json)
        return ExitCode.OK if allow_inconclusive and code == ExitCode.INCONCLUSIVE else code
    command = f"unlearn-audit run {shlex.quote(str(plan))} --seed {resolved.plan.seed} --trials {resolved.plan.trials}"
    command += " --stop-when-decided" if stop_when_decided else ""
    command += f" --mechanism {shlex.quote(own)}" if own else ""
    command += "" if max_failed is None else f" --max-failed {max_failed}"
    command += "" if trial_timeout is None else f" --trial-timeout {trial_timeout:g}"
    began = out is not None and (fresh or not database(out).exists() or not (out / "report.json").exists())
    recorded = crash_recorded(junit, resolved.title or str(plan), redact=redact)
    with recorded, show_progress() as progress, user_code("auditing it"), drawing as drawn_by:
        result = run_audit(
            resolved.mechanism,
            resolved.data,
            resolved.plan,
            engine=drawn_by,
            store=Storage(folder=out, fresh=fresh, keep_releases=keep_releases, say=say),
            progress=progress,
            announce=cli_power.warner(margin),
            title=resolved.title,
            command=command,
        )
    result = replace(result, case=case)
    publish(result, out, as_json, junit=junit, redact=redact, show_records=show_records, evidence=evidence)
    if redact and out is not None:
        keep_private(out, began=began)
    return exit_code(result, allow_inconclusive=allow_inconclusive)


certificates_go_on = functools.partial(goes_on, below=CERTIFICATES_STORE)
records_option = click.option(
    "--records", default="all", show_default=True, help="all, hardest:N, or indices such as 3,17."
)
routes_option = click.option(
    "--routes",
    default="exact,repaired,published,uniform",
    show_default=True,
    help="Routes to compare, separated by commas; pool, one noise for whoever was deleted, is certified on request.",
)


@main.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@records_option
@routes_option
@out_option
@json_option
@jobs_option
@mechanism_option("Certify this mechanism of yours, of a kind that has certificates")
@fresh_option
@redact_option
@show_records_option
@certificates_go_on
def certify(
    plan: Path,
    records: str,
    routes: str,
    out: Path | None,
    as_json: bool,
    jobs: int,
    own: str | None,
    fresh: bool,
    redact: bool,
    show_records: bool,
) -> int:
    """Compute the exact epsilon of deleting each record, or of each release of a stream. No audit.

    Of logistic regression: the epsilon that its route certifies of each record, an upper bound. Of a network: what the
    noise of its learning certifies of each record, by budgets of their own if it has them.

    With --out what was stopped goes on where it was. With --redact only what is a property of at least 20 records is
    left: how many there are, means and shares.
    """
    command = f"certify {shlex.quote(str(plan))}"
    return _certify(plan, records, routes, None, out, as_json, jobs, command, own, fresh, redact, show_records)


@main.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--epsilon", type=click.FloatRange(0, min_open=True), required=True, help="Target, in nats.")
@click.option("--delta", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=1e-5, show_default=True)
@records_option
@routes_option
@out_option
@json_option
@jobs_option
@fresh_option
@redact_option
@show_records_option
@certificates_go_on
def calibrate(
    plan: Path,
    epsilon: float,
    delta: float,
    records: str,
    routes: str,
    out: Path | None,
    as_json: bool,
    jobs: int,
    fresh: bool,
    redact: bool,
    show_records: bool,
) -> int:
    """Find the smallest unlearning noise for a target, per record and route, and the accuracy that it leaves.

    Of a network: limit the budgets that records have in learning to the target.

    With --out what was stopped goes on where it was. With --redact only what is a property of at least 20 records is
    left: how many meet the target, means and shares.
    """
    command = f"calibrate {shlex.quote(str(plan))} --epsilon {epsilon:g} --delta {delta:g}"
    target = (epsilon, delta)
    return _certify(plan, records, routes, target, out, as_json, jobs, command, None, fresh, redact, show_records)


def _certify(
    plan: Path,
    records: str,
    routes: str,
    target: tuple[float, float] | None,
    out: Path | None,
    as_json: bool,
    jobs: int,
    command: str,
    own: str | None,
    fresh: bool,
    redact: bool,
    show_records: bool,
) -> int:
    from audit.certificates.certifying import certify as compute
    from audit.certificates.certifying import make_request
    from audit.commands.output.certificates import publish_certificates
    from audit.commands.output.saying import say_notes
    from audit.commands.plan_file.reading import read_plan
    from audit.trials.progress import show_progress
    from audit.trials.store import Storage
    from mechanisms.serving.streams import RequestStream

    check_writable(out, contents=(*CERTIFICATES, *STREAMS, f"{CERTIFICATES_STORE}/"))
    out = settled(out)
    resolved = read_plan(plan, mechanism=own_mechanism(own))
    say_notes(resolved)
    command += f" --mechanism {shlex.quote(own)}" if own else ""
    if isinstance(resolved.mechanism, RequestStream):
        return certify_requests(resolved, records, target, out, as_json, command, fresh, redact)
    request = make_request(records=records, routes=routes, target=target)
    with show_progress() as progress, user_code("certifying it"):
        computed = compute(
            resolved.mechanism,
            resolved.data,
            request,
            seed=resolved.plan.seed,
            n_jobs=jobs,
            store=Storage(folder=None if out is None else out / CERTIFICATES_STORE, fresh=fresh, say=say),
            progress=progress,
            title=resolved.title,
            command=f"unlearn-audit {command} --records {records} --routes {routes}",
            redact=redact,
        )
    certification = computed if show_records else replace(computed, previews=())
    return publish_certificates(certification, out, as_json, redact=redact)


def entry_point() -> None:
    """Run the command line and exit with a code that never confuses a crash with a refuted claim."""
    prepare_streams()
    with ending_signals():
        arguments = sys.argv[1:]
        code = int(supervise(arguments) if runs_user_code(arguments) else guarded(arguments))
    finish_streams()
    sys.exit(code)


def guarded(arguments: list[str]) -> int:
    """Run the command line with arguments and return its exit code; errors go to standard error."""
    try:
        return int(main.main(args=arguments, prog_name="unlearn-audit", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return ExitCode.USAGE
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue().rstrip())
        return ExitCode.USAGE
    except USAGE_ERRORS as error:
        say(f"Error: {error}")
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort) as error:
        say("Interrupted; nothing was written.")
        return exit_code_of(error)
    except BrokenPipeError:
        # The reader of our output went away (`... | head`) before there was a verdict, or where there is none.
        return ExitCode.INTERNAL
    except TrialError as error:
        _show_cause(error)
        say(f"Error: {error}")
        return ExitCode.INTERNAL
    except UnlearnAuditError as error:
        say(f"Error: {error}")
        return ExitCode.INTERNAL
    except (Exception, SystemExit) as error:
        _show_cause(error)
        say(f"Internal error: {type(error).__name__}: {error}")
        return ExitCode.INTERNAL


def _show_cause(error: BaseException) -> None:
    """Print the traceback of what went wrong inside: the reader may need to mend their own mechanism."""
    import traceback

    cause = error.__cause__ or error
    say("".join(traceback.format_exception(cause)))
