"""A regression test of an unlearning claim. Run it with: pytest examples/pytest

The service keeps scikit-learn's Ridge and hides a deleted record under noise. The tests fail on the day when a change
to ``noise_for`` or ``unlearn`` makes the claim false and the audit sees it.
"""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from attacks import choose_records
from mechanisms import Claim, GaussianDP, from_estimator, load_named

CLAIM = Claim(guarantee=GaussianDP(mu=0.5))
DATA = load_named("diabetes")
MODEL = Ridge(alpha=1.0, fit_intercept=False)


def noise_for(data, deleted):
    x, y = deleted.features[0], deleted.targets[0, 0]
    curvature = data.features.T @ data.features + np.eye(len(x)) - np.outer(x, x)
    weights = MODEL.fit(data.features, data.targets[:, 0]).coef_
    return np.linalg.norm(np.linalg.solve(curvature, x) * (x @ weights - y)) / 0.5


def unlearn(model, retained, deleted, rng, sigma):
    model.coef_ = model.coef_ + sigma * rng.standard_normal(model.coef_.shape)
    return model


SERVICE = from_estimator(MODEL, unlearn=unlearn, calibrate=noise_for, fit_once=True, parameters={"penalty": 1.0})


@pytest.mark.claim
@pytest.mark.parametrize("record", choose_records(DATA, ["hardest", "median"], penalty=1.0))
def test_the_noise_hides_the_record(audit_claim, record):
    result = audit_claim(SERVICE, DATA, forget=record, claim=CLAIM, trials=2000)
    # A test that could have seen nothing would pass too: an epsilon of 3 is to be seen with probability 0.8.
    assert result.findings[0].sandwiches[0].detectable_epsilon < 3
