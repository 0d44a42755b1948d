"""Several attacks as one: families that each choose a member on the fit split by what an audit counts.

A plan that names ``portfolio`` gets one attack a family, so that the ledger shares the significance over families, and
a report names the family that refuted a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks.linear.blocks import BlockLda
from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.influence import Influence
from attacks.linear.krylov import KrylovLda
from attacks.linear.residual import TargetLoss
from attacks.linear.score import LinearScore
from attacks.linear.undoing import UndoTraining
from attacks.linear.whitened import WhitenedLda
from attacks.outputs.columns import BestColumn, ColumnHits, ColumnSum
from attacks.outputs.shape import Shape
from attacks.outputs.u_lira import ULira
from attacks.protocol import Attack, AttackContext, FittedAttack, Needs, require_trials, trouble
from attacks.quadratic.clouds import Qda, Radius
from attacks.quadratic.score import QuadraticScore
from attacks.separation import separation
from attacks.tails.density import DensityRatio
from attacks.tails.tail import Tail
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
N_FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class Family:
    """Score as the member that separates the worlds best, chosen while fitting; higher means the unlearned world.

    Needs what some member needs, and at least four trials a world: a member sees half of them when it is fitted.

    Parameters
    ----------
    name
        In plans and reports.
    members
        Attacks to choose from, at least one; those that a context does not grant are left out.
    needs
        What any of the members can do with.

    Notes
    -----
    Each member is fitted on either half of the trials and scored on the other one, because on its own trials a learned
    attack looks better than it is. The chosen member's two halves are then the attack: the mean of their scores, each
    in units of its own held-out scores of retrained models. Nothing is fitted a third time, and the scale of a score
    is the same for any number of trials and any member. It is turned where unlearned models score lower on average.

    References
    ----------
    As :func:`~attacks.separation.separation`, which the member is chosen by.
    """

    name: str
    members: tuple[Attack, ...]
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=2 * N_FOLDS)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit every member on trials of both worlds, shape (m, *release) each, and return the best.

        Raises
        ------
        NotApplicableError
            With fewer than four trials in a world, or when no member applies; names each member's reason.
        """
        require_trials(self.name, unlearned, retrained, least=2 * N_FOLDS)
        folds = [rng.permutation(len(trials)) % N_FOLDS for trials in (unlearned, retrained)]
        halves = [
            tuple(trials[of == fold] for trials, of in zip((unlearned, retrained), folds, strict=True))
            for fold in range(N_FOLDS)
        ]
        tried, reasons = [], []
        for member in self.members:
            try:
                tried.append(_try(member, halves, context, rng=rng))
            except NotApplicableError as error:
                reasons.append(f"{member.name}: {error}")
        if not tried:
            raise NotApplicableError(f"{self.name} has no member that applies ({'; '.join(reasons)})")
        return max(tried, key=lambda attempt: attempt.separation).chosen

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why no member applies; ``None`` where one does."""
        found = [trouble(member, context, n_fit=n_fit // N_FOLDS) for member in self.members]
        if any(said is None for said in found):
            return None
        return f"{self.name} has no member that applies ({'; '.join(str(said) for said in found)})"


def portfolio(*custom: Attack) -> tuple[Attack, ...]:
    """Return the families mean, scale and tail, and one of the given attacks if there are any.

    Parameters
    ----------
    custom
        Attacks of your own; one of them is chosen like the members of the other families.
    """
    families: tuple[Attack, ...] = (MEAN, SCALE, TAIL)
    return (*families, Family(name="portfolio:custom", members=custom)) if custom else families


# Members that see what no other does, each asked only where that may be: they would cost time elsewhere.
MEAN = Family(
    name="portfolio:mean",
    members=(
        Shape(),
        KrylovLda(),
        Influence(),
        TargetLoss(),
        ULira(),
        LinearDiscriminant(),
        WhitenedLda(least_condition=100.0),
        UndoTraining(least_condition=100.0, trials_a_dimension=2.0),
        BlockLda(least_numbers=100_000),
    ),
)
# Below a trial a dimension quadratic discriminant analysis learns little, and takes most of the time.
SCALE = Family(name="portfolio:scale", members=(Radius(), Qda(trials_a_dimension=1.0), DensityRatio()))
# Outputs of a few models on many records: one number a record.
OUTPUTS = Family(
    name="portfolio:outputs",
    members=(BestColumn(), ColumnSum(), ColumnHits(), LinearDiscriminant()),
)
# A family of one: halves of the trials would be too few for a minority.
TAIL = Tail(name="portfolio:tail")


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A fitted family: the member that it chose, and what that member's fits made of one."""

    member: str
    fitted: FittedAttack

    def score(self, releases: Array) -> Array:
        """Return one score a release, shape (n,)."""
        return self.fitted.score(releases)


