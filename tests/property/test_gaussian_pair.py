"""Identities that hold for every pair of Gaussians, and every corner of how two laws can be related."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mechanisms.accounting import gdp
from mechanisms.accounting.contour import HOCKEY_STICK, TAIL_UNDER_P, TAIL_UNDER_Q
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair
from mechanisms.accounting.loss_cumulant import group_coordinates, merge_near_one
from mechanisms.claim import Direction
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import GaussianLaw

BOUNDED = settings(max_examples=20, deadline=None, derandomize=True)

# Ratios across [.01, 100], near 1, exactly 1, and nearer to 1 than any arithmetic resolves.
RATIO = st.one_of(
    st.floats(math.log(0.01), math.log(100)).map(math.exp),
    st.floats(-1e-2, 1e-2).map(math.exp),
    st.just(1.0),
    st.sampled_from([1 + 1e-13, 1 - 1e-13, 1 + 1e-11]),
)
SHIFT = st.one_of(st.just(0.0), st.floats(-8, 0.7).map(lambda x: 10**x))


@st.composite
def pairs(draw: st.DrawFn, max_coordinates: int = 4) -> GaussianPair:
    p = draw(st.integers(1, max_coordinates))
    pair = GaussianPair(
        variance_ratios=np.array([draw(RATIO) for _ in range(p)]),
        squared_shifts=np.array([draw(SHIFT) for _ in range(p)]),
        n_columns=draw(st.sampled_from([1, 2, 10])),
    )
    # Something must differ, or every statement is trivial.
    assume(pair.delta(0.0) > 1e-9)
    return pair


def _epsilons(pair: GaussianPair) -> np.ndarray:
    """Five epsilons from 0 to where delta is 1e-12, none so near a largest loss that its last digit decides."""
    top = min(pair.epsilon(1e-12), pair.max_loss)
    while float(pair.evaluate(HOCKEY_STICK, top).log_error) > RELATIVE_ERROR / 10:
        top *= 0.999
    return np.linspace(0.0, top, 5)


def _close(a: np.ndarray | float, b: np.ndarray | float, scale: np.ndarray | float = 0.0) -> None:
    """Equal within the guaranteed relative error of each side, plus that of a scale that was subtracted from."""
    slack = RELATIVE_ERROR * (np.abs(a) + np.abs(b) + scale)
    assert np.all(np.abs(np.asarray(a) - b) <= slack), (a, b)


@BOUNDED
@given(pairs())
def test_delta_is_a_privacy_profile(pair):
    epsilons = _epsilons(pair)
    delta = pair.delta(epsilons)
    assert np.all((delta >= 0) & (delta <= 1))
    assert np.all(np.diff(delta) <= RELATIVE_ERROR * delta[:-1])
    # Convex in e^epsilon: every inner point is below the chord of its neighbours.
    low, middle, high = epsilons[:-2], epsilons[1:-1], epsilons[2:]
    share = np.expm1(middle - high) / np.expm1(low - high)
    chord = share * delta[:-2] + (1 - share) * delta[2:]
    assert np.all(delta[1:-1] <= chord * (1 + 2 * RELATIVE_ERROR) + RELATIVE_ERROR * share * delta[:-2])


@BOUNDED
@given(pairs())
def test_delta_at_zero_is_the_total_variation_distance(pair):
    tv = pair.delta(0.0)
    _close(tv, pair.reversed().delta(0.0))
    _close(tv, pair.tail_p(0.0) - pair.tail_q(0.0), scale=pair.tail_p(0.0) + pair.tail_q(0.0))


@BOUNDED
@given(pairs())
def test_delta_is_the_difference_of_its_tails(pair):
    epsilons = _epsilons(pair)
    p, q = pair.tail_p(epsilons), np.exp(epsilons + pair.evaluate(TAIL_UNDER_Q, epsilons).log_value)
    _close(pair.delta(epsilons), p - q, scale=p + q)


@BOUNDED
@given(pairs())
def test_both_tails_of_both_worlds_add_up(pair):
    """P(loss > t) and P(loss <= t) are separate integrals: the second is the other direction's tail under Q."""
    t = np.concatenate([-_epsilons(pair.reversed())[1:], _epsilons(pair)])
    _close(pair.tail_p(t), 1.0 - pair.reversed().tail_q(-t), scale=1.0)


