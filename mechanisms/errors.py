"""Errors of the whole project. A leaf: everything may import it, it imports nothing of ours."""

from __future__ import annotations

from typing import Any

# Characters of one value that an error quotes; of longer ones it shows both ends.
LONGEST_SHOWN = 600


class UnlearnAuditError(Exception):
    """Base class of every error that this project raises on purpose."""


class InvalidInputError(UnlearnAuditError, ValueError):
    """An input is outside its range. The text names the field, the value and the fix.

    Parameters
    ----------
    field
        Name of the argument, file column or configuration path.
    expected
        The range that would have been accepted, in words.
    got
        The offending value.
    fix
        What to do about it, an imperative sentence.
    """

    def __init__(self, *, field: str, expected: str, got: Any, fix: str) -> None:
        self.field, self.expected, self.got, self.fix = field, expected, got, fix
        got_shown = _short(got) if isinstance(got, str) else shown(got)
        super().__init__(printable(f"Expected {_short(field)} to be {_short(expected)}, got {got_shown}; {fix}."))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_invalid_input, (self.field, self.expected, self.got, self.fix))


def printable(text: str) -> str:
    """Return text with control characters spelled out: names are data, and a terminal obeys what it is sent.

    Line breaks stay.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """Return the repr of a value for an error, both ends of it where it is long."""
    try:
        return _short(repr(value))
    except Exception:
        # A number of thousands of digits, a structure that is too deep, or a repr of the user's own that raises.
        return f"a {type(value).__name__} that cannot be written"


def _short(text: str) -> str:
    half = LONGEST_SHOWN // 2
    return text if len(text) <= LONGEST_SHOWN else f"{text[:half]} ... {text[-half:]}"


def _rebuild_invalid_input(field: str, expected: str, got: Any, fix: str) -> InvalidInputError:
    # Keyword-only constructors do not survive pickling on their own; workers send errors back by pickle.
    return InvalidInputError(field=field, expected=expected, got=got, fix=fix)


def require(holds: bool, field: str, *, expected: str, got: object, fix: str) -> None:
    """Refuse an argument that is outside its range.

    Parameters
    ----------
    holds
        Whether the argument is inside.
    field, expected, got, fix
        As in :class:`InvalidInputError`.

    Raises
    ------
    InvalidInputError
        When it is not.
    """
    if not holds:
        raise InvalidInputError(field=field, expected=expected, got=got, fix=fix)


class UnreachableTargetError(UnlearnAuditError):
    """No amount of noise meets the target; the text names the best reachable epsilon and what limits it."""


class NotApplicableError(UnlearnAuditError):
    """An attack needs something that this release or threat model does not grant."""


class UserFunctionError(UnlearnAuditError):
    """A function of the user's mechanism raised; what it raised is the cause."""
