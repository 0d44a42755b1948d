"""The one module that divides the significance among the hypotheses of an audit.

In the flow: the runner asks for the ledger before anything is counted, every member gets a p-value and a lower bound,
and when all p-values of the family are known :func:`decide_family` says which members are rejected.

A member is an attack's test of one row of one claim about one forget set. What must not be refuted wrongly is the
*claim about the forget set*: all members with the same claim and forget set test that one hypothesis, and whichever of
them is rejected refutes it. Under every correction the probability that any claim that holds is refuted is at most the
significance, whatever the dependence between members.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.plan.audit_plan import Axis, Bonferroni, Correction, FixedSequence, Holm
from audit.records.ledger import Family, Member
from mechanisms.errors import InvalidInputError

Role = Literal["claim_row", "plan_delta"]
MemberKey = tuple[int, tuple[int, ...], str, Role]
# How an attack that tests one claim both at its own rows and at the plan's delta divides what its two tests have: in
# fifths of an equal share. The rows refute: they have frequent events. The plan's delta hardly ever does, and is there
# for its lower bound.
_WHOLE = 5
_DIVISION: dict[Role, int] = {"claim_row": 9, "plan_delta": 1}
# Where in a member's key an axis of a fixed sequence stands.
_POSITIONS: dict[Axis, int] = {"claims": 0, "records": 1, "attacks": 2, "rows": 3}


def ledger(*, significance: float, correction: Correction, members: Sequence[MemberKey]) -> Family:
    """Return the share of every member; together they add up to at most ``significance``.

    Parameters
    ----------
    significance
        Probability that the audit may refute any claim that holds.
    correction
        How the significance is spent (:func:`decide_family`). The shares are the same under each: they are the levels
        of the lower bounds.
    members
        Claim index, forget set, attack name and role of each hypothesis; all of them are known before a trial is
        counted. The order is kept, but for a fixed sequence, which lists them as it tests them.

    Returns
    -------
    Family
        The significance, the correction and the members with their levels, none of them tested yet.

    Raises
    ------
    InvalidInputError
        When the significance is outside (0, 1), no member is given, or one is given twice.

    Notes
    -----
    Shares are equal, but for an attack's two tests of one claim: of what these have together, the claim's rows get nine
    tenths and the plan's delta one. Conservative: levels are rounded down until their floating-point sum does not
    exceed the significance.

    Examples
    --------
    >>> family = ledger(
    ...     significance=0.05,
    ...     correction=Bonferroni(),
    ...     members=[(0, (7,), "mean", "claim_row"), (0, (7,), "mean", "plan_delta")],
    ... )
    >>> [member.level for member in family.members]
    [0.045, 0.005]
    """
    if not 0 < significance < 1:
        raise InvalidInputError(field="significance", expected="in (0, 1)", got=significance, fix="0.05 is usual")
    if not members:
        raise InvalidInputError(field="members", expected="at least one", got="()", fix="name what is tested")
    key, times = Counter(members).most_common(1)[0]
    if times > 1:
        raise InvalidInputError(field="members", expected="distinct", got=key, fix="test each hypothesis once")
    listed = _in_sequence(members, correction) if isinstance(correction, FixedSequence) else members
    return Family(
        significance=significance,
        correction=correction,
        members=tuple(
            Member(claim=claim, forget=forget, attack=attack, role=role, level=level)
            for (claim, forget, attack, role), level in zip(listed, _shares(significance, listed), strict=True)
        ),
    )


def decide_family(family: Family, p_values: Mapping[MemberKey, float]) -> Family:
    """Return the ledger with the level at which each member was in fact tested, and whether it was rejected.

    Any claim that holds has a rejected member with probability at most the significance.

    Parameters
    ----------
    family
        The ledger, from before the trials.
    p_values
        A valid p-value for each member. A member without one (its attack failed) is not rejected.

    Returns
    -------
    Family

    Raises
    ------
    InvalidInputError
        For a p-value outside [0, 1], or of something that is no member.

    Notes
    -----
    *Bonferroni*: each member at its share.

    *Holm*: the significance is shared anew among the members of claims that are not refuted yet, again and again until
    nothing more is rejected. This is Holm's weighted procedure for the claims, each with weight m, its number of
    members, and with m times the smallest of its weighted p-values: a member's own, over its part of their mean share.
    It rejects whatever Bonferroni rejects.

    *Fixed sequence*: step by step; the members of a step share the whole significance, and the next step is
    tested only when every claim (about its forget set) of this step is refuted. Before the first step with a claim that
    holds there are only false ones; in that step one that holds is refuted with at most the probability
    ``significance``, and if none is, the sequence ends. Members of later steps are not tested.

    Levels are shared anew as the ledger shared them: one in which all members have one level, as ledgers of older
    results do, goes on to share equally.

    References
    ----------
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, section 4 (weights);
    Maurer, Hothorn, Lehmacher 1995 (a-priori ordered hypotheses); Westfall, Krishen 2001, J. Stat. Plan. Inf. 99.
    """
    known = {_key(member) for member in family.members}
    for key, p in p_values.items():
        if key not in known or not 0 <= p <= 1:
            raise InvalidInputError(
                field="p_values", expected="in [0, 1], for members of the family", got=(key, p), fix="mend the entry"
            )
    levels = _LEVELS[family.correction.kind](family, p_values)
    return replace(
        family,
        members=tuple(
            replace(m, tested_at=level, rejected=level is not None and p_values.get(_key(m), 1.0) <= level)
            for m, level in zip(family.members, levels, strict=True)
        ),
    )


def holm_rejects(p_values: ArrayLike, *, level: float) -> NDArray[np.bool_]:
    """Return which of many claims are refuted: any that holds is with probability at most ``level``.

    Parameters
    ----------
    p_values
        One a claim, in [0, 1], shape (m,); they may depend on each other in any way.
    level
        In (0, 1).

    Raises
    ------
    InvalidInputError
        For a level or a p-value outside its range.

    Notes
    -----
    The k-th smallest p-value is compared with level / (m - k + 1), until one is larger: :func:`decide_family` for
    thousands of claims with one test each.

    References
    ----------
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6.

    Examples
    --------
    >>> holm_rejects([0.001, 0.2, 0.02, 0.04], level=0.05).tolist()
    [True, False, False, False]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not 0 < level < 1:
        raise InvalidInputError(field="level", expected="in (0, 1)", got=level, fix="0.05 is usual")
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise InvalidInputError(field="p_values", expected="in [0, 1], shape (m,)", got=p, fix="mend the entry")
    order = np.argsort(p, kind="stable")
    # Divided, and a last digit down: no sum of the levels exceeds the whole.
    levels = np.nextafter(level / np.arange(len(p), 0, -1), 0.0)
    run = np.logical_and.accumulate(p[order] <= levels)
    rejected = np.zeros(len(p), dtype=np.bool_)
    rejected[order[run]] = True
    return rejected


