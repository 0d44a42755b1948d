"""Plan files: TOML checked by pydantic, every problem at once with its path and a fix; then turned into objects."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attacks.canary import Rule, choose_records
from attacks.registry import ATTACKS
from audit.errors import PlanError
from audit.plan import AuditPlan, CertifiedClaim
from audit.split import Split
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Mechanism
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


class RecordsSection(_Section):
    """``[records]``: by rule, or by index."""

    choose: list[Rule] | None = None
    forget: list[list[int]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> RecordsSection:
        if (self.choose is None) == (self.forget is None):
            raise ValueError('give either choose = ["hardest", "median", "easiest"] or forget = [[3], [5, 9]]')
        if not (self.choose or self.forget):
            raise ValueError("name at least one record")
        return self


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
        if self.name not in ATTACKS:
            raise ValueError(f"unknown attack {self.name!r}; known: {', '.join(ATTACKS)}")
        return self


class CountingSection(_Section):
    """``[counting]``."""

    fit_fraction: Probability = 0.3
    max_fit: Annotated[int, Field(ge=2)] = 20_000


class PlanFile(_Section):
    """A whole plan file."""

    schema_id: Annotated[Literal["unlearn-audit/plan/1"], Field(alias="schema")]
    title: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    trials: Annotated[int, Field(ge=20)] = 20_000
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    delta: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    control_trials: Annotated[int, Field(ge=20)] | None = None
    chunk_size: Annotated[int, Field(ge=1)] = 1000
    data: DataSection
    mechanism: Annotated[RidgeLangevinSection | ExactDowndateSection, Field(discriminator="name")]
    records: RecordsSection
    claims: Annotated[
        list[Annotated[ProfileClaim | EpsilonDeltaClaim | GaussianClaim, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    attacks: Annotated[list[AttackSection], Field(min_length=1)]
    counting: CountingSection = CountingSection()


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedPlan:
    """What a plan file means: objects that :func:`audit.runner.run` takes."""

    title: str | None
    mechanism: Mechanism
    data: Dataset
    plan: AuditPlan


def read_plan(path: Path, *, seed: int | None = None, trials: int | None = None) -> ResolvedPlan:
    """Return the objects of a plan file; ``seed`` and ``trials`` override the file's.

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
    raw |= {name: value for name, value in (("seed", seed), ("trials", trials)) if value is not None}
    try:
        file = PlanFile.model_validate(raw)
    except ValidationError as error:
        raise PlanError(_explain(path, error)) from None
    return _resolve(file, path.parent)


def _resolve(file: PlanFile, folder: Path) -> ResolvedPlan:
    data = file.data.load(folder)
    mechanism = file.mechanism.build()
    reference = mechanism.reference if isinstance(mechanism, RidgeLangevin) else Reference.RETRAIN_ONLY
    forget, labels = _records(file, data)
    plan = AuditPlan(
        claims=tuple(claim.build(reference) for claim in file.claims),
        forget=forget,
        labels=labels,
        attacks=tuple(ATTACKS[attack.name] for attack in file.attacks),
        trials=file.trials,
        counting=Split(fit_fraction=file.counting.fit_fraction, max_fit=file.counting.max_fit),
        significance=file.significance,
        delta=file.delta,
        control_trials=file.control_trials,
        seed=file.seed,
        chunk_size=file.chunk_size,
    )
    return ResolvedPlan(title=file.title, mechanism=mechanism, data=data, plan=plan)


def _records(file: PlanFile, data: Dataset) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    if file.records.choose is not None:
        chosen = choose_records(data, file.records.choose, penalty=file.mechanism.penalty)
        return tuple((record,) for record in chosen), tuple(file.records.choose)
    sets = file.records.forget or []
    return tuple(
        validate_forget(forget, data.n_records, field=f"records.forget[{i}]") for i, forget in enumerate(sets)
    ), ()


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
significance = 0.05        # probability of refuting any true claim, over the whole plan
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
choose = ["hardest", "median", "easiest"]    # or: forget = [[3], [5, 9]]

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
