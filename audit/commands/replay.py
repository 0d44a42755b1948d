"""The command ``replay``: one chunk of a stored run again, alone. Imports are lazy."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.commands.compare import mechanism_option, own_mechanism
from audit.commands.output.saying import say, say_result
from audit.commands.processes.supervised import user_code
from audit.commands.store import folder_argument
from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError, printable

if TYPE_CHECKING:
    from audit.running.replaying import ReplayedChunk
    from audit.trials.storing.inspection import StoreSummary

# What a stored command says of its run; options that change no trial are left out.
_RUN = click.Command(
    "run",
    params=[
        click.Argument(["plan"]),
        click.Option(["--seed"], type=int),
        click.Option(["--trials"], type=int),
        click.Option(["--stop-when-decided"], is_flag=True, default=None),
        click.Option(["--max-failed"], type=int),
        click.Option(["--trial-timeout"], type=float),
        click.Option(["--mechanism"]),
    ],
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)


_DRAWS = (["unlearn-audit", "run"], ["unlearn-audit", "draw"])


@click.command()
@folder_argument
@click.option("--chunk", default=None, metavar="ID", help="Draw this chunk again; without, chunks are listed.")
@click.option(
    "--plan",
    "given",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="The plan, where it is not the file that the run names, seen from here.",
)
@mechanism_option("Of a run with --mechanism, the same again: the object that is replayed,")
@click.option(
    "--scores",
    is_flag=True,
    help="Compare scores also where the trials that attacks were fitted on are not kept: they are drawn again.",
)
def replay(folder: Path, chunk: str | None, given: Path | None, own: str | None, scores: bool) -> int:
    """Draw one chunk of a stored run again, alone, and say whether it is what was stored, bit for bit.

    Of a chunk that failed the traceback is shown. Without --chunk the chunks of DIR are listed, failed ones first.
    Nothing is written.

    Exit codes: 0 equal, or failed again as it did; 1 different; 2 another plan, other data or no such chunk; 4 it ended
    its process, or was given up.
    """
    from audit.trials.storing.inspection import summary_of

    found = summary_of(folder)
    if chunk is None:
        _list(folder, found)
        return ExitCode.OK
    # Listed, verified and found before any code of the user's runs.
    options = _options(found, given, own)
    from audit.commands.plan_file.reading import read_plan
    from audit.running.replaying import replay_chunk

    path = options.pop("plan")
    resolved = read_plan(path, mechanism=own_mechanism(own), **options)
    with user_code(f"replaying {chunk}"):
        replayed = replay_chunk(
            resolved.mechanism, resolved.data, resolved.plan, store=folder, chunk=chunk, scores=scores
        )
    return _said(replayed)


def _options(found: StoreSummary, given: Path | None, own: str | None) -> dict[str, Any]:
    """Return the plan and what was said beside it; what a store names is never imported unless the user names it too.

    Raises
    ------
    InvalidInputError
        When the run was made from Python, its plan is not here, or its mechanism is not the one that was named.
    """
    words = shlex.split(found.command)
    if words[:2] not in _DRAWS:
        raise InvalidInputError(
            field=f"the store in {found.folder}",
            expected="of a run of a plan file",
            got=f"that of `{found.command}`" if found.command else "that of a run from Python",
            fix="nothing was drawn there that could be replayed"
            if found.command
            else "replay it there: audit.replay_chunk(mechanism, data, plan, store=..., chunk=...)",
        )
    params = dict(_RUN.make_context("run", words[2:]).params)
    mechanism, plan = params.pop("mechanism"), given or Path(params.pop("plan"))
    params.pop("plan", None)
    if mechanism != own:
        raise InvalidInputError(
            field="--mechanism",
            expected=f"{mechanism}, which the run was given: replaying it runs its code, for which you name it"
            if mechanism
            else "left out, as in the run",
            got="nothing" if own is None else own,
            fix=f"add --mechanism {mechanism}" if mechanism else "leave it out",
        )
    if not plan.is_file():
        raise InvalidInputError(
            field="PLAN",
            expected=f"at {plan}, seen from {Path.cwd()}",
            got="no file",
            fix="start from the folder that the run was started in, or name the plan by --plan",
        )
    return {"plan": plan, **params}


def _list(folder: Path, found: StoreSummary) -> None:
    """Print one line a chunk, those that failed first, and how to replay one."""
    from audit.trials.storing.inspection import rows_in
    from audit.trials.storing.resuming import failure_of

    failed, others = [], []
    for row, whole in rows_in(folder):
        trials = f"{row.n:,} {'trial' if row.n == 1 else 'trials'}"
        if not whole:
            others.append((row.key.id, trials, "damaged"))
        elif row.failed:
            failed.append((row.key.id, trials, f"failed: {next(iter(failure_of(row).message.splitlines()), '')}"))
        else:
            others.append((row.key.id, trials, f"{row.seconds:.3g} s"))
    lines = [*sorted(failed), *others]
    width, second = (max((len(line[i]) for line in lines), default=0) for i in range(2))
    text = "\n".join(f"{name:<{width}}  {trials:>{second}}  {said}" for name, trials, said in lines)
    if not say_result(printable(text)) or not lines:
        return
    words = ["unlearn-audit", "replay", str(folder), "--chunk", lines[0][0]]
    mechanism = _mechanism_of(found)
    say(f"Replay one by: {shlex.join(words + (['--mechanism', mechanism] if mechanism else []))}")


def _mechanism_of(found: StoreSummary) -> str | None:
    words = shlex.split(found.command)
    if words[:2] not in _DRAWS:
        return None
    named: str | None = _RUN.make_context("run", words[2:]).params["mechanism"]
    return named


def _said(replayed: ReplayedChunk) -> int:
    from audit.running.replay_findings import Replay

    if replayed.traceback:
        say(replayed.traceback.rstrip())
    changed = f"Changed since it was stored: {replayed.changed}." if replayed.changed else ""
    lines = [f"{replayed.outcome.value.upper()}: {replayed.where}", *replayed.sentences, *filter(None, [changed])]
    say_result(printable("\n".join(lines)))
    return {
        Replay.EQUAL: ExitCode.OK,
        Replay.FAILED_AGAIN: ExitCode.OK,
        Replay.DIFFERENT: ExitCode.REFUTED,
        Replay.ENDED: ExitCode.INTERNAL,
    }[replayed.outcome]
