"""Fresh random pairs against two oracles in 30 digits that share nothing with the code under test.

``_conditional`` conditions on one coordinate and uses the error function on the other: no transform at all.
``_transform`` evaluates the inverse Laplace transform in mpmath along its own contour until two step sizes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from mechanisms.accounting.contour import HOCKEY_STICK, TAIL_UNDER_P, TAIL_UNDER_Q
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair

SEED = 20260701
N_CONDITIONAL, N_TRANSFORM = 10, 60


def some_of(n: int) -> list[Any]:
    """Return the numbers of n cases: one of five is for every run, the others for slow ones."""
    return [i if i % 5 == 0 else pytest.param(i, marks=pytest.mark.slow) for i in range(n)]


KERNELS = {"delta": HOCKEY_STICK, "tail_p": TAIL_UNDER_P, "tail_q": TAIL_UNDER_Q}


@pytest.fixture(autouse=True)
def _thirty_digits():
    with mp.workdps(30):
        yield


def _ratios(rng: np.random.Generator, p: int) -> np.ndarray:
    """Ratios over [.01, 100], or within a few percent of 1: both regimes occur in practice."""
    wide = np.exp(rng.uniform(np.log(0.01), np.log(100), p))
    near = np.exp(0.05 * rng.standard_normal(p))
    return np.where(rng.random(p) < 0.5, wide, near)


def _draw(rng: np.random.Generator, p: int) -> tuple[np.ndarray, np.ndarray]:
    shifts = np.exp(rng.uniform(np.log(1e-4), np.log(3), p)) * (rng.random(p) < 0.8)
    return _ratios(rng, p), shifts


def _typical_epsilon(rng: np.random.Generator, pair: GaussianPair) -> float:
    """An epsilon where delta is neither 1 nor beyond the range in which accuracy is promised."""
    floor = np.exp(rng.uniform(np.log(1e-25), np.log(0.5)))
    return pair.epsilon(float(floor)) * float(rng.uniform(0.3, 0.99))


def _one_coordinate(c: mp.mpf, u: mp.mpf, epsilon: mp.mpf) -> mp.mpf:
    """H_eps of N(u, c) against N(0, 1): the region where the loss exceeds epsilon is an interval or its complement."""
    # loss(x) = alpha x^2 + beta x + gamma
    alpha, beta = (1 - 1 / c) / 2, u / c
    gamma = -mp.log(c) / 2 - u * u / (2 * c)
    # Zeros of loss - epsilon without cancellation; a ratio of 1 does not occur in the draws.
    square = beta * beta - 4 * alpha * (gamma - epsilon)
    if square <= 0:
        return mp.mpf(0) if alpha < 0 else 1 - mp.e**epsilon
    roots = sorted([(-beta - mp.sqrt(square)) / (2 * alpha), (-beta + mp.sqrt(square)) / (2 * alpha)])

    def outside(mean: mp.mpf, deviation: mp.mpf) -> mp.mpf:
        low, high = ((root - mean) / deviation / mp.sqrt(2) for root in roots)
        return (mp.erfc(-low) + mp.erfc(high)) / 2

    def inside(mean: mp.mpf, deviation: mp.mpf) -> mp.mpf:
        low, high = ((root - mean) / deviation / mp.sqrt(2) for root in roots)
        return (mp.erfc(low) - mp.erfc(high)) / 2 if low > 0 else (mp.erfc(-high) - mp.erfc(-low)) / 2

    mass = outside if alpha > 0 else inside
    return mass(u, mp.sqrt(c)) - mp.e**epsilon * mass(mp.mpf(0), mp.mpf(1))


def _conditional(c: list[mp.mpf], b: list[mp.mpf], epsilon: mp.mpf) -> mp.mpf:
    """H_eps of a two-dimensional pair: the mean over one coordinate of the other's H at what epsilon is left."""
    u = [mp.sqrt(x) for x in b]

    def loss(x: mp.mpf) -> mp.mpf:
        return -mp.log(c[1]) / 2 - (x - u[1]) ** 2 / (2 * c[1]) + x * x / 2

    def integrand(x: mp.mpf) -> mp.mpf:
        density = mp.e ** (-((x - u[1]) ** 2) / (2 * c[1])) / mp.sqrt(2 * mp.pi * c[1])
        return density * _one_coordinate(c[0], u[0], epsilon - loss(x))

    # The inner H has a kink where what is left of epsilon meets the other coordinate's extreme loss.
    extreme = -mp.log(c[0]) / 2 + u[0] ** 2 / (2 * (1 - c[0]))
    alpha, beta = (1 - 1 / c[1]) / 2, u[1] / c[1]
    gamma = -mp.log(c[1]) / 2 - u[1] ** 2 / (2 * c[1]) + extreme - epsilon
    square = beta * beta - 4 * alpha * gamma
    kinks = [(-beta + sign * mp.sqrt(square)) / (2 * alpha) for sign in (-1, 1)] if square > 0 else []
    grid = [u[1] + mp.sqrt(c[1]) * k for k in (-30, -12, -6, -3, 0, 3, 6, 12, 30)]
    return mp.quad(integrand, sorted([*grid, *(x for x in kinks if grid[0] < x < grid[-1])]))


