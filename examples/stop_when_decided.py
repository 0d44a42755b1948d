"""Stop when decided: audit a careless service pair by pair, and pay for no more trials than the verdict needs.

The service hides a deleted record under Gaussian noise that was calibrated on the average record, and claims mu-GDP
with it (``examples/audit_my_mechanism.py`` has the careful version). The plan allows 10,000 trials of each world; the
audit may look at its evidence after every pair of trials, and its levels stay valid.
"""

from __future__ import annotations

import sys

import numpy as np

import audit
import reports
from attacks import choose_records
from mechanisms import Claim, Dataset, GaussianDP, from_functions, load_named

PENALTY, MU = 1.0, 0.5


def solve(data: Dataset) -> np.ndarray:
    curvature = data.features.T @ data.features + PENALTY * np.eye(data.features.shape[1])
    return np.linalg.solve(curvature, data.features.T @ data.targets[:, 0])


def learn(data: Dataset, rng: np.random.Generator) -> np.ndarray:
    return solve(data)


def unlearn(
    model: np.ndarray, retained: Dataset, forget: Dataset, rng: np.random.Generator, sigma: float
) -> np.ndarray:
    return model + sigma * rng.standard_normal(model.shape)


def careless(data: Dataset, forget: Dataset) -> float:
    """Noise for the average record, whichever record is deleted."""
    shifts = [np.linalg.norm(solve(data) - solve(data.without((i,)))) for i in range(data.n_records)]
    return float(np.mean(shifts)) / MU


def main() -> None:
    data = load_named("diabetes")
    records = choose_records(data, ["hardest", "median"], penalty=PENALTY)
    mechanism = from_functions(
        learn=learn,
        unlearn=unlearn,
        calibrate=careless,
        release=(data.features.shape[1],),
        parameters={"penalty": PENALTY},
    )
    for record in records:
        result = audit.run(
            mechanism,
            data,
            forget=record,
            claim=Claim(guarantee=GaussianDP(mu=MU)),
            trials=10_000,
            seed=1,
            stop_when_decided=True,
        )
        finding = result.findings[0]
        history = finding.history
        print(
            f"record {record:3d}  {finding.verdict.value.replace('_', ' ').upper():12s} "
            f"after {history.pairs[-1]:5,d} of at most {history.budget:,} pairs "
            f"(p = {finding.p_value:.2g}, level {finding.level:.2g})"
        )
        if len(sys.argv) > 1:
            reports.write(result, f"{sys.argv[1]}/record-{record}")


if __name__ == "__main__":
    main()
