"""TOML of strangers to plain values: size, depth and numbers are bounded before anything is built from them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit.errors import PlanError

LARGEST_FILE = 2**20
DEEPEST = 16
# TOML's own range of whole numbers.
LARGEST_INTEGER = 2**63 - 1
# Python refuses to read longer ones, because that takes quadratic time.
_MOST_DIGITS = 4300
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'")
_KEY = re.compile(r"\s*(\[*[\w.\-'\" ]{1,200})")
# A part, and so many more: the parser takes quadratic time for them.
_LONG_KEY = re.compile(rf"(?<![\w.-])(?:[\w-]+[ \t]*\.[ \t]*){{{DEEPEST}}}")
_LONG_NUMBER = re.compile(rf"(?<!\w)[\d_]{{{_MOST_DIGITS}}}")


def read_toml(path: Path, what: str = "plan") -> dict[str, Any]:
    """Return the values of a plan file, or of another: ``what`` is its name in errors.

    Raises
    ------
    PlanError
        When it cannot be read or parsed, is larger than a mebibyte, nests deeper than 16 tables, lists or parts of a
        key, or has a whole number of more than 64 bits: with the line or the key.
    """
    text = _read(path, what)
    _check_text(path, text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"Expected TOML in {path}, got a syntax error: {error}.") from None
    except (ValueError, RecursionError) as error:
        # What the checks of the text did not foresee.
        raise PlanError(f"Expected TOML in {path}, got what no {what} holds: {error}.") from None
    for where, value in _walk(values):
        if len(where) > DEEPEST:
            raise _unusable(path, ".".join(where[:4]) + "...", f"at most {DEEPEST} levels", "more", "remove it")
        if isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            raise _unusable(
                path, ".".join(where), "a whole number of at most 64 bits", f"{len(str(abs(value)))} digits", "lower it"
            )
    return values


def _read(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PlanError(
                f"Expected a {what} file of at most {LARGEST_FILE:,} bytes, got {path} of {path.stat().st_size:,}; "
                "check the path."
            )
        # Editors on Windows begin a file with a byte-order mark.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(f"Expected TOML in {path}, got a syntax error: {error}.") from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise PlanError(f"Expected a readable {what} file, got {path} ({said}); check the path.") from None


def _check_text(path: Path, text: str) -> None:
    """Refuse what Python's parser takes minutes for, or a deeper stack than there is."""
    depth, key = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        bare = _STRING.sub("q", line).split("#")[0]
        found = _KEY.match(line)
        if depth == 0 and found:
            key = found[1].strip()
        where = f"line {number} ({_short(key)})"
        if _LONG_NUMBER.search(bare):
            raise _unusable(
                path, where, "whole numbers of at most 64 bits", f"one of at least {_MOST_DIGITS:,} digits", "lower it"
            )
        if _LONG_KEY.search(bare):
            raise _unusable(path, where, f"keys of at most {DEEPEST} parts", "a longer one", "remove it")
        for character in bare:
            depth += (character in "[{") - (character in "]}")
            if depth > DEEPEST:
                raise _unusable(
                    path, where, f"lists and tables at most {DEEPEST} deep", "more brackets", "close or remove them"
                )
        depth = max(depth, 0)


def _walk(values: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every value with its place, without a stack of calls."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), values)]
    while todo:
        where, value = todo.pop()
        yield where, value
        if len(where) <= DEEPEST:
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            todo += [((*where, str(key)), item) for key, item in items]


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _unusable(path: Path, where: str, expected: str, got: str, fix: str) -> PlanError:
    return PlanError(f"{path}: 1 problem(s) in the plan\n  {where}: expected {expected}, got {got}; {fix}")
