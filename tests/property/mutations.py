"""Damaged files: bytes, words of text, or values of JSON, changed at random places from a seed.

Hostile values are those that a parser meets in the wild: numbers too large for their type, infinities where a number is
counted, text where a list belongs, control characters in names.
"""

from __future__ import annotations

import copy
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mechanisms.errors import UnlearnAuditError

LONGEST_SECONDS = 5.0
HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3.5, -0.5, 1e308, -1e308, 5e-324, 10**30, -(10**30), 2**63, "inf", "-inf", "nan",
    "Infinity", "-Infinity", "NaN", "", "x", "refuted", "not_refuted", "\x1b[2J", "\u202e", "a" * 2000, [], {}, [[]],
    [1], [0.5, "inf"], ["-inf"] * 3, {"kind": "x"}, {"": 1},
)  # fmt: skip
HOSTILE_WORDS = (
    "", "-1", "0", "1e400", "-1e400", "1e-320", "1e308", "-1e308", "nan", "inf", "-inf", "1e12", "1000000000000",
    "9" * 400, "9" * 6000, "0x10", "1_000", "true", "[]", "{}", "[[]]", "[[0]]", "[" * 3000, '"', '"""', '"x"',
    "[1, 2]", '"\\u001b[2J"', ".".join("a" * 3000), "1979-05-27", "=", ",", "\x00", "\u202e", "\ufeff",
)  # fmt: skip
_WORD = re.compile(r"[\w.+-]+")


class Hang(BaseException):
    """Something took longer than anybody waits."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise :class:`Hang` in the block after so many seconds of processor time, whatever else the machine does."""

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def mutated_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one or two places changed, cut out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(1 + int(rng.random() < 0.25)):
        if not changed:
            break
        at = int(rng.integers(len(changed)))
        length = int(rng.integers(1, 9))
        match int(rng.integers(6)):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at] = int(rng.integers(256))
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + length] = rng.bytes(length)
            case _:
                del changed[at:]
    return bytes(changed)


def mutated_text(text: str, rng: np.random.Generator) -> str:
    """Return text with one or two words replaced by hostile ones, or lines cut out, doubled or swapped."""
    for _ in range(1 + int(rng.random() < 0.25)):
        words = list(_WORD.finditer(text))
        lines = text.split("\n")
        if words and rng.random() < 0.75:
            word = words[int(rng.integers(len(words)))]
            new = HOSTILE_WORDS[int(rng.integers(len(HOSTILE_WORDS)))]
            text = text[: word.start()] + new + text[word.end() :]
        else:
            i, j = (int(k) for k in rng.integers(len(lines), size=2))
            match int(rng.integers(3)):
                case 0:
                    del lines[i]
                case 1:
                    lines.insert(j, lines[i])
                case _:
                    lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
    return text


def mutated_json(value: Any, rng: np.random.Generator) -> Any:
    """Return a copy of a JSON value with one or two of its values changed, dropped, doubled or cut short."""
    changed = copy.deepcopy(value)
    for _ in range(1 + int(rng.random() < 0.25)):
        places = list(_places(changed))
        parent, key = places[int(rng.integers(len(places)))]
        item = parent[key]
        match int(rng.integers(5)):
            case 0:
                del parent[key]
            case 1 if isinstance(item, list) and item:
                del item[int(rng.integers(len(item))) :]
            case 2 if isinstance(item, list) and item:
                item.append(copy.deepcopy(item[int(rng.integers(len(item)))]))
            case 3 if isinstance(item, int | float) and not isinstance(item, bool):
                parent[key] = item * float(rng.choice([-1, 0.5, 2, 10, 1e6, 1e-6]))
            case _:
                parent[key] = copy.deepcopy(HOSTILE_VALUES[int(rng.integers(len(HOSTILE_VALUES)))])
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of many damaged files: how many were taken, refused, or let something through."""

    taken: int
    refused: int
    uncaught: Counter[str]
    slowest: float
    example: str

    def __str__(self) -> str:
        return (
            f"{self.taken} taken, {self.refused} refused, {sum(self.uncaught.values())} uncaught "
            f"{dict(self.uncaught)}, slowest {self.slowest:.2f} s"
        )


def outcome_of(cases: int, make: Callable[[np.random.Generator], Any], use: Callable[[Any], None]) -> Outcome:
    """Damage and use a file so many times; case i has the seed i."""
    taken = refused = 0
    uncaught: Counter[str] = Counter()
    slowest, example = 0.0, ""
    for i in range(cases):
        given = make(np.random.default_rng(i))
        started = time.process_time()
        try:
            with limited(LONGEST_SECONDS):
                use(given)
            taken += 1
        except UnlearnAuditError:
            refused += 1
        except (Exception, Hang) as error:
            uncaught[type(error).__name__] += 1
            example = example or f"case {i}: {type(error).__name__}: {error}"
        slowest = max(slowest, time.process_time() - started)
    return Outcome(taken=taken, refused=refused, uncaught=uncaught, slowest=slowest, example=example)


def as_json(value: Any) -> str:
    """Return JSON text, with the infinities that Python writes."""
    return json.dumps(value)
