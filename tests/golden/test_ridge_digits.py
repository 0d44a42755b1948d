"""Every row of ridge_digits.json (computed independently, dense double precision) by the exact route.

Tolerances are those of the reference: epsilon to 1e-6 relative, delta (where at least 1e-30) to 1e-5.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset
from mechanisms.protocol import World
from mechanisms.ridge.certificates import exact_pair
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named

ROWS = json.loads((Path(__file__).parent / "ridge_digits.json").read_text())["rows"]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=1500)


def pair_of(row: dict[str, Any], digits: Dataset) -> GaussianPair:
    assert row["eta"] == "1/L"
    mechanism = RidgeLangevin(
        penalty=row["lam"],
        n_learn=row["n_learn"],
        n_unlearn=row["n_unlearn"],
        sigma_learn=row["sigma_learn"],
        sigma_unlearn=row["sigma_unlearn"],
        reference=Reference.RETRAIN_THEN_UNLEARN,
    )
    laws = mechanism.bind(digits, tuple(row["forget"])).laws
    assert laws.law(World.UNLEARNED).mean.shape == (65, 10)
    return exact_pair(laws)


def each(rows: list[dict[str, Any]]) -> list[Any]:
    """Every third row in make test, the others with the slow studies."""
    return [
        pytest.param(
            row,
            id=f"{row['forget']}-{row['lam']}-{row['n_unlearn']}",
            marks=[pytest.mark.slow] if i % 3 else [],
        )
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize("row", each(ROWS))
def test_golden_row(row: dict[str, Any], digits: Dataset) -> None:
    pair = pair_of(row, digits)
    for direction, chosen in (("PQ", pair), ("QP", pair.reversed())):
        np.testing.assert_allclose(chosen.epsilon(1e-5), row[f"epsilon_{direction}_at_1e5"], rtol=1e-6)
        expected = row[f"delta_{direction}_at_eps_0_5"]
        if expected >= 1e-30:
            np.testing.assert_allclose(chosen.delta(0.5), expected, rtol=1e-5)
        else:
            assert chosen.delta(0.5) < 1e-29
    assert pair.variance_ratios.min() == pytest.approx(row["c_min"], rel=1e-9)
    assert pair.variance_ratios.max() == pytest.approx(row["c_max"], rel=1e-9)
    shift = float(np.sqrt(np.sum(pair.squared_shifts)))
    assert shift == pytest.approx(row["mean_shift_mu"], rel=1e-6)
