"""What an audit found, as frozen data with an exact JSON round trip. Reports are rendered from this alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from audit.errors import ClaimRefutedError, InconclusiveError, SchemaError
from audit.plan.ranges import check, check_lengths
from audit.records import json_text
from audit.records.evidence import Finding
from audit.records.filing.case import Case
from audit.records.ledger import Control, ControlName, DataRecord, Environment, Family, PlanRecord
from audit.records.redaction import Redaction
from audit.records.verdict import Verdict, overall
from mechanisms.claim import JSON_CONFIG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from audit.records.accounts.cards import Account

RESULT_SCHEMA: Literal["unlearn-audit/result/1"] = "unlearn-audit/result/1"
COLLECTION_SCHEMA: Literal["unlearn-audit/collection/1"] = "unlearn-audit/collection/1"


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """Everything that one audit found: one family of hypotheses at one significance.

    ``print(result)`` shows a few lines, a notebook a small card; ``reports.write(result, folder)`` writes the report.

    Parameters
    ----------
    title, mechanism, sampler
        What was audited, and how its releases were drawn.
    plan
        What was fixed before the first trial.
    findings
        One a claim and forget set: verdict, lower bound, counts, and what they rest on.
    controls
        What the audit found when it checked itself.
    family
        The ledger of levels.
    data, environment
        Which data were audited, and where it ran.
    controls_made
        How many controls of each name were made: one that is missing was taken away. ``None`` in results of before they
        were counted.
    redaction
        Set when record identifiers and epsilons per record were withheld (:func:`reports.redact`).
    case
        The case that it is filed for, as a person states it; nothing that is decided looks at it.
    schema
        Of the JSON; published as ``reports/schema/result-1.json``.

    Examples
    --------
    >>> from audit import from_scores
    >>> from mechanisms import Claim, EpsilonDelta
    >>> claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.0))
    >>> result = from_scores([[2.0 + i / 99] for i in range(99)], [[i / 99] for i in range(99)], claim=claim)
    >>> result.verdict.value, len(result.findings)
    ('refuted', 1)
    >>> AuditResult.from_json(result.to_json()) == result
    True
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    sampler: str
    plan: PlanRecord
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    family: Family
    data: DataRecord
    environment: Environment
    redaction: Redaction | None = None
    controls_made: Mapping[ControlName, int] | None = None
    case: Case | None = None
    schema: Literal["unlearn-audit/result/1"] = RESULT_SCHEMA

    def __post_init__(self) -> None:
        for name, n in (self.controls_made or {}).items():
            check(f"controls_made.{name}", n, low=1)

    def __repr__(self) -> str:
        """Return one line: title and how many claims got which verdict."""
        from audit.records.accounts import cards

        return cards.as_line("AuditResult", self.title, self.findings)

    def __str__(self) -> str:
        """Return a summary of a few lines, one a finding."""
        from audit.records.accounts import cards

        return cards.as_text([self._account()])

    def _repr_html_(self) -> str:
        from audit.records.accounts import cards

        return cards.as_card([self._account()])

    def describe(self) -> str:
        """Return the verdicts with the counts, bounds and levels that they rest on, as an exception would say them."""
        from audit.records.accounts import failure_text

        return failure_text.describe(self._account())

    def plot(self, kind: Literal["forest", "trade_off", "scores"] = "forest", *, finding: int = 0) -> Figure:
        """Return a picture of the pages as a figure of matplotlib; :func:`reports.plot` says which there are.

        Raises
        ------
        InvalidInputError
            For another kind, a finding that is not there, or a result that has nothing to draw, such as a redacted one.
        """
        from audit.records.figures.plotting import plotted

        return plotted(self, kind, finding=finding)

    def _account(self) -> Account:
        # Imported in methods, here and below: how a result is told is not needed to hold one.
        from audit.records.accounts.cards import Account

        return Account(
            title=self.title,
            findings=self.findings,
            controls=self.controls,
            significance=self.family.significance,
            trials=self.plan.trials,
            seed=self.plan.seed,
            command=self.environment.command,
            uncovered=self.uncovered,
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict on everything in the plan; inconclusive while a planned hypothesis has no finding."""
        found = overall(finding.verdict for finding in self.findings)
        return Verdict.INCONCLUSIVE if self.uncovered and found is Verdict.NOT_REFUTED else found

    @property
    def uncovered(self) -> int:
        """How many of the hypotheses in the ledger no finding is about."""
        seen: Counter[tuple[int, ...]] = Counter(finding.forget for finding in self.findings)
        return sum(member.claim >= seen[member.forget] for member in self.family.members)

    def assert_holds(self) -> None:
        """Raise unless no claim was refuted and every one could have been.

        Raises
        ------
        ClaimRefutedError
            Some claim was refuted.
        InconclusiveError
            Some claim could not be decided. Not refuting is no proof that a claim is true.
        """
        if self.verdict is Verdict.REFUTED:
            raise ClaimRefutedError(self.describe())
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(self.describe())

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> AuditResult:
        """Return the result that :meth:`to_json` wrote, checked as by :func:`audit.load_json`.

        Raises
        ------
        SchemaError
            When the text is not a result of this schema, with every problem and its path; or when what it says does not
            follow from the counts in it.
        """
        # By its public name: the check rests on the statistics, which rest on the records of this folder.
        loaded = import_module("audit").load_json(text)
        if not isinstance(loaded, AuditResult):
            raise SchemaError(f"Expected JSON of {RESULT_SCHEMA}, got JSON of {COLLECTION_SCHEMA}.")
        return loaded


@dataclass(frozen=True, kw_only=True)
class Table:
    """Facts that were computed, not audited, for a report: cells are shown as they are."""

    __pydantic_config__ = JSON_CONFIG
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            check_lengths("cells, one a column", len(self.columns), **{f"rows[{i}]": row})


@dataclass(frozen=True, kw_only=True)
class AuditCollection:
    """Several audits and tables of facts for one page. Each audit is a family of its own.

    Parameters
    ----------
    title, introduction
        What the page is called, and its first paragraphs.
    results
        The audits; their significances are not divided among them.
    tables
        Facts that were computed, not audited.
    case
        The case that all of it is filed for.
    schema
        Of the JSON; published as ``reports/schema/collection-1.json``.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    introduction: str
    results: tuple[AuditResult, ...]
    tables: tuple[Table, ...] = ()
    case: Case | None = None
    schema: Literal["unlearn-audit/collection/1"] = COLLECTION_SCHEMA

    def __repr__(self) -> str:
        """Return one line: title and how many claims got which verdict."""
        from audit.records.accounts import cards

        return cards.as_line("AuditCollection", self.title, self.findings)

    def __str__(self) -> str:
        """Return a summary of a few lines an audit, one a finding."""
        from audit.records.accounts import cards

        return cards.as_text([result._account() for result in self.results])

    def _repr_html_(self) -> str:
        from audit.records.accounts import cards

        return cards.as_card([result._account() for result in self.results])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all audits, in order."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def verdict(self) -> Verdict:
        """The verdict on everything in all audits; each of them is a family of its own."""
        return overall(result.verdict for result in self.results)

    def to_json(self) -> str:
        """Return the collection as JSON text."""
        return json_text.dump(self)


def read_json(text: str) -> AuditResult | AuditCollection:
    """Return the result or collection in a JSON text as it stands; :func:`audit.load_json` also checks what it says.

    Raises
    ------
    SchemaError
        When the text is neither.
    """
    # By the schema that it names: problems are then those of one kind, and not of both.
    is_collection = json_text.schema_of(text) == COLLECTION_SCHEMA
    kind: type[AuditResult | AuditCollection] = AuditCollection if is_collection else AuditResult
    return json_text.load(text, kind, schemas=(RESULT_SCHEMA, COLLECTION_SCHEMA))
