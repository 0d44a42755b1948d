"""Published mechanisms: variants, canaries, samplers, and every exact epsilon a second time, with 30 digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import kstest, norm

from mechanisms.protocol import World
from mechanisms.published import (
    hessian_free,
    langevin,
    noisy_sgd,
    source_method,
)
from mechanisms.published.catalogue import CATALOGUE
from mechanisms.published.fine_tuning import gradient_clipping, group_privacy, model_clipping
from mechanisms.published.frame import Variant
from mechanisms.published.releases import GaussianRelease
from mechanisms.published.source_method import TwoRecords
from tests.unit.published_oracles import (
    batches_mu,
    chain_mu,
    classical_mu,
    delta_of,
    descent_mu,
    estimated_mu,
    finetuning_mu,
    first_batch_mu,
    group_mu,
    hessian_free_mu,
    langevin_mu,
    made,
    newton_mu,
    norm_mu,
    preprocessing_mu,
    rewind_mu,
    sgd_mu,
    surrogate_mu,
    variant,
)

NAMES = tuple(CATALOGUE)
WORLDS = (World.UNLEARNED, World.RETRAINED)
# Mean and standard deviation.
Law = tuple[mp.mpf, mp.mpf]


@pytest.mark.parametrize("name", NAMES)
def test_variants_differ_in_the_named_settings_only(name: str) -> None:
    mechanism = made(name)
    assert mechanism.name == name
    twin = mechanism.twin
    assert (twin is None) == (mechanism.differ == ()) == (mechanism.cause == "")
    if twin is None:
        return
    one, other = mechanism.audited.settings, twin.settings
    assert one.keys() == other.keys()
    assert {key for key in one if one[key] != other[key]} == set(mechanism.differ)
    assert all((mechanism.cause, mechanism.repair, mechanism.caught_by))


@pytest.mark.parametrize("name", NAMES)
def test_canaries_lie_inside_what_is_assumed(name: str) -> None:
    mechanism = made(name)
    assert mechanism.inside
    assert all(math.isfinite(a.value) and math.isfinite(a.limit) for a in mechanism.assumptions)
    assert mechanism.not_said
    assert mechanism.reason


def test_surrogate_records_of_the_same_distribution_that_are_counted_as_the_records_move_nothing() -> None:
    twin = made("without_source_data_count").twin
    assert twin is not None
    # 1 / (1000 (1 + 3) / 2 - 1), with a minus sign, is where both worlds are.
    assert isinstance(twin.deletion, GaussianRelease)
    assert twin.deletion.centres[World.UNLEARNED] == pytest.approx(-1 / 1999, rel=1e-14)
    assert twin.deletion.centres[World.RETRAINED] == pytest.approx(-1 / 1999, rel=1e-14)
    assert twin.exact == 0


def test_a_stored_vector_is_what_a_record_moved_to_first_order() -> None:
    """By a difference quotient: learning anew with a little less of the record, its batch divided as before."""
    learning = hessian_free.Learning(records=70, penalty=0.4, epochs=3)
    path = learning.path()
    for record in (0, 69):
        own, z = int(learning.batches[record]), float(learning.targets[record])
        less = 1e-6
        w = 0.0
        for step in range(9):
            eta, batch = 0.05 * 0.995**step, step % 3
            pull = float(learning.targets[learning.batches == batch].mean())
            gradient = learning.penalty * w - pull
            if batch == own:
                # A vector is contracted in its own step too.
                gradient -= less * (1 - eta * learning.penalty) * (learning.penalty * w - z) / learning.size(own)
            w -= eta * gradient
        assert (w - path[-1]) / less == pytest.approx(learning.stored(record, path), rel=1e-4)


def test_the_norm_as_penalty_where_learning_has_converged() -> None:
    """Optima as roots; then 200 steps, which meet no bound and no zero."""
    s, m = mp.mpf("0.102"), mp.mpf("0.05")

    def slope(w: mp.mpf, long: int) -> mp.mpf:
        return m - (999 * s / (1 + mp.exp(w * s)) + long / (1 + mp.exp(w))) / (999 + long)

    with mp.workdps(30):
        full, retained = (mp.findroot(lambda w, k=long: slope(w, k), mp.mpf("0.4")) for long in (1, 0))
        w = full
        for _ in range(200):
            w -= slope(w, 0) / 2
        kept, level = (mp.mpf("3.9") / 4) ** 200, mp.log(10**6)
        sigma = 4 * mp.sqrt(2) * mp.mpf("1.05") * kept / (m * 1000 * (1 - kept) * (mp.sqrt(level + 1) - mp.sqrt(level)))
        stated = mp.mpf(made("descent_to_delete_norm").figures["exact epsilon where learning takes 20000 steps"])
        assert float(delta_of((w - retained) / sigma, stated)) == pytest.approx(1e-6, rel=1e-4)


def test_every_record_has_a_deletion_and_the_first_is_the_row() -> None:
    for name in NAMES:
        mechanism = made(name)
        assert (mechanism.of_record is None) == (mechanism.declared_shift is None)
        if mechanism.of_record is None:
            continue
        first, row = mechanism.of_record(0), mechanism.audited.deletion
        assert isinstance(first, GaussianRelease)
        assert isinstance(row, GaussianRelease)
        assert (first.centres, first.sigma) == (row.centres, row.sigma)
        last = mechanism.of_record(mechanism.data.n_records - 1)
        assert isinstance(last, GaussianRelease)
        # Deleting another record leads elsewhere: the argument is not ignored.
        assert last.centres != row.centres


GAUSSIAN: dict[tuple[str, str], Callable[[], mp.mpf]] = {
    ("finetuning_theorem", "as_published"): lambda: 2 / (3 * mp.sqrt(mp.log(10**5))),
    ("finetuning_gradient", "as_coded"): lambda: finetuning_mu("as_coded"),
    ("finetuning_gradient", "corrected"): lambda: finetuning_mu("corrected"),
    ("clipped_output", "as_published"): lambda: classical_mu("1.25", "1e-5"),
    ("strongly_convex_output", "as_published"): lambda: classical_mu("1.25", "1e-5"),
    ("hessian_free", "as_coded"): lambda: hessian_free_mu(1000, "0.5"),
    ("hessian_free_short_batch", "as_coded"): lambda: hessian_free_mu(994, "0"),
    ("hessian_free_short_batch", "corrected"): lambda: hessian_free_mu(994, "0", divisor=2),
    ("without_source_data", "as_coded"): lambda: surrogate_mu(1000, "0"),
    ("without_source_data_count", "as_coded"): lambda: surrogate_mu(2000, "0.5"),
    ("certified_removal", "as_published"): lambda: classical_mu("1.5", "1e-4"),
    ("langevin_single", "as_published"): lambda: langevin_mu(
        1, float(variant("langevin_single", "as_published").settings["sigma"]), 1
    ),
    ("langevin_sequential", "as_coded"): lambda: langevin_mu(1, 0.03, 20),
    ("langevin_sequential", "corrected"): lambda: langevin_mu(1163, 0.03, 20),
    ("langevin_tabled_noise", "as_coded"): lambda: langevin_mu(2, 0.00018914795795776367, 1),
    ("langevin_tabled_noise", "corrected"): lambda: langevin_mu(2, 0.018914795795776367, 1),
    ("noisy_sgd", "as_published"): sgd_mu,
    ("newton_step", "as_published"): newton_mu,
    ("rewind_to_delete", "as_published"): rewind_mu,
    ("descent_to_delete", "as_published"): descent_mu,
    ("descent_to_delete_norm", "as_coded"): lambda: norm_mu(False),
    ("descent_to_delete_norm", "corrected"): lambda: norm_mu(True),
    ("langevin_redrawn", "as_coded"): lambda: langevin_mu(1, langevin.smallest_sigma(1.0, 1), 10),
    ("langevin_redrawn", "corrected"): lambda: langevin_mu(1, langevin.smallest_sigma(1.0, 1), 1),
    ("descent_to_delete_preprocessing", "as_coded"): lambda: preprocessing_mu(refitted=True),
    ("descent_to_delete_preprocessing", "corrected"): lambda: preprocessing_mu(refitted=False),
    ("rewind_to_delete_estimated", "as_coded"): lambda: batches_mu(10),
    ("rewind_to_delete_estimated", "corrected"): lambda: estimated_mu(mp.mpf(1), mp.mpf("0.25")),
    ("shifted_interpolation", "as_published"): chain_mu,
    ("group_privacy_bound", "as_published"): group_mu,
    ("deep_unlearning_sequential", "corrected"): lambda: mp.mpf(1) / 4,
    ("edge_unlearning", "corrected"): lambda: mp.mpf(1) / 4,
}


def _newton_misread() -> mp.mpf:
    """The noise falls with the square of L: 1.02 in place of 10.0202."""
    return newton_mu() * (mp.mpf("10.0202") / mp.mpf("1.02")) ** 2


FIGURES: dict[tuple[str, str], Callable[[], mp.mpf]] = {
    (
        "finetuning_gradient",
        "exact epsilon of the worst case without decay (mu = 2), where the same number is printed",
    ): lambda: mp.mpf(2),
    ("finetuning_gradient", "exact epsilon where the retained loss is flat"): lambda: (
        mp.sqrt(2) * mp.mpf("0.0198") / mp.mpf("0.0398")
    ),
    ("descent_to_delete_norm", "exact epsilon at 25 steps where 5 is claimed"): lambda: norm_mu(
        False, deletion_steps=25, epsilon=5
    ),
    (
        "descent_to_delete_preprocessing",
        "exact epsilon where the record is five percent longer",
    ): lambda: preprocessing_mu(refitted=True, longest="1.05"),
    **{
        ("langevin_sequential", f"exact epsilon of one step for S = {s}"): lambda s=s: langevin_mu(1, 0.03, s)
        for s in (5, 10, 20)
    },
    **{
        ("langevin_redrawn", f"exact epsilon of request {s}"): lambda s=s: langevin_mu(
            1, langevin.smallest_sigma(1.0, 1), s
        )
        for s in (2, 5, 100)
    },
    ("langevin_single", "exact epsilon where 0.5 is claimed"): lambda: langevin_mu(
        1, langevin.smallest_sigma(0.5, 1), 1
    ),
    **{
        ("rewind_to_delete_estimated", f"exact epsilon with batches of {b}"): lambda b=b: batches_mu(b)
        for b in (1, 5, 20)
    },
    **{
        ("clipped_output", f"exact epsilon where {e} is claimed"): lambda e=e: e * classical_mu("1.25", "1e-5")
        for e in (8, 9)
    },
    **{
        ("certified_removal", f"exact epsilon where {e} is claimed"): lambda e=e: e * classical_mu("1.5", "1e-4")
        for e in (8, 10)
    },
    ("hessian_free", "exact epsilon without the penalty"): lambda: hessian_free_mu(1000, "0"),
    **{
        ("hessian_free_short_batch", f"exact epsilon with {n} records"): lambda n=n: hessian_free_mu(n, "0")
        for n in (1000, 1024)
    },
    (
        "hessian_free_short_batch",
        "exact epsilon with the penalty of the row hessian_free",
    ): lambda: hessian_free_mu(994, "0.5"),
    ("hessian_free_short_batch", "exact epsilon of a record of the first of 500 full batches"): lambda: (
        first_batch_mu()
    ),
    **{
        ("without_source_data_count", f"exact epsilon with {s} surrogate records"): lambda s=s: surrogate_mu(s, "0.5")
        for s in (1010, 1250)
    },
    ("newton_step", "exact epsilon if L were read as the smoothness"): _newton_misread,
}


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=map("-".join, FIGURES))
def test_further_exact_numbers_again_with_thirty_digits(name: str, figure: str) -> None:
    stated = made(name).figures[figure]
    with mp.workdps(30):
        mu, delta = FIGURES[name, figure](), mp.mpf(made(name).claim.guarantee.delta)  # type: ignore[union-attr]
        assert delta_of(mu, mp.mpf(stated) * (1 + mp.mpf("1e-8"))) <= delta
        assert delta_of(mu, mp.mpf(stated) * (1 - mp.mpf("1e-7"))) > delta


def test_every_further_exact_number_has_a_second_derivation() -> None:
    elsewhere = {
        ("descent_to_delete_norm", "exact epsilon where learning takes 20000 steps"),
        ("finetuning_model", "exact delta at epsilon 1 with one noise vector"),
        ("source_method", "exact epsilon at a delta of 0.01, on the other two records"),
    }
    stated = {(name, what) for name in NAMES for what in made(name).figures if what.startswith("exact")}
    assert stated == elsewhere | set(FIGURES)


@pytest.mark.parametrize(("name", "which"), GAUSSIAN, ids=map("-".join, GAUSSIAN))
def test_gaussian_rows_again_with_thirty_digits(name: str, which: str) -> None:
    stated = variant(name, which).exact
    guarantee = made(name).claim.guarantee
    assert stated is not None
    with mp.workdps(30):
        mu, delta = GAUSSIAN[name, which](), mp.mpf(guarantee.delta)  # type: ignore[union-attr]
        assert delta_of(mu, mp.mpf(stated) * (1 + mp.mpf("1e-8"))) <= delta
        assert stated == 0 or delta_of(mu, mp.mpf(stated) * (1 - mp.mpf("1e-7"))) > delta


@pytest.mark.slow
@pytest.mark.parametrize(("mu", "epsilon"), [("0.2", "0.7"), ("1.414", "6.57"), ("4", "1")])
def test_the_oracle_is_the_integral_of_two_densities(mu: str, epsilon: str) -> None:
    m, e = mp.mpf(mu), mp.mpf(epsilon)
    start = e / m + m / 2
    with mp.workdps(20):
        whole = mp.quad(lambda x: mp.npdf(x - m) - mp.exp(e) * mp.npdf(x), [start, start + 2, start + 8, start + 40])
        assert delta_of(m, e) == pytest.approx(whole, rel=1e-9)


def test_every_exact_epsilon_has_a_second_derivation() -> None:
    elsewhere = {
        ("finetuning_model", "as_coded"),
        ("finetuning_model_recursion", "as_published"),
        ("group_privacy", "as_coded"),
        ("group_privacy", "corrected"),
        ("without_source_data_count", "corrected"),
        ("source_method", "as_published"),
        ("source_method", "corrected"),
        ("source_method_usual", "as_published"),
        # Without noise no epsilon covers the two worlds.
        ("deep_unlearning_sequential", "as_coded"),
        ("edge_unlearning", "as_coded"),
    }
    stated = {(name, v.name) for name in NAMES for v in made(name).variants if v.exact is not None}
    assert stated == elsewhere | set(GAUSSIAN)
    assert all(
        variant(*row).exact == math.inf for row in elsewhere if row[0].endswith(("sequential", "edge_unlearning"))
    )


def test_reused_noise_by_counting_intervals_of_the_one_normal_number() -> None:
    """The release is a piecewise linear function of one normal number; its density by the slopes of the pieces."""
    x = np.linspace(0.5, 0.7, 20_001)
    unlearned, retrained = 2 * norm.pdf(2 * (x - 0.5)), norm.pdf((x + 0.5) / 3) / 3
    for epsilon in (1.0, 1.5, 1.8):
        oracle = np.trapezoid(np.maximum(unlearned - math.exp(epsilon) * retrained, 0), x)
        assert model_clipping.reused_noise_delta(epsilon) == pytest.approx(oracle, rel=1e-5)
    mechanism = made("finetuning_model")
    delta = mechanism.claim.guarantee.delta  # type: ignore[union-attr]
    assert model_clipping.reused_noise_delta(float(mechanism.audited.exact or 0)) == pytest.approx(delta, rel=1e-3)
    # Elsewhere the two densities are within e^0.06 of each other, or the other way round: by simulation of both.
    rng = np.random.default_rng(0)
    u, r = (model_clipping.draw(world, 100_000, rng, fresh=False) for world in WORLDS)
    inside = [np.mean((w > 0.5) & (w < 0.7)) for w in (u, r)]
    assert inside[0] - math.e * inside[1] == pytest.approx(model_clipping.reused_noise_delta(1.0), abs=0.008)


def test_two_clipped_steps_by_where_the_first_one_ends() -> None:
    """P(w > t) by the first step's end: either end of the ball, or in between; the log ratio rises with w."""

    def beyond(t: mp.mpf) -> mp.mpf:
        ends = mp.ncdf(mp.mpf("0.5") - t) / 2 + mp.ncdf(-1) * mp.ncdf(-mp.mpf("0.5") - t)
        inside = mp.quad(lambda u: mp.npdf(u - mp.mpf("0.5")) * mp.ncdf(u - t), [-0.5, 0, 0.5])
        return ends + inside

    mechanism = made("finetuning_model_recursion")
    epsilon = mp.mpf(mechanism.audited.exact or 0)
    density = model_clipping.two_step_density
    best = brentq(lambda t: float(np.log(density(t) / density(-t))) - float(epsilon), 0.5, 4)
    with mp.workdps(20):
        # At the best threshold; any other one gives a smaller delta.
        deltas = [beyond(t) - mp.exp(epsilon) * (1 - beyond(-t)) for t in (best - 0.1, mp.mpf(best), best + 0.1)]
        assert deltas[1] == max(deltas)
        assert float(deltas[1]) == pytest.approx(mechanism.claim.guarantee.delta, rel=1e-4)  # type: ignore[union-attr]
        accounted = [mp.mpf(1)]
        for _ in range(2):
            accounted.append(accounted[-1] * delta_of(mp.mpf(1), mp.log(1 + (mp.e - 1) / accounted[-1])))
    assert mechanism.claim.guarantee.delta == pytest.approx(float(accounted[-1]), rel=1e-9)  # type: ignore[union-attr]


