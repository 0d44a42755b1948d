"""Audit your own unlearning: scikit-learn's Ridge, "unlearned" by adding noise to its coefficients.

The service keeps the trained model and hides the deleted record under Gaussian noise (output perturbation). If the
deletion would move the coefficients by ``shift``, noise of standard deviation ``shift / mu`` gives exactly mu-GDP.
The careful version calibrates on the record that is deleted; the careless one on the average record.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

import audit
from attacks import choose_records
from mechanisms import Claim, Dataset, GaussianDP, from_functions, load_named

PENALTY, MU = 1.0, 0.5


def learn(data: Dataset, rng: np.random.Generator) -> np.ndarray:
    model = Ridge(alpha=PENALTY, fit_intercept=False).fit(data.features, data.targets[:, 0])
    return np.asarray(model.coef_)


def unlearn(
    model: np.ndarray, retained: Dataset, forget: Dataset, rng: np.random.Generator, sigma: float
) -> np.ndarray:
    return model + sigma * rng.standard_normal(model.shape)


def shift(data: Dataset, x: np.ndarray, y: float) -> float:
    """How far deleting one record moves the coefficients."""
    curvature = data.features.T @ data.features + PENALTY * np.eye(len(x)) - np.outer(x, x)
    residual = x @ learn(data, np.random.default_rng()) - y
    return float(np.linalg.norm(np.linalg.solve(curvature, x) * residual))


def careful(data: Dataset, forget: Dataset) -> float:
    return shift(data, forget.features[0], forget.targets[0, 0]) / MU


def careless(data: Dataset, forget: Dataset) -> float:
    shifts = [shift(data, x, y[0]) for x, y in zip(data.features, data.targets, strict=True)]
    return float(np.mean(shifts)) / MU


def main() -> None:
    data = load_named("diabetes")
    (hardest,) = choose_records(data, ["hardest"], penalty=PENALTY)
    for calibrate in (careful, careless):
        mechanism = from_functions(
            learn=learn,
            unlearn=unlearn,
            calibrate=calibrate,
            release=(data.features.shape[1],),
            parameters={"penalty": PENALTY},
        )
        result = audit.run(
            mechanism, data, forget=hardest, claim=Claim(guarantee=GaussianDP(mu=MU)), trials=4000, seed=1
        )
        finding = result.findings[0]
        tested = finding.sandwiches[0]
        print(
            f"{calibrate.__name__:8s}  {finding.verdict.value.replace('_', ' ').upper():12s} "
            f"epsilon >= {tested.bound.value:.2f} against {tested.claimed:.2f} claimed "
            f"at delta = {tested.bound.delta:.2g}"
        )


if __name__ == "__main__":
    main()
