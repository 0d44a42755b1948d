"""A command that runs code of the user runs in a process of its own, and says here how it ended.

In the flow: the entry point asks whether a command names a mechanism of the user's, and then waits here. Importing it,
binding it and asking it for a replay happen in that process; trials in workers below it. Whatever user code does to its
process (``os._exit(0)``, a crash of a library, closed descriptors), the exit code is the command's word or 4: the word
comes through a pipe, after everything was written.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from audit.commands.output.saying import finish_streams, prepare_streams, say
from audit.commands.report import record_crash
from audit.errors import ExitCode
from audit.trials.signals import ENDING, ending_signals
from audit.trials.workers.worker import end_with, tidy

# Options whose value is a module of the user's.
OPTIONS = ("--mechanism", "--baseline-mechanism")
# Seconds that a process may take to end once it has said how.
LEAVING = 5.0
_LOOK = 0.1
# What a report begins with that has a limit, in seconds.
_WITHIN = "within "
_START = (
    "import sys; sys.path[:] = {path}; from audit.cli import guarded; "
    "from audit.commands.processes.supervised import serve; serve(guarded, {report}, {output}, {parent}, {arguments})"
)
# Where this process reports to, when it is a supervised one.
_report: int | None = None


def runs_user_code(arguments: Sequence[str]) -> bool:
    """Return whether a command line names a module of the user's."""
    return any(word.partition("=")[0] in OPTIONS for word in arguments)


def supervise(arguments: Sequence[str]) -> int:
    """Run a command line in another process and return its exit code, or 4 where it ended without one."""
    read, write = os.pipe()
    output = _own_output()
    # Empty entries stand for the current directory, which user code is not to be found in before installed modules.
    path = json.dumps([entry for entry in sys.path if entry])
    code = _START.format(
        path=path, report=write, output=output, parent=os.getpid(), arguments=json.dumps(list(arguments))
    )
    with _forwarding() as (started, asked):
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            # What user code prints is not the command's output.
            stdout=2 if _is_open(2) else subprocess.DEVNULL,
            pass_fds=[write, *([output] if output is not None else [])],
            # A terminal interrupts this process, which then interrupts that one: once.
            process_group=0,
        )
        os.close(write)
        started(child)
        said, overdue = _said(read, child)
    os.close(read)
    if output is not None:
        os.close(output)
    words = said.split(b"\n")
    if words[-1] == b"" and len(words) > 1 and words[-2].startswith(b"code "):
        return int(words[-2].removeprefix(b"code "))
    stage = next((word.decode() for word in reversed(words[:-1]) if not word.startswith(b"code ")), "starting")
    if asked:
        return _interrupted(arguments, asked[0])
    return _hung(arguments, *overdue) if overdue is not None else _ended(arguments, child.returncode, stage)


def _own_output() -> int | None:
    return os.dup(1) if _is_open(1) else None


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _said(report: int, child: subprocess.Popen[bytes]) -> tuple[bytes, tuple[str, float] | None]:
    """Return what the other process reports until it ends, and what it was ended in; nobody can keep this waiting."""
    said, left, since = b"", LEAVING, time.monotonic()
    while True:
        ended = child.poll() is not None
        ready, _, _ = select.select([report], [], [], 0 if ended else _LOOK)
        if ready:
            more = os.read(report, 65536)
            said += more
            if more:
                since = time.monotonic()
                continue
        if ended:
            return said, None
        limited = _limited(said)
        if limited is not None and time.monotonic() - since > limited[1]:
            child.kill()
            child.wait()
            return said, limited
        if said.endswith(b"\n") and said[:-1].rpartition(b"\n")[2].startswith(b"code "):
            left -= _LOOK
            if left <= 0:
                # Threads or exit handlers of the user's do not end; everything is written.
                child.kill()
                child.wait()


