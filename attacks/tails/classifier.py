"""Learned attacks from scikit-learn's classifiers: a catch-all for releases of which nothing is known."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        return _fitted(model, unlearned, retrained)


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
        return _fitted(model, unlearned, retrained)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return how many trials it needs, where there are fewer."""
        needed = _needed(context.release.shape)
        return too_few(self.name, needed, n_fit) if n_fit < needed else None


def _needed(shape: tuple[int, ...]) -> int:
    return max(20, TRIALS_A_DIMENSION * math.prod(shape) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class _LogOdds:
    model: Any

    def score(self, releases: Array) -> Array:
        """Return the log odds of the unlearned world, shape (n,)."""
        if hasattr(self.model, "decision_function"):
            return np.asarray(self.model.decision_function(flat(releases)), dtype=np.float64)
        probabilities = np.maximum(self.model.predict_proba(flat(releases)), np.finfo(np.float64).tiny)
        return np.asarray(np.log(probabilities[:, 1]) - np.log(probabilities[:, 0]))


def _fitted(model: Any, unlearned: Array, retrained: Array) -> _LogOdds:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    worlds = np.repeat([1, 0], [len(unlearned), len(retrained)])
    with warnings.catch_warnings():
        # A fit that stops before it has converged is a weaker attack, never an invalid one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline = make_pipeline(StandardScaler(), model)
        return _LogOdds(model=pipeline.fit(np.concatenate([flat(unlearned), flat(retrained)]), worlds))
