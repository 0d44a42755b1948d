"""Plan files: TOML checked by pydantic, every problem at once with its path and a fix; then turned into objects."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attacks.registry import ATTACKS, GROUPS, attacks_named
from audit.certificates.canaries import Ranking, Word, choose_canaries
from audit.errors import PlanError
from audit.plan import AuditPlan, Axis, Bonferroni, CertifiedClaim, Correction, FixedSequence, Holm
from audit.split import Counting, Sequential, Split
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError
from mechanisms.network_langevin import NetworkLangevin
from mechanisms.newton_removal import NewtonRemoval
from mechanisms.protocol import Access, Mechanism, OutputKind
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.sources import NAMED, load_file, load_named

PLAN_SCHEMA = "unlearn-audit/plan/1"
ReferenceName = Literal["retrain_then_unlearn", "retrain_only"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DataSection(_Section):
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


class CalibrateSection(_Section):
    """``sigma_unlearn = { calibrate = ... }``."""

    calibrate: Literal["exact", "published", "repaired", "uniform"]
    epsilon: Positive
    delta: Probability = 1e-5
    grid_ratio: Annotated[float, Field(gt=1)] | None = None


class RidgeLangevinSection(_Section):
    """``[mechanism]`` with ``name = "ridge_langevin"``."""

    name: Literal["ridge_langevin"]
    penalty: Positive = 1.0
    n_learn: Annotated[int, Field(ge=1)] = 300
    n_unlearn: Annotated[int, Field(ge=0)] = 100
    sigma_learn: NonNegative = 0.001
    sigma_unlearn: NonNegative | CalibrateSection
    step_size: Positive | None = None
    reference: ReferenceName = "retrain_then_unlearn"
    sampler: Literal["stepwise", "closed_form"] = "stepwise"
    delta: Probability = 1e-5

    def build(self) -> RidgeLangevin:
        """Return the mechanism."""
        sigma = self.sigma_unlearn
        if isinstance(sigma, CalibrateSection):
            noise: float | CalibratedNoise = CalibratedNoise(
                route=sigma.calibrate, epsilon=sigma.epsilon, delta=sigma.delta, grid_ratio=sigma.grid_ratio
            )
        else:
            noise = sigma
        fields = self.model_dump(exclude={"name", "sigma_unlearn", "reference"})
        return RidgeLangevin(**fields, sigma_unlearn=noise, reference=Reference(self.reference))


class ExactDowndateSection(_Section):
    """``[mechanism]`` with ``name = "exact_downdate"``."""

    name: Literal["exact_downdate"]
    penalty: Positive = 1.0
    decimals: Annotated[int, Field(ge=0, le=12)] = 8

    def build(self) -> ExactDowndate:
        """Return the mechanism."""
        return ExactDowndate(penalty=self.penalty, decimals=self.decimals)


class NetworkLangevinSection(_Section):
    """``[mechanism]`` with ``name = "network_langevin"``."""

    name: Literal["network_langevin"]
    hidden: Annotated[int, Field(ge=1)] = 16
    n_learn: Annotated[int, Field(ge=1)] = 200
    n_unlearn: Annotated[int, Field(ge=0)] = 50
    step_size: Positive = 2.0
    clip_norm: Positive = 1.0
    sigma_learn: NonNegative = 0.0
    sigma_unlearn: NonNegative = 0.02
    n_probe: Annotated[int, Field(ge=0)] = 4
    reference: ReferenceName = "retrain_then_unlearn"

    @property
    def penalty(self) -> float:
        """Penalty of the ridge fit that ranks records by difficulty: a network has no leverages."""
        return 1.0

    def build(self) -> NetworkLangevin:
        """Return the mechanism."""
        fields = self.model_dump(exclude={"name", "reference"})
        return NetworkLangevin(**fields, reference=Reference(self.reference))


class NewtonRemovalSection(_Section):
    """``[mechanism]`` with ``name = "newton_removal"``."""

    name: Literal["newton_removal"]
    penalty: Positive = 0.01
    sigma: Positive = 1.0
    epsilon: Positive = 1.0
    delta: Probability = 1e-4
    reference: ReferenceName = "retrain_then_unlearn"

    def build(self) -> NewtonRemoval:
        """Return the mechanism."""
        return NewtonRemoval(**self.model_dump(exclude={"name", "reference"}), reference=Reference(self.reference))


class RecordsSection(_Section):
    """``[records]``: by words, or by index."""

    choose: list[Word] | None = None
    by: Ranking = "leverage_residual"
    forget: list[list[int]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> RecordsSection:
        if (self.choose is None) == (self.forget is None):
            raise ValueError('give either choose = ["hardest", "median", "easiest"] or forget = [[3], [5, 9]]')
        if not (self.choose or self.forget):
            raise ValueError("name at least one record")
        return self


class ProbeSection(_Section):
    """``[probe]``: what ``access = "black_box"`` shows of a mechanism that releases linear weights."""

    outputs: OutputKind = "logits"
    records: list[Annotated[int, Field(ge=0)]] = []


class ProfileClaim(_Section):
    """The claim of one of the mechanism's own certificates."""

    kind: Literal["profile"]
    source: Annotated[Literal["exact", "published", "repaired", "uniform"], Field(alias="from")]
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


