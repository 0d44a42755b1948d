"""The ledger of levels, and what is rejected under each correction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audit.plan.audit_plan import Axis, Bonferroni, Correction, FixedSequence, Holm
from audit.records.ledger import Family
from audit.statistics.multiplicity import MemberKey, average_e_values, decide_family, ledger, role_levels
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


def roles(claims: int, *, alone: int = 0) -> list[MemberKey]:
    """Claims with both roles of two attacks each, and after them claims that are one row."""
    both: list[MemberKey] = [
        (c, (3,), a, role) for c in range(claims) for a in "xy" for role in ("claim_row", "plan_delta")
    ]
    return [*both, *((claims + c, (3,), a, "claim_row") for c in range(alone) for a in "xy")]


@pytest.mark.parametrize("significance", [0.05, 0.01, 0.1, 1e-3, 0.3, 1 / 3])
@pytest.mark.parametrize(("claims", "alone"), [(1, 0), (1, 1), (3, 2), (11, 7), (600, 1)])
def test_the_two_tests_of_an_attack_divide_their_share_nine_to_one(
    significance: float, claims: int, alone: int
) -> None:
    members = roles(claims, alone=alone)
    family = ledger(significance=significance, correction=Bonferroni(), members=members)
    levels = [m.level for m in family.members]
    assert max(sum(levels), math.fsum(levels)) <= significance
    assert math.fsum(levels) >= significance * (1 - 1e-10)
    share = significance / len(members)
    assert role_levels(family, claim=0, forget=(3,)) == pytest.approx(
        {"claim_row": 1.8 * share, "plan_delta": 0.2 * share}
    )
    # A claim that is one row has what it would have without the division.
    assert levels[4 * claims :] == pytest.approx([share] * 2 * alone)
    assert role_levels(family, claim=0, forget=(4,)) == {}


def test_the_division_holds_under_every_correction() -> None:
    members = roles(1, alone=1)
    p_values = dict.fromkeys(members, 1.0) | {(1, (3,), "x", "claim_row"): 0.05 / 6}

    def tested(correction: Correction, known: dict[MemberKey, float]) -> list[float | None]:
        family = decide_family(ledger(significance=0.05, correction=correction, members=members), known)
        return [m.tested_at for m in family.members]

    # The other claim is refuted and leaves: four fifths of an equal share more for each of the two attacks.
    assert tested(Holm(), p_values)[:4] == pytest.approx([0.0225, 0.0025] * 2)
    assert tested(FixedSequence(order=("claims",)), p_values)[:4] == pytest.approx([0.0225, 0.0025] * 2)
    # Where rows are steps of their own there is nothing to divide.
    assert tested(FixedSequence(order=("rows",)), dict.fromkeys(members, 0.0))[:4] == pytest.approx([0.0125] * 4)


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


def family_of(correction: Correction, groups: list[int], significance: float = 0.05) -> Family:
    """A family with as many attacks on each claim as given; each claim about a record of its own."""
    members: list[MemberKey] = [(0, (g,), f"attack{a}", "claim_row") for g, n in enumerate(groups) for a in range(n)]
    return ledger(significance=significance, correction=correction, members=members)


def decided(family: Family, p_values: list[float]) -> list[tuple[float | None, bool]]:
    by_key = {(m.claim, m.forget, m.attack, m.role): p for m, p in zip(family.members, p_values, strict=True) if p >= 0}
    result = decide_family(family, by_key)
    assert [(m.claim, m.forget, m.attack, m.level) for m in result.members] == [
        (m.claim, m.forget, m.attack, m.level) for m in family.members
    ]
    return [(m.tested_at, m.rejected) for m in result.members]


class TestBonferroni:
    def test_each_at_its_share(self) -> None:
        family = family_of(Bonferroni(), [1, 1, 1, 1])
        share = family.members[0].level
        assert decided(family, [share, 0.02, 0.0, 1.0]) == [
            (share, True),
            (share, False),
            (share, True),
            (share, False),
        ]


class TestHolm:
    def test_textbook_steps(self) -> None:
        # Four claims with one test each: .05/4, .05/3, .05/2; the third fails and ends it.
        got = decided(family_of(Holm(), [1, 1, 1, 1]), [0.03, 0.01, 0.016, 0.04])
        assert [rejected for _, rejected in got] == [False, True, True, False]
        assert [level for level, _ in got] == pytest.approx([0.025, 0.0125, 0.05 / 3, 0.025])

    def test_all_members_of_a_refuted_claim_leave(self) -> None:
        # Six tests; refuting the first claim removes three of them.
        got = decided(family_of(Holm(), [3, 2, 1]), [0.008, 0.9, 0.009, 0.016, 0.9, 0.9])
        assert [rejected for _, rejected in got] == [True, False, False, True, False, False]
        assert [level for level, _ in got] == pytest.approx([0.05 / 6] * 3 + [0.05 / 3] * 2 + [0.05])

    def test_member_without_a_p_value_counts_and_is_not_rejected(self) -> None:
        assert decided(family_of(Holm(), [1, 1]), [0.03, -1]) == [(0.025, False), (0.025, False)]

    def test_rejects_what_bonferroni_rejects(self) -> None:
        rng = np.random.default_rng(2)
        more = 0
        for _ in range(200):
            groups = list(rng.integers(1, 4, 4))
            p = list(rng.random(sum(groups)) ** 6)
            plain = decided(family_of(Bonferroni(), groups), p)
            holm = decided(family_of(Holm(), groups), p)
            assert all(b or not a for (_, a), (_, b) in zip(plain, holm, strict=True))
            more += sum(b for _, b in holm) > sum(a for _, a in plain)
        assert more > 10


class TestFixedSequence:
    def test_each_step_has_everything_until_one_is_not_refuted(self) -> None:
        got = decided(family_of(FixedSequence(), [2, 1, 2, 1]), [0.9, 0.02, 0.05, 0.026, 0.03, 0.0])
        assert got == [(0.025, False), (0.025, True), (0.05, True), (0.025, False), (0.025, False), (None, False)]

    def test_ledger_lists_members_in_the_declared_order(self) -> None:
        members: list[MemberKey] = [(c, f, a, "claim_row") for f in ((9,), (3,)) for c in (0, 1) for a in ("x", "y")]
        listed = ledger(significance=0.05, correction=FixedSequence(order=("claims", "attacks")), members=members)
        assert [(m.claim, m.attack, m.forget[0]) for m in listed.members] == [
            (0, "x", 9),
            (0, "x", 3),
            (0, "y", 9),
            (0, "y", 3),
            (1, "x", 9),
            (1, "x", 3),
            (1, "y", 9),
            (1, "y", 3),
        ]

    def test_a_step_with_several_claims_is_passed_only_whole(self) -> None:
        members: list[MemberKey] = [(c, (f,), "x", "claim_row") for c in (0, 1) for f in (3, 4)]
        family = ledger(significance=0.05, correction=FixedSequence(order=("claims",)), members=members)
        assert decided(family, [0.01, 0.03, 0.0, 0.0])[2:] == [(None, False)] * 2
        assert decided(family, [0.01, 0.025, 0.02, 0.03])[2:] == [(0.025, True), (0.025, False)]

    @pytest.mark.parametrize("order", [(), ("records", "records"), ("seasons",)])
    def test_unusable_orders_are_refused(self, order: tuple[Axis, ...]) -> None:
        with pytest.raises(InvalidInputError, match=r"correction\.order"):
            FixedSequence(order=order)


def test_p_values_must_belong_to_the_family() -> None:
    family = family_of(Bonferroni(), [1])
    for key, p in (((0, (5,), "attack0", "claim_row"), 0.1), ((0, (0,), "attack0", "claim_row"), math.nan)):
        with pytest.raises(InvalidInputError, match="p_values"):
            decide_family(family, {key: p})  # type: ignore[dict-item]


class TestAverage:
    def test_mean_and_weights(self) -> None:
        assert average_e_values([4.0]) == 4.0
        assert average_e_values([8.0, 0.0], weights=[0.25, 0.75]) == 2.0
        assert average_e_values([math.inf, 3.0], weights=[0.0, 1.0]) == 3.0
        assert average_e_values([math.inf, 3.0]) == math.inf

    def test_unusable_input_is_refused(self) -> None:
        for values, weights in (([], None), ([1.0], [0.5]), ([1.0, 1.0], [2.0, -1.0]), ([1.0], [0.5, 0.5])):
            with pytest.raises(InvalidInputError, match="weights"):
                average_e_values(values, weights=weights)
        for bad in (-1.0, math.nan):
            with pytest.raises(InvalidInputError, match="e_values"):
                average_e_values([2.0, bad])
