"""What an audit found, as frozen data with an exact JSON round trip.

Reports are rendered from this alone. Sufficient statistics (counts, levels, thresholds) travel with every number,
so another interval can be computed from a stored result.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from audit import cards
from audit.betting.history import History
from audit.counts import Counts
from audit.errors import ClaimRefutedError, InconclusiveError, SchemaError
from audit.estimates import Estimate
from audit.histograms import ScoreHistogram
from audit.plan import Correction
from audit.redaction import Redaction
from audit.split import Counting
from audit.verdict import Reason, Verdict, overall
from mechanisms.claim import JSON_CONFIG, Certificate, Claim, Direction, EpsilonDelta

if TYPE_CHECKING:
    from pydantic import TypeAdapter

RESULT_SCHEMA: Literal["unlearn-audit/result/1"] = "unlearn-audit/result/1"
COLLECTION_SCHEMA: Literal["unlearn-audit/collection/1"] = "unlearn-audit/collection/1"
Tail = Literal["upper", "lower"]


@dataclass(frozen=True, kw_only=True)
class EpsilonLowerBound:
    """A lower bound on epsilon that holds with probability at least 1 - level.

    Parameters
    ----------
    value
        In nats, at least 0.
    delta, direction
        The bound is on the smallest epsilon with the given delta in this direction.
    level
        Probability that the bound exceeds the truth; a member's share of the family's significance.
    method
        "exact_joint", "clopper_pearson", "e_process" or "equal_level_band".
    attack, tail, threshold
        The counted event: score above ("upper") or at most ("lower") the threshold. Of an e-process, the last one.
    counts
        Occurrences of that event on the counting split; of an e-process, of the event in force at each trial.
    """

    __pydantic_config__ = JSON_CONFIG
    value: float
    delta: float
    direction: Direction
    level: float
    method: str
    attack: str
    tail: Tail
    threshold: float
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class EventTest:
    """One member of the family: one event, chosen on the fit split, tested against one point of the claim.

    ``role`` is "claim_row" for the row of the claim where the fit split promised most power, and "plan_delta" for
    the claim's point at the plan's delta. ``p_value`` is that of the null "the claim holds at this point".
    """

    __pydantic_config__ = JSON_CONFIG
    role: Literal["claim_row", "plan_delta"]
    point: EpsilonDelta
    p_value: float
    rejected: bool
    bound: EpsilonLowerBound


@dataclass(frozen=True, kw_only=True)
class Sandwich:
    """Lower bound <= exact <= claimed, at one delta and in one direction.

    Parameters
    ----------
    role
        "claim_row": at the delta where this audit has power; "plan_delta": at the plan's delta.
    bound
        The largest lower bound over attacks at this delta.
    exact
        Exact epsilon at this delta and direction where a certificate states it, rounded up; else ``None``.
    claimed
        What the claim promises at this delta and direction.
    ceiling
        The largest epsilon that the counted trials could ever have shown at this level.
    detectable_epsilon
        Smallest true epsilon at this delta, of a Gaussian shift, that the audit would have refuted with
        probability 0.8 given its best threshold; infinity when there is none.
    """

    __pydantic_config__ = JSON_CONFIG
    role: Literal["claim_row", "plan_delta"]
    bound: EpsilonLowerBound
    exact: float | None
    claimed: float
    ceiling: float
    detectable_epsilon: float


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Counted operating points of one attack on the counting split: event "score > threshold", as counts."""

    __pydantic_config__ = JSON_CONFIG
    attack: str
    n_unlearned: int
    n_retrained: int
    thresholds: tuple[float, ...]
    k_unlearned: tuple[int, ...]
    k_retrained: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A deleted record for human eyes: an image in [0, 1], row by row, or its leading feature values."""

    __pydantic_config__ = JSON_CONFIG
    record: int
    target: str
    image_shape: tuple[int, int] | None
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on one claim about one forget set, with everything that it rests on.

    Parameters
    ----------
    claim, forget, label
        What was claimed of which records; the label is a word such as "hardest".
    verdict, reason
        The reason is given for INCONCLUSIVE only.
    p_value, level
        Smallest p-value of the members about this finding, and the level that this member was tested at (0 when a
        fixed sequence stopped before it).
    tests
        All of those members.
    sandwiches
        At the row where the audit has power, and at the plan's delta.
    roc
        One a scored attack.
    failures
        Attack name and message of every attack that could not be run.
    certificates, parameters
        As stated by the deletion; data, never computed by the auditor.
    preview
        One for each deleted record, at most four.
    estimates
        One a scored attack, for readers only: nothing that is decided looks at them.
    history
        How the evidence grew, in an audit that stops when decided.
    histograms
        One a scored attack, for pictures; empty in results of before they were kept.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    forget: tuple[int, ...]
    label: str
    verdict: Verdict
    reason: Reason | None
    p_value: float
    level: float
    tests: tuple[EventTest, ...]
    sandwiches: tuple[Sandwich, ...]
    roc: tuple[Roc, ...]
    failures: Mapping[str, str]
    certificates: tuple[Certificate, ...]
    parameters: Mapping[str, int | float | str]
    preview: tuple[Preview, ...]
    estimates: tuple[Estimate, ...] = ()
    history: History | None = None
    histograms: tuple[ScoreHistogram, ...] = ()

    def __repr__(self) -> str:
        """Return one line: whole, a finding fills many pages."""
        about = cards.subject(self.forget, self.label)
        return f"<Finding {cards.spoken(self.verdict)}, {about}: {cards.found(self)}>"

    @property
    def bound(self) -> EpsilonLowerBound | None:
        """The lower bound at the row where the audit has power; ``None`` when no attack could be run."""
        return self.sandwiches[0].bound if self.sandwiches else None


@dataclass(frozen=True, kw_only=True)
class Control:
    """A check that the audit carries about itself, for one forget set.

    Parameters
    ----------
    name
        "null": retrained against retrained on independent streams, tested against epsilon = delta = 0; must not
        be rejected. "neglected": the deletion was ignored, tested against the first claim: "would we have seen
        it?". "replay": the same stream drawn twice must give the same releases. "duplicates": no two releases of a
        continuous mechanism are equal. "lag_one": scores are not correlated with those of the next trial.
        "step_noise": a trajectory's noise is drawn afresh at each step.
    as_expected
        For "neglected", whether the ignored deletion was seen; it may be out of any audit's reach.
    p_value, level, n_trials
        Smallest p-value over attacks, the level of each, releases a world (fitting and counting).
    bound
        Best lower bound of the control, if it has one.
    message
        One sentence for the report.
    applicable
        False where there was nothing to check; ``as_expected`` is then true.
    """

    __pydantic_config__ = JSON_CONFIG
    name: Literal["null", "neglected", "replay", "duplicates", "lag_one", "step_noise"]
    forget: tuple[int, ...]
    label: str
    as_expected: bool
    message: str
    p_value: float | None = None
    level: float | None = None
    n_trials: int | None = None
    bound: EpsilonLowerBound | None = None
    applicable: bool = True

    @property
    def spoils_verdicts(self) -> bool:
        """Whether it shows trials that no verdict may rest on.

        A deletion that nobody would have seen does not; nor does noise that is reused within a trial, a fault of the
        mechanism that leaves its trials independent of each other.
        """
        not_run = self.name == "null" and self.p_value is None
        return not (self.as_expected or not_run or self.name in ("neglected", "step_noise"))


@dataclass(frozen=True, kw_only=True)
class Member:
    """One line of the ledger: a hypothesis of the family and the level that was spent on it.

    Parameters
    ----------
    claim, forget, attack, role
        Which hypothesis.
    level
        Its equal share of the significance, fixed before the trials: the level of its lower bound, whatever the
        correction. All bounds of the family hold together with probability 1 - significance.
    tested_at
        Level at which its p-value was in fact compared; ``None`` when it was not tested.
    rejected
        Whether the p-value was at most that level.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: int
    forget: tuple[int, ...]
    attack: str
    role: Literal["claim_row", "plan_delta"]
    level: float
    tested_at: float | None = None
    rejected: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """The ledger of levels: they add up to at most ``significance``.

    Verdicts follow the correction, lower bounds the equal shares. Each of the two is wrong somewhere in the family with
    probability at most ``significance``; under Holm and the fixed sequence they are two statements, not one.
    """

    __pydantic_config__ = JSON_CONFIG
    significance: float
    correction: Correction
    members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class WorldTrials:
    """How many trials of one world there are, fit and count."""

    __pydantic_config__ = JSON_CONFIG
    trials: int
    n_fit: int
    n_counted: int


