"""What is known of an audit before its first trial, as frozen data with an exact JSON round trip.

In the flow: ``audit.power.forecasting`` makes a forecast of a plan; the command line prints it, and nothing that
decides a verdict ever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.records import json_text
from audit.records.ledger import Control, Family, PlanRecord
from mechanisms.claim import JSON_CONFIG, Claim

FORECAST_SCHEMA: Literal["unlearn-audit/forecast/1"] = "unlearn-audit/forecast/1"
AlternativeKind = Literal["gaussian_shift", "neglected_laws", "neglected_gaussian"]
CautionKind = Literal[
    "cannot_be_refuted", "low_power", "blind_attack", "neglect_unseen", "nothing_claimed", "attack_cannot_run"
]


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A truth that an audit's power is stated against; power without one means nothing.

    Parameters
    ----------
    kind
        "gaussian_shift": N(mu, 1) against N(0, 1). "neglected_laws": the mechanism's own laws of an ignored deletion
        and of retraining. "neglected_gaussian": a Gaussian shift with the certificate's epsilon without unlearning.
    epsilon, delta
        True epsilon of this alternative at the delta, in nats.
    """

    __pydantic_config__ = JSON_CONFIG
    kind: AlternativeKind
    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class PowerStatement:
    """The probability that one attack of an audit refutes a claim, if an alternative were the truth.

    Parameters
    ----------
    alternative
        The truth.
    ratio
        True epsilon over claimed epsilon at the alternative's delta; infinity where 0 is claimed.
    power
        With an attack that loses nothing, the row and threshold chosen on the planned fit split (rehearsed).
    power_known_event
        The same with the best row and threshold known in advance; at least ``power`` up to simulation noise.
    trials_needed
        The plan's ``trials`` from which ``power`` would be 0.8; ``None`` where no number is enough (and in a brief
        forecast where ``power`` is enough).
    """

    __pydantic_config__ = JSON_CONFIG
    alternative: Alternative
    ratio: float
    power: float
    power_known_event: float
    trials_needed: int | None


@dataclass(frozen=True, kw_only=True)
class LearnedAttack:
    """What a learned linear attack may keep of the margin's Gaussian shift.

    Parameters
    ----------
    attack
        Name of the attack.
    n_parameters, n_fit
        d parameters of a release, and m fitting trials a side.
    kept
        At most about this share of the shift, ``mu / sqrt(mu^2 + 2 d / m)``.
    power
        With that share, the best row and threshold known in advance.
    """

    __pydantic_config__ = JSON_CONFIG
    attack: str
    n_parameters: int
    n_fit: int
    kept: float
    power: float


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A warning: something that the audit cannot show as planned."""

    __pydantic_config__ = JSON_CONFIG
    kind: CautionKind
    message: str


@dataclass(frozen=True, kw_only=True)
class ClaimForecast:
    """What the audit can show about one claim and forget set.

    Parameters
    ----------
    claim, forget, label
        What is claimed of which records.
    delta, claimed_epsilon
        The delta at which epsilons are stated, and what is claimed there (the larger of both directions).
    n_fit, n_counted
        Trials of each world that fit and choose, and that count.
    level
        Level of each test of this claim (in a fixed sequence: if it is reached).
    ceiling
        No outcome shows a larger epsilon at this delta.
    refutable, trials_to_refute
        Whether some outcome would refute the claim; if not, the smallest ``trials`` of a plan where one would
        (``None``: none ever).
    detectable_epsilon
        Smallest true epsilon at this delta, of a Gaussian shift, that is refuted with probability 0.8 given the best
        row and threshold; infinity when there is none, ``None`` in a brief forecast.
    margins
        Power against Gaussian shifts of a given multiple of the claimed epsilon.
    neglected
        Power against a deletion that was ignored, where the mechanism states its laws or certificates.
    learned
        Learned attacks of the plan, at the last margin.
    cautions
        Warnings.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    forget: tuple[int, ...]
    label: str
    delta: float
    claimed_epsilon: float
    n_fit: int
    n_counted: int
    level: float
    ceiling: float
    refutable: bool
    trials_to_refute: int | None
    detectable_epsilon: float | None
    margins: tuple[PowerStatement, ...]
    neglected: PowerStatement | None
    learned: tuple[LearnedAttack, ...]
    cautions: tuple[Caution, ...]


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What drawing the trials will cost, from one small timed chunk a world of the first forget set.

    Parameters
    ----------
    seconds
        Drawing alone, on ``n_jobs`` workers; fitting, scoring and testing come on top.
    seconds_per_trial
        By world, on one worker.
    n_timed
        Trials of the timed chunk, by world.
    n_jobs
        Worker processes.
    fit_bytes
        Releases that are held at once while attacks are fitted; fitting may hold them twice.
    chunk_bytes
        Releases that each worker holds.
    """

    __pydantic_config__ = JSON_CONFIG
    seconds: float
    seconds_per_trial: Mapping[str, float]
    n_timed: Mapping[str, int]
    n_jobs: int
    fit_bytes: int
    chunk_bytes: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Everything that can be said of an audit before its first trial.

    Parameters
    ----------
    title, mechanism
        Of the plan; the mechanism is empty for a forecast from numbers alone.
    significance, n_tests
        The family: what is shared, and among how many tests.
    trials
        Releases a world and forget set, fitting and counting together.
    claims
        One a claim and forget set.
    plan, family
        The plan as data and its ledger; ``None`` for a forecast from numbers alone.
    cost
        ``None`` unless it was asked for.
    controls
        Replays, where they were made: one a forget set.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    significance: float
    n_tests: int
    trials: int
    claims: tuple[ClaimForecast, ...]
    plan: PlanRecord | None = None
    family: Family | None = None
    cost: CostEstimate | None = None
    controls: tuple[Control, ...] = ()
    schema: Literal["unlearn-audit/forecast/1"] = FORECAST_SCHEMA

    def to_json(self) -> str:
        """Return the forecast as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> Forecast:
        """Return the forecast that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema, with every problem and its path.
        """
        return json_text.load(text, Forecast, schemas=(FORECAST_SCHEMA,))
