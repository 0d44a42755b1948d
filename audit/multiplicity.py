"""The one module that divides the significance among the hypotheses of an audit.

In the flow: the runner asks for the ledger before anything is counted, and every member is tested at its own level.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from audit.plan import Bonferroni
from audit.result import Family, Member
from mechanisms.errors import InvalidInputError

Role = Literal["claim_row", "plan_delta"]
MemberKey = tuple[int, tuple[int, ...], str, Role]


def ledger(*, significance: float, correction: Bonferroni, members: Sequence[MemberKey]) -> Family:
    """Return the level of every member; together they add up to at most ``significance``.

    Parameters
    ----------
    significance
        Probability that the audit may refute any claim that holds.
    correction
        How the significance is divided. Bonferroni: equally, whatever the dependence between members.
    members
        Claim index, forget set, attack name and role of each hypothesis; all of them are known before a trial is
        counted. The order is kept.

    Returns
    -------
    Family
        The significance, the correction and the members with their levels.

    Raises
    ------
    InvalidInputError
        When the significance is outside (0, 1), no member is given, or one is given twice.

    Notes
    -----
    Conservative: the level is rounded down until its floating-point sum does not exceed the significance.

    Examples
    --------
    >>> family = ledger(
    ...     significance=0.05,
    ...     correction=Bonferroni(),
    ...     members=[(0, (7,), "mean", "claim_row"), (0, (7,), "mean", "plan_delta")],
    ... )
    >>> [member.level for member in family.members]
    [0.025, 0.025]
    """
    if not 0 < significance < 1:
        raise InvalidInputError(field="significance", expected="in (0, 1)", got=significance, fix="0.05 is usual")
    if not members:
        raise InvalidInputError(field="members", expected="at least one", got="()", fix="name what is tested")
    key, times = Counter(members).most_common(1)[0]
    if times > 1:
        raise InvalidInputError(field="members", expected="distinct", got=key, fix="test each hypothesis once")
    level = equal_share(significance, len(members))
    return Family(
        significance=significance,
        correction=correction,
        members=tuple(
            Member(claim=claim, forget=forget, attack=attack, role=role, level=level)
            for claim, forget, attack, role in members
        ),
    )


def equal_share(total: float, parts: int) -> float:
    """Return a share of a total level such that its sums, running and exact, stay within the total."""
    share = total / parts
    while max(math.fsum([share] * parts), sum([share] * parts)) > total:
        share *= 1 - parts * 2.0**-53
    return share
