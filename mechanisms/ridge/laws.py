"""Closed-form laws of a ridge deletion: every world is exactly Gaussian (columns independent, one covariance).

Shares no code with ``stepwise``. Powers and geometric sums use the eigenvalues of A = I - step_size * H taken from
the singular values of X (an eigendecomposition of H loses small eigenvalues), and log|a| with expm1, because
eigenvalues within 1e-9 of 1, equal to 0, and below 0 all occur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.protocol import GaussianLaw, World
from mechanisms.ridge.process import RidgeProcess

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepMap:
    """The affine map of one noiseless step on a data set, in the eigenbasis of its curvature.

    Parameters
    ----------
    basis
        Orthonormal eigenvectors as columns, shape (p, p).
    contraction
        Eigenvalues a = 1 - step_size (s^2 + penalty) of A, shape (p,).
    optimum
        The fixed point W*, shape (p, q).
    """

    basis: Array
    contraction: Array
    optimum: Array

    @staticmethod
    def of(data: Dataset, *, penalty: float, step_size: float) -> StepMap:
        """Return the step map of a data set."""
        left, singular, right = np.linalg.svd(data.features, full_matrices=False)
        p = data.features.shape[1]
        if len(singular) < p:
            # Fewer records than features: complete the basis with directions that the data do not see.
            right = np.linalg.svd(data.features, full_matrices=True)[2]
        squared = np.zeros(p)
        squared[: len(singular)] = singular**2
        projected = np.zeros((p, data.targets.shape[1]))
        projected[: len(singular)] = singular[:, None] * (left.T @ data.targets)
        return StepMap(
            basis=right.T,
            contraction=1 - step_size * (squared + penalty),
            optimum=right.T @ (projected / (squared + penalty)[:, None]),
        )

    def power(self, n: int) -> Array:
        """Return the eigenvalues of A^n."""
        return signed_power(self.contraction, n)

    def noise(self, n: int) -> Array:
        """Return the eigenvalues of the sum of A^(2k) over k < n."""
        return geometric_sum(self.contraction, n)


def signed_power(a: Array, n: int | NDArray[np.int64]) -> Array:
    """Return a^n for integer n >= 0, accurate for |a| within 1e-9 of 1 and underflowing quietly."""
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        magnitude = np.exp(n * np.log(np.abs(a)))
    magnitude = np.where(np.asarray(n) == 0, 1.0, np.where(a == 0, 0.0, magnitude))
    return np.where((a < 0) & (np.asarray(n) % 2 == 1), -magnitude, magnitude)


def geometric_sum(a: Array, n: int | NDArray[np.int64]) -> Array:
    """Return the sum of a^(2k) over 0 <= k < n."""
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        log_square = 2 * np.log(np.abs(a))
        ratio = np.expm1(n * log_square) / np.expm1(log_square)
    ratio = np.where(log_square == 0, np.asarray(n, dtype=np.float64), ratio)
    return np.where(np.asarray(n) == 0, 0.0, np.where(a == 0, 1.0, ratio))


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeLaws:
    """All laws of one process; build it with :meth:`of`. Changing ``sigma_unlearn`` reuses the decompositions."""

    full: StepMap
    retained: StepMap
    n_learn: int
    n_unlearn: int
    sigma_learn: float
    sigma_unlearn: float
    reference: Reference

    @staticmethod
    def of(process: RidgeProcess) -> RidgeLaws:
        """Return the laws of a process."""
        return RidgeLaws(
            full=StepMap.of(process.data, penalty=process.penalty, step_size=process.step_size),
            retained=StepMap.of(process.retained, penalty=process.penalty, step_size=process.step_size),
            n_learn=process.n_learn,
            n_unlearn=process.n_unlearn,
            sigma_learn=process.sigma_learn,
            sigma_unlearn=process.sigma_unlearn,
            reference=process.reference,
        )

    def with_noise(self, sigma_unlearn: float) -> RidgeLaws:
        """Return the same laws with another unlearning noise."""
        return replace(self, sigma_unlearn=sigma_unlearn)

    def with_reference(self, reference: Reference) -> RidgeLaws:
        """Return the same laws with another reference world."""
        return replace(self, reference=reference)

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a release in a world."""
        if world is World.RETRAINED:
            learned = self.learned(World.RETRAINED)
            return learned if self.reference is Reference.RETRAIN_ONLY else self._unlearn(learned, self.retained)
        learned = self.learned(World.UNLEARNED)
        return self._unlearn(learned, self.full if world is World.NEGLECTED else self.retained)

    def learned(self, world: World) -> GaussianLaw:
        """Return the law of the model before any unlearning step: A(D), or A(D minus S) for ``RETRAINED``."""
        step = self.retained if world is World.RETRAINED else self.full
        shrink = step.power(self.n_learn)[:, None] * (step.basis.T @ step.optimum)
        variance = self.sigma_learn**2 * step.noise(self.n_learn)
        return GaussianLaw(
            mean=step.optimum - step.basis @ shrink,
            covariance=_symmetric((step.basis * variance) @ step.basis.T),
        )

    def _unlearn(self, start: GaussianLaw, step: StepMap) -> GaussianLaw:
        power = step.power(self.n_unlearn)
        mean = step.optimum + step.basis @ (power[:, None] * (step.basis.T @ (start.mean - step.optimum)))
        rotated = step.basis.T @ start.covariance @ step.basis
        covariance = power[:, None] * rotated * power[None, :]
        covariance[np.diag_indices_from(covariance)] += self.sigma_unlearn**2 * step.noise(self.n_unlearn)
        return GaussianLaw(mean=mean, covariance=_symmetric(step.basis @ covariance @ step.basis.T))


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ClosedFormSampler:
    """Draws releases from Gaussian laws in one go; ``factors`` are matrices F with F F' = covariance."""

    means: dict[World, Array]
    factors: dict[World, Array]

    @staticmethod
    def of(laws: RidgeLaws) -> ClosedFormSampler:
        """Return the sampler of the laws of all worlds."""
        all_laws = {world: laws.law(world) for world in World}
        return ClosedFormSampler(
            means={world: law.mean for world, law in all_laws.items()},
            factors={world: _factor(law.covariance) for world, law in all_laws.items()},
        )

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases, shape (n, p, q)."""
        mean, factor = self.means[world], self.factors[world]
        p, q = mean.shape
        releases = (rng.standard_normal((n * q, p)) @ factor.T).reshape(n, q, p)
        releases += mean.T
        return releases.transpose(0, 2, 1)


def _factor(covariance: Array) -> Array:
    """Return the symmetric F with F F' = covariance, which may be singular.

    Eigenvectors differ in sign and order from one machine's linear algebra to another's; this root does not, so that a
    seed draws the same releases everywhere, up to rounding.
    """
    values, vectors = np.linalg.eigh(covariance)
    factor: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return factor
