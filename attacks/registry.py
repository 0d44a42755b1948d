"""Attacks by name, for plans and the command line; Python functions take objects."""

from __future__ import annotations

from attacks.discriminant import LinearDiscriminant
from attacks.geometry import linear_model, penalty_of
from attacks.influence import Influence
from attacks.likelihood_ratio import LikelihoodRatio
from attacks.protocol import Attack, AttackContext
from attacks.residual import TargetLoss
from mechanisms.errors import NotApplicableError

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (LikelihoodRatio(), TargetLoss(), Influence(), LinearDiscriminant())
}
SUMMARIES: dict[str, str] = {
    "likelihood_ratio": "log dP/dQ of the claimed mechanism's laws; the most powerful when they are right",
    "target_loss": "signed residual at the deleted record; what most papers use alone",
    "influence": "along H^-1 g, the direction in which the deletion moves the optimum",
    "lda": "learned: Fisher's discriminant with Ledoit-Wolf shrinkage; needs neither law nor model",
}


def applicable_attacks(context: AttackContext) -> tuple[Attack, ...]:
    """Return the attacks that the context grants, most informed first; ``lda`` always can be tried."""
    chosen: list[Attack] = []
    if context.law_unlearned is not None and context.law_retrained is not None:
        chosen.append(LikelihoodRatio())
    try:
        linear_model(context, "target_loss")
        penalty_of(context, "target_loss")
    except NotApplicableError:
        pass
    else:
        chosen += [TargetLoss(), Influence()]
    return (*chosen, LinearDiscriminant())
