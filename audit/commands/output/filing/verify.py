"""The command ``unlearn-audit verify``: whether the files of a folder are those that its manifest names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.errors import ExitCode
from mechanisms.errors import printable

if TYPE_CHECKING:
    from audit.records.filing.manifest import FiledFile, Manifest

NAME = "manifest.json"
# Signatures of the manifest cannot be in it.
SIGNATURES = {
    f"{NAME}.minisig": f"minisign -Vm {NAME} -p KEY.pub",
    f"{NAME}.asc": f"gpg --verify {NAME}.asc {NAME}",
    f"{NAME}.sig": f"gpg --verify {NAME}.sig {NAME}",
}
# What a run goes on from, and changes whenever it is opened.
STORE = "audit-store"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def verify(folder: Path) -> int:
    """Compare the files in DIR with its manifest.json: what was changed, added, removed or renamed is named.

    Exit codes: 0 all files are as the manifest says, 1 some are not, 2 there is no manifest that can be read. The
    manifest is no signature; sign it with a tool of yours (docs/filing.md), and keep the key elsewhere.
    """
    from audit.commands.output.filing.evidence import read_manifest

    manifest = read_manifest(folder / NAME)
    found = compared(folder, manifest)
    for line in (*found.problems, *found.notes):
        click.echo(printable(line))
    own = hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    click.echo(printable(_closing(manifest, found, own)))
    return ExitCode.REFUTED if found.problems else ExitCode.OK


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What differs, what else a reader must know, and how many files were compared."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    n_same: int


def compared(folder: Path, manifest: Manifest) -> Compared:
    """Return how the files of a folder differ from a manifest."""
    from audit.commands.output.filing.evidence import digest_of

    present = {path: digest_of(folder / path) for path in _files(folder)}
    inside = {file.path: file for file in manifest.files if file.is_inside}
    added = {path: found for path, found in present.items() if path not in inside}
    problems, notes, n_same = [], [], 0
    for file in manifest.files:
        now = digest_of(folder / file.path)
        if file.changed:
            notes.append(f"read       {file.path} ({file.role}): it was changed while the command ran")
        if now is not None and now[0] == file.sha256:
            n_same += 1
        elif now is not None:
            problems.append(f"changed    {file.path} ({file.role}): {_difference(file, now)}")
        elif os.path.lexists(folder / file.path):
            problems.append(f"unreadable {file.path} ({file.role}): no ordinary file, or it may not be read")
        elif not file.is_inside:
            notes.append(f"not here   {file.path} ({file.role}): not checked")
        else:
            new = next((path for path, found in added.items() if found is not None and found[0] == file.sha256), None)
            problems.append(f"removed    {file.path}" if new is None else f"renamed    {file.path} is now {new}")
            added.pop(new or "", None)
    problems += [f"added      {path}: not in the manifest" for path in added]
    return Compared(problems=tuple(problems), notes=(*notes, *_left_out(folder, manifest)), n_same=n_same)


def _difference(file: FiledFile, now: tuple[str, int]) -> str:
    sizes = f"{file.size:,} bytes" if now[1] == file.size else f"{file.size:,} bytes then, {now[1]:,} now"
    return f"SHA-256 {file.sha256[:16]}... in the manifest, {now[0][:16]}... now; {sizes}"


def _left_out(folder: Path, manifest: Manifest) -> Iterator[str]:
    if (folder / STORE).is_dir():
        yield f"left out   {STORE}/: what a run goes on from; unlearn-audit store verify looks into it"
    if manifest.withheld:
        yield f"left out   {manifest.withheld} files that were read: their digests would tell of withheld records"
    for name, command in SIGNATURES.items():
        if (folder / name).is_file():
            yield f"left out   {name}: a signature, which is not checked here; {command}"


def _files(folder: Path) -> Iterator[str]:
    """Yield all files below a folder, and links to folders, but for the manifest, its signatures and the store."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        linked = [name for name in folders if (here / name).is_symlink()]
        if here == folder:
            # In place: the walk goes on with what is left.
            folders[:] = [name for name in folders if name != STORE or name in linked]
        for name in sorted((*names, *linked)):
            if not (here == folder and name in (NAME, *SIGNATURES)):
                yield (here / name).relative_to(folder).as_posix()


def _closing(manifest: Manifest, found: Compared, own: str) -> str:
    from audit.records.words.rounding import counted

    n = len(manifest.files)
    all_same = f"All {n}" if found.n_same == n else f"{found.n_same} of {n}"
    return (
        f"{all_same} files of {NAME} are as it says; {counted(len(found.problems), 'difference')}.\n"
        f"It says that {manifest.made_by} made it on {manifest.made}. Its own SHA-256 is\n{own}\n"
        "Whoever can change the files can change the manifest: compare that digest with one that was kept elsewhere, "
        "or check a signature."
    )
