"""The tables of a plan file, checked by pydantic: every problem at once, with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from attacks.registry import ATTACKS, GROUPS
from audit.certificates.canaries import Ranking, Word
from audit.commands.plan_file.fields import AtLeastOne, NonNegative, Positive, Probability, ReferenceName, Section
from audit.commands.plan_file.mechanisms import (
    ExactDowndateSection,
    LogisticLangevinSection,
    NetworkLangevinSection,
    NewtonRemovalSection,
    OwnMechanismSection,
    RidgeLangevinSection,
    RidgeMinibatchSection,
)
from audit.plan.audit_plan import (
    MAX_TRIALS,
    SMALLEST_SIGNIFICANCE,
    Axis,
    Bonferroni,
    CertifiedClaim,
    Correction,
    FixedSequence,
    Holm,
)
from audit.plan.split import Counting, Sequential, Split
from mechanisms.claim import (
    Claim,
    Covers,
    EpsilonDelta,
    Exactly,
    GaussianDP,
    OneRecord,
    Reference,
    ThisSet,
    UpTo,
)
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import OutputKind
from mechanisms.serving.streams import ADAPTIVE
from mechanisms.sources import NAMED, load_file, load_named

PLAN_SCHEMA = "unlearn-audit/plan/1"


class DataSection(Section):
    """``[data]``: a named data set, or a file."""

    name: str | None = None
    path: str | None = None
    target: str = "y"
    rows: Annotated[int, Field(ge=2)] | None = None
    kind: Literal["auto", "classification", "regression"] = "auto"
    intercept: bool = True
    divide_by: Positive = 1.0

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if (self.name is None) == (self.path is None):
            raise ValueError(f"give either name (one of {', '.join(NAMED)}) or path (a .csv or .npz file)")
        if self.name is not None and self.name not in NAMED:
            raise ValueError(f"unknown name {self.name!r}; known: {', '.join(NAMED)}; or give path for a file")
        return self

    def load(self, folder: Path) -> Dataset:
        """Load the data; a relative path starts at the plan's folder."""
        if self.name is not None:
            return load_named(self.name, rows=self.rows)
        return load_file(
            folder / str(self.path),
            target=self.target,
            rows=self.rows,
            kind=self.kind,
            intercept=self.intercept,
            divide_by=self.divide_by,
        )


class RecordsSection(Section):
    """``[records]``: by words, or by index."""

    choose: list[Word] | None = None
    by: Ranking = "leverage_residual"
    forget: list[list[int]] | None = None
    stream: list[list[int]] | None = None
    after: Literal["each", "last"] = "each"

    @field_validator("forget", mode="before")
    @classmethod
    def _sets(cls, given: Any) -> Any:
        if isinstance(given, list) and given and all(isinstance(item, int) for item in given):
            alone = ", ".join(f"[{item}]" for item in given)
            raise ValueError(f"expected forget sets: [{alone}] deletes each alone, [{given}] all at once")
        return given

    @field_validator("stream", mode="before")
    @classmethod
    def _requests(cls, given: Any) -> Any:
        if given == "adaptive" or isinstance(given, dict):
            raise ValueError(f"expected requests that are written down, such as [[291], [17]]: {ADAPTIVE}")
        if isinstance(given, list) and given and all(isinstance(item, int) for item in given):
            raise ValueError(
                f"expected a list of requests: [{given}] deletes all at once, [[{given[0]}], ...] one by one"
            )
        return given

    @model_validator(mode="after")
    def _one_way(self) -> RecordsSection:
        ways = [self.choose, self.forget, self.stream]
        if sum(way is not None for way in ways) != 1:
            raise ValueError(
                'give one of choose = ["hardest", "median", "easiest"], forget = [[3], [5, 9]] and, for requests that '
                "come one after the other, stream = [[3], [5, 9]]"
            )
        if not any(ways) or (self.stream is not None and not any(self.stream)):
            raise ValueError("name at least one record")
        if "after" in self.model_fields_set and self.stream is None:
            raise ValueError("after belongs to stream; add that, or remove it")
        return self