def test_recursion_of_clipped_models_with_thirty_digits() -> None:
    with mp.workdps(30):
        delta = mp.mpf(1)
        for _ in range(6):
            e = mp.log(1 + (mp.e - 1) / delta)
            delta *= delta_of(mp.mpf(2), e)
    assert made("finetuning_model").claim.guarantee.delta == pytest.approx(float(delta), rel=1e-9)  # type: ignore[union-attr]


def test_group_privacy_by_telescoping() -> None:
    """p_i - e^{e1} p_{i+1} = d at every i, so that p_0 is the bound."""
    with mp.workdps(30):
        for size in (100, 4500):
            step = mp.exp(mp.mpf(1) / size)
            p = mp.mpf(0)
            d = mp.mpf("1e-5") * mp.exp(mp.mpf(1) / size - 1)
            for _ in range(size):
                p = step * p + d
            assert group_privacy.group_delta(group_privacy.coded_delta(size), size) == pytest.approx(float(p), rel=1e-9)
    assert group_privacy.chances(group_privacy.right_delta(4500), 4500)[0] == pytest.approx(1e-5, rel=1e-9)
    assert (variant("group_privacy", "as_coded").exact, variant("group_privacy", "corrected").exact) == (math.inf, 0.0)


def by_hand(records: TwoRecords, sigma: float) -> tuple[Law, Law]:
    """W_1 = g + noise, W_2 = a W_1 + g + noise; without the first record the mean stays at 0. With 30 digits."""
    x, other = (mp.mpf(str(value)) for value in records.features)
    rest = other**2 + mp.mpf(str(records.penalty))
    share, s = mp.mpf(str(records.share)), mp.mpf(sigma)
    eta = share / (x**2 + rest)
    a, kept, g = 1 - share, 1 - eta * rest, eta * x * mp.mpf(str(records.targets[0]))
    return (g * (1 + a), s * mp.sqrt(1 + a**2)), (mp.mpf(0), s * mp.sqrt(1 + kept**2))


