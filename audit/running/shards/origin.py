"""Where shards come from, as data: the plan's file, what the command line changed in it, and the machine.

In the flow: every shard and the fitted attacks carry one. The identity of the audit decides what belongs together; this
says where to find the plan, and what might differ in last digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from audit.records.json_text import dump, load
from audit.records.provenance import environment_of
from audit.trials.engines import Engine
from mechanisms.claim import JSON_CONFIG

ORIGIN_SCHEMA = "unlearn-audit/origin/1"
# Names of shards that are quoted for one machine.
_MOST_NAMES = 5
MACHINE = "processor and kernels of linear algebra"
# What is different on each machine: a version by the name of its library, and the processor.
Place = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line changed in a plan."""

    __pydantic_config__ = JSON_CONFIG
    seed: int | None = None
    trials: int | None = None
    max_failed: int | None = None
    trial_timeout: float | None = None


def here() -> Place:
    """Return where this process runs."""
    # Its kernels are named where they are loaded.
    import scipy.linalg  # noqa: F401

    found = environment_of(datetime.now(UTC), 0.0, Engine(), None)
    return {MACHINE: found.machine, "Python": found.python, **found.libraries}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a shard comes from.

    Parameters
    ----------
    plan
        Path of the plan's file, on the machine that drew.
    overrides
        What the command line changed in it.
    place
        What decides last digits there.
    """

    __pydantic_config__ = JSON_CONFIG
    plan: str
    overrides: Overrides = Overrides()
    place: Place = field(default_factory=here)
    schema: Literal["unlearn-audit/origin/1"] = "unlearn-audit/origin/1"

    def to_json(self) -> str:
        """Return it as JSON text."""
        return dump(self)

    @staticmethod
    def from_json(text: str) -> Origin:
        """Return what :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            For other text.
        """
        return load(text, Origin, schemas=(ORIGIN_SCHEMA,))


def differing(places: Sequence[tuple[str, Place]]) -> str:
    """Return in what places differ, and who drew where; empty where all are alike.

    Parameters
    ----------
    places
        Names of shards, and where they were drawn.
    """
    parts = []
    for what in dict.fromkeys(what for _, place in places for what in place):
        drawn: dict[str, list[str]] = {}
        for name, place in places:
            drawn.setdefault(place.get(what, "unknown"), []).append(name)
        if len(drawn) > 1:
            parts.append(f"{what}: " + "; ".join(f"{value} ({_few(names)})" for value, names in drawn.items()))
    return ". ".join(parts)


def machines(places: Sequence[tuple[str, Place]]) -> str:
    """Return the names of all machines, each once."""
    return " | ".join(dict.fromkeys(place.get(MACHINE, "unknown") for _, place in places))


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
