"""What an audit writes down beside its findings: controls, levels spent, the plan, the data and the environment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.plan.audit_plan import MAX_TRIALS, Correction
from audit.plan.ranges import check, check_lengths
from audit.plan.split import Counting
from audit.records.evidence import EpsilonLowerBound
from mechanisms.claim import JSON_CONFIG
from mechanisms.protocol import Access

ControlName = Literal[
    "null",
    "neglected",
    "replay",
    "duplicates",
    "lag_one",
    "step_noise",
    "reused_models",
    "unchanged_data",
    "paired_rows",
    "precision",
    "reference",
    "same_randomness",
    "utility",
]


# Faults of a mechanism that leave its trials independent of each other.
_LEAVE_VERDICTS = ("neglected", "step_noise", "same_randomness")


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What n models of a world are good for, by a function of the user's: mean and standard deviation."""

    __pydantic_config__ = JSON_CONFIG
    mean: float
    spread: float
    n: int

    def __post_init__(self) -> None:
        check("spread", self.spread)
        check("n", self.n, low=2)

    def __str__(self) -> str:
        """Return "0.954 ± 0.012"."""
        return f"{self.mean:.3g} ± {self.spread:.2g}"


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
        "step_noise": a trajectory's noise is drawn afresh at each step. "reused_models": each trial learns a model of
        its own. "unchanged_data": no trial changed the data. "paired_rows": given rows of one number in the two
        files do not depend on each other. "precision": given values of both worlds are stored in steps that are
        alike. "reference": unlearning nothing does not bring back what was deleted. "same_randomness": from the same
        random numbers the two worlds differ by no more than the claims allow with the noise that they share. "utility":
        what models of both worlds are good for, by a function of the user's; always as expected.
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
    worth
        Of "utility": what unlearned and what retrained models are good for.
    """

    __pydantic_config__ = JSON_CONFIG
    name: ControlName
    forget: tuple[int, ...]
    label: str
    as_expected: bool
    message: str
    p_value: float | None = None
    level: float | None = None
    n_trials: int | None = None
    bound: EpsilonLowerBound | None = None
    applicable: bool = True
    worth: tuple[Worth, Worth] | None = None

    def __post_init__(self) -> None:
        check("p_value", self.p_value, high=1.0)
        check("level", self.level, high=1.0)
        check("n_trials", self.n_trials)

    @property
    def was_tried(self) -> bool:
        """Whether the worlds that "null" and "neglected" compare were told apart by any attack that could be run."""
        return self.name not in ("null", "neglected") or not (self.p_value is None and self.n_trials is None)

    @property
    def spoils_verdicts(self) -> bool:
        """Whether it shows trials that no verdict may rest on.

        A deletion that nobody would have seen does not; nor does noise that is reused within a trial, a fault of the
        mechanism that leaves its trials independent of each other; nor does noise that is too small, which is what
        verdicts are about.
        """
        not_run = self.name == "null" and self.p_value is None
        return not (self.as_expected or not_run or self.name in _LEAVE_VERDICTS)


def tally(controls: Sequence[Control]) -> dict[ControlName, int]:
    """Return how many controls of each name there are."""
    return dict(Counter(control.name for control in controls))


@dataclass(frozen=True, kw_only=True)
class Member:
    """One line of the ledger: a hypothesis of the family and the level that was spent on it.

    Parameters
    ----------
    claim, forget, attack, role
        Which hypothesis.
    level
        Its share of the significance, fixed before the trials: the level of its lower bound, whatever the
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

    def __post_init__(self) -> None:
        check("claim", self.claim)
        check("level", self.level, high=1.0)
        check("tested_at", self.tested_at, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Family:
    """The ledger of levels: they add up to at most ``significance``.

    Verdicts follow the correction, lower bounds the shares. Each of the two is wrong somewhere in the family with
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

    def __post_init__(self) -> None:
        _check_trials(self)


@dataclass(frozen=True, kw_only=True)
class DeclaredThreshold:
    """Nothing is fitted: a threshold that was declared in advance is counted on all trials."""

    __pydantic_config__ = JSON_CONFIG
    threshold: float
    kind: Literal["declared_threshold"] = "declared_threshold"

    def __post_init__(self) -> None:
        check("threshold", self.threshold, low=-math.inf)


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """How many models the trials and controls of a plan learn; checks before the first trial learn a few more.

    Parameters
    ----------
    all_records
        Learned on all records, those to be deleted among them.
    retained
        Learned on what is retained.
    """

    __pydantic_config__ = JSON_CONFIG
    all_records: int
    retained: int

    def __post_init__(self) -> None:
        for name in ("all_records", "retained"):
            check(name, getattr(self, name))

    @property
    def total(self) -> int:
        """All of them."""
        return self.all_records + self.retained


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """The plan as data: everything of ``AuditPlan`` that a reader or a rerun needs.

    ``retrained`` holds the numbers of the retrained world where trials were given and not drawn; the others are then
    those of the unlearned world. ``access`` is what attackers saw of a release, also where the plan named
    none; ``None`` where it is not known. More than ``max_failed`` failed trials of a forget set decide nothing.
    ``replay`` is how alike two draws of one stream had to be. With ``share_learned`` all forget sets are served from
    the same learned models. ``trainings`` are those of the trials and controls; ``None`` where no model is learned.
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
    access: Access | None = None
    max_failed: int = 0
    trial_timeout: float | None = None
    replay: Literal["exact", "off"] | float = "exact"
    share_learned: bool = False
    trainings: Trainings | None = None

    def __post_init__(self) -> None:
        _check_trials(self)
        check("control_trials", self.control_trials, high=MAX_TRIALS)
        check("significance", self.significance, high=1.0)
        check("delta", self.delta, high=1.0)
        check("seed", self.seed, finite=False)
        check("chunk_size", self.chunk_size, low=1)
        check("max_failed", self.max_failed)
        check("trial_timeout", self.trial_timeout)
        check("replay", None if isinstance(self.replay, str) else self.replay, high=1.0)
        if self.labels:
            check_lengths("words, one a forget set", len(self.forget), labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Which data were audited.

    ``kind`` is "classification" or "regression"; "records" for records of another kind than matrices, which have no
    features and targets (``None``); or "scores" or "releases" where these were given themselves, so that the data that
    models were trained on are not known (``None``). ``notes`` say how the data were read and what looks wrong with
    them.
    """

    __pydantic_config__ = JSON_CONFIG
    name: str
    sha256: str
    n_records: int | None
    n_features: int | None
    n_targets: int | None
    kind: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("n_records", "n_features", "n_targets"):
            check(name, getattr(self, name))

    @property
    def is_given(self) -> bool:
        """Whether scores or releases were given, and nothing was drawn."""
        return self.kind in ("scores", "releases")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where the audit ran; the only part of a result that may differ between two runs of one plan.

    ``machine`` names the processor and the kernels of linear algebra, which decide the last digits; "" where unknown.
    """

    __pydantic_config__ = JSON_CONFIG
    started: str
    seconds: float
    python: str
    platform: str
    libraries: Mapping[str, str]
    n_jobs: int
    command: str | None = None
    machine: str = ""

    def __post_init__(self) -> None:
        check("seconds", self.seconds)
        check("n_jobs", self.n_jobs)


def _check_trials(sizes: WorldTrials | PlanRecord) -> None:
    check("trials", sizes.trials, high=MAX_TRIALS)
    check("n_fit", sizes.n_fit, high=sizes.trials)
    check("n_counted", sizes.n_counted, low=sizes.trials - sizes.n_fit, high=sizes.trials - sizes.n_fit)
