"""How a release is attacked: scores that are higher in the unlearned world.

The attacks by their classes, what an attack of your own implements, and which records are worth deleting. Names are
loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from attacks.canary import choose_records, difficulty, random_records, remaining_shift, with_boundary_outlier
    from attacks.linear.blocks import BlockLda
    from attacks.linear.discriminant import LinearDiscriminant
    from attacks.linear.fisher import Fisher
    from attacks.linear.influence import Influence
    from attacks.linear.krylov import KrylovLda
    from attacks.linear.residual import TargetLoss
    from attacks.linear.score import LinearScore
    from attacks.linear.undoing import UndoTraining
    from attacks.linear.whitened import WhitenedLda
    from attacks.outputs.columns import BestColumn, ColumnHits, ColumnSum
    from attacks.outputs.shape import Shape
    from attacks.outputs.u_lira import ULira
    from attacks.portfolio import Family
    from attacks.protocol import Attack, AttackContext, FittedAttack, Foresees, Needs, Probe
    from attacks.quadratic.clouds import Qda, Radius
    from attacks.quadratic.likelihood_ratio import LikelihoodRatio
    from attacks.quadratic.score import QuadraticScore
    from attacks.registry import attacks_named, default_attacks
    from attacks.tails.classifier import Logistic, Mlp
    from attacks.tails.density import DensityRatio
    from attacks.tails.tail import Tail
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "attacks.canary": "choose_records difficulty random_records remaining_shift with_boundary_outlier",
            "attacks.linear.blocks": "BlockLda",
            "attacks.linear.discriminant": "LinearDiscriminant",
            "attacks.linear.fisher": "Fisher",
            "attacks.linear.influence": "Influence",
            "attacks.linear.krylov": "KrylovLda",
            "attacks.linear.residual": "TargetLoss",
            "attacks.linear.score": "LinearScore",
            "attacks.linear.undoing": "UndoTraining",
            "attacks.linear.whitened": "WhitenedLda",
            "attacks.outputs.columns": "BestColumn ColumnHits ColumnSum",
            "attacks.outputs.shape": "Shape",
            "attacks.outputs.u_lira": "ULira",
            "attacks.portfolio": "Family",
            "attacks.protocol": "Attack AttackContext FittedAttack Foresees Needs Probe",
            "attacks.quadratic.clouds": "Qda Radius",
            "attacks.quadratic.likelihood_ratio": "LikelihoodRatio",
            "attacks.quadratic.score": "QuadraticScore",
            "attacks.registry": "attacks_named default_attacks",
            "attacks.tails.classifier": "Logistic Mlp",
            "attacks.tails.density": "DensityRatio",
            "attacks.tails.tail": "Tail",
        },
    )

__all__ = [
    "Attack",
    "AttackContext",
    "BestColumn",
    "BlockLda",
    "ColumnHits",
    "ColumnSum",
    "DensityRatio",
    "Family",
    "Fisher",
    "FittedAttack",
    "Foresees",
    "Influence",
    "KrylovLda",
    "LikelihoodRatio",
    "LinearDiscriminant",
    "LinearScore",
    "Logistic",
    "Mlp",
    "Needs",
    "Probe",
    "Qda",
    "QuadraticScore",
    "Radius",
    "Shape",
    "Tail",
    "TargetLoss",
    "ULira",
    "UndoTraining",
    "WhitenedLda",
    "attacks_named",
    "choose_records",
    "default_attacks",
    "difficulty",
    "random_records",
    "remaining_shift",
    "with_boundary_outlier",
]
