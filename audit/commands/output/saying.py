"""What commands say on standard output and standard error, where nobody need be there to hear it.

A verdict is in the exit code. A reader that went away, a full disk behind a redirection, a closed descriptor or an
encoding without Greek letters must not change it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from mechanisms.errors import printable

if TYPE_CHECKING:
    from audit.commands.plan_file.reading import ResolvedPlan

# For terminals and pipes that cannot show them.
_WORDS = {
    "ε": "epsilon", "δ": "delta", "μ": "mu", "σ": "sigma", "α": "alpha", "√": "sqrt", "∞": "infinity", "≤": "<=",
    "≥": ">=", "±": "+-", "×": "x", "✕": "x", "○": "o", "–": "-", "—": "-", "─": "-", "…": "...", "“": '"', "”": '"',
    "’": "'", "·": ".",
}  # fmt: skip
_HANDLER = "unlearn-audit-words"


def prepare_streams() -> None:
    """Make standard streams safe to write to, once, before anything is opened."""
    for descriptor in (0, 1, 2):
        _occupy(descriptor)
    codecs.register_error(_HANDLER, _in_words)
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_HANDLER)
    sys.stderr = _Forgiving(_nowhere() if sys.stderr is None else sys.stderr)


def finish_streams() -> None:
    """Write what is left; what cannot be written is given up, for Python would exit with 120 for it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _give_up(sys.stdout)


def say(text: str) -> None:
    """Print to standard error. Messages quote files and exceptions of others, and a terminal obeys what it is sent."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(printable(text), err=True)


def say_result(text: str, *, nl: bool = True, is_json: bool = False) -> bool:
    """Print a result on standard output; return whether that went well, and never raise where it did not."""
    if is_json:
        text = _escaped(text)
    try:
        click.echo(text, nl=nl)
    except BrokenPipeError:
        # The reader has seen enough (`... | head`).
        _give_up(sys.stdout)
        return False
    except (OSError, ValueError) as error:
        _give_up(sys.stdout)
        say(f"Standard output could not be written ({error}).")
        return False
    return True


class _Forgiving:
    """A text stream whose failures are nobody's: what is said on it is lost, and no more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _occupy(descriptor: int) -> None:
    """Open a descriptor that was closed: the next file that is opened would get it, and what others print with it."""
    try:
        os.fstat(descriptor)
    except OSError:
        # The lowest that is free, which is this one; workers are given it too.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _give_up(stream: Any) -> None:
    """Send what is left in a stream's buffer, and all that follows, nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _in_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_WORDS.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def _escaped(text: str) -> str:
    """Return JSON text in letters that standard output has."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return "".join(letter if letter.isascii() else _escape(letter) for letter in text)
    return text


def _escape(letter: str) -> str:
    """Return a letter as JSON escapes it, in two halves beyond 65,535."""
    pairs = letter.encode("utf-16-be")
    return "".join(f"\\u{pairs[i]:02x}{pairs[i + 1]:02x}" for i in range(0, len(pairs), 2))


def say_notes(resolved: ResolvedPlan) -> None:
    """Print on standard error how the data were read, and what looks wrong with them, one line each."""
    from audit.records.provenance import data_record

    for note in data_record(resolved.data, resolved.mechanism).notes:
        say(f"Note on {resolved.data.name}: {note}")
