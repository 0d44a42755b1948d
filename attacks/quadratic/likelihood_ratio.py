"""The most powerful attack when the law is known: the log likelihood ratio of the CLAIMED mechanism's laws.

It never sees a fault's law. Its evidence is counted on samples like any other attack's, so a wrong law costs power
and not validity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.fisher import RELATIVE_CUTOFF
from attacks.linear.score import project
from attacks.protocol import AttackContext, FittedAttack, Needs, failure
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access, GaussianLaw

Array = NDArray[np.float64]
# A variance difference below this share of the largest one is left out of the score, with the same effect.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, kw_only=True)
class LikelihoodRatio:
    """Score log dP/dQ of the claimed mechanism's two Gaussian laws; higher means the unlearned world.

    Needs both laws, of releases of shape (p, q) or of the models before and after, one above the other, and no trials.
    No attack is more powerful at any false-positive rate if the service samples from these laws.

    Notes
    -----
    Exact up to rounding on the directions that :func:`gaussian_log_ratio` keeps. If the service follows another law
    the attack loses power and the audit stays valid.

    References
    ----------
    Neyman, Pearson 1933, "On the problem of the most efficient tests of statistical hypotheses", Phil. Trans. R. Soc.
    A 231.
    """

    name: str = "likelihood_ratio"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.TRANSCRIPT), law=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack from the context's laws; the trials are not used.

        Raises
        ------
        NotApplicableError
            When the context has no laws, they do not have the release's shape, or no direction has variance in both.
        """
        if context.law_unlearned is None or context.law_retrained is None:
            raise NotApplicableError(
                "likelihood_ratio needs the law of the claimed mechanism, and this one states none; use lda instead"
            )
        shape, (rows, columns) = context.release.shape, context.law_unlearned.mean.shape
        stacked = context.release.access is Access.TRANSCRIPT and shape[-1] == columns and math.prod(shape[:-1]) == rows
        if shape != (rows, columns) and not stacked:
            raise NotApplicableError("likelihood_ratio needs a law of the same shape as the release")
        return gaussian_log_ratio(context.law_unlearned, context.law_retrained)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why the laws are of no use."""
        none = np.empty(0)
        return failure(lambda: self.fit(none, none, context, rng=np.random.default_rng(0)))


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianLogRatio:
    """Score = constant + <release, linear> + sum over columns of quadratic . (whiten release)^2.

    Parameters
    ----------
    whiten
        Shape (r, p).
    quadratic
        Shape (r,).
    linear
        Shape (p, q).
    constant
        Added to every score.
    """

    whiten: Array
    quadratic: Array
    linear: Array
    constant: float

    def score(self, releases: Array) -> Array:
        """Return log dP/dQ at each release of shape (n, ..., q), shape (n,)."""
        n, q = len(releases), releases.shape[-1]
        releases = releases.reshape(n, -1, q)
        p = releases.shape[1]
        y = releases.transpose(0, 2, 1).reshape(n * q, p) @ self.whiten.T
        np.square(y, out=y)
        squares: Array = (y @ self.quadratic).reshape(n, q).sum(axis=1)
        return squares + project(releases, self.linear) + self.constant


def gaussian_log_ratio(p: GaussianLaw, q: GaussianLaw) -> GaussianLogRatio:
    """Return a score that is log dP/dQ of two laws on the directions where both have variance; higher means P.

    Parameters
    ----------
    p, q
        The unlearned and the retrained world's law, both with a mean of shape (rows, columns) and a covariance of shape
        (rows, rows), which may be singular.

    Returns
    -------
    GaussianLogRatio
        Scores releases of shape (n, rows, columns), in nats.

    Raises
    ------
    NotApplicableError
        When no direction has positive variance in both laws.

    Notes
    -----
    Exact up to rounding on the directions kept. Left out are those with less than a share ``RELATIVE_CUTOFF`` of the
    largest variance, those in which one law has less than 1e-10 of the variance of both, and differences of precision
    below a share ``NEGLIGIBLE`` of the largest one: that loses power, never validity.

    References
    ----------
    As :class:`LikelihoodRatio`.
    """
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
    centre, shift = whiten @ q.mean, whiten @ (p.mean - q.mean)
    quadratic = (1 / var_q - 1 / var_p) / 2
    # Where both variances agree only the shift matters; those directions need no quadratic pass.
    quadratic[np.abs(quadratic) < NEGLIGIBLE * np.max(np.abs(quadratic))] = 0.0
    # With y = whiten w and d = y - centre, a column's log ratio is quadratic . d^2 + (shift / var_p) . d + constants;
    # expanded in y, so that scoring needs no centring pass.
    slope = shift / var_p[:, None] - 2 * quadratic[:, None] * centre
    constant = np.sum(quadratic[:, None] * centre**2 - shift / var_p[:, None] * (centre + shift / 2))
    bent = quadratic != 0
    return GaussianLogRatio(
        whiten=whiten[bent],
        quadratic=quadratic[bent],
        linear=whiten.T @ slope,
        constant=float(constant - p.mean.shape[1] / 2 * np.sum(np.log(var_p / var_q))),
    )