def _transform(c: list[mp.mpf], b: list[mp.mpf], n: int, level: mp.mpf, kind: str) -> mp.mpf:
    """Log of the inverse transform, by the trapezoid rule along hyperbolas until halving the step changes nothing."""
    log = _log_integrand(c, b, n, level, kind)
    low = -1 if kind == "tail_q" else 0
    top = 1 / (max(c) - 1) if max(c) > 1 else mp.inf
    saddle = _minimise(lambda s: log(s).real, low, top)
    with mp.workdps(60):
        h = min(saddle - low, top - saddle) * mp.mpf("1e-10")
        width = 1 / mp.sqrt((log(saddle + h) - 2 * log(saddle) + log(saddle - h)).real / h**2)
    limit = sum(-n * mp.log(x) / 2 + y / (2 * (1 - x)) for x, y in zip(c, b, strict=True))
    for lean in (0.3, 0.1, 0.6, 0.03):
        direction = -mp.sign(limit - level) * lean
        total = _along(log, saddle, width, direction, low)
        if total is not None:
            return log(saddle).real + mp.log(total)
    raise AssertionError("the oracle did not converge")


def _log_integrand(c: list[mp.mpf], b: list[mp.mpf], n: int, level: mp.mpf, kind: str) -> Callable[..., mp.mpc]:
    def log(s: mp.mpc) -> mp.mpc:
        total = -level * (s + 1 if kind == "tail_q" else s)
        for x, y in zip(c, b, strict=True):
            v = 1 + s * (1 - x)
            total += -mp.mpf(n) / 2 * (s * mp.log(x) + mp.log(v)) + s * (1 + s) * y / (2 * v)
        if kind != "tail_q":
            total -= mp.log(s)
        return total - mp.log(1 + s) if kind != "tail_p" else total

    return lambda s: mp.mpc(log(mp.mpc(s)))


def _minimise(value: Callable[[mp.mpf], mp.mpf], low: float, top: mp.mpf) -> mp.mpf:
    """Golden-section search over the log-odds."""

    def at(t: mp.mpf) -> mp.mpf:
        return low + 1 / (mp.e**-t + (1 / (top - low) if top != mp.inf else 0))

    left, right, golden = mp.mpf(-40), mp.mpf(40), (mp.sqrt(5) - 1) / 2
    for _ in range(40):
        one, two = right - golden * (right - left), left + golden * (right - left)
        left, right = (left, two) if value(at(one)) < value(at(two)) else (one, right)
    return at((left + right) / 2)


def _along(log: Callable[[mp.mpc], mp.mpc], saddle: mp.mpf, width: mp.mpf, direction: float, low: int) -> mp.mpf | None:
    """The integral relative to the integrand at the saddle, or None where it grows or the steps disagree."""
    peak = log(saddle).real

    def walk(step: mp.mpf, offset: float) -> mp.mpf | None:
        total, before, j = mp.mpf(0), mp.inf, 0
        while j < 4000:
            x = (j + mp.mpf(offset)) * step
            s = saddle + width * (1j * mp.sinh(x) + direction * (mp.cosh(x) - 1))
            value = log(s) - peak
            if value.real > before + 1e-9:
                return None
            before = value.real
            term = (mp.e**value * width * (1j * mp.cosh(x) + direction * mp.sinh(x))).imag / mp.pi
            total += term / 2 if x == 0 else term
            if value.real + mp.log(abs(s - low) / width) < -50:
                return total
            j += 1
        return None

    step = mp.mpf("0.2")
    total = walk(step, 0)
    for _ in range(5):
        extra = walk(step, 0.5) if total is not None else None
        if total is None or extra is None:
            return None
        refined, step = total + extra, step / 2
        if abs(refined * step - total * 2 * step) < mp.mpf("1e-18") * abs(refined * step):
            return refined * step
        total = refined
    return None


@pytest.mark.parametrize("index", some_of(N_CONDITIONAL))
def test_two_coordinates_agree_with_conditioning(index):
    rng = np.random.default_rng([SEED, 0, index])
    c, b = _draw(rng, 2)
    pair = GaussianPair(variance_ratios=c, squared_shifts=b)
    epsilon = _typical_epsilon(rng, pair)
    expected = _conditional([mp.mpf(float(x)) for x in c], [mp.mpf(float(x)) for x in b], mp.mpf(epsilon))
    assert abs(mp.mpf(pair.delta(epsilon)) / expected - 1) <= RELATIVE_ERROR


@pytest.mark.parametrize("index", some_of(N_TRANSFORM))
def test_one_to_four_coordinates_agree_with_the_transform(index):
    rng = np.random.default_rng([SEED, 1, index])
    p, n, kind = int(rng.integers(1, 5)), int(rng.choice([1, 2, 3, 10])), list(KERNELS)[index % 3]
    c, b = _draw(rng, p)
    pair = GaussianPair(variance_ratios=c, squared_shifts=b, n_columns=n)
    epsilon = _typical_epsilon(rng, pair)
    result = pair.evaluate(KERNELS[kind], epsilon)
    expected = _transform([mp.mpf(float(x)) for x in c], [mp.mpf(float(x)) for x in b], n, mp.mpf(epsilon), kind)
    error = abs(mp.mpf(float(result.log_value)) - expected)
    assert error <= RELATIVE_ERROR
    # The error that a value carries must bound its true error, or certificates are not rounded outward.
    assert error <= float(result.log_error)


def test_the_two_oracles_agree():
    c, b, epsilon = [mp.mpf("0.4"), mp.mpf("1.7")], [mp.mpf("0.3"), mp.mpf("0.05")], mp.mpf("0.75")
    # mpmath's quadrature aims at the working precision of 30 digits; half of it is plenty here.
    assert abs(mp.log(_conditional(c, b, epsilon)) - _transform(c, b, 1, epsilon, "delta")) < mp.mpf("1e-15")
