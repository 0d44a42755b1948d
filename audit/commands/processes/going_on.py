"""A run that is stopped says what is stored and how it goes on; one that is asked to withhold records keeps none."""

from __future__ import annotations

import functools
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from audit.commands.output.saying import say
from audit.commands.report import record_crash
from audit.errors import ExitCode, TrialError
from mechanisms.errors import InvalidInputError

fresh_option = click.option("--fresh", is_flag=True, help="Delete what an earlier run stored in --out, and start anew.")
keep_releases_option = click.option(
    "--keep-releases",
    is_flag=True,
    help="Keep the releases that attacks were fitted on after the run, beside its store in --out.",
)


def goes_on(command: Callable[..., int], *, below: str = "") -> Callable[..., int]:
    """Make a run that is stopped say what is stored and how it goes on, leave a JUnit file, and exit by its signal.

    Parameters
    ----------
    command
        The function of a command whose options it reads: ``run``, ``draw``, ``certify``.
    below
        Where the store is in ``--out``.
    """

    @functools.wraps(command)
    def told(**options: Any) -> int:
        out, junit, redact = options["out"], options.get("junit"), bool(options.get("redact"))
        out = out if out is None else out / below
        try:
            return command(**options)
        except KeyboardInterrupt as error:
            said = f"Interrupted by {signal.Signals(_number(error)).name}: {_stored(_store_of(options, out))}"
            say(said)
            if out is not None:
                say(f"Go on by: {_again(options)}")
            record_crash(junit, str(options["plan"]), said, redact=redact)
            return exit_code_of(error)
        except TrialError:
            if out is not None:
                say(f"Until then: {_stored(_store_of(options, out))}")
            raise

    return told


def _again(options: Mapping[str, Any]) -> str:
    """Return the command that goes on: what was given, but for what begins anew."""
    words = ["unlearn-audit", str(click.get_current_context().info_name), str(options["plan"])]
    for option in click.get_current_context().command.params:
        value = options.get(option.name or "")
        given = click.get_current_context().get_parameter_source(option.name or "")
        if isinstance(option, click.Option) and option.name != "fresh" and given is ParameterSource.COMMANDLINE:
            words += [option.opts[0]] if option.is_flag else [option.opts[0], str(value)]
    return shlex.join(words)


def _store_of(options: Mapping[str, Any], out: Path | None) -> Path | None:
    """Return the folder whose store a command writes to: a shard has its own below ``--out``."""
    if out is None or "shard" not in options:
        return out
    from audit.running.shards.dealing import Phase, Shard

    return out / Shard.parsed(options["shard"], Phase(options["phase"])).name


def exit_code_of(error: BaseException) -> int:
    """Return 128 and the number of the signal that ended a command."""
    return int(ExitCode.INTERRUPTED) - int(signal.SIGINT) + _number(error)


def _number(error: BaseException) -> int:
    """Return the signal of what ended a command; a plain interruption is that of the keyboard."""
    return int(getattr(error, "number", getattr(error.__cause__, "number", signal.SIGINT)))


def _stored(out: Path | None) -> str:
    from audit.trials.storing.inspection import summary_of

    if out is None:
        return "nothing was kept; with --out a run goes on where it was stopped."
    try:
        found = summary_of(out)
    except InvalidInputError:
        return "nothing was stored yet."
    return f"{found.n_stored:,} of {found.n_chunks:,} chunks are stored in {out}."


def keep_private(out: Path, *, began: bool) -> None:
    """Delete the store of a run whose records are to be withheld, or say what an earlier one left.

    Parameters
    ----------
    out
        The run's folder.
    began
        Whether the store is of this run alone; one that an earlier report belongs to is the user's to delete.
    """
    from audit.trials.storing.opening import discard

    if began:
        discard(out)
        say("The store is deleted: it names the records that --redact withholds.")
    else:
        say(f"The store in {out} names the records that --redact withholds; to delete it:")
        say(f"unlearn-audit store purge {shlex.quote(str(out))}")
