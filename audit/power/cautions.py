"""What a forecast warns of, in sentences: claims that cannot be refuted, low power, attacks that are hopeless."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attacks.linear.blocks import BlockLda
from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.whitened import WhitenedLda
from attacks.portfolio import Family
from attacks.protocol import Attack, AttackContext, trouble
from audit.power.forecasts import Caution, ClaimForecast, LearnedAttack, PowerStatement

LOW_POWER = 0.5
# Above this share of its epsilon an ignored deletion is hardly worse than the claim.
HARDLY_BELOW = 0.9


def cautions_of(found: ClaimForecast, attacks: Sequence[Attack], context: AttackContext | None) -> tuple[Caution, ...]:
    """Return the warnings about one claim, the gravest first."""
    if math.isinf(found.claimed_epsilon):
        message = "It promises no finite epsilon: there is nothing that any outcome could refute."
        return (Caution(kind="nothing_claimed", message=message),)
    return tuple(_cautions(found, attacks, context))


def _cautions(found: ClaimForecast, attacks: Sequence[Attack], context: AttackContext | None) -> Iterator[Caution]:
    if not found.refutable:
        yield Caution(kind="cannot_be_refuted", message=_cannot(found))
    if context is not None:
        for attack in attacks:
            if said := trouble(attack, context, n_fit=found.n_fit // 2):
                yield Caution(kind="attack_cannot_run", message=f"{said}; leave {attack.name} out.")
    alone = all(isinstance(attack, LinearDiscriminant | WhitenedLda) for attack in attacks)
    blocks = {a.name for a in attacks if context is not None and _sees_blocks(a, context, found.n_fit // 2)}
    if found.refutable:
        for margin in found.margins:
            if margin.power < LOW_POWER:
                yield Caution(kind="low_power", message=_low(found, margin))
        for learned in found.learned:
            if learned.power < LOW_POWER:
                yield Caution(kind="blind_attack", message=_blind(found, learned, alone, learned.attack in blocks))
        if found.neglected is not None and found.neglected.power < LOW_POWER:
            yield Caution(kind="neglect_unseen", message=_unseen(found, found.neglected))


def _cannot(found: ClaimForecast) -> str:
    more = (
        "no number of trials that could be run would change that"
        if found.trials_to_refute is None
        else f"at least {rounded_up(found.trials_to_refute):,} trials would be needed"
    )
    return (
        f"NOT AUDITABLE at this number of trials: {found.n_counted:,} counted trials a world show at most "
        f"epsilon = {_up(found.ceiling)}, and {found.claimed_epsilon:.3g} is claimed (delta = {found.delta:.3g}); "
        f"{more}."
    )


def _low(found: ClaimForecast, margin: PowerStatement) -> str:
    return (
        f"Power {margin.power:.2f} against a true epsilon of {margin.alternative.epsilon:.3g}, {margin.ratio:.3g} "
        f"times the claimed one (a Gaussian shift, delta = {found.delta:.3g}): not refuting will say little. "
        f"{_more_trials(margin)}"
    )


def _more_trials(statement: PowerStatement) -> str:
    if statement.trials_needed is None:
        return "No number of trials is enough."
    return f"About {rounded_up(statement.trials_needed):,} trials give 0.8."


def _up(value: float) -> str:
    """Return a number rounded up to three digits."""
    if value == 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(value / unit) * unit:.3g}"


def rounded_up(trials: int) -> int:
    """Return a number of trials rounded up to three digits: it is no more precise than that."""
    unit = int(10 ** max(0, len(str(trials)) - 3))
    return -(-trials // unit) * unit


def _sees_blocks(attack: Attack, context: AttackContext, n_fit: int) -> bool:
    """Return whether a family has a member that sees neighbouring numbers move together."""
    members = attack.members if isinstance(attack, Family) else ()
    return any(isinstance(m, BlockLda) and trouble(m, context, n_fit=n_fit) is None for m in members)


def _blind(found: ClaimForecast, learned: LearnedAttack, alone: bool, blocks: bool) -> str:
    margin = found.margins[-1]
    only = "The plan has no other kind of attack. " if alone else ""
    unless = ", unless neighbouring numbers move together" if blocks else ""
    return (
        f"{learned.attack} is hopeless at this d/m: it learns {learned.n_parameters:,} weights from "
        f"{learned.n_fit:,} trials a world, keeps at most about {100 * learned.kept:.2g} % of the shift of a true "
        f"epsilon of {margin.alternative.epsilon:.3g}, and so has power {learned.power:.2f} at best{unless}. {only}"
        "Use an attack that knows the direction, or more trials."
    )


def _unseen(found: ClaimForecast, neglected: PowerStatement) -> str:
    epsilon = neglected.alternative.epsilon
    about = f"An ignored deletion has epsilon = {epsilon:.3g} where {found.claimed_epsilon:.3g} is claimed"
    if neglected.trials_needed is None or found.claimed_epsilon >= HARDLY_BELOW * epsilon:
        return f"{about} (delta = {found.delta:.3g}): hardly worse than the claim, so that no audit could tell."
    return (
        f"{about}, and would be refuted with probability {neglected.power:.2f} only: this audit would hardly see "
        f"neglect. {_more_trials(neglected)}"
    )