def average_e_values(e_values: Sequence[float], *, weights: Sequence[float] | None = None) -> float:
    """Return an e-value of the common null of several: it exceeds 1/x with probability at most x.

    Parameters
    ----------
    e_values
        Non-negative, each with expectation at most 1 under the null: of several attacks, directions or rows for the
        same claim, on the same trials or not.
    weights
        Non-negative with sum 1, fixed before the data; equal by default.

    Returns
    -------
    float
        The weighted mean.

    Raises
    ------
    InvalidInputError
        When there is no e-value, one is negative or NaN, or the weights are not as many, negative or of another sum.

    Notes
    -----
    Valid under every dependence, because expectations add up. The product would need each e-value to be conditionally
    valid given the ones before; the maximum is not an e-value. Means of e-*processes* that run on the same
    trials are e-processes again, so the mean may be stopped at any time. At the level x the mean of m rejects whenever
    one of them exceeds m/x, which is Bonferroni's rule, and often sooner.

    References
    ----------
    Vovk, Wang 2021, "E-values: calibration, combination and applications", section 3 (arXiv:1912.06116).

    Examples
    --------
    >>> average_e_values([60.0, 0.5, 1.5, 0.0])
    15.5
    """
    if weights is None:
        weights = [1 / len(e_values)] * len(e_values) if e_values else []
    if not e_values or len(weights) != len(e_values) or min(weights) < 0 or not math.isclose(math.fsum(weights), 1):
        raise InvalidInputError(
            field="weights",
            expected="one non-negative weight for each of at least one e-value, with sum 1",
            got=f"{len(weights)} weights for {len(e_values)} e-values",
            fix="leave them out for equal weights",
        )
    if not min(e_values) >= 0 or any(math.isnan(e) for e in e_values):
        raise InvalidInputError(field="e_values", expected="at least 0", got=list(e_values), fix="give e, not log(e)")
    # A weight of 0 leaves an infinite e-value out.
    return math.fsum(w * e for w, e in zip(weights, e_values, strict=True) if w > 0)


