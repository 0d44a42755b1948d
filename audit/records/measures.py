"""What was measured where nothing is claimed, as frozen data with an exact JSON round trip. Never a verdict.

In the flow: :mod:`audit.running.measuring` and :mod:`audit.models.measuring` fill these, pages print them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.plan.ranges import check
from audit.records import json_text
from audit.records.evidence import EpsilonLowerBound
from audit.records.ledger import Control, DataRecord, Environment, Trainings
from audit.records.words.phrases import plain
from audit.records.words.rounding import counted, down, nearest
from mechanisms.claim import JSON_CONFIG

MEASURE_SCHEMA: Literal["unlearn-audit/measure/1"] = "unlearn-audit/measure/1"
Ignored = Literal["ignored", "before", "none"]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often an event occurred in n trials, with exact 95 % limits (of this rate alone)."""

    __pydantic_config__ = JSON_CONFIG
    k: int
    n: int
    low: float
    high: float

    def __post_init__(self) -> None:
        check("n", self.n, low=1)
        check("k", self.k, high=self.n)
        for name in ("low", "high"):
            check(name, getattr(self, name), high=1.0)

    @property
    def value(self) -> float:
        """The share."""
        return self.k / self.n


@dataclass(frozen=True, kw_only=True)
class Caught:
    """How many of the sample score above a threshold that few retrained models exceed.

    Parameters
    ----------
    nominal
        The false-positive rate that the threshold was chosen for, by half of the retrained models that are counted
        elsewhere.
    threshold
        The score.
    tpr, fpr
        Of the sample, and of the other half of the retrained models.
    """

    __pydantic_config__ = JSON_CONFIG
    nominal: float
    threshold: float
    tpr: Rate
    fpr: Rate


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One sample of models against retrained ones, by one attack that was frozen before they were counted.

    Parameters
    ----------
    bound
        The largest lower bound on epsilon over both directions. All bounds of a result hold together with probability
        at least 1 - significance, for samples of their own.
    auc, auc_low, auc_high
        Area under the ROC curve, with 95 % limits that hold for every number of trials (Hoeffding 1963).
    caught
        True-positive rates at small false-positive rates.
    advantage_high
        Upper 95 % limit on the advantage of this attack as it was frozen, and of no other.
    """

    __pydantic_config__ = JSON_CONFIG
    bound: EpsilonLowerBound
    auc: float
    auc_low: float
    auc_high: float
    caught: tuple[Caught, ...]
    advantage_high: float

    def __post_init__(self) -> None:
        for name in ("auc", "auc_low", "auc_high", "advantage_high"):
            check(name, getattr(self, name), high=1.0)


@dataclass(frozen=True, kw_only=True)
class AttackMeasures:
    """What one attack showed of unlearned models, and of what they lie between.

    ``ignored`` are models whose deletion was ignored, or (of given arrays) models before unlearning; ``retrained`` is
    retrained against retrained. ``None`` where there are none.
    """

    __pydantic_config__ = JSON_CONFIG
    attack: str
    unlearned: Measures
    ignored: Measures | None
    retrained: Measures | None


@dataclass(frozen=True, kw_only=True)
class SetMeasures:
    """What was measured of one deletion, or of one record of it.

    Parameters
    ----------
    name
        "record 7", "records 3 and 9", or what a record is called.
    forget
        The deleted records; empty where they are not known.
    attacks
        One an attack; empty where nothing could be measured.
    failures
        Attacks that failed, with the reason; under "" why the set as a whole was not measured.
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    forget: tuple[int, ...]
    attacks: tuple[AttackMeasures, ...]
    failures: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MeasureResult:
    """What was measured of deletions that nothing is claimed of: bounds and rates, and never a verdict.

    Parameters
    ----------
    title, mechanism
        What was measured.
    delta
        Of the lower bounds on epsilon.
    significance
        Probability that some bound of the result is too large, of each column of a page.
    seed
        Of all random streams.
    n_fit, n_counted
        Models of the unlearned and of the retrained world that fit attacks and choose events, and that are counted.
    ignored
        What stands beside the unlearned models: "ignored" (a deletion that was ignored), "before" (models before
        unlearning, which lack the noise of its steps) or "none".
    sets
        One a deletion, or one a record.
    trainings
        Of the trials and controls; ``None`` where not known.
    controls
        What was checked of the trials.
    notes
        What else a reader has to know.
    data, environment
        What was measured on, and where it ran.
    schema
        Of the JSON; published as ``reports/schema/measure-1.json``.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    delta: float
    significance: float
    seed: int
    n_fit: tuple[int, int]
    n_counted: tuple[int, int]
    ignored: Ignored
    sets: tuple[SetMeasures, ...]
    trainings: Trainings | None
    controls: tuple[Control, ...]
    notes: tuple[str, ...]
    data: DataRecord
    environment: Environment
    schema: Literal["unlearn-audit/measure/1"] = MEASURE_SCHEMA

    def __post_init__(self) -> None:
        check("delta", self.delta, high=1.0)
        check("significance", self.significance, high=1.0)

    def __repr__(self) -> str:
        """Return one line."""
        return f"<MeasureResult {plain(self.title)}: {counted(len(self.sets), 'set')}>"

    def __str__(self) -> str:
        """Return a line a set: the largest bound on epsilon, and the AUC of the attack that gave it."""
        return "\n".join([plain(self.title), *(f"  {plain(self._said(each))}" for each in self.sets)])

    def _said(self, each: SetMeasures) -> str:
        best = strongest(each)
        if best is None:
            why = "; ".join(f"{name}: {said}" if name else said for name, said in each.failures.items())
            return f"{each.name}: not measured ({why})"
        found = best.unlearned
        return (
            f"{each.name}: ε ≥ {down(found.bound.value)} at δ = {nearest(self.delta)}, AUC {nearest(found.auc, 3)} "
            f"({best.attack})"
        )

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> MeasureResult:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not a result of this schema, with every problem and its path.
        """
        return json_text.load(text, MeasureResult, schemas=(MEASURE_SCHEMA,))


def strongest(each: SetMeasures) -> AttackMeasures | None:
    """Return the attack with the largest bound, of equal ones the one whose AUC is farthest from 1/2."""
    return max(each.attacks, key=lambda a: (a.unlearned.bound.value, abs(a.unlearned.auc - 0.5)), default=None)