class EpsilonDeltaClaim(_Section):
    """A plain (epsilon, delta) claim."""

    kind: Literal["epsilon_delta"]
    epsilon: NonNegative
    delta: Annotated[float, Field(ge=0, lt=1)]
    reference: ReferenceName | None = None

    def build(self, reference: Reference) -> Claim:
        """Return the claim; its reference is the mechanism's unless it names one."""
        chosen = Reference(self.reference) if self.reference else reference
        return Claim(guarantee=EpsilonDelta(epsilon=self.epsilon, delta=self.delta), reference=chosen)


class GaussianClaim(_Section):
    """A mu-GDP claim."""

    kind: Literal["gaussian_dp"]
    mu: NonNegative
    reference: ReferenceName | None = None

    def build(self, reference: Reference) -> Claim:
        """Return the claim; its reference is the mechanism's unless it names one."""
        chosen = Reference(self.reference) if self.reference else reference
        return Claim(guarantee=GaussianDP(mu=self.mu), reference=chosen)


class AttackSection(_Section):
    """``[[attacks]]``."""

    name: str

    @model_validator(mode="after")
    def _known(self) -> AttackSection:
        if self.name not in ATTACKS and self.name not in GROUPS:
            raise ValueError(f"unknown attack {self.name!r}; known: {', '.join([*ATTACKS, *GROUPS])}")
        return self


class CountingSection(_Section):
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


class CorrectionSection(_Section):
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