def role_levels(family: Family, *, claim: int, forget: tuple[int, ...]) -> dict[Role, float]:
    """Return the levels of a claim's members by role, which are the same for every attack.

    Parameters
    ----------
    family
        The ledger.
    claim, forget
        Position of the claim in the plan, and the forget set that it is about.

    Returns
    -------
    dict
        Empty where the family has no such member.
    """
    return {m.role: m.level for m in family.members if (m.claim, m.forget) == (claim, forget)}


def equal_share(total: float, parts: int) -> float:
    """Return a share of a total level such that its sums, running and exact, stay within the total.

    Parameters
    ----------
    total
        The level to divide, in (0, 1).
    parts
        How many equal shares, at least 1.
    """
    return _divided(total, [_WHOLE] * parts)[0]


def _divided(total: float, fifths: Sequence[int]) -> list[float]:
    """Return so many fifths of an equal share each, five on average, rounded down so that sums are within the total."""
    share = total / len(fifths)
    levels = [share * part / _WHOLE for part in fifths]
    while max(math.fsum(levels), sum(levels)) > total:
        # At least one number down: among the smallest numbers a product may round back to where it was.
        share = min(share * (1 - len(fifths) * 2.0**-53), math.nextafter(share, 0.0))
        levels = [share * part / _WHOLE for part in fifths]
    return levels


def _shares(total: float, members: Sequence[MemberKey], *, equal: bool = False) -> list[float]:
    """Return what every member has of a total level; all have the same if ``equal``."""
    if equal:
        return _divided(total, [_WHOLE] * len(members))
    tests = Counter(key[:3] for key in members)
    return _divided(total, [_DIVISION[key[3]] if tests[key[:3]] == len(_DIVISION) else _WHOLE for key in members])


def _is_equally_shared(family: Family) -> bool:
    """Whether a ledger gave all members one level, also the two tests of an attack: as ledgers once did."""
    return len({member.level for member in family.members}) == 1


def _key(member: Member) -> MemberKey:
    return member.claim, member.forget, member.attack, member.role


def _claim(member: Member) -> tuple[int, tuple[int, ...]]:
    """The hypothesis that a member tests: a claim about a forget set."""
    return member.claim, member.forget


def _in_sequence(members: Sequence[MemberKey], correction: FixedSequence) -> list[MemberKey]:
    """Members step by step; within an axis in the order of their first appearance."""
    ranks = {
        axis: {name: i for i, name in enumerate(dict.fromkeys(key[_POSITIONS[axis]] for key in members))}
        for axis in correction.order
    }
    return sorted(members, key=lambda key: [ranks[axis][key[_POSITIONS[axis]]] for axis in correction.order])


def _bonferroni(family: Family, p_values: Mapping[MemberKey, float]) -> list[float | None]:
    return [member.level for member in family.members]


def _holm(family: Family, p_values: Mapping[MemberKey, float]) -> list[float | None]:
    levels: list[float | None] = [None] * len(family.members)
    open_places, equal = list(range(len(family.members))), _is_equally_shared(family)
    while open_places:
        shares = _shares(family.significance, [_key(family.members[i]) for i in open_places], equal=equal)
        refuted = set()
        for i, level in zip(open_places, shares, strict=True):
            levels[i] = level
            if p_values.get(_key(family.members[i]), 1.0) <= level:
                refuted.add(_claim(family.members[i]))
        if not refuted:
            break
        open_places = [i for i in open_places if _claim(family.members[i]) not in refuted]
    return levels


def _fixed_sequence(family: Family, p_values: Mapping[MemberKey, float]) -> list[float | None]:
    correction = family.correction
    axes = correction.order if isinstance(correction, FixedSequence) else ()
    levels: list[float | None] = []
    reached, equal = True, _is_equally_shared(family)
    for _, group in groupby(family.members, key=lambda m: [_key(m)[_POSITIONS[axis]] for axis in axes]):
        step = list(group)
        if not reached:
            levels += [None] * len(step)
            continue
        shares = _shares(family.significance, [_key(member) for member in step], equal=equal)
        levels += shares
        refuted = {_claim(m) for m, level in zip(step, shares, strict=True) if p_values.get(_key(m), 1.0) <= level}
        reached = {_claim(member) for member in step} <= refuted
    return levels


_LEVELS = {Bonferroni().kind: _bonferroni, Holm().kind: _holm, FixedSequence().kind: _fixed_sequence}
