"""Audit a service that you can only ask: the probabilities that a logistic regression answers with, nothing else.

The service tells a handwritten 3 from an 8. It is asked to delete its most surprising record, takes one Newton step on
what it retains, and hides what the step leaves under noise. The loss on the retained data is strongly convex, so that
its gradient after the step, over the penalty, bounds the distance to the retrained model: noise of that distance over
mu in each coefficient gives mu-GDP. A second service claims the same and loses the request.

The noise depends on the deleted record: a service that publishes it leaks something of what it deleted.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import audit
from mechanisms import Claim, Dataset, GaussianDP, Predictions, from_arrays, from_estimator, targets_for

PENALTY, MU, TRIALS = 1.0, 0.5, 500
# The intercept is a column of ones, so that it is penalised like the rest; scikit-learn's C is one over the penalty.
MODEL = LogisticRegression(C=1 / PENALTY, fit_intercept=False, tol=1e-10, max_iter=1000)


def threes_and_eights() -> tuple[Dataset, NDArray[np.float64]]:
    """Return 257 records, and features of 20 others to ask about."""
    digits = load_digits()
    chosen = np.isin(digits.target, (3, 8))
    data = from_arrays(digits.data[chosen], digits.target[chosen], name="3 or 8", intercept=True, divide_by=16.0)
    return data.take(range(257)), data.features[257:277]


def gradient(weights: NDArray[np.float64], data: Dataset) -> NDArray[np.float64]:
    errors = expit(data.features @ weights) - targets_for(MODEL, data)
    return np.asarray(data.features.T @ errors + PENALTY * weights)


def newton_step(weights: NDArray[np.float64], data: Dataset) -> NDArray[np.float64]:
    p = expit(data.features @ weights)
    curvature = (data.features.T * (p * (1 - p))) @ data.features + PENALTY * np.eye(len(weights))
    return np.asarray(weights - np.linalg.solve(curvature, gradient(weights, data)))


def noise_for(data: Dataset, deleted: Dataset) -> float:
    """Return the noise that hides what is left of the deleted records after one Newton step."""
    gone = (data.features[:, None] == deleted.features).all(axis=2).any(axis=1)
    retained = data.without(np.flatnonzero(gone).tolist())
    weights = MODEL.fit(data.features, targets_for(MODEL, data)).coef_[0]
    left = np.linalg.norm(gradient(newton_step(weights, retained), retained)) / PENALTY
    return float(left) / MU


def newton_and_noise(
    model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator, sigma: float
) -> LogisticRegression:
    weights = newton_step(model.coef_[0], retained)
    model.coef_ = (weights + sigma * rng.standard_normal(weights.shape))[None, :]
    return model


def noise_alone(
    model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator, sigma: float
) -> LogisticRegression:
    model.coef_ = model.coef_ + sigma * rng.standard_normal(model.coef_.shape)
    return model


def main() -> None:
    data, probe = threes_and_eights()
    answers = MODEL.fit(data.features, targets_for(MODEL, data)).predict_proba(data.features)
    record = int(np.argmin((answers * data.targets).sum(axis=1)))
    print(f"record {record}, answers seen: on that record and on {len(probe)} others")
    for service, unlearn in (("Newton step and noise", newton_and_noise), ("request ignored", noise_alone)):
        started = time.perf_counter()
        mechanism = from_estimator(
            MODEL,
            unlearn=unlearn,
            releases=Predictions(method="predict_proba", probe=probe),
            calibrate=noise_for,
            fit_once=True,
        )
        claim = Claim(guarantee=GaussianDP(mu=MU))
        result = audit.run(mechanism, data, forget=record, claim=claim, trials=TRIALS, seed=1)
        tested = result.findings[0].sandwiches[0]
        print(
            f"{service:22s} {result.verdict.value.replace('_', ' ').upper():12s} epsilon >= {tested.bound.value:.2f} "
            f"against {tested.claimed:.2f} claimed at delta = {tested.bound.delta:.2g} "
            f"({time.perf_counter() - started:.1f} s)"
        )


if __name__ == "__main__":
    main()
