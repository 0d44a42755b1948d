"""Who draws which chunk: the chunks of a phase are dealt out one by one, as the plan alone decides.

In the flow: before anything is drawn. Attacks are fitted between the two phases, once for all shards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from audit.gathering.contrast import planned_tasks
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential
from audit.trials.rows import RowKey
from audit.trials.storing.opening import database
from mechanisms.errors import InvalidInputError, require

MOST_SHARDS = 100_000
_WRITTEN = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_FOLDER = re.compile(r"(fit|count)-([0-9]{1,6})-of-([0-9]{1,6})")


class Phase(StrEnum):
    """What trials are drawn for: to fit attacks, or to be counted."""

    FIT = "fit"
    COUNT = "count"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of ``of`` parts of a phase; numbers begin at 1."""

    phase: Phase
    number: int
    of: int

    @staticmethod
    def parsed(text: str, phase: Phase) -> Shard:
        """Return the shard that is written as ``3/16``.

        Raises
        ------
        InvalidInputError
            For anything else, or a number that is out of range.
        """
        found = _WRITTEN.fullmatch(text)
        number, of = (int(found[1]), int(found[2])) if found else (0, 0)
        require(
            1 <= number <= of <= MOST_SHARDS,
            "--shard",
            expected=f"NUMBER/OF, with 1 <= NUMBER <= OF <= {MOST_SHARDS}",
            got=text,
            fix="write for example 3/16 for the third of sixteen",
        )
        return Shard(phase=phase, number=number, of=of)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.phase}-{self.number:0{len(str(self.of))}d}-of-{self.of}"

    def identity(self) -> dict[str, str | int]:
        """Return what tells it from other shards of the same audit."""
        return {"phase": str(self.phase), "number": self.number, "of": self.of}

    def __str__(self) -> str:
        return f"shard {self.number}/{self.of} of phase {self.phase}"


def shards_in(folder: Path, phase: Phase) -> tuple[Shard, ...]:
    """Return the shards of a phase that have a store in a folder; what else lies there is not looked at."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [(name, match) for name in names if (match := _FOLDER.fullmatch(name)) and match[1] == phase]
    shards = [(name, Shard(phase=phase, number=int(match[2]), of=int(match[3]))) for name, match in found]
    return tuple(shard for name, shard in shards if shard.name == name and database(folder / name).is_file())


@dataclass(frozen=True, kw_only=True, eq=False)
class Dealing:
    """All chunks of one phase of a plan in their order.

    Parameters
    ----------
    n_sets
        Forget sets, each of which has the same chunks.
    sizes
        Trials in each chunk of one forget set, by stream, world and number; the order is that of dealing.
    """

    phase: Phase
    n_sets: int
    sizes: Mapping[tuple[str, str, int], int]
    places: Mapping[tuple[str, str, int], int]

    @staticmethod
    def of(plan: AuditPlan, phase: Phase) -> Dealing:
        """Return how a plan's chunks are dealt out.

        Raises
        ------
        InvalidInputError
            For a plan that stops when decided: what it draws depends on what was counted. For one that shares learned
            models among forget sets, which shards would learn anew.
        """
        if isinstance(plan.counting, Sequential):
            raise InvalidInputError(
                field="counting",
                expected="a number of trials that is fixed beforehand",
                got="an audit that stops when decided",
                fix="leave stop_when_decided out, for what such an audit draws next depends on what it counted; or run "
                "it on a cluster by --engine dask",
            )
        if plan.share_learned:
            raise InvalidInputError(
                field="share_learned",
                expected="left out where machines draw shards by themselves",
                got=True,
                fix="each would learn the models anew; leave it out, or share models on a cluster by --engine dask",
            )
        tasks = planned_tasks(plan, 0, fitting=phase is Phase.FIT)
        sizes = {(task.source.stream.name.lower(), task.source.world.value, task.chunk): task.n for task in tasks}
        places = {key: i for i, key in enumerate(sizes)}
        return Dealing(phase=phase, n_sets=len(plan.forget), sizes=sizes, places=places)

    def number(self, key: RowKey, of: int) -> int:
        """Return which of ``of`` shards draws a chunk; 0 for one that the plan does not have."""
        place = self.places.get((key.stream, key.world, key.chunk))
        if place is None or key.step != self.phase or not 0 <= key.record < self.n_sets:
            return 0
        return 1 + (key.record * len(self.places) + place) % of

    def chunks(self, shard: Shard) -> dict[RowKey, int]:
        """Return the chunks of a shard, and the trials in each."""
        names = list(self.sizes.items())
        total = self.n_sets * len(names)
        found = {}
        for position in range(shard.number - 1, total, shard.of):
            record, place = divmod(position, len(names))
            (stream, world, chunk), n = names[place]
            found[RowKey(step=str(self.phase), stream=stream, world=world, record=record, chunk=chunk)] = n
        return found


def listed(numbers: Sequence[int]) -> str:
    """Return numbers in words, runs of them by their ends: "2, 5 to 9"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs]
    return ", ".join(words[:20]) + (f" and {len(words) - 20} more" if len(words) > 20 else "")
