"""Whether what a command is asked to write can be written, asked before the work is done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from mechanisms.errors import InvalidInputError

# What a report's folder holds: no folder may have the name of a file, nor a file that of the folder.
REPORT = ("report.json", "report.html", "report.md", "report-data/", "manifest.json")
CERTIFICATES_STORE = "certificates-store"
CERTIFICATES = ("certificates.json", "certificates.html", "certificates.md", "certificates.csv", "routes.csv")
STREAMS = ("stream.json", "stream.html", "stream.md", "stream.csv")
MODELS = ("models.json", "models.html", "models.md", "models.csv", "joint/", "manifest.json")
MEASURES = ("measures.json", "measures.html", "measures.md")
SELFTEST = ("selftest.json", "selftest.md")
WILD = ("wild.json", "wild.html", "wild.md")


def check_writable(
    folder: Path | None = None,
    files: Mapping[str, Path | None] | None = None,
    *,
    contents: tuple[str, ...] = REPORT,
) -> None:
    """Refuse a folder or a file that cannot be written, before hours of trials are drawn for it.

    Parameters
    ----------
    folder
        What ``--out`` names.
    files
        What other options name, by option.
    contents
        Names of what will be written into the folder; those that end in a slash are folders.

    Raises
    ------
    InvalidInputError
        When something of another kind is there already, a link leads nowhere, a name is too long, or nothing can be
        written to the folder, or to the first one above it that is there.
    """
    for option, path, is_folder in (("--out", folder, True), *((o, p, False) for o, p in (files or {}).items())):
        if path is None:
            continue
        try:
            problem = _problem(path.absolute(), is_folder, contents if is_folder else ())
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
        if problem:
            raise InvalidInputError(
                field=option,
                expected=f"a {'folder' if is_folder else 'file'} that can be written",
                got=f"{path}: {problem}",
                fix="choose another place",
            )


def settled(path: Path | None) -> Path | None:
    """Return a path that stays the same when the working directory or a link in it is changed."""
    if path is None or (path.exists() and not (path.is_file() or path.is_dir())):
        # The name of a device or a pipe is what it is opened by.
        return path
    return Path(os.path.realpath(path))


def display(path: Path) -> str:
    """Return a path as it is told: from the working directory where it lies below."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _problem(path: Path, is_folder: bool, contents: tuple[str, ...]) -> str:
    """Return what is in the way, or nothing."""
    for part in (path, *path.parents):
        if part.is_symlink() and not part.exists():
            return f"{part}, a link to {os.readlink(part)}, which is not there"
    existing = next(part for part in (path, *path.parents) if part.exists())
    if path.exists() and path.is_dir() != is_folder:
        return "a file" if is_folder else "a folder"
    if existing != path and not existing.is_dir():
        return f"{existing}, a file"
    for name in contents:
        there = path / name
        if there.exists() and there.is_dir() != name.endswith("/"):
            return f"{there}, {'a folder' if there.is_dir() else 'a file'}"
    if path.exists() and not (is_folder or path.is_file()):
        # A device or a pipe is written to as it is.
        return "" if os.access(path, os.W_OK) else "it cannot be written to"
    folder = existing if existing.is_dir() else existing.resolve().parent
    longest = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    for name in path.relative_to(existing).parts if existing != path else ():
        if len(os.fsencode(name)) > longest:
            return f"File name too long ({len(name)} characters, where {longest} bytes are allowed)"
    return _unwritable(folder)


def _unwritable(folder: Path) -> str:
    """Try it: rights, quotas and disks that are full or read-only all have their say."""
    probe = folder / f".{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with probe.open("xb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{folder}, where nothing can be written ({error.strerror})"
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return ""
