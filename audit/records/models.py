"""What an audit of models that exist already found, as frozen data with an exact JSON round trip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from audit.errors import ClaimRefutedError, InconclusiveError
from audit.plan.ranges import check, check_all, check_lengths
from audit.records import json_text
from audit.records.evidence import EpsilonLowerBound
from audit.records.filing.case import Case
from audit.records.ledger import Control, DataRecord, Environment
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.records.words.phrases import REMINDER, WHY, bound_text, claim_text, name, plain
from audit.records.words.rounding import counted, down, nearest, up
from mechanisms.claim import JSON_CONFIG, Claim, EpsilonDelta

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS_SCHEMA: Literal["unlearn-audit/models/1"] = "unlearn-audit/models/1"
Design = Literal["one_deletion", "claim_per_record"]
# Of a claim that names no delta, epsilon is told here.
TOLD_AT = 1e-5
# Records that a few lines name.
_SAID = 3


@dataclass(frozen=True, kw_only=True)
class RecordColumns:
    """Every record, a column of numbers each.

    Parameters
    ----------
    names
        What the records are called.
    auc, auc_se
        Probability that an unlearned model's statistic lies above a retrained one's, and its standard error (infinite
        where a world has no model): estimates.
    p_values
        Of the claim, by one event of this record alone: not corrected for the others.
    log_e_values
        Logarithms of e-values of the same null.
    n_unlearned, n_retrained
        Counted models of either world.
    """

    __pydantic_config__ = JSON_CONFIG
    names: tuple[str, ...]
    auc: tuple[float, ...]
    auc_se: tuple[float, ...]
    p_values: tuple[float, ...]
    log_e_values: tuple[float, ...]
    n_unlearned: tuple[int, ...]
    n_retrained: tuple[int, ...]

    def __post_init__(self) -> None:
        columns = {f: getattr(self, f) for f in self.__dataclass_fields__}
        check_lengths("numbers, one a record", len(self.names), **columns)
        check_all("auc", self.auc, low=0, high=1)
        check_all("p_values", self.p_values, low=0, high=1)
        for i, (se, log_e) in enumerate(zip(self.auc_se, self.log_e_values, strict=True)):
            check(f"auc_se[{i}]", se, finite=False)
            check(f"log_e_values[{i}]", log_e, low=-math.inf, finite=False)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class RecordDetail:
    """One of the records that are shown in detail.

    Parameters
    ----------
    record
        Its position.
    point
        The point of the claim that its event was counted against.
    bound
        Lower bound on epsilon, with the event and its counts. All of a result's hold together with the confidence that
        is said there.
    p_value, log_e_value, refuted, listed
        As in the columns; whether its own claim is refuted, and whether e-BH lists it.
    """

    __pydantic_config__ = JSON_CONFIG
    record: int
    point: EpsilonDelta
    bound: EpsilonLowerBound
    p_value: float
    log_e_value: float
    refuted: bool
    listed: bool

    def __post_init__(self) -> None:
        check("record", self.record)
        check("p_value", self.p_value, high=1.0)


@dataclass(frozen=True, kw_only=True)
class NullBand:
    """Where retained models against retained models lie: how far AUC is from 1/2, by rank, over random halves of them.

    ``shares`` of the records, from the largest down; ``low`` and ``high`` the smallest and largest over ``splits``.
    """

    __pydantic_config__ = JSON_CONFIG
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    splits: int

    def __post_init__(self) -> None:
        check_lengths("numbers, one a share", len(self.shares), low=self.low, high=self.high)


@dataclass(frozen=True, kw_only=True)
class SomeRecord:
    """The test of "the claim holds for every record" by the mean of the records' e-values.

    It refutes where ``mean_e_value`` is at least 1 / ``level``.
    """

    __pydantic_config__ = JSON_CONFIG
    mean_e_value: float
    level: float

    def __post_init__(self) -> None:
        check("mean_e_value", self.mean_e_value, finite=False)
        check("level", self.level, high=1.0)

    @property
    def refutes(self) -> bool:
        """Whether some record's claim does not hold."""
        return self.mean_e_value * self.level >= 1


