"""What is known of two models, before and after a deletion, of ridge regression: which of two records was deleted.

"The record was never there" needs nothing of this: its epsilon is that without unlearning. "Which of two" does: both
worlds learn from all records, and the unlearning differs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.errors import require
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.laws import RidgeLaws
from mechanisms.ridge.process import RidgeProcess


def both_models_law(process: RidgeProcess, world: World = World.UNLEARNED) -> GaussianLaw:
    """Return the law of the model before and the one after unlearning, one above the other, shape (2p, q)."""
    return law_of_both(RidgeLaws.of(process), world)


def law_of_both(laws: RidgeLaws, world: World) -> GaussianLaw:
    """Return what :func:`both_models_law` does, of laws that are there already.

    Notes
    -----
    With A' the step map of the retained records the two have the cross-covariance ``Sigma_T A'^K``.
    """
    before, after = laws.learned(world), laws.law(world)
    step = laws.full if world is World.NEGLECTED else laws.retained
    power = (step.basis * step.power(laws.n_unlearn)) @ step.basis.T
    cross = before.covariance @ power
    return GaussianLaw(
        mean=np.vstack([before.mean, after.mean]),
        covariance=np.block([[before.covariance, cross], [cross.T, after.covariance]]),
    )


def which_of_two(first: RidgeProcess, second: RidgeProcess, *, both_models: bool = True) -> GaussianPair:
    """Return the pair of worlds in which one set or another was deleted, for an observer of both models or of the last.

    Parameters
    ----------
    first, second
        Two deletions from the same data with the same settings, each with its noise.
    both_models
        Whether the model before the deletion is seen too.

    Raises
    ------
    InvalidInputError
        When the two differ in more than what is deleted.

    Notes
    -----
    Exact up to the rounding of p x p laws.
    """
    alike = ("penalty", "step_size", "n_learn", "n_unlearn", "sigma_learn")
    same = all(getattr(first, name) == getattr(second, name) for name in alike)
    same = same and first.data.sha256() == second.data.sha256()
    require(
        same, "second", expected="of the same data and settings as first", got="another process", fix="bind both alike"
    )
    if both_models:
        return GaussianPair.from_laws(both_models_law(first), both_models_law(second))
    laws = [RidgeLaws.of(replace(process)).law(World.UNLEARNED) for process in (first, second)]
    return GaussianPair.from_laws(laws[0], laws[1])
