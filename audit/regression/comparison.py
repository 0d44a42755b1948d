"""What a comparison of a baseline with a candidate found, as frozen data with an exact JSON round trip.

In the flow: ``audit.regression.comparing`` fills it from two results or two certifications; reports are rendered from
it alone. It holds nothing that changes from one run to the next (no times, no platform).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from audit.errors import InconclusiveError, RegressionError
from audit.plan.audit_plan import SMALLEST_SIGNIFICANCE
from audit.records import json_text
from audit.records.counts import Counts
from audit.records.evidence import Tail
from audit.records.ledger import DataRecord, Worth
from audit.records.verdict import Verdict
from audit.regression.differences import Difference
from mechanisms.claim import JSON_CONFIG, Direction
from mechanisms.errors import require
from mechanisms.reading.scalars import real_number

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPARISON_SCHEMA: Literal["unlearn-audit/comparison/1"] = "unlearn-audit/comparison/1"
Role = Literal["claim_row", "plan_delta", "telling_apart"]


class Outcome(Enum):
    """What one line of a comparison says of the candidate.

    ``WORSE`` is shown, ``NO_WORSE`` is shown to within the margin, and ``UNDECIDED`` is neither: not seeing a
    difference is not showing that there is none.
    """

    BETTER = "better"
    NO_WORSE = "no_worse"
    WORSE = "worse"
    UNDECIDED = "undecided"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return WORSE if there is one, else UNDECIDED if there is one or no outcome at all, else NO_WORSE."""
    found = set(outcomes)
    if Outcome.WORSE in found:
        return Outcome.WORSE
    return Outcome.UNDECIDED if Outcome.UNDECIDED in found or not found else Outcome.NO_WORSE


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How much worse is tolerated, and at which level intervals are drawn; fixed before looking.

    Parameters
    ----------
    exact
        Relative, for numbers that are computed and not estimated (epsilon, noise). Calibration solves for the noise to
        a share of 1e-6, so that a smaller margin would compare rounding.
    accuracy
        Absolute fall of the mean score of unlearned models.
    rate
        Absolute rise of an attack's true-positive rate, or fall of its false-positive rate.
    significance
        All intervals of a comparison hold together with probability 1 - significance.

    Raises
    ------
    InvalidInputError
        Naming the field out of range.
    """

    __pydantic_config__ = JSON_CONFIG
    exact: float = 1e-6
    accuracy: float = 0.01
    rate: float = 0.02
    significance: float = 0.05

    def __post_init__(self) -> None:
        for name, largest in (("exact", float("inf")), ("accuracy", 1.0), ("rate", 1.0)):
            fix = f"{getattr(Margins, name):g} is the default"
            value = real_number(getattr(self, name), f"margins.{name}", fix=fix)
            expected = "at least 0 and finite" if name == "exact" else "in [0, 1)"
            require(0 <= value < largest, f"margins.{name}", expected=expected, got=value, fix=fix)
            object.__setattr__(self, name, value)
        level = real_number(self.significance, "margins.significance", fix="0.05 is usual")
        object.__setattr__(self, "significance", level)
        require(
            SMALLEST_SIGNIFICANCE <= self.significance < 0.5,
            "margins.significance",
            expected=f"in (0, 0.5), at least {SMALLEST_SIGNIFICANCE:g}",
            got=self.significance,
            fix="0.05 is usual",
        )


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared. ``seed`` is ``None`` where an older file does not say."""

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    data: DataRecord
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A computed number that moved by more than its margin.

    Parameters
    ----------
    forget
        The deletion that it is about.
    source
        "each record", a route, a certificate's method, "mechanism" or "claim".
    quantity
        "sigma_unlearn" (the noise), an epsilon, or "accuracy" where that is computed and not estimated.
    outcome
        WORSE or BETTER.
    """

    __pydantic_config__ = JSON_CONFIG
    forget: tuple[int, ...]
    source: str
    quantity: str
    baseline: float
    candidate: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Tally:
    """One computed quantity over all deletions: how many were compared, and the largest step for the worse.

    ``largest_step`` is relative to the baseline (absolute for an accuracy); negative when all became better.
    """

    __pydantic_config__ = JSON_CONFIG
    source: str
    quantity: str
    n_compared: int
    n_worse: int
    n_better: int
    largest_step: float
    at: tuple[int, ...]

    @property
    def outcome(self) -> Outcome:
        """WORSE when any deletion is, BETTER when some are better and none worse, else NO_WORSE."""
        return Outcome.WORSE if self.n_worse else Outcome.BETTER if self.n_better else Outcome.NO_WORSE


@dataclass(frozen=True, kw_only=True)
class MeanComparison:
    """The mean score of unlearned models by one route; a fall is for the worse.

    ``paired``: run i of both sides drew the same random numbers. ``difference`` is ``None``, and the outcome undecided,
    where a side stores no single runs.
    """

    __pydantic_config__ = JSON_CONFIG
    forget: tuple[int, ...]
    route: str
    baseline: float
    candidate: float
    n_baseline: int
    n_candidate: int
    paired: bool
    difference: Difference | None
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class RateComparison:
    """How often one attack's event occurs, baseline against candidate: about this attack alone, never about epsilon.

    Parameters
    ----------
    forget, claim, role, attack
        Which event of the baseline it is. "telling_apart": the one that told the worlds apart best on its fit split.
        The others (declared thresholds, older results): of that test; ``claim`` counts the claims about one forget set
        from 0.
    frozen
        True where the candidate's releases were scored by the baseline's own fitted attack at the baseline's own
        threshold, or where both sides declared one threshold of one score in advance. False: the candidate's own event,
        chosen by the same design on its own fit split.
    baseline_tail, baseline_threshold, candidate_tail, candidate_threshold
        The two events; equal where ``frozen``.
    baseline_direction, candidate_direction
        The world on the left of the claim is where an event is a true positive.
    baseline, candidate
        The counts.
    true_positives, false_positives
        Intervals for the difference of the rates.
    outcome
        WORSE: one rate moved for the worse by more than the margin, and more than the margin is left of that after what
        the other made up for; or the event now tells the worlds apart the other way round, and better by more than the
        margin. NO_WORSE: none of this by more than the margin, at a baseline's rate that is not near 0 or 1. For the
        worse means true positives more often, or false positives less often.
    advantage
        Interval for the candidate's true-positive rate minus its false-positive rate, below 0 where the event tells the
        worlds apart the other way round; ``None`` in older files.
    """

    __pydantic_config__ = JSON_CONFIG
    forget: tuple[int, ...]
    claim: int
    role: Role
    attack: str
    frozen: bool
    baseline_tail: Tail
    baseline_threshold: float
    baseline_direction: Direction
    candidate_tail: Tail
    candidate_threshold: float
    candidate_direction: Direction
    baseline: Counts
    candidate: Counts
    true_positives: Difference
    false_positives: Difference
    outcome: Outcome
    advantage: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class VerdictComparison:
    """The verdicts on one claim about one forget set, and what was claimed at the tested delta."""

    __pydantic_config__ = JSON_CONFIG
    forget: tuple[int, ...]
    claim: int
    label: str
    baseline: Verdict
    candidate: Verdict
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class UtilityComparison:
    """What models are good for, by the user's function: of each side unlearned and retrained. It decides nothing."""

    __pydantic_config__ = JSON_CONFIG
    forget: tuple[int, ...]
    baseline: tuple[Worth, Worth] | None
    candidate: tuple[Worth, Worth] | None


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Something that only one side has: ``missing`` from the candidate, or ``extra`` in it."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["missing", "extra"]
    what: str
    forget: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that a comparison found.

    Parameters
    ----------
    kind
        "certificates": computed numbers, and accuracies by intervals. "audits": verdicts and attacks' rates by
        intervals, and the certificates that the findings carry.
    tallies, changes
        Computed numbers: every quantity in short, and every one that moved by more than the margin.
    absences
        What cannot be compared because one side lacks it. Anything missing leaves the comparison undecided.
    notes
        Sentences for readers.
    utilities
        What models of both sides are good for, where either was given a function that says it; no line of the outcome.
    """

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["certificates", "audits"]
    baseline: Side
    candidate: Side
    margins: Margins
    tallies: tuple[Tally, ...]
    changes: tuple[Change, ...]
    means: tuple[MeanComparison, ...]
    rates: tuple[RateComparison, ...]
    verdicts: tuple[VerdictComparison, ...]
    absences: tuple[Absence, ...]
    notes: tuple[str, ...]
    utilities: tuple[UtilityComparison, ...] = ()
    schema: Literal["unlearn-audit/comparison/1"] = COMPARISON_SCHEMA

    @property
    def outcome(self) -> Outcome:
        """WORSE if a regression is shown anywhere; NO_WORSE if every line is within its margin; else UNDECIDED."""
        found = [tally.outcome for tally in self.tallies] + [mean.outcome for mean in self.means]
        found += [rate.outcome for rate in self.rates] + [verdict.outcome for verdict in self.verdicts]
        return worst(found + [Outcome.UNDECIDED for absence in self.absences if absence.kind == "missing"])

    def assert_no_regression(self) -> None:
        """Raise unless every line of the comparison is no worse within its margin.

        Raises
        ------
        RegressionError
            A regression is shown.
        InconclusiveError
            Something could not be decided. Not seeing a difference is no proof that there is none.
        """
        pair = f"{self.candidate.title} against {self.baseline.title}"
        if self.outcome is Outcome.WORSE:
            raise RegressionError(f"{pair}: a regression is shown. print(reports.comparison_summary(...)) says where.")
        if self.outcome is Outcome.UNDECIDED:
            raise InconclusiveError(f"{pair}: could not decide whether the candidate is worse.")

    def to_json(self) -> str:
        """Return the comparison as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> Comparison:
        """Return the comparison that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, Comparison, schemas=(COMPARISON_SCHEMA,))
