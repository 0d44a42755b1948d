"""The command line for tests: in this process, which has loaded everything already, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from pathlib import Path

from audit.cli import guarded

COMMAND = [sys.executable, "-c", "from audit.cli import entry_point; entry_point()"]
ROOT = Path(__file__).parents[2]
# The same without pictures, after everything else where modules are looked for.
PLAIN = [
    sys.executable,
    "-c",
    f"import sys; sys.path.append({str(ROOT)!r}); from tests.e2e.plain_pages import main; main()",
]
Done = subprocess.CompletedProcess[str]


def run(*arguments: str | Path) -> Done:
    """Run a command in this process, as the entry point does."""
    words = [str(argument) for argument in arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = guarded(words)
    return Done(args=words, returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def run_alone(*arguments: str | Path, cwd: Path | None = None) -> Done:
    """Run a command in a process of its own: for what it does to its folder, its modules and its exit code."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def hear_interruptions() -> None:
    """Undo, in a process before its program starts, what a shell and nohup do to jobs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