@dataclass(frozen=True, kw_only=True)
class DeclaredThreshold:
    """Nothing is fitted: a threshold that was declared in advance is counted on all trials."""

    __pydantic_config__ = JSON_CONFIG
    threshold: float
    kind: Literal["declared_threshold"] = "declared_threshold"


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """The plan as data: everything of ``AuditPlan`` that a reader or a rerun needs.

    ``retrained`` holds the numbers of the retrained world where trials were given and not drawn; the others are then
    those of the unlearned world.
    """

    __pydantic_config__ = JSON_CONFIG
    claims: tuple[str, ...]
    forget: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    attacks: tuple[str, ...]
    trials: int
    n_fit: int
    n_counted: int
    control_trials: int
    counting: Counting | DeclaredThreshold
    significance: float
    delta: float
    seed: int
    chunk_size: int
    retrained: WorldTrials | None = None


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Which data were audited.

    ``kind`` is "classification" or "regression"; or "scores" or "releases" where these were given themselves, so that
    the data that models were trained on are not known (``None``).
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    sha256: str
    n_records: int | None
    n_features: int | None
    n_targets: int | None
    kind: str

    @property
    def is_given(self) -> bool:
        """Whether scores or releases were given, and nothing was drawn."""
        return self.kind in ("scores", "releases")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where the audit ran; the only part of a result that may differ between two runs of one plan."""

    __pydantic_config__ = JSON_CONFIG
    started: str
    seconds: float
    python: str
    platform: str
    libraries: Mapping[str, str]
    n_jobs: int
    command: str | None = None


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
    redaction
        Set when record identifiers and epsilons per record were withheld (:func:`reports.redact`).
    schema
        Of the JSON; published as ``reports/schema/result-1.json``.

    Examples
    --------
    >>> from audit import from_scores
    >>> from mechanisms.claim import Claim, EpsilonDelta
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
    schema: Literal["unlearn-audit/result/1"] = RESULT_SCHEMA

    def __repr__(self) -> str:
        """Return one line: title and how many claims got which verdict."""
        return cards.as_line(self)

    def __str__(self) -> str:
        """Return a summary of a few lines, one a finding."""
        return cards.as_text(self)

    def _repr_html_(self) -> str:
        return cards.as_card(self)

    @property
    def verdict(self) -> Verdict:
        """The verdict on everything in the plan."""
        return overall(finding.verdict for finding in self.findings)

    def assert_holds(self) -> None:
        """Raise unless no claim was refuted and every one could have been.

        Raises
        ------
        ClaimRefutedError
            Some claim was refuted.
        InconclusiveError
            Some claim could not be decided. Not refuting is no proof that a claim is true.
        """
        # Imported here: that module reads results, and is needed only to say what went wrong.
        from audit.failure_text import describe

        if self.verdict is Verdict.REFUTED:
            raise ClaimRefutedError(describe(self))
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(describe(self))

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return _to_json(self)

    @staticmethod
    def from_json(text: str) -> AuditResult:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not a result of this schema, with every problem and its path.
        """
        loaded: AuditResult = _from_json(text, AuditResult)
        return loaded


