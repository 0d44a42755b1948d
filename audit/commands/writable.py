"""Whether what a command is asked to write can be written, asked before the work is done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mechanisms.errors import InvalidInputError


def check_writable(folder: Path | None = None, files: Mapping[str, Path | None] | None = None) -> None:
    """Refuse a folder or a file that cannot be written, before hours of trials are drawn for it.

    Parameters
    ----------
    folder
        What ``--out`` names.
    files
        What other options name, by option.

    Raises
    ------
    InvalidInputError
        When something of another kind is there already, or no folder above it can be written to.
    """
    _check("--out", folder, is_folder=True)
    for option, path in (files or {}).items():
        _check(option, path, is_folder=False)


def _check(option: str, path: Path | None, *, is_folder: bool) -> None:
    if path is None:
        return
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if path.exists() and path.is_dir() != is_folder:
        problem = "a file" if is_folder else "a folder"
    elif existing != path and not existing.is_dir():
        problem = f"{existing}, a file"
    elif not os.access(existing, os.W_OK):
        problem = f"{existing}, where nothing can be written"
    else:
        return
    raise InvalidInputError(
        field=option,
        expected=f"a {'folder' if is_folder else 'file'} that can be written",
        got=f"{path}: {problem}",
        fix="choose another place",
    )
