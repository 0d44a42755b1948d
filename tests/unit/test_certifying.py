"""Certificates of many records: the reduced route agrees with the dense one, and every route meets its target."""

from __future__ import annotations

import pytest

from audit.certificates.certification import Certification
from audit.certificates.certifying import certify, make_request, select_records
from audit.errors import SchemaError
from mechanisms.dataset import Dataset
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.sources import load_named


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=150)


@pytest.fixture(scope="module")
def calibrated(digits: Dataset) -> Certification:
    mechanism = RidgeLangevin(n_learn=40, n_unlearn=8, sigma_unlearn=CalibratedNoise(route="exact", epsilon=0.7))
    return certify(mechanism, digits, make_request(records="hardest:2", routes="exact,published,uniform"))


def test_rows_agree_with_the_dense_certificate(digits: Dataset, calibrated: Certification) -> None:
    for row in calibrated.rows:
        mechanism = RidgeLangevin(n_learn=40, n_unlearn=8, sigma_unlearn=row.sigma_unlearn)
        dense = mechanism.bind(digits, (row.record,)).certificates()[0]
        assert row.epsilon == pytest.approx(dense.epsilon, rel=1e-8)
        assert row.epsilon_without_unlearning == pytest.approx(dense.epsilon_without_unlearning, rel=1e-8)
        assert row.epsilon <= 0.7


def test_uniform_is_one_noise_for_everybody_and_the_largest(calibrated: Certification) -> None:
    by_route = {
        name: [row.sigma_unlearn for row in calibrated.routes if row.route == name]
        for name in ("exact", "published", "uniform")
    }
    assert len(set(by_route["uniform"])) == 1
    for exact, published, uniform in zip(*by_route.values(), strict=True):
        assert 0 < exact < published <= uniform


def test_json_round_trip(calibrated: Certification) -> None:
    assert Certification.from_json(calibrated.to_json()) == calibrated
    with pytest.raises(SchemaError, match="certification/1"):
        Certification.from_json("{}")


def test_selection_of_records(digits: Dataset) -> None:
    assert select_records(digits, "all", penalty=1.0) == tuple(range(150))
    assert select_records(digits, "17,3", penalty=1.0) == (17, 3)
    hardest = select_records(digits, "hardest:5", penalty=1.0)
    assert hardest[:2] == select_records(digits, "hardest:2", penalty=1.0)
    assert len(set(hardest)) == 5


def test_given_noise_needs_no_target(digits: Dataset) -> None:
    mechanism = RidgeLangevin(n_learn=40, n_unlearn=8, sigma_unlearn=0.01)
    found = certify(mechanism, digits, make_request(records="3", routes="exact,published"))
    assert found.target_epsilon is None
    assert {row.sigma_unlearn for row in found.routes if row.route != "downdate"} == {0.01}
    exact, published, downdate = found.routes
    assert exact.epsilon < published.epsilon
    assert downdate.epsilon == 0