def _limited(said: bytes) -> tuple[str, float] | None:
    """Return what is done now and how many seconds it may take, where it has a limit."""
    last = said[:-1].rpartition(b"\n")[2].decode(errors="replace") if said.endswith(b"\n") else ""
    if not last.startswith(_WITHIN):
        return None
    seconds, _, stage = last.removeprefix(_WITHIN).partition(" ")
    return stage, float(seconds)


def _hung(arguments: Sequence[str], stage: str, seconds: float) -> int:
    """Say that the process was ended because it took too long, in words and in the JUnit file that was asked for."""
    said = (
        f"The process that runs your code was still {stage} after {seconds:g} seconds and was ended; nothing was "
        "decided. Allow more by --setup-timeout."
    )
    say(f"Error: {said}")
    _record(arguments, f"TrialError: {said}")
    return ExitCode.INTERNAL


@contextmanager
def _forwarding() -> Iterator[tuple[Callable[[subprocess.Popen[bytes]], None], list[int]]]:
    """Pass signals that end a command on to the process that runs it; yield what starts that, and the signals."""
    running: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def forward(number: int, frame: object) -> None:
        asked.append(number)
        for child in running:
            child.send_signal(number)

    def started(child: subprocess.Popen[bytes]) -> None:
        running.append(child)
        # One that came before there was anybody to pass it to.
        for number in asked:
            child.send_signal(number)

    # What is ignored stays so, there too: under nohup a run outlives its terminal.
    numbers = [number for number in ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    usual = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield started, asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _ended(arguments: Sequence[str], code: int, stage: str) -> int:
    """Say that the process ended by itself, in words and in the JUnit file that was asked for."""
    how = f"by itself with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    said = (
        f"The process that runs your code ended {how} while {stage}, and nothing was decided. Keep os._exit out of it; "
        "a library that crashes ends a process too."
    )
    say(f"Error: {said}")
    _record(arguments, f"TrialError: {said}")
    return ExitCode.INTERNAL


def _interrupted(arguments: Sequence[str], number: int) -> int:
    """Say that a signal ended the process before it could say so itself."""
    said = f"Interrupted by {signal.Signals(number).name}: what was stored stays, and the same command goes on with it."
    say(said)
    _record(arguments, said)
    return ExitCode.INTERRUPTED - signal.SIGINT + number


def _record(arguments: Sequence[str], said: str) -> None:
    title = f"unlearn-audit {' '.join(arguments)}"
    record_crash(_value_of(arguments, "--junit"), title, said, redact="--redact" in arguments)


def _value_of(arguments: Sequence[str], option: str) -> Path | None:
    for i, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == option:
            return Path(value if equals else arguments[i + 1]) if equals or i + 1 < len(arguments) else None
    return None


def serve(
    command: Callable[[list[str]], int], report: int, output: int | None, parent: int, arguments: Sequence[str]
) -> None:
    """Run a command line in this process, which reports to another one how it ends."""
    global _report
    end_with(parent)
    os.set_inheritable(report, False)
    _report = report
    if output is not None:
        os.set_inheritable(output, False)
        sys.stdout = open(output, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
    prepare_streams()
    with ending_signals():
        code = int(command(list(arguments)))
    finish_streams()
    at(f"code {code}")


def at(stage: str) -> None:
    """Report what is being done, for the case that this process ends there."""
    if _report is not None:
        os.write(_report, stage.replace("\n", " ").encode(errors="replace") + b"\n")


@contextmanager
def user_code(stage: str, *, limit: float | None = None) -> Iterator[None]:
    """Run code of the user's: what it prints goes to standard error, and the current directory is as it was after it.

    Parameters
    ----------
    stage
        What is done, for the case that the process ends there: "importing my_unlearning".
    limit
        Seconds that it may take, after which the process is ended; ``None`` for as long as it takes.
    """
    home = os.getcwd()
    at(stage if limit is None else f"{_WITHIN}{limit:g} {stage}")
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            tidy(home)
    at("writing what was found")
