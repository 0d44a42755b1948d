"""The scikit-learn adapter: what each world runs, where randomness comes from, what is released, and its errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from mechanisms.adapters.functions import EmptyForgetSetError
from mechanisms.adapters.sklearn import Coefficients, Predictions, from_estimator, targets_for
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, Deletion, HasParameters, World
from mechanisms.sources import load_named

Array = NDArray[np.float64]


def keep(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    return model


def noise(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator, sigma: float = 0.1) -> Any:
    model.coef_ += sigma * rng.standard_normal(model.coef_.shape)
    return model


@pytest.fixture(scope="module")
def numbers() -> Dataset:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 3))
    return from_arrays(x, x @ rng.normal(size=3) + rng.normal(size=30), kind="regression")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_named("digits", rows=60)


def drawn(deletion: Deletion, world: World, n: int = 3, seed: int = 1) -> Array:
    return deletion.sample(world, n, rng=np.random.default_rng(seed))


def test_coefficients_are_released_as_columns_with_the_intercept_last(numbers: Dataset) -> None:
    deletion = from_estimator(LinearRegression(), unlearn=keep).bind(numbers, (4, 7))
    assert isinstance(deletion, Deletion)
    assert deletion.release.shape == (4, 1)
    assert deletion.release.access is Access.WHITE_BOX
    for world, part in ((World.UNLEARNED, numbers), (World.RETRAINED, numbers.without((4, 7)))):
        x = np.hstack([part.features, np.ones((part.n_records, 1))])
        expected = np.linalg.lstsq(x, part.targets, rcond=None)[0]
        np.testing.assert_allclose(drawn(deletion, world, 1)[0], expected, atol=1e-12)


def test_outputs_are_those_on_the_deleted_records_first(digits: Dataset) -> None:
    probe = digits.features[10:15]
    releases = Predictions(method="predict_proba", probe=probe)
    deletion = from_estimator(GaussianNB(), unlearn=keep, releases=releases).bind(digits, (3, 8))
    assert deletion.release.shape == (7, 10)
    assert deletion.release.access is Access.BLACK_BOX
    model = GaussianNB().fit(digits.features, digits.targets.argmax(axis=1))
    asked = np.concatenate([digits.features[[3, 8]], probe])
    np.testing.assert_allclose(drawn(deletion, World.UNLEARNED, 1)[0], model.predict_proba(asked))


@pytest.mark.parametrize(
    ("estimator", "method", "shape", "kind"),
    [
        (RidgeClassifier(), "decision_function", (2, 10), "logits"),
        (GaussianNB(), "predict_proba", (2, 10), "probabilities"),
        (RidgeClassifier(), "predict", (2,), "labels"),
        (Ridge(), "predict", (2, 10), "values"),
        (SVC(decision_function_shape="ovo"), "decision_function", (2, 45), None),
    ],
)
def test_a_release_says_what_its_rows_and_columns_are(
    digits: Dataset, estimator: Any, method: Any, shape: tuple[int, ...], kind: str | None
) -> None:
    releases = Predictions(method=method, probe=digits.features[:1])
    release = from_estimator(estimator, unlearn=keep, releases=releases).bind(digits, (3,)).release
    assert release.shape == shape
    assert release.continuous is (kind != "labels")
    assert (release.outputs and release.outputs.kind) == kind
    if release.outputs is not None:
        assert release.outputs.records == (3, -1)


def test_predicted_numbers_are_continuous_unless_stated(numbers: Dataset) -> None:
    values = from_estimator(Ridge(), unlearn=keep, releases=Predictions(method="predict")).bind(numbers, (0,))
    assert values.release.continuous
    stated = Predictions(method="predict", continuous=False)
    assert not from_estimator(Ridge(), unlearn=keep, releases=stated).bind(numbers, (0,)).release.continuous
    assert (
        not from_estimator(Ridge(), unlearn=keep, releases=Coefficients(continuous=False))
        .bind(numbers, (0,))
        .release.continuous
    )


@pytest.mark.parametrize("reference", list(Reference))
def test_each_world_fits_and_unlearns_what_it_says(numbers: Dataset, reference: Reference) -> None:
    seen = []

    def recorded(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator, value: str) -> Any:
        seen.append((model.n_seen_, retained.n_records, deleted.n_records, value))
        return model

    class Counting(LinearRegression):  # type: ignore[misc]
        def fit(self, X: Array, y: Array) -> Any:
            self.n_seen_ = len(X)
            return super().fit(X, y)

    calibrated = []

    def calibrate(data: Dataset, deleted: Dataset) -> str:
        calibrated.append((data.n_records, deleted.n_records))
        return "once"

    deletion = from_estimator(Counting(), unlearn=recorded, calibrate=calibrate, reference=reference).bind(
        numbers, (1, 2)
    )
    for world in World:
        drawn(deletion, world, 1)
    retrained = [] if reference is Reference.RETRAIN_ONLY else [(28, 28, 0, "once")]
    assert seen == [(30, 28, 2, "once"), *retrained, (30, 30, 0, "once")]
    assert calibrated == [(30, 2)]
    assert deletion.reference is reference


NESTED = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", max_iter=2, tol=None))


@pytest.mark.parametrize("estimator", [RandomForestClassifier(n_estimators=3), NESTED], ids=["forest", "pipeline"])
def test_randomness_comes_from_the_trial(digits: Dataset, estimator: Any) -> None:
    mechanism = from_estimator(
        estimator, unlearn=keep, releases=Predictions(method="predict_proba", probe=digits.features)
    )
    deletion = mechanism.bind(digits, (3,))
    first = drawn(deletion, World.UNLEARNED)
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, drawn(deletion, World.UNLEARNED))
    assert not np.array_equal(first, drawn(deletion, World.UNLEARNED, seed=2))


def test_a_random_state_of_the_user_is_kept(digits: Dataset) -> None:
    estimator = SGDClassifier(max_iter=2, tol=None, random_state=7)
    deletion = from_estimator(estimator, unlearn=keep, releases=Coefficients(continuous=False)).bind(digits, (3,))
    first, second = drawn(deletion, World.UNLEARNED, 2)
    np.testing.assert_array_equal(first, second)
    assert not hasattr(estimator, "coef_")


def test_fitting_once_gives_the_same_releases(numbers: Dataset) -> None:
    fresh, once = (
        from_estimator(LinearRegression(), unlearn=noise, fit_once=fit_once).bind(numbers, (1, 2))
        for fit_once in (False, True)
    )
    for world in World:
        # The user's function changes the model in place: a copy that is shared would drift from trial to trial.
        np.testing.assert_array_equal(drawn(fresh, world, 5), drawn(once, world, 5))


def test_a_random_fit_cannot_be_fitted_once(digits: Dataset) -> None:
    mechanism = from_estimator(SGDClassifier(max_iter=2, tol=None), unlearn=keep, fit_once=True)
    with pytest.raises(InvalidInputError, match="fit_once"):
        mechanism.bind(digits, (3,))


def test_a_deletion_travels_to_workers_and_states_its_parameters(numbers: Dataset) -> None:
    deletion = from_estimator(Ridge(), unlearn=noise, parameters={"penalty": 1.0}).bind(numbers, (1,))
    again = pickle.loads(pickle.dumps(deletion))
    np.testing.assert_array_equal(drawn(deletion, World.UNLEARNED), drawn(again, World.UNLEARNED))
    assert isinstance(deletion, HasParameters)
    assert deletion.parameters() == {"estimator": "Ridge", "sampler": "fit and unlearn", "penalty": 1.0}


def test_classifiers_get_labels_and_others_columns(digits: Dataset, numbers: Dataset) -> None:
    np.testing.assert_array_equal(targets_for(GaussianNB(), digits), digits.targets.argmax(axis=1))
    np.testing.assert_array_equal(targets_for(Ridge(), digits), digits.targets)
    np.testing.assert_array_equal(targets_for(Ridge(), numbers), numbers.targets[:, 0])


def none(*arguments: Any) -> Any:
    return None


def refuses_nothing(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    if not deleted.n_records:
        raise ValueError("nothing to delete")
    return model


def not_finite(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    model.coef_ *= np.nan
    return model


def other_shape(model: Any, retained: Dataset, deleted: Dataset, rng: np.random.Generator) -> Any:
    return Ridge().fit(retained.features[:, :2], retained.targets[:, 0])


@pytest.mark.parametrize(
    ("unlearn", "world", "words"),
    [
        (none, World.UNLEARNED, "unlearn to be to return the fitted estimator, got NoneType"),
        (not_finite, World.UNLEARNED, "got NaN or infinity"),
        (other_shape, World.UNLEARNED, r"of shape \(4, 1\)"),
    ],
)
def test_what_unlearn_returns_is_checked(numbers: Dataset, unlearn: Any, world: World, words: str) -> None:
    deletion = from_estimator(Ridge(), unlearn=unlearn).bind(numbers, (1,))
    with pytest.raises(InvalidInputError, match=words):
        drawn(deletion, world)


def test_an_empty_forget_set_that_is_refused_is_explained(numbers: Dataset) -> None:
    deletion = from_estimator(Ridge(), unlearn=refuses_nothing).bind(numbers, (1,))
    drawn(deletion, World.UNLEARNED)
    for world in (World.RETRAINED, World.NEGLECTED):
        with pytest.raises(EmptyForgetSetError, match="unlearn failed on an empty forget set"):
            drawn(deletion, world)


def test_what_cannot_be_released_is_refused_when_bound(digits: Dataset, numbers: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"method of a fitted LinearSVC \(decision_function, predict\)"):
        from_estimator(LinearSVC(), unlearn=keep, releases=Predictions(method="predict_proba")).bind(digits, (3,))
    with pytest.raises(InvalidInputError, match="linear model with coef_ after fit, got GaussianNB"):
        from_estimator(GaussianNB(), unlearn=keep).bind(digits, (3,))
    wrong = Predictions(method="predict", probe=np.ones((4, 2)))
    with pytest.raises(InvalidInputError, match=r"releases\.probe .* shape \(m, 3\)"):
        from_estimator(Ridge(), unlearn=keep, releases=wrong).bind(numbers, (1,))
    with pytest.raises(InvalidInputError, match="method"):
        Predictions(method="transform")  # type: ignore[arg-type]


def three_classes() -> Dataset:
    """Twenty records of two classes, and the last one alone of a third."""
    x = np.random.default_rng(1).normal(size=(21, 2))
    return from_arrays(x, [0.0] * 10 + [1.0] * 10 + [2.0], kind="classification")


def test_without_the_last_record_of_a_class_the_shape_is_part_of_a_release() -> None:
    mechanism = from_estimator(GaussianNB(), unlearn=keep, releases=Predictions(method="predict_proba"))
    deletion = mechanism.bind(three_classes(), (20,))
    assert (deletion.release.shape, deletion.release.axes) == ((5,), 2)
    unlearned, retrained = (drawn(deletion, world, 1)[0] for world in (World.UNLEARNED, World.RETRAINED))
    assert unlearned[:2].tolist() == [1, 3]
    assert retrained[:2].tolist() == [1, 2]
    assert retrained[4] == 0
    np.testing.assert_allclose([unlearned[2:].sum(), retrained[2:].sum()], 1.0)
    assert deletion.parameters()["release_shapes"] == "(1, 3) with the deleted records, (1, 2) without"


@pytest.mark.parametrize(
    ("estimator", "releases"),
    [
        (LinearSVC(), Predictions(method="decision_function")),
        (LogisticRegression(), Predictions(method="predict_proba", probe=np.ones((2, 2)))),
        (LogisticRegression(), Coefficients()),
        (LogisticRegression(), Predictions(method="decision_function")),
        (RidgeClassifier(), Predictions(method="predict")),
    ],
)
def test_named_classes_give_every_model_the_same_columns(estimator: Any, releases: Any) -> None:
    data = three_classes()
    deletion = from_estimator(estimator, unlearn=keep, releases=releases, classes=range(3)).bind(data, (20,))
    assert deletion.release.axes == 0
    unlearned, retrained = (drawn(deletion, world, 1)[0] for world in (World.UNLEARNED, World.RETRAINED))
    assert unlearned.shape == retrained.shape
    if retrained.ndim == 2:
        np.testing.assert_array_equal(retrained[:, 2], 0.0)
        assert np.any(unlearned[:, 2] != 0)


def test_weights_of_two_classes_are_those_against_the_first() -> None:
    data = three_classes()
    deletion = from_estimator(LogisticRegression(), unlearn=keep, classes=range(3)).bind(data, (20,))
    retrained = drawn(deletion, World.RETRAINED, 1)[0]
    model = LogisticRegression().fit(data.features[:20], data.targets[:20].argmax(axis=1))
    np.testing.assert_array_equal(retrained[:, 0], 0.0)
    np.testing.assert_allclose(retrained[:, 1], [*model.coef_[0], *model.intercept_])


def test_classes_are_all_classes() -> None:
    data = three_classes()
    with pytest.raises(InvalidInputError, match="classes to be every class that the estimator may know"):
        from_estimator(GaussianNB(), unlearn=keep, releases=PROBABILITIES, classes=(0, 1)).bind(data, (20,))
    with pytest.raises(InvalidInputError, match="other estimators have none"):
        from_estimator(Ridge(), unlearn=keep, classes=(0, 1, 2)).bind(data, (20,))
    pairs = Predictions(method="decision_function")
    digits = load_named("digits", rows=60)
    with pytest.raises(InvalidInputError, match="one column for each of the model's 10 classes"):
        from_estimator(SVC(decision_function_shape="ovo"), unlearn=keep, releases=pairs, classes=range(10)).bind(
            digits, (3,)
        )


PROBABILITIES = Predictions(method="predict_proba")


@pytest.mark.parametrize("estimator", [LogisticRegression, object(), None])
def test_only_estimators_are_adapted(estimator: Any) -> None:
    with pytest.raises(InvalidInputError, match="estimator"):
        from_estimator(estimator, unlearn=keep)
