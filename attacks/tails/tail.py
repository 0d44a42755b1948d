"""Learned attack on a minority: a few unlearned models lie far out, and the others look like retrained ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.krylov import krylov_basis
from attacks.linear.score import project_on
from attacks.outputs.statistics import target_statistics
from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from mechanisms.dataset import Dataset
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
# Shares of the unlearned trials that a search for the minority starts from: those farthest out.
_STARTS = (0.01, 0.03, 0.1)
_STEPS = 40


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Score along the shift of a minority of the unlearned models; higher means the unlearned world.

    A deletion that is skipped with probability 5 % moves the mean of all models by a twentieth of what it moves those
    models. Directions of mean scores drown in noise then, and moderate thresholds show nothing; but the models that
    were not unlearned lie far out, together. Unlearned models are taken for a mixture of retrained ones and of a
    cluster, ``(1 - share) N(0, I) + share N(shift, I)`` in units of the retrained cloud, and the score is the
    cluster's log ratio up to a monotone map: the coordinate along the shift. The choice of events looks at extreme
    thresholds by itself; what this adds is a direction that is right for them. Coordinates are the seven of
    ``krylov_lda`` where the release is a linear model, the deleted record's outputs where it shows them and the records
    are matrices, else the one of ``lda``.

    Needs releases of any kind and ten trials a world, of which at least two should be of the minority; no law.

    Notes
    -----
    The mixture is fitted by EM from several starts. Where it holds and EM finds it, with ever more trials the most
    powerful attack on these coordinates. Scores are in standard deviations of retrained models.

    References
    ----------
    Dempster, Laird, Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39.
    """

    name: str = "tail"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=10)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than ten trials in a world, or when releases do not have the shape of the outputs that the
            context names.
        """
        require_trials(self.name, unlearned, retrained, least=10)
        view = _view(unlearned, retrained, context, rng=rng)
        p, q = view.of(unlearned), view.of(retrained)
        centre = q.mean(axis=0)
        # Principal axes of the retrained cloud, each in its own standard deviations.
        _, singular, axes = np.linalg.svd(q - centre, full_matrices=False)
        kept = singular > 1e-10 * max(float(singular.max(initial=0.0)), float(np.abs(q).max(initial=0.0)))
        whiten = axes[kept] * (np.sqrt(len(q) - 1) / singular[kept])[:, None]
        shift = minority_shift((p - centre) @ whiten.T)
        # Of length 1, so that scores are in standard deviations of retrained models whatever the fit.
        direction = (shift / (float(np.linalg.norm(shift)) or 1.0)) @ whiten
        return AlongShift(view=view, direction=direction, offset=-float(direction @ centre))


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The coordinates of a release that the attack looks at: along directions, or the deleted record's outputs."""

    directions: Array | None
    context: AttackContext

    def of(self, releases: Array) -> Array:
        """Return the coordinates of releases, shape (n, r)."""
        if self.directions is None:
            return target_statistics(releases, self.context, "tail")
        return project_on(releases, self.directions)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlongShift:
    """A fitted :class:`Tail`: the coordinate along the shift of the minority."""

    view: View
    direction: Array
    offset: float

    def score(self, releases: Array) -> Array:
        """Return the coordinate along the shift, shape (n,)."""
        return np.asarray(self.view.of(releases) @ self.direction + self.offset)


def _view(unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator) -> View:
    if context.probe is not None and isinstance(context.deleted, Dataset):
        return View(directions=None, context=context)
    try:
        directions = krylov_basis(context, "tail")
    except NotApplicableError:
        fitted = LinearDiscriminant().fit(unlearned, retrained, context, rng=rng)
        directions = fitted.weights[None]
    return View(directions=directions, context=context)


def minority_shift(points: Array) -> Array:
    """Return the centre of a cluster among points that are standard normal otherwise, shape (r,).

    Parameters
    ----------
    points
        Shape (n, r).
    """
    far = np.argsort(-np.einsum("ij,ij->i", points, points))
    starts = [(points[far[: max(2, int(part * len(points)))]].mean(axis=0), part) for part in _STARTS]
    found = [_climb(points, shift, share) for shift, share in [*starts, (points.mean(axis=0), 0.5)]]
    return max(found, key=lambda pair: pair[0])[1]


def _climb(points: Array, shift: Array, share: float) -> tuple[float, Array]:
    """Return the log likelihood that EM reaches, up to a constant, and the shift there."""
    value = -np.inf
    for _ in range(_STEPS):
        ratio = np.log(share) - np.log1p(-share) + points @ shift - shift @ shift / 2
        value = float(np.sum(np.logaddexp(0.0, ratio) + np.log1p(-share)))
        of_cluster = expit(ratio)
        total = float(of_cluster.sum())
        # A cluster of less than two points is no cluster.
        if total < 2:
            break
        shift = of_cluster @ points / total
        share = min(total / len(points), 1 - 1e-9)
    return value, shift
