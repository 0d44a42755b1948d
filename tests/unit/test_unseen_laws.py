"""Laws that one attack of the portfolio sees and no other does: why each of them is a member."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.linear.blocks import BlockLda
from attacks.linear.discriminant import LinearDiscriminant
from attacks.linear.undoing import UndoTraining
from attacks.linear.whitened import WhitenedLda
from attacks.portfolio import MEAN, SCALE, TAIL, Chosen
from attacks.protocol import Attack, FittedAttack, trouble
from attacks.tails.density import DensityRatio
from audit.gathering.selection import choose_event, claim_rows, prepare
from audit.given.rows import no_context
from audit.statistics.bounds import exact_joint_rejects
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import ReleaseSpec
from tests.statistical.unseen_laws import (
    Law,
    common_shift,
    ill_conditioned,
    objective_noise,
    reused_noise,
    symmetric_mixture,
)
from tests.unit.test_attacks import context_of, regression

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
# The level of one family of three.
LEVEL = 0.05 / 3
LAWS: tuple[tuple[Law, int, int], ...] = (
    (ill_conditioned(), 1000, 2000),
    (objective_noise(), 1000, 2000),
    (reused_noise(), 1000, 3000),
    (symmetric_mixture(), 1000, 2000),
    (common_shift(), 40, 40),
)


def audited(attack: Attack, law: Law, fitting: list[Array], counted: list[Array]) -> tuple[FittedAttack | None, bool]:
    """Return the fitted attack, none where it refuses the trials, and whether an audit by it refutes epsilon = 1.

    Its event is fixed before it is counted.
    """
    prepared = prepare(attack, *fitting, law.context, np.random.default_rng(0))
    if prepared.fitted is None:
        return None, False
    n = len(counted[0]), len(counted[1])
    event = choose_event(prepared, claim_rows(CLAIM), n_counted=n, level=LEVEL)
    counts = event.count(*(prepared.fitted.score(trials) for trials in counted))
    rejects = exact_joint_rejects(counts, point=event.point, direction=event.direction, level=LEVEL)
    return prepared.fitted, rejects


@pytest.mark.parametrize(("law", "n_fit", "n_counted"), LAWS, ids=[law.name for law, _, _ in LAWS])
def test_one_member_alone_sees_the_law(law: Law, n_fit: int, n_counted: int) -> None:
    rng = np.random.default_rng(1)
    fitting, counted = ([law.sample(world, n, rng) for world in (True, False)] for n in (n_fit, n_counted))
    single = (*MEAN.members, *SCALE.members, TAIL)
    applicable = [a for a in single if trouble(a, law.context, n_fit=n_fit // 2) is None]
    found = {a.name: audited(a, law, fitting, counted) for a in applicable}
    assert sum(fitted is not None for fitted, _ in found.values()) >= 4
    assert [name for name, (_, refuted) in found.items() if refuted] == [law.seen_by]


@pytest.mark.parametrize(("law", "n_fit", "n_counted"), LAWS[:4], ids=[law.name for law, _, _ in LAWS[:4]])
def test_its_family_chooses_it_and_refutes(law: Law, n_fit: int, n_counted: int) -> None:
    rng = np.random.default_rng(2)
    fitting, counted = ([law.sample(world, n, rng) for world in (True, False)] for n in (n_fit, n_counted))
    family = SCALE if law.seen_by == "density_ratio" else MEAN
    chosen, refuted = audited(family, law, fitting, counted)
    assert isinstance(chosen, Chosen)
    assert chosen.member == law.seen_by
    assert refuted


def test_the_law_of_reused_noise_is_the_one_that_is_sampled() -> None:
    law, rng = reused_noise(), np.random.default_rng(0)
    unlearned, retrained = (law.sample(world, 40_000, rng)[:, 0] for world in (True, False))
    inside = [np.mean((w > 0.5) & (w < 0.667)) for w in (unlearned, retrained)]
    # 522 and 79 of 4,000 models lie there.
    assert inside == pytest.approx([522 / 4000, 79 / 4000], abs=0.006)
    # The mean of the ratio dP/dQ under Q is 1, and delta(1) is the mean of its excess over e.
    ratios = np.exp(law.log_ratio(retrained[:, None]))
    assert ratios.mean() == pytest.approx(1.0, abs=0.02)
    assert np.maximum(ratios - np.e, 0).mean() == pytest.approx(0.088, abs=0.005)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_density_ratio_nears_the_true_one(dimensions: int) -> None:
    """Two Gaussian laws of one covariance: the true log ratio is linear."""
    rng = np.random.default_rng(dimensions)
    shift = np.full(dimensions, 1.2 / np.sqrt(dimensions))
    worlds = rng.standard_normal((2, 4000, dimensions))
    fitted = DensityRatio().fit(worlds[0] + shift, worlds[1], no_context((dimensions,)), rng=rng)
    fresh = rng.standard_normal((2000, dimensions)) + shift / 2
    true = fresh @ shift - 0.72
    assert np.corrcoef(fitted.score(fresh), true)[0, 1] > 0.9
    assert np.mean(fitted.score(fresh)) == pytest.approx(np.mean(true), abs=0.15)


def test_the_density_ratio_keeps_atoms_apart_and_ignores_what_it_never_saw() -> None:
    rng = np.random.default_rng(0)
    atoms = np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0, 2.0])
    unlearned, retrained = (rng.choice(values, 400)[:, None] for values in atoms)
    fitted = DensityRatio().fit(unlearned, retrained, no_context((1,)), rng=rng)
    zero, one, two = fitted.score(np.array([[0.0], [1.0], [2.0]]))
    assert zero == pytest.approx(np.log(2), abs=0.3)
    assert one == pytest.approx(-np.log(2), abs=0.3)
    assert two == pytest.approx(0, abs=0.3)


def test_the_last_digits_of_equal_releases_decide_no_density_ratio() -> None:
    """Sums are rounded otherwise in another batch: as if few of one world, and many of the other, lay a digit above."""
    rng = np.random.default_rng(0)
    digits = [np.where(rng.random((400, 1)) < share, 2e-16, 0.0) for share in (0.9, 0.1)]
    atoms = rng.choice([-1.0, 0.0, 1.0], (2, 400, 1))
    fitted = DensityRatio().fit(*(a + d for a, d in zip(atoms, digits, strict=True)), no_context((1,)), rng=rng)
    low, high = (fitted.score(np.array([[-1.0], [0.0], [1.0]]) + digit) for digit in (-1e-15, 1e-15))
    np.testing.assert_array_equal(low, high)


def test_the_density_ratio_looks_at_what_a_wide_release_shows_of_the_deleted_record() -> None:
    data = regression(6)
    rng = np.random.default_rng(0)
    trials = rng.standard_normal((4, 300, 6, 1))
    # As often up as down, along the one direction that moves the record's prediction.
    along = data.features[0] / np.linalg.norm(data.features[0])
    trials[:2] += 3 * rng.choice([-1.0, 1.0], (2, 300, 1, 1)) * along[:, None]
    fitted = DensityRatio().fit(trials[0], trials[2], context_of(data), rng=rng)
    assert fitted.score(trials[1]).mean() > fitted.score(trials[3]).mean() + 1
    with pytest.raises(NotApplicableError, match=r"density_ratio looks at 3 numbers at most.*it has 6.*shows none"):
        DensityRatio().fit(trials[0], trials[2], no_context((6, 1)), rng=rng)


def test_undoing_training_is_exact_for_ridge() -> None:
    """Objective perturbation of squared loss: the gradient at the release is the noise, whatever the curvature."""
    data = regression(5, q=2)
    context = context_of(data)
    x, y = data.features[1:], data.targets[1:]
    hessian = x.T @ x + np.eye(5)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 300, 5, 2))
    noise[0] += 0.5
    models = np.linalg.solve(hessian, x.T @ y + noise)
    fitted = UndoTraining().fit(models[0], models[1], context, rng=rng)
    direct = LinearDiscriminant().fit(noise[0], noise[1], no_context((5, 2)), rng=rng)
    np.testing.assert_allclose(fitted.score(models[0]), direct.score(noise[0]), rtol=1e-7, atol=1e-7)


def test_members_apply_where_they_make_sense_and_say_why_else() -> None:
    white = context_of(regression(4), release=ReleaseSpec(shape=(4,)))
    assert "condition number of at least 100" in str(trouble(UndoTraining(least_condition=100.0), white, n_fit=50))
    assert trouble(UndoTraining(), white, n_fit=50) is None
    assert "at least 100,000 numbers" in str(trouble(BlockLda(least_numbers=100_000), white, n_fit=50))
    assert "at least 8 fitting trials" in str(trouble(WhitenedLda(), white, n_fit=7))
    assert trouble(WhitenedLda(), white, n_fit=8) is None


def test_blocks_do_not_take_the_fitted_centre_for_a_difference() -> None:
    """Retrained models lie nearer to their own mean than others will; two equal laws must stay equal."""
    rng = np.random.default_rng(0)
    worlds = rng.standard_normal((4, 30, 20_000))
    fitted = BlockLda().fit(worlds[0], worlds[1], no_context((20_000,)), rng=rng)
    fresh = [fitted.score(world) for world in worlds[2:]]
    gap = abs(fresh[0].mean() - fresh[1].mean()) / np.std(fresh)
    assert gap < 1
    # Half of the fresh models of either kind lie on each side, and not all on the unlearned one.
    assert 10 <= np.count_nonzero(np.concatenate(fresh) > 0) <= 50
