"""Learned linear attack: Fisher's discriminant with Ledoit-Wolf shrinkage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.score import LinearScore
from attacks.linear.shrunk import ShrunkRows
from attacks.protocol import AttackContext, Needs
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
# Relative spreads below these are rounding (a constant column), and relative gaps above them are not.
CONSTANT, SEPARATE = 1e-14, 1e-12


@dataclass(frozen=True, kw_only=True)
class LinearDiscriminant:
    """Score Fisher's linear discriminant of the flattened release, learned from trials; higher means unlearned.

    Needs no law and no knowledge of the model, of releases of any kind, but trials: at least two a world, and with d
    numbers in a release and m trials a world it keeps at most about ``mu / sqrt(mu^2 + 2 d / m)`` of a signal mu
    (:func:`largest_shift_kept`).

    Notes
    -----
    With ever more trials the most powerful attack for two Gaussian laws of one covariance; blind to a difference of
    covariances. The pooled covariance is shrunk by scikit-learn's Ledoit-Wolf; where a release has more numbers than
    there are trials the same weights are found from the products of the trials, without that matrix
    (:class:`~attacks.linear.shrunk.ShrunkRows`). Columns that do not vary within either world decide alone where their
    means differ, and carry no weight else.

    References
    ----------
    Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7; Ledoit, Wolf 2004, "A
    well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Anal. 88.
    """

    name: str = "lda"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT), trials=2)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> LinearScore:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world.
        """
        if min(len(unlearned), len(retrained)) < 2:
            raise NotApplicableError("lda needs at least 2 fitting trials a world; raise trials or fit_fraction")
        means = [trials.reshape(len(trials), -1).mean(axis=0) for trials in (unlearned, retrained)]
        within = np.concatenate([t.reshape(len(t), -1) for t in (unlearned, retrained)])
        within[: len(unlearned)] -= means[0]
        within[len(unlearned) :] -= means[1]
        scale = within.std(axis=0)
        weights = np.zeros(len(scale))
        # A column that is constant within each world has no covariance: if its mean differs it decides alone.
        varying = scale > CONSTANT * np.maximum(np.abs(means[0]), np.abs(means[1]))
        gap = means[0] - means[1]
        separating = ~varying & (np.abs(gap) > SEPARATE * np.maximum(np.abs(means[0]), np.abs(means[1])))
        if np.any(separating):
            weights[separating] = 1 / gap[separating]
        elif np.any(varying):
            within = within[:, varying] if not np.all(varying) else within
            within /= scale[varying]
            weights[varying] = _solved(within, gap[varying] / scale[varying]) / scale[varying]
        return LinearScore(
            weights=weights.reshape(unlearned.shape[1:]), offset=-float(weights @ (means[0] + means[1])) / 2
        )


def _solved(within: Array, gap: Array) -> Array:
    """Return the inverse of the shrunk covariance of centred rows, times a vector."""
    if within.shape[1] > len(within):
        return ShrunkRows.of(within).solve(gap)
    from scipy.linalg import solve
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(within, assume_centered=True)
    return np.asarray(solve(covariance, gap, assume_a="pos"))


def largest_shift_kept(mu: float, *, n_parameters: int, n_fit: int) -> float:
    """Return about the largest shift that a learned linear score keeps of a shift mu.

    Parameters
    ----------
    mu
        Distance of the two worlds along the best direction, in standard deviations.
    n_parameters
        d: numbers in a release.
    n_fit
        m: fitting trials of each world.

    Returns
    -------
    float
        ``mu^2 / sqrt(mu^2 + 2 d / m)``: the noise of the two means, with the covariance known.

    Notes
    -----
    Approximate, and an upper guide: shrinkage reaches it where the noise is equal in all directions, and stays far
    below where the signal lies in directions of little noise. :func:`shift_kept` subtracts what a covariance costs
    that is learned from the same trials.
    """
    return mu * mu / math.sqrt(mu * mu + 2 * n_parameters / n_fit) if mu > 0 else 0.0


def shift_kept(mu: float, *, n_parameters: int, n_fit: int) -> float:
    """Return about the shift that Fisher's discriminant with the sample covariance keeps of a shift mu.

    Parameters
    ----------
    mu, n_parameters, n_fit
        As for :func:`largest_shift_kept`.

    Returns
    -------
    float
        ``mu^2 / sqrt(mu^2 + 2 d / m) sqrt(1 - d / (2 m))``; 0 where d >= 2 m, where the sample covariance is singular.

    Notes
    -----
    Approximate. Shrinkage, which :class:`LinearDiscriminant` uses, keeps something beyond d = 2 m too.
    """
    share = max(0.0, 1 - n_parameters / (2 * n_fit))
    return largest_shift_kept(mu, n_parameters=n_parameters, n_fit=n_fit) * math.sqrt(share)
