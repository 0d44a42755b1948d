"""A small network that learns by clipped, noisy descent, many runs at once, with every setting open to a fault.

Written with numpy and from the formulas of the gradients, sharing no code with ``mechanisms.networks``: the self-test
needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mechanisms.protocol import GaussianLaw, World

Array = NDArray[np.float64]
Radius = Literal["fixed", "none", "model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkPhase:
    """Noisy steps ``weights -= step_size / divisor * sum of clipped gradients + sigma Z``.

    Parameters
    ----------
    features, targets
        X of shape (n, p) and one-hot Y of shape (n, q).
    n_steps, step_size, divisor, clip_norm, sigma
        Of the descent.
    budgets
        Of each record, in squared lengths of clipped gradients, shape (n,); ``None``: all take part in every step.
    late
        The filter looks at what was spent before a step, not with it.
    by_active
        Sums are divided by the number of records that take part.
    radius
        "fixed", "none" (nothing is clipped), or "model" (the length of the weights).
    reused
        One noise vector for all steps of a run.
    dropout
        Share of the hidden units that each step leaves out.
    """

    features: Array
    targets: Array
    n_steps: int
    step_size: float
    divisor: int
    clip_norm: float
    sigma: float
    budgets: Array | None = None
    late: bool = False
    by_active: bool = False
    radius: Radius = "fixed"
    reused: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkRun:
    """Phases one after the other, from public weights: before the hidden layer (p, h), after it (h + 1, q)."""

    phases: tuple[NetworkPhase, ...]
    start: tuple[Array, Array]

    def sample(self, n: int, *, rng: np.random.Generator) -> Array:
        """Return the final weights of n independent runs, shape (n, weights, 1)."""
        first, second = (np.broadcast_to(part, (n, *part.shape)) for part in self.start)
        for phase in self.phases:
            first, second = _descend(phase, first, second, rng)
        return np.concatenate([first.reshape(n, -1), second.reshape(n, -1)], axis=1)[:, :, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkService:
    """What a service runs in each world: a phase that learns, and one that unlearns."""

    unlearned: NetworkRun
    retrained: NetworkRun
    neglected: NetworkRun

    def deleting(self, **changes: Any) -> NetworkService:
        """Return the service with its unlearning steps edited where a deletion is requested."""
        return replace(self, unlearned=_edited(self.unlearned, -1, changes))

    def learning(self, **changes: Any) -> NetworkService:
        """Return the service with its learning edited, in every world."""
        return NetworkService(
            unlearned=_edited(self.unlearned, 0, changes),
            retrained=_edited(self.retrained, 0, changes),
            neglected=_edited(self.neglected, 0, changes),
        )

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of a world, shape (n, weights, 1)."""
        runs = {World.UNLEARNED: self.unlearned, World.RETRAINED: self.retrained, World.NEGLECTED: self.neglected}
        return runs[world].sample(n, rng=rng)

    def laws(self) -> tuple[GaussianLaw, GaussianLaw] | None:
        """Return ``None``: weights are not Gaussian."""
        return None

    def oracle(self, releases: Array) -> Array | None:
        """Return ``None``: densities are not known."""
        return None


def _edited(run: NetworkRun, place: int, changes: Mapping[str, Any]) -> NetworkRun:
    phases = list(run.phases)
    phases[place] = replace(phases[place], **changes)
    return replace(run, phases=tuple(phases))


def gradients(first: Array, second: Array, x: Array, y: Array, kept: Array | float = 1.0) -> tuple[Array, Array, Array]:
    """Return for each run and record what goes into a layer and what comes back, and the squared length.

    ``first`` (n, p, h) and ``second`` (n, h + 1, q); hidden units (n, records, h), derivatives by logits
    (n, records, q) and by hidden inputs (n, records, h) are put side by side; lengths have shape (n, records).
    """
    inputs = np.matmul(x, first)
    hidden = np.maximum(inputs, 0) * kept
    by_logits = softmax(np.matmul(hidden, second[:, :-1]) + second[:, -1:], axis=2) - y
    by_hidden = np.matmul(by_logits, second[:, :-1].transpose(0, 2, 1)) * ((inputs > 0) * kept)
    squared = (np.square(hidden).sum(2) + 1) * np.square(by_logits).sum(2)
    squared += np.square(x).sum(1) * np.square(by_hidden).sum(2)
    return (
        np.concatenate([hidden, np.ones_like(hidden[:, :, :1])], axis=2),
        np.concatenate([by_logits, by_hidden], axis=2),
        squared,
    )


def _descend(phase: NetworkPhase, first: Array, second: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    n, q = len(first), phase.targets.shape[1]
    spent = np.zeros((n, len(phase.features)))
    noise = [rng.standard_normal(part.shape) for part in (first, second)]
    for step in range(phase.n_steps):
        if step and not phase.reused:
            noise = [rng.standard_normal(part.shape) for part in (first, second)]
        kept: Array | float = 1.0
        if phase.dropout:
            units = (n, 1, first.shape[2])
            kept = (rng.random(units) >= phase.dropout) / (1 - phase.dropout)
        forward, backward, squared = gradients(first, second, phase.features, phase.targets, kept)
        radius: Array | float = phase.clip_norm
        if phase.radius == "model":
            radius = np.sqrt(np.square(first).sum((1, 2)) + np.square(second).sum((1, 2)))[:, None]
        lengths = np.sqrt(np.maximum(squared, 1e-300))
        factors = np.ones_like(lengths) if phase.radius == "none" else np.minimum(1.0, radius / lengths)
        divisor: Array | float = phase.divisor
        if phase.budgets is not None:
            before, spent = spent, spent + squared * factors**2
            active = (before if phase.late else spent) <= phase.budgets
            factors = factors * active
            if phase.by_active:
                divisor = np.maximum(active.sum(1), 1)[:, None, None]
        backward = backward * factors[:, :, None]
        pull = phase.step_size / divisor
        first = first - pull * np.matmul(phase.features.T, backward[:, :, q:]) + phase.sigma * noise[0]
        second = second - pull * np.matmul(forward.transpose(0, 2, 1), backward[:, :, :q]) + phase.sigma * noise[1]
    return first, second
