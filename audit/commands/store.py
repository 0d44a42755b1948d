"""The command ``store``: what a run has kept so far, whether it is whole, its scores as a table, and its end."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from audit.errors import ExitCode
from mechanisms.errors import InvalidInputError, printable

if TYPE_CHECKING:
    from audit.trials.rows import Row
    from audit.trials.storing.inspection import StoreSummary

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
COLUMNS = ("step", "stream", "world", "forget_set", "chunk", "trial", "contrast", "attack", "score")
# Megabytes are what a user clears a disk of.
_MEGABYTE = 10**6


@click.group()
def store() -> None:
    """Look into what `run --out DIR` keeps so that it can go on: list it, verify it, export its scores, delete it."""


@store.command("ls")
@folder_argument
def list_(folder: Path) -> int:
    """List the store of a run, or those of all runs in a folder."""
    from audit.trials.storing.inspection import stores_below, summary_of

    for found in stores_below(folder):
        click.echo(printable(_line(summary_of(found))))
    return ExitCode.OK


@store.command()
@folder_argument
def verify(folder: Path) -> int:
    """Read everything in a store: exit code 0 when it is whole, 2 with what is damaged."""
    from audit.records.words.phrases import upper_first
    from audit.records.words.rounding import all_of, counted
    from audit.trials.storing.inspection import damage_in, rows_in

    found = damage_in(folder)
    whole = sum(whole for _, whole in rows_in(folder))
    for sentence in found:
        click.echo(printable(sentence))
    verb = "is" if whole == 1 else "are"
    click.echo(f"{upper_first(counted(whole, 'chunk') if found else all_of(whole, 'chunk'))} {verb} whole.")
    return ExitCode.USAGE if found else ExitCode.OK


@store.command()
@folder_argument
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File to write; standard output by default.",
)
def export(folder: Path, form: str, target: Path | None) -> int:
    """Write the scores of every chunk that can be read, one row a score (CSV) or one object a chunk (JSON)."""
    from audit.commands.output.writable import check_writable
    from audit.trials.storing.inspection import rows_in

    check_writable(None, {"--to": target})
    rows = (row for row, whole in rows_in(folder) if whole)
    written = _write_csv if form == "csv" else _write_json
    if target is None:
        try:
            written(rows, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever reads it has enough of it: what is left in the buffer is for nobody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as file:
        n = written(rows, file)
    click.echo(f"{n:,} chunks: {printable(str(target))}", err=True)
    return ExitCode.OK


@store.command()
@folder_argument
@click.option("--releases", is_flag=True, help="Delete only the releases that attacks were fitted on.")
@click.option("--lock", is_flag=True, help="Only free a store whose writer is gone together with its machine.")
def purge(folder: Path, releases: bool, lock: bool) -> int:
    """Delete a store; reports beside it stay. A run that has not ended begins anew then."""
    from audit.trials.store import drop_releases, releases_folder
    from audit.trials.storing.inspection import summary_of
    from audit.trials.storing.opening import database, discard, free

    if releases and lock:
        raise InvalidInputError(field="purge", expected="one of --releases and --lock", got="both", fix="drop one")
    if not database(folder).is_file():
        raise InvalidInputError(
            field="DIR", expected="the folder of a run with a store", got=str(folder), fix="check the path"
        )
    if lock:
        click.echo(f"Freed: it was held by {free(folder)}." if summary_of(folder).holder else "Nobody holds it.")
    elif releases:
        drop_releases(releases_folder(folder))
        click.echo("The releases are deleted; a run that goes on draws them again.")
    else:
        discard(folder)
        click.echo(f"The store in {printable(str(folder))} is deleted.")
    return ExitCode.OK


def _line(found: StoreSummary) -> str:
    size = f"{(found.n_bytes + found.n_release_bytes) / _MEGABYTE:.1f} MB"
    state = "finished" if found.finished else "unfinished"
    failed = f" ({found.n_failed:,} failed)" if found.n_failed else ""
    held = f", written to by {found.holder}" if found.holder is not None else ""
    # Of certificates there are none.
    trials = f"{found.trials:,} trials" if found.trials else "certificates"
    return (
        f"{found.folder}: {found.n_stored:,} of {found.n_chunks:,} chunks{failed}, {state}, {size}, "
        f"{found.data}, {trials}, seed {found.seed}{held}"
    )


def _write_csv(rows: Iterator[Row], file: TextIO) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    n = 0
    for row in rows:
        n += 1
        for text, scores in row.scored().items():
            place = (row.step, row.stream, row.world, row.record, row.chunk)
            writer.writerows((*place, i, *_named(text), repr(float(score))) for i, score in enumerate(scores))
    return n


def _write_json(rows: Iterator[Row], file: TextIO) -> int:
    n = 0
    file.write("[")
    for row in rows:
        file.write(",\n " if n else "\n ")
        json.dump(_as_object(row), file)
        n += 1
    file.write("\n]\n")
    return n


def _as_object(row: Row) -> dict[str, Any]:
    return {
        "step": row.step,
        "stream": row.stream,
        "world": row.world,
        "forget_set": row.record,
        "chunk": row.chunk,
        "n": row.n,
        "worker": row.worker,
        "seconds": row.seconds,
        "scores": [
            {"contrast": contrast, "attack": attack, "scores": scores.tolist()}
            for text, scores in row.scored().items()
            for contrast, attack in [_named(text)]
        ],
        "failures": json.loads(row.failures),
        "failed": json.loads(row.failed) if row.failed else None,
        "releases": row.releases,
    }


def _named(text: str) -> tuple[str, str]:
    """Return the contrast and the name of an attack's key, as in ``[[0, 0], "lda"]``."""
    (kind, _), name = json.loads(text)
    return CONTRASTS.get(kind, str(kind)), name


# By the numbers of :class:`audit.gathering.contrast.Kind`.
CONTRASTS = {0: "claims", 1: "neglected", 2: "null"}