@BOUNDED
@given(pairs())
def test_reversing_twice_is_the_identity(pair):
    twice = pair.reversed().reversed()
    # One division and its inverse: two units in the last place.
    np.testing.assert_allclose(twice.variance_ratios, pair.variance_ratios, rtol=5e-16)
    np.testing.assert_allclose(twice.squared_shifts, pair.squared_shifts, rtol=5e-16)
    assert twice.n_columns == pair.n_columns


@BOUNDED
@given(pairs())
def test_negative_epsilons_mirror_the_other_direction(pair):
    epsilons = _epsilons(pair.reversed())
    expected = -np.expm1(-epsilons) + np.exp(-epsilons) * pair.reversed().delta(epsilons)
    _close(pair.delta(-epsilons), expected)


@BOUNDED
@given(pairs(), st.floats(-0.99, 2.0))
def test_the_cumulants_mirror_each_other(pair, s):
    mine, theirs = pair.cumulant(s), pair.reversed().cumulant(-1.0 - s)
    assume(math.isfinite(mine) and abs(mine) < 1e6)
    # Sums of a few logarithms of both signs: each is rounded relative to its own size.
    magnitude = pair.n_columns * np.sum(np.abs(np.log(pair.variance_ratios))) * 3 + abs(mine) + 1
    assert abs(mine - theirs) <= 1e-12 * magnitude


def test_a_cumulant_that_is_infinite_is_so_in_the_mirror():
    pair = GaussianPair(variance_ratios=np.array([3.0]), squared_shifts=np.array([1.0]))
    assert pair.cumulant(0.49) < math.inf
    assert pair.cumulant(0.51) == math.inf
    assert pair.reversed().cumulant(-1.51) == math.inf
    assert pair.cumulant(np.array([0.0, -1.0])) == pytest.approx([0.0, 0.0], abs=1e-15)


@BOUNDED
@given(pairs(), RATIO, SHIFT)
def test_another_coordinate_never_lowers_delta(pair, ratio, shift):
    larger = GaussianPair(
        variance_ratios=np.append(pair.variance_ratios, ratio),
        squared_shifts=np.append(pair.squared_shifts, shift),
        n_columns=pair.n_columns,
    )
    epsilons = _epsilons(pair)
    assert np.all(larger.delta(epsilons) >= pair.delta(epsilons) * (1 - 2 * RELATIVE_ERROR))


@BOUNDED
@given(pairs(), st.floats(-0.9, 0.4))
def test_stacking_adds_cumulants(pair, s):
    """Independent losses add: the cumulant of a stack of coordinates is the sum over its coordinates."""
    parts = [
        GaussianPair(variance_ratios=np.array([c]), squared_shifts=np.array([b]), n_columns=pair.n_columns).cumulant(s)
        for c, b in zip(pair.variance_ratios, pair.squared_shifts, strict=True)
    ]
    assume(all(math.isfinite(part) for part in parts))
    # Each part is a difference of two logarithms that are rounded relative to their own size.
    magnitude = pair.n_columns * float(np.sum(np.abs(np.log(pair.variance_ratios)))) + float(np.sum(np.abs(parts)))
    assert abs(pair.cumulant(s) - math.fsum(parts)) <= 1e-14 * magnitude


@BOUNDED
@given(pairs())
def test_columns_are_repeated_coordinates(pair):
    """One coordinate with n columns is n coordinates with one column that share its shift."""
    n = pair.n_columns
    spread = GaussianPair(
        variance_ratios=np.repeat(pair.variance_ratios, n), squared_shifts=np.repeat(pair.squared_shifts / n, n)
    )
    epsilons = _epsilons(pair)
    _close(spread.delta(epsilons), pair.delta(epsilons))


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_stacking_convolves_the_losses(epsilon):
    """H of a stack is the mean of one part's H at what epsilon the other part's loss leaves, here by quadrature."""
    one = GaussianPair(variance_ratios=np.array([0.6]), squared_shifts=np.array([0.2]))
    both = GaussianPair(variance_ratios=np.array([0.6, 1.0]), squared_shifts=np.array([0.2, 0.49]))
    # The other part is N(.7, 1) against N(0, 1): its loss is N(.245, .49). Gauss-Hermite does not reach the kink of
    # a bounded loss; the trapezoid rule on a fine grid does, with an error of its step to the power 2.5.
    x = np.linspace(-9.0, 9.0, 6001)
    weights = np.exp(-x * x / 2) * (x[1] - x[0]) / math.sqrt(2 * math.pi)
    mean = float(weights @ one.delta(epsilon - 0.245 - 0.7 * x))
    assert both.delta(epsilon) == pytest.approx(mean, rel=1e-6)


