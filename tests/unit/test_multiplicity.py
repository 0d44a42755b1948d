"""The ledger of levels."""

from __future__ import annotations

import math

import pytest

from audit.multiplicity import MemberKey, ledger
from audit.plan import Bonferroni
from mechanisms.errors import InvalidInputError


def keys(n: int) -> list[MemberKey]:
    return [(i % 3, (i,), f"attack{i}", "claim_row" if i % 2 else "plan_delta") for i in range(n)]


def test_one_member_gets_everything() -> None:
    family = ledger(significance=0.05, correction=Bonferroni(), members=keys(1))
    assert [member.level for member in family.members] == [0.05]


def test_members_keep_their_order_and_names() -> None:
    family = ledger(significance=0.05, correction=Bonferroni(), members=keys(5))
    assert [(m.claim, m.forget, m.attack, m.role) for m in family.members] == keys(5)
    assert family.significance == 0.05
    assert {member.level for member in family.members} == {family.members[0].level}


@pytest.mark.parametrize("significance", [0.05, 0.01, 0.1, 1e-3, 0.3, 1 / 3])
@pytest.mark.parametrize("n", [2, 3, 6, 7, 10, 11, 49, 1000, 30_011])
def test_levels_add_up_to_at_most_the_significance_and_hardly_less(significance: float, n: int) -> None:
    levels = [m.level for m in ledger(significance=significance, correction=Bonferroni(), members=keys(n)).members]
    assert sum(levels) <= significance
    assert math.fsum(levels) <= significance
    assert math.fsum(levels) >= significance * (1 - 1e-10)


@pytest.mark.parametrize("significance", [0.0, 1.0, -0.1, math.nan])
def test_a_significance_outside_its_range_is_refused(significance: float) -> None:
    with pytest.raises(InvalidInputError, match="significance"):
        ledger(significance=significance, correction=Bonferroni(), members=keys(2))


def test_an_empty_family_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="members"):
        ledger(significance=0.05, correction=Bonferroni(), members=[])


def test_a_hypothesis_named_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="attack1"):
        ledger(significance=0.05, correction=Bonferroni(), members=[*keys(3), keys(2)[1]])
