"""One suite over every registered attack: what an audit relies on."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.canary import with_boundary_outlier
from attacks.protocol import Attack, AttackContext, refusal
from attacks.registry import ATTACKS, GROUPS, SUMMARIES, attacks_named, default_attacks
from audit.running.binding import make_context
from mechanisms.accounting.gaussian_pair import GaussianPair, trade_off_thresholds
from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError, NotApplicableError, UnlearnAuditError
from mechanisms.faulty import NeglectedRidge
from mechanisms.protocol import Access, ReleaseSpec, World
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
RIDGE = RidgeLangevin(n_learn=30, n_unlearn=6, sigma_learn=0.002, sigma_unlearn=0.02, sampler="closed_form")
BLACK_BOX = [name for name, attack in ATTACKS.items() if Access.BLACK_BOX in attack.needs.access]
NOT_BLACK_BOX = [name for name in ATTACKS if name not in BLACK_BOX]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A service that lost the deletion request, with enough trials for every attack: (world, 400 + 400, p, q)."""

    context: AttackContext
    unlearned: Array
    retrained: Array

    def fit(self, attack: Attack, n: int = 400, seed: int = 0) -> Any:
        """Fit on the first n trials of each world."""
        return attack.fit(self.unlearned[:n], self.retrained[:n], self.context, rng=np.random.default_rng(seed))

    @property
    def others(self) -> Array:
        """Releases that nothing was fitted on, of both worlds by turns."""
        return np.stack([self.unlearned[400:410], self.retrained[400:410]], axis=1).reshape(
            -1, *self.unlearned.shape[1:]
        )


