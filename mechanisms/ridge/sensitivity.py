"""The published per-instance route: gradient sensitivities with high probability, then shifted interpolation.

Source: Benarroch, Atif, Cappe 2026 (arXiv:2602.15602), with the privacy amplification of Bok, Su, Altschuler 2024
(arXiv:2403.00278). The proof conditions on an event that depends on the very noise that it then uses, which is not
justified as written: every certificate of this route carries that sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, ncx2

from mechanisms.accounting import gdp
from mechanisms.accounting.shifted_interpolation import gaussian_dp_mu
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, PrivacyProfile
from mechanisms.ridge.laws import StepMap, geometric_sum, signed_power
from mechanisms.ridge.process import RidgeProcess

Array = NDArray[np.float64]
PROOF_GAP = (
    "Proof gap: the published argument conditions on a good event that depends on the noise it then uses; "
    "audit this claim, do not rely on it."
)
# Shares of delta that are tried for the sensitivity event; the remainder pays for the mechanism.
DELTA_SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5)
# scipy's quantile of the noncentral chi-square becomes too small far above this noncentrality.
MAX_NONCENTRALITY = 1e9
# Rows of the certificate's table, in units of the headline epsilon.
PROFILE_GRID = np.concatenate([np.linspace(0.0, 2.0, 41), np.linspace(2.25, 4.0, 8)])


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedRoute:
    """Per-step sensitivities of one deletion for each share of delta; the unlearning noise is still free.

    Parameters
    ----------
    delta
        Total delta of the certificate.
    gaps
        For each share of ``DELTA_SHARES``, bounds on the gap between the two chains' maps at each of the T
        learning steps, shape (len(DELTA_SHARES), T); the gap is 0 while unlearning.
    """

    process: RidgeProcess
    delta: float
    contraction: float
    gaps: Array

    @staticmethod
    def of(process: RidgeProcess, step: StepMap, *, delta: float) -> PublishedRoute:
        """Return the route for a process; ``step`` is the noiseless step map on the full data."""
        shrink, largest = 1 - process.step_size * process.penalty, float(np.max(np.abs(step.contraction)))
        return PublishedRoute(
            process=process,
            delta=delta,
            # 1 - eta lambda for every eta <= 2 / (L + lambda); above that the other end of the spectrum binds.
            contraction=max(shrink, largest),
            gaps=np.array([_gaps(process, step, share * delta) for share in DELTA_SHARES]),
        )

    def _mu(self, share_index: int, sigma_unlearn: float) -> float:
        process = self.process
        return gaussian_dp_mu(
            contraction=self.contraction,
            gaps=np.concatenate([self.gaps[share_index], np.zeros(process.n_unlearn)]),
            noises=np.repeat([process.sigma_learn, sigma_unlearn], [process.n_learn, process.n_unlearn]),
        )

    def epsilon(self, sigma_unlearn: float) -> float:
        """Return the published epsilon at ``delta`` for an unlearning noise, minimised over the split of delta."""
        return self._best(sigma_unlearn)[0]

    def _best(self, sigma_unlearn: float) -> tuple[float, float, float]:
        """Return (epsilon, mu, delta_s) of the best split."""
        candidates = []
        for i, share in enumerate(DELTA_SHARES):
            mu = self._mu(i, sigma_unlearn)
            candidates.append((float(gdp.epsilon(mu, (1 - share) * self.delta)), mu, share * self.delta))
        return min(candidates)

    def certificate(self, sigma_unlearn: float, *, epsilon_without_unlearning: float) -> Certificate:
        """Return the published certificate at a noise: a table with the sensitivity's delta in every row."""
        epsilon, mu, delta_s = self._best(sigma_unlearn)
        if np.isfinite(epsilon) and mu > 0:
            epsilons = np.unique(epsilon * PROFILE_GRID) if epsilon > 0 else np.array([0.0])
            deltas = np.minimum(delta_s + gdp.delta(mu, epsilons), 1.0)
        else:
            epsilons, deltas = np.array([0.0]), np.array([delta_s if mu == 0 else 1.0])
        # Rounded up by more than the error of the GDP formula; the headline row keeps delta exactly.
        log_deltas = np.minimum(np.log(np.maximum(deltas, 1e-300)) + 1e-9, 0.0)
        row = tuple(float(v) for v in np.minimum.accumulate(log_deltas))
        guarantee = PrivacyProfile(
            epsilons=tuple(float(e) for e in epsilons), log_deltas=dict.fromkeys(BOTH_DIRECTIONS, row)
        )
        claim = Claim(
            guarantee=guarantee,
            reference=self.process.reference,
            provenance="published",
            assumptions=(
                PROOF_GAP,
                f"Gradient sensitivities hold except with probability {delta_s:.2g}, which is part of every delta.",
                "The last iterate alone is released.",
            ),
        )
        return Certificate(
            claim=claim,
            method="published",
            epsilon=epsilon,
            delta=self.delta,
            numerical_error=1e-9,
            epsilon_without_unlearning=epsilon_without_unlearning,
        )


def _gaps(process: RidgeProcess, step: StepMap, delta_s: float) -> Array:
    """Return s_k for k = 1..T: with probability 1 - delta_s no deleted gradient moves a step further.

    Each of the forget set's m records at each of the T - 1 random steps gets delta_s / (m (T - 1)).
    """
    total = np.zeros(process.n_learn)
    n_events = max(1, process.deleted.n_records * (process.n_learn - 1))
    for x, y in zip(process.deleted.features, process.deleted.targets, strict=True):
        total += process.step_size * np.linalg.norm(x) * _residual_norms(process, step, x, y, delta_s / n_events)
    return total


def _residual_norms(process: RidgeProcess, step: StepMap, x: Array, y: Array, tail: float) -> Array:
    """Return quantiles of |x'W_k - y| for k = 0..T-1: each is exceeded with probability at most ``tail``."""
    iterates = np.arange(process.n_learn)[:, None]
    projected = step.basis.T @ x
    target = step.basis.T @ step.optimum
    # W_0 = 0, so x'm_k = x'W* - sum_j projected_j a_j^k target_j; the first residual is deterministic.
    mean = x @ step.optimum - signed_power(step.contraction, iterates) @ (projected[:, None] * target)
    variance = process.sigma_learn**2 * (geometric_sum(step.contraction, iterates) @ projected**2)
    distance: Array = np.asarray(np.linalg.norm(mean - y, axis=1))
    norms: Array = distance.copy()
    random = variance > 0
    norms[random] = _quantile(distance[random], variance[random], len(y), tail)
    return norms


def _quantile(distance: Array, variance: Array, q: int, tail: float) -> Array:
    """Return the upper quantile of |r| for r ~ N(r0, variance I_q) with |r0| = distance."""
    noncentrality = distance**2 / variance
    exact = noncentrality <= MAX_NONCENTRALITY
    # The triangle inequality |r| <= |r0| + |noise| is safe where the exact quantile is not available.
    result: Array = distance + np.sqrt(variance * chi2.isf(tail, q))
    result[exact] = np.sqrt(variance[exact] * ncx2.isf(tail, q, noncentrality[exact]))
    return result
