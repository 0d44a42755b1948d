"""What a published mechanism is here: paper, claim, canary, assumptions that are checked, and its variants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mechanisms.accounting import gdp
from mechanisms.claim import Claim, EpsilonDelta, Reference
from mechanisms.dataset import Dataset
from mechanisms.errors import require
from mechanisms.protocol import Deletion

# What is false where a claim is refuted: the theorem itself, code that differs from its theorem, or an assumption
# that is not enforced. "nothing": nothing random is released, or no claim is computed.
Kind = Literal["theorem", "code", "assumption", "nothing"]
VariantName = Literal["as_published", "as_coded", "corrected"]
Score = Literal["scores", "density_ratio"]
Number = float | int | str
# Room for rounding where an assumption holds with equality.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """An assumption of a claim, checked on the canary.

    Parameters
    ----------
    statement
        What must not exceed the limit, in words.
    value, limit
        Its value on the canary, and what is assumed.
    """

    statement: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the canary lies inside the assumption."""
        return self.value <= self.limit + _ROUNDING * max(1.0, abs(self.limit))


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """One way to run a mechanism.

    Parameters
    ----------
    name
        "as_published", "as_coded" (where the code differs) or "corrected".
    settings
        Every number that its law depends on; variants of one mechanism differ in the named ones only.
    deletion
        What is sampled.
    exact
        The exact epsilon at the claim's delta on this canary, rounded up; ``None`` where no closed form is known.
    """

    name: VariantName
    settings: Mapping[str, Number]
    deletion: Deletion
    exact: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedMechanism:
    """A published mechanism, its canary, and what is known of it.

    Parameters
    ----------
    name, title
        For commands, and for people.
    paper, source
        What was read: the paper with its arXiv number or venue, and the code with its commit where there is any.
    kind
        Which category a false claim belongs to.
    claim, statement, against
        What is claimed, as data and in equations; and the reference world in words, where it is another one than the
        claim's name for it says (a deleted record that is replaced).
    data, forget
        The canary: all records, and which are deleted.
    canary, reason
        The records in words, and why they were chosen.
    assumptions
        Of the claim, each checked on the canary.
    variants
        The one that is audited, and its corrected twin if there is one.
    differ
        Names of the settings in which variants differ.
    declared_shift, of_record
        The largest distance of the two worlds' releases without noise that the calibration allows for, and the audited
        variant with another record deleted, so that all of them can be held against it; ``None`` where a release is no
        fixed array plus Gaussian noise.
    score
        How a release is scored: "scores" takes its one number, "density_ratio" learns where it is likelier.
    trials
        Releases a world.
    cause, repair, caught_by
        Where a claim is false: why, what to change, and the cheap test that would have shown it.
    not_said
        What the row does not say.
    figures
        Further exact numbers, by what they are.
    """

    name: str
    title: str
    paper: str
    source: str
    kind: Kind
    claim: Claim
    statement: str
    against: str = ""
    data: Dataset
    forget: tuple[int, ...]
    canary: str
    reason: str
    assumptions: tuple[Assumption, ...]
    variants: tuple[Variant, ...]
    differ: tuple[str, ...] = ()
    declared_shift: float | None = None
    of_record: Callable[[int], Deletion] | None = None
    score: Score = "scores"
    trials: int = 20_000
    cause: str = ""
    repair: str = ""
    caught_by: str = ""
    not_said: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        require(
            len(set(names)) == len(names) > 0,
            "variants",
            expected="at least one, each name once",
            got=names,
            fix="name each variant once",
        )
        require(
            (self.declared_shift is None) == (self.of_record is None),
            "of_record",
            expected="given where declared_shift is",
            got=self.declared_shift,
            fix="say how any record is deleted, or declare no distance",
        )

    @property
    def audited(self) -> Variant:
        """The variant whose claim is the row: the code's where it differs, else the paper's."""
        by_name = {variant.name: variant for variant in self.variants}
        return by_name.get("as_coded") or by_name["as_published"]

    @property
    def twin(self) -> Variant | None:
        """The corrected variant."""
        return next((variant for variant in self.variants if variant.name == "corrected"), None)

    @property
    def inside(self) -> bool:
        """Whether the canary lies inside all of the claim's assumptions."""
        return all(assumption.holds for assumption in self.assumptions)


def claimed(epsilon: float, delta: float, reference: Reference) -> Claim:
    """Return a published claim about one deletion, in both directions."""
    return Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta), reference=reference, provenance="published")


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the exact epsilon of two Gaussians of one covariance whose means are ``mu`` of its deviations apart."""
    return gdp.epsilon(abs(mu), delta)


def classical_factor(delta: float, numerator: float = 1.25) -> float:
    """Return c of the classical Gaussian mechanism, noise = shift c / epsilon with c^2 = 2 log(numerator / delta)."""
    return math.sqrt(2 * math.log(numerator / delta))