@BOUNDED
@given(pairs(), st.floats(-9, -0.5))
def test_epsilon_is_tight_and_safe(pair, log_delta):
    delta = 10**log_delta
    found = pair.epsilon(delta)
    assert pair.log_delta_upper(found) <= math.log(delta)
    if found > 0:
        # Lower by more than the search's tolerance and the value's own error, turned into epsilon by the slope.
        at = pair.evaluate(HOCKEY_STICK, found)
        assert pair.delta(found - 8 * float((1e-11 + at.log_error) / at.mean_s)) > delta


@BOUNDED
@given(pairs(), st.floats(1.05, 20.0))
def test_the_renyi_bound_is_never_below_the_exact_epsilon(pair, order):
    divergence = pair.renyi(order)
    assume(math.isfinite(divergence))
    for delta in (1e-2, 1e-6):
        assert divergence + math.log(1 / delta) / (order - 1) >= pair.epsilon(delta)


@BOUNDED
@given(pairs())
def test_renyi_divergences_increase_with_the_order_up_to_the_largest_loss(pair):
    values = np.array([pair.renyi(order) for order in (0.5, 0.999, 1.0, 1.001, 2.0, 5.0, math.inf)])
    finite = values[np.isfinite(values)]
    # Divided by order - 1, the rounding of the cumulant counts a thousandfold.
    assert np.all(np.diff(finite) >= -1e-10 * finite[:-1])
    assert values[-1] == pair.max_loss


@settings(BOUNDED, max_examples=12)
@given(pairs())
def test_the_profile_covers_and_rounds_outward(pair):
    table = pair.profile()
    epsilons = np.array(table.epsilons)
    assert 10 <= len(epsilons) <= 60
    assert epsilons[0] == 0
    last = []
    for direction, one in (
        (Direction.UNLEARNED_FROM_RETRAINED, pair),
        (Direction.RETRAINED_FROM_UNLEARNED, pair.reversed()),
    ):
        rows = np.array(table.log_deltas[direction])
        result = one.evaluate(HOCKEY_STICK, epsilons)
        assert np.all(rows >= np.minimum(result.log_value + np.minimum(result.log_error, 1e-300), 0.0))
        # Outward, but by no more than the guaranteed error where that guarantee holds.
        inside = (result.log_value > math.log(1e-30)) & (result.log_error <= RELATIVE_ERROR)
        assert np.max(rows[inside] - result.log_value[inside], initial=0.0) <= RELATIVE_ERROR
        last.append(rows[-1])
    assert max(last) < math.log(2e-12)


@BOUNDED
@given(pairs())
def test_the_trade_off_is_a_convex_curve_with_delta_as_its_support_function(pair):
    fpr, fnr = pair.trade_off(41)
    assert (fpr[0], fnr[0], fpr[-1], fnr[-1]) == (0.0, 1.0, 1.0, 0.0)
    assert np.all(np.diff(fpr) >= 0)
    assert np.all(np.diff(fnr) <= 0)
    assert np.all(fpr + fnr <= 1 + RELATIVE_ERROR)
    # Every test obeys the profile, in both directions.
    with np.errstate(divide="ignore"):
        log_fpr, log_fnr = np.log(fpr), np.log(fnr)
    for epsilon in _epsilons(pair):
        forwards, backwards = pair.delta(epsilon), pair.reversed().delta(epsilon)
        assert np.all(1 - fnr <= np.exp(np.minimum(epsilon + log_fpr, 1)) + forwards + 2 * RELATIVE_ERROR)
        assert np.all(1 - fpr <= np.exp(np.minimum(epsilon + log_fnr, 1)) + backwards + 2 * RELATIVE_ERROR)


@pytest.mark.parametrize("deviation", [0.3, 1.0, 4.0, 60.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.01, 0.5, 2.0])
def test_equal_covariances_agree_with_an_established_accountant(deviation, epsilon):
    pair = GaussianPair(variance_ratios=np.ones(3), squared_shifts=np.array([0.5, 0.25, 0.25]) / deviation**2)
    expected = GaussianPrivacyLoss(deviation).get_delta_for_epsilon(epsilon)
    # The reference subtracts two probabilities, which costs it 1e-15 in absolute terms.
    assert pair.delta(epsilon) == pytest.approx(expected, rel=1e-12, abs=2e-15)


