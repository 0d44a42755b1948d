"""The options of an audit of given rows, checked before anything is done with them, as a plan.

In the flow: :mod:`audit.given.auditing` asks first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attacks.given.score import GivenScore
from attacks.protocol import Attack
from attacks.registry import default_attacks
from audit.given.rows import MIN_ROWS, GivenRows, n_fit, no_context
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Split
from audit.running.binding import check_attacks
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import require
from mechanisms.reading.scalars import flag, real_number, whole_number

DEFAULT_DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of given rows, apart from the rows themselves; each as in :func:`audit.from_scores`.

    Numbers are kept as plain numbers, and two files of one name are told apart.
    """

    claim: Claim
    significance: float
    seed: int
    delta: float | None
    attacks: Sequence[Attack | str] | None
    threshold: float | None
    counting: Split | None
    releases: bool
    names: tuple[str, str]
    continuous: bool

    def __post_init__(self) -> None:
        require(
            isinstance(self.claim, Claim),
            "claim",
            expected="a Claim",
            got=self.claim,
            fix="write Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))",
        )
        require(
            self.counting is None or isinstance(self.counting, Split),
            "counting",
            expected="a Split: rows that are all there are counted once",
            got=self.counting,
            fix="leave it out",
        )
        numbers = {"significance": "0.05 is usual", "delta": "give a probability, for example 1e-5"}
        numbers |= {"threshold": "leave it out, and the rows choose one"}
        for name, fix in numbers.items():
            if name == "significance" or getattr(self, name) is not None:
                object.__setattr__(self, name, real_number(getattr(self, name), name, fix=fix))
        object.__setattr__(self, "seed", whole_number(self.seed, "seed", fix="choose any"))
        # It draws one row of each model before there is a plan.
        require(self.seed >= 0, "seed", expected="a non-negative integer", got=self.seed, fix="choose any")
        for name in ("releases", "continuous"):
            object.__setattr__(self, name, flag(getattr(self, name), name))
        object.__setattr__(self, "names", _told_apart(self.names))

    def plan(self, given: GivenRows) -> AuditPlan:
        """Return the plan for rows, with attacks that can work on them.

        Raises
        ------
        InvalidInputError
            For options out of range, and attacks that cannot work.
        """
        shape, threshold = given.unlearned.shape[1:], self.threshold
        require(
            threshold is None or (given.are_scores and self.attacks is None and math.isfinite(threshold)),
            "threshold",
            expected="a finite number, for rows of one score and without attacks",
            got=f"{threshold} for rows of {given.unlearned.shape[1]} number(s)",
            fix="leave it out, or give one score for each model",
        )
        plan = self._plan(given)
        fewest = n_fit(min(len(given.unlearned), len(given.retrained)), plan) // 2
        context = no_context(shape)
        if self.attacks is None and not given.are_scores:
            plan = replace(plan, attacks=default_attacks(context, n_fit=fewest))
        check_attacks(plan.attackers, context, n_fit=fewest, on="given rows", counted="the rows and counting")
        return plan

    def _plan(self, given: GivenRows) -> AuditPlan:
        """Return the options as a plan, which checks their ranges."""
        guarantee = self.claim.guarantee
        own = guarantee.delta if isinstance(guarantee, EpsilonDelta) else DEFAULT_DELTA
        return AuditPlan(
            claims=(self.claim,),
            forget=((),),
            attacks=(GivenScore(),) if self.attacks is None else self.attacks,
            # A plan of fewer is refused; what is recorded of it are the sizes of both worlds.
            trials=max(MIN_ROWS, len(given.unlearned)),
            control_trials=max(20, len(given.retrained) // 2),
            counting=self.counting or Split(),
            significance=self.significance,
            delta=own if self.delta is None else self.delta,
            seed=self.seed,
            chunk_size=1,
        )


def _told_apart(names: tuple[str, str]) -> tuple[str, str]:
    """Return two different names: files of one name in two folders are common."""
    known = isinstance(names, list | tuple) and len(names) == 2 and all(isinstance(n, str) and n for n in names)
    fix = 'write names=("unlearned", "retrained")'
    require(known, "names", expected="two words, what the two arrays are called", got=names, fix=fix)
    first, second = names
    return (first, second) if first != second else (f"{first} (unlearned)", f"{second} (retrained)")
