"""What is left of the numbers of a result from which records were withheld: averages over many deletions."""

from __future__ import annotations

from dataclasses import dataclass

from audit.plan.ranges import check
from mechanisms.claim import JSON_CONFIG


@dataclass(frozen=True, kw_only=True)
class Average:
    """Means over all deletions that one claim was made about, at the plan's delta; of at least ``Redaction.least``.

    Parameters
    ----------
    claim
        Position of the claim in the plan.
    delta, n_deletions
        At which delta, over how many deletions.
    bound
        Mean of the lower bounds: a lower bound on the mean epsilon, as all of them hold together.
    claimed, exact, detectable
        Means of what is claimed, of the exact epsilons (``None`` where a certificate states none), and of the smallest
        epsilons that would have been refuted with probability 0.8.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: int
    delta: float
    n_deletions: int
    bound: float
    claimed: float
    exact: float | None
    detectable: float

    def __post_init__(self) -> None:
        check("delta", self.delta, high=1.0)
        for name in ("bound", "claimed", "exact", "detectable"):
            check(name, getattr(self, name), finite=False)


@dataclass(frozen=True, kw_only=True)
class Redaction:
    """Marks a result whose record identifiers, previews and epsilons per record were withheld.

    Parameters
    ----------
    least
        Smallest number of deletions that an average was taken over.
    ceiling
        The largest epsilon that the trials could have shown at the plan's delta; it depends on their number alone.
    detectable
        For each claim of the plan: the smallest true epsilon that would have been refuted with probability 0.8, where
        that depends on a user's claim and the number of trials alone; else ``None``.
    averages
        Empty when there were fewer deletions.

    Notes
    -----
    In such a result a forget set is a negative number, in an order that depends on nothing but what is still shown;
    the guarantee of a claim that was computed for its record is replaced by one that promises nothing
    (an infinite epsilon); a p-value is the level of its test where the claim is refuted, and 1 otherwise. Verdicts,
    controls and averages still depend on the records: this withholds, it does not anonymise.
    """

    __pydantic_config__ = JSON_CONFIG
    least: int
    ceiling: float | None
    detectable: tuple[float | None, ...]
    averages: tuple[Average, ...]

    def __post_init__(self) -> None:
        check("ceiling", self.ceiling, finite=False)
        for i, value in enumerate(self.detectable):
            check(f"detectable[{i}]", value, finite=False)