@dataclass(frozen=True, kw_only=True)
class Table:
    """Facts that were computed, not audited, for a report: cells are shown as they are."""

    __pydantic_config__ = JSON_CONFIG
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    schema
        Of the JSON; published as ``reports/schema/collection-1.json``.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    introduction: str
    results: tuple[AuditResult, ...]
    tables: tuple[Table, ...] = ()
    schema: Literal["unlearn-audit/collection/1"] = COLLECTION_SCHEMA

    def __repr__(self) -> str:
        """Return one line: title and how many claims got which verdict."""
        return cards.as_line(self)

    def __str__(self) -> str:
        """Return a summary of a few lines an audit, one a finding."""
        return cards.as_text(self)

    def _repr_html_(self) -> str:
        return cards.as_card(self)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all audits, in order."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def verdict(self) -> Verdict:
        """The verdict on everything in all audits; each of them is a family of its own."""
        return overall(finding.verdict for finding in self.findings)

    def to_json(self) -> str:
        """Return the collection as JSON text."""
        return _to_json(self)


def load_json(text: str) -> AuditResult | AuditCollection:
    """Return the result or collection in a JSON text.

    Raises
    ------
    SchemaError
        When the text is neither.
    """
    loaded: AuditResult | AuditCollection = _from_json(text, AuditResult | AuditCollection)
    return loaded


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _kind(value: AuditResult | AuditCollection) -> Any:
    return type(value)


def _to_json(value: AuditResult | AuditCollection) -> str:
    from pydantic_core import to_json

    # Not dump_json: inside a union it writes infinities as null, whatever the configuration says.
    return to_json(_adapter(_kind(value)).dump_python(value), inf_nan_mode="strings", indent=1).decode()


def _from_json(text: str, kind: Any) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(text)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10]]
        raise SchemaError("\n".join([f"Expected JSON of {RESULT_SCHEMA}, got something else:", *problems])) from None
