"""The table of published mechanisms, as frozen data with an exact JSON round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.records import json_text
from audit.records.counts import Counts
from audit.records.verdict import Reason, Verdict
from mechanisms.claim import JSON_CONFIG, Direction

WILD_SCHEMA: Literal["unlearn-audit/wild/1"] = "unlearn-audit/wild/1"
# What is false, or that nothing was found to be. Never mixed.
Category = Literal["theorem", "code", "assumption", "nothing", "checked"]
# By which evidence: an audit by counting, a closed form, or neither.
Shown = Literal["refuted", "false_exactly", "not_refuted", "inconclusive"]
STATUS = "not yet reported to the authors"


@dataclass(frozen=True, kw_only=True)
class WildAudit:
    """One audit of one variant.

    Parameters
    ----------
    level, seed, trials, counted
        Its significance, seed, releases a world, and how many of them were counted.
    verdict, reason, p_value
        What it said.
    direction, lower_bound, counts, detectable
        Of the event that the verdict quotes: in which direction, the bound on epsilon at the claim's delta, how often
        it occurred, and from which epsilon a claim would have been refuted. ``None`` where nothing was counted.
    seconds
        How long it took: the only field that differs between two runs.
    """

    __pydantic_config__ = JSON_CONFIG
    level: float
    seed: int
    trials: int
    counted: int
    verdict: Verdict
    reason: Reason | None
    p_value: float
    direction: Direction | None
    lower_bound: float | None
    counts: Counts | None
    detectable: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class WildVariant:
    """One variant of a mechanism: its settings, exact epsilon, and audits, screening first."""

    __pydantic_config__ = JSON_CONFIG
    name: Literal["as_published", "as_coded", "corrected"]
    settings: Mapping[str, float | int | str]
    exact: float | None
    audits: tuple[WildAudit, ...]

    def statements(self, level: float) -> tuple[WildAudit, ...]:
        """Return the audits at the level of printed statements."""
        return tuple(audit for audit in self.audits if audit.level == level)


@dataclass(frozen=True, kw_only=True)
class SharedNoise:
    """Both worlds from the same random numbers, for every record of the canary deleted alone.

    Parameters
    ----------
    shift, record
        The largest distance without noise, and the first record of which it is.
    declared
        The distance that the calibration allows for.
    records, distinct, beyond
        How many records there are, how many of them differ, and how many are further apart than declared.
    streams
        Random streams of each.
    """

    __pydantic_config__ = JSON_CONFIG
    shift: float
    record: int
    declared: float
    records: int
    distinct: int
    beyond: int
    streams: int

    @property
    def exceeded(self) -> bool:
        """Whether the worlds are further apart than declared, rounding aside."""
        return beyond(self.shift, self.declared)


def beyond(shift: float, declared: float) -> bool:
    """Return whether two worlds are further apart than declared, rounding aside."""
    return shift > declared * (1 + 1e-9)


@dataclass(frozen=True, kw_only=True)
class CheckedAssumption:
    """An assumption of a claim, its value on the canary, and its limit."""

    __pydantic_config__ = JSON_CONFIG
    statement: str
    value: float
    limit: float
    holds: bool


@dataclass(frozen=True, kw_only=True)
class WildRow:
    """One published mechanism.

    Parameters
    ----------
    name, title, paper, source, statement, reference
        What was read, and what is claimed against which reference world.
    epsilon, delta
        The claim on the canary.
    canary, reason, assumptions
        What is deleted and why, and that it lies inside what is assumed.
    category, shown
        What is false, and by which evidence.
    audited, twin
        The variant that the row is about, and the corrected one; ``None`` where nothing had to be corrected.
    shared_noise
        ``None`` where a release is no fixed array plus noise, or the calibration declares no distance.
    differ
        Settings in which the two differ.
    cause, repair, caught_by, not_said, figures
        In words, and further exact numbers.
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    title: str
    paper: str
    source: str
    statement: str
    reference: str
    epsilon: float
    delta: float
    canary: str
    reason: str
    assumptions: tuple[CheckedAssumption, ...]
    category: Category
    shown: Shown
    audited: WildVariant
    twin: WildVariant | None
    shared_noise: SharedNoise | None
    differ: tuple[str, ...]
    cause: str
    repair: str
    caught_by: str
    not_said: str
    figures: Mapping[str, float]
    status: str = STATUS

    @property
    def is_false(self) -> bool:
        """Whether the claim is shown to be false."""
        return self.shown in ("refuted", "false_exactly")


@dataclass(frozen=True, kw_only=True)
class WildResult:
    """The table.

    Parameters
    ----------
    version, quick
        What was run. Seeds come from the version.
    screening, level
        Significance of screening audits, and of the ones that statements are printed from.
    rows
        One a mechanism.
    seconds
        How long it took.
    """

    __pydantic_config__ = JSON_CONFIG
    version: str
    quick: bool
    screening: float
    level: float
    rows: tuple[WildRow, ...]
    command: str
    seconds: float
    schema: Literal["unlearn-audit/wild/1"] = WILD_SCHEMA

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> WildResult:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, WildResult, schemas=(WILD_SCHEMA,))
