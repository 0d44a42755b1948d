"""Unlearning by noisy fine-tuning that certifies itself, whatever was learned: a setting of networks that unlearn.

In the flow: :mod:`mechanisms.networks.stages` takes these steps instead of its usual ones. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mechanisms.accounting.clipped_learning import ROUNDING
from mechanisms.accounting.fine_tuning import gradient_clipping_mu, model_clipping_log_delta
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, PrivacyProfile
from mechanisms.errors import require
from mechanisms.networks.certificates import Certified, gaussian_certificate

_GRID = 64
TUNING = (
    "Both worlds run the same noisy steps on the retained records, from models that are clipped first; the gradient is "
    "averaged before it is clipped, and noise comes after.",
    "The noise is Gaussian and fresh at each step, and weights are real numbers: they are rounded to 32 bits.",
    "So much noise may amount to retraining from random weights: compare with that, at equal steps.",
)


@dataclass(frozen=True, kw_only=True)
class NoisyFineTuning:
    """Unlearning steps whose noise certifies a deletion by itself: of any set, and of models learned without noise.

    The model is shortened to ``start_norm``. Then each of ``n_unlearn`` steps moves it by the mean gradient of the
    retained records, and adds noise of ``sigma_unlearn``.

    Parameters
    ----------
    start_norm
        Largest length of all weights together, positive.
    gradient_norm
        The mean gradient is clipped to this length; ``None``: instead each step clips the model to ``start_norm``.
    step_size
        Positive.
    penalty
        Shrinks the model, at least 0; ``step_size`` times it is below 1.
    n_clean
        Usual steps without noise that follow, at least 0; they cost nothing.

    Raises
    ------
    InvalidInputError
        When a value is out of range.

    References
    ----------
    Koloskova et al. 2025, "Certified unlearning for neural networks" (arXiv:2506.06985).
    """

    start_norm: float
    gradient_norm: float | None = None
    step_size: float = 0.1
    penalty: float = 0.0
    n_clean: int = 0

    def __post_init__(self) -> None:
        positive = (
            ("start_norm", self.start_norm),
            ("step_size", self.step_size),
            ("gradient_norm", self.gradient_norm),
        )
        for name, value in positive:
            known = (name == "gradient_norm" and value is None) or (value is not None and 0 < value < math.inf)
            require(known, name, expected="positive and finite", got=value, fix="1.0 is a start")
        kept, fix = 1 - self.step_size * self.penalty, "lower the penalty or the step size"
        require(0 < kept <= 1, "penalty", expected="at least 0, below 1 / step_size", got=self.penalty, fix=fix)
        require(self.n_clean >= 0, "n_clean", expected="at least 0", got=self.n_clean, fix="0 means none")

    @property
    def words(self) -> str:
        """What it does, for reports."""
        what = "the model" if self.gradient_norm is None else f"gradients to {self.gradient_norm:g}"
        return f"from length {self.start_norm:g}, clipping {what}, {self.n_clean} clean steps after"

    def certificate(self, *, n_steps: int, sigma: float, learning_mu: float, of: Certified) -> Certificate:
        """Return what the steps certify; ``learning_mu`` is that of the learning noise, infinite without any."""
        if self.gradient_norm is None:
            found = self._of_model(n_steps, sigma, learning_mu, of)
        else:
            mu = gradient_clipping_mu(
                start_norm=self.start_norm,
                clip_norm=self.gradient_norm,
                step_size=self.step_size,
                n_steps=n_steps,
                sigma=sigma,
                penalty=self.penalty,
            )
            found = gaussian_certificate(
                mu * (1 + ROUNDING), of=of, method="fine_tuning", assumptions=TUNING, without_unlearning=learning_mu
            )
        # What learning alone gives is not known where it adds no noise.
        return found if math.isfinite(learning_mu) else replace(found, epsilon_without_unlearning=None)

    def _of_model(self, n_steps: int, sigma: float, learning_mu: float, of: Certified) -> Certificate:
        def log_delta(epsilon: float) -> float:
            radius = self.start_norm * (1 + ROUNDING)
            return model_clipping_log_delta(
                epsilon, radius=radius, n_steps=n_steps, sigma=sigma, learning_mu=learning_mu
            )

        epsilon = _smallest(log_delta, math.log(of.delta))
        largest = epsilon if 0 < epsilon < math.inf else 1.0
        grid = np.unique(np.concatenate([np.linspace(0, 4 * largest, _GRID), [largest]]))
        column = tuple(np.minimum.accumulate([log_delta(float(value)) for value in grid]).tolist())
        profile = PrivacyProfile(epsilons=tuple(grid.tolist()), log_deltas=dict.fromkeys(BOTH_DIRECTIONS, column))
        plain = gaussian_certificate(
            0.0, of=of, method="fine_tuning", assumptions=TUNING, without_unlearning=learning_mu
        )
        claim = Claim(guarantee=profile, reference=of.reference, provenance="published", assumptions=TUNING)
        return replace(plain, claim=claim, epsilon=epsilon)


def _smallest(log_delta: Callable[[float], float], target: float) -> float:
    """Return the smallest epsilon, to a share 1e-9, at which log delta was evaluated and meets the target."""
    if log_delta(0.0) <= target:
        return 0.0
    low, high = 0.0, 1.0
    while log_delta(high) > target:
        low, high = high, 2 * high
        if high > 1e6:
            return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if log_delta(middle) > target else (low, middle)
    return high