def test_equal_covariances_are_gaussian_dp_and_nearby_ones_tend_to_it():
    epsilons = np.linspace(0, 3, 7)
    expected = gdp.delta(0.7, epsilons)
    for gap in (0.0, 1e-14, 1e-11, 1e-9):
        pair = GaussianPair(variance_ratios=np.array([1 + gap, 1 - gap]), squared_shifts=np.array([0.29, 0.2]))
        # log delta moves by at most mean_s^2 * shift * gap / 2; mean_s stays below 10 here.
        np.testing.assert_allclose(pair.delta(epsilons), expected, rtol=RELATIVE_ERROR + 1e3 * gap)


# --- From laws -------------------------------------------------------------------------------------------------------


def _random_laws(rng: np.random.Generator, p: int, q: int) -> tuple[GaussianLaw, GaussianLaw]:
    roots = [rng.standard_normal((p, p)) / np.sqrt(p) + np.eye(p) for _ in range(2)]
    means = [0.3 * rng.standard_normal((p, q)) for _ in range(2)]
    return tuple(GaussianLaw(mean=m, covariance=r @ r.T) for m, r in zip(means, roots, strict=True))


def _mapped(law: GaussianLaw, matrix: np.ndarray, offset: np.ndarray) -> GaussianLaw:
    return GaussianLaw(mean=matrix @ law.mean + offset, covariance=matrix @ law.covariance @ matrix.T)


@pytest.mark.parametrize("seed", range(12))
def test_any_invertible_affine_map_leaves_the_pair_alone(seed):
    rng = np.random.default_rng([11, seed])
    p, q = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    one, two = _random_laws(rng, p, q)
    # Units that differ by ten orders of magnitude, after a well-conditioned mixing.
    matrix = np.diag(10.0 ** rng.uniform(-5, 5, p)) @ (np.eye(p) + 0.3 * rng.standard_normal((p, p)) / np.sqrt(p))
    offset = rng.standard_normal((p, q))
    before = GaussianPair.from_laws(one, two)
    after = GaussianPair.from_laws(_mapped(one, matrix, 0 * offset), _mapped(two, matrix, 0 * offset))
    # Eigenvalues of matrices with condition below 1e4, eleven digits.
    epsilons = np.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(after.variance_ratios, before.variance_ratios, rtol=1e-9)
    np.testing.assert_allclose(after.delta(epsilons), before.delta(epsilons), rtol=1e-9)


def test_ratios_and_shifts_by_hand():
    p = GaussianLaw(mean=np.array([[1.0, 2.0], [0.0, 0.0]]), covariance=np.diag([2.0, 3.0]))
    q = GaussianLaw(mean=np.zeros((2, 2)), covariance=np.diag([4.0, 1.0]))
    pair = GaussianPair.from_laws(p, q)
    np.testing.assert_allclose(pair.variance_ratios, [0.5, 3.0], rtol=1e-14)
    np.testing.assert_allclose(pair.squared_shifts, [5.0 / 4.0, 0.0], rtol=1e-14, atol=1e-30)
    assert pair.n_columns == 2


def test_order_and_reversal_agree():
    rng = np.random.default_rng(12)
    one, two = _random_laws(rng, 5, 3)
    forward, backward = GaussianPair.from_laws(one, two), GaussianPair.from_laws(two, one)
    np.testing.assert_allclose(forward.reversed().delta([0.1, 1.0]), backward.delta([0.1, 1.0]), rtol=1e-10)


def test_a_bad_condition_number_does_not_spoil_ratios_near_one():
    """Sigma_P = Sigma_Q + t v v' has one ratio 1 + t v' Sigma_Q^-1 v, all others exactly 1: condition 1e12."""
    rng = np.random.default_rng(13)
    p = 30
    basis = np.linalg.qr(rng.standard_normal((p, p)))[0]
    factor = basis * np.logspace(0, -6, p)
    v = factor @ rng.standard_normal(p)
    cov = factor @ factor.T
    direction = np.linalg.solve(factor, v)
    t = 0.1 / float(direction @ direction)
    pair = GaussianPair.from_laws(
        GaussianLaw(mean=np.zeros((p, 1)), covariance=cov + t * np.outer(v, v)),
        GaussianLaw(mean=np.zeros((p, 1)), covariance=cov),
    )
    expected = GaussianPair(variance_ratios=np.array([1.1]), squared_shifts=np.zeros(1))
    # The inputs themselves are rounded, which moves a ratio by condition times a unit: 1e-4.
    np.testing.assert_allclose(pair.delta([0.0, 0.05, 0.3]), expected.delta([0.0, 0.05, 0.3]), rtol=2e-3)


