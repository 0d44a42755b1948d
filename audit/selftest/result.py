"""The table of a self-test, as frozen data with an exact JSON round trip."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from audit.records import json_text
from audit.records.verdict import Reason, Verdict
from audit.selftest.truth import Method
from mechanisms.claim import JSON_CONFIG, Direction

SELFTEST_SCHEMA: Literal["unlearn-audit/selftest/1"] = "unlearn-audit/selftest/1"


class Expectation(Enum):
    """What an audit of a fault must say."""

    REFUTED = "refuted"
    NEVER_REFUTED = "never_refuted"
    INCONCLUSIVE = "inconclusive"
    EITHER = "either"

    def met_by(self, verdict: Verdict) -> bool:
        """Return whether a verdict is as expected."""
        if self is Expectation.REFUTED:
            return verdict is Verdict.REFUTED
        if self is Expectation.INCONCLUSIVE:
            return verdict is Verdict.INCONCLUSIVE
        return self is Expectation.EITHER or verdict is not Verdict.REFUTED


@dataclass(frozen=True, kw_only=True)
class SelftestRow:
    """One audited service.

    Parameters
    ----------
    name, description, mechanism, harmless
        The fault and what it edits.
    family
        The family of attacks that was expected to see it; ``None`` for a harmless variant.
    trials, counted
        Releases a world, and those that were counted.
    direction, delta
        Where the strongest test was made; the epsilons are there.
    true_epsilon, truth
        Exact, or a lower bound by an oracle's trials.
    claimed, lower_bound
        What the service states, and what the audit found.
    planned_power
        Probability that an audit with half of the trials and the most powerful attack refutes the claim; ``None`` for
        a constant release.
    expected
        From the planned power, and from whether the claim is true.
    verdict, reason, as_expected
        What the audit said.
    fired
        Attacks that refuted the claim, strongest first.
    fired_family
        Family of the first of them; "law" for the claimed law's likelihood ratio.
    controls
        Controls that made the audit inconclusive.
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    description: str
    mechanism: str
    harmless: bool
    family: str | None
    trials: int
    counted: int
    direction: Direction | None
    delta: float | None
    true_epsilon: float | None
    truth: Method
    claimed: float | None
    lower_bound: float | None
    planned_power: float | None
    expected: Expectation
    verdict: Verdict
    reason: Reason | None
    as_expected: bool
    fired: tuple[str, ...]
    fired_family: str | None
    controls: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LotsRow:
    """The same fault by deletions drawn by lot; of pairs the first is of one trained model, the second of several.

    Parameters
    ----------
    name, harmless
        The fault.
    candidates
        Size of the pool.
    delta
        Where the epsilons are.
    true_epsilon, claimed
        Of deleting the whole pool: exact, ``None`` where it is not known; and what the service states.
    guesses, right
        Of the one model.
    hits
        Of the several: how many told as much as few do of a service that deletes; ``None`` where they were refused
        because they were equal.
    bounds, planned_powers, expected, verdicts
        Lower bounds on epsilon, and as for :class:`SelftestRow`.
    as_expected
        What the audits said.
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    harmless: bool
    candidates: int
    delta: float
    true_epsilon: float | None
    claimed: float
    guesses: int
    right: int
    hits: int | None
    bounds: tuple[float, float]
    planned_powers: tuple[float, float]
    expected: tuple[Expectation, Expectation]
    verdicts: tuple[Verdict, Verdict]
    as_expected: bool


@dataclass(frozen=True, kw_only=True)
class SelftestResult:
    """The table.

    Parameters
    ----------
    significance
        Of the whole table: true claims of harmless variants are refuted with at most this probability.
    each
        Significance of each audit, its equal share.
    rows, lots
        Audits of two worlds, and of deletions drawn by lot, which are a table of their own at the same significance.
    lots_runs, lots_each
        How many models the audits by lot train, and the significance of each.
    seconds
        How long it took; the only field that differs between two runs.
    """

    __pydantic_config__ = JSON_CONFIG
    seed: int
    quick: bool
    significance: float
    each: float
    rows: tuple[SelftestRow, ...]
    command: str
    seconds: float
    lots: tuple[LotsRow, ...] = ()
    lots_runs: tuple[int, int] = (1, 16)
    lots_each: float | None = None
    schema: Literal["unlearn-audit/selftest/1"] = SELFTEST_SCHEMA

    @property
    def as_expected(self) -> bool:
        """Whether every row came out as expected."""
        return all(row.as_expected for row in self.rows) and all(row.as_expected for row in self.lots)

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> SelftestResult:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, SelftestResult, schemas=(SELFTEST_SCHEMA,))
