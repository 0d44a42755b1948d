"""An audit plan: everything that is decided before a single trial is drawn. Frozen data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from attacks.protocol import Attack
from audit.plan.split import Counting, Sequential, Split
from mechanisms.claim import JSON_CONFIG, Claim
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access

Axis = Literal["records", "claims", "attacks", "rows"]
# A release a microsecond: a quarter of an hour for a world.
MAX_TRIALS = 10**9


@dataclass(frozen=True, kw_only=True)
class CertifiedClaim:
    """The claim of the deletion's own certificate, taken by method name when the deletion is bound.

    Parameters
    ----------
    method
        Method of one of the deletion's certificates, for example "exact" or "published".
    """

    __pydantic_config__ = JSON_CONFIG
    method: str
    kind: Literal["certified"] = "certified"


@dataclass(frozen=True, kw_only=True)
class Bonferroni:
    """Every member of the family is tested at significance / family size."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["bonferroni"] = "bonferroni"


@dataclass(frozen=True, kw_only=True)
class Holm:
    """Step down: members of a refuted claim leave the family, and the others share the significance anew.

    Refutes whatever :class:`Bonferroni` refutes, and more where several claims are false.
    """

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["holm"] = "holm"


@dataclass(frozen=True, kw_only=True)
class FixedSequence:
    """Step by step in a declared order, each step at the whole significance, until a step is not refuted whole.

    Parameters
    ----------
    order
        What the steps run through, the slowest first; within each, the order of the plan counts ("rows": the claim's
        row first, then the plan's delta). What is not named shares the level of its step equally. By default a step
        is one claim about one deletion, with all of its attacks and rows.
    """

    __pydantic_config__ = JSON_CONFIG
    order: tuple[Axis, ...] = ("records", "claims")
    kind: Literal["fixed_sequence"] = "fixed_sequence"

    def __post_init__(self) -> None:
        known = get_args(Axis)
        if not self.order or len(set(self.order)) < len(self.order) or not set(self.order) <= set(known):
            raise InvalidInputError(
                field="correction.order",
                expected=f"distinct names out of {', '.join(known)}",
                got=self.order,
                fix='name the slowest first, for example ("records", "claims")',
            )


Correction = Bonferroni | Holm | FixedSequence


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """What is audited, how often, and at which level.

    Parameters
    ----------
    claims
        Claims to test on every forget set, literal or taken from the deletion's certificates.
    forget
        Forget sets, each a tuple of record indices.
    attacks
        Attacks to score with.
    labels
        One word for each forget set ("hardest"), for reports; empty for none.
    trials
        Releases per world and forget set, fitting and counting together.
    counting
        Which trials fit and which count, and whether counting stops once every claim is refuted.
    significance
        Family-wise probability of refuting any claim that holds, over everything in the plan.
    correction
        How the significance is divided, and in which order it is spent.
    delta
        Besides the claim's own rows, bounds are reported at this delta.
    control_trials
        Releases per world and forget set for each control; a fifth of ``trials``, at most 20,000, by default.
    seed
        The only source of randomness.
    chunk_size
        Trials drawn and scored together: the unit of work, of memory and of replay.
    access
        What attackers are granted of a release. Attacks that need more are refused, and so is a mechanism that releases
        something else. ``None`` for whatever the mechanism releases.
    """

    claims: tuple[Claim | CertifiedClaim, ...]
    forget: tuple[tuple[int, ...], ...]
    attacks: tuple[Attack, ...]
    labels: tuple[str, ...] = ()
    trials: int = 20_000
    counting: Counting = Split()
    significance: float = 0.05
    correction: Correction = Bonferroni()
    delta: float = 1e-5
    control_trials: int | None = None
    seed: int = 0
    chunk_size: int = 1000
    access: Access | None = None

    def __post_init__(self) -> None:
        for name, values in (("claims", self.claims), ("forget", self.forget), ("attacks", self.attacks)):
            if not values:
                raise InvalidInputError(
                    field=name, expected="at least one entry", got="()", fix=f"name {name} to audit"
                )
        if self.labels and len(self.labels) != len(self.forget):
            raise InvalidInputError(
                field="labels",
                expected=f"{len(self.forget)} words, one a forget set",
                got=self.labels,
                fix="or leave them out",
            )
        _require(
            isinstance(self.trials, int | np.integer),
            "trials",
            "a whole number",
            self.trials,
            "an audit needs thousands",
        )
        _require(self.trials >= 20, "trials", "at least 20", self.trials, "an audit needs thousands")
        _require(self.trials <= MAX_TRIALS, "trials", f"at most {MAX_TRIALS:,}", self.trials, "use fewer")
        _require(0 < self.significance < 0.5, "significance", "in (0, 0.5)", self.significance, "0.05 is usual")
        _require(0 <= self.delta < 1, "delta", "in [0, 1)", self.delta, "give a probability, for example 1e-5")
        _require(self.seed >= 0, "seed", "a non-negative integer", self.seed, "choose any")
        _require(self.chunk_size >= 1, "chunk_size", "at least 1", self.chunk_size, "1000 is usual")
        _require(
            self.control_trials is None or self.control_trials >= 20,
            "control_trials",
            "at least 20",
            self.control_trials,
            "leave it out for a fifth of the trials",
        )
        names = [attack.name for attack in self.attacks]
        _require(len(set(names)) == len(names), "attacks", "distinct names", names, "remove the repeat")
        sets = [tuple(sorted(forget)) for forget in self.forget]
        _require(len(set(sets)) == len(sets), "forget", "distinct forget sets", sets, "audit each deletion once")

    def chunk_sizes(self, trials: int) -> tuple[int, ...]:
        """Return the sizes of the chunks that ``trials`` are drawn in: at least two, so that a split exists."""
        size = min(self.chunk_size, max(1, math.ceil(trials / 10)))
        if isinstance(self.counting, Sequential):
            size = min(size, self.counting.first_fit)
        full, rest = divmod(trials, size)
        return (size,) * full + ((rest,) if rest else ())

    @property
    def n_fit(self) -> int:
        """Releases per world and forget set that fit attacks and choose events."""
        sizes = self.chunk_sizes(self.trials)
        return sum(sizes[: self.counting.n_fit_chunks(sizes)])

    @property
    def n_counted(self) -> int:
        """Releases per world and forget set that are counted."""
        return self.trials - self.n_fit

    @property
    def n_control_trials(self) -> int:
        """Releases per world and forget set of each control."""
        return self.control_trials if self.control_trials is not None else min(20_000, max(20, self.trials // 5))


def _require(holds: bool, field: str, expected: str, got: object, fix: str) -> None:
    if not holds:
        raise InvalidInputError(field=field, expected=expected, got=got, fix=fix)
