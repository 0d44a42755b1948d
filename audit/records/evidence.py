"""The evidence on one claim about one forget set, as frozen data: bounds, counted events and the finding they lead to.

Sufficient statistics (counts, levels, thresholds) travel with every number, so another interval can be computed from a
stored result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.plan.ranges import check, check_all, check_lengths
from audit.records.counts import Counts
from audit.records.estimates import Estimate
from audit.records.figures.histograms import ScoreHistogram
from audit.records.figures.history import History
from audit.records.verdict import Reason, Verdict
from audit.records.words.phrases import WEAK_MULTIPLE, bound_text, spoken, subject
from audit.records.words.rounding import down, enough_digits, nearest, up
from audit.trials.failed_chunks import FailedChunk
from mechanisms.claim import JSON_CONFIG, Certificate, Claim, Direction, EpsilonDelta

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

    def __post_init__(self) -> None:
        check("value", self.value)
        check("delta", self.delta, high=1.0)
        check("level", self.level, high=1.0)
        check("threshold", self.threshold, low=-math.inf)


@dataclass(frozen=True, kw_only=True)
class EventTest:
    """One member of the family: one event, chosen on the fit split, tested against one point of the claim.

    ``role`` is "claim_row" for the row of the claim where the fit split promised most power, and "plan_delta" for
    the claim's point at the plan's delta. ``p_value`` is that of the null "the claim holds at this point", and
    ``p_value_floor`` the smallest that the test could state, whatever was counted (``None`` where it is not known).
    """

    __pydantic_config__ = JSON_CONFIG
    role: Literal["claim_row", "plan_delta"]
    point: EpsilonDelta
    p_value: float
    rejected: bool
    bound: EpsilonLowerBound
    p_value_floor: float | None = None

    def __post_init__(self) -> None:
        check("p_value", self.p_value, high=1.0)
        check("p_value_floor", self.p_value_floor, high=1.0)


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
        Smallest true epsilon at this delta, of a Gaussian shift (at delta = 0 of randomised response), that the audit
        would have refuted with probability 0.8 given its best threshold; infinity when there is none.
    """

    __pydantic_config__ = JSON_CONFIG
    role: Literal["claim_row", "plan_delta"]
    bound: EpsilonLowerBound
    exact: float | None
    claimed: float
    ceiling: float
    detectable_epsilon: float

    def __post_init__(self) -> None:
        check("ceiling", self.ceiling)
        for name in ("exact", "claimed", "detectable_epsilon"):
            check(name, getattr(self, name), finite=False)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The operating point of a curve that told the worlds apart best on the fit split.

    ``position`` among the curve's thresholds; the event is the score above ("upper") or at most ("lower") it, whichever
    was likelier in the unlearned world there.
    """

    __pydantic_config__ = JSON_CONFIG
    position: int
    tail: Tail


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Counted operating points of one attack on the counting split: event "score > threshold", as counts.

    ``cut`` is what two audits are compared by; ``None`` where nothing was chosen on a fit split, and in older results.
    """

    __pydantic_config__ = JSON_CONFIG
    attack: str
    n_unlearned: int
    n_retrained: int
    thresholds: tuple[float, ...]
    k_unlearned: tuple[int, ...]
    k_retrained: tuple[int, ...]
    cut: Cut | None = None

    def at(self, position: int, tail: Tail) -> Counts:
        """Return how often the event at one of the thresholds occurred."""
        counts = Counts(
            k_unlearned=self.k_unlearned[position],
            n_unlearned=self.n_unlearned,
            k_retrained=self.k_retrained[position],
            n_retrained=self.n_retrained,
        )
        return counts if tail == "upper" else counts.complement()

    def __post_init__(self) -> None:
        check_lengths("counts", len(self.thresholds), k_unlearned=self.k_unlearned, k_retrained=self.k_retrained)
        check_all("thresholds", self.thresholds)
        check_all("k_unlearned", self.k_unlearned, low=0, high=self.n_unlearned)
        check_all("k_retrained", self.k_retrained, low=0, high=self.n_retrained)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A deleted record for human eyes: an image in [0, 1], row by row, or its leading feature values."""

    __pydantic_config__ = JSON_CONFIG
    record: int
    target: str
    image_shape: tuple[int, int] | None
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_all("values", self.values)
        if self.image_shape is not None:
            check_all("image_shape", self.image_shape, low=1)
            check_lengths("pixels", math.prod(self.image_shape), values=self.values)


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
    independence_checked
        False where rows were given in an order that shows nothing of their independence, for example sorted.
    failed_chunks
        Trials about this forget set that failed, controls included. Tests count them against refuting the claim;
        curves, estimates and histograms leave them out.
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
    independence_checked: bool = True
    failed_chunks: tuple[FailedChunk, ...] = ()

    def __post_init__(self) -> None:
        check("p_value", self.p_value, high=1.0)
        check("level", self.level, high=1.0)

    def __repr__(self) -> str:
        """Return one line: whole, a finding fills many pages."""
        quoted, shown = self.quoted, ""
        if quoted is not None:
            digits = enough_digits(quoted.bound.value, quoted.claimed)
            bound, claimed = down(quoted.bound.value, digits), up(quoted.claimed, digits)
            shown = f": {bound_text(bound, claimed, nearest(quoted.bound.delta))}"
        return f"<Finding {spoken(self.verdict, is_weak=self.is_weak)}, {subject(self.forget, self.label)}{shown}>"

    @property
    def quoted(self) -> Sandwich | None:
        """What a sentence quotes: the row that contradicts the claim, else the one where the audit has power."""
        contradicting = (s for s in self.sandwiches if s.bound.value > s.claimed)
        return next(contradicting, self.sandwiches[0] if self.sandwiches else None)

    @property
    def is_weak(self) -> bool:
        """Whether not refuting says little: a true epsilon of twice the claimed one would hardly have been seen."""
        quoted = self.quoted
        if self.verdict is not Verdict.NOT_REFUTED or quoted is None:
            return False
        return quoted.detectable_epsilon > WEAK_MULTIPLE * quoted.claimed

    @property
    def bound(self) -> EpsilonLowerBound | None:
        """The lower bound at the row where the audit has power; ``None`` when no attack could be run."""
        return self.sandwiches[0].bound if self.sandwiches else None