def gaussian_delta(one: Law, two: Law, epsilon: mp.mpf) -> mp.mpf:
    """Mass of ``one`` less e^epsilon that of ``two`` where the log ratio of densities exceeds epsilon."""
    curve = (1 / two[1] ** 2 - 1 / one[1] ** 2) / 2
    slope = one[0] / one[1] ** 2 - two[0] / two[1] ** 2
    level = (two[0] / two[1]) ** 2 / 2 - (one[0] / one[1]) ** 2 / 2 + mp.log(two[1] / one[1]) - epsilon
    root = mp.sqrt(max(mp.mpf(0), slope**2 - 4 * curve * level))
    ends = sorted((-slope + sign * root) / (2 * curve) for sign in (-1, 1))

    def mass(law: Law) -> mp.mpf:
        between = mp.ncdf((ends[1] - law[0]) / law[1]) - mp.ncdf((ends[0] - law[0]) / law[1])
        tails = mp.ncdf((ends[0] - law[0]) / law[1]) + mp.ncdf((law[0] - ends[1]) / law[1])
        return tails if curve > 0 else between

    return mass(one) - mp.exp(epsilon) * mass(two)


@pytest.mark.parametrize(
    ("records", "sigma", "exact"),
    [
        (source_method.COUNTED, lambda: variant("source_method", "as_published"), None),
        (source_method.COUNTED, lambda: variant("source_method", "corrected"), None),
        (source_method.LARGE, lambda: variant("source_method_usual", "as_published"), None),
        (source_method.LARGE, None, "exact epsilon at a delta of 0.01, on the other two records"),
    ],
    ids=["as_published", "corrected", "usual", "large"],
)
def test_source_method_by_hand(records: TwoRecords, sigma: Callable[[], Variant] | None, exact: str | None) -> None:
    noise = source_method.LARGE_SIGMA if sigma is None else float(sigma().settings["sigma"])
    stated = made("source_method").figures[exact] if exact else sigma().exact  # type: ignore[misc]
    with mp.workdps(30):
        p, q = by_hand(records, noise)
        epsilon = mp.mpf(stated)
        found = max(gaussian_delta(p, q, epsilon), gaussian_delta(q, p, epsilon))
        assert float(found) == pytest.approx(records.delta, rel=1e-5)


