"""Attacks by name, and the attacks of an audit that names none."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.linear.blocks import BlockLda
from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.fisher import Fisher
from attacks.linear.influence import Influence
from attacks.linear.krylov import KrylovLda
from attacks.linear.residual import TargetLoss
from attacks.linear.undoing import UndoTraining
from attacks.linear.whitened import WhitenedLda
from attacks.outputs.columns import BestColumn, ColumnHits, ColumnSum
from attacks.outputs.u_lira import ULira
from attacks.portfolio import OUTPUTS, portfolio
from attacks.protocol import Attack, AttackContext, trouble
from attacks.quadratic.clouds import Qda, Radius
from attacks.quadratic.likelihood_ratio import LikelihoodRatio
from attacks.tails.classifier import Logistic, Mlp
from attacks.tails.density import DensityRatio
from attacks.tails.tail import Tail
from mechanisms.errors import InvalidInputError

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
    WhitenedLda(),
    UndoTraining(),
    DensityRatio(),
    BlockLda(),
    BestColumn(),
    ColumnSum(),
    ColumnHits(),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in (*_SINGLE, *portfolio(), OUTPUTS)}
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
    "whitened_lda": "learned: lda in the principal axes of the retrained models; for ill-conditioned weights",
    "undo_training": "learned: lda on the gradient of the retained loss at the release; sees noise on the objective",
    "density_ratio": "learned: ratio of two densities of at most three numbers; sees intervals, modes and gaps",
    "block_lda": "learned: lda on means and norms of blocks of neighbours; for more than 100,000 numbers",
    "best_column": "learned: two Gaussians at the one number, or record, that differs most",
    "column_sum": "learned: sum of the log ratios of all numbers, or records, as if independent",
    "column_hits": "learned: how many numbers, or records, point to the unlearned world",
    "portfolio:mean": (
        "the best on the fit split of krylov_lda, influence, target_loss, u_lira, lda, the shape, and where they "
        "apply whitened_lda, undo_training and block_lda"
    ),
    "portfolio:scale": "the best on the fit split of radius, qda and, where it applies, density_ratio",
    "portfolio:tail": "tail",
    "portfolio:outputs": "the best on the fit split of best_column, column_sum, column_hits and lda",
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


def resolve(attacks: Sequence[Attack | str]) -> tuple[Attack, ...]:
    """Return attacks as objects, each name replaced by what it stands for.

    Raises
    ------
    InvalidInputError
        For a name that is none, or anything that is neither a name nor an attack.
    """
    if isinstance(attacks, str):
        return attacks_named(attacks)
    found: list[Attack] = []
    for attack in attacks:
        usable = hasattr(attack, "name") and callable(getattr(attack, "fit", None)) and not isinstance(attack, type)
        if not (usable or isinstance(attack, str)):
            raise InvalidInputError(
                field="attacks",
                expected="names of attacks, or objects with a name and fit",
                got=attack,
                fix='write for example attacks=("portfolio",)',
            )
        found += attacks_named(attack) if isinstance(attack, str) else (attack,)
    return tuple(found)


def default_attacks(context: AttackContext, *, n_fit: int) -> tuple[Attack, ...]:
    """Return the attacks of an audit that names none.

    Parameters
    ----------
    context
        What the threat model grants.
    n_fit
        Trials of each world in one fit.

    Returns
    -------
    tuple of Attack
        ``likelihood_ratio`` where the mechanism states its laws, and every family of the portfolio that can be fitted
        on so few trials; ``lda`` where none can.
    """
    chosen = tuple(a for a in (LikelihoodRatio(), *portfolio()) if trouble(a, context, n_fit=n_fit) is None)
    return chosen or (LinearDiscriminant(),)