def test_a_common_null_space_with_equal_means_is_dropped():
    """Both laws seen through a tall matrix: the pair is what it was before."""
    rng = np.random.default_rng(14)
    one, two = _random_laws(rng, 4, 2)
    tall = rng.standard_normal((9, 4))
    seen = [_mapped(law, tall, np.ones((9, 2))) for law in (one, two)]
    before, after = GaussianPair.from_laws(one, two), GaussianPair.from_laws(*seen)
    assert len(after.variance_ratios) == 4
    # The cut-off of the eigenvalue route leaves about eleven digits.
    np.testing.assert_allclose(after.delta([0.0, 1.0]), before.delta([0.0, 1.0]), rtol=1e-9)


def test_a_coordinate_without_noise_is_dropped_or_decides():
    cov = np.diag([1.0, 0.0])
    q = GaussianLaw(mean=np.array([[0.0], [5.0]]), covariance=cov)
    same = GaussianLaw(mean=np.array([[1.0], [5.0]]), covariance=cov)
    other = GaussianLaw(mean=np.array([[1.0], [5.1]]), covariance=cov)
    assert GaussianPair.from_laws(same, q).delta(0.5) == pytest.approx(gdp.delta(1.0, 0.5), rel=1e-12)
    assert GaussianPair.from_laws(other, q).disjoint


@pytest.mark.parametrize("swap", [False, True])
def test_a_direction_in_which_one_law_alone_varies_makes_them_disjoint(swap):
    rng = np.random.default_rng(15)
    tall = rng.standard_normal((5, 3))
    wide = GaussianLaw(mean=np.zeros((5, 1)), covariance=np.eye(5))
    flat = GaussianLaw(mean=np.zeros((5, 1)), covariance=tall @ tall.T)
    pair = GaussianPair.from_laws(*((flat, wide) if swap else (wide, flat)))
    assert pair.disjoint
    assert pair.delta(100.0) == pair.reversed().delta(100.0) == 1.0
    # Neither range contains the other.
    left = GaussianLaw(mean=np.zeros((2, 1)), covariance=np.diag([1.0, 0.0]))
    right = GaussianLaw(mean=np.zeros((2, 1)), covariance=np.diag([0.0, 1.0]))
    assert GaussianPair.from_laws(*((left, right) if swap else (right, left))).disjoint


def test_a_null_direction_with_different_means_makes_them_disjoint():
    tall = np.random.default_rng(16).standard_normal((4, 2))
    normal = np.linalg.svd(tall.T)[2][-1:].T
    cov = tall @ tall.T
    p = GaussianLaw(mean=1e-6 * normal, covariance=cov)
    q = GaussianLaw(mean=np.zeros((4, 1)), covariance=cov)
    assert GaussianPair.from_laws(p, q).disjoint
    assert not GaussianPair.from_laws(GaussianLaw(mean=tall @ np.ones((2, 1)), covariance=cov), q).disjoint


def test_no_noise_at_all():
    zero, one = np.zeros((3, 1)), np.ones((3, 1))
    nothing = np.zeros((3, 3))
    same = GaussianPair.from_laws(GaussianLaw(mean=one, covariance=nothing), GaussianLaw(mean=one, covariance=nothing))
    apart = GaussianPair.from_laws(
        GaussianLaw(mean=one, covariance=nothing), GaussianLaw(mean=zero, covariance=nothing)
    )
    assert same.identical
    assert (same.delta(0.0), same.epsilon(1e-9), same.max_loss) == (0.0, 0.0, 0.0)
    assert apart.disjoint
    assert (apart.delta(50.0), apart.epsilon(0.999), apart.epsilon(1.0)) == (1.0, math.inf, 0.0)
    assert apart.profile().log_deltas[Direction.UNLEARNED_FROM_RETRAINED] == (0.0,)
    assert same.profile().log_deltas[Direction.UNLEARNED_FROM_RETRAINED] == (-math.inf,)


