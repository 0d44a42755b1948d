"""The linear part of the claimed mechanism's likelihood ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.score import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs, failure
from mechanisms.errors import NotApplicableError

Array = NDArray[np.float64]
# Directions whose variance is below this share of the largest are left out: that loses power, never validity.
RELATIVE_CUTOFF = 1e-13


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """Score <release, S^-1 m> of the claimed laws; higher means the unlearned world.

    m is the unlearned mean less the retrained one, and S the mean of the two covariances. Needs white-box releases of
    shape (p, q) and both laws, and no trials.

    Notes
    -----
    The most powerful attack for one covariance in both worlds, and blind to a difference of covariances: what it finds
    is a fault of the mean. Directions with less than a share 1e-13 of the largest variance are left out, which loses
    power, never validity.

    References
    ----------
    Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7.
    """

    name: str = "fisher"
    needs: Needs = Needs(law=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack from the context's laws; the trials are not used.

        Raises
        ------
        NotApplicableError
            When the context has no laws, they do not have the release's shape, or they have no variance.
        """
        p, q = context.law_unlearned, context.law_retrained
        if p is None or q is None:
            raise NotApplicableError(
                "fisher needs the law of the claimed mechanism, and this one states none; use krylov_lda or lda instead"
            )
        if p.mean.shape != context.release.shape:
            raise NotApplicableError("fisher needs a law of the same shape as the release; use lda instead")
        values, vectors = np.linalg.eigh((p.covariance + q.covariance) / 2)
        kept = values > RELATIVE_CUTOFF * values[-1]
        if not values[-1] > 0:
            raise NotApplicableError("fisher needs noise: the claimed laws have no variance; use lda instead")
        whitened = (vectors[:, kept].T @ (p.mean - q.mean)) / values[kept, None]
        weights = vectors[:, kept] @ whitened
        return LinearScore(weights=weights, offset=-float(np.sum(weights * (p.mean + q.mean))) / 2)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why the laws are of no use."""
        none = np.empty(0)
        return failure(lambda: self.fit(none, none, context, rng=np.random.default_rng(0)))
