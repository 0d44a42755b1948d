"""Noisy gradient descent in phases whose every setting a fault can edit, and the exact law of such a run.

The sampler simulates each step from gradients; the law composes the affine maps of the same steps. Neither uses the
laws or the sampler of ``mechanisms.ridge``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.protocol import GaussianLaw

Array = NDArray[np.float64]
Noise = Literal["fresh", "repeated", "fixed"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """Noisy gradient steps on ``1/2 |XW - Y|^2 + (penalty/2) |W|^2``.

    Parameters
    ----------
    features, targets
        X of shape (n, p) and Y of shape (n, q).
    penalty, step_size, n_steps
        Of the objective and the descent; a negative step size is ascent.
    scale
        Standard deviation of the noise that each step adds to each coordinate, shape (p,).
    noise
        "fresh" at each step, "repeated" (one vector for all steps of a run), or "fixed" (the same for every run).
    momentum
        Share of the last step that is taken again; the first one is that of the phase before.
    clip
        Noise beyond this many standard deviations is cut off to it.
    watched
        Records (X, Y) on which the loss is watched: the iterate with the smallest one is kept.
    """

    features: Array
    targets: Array
    penalty: float
    step_size: float
    n_steps: int
    scale: Array
    noise: Noise = "fresh"
    momentum: float = 0.0
    clip: float | None = None
    watched: tuple[Array, Array] | None = None

    @property
    def curvature(self) -> Array:
        """X'X + penalty I, shape (p, p)."""
        return self.features.T @ self.features + self.penalty * np.eye(self.features.shape[1])

    @property
    def moment(self) -> Array:
        """X'Y, shape (p, q)."""
        return self.features.T @ self.targets

    @property
    def is_affine(self) -> bool:
        """Whether a run is an affine map of Gaussian noise."""
        return self.clip is None and self.watched is None

    def fixed_noise(self) -> Array:
        """Return the noise of a generator that is seeded anew for every run, shape (n_steps, q, p)."""
        shape = (self.n_steps, self.targets.shape[1], self.features.shape[1])
        return np.random.default_rng(0).standard_normal(shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Phases one after the other, from weights 0."""

    phases: tuple[Phase, ...]

    def sample(self, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent final weights, shape (n, p, q)."""
        p, q = self.phases[0].moment.shape
        weights, velocity = np.zeros((2, n, q, p))
        for phase in self.phases:
            weights, velocity = _descend(phase, weights, velocity, rng)
        return weights.transpose(0, 2, 1)

    def law(self) -> GaussianLaw | None:
        """Return the exact law of the final weights; ``None`` where a phase is not affine."""
        if not all(phase.is_affine for phase in self.phases):
            return None
        p, q = self.phases[0].moment.shape
        mean, covariance = np.zeros((2 * p, q)), np.zeros((2 * p, 2 * p))
        for phase in self.phases:
            mean, covariance = _composed(phase, mean, covariance)
        return GaussianLaw(mean=mean[:p], covariance=(covariance + covariance.T)[:p, :p] / 2)


def _descend(phase: Phase, weights: Array, velocity: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return weights and the last step after a phase; arrays of shape (n, q, p)."""
    curvature, pull = phase.step_size * phase.curvature, phase.step_size * phase.moment.T
    fixed = phase.fixed_noise() if phase.noise == "fixed" else None
    z = rng.standard_normal(weights.shape) if phase.noise == "repeated" else np.zeros(1)
    best, lowest = weights, np.full(len(weights), np.inf)
    for k in range(phase.n_steps):
        if phase.noise == "fresh":
            z = rng.standard_normal(weights.shape)
        elif fixed is not None:
            z = fixed[k]
        if phase.clip is not None:
            z = np.clip(z, -phase.clip, phase.clip)
        velocity = phase.momentum * velocity - weights @ curvature + pull + phase.scale * z
        weights = weights + velocity
        if phase.watched is not None:
            x, y = phase.watched
            loss = np.square(weights @ x.T - y.T).sum(axis=(1, 2))
            better = loss < lowest
            best, lowest = np.where(better[:, None, None], weights, best), np.where(better, loss, lowest)
    return weights if phase.watched is None else best, velocity


def _composed(phase: Phase, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """Return mean and covariance of (weights, last step) after a phase, stacked, shapes (2p, q) and (2p, 2p)."""
    p = len(phase.scale)
    identity, zero = np.eye(p), np.zeros((p, p))
    gradient, memory = phase.step_size * phase.curvature, phase.momentum * identity
    step = np.block([[identity - gradient, memory], [-gradient, memory]])
    offset = phase.step_size * np.vstack([phase.moment, phase.moment])
    inject = np.vstack([np.diag(phase.scale), np.diag(phase.scale)])
    fixed = phase.fixed_noise() if phase.noise == "fixed" else None
    # What one noise vector that all steps share has become.
    shared = np.vstack([zero, zero])
    for k in range(phase.n_steps):
        mean = step @ mean + offset + (0.0 if fixed is None else inject @ fixed[k].T)
        covariance = step @ covariance @ step.T
        if phase.noise == "fresh":
            covariance += inject @ inject.T
        elif phase.noise == "repeated":
            shared = step @ shared + inject
    return mean, covariance + shared @ shared.T