def make_problem(mechanism: Any, data: Dataset) -> Problem:
    forget = (data.n_records - 1,)
    deletion = mechanism.bind(data, forget)
    rng = np.random.default_rng(2)
    unlearned, retrained = (deletion.sample(w, 800, rng=rng) for w in (World.UNLEARNED, World.RETRAINED))
    return Problem(context=make_context(deletion, data, forget), unlearned=unlearned, retrained=retrained)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """A few records and an outlier, in six numbers a release: small enough for a neural network."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 3))
    targets = features @ rng.normal(size=(3, 2)) + rng.normal(size=(60, 2))
    return with_boundary_outlier(from_arrays(features, targets, kind="regression"), penalty=1.0)


@pytest.fixture(scope="module")
def white(data: Dataset) -> Problem:
    return make_problem(NeglectedRidge(mechanism=RIDGE), data)


@pytest.fixture(scope="module")
def black(data: Dataset) -> Problem:
    return make_problem(
        ObservedOutputs(mechanism=NeglectedRidge(mechanism=RIDGE), outputs="values", probe=(4, 9)), data
    )


def test_the_registry_names_what_exists() -> None:
    assert set(ATTACKS) | set(GROUPS) == set(SUMMARIES)
    assert len(ATTACKS) >= 15
    assert all(attack.name == name for name, attack in ATTACKS.items())
    assert [attack.name for attack in attacks_named("portfolio")] == [
        "portfolio:mean",
        "portfolio:scale",
        "portfolio:tail",
    ]
    assert all("\n" not in summary for summary in SUMMARIES.values())
    with pytest.raises(InvalidInputError, match=r"attacks.*portfolio.*magic"):
        attacks_named("magic")


def test_no_attack_is_granted_a_claim() -> None:
    fields = {field.name for field in dataclasses.fields(AttackContext)}
    assert fields == {"retained", "deleted", "release", "parameters", "law_unlearned", "law_retrained", "probe"}


def separates(problem: Problem, attack: Attack) -> None:
    fitted = problem.fit(attack)
    high, low = fitted.score(problem.unlearned[400:]), fitted.score(problem.retrained[400:])
    assert high.shape == low.shape == (400,)
    assert (high.mean() - low.mean()) / np.sqrt((high.var() + low.var()) / 400) > 6


@pytest.mark.parametrize("name", ATTACKS)
def test_scores_are_higher_in_the_unlearned_world(white: Problem, name: str) -> None:
    separates(white, ATTACKS[name])


@pytest.mark.parametrize("name", BLACK_BOX)
def test_scores_of_outputs_are_higher_in_the_unlearned_world(black: Problem, name: str) -> None:
    separates(black, ATTACKS[name])


@pytest.mark.parametrize("name", ATTACKS)
def test_a_score_depends_on_its_own_release_alone(white: Problem, name: str) -> None:
    """So it cannot use the worlds of the scored trials, their order, or each other."""
    fitted = white.fit(ATTACKS[name])
    releases = white.others
    scores = fitted.score(releases)
    order = np.random.default_rng(5).permutation(len(releases))
    np.testing.assert_allclose(fitted.score(releases[order]), scores[order], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fitted.score(releases[3:4]), scores[3:4], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_trials_in_another_order_are_scored_alike(white: Problem, name: str) -> None:
    """Exchangeable trials: which one comes first within its world says nothing (but of the folds that it falls in)."""
    attack = ATTACKS[name]
    fitted = white.fit(attack)
    order = np.random.default_rng(6).permutation(400)
    again = attack.fit(
        white.unlearned[:400][order], white.retrained[:400][order], white.context, rng=np.random.default_rng(0)
    )
    scores = [f.score(np.concatenate([white.unlearned[400:], white.retrained[400:]])) for f in (fitted, again)]
    assert np.corrcoef(*scores)[0, 1] > 0.9


@pytest.mark.parametrize("name", ATTACKS)
def test_fitting_is_deterministic_and_leaves_everything_as_it_was(white: Problem, name: str) -> None:
    before = white.unlearned.copy(), white.retrained.copy()
    state = np.random.get_state()  # noqa: NPY002
    scores = [white.fit(ATTACKS[name]).score(white.others) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(white.unlearned, before[0])
    np.testing.assert_array_equal(white.retrained, before[1])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


@pytest.mark.parametrize("name", ATTACKS)
def test_memory_order_and_pickling_do_not_matter(white: Problem, name: str) -> None:
    fitted = white.fit(ATTACKS[name])
    scores = fitted.score(np.ascontiguousarray(white.others))
    swapped = np.ascontiguousarray(white.others.transpose(0, 2, 1)).transpose(0, 2, 1)
    np.testing.assert_allclose(fitted.score(swapped), scores, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).score(np.ascontiguousarray(white.others)), scores)


def degenerate(problem: Problem) -> dict[str, tuple[Array, Array]]:
    """Fitting trials that an attack scores finitely, or refuses by a named error."""
    u, r = problem.unlearned[:200], problem.retrained[:200]
    column = u.copy(), r.copy()
    for trials in column:
        trials[:, 0, 0] = 1.0
    return {
        "constant column": column,
        "all constant": (np.ones_like(u), np.ones_like(r)),
        "constant in each world": (np.ones_like(u), np.zeros_like(r)),
        "constant in one world": (u, np.ones_like(r)),
        "fewer trials than parameters": (u[:4], r[:4]),
        "a trial of each": (u[:1], r[:1]),
        "one class": (u, r[:0]),
        "the other class": (u[:0], r),
        "the same": (u, u),
    }


@pytest.mark.parametrize("kind", ["white", "black"])
@pytest.mark.parametrize("name", ATTACKS)
def test_degenerate_trials_give_finite_scores_or_a_named_error(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    problem: Problem = request.getfixturevalue(kind)
    for what, (unlearned, retrained) in degenerate(problem).items():
        refused = None
        try:
            fitted = ATTACKS[name].fit(unlearned, retrained, problem.context, rng=np.random.default_rng(0))
        except UnlearnAuditError as error:
            refused = str(error)
        if refused is not None:
            assert name in refused, what
            continue
        scores = fitted.score(problem.others)
        assert scores.shape == (len(problem.others),), what
        assert np.all(np.isfinite(scores)), what


@pytest.mark.parametrize("name", NOT_BLACK_BOX)
def test_an_attack_that_needs_parameters_refuses_outputs(black: Problem, name: str) -> None:
    assert "white_box" in str(refusal(ATTACKS[name], Access.BLACK_BOX))
    with pytest.raises(NotApplicableError, match=name):
        black.fit(ATTACKS[name])


def test_an_attack_that_is_granted_enough_is_not_refused() -> None:
    assert all(refusal(attack, attack.needs.access[0]) is None for attack in ATTACKS.values())


def test_attacks_refuse_what_they_cannot_score(data: Dataset) -> None:
    mechanism = from_functions(learn=_nothing, unlearn=_nothing, release=(7,))
    context = make_context(mechanism.bind(data, (3,)), data, (3,))
    empty = np.empty((0, 7))
    for name, attack in ATTACKS.items():
        with pytest.raises(NotApplicableError, match=name):
            attack.fit(empty, empty, context, rng=np.random.default_rng(0))
    assert [attack.name for attack in default_attacks(context, n_fit=3)] == ["lda"]


def _nothing(*_: Any) -> Array:
    return np.zeros(7)


def test_the_neural_network_names_the_number_of_trials_that_it_needs(white: Problem) -> None:
    with pytest.raises(NotApplicableError, match="at least 60 fitting trials"):
        white.fit(ATTACKS["mlp"], n=59)


def test_outputs_without_the_deleted_record_are_left_to_learned_attacks(data: Dataset) -> None:
    spec = ReleaseSpec(shape=(4, 2), access=Access.BLACK_BOX)
    context = make_context(from_functions(learn=_nothing, unlearn=_nothing, release=spec).bind(data, (3,)), data, (3,))
    assert context.probe is None
    trials = np.random.default_rng(0).normal(size=(50, 4, 2))
    with pytest.raises(NotApplicableError, match="which outputs are the deleted record's"):
        ATTACKS["u_lira"].fit(trials, trials, context, rng=np.random.default_rng(0))
    for name in ("lda", "portfolio:mean", "portfolio:scale", "portfolio:tail"):
        fitted = ATTACKS[name].fit(trials + 0.5, trials, context, rng=np.random.default_rng(0))
        assert fitted.score(trials + 0.5).mean() > fitted.score(trials).mean()


def test_lda_on_degenerate_trials() -> None:
    digits = load_named("digits", rows=120)
    context = make_context(ExactDowndate().bind(digits, (3,)), digits, (3,))
    rng = np.random.default_rng(0)
    same = np.ones((50, 65, 10))
    np.testing.assert_array_equal(ATTACKS["lda"].fit(same, same, context, rng=rng).score(same), 0.0)
    # Constant in each world and different between them: told apart with certainty.
    fitted = ATTACKS["lda"].fit(same + 0.1, same, context, rng=rng)
    assert fitted.score(same + 0.1).min() > fitted.score(same).max()
    # One constant column and fewer trials than parameters.
    few = rng.normal(size=(20, 65, 10))
    few[:, 0, 0] = 1.0
    assert np.all(np.isfinite(ATTACKS["lda"].fit(few, few + 0.01, context, rng=rng).score(few)))


def test_log_likelihood_ratio_agrees_with_scipy() -> None:
    from scipy.stats import multivariate_normal

    digits = load_named("digits", rows=120)
    mechanism = RidgeLangevin(n_learn=20, n_unlearn=4, sigma_unlearn=0.0005, sampler="closed_form")
    deletion = mechanism.bind(digits, (77,))
    context = make_context(deletion, digits, (77,))
    fitted = ATTACKS["likelihood_ratio"].fit(np.empty(0), np.empty(0), context, rng=np.random.default_rng(0))
    releases = deletion.sample(World.UNLEARNED, 4, rng=np.random.default_rng(1))
    p, q = deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED)
    expected = [
        sum(
            multivariate_normal.logpdf(w[:, j], p.mean[:, j], p.covariance, allow_singular=True)
            - multivariate_normal.logpdf(w[:, j], q.mean[:, j], q.covariance, allow_singular=True)
            for j in range(10)
        )
        for w in releases
    ]
    np.testing.assert_allclose(fitted.score(releases), expected, rtol=1e-6, atol=1e-6)


def test_counted_error_rates_of_the_likelihood_ratio_are_the_exact_ones(data: Dataset) -> None:
    """The attack's scores are the privacy loss, whose error rates the trade-off function states."""
    n = 20_000
    deletion = RIDGE.bind(data, (data.n_records - 1,))
    p, q = deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED)
    pair = GaussianPair.from_laws(p, q)
    context = make_context(deletion, data, (data.n_records - 1,))
    fitted = ATTACKS["likelihood_ratio"].fit(np.empty(0), np.empty(0), context, rng=np.random.default_rng(0))
    rng = np.random.default_rng(8)
    of_unlearned, of_retrained = (
        fitted.score(deletion.sample(w, n, rng=rng)) for w in (World.UNLEARNED, World.RETRAINED)
    )
    fpr, fnr = pair.trade_off(13)
    thresholds = trade_off_thresholds(pair.loss, 11)
    assert np.any((fpr > 0.05) & (fpr < 0.95))
    for threshold, false_positive, false_negative in zip(thresholds, fpr[1:-1], fnr[1:-1], strict=True):
        for counted, probability in (
            (np.count_nonzero(of_retrained > threshold), false_positive),
            (np.count_nonzero(of_unlearned <= threshold), false_negative),
        ):
            low, high = binomial_limits(n, float(probability))
            assert low <= counted <= high