@dataclass(frozen=True, kw_only=True)
class FittedPart:
    """A fit on a part of the trials, and where its scores of other retrained models lie; a negative scale turns it."""

    fitted: FittedAttack
    centre: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class MeanScore:
    """The mean of several fits, each in units of its own scores of retrained models."""

    parts: tuple[FittedPart, ...]

    def score(self, releases: Array) -> Array:
        """Return the mean of the parts' scores, each in its own units, shape (n,)."""
        scores = [(part.fitted.score(releases) - part.centre) / part.scale for part in self.parts]
        return np.asarray(np.mean(scores, axis=0))


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    separation: float
    chosen: Chosen


def _try(
    member: Attack, halves: Sequence[tuple[Array, ...]], context: AttackContext, *, rng: np.random.Generator
) -> _Attempt:
    """Fit a member on each half and judge it on the other one."""
    parts, scores = [], []
    for fitting, held_out in (halves, halves[::-1]):
        fitted = member.fit(fitting[0], fitting[1], context, rng=rng)
        found = [np.asarray(fitted.score(trials), dtype=np.float64) for trials in held_out]
        if not all(np.all(np.isfinite(world)) for world in found):
            raise NotApplicableError(f"{member.name} gives scores that are NaN or infinite")
        part = FittedPart(fitted=fitted, centre=float(found[1].mean()), scale=float(found[1].std()) or 1.0)
        parts.append(part)
        scores.append([(world - part.centre) / part.scale for world in found])
    pooled = [np.concatenate(world) for world in zip(*scores, strict=True)]
    if pooled[0].mean() < pooled[1].mean():
        # Higher means "unlearned" for every member alike: fits of one family may choose different members, and their
        # scores share one threshold.
        parts = [replace(part, scale=-part.scale) for part in parts]
    return _Attempt(
        separation=separation(pooled[0], pooled[1]), chosen=Chosen(member=member.name, fitted=_as_one(tuple(parts)))
    )


def _as_one(parts: tuple[FittedPart, ...]) -> FittedAttack:
    """Return the mean of the parts; where all are linear or all quadratic, as one such function, which is faster."""
    n = len(parts)
    if all(isinstance(part.fitted, LinearScore) for part in parts):
        linear = [(part.fitted, part) for part in parts if isinstance(part.fitted, LinearScore)]
        return LinearScore(
            weights=np.sum([f.weights / (n * part.scale) for f, part in linear], axis=0),
            offset=sum((f.offset - part.centre) / (n * part.scale) for f, part in linear),
        )
    if all(isinstance(part.fitted, QuadraticScore) for part in parts):
        bent = [(part.fitted, part) for part in parts if isinstance(part.fitted, QuadraticScore)]
        return QuadraticScore(
            matrix=np.sum([f.matrix / (n * part.scale) for f, part in bent], axis=0),
            linear=np.sum([f.linear / (n * part.scale) for f, part in bent], axis=0),
            offset=sum((f.offset - part.centre) / (n * part.scale) for f, part in bent),
        )
    return MeanScore(parts=parts)
