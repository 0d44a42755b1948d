"""Releases of more numbers than models: the same discriminant and distance, without a matrix of numbers by numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve
from sklearn.covariance import ledoit_wolf

import audit
from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.shrunk import ShrunkRows
from attacks.quadratic.clouds import Radius
from audit.given.rows import no_context
from mechanisms import Claim, EpsilonDelta

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def by_matrix(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights of Fisher's discriminant as they are found with the whole covariance, and the shrinkage."""
    within = np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])
    scale = within.std(axis=0)
    covariance, shrinkage = ledoit_wolf(within / scale, assume_centered=True)
    gap = (first.mean(axis=0) - second.mean(axis=0)) / scale
    return solve(covariance, gap, assume_a="pos") / scale, shrinkage


@pytest.mark.parametrize(
    ("n", "d", "rank"), [(20, 21, None), (60, 300, None), (60, 300, 3), (60, 1500, None), (40, 1000, 1)]
)
def test_the_weights_are_those_of_the_whole_covariance(n: int, d: int, rank: int | None) -> None:
    rng = np.random.default_rng(n + d)
    rows = rng.standard_normal((2 * n, d)) * rng.uniform(0.1, 10, d)
    if rank is not None:
        # A few shared factors: little shrinkage.
        rows = 0.2 * rows + 10 * rng.standard_normal((2 * n, rank)) @ rng.standard_normal((rank, d))
    first, second = rows[:n] + 0.3, rows[n:]
    expected, shrinkage = by_matrix(first, second)
    assert shrinkage > 1e-3
    fitted = LinearDiscriminant().fit(first, second, no_context((d,)), rng=rng)
    np.testing.assert_allclose(fitted.weights, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_rows_of_one_direction_shrink_to_the_least_and_not_to_a_division_by_zero() -> None:
    direction = np.array([3.0, 4.0, 0.0, 0.0])
    rows = np.array([1.0, -1.0, 1.0])[:, None] * direction
    found = ShrunkRows.of(rows).solve(np.array([0.0, 0.0, 1.0, 0.0]))
    assert np.all(np.isfinite(found))
    assert found[2] == np.abs(found).max() > 0


def test_a_constant_column_still_decides_alone_where_its_means_differ() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 10, 40))
    first[:, 7], second[:, 7] = 2.0, 5.0
    fitted = LinearDiscriminant().fit(first, second, no_context((40,)), rng=rng)
    assert np.flatnonzero(fitted.weights).tolist() == [7]


@pytest.mark.parametrize(("n", "d"), [(15, 16), (40, 500)])
def test_distances_are_those_of_the_whole_covariance(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d)
    points = rng.standard_normal((7, d))
    scale, centre = rows.std(axis=0), rows.mean(axis=0)
    covariance, _ = ledoit_wolf((rows - centre) / scale, assume_centered=True)
    away = (points - centre) / scale
    expected = np.einsum("ij,ij->i", away, solve(covariance, away.T, assume_a="pos").T)
    fitted = Radius().fit(points, rows, no_context((d,)), rng=rng)
    np.testing.assert_allclose(fitted.score(points), expected, rtol=1e-9)


def test_wide_releases_are_audited_and_a_shift_of_all_numbers_is_found() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((2, 64, 5000))
    result = audit.from_scores(first + 0.3, second, claim=CLAIM, releases=True)
    assert result.verdict.value == "refuted"
    equal = audit.from_scores(first, second, claim=CLAIM, releases=True)
    assert equal.verdict.value == "not_refuted"


WIDE = """
import re, sys
from pathlib import Path
import numpy as np
import audit
from mechanisms import Claim, EpsilonDelta

d = int(sys.argv[1])
rng = np.random.default_rng(0)
first, second = rng.standard_normal((64, d)), rng.standard_normal((64, d))
first += 0.3
claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
result = audit.from_scores(first, second, claim=claim, releases=True)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(result.verdict.value, peak / 2**20)
"""


@pytest.mark.parametrize(("d", "gibibytes"), [(30_000, 0.5), pytest.param(1_000_000, 4.0, marks=pytest.mark.slow)])
def test_wide_releases_take_little_more_memory_than_they_fill(d: int, gibibytes: float) -> None:
    """A covariance matrix of 30,000 numbers would fill 7 GiB.

    What a process asked for since it began its program is read, not ``getrusage``: that one remembers the process that
    started it, and a worker of pytest may hold more than the limit.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("the most memory of a process of its own is read from /proc")
    done = subprocess.run([sys.executable, "-c", WIDE, str(d)], capture_output=True, text=True, check=True)
    verdict, peak = done.stdout.split()
    assert verdict == "refuted"
    assert 0.05 < float(peak) < gibibytes
