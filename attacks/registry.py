"""Attacks by name, for plans and the command line; Python functions take objects."""

from __future__ import annotations

from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.fisher import Fisher
from attacks.linear.geometry import linear_model, penalty_of
from attacks.linear.influence import Influence
from attacks.linear.krylov import KrylovLda
from attacks.linear.residual import TargetLoss
from attacks.outputs.u_lira import ULira
from attacks.portfolio import portfolio
from attacks.protocol import Attack, AttackContext
from attacks.quadratic.clouds import Qda, Radius
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from attacks.tails.classifier import Logistic, Mlp
from attacks.tails.tail import Tail
from mechanisms.errors import InvalidInputError, NotApplicableError

_SINGLE: tuple[Attack, ...] = (
    LikelihoodRatio(),
    TargetLoss(),
    Influence(),
    LinearDiscriminant(),
    KrylovLda(),
    Fisher(),
    Qda(),
    Radius(),
    Tail(),
    Logistic(),
    Mlp(),
    ULira(),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in (*_SINGLE, *portfolio())}
# A plan may name several attacks by one word.
GROUPS: dict[str, tuple[Attack, ...]] = {"portfolio": portfolio()}
SUMMARIES: dict[str, str] = {
    "portfolio": "its three families below, each as an attack of its own; sees most faults",
    "likelihood_ratio": "log dP/dQ of the claimed mechanism's laws; the most powerful when they are right",
    "fisher": "the linear part of the claimed likelihood ratio: S^-1 m; sees faults of the mean",
    "target_loss": "signed residual at the deleted record; what most papers use alone",
    "influence": "along H^-1 g, the direction in which the deletion moves the optimum",
    "krylov_lda": "learned: discriminant on the span of H^-3 g .. H^3 g; the best single one for linear models",
    "lda": "learned: Fisher's discriminant with Ledoit-Wolf shrinkage; needs neither law nor model",
    "qda": "learned: log ratio of two Gaussians with Ledoit-Wolf covariances; sees faults of the noise",
    "radius": "learned: Mahalanobis distance to the retrained models; sees noise that is too small or too large",
    "tail": "learned: along the shift of a minority, as when a deletion is skipped now and then",
    "classifier": "learned: logistic regression; a catch-all",
    "mlp": "learned: a neural network; refused below 20 trials a dimension",
    "u_lira": "learned: log odds or residual at the deleted record; for black-box releases",
    "portfolio:mean": "the best of krylov_lda, influence, target_loss, u_lira and lda on the fit split",
    "portfolio:scale": "the better of radius and qda on the fit split",
    "portfolio:tail": "tail",
}


def attacks_named(name: str) -> tuple[Attack, ...]:
    """Return the attack of a name, or the attacks of a group's name.

    Raises
    ------
    InvalidInputError
        For a name that is neither.
    """
    if name not in GROUPS and name not in ATTACKS:
        raise InvalidInputError(
            field="attacks", expected=f"one of {', '.join([*GROUPS, *ATTACKS])}", got=name, fix="check the spelling"
        )
    return GROUPS[name] if name in GROUPS else (ATTACKS[name],)


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
    if context.probe is not None:
        chosen.append(ULira())
    return (*chosen, LinearDiscriminant())
