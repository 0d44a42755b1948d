"""Files are written whole or not at all: a temporary file beside each, then a rename."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path


def write_whole(texts: Mapping[Path, str]) -> None:
    """Write each text to its file; where one finds no room, none is replaced, and old files stay as they are.

    All are written aside first and renamed then, so that readers see an old file or a new one, and never a part of one.
    A link is followed. What is no ordinary file, such as ``/dev/stdout``, is written to.

    Raises
    ------
    OSError
        When a file or its folder cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for path, text in texts.items():
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                path.write_text(text, encoding="utf-8", newline="\n")
                continue
            target = Path(os.path.realpath(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = _beside(target)
            staged.append((temporary, target))
            _write(temporary, text)
        while staged:
            temporary, target = staged[0]
            os.replace(temporary, target)
            staged.pop(0)
    finally:
        for temporary, _ in staged:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _beside(target: Path) -> Path:
    # Short, whatever the name of the file, and of this process alone: others may write the same file.
    return target.parent / f".{os.getpid()}-{os.urandom(4).hex()}.tmp"


def _write(path: Path, text: str) -> None:
    # Not tempfile, which gives files that the owner alone can read.
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        # A full disk may say so only here.
        os.fsync(file.fileno())