class PlanFile(_Section):
    """A whole plan file."""

    schema_id: Annotated[Literal["unlearn-audit/plan/1"], Field(alias="schema")]
    title: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    trials: Annotated[int, Field(ge=20)] = 20_000
    stop_when_decided: bool = False
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    delta: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    control_trials: Annotated[int, Field(ge=20)] | None = None
    chunk_size: Annotated[int, Field(ge=1)] = 1000
    access: Literal["white_box", "black_box", "transcript"] | None = None
    probe: ProbeSection | None = None
    data: DataSection
    mechanism: Annotated[
        RidgeLangevinSection | ExactDowndateSection | NewtonRemovalSection | NetworkLangevinSection,
        Field(discriminator="name"),
    ]
    records: RecordsSection
    claims: Annotated[
        list[Annotated[ProfileClaim | EpsilonDeltaClaim | GaussianClaim, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    attacks: Annotated[list[AttackSection], Field(min_length=1)]
    counting: CountingSection = CountingSection()
    correction: CorrectionSection = CorrectionSection()

    @model_validator(mode="after")
    def _probe_is_used(self) -> PlanFile:
        if self.probe is not None and self.access != "black_box":
            raise ValueError('probe belongs to access = "black_box"; add that, or remove it')
        return self

    @model_validator(mode="after")
    def _counting_is_used(self) -> PlanFile:
        unused = sorted({"first_fit", "refit"} & self.counting.model_fields_set)
        if unused and not self.stop_when_decided:
            raise ValueError(f"counting.{unused[0]} belongs to stop_when_decided = true; add that, or remove it")
        return self


class OwnMechanismSection(_Section):
    """What takes the place of ``[mechanism]`` when the mechanism is an object of the user's own."""

    mechanism: Any

    @property
    def penalty(self) -> float:
        """Penalty of the ridge fit that ranks records by difficulty: the object's, if it has one."""
        return float(getattr(self.mechanism, "penalty", 1.0))

    def build(self) -> Any:
        """Return the object."""
        return self.mechanism


class OwnPlanFile(PlanFile):
    """A plan file without ``[mechanism]``."""

    mechanism: OwnMechanismSection  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedPlan:
    """What a plan file means: objects that :func:`audit.runner.run` takes."""

    title: str | None
    mechanism: Mechanism
    data: Dataset
    plan: AuditPlan


def read_plan(
    path: Path,
    *,
    seed: int | None = None,
    trials: int | None = None,
    stop_when_decided: bool | None = None,
    mechanism: Mechanism | None = None,
) -> ResolvedPlan:
    """Return the objects of a plan file; ``seed``, ``trials`` and ``stop_when_decided`` override the file's.

    With a ``mechanism`` of your own the file has no ``[mechanism]`` table: of two mechanisms neither is passed over in
    silence.

    Raises
    ------
    PlanError
        For an unreadable file, TOML errors, or any field out of range: every problem with its path and fix.
    InvalidInputError
        For unusable data or records.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"Expected a readable plan file, got {path} ({error.strerror}); check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"Expected TOML in {path}, got a syntax error: {error}.") from None
    overrides = {"seed": seed, "trials": trials, "stop_when_decided": stop_when_decided}
    raw |= {name: value for name, value in overrides.items() if value is not None}
    if mechanism is not None:
        if "mechanism" in raw:
            raise PlanError(
                f"{path}: 1 problem(s) in the plan\n  mechanism: expected no such table beside --mechanism, got one; "
                "remove the table, or leave the option out"
            )
        raw["mechanism"] = OwnMechanismSection(mechanism=mechanism)
    try:
        file = (PlanFile if mechanism is None else OwnPlanFile).model_validate(raw)
    except ValidationError as error:
        raise PlanError(_explain(path, error)) from None
    return _resolve(file, path.parent)


def _resolve(file: PlanFile, folder: Path) -> ResolvedPlan:
    data = file.data.load(folder)
    mechanism = file.mechanism.build()
    # An object of the user's own need not say; the deletion will, and a claim that disagrees is refused then.
    published = Reference.RETRAIN_THEN_UNLEARN
    reference = (
        Reference.RETRAIN_ONLY if isinstance(mechanism, ExactDowndate) else getattr(mechanism, "reference", published)
    )
    data, forget, labels = _records(file, data, mechanism)
    plan = AuditPlan(
        claims=tuple(claim.build(reference) for claim in file.claims),
        forget=forget,
        labels=labels,
        attacks=tuple(attack for section in file.attacks for attack in attacks_named(section.name)),
        trials=file.trials,
        counting=file.counting.build(stop_when_decided=file.stop_when_decided),
        significance=file.significance,
        correction=file.correction.build(),
        delta=file.delta,
        control_trials=file.control_trials,
        seed=file.seed,
        chunk_size=file.chunk_size,
        access=None if file.access is None else Access(file.access),
    )
    return ResolvedPlan(title=file.title, mechanism=_granted(file, mechanism), data=data, plan=plan)


def _granted(file: PlanFile, mechanism: Mechanism) -> Mechanism:
    """Return the mechanism as the plan's access shows it."""
    if file.access != "black_box" or isinstance(mechanism, NetworkLangevin):
        return mechanism
    probe = file.probe or ProbeSection()
    return ObservedOutputs(mechanism=mechanism, outputs=probe.outputs, probe=tuple(probe.records))


def _records(
    file: PlanFile, data: Dataset, mechanism: Mechanism
) -> tuple[Dataset, tuple[tuple[int, ...], ...], tuple[str, ...]]:
    words = file.records.choose
    if words is not None:
        found = choose_canaries(
            data, words, by=file.records.by, mechanism=mechanism, penalty=file.mechanism.penalty, seed=file.seed
        )
        return found.data, tuple((record,) for record in found.records), tuple(words)
    sets = file.records.forget or []
    return (
        data,
        tuple(validate_forget(forget, data.n_records, field=f"records.forget[{i}]") for i, forget in enumerate(sets)),
        (),
    )


_FIXES = {
    "missing": "add it",
    "extra_forbidden": "remove it, or check the spelling",
    "union_tag_invalid": "choose one of the listed names",
    "union_tag_not_found": "add the name that says which kind it is",
    "literal_error": "choose one of the listed values",
    "string_type": "put it in quotes",
    "int_type": "write a whole number without quotes",
    "float_type": "write a number without quotes",
    "too_short": "add an entry",
}


def _explain(path: Path, error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    lines = [f"{path}: {len(problems)} problem(s) in the plan"]
    for problem in problems:
        where = ".".join(str(part) for part in problem["loc"]) or "plan"
        fix = _FIXES.get(problem["type"], "mend the value")
        lines.append(f"  {where}: {_message(problem)}; {fix}")
    return "\n".join(lines)


def _message(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = problem.get("input")
    shown = "" if problem["type"] == "missing" or isinstance(got, dict | list) else f", got {got!r}"
    return message.replace("input should be", "expected") + shown


EXAMPLE_PLAN = """\
# A plan for `unlearn-audit run`. Everything here is decided before a single trial is drawn.
schema = "unlearn-audit/plan/1"
title = "Three digits, deleted one at a time"
seed = 7
trials = 5000              # releases per world and record; 30 % fit the attacks, the others are counted
stop_when_decided = false  # true: count pair by pair and stop once every claim is refuted; trials are then the most
significance = 0.05        # probability of refuting any true claim, over the whole plan
correction = "bonferroni"  # how it is spent: or "holm", "fixed_sequence" (record by record, in the order below)
delta = 1e-5               # bounds are reported at this delta too

[data]
name = "digits"            # or: path = "file.csv", target = "y"
rows = 1500                # train on the first rows, hold out the others

[mechanism]
name = "ridge_langevin"    # `unlearn-audit list mechanisms`
penalty = 1.0              # lambda of the ridge objective
n_learn = 300              # noisy gradient steps of learning
n_unlearn = 100            # noisy gradient steps on the retained records
sigma_learn = 0.001        # noise added at each learning step
sigma_unlearn = { calibrate = "exact", epsilon = 0.5, delta = 1e-5 }   # per record; or a number
reference = "retrain_then_unlearn"   # the reference world; or "retrain_only"
sampler = "closed_form"    # fast; "stepwise" simulates every step and can refute an error in the laws

[records]
choose = ["hardest", "median", "easiest"]    # also "random", "inserted"; or: forget = [[3], [5, 9]]

[[claims]]
kind = "profile"           # the whole privacy profile; or "epsilon_delta" (epsilon, delta), "gaussian_dp" (mu)
from = "exact"

[[attacks]]
name = "likelihood_ratio"  # `unlearn-audit list attacks`

[[attacks]]
name = "target_loss"

[[attacks]]
name = "influence"

[[attacks]]
name = "lda"
"""