@dataclass(frozen=True, kw_only=True)
class ModelsResult:
    """What an audit of models that exist already found.

    ``print(result)`` shows a few lines; ``reports.write_models(result, folder)`` writes the report.

    Parameters
    ----------
    title, claim
        What was audited, and what is claimed.
    design
        "one_deletion": all unlearned models deleted one set, the claim is one, and ``joint`` tests it.
        "claim_per_record": a claim a record, each tested against reference models.
    n_unlearned, n_retrained
        Models of either kind.
    outputs
        What an output is, for example "logits".
    significance, seed
        Probability of refuting a claim that holds, over everything that has a verdict; seed of splits and pairings.
    verdict, reason
        On the claim, or on the claims together.
    joint
        The audit of the one deletion; ``None`` for a claim a record.
    planned_power
        Probability with which the joint test was to refute, by the fit split, which also chose what is counted: too
        high where its models are few. ``None`` for a claim a record.
    records
        Every record; ``None`` where redaction withheld them.
    refuted
        Positions of the records whose own claims are refuted (Holm), for a claim a record.
    listed
        Positions of the records that e-BH lists, with a false discovery rate of at most the significance.
    details
        The records with the most evidence.
    some
        The test that some record's claim is false; ``None`` for one deletion.
    band
        Retained models against retained ones.
    before
        Mean distance from 1/2 of the AUC of the models before unlearning against the retrained ones; ``None`` where
        none were given.
    controls
        What the audit found when it checked itself.
    notes
        What else a reader has to know.
    data, environment
        Which outputs these were, and where it ran.
    redacted
        Whether records were withheld.
    case
        The case that it is filed for, as a person states it.
    schema
        Of the JSON; published as ``reports/schema/models-1.json``.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    claim: Claim
    design: Design
    n_unlearned: int
    n_retrained: int
    n_records: int
    outputs: str
    significance: float
    seed: int
    verdict: Verdict
    reason: Reason | None
    joint: AuditResult | None
    planned_power: float | None
    records: RecordColumns | None
    refuted: tuple[int, ...]
    listed: tuple[int, ...]
    details: tuple[RecordDetail, ...]
    some: SomeRecord | None
    band: NullBand | None
    before: float | None
    controls: tuple[Control, ...]
    notes: tuple[str, ...]
    data: DataRecord
    environment: Environment
    redacted: bool = False
    case: Case | None = None
    schema: Literal["unlearn-audit/models/1"] = MODELS_SCHEMA

    def __post_init__(self) -> None:
        check("significance", self.significance, high=1.0)
        check("planned_power", self.planned_power, high=1.0)
        check("before", self.before, high=0.5)
        for field in ("n_unlearned", "n_retrained", "n_records"):
            check(field, getattr(self, field), low=1)
        if self.records is not None:
            check_lengths("records", self.n_records, records=self.records)
        for field in ("refuted", "listed"):
            check_all(field, getattr(self, field), low=0, high=self.n_records - 1)

    def __repr__(self) -> str:
        """Return one line."""
        return f"<ModelsResult {plain(self.title)}: {name(self.verdict).lower()}, {counted(self.n_records, 'record')}>"

    def __str__(self) -> str:
        """Return a few lines: the verdict, what it rests on, and the records with the most evidence."""
        lines = [plain(self.title), f"  {name(self.verdict)}  {self.sentence()}"]
        lines += [f"  {self._said(detail)}" for detail in self.details[:_SAID]]
        if not self.details and self.records is not None:
            p_values = self.records.p_values
            lines += [
                f"  {plain(self.name_of(i))}: p = {up(p_values[i])} of this record alone" for i in self.foremost(_SAID)
            ]
        return "\n".join([*lines, f"  {REMINDER}"])

    def plot(self, kind: Literal["records"] = "records") -> Figure:
        """Return a picture of the pages as a figure of matplotlib: how far each record can be told apart, by rank.

        Raises
        ------
        InvalidInputError
            For another kind, or a result from which records were withheld.
        """
        from audit.records.figures.plotting import plotted

        return plotted(self, kind, finding=0)

    def sentence(self) -> str:
        """Return what the verdict rests on."""
        claimed = claim_text(self.claim, TOLD_AT)
        why = f" No verdict: {WHY[self.reason]}." if self.reason is not None else ""
        models = f"{self.n_unlearned:,} unlearned and {self.n_retrained:,} retrained models"
        if self.design == "one_deletion":
            quoted = self.joint.findings[0].quoted if self.joint is not None else None
            if quoted is None:
                return f"{models}, {counted(self.n_records, 'record')}: {claimed} is claimed.{why}"
            said = bound_text(down(quoted.bound.value), up(quoted.claimed), nearest(quoted.bound.delta))
            return f"{said}, by {models} and {counted(self.n_records, 'record')} at once.{why}"
        said = f"{len(self.refuted):,} of {counted(self.n_records, 'claim')} of {claimed} refuted, by {models}"
        if self.some is not None and self.some.refutes:
            said += "; that the claim holds for every record is refuted"
        return f"{said}.{why}"

    def foremost(self, n: int) -> tuple[int, ...]:
        """Return the positions of the n records with the smallest p-values; none where they are withheld."""
        columns = self.records
        if columns is None:
            return ()
        order = sorted(range(len(columns)), key=lambda i: (columns.p_values[i], -columns.log_e_values[i]))
        return tuple(order[:n])

    def name_of(self, record: int) -> str:
        """Return what a record is called, or its number in the list where names are withheld."""
        return self.records.names[record] if self.records is not None else f"record {record + 1} of the list"

    def _said(self, detail: RecordDetail) -> str:
        bound = detail.bound
        return (
            f"{plain(self.name_of(detail.record))}: ε ≥ {down(bound.value)} at δ = {nearest(bound.delta)}, "
            f"p = {up(detail.p_value)} of this record alone"
        )

    def describe(self) -> str:
        """Return the verdict and what it rests on, as an exception would say it."""
        return str(self)

    def assert_holds(self) -> None:
        """Raise unless no claim was refuted and one could have been.

        Raises
        ------
        ClaimRefutedError
            Some claim was refuted.
        InconclusiveError
            Nothing could be decided. Not refuting is no proof that a claim is true.
        """
        if self.verdict is Verdict.REFUTED:
            raise ClaimRefutedError(self.describe())
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(self.describe())

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> ModelsResult:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not a result of this schema, with every problem and its path.
        """
        return json_text.load(text, ModelsResult, schemas=(MODELS_SCHEMA,))