class ProbeSection(Section):
    """``[probe]``: what ``access = "black_box"`` shows of a mechanism that releases linear weights."""

    outputs: OutputKind = "logits"
    records: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)


class ProfileClaim(Section):
    """The claim of one of the mechanism's own certificates."""

    kind: Literal["profile"]
    source: Annotated[
        Literal[
            "exact",
            "published",
            "repaired",
            "uniform",
            "learning_noise",
            "individual",
            "fine_tuning",
            "probable",
            "sure",
        ],
        Field(alias="from"),
    ]
    reference: ReferenceName | None = None

    def build(self, reference: Reference) -> CertifiedClaim:
        """Return the claim; its reference is the mechanism's."""
        if self.reference is not None and self.reference != reference.value:
            raise InvalidInputError(
                field="claims.reference",
                expected=f'"{reference.value}", like mechanism.reference',
                got=self.reference,
                fix="make the two agree",
            )
        return CertifiedClaim(method=self.source)


class CoversSection(Section):
    """``covers``: "this_set", "one_record", { exactly = 3 } or { up_to = 3 }."""

    word: Literal["this_set", "one_record"] | None = None
    exactly: AtLeastOne | None = None
    up_to: AtLeastOne | None = None

    @model_validator(mode="before")
    @classmethod
    def _word_alone(cls, given: Any) -> Any:
        return {"word": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_way(self) -> CoversSection:
        if sum(value is not None for value in (self.word, self.exactly, self.up_to)) != 1:
            raise ValueError('give one of "this_set", "one_record", { exactly = 3 } and { up_to = 3 }')
        return self

    def build(self) -> Covers:
        """Return which deletions a claim is about."""
        if self.exactly is not None:
            return Exactly(k=self.exactly)
        if self.up_to is not None:
            return UpTo(k=self.up_to)
        return OneRecord() if self.word == "one_record" else ThisSet()


class EpsilonDeltaClaim(Section):
    """A plain (epsilon, delta) claim."""

    kind: Literal["epsilon_delta"]
    epsilon: NonNegative
    delta: Annotated[float, Field(ge=0, lt=1)]
    reference: ReferenceName | None = None
    covers: CoversSection = CoversSection(word="this_set")

    def build(self, reference: Reference) -> Claim:
        """Return the claim; its reference is the mechanism's unless it names one."""
        chosen = Reference(self.reference) if self.reference else reference
        guarantee = EpsilonDelta(epsilon=self.epsilon, delta=self.delta)
        return Claim(guarantee=guarantee, reference=chosen, covers=self.covers.build())


class GaussianClaim(Section):
    """A mu-GDP claim."""

    kind: Literal["gaussian_dp"]
    mu: NonNegative
    reference: ReferenceName | None = None
    covers: CoversSection = CoversSection(word="this_set")

    def build(self, reference: Reference) -> Claim:
        """Return the claim; its reference is the mechanism's unless it names one."""
        chosen = Reference(self.reference) if self.reference else reference
        return Claim(guarantee=GaussianDP(mu=self.mu), reference=chosen, covers=self.covers.build())


class AttackSection(Section):
    """``[[attacks]]``."""

    name: str

    @model_validator(mode="after")
    def _known(self) -> AttackSection:
        if self.name not in ATTACKS and self.name not in GROUPS:
            raise ValueError(f"unknown attack {self.name!r}; known: {', '.join([*ATTACKS, *GROUPS])}")
        return self


class CountingSection(Section):
    """``[counting]``: ``first_fit`` and ``refit`` with ``stop_when_decided``, ``fit_fraction`` without."""

    fit_fraction: Probability = 0.2
    max_fit: Annotated[int, Field(ge=2)] = 20_000
    first_fit: Annotated[int, Field(ge=2)] = 500
    refit: bool = True

    def build(self, *, stop_when_decided: bool) -> Counting:
        """Return how trials are counted."""
        if stop_when_decided:
            return Sequential(first_fit=self.first_fit, refit=self.refit, max_fit=self.max_fit)
        return Split(fit_fraction=self.fit_fraction, max_fit=self.max_fit)


class CorrectionSection(Section):
    """``[correction]``: how the significance is spent; a name alone, ``correction = "holm"``, will do."""

    kind: Literal["bonferroni", "holm", "fixed_sequence"] = "bonferroni"
    order: list[Axis] | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _usable(self) -> CorrectionSection:
        if self.order is not None and self.kind != "fixed_sequence":
            raise ValueError('order belongs to kind = "fixed_sequence"')
        self.build()
        return self

    def build(self) -> Correction:
        """Return the correction."""
        if self.kind == "fixed_sequence":
            return FixedSequence() if self.order is None else FixedSequence(order=tuple(self.order))
        return Holm() if self.kind == "holm" else Bonferroni()


class PlanFile(Section):
    """A whole plan file."""

    schema_id: Annotated[Literal["unlearn-audit/plan/1"], Field(alias="schema")]
    title: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    trials: Annotated[int, Field(ge=20, le=MAX_TRIALS)] = 20_000
    stop_when_decided: bool = False
    significance: Annotated[float, Field(ge=SMALLEST_SIGNIFICANCE, lt=0.5)] = 0.05
    delta: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    control_trials: Annotated[int, Field(ge=20, le=MAX_TRIALS)] | None = None
    chunk_size: Annotated[int, Field(ge=1)] = 1000
    access: Literal["white_box", "black_box", "transcript"] | None = None
    max_failed: Annotated[int, Field(ge=0)] = 0
    trial_timeout: Positive | None = None
    replay: Literal["exact", "off"] | Annotated[float, Field(gt=0, lt=1)] = "exact"
    share_learned: bool = False
    probe: ProbeSection | None = None
    data: DataSection
    mechanism: Annotated[
        RidgeLangevinSection
        | ExactDowndateSection
        | RidgeMinibatchSection
        | LogisticLangevinSection
        | NewtonRemovalSection
        | NetworkLangevinSection,
        Field(discriminator="name"),
    ]
    records: RecordsSection
    claims: Annotated[
        list[Annotated[ProfileClaim | EpsilonDeltaClaim | GaussianClaim, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    attacks: Annotated[list[AttackSection], Field(min_length=1)] = [AttackSection(name="portfolio")]  # noqa: RUF012
    counting: CountingSection = CountingSection()
    correction: CorrectionSection = CorrectionSection()

    @model_validator(mode="after")
    def _probe_is_used(self) -> PlanFile:
        if self.probe is not None and self.access != "black_box":
            raise ValueError('probe belongs to access = "black_box"; add that, or remove it')
        if self.probe is not None and isinstance(self.mechanism, NetworkLangevinSection):
            raise ValueError("probe belongs to linear mechanisms; name the network's by mechanism.probe, or remove it")
        return self

    @model_validator(mode="after")
    def _counting_is_used(self) -> PlanFile:
        unused = sorted({"first_fit", "refit"} & self.counting.model_fields_set)
        if unused and not self.stop_when_decided:
            raise ValueError(f"counting.{unused[0]} belongs to stop_when_decided = true; add that, or remove it")
        return self

    @model_validator(mode="after")
    def _sharing_is_valid(self) -> PlanFile:
        if self.share_learned and (self.stop_when_decided or self.correction.kind == "fixed_sequence"):
            other = "stop_when_decided" if self.stop_when_decided else "fixed_sequence"
            raise ValueError(
                f'share_learned goes with a fixed number of trials and correction = "bonferroni" or "holm", and not '
                f"with {other}; remove one of the two"
            )
        return self


class OwnPlanFile(PlanFile):
    """A plan file without ``[mechanism]``."""

    mechanism: OwnMechanismSection  # type: ignore[assignment]
