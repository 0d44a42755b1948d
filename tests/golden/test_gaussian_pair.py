"""Every row of the golden tables of Gaussian pairs.

``gaussian_pair.json`` and ``gaussian_pair_one_coordinate.json`` hold reference values of independent high-precision
computations (30 and 80 digits; the second without any contour integral), written with 14 to 16 digits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechanisms.accounting.contour import HOCKEY_STICK, TAIL_UNDER_P, TAIL_UNDER_Q
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair

TABLES = ("gaussian_pair.json", "gaussian_pair_one_coordinate.json")
N_ROWS = 158


def _rows() -> list[Any]:
    rows = []
    for name in TABLES:
        for i, case in enumerate(json.loads((Path(__file__).parent / name).read_text())["cases"]):
            rows.append(pytest.param(case, id=f"{name.removesuffix('.json')}-{i}"))
    return rows


def _pair(case: dict[str, Any]) -> GaussianPair:
    return GaussianPair(
        variance_ratios=np.array(case["c"], dtype=float),
        squared_shifts=np.array(case["b"], dtype=float),
        n_columns=case["n_columns"],
    )


def test_the_tables_are_complete():
    assert len(_rows()) == N_ROWS


@pytest.mark.parametrize("case", _rows())
def test_deltas_and_tails_agree_with_the_table(case):
    pair, epsilon = _pair(case), float(case["epsilon"])
    computed = {
        "delta_PQ": pair.evaluate(HOCKEY_STICK, epsilon),
        "delta_QP": pair.reversed().evaluate(HOCKEY_STICK, epsilon),
        "tail_P": pair.evaluate(TAIL_UNDER_P, epsilon),
        "tail_Q": pair.evaluate(TAIL_UNDER_Q, epsilon),
    }
    for name, result in computed.items():
        expected = float(case[name])
        if expected == 0:
            # Beyond the largest possible loss nothing may be left, not even a rounding error.
            assert np.exp(result.log_value) == 0, name
            continue
        assert expected >= 1e-80, "a smaller reference value needs another tolerance"
        # The tables have at least 14 digits, so what is guaranteed is also what can be seen.
        assert np.exp(result.log_value) == pytest.approx(expected, rel=RELATIVE_ERROR), name
        assert abs(result.log_value - np.log(expected)) <= result.log_error + 1e-13, name


@pytest.mark.parametrize(
    "case",
    [row for row in _rows() if 1e-30 < float(row.values[0]["delta_PQ"]) < 1 and float(row.values[0]["epsilon"]) > 0],
)
def test_epsilon_inverts_delta_on_the_safe_side(case):
    pair, epsilon, delta = _pair(case), float(case["epsilon"]), float(case["delta_PQ"])
    found = pair.epsilon(delta)
    # The guaranteed error of log delta, turned into epsilon by its slope.
    slope = float(pair.evaluate(HOCKEY_STICK, epsilon).mean_s)
    assert found == pytest.approx(epsilon, abs=RELATIVE_ERROR / slope)
    assert pair.delta(found) <= delta
