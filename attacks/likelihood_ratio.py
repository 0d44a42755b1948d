"""The most powerful attack when the law is known: the log likelihood ratio of the CLAIMED mechanism's laws.

It never sees a fault's law. Its evidence is counted on samples like any other attack's, so a wrong law costs power
and not validity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext, FittedAttack, Needs
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import GaussianLaw

Array = NDArray[np.float64]
# Directions whose variance is below this share of the largest are left out: that loses power, never validity.
RELATIVE_CUTOFF = 1e-13


@dataclass(frozen=True, kw_only=True)
class LikelihoodRatio:
    """log dP/dQ of two Gaussian laws (Neyman and Pearson 1933)."""

    name: str = "likelihood_ratio"
    needs: Needs = Needs(law=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack from the context's laws; the trials are not used.

        Raises
        ------
        NotApplicableError
            When the context has no laws, or they do not have the release's shape.
        """
        if context.law_unlearned is None or context.law_retrained is None:
            raise NotApplicableError(
                "likelihood_ratio needs the law of the claimed mechanism, and this one states none; use lda instead"
            )
        if context.law_unlearned.mean.shape != context.release.shape:
            raise NotApplicableError("likelihood_ratio needs a law of the same shape as the release")
        return gaussian_log_ratio(context.law_unlearned, context.law_retrained)


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianLogRatio:
    """Score = constant + sum over columns of [quadratic . y^2 + linear . y] with y = whiten (release - centre)."""

    whiten: Array
    centre: Array
    quadratic: Array
    linear: Array
    constant: float

    def score(self, releases: Array) -> Array:
        """Return log dP/dQ at each release of shape (n, p, q), shape (n,)."""
        n, p, q = releases.shape
        rows = releases.transpose(0, 2, 1).reshape(n * q, p)
        y = rows @ self.whiten.T - np.tile((self.whiten @ self.centre).T, (n, 1))
        linear = y.reshape(n, -1) @ self.linear.T.reshape(-1)
        np.square(y, out=y)
        scores: Array = (y @ self.quadratic).reshape(n, q).sum(axis=1) + linear + self.constant
        return scores


def gaussian_log_ratio(p: GaussianLaw, q: GaussianLaw) -> GaussianLogRatio:
    """Return the log likelihood ratio of two laws on the directions where both have variance."""
    # Whiten by the sum of the two: it dominates both, so no direction is amplified without bound.
    values, vectors = np.linalg.eigh(p.covariance + q.covariance)
    kept = values > RELATIVE_CUTOFF * values[-1]
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T
    # In these coordinates the covariances are diag(share) and diag(1 - share).
    share, rotation = np.linalg.eigh(whiten @ p.covariance @ whiten.T)
    inside = (share > 1e-10) & (share < 1 - 1e-10)
    if not np.any(inside):
        raise NotApplicableError("likelihood_ratio needs noise: the laws share no direction with positive variance")
    var_p, var_q = share[inside], 1 - share[inside]
    whiten = rotation[:, inside].T @ whiten
    shift = whiten @ (p.mean - q.mean)
    n_columns = p.mean.shape[1]
    return GaussianLogRatio(
        whiten=whiten,
        centre=q.mean,
        quadratic=(1 / var_q - 1 / var_p) / 2,
        linear=shift / var_p[:, None],
        constant=float(-n_columns / 2 * np.sum(np.log(var_p / var_q)) - np.sum(shift**2 / (2 * var_p[:, None]))),
    )