def test_the_counted_event_of_the_source_method_is_beyond_its_claim_and_within_the_corrected_one() -> None:
    """Where counting millions of models decides: the bit's own probabilities, with 30 digits."""
    mechanism, rng = made("source_method"), np.random.default_rng(3)
    claim = mechanism.claim.guarantee
    for which, beyond in (("as_published", True), ("corrected", False)):
        with mp.workdps(30):
            worlds = by_hand(source_method.COUNTED, float(variant("source_method", which).settings["sigma"]))
            chances = [mp.ncdf((source_method.BELOW - mean) / deviation) for mean, deviation in worlds]
            left = chances[1] - mp.exp(claim.epsilon) * chances[0] - claim.delta  # type: ignore[union-attr]
        assert (left > 0.03) if beyond else (left < -0.03)
        for world, chance in zip(WORLDS, chances, strict=True):
            drawn = variant("source_method", which).deletion.sample(world, 20_000, rng=rng)
            assert drawn.mean() == pytest.approx(float(chance), abs=5 * math.sqrt(max(float(chance), 1e-4) / 20_000))


def test_conversion_of_the_code_ends_its_grid_at_the_last_order() -> None:
    delta = 1e-5
    orders = [mp.mpf(a) for a in range(2, 1001)]
    with mp.workdps(30):
        values = [1 - (mp.log(delta) + mp.log(a)) / (a - 1) + mp.log((a - 1) / a) for a in orders]
        right = mp.mpf(variant("finetuning_gradient", "corrected").settings["renyi_of_order_1"])
        aware = min(a * right - (mp.log(delta) + mp.log(a)) / (a - 1) + mp.log((a - 1) / a) for a in orders)
    assert values.index(min(values)) == len(values) - 1
    claimed = made("finetuning_gradient").claim.guarantee.epsilon  # type: ignore[union-attr]
    assert claimed == pytest.approx(float(min(values)), rel=1e-12)
    assert float(aware) == pytest.approx(claimed, rel=1e-9)
    assert gradient_clipping.n_steps(10.0) == gradient_clipping.n_steps(0.0) == 1