def _standard(p: int, covariance_of: int | None = None, mean: float = 0.0) -> GaussianLaw:
    return GaussianLaw(mean=np.full((p, 1), mean), covariance=np.eye(covariance_of or p))


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (_standard(2), _standard(3)),
        (_standard(2, covariance_of=3), _standard(2)),
        (_standard(2, mean=math.nan), _standard(2)),
    ],
)
def test_laws_that_cannot_be_compared_are_refused(p, q):
    with pytest.raises(InvalidInputError):
        GaussianPair.from_laws(p, q)


# --- Corners ---------------------------------------------------------------------------------------------------------


def test_identical_laws():
    pair = GaussianPair(variance_ratios=np.ones(2), squared_shifts=np.zeros(2), n_columns=4)
    np.testing.assert_allclose(pair.delta([-1.0, 0.0, 1.0]), [1 - math.exp(-1), 0.0, 0.0], rtol=1e-15)
    np.testing.assert_array_equal(pair.tail_p([-1.0, 0.0, 1.0]), [1.0, 0.0, 0.0])
    assert (pair.epsilon(0.0), pair.max_loss, pair.renyi(3.0)) == (0.0, 0.0, 0.0)
    assert GaussianPair(variance_ratios=np.empty(0), squared_shifts=np.empty(0)).identical


def test_a_bounded_loss_ends_exactly():
    pair = GaussianPair(
        variance_ratios=np.array([0.3, 0.5, 1.0]), squared_shifts=np.array([0.0, 1.0, 0.0]), n_columns=2
    )
    largest = -math.log(0.3) - math.log(0.5) + 1.0
    assert pair.max_loss == pytest.approx(largest, rel=1e-14)
    assert pair.max_loss >= largest
    assert pair.delta(pair.max_loss) == 0.0
    assert 0 < pair.delta(0.999 * pair.max_loss) < 1e-4
    assert pair.epsilon(0.0) == pair.max_loss
    assert pair.renyi(math.inf) == pair.max_loss
    near = np.array([1 - 10.0**-k for k in range(3, 17)]) * largest
    # All the way into the last digit of epsilon: no NaN, not increasing.
    assert np.all(np.diff(pair.log_delta(near)) <= 0)
    # A shift where the ratio is 1 unbounds it.
    unbounded = GaussianPair(variance_ratios=np.array([0.3, 1.0]), squared_shifts=np.array([0.0, 1e-9]))
    assert unbounded.max_loss == math.inf
    assert unbounded.log_delta(3.0) < -1e8


def test_far_tails_keep_their_logarithm():
    pair = GaussianPair(variance_ratios=np.array([0.9, 1.1]), squared_shifts=np.array([0.1, 0.1]))
    logs = pair.log_delta(np.array([10.0, 40.0, 1e3, 1e6]))
    assert np.all(np.diff(logs) < 0)
    assert -500 < logs[1] < -300
    assert logs[3] < -9e6
    # The slope of log delta tends to minus the end of the cumulant's interval, 1 / (c - 1).
    assert logs[3] / 1e6 == pytest.approx(-10.0, rel=1e-2)
    assert pair.log_delta(math.inf) == -math.inf
    assert pair.log_delta(-math.inf) == 0.0


def test_many_coordinates_that_differ_by_nothing_cost_nothing():
    """Rounding noise around ratio 1, as an eigensolver leaves it, changes no digit."""
    rng = np.random.default_rng(17)
    ratios, shifts = np.array([0.8, 1.2, 1.05]), np.array([0.1, 0.0, 0.3])
    noise = 1 + 1e-14 * rng.standard_normal(20_000)
    clean = GaussianPair(variance_ratios=ratios, squared_shifts=shifts, n_columns=10)
    noisy = GaussianPair(
        variance_ratios=np.concatenate([ratios, noise]),
        squared_shifts=np.concatenate([shifts, np.zeros(len(noise))]),
        n_columns=10,
    )
    epsilons = np.array([0.0, 1.0, 4.0])
    _close(noisy.delta(epsilons), clean.delta(epsilons))


