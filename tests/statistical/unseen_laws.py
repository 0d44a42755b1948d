"""Pairs of laws that one attack of the portfolio sees and no other does, each with its exact log ratio.

Also ``benchmarks/portfolio.py`` uses these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from attacks.protocol import AttackContext
from audit.given.rows import no_context
from mechanisms.dataset import from_arrays
from mechanisms.protocol import ReleaseSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """Two laws of a release: ``sample(unlearned, n, rng)`` and ``log_ratio(releases)``, shape (n,)."""

    name: str
    seen_by: str
    context: AttackContext
    sample: Callable[[bool, int, np.random.Generator], Array]
    log_ratio: Callable[[Array], Array]


def ill_conditioned(mu: float = 1.3, *, d: int = 64, condition: float = 1e4, known: bool = False) -> Law:
    """Return weights H^-1 (c + b) of noise b that is shifted by mu, as by the gradient of a record drawn from H.

    With ``known`` the attacker has the data: least squares whose Hessian is H, and the record.
    """
    rng = np.random.default_rng(3)
    axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
    values = np.geomspace(1.0, condition, d)
    hessian, inverse = (axes * values) @ axes.T, (axes / values) @ axes.T
    shift = axes @ (np.sqrt(values) * rng.standard_normal(d))
    shift *= mu / np.linalg.norm(shift)
    penalty = 0.5
    x, y = np.sqrt(values - penalty)[:, None] * axes.T, rng.standard_normal(d)
    centre = x.T @ y * known
    # The record's gradient, residual times features, points along minus the shift.
    data = from_arrays(
        np.concatenate([x, shift[None]]), np.append(y, shift @ inverse @ centre + 1.0), kind="regression"
    )
    granted = AttackContext(
        retained=data.without((d,)),
        deleted=data.take((d,)),
        release=ReleaseSpec(shape=(d,)),
        parameters={"penalty": penalty},
    )
    return Law(
        name=f"weights of condition number {condition:.0e}, d = {d}{', data known' if known else ''}".replace(
            "e+0", "e"
        ),
        seen_by="whitened_lda",
        context=granted if known else no_context((d,)),
        sample=lambda unlearned, n, rng: (centre + rng.standard_normal((n, d)) + unlearned * shift) @ inverse,
        log_ratio=lambda releases: (releases @ hessian - centre) @ shift - mu**2 / 2,
    )


def objective_noise(mu: float = 1.1, *, noise: float = 10.0) -> Law:
    """Return logistic regression with noise on its objective, of about the size at which its records give way.

    Each feature belongs to two records, one of each class, of length c: the objective pulls at its weight w with
    ``w + c tanh(c w / 2)``, which is steep around 0 and bears no force above c. So a weight is all but 0 for most draws
    of the noise, and far out for few.
    """
    lengths = np.concatenate([np.full(30, 2.5 * noise), np.full(2, 0.5)])
    d = len(lengths)
    rng = np.random.default_rng(4)
    x = np.concatenate([np.diag(lengths), np.diag(lengths), rng.standard_normal((1, d))])
    data = from_arrays(x, np.repeat([0.0, 1.0, 1.0], [d, d, 1])[:, None], kind="regression")
    shift = rng.standard_normal(d)
    shift *= mu / np.linalg.norm(shift)
    places = np.sinh(np.linspace(-12, 12, 200_001)) / 1000

    def pull(weights: Array) -> Array:
        return weights + lengths * np.tanh(lengths * weights / 2)

    forces = pull(places[:, None])

    def sample(unlearned: bool, n: int, rng: np.random.Generator) -> Array:
        force = noise * (rng.standard_normal((n, d)) + unlearned * shift)
        return np.column_stack([np.interp(force[:, j], forces[:, j], places) for j in range(d)])

    return Law(
        name="noise on the objective of logistic regression",
        seen_by="undo_training",
        context=AttackContext(
            retained=data.without((2 * d,)),
            deleted=data.take((2 * d,)),
            release=ReleaseSpec(shape=(d,)),
            parameters={"penalty": 1.0, "loss": "logistic"},
        ),
        sample=sample,
        log_ratio=lambda releases: pull(releases) @ shift / noise - mu**2 / 2,
    )


def reused_noise(*, steps: int = 6, clip: float = 0.5, sigma: float = 0.5) -> Law:
    """Return ``w <- clip(w, C) + sigma Z`` with one Z for all steps, from C and from -C, on a line.

    Where |Z| is large both starts end at the same place. With ``k = steps - 1``, the start at C stays there while Z > 0
    and moves down by sigma |Z| a step else; the other start is its mirror image.
    """

    def sample(unlearned: bool, n: int, rng: np.random.Generator) -> Array:
        w, z = np.full((n, 1), clip if unlearned else -clip), rng.standard_normal((n, 1))
        for _ in range(steps):
            w = np.clip(w, -clip, clip) + sigma * z
        return w

    def log_density(w: Array) -> Array:
        """Return the log density of the start at C."""
        k = steps - 1
        pieces = [
            # Z > 0: at C all the time.
            (w > clip, (w - clip) / sigma, sigma),
            # Z < 0, and not yet at -C after k steps.
            ((w > -clip - 2 * clip / k) & (w <= clip), (w - clip) / (steps * sigma), steps * sigma),
            # Z < 0, and held at -C.
            (w <= -clip - 2 * clip / k, (w + clip) / sigma, sigma),
        ]
        return np.asarray(np.log(sum(inside * norm.pdf(z) / width for inside, z, width in pieces)))

    return Law(
        name="noise used again, with a projection",
        seen_by="density_ratio",
        context=no_context((1,)),
        sample=sample,
        log_ratio=lambda releases: log_density(releases[:, 0]) - log_density(-releases[:, 0]),
    )


def symmetric_mixture(*, share: float = 0.25, at: float = 1.2, width: float = 0.05) -> Law:
    """Return a standard normal of which some models lie at plus or minus a shift, as often as not."""

    def sample(unlearned: bool, n: int, rng: np.random.Generator) -> Array:
        found = rng.standard_normal(n)
        moved = unlearned & (rng.random(n) < share)
        centres = at * rng.choice([-1.0, 1.0], n)
        return np.asarray(np.where(moved, centres + width * found, found)[:, None])

    def log_ratio(releases: Array) -> Array:
        w = releases[:, 0]
        modes = (norm.pdf(w, at, width) + norm.pdf(w, -at, width)) / 2
        return np.asarray(np.log(1 - share + share * modes / norm.pdf(w)))

    return Law(
        name="symmetric mixture",
        seen_by="density_ratio",
        context=no_context((1,)),
        sample=sample,
        log_ratio=log_ratio,
    )


def common_shift(mu: float = 6.0, *, d: int = 100_000) -> Law:
    """Return very many independent numbers that all move by the same little."""
    shift = mu / np.sqrt(d)
    return Law(
        name=f"{d:,} numbers that move together",
        seen_by="block_lda",
        context=no_context((d,)),
        sample=lambda unlearned, n, rng: rng.standard_normal((n, d), dtype=np.float32) + np.float32(unlearned * shift),
        log_ratio=lambda releases: releases.sum(axis=1, dtype=np.float64) * shift - mu**2 / 2,
    )