def test_published_formulas_with_thirty_digits() -> None:
    """The Renyi formulas on a grid of orders: no minimiser that could stop at a side minimum."""
    with mp.workdps(30):
        m = mp.mpf(11982) / 10**6
        eta = 1 / (mp.mpf("0.25") + m)
        for steps, sigma, replaced in ((1, 0.0096, 1), (2, 0.0189, 1), (700, 0.03, 20)):
            first = 4 * replaced**2 / (m * mp.mpf(sigma) ** 2 * 11982**2)
            orders = [1 + mp.mpf(10) ** (mp.mpf(i) / 50) for i in range(-100, 251)]
            best = min(mp.exp(-steps * m * eta / a) * a * first + mp.log(11982) / (a - 1) for a in orders)
            found = langevin.published_epsilon(steps, sigma, replaced)
            assert found <= float(best) * (1 + 1e-9)
            assert found == pytest.approx(float(best), rel=2e-3)
    assert noisy_sgd.published_epsilon(noisy_sgd.smallest_sigma()) == pytest.approx(1.0, rel=1e-9)
    assert langevin.published_epsilon(1163, 0.03, 20) <= 1.0 < langevin.published_epsilon(1162, 0.03, 20)


def laws(name: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return mean and deviation of the two worlds, up to a common shift, from the exact epsilon's own derivation."""
    if name == "langevin_tabled_noise":
        walk = langevin.Walk(steps=2, sigma=0.00018914795795776367)
        new = -1 / (langevin.N * langevin.CONVEXITY)
        return (new + walk.shift, walk.deviation), (new, walk.deviation)
    if name == "source_method_usual":
        worlds = by_hand(source_method.LARGE, float(variant(name, "as_published").settings["sigma"]))
        first, second = ((float(mean), float(deviation)) for mean, deviation in worlds)
        return first, second
    mu, sd = float(sgd_mu()), noisy_sgd.deviation(float(variant("noisy_sgd", "as_published").settings["sigma"]))
    new = noisy_sgd.stationary_mean(np.array([*[0.0] * 21, -1.0]))
    return (new + mu * sd, sd), (new, sd)


@pytest.mark.parametrize("name", ["langevin_tabled_noise", "noisy_sgd", "source_method_usual"])
def test_samplers_draw_from_the_laws_that_are_stated(name: str) -> None:
    rng = np.random.default_rng(5)
    for world, (mean, deviation) in zip(WORLDS, laws(name), strict=True):
        drawn = made(name).audited.deletion.sample(world, 4000, rng=rng).ravel()
        assert kstest((drawn - mean) / deviation, "norm").pvalue > 1e-4, world


def test_gaussian_releases_state_their_own_shift() -> None:
    for name in NAMES:
        for found in made(name).variants:
            release = found.deletion
            if isinstance(release, GaussianRelease) and release.sigma:
                rng = np.random.default_rng(1)
                u, r = (release.sample(world, 1, rng=np.random.default_rng(1)) for world in WORLDS)
                assert abs(float((u - r).ravel()[0])) == pytest.approx(release.shift, rel=1e-6, abs=1e-12)
                assert release.sample(World.NEGLECTED, 2, rng=rng).shape == (2, 1, 1)


def test_no_noise_makes_the_published_epsilon_small_on_two_unequal_records() -> None:
    with pytest.raises(ValueError, match="at least"):
        source_method.sigma_for(1.0)