def test_merging_ratios_near_one_keeps_the_second_order():
    """200,000 gaps of 1e-8 beside one real difference: what merging neglects is bounded by what it says."""
    ratios = np.concatenate([[0.8], 1 + 1e-8 * np.where(np.arange(20_000) % 2, 1.1, -0.9)])
    full = group_coordinates(ratios, np.concatenate([[0.1], np.full(20_000, 1e-22)]), 10)
    merged = merge_near_one(full)
    assert len(merged.weights) == 1
    tilts = np.array([1.0, 1e2, 1e4])
    # The coordinate that is kept contributes 10 s |log .8| and its like, rounded to a few units.
    rounding = 10 * tilts * 1e-15
    error = np.abs(merged.value(tilts) - full.value(tilts))
    assert np.all(error <= merged.skew_neglected * (tilts + 1) ** 3 + rounding)
    # The second order itself is far larger than that bound.
    assert 100 * merged.skew_neglected * tilts[-1] ** 3 < 2e5 * 1e-16 * tilts[-1] ** 2 / 4


def test_many_small_differences_add_up():
    """20,000 small differences are nearly a Gaussian loss of the same variance; its skewness is what remains."""
    rng = np.random.default_rng(18)
    gaps, shifts = 1e-4 * rng.standard_normal(20_000), 1e-6 * rng.random(20_000)
    pair = GaussianPair(variance_ratios=1 + gaps, squared_shifts=shifts)
    variance = float(np.sum(gaps**2 / 2 + shifts))
    expected = gdp.delta(math.sqrt(variance), np.array([0.0, 0.1, 0.3]))
    np.testing.assert_allclose(pair.delta([0.0, 0.1, 0.3]), expected, rtol=2e-3)


def test_tiny_shifts_keep_their_relative_accuracy():
    for shift in (1e-8, 1e-16, 1e-30):
        pair = GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([shift]))
        assert pair.delta(0.0) == pytest.approx(math.sqrt(shift / (2 * math.pi)), rel=1e-8)
        assert pair.epsilon(0.1) == 0.0


def test_a_ratio_alone_by_its_own_formula():
    """N(0, c) against N(0, 1) without shift: the loss exceeds epsilon outside an interval that is known."""
    c, epsilon = 1.8, 0.4
    edge = math.sqrt(2 * (epsilon + math.log(c) / 2) / (1 - 1 / c))
    expected = math.erfc(edge / math.sqrt(2 * c)) - math.exp(epsilon) * math.erfc(edge / math.sqrt(2))
    pair = GaussianPair(variance_ratios=np.array([c]), squared_shifts=np.zeros(1))
    assert pair.delta(epsilon) == pytest.approx(expected, rel=1e-12)


def test_shapes_are_kept():
    pair = GaussianPair(variance_ratios=np.array([0.9, 1.3]), squared_shifts=np.array([0.1, 0.2]))
    grid = np.array([[0.0, 0.5], [1.0, math.inf]])
    table = pair.delta(grid)
    assert table.shape == grid.shape
    for index, epsilon in np.ndenumerate(grid):
        # Rows of a table share the number of nodes, nothing else.
        assert table[index] == pytest.approx(pair.delta(float(epsilon)), rel=1e-12)
    assert isinstance(pair.delta(0.5), float)
    assert isinstance(pair.log_delta_upper(0.5), float)
    assert pair.evaluate(TAIL_UNDER_P, 0.5).log_value.shape == ()


def test_inputs_are_copied_and_frozen():
    ratios = np.array([0.9])
    pair = GaussianPair(variance_ratios=ratios, squared_shifts=np.zeros(1))
    ratios[0] = 5.0
    assert pair.variance_ratios[0] == 0.9
    with pytest.raises(ValueError, match="read-only"):
        pair.variance_ratios[0] = 2.0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: GaussianPair(variance_ratios=np.array([0.0]), squared_shifts=np.zeros(1)), "variance_ratios"),
        (lambda: GaussianPair(variance_ratios=np.array([math.inf]), squared_shifts=np.zeros(1)), "variance_ratios"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=-np.ones(1)), "squared_shifts"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.array([math.nan])), "squared_shifts"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(2)), "squared_shifts"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1), n_columns=0), "n_columns"),
        (lambda: GaussianPair(variance_ratios=[1.0], squared_shifts=[1.0], n_columns=math.nan), "n_columns"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).delta(math.nan), "epsilon"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).epsilon(-0.1), "delta"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).epsilon(math.nan), "delta"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).renyi(0.0), "order"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).trade_off(1), "n_points"),
        (lambda: GaussianPair(variance_ratios=np.ones(1), squared_shifts=np.ones(1)).profile([-1.0]), "epsilons"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(InvalidInputError, match=rf"^Expected {name} "):
        call()
