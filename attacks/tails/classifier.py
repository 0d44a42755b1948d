"""Learned attacks from scikit-learn's classifiers: a catch-all for releases of which nothing is known."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials, too_few
from attacks.quadratic.score import flat
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
ANY = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT))
# Below this many trials a dimension, both worlds together, a network fits noise.
TRIALS_A_DIMENSION = 20


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Score the log odds of scikit-learn's logistic regression on standardised numbers; higher means unlearned.

    Needs releases of any kind and trials, at least two a world and several a dimension to learn much; no law.

    Parameters
    ----------
    strength
        scikit-learn's C, times the number of dimensions, positive: the penalty grows with them.

    Notes
    -----
    A linear score: with ever more trials the most powerful attack where log dP/dQ is linear in the release, as for
    Gaussian laws of one covariance. A fit that has not converged is a weaker attack, never an invalid one.

    References
    ----------
    Bichsel, Steffen, Bogunovic, Vechev 2021, "DP-Sniper: black-box discovery of differential privacy violations using
    classifiers", IEEE S&P.
    """

    name: str = "classifier"
    needs: Needs = replace(ANY, trials=2)
    strength: float = 1.0

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world.
        ValueError
            By scikit-learn, when ``strength`` is not positive.
        """
        from sklearn.linear_model import LogisticRegression

        require_trials(self.name, unlearned, retrained, least=2)
        model = LogisticRegression(C=self.strength / math.prod(unlearned.shape[1:]), max_iter=500)
        units = _fitted(model, unlearned, retrained)
        return LogisticOdds(
            units=units, weights=np.ascontiguousarray(model.coef_), offset=float(np.asarray(model.intercept_)[0])
        )


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Score the log odds of scikit-learn's multi-layer perceptron, stopped early; higher means unlearned.

    For laws whose ratio is neither linear nor quadratic. Needs releases of any kind and 20 trials a dimension, both
    worlds together and at least 20 a world; below that it could only learn noise, and is refused. No law.

    Parameters
    ----------
    hidden
        Width of its one hidden layer, at least 1.

    Notes
    -----
    No optimality is claimed. A fit is random, and ``rng`` decides it.

    References
    ----------
    As :class:`Logistic`.
    """

    name: str = "mlp"
    needs: Needs = ANY
    hidden: int = 32

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With too few trials, naming the number needed.
        ValueError
            By scikit-learn, when ``hidden`` is below 1.
        """
        from sklearn.neural_network import MLPClassifier

        needed = _needed(unlearned.shape[1:])
        require_trials(self.name, unlearned, retrained, least=2)
        if min(len(unlearned), len(retrained)) < needed:
            raise NotApplicableError(
                f"mlp needs at least {needed} fitting trials a world ({TRIALS_A_DIMENSION} trials a dimension), got "
                f"{min(len(unlearned), len(retrained))}; raise trials, or use krylov_lda, lda or classifier instead"
            )
        model = MLPClassifier((self.hidden,), early_stopping=True, random_state=int(rng.integers(2**31)))
        units = _fitted(model, unlearned, retrained)
        return NetworkOdds(
            units=units,
            weights=tuple(np.ascontiguousarray(layer) for layer in model.coefs_),
            offsets=tuple(np.ascontiguousarray(layer) for layer in model.intercepts_),
        )

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return how many trials it needs, where there are fewer."""
        needed = _needed(context.release.shape)
        return too_few(self.name, needed, n_fit) if n_fit < needed else None


def _needed(shape: tuple[int, ...]) -> int:
    return max(20, TRIALS_A_DIMENSION * math.prod(shape) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class StandardUnits:
    """Numbers in standard deviations from their mean, each shape (d,)."""

    mean: Array
    scale: Array

    def of(self, releases: Array) -> Array:
        """Return flattened releases in these units, shape (n, d)."""
        found = flat(releases) - self.mean
        found /= self.scale
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticOdds:
    """A fitted :class:`Logistic`: log odds that are linear in standardised numbers.

    Parameters
    ----------
    units
        Of the numbers of a release.
    weights
        Shape (1, d).
    offset
        Added to every score.
    """

    units: StandardUnits
    weights: Array
    offset: float

    def score(self, releases: Array) -> Array:
        """Return the log odds of the unlearned world, shape (n,)."""
        return np.asarray((self.units.of(releases) @ self.weights.T + self.offset).ravel())


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkOdds:
    """A fitted :class:`Mlp`: layers of rectified sums, and a logistic one.

    Parameters
    ----------
    units
        Of the numbers of a release.
    weights, offsets
        Of each layer, shapes (inputs, outputs) and (outputs,); the last layer has one output.
    """

    units: StandardUnits
    weights: tuple[Array, ...]
    offsets: tuple[Array, ...]

    def score(self, releases: Array) -> Array:
        """Return the log odds of the unlearned world, shape (n,)."""
        layer = self.units.of(releases)
        for i, (weights, offsets) in enumerate(zip(self.weights, self.offsets, strict=True)):
            layer = (np.maximum(layer, 0.0) if i else layer) @ weights + offsets
        probability = expit(layer.ravel())
        tiny = np.finfo(np.float64).tiny
        return np.asarray(np.log(np.maximum(probability, tiny)) - np.log(np.maximum(1 - probability, tiny)))


def _fitted(model: Any, unlearned: Array, retrained: Array) -> StandardUnits:
    """Fit a classifier to standardised trials, and return their units."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    worlds = np.repeat([1, 0], [len(unlearned), len(retrained)])
    trials = np.concatenate([flat(unlearned), flat(retrained)])
    scaler = StandardScaler().fit(trials)
    with warnings.catch_warnings():
        # A fit that stops before it has converged is a weaker attack, never an invalid one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(trials), worlds)
    return StandardUnits(mean=scaler.mean_, scale=scaler.scale_)
